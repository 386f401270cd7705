//! Rooms: which nodes are alike to the scheduler, kept as entries are applied.
//!
//! Nodes with the same capacity, the same left of it, the same devices with the same left of them, and the same labels
//! that anybody asks for, are one *room*: an instance fits on all of them or on none, and equally well. So placing looks
//! at each room once, however many nodes share it. Within a room nodes stand in order of zone, rack and place on a ring,
//! so that the next one of a rack, or the next rack, is one look-up away.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use super::ClusterState;
use crate::{
    id::NodeId,
    model::{DeviceGrant, LabelRule, Node},
    units::Resources,
};

/// A zone or a rack: its name mixed into a number. A rack is one within its zone.
pub(crate) type Domain = u64;

/// Where a node stands within its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stand {
    pub(crate) zone: Domain,
    pub(crate) rack: Domain,
    /// Its place on the ring: its id, mixed.
    pub(crate) ring: u64,
    pub(crate) node: NodeId,
}

/// What a room is told from others by: everything that placing looks at, mixed. Two rooms that are mixed into one cost
/// a look at a node that turns out not to fit, nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoomId(u64, u64);

/// The nodes of one room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// What each of them has left.
    pub(crate) free: Resources,
    pub(crate) nodes: BTreeSet<Stand>,
}

/// What is held on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) resources: Resources,
    /// MiB per device, in the order of the node's profile.
    pub(crate) device_mib: Vec<u64>,
}

/// Nodes that take something new, by room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rooms {
    rooms: BTreeMap<RoomId, Room>,
    seats: BTreeMap<NodeId, (RoomId, Stand)>,
    /// How many nodes each rack of each zone has here.
    zones: BTreeMap<Domain, BTreeMap<Domain, u32>>,
}

/// The rooms of the state, and what they follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomIndex {
    pub(crate) rooms: Rooms,
    held: BTreeMap<NodeId, Held>,
    /// Labels that some deployment asks for, and how many do: only these tell nodes apart.
    asked_labels: BTreeMap<String, u32>,
    /// Nodes this entry changed; none between entries.
    stale: BTreeSet<NodeId>,
    all_stale: bool,
}

// === impl Stand ===

impl Stand {
    pub(crate) fn of(node: &Node) -> Self {
        let label = |name: &str| node.profile.labels.get(name).map_or("", String::as_str);
        let zone = Print::of("zone").text(label("zone")).0;
        Self { zone, rack: Print(zone, 1).text(label("rack")).0, ring: mix(0, node.id.0), node: node.id }
    }
}

// === impl Held ===

impl Held {
    fn change(&mut self, node: Option<&Node>, grants: &[DeviceGrant], by: impl Fn(u64, u64) -> u64) {
        let Some(devices) = node.map(|node| &node.profile.devices).filter(|devices| !devices.is_empty()) else {
            return;
        };
        self.device_mib.resize(devices.len(), 0);
        for grant in grants {
            if let Some(at) = devices.iter().position(|device| device.uuid == grant.uuid) {
                self.device_mib[at] = by(self.device_mib[at], grant.memory_mib.unwrap_or(devices[at].memory_mib));
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.resources == Resources::ZERO && self.device_mib.iter().all(|mib| *mib == 0)
    }
}

// === impl Rooms ===

impl Rooms {
    /// Puts a node into the room it is now, or takes it out when nothing new may come.
    pub(crate) fn seat(&mut self, id: NodeId, at: Option<(RoomId, Stand, Resources)>) {
        let seat = at.map(|(room, stand, _)| (room, stand));
        if self.seats.get(&id).copied() == seat {
            return;
        }
        if let Some((room, stand)) = self.seats.remove(&id) {
            self.leave(room, &stand);
        }
        let Some((room, stand, free)) = at else { return };
        self.seats.insert(id, (room, stand));
        self.rooms.entry(room).or_insert_with(|| Room { free, nodes: BTreeSet::new() }).nodes.insert(stand);
        *self.zones.entry(stand.zone).or_default().entry(stand.rack).or_default() += 1;
    }

    fn leave(&mut self, id: RoomId, stand: &Stand) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.nodes.remove(stand);
            if room.nodes.is_empty() {
                self.rooms.remove(&id);
            }
        }
        if let Some(racks) = self.zones.get_mut(&stand.zone) {
            if let Some(nodes) = racks.get_mut(&stand.rack) {
                *nodes -= 1;
                if *nodes == 0 {
                    racks.remove(&stand.rack);
                }
            }
            if racks.is_empty() {
                self.zones.remove(&stand.zone);
            }
        }
    }

    /// Lists the rooms.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        self.rooms.iter().map(|(id, room)| (*id, room))
    }

    /// Counts the rooms.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Returns whether a node is in one of the rooms.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.seats.contains_key(&node)
    }

    /// Lists the nodes with their rooms.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (NodeId, RoomId, Stand)> {
        self.seats.iter().map(|(node, (room, stand))| (*node, *room, *stand))
    }

    /// Returns what the nodes of a room have left.
    pub(crate) fn free(&self, room: RoomId) -> Resources {
        self.rooms.get(&room).map(|room| room.free).unwrap_or_default()
    }

    /// Counts the nodes.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Lists the zones with their racks.
    pub(crate) fn zones(&self) -> &BTreeMap<Domain, BTreeMap<Domain, u32>> {
        &self.zones
    }
}

// === impl RoomIndex ===

impl RoomIndex {
    /// Returns what is held on a node.
    pub(crate) fn held(&self, node: NodeId) -> Option<&Held> {
        self.held.get(&node)
    }

    pub(super) fn add(&mut self, id: NodeId, node: Option<&Node>, resources: &Resources, grants: &[DeviceGrant]) {
        let held = self.held.entry(id).or_default();
        held.resources += *resources;
        held.change(node, grants, u64::saturating_add);
        if held.is_nothing() {
            self.held.remove(&id);
        }
        self.stale.insert(id);
    }

    pub(super) fn remove(&mut self, id: NodeId, node: Option<&Node>, resources: &Resources, grants: &[DeviceGrant]) {
        if let Some(held) = self.held.get_mut(&id) {
            held.resources = held.resources.saturating_sub(resources);
            held.change(node, grants, u64::saturating_sub);
            if held.is_nothing() {
                self.held.remove(&id);
            }
        }
        self.stale.insert(id);
    }

    /// Counts anew what is held per device, for a node whose devices are others than before.
    pub(super) fn recount<'a>(&mut self, node: &Node, grants: impl Iterator<Item = &'a [DeviceGrant]>) {
        if let Some(held) = self.held.get_mut(&node.id) {
            held.device_mib.clear();
            grants.for_each(|grants| held.change(Some(node), grants, u64::saturating_add));
        }
        self.stale.insert(node.id);
    }

    /// Notes that a node may be another room by now.
    pub(super) fn touch(&mut self, node: NodeId) {
        self.stale.insert(node);
    }

    /// Counts the labels that a deployment asks for.
    pub(super) fn ask_labels(&mut self, before: &BTreeMap<String, LabelRule>, after: &BTreeMap<String, LabelRule>) {
        for name in after.keys() {
            let count = self.asked_labels.entry(name.clone()).or_default();
            self.all_stale |= *count == 0;
            *count += 1;
        }
        for name in before.keys() {
            if let Some(count) = self.asked_labels.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.asked_labels.remove(name);
                    self.all_stale = true;
                }
            }
        }
    }

    /// Puts every node that changed into its room.
    pub(super) fn settle<N: Borrow<Node>>(&mut self, nodes: &BTreeMap<NodeId, N>) {
        if std::mem::take(&mut self.all_stale) {
            self.stale.extend(nodes.keys());
        }
        for id in std::mem::take(&mut self.stale) {
            let at = nodes.get(&id).and_then(|node| self.judge(node.borrow(), self.held.get(&id)));
            self.rooms.seat(id, at);
        }
    }

    /// Tells which room a node is while `held` is held on it; none when nothing new may come.
    pub(crate) fn judge(&self, node: &Node, held: Option<&Held>) -> Option<(RoomId, Stand, Resources)> {
        if !node.is_schedulable() {
            return None;
        }
        let capacity = &node.profile.capacity;
        let free = capacity.saturating_sub(&held.map(|held| held.resources).unwrap_or_default());
        let mut print = Print::of("room").amounts(capacity).amounts(&free);
        for name in self.asked_labels.keys() {
            print = match node.profile.labels.get(name) {
                Some(value) => print.number(1).text(value),
                None => print.number(0),
            };
        }
        let (mut low, mut high) = (0u64, 0u64);
        for (at, device) in node.profile.devices.iter().enumerate() {
            let mib = held.and_then(|held| held.device_mib.get(at)).copied().unwrap_or(0);
            let profile = device.mig_profile.as_deref();
            let print =
                Print::of(&device.model).number(device.memory_mib).number(mib).number(u64::from(device.healthy));
            let print = print.number(u64::from(profile.is_some())).text(profile.unwrap_or(""));
            // Which device is which does not matter, so their order does not either.
            (low, high) = (low.wrapping_add(print.0), high.wrapping_add(print.1));
        }
        let print = print.number(low).number(high);
        Some((RoomId(print.0, print.1), Stand::of(node), free))
    }
}

impl ClusterState {
    /// Returns a node to change; its room is judged anew at the end of the entry.
    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.index.rooms.touch(id);
        self.nodes.get_mut(&id)
    }
}

/// A fingerprint in two lanes, the same on every build.
#[derive(Clone, Copy)]
struct Print(u64, u64);

// === impl Print ===

impl Print {
    fn of(text: &str) -> Self {
        Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344).text(text)
    }

    fn number(self, number: u64) -> Self {
        Self(mix(self.0, number), mix(self.1 ^ 0xa409_3822_299f_31d0, number.rotate_left(32)))
    }

    fn amounts(self, amounts: &Resources) -> Self {
        self.number(amounts.cpu_milli).number(amounts.memory_mib).number(amounts.disk_mib).number(amounts.gpus)
    }

    fn text(self, text: &str) -> Self {
        let words = text.as_bytes().chunks(8).map(|bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        });
        words.fold(self.number(text.len() as u64), Self::number)
    }
}

/// Mixes two numbers into one (splitmix64's finisher), the same on every build.
pub(crate) fn mix(seed: u64, value: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
