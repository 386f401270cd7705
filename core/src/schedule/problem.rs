//! The problem: what one instance asks for, and what every node has left.

use std::collections::BTreeMap;

use crate::{
    id::{Generation, NodeId},
    model::{Deployment, DeploymentKey, DeviceGrant, GpuAsk, Node, Replica, Spread},
    state::ClusterState,
    units::Resources,
};

/// What one instance of a deployment asks for.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The deployment.
    pub key: &'a DeploymentKey,
    /// The generation that is placed.
    pub generation: Generation,
    /// The plain dimensions.
    pub resources: Resources,
    /// The GPUs.
    pub gpu: &'a GpuAsk,
    /// Node labels that must match.
    pub constraints: &'a BTreeMap<String, String>,
    /// How instances keep apart.
    pub spread: Spread,
}

/// Every node with what is left on it, while a plan takes shape.
#[derive(Clone, Debug)]
pub struct Fleet<'a> {
    pub(super) state: &'a ClusterState,
    pub(super) slots: BTreeMap<NodeId, Slot<'a>>,
}

/// A node and what is left on it.
#[derive(Clone, Debug)]
pub(super) struct Slot<'a> {
    pub(super) node: &'a Node,
    pub(super) zone: &'a str,
    pub(super) rack: &'a str,
    pub(super) free: Resources,
    /// MiB held per device; filled only for nodes that list devices.
    pub(super) held_mib: BTreeMap<&'a str, u64>,
}

// === impl Ask ===

impl<'a> Ask<'a> {
    /// Returns what an instance of the current generation asks for.
    pub fn of(deployment: &'a Deployment) -> Self {
        Self {
            key: &deployment.key,
            generation: deployment.generation,
            resources: deployment.spec.resources,
            gpu: &deployment.spec.gpu,
            constraints: &deployment.spec.constraints,
            spread: deployment.spec.spread,
        }
    }
}

// === impl Fleet ===

impl<'a> Fleet<'a> {
    /// Reads what is left on every node.
    pub fn of(state: &'a ClusterState) -> Self {
        let slots = state.nodes.values().map(|node| (node.id, Slot::of(state, node)));
        Self { state, slots: slots.collect() }
    }

    /// Returns whether `ask` would fit where `leaver` is, once it is gone.
    pub fn fits_instead_of(&self, ask: &Ask<'_>, leaver: &Replica) -> bool {
        let Some(slot) = self.slots.get(&leaver.node) else { return false };
        let mut after = slot.clone();
        after.free += leaver.resources;
        for grant in &leaver.devices {
            after.release(grant);
        }
        after.accepts(ask).is_some()
    }

    /// Takes the place of one instance, so that the next one finds it taken.
    pub(super) fn take(&mut self, node: NodeId, ask: &Ask<'_>, devices: &[DeviceGrant]) {
        let Some(slot) = self.slots.get_mut(&node) else { return };
        slot.free = slot.free.saturating_sub(&ask.resources);
        for grant in devices {
            slot.hold(grant);
        }
    }
}

// === impl Slot ===

impl<'a> Slot<'a> {
    fn of(state: &'a ClusterState, node: &'a Node) -> Self {
        let free = node.profile.capacity.saturating_sub(&state.index().held_on(node.id));
        let label = |name: &str| node.profile.labels.get(name).map_or("", String::as_str);
        let mut slot = Self { node, zone: label("zone"), rack: label("rack"), free, held_mib: BTreeMap::new() };
        // Only hosts that list devices are asked who holds them; elsewhere the sums say everything.
        if !node.profile.devices.is_empty() {
            for grant in state
                .replicas_on(node.id)
                .flat_map(|replica| &replica.devices)
                .chain(state.slots_on(node.id).flat_map(|held| &held.devices))
            {
                slot.hold(grant);
            }
        }
        slot
    }

    pub(super) fn hold(&mut self, grant: &DeviceGrant) {
        if let Some(device) = self.node.profile.devices.iter().find(|device| device.uuid == grant.uuid) {
            *self.held_mib.entry(&device.uuid).or_default() += grant.memory_mib.unwrap_or(device.memory_mib);
        }
    }

    pub(super) fn release(&mut self, grant: &DeviceGrant) {
        if let Some(device) = self.node.profile.devices.iter().find(|device| device.uuid == grant.uuid)
            && let Some(held) = self.held_mib.get_mut(device.uuid.as_str())
        {
            *held = held.saturating_sub(grant.memory_mib.unwrap_or(device.memory_mib));
        }
    }
}
