//! One walk over the fleet at a time.

use berth_core::{
    error::Code,
    state::{ClusterState, Command, Reply},
    time::Millis,
};

use crate::kit::Cluster;

fn lock(cluster: &mut Cluster, holder: &str, within_s: Option<u64>, steal: bool) -> Result<(), Code> {
    let command = Command::UpgradeLock { holder: holder.to_owned(), within: within_s.map(Millis::from_secs), steal };
    match cluster.apply(command) {
        Reply::Refused(error) => Err(error.code),
        _ => Ok(()),
    }
}

fn holder(cluster: &Cluster) -> Option<&str> {
    cluster.state.upgrade.as_ref().map(|lock| lock.holder.as_str())
}

#[test]
fn two_upgrades_exclude_each_other() {
    let mut cluster = Cluster::of(1);
    assert_eq!(lock(&mut cluster, "ann@a", Some(60), false), Ok(()));
    assert_eq!(lock(&mut cluster, "bob@b", Some(60), false), Err(Code::Transition));
    assert_eq!(lock(&mut cluster, "bob@b", None, false), Ok(()), "releasing what one does not hold is nothing");
    assert_eq!(holder(&cluster), Some("ann@a"));
    cluster.now = cluster.now + Millis::from_secs(40);
    assert_eq!(lock(&mut cluster, "ann@a", Some(60), false), Ok(()), "its holder renews it");
    cluster.now = cluster.now + Millis::from_secs(40);
    assert_eq!(lock(&mut cluster, "bob@b", Some(60), false), Err(Code::Transition), "it was renewed");
    let snapshot = ClusterState::from_snapshot(cluster.state.to_snapshot());
    assert_eq!(snapshot.upgrade, cluster.state.upgrade);
    cluster.now = cluster.now + Millis::from_secs(20);
    assert_eq!(lock(&mut cluster, "bob@b", Some(60), false), Ok(()), "it expired");
    assert_eq!(lock(&mut cluster, "ann@a", Some(60), false), Err(Code::Transition), "and is not hers any more");
    assert_eq!(lock(&mut cluster, "ann@a", Some(60), true), Ok(()), "unless she takes it");
    let stolen = cluster.state.events.iter().any(|event| event.text.ends_with("which bob@b held"));
    assert!(stolen, "and that is told");
    assert_eq!(lock(&mut cluster, "ann@a", None, false), Ok(()));
    assert_eq!(holder(&cluster), None);
}

#[test]
fn absurd_locks_are_refused() {
    let mut cluster = Cluster::of(1);
    for (name, within_s) in [("", 60), ("ann", 0), ("ann", 1 << 40)] {
        assert_eq!(lock(&mut cluster, name, Some(within_s), true), Err(Code::Invalid), "{name} {within_s}");
    }
}
