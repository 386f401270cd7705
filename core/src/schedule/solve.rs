//! The solver: places for all missing replicas of a deployment at once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::{
    Ask, Fleet, NodeScore,
    problem::Slot,
    score::{leftover_permille, mix},
};
use crate::{
    id::NodeId,
    model::{DeviceGrant, Replica},
};

/// A place for one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where.
    pub node: NodeId,
    /// The devices it gets there.
    pub devices: Vec<DeviceGrant>,
}

/// How many instances of the generation are where.
#[derive(Default)]
struct Spread<'a> {
    on_node: BTreeMap<NodeId, u32>,
    in_zone: BTreeMap<&'a str, u32>,
    in_rack: BTreeMap<(&'a str, &'a str), u32>,
}

// === impl Fleet ===

impl<'a> Fleet<'a> {
    /// Takes up to `count` places for `ask`, the best first. Fewer come back when the fleet is full.
    ///
    /// Every node is scored once and the rest is a heap: taking a place only ever worsens scores, so an entry that is
    /// still what it was when it was pushed is the best one there is.
    pub fn place(&mut self, ask: &Ask<'_>, count: u64, seed: u64) -> Vec<Placement> {
        let mut spread = self.spread(ask);
        let scores = self.slots.values().filter_map(|slot| spread.score(slot, ask, seed));
        let mut heap: BinaryHeap<_> = scores.map(Reverse).collect();
        let mut placed = Vec::new();
        while (placed.len() as u64) < count {
            let Some(Reverse(best)) = heap.pop() else { break };
            let Some(slot) = self.slots.get(&best.node) else { continue };
            let Some(devices) = slot.accepts(ask) else { continue };
            let Some(score) = spread.score(slot, ask, seed) else { continue };
            if score != best {
                heap.push(Reverse(score));
                continue;
            }
            spread.count(slot);
            self.take(best.node, ask, &devices);
            if let Some(next) = self.slots.get(&best.node).and_then(|slot| spread.score(slot, ask, seed)) {
                heap.push(Reverse(next));
            }
            placed.push(Placement { node: best.node, devices });
        }
        placed
    }

    fn spread(&self, ask: &Ask<'_>) -> Spread<'a> {
        let mut spread = Spread::default();
        let same = |replica: &&Replica| replica.is_wanted() && replica.generation == ask.generation;
        for replica in self.state.replicas_of(ask.key).filter(same) {
            if let Some(slot) = self.slots.get(&replica.node) {
                spread.count(slot);
            }
        }
        spread
    }
}

// === impl Spread ===

impl<'a> Spread<'a> {
    fn count(&mut self, slot: &Slot<'a>) {
        let (zone, rack) = (slot.label("zone"), slot.label("rack"));
        *self.on_node.entry(slot.node.id).or_default() += 1;
        *self.in_zone.entry(zone).or_default() += 1;
        *self.in_rack.entry((zone, rack)).or_default() += 1;
    }

    /// Scores a node; nothing when the instance does not fit there.
    fn score(&self, slot: &Slot<'_>, ask: &Ask<'_>, seed: u64) -> Option<NodeScore> {
        slot.accepts(ask)?;
        let (zone, rack) = (slot.label("zone"), slot.label("rack"));
        Some(NodeScore {
            on_node: self.on_node.get(&slot.node.id).copied().unwrap_or(0),
            in_zone: self.in_zone.get(zone).copied().unwrap_or(0),
            in_rack: self.in_rack.get(&(zone, rack)).copied().unwrap_or(0),
            leftover_permille: leftover_permille(&slot.node.profile.capacity, &slot.free, &ask.resources),
            tie: mix(seed, slot.node.id.0),
            node: slot.node.id,
        })
    }
}
