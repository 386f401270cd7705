//! Draining a node: replacements first, a deadline that cuts requests and not promises, and every way out of it.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    error::Code,
    id::{NodeId, ReplicaId},
    model::{DrainBy, Node, NodeState, ReplicaState},
    plan::{View, plan},
    state::{Command, DrainWish, Event, Observed, Reply, Step},
    time::{LogTime, Millis},
};

use crate::kit::{Cluster, key, profile, spec};

fn node(cluster: &Cluster, id: u64) -> &Node {
    &cluster.state.nodes[&NodeId(id)]
}

fn on(cluster: &Cluster, id: u64) -> Vec<ReplicaId> {
    cluster.state.replicas_on(NodeId(id)).map(|replica| replica.id).collect()
}

fn last_event<'a>(cluster: &'a Cluster, kind: &str) -> Option<&'a Event> {
    cluster.state.events.iter().rev().find(|event| event.kind == kind)
}

fn within(secs: u64) -> DrainWish {
    DrainWish { within: Millis::from_secs(secs), reason: String::new(), force: false, by: DrainBy::Operator }
}

fn settled(nodes: u64, instances: u32) -> Cluster {
    let mut cluster = Cluster::of(nodes);
    cluster.deploy("fraud/blue", spec(instances));
    cluster.settle();
    cluster
}

#[test]
fn another_serves_before_one_drains_and_the_end_is_recorded() {
    let mut cluster = settled(3, 3);
    let [replica] = on(&cluster, 2)[..] else { panic!("one on each") };
    cluster.drain(2, false);
    let (steps, _) = cluster.plan();
    assert!(matches!(&steps[..], [Step::Place { .. }]), "nothing leaves before another is there: {steps:?}");
    cluster.commit(steps);
    for _ in 0..20 {
        assert!(cluster.ready("fraud/blue") >= 3, "the promise");
        cluster.nodes_act();
        let (steps, _) = cluster.plan();
        for step in &steps {
            if let Step::Drain { replica: leaving, deadline, reason } = step {
                assert_eq!((*leaving, reason.as_str()), (replica, "drain of n2: reboot"));
                assert!(*deadline <= node(&cluster, 2).drain.as_ref().unwrap().deadline);
            }
        }
        cluster.commit(steps);
    }
    let drain = node(&cluster, 2).drain.clone().expect("the wish stays");
    assert!(drain.finished_at.is_some());
    assert_eq!((drain.moved, drain.cut_requests), (1, 0));
    assert_eq!(node(&cluster, 2).wish(), Some("drained"));
    assert_eq!(node(&cluster, 2).state, NodeState::Ready, "what it is and what is wished are two things");
    let event = last_event(&cluster, "node.drained").expect("its end is told");
    assert!(event.text.ends_with("1 replica left, no request was cut"), "{}", event.text);
    assert!(cluster.plan().0.is_empty(), "nothing comes back by itself");
    cluster.must(Command::NodeCordon { name: "n2".parse().unwrap(), cordoned: false });
    assert_eq!(node(&cluster, 2).wish(), None);
}

#[test]
fn an_empty_node_is_drained_at_once() {
    let mut cluster = Cluster::of(2);
    cluster.drain(1, false);
    assert_eq!(node(&cluster, 1).wish(), Some("drained"));
    let text = &last_event(&cluster, "node.drained").expect("its end is told").text;
    assert!(text.ends_with("is empty: nothing had to move"), "{text}");
}

#[test]
fn the_last_node_that_fits_keeps_its_replicas_and_says_why() {
    let mut cluster = settled(1, 2);
    cluster.drain(1, false);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2);
    cluster.now = cluster.now + Millis::from_secs(3_600);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2, "its deadline cuts requests, never the promise");
    let verdict = cluster.plan().1.short.remove(&key("fraud/blue")).expect("it is said why");
    assert!(verdict.to_string().contains("draining"), "{verdict}");
    cluster.node(2, profile("n2"));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2);
    assert!(on(&cluster, 1).is_empty(), "as soon as there is room it goes on");
}

#[test]
fn force_gives_up_at_the_deadline_what_fits_nowhere() {
    let mut cluster = settled(1, 2);
    cluster.drain(1, true);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2, "not before");
    assert_eq!(cluster.plan().1.next_due, Some(node(&cluster, 1).drain.as_ref().unwrap().deadline));
    cluster.now = cluster.now + Millis::from_secs(60);
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), on(&cluster, 1).len()), (0, 0), "nobody falls back on it");
    assert_eq!(node(&cluster, 1).wish(), Some("drained"));
}

#[test]
fn the_deadline_cuts_what_still_runs_and_names_it() {
    let mut cluster = settled(2, 1);
    let home = cluster.replicas("fraud/blue")[0].node.0;
    let [busy] = on(&cluster, home)[..] else { panic!("one replica") };
    cluster.wish(home, Some(within(10)));
    for _ in 0..8 {
        let warm = cluster.in_state("fraud/blue", ReplicaState::Warm).into_iter().collect();
        let (steps, _) = cluster.plan_with(&warm, &BTreeSet::new());
        cluster.commit(steps);
        cluster.nodes_act();
    }
    assert_eq!(cluster.in_state("fraud/blue", ReplicaState::Draining), [busy], "two requests hold it");
    cluster.now = cluster.now + Millis::from_secs(10);
    let (none, in_flight) = (BTreeSet::new(), BTreeMap::from([(busy, 2)]));
    let view = View {
        state: &cluster.state,
        term: cluster.state.term,
        seed: &cluster.seed,
        acknowledged: &none,
        known: cluster.state.applied,
        drained: &none,
        in_flight: &in_flight,
        in_grace: &BTreeSet::new(),
    };
    let steps: Vec<_> = plan(&view, cluster.now).0.into_iter().flat_map(|part| part.steps).collect();
    assert!(matches!(&steps[..], [Step::Stop { replica, cut: 2, .. }] if *replica == busy), "{steps:?}");
    cluster.commit(steps);
    let cut = last_event(&cluster, "replica.cut").expect("what was cut is told");
    assert!(cut.text.contains("ends with 2 requests under way: its drain deadline passed"), "{}", cut.text);
    cluster.report(busy, Observed::Gone);
    assert_eq!(node(&cluster, home).drain.as_ref().unwrap().cut_requests, 2);
    let text = &last_event(&cluster, "node.drained").expect("it is empty").text;
    assert!(text.ends_with("2 requests were cut"), "{text}");
}

/// A drain that is withdrawn after any number of steps leaves as many as were asked for and nothing else.
#[test]
fn a_drain_withdrawn_half_way_harms_nobody() {
    for steps in 0..12 {
        let mut cluster = settled(3, 4);
        cluster.drain(1, false);
        for _ in 0..steps {
            let (steps, _) = cluster.plan();
            cluster.commit(steps);
            assert!(cluster.ready("fraud/blue") >= 4);
            cluster.nodes_act();
        }
        cluster.drain_ends(1);
        cluster.settle();
        assert_eq!((cluster.ready("fraud/blue"), cluster.replicas("fraud/blue").len()), (4, 4), "after {steps} steps");
        assert_eq!(node(&cluster, 1).wish(), None);
    }
}

#[test]
fn a_wish_outlives_silence_loss_and_return() {
    let mut cluster = settled(3, 3);
    cluster.drain(1, false);
    cluster.transition(1, NodeState::Suspect);
    assert_eq!(node(&cluster, 1).wish(), Some("draining"));
    cluster.transition(1, NodeState::Lost);
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), node(&cluster, 1).wish()), (3, Some("draining")), "one copy is out there");
    cluster.node(1, profile("n1"));
    cluster.settle();
    assert_eq!(node(&cluster, 1).wish(), Some("drained"));
    assert!(on(&cluster, 1).is_empty());
}

#[test]
fn what_an_agent_wished_for_itself_ends_when_it_is_back_and_never_overrules_an_operator() {
    let mut cluster = settled(3, 3);
    let own = DrainWish { by: DrainBy::Agent, ..within(30) };
    cluster.wish(1, Some(own.clone()));
    cluster.settle();
    assert_eq!(node(&cluster, 1).wish(), Some("drained"));
    cluster.node(1, profile("n1"));
    assert_eq!(node(&cluster, 1).wish(), None);
    cluster.wish(1, Some(DrainWish { reason: "disk".to_owned(), ..within(600) }));
    cluster.wish(1, Some(own));
    let drain = node(&cluster, 1).drain.clone().expect("the operator's");
    assert_eq!((drain.reason.as_str(), drain.by), ("disk", DrainBy::Operator));
    cluster.node(1, profile("n1"));
    assert!(node(&cluster, 1).drain.is_some());
}

#[test]
fn a_second_wish_moves_the_deadline_and_keeps_the_count() {
    let mut cluster = settled(3, 3);
    cluster.drain(1, false);
    cluster.settle();
    cluster.now = cluster.now + Millis::from_secs(5);
    cluster.wish(1, Some(within(600)));
    let drain = node(&cluster, 1).drain.clone().expect("there");
    assert_eq!(drain.deadline, cluster.now + Millis::from_secs(600));
    assert_eq!((drain.started_at, drain.moved), (LogTime::from_millis(1_000_000), 1));
    assert!(drain.finished_at.is_some());
}

#[test]
fn absurd_wishes_are_refused_with_every_problem() {
    let mut cluster = Cluster::of(1);
    let wish = DrainWish { within: Millis(u64::MAX), reason: "x".repeat(600), force: false, by: DrainBy::Operator };
    let command = Command::NodeDrain { name: "n1".parse().unwrap(), wish: Some(wish) };
    let Reply::Refused(error) = cluster.apply(command) else { panic!("it was taken") };
    assert_eq!((error.code, error.problems.len()), (Code::Invalid, 2));
    let missing = Command::NodeDrain { name: "n7".parse().unwrap(), wish: None };
    let Reply::Refused(error) = cluster.apply(missing) else { panic!("it was taken") };
    assert_eq!(error.code, Code::NodeNotFound);
}

#[test]
fn a_rollout_and_a_drain_at_once_keep_the_promise() {
    let mut cluster = settled(4, 5);
    let mut next = spec(5);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    cluster.drain(2, false);
    for _ in 0..200 {
        let (steps, _) = cluster.plan();
        cluster.commit(steps);
        assert!(cluster.ready("fraud/blue") >= 5);
        cluster.nodes_act();
    }
    assert!(on(&cluster, 2).is_empty());
    assert_eq!((cluster.ready("fraud/blue"), cluster.replicas("fraud/blue").len()), (5, 5));
}
