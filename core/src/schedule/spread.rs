//! Spread as a deployment asks for it: another domain first, or no more than so many in each.
//!
//! Only deployments that ask for it come here; the others are placed by the solver, which knows one order and is quick
//! at it. Nodes that fit are listed once, in order per rack, and each place looks at the best node of every rack.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ask, Fleet, Placement, Refusal, problem::Slot, score::leftover_permille};
use crate::{
    id::NodeId,
    model::{Spread, SpreadBy},
};

/// A rack of a zone, by their labels.
type Rack<'a> = (&'a str, &'a str);

/// How well a node suits within its rack; the smallest wins.
type Suits = (u32, bool, u64, u64, NodeId);

/// Instances per domain, and the nodes that take more.
#[derive(Default)]
struct Domains<'a> {
    in_zone: BTreeMap<&'a str, u32>,
    in_rack: BTreeMap<Rack<'a>, u32>,
    nodes: BTreeMap<Rack<'a>, BTreeSet<Suits>>,
}

// === impl Fleet ===

impl<'a> Fleet<'a> {
    /// Takes up to `count` places the way `ask` wants its instances spread.
    pub(super) fn place_spread(
        &mut self,
        ask: &Ask<'_>,
        count: u64,
        seed: u64,
        mut on_node: BTreeMap<NodeId, u32>,
    ) -> Vec<Placement> {
        let with_model = self.nodes_with_model(ask, count);
        let mut domains = Domains::of(self, &on_node);
        let suits = |slot: &Slot<'_>, on_node: &BTreeMap<NodeId, u32>| -> Option<Suits> {
            slot.accepts(ask)?;
            let held = on_node.get(&slot.node.id).copied().unwrap_or(0);
            if ask.spread.by == SpreadBy::Node && ask.spread.max_per_domain.is_some_and(|max| held >= max) {
                return None;
            }
            let left = leftover_permille(&slot.node.profile.capacity, &slot.free, &ask.resources);
            let apart = if ask.spread.by == SpreadBy::None { 0 } else { held };
            let fetches_model = !with_model.contains(&slot.node.id);
            Some((apart, fetches_model, left, mix(seed, slot.node.id.0), slot.node.id))
        };
        for slot in self.slots.values() {
            if let Some(suits) = suits(&slot, &on_node) {
                domains.nodes.entry((slot.zone, slot.rack)).or_default().insert(suits);
            }
        }
        let mut placed = Vec::new();
        while (placed.len() as u64) < count {
            let Some((rack, best)) = domains.best(ask.spread) else { break };
            let Some(slot) = self.slots.get(&best) else { continue };
            let Some(devices) = slot.accepts(ask) else { continue };
            self.take(best, ask, &devices);
            *on_node.entry(best).or_default() += 1;
            domains.count(rack, 1);
            if let Some(suits) = self.slots.get(&best).and_then(|slot| suits(&slot, &on_node)) {
                domains.nodes.entry(rack).or_default().insert(suits);
            }
            placed.push(Placement { node: best, devices });
        }
        placed
    }

    /// Says why a node may hold no more instances of a generation, if that is so.
    pub(super) fn spread_refusal(
        &self,
        ask: &Ask<'_>,
        slot: &Slot<'_>,
        on_node: &BTreeMap<NodeId, u32>,
    ) -> Option<Refusal> {
        let max = ask.spread.max_per_domain?;
        let by = ask.spread.by;
        let domain = |slot: &Slot<'_>| match by {
            SpreadBy::Zone => Some((slot.zone.to_owned(), String::new())),
            SpreadBy::Rack => Some((slot.zone.to_owned(), slot.rack.to_owned())),
            SpreadBy::Node | SpreadBy::None => None,
        };
        let label = match by {
            SpreadBy::Zone => slot.zone,
            SpreadBy::Rack => slot.rack,
            SpreadBy::Node | SpreadBy::None => slot.node.profile.name.as_str(),
        };
        if label.is_empty() {
            return Some(Refusal::spread(format!("wants at most {max} in a {0}, has no {0}", by.word())));
        }
        let held: u32 = match domain(slot) {
            None => on_node.get(&slot.node.id).copied().unwrap_or(0),
            here => {
                let same = |node: &NodeId| self.slots.get(node).is_some_and(|other| domain(&other) == here);
                on_node.iter().filter(|(node, _)| same(node)).map(|(_, count)| count).sum()
            }
        };
        (held >= max).then(|| Refusal::spread(format!("{} {label} holds {held} of at most {max}", by.word())))
    }

    /// Returns whether an instance may go to a node, as far as it is about spread alone.
    pub(super) fn may_hold_more(&self, ask: &Ask<'_>, slot: &Slot<'_>, on_node: &BTreeMap<NodeId, u32>) -> bool {
        self.spread_refusal(ask, slot, on_node).is_none()
    }
}

// === impl Domains ===

impl<'a> Domains<'a> {
    fn of(fleet: &Fleet<'a>, on_node: &BTreeMap<NodeId, u32>) -> Self {
        let mut domains = Self::default();
        for (node, count) in on_node {
            let rack = fleet.slots.get(node).map(|slot| (slot.zone, slot.rack));
            rack.into_iter().for_each(|rack| domains.count(rack, *count));
        }
        domains
    }

    fn count(&mut self, rack: Rack<'a>, instances: u32) {
        *self.in_zone.entry(rack.0).or_default() += instances;
        *self.in_rack.entry(rack).or_default() += instances;
    }

    /// Takes the best node of all out.
    fn best(&mut self, spread: Spread) -> Option<(Rack<'a>, NodeId)> {
        let candidates = self.nodes.iter().filter_map(|(rack, nodes)| {
            let suits = *nodes.first()?;
            let in_zone = self.in_zone.get(rack.0).copied().unwrap_or(0);
            let in_rack = self.in_rack.get(rack).copied().unwrap_or(0);
            let (label, held) = match spread.by {
                SpreadBy::Zone => (rack.0, in_zone),
                SpreadBy::Rack => (rack.1, in_rack),
                SpreadBy::Node | SpreadBy::None => ("", 0),
            };
            let is_counted = matches!(spread.by, SpreadBy::Zone | SpreadBy::Rack);
            if is_counted && spread.max_per_domain.is_some_and(|max| held >= max || label.is_empty()) {
                return None;
            }
            let order = match spread.by {
                SpreadBy::Node => (suits.0, in_zone, in_rack),
                SpreadBy::Rack => (in_rack, suits.0, in_zone),
                SpreadBy::Zone => (in_zone, in_rack, suits.0),
                SpreadBy::None => (0, 0, 0),
            };
            Some(((order, suits), *rack))
        });
        let ((_, suits), rack) = candidates.min()?;
        self.nodes.get_mut(&rack)?.remove(&suits);
        Some((rack, suits.4))
    }
}

/// Mixes two numbers into one (splitmix64's finisher), the same on every build.
fn mix(seed: u64, value: u64) -> u64 {
    let mut mixed = seed ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
