//! One node's pulse: when it was last heard, and whether it crashed.

use super::{Finding, PROBE_GAP, Thresholds};
use crate::{
    id::NodeEpoch,
    model::{Node, NodeState, Settings},
    time::{Instant, Millis},
};

/// What the brake holds back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Silence condemns nobody.
    pub(super) silence: bool,
    /// Nor does a host that refuses connections.
    pub(super) crashes: bool,
}

/// One node's pulse.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    pub(super) epoch: NodeEpoch,
    pub(super) heard_at: Instant,
    /// Since when it has been heard without a silence that counts.
    steady_since: Instant,
    pub(super) has_session: bool,
    /// When its host first refused connections; until it is heard again.
    pub(super) crashed_at: Option<Instant>,
    /// When its gate is tried next; at once when absent.
    pub(super) probe_at: Option<Instant>,
    /// How long after a probe the next one is due.
    pub(super) probe_gap: Millis,
    /// Whether it ever had a session with this leader. One that had none is given its silence, not probes: a new leader
    /// would else knock at every node at once.
    had_session: bool,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn open(epoch: NodeEpoch, now: Instant) -> Self {
        Self { has_session: true, had_session: true, ..Self::silent(epoch, now) }
    }

    pub(super) fn silent(epoch: NodeEpoch, now: Instant) -> Self {
        Self {
            epoch,
            heard_at: now,
            steady_since: now,
            has_session: false,
            crashed_at: None,
            probe_at: None,
            probe_gap: PROBE_GAP,
            had_session: false,
        }
    }

    pub(super) fn hear(&mut self, now: Instant, suspect_after: Millis) {
        if self.is_silent(suspect_after, now) {
            self.steady_since = now;
        }
        self.heard_at = now;
        self.has_session = true;
        self.had_session = true;
        self.crashed_at = None;
    }

    /// Starts its clock again: the silence was the listener's.
    pub(super) fn restart(&mut self, now: Instant) {
        self.heard_at = now;
        self.crashed_at = None;
    }

    pub(super) fn is_silent(&self, after: Millis, now: Instant) -> bool {
        self.crashed_at.is_some() || now.since(self.heard_at) >= after
    }

    pub(super) fn probe_is_due(&self, now: Instant) -> bool {
        self.had_session && !self.has_session && self.probe_at.is_none_or(|at| at <= now)
    }

    /// Compares what the log says with what is heard.
    pub(super) fn judge(&self, node: &Node, settings: &Settings, held: Held, now: Instant) -> Option<Finding> {
        let silence = now.since(self.heard_at);
        let transition = |to, reason: String| {
            (to != node.state).then_some(Finding::Transition { node: node.id, epoch: self.epoch, to, reason })
        };
        match node.state {
            NodeState::Lost if self.has_session => Some(Finding::Close { node: node.id, epoch: self.epoch }),
            NodeState::Lost => None,
            _ if !held.crashes && self.crashed_at.is_some() => {
                transition(NodeState::Lost, "its agent crashed: the host refuses connections".to_owned())
            }
            _ if !held.silence && silence >= settings.lost_after => {
                transition(NodeState::Lost, format!("silent for {silence}"))
            }
            NodeState::Ready if silence >= settings.suspect_after => {
                transition(NodeState::Suspect, format!("silent for {silence}"))
            }
            // Only a session shows that it is there: the clock also starts for a new leader that heard nobody yet.
            NodeState::Suspect
                if self.has_session
                    && silence < settings.suspect_after
                    && now.since(self.steady_since) >= node.hold(settings) =>
            {
                transition(NodeState::Ready, "heard again".to_owned())
            }
            NodeState::Ready | NodeState::Suspect => None,
        }
    }

    /// Lists when something becomes due by time alone.
    pub(super) fn dues(&self, thresholds: &Thresholds) -> impl Iterator<Item = Instant> + use<> {
        let silences = [self.heard_at + thresholds.suspect_after, self.heard_at + thresholds.lost_after];
        let grace = self.crashed_at.map(|at| at + thresholds.restart_grace);
        silences.into_iter().chain(grace).chain(self.probe_at)
    }
}
