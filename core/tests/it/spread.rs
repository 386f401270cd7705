//! Spread: what instances keep apart by, and what they insist on.

use std::collections::BTreeMap;

use berth_core::{
    controller::explain,
    error::Code,
    id::{Generation, ReplicaId},
    model::{DeploymentSpec, NodeProfile, NodeState, Spread, SpreadBy},
    state::{Command, Plan, Reply, Step},
    units::Resources,
};

use crate::kit::{Cluster, NODE, key, profile, reserved, spec};

/// Nodes as `name zone rack cores`.
fn fleet(nodes: &[(&str, &str, &str, u64)]) -> Cluster {
    let mut cluster = Cluster::empty();
    for (at, (name, zone, rack, cores)) in nodes.iter().enumerate() {
        let labels = [("zone", zone), ("rack", rack)].into_iter().filter(|(_, label)| !label.is_empty());
        let labels = labels.map(|(name, label)| (name.to_owned(), (*label).to_owned())).collect();
        let capacity = Resources { cpu_milli: cores * 1_000, memory_mib: 65_536, ..NODE };
        cluster.node(at as u64 + 1, NodeProfile { labels, capacity, ..profile(name) });
    }
    cluster
}

fn apart(by: SpreadBy, max: Option<u32>, spec: DeploymentSpec) -> DeploymentSpec {
    DeploymentSpec { spread: Spread { by, max_per_domain: max }, ..spec }
}

/// Counts replicas per value of what `of` makes of their node's name.
fn counts(cluster: &Cluster, name: &str, of: fn(&str) -> &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for replica in cluster.replicas(name) {
        let node = cluster.state.nodes[&replica.node].profile.name.as_str();
        *counts.entry(of(node).to_owned()).or_default() += 1;
    }
    counts
}

fn zone(node: &str) -> &str {
    &node[..1]
}

fn rack(node: &str) -> &str {
    &node[..2]
}

const UNEVEN: &[(&str, &str, &str, u64)] = &[
    ("a1x", "a", "a1", 4),
    ("a1y", "a", "a1", 4),
    ("a2x", "a", "a2", 4),
    ("a3x", "a", "a3", 4),
    ("b1x", "b", "b1", 8),
];

/// Each row: what four instances keep apart by, and how they end up per zone, rack and node.
#[test]
fn the_first_domain_is_the_one_asked_for() {
    for (by, zones, most_in_rack, nodes) in
        [(SpreadBy::Node, 4, 2, 4), (SpreadBy::Rack, 4, 1, 4), (SpreadBy::Zone, 2, 2, 4), (SpreadBy::None, 4, 4, 1)]
    {
        let mut cluster = fleet(UNEVEN);
        cluster.deploy("fraud/blue", apart(by, None, spec(4)));
        cluster.settle();
        let in_zone = counts(&cluster, "fraud/blue", zone);
        let in_rack = counts(&cluster, "fraud/blue", rack);
        assert!(in_zone.values().all(|count| *count <= zones), "{by:?}: {in_zone:?}");
        assert!(in_rack.values().all(|count| *count <= most_in_rack), "{by:?}: {in_rack:?}");
        let on_nodes = counts(&cluster, "fraud/blue", |node| node).len();
        assert!(on_nodes <= nodes && (by == SpreadBy::None || on_nodes >= 3), "{by:?}: {on_nodes}");
    }
}

#[test]
fn a_hard_spread_waits_and_says_which_domain_is_full() {
    let mut cluster = fleet(&[("a1x", "a", "a1", 8), ("b1x", "b", "b1", 8), ("loose", "", "", 8)]);
    cluster.deploy("fraud/blue", apart(SpreadBy::Zone, Some(1), spec(3)));
    cluster.settle();
    assert_eq!(counts(&cluster, "fraud/blue", zone), BTreeMap::from([("a".into(), 1), ("b".into(), 1)]));
    let text = explain(&cluster.state, &key("fraud/blue")).expect("it is there").to_string();
    assert_eq!(
        text,
        "\
fraud/blue  2/3 placed
  a1x    spread  zone a holds 1 of at most 1
  b1x    spread  zone b holds 1 of at most 1
  loose  spread  wants at most 1 in a zone, has no zone
  nearest: add a node of cpu=1,memory=1GiB,zone=another"
    );
    cluster.node(9, {
        let labels = [("zone".to_owned(), "c".to_owned())].into();
        NodeProfile { labels, ..profile("c1x") }
    });
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3);
}

#[test]
fn at_most_one_per_node_holds_through_updates_and_losses() {
    let mut cluster = fleet(&[("a1x", "a", "a1", 8), ("a1y", "a", "a1", 8), ("a1z", "a", "a1", 8)]);
    cluster.deploy("fraud/blue", apart(SpreadBy::Node, Some(1), reserved(3)));
    cluster.settle();
    assert_eq!(counts(&cluster, "fraud/blue", |node| node).len(), 3);
    let mut next = apart(SpreadBy::Node, Some(1), reserved(3));
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("fraud/blue", next);
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), counts(&cluster, "fraud/blue", |node| node).len()), (3, 3));
    cluster.transition(1, NodeState::Lost);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2, "no node gets a second one, not from the reserve either");
    cluster.transition(1, NodeState::Ready);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3);
}

#[test]
fn a_full_domain_is_refused_again_when_a_step_is_applied() {
    let mut cluster = fleet(&[("a1x", "a", "a1", 8), ("a1y", "a", "a1", 8)]);
    cluster.deploy("fraud/blue", apart(SpreadBy::Rack, Some(1), spec(2)));
    cluster.settle();
    let taken = cluster.replicas("fraud/blue")[0].node;
    let node = cluster.state.nodes.keys().copied().find(|node| *node != taken).expect("the other node");
    let step = Step::Place {
        replica: ReplicaId(7),
        key: key("fraud/blue"),
        generation: Generation(1),
        node,
        devices: Vec::new(),
        replaces: None,
        reserve_spent: None,
        reason: "test".to_owned(),
    };
    let plan = Plan { term: cluster.state.term, based_on: cluster.state.applied, part: 0, parts: 1, steps: vec![step] };
    let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("a plan") };
    assert_eq!(outcomes[0].as_ref().map_err(|error| error.code), Err(Code::NoCapacity));
}

#[test]
fn another_spread_starts_nothing_anew() {
    let mut cluster = fleet(UNEVEN);
    cluster.deploy("fraud/blue", spec(4));
    cluster.settle();
    cluster.deploy("fraud/blue", apart(SpreadBy::Zone, None, spec(4)));
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].generation, Generation(1));
    assert!(cluster.plan().0.is_empty());
}
