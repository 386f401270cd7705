//! A generation that does not come up: what the one before it has is kept whole meanwhile.

use berth_core::{
    id::{Generation, NodeId},
    model::{NodeState, ReplicaState, SpendCause},
    state::{Command, Observed, Step},
    time::Millis,
};

use crate::kit::{Cluster, key, spec};

const BROKEN: Generation = Generation(2);

fn reserved(instances: u32) -> berth_core::model::DeploymentSpec {
    berth_core::model::DeploymentSpec { reserve: true, ..spec(instances) }
}

/// Three that serve on four nodes, and a new generation that never will.
fn broken_update() -> Cluster {
    let mut cluster = Cluster::of(4);
    cluster.deploy("fraud/blue", reserved(3));
    cluster.settle();
    let mut next = reserved(3);
    next.tags.insert("version".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    rounds(&mut cluster, 20);
    assert!(cluster.state.deployments[&key("fraud/blue")].failures > 0);
    cluster
}

/// Plans and lets nodes act; what is of the broken generation fails when it has started. Returns what was planned.
fn rounds(cluster: &mut Cluster, count: usize) -> Vec<Step> {
    let mut planned = Vec::new();
    for _ in 0..count {
        let (steps, _) = cluster.plan();
        if !steps.is_empty() {
            planned.extend(steps.clone());
            cluster.commit(steps);
        }
        let acting = cluster.state.replicas.values().filter(|replica| !replica.lost);
        let acting: Vec<_> = acting.map(|replica| (replica.id, replica.generation, replica.state)).collect();
        for (id, generation, state) in acting {
            match state {
                ReplicaState::Placed | ReplicaState::Preparing => cluster.report(id, Observed::Starting),
                ReplicaState::Starting if generation == BROKEN => cluster.report(id, Observed::Failed),
                ReplicaState::Starting => cluster.report(id, Observed::Warm),
                ReplicaState::Stopped | ReplicaState::Failed => cluster.report(id, Observed::Gone),
                ReplicaState::Warm | ReplicaState::Serving | ReplicaState::Draining => {}
            };
        }
        cluster.now = cluster.now + Millis::from_secs(1);
    }
    planned
}

fn serving(cluster: &Cluster) -> Vec<NodeId> {
    let ready = cluster.replicas("fraud/blue").into_iter().filter(|replica| replica.is_ready());
    ready.map(|replica| replica.node).collect()
}

#[test]
fn what_is_lost_meanwhile_comes_back_as_it_was_and_from_the_reserve() {
    let mut cluster = broken_update();
    let before = serving(&cluster);
    assert_eq!(before.len(), 3);
    cluster.transition(before[0].0, NodeState::Lost);
    let planned = rounds(&mut cluster, 20);
    let stands_in = planned.iter().find_map(|step| match step {
        Step::Place { generation: Generation(1), reserve_spent, reason, .. } => Some((reserve_spent, reason)),
        _ => None,
    });
    let (spent, reason) = stands_in.unwrap_or_else(|| panic!("{planned:?}"));
    assert!(matches!(spent, Some(spend) if matches!(spend.cause, SpendCause::Recovery { .. })), "{spent:?}");
    assert_eq!(*reason, "as before, for generation 2 has not served, in place of a lost one");
    assert_eq!(serving(&cluster).len(), 3, "{:?}", cluster.replicas("fraud/blue"));
}

#[test]
fn a_node_is_emptied_although_the_new_generation_does_not_come_up() {
    let mut cluster = broken_update();
    let leaves = serving(&cluster)[0];
    cluster.drain(leaves.0, false);
    for _ in 0..40 {
        rounds(&mut cluster, 1);
        assert!(serving(&cluster).len() >= 3, "{:?}", cluster.replicas("fraud/blue"));
    }
    assert_eq!(cluster.state.replicas_on(leaves).filter(|replica| replica.is_wanted()).count(), 0);
    assert!(cluster.state.nodes[&leaves].drain.as_ref().is_some_and(|drain| drain.finished_at.is_some()));
}

#[test]
fn one_that_serves_takes_over_and_what_stood_in_goes() {
    let mut cluster = broken_update();
    cluster.transition(serving(&cluster)[0].0, NodeState::Lost);
    rounds(&mut cluster, 20);
    let mut mended = reserved(3);
    mended.tags.insert("version".to_owned(), "3".to_owned());
    cluster.deploy("fraud/blue", mended);
    cluster.settle();
    let mut replicas = cluster.replicas("fraud/blue");
    replicas.retain(|replica| !replica.lost);
    assert!(replicas.len() == 3 && replicas.iter().all(|replica| replica.generation == Generation(3)), "{replicas:?}");
    let deployment = &cluster.state.deployments[&key("fraud/blue")];
    assert_eq!((deployment.served_generation, deployment.stand_in()), (Some(Generation(3)), None));
}

#[test]
fn only_a_generation_that_served_stands_in() {
    // The first one never served: what is lost comes as the newest.
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(1));
    let mut next = spec(1);
    next.tags.insert("version".to_owned(), "2".to_owned());
    rounds(&mut cluster, 1);
    cluster.deploy("fraud/blue", next);
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].stand_in(), None);
    // And a place of an earlier generation is refused once the newest serves.
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let mut next = spec(1);
    next.tags.insert("version".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    cluster.settle();
    let deployment = &cluster.state.deployments[&key("fraud/blue")];
    assert_eq!((deployment.generation, deployment.stand_in()), (Generation(2), None));
    cluster.must(Command::DeploymentRestart { key: key("fraud/blue"), if_revision: None });
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].stand_in(), Some(Generation(2)));
}
