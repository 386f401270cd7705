//! Which single node's loss fits in the reserve: for every deployment, whether its slots on other nodes can stand in for
//! the replicas a node would take with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::NodeId,
    model::{Deployment, DeploymentKey, Node},
    state::ClusterState,
};

/// A node whose loss does not fit, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uncovered {
    /// The node.
    pub node: NodeId,
    /// The deployment that would fall short.
    pub key: DeploymentKey,
    /// Its replicas that serve there.
    pub lost: u64,
    /// Its slots elsewhere that could take them.
    pub slots: u64,
}

/// Lists the nodes whose loss does not fit in a deployment's reserve; none when any single loss does.
pub fn uncovered_of(state: &ClusterState, deployment: &Deployment) -> Vec<Uncovered> {
    let mut lost: BTreeMap<NodeId, u64> = BTreeMap::new();
    for replica in state.replicas_of(&deployment.key).filter(|replica| replica.is_ready()) {
        *lost.entry(replica.node).or_default() += 1;
    }
    let mut slots: BTreeMap<NodeId, u64> = BTreeMap::new();
    for slot in state.slots_of(&deployment.key) {
        if state.nodes.get(&slot.node).is_some_and(Node::is_schedulable) {
            *slots.entry(slot.node).or_default() += 1;
        }
    }
    let all: u64 = slots.values().sum();
    let short = |(node, lost): (NodeId, u64)| {
        let elsewhere = all - slots.get(&node).copied().unwrap_or(0);
        (lost > elsewhere).then(|| Uncovered { node, key: deployment.key.clone(), lost, slots: elsewhere })
    };
    lost.into_iter().filter_map(short).collect()
}

/// Says what would have every single loss fit in a reserve of `wanted` places; nothing when it does, or when no place is
/// wanted.
pub fn remedy(losses: &[Uncovered], wanted: u64) -> Option<String> {
    let most = losses.iter().map(|loss| loss.lost).max().filter(|_| wanted > 0)?;
    Some(if most > wanted {
        // However far away its slots are, they are too few for what is together on one node.
        format!(
            "give it nodes enough, and `spread: {{max_per_domain: {wanted}}}` in its file: then no node has more than \
             its reserve can take over"
        )
    } else {
        "add a node, where its reserve goes by itself: `berth node join-command` prints the line".to_owned()
    })
}

/// Lists the nodes whose loss does not fit in the reserve of some deployment, with every deployment that would fall
/// short; none when the loss of any single node fits.
pub fn uncovered(state: &ClusterState) -> Vec<Uncovered> {
    let found: BTreeSet<_> =
        state.deployments.values().flat_map(|deployment| uncovered_of(state, deployment)).collect();
    found.into_iter().collect()
}
