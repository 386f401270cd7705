//! Health: what a leader makes of a node's silence.
//!
//! Heartbeats are soft: only transitions become log entries. Silence counts from the last heartbeat: suspect, then lost.
//! A session that ends while the gate refuses connections is positive news of a crash, so that node is taken off traffic
//! at once, and its replicas get a short grace before they are replaced, because an agent that restarts adopts them
//! again. When many nodes fall silent together, or nobody at all is heard, the leader suspects itself: the [`brake`] holds
//! everything back.
//!
//! All clocks here start again with a new leader, after a pause of the leader itself, and when the brake lets go, because
//! none of these silences was the nodes'.

mod brake;
mod device;
mod inventory;
mod pulse;
mod xid;

pub use brake::Brake;
pub use device::{CardWatch, DeviceSign, judge_device, probation_of};
pub use inventory::{DriverAnswer, inventory};
pub use xid::{XidClass, xid_class, xid_text};

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{NodeEpoch, NodeId},
    model::{NodeState, Settings},
    state::ClusterState,
    time::{Instant, Millis},
};
use pulse::{Held, Pulse};

/// A gap between two ticks after which the leader itself was away (paused, swapped, starved): it heard nobody, which
/// says nothing about them.
const TICK_GAP_MAX: Millis = Millis(1_000);
/// Time from the first probe of the gate of a node without a session to the second; doubles up to `PROBE_GAP_MAX`. A
/// process that is killed closes its sockets one by one: the first probe may still find its gate open.
const PROBE_GAP: Millis = Millis(50);

/// Longest time between probes.
const PROBE_GAP_MAX: Millis = Millis(500);

/// When silence counts as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Silence after which a node gets no new replicas.
    pub suspect_after: Millis,
    /// Silence after which its replicas are replaced.
    pub lost_after: Millis,
    /// How long a crashed agent has to come back before its replicas are replaced.
    pub restart_grace: Millis,
}

/// What became of a connection attempt to a node's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateProbe {
    /// It accepted.
    Answered,
    /// The host refused: nothing listens there.
    Refused,
    /// Nothing came back in time.
    Unreachable,
}

/// What a leader should do about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Its state changed.
    Transition {
        /// The node.
        node: NodeId,
        /// The epoch it was seen in.
        epoch: NodeEpoch,
        /// What it is now.
        to: NodeState,
        /// Why, for people.
        reason: String,
    },
    /// Try whether its gate accepts connections.
    Probe {
        /// The node.
        node: NodeId,
        /// The epoch it was seen in.
        epoch: NodeEpoch,
        /// Its gate.
        address: String,
    },
    /// It is lost by the log and yet talks: it must register again.
    Close {
        /// The node.
        node: NodeId,
        /// The epoch of its session.
        epoch: NodeEpoch,
    },
}

/// What a leader makes of every node's silence.
#[derive(Clone, Debug)]
pub struct Health {
    thresholds: Thresholds,
    pulses: BTreeMap<NodeId, Pulse>,
    brake: Brake,
    last_tick: Instant,
}

// === impl Thresholds ===

impl Default for Thresholds {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl Thresholds {
    /// Returns what an operator set.
    pub fn of(settings: &Settings) -> Self {
        let Settings { suspect_after, lost_after, restart_grace, .. } = *settings;
        Self { suspect_after, lost_after, restart_grace }
    }
}

// === impl Health ===

impl Health {
    /// Starts to listen at `now`.
    pub fn new(now: Instant) -> Self {
        Self { thresholds: Thresholds::default(), pulses: BTreeMap::new(), brake: Brake::default(), last_tick: now }
    }

    /// Notes that a node's session opened.
    pub fn opened(&mut self, node: NodeId, epoch: NodeEpoch, now: Instant) {
        self.pulses.insert(node, Pulse::open(epoch, now));
    }

    /// Notes that a node's session ended.
    pub fn closed(&mut self, node: NodeId, epoch: NodeEpoch) {
        if let Some(pulse) = self.pulses.get_mut(&node).filter(|pulse| pulse.epoch == epoch) {
            pulse.has_session = false;
            pulse.probe_at = None;
            pulse.probe_gap = PROBE_GAP;
        }
    }

    /// Notes a heartbeat; says whether it counted.
    pub fn heard(&mut self, node: NodeId, epoch: NodeEpoch, now: Instant) -> bool {
        let Some(pulse) = self.pulses.get_mut(&node).filter(|pulse| pulse.epoch == epoch) else { return false };
        pulse.hear(now, self.thresholds.suspect_after);
        true
    }

    /// Notes what a probe of a node's gate found.
    pub fn probed(&mut self, node: NodeId, epoch: NodeEpoch, result: GateProbe, now: Instant) {
        let waiting = |pulse: &&mut Pulse| pulse.epoch == epoch && !pulse.has_session;
        if let Some(pulse) = self.pulses.get_mut(&node).filter(waiting)
            && result == GateProbe::Refused
        {
            pulse.crashed_at.get_or_insert(now);
        }
    }

    /// Releases the brake until the next nodes fall silent.
    pub fn release_brake(&mut self) {
        self.brake.release();
    }

    /// Tells why nothing is replaced, while the brake holds.
    pub fn brake(&self) -> Option<String> {
        self.brake.reason()
    }

    /// Lists the lost nodes whose replicas are not replaced yet, because their agent crashed a moment ago.
    pub fn in_grace(&self, now: Instant) -> BTreeSet<NodeId> {
        let grace = self.thresholds.restart_grace;
        let young = |pulse: &Pulse| pulse.crashed_at.is_some_and(|at| now.since(at) < grace);
        self.pulses.iter().filter(|(_, pulse)| young(pulse)).map(|(node, _)| *node).collect()
    }

    /// Looks at every node and lists what to do.
    pub fn tick(&mut self, state: &ClusterState, now: Instant) -> Vec<Finding> {
        if now.since(self.last_tick) > TICK_GAP_MAX {
            self.pulses.values_mut().for_each(|pulse| pulse.restart(now));
        }
        self.last_tick = now;
        self.thresholds = Thresholds::of(&state.settings);
        self.brake.follow(&state.settings);
        self.follow(state, now);
        self.update_brake(state, now);
        let mut findings = Vec::new();
        let held = Held { silence: self.brake.is_on(), crashes: self.brake.holds_crashes() };
        for (id, pulse) in &mut self.pulses {
            let Some(node) = state.nodes.get(id).filter(|node| node.epoch == pulse.epoch) else { continue };
            if pulse.probe_is_due(now) && node.state != NodeState::Lost {
                pulse.probe_at = Some(now + pulse.probe_gap);
                pulse.probe_gap = Millis(pulse.probe_gap.0 * 2).min(PROBE_GAP_MAX);
                let address = node.profile.gate_address.clone();
                findings.push(Finding::Probe { node: *id, epoch: pulse.epoch, address });
            }
            findings.extend(pulse.judge(node, &state.settings, held, now));
        }
        findings
    }

    /// Returns when the next thing becomes due by time alone.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let dues = self.pulses.values().flat_map(|pulse| pulse.dues(&self.thresholds));
        dues.filter(|due| *due > now).min()
    }

    /// Listens to every registered node, and forgets those that are gone.
    fn follow(&mut self, state: &ClusterState, now: Instant) {
        self.pulses.retain(|node, _| state.nodes.contains_key(node));
        for node in state.nodes.values() {
            let pulse = self.pulses.entry(node.id).or_insert_with(|| Pulse::silent(node.epoch, now));
            if pulse.epoch < node.epoch {
                *pulse = Pulse::silent(node.epoch, now);
            }
        }
    }

    fn update_brake(&mut self, state: &ClusterState, now: Instant) {
        let silent_after = self.thresholds.suspect_after;
        let present = |node: &NodeId| state.nodes.get(node).is_some_and(|node| node.state != NodeState::Lost);
        let silent = self.pulses.iter().filter(|(node, pulse)| present(node) && pulse.is_silent(silent_after, now));
        let mut crashed = 0;
        let count = |(node, pulse): (&NodeId, &Pulse)| {
            crashed += u64::from(pulse.crashed_at.is_some());
            *node
        };
        let silent: BTreeSet<NodeId> = silent.map(count).collect();
        let total = state.nodes.values().filter(|node| node.state != NodeState::Lost).count() as u64;
        let was_on = self.brake.is_on();
        self.brake.update(silent, crashed, total, now);
        // Whatever silenced many is ending: the others get the time to be heard that the first ones had.
        if was_on && !self.brake.is_on() {
            self.pulses.values_mut().for_each(|pulse| pulse.restart(now));
        }
    }
}
