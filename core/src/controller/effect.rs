//! Effects: what the controller asks its shell to do.

use crate::{
    id::{NodeEpoch, NodeId},
    state::Command,
    time::Instant,
};

/// Names a proposal until its outcome is known.
pub type Ticket = u64;

/// Something for the shell to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Stamp a command, propose it as the leader, and answer with [`super::Input::Proposed`].
    Propose {
        /// Names the proposal.
        ticket: Ticket,
        /// What to propose.
        command: Box<Command>,
    },
    /// Try to connect to a node's gate and answer with [`super::Input::GateProbed`].
    ProbeGate {
        /// The node.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
        /// Its gate.
        address: String,
    },
    /// End a node's session.
    CloseSession {
        /// The node.
        node: NodeId,
        /// The epoch of the session.
        epoch: NodeEpoch,
        /// Why, for people.
        reason: String,
    },
    /// Come back with a tick no later than this.
    WakeAt(Instant),
}
