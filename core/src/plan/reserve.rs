//! The reserve: slots that are no longer of use are given back, and what was used up is held again.
//!
//! Slots come after every instance of everybody: a reserve that does not fit is a state people see, never a reason not
//! to serve. A slot that is held stays held; only its own deployment may use it up, and only for the causes that
//! `place` names. What is more important may have it given back (see `preempt`).

use std::collections::{BTreeMap, BTreeSet};

use super::{draft::Draft, group::Group};
use crate::{
    id::{NodeId, SlotId},
    model::{DeviceGrant, GpuAsk, LabelRule, Node, NodeState, ReleaseCause, Replica, ReplicaState, ReserveSlot},
    reserve::arithmetic,
    schedule::{Ask, Placement},
    state::Step,
    units::Resources,
};

/// Slots per plan that may look for a better place. Looking costs a pass over the fleet, and there is no hurry.
const MOVES_PER_PLAN: usize = 64;

/// An ask that was refused by every node of this plan, as far as it decides the answer.
type Refused<'a> = (Resources, &'a GpuAsk, &'a BTreeMap<String, LabelRule>);

/// Gives back slots that nobody can use where they are, and those beyond what is to be held.
pub(super) fn release_useless(draft: &mut Draft<'_>) {
    let state = draft.view.state;
    for group in &mut draft.groups {
        let mut released: BTreeMap<SlotId, ReleaseCause> = BTreeMap::new();
        // An agent that may be back in a moment keeps its slots, as it keeps its replicas.
        let settled = group.slots.iter().filter(|slot| !draft.view.in_grace.contains(&slot.node));
        for slot in settled {
            let cause = match state.nodes.get(&slot.node) {
                Some(node) if holds_well(node, slot) && slot.suits(&group.deployment.spec, node) => continue,
                Some(node) if holds_well(node, slot) => ReleaseCause::OtherSize,
                _ => ReleaseCause::NodeUnfit,
            };
            released.insert(slot.id, cause);
        }
        let mut left: Vec<_> = group.slots.iter().filter(|slot| !released.contains_key(&slot.id)).collect();
        let covered = group.covered();
        left.sort_by_key(|slot| (covered.get(&slot.node).copied().unwrap_or(0), slot.since, slot.id));
        let surplus = left.into_iter().skip(group.deployment.reserve() as usize);
        released.extend(surplus.map(|slot| (slot.id, ReleaseCause::NotNeeded)));
        for (slot, cause) in released {
            draft.released.extend(group.drop_slot(slot));
            draft.steps.push(Step::ReleaseSlot { slot, cause });
        }
    }
}

/// Returns whether a node still has what a slot holds on it, and may have it used.
fn holds_well(node: &Node, slot: &ReserveSlot) -> bool {
    let is_open = node.state != NodeState::Lost && node.is_open();
    let has = |grant: &DeviceGrant| {
        let device = node.profile.devices.iter().find(|device| device.uuid == grant.uuid);
        device.is_some_and(|device| device.healthy)
    };
    is_open && !node.overfull && slot.devices.iter().all(has)
}

/// Holds what is missing of every reserve, moves slots away from what they cover where that has become possible, and
/// records which reserves are short.
pub(super) fn restore(draft: &mut Draft<'_>) {
    let near = slots_near(draft);
    if !near.is_empty() || draft.groups.iter().any(|group| group.slots_missing() > 0) {
        keep_clear_of_retries(draft);
    }
    move_apart(draft, near);
    let mut refused: BTreeSet<Refused<'_>> = BTreeSet::new();
    for at in 0..draft.groups.len() {
        let group = &draft.groups[at];
        let missing = group.slots_missing();
        let ask = Ask::of(group.deployment);
        let shape = (ask.resources, ask.gpu, ask.constraints);
        let held = if missing == 0 || refused.contains(&shape) { 0 } else { hold(draft, at, missing) };
        if held < missing {
            refused.insert(shape);
        }
        note(draft, at, held < missing);
    }
}

/// Takes the places that deployments in their back-off will ask for again: their replicas had them, and first instances
/// win over any slot.
fn keep_clear_of_retries(draft: &mut Draft<'_>) {
    for at in 0..draft.groups.len() {
        let group = &draft.groups[at];
        let held = (group.kept_current().count() + group.kept_outdated().count()) as u64 + group.in_grace;
        let missing = group.desired().saturating_sub(held + group.placed.len() as u64);
        if missing > 0 && draft.now < group.deployment.retry_at && !group.kept_clear {
            let (ask, seed) = (Ask::of(group.deployment), draft.seed_of(at, "ties"));
            draft.fleet().place(&ask, missing, seed);
        }
    }
}

fn hold(draft: &mut Draft<'_>, at: usize, missing: u64) -> u64 {
    let group = &draft.groups[at];
    let (deployment, covered, slots) = (group.deployment, group.covered(), group.slots_per_node());
    let (ask, seed) = (Ask::of(deployment), draft.seed_of(at, "slots"));
    let places = draft.fleet().hold(&ask, missing, seed, &covered, &slots);
    let held = places.len() as u64;
    for place in places {
        push_hold(draft, at, place, &covered);
    }
    held
}

fn push_hold(draft: &mut Draft<'_>, at: usize, place: Placement, covered: &BTreeMap<NodeId, u32>) {
    let deployment = draft.groups[at].deployment;
    let slot = draft.mint_slot();
    let reason = draft.fleet().distance(place.node, &deployment.key, covered);
    let (key, Placement { node, devices }) = (deployment.key.clone(), place);
    draft.groups[at].held.push(node);
    draft.steps.push(Step::HoldSlot { slot, key, node, devices, reason });
}

fn note(draft: &mut Draft<'_>, at: usize, short: bool) {
    let deployment = draft.groups[at].deployment;
    if deployment.deleting || short == deployment.reserve_short_since.is_some() {
        return;
    }
    let (key, reason) = (deployment.key.clone(), arithmetic(draft.view.state, deployment).to_string());
    draft.steps.push(Step::NoteReserve { key, short, reason });
}

/// Lists slots beside replicas that they cover, of deployments at rest, with the place of each deployment in the plan.
fn slots_near(draft: &Draft<'_>) -> Vec<(usize, SlotId)> {
    let nodes = draft.view.state.nodes.len();
    let mut near = Vec::new();
    for (at, group) in draft.groups.iter().enumerate().filter(|(_, group)| group.is_at_rest()) {
        let covered = group.covered();
        // With as many replicas as nodes there may be no node without one: looking would cost more than it gives.
        if covered.len() < nodes {
            let beside = group.slots.iter().filter(|slot| covered.contains_key(&slot.node));
            near.extend(beside.map(|slot| (at, slot.id)));
        }
    }
    // Every plan begins elsewhere, so that those that cannot move do not keep the others waiting.
    let begin = draft.view.state.applied.0.checked_rem(near.len() as u64).unwrap_or(0) as usize;
    near.rotate_left(begin);
    near.truncate(MOVES_PER_PLAN);
    near
}

/// Moves slots off the nodes of replicas they cover, where another node has room by now; each one that moves may make
/// room for another.
fn move_apart(draft: &mut Draft<'_>, mut near: Vec<(usize, SlotId)>) {
    loop {
        let before = near.len();
        near.retain(|(at, slot)| !move_one(draft, *at, *slot));
        if near.len() == before {
            return;
        }
    }
}

/// Returns whether a slot found a better place.
fn move_one(draft: &mut Draft<'_>, at: usize, slot: SlotId) -> bool {
    let group = &draft.groups[at];
    let (covered, mut slots) = (group.covered(), group.slots_per_node());
    let Some(held) = group.slots.iter().copied().find(|held| held.id == slot) else { return false };
    if let Some(count) = slots.get_mut(&held.node) {
        *count -= 1;
    }
    let (ask, seed) = (Ask::of(group.deployment), draft.seed_of(at, "slots"));
    let fleet = draft.fleet();
    let Some(place) = fleet.hold(&ask, 1, seed, &covered, &slots).pop() else { return false };
    if covered.contains_key(&place.node) {
        fleet.untake(&ask, &place);
        return false;
    }
    fleet.give_back(held);
    draft.groups[at].drop_slot(slot);
    draft.steps.push(Step::ReleaseSlot { slot, cause: ReleaseCause::Moved });
    push_hold(draft, at, place, &covered);
    true
}

// === impl Group ===

impl<'a> Group<'a> {
    /// Counts the replicas per node that a slot covers: those that stay, and those this plan places.
    pub(super) fn covered(&self) -> BTreeMap<NodeId, u32> {
        let mut covered = BTreeMap::new();
        let kept = self.kept_current().chain(self.kept_outdated()).map(|replica| replica.node);
        kept.chain(self.placed.iter().copied()).for_each(|node| *covered.entry(node).or_default() += 1);
        covered
    }

    fn slots_per_node(&self) -> BTreeMap<NodeId, u32> {
        let mut slots = BTreeMap::new();
        let nodes = self.slots.iter().map(|slot| slot.node).chain(self.held.iter().copied());
        nodes.for_each(|node| *slots.entry(node).or_default() += 1);
        slots
    }

    /// Counts the places beyond the desired ones that replicas hold now: what is out of the reserve.
    pub(super) fn beyond(&self) -> u64 {
        let leaving = self.leaving.iter().filter(|replica| !replica.lost).count() + self.condemned.len();
        let places = self.current.len() + self.outdated.len() + leaving + self.placed.len();
        (places as u64).saturating_sub(self.desired())
    }

    /// Counts the slots to hold: the reserve, less what is held of it and what is out.
    fn slots_missing(&self) -> u64 {
        let held = (self.slots.len() + self.held.len()) as u64;
        self.deployment.reserve().saturating_sub(held + self.beyond())
    }

    /// Returns whether nothing of the deployment moves, and nothing is about to: while a replica more than asked for is
    /// there, it has the place that a slot would be held for.
    fn is_at_rest(&self) -> bool {
        let moving = self.outdated.len() + self.leaving.len() + self.placed.len() + self.retired.len();
        let moving = moving + self.condemned.len() + self.beyond() as usize;
        let answers = |replica: &&Replica| matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving);
        moving == 0 && self.in_grace == 0 && self.current.iter().all(answers)
    }

    /// Takes a slot out of those that are held.
    pub(super) fn drop_slot(&mut self, id: SlotId) -> Option<&'a ReserveSlot> {
        let at = self.slots.iter().position(|slot| slot.id == id)?;
        Some(self.slots.remove(at))
    }
}
