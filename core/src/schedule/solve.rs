//! The solver: places for all missing replicas of a deployment at once.
//!
//! Nodes without an instance are walked in order ([`walk`](super::walk)) and never listed. Those that have the model are
//! few, and so are those with an instance; both are kept in order per rack and racks in order per zone, because a place
//! taken changes the score of its node, of its rack and of its zone, and of nothing else.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Ask, Fleet, NodeScore,
    problem::Slot,
    score::{RoomScore, leftover_permille},
    strand::{Choice, Expected},
    walk::{Passed, Walk},
};
use crate::{
    id::NodeId,
    model::{DeviceGrant, GpuAsk, LabelRule, Replica, Spread},
    state::rooms::{Domain, RoomId, Rooms, Stand},
    units::Resources,
};

/// A place for one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where.
    pub node: NodeId,
    /// The devices it gets there.
    pub devices: Vec<DeviceGrant>,
}

/// Nodes that can take an instance, in order, by failure domain.
#[derive(Default)]
struct Order {
    zones: BTreeMap<Domain, Zone>,
}

#[derive(Default)]
struct Zone {
    /// Instances of the generation in it.
    count: u32,
    racks: BTreeMap<Domain, Rack>,
    /// The best node of each rack. `in_zone` is zero here: it is the same for all.
    best: BTreeSet<(NodeScore, Domain)>,
}

#[derive(Default)]
struct Rack {
    /// Instances of the generation in it.
    count: u32,
    /// Its nodes. `in_zone` and `in_rack` are zero here: they are the same for all.
    nodes: BTreeSet<NodeScore>,
}

/// Nodes that are not walked: those with an instance or the model, and those found not to fit after all.
struct Known {
    on_node: BTreeMap<NodeId, u32>,
    with_model: BTreeSet<NodeId>,
    unfit: BTreeSet<NodeId>,
}

/// What was made of a room: how it suits, and which of its devices a share comes from.
pub(super) type Judged<'a> = (RoomScore, Option<Choice<'a>>);

/// What an ask looks like to a room.
type Shape = (Resources, GpuAsk, BTreeMap<String, LabelRule>);

/// What was made of rooms while a plan took shape: deployments that ask for the same find it judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Judgements<'a>(BTreeMap<Shape, BTreeMap<RoomId, Option<Judged<'a>>>>);

/// Judgements are forgotten when there are so many times more than rooms: the others are of rooms long gone.
const JUDGED_PER_ROOM: usize = 4;

// === impl Judgements ===

impl<'a> Judgements<'a> {
    fn lend(&mut self, ask: &Ask<'_>) -> BTreeMap<RoomId, Option<Judged<'a>>> {
        self.0.get_mut(&ask.shape()).map(std::mem::take).unwrap_or_default()
    }

    fn give_back(&mut self, ask: &Ask<'_>, judged: BTreeMap<RoomId, Option<Judged<'a>>>, rooms: usize) {
        if judged.len() <= rooms * JUDGED_PER_ROOM {
            self.0.insert(ask.shape(), judged);
        }
    }
}

// === impl Ask ===

impl Ask<'_> {
    fn shape(&self) -> Shape {
        (self.resources, self.gpu.clone(), self.constraints.clone())
    }
}

// === impl Fleet ===

impl<'a> Fleet<'a> {
    /// Takes up to `count` places for `ask`, the best first. Fewer come back when the fleet is full.
    pub fn place(&mut self, ask: &Ask<'_>, count: u64, seed: u64) -> Vec<Placement> {
        self.place_beside(ask, count, seed, self.instances(ask))
    }

    /// Takes up to `count` places for `ask`, away from what is on the nodes already.
    pub(crate) fn place_beside(
        &mut self,
        ask: &Ask<'_>,
        count: u64,
        seed: u64,
        mut on_node: BTreeMap<NodeId, u32>,
    ) -> Vec<Placement> {
        if ask.spread != Spread::default() {
            return self.place_spread(ask, count, seed, on_node);
        }
        on_node.retain(|_, count| *count > 0);
        let with_model = self.nodes_with_model(ask, count);
        self.slots.settle();
        // Places that are taken change nodes, not rooms: those are walked as they are now.
        let layers = self.slots.lend_rooms();
        let mut judged = self.judged.lend(ask);
        let walk = Walk::new(&layers, seed, |id, room, is_below| {
            if !ask.resources.fits(&room.free) {
                return None;
            }
            let mut judge = || {
                let node = room.nodes.first()?.node;
                let slot = if is_below { self.slots.before(node) } else { self.slots.get(&node).map(Cow::into_owned) };
                rate(&mut self.expected, &slot?, ask)
            };
            judged.entry(id).or_insert_with(&mut judge).map(|(score, _)| score)
        });
        let known = Known { on_node, with_model, unfit: BTreeSet::new() };
        let local = Order::default();
        let placed = Round { fleet: self, ask, seed, walk, judged: &judged, local, order: None, known }.take(count);
        let rooms = layers.below.map_or(0, Rooms::rooms) + layers.above.rooms();
        self.judged.give_back(ask, judged, rooms);
        self.slots.return_rooms(layers);
        placed
    }

    /// Counts the instances of the generation per node.
    pub(crate) fn instances(&self, ask: &Ask<'_>) -> BTreeMap<NodeId, u32> {
        let mut on_node = BTreeMap::new();
        let same = |replica: &&Replica| replica.is_wanted() && replica.generation == ask.generation;
        for replica in self.state.replicas_of(ask.key).filter(same) {
            *on_node.entry(replica.node).or_default() += 1;
        }
        on_node
    }
}

/// One deployment being placed.
struct Round<'r, 'f, 'a> {
    fleet: &'r mut Fleet<'a>,
    ask: &'r Ask<'r>,
    seed: u64,
    walk: Walk<'f>,
    /// What was made of each room.
    judged: &'r BTreeMap<RoomId, Option<Judged<'a>>>,
    /// Nodes with the model and no instance.
    local: Order,
    /// Nodes with an instance; listed when no other is left.
    order: Option<Order>,
    known: Known,
}

// === impl Round ===

impl Round<'_, '_, '_> {
    fn take(mut self, count: u64) -> Vec<Placement> {
        for (node, instances) in &self.known.on_node {
            if let Some(node) = self.fleet.state.nodes.get(node) {
                let Stand { zone, rack, .. } = Stand::of(node);
                self.walk.count(zone, rack, *instances);
            }
        }
        self.local = self.order(|known, node| known.with_model.contains(&node) && !known.on_node.contains_key(&node));
        let mut placed = Vec::new();
        while (placed.len() as u64) < count {
            let Some((node, stand, room)) = self.best() else { break };
            let Some(devices) = self.grant(node, room) else {
                self.known.unfit.insert(node);
                self.walk.taken(stand.zone);
                continue;
            };
            self.fleet.take(node, self.ask, &devices);
            *self.known.on_node.entry(node).or_default() += 1;
            self.walk.count(stand.zone, stand.rack, 1);
            self.local.count(stand.zone, stand.rack, 1);
            if let Some(mut order) = self.order.take() {
                order.count(stand.zone, stand.rack, 1);
                if let Some(score) = self.score(node) {
                    order.insert(stand.zone, stand.rack, score);
                }
                self.order = Some(order);
            }
            placed.push(Placement { node, devices });
        }
        placed
    }

    /// Finds the best node, and the room it was walked in.
    fn best(&mut self) -> Option<(NodeId, Stand, Option<RoomId>)> {
        let walked = self.walk.best(&self.known);
        let is_nearer = |local: &NodeScore| walked.as_ref().is_none_or(|(score, ..)| local < score);
        if self.local.best().is_some_and(|(best, _)| is_nearer(&best)) {
            let node = self.local.take_best()?;
            return Some((node, self.stand(node)?, None));
        }
        if let Some((score, stand, room)) = walked {
            return Some((score.node, stand, Some(room)));
        }
        if self.order.is_none() {
            self.order = Some(self.order(|known, node| known.on_node.contains_key(&node)));
        }
        let node = self.order.as_mut()?.take_best()?;
        Some((node, self.stand(node)?, None))
    }

    fn stand(&self, node: NodeId) -> Option<Stand> {
        self.fleet.state.nodes.get(&node).map(Stand::of)
    }

    fn grant(&mut self, node: NodeId, room: Option<RoomId>) -> Option<Vec<DeviceGrant>> {
        let slot = self.fleet.slots.get(&node)?;
        match room.and_then(|room| self.judged.get(&room)) {
            Some(judged) => Expected::grant(&slot, self.ask, judged.as_ref()?.1),
            None => Some(self.fleet.expected.best(&slot, self.ask)?.1),
        }
    }

    /// Puts some of the known nodes in order.
    fn order(&mut self, is_meant: impl Fn(&Known, NodeId) -> bool) -> Order {
        let mut order = Order::default();
        for (id, count) in &self.known.on_node {
            if let Some(Stand { zone, rack, .. }) = self.stand(*id) {
                order.count(zone, rack, *count);
            }
        }
        let known = self.known.on_node.keys().chain(&self.known.with_model);
        let meant: BTreeSet<NodeId> = known.copied().filter(|node| is_meant(&self.known, *node)).collect();
        for id in meant {
            let Some(Stand { zone, rack, .. }) = self.stand(id) else { continue };
            if let Some(score) = self.score(id) {
                order.insert(zone, rack, score);
            }
        }
        order
    }

    /// Scores a node by itself; nothing when the instance does not fit there.
    fn score(&mut self, node: NodeId) -> Option<NodeScore> {
        let Fleet { slots, expected, .. } = &mut *self.fleet;
        let slot = slots.get(&node).filter(|_| !self.known.unfit.contains(&node))?;
        let stand = Stand::of(slot.node);
        let RoomScore { stranded, leftover_permille } = rate(expected, &slot, self.ask)?.0;
        Some(NodeScore {
            on_node: self.known.on_node.get(&node).copied().unwrap_or(0),
            in_zone: 0,
            in_rack: 0,
            stranded,
            fetches_model: !self.known.with_model.contains(&node),
            leftover_permille,
            rack_tie: stand.rack.wrapping_sub(self.seed),
            tie: stand.ring.wrapping_sub(self.seed),
            node,
        })
    }
}

// === impl Known ===

impl Passed for Known {
    fn is_passed(&self, node: NodeId) -> bool {
        self.on_node.contains_key(&node) || self.with_model.contains(&node) || self.unfit.contains(&node)
    }
}

// === impl Order ===

impl Order {
    /// Returns the best node of all, and its zone.
    fn best(&self) -> Option<(NodeScore, Domain)> {
        self.zones.iter().filter_map(|(name, zone)| Some((zone.best()?, *name))).min()
    }

    /// Takes the best node of all out.
    fn take_best(&mut self) -> Option<NodeId> {
        let (best, zone) = self.best()?;
        let zone = self.zones.get_mut(&zone)?;
        let (_, name) = zone.best.pop_first()?;
        let rack = zone.racks.get_mut(&name)?;
        rack.nodes.pop_first();
        zone.best.extend(rack.best().map(|best| (best, name)));
        Some(best.node)
    }

    /// Counts instances in a zone and rack.
    fn count(&mut self, zone: Domain, rack: Domain, instances: u32) {
        self.change(zone, rack, |zone, rack| {
            zone.count += instances;
            zone.racks.entry(rack).or_default().count += instances;
        });
    }

    /// Puts a node in.
    fn insert(&mut self, zone: Domain, rack: Domain, score: NodeScore) {
        self.change(zone, rack, |zone, rack| {
            zone.racks.entry(rack).or_default().nodes.insert(score);
        });
    }

    /// Changes a rack and keeps its zone's order.
    fn change(&mut self, zone: Domain, rack: Domain, change: impl FnOnce(&mut Zone, Domain)) {
        let zone = self.zones.entry(zone).or_default();
        if let Some(best) = zone.racks.get(&rack).and_then(Rack::best) {
            zone.best.remove(&(best, rack));
        }
        change(zone, rack);
        if let Some(best) = zone.racks.get(&rack).and_then(Rack::best) {
            zone.best.insert((best, rack));
        }
    }
}

// === impl Zone ===

impl Zone {
    fn best(&self) -> Option<NodeScore> {
        self.best.first().map(|(best, _)| NodeScore { in_zone: self.count, ..*best })
    }
}

// === impl Rack ===

impl Rack {
    fn best(&self) -> Option<NodeScore> {
        self.nodes.first().map(|best| NodeScore { in_rack: self.count, ..*best })
    }
}

/// Tells how the room of a node suits; nothing when the instance does not fit.
fn rate<'a>(expected: &mut Expected<'a>, slot: &Slot<'a>, ask: &Ask<'_>) -> Option<Judged<'a>> {
    let (stranded, choice) = expected.judge(slot, ask)?;
    let capacity = &slot.node.profile.capacity;
    let leftover_permille = leftover_permille(capacity, &slot.free, &ask.resources);
    Some((RoomScore { stranded, leftover_permille }, choice))
}
