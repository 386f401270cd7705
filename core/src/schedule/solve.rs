//! The solver: places for all missing replicas of a deployment at once.
//!
//! A place taken changes the score of its node, of its rack and of its zone, and of nothing else. So nodes are kept in
//! order per rack and racks in order per zone, and taking a place costs a few look-ups however large the fleet is.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Ask, Fleet, NodeScore,
    problem::Slot,
    score::{leftover_permille, mix},
};
use crate::{
    id::NodeId,
    model::{DeviceGrant, Replica, Spread},
};

/// A place for one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where.
    pub node: NodeId,
    /// The devices it gets there.
    pub devices: Vec<DeviceGrant>,
}

/// The nodes that can take an instance, in order, by failure domain.
#[derive(Default)]
struct Order<'a> {
    zones: BTreeMap<&'a str, Zone<'a>>,
}

#[derive(Default)]
struct Zone<'a> {
    /// Instances of the generation in it.
    count: u32,
    racks: BTreeMap<&'a str, Rack>,
    /// The best node of each rack. `in_zone` is zero here: it is the same for all.
    best: BTreeSet<(NodeScore, &'a str)>,
}

#[derive(Default)]
struct Rack {
    /// Instances of the generation in it.
    count: u32,
    /// Its nodes. `in_zone` and `in_rack` are zero here: they are the same for all.
    nodes: BTreeSet<NodeScore>,
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
        let mut order = self.order(ask, &on_node, seed);
        let mut placed = Vec::new();
        while (placed.len() as u64) < count {
            let Some(best) = order.take_best() else { break };
            let Some(slot) = self.slots.get(&best) else { continue };
            let Some(devices) = slot.accepts(ask) else { continue };
            let (zone, rack) = (slot.zone, slot.rack);
            self.take(best, ask, &devices);
            *on_node.entry(best).or_default() += 1;
            order.count(zone, rack);
            if let Some(next) = self.slots.get(&best).and_then(|slot| score(slot, ask, &on_node, seed)) {
                order.insert(zone, rack, next);
            }
            placed.push(Placement { node: best, devices });
        }
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

    fn order(&self, ask: &Ask<'_>, on_node: &BTreeMap<NodeId, u32>, seed: u64) -> Order<'a> {
        let mut order = Order::default();
        for slot in self.slots.values() {
            if let Some(score) = score(slot, ask, on_node, seed) {
                let zone: &mut Zone<'a> = order.zones.entry(slot.zone).or_default();
                zone.racks.entry(slot.rack).or_default().nodes.insert(score);
            }
        }
        for (node, count) in on_node {
            if let Some(slot) = self.slots.get(node) {
                let zone = order.zones.entry(slot.zone).or_default();
                zone.count += count;
                zone.racks.entry(slot.rack).or_default().count += count;
            }
        }
        for zone in order.zones.values_mut() {
            zone.best = zone.racks.iter().filter_map(|(name, rack)| Some((rack.best()?, *name))).collect();
        }
        order
    }
}

// === impl Order ===

impl<'a> Order<'a> {
    /// Takes the best node of all out.
    fn take_best(&mut self) -> Option<NodeId> {
        let bests = self.zones.values_mut().filter_map(|zone| Some((zone.best()?, zone)));
        let (best, zone) = bests.min_by_key(|(best, _)| *best)?;
        let (_, name) = zone.best.pop_first()?;
        let rack = zone.racks.get_mut(name)?;
        rack.nodes.pop_first();
        zone.best.extend(rack.best().map(|best| (best, name)));
        Some(best.node)
    }

    /// Counts an instance in a zone and rack.
    fn count(&mut self, zone: &'a str, rack: &'a str) {
        self.change(zone, rack, |zone, rack| {
            zone.count += 1;
            if let Some(rack) = zone.racks.get_mut(rack) {
                rack.count += 1;
            }
        });
    }

    /// Puts a node back in.
    fn insert(&mut self, zone: &'a str, rack: &'a str, score: NodeScore) {
        self.change(zone, rack, |zone, rack| {
            zone.racks.entry(rack).or_default().nodes.insert(score);
        });
    }

    /// Changes a rack and keeps its zone's order.
    fn change(&mut self, zone: &'a str, rack: &'a str, change: impl FnOnce(&mut Zone<'a>, &'a str)) {
        let zone = self.zones.entry(zone).or_default();
        if let Some(best) = zone.racks.get(rack).and_then(Rack::best) {
            zone.best.remove(&(best, rack));
        }
        change(zone, rack);
        if let Some(best) = zone.racks.get(rack).and_then(Rack::best) {
            zone.best.insert((best, rack));
        }
    }
}

// === impl Zone ===

impl Zone<'_> {
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

/// Scores a node by itself; nothing when the instance does not fit there.
fn score(slot: &Slot<'_>, ask: &Ask<'_>, on_node: &BTreeMap<NodeId, u32>, seed: u64) -> Option<NodeScore> {
    slot.accepts(ask)?;
    let capacity = &slot.node.profile.capacity;
    Some(NodeScore {
        on_node: on_node.get(&slot.node.id).copied().unwrap_or(0),
        in_zone: 0,
        in_rack: 0,
        leftover_permille: leftover_permille(capacity, &slot.free, &ask.resources),
        tie: mix(seed, slot.node.id.0),
        node: slot.node.id,
    })
}
