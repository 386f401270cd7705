//! Pre-emption: an important instance that fits nowhere gets a place from what is less important.
//!
//! Slots of reserves yield at once, as nothing runs in them. Replicas drain first, as in any planned change, and hold
//! their places until their nodes confirm that they are gone; only then is the newcomer placed, so nothing is ever
//! oversubscribed. What is on its way out counts as free here, whoever ends it: the next plan, of this leader or another
//! one, finds the room already made and asks for no more.
//!
//! While the room is being made, what is free of it already is kept from others: a place half made for the one must not be
//! filled by the next.
//!
//! Nothing comes back and forth: what yielded is less important than what it yielded to, and its own search for a place
//! only reaches further down. Groups are placed in the order of their priority, so a place that was made goes to whom it
//! was made for.

use super::{draft::Draft, group::Group};
use crate::{
    id::Generation,
    model::{ReleaseCause, Replica, ReplicaState},
    schedule::{
        Ask, Fleet, Placement,
        preempt::{Budget, Reach, Room, Yielders},
    },
    state::Step,
};

/// Replicas that one plan may end for others. What is left is found by the next one, once these have left.
const VICTIMS_PER_PLAN: usize = 64;

/// Takes up to `count` places that slots of less important deployments hold.
pub(super) fn take_slots(draft: &mut Draft<'_>, at: usize, count: u64, ask: &Ask<'_>) -> Vec<Placement> {
    let deployment = draft.groups[at].deployment;
    let priority = deployment.spec.priority;
    let mut placements = Vec::new();
    if count == 0 {
        return placements;
    }
    let mut yielders = yielders(draft);
    while (placements.len() as u64) < count && yielders.has_any_for(priority) {
        let Some(room) = yielders.room(draft.fleet(), ask, priority, Reach::Slots) else { break };
        draft.fleet().take_room(ask, &room);
        draft.after.iter_mut().for_each(|after| after.take_room(ask, &room));
        yielders.take(&room);
        for slot in &room.slots {
            if let Some(owner) = draft.groups.iter_mut().find(|group| group.deployment.key == slot.key) {
                owner.drop_slot(slot.id);
            }
            let cause = ReleaseCause::Yielded { to: deployment.key.clone() };
            draft.steps.push(Step::ReleaseSlot { slot: slot.id, cause });
        }
        placements.push(Placement { node: room.node, devices: room.devices });
    }
    placements
}

/// Keeps the places of a deployment clear that waits for its next try, where others gave them up for it: they would come
/// back for a moment and have to leave again.
pub(super) fn keep_what_was_yielded(draft: &mut Draft<'_>, at: usize) {
    let group = &draft.groups[at];
    let key = &group.deployment.key;
    let mut yielded = draft.view.state.deployments.values().flat_map(|other| &other.yielded);
    if !yielded.any(|yielded| yielded.to == *key) {
        return;
    }
    let held = (group.kept_current().count() + group.kept_outdated().count()) as u64 + group.in_grace;
    let missing = group.desired().saturating_sub(held);
    let (ask, seed) = (Ask::of(group.deployment), draft.seed_of(at, "ties"));
    draft.fleet().place(&ask, missing, seed);
    draft.groups[at].kept_clear = true;
}

/// Ends replicas of less important deployments for instances that fit nowhere, and do not fit either once everything
/// that leaves has left. The places they wait for are kept clear of whoever comes after.
pub(super) fn make_room(draft: &mut Draft<'_>, at: usize, generation: Generation) {
    let (deployment, unplaced) = (draft.groups[at].deployment, draft.groups[at].unplaced);
    let mut yielders = yielders(draft);
    let is_waited_for = |replica: &&&Replica| replica.made_room_for.as_ref() == Some(&deployment.key);
    let waits = draft.groups.iter().any(|group| group.leaving.iter().any(|replica| is_waited_for(&replica)));
    if unplaced == 0 || !(waits || yielders.has_any_for(deployment.spec.priority)) {
        return;
    }
    let (ask, seed) = (Ask::of_generation(deployment, generation), draft.seed_of(at, "ties"));
    let coming = fleet_after(draft).place(&ask, unplaced, seed);
    let found = coming.len() as u64;
    coming.iter().for_each(|place| claim(draft, &ask, place));
    for _ in found..unplaced {
        if draft.victims >= VICTIMS_PER_PLAN {
            break;
        }
        let after = fleet_after(draft);
        let Some(room) = yielders.room(after, &ask, deployment.spec.priority, Reach::Replicas) else { break };
        after.take_room(&ask, &room);
        yielders.take(&room);
        draft.victims += room.replicas.len();
        end(draft, at, &room);
        claim(draft, &ask, &Placement { node: room.node, devices: room.devices });
    }
}

/// Takes what there is already of a place that is being made.
fn claim(draft: &mut Draft<'_>, ask: &Ask<'_>, place: &Placement) {
    draft.fleet().take_up(ask, place);
}

fn end(draft: &mut Draft<'_>, at: usize, room: &Room<'_>) {
    let to = &draft.groups[at].deployment.key;
    for replica in &room.replicas {
        let Some(owner) = draft.groups.iter().position(|group| group.deployment.key == replica.key) else { continue };
        let deployment = draft.groups[owner].deployment;
        let spec = deployment.spec_of(replica.generation).unwrap_or(&deployment.spec);
        let (replica, deadline) = (replica.id, draft.now + spec.drain_within());
        draft.steps.push(Step::Preempt { replica, to: to.clone(), deadline });
        draft.groups[owner].retired.insert(replica);
    }
    for slot in &room.slots {
        if let Some(owner) = draft.groups.iter_mut().find(|group| group.deployment.key == slot.key) {
            owner.promised.insert(slot.id);
        }
    }
}

/// Returns the fleet as it is once everything has left that is on its way out.
fn fleet_after<'d, 'a>(draft: &'d mut Draft<'a>) -> &'d mut Fleet<'a> {
    if draft.after.is_none() {
        let mut after = draft.fleet().clone();
        for group in &draft.groups {
            let own = group.current.iter().chain(&group.outdated);
            let retired = own.filter(|replica| group.retired.contains(&replica.id));
            let leaving = group.leaving.iter().chain(retired).filter(|replica| !replica.lost);
            leaving.for_each(|replica| after.vacate(replica));
        }
        draft.after = Some(after);
    }
    draft.after.get_or_insert_with(|| unreachable!("it was just built"))
}

/// Lists what may yield as this plan leaves it.
fn yielders<'a>(draft: &Draft<'a>) -> Yielders<'a> {
    let mut yielders = Yielders::default();
    for group in &draft.groups {
        let budget = group.budget(draft);
        if budget.replicas > 0 || budget.slots > 0 {
            let slots = group.slots.iter().copied().filter(|slot| !group.promised.contains(&slot.id));
            yielders.add(budget, group.may_yield(), slots);
        }
    }
    yielders
}

// === impl Group ===

impl<'a> Group<'a> {
    /// Returns what the deployment has beyond its minimum.
    fn budget(&self, draft: &Draft<'_>) -> Budget {
        let minimum = self.deployment.minimum();
        let standing = (self.kept_current().count() + self.kept_outdated().count()) as u64;
        let is_open = !self.deployment.deleting;
        Budget {
            priority: self.deployment.spec.priority,
            replicas: if is_open { standing.saturating_sub(minimum) } else { 0 },
            ready: self.ready(draft.view).checked_sub(minimum),
            // Whoever promises everything promises its reserve too.
            slots: if is_open && minimum < self.desired() { self.slots.len() as u64 } else { 0 },
        }
    }

    /// Lists the replicas that may go: not those that have yet to say what they are.
    fn may_yield(&self) -> impl Iterator<Item = &'a Replica> {
        let staying = self.kept_current().chain(self.kept_outdated());
        staying.filter(|replica| replica.state <= ReplicaState::Serving && !self.spared.contains(&replica.id))
    }
}
