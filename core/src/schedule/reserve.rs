//! Places of a reserve: where to hold them, and which one to use up.

use std::collections::BTreeMap;

use super::{Ask, Fleet, Placement};
use crate::{
    id::{NodeId, SlotId},
    model::{DeploymentKey, ReserveSlot, Spread},
};

/// How much more a replica counts than a slot where a slot looks for a place: it covers the replica, and loses nothing
/// but its own kind to the slot beside it.
const REPLICA_WEIGHT: u32 = 1 << 10;

// === impl Fleet ===

impl Fleet<'_> {
    /// Gives a slot's place back.
    pub(crate) fn give_back(&mut self, held: &ReserveSlot) {
        let Some(slot) = self.slots.get_mut(&held.node) else { return };
        slot.free += held.resources;
        held.devices.iter().for_each(|grant| slot.release(grant));
    }

    /// Takes a slot's place again after [`Fleet::give_back`].
    fn hold_again(&mut self, held: &ReserveSlot) {
        let Some(slot) = self.slots.get_mut(&held.node) else { return };
        slot.free = slot.free.saturating_sub(&held.resources);
        held.devices.iter().for_each(|grant| slot.hold(grant));
    }

    /// Takes the place of one of these slots for an instance: the one on the node with the fewest instances, then the
    /// one held longest.
    pub(crate) fn spend(
        &mut self,
        ask: &Ask<'_>,
        slots: &[&ReserveSlot],
        on_node: &BTreeMap<NodeId, u32>,
    ) -> Option<(SlotId, Placement)> {
        let mut candidates = slots.to_vec();
        candidates
            .retain(|held| self.slots.get(&held.node).is_some_and(|slot| self.may_hold_more(ask, &slot, on_node)));
        candidates.sort_by_key(|slot| (on_node.get(&slot.node).copied().unwrap_or(0), slot.since, slot.id));
        for held in candidates {
            self.give_back(held);
            let granted = self.slots.get(&held.node).and_then(|slot| self.expected.best(&slot, ask));
            if let Some((_, devices)) = granted {
                self.take(held.node, ask, &devices);
                return Some((held.id, Placement { node: held.node, devices }));
            }
            self.hold_again(held);
        }
        None
    }

    /// Takes up to `count` places for slots, away from the replicas they cover and then from each other.
    pub(crate) fn hold(
        &mut self,
        ask: &Ask<'_>,
        count: u64,
        seed: u64,
        covered: &BTreeMap<NodeId, u32>,
        slots: &BTreeMap<NodeId, u32>,
    ) -> Vec<Placement> {
        let on_node = beside(covered, slots);
        // A slot holds no instance: whether one may go there is asked when it does.
        let spread = Spread { max_per_domain: None, ..ask.spread };
        self.place_beside(&Ask { spread, ..ask.clone() }, count, seed, on_node)
    }

    /// Gives a place for a slot back that was only looked at.
    pub(crate) fn untake(&mut self, ask: &Ask<'_>, place: &Placement) {
        let Some(slot) = self.slots.get_mut(&place.node) else { return };
        slot.free += ask.resources;
        place.devices.iter().for_each(|grant| slot.release(grant));
    }

    /// Says how far a node is from the replicas a slot on it covers.
    pub(crate) fn distance(&self, node: NodeId, key: &DeploymentKey, covered: &BTreeMap<NodeId, u32>) -> String {
        let Some(here) = self.slots.get(&node) else { return String::new() };
        let all: u32 = covered.values().sum();
        let near = |is_near: &dyn Fn(&super::problem::Slot<'_>) -> bool| -> u32 {
            let is_near = |other: &NodeId| self.slots.get(other).is_some_and(|other| is_near(&other));
            let those = covered.iter().filter(|(other, _)| is_near(other));
            those.map(|(_, count)| count).sum()
        };
        let on_node = near(&|other| other.node.id == node);
        let in_rack = near(&|other| !here.rack.is_empty() && (other.zone, other.rack) == (here.zone, here.rack));
        let in_zone = near(&|other| !here.zone.is_empty() && other.zone == here.zone);
        match (on_node, in_rack, in_zone) {
            _ if all == 0 => "it covers nothing yet".to_owned(),
            (0, 0, 0) => format!("away from all that it covers ({all} of {key})"),
            (0, 0, near) => format!("same zone as {near} of {all} of {key}: no node elsewhere fits"),
            (0, near, _) => format!("same rack as {near} of {all} of {key}: no node elsewhere fits"),
            (near, ..) => format!("same node as {near} of {all} of {key}: no other node fits"),
        }
    }
}

/// Counts what a new slot keeps apart from.
pub(super) fn beside(covered: &BTreeMap<NodeId, u32>, slots: &BTreeMap<NodeId, u32>) -> BTreeMap<NodeId, u32> {
    let mut on_node = slots.clone();
    for (node, replicas) in covered {
        *on_node.entry(*node).or_default() += replicas.saturating_mul(REPLICA_WEIGHT);
    }
    on_node
}
