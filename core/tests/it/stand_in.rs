//! A generation that does not come up: what the one before it has is kept whole meanwhile.

use berth_core::{
    id::{Generation, NodeId},
    model::{NodeState, ReplicaState, SpendCause, Spread, SpreadBy},
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
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
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
    mended.environment_variables.insert("VERSION".to_owned(), "3".to_owned());
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
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    rounds(&mut cluster, 1);
    cluster.deploy("fraud/blue", next);
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].stand_in(), None);
    // And a place of an earlier generation is refused once the newest serves.
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let mut next = spec(1);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    cluster.settle();
    let deployment = &cluster.state.deployments[&key("fraud/blue")];
    assert_eq!((deployment.generation, deployment.stand_in()), (Generation(2), None));
    cluster.must(Command::DeploymentRestart { key: key("fraud/blue"), if_revision: None });
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].stand_in(), Some(Generation(2)));
}

/// Three instances that fill a node each, a fourth node that something else fills, and a broken generation.
fn full_and_broken() -> Cluster {
    let mut cluster = Cluster::of(4);
    let whole = |version: &str| {
        let mut whole = spec(3);
        whole.resources.cpu_milli = 4_000;
        whole.environment_variables.insert("VERSION".to_owned(), version.to_owned());
        whole
    };
    cluster.deploy("fraud/blue", whole("1"));
    let mut other = whole("1");
    other.instance_count = 1;
    cluster.deploy("other/blue", other);
    cluster.settle();
    cluster.deploy("fraud/blue", whole("2"));
    cluster
}

#[test]
fn where_there_is_no_room_neither_takes_the_place_of_the_other_for_ever() {
    let mut cluster = full_and_broken();
    let mut planned = Vec::new();
    for round in 0..120 {
        if round == 20 {
            let lost = serving(&cluster)[0];
            cluster.transition(lost.0, NodeState::Lost);
        }
        if round == 40 {
            cluster.scale("other/blue", 0);
        }
        planned.extend(rounds(&mut cluster, 1));
        let expected = if (20..50).contains(&round) { 1 } else { 2 };
        assert!(serving(&cluster).len() >= expected, "round {round}: {:?}", cluster.replicas("fraud/blue"));
    }
    let placed = |generation| {
        let of = |step: &&Step| matches!(step, Step::Place { generation: placed, .. } if *placed == generation);
        planned.iter().filter(of).count()
    };
    // Tries of the broken one are two seconds apart, then four, eight and so on; what stood in for it meanwhile served.
    let (tries, stand_ins) = (placed(BROKEN), placed(Generation(1)));
    assert!((3..=8).contains(&tries), "{tries} tries of {planned:?}");
    assert!(stand_ins <= tries + 1, "{stand_ins} stood in for {tries} tries: {planned:?}");
}

#[test]
fn what_stands_in_and_fails_is_tried_less_and_less_often() {
    let mut cluster = broken_update();
    cluster.transition(serving(&cluster)[0].0, NodeState::Lost);
    let mut placed = 0;
    for _ in 0..120 {
        let (steps, _) = cluster.plan();
        placed += steps.iter().filter(|step| matches!(step, Step::Place { generation: Generation(1), .. })).count();
        if !steps.is_empty() {
            cluster.commit(steps);
        }
        let started: Vec<_> =
            cluster.state.replicas.values().filter(|it| !it.lost).map(|it| (it.id, it.state)).collect();
        for (id, state) in started {
            match state {
                ReplicaState::Placed => cluster.report(id, Observed::Failed),
                ReplicaState::Stopped | ReplicaState::Failed => cluster.report(id, Observed::Gone),
                _ => {}
            }
        }
        cluster.now = cluster.now + Millis::from_secs(1);
    }
    assert!((3..=7).contains(&placed), "{placed} tries in two minutes");
    let deployment = &cluster.state.deployments[&key("fraud/blue")];
    assert_eq!(deployment.stand_in(), Some(Generation(1)));
    assert!(deployment.stand_in_failures >= 3, "{deployment:?}");
}

#[test]
fn who_asks_for_more_and_for_what_does_not_come_up_gets_more_of_what_works() {
    let mut cluster = Cluster::of(4);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    let mut next = spec(5);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next.clone());
    rounds(&mut cluster, 30);
    assert_eq!(serving(&cluster).len(), 5, "{:?}", cluster.replicas("fraud/blue"));
    // And whoever, or whatever, asks for still more afterwards as well.
    cluster.scale("fraud/blue", 7);
    rounds(&mut cluster, 30);
    assert_eq!(serving(&cluster).len(), 7, "{:?}", cluster.replicas("fraud/blue"));
}

#[test]
fn what_stands_in_is_spread_as_it_always_was() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    let mut next = spec(3);
    next.spread = Spread { by: SpreadBy::Node, max_per_domain: Some(1) };
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    rounds(&mut cluster, 4);
    cluster.transition(serving(&cluster)[0].0, NodeState::Lost);
    rounds(&mut cluster, 20);
    assert_eq!(
        serving(&cluster).len(),
        3,
        "one node may hold all of the first one: {:?}",
        cluster.replicas("fraud/blue")
    );
}

#[test]
fn who_stood_in_for_one_that_leaves_and_took_the_place_of_another_is_one_too_few() {
    let mut cluster = broken_update();
    let leaves = serving(&cluster)[0];
    cluster.drain(leaves.0, false);
    let (steps, _) = cluster.plan();
    let stands_in = |step: &Step| matches!(step, Step::Place { generation: Generation(1), replaces: Some(_), .. });
    assert!(steps.iter().any(stands_in), "{steps:?}");
    cluster.commit(steps);
    let other = cluster.replicas("fraud/blue").into_iter().find(|replica| replica.is_ready() && replica.node != leaves);
    let other = other.expect("two of them are elsewhere").id;
    cluster.report(other, Observed::Failed);
    cluster.report(other, Observed::Gone);
    rounds(&mut cluster, 60);
    assert_eq!(cluster.state.replicas_on(leaves).filter(|replica| replica.is_wanted()).count(), 0);
    assert_eq!(serving(&cluster).len(), 3, "{:?}", cluster.replicas("fraud/blue"));
}

/// Three on three nodes, one each, and one of the nodes is to be empty: as it was, nobody finds a place beside the others.
/// The new generation does, and is not held up by that.
#[test]
fn what_leaves_and_fits_nowhere_as_it_was_does_not_hold_up_the_rollout() {
    let one_each = |version: &str| {
        let mut spec = reserved(3);
        spec.spread = Spread { by: SpreadBy::Node, max_per_domain: Some(1) };
        spec.environment_variables.insert("VERSION".to_owned(), version.to_owned());
        spec
    };
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", one_each("1"));
    cluster.settle();
    cluster.drain(1, false);
    cluster.settle();
    cluster.deploy("fraud/blue", one_each("3"));
    cluster.settle();
    let all = cluster.replicas("fraud/blue");
    let mut updated: Vec<_> = all.iter().filter(|one| one.is_ready() && one.generation == Generation(2)).collect();
    updated.sort_by_key(|replica| replica.node);
    assert_eq!(updated.iter().map(|replica| replica.node).collect::<Vec<_>>(), [NodeId(2), NodeId(3)], "{all:?}");
    assert_eq!(serving(&cluster).len(), 3, "who has no place as yet serves on: {all:?}");
}
