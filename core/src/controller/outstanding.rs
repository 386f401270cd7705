//! Proposals under way: bounded, and never two for the same purpose.

use std::collections::BTreeMap;

use super::{Effect, Ticket};
use crate::{id::NodeId, state::Command};

/// Proposals under way at once. More would only wait in the leader's queue.
const OUTSTANDING_MAX: usize = 64;

/// What a proposal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To make the leader known.
    Establish,
    /// To change a node's state.
    Node(NodeId),
    /// To change what is known of devices; several at once, and no more before all are answered.
    Devices,
    /// To take back loans.
    Loans,
    /// To carry out a plan.
    Plan,
}

/// Proposals under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    by_ticket: BTreeMap<Ticket, Purpose>,
    last: Ticket,
}

// === impl Outstanding ===

impl Outstanding {
    pub(super) fn propose(&mut self, purpose: Purpose, command: Command) -> Effect {
        self.last += 1;
        self.by_ticket.insert(self.last, purpose);
        Effect::Propose { ticket: self.last, command: Box::new(command) }
    }

    pub(super) fn finish(&mut self, ticket: Ticket) -> Option<Purpose> {
        self.by_ticket.remove(&ticket)
    }

    pub(super) fn has(&self, purpose: Purpose) -> bool {
        self.by_ticket.values().any(|other| *other == purpose)
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_ticket.len() >= OUTSTANDING_MAX
    }
}
