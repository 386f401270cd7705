//! The planner: small stories, and the properties that hold for all of them.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    id::Generation,
    model::{DeploymentSpec, NodeProfile, NodeState, ReplicaState, Runtime},
    state::{Command, DeploymentState, ONE_AT_A_TIME, Observed, Plan, Reply, Step},
    time::Millis,
    units::Resources,
};
use proptest::prelude::*;

use crate::kit::{Cluster, INSTANCE, NODE, key, profile, reserved, spec};

#[test]
fn a_new_deployment_is_placed_spread_and_serves() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3);
    let nodes: BTreeSet<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.node).collect();
    assert_eq!(nodes.len(), 3, "one on each node");
    assert_eq!(cluster.state.deployment_status(&key("fraud/blue")).unwrap().state, DeploymentState::Succeeded);
}

#[test]
fn scaling_down_drains_and_scaling_to_nothing_leaves_nothing() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", spec(4));
    cluster.settle();
    cluster.scale("fraud/blue", 2);
    let (steps, _) = cluster.plan();
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| matches!(step, Step::Drain { .. })), "{steps:?}");
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), cluster.replicas("fraud/blue").len()), (2, 2));
    cluster.scale("fraud/blue", 0);
    cluster.settle();
    assert!(cluster.state.replicas.is_empty());
}

#[test]
fn a_rollout_never_goes_below_its_promise_and_uses_the_surge() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(5));
    cluster.settle();
    let mut next = spec(5);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    let mut most = 0;
    for _ in 0..200 {
        let (steps, _) = cluster.plan();
        if !steps.is_empty() {
            cluster.commit(steps);
        }
        assert!(cluster.ready("fraud/blue") >= 5, "the promise");
        most = most.max(cluster.replicas("fraud/blue").iter().filter(|replica| replica.is_wanted()).count());
        cluster.nodes_act();
    }
    assert_eq!(most, 6, "a fifth of five is one more at a time");
    let generations: BTreeSet<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.generation).collect();
    assert_eq!(generations, BTreeSet::from([Generation(2)]));
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].old_specs.len(), 1, "one may go back to it");
}

/// More instances and a new version in one change: the missing ones come first, as they were, since nobody knows yet whether
/// the new version serves, and what serves is replaced only when all do. Fewer: what is too much goes first.
#[test]
fn a_changed_count_comes_before_a_changed_version() {
    let next = |count| {
        let mut next = spec(count);
        next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
        next
    };
    for (from, to, room_for, first) in [(5, 8, 10, (3, 2)), (5, 8, 8, (3, 0)), (8, 5, 10, (0, 1))] {
        let told = format!("{from} to {to} with room for {room_for}");
        let mut cluster = Cluster::empty();
        let capacity = Resources { cpu_milli: 1_000 * room_for, memory_mib: 1 << 20, ..NODE };
        cluster.node(1, NodeProfile { capacity, ..profile("n1") });
        cluster.deploy("fraud/blue", spec(from));
        cluster.settle();
        cluster.deploy("fraud/blue", next(to));
        let (steps, _) = cluster.plan();
        let placed = |wanted| {
            let is_one =
                |step: &&Step| matches!(step, Step::Place { generation, .. } if *generation == Generation(wanted));
            steps.iter().filter(is_one).count()
        };
        let drained = steps.iter().filter(|step| matches!(step, Step::Drain { .. })).count();
        assert_eq!((placed(1), placed(2)), first, "{told}: {steps:?}");
        assert_eq!(drained, from.saturating_sub(to) as usize, "{told}: {steps:?}");
        let (mut ready_once, mut most) = (false, 0);
        for _ in 0..200 {
            let (steps, _) = cluster.plan();
            if !steps.is_empty() {
                cluster.commit(steps);
            }
            let ready = cluster.ready("fraud/blue");
            ready_once |= ready >= to as usize;
            let least = if !ready_once {
                from
            } else if room_for > u64::from(to) {
                to
            } else {
                to - 1
            };
            assert!(ready >= least as usize, "{told}: {ready} are ready of {least}");
            most = most.max(cluster.replicas("fraud/blue").iter().filter(|replica| replica.is_wanted()).count());
            cluster.nodes_act();
        }
        assert!(most <= room_for as usize, "{told}: {most}");
        let replicas = cluster.replicas("fraud/blue");
        let is_done = replicas.iter().all(|replica| replica.is_ready() && replica.generation == Generation(2));
        assert!(replicas.len() == to as usize && is_done, "{told}: {replicas:?}");
    }
}

#[test]
fn without_room_for_one_more_a_rollout_goes_one_at_a_time_and_records_it() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", spec(8));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 8, "the fleet is full");
    let mut next = spec(8);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    let (steps, report) = cluster.plan();
    assert!(matches!(&steps[..], [Step::Drain { reason, .. }] if reason == ONE_AT_A_TIME), "{steps:?}");
    assert!(report.short.contains_key(&key("fraud/blue")));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 8);
    assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.generation == Generation(2)));
}

#[test]
fn a_deployment_with_a_reserve_waits_for_room_and_says_why() {
    for instances in [1, 4] {
        let mut cluster = Cluster::empty();
        let full = Resources { cpu_milli: 1_000 * u64::from(instances), ..NODE };
        cluster.node(1, NodeProfile { capacity: full, ..profile("n1") });
        cluster.deploy("fraud/blue", reserved(instances));
        cluster.settle();
        let mut next = reserved(instances);
        next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
        cluster.deploy("fraud/blue", next);
        let (steps, report) = cluster.plan();
        assert!(steps.is_empty(), "nothing that serves ends: {steps:?}");
        assert!(report.short.contains_key(&key("fraud/blue")));
        cluster.settle();
        assert_eq!(cluster.ready("fraud/blue"), instances as usize);
        // Nor does an entry that says so.
        let replica = cluster.replicas("fraud/blue")[0].id;
        let (deadline, reason) = (cluster.now, ONE_AT_A_TIME.to_owned());
        let steps = vec![Step::Drain { replica, deadline, reason }];
        let plan = Plan { term: cluster.state.term, based_on: cluster.state.applied, part: 0, parts: 1, steps };
        let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("it is planned") };
        assert!(outcomes[0].as_ref().is_err_and(|error| error.what.contains("is needed")), "{outcomes:?}");
        cluster.node(2, profile("n2"));
        cluster.settle();
        let replicas = cluster.replicas("fraud/blue");
        assert!(
            replicas.iter().all(|replica| replica.is_ready() && replica.generation == Generation(2)),
            "{replicas:?}"
        );
    }
}

#[test]
fn a_broken_generation_leaves_the_old_one_serving_and_backs_off() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(2));
    cluster.settle();
    let mut next = spec(2);
    next.environment_variables.insert("BROKEN".to_owned(), "yes".to_owned());
    cluster.deploy("fraud/blue", next);
    for failures in 1..=3 {
        let (steps, _) = cluster.plan();
        let places = steps.iter().filter(|step| matches!(step, Step::Place { .. })).count();
        assert_eq!(places, 1, "one more at a time, try {failures}");
        cluster.commit(steps);
        let placed = cluster.in_state("fraud/blue", ReplicaState::Placed)[0];
        cluster.report(placed, Observed::Failed);
        cluster.report(placed, Observed::Gone);
        assert!(cluster.plan().0.is_empty(), "the back-off holds");
        assert_eq!(cluster.plan().1.next_due, Some(cluster.state.deployments[&key("fraud/blue")].retry_at));
        assert_eq!(cluster.ready("fraud/blue"), 2);
        cluster.now = cluster.state.deployments[&key("fraud/blue")].retry_at;
    }
    let status = cluster.state.deployment_status(&key("fraud/blue")).unwrap();
    assert_eq!((status.state, status.reason.as_str()), (DeploymentState::Failed, "init() raised"));
}

#[test]
fn a_second_change_supersedes_the_first() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    for version in ["2", "3"] {
        let mut next = spec(3);
        next.environment_variables.insert("VERSION".to_owned(), version.to_owned());
        cluster.deploy("fraud/blue", next);
        let (steps, _) = cluster.plan();
        cluster.commit(steps);
    }
    cluster.settle();
    assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.generation == Generation(3)));
    assert_eq!(cluster.ready("fraud/blue"), 3);
}

#[test]
fn a_lost_replica_is_replaced_and_the_one_that_serves_stays_when_its_node_returns() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    cluster.transition(1, NodeState::Lost);
    assert_eq!(cluster.ready("fraud/blue"), 2);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3, "replaced elsewhere");
    cluster.node(1, profile("n1"));
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), cluster.replicas("fraud/blue").len()), (3, 3), "no copy is left");
    assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.node.0 != 1), "what served then still does");
}

#[test]
fn a_node_back_before_its_replacement_started_keeps_its_replica() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    let old = cluster.replicas("fraud/blue").iter().find(|replica| replica.node.0 == 1).unwrap().id;
    cluster.transition(1, NodeState::Lost);
    let (steps, _) = cluster.plan();
    assert!(matches!(&steps[..], [Step::Place { .. }]));
    cluster.commit(steps);
    cluster.node(1, profile("n1"));
    cluster.settle();
    assert_eq!(cluster.replicas("fraud/blue").len(), 3);
    assert!(cluster.replicas("fraud/blue").iter().any(|replica| replica.id == old));
}

#[test]
fn a_crashed_agents_replicas_and_slots_stay_within_its_grace() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.deploy("fraud/green", reserved(1));
    cluster.settle();
    let holder = cluster.state.slots.values().next().expect("a slot is held").node;
    cluster.transition(holder.0, NodeState::Lost);
    let (none, in_grace) = (BTreeSet::new(), BTreeSet::from([holder]));
    let view = berth_core::plan::View {
        state: &cluster.state,
        term: cluster.state.term,
        seed: &cluster.seed,
        acknowledged: &none,
        known: cluster.state.applied,
        drained: &none,
        in_flight: &BTreeMap::new(),
        in_grace: &in_grace,
    };
    assert!(berth_core::plan::plan(&view, cluster.now).0.is_empty());
    assert!(!cluster.plan().0.is_empty(), "after it they do not");
}

#[test]
fn an_emptied_node_hands_its_replicas_over() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    cluster.drain(2, false);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3);
    assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.node.0 != 2));
}

#[test]
fn a_deleted_endpoint_leaves_no_replica_and_no_hold() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", spec(2));
    cluster.deploy("fraud/green", spec(1));
    cluster.settle();
    cluster.must(Command::EndpointDelete { name: "fraud".parse().unwrap(), if_revision: None });
    cluster.settle();
    assert!(cluster.state.replicas.is_empty() && cluster.state.deployments.is_empty());
    assert!(cluster.state.nodes.values().all(|node| cluster.state.index().held_on(node.id) == Resources::ZERO));
}

#[test]
fn a_replica_serves_and_stops_only_when_the_routers_say_so() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    cluster.nodes_act();
    cluster.nodes_act();
    let (none, replica) = (BTreeSet::new(), cluster.in_state("fraud/blue", ReplicaState::Warm)[0]);
    assert_eq!(cluster.plan_with(&none, &none).0, [], "nobody has acknowledged it");
    assert_eq!(cluster.plan_with(&BTreeSet::from([replica]), &none).0, [Step::Serve { replica }]);
    cluster.settle();
    cluster.scale("fraud/blue", 0);
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    let (steps, report) = cluster.plan_with(&none, &none);
    assert_eq!(steps, [], "requests may still be on their way");
    let deadline = cluster.state.replicas[&replica].drain_deadline;
    assert_eq!(report.next_due, Some(deadline));
    cluster.now = deadline;
    assert!(matches!(&cluster.plan_with(&none, &none).0[..], [Step::Stop { .. }]), "the deadline ends it");
}

#[test]
fn nothing_is_taken_over_before_every_router_knows_who_serves_instead() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let old = cluster.replicas("fraud/blue")[0].id;
    let mut next = spec(1);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    cluster.nodes_act();
    cluster.nodes_act();
    let (steps, _) = cluster.plan();
    assert!(matches!(&steps[..], [Step::Serve { .. }]), "{steps:?}");
    let before = cluster.state.applied;
    cluster.commit(steps);
    let none = BTreeSet::new();
    assert_eq!(cluster.plan_knowing(before, &none, &none).0, [], "some router has only the old one");
    let (steps, _) = cluster.plan_knowing(cluster.state.applied, &none, &none);
    assert!(matches!(&steps[..], [Step::Drain { replica, .. }] if *replica == old), "{steps:?}");
}

#[test]
fn a_drain_that_came_too_late_is_refused() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(2));
    cluster.settle();
    cluster.scale("fraud/blue", 1);
    let (steps, _) = cluster.plan();
    let drained = match &steps[..] {
        [Step::Drain { replica, .. }] => *replica,
        other => panic!("{other:?}"),
    };
    let other = cluster.replicas("fraud/blue").iter().find(|replica| replica.id != drained).unwrap().id;
    cluster.report(other, Observed::Starting);
    let plan =
        berth_core::state::Plan { term: cluster.state.term, based_on: cluster.state.applied, part: 0, parts: 1, steps };
    cluster.apply(Command::PlanCommit(plan));
    assert_eq!(cluster.ready("fraud/blue"), 1, "the last one that serves stays");
}

#[test]
fn a_large_plan_comes_in_parts() {
    let mut cluster = Cluster::empty();
    let mut big = profile("big");
    big.capacity = INSTANCE.times(3_000);
    cluster.node(1, big);
    cluster.deploy("fraud/blue", spec(2_500));
    let none = BTreeSet::new();
    let view = berth_core::plan::View {
        state: &cluster.state,
        term: cluster.state.term,
        seed: &cluster.seed,
        acknowledged: &none,
        known: cluster.state.applied,
        drained: &none,
        in_flight: &BTreeMap::new(),
        in_grace: &BTreeSet::new(),
    };
    let (parts, _) = berth_core::plan::plan(&view, cluster.now);
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.parts == 3 && part.steps.len() <= 1_000));
    assert_eq!(parts.iter().map(|part| part.steps.len()).sum::<usize>(), 2_500);
}

/// What a property run may do to a cluster.
#[derive(Clone, Debug)]
enum Act {
    Deploy { nth: usize, count: u32, version: u32 },
    Lose(u64),
    Return(u64),
    Crash(usize),
    Fail(usize),
    Empty(u64),
    Run,
    Plan,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..3_usize, 0..5_u32, 0..3_u32).prop_map(|(nth, count, version)| Act::Deploy { nth, count, version }),
        (1..5_u64).prop_map(Act::Lose),
        (1..5_u64).prop_map(Act::Return),
        (0..8_usize).prop_map(Act::Crash),
        (0..8_usize).prop_map(Act::Fail),
        (1..5_u64).prop_map(Act::Empty),
        Just(Act::Run),
        Just(Act::Run),
        Just(Act::Plan),
        Just(Act::Plan),
    ]
}

fn perform(cluster: &mut Cluster, act: &Act) {
    let nth_replica = |cluster: &Cluster, nth: usize| {
        let living = cluster.state.replicas.values().filter(|replica| !replica.lost);
        living.map(|replica| replica.id).nth(nth)
    };
    match act {
        Act::Deploy { nth, count, version } => {
            let mut spec = if (nth + *version as usize).is_multiple_of(3) { spec(*count) } else { reserved(*count) };
            spec.tags = BTreeMap::from([("version".to_owned(), version.to_string())]);
            cluster.deploy(&format!("fraud/dep{nth}"), spec);
        }
        Act::Lose(node) => cluster.transition(*node, NodeState::Lost),
        Act::Return(node) => cluster.node(*node, profile(&format!("n{node}"))),
        Act::Empty(node) => {
            cluster.drain(*node, *node == 3);
        }
        Act::Crash(nth) => {
            if let Some(replica) = nth_replica(cluster, *nth) {
                cluster.report(replica, Observed::Starting);
            }
        }
        Act::Fail(nth) => {
            if let Some(replica) = nth_replica(cluster, *nth) {
                cluster.report(replica, Observed::Failed);
            }
        }
        Act::Run => {
            cluster.nodes_act();
        }
        Act::Plan => {
            let (steps, _) = cluster.plan();
            cluster.commit(steps);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, every invariant holds after every entry (the kit checks), planning a planned state gives
    /// nothing new, and once the faults end every deployment that fits comes to rest with what it asked for.
    #[test]
    fn any_history_converges(acts in prop::collection::vec(act(), 0..60)) {
        let mut cluster = Cluster::of(4);
        for act in &acts {
            perform(&mut cluster, act);
        }
        cluster.now = cluster.now + Millis::from_secs(3_600);
        for node in 1..=4 {
            cluster.node(node, profile(&format!("n{node}")));
            cluster.drain_ends(node);
        }
        cluster.now = cluster.now + Millis::from_secs(3_600);
        // One that came back too often was heard for long enough by now.
        (1..=4).for_each(|node| cluster.transition(node, NodeState::Ready));
        cluster.settle();
        for deployment in cluster.state.deployments.values() {
            let replicas: Vec<_> = cluster.state.replicas_of(&deployment.key).collect();
            prop_assert_eq!(replicas.len() as u64, deployment.desired());
            let slots = cluster.state.slots_of(&deployment.key).count() as u64;
            prop_assert_eq!((slots, deployment.reserve_short_since), (deployment.reserve(), None));
            prop_assert!(replicas.iter().all(|replica| replica.is_ready() && replica.generation == deployment.generation));
        }
    }
}

/// A restart is a rollout of the same spec: all the replicas are others afterwards, and no promise is broken on the way.
#[test]
fn a_restart_replaces_every_replica_within_its_promise() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(4));
    cluster.settle();
    let before: BTreeSet<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.id).collect();
    cluster.must(Command::DeploymentRestart { key: key("fraud/blue"), if_revision: None });
    for _ in 0..200 {
        let (steps, _) = cluster.plan();
        if !steps.is_empty() {
            cluster.commit(steps);
        }
        assert!(cluster.ready("fraud/blue") >= 4, "the promise");
        cluster.nodes_act();
    }
    let after = cluster.replicas("fraud/blue");
    assert_eq!(after.len(), 4);
    assert!(after.iter().all(|replica| !before.contains(&replica.id) && replica.generation == Generation(2)));
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].spec, spec(4));

    cluster.must(Command::DeploymentPause { key: key("fraud/blue"), paused: true, if_revision: None });
    let refused = cluster.refused(Command::DeploymentRestart { key: key("fraud/blue"), if_revision: None });
    assert!(refused.try_.contains("berth rollout resume fraud/blue"), "{refused}");
}

/// One replica that hangs goes; another comes in its place, and the reserve stays whole.
#[test]
fn a_replica_that_an_operator_replaces_is_followed_by_another() {
    let mut cluster = Cluster::of(4);
    cluster.deploy("fraud/blue", reserved(3));
    cluster.settle();
    let victim = cluster.replicas("fraud/blue")[0].id;
    cluster.must(Command::ReplicaReplace { replica: victim, within: Some(Millis::from_secs(5)) });
    let gone = &cluster.state.replicas[&victim];
    assert_eq!((gone.state, gone.reason.as_str()), (ReplicaState::Draining, "an operator replaces it"));
    assert_eq!(gone.drain_deadline, cluster.now + Millis::from_secs(5));
    let refused = cluster.refused(Command::ReplicaReplace { replica: victim, within: None });
    assert!(refused.what.contains("draining"), "{refused}");
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3);
    assert!(!cluster.state.replicas.contains_key(&victim));
    let status = cluster.state.deployment_status(&key("fraud/blue")).expect("it is there");
    assert_eq!(status.state, DeploymentState::Succeeded);
    assert_eq!(cluster.state.slots_of(&key("fraud/blue")).count(), 1);

    let nobody = cluster.refused(Command::ReplicaReplace { replica: victim, within: None });
    assert!(nobody.try_.contains("berth get replicas"), "{nobody}");
}

/// A rollout that is paused leaves what serves alone, replaces what is lost, and goes on where it was.
#[test]
fn a_paused_rollout_changes_nothing_that_serves() {
    let mut cluster = Cluster::of(4);
    cluster.deploy("fraud/blue", spec(3));
    cluster.traffic("fraud/blue");
    cluster.settle();
    let pause = |paused| Command::DeploymentPause { key: key("fraud/blue"), paused, if_revision: None };
    cluster.must(pause(true));
    let next = DeploymentSpec { priority: 50, runtime: Runtime::Command(vec!["serve-2".into()]), ..spec(3) };
    cluster.deploy("fraud/blue", next.clone());
    cluster.settle();
    let generations = |cluster: &Cluster| {
        let serving = cluster.replicas("fraud/blue").into_iter().filter(|replica| replica.is_ready());
        let mut all: Vec<_> = serving.map(|replica| replica.generation.0).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(generations(&cluster), [1, 1, 1], "nothing was replaced");
    let status = cluster.state.deployment_status(&key("fraud/blue")).expect("it is there");
    assert!(status.reason.contains("is paused") && status.reason.contains("berth rollout resume"), "{}", status.reason);

    // Whoever wants more gets it, of what is asked for now; whoever wants less keeps what serves.
    cluster.scale("fraud/blue", 4);
    cluster.settle();
    assert_eq!(generations(&cluster), [1, 1, 1, 2]);
    cluster.scale("fraud/blue", 2);
    cluster.settle();
    assert_eq!(generations(&cluster).len(), 2, "what is more than asked for goes all the same");

    // A node that is to be empty is emptied.
    let old =
        cluster.replicas("fraud/blue").into_iter().find(|replica| replica.generation.0 == 1).expect("one is left");
    let node = old.node;
    cluster.drain(node.0, false);
    cluster.settle();
    assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.node != node), "its node is empty");
    assert_eq!(generations(&cluster).len(), 2);

    cluster.must(pause(false));
    cluster.settle();
    assert_eq!(generations(&cluster), [2, 2], "it goes on");
}

/// The specs of the last generations are kept, those that nothing runs too, and no more than that.
#[test]
fn one_may_go_back_to_the_last_generations() {
    let mut cluster = Cluster::of(2);
    for number in 1..=9 {
        let runtime = Runtime::Command(vec![format!("serve-{number}")]);
        cluster.deploy("fraud/blue", DeploymentSpec { runtime, ..spec(1) });
        cluster.settle();
    }
    let deployment = &cluster.state.deployments[&key("fraud/blue")];
    let kept: Vec<_> = deployment.old_specs.keys().map(|generation| generation.0).collect();
    assert_eq!(kept, [4, 5, 6, 7, 8]);
    assert_eq!(deployment.old_began.keys().map(|generation| generation.0).collect::<Vec<_>>(), kept);
}
