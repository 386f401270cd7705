//! What the members say of deployments that nobody serves.

use berth_core::{
    id::ReplicaId,
    model::{Deployment, Replica, ReplicaState},
    state::{Command, Observed, ReplicaReport},
    time::{LogTime, Millis},
    traffic::absence::{EXPECTED_MAX, Expected},
};

use crate::kit::{Cluster, key, spec};

/// A deployment of one with its replica in a state.
fn starting(state: ReplicaState) -> Cluster {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", spec(1));
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    for replica in cluster.state.replicas.values_mut() {
        replica.state = state;
    }
    cluster
}

/// Returns what is said of the one deployment `ms` after it was placed.
fn said(cluster: &mut Cluster, ms: u64, change: impl Fn(&mut Deployment, &mut Replica)) -> Option<Millis> {
    let mut state = cluster.state.clone();
    let deployment = state.deployments.get_mut(&key("fraud/blue")).expect("it is there");
    let replica = state.replicas.values_mut().next().expect("it is there");
    change(deployment, replica);
    let now = replica.placed_at + Millis(ms);
    let expected = Expected::of(&state, now);
    assert!(expected.iter().all(|expected| expected.key == key("fraud/blue")));
    expected.first().map(|expected| expected.within)
}

#[test]
fn a_start_is_measured_and_foretells_the_next_one() {
    use ReplicaState as S;
    let usual = |ms: u64| move |deployment: &mut Deployment, _: &mut Replica| deployment.started_in = Some(Millis(ms));
    for (state, ms, usual_ms, within, why) in [
        (S::Placed, 4_000, 30_000, Some(26_000), "what is left of the usual time"),
        (S::Starting, 29_999, 30_000, Some(1), "nearly there"),
        (S::Starting, 40_000, 30_000, Some(10_000), "late: as long again"),
        (S::Warm, 40_000, 30_000, Some(0), "the routers hear of it now"),
        (S::Serving, 40_000, 30_000, None, "somebody serves"),
        (S::Draining, 40_000, 30_000, None, "nobody comes"),
        (S::Failed, 40_000, 30_000, None, "nobody comes"),
    ] {
        assert_eq!(said(&mut starting(state), ms, usual(usual_ms)), within.map(Millis), "{why}");
    }
    let unknown = |deployment: &mut Deployment, _: &mut Replica| deployment.started_in = None;
    assert_eq!(said(&mut starting(S::Preparing), 7_000, unknown), Some(Millis(7_000)), "as long again");
}

#[test]
fn pauses_between_tries_are_counted() {
    let later = |replica: &Replica, ms: u64| replica.placed_at + Millis(ms);
    let pause = |deployment: &mut Deployment, replica: &mut Replica| {
        deployment.started_in = Some(Millis(5_000));
        replica.restarts = 3;
        replica.retry_at = later(replica, 20_000);
    };
    assert_eq!(said(&mut starting(ReplicaState::Starting), 8_000, pause), Some(Millis(17_000)), "pause and start");
    let again = |deployment: &mut Deployment, replica: &mut Replica| {
        deployment.started_in = Some(Millis(5_000));
        (replica.restarts, replica.since) = (1, later(replica, 60_000));
    };
    assert_eq!(said(&mut starting(ReplicaState::Starting), 62_000, again), Some(Millis(3_000)), "since it began again");
    let failed = |deployment: &mut Deployment, replica: &mut Replica| {
        deployment.started_in = None;
        deployment.retry_at = later(replica, 16_000);
    };
    assert_eq!(said(&mut starting(ReplicaState::Failed), 10_000, failed), Some(Millis(6_000)), "the next try");
    let lost = |_: &mut Deployment, replica: &mut Replica| replica.lost = true;
    assert_eq!(said(&mut starting(ReplicaState::Starting), 10_000, lost), None, "nothing is known of it");
    let unwanted = |deployment: &mut Deployment, _: &mut Replica| deployment.spec.instance_count = 0;
    assert_eq!(said(&mut starting(ReplicaState::Starting), 10_000, unwanted), None, "nobody asks for it");
}

/// Reports a replica whose process was started once more.
fn restarted(cluster: &mut Cluster, replica: ReplicaId, observed: Observed) {
    let node = cluster.state.replicas[&replica].node;
    let report = ReplicaReport {
        replica,
        observed,
        reason: String::new(),
        permanent: false,
        restarts: 1,
        retry_in: Millis(0),
        pid: 2,
        address: String::new(),
    };
    let epoch = cluster.state.nodes[&node].epoch;
    cluster.apply(Command::ReplicaReports { node, epoch, reports: vec![report] });
}

#[test]
fn the_first_start_of_a_replica_is_what_counts() {
    let mut cluster = starting(ReplicaState::Placed);
    let id = *cluster.state.replicas.keys().next().expect("it is there");
    let measured = |cluster: &Cluster| cluster.state.deployments[&key("fraud/blue")].started_in;
    assert_eq!(measured(&cluster), None);
    cluster.now = cluster.now + Millis(12_000);
    cluster.report(id, Observed::Warm);
    assert_eq!(measured(&cluster), Some(Millis(12_000)));
    // A crash and a start with everything at hand says nothing of a new place.
    restarted(&mut cluster, id, Observed::Starting);
    cluster.now = cluster.now + Millis(90_000);
    restarted(&mut cluster, id, Observed::Warm);
    assert_eq!(measured(&cluster), Some(Millis(12_000)));
}

#[test]
fn the_first_to_come_are_told_of() {
    let mut state = starting(ReplicaState::Starting).state;
    let (deployment, replica) = (
        state.deployments.values().next().expect("it is there").clone(),
        state.replicas.values().next().expect("it is there").clone(),
    );
    for at in 0..EXPECTED_MAX as u64 + 10 {
        let name = format!("fraud/d{at}x");
        let id = ReplicaId(at + 1);
        let placed_at = LogTime::from_millis(replica.placed_at.millis() + at);
        state.deployments.insert(key(&name), Deployment { key: key(&name), ..deployment.clone() });
        state.replicas.insert(id, Replica { id, key: key(&name), placed_at, ..replica.clone() });
    }
    state.reindex();
    let expected = Expected::of(&state, replica.placed_at + Millis(60_000));
    assert_eq!(expected.len(), EXPECTED_MAX);
    assert!(expected.is_sorted());
    assert!(expected.iter().all(|expected| expected.within <= Millis(59_990)), "the latest are left out");
}
