//! What the planner sees: the replicated state, and the few soft facts only a leader has.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{LogIndex, NodeId, ReplicaId, Term},
    model::{Replica, ReplicaState},
    rng::SeedTree,
    state::ClusterState,
};

/// What the planner sees.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The replicated state.
    pub state: &'a ClusterState,
    /// The planning leader's term.
    pub term: Term,
    /// Where fresh ids and ties come from. The same state gives the same ids, so a plan proposed twice is one plan.
    pub seed: &'a SeedTree,
    /// Warm replicas that every router has acknowledged.
    pub acknowledged: &'a BTreeSet<ReplicaId>,
    /// The table version that every router routes by, or a newer one. A replica serves for the planner once every router
    /// knows that it does: until then some may still have nobody else than those it takes over from.
    pub known: LogIndex,
    /// Draining replicas that no router knows any more and that work on nothing.
    pub drained: &'a BTreeSet<ReplicaId>,
    /// Requests that draining replicas still work on, as far as it was heard.
    pub in_flight: &'a BTreeMap<ReplicaId, u64>,
    /// Lost nodes whose agent crashed a moment ago and may be back within the restart grace: their replicas are not
    /// replaced yet.
    pub in_grace: &'a BTreeSet<NodeId>,
}

// === impl View ===

impl View<'_> {
    /// Returns whether a replica serves and every router knows it.
    pub(super) fn is_ready(&self, replica: &Replica) -> bool {
        replica.is_ready() && replica.revision <= self.known
    }

    /// Returns whether a replica may be offered to the split.
    pub(super) fn may_serve(&self, replica: &Replica) -> bool {
        replica.state == ReplicaState::Warm && self.acknowledged.contains(&replica.id)
    }
}
