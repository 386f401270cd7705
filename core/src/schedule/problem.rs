//! The problem: what one instance asks for, and what every node has left.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{local::Models, solve::Judgements, strand::Expected};
use crate::{
    id::{Digest, Generation, NodeId},
    model::{Deployment, DeploymentKey, Device, DeviceGrant, GpuAsk, LabelRule, Node, Replica, Spread},
    state::{
        ClusterState,
        rooms::{Held, Rooms},
    },
    units::Resources,
};

/// One in so many nodes changed makes a plan carry rooms of its own: passing over the changed ones would cost more.
const CHANGED_SHARE: usize = 8;

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
    /// What labels of its node have to say.
    pub constraints: &'a BTreeMap<String, LabelRule>,
    /// How instances keep apart.
    pub spread: Spread,
    /// The model an instance needs on its node.
    pub model: Option<Digest>,
}

/// Every node with what is left on it, while a plan takes shape.
#[derive(Clone, Debug)]
pub struct Fleet<'a> {
    pub(super) state: &'a ClusterState,
    pub(super) slots: Slots<'a>,
    pub(super) expected: Expected<'a>,
    pub(super) judged: Judgements<'a>,
    pub(super) models: Models<'a>,
}

/// The nodes as the state has them, and those that the plan has changed.
#[derive(Clone, Debug)]
pub(super) struct Slots<'a> {
    state: &'a ClusterState,
    changed: BTreeMap<NodeId, Slot<'a>>,
    /// Changed, and not yet in their new rooms.
    unsettled: BTreeSet<NodeId>,
    rooms: Layers<'a>,
}

/// The rooms of the state, over which those of changed nodes lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers<'a> {
    /// None once the plan has rooms of its own for every node.
    pub(super) below: Option<&'a Rooms>,
    /// Of changed nodes; of all of them without `below`.
    pub(super) above: Rooms,
}

/// A node and what is left on it.
#[derive(Clone, Debug)]
pub(super) struct Slot<'a> {
    pub(super) node: &'a Node,
    pub(super) zone: &'a str,
    pub(super) rack: &'a str,
    pub(super) free: Resources,
    held: Held,
}

// === impl Ask ===

impl<'a> Ask<'a> {
    /// Returns what an instance of the current generation asks for.
    pub fn of(deployment: &'a Deployment) -> Self {
        Self::of_generation(deployment, deployment.generation)
    }

    /// Returns what an instance of a generation asks for; of the current one where that is not known any more.
    pub(crate) fn of_generation(deployment: &'a Deployment, generation: Generation) -> Self {
        let spec = deployment.spec_of(generation).unwrap_or(&deployment.spec);
        Self {
            key: &deployment.key,
            generation,
            resources: spec.resources,
            gpu: &spec.gpu,
            constraints: &spec.constraints,
            spread: spec.spread,
            model: spec.model.as_ref().map(|model| model.asset.digest),
        }
    }
}

// === impl Fleet ===

impl<'a> Fleet<'a> {
    /// Looks at what is left on every node. Nothing is copied: nodes are read when they are looked at.
    pub fn of(state: &'a ClusterState) -> Self {
        Self {
            state,
            slots: Slots::of(state),
            expected: Expected::of(state),
            judged: Judgements::default(),
            models: Models::default(),
        }
    }

    /// Returns whether `ask` would fit where `leaver` is, once it is gone.
    pub fn fits_instead_of(&self, ask: &Ask<'_>, leaver: &Replica) -> bool {
        let Some(slot) = self.slots.get(&leaver.node) else { return false };
        let mut after = slot.into_owned();
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

// === impl Slots ===

impl<'a> Slots<'a> {
    fn of(state: &'a ClusterState) -> Self {
        let rooms = Layers { below: Some(state.index().rooms()), above: Rooms::default() };
        Self { state, changed: BTreeMap::new(), unsettled: BTreeSet::new(), rooms }
    }

    /// Counts the nodes.
    pub(super) fn len(&self) -> usize {
        self.state.nodes.len()
    }

    /// Lists the nodes as they are now.
    pub(super) fn values(&self) -> impl Iterator<Item = Cow<'_, Slot<'a>>> {
        self.state.nodes.values().map(|node| match self.changed.get(&node.id) {
            Some(slot) => Cow::Borrowed(slot),
            None => Cow::Owned(Slot::of(self.state, node)),
        })
    }

    /// Returns a node as it is now.
    pub(super) fn get(&self, id: &NodeId) -> Option<Cow<'_, Slot<'a>>> {
        match self.changed.get(id) {
            Some(slot) => Some(Cow::Borrowed(slot)),
            None => Some(Cow::Owned(Slot::of(self.state, self.state.nodes.get(id)?))),
        }
    }

    /// Returns a node as the state has it.
    pub(super) fn before(&self, id: NodeId) -> Option<Slot<'a>> {
        self.state.nodes.get(&id).map(|node| Slot::of(self.state, node))
    }

    /// Returns a node to change.
    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Slot<'a>> {
        self.unsettled.insert(*id);
        match self.changed.entry(*id) {
            std::collections::btree_map::Entry::Occupied(slot) => Some(slot.into_mut()),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let node = self.state.nodes.get(id)?;
                Some(vacant.insert(Slot::of(self.state, node)))
            }
        }
    }

    /// Puts the nodes that were changed into the rooms they are now.
    pub(super) fn settle(&mut self) {
        let index = self.state.index().room_index();
        for id in std::mem::take(&mut self.unsettled) {
            let Some(slot) = self.changed.get(&id) else { continue };
            let mut held = slot.held.clone();
            held.resources = slot.node.profile.capacity.saturating_sub(&slot.free);
            self.rooms.above.seat(id, index.judge(slot.node, Some(&held)));
        }
        let Some(below) = self.rooms.below else { return };
        if self.rooms.above.len() * CHANGED_SHARE > below.len() {
            for (node, room, stand) in below.seats() {
                if !self.changed.contains_key(&node) {
                    self.rooms.above.seat(node, Some((room, stand, below.free(room))));
                }
            }
            self.rooms.below = None;
        }
    }

    /// Lends the rooms out, to be walked while nodes change.
    pub(super) fn lend_rooms(&mut self) -> Layers<'a> {
        std::mem::take(&mut self.rooms)
    }

    /// Takes lent rooms back.
    pub(super) fn return_rooms(&mut self, rooms: Layers<'a>) {
        self.rooms = rooms;
    }
}

// === impl Slot ===

impl<'a> Slot<'a> {
    fn of(state: &'a ClusterState, node: &'a Node) -> Self {
        let label = |name: &str| node.profile.labels.get(name).map_or("", String::as_str);
        let mut held = state.index().held(node.id).cloned().unwrap_or_default();
        held.device_mib.resize(node.profile.devices.len(), 0);
        let free = node.profile.capacity.saturating_sub(&held.resources);
        Self { node, zone: label("zone"), rack: label("rack"), free, held }
    }

    pub(super) fn hold(&mut self, grant: &DeviceGrant) {
        self.change(grant, u64::saturating_add);
    }

    pub(super) fn release(&mut self, grant: &DeviceGrant) {
        self.change(grant, u64::saturating_sub);
    }

    fn change(&mut self, grant: &DeviceGrant, by: impl Fn(u64, u64) -> u64) {
        let devices = &self.node.profile.devices;
        if let Some(at) = devices.iter().position(|device| device.uuid == grant.uuid) {
            self.held.device_mib[at] = by(self.held.device_mib[at], grant.memory_mib.unwrap_or(devices[at].memory_mib));
        }
    }

    /// Returns the MiB held of a device.
    pub(super) fn held_of(&self, device: &Device) -> u64 {
        let at = self.node.profile.devices.iter().position(|other| other.uuid == device.uuid);
        at.and_then(|at| self.held.device_mib.get(at)).copied().unwrap_or(0)
    }

    /// Lists the devices with the MiB held of each.
    pub(super) fn devices(&self) -> impl Iterator<Item = (&'a Device, u64)> {
        self.node.profile.devices.iter().zip(self.held.device_mib.iter().copied())
    }
}
