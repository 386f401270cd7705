//! Look-ups derived from the state: rebuilt from it at any time, never stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    rooms::{Held, RoomIndex, Rooms},
    usage::Usage,
};
use crate::{
    id::{NodeId, ReplicaId, SlotId},
    model::{
        Deployment, DeploymentKey, DeploymentSpec, Device, DeviceGrant, Endpoint, EndpointName, Node, NodeName,
        Replica, ReserveSlot,
    },
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
    usage: Usage,
    pub(super) rooms: RoomIndex,
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
        let nodes: BTreeMap<NodeId, &'a Node> = nodes.into_iter().map(|node| (node.id, node)).collect();
        nodes.values().for_each(|node| index.add_node(node, []));
        deployments.into_iter().for_each(|deployment| index.add_deployment(deployment));
        replicas.into_iter().for_each(|replica| index.add_replica(replica, nodes.get(&replica.node).copied()));
        slots.into_iter().for_each(|slot| index.add_slot(slot, nodes.get(&slot.node).copied()));
        index.rooms.settle(&nodes);
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
        self.held(node).map(|held| held.resources).unwrap_or_default()
    }

    /// Returns what every project takes.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn usage_mut(&mut self) -> &mut Usage {
        &mut self.usage
    }

    /// Returns what is held on a node, device by device; none when nothing is.
    pub(crate) fn held(&self, node: NodeId) -> Option<&Held> {
        self.rooms.held(node)
    }

    /// Returns the MiB held of one device of a node.
    pub(super) fn held_of(&self, node: &Node, device: &Device) -> u64 {
        let at = node.profile.devices.iter().position(|other| other.uuid == device.uuid);
        self.held(node.id).zip(at).and_then(|(held, at)| held.device_mib.get(at)).copied().unwrap_or(0)
    }

    /// Ends an entry: what it changed about nodes is taken note of.
    pub(super) fn settle(&mut self, nodes: &BTreeMap<NodeId, Node>) {
        self.rooms.settle(nodes);
    }

    /// Returns the nodes that take something new, those alike together.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms.rooms
    }

    /// Returns what tells rooms apart.
    pub(crate) fn room_index(&self) -> &RoomIndex {
        &self.rooms
    }

    pub(super) fn add_replica(&mut self, replica: &Replica, node: Option<&Node>) {
        self.by_deployment.entry(replica.key.clone()).or_default().insert(replica.id);
        self.by_node.entry(replica.node).or_default().insert(replica.id);
        self.rooms.add(replica.node, node, &replica.resources, &replica.devices);
    }

    pub(super) fn remove_replica(&mut self, replica: &Replica, node: Option<&Node>) {
        take_out(&mut self.by_deployment, &replica.key, replica.id);
        take_out(&mut self.by_node, &replica.node, replica.id);
        self.rooms.remove(replica.node, node, &replica.resources, &replica.devices);
    }

    pub(super) fn add_slot(&mut self, slot: &ReserveSlot, node: Option<&Node>) {
        self.slots_by_deployment.entry(slot.key.clone()).or_default().insert(slot.id);
        self.slots_by_node.entry(slot.node).or_default().insert(slot.id);
        self.rooms.add(slot.node, node, &slot.resources, &slot.devices);
    }

    pub(super) fn remove_slot(&mut self, slot: &ReserveSlot, node: Option<&Node>) {
        take_out(&mut self.slots_by_deployment, &slot.key, slot.id);
        take_out(&mut self.slots_by_node, &slot.node, slot.id);
        self.rooms.remove(slot.node, node, &slot.resources, &slot.devices);
    }

    pub(super) fn add_deployment(&mut self, deployment: &Deployment) {
        let key = &deployment.key;
        self.deployments.entry(key.endpoint.clone()).or_default().insert(key.clone());
        self.rooms.ask_labels(&BTreeMap::new(), &deployment.spec.constraints);
    }

    /// Takes note that a deployment asks for other labels.
    pub(super) fn change_deployment(&mut self, before: &DeploymentSpec, after: &DeploymentSpec) {
        self.rooms.ask_labels(&before.constraints, &after.constraints);
    }

    pub(super) fn remove_deployment(&mut self, deployment: &Deployment) {
        let key = &deployment.key;
        if let Some(keys) = self.deployments.get_mut(&key.endpoint) {
            keys.remove(key);
            if keys.is_empty() {
                self.deployments.remove(&key.endpoint);
            }
        }
        self.rooms.ask_labels(&deployment.spec.constraints, &BTreeMap::new());
    }

    /// Adds a node, or puts it in the place of what it was. `grants` is what is held of its devices.
    pub(super) fn add_node<'a>(&mut self, node: &Node, grants: impl IntoIterator<Item = &'a [DeviceGrant]>) {
        self.node_names.insert(node.profile.name.clone(), node.id);
        self.rooms.recount(node, grants.into_iter());
    }

    pub(super) fn remove_node(&mut self, node: &Node) {
        self.node_names.remove(&node.profile.name);
        self.rooms.touch(node.id);
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
