//! What silence means, as a table of timelines.

use std::collections::BTreeSet;

use berth_core::{
    health::{Finding, GateProbe, Health},
    id::{NodeEpoch, NodeId},
    model::NodeState,
    state::ClusterState,
};

use crate::kit::{Cluster, ms};

fn state_with(nodes: u64) -> ClusterState {
    Cluster::of(nodes).state
}

fn listening(state: &ClusterState) -> Health {
    let mut health = Health::new(ms(0));
    for node in state.nodes.values() {
        health.opened(node.id, node.epoch, ms(0));
    }
    health
}

fn transitions(findings: Vec<Finding>) -> Vec<(NodeId, NodeState)> {
    let of = |finding| match finding {
        Finding::Transition { node, to, .. } => Some((node, to)),
        Finding::Probe { .. } | Finding::Close { .. } => None,
    };
    findings.into_iter().filter_map(of).collect()
}

/// Ticks like a shell does, every 100 ms, while the nodes in `talking` keep talking.
fn run(
    health: &mut Health,
    state: &ClusterState,
    from_ms: u64,
    to_ms: u64,
    talking: &[u64],
) -> Vec<(NodeId, NodeState)> {
    let mut last = Vec::new();
    for now in (from_ms..=to_ms).step_by(100) {
        for node in talking {
            health.heard(NodeId(*node), NodeEpoch(1), ms(now));
        }
        last = transitions(health.tick(state, ms(now)));
    }
    last
}

#[test]
fn silence_is_first_suspect_then_lost() {
    let state = state_with(3);
    let mut health = listening(&state);
    assert_eq!(run(&mut health, &state, 0, 1_400, &[2, 3]), []);
    assert_eq!(run(&mut health, &state, 1_500, 1_500, &[2, 3]), [(NodeId(1), NodeState::Suspect)]);
    assert_eq!(run(&mut health, &state, 1_600, 3_000, &[2, 3]), [(NodeId(1), NodeState::Lost)]);
}

#[test]
fn a_refused_gate_after_an_ended_session_is_a_crash_at_once() {
    let state = state_with(3);
    let mut health = listening(&state);
    run(&mut health, &state, 0, 500, &[1, 2, 3]);
    health.closed(NodeId(1), NodeEpoch(1));
    let findings = health.tick(&state, ms(600));
    assert!(matches!(&findings[..], [Finding::Probe { node: NodeId(1), .. }]), "{findings:?}");
    health.probed(NodeId(1), NodeEpoch(1), GateProbe::Unreachable, ms(610));
    assert_eq!(transitions(health.tick(&state, ms(620))), [], "no answer is no proof");
    health.probed(NodeId(1), NodeEpoch(1), GateProbe::Refused, ms(630));
    assert_eq!(transitions(health.tick(&state, ms(640))), [(NodeId(1), NodeState::Lost)]);
    assert_eq!(health.in_grace(ms(1_629)), BTreeSet::from([NodeId(1)]));
    assert_eq!(health.in_grace(ms(1_630)), BTreeSet::new(), "the grace is over after a second");
}

#[test]
fn a_gate_that_still_answers_is_asked_again_soon_and_then_less_often() {
    let state = state_with(3);
    let mut health = listening(&state);
    health.closed(NodeId(1), NodeEpoch(1));
    let mut asked = Vec::new();
    for now in (600..2_600).step_by(10) {
        health.heard(NodeId(2), NodeEpoch(1), ms(now));
        health.heard(NodeId(3), NodeEpoch(1), ms(now));
        let findings = health.tick(&state, ms(now));
        if findings.iter().any(|finding| matches!(finding, Finding::Probe { .. })) {
            asked.push(now);
        }
    }
    assert_eq!(asked, [600, 650, 750, 950, 1_350, 1_850, 2_350]);
}

#[test]
fn a_late_probe_does_not_condemn_a_node_that_is_back() {
    let state = state_with(3);
    let mut health = listening(&state);
    health.closed(NodeId(1), NodeEpoch(1));
    health.opened(NodeId(1), NodeEpoch(1), ms(50));
    health.probed(NodeId(1), NodeEpoch(1), GateProbe::Refused, ms(60));
    assert_eq!(transitions(health.tick(&state, ms(70))), []);
}

#[test]
fn a_pause_of_the_leader_is_nobodys_silence() {
    let state = state_with(3);
    let mut health = listening(&state);
    run(&mut health, &state, 0, 500, &[1, 2, 3]);
    assert_eq!(transitions(health.tick(&state, ms(60_000))), [], "it was away itself");
    assert_eq!(run(&mut health, &state, 60_100, 61_500, &[1, 2]), [(NodeId(3), NodeState::Suspect)]);
}

#[test]
fn a_mass_silence_evicts_nobody() {
    let state = state_with(10);
    let mut health = listening(&state);
    run(&mut health, &state, 0, 30_000, &[1, 2, 3, 4, 5]);
    assert!(health.brake().is_some());
    let now = run(&mut health, &state, 30_100, 60_000, &[1, 2, 3, 4, 5]);
    assert!(now.iter().all(|(_, to)| *to == NodeState::Suspect), "{now:?}");
    let now = run(&mut health, &state, 60_100, 60_100, &[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(health.brake(), None, "three of ten are no more than the threshold");
    assert_eq!(now, [], "the others get the time to be heard again");
    let now = run(&mut health, &state, 60_200, 63_100, &[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(now, [8, 9, 10].map(|node| (NodeId(node), NodeState::Lost)), "and are lost when they are not");
}

#[test]
fn a_lost_node_that_talks_must_register_again() {
    let mut cluster = Cluster::of(3);
    cluster.transition(1, NodeState::Lost);
    let state = cluster.state;
    let mut health = listening(&state);
    let findings = health.tick(&state, ms(100));
    assert_eq!(findings, [Finding::Close { node: NodeId(1), epoch: NodeEpoch(1) }]);
}
