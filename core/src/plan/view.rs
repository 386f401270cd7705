//! What the planner sees: the replicated state, and the few soft facts only a leader has.

use std::collections::BTreeSet;

use crate::{
    id::{NodeId, ReplicaId, Term},
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
    /// Draining replicas that no router knows any more and that work on nothing.
    pub drained: &'a BTreeSet<ReplicaId>,
    /// Lost nodes whose agent crashed a moment ago and may be back within the restart grace: their replicas are not
    /// replaced yet.
    pub in_grace: &'a BTreeSet<NodeId>,
}
