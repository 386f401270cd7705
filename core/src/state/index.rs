//! Look-ups derived from the state: rebuilt from it at any time, never stored.

use std::collections::{BTreeMap, BTreeSet};

use super::usage::Usage;
use crate::{
    id::{NodeId, ReplicaId, SlotId},
    model::{Deployment, DeploymentKey, Endpoint, EndpointName, Node, NodeName, Replica, ReserveSlot},
    units::Resources,
};

/// Look-ups derived from the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    by_deployment: BTreeMap<DeploymentKey, BTreeSet<ReplicaId>>,
    by_node: BTreeMap<NodeId, BTreeSet<ReplicaId>>,
    slots_by_deployment: BTreeMap<DeploymentKey, BTreeSet<SlotId>>,
    slots_by_node: BTreeMap<NodeId, BTreeSet<SlotId>>,
    deployments: BTreeMap<EndpointName, BTreeSet<DeploymentKey>>,
    node_names: BTreeMap<NodeName, NodeId>,
    held: BTreeMap<NodeId, Resources>,
    usage: Usage,
}

// === impl Index ===

impl Index {
    /// Builds the look-ups of these records.
    pub fn of<'a>(
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
        nodes: impl IntoIterator<Item = &'a Node>,
        deployments: impl IntoIterator<Item = &'a Deployment> + Clone,
        replicas: impl IntoIterator<Item = &'a Replica>,
        slots: impl IntoIterator<Item = &'a ReserveSlot>,
    ) -> Self {
        let usage = Usage::of(endpoints, deployments.clone());
        let mut index = Self { usage, ..Self::default() };
        nodes.into_iter().for_each(|node| index.add_node(&node.profile.name, node.id));
        deployments.into_iter().for_each(|deployment| index.add_deployment(&deployment.key));
        replicas.into_iter().for_each(|replica| index.add_replica(replica));
        slots.into_iter().for_each(|slot| index.add_slot(slot));
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

    /// Lists the slots of a deployment.
    pub fn slots_of(&self, key: &DeploymentKey) -> impl Iterator<Item = SlotId> {
        self.slots_by_deployment.get(key).into_iter().flatten().copied()
    }

    /// Lists the slots on a node.
    pub fn slots_on(&self, node: NodeId) -> impl Iterator<Item = SlotId> {
        self.slots_by_node.get(&node).into_iter().flatten().copied()
    }

    /// Lists the deployments of an endpoint.
    pub fn deployments_of(&self, endpoint: &EndpointName) -> impl Iterator<Item = &DeploymentKey> {
        self.deployments.get(endpoint).into_iter().flatten()
    }

    /// Finds a node by name.
    pub fn node_named(&self, name: &NodeName) -> Option<NodeId> {
        self.node_names.get(name).copied()
    }

    /// Returns what replicas and slots hold on a node.
    pub fn held_on(&self, node: NodeId) -> Resources {
        self.held.get(&node).copied().unwrap_or_default()
    }

    /// Returns what every project takes.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn usage_mut(&mut self) -> &mut Usage {
        &mut self.usage
    }

    pub(super) fn add_replica(&mut self, replica: &Replica) {
        self.by_deployment.entry(replica.key.clone()).or_default().insert(replica.id);
        self.by_node.entry(replica.node).or_default().insert(replica.id);
        *self.held.entry(replica.node).or_default() += replica.resources;
    }

    pub(super) fn remove_replica(&mut self, replica: &Replica) {
        take_out(&mut self.by_deployment, &replica.key, replica.id);
        take_out(&mut self.by_node, &replica.node, replica.id);
        self.give_back(replica.node, &replica.resources);
    }

    pub(super) fn add_slot(&mut self, slot: &ReserveSlot) {
        self.slots_by_deployment.entry(slot.key.clone()).or_default().insert(slot.id);
        self.slots_by_node.entry(slot.node).or_default().insert(slot.id);
        *self.held.entry(slot.node).or_default() += slot.resources;
    }

    pub(super) fn remove_slot(&mut self, slot: &ReserveSlot) {
        take_out(&mut self.slots_by_deployment, &slot.key, slot.id);
        take_out(&mut self.slots_by_node, &slot.node, slot.id);
        self.give_back(slot.node, &slot.resources);
    }

    fn give_back(&mut self, node: NodeId, resources: &Resources) {
        if let Some(held) = self.held.get_mut(&node) {
            *held = held.saturating_sub(resources);
            if *held == Resources::ZERO {
                self.held.remove(&node);
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

/// Takes one id out of a list, and the list with its last one.
fn take_out<K: Ord, V: Ord>(lists: &mut BTreeMap<K, BTreeSet<V>>, key: &K, id: V) {
    if let Some(ids) = lists.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            lists.remove(key);
        }
    }
}
