//! What a deployment wants of nodes that cannot be reached, what the cluster makes of nodes that come and go, and what
//! an operator may set.

use std::collections::BTreeSet;

use berth_core::{
    error::Code,
    health::{Finding, Health},
    id::{LogIndex, NodeEpoch, NodeId},
    model::{DeploymentSpec, Device, Disconnect, GpuAsk, NodeProfile, NodeState, Reconcile, SettingsChange},
    state::{ClusterState, Command, Observed, RegisterNode, ReplicaReport, Reply},
    time::Millis,
    units::Resources,
};

use crate::kit::{Cluster, NODE, key, ms, profile, reserved, spec};

fn with(instances: u32, disconnect: Disconnect) -> DeploymentSpec {
    DeploymentSpec { disconnect, ..spec(instances) }
}

/// A cluster of three in which the deployment serves and the node of its only replica is then lost.
fn lost(disconnect: Disconnect) -> (Cluster, u64) {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", with(1, disconnect));
    cluster.settle();
    let home = cluster.replicas("fraud/blue")[0].node.0;
    cluster.transition(home, NodeState::Lost);
    (cluster, home)
}

fn set(cluster: &mut Cluster, change: SettingsChange) -> Reply {
    cluster.apply(Command::SettingsSet { change, if_revision: None })
}

/// Each row: what the deployment says, seconds after the node was lost, how many copies there are.
#[test]
fn replacements_wait_as_long_as_the_deployment_says() {
    let default = Disconnect::default();
    let patient = Disconnect { lost_after: Some(Millis::from_secs(63)), ..default };
    for (disconnect, after_s, copies, why) in [
        (default, 0, 2, "the cluster's rule"),
        (patient, 0, 1, "it is waited for"),
        (patient, 59, 1, "63 s of silence less the 3 that lost the node"),
        (patient, 60, 2, "its patience is over"),
        (
            Disconnect { lost_after: Some(Millis::from_secs(1)), ..default },
            0,
            2,
            "it cannot be less than the cluster's",
        ),
        (Disconnect { replace: false, ..default }, 86_400, 1, "it is never replaced"),
    ] {
        let (mut cluster, _) = lost(disconnect);
        cluster.now = cluster.now + Millis::from_secs(after_s);
        cluster.settle();
        assert_eq!(cluster.replicas("fraud/blue").len(), copies, "{why}");
        let due = cluster.plan().1.next_due;
        assert_eq!(due.is_some(), copies == 1 && disconnect.replace, "{why}: woken when it is due");
    }
}

#[test]
fn one_that_is_never_replaced_serves_again_when_its_node_is_back() {
    let (mut cluster, home) = lost(Disconnect { replace: false, ..Disconnect::default() });
    let original = cluster.replicas("fraud/blue")[0].id;
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 0);
    cluster.node(home, profile(&format!("n{home}")));
    cluster.settle();
    let replicas: Vec<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.id).collect();
    assert_eq!((replicas, cluster.ready("fraud/blue")), (vec![original], 1));
}

#[test]
fn one_more_than_what_is_waited_for_stands_in_for_nobody() {
    let mut cluster = Cluster::of(4);
    let disconnect = Disconnect { replace: false, ..Disconnect::default() };
    cluster.deploy("fraud/blue", DeploymentSpec { disconnect, ..reserved(2) });
    cluster.settle();
    let home = cluster.replicas("fraud/blue")[0].node.0;
    cluster.transition(home, NodeState::Lost);
    cluster.settle();
    cluster.scale("fraud/blue", 3);
    cluster.settle();
    assert_eq!((cluster.replicas("fraud/blue").len(), cluster.ready("fraud/blue")), (3, 2));
    for replica in cluster.replicas("fraud/blue") {
        assert_eq!((replica.replaces, &replica.reserve_spent), (None, &None), "an instance of its own");
    }
    cluster.node(home, profile(&format!("n{home}")));
    cluster.settle();
    assert_eq!(
        (cluster.replicas("fraud/blue").len(), cluster.ready("fraud/blue")),
        (3, 3),
        "and nobody is one too many"
    );
}

#[test]
fn a_forgotten_node_is_waited_for_no_longer() {
    let (mut cluster, home) = lost(Disconnect { replace: false, ..Disconnect::default() });
    cluster.must(Command::NodeForget { name: format!("n{home}").parse().unwrap() });
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 1);
}

/// Each row: the policy, and whether the original is the one that stays.
#[test]
fn of_two_copies_the_one_that_is_wanted_stays_and_nobody_falls_short() {
    for (reconcile, original_stays) in
        [(Reconcile::KeepServing, false), (Reconcile::KeepOriginal, true), (Reconcile::KeepReplacement, false)]
    {
        let (mut cluster, home) = lost(Disconnect { reconcile, ..Disconnect::default() });
        let original = cluster.replicas("fraud/blue")[0].id;
        cluster.now = cluster.now + Millis::from_secs(5);
        cluster.settle();
        assert_eq!(cluster.ready("fraud/blue"), 1, "the replacement serves");
        cluster.node(home, profile(&format!("n{home}")));
        for _ in 0..30 {
            let (steps, _) = cluster.plan();
            cluster.commit(steps);
            assert!(cluster.ready("fraud/blue") >= 1, "{reconcile:?}");
            cluster.nodes_act();
        }
        let replicas: BTreeSet<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.id).collect();
        assert_eq!((replicas.len(), replicas.contains(&original)), (1, original_stays), "{reconcile:?}");
    }
}

#[test]
fn a_replacement_that_is_not_up_yet_does_not_win_over_an_original_that_is() {
    let (mut cluster, home) = lost(Disconnect { reconcile: Reconcile::KeepReplacement, ..Disconnect::default() });
    let original = cluster.replicas("fraud/blue")[0].id;
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    cluster.stuck =
        cluster.replicas("fraud/blue").iter().map(|replica| replica.id).filter(|id| *id != original).collect();
    cluster.node(home, profile(&format!("n{home}")));
    for _ in 0..10 {
        cluster.nodes_act();
        let (steps, _) = cluster.plan();
        cluster.commit(steps);
    }
    assert!(cluster.state.replicas[&original].is_ready(), "who serves is not ended for who may one day");
}

#[test]
fn a_change_of_policy_starts_no_rollout() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(2));
    cluster.settle();
    cluster.deploy("fraud/blue", with(2, Disconnect { replace: false, ..Disconnect::default() }));
    assert!(cluster.plan().0.is_empty());
    assert!(!cluster.state.deployments[&key("fraud/blue")].spec.disconnect.replace);
}

#[test]
fn absurd_policies_are_refused_with_every_problem() {
    let disconnect = Disconnect {
        lost_after: Some(Millis(u64::MAX)),
        replace: false,
        stop_on_client_after: Some(Millis(1)),
        reconcile: Reconcile::KeepOriginal,
    };
    let error = with(1, disconnect).validate().expect_err("it is absurd");
    let fields: Vec<_> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["disconnect.lost_after", "disconnect.lost_after", "disconnect.stop_on_client_after"]);
}

#[test]
fn settings_are_judged_together_and_kept_with_their_revision() {
    let mut cluster = Cluster::of(1);
    let change = SettingsChange { suspect_after: Some(Millis(9_000)), ..Default::default() };
    let Reply::Refused(error) = set(&mut cluster, change) else { panic!("lost before it is suspected") };
    assert_eq!((error.code, error.problems[0].field.as_str()), (Code::Invalid, "lost_after"));
    let change = SettingsChange { lost_after: Some(Millis(20_000)), ..Default::default() };
    cluster.must(Command::SettingsSet { change: change.clone(), if_revision: Some(LogIndex(0)) });
    assert_eq!(cluster.state.settings.revision, cluster.state.applied);
    let stale = Command::SettingsSet { change, if_revision: Some(LogIndex(0)) };
    let Reply::Refused(error) = cluster.apply(stale) else { panic!("it changed since") };
    assert_eq!(error.code, Code::Revision);
    let snapshot = ClusterState::from_snapshot(cluster.state.to_snapshot());
    assert_eq!(snapshot.settings, cluster.state.settings);
}

/// Listens to a cluster in which node 1 is silent and the others are not, and says when it was suspect and lost.
fn silence(cluster: &Cluster) -> Vec<(u64, NodeState)> {
    let mut health = Health::new(ms(0));
    let mut seen: Vec<(u64, NodeState)> = Vec::new();
    for node in cluster.state.nodes.values() {
        health.opened(node.id, node.epoch, ms(0));
    }
    for now in (0..=12_000).step_by(100) {
        for node in cluster.state.nodes.values().filter(|node| node.id != NodeId(1)) {
            health.heard(node.id, node.epoch, ms(now));
        }
        for finding in health.tick(&cluster.state, ms(now)) {
            if let Finding::Transition { node: NodeId(1), to, .. } = finding
                && seen.last().is_none_or(|(_, last)| *last != to)
            {
                seen.push((now, to));
            }
        }
    }
    seen
}

#[test]
fn a_leader_listens_by_what_was_set() {
    let mut cluster = Cluster::of(3);
    assert_eq!(silence(&cluster), [(1_500, NodeState::Suspect), (3_000, NodeState::Lost)]);
    let change =
        SettingsChange { suspect_after: Some(Millis(4_000)), lost_after: Some(Millis(9_000)), ..Default::default() };
    set(&mut cluster, change);
    assert_eq!(silence(&cluster), [(4_000, NodeState::Suspect), (9_000, NodeState::Lost)]);
}

#[test]
fn a_node_whose_process_is_exchanged_did_not_come_back() {
    let mut cluster = Cluster::of(2);
    let exchange = |cluster: &mut Cluster| {
        let register = RegisterNode { takes_over: true, ..RegisterNode::new(NodeId(1), profile("n1")) };
        cluster.must(Command::NodeRegister(Box::new(register)));
        let node = &cluster.state.nodes[&NodeId(1)];
        (node.epoch, node.returns, node.state)
    };
    for times in 1..=6 {
        assert_eq!(exchange(&mut cluster), (NodeEpoch(1 + times), 0, NodeState::Ready));
    }
    // Whoever takes over from a process that was lost is back like any other.
    cluster.transition(1, NodeState::Lost);
    assert_eq!(exchange(&mut cluster).1, 1);
}

#[test]
fn an_operator_sets_how_long_a_node_that_flaps_waits() {
    let mut cluster = Cluster::of(2);
    let change = SettingsChange {
        returns_free: Some(1),
        returns_window: Some(Millis(8_000)),
        return_hold: Some(Millis(2_000)),
        return_hold_max: Some(Millis(3_000)),
        ..Default::default()
    };
    set(&mut cluster, change);
    for (away_ms, hold_ms) in [(1_000, 0), (1_000, 2_000), (1_000, 3_000), (9_000, 0)] {
        cluster.transition(1, NodeState::Lost);
        cluster.now = cluster.now + Millis(away_ms);
        cluster.node(1, profile("n1"));
        assert_eq!(cluster.state.nodes[&NodeId(1)].hold(&cluster.state.settings), Millis(hold_ms));
    }
}

/// Each row: how often a node came back in a row, and how long it must then be heard before it is used.
#[test]
fn a_node_that_comes_and_goes_is_trusted_later_and_later() {
    let holds = [0, 0, 0, 10, 20, 40, 80, 160, 300, 300];
    let mut cluster = Cluster::of(2);
    for (at, hold_s) in holds.into_iter().enumerate() {
        cluster.transition(1, NodeState::Lost);
        cluster.now = cluster.now + Millis::from_secs(2);
        cluster.node(1, profile("n1"));
        let node = &cluster.state.nodes[&NodeId(1)];
        assert_eq!(node.hold(&cluster.state.settings), Millis::from_secs(hold_s), "return {}", at + 1);
        let state = if hold_s == 0 { NodeState::Ready } else { NodeState::Suspect };
        assert_eq!(node.state, state, "return {}", at + 1);
    }
    cluster.now = cluster.now + Millis::from_secs(601);
    cluster.node(1, profile("n1"));
    assert_eq!(
        cluster.state.nodes[&NodeId(1)].hold(&cluster.state.settings),
        Millis(0),
        "ten minutes of peace forgive"
    );
}

#[test]
fn a_node_that_was_emptied_before_it_went_did_not_fail() {
    let mut cluster = Cluster::of(2);
    for _ in 0..8 {
        cluster.drain(1, false);
        cluster.node(1, profile("n1"));
    }
    assert_eq!(cluster.state.nodes[&NodeId(1)].state, NodeState::Ready);
}

/// Beats for node 1 from one time to another and applies what the leader makes of it.
fn beat(cluster: &mut Cluster, health: &mut Health, from_ms: u64, to_ms: u64, talks: bool) -> Vec<NodeState> {
    let mut seen = Vec::new();
    for now in (from_ms..to_ms).step_by(100) {
        for node in 1..=3 {
            if node != 1 || talks {
                health.heard(NodeId(node), cluster.state.nodes[&NodeId(node)].epoch, ms(now));
            }
        }
        cluster.now = cluster.now + Millis(100);
        for finding in health.tick(&cluster.state, ms(now)) {
            if let Finding::Transition { node, to, .. } = finding {
                cluster.transition(node.0, to);
                seen.push(to);
            }
        }
    }
    seen
}

#[test]
fn a_node_that_flaps_every_two_seconds_for_ten_minutes_costs_a_handful_of_entries() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    let before = cluster.ready("fraud/blue");
    let mut health = Health::new(ms(0));
    (1..=3).for_each(|node| health.opened(NodeId(node), cluster.state.nodes[&NodeId(node)].epoch, ms(0)));
    let mut seen = Vec::new();
    for round in 0..150 {
        let start = round * 4_000;
        seen.extend(beat(&mut cluster, &mut health, start, start + 2_000, false));
        seen.extend(beat(&mut cluster, &mut health, start + 2_000, start + 4_000, true));
    }
    assert!(seen.len() <= 10, "{} entries: {seen:?}", seen.len());
    assert_eq!(cluster.state.nodes[&NodeId(1)].state, NodeState::Suspect, "nothing new comes to it");
    assert_eq!(cluster.ready("fraud/blue"), before, "and what serves there stays");
    let calm = beat(&mut cluster, &mut health, 600_000, 620_000, true);
    assert_eq!(calm, [NodeState::Ready], "heard for long enough it is a node like any other");
}

#[test]
fn a_replica_that_ends_again_and_again_says_so_and_when_it_is_tried_next() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let replica = cluster.replicas("fraud/blue")[0].clone();
    let epoch = cluster.state.nodes[&replica.node].epoch;
    for (restarts, wait_ms, word, events) in [
        (1, 500, "starting", 0),
        (2, 1_000, "starting", 0),
        (3, 2_000, "crash_looping", 1),
        (3, 0, "starting", 1),
        (4, 4_000, "crash_looping", 2),
    ] {
        let report = ReplicaReport {
            replica: replica.id,
            observed: Observed::Starting,
            reason: format!("exited with code 3; tried again in {}", Millis(wait_ms)),
            permanent: false,
            restarts,
            retry_in: Millis(wait_ms),
            pid: 0,
            address: String::new(),
        };
        cluster.must(Command::ReplicaReports { node: replica.node, epoch, reports: vec![report] });
        let now = &cluster.state.replicas[&replica.id];
        assert_eq!(now.word(), word, "{restarts} restarts");
        assert_eq!(now.retry_at.millis() > 0, wait_ms > 0);
        let told = cluster.state.events.iter().filter(|event| event.kind == "replica.crash_looping").count();
        assert_eq!(told, events, "{restarts} restarts");
    }
    let verdict = berth_core::controller::explain(&cluster.state, &key("fraud/blue")).unwrap().to_string();
    assert!(verdict.contains("is crash_looping for 0ms after 4 restarts: exited with code 3"), "{verdict}");
}

#[test]
fn a_node_that_was_forgotten_goes_on_above_the_epoch_its_agent_held() {
    let mut cluster = Cluster::of(2);
    for seen in [7, 3] {
        cluster.transition(1, NodeState::Lost);
        cluster.must(Command::NodeForget { name: "n1".parse().unwrap() });
        let (node, epoch_seen) = (NodeId(1), NodeEpoch(seen));
        let register = RegisterNode { epoch_seen, ..RegisterNode::new(node, profile("n1")) };
        cluster.must(Command::NodeRegister(Box::new(register)));
        assert_eq!(cluster.state.nodes[&node].epoch, NodeEpoch(seen + 1));
    }
    let (node, epoch_seen) = (NodeId(1), NodeEpoch(1));
    let register = RegisterNode { epoch_seen, ..RegisterNode::new(node, profile("n1")) };
    cluster.must(Command::NodeRegister(Box::new(register)));
    assert_eq!(cluster.state.nodes[&node].epoch, NodeEpoch(5), "what the cluster knows counts too");
}

#[test]
fn a_node_that_comes_back_with_less_gives_its_newest_replicas_up() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(6));
    cluster.settle();
    cluster.now = cluster.now + Millis::from_secs(1);
    cluster.scale("fraud/blue", 9);
    cluster.settle();
    let held: Vec<_> = cluster.state.replicas_on(NodeId(2)).map(|replica| (replica.placed_at, replica.id)).collect();
    assert_eq!(held.len(), 3);
    let oldest = held.iter().min().expect("three").1;
    let mut less = profile("n2");
    less.capacity.cpu_milli = 1_500;
    cluster.node(2, less);
    assert!(cluster.state.nodes[&NodeId(2)].overfull);
    assert!(cluster.state.events.iter().any(|event| event.kind == "node.overfull"));
    for _ in 0..60 {
        let (steps, _) = cluster.plan();
        cluster.commit(steps);
        cluster.nodes_act();
    }
    cluster.settle();
    let left: Vec<_> = cluster.state.replicas_on(NodeId(2)).map(|replica| replica.id).collect();
    assert_eq!((left, cluster.ready("fraud/blue")), (vec![oldest], 9));
    assert!(!cluster.state.nodes[&NodeId(2)].overfull, "and is a node like any other");
}

#[test]
fn a_card_with_less_memory_than_is_shared_on_it_gives_its_newest_replicas_up() {
    let card = |uuid: &str, memory_mib| {
        let device = Device { uuid: uuid.to_owned(), memory_mib, healthy: true, ..Device::default() };
        NodeProfile {
            devices: vec![device],
            capacity: Resources { gpus: 1, ..NODE },
            ..profile(&uuid.replace('u', "n"))
        }
    };
    let mut cluster = Cluster::of(0);
    cluster.node(1, card("u1", 24_000));
    cluster.node(2, card("u2", 24_000));
    let share = DeploymentSpec { gpu: GpuAsk::Memory { mib: 8_000, model: None }, ..spec(4) };
    cluster.deploy("fraud/blue", share);
    cluster.settle();
    let oldest = cluster.state.replicas_on(NodeId(2)).map(|replica| (replica.placed_at, replica.id)).min();
    let oldest = oldest.expect("half of them are there").1;
    // Error correction was switched on, or a driver keeps more to itself.
    cluster.node(2, card("u2", 12_000));
    assert!(cluster.state.nodes[&NodeId(2)].overfull);
    let told = cluster.state.events.iter().find(|event| event.kind == "node.overfull").expect("it is told");
    assert!(told.text.contains("has 12000 MiB on device u2, of which 16000 MiB are given"), "{}", told.text);
    cluster.settle();
    let left: Vec<_> = cluster.state.replicas_on(NodeId(2)).map(|replica| replica.id).collect();
    assert_eq!((left, cluster.ready("fraud/blue")), (vec![oldest], 4));
    assert!(!cluster.state.nodes[&NodeId(2)].overfull, "and is a node like any other");
}

#[test]
fn a_slice_of_which_a_driver_counts_less_keeps_its_replica() {
    let slice = |memory_mib| {
        let mig_profile = Some("1g.10gb".to_owned());
        let device = Device { uuid: "s1".to_owned(), memory_mib, mig_profile, healthy: true, ..Device::default() };
        NodeProfile { devices: vec![device], capacity: Resources { gpus: 1, ..NODE }, ..profile("n1") }
    };
    let mut cluster = Cluster::empty();
    cluster.node(1, slice(10_240));
    cluster.deploy(
        "fraud/blue",
        DeploymentSpec { gpu: GpuAsk::Mig { count: 1, profile: "1g.10gb".to_owned() }, ..spec(1) },
    );
    cluster.settle();
    cluster.node(1, slice(10_128));
    assert!(!cluster.state.nodes[&NodeId(1)].overfull);
    let (steps, _) = cluster.plan();
    assert!(steps.is_empty() && cluster.ready("fraud/blue") == 1, "{steps:?}");
}

#[test]
fn what_fits_nowhere_else_stays_on_a_node_that_shrank() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(4));
    cluster.settle();
    let mut less = profile("n1");
    less.capacity.memory_mib = 1;
    cluster.node(1, less);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 4, "nobody is ended for arithmetic");
}
