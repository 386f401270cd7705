//! Worth: which replicas a deployment keeps when it has to do with fewer.
//!
//! The planner ends the least first, and a verdict that advises to scale something down has to know whom that ends.

use crate::{
    model::{Node, NodeState, Reconcile, Replica, ReplicaState},
    state::ClusterState,
};

/// How much a replica is worth keeping; the smallest goes first.
pub(crate) fn worth(state: &ClusterState, replica: &Replica) -> impl Ord + use<> {
    let node = state.nodes.get(&replica.node);
    let heard = node.is_some_and(|node| node.state == NodeState::Ready);
    let open = node.is_some_and(Node::is_open);
    // Where the deployment wants one of two copies whatever serves now, that one only has to show itself alive.
    let reconcile = state.deployments.get(&replica.key).map(|deployment| deployment.spec.disconnect.reconcile);
    let alive = replica.state >= ReplicaState::Warm;
    let chosen = match reconcile {
        Some(Reconcile::KeepOriginal) => (alive, u64::MAX - replica.placed_at.millis()),
        Some(Reconcile::KeepReplacement) => (alive, replica.placed_at.millis()),
        Some(Reconcile::KeepServing) | None => (true, 0),
    };
    // What serves now is kept before what may soon. Among equals a silent or cordoned node loses, then the younger
    // replica: a copy made while its elder was out of reach.
    (chosen, replica.state.min(ReplicaState::Serving), heard, open, std::cmp::Reverse((replica.placed_at, replica.id)))
}
