//! Routers: what each node's router has acknowledged, and what that allows.
//!
//! Expected to answer is every node that is not lost. A leader counts nobody it has not heard from itself, so a step
//! that waited when the last leader died waits until the new one has heard everybody again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Heartbeat, TableAcks, is_waiting};
use crate::{
    id::{LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{EndpointName, Node, NodeState, Replica, ReplicaState},
    state::ClusterState,
};

/// What each node's router has acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Routers {
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    epoch: NodeEpoch,
    acks: TableAcks,
    in_flight: BTreeMap<ReplicaId, u32>,
    carried: BTreeSet<EndpointName>,
}

// === impl Routers ===

impl Routers {
    pub(super) fn opened(&mut self, node: NodeId, epoch: NodeEpoch) {
        if self.heard.get(&node).is_some_and(|heard| heard.epoch != epoch) {
            self.heard.remove(&node);
        }
    }

    /// Forgets a router whose session ended: what it says next may start from an older table.
    pub(super) fn closed(&mut self, node: NodeId, epoch: NodeEpoch) {
        if self.heard.get(&node).is_some_and(|heard| heard.epoch == epoch) {
            self.heard.remove(&node);
        }
    }

    /// Takes a heartbeat; says whether anything in it is new.
    pub(super) fn heard(&mut self, heartbeat: Heartbeat) -> bool {
        let Heartbeat { node, epoch, acks, in_flight, carried, devices: _ } = heartbeat;
        let heard = Heard { epoch, acks, in_flight, carried };
        self.heard.insert(node, heard.clone()).is_none_or(|before| before != heard)
    }

    /// Lists the warm replicas that every router knows, and the draining ones that none knows and that work on nothing.
    pub(super) fn clear(&self, state: &ClusterState) -> (BTreeSet<ReplicaId>, BTreeSet<ReplicaId>) {
        let (mut acknowledged, mut drained) = (BTreeSet::new(), BTreeSet::new());
        // Found once: most replicas wait for the slowest router of all, whatever their endpoint.
        let slowest = self.slowest(state);
        for replica in state.replicas.values().filter(|replica| is_waiting(replica.state) && !replica.lost) {
            if slowest < needed(state, replica) || self.expected(state).any(|node| !self.is_clear(state, node, replica))
            {
                continue;
            }
            let list = if replica.state == ReplicaState::Warm { &mut acknowledged } else { &mut drained };
            list.insert(replica.id);
        }
        (acknowledged, drained)
    }

    /// Counts the requests that draining replicas still work on, as their own gates told.
    pub(super) fn in_flight(&self, state: &ClusterState) -> BTreeMap<ReplicaId, u64> {
        let draining = state.replicas.values().filter(|replica| replica.state == ReplicaState::Draining);
        let count = |replica: &Replica| {
            let told = self.heard.get(&replica.node)?.in_flight.get(&replica.id)?;
            Some((replica.id, u64::from(*told)))
        };
        draining.filter_map(count).collect()
    }

    /// Lists the nodes a replica waits for.
    pub(super) fn missing(&self, state: &ClusterState, replica: &Replica) -> Vec<NodeId> {
        if !is_waiting(replica.state) || replica.lost {
            return Vec::new();
        }
        self.expected(state).filter(|node| !self.is_clear(state, node, replica)).map(|node| node.id).collect()
    }

    /// Lists the nodes whose routers have not taken a version of the table.
    pub(super) fn behind<'a>(&self, state: &'a ClusterState, version: LogIndex) -> impl Iterator<Item = &'a Node> {
        self.expected(state).filter(move |node| self.of(node).is_none_or(|heard| heard.acks.applied < version))
    }

    fn expected<'a>(&self, state: &'a ClusterState) -> impl Iterator<Item = &'a Node> {
        state.nodes.values().filter(|node| node.state != NodeState::Lost)
    }

    fn of(&self, node: &Node) -> Option<&Heard> {
        self.heard.get(&node.id).filter(|heard| heard.epoch == node.epoch)
    }

    /// Returns the table version that every router routes by, or a newer one.
    pub(super) fn slowest(&self, state: &ClusterState) -> LogIndex {
        self.expected(state)
            .map(|node| self.of(node).map_or(LogIndex(0), |heard| heard.acks.applied))
            .min()
            .unwrap_or_default()
    }

    /// Returns whether a node's router lets a replica go on. A router that carried the endpoint lately must hold warm
    /// connections before a replica is offered to it; one that did not connects when it first needs to.
    fn is_clear(&self, state: &ClusterState, node: &Node, replica: &Replica) -> bool {
        let Some(heard) = self.of(node) else { return false };
        let version = needed(state, replica);
        match replica.state {
            ReplicaState::Warm if heard.carried.contains(&replica.key.endpoint) => heard.acks.warm >= version,
            ReplicaState::Warm => heard.acks.applied >= version,
            _ => heard.acks.applied >= version && heard.in_flight.get(&replica.id).is_none_or(|count| *count == 0),
        }
    }
}

/// Returns the table version that shows what a replica is now. One of a deleted deployment is in no table from the delete
/// on, whatever becomes of it later, and makes no newer version.
fn needed(state: &ClusterState, replica: &Replica) -> LogIndex {
    let deployment = state.deployments.get(&replica.key).filter(|deployment| deployment.deleting);
    deployment.map_or(replica.revision, |deployment| replica.revision.min(deployment.revision))
}
