//! Inputs: everything a leader hears.

use std::collections::{BTreeMap, BTreeSet};

use super::Ticket;
use crate::{
    error::Error,
    health::{DeviceSign, GateProbe},
    id::{LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::EndpointName,
    state::Reply,
    traffic::acks::TableAcks,
};

/// Something the leader hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed. Comes at least every 100 ms.
    Tick,
    /// This member applied entries; how many and which does not matter.
    StateApplied,
    /// A node's session is open under this epoch.
    SessionOpened {
        /// The node.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
    },
    /// A node's session ended and no newer one of that node is open.
    SessionClosed {
        /// The node.
        node: NodeId,
        /// The epoch of the session.
        epoch: NodeEpoch,
    },
    /// A node's heartbeat.
    Heartbeat(Heartbeat),
    /// The answer to [`super::Effect::ProbeGate`].
    GateProbed {
        /// The node.
        node: NodeId,
        /// The epoch it was probed in.
        epoch: NodeEpoch,
        /// What came of it.
        result: GateProbe,
    },
    /// The answer to [`super::Effect::Propose`]; exactly one each.
    Proposed {
        /// Which proposal.
        ticket: Ticket,
        /// What became of it.
        outcome: Outcome,
    },
    /// An operator released the brake.
    BrakeReleased,
}

/// What a node says twice a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The node.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: NodeEpoch,
    /// How far its router follows.
    pub acks: TableAcks,
    /// Requests per replica that its ingress is sending or waits for, and for its own replicas those in its gate. Read
    /// after `acks`, so that an acknowledged removal and a zero together mean that nothing more comes.
    pub in_flight: BTreeMap<ReplicaId, u32>,
    /// Endpoints its ingress carried a request for in the last minute.
    pub carried: BTreeSet<EndpointName>,
    /// What it says of its cards.
    pub devices: Vec<DeviceSign>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Applied {
        /// Where.
        index: LogIndex,
        /// What it answered.
        reply: Reply,
    },
    /// It is not in the log, or nobody knows.
    Failed(Error),
}

// === impl Input ===

impl Input {
    /// Returns the node and epoch whose open session this comes from.
    pub(super) fn speaks_for(&self) -> Option<(NodeId, NodeEpoch)> {
        match self {
            Self::SessionOpened { node, epoch } => Some((*node, *epoch)),
            Self::Heartbeat(heartbeat) => Some((heartbeat.node, heartbeat.epoch)),
            Self::Tick
            | Self::StateApplied
            | Self::SessionClosed { .. }
            | Self::GateProbed { .. }
            | Self::Proposed { .. }
            | Self::BrakeReleased => None,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns whether it took effect, at least in part.
    pub fn did_something(&self) -> bool {
        match self {
            Self::Applied { reply: Reply::Planned { outcomes }, .. } => outcomes.iter().any(Result::is_ok),
            Self::Applied { reply: Reply::Refused(_), .. } | Self::Failed(_) => false,
            Self::Applied { reply: Reply::Done { .. } | Reply::Registered { .. }, .. } => true,
        }
    }
}
