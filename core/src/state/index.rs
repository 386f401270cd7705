//! Look-ups derived from the state: rebuilt from it at any time, never stored.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{NodeId, ReplicaId},
    model::{Deployment, DeploymentKey, EndpointName, Node, NodeName, Replica},
    units::Resources,
};

/// Look-ups derived from the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    by_deployment: BTreeMap<DeploymentKey, BTreeSet<ReplicaId>>,
    by_node: BTreeMap<NodeId, BTreeSet<ReplicaId>>,
    deployments: BTreeMap<EndpointName, BTreeSet<DeploymentKey>>,
    node_names: BTreeMap<NodeName, NodeId>,
    held: BTreeMap<NodeId, Resources>,
}

// === impl Index ===

impl Index {
    /// Builds the look-ups of these records.
    pub fn of<'a>(
        nodes: impl IntoIterator<Item = &'a Node>,
        deployments: impl IntoIterator<Item = &'a Deployment>,
        replicas: impl IntoIterator<Item = &'a Replica>,
    ) -> Self {
        let mut index = Self::default();
        nodes.into_iter().for_each(|node| index.add_node(&node.profile.name, node.id));
        deployments.into_iter().for_each(|deployment| index.add_deployment(&deployment.key));
        replicas.into_iter().for_each(|replica| index.add_replica(replica));
        index
    }

    /// Lists the replicas of a deployment.
    pub fn replicas_of(&self, key: &DeploymentKey) -> impl Iterator<Item = ReplicaId> {
        self.by_deployment.get(key).into_iter().flatten().copied()
    }

    /// Lists the replicas of a node.
    pub fn replicas_on(&self, node: NodeId) -> impl Iterator<Item = ReplicaId> {
        self.by_node.get(&node).into_iter().flatten().copied()
    }

    /// Lists the deployments of an endpoint.
    pub fn deployments_of(&self, endpoint: &EndpointName) -> impl Iterator<Item = &DeploymentKey> {
        self.deployments.get(endpoint).into_iter().flatten()
    }

    /// Finds a node by name.
    pub fn node_named(&self, name: &NodeName) -> Option<NodeId> {
        self.node_names.get(name).copied()
    }

    /// Returns what replicas hold on a node.
    pub fn held_on(&self, node: NodeId) -> Resources {
        self.held.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn add_replica(&mut self, replica: &Replica) {
        self.by_deployment.entry(replica.key.clone()).or_default().insert(replica.id);
        self.by_node.entry(replica.node).or_default().insert(replica.id);
        *self.held.entry(replica.node).or_default() += replica.resources;
    }

    pub(super) fn remove_replica(&mut self, replica: &Replica) {
        if let Some(ids) = self.by_deployment.get_mut(&replica.key) {
            ids.remove(&replica.id);
            if ids.is_empty() {
                self.by_deployment.remove(&replica.key);
            }
        }
        if let Some(ids) = self.by_node.get_mut(&replica.node) {
            ids.remove(&replica.id);
            if ids.is_empty() {
                self.by_node.remove(&replica.node);
            }
        }
        if let Some(held) = self.held.get_mut(&replica.node) {
            *held = held.saturating_sub(&replica.resources);
            if *held == Resources::ZERO {
                self.held.remove(&replica.node);
            }
        }
    }

    pub(super) fn add_deployment(&mut self, key: &DeploymentKey) {
        self.deployments.entry(key.endpoint.clone()).or_default().insert(key.clone());
    }

    pub(super) fn remove_deployment(&mut self, key: &DeploymentKey) {
        if let Some(keys) = self.deployments.get_mut(&key.endpoint) {
            keys.remove(key);
            if keys.is_empty() {
                self.deployments.remove(&key.endpoint);
            }
        }
    }

    pub(super) fn add_node(&mut self, name: &NodeName, node: NodeId) {
        self.node_names.insert(name.clone(), node);
    }

    pub(super) fn remove_node(&mut self, name: &NodeName) {
        self.node_names.remove(name);
    }
}
