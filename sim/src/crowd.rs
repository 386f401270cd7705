//! Crowds: what goes wrong with many nodes at once, and the judge of what a leader makes of it.

use berth_core::model::NodeState;
use berth_core::state::Command;

use crate::{action::Action, event::Event, net::Addr, world::World};

/// Milliseconds of silence after which a node is silent for any leader, however it counts.
const SILENT_MS: u64 = 2_600;
/// Milliseconds within which those that fell silent did so together.
const TOGETHER_MS: u64 = 28_000;

// === impl World ===

impl World {
    /// Cuts nodes off from every coordinator; their callers notice nothing of it.
    pub(crate) fn cut_off(&mut self, nodes: &[usize]) {
        let names: Vec<String> = nodes.iter().map(|node| format!("n{}", node + 1)).collect();
        self.note(&format!("fault: {} lose the coordinators", names.join(", ")));
        for node in nodes {
            self.disturb(*node);
            (0..self.members.len()).for_each(|at| self.net.cut(Addr::Node(*node), Addr::Member(at)));
        }
    }

    /// Lets a share of the hosts lose power, told in one line.
    pub(crate) fn blackout(&mut self, percent: u64) {
        let count = self.nodes.len() * percent as usize / 100;
        self.note(&format!("fault: {count} of {} hosts lose power", self.nodes.len()));
        for node in 0..count {
            self.nodes[node].host_up = false;
            self.kill_agent(node);
            self.kill_processes(node);
        }
    }

    /// Kills every host of a rack.
    pub(crate) fn kill_rack(&mut self, rack: &str) {
        self.note(&format!("fault: rack {rack} loses power"));
        for node in self.rack(rack) {
            self.act(Action::KillHost(node));
        }
    }

    /// Starts every host of a rack that is down.
    pub(crate) fn start_rack(&mut self, rack: &str) {
        for node in self.rack(rack) {
            self.start_node(node);
        }
    }

    fn rack(&self, rack: &str) -> Vec<usize> {
        let is_in = |at: &usize| self.nodes[*at].profile.labels.get("rack").is_some_and(|name| name == rack);
        (0..self.nodes.len()).filter(is_in).collect()
    }

    /// Lets an agent come back to a host with other cores.
    pub(crate) fn shrink(&mut self, node: usize, cores: u64) {
        self.nodes[node].profile.capacity.cpu_milli = cores * 1_000;
        if self.nodes[node].up {
            self.act(Action::KillAgent(node));
            self.after(300, Event::Do(Action::StartNode(node)));
        }
    }

    /// Insists that of many nodes that fall silent together none is given up for its silence: who listens is the
    /// likelier fault.
    pub(crate) fn judge_verdict(&mut self, at: usize, command: &Command) {
        let Command::NodeTransition(transition) = command else { return };
        let is_well = |node: &crate::node::SimNode| node.id == transition.node && node.up;
        if transition.to != NodeState::Lost || !self.nodes.iter().any(is_well) {
            return;
        }
        let nodes = self.members[at].state.nodes.values().filter(|node| node.state != NodeState::Lost);
        let total = nodes.clone().count() as u64;
        let is_silent = |heard_at: u64| (heard_at + SILENT_MS..heard_at + TOGETHER_MS).contains(&self.now);
        let silent = nodes.filter(|node| self.judge.heard_at.get(&node.id).is_some_and(|at| is_silent(*at))).count();
        if silent as u64 > (total * 3 / 10).max(2) {
            let what = format!("{silent} of {total} nodes are silent together, and n{} is given up", transition.node.0);
            self.judge.broken("RC02", what, self.now);
        }
    }
}
