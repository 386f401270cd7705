//! Places: what is missing gets a node, or a reason why not.

use std::collections::BTreeSet;

use super::{draft::Draft, group::Group, preempt};
use crate::{
    id::{Generation, ReplicaId},
    model::{Replica, ReserveSpend, SpendCause},
    schedule::{Ask, Placement, Verdict},
    state::{ClusterState, Step},
};

/// One replica to place: what it stands in for, and what its reserve may be used up for.
#[derive(Clone, Debug, Default)]
struct Need {
    /// Whether it is one of the instances asked for, rather than one more for a rollout or a drain.
    is_missing: bool,
    replaces: Option<ReplicaId>,
    cause: Option<SpendCause>,
    /// The earlier generation it is of, while the current one has not served.
    stand_in: Option<Generation>,
}

/// Places what is missing: first instances, replacements, and the new generation of a rollout.
pub(super) fn place_missing(draft: &mut Draft<'_>) {
    for at in 0..draft.groups.len() {
        let deployment = draft.groups[at].deployment;
        if deployment.stand_in().is_some() && draft.now < deployment.stand_in_retry_at {
            draft.report.due_at(deployment.stand_in_retry_at);
        }
        let group = &draft.groups[at];
        let is_room_made = group.is_room_made();
        let (stand_ins, mut needs): (Vec<_>, Vec<_>) =
            needs(draft, group).into_iter().partition(|need| need.stand_in.is_some());
        // Where all that is asked for now is of an earlier generation, that one speaks for the rollout as well.
        let speaks = needs.is_empty() && draft.now >= deployment.retry_at;
        // The place that an old one gave up is for the generation it was given up for.
        if is_room_made {
            place_current(draft, at, needs);
            place_stand_ins(draft, at, stand_ins, speaks);
        } else {
            let unplaced = place_stand_ins(draft, at, stand_ins, speaks);
            needs.extend(rolled(draft, at, unplaced));
            place_current(draft, at, needs);
        }
    }
}

/// Lists as many replicas of the rollout: what leaves its node and fits nowhere as it was shall not hold up the
/// generation that may fit.
fn rolled(draft: &Draft<'_>, at: usize, count: u64) -> Vec<Need> {
    let group = &draft.groups[at];
    let generation = group.deployment.generation;
    let is_old = |replica: &Replica| replica.generation < generation && !is_lost(draft.view.state, replica);
    let rolls = !group.deployment.paused && group.kept_outdated().any(is_old);
    let need = Need { cause: Some(SpendCause::RollingUpdate { generation }), ..Need::default() };
    vec![need; if rolls { count as usize } else { 0 }]
}

/// Places what is of an earlier generation. What is known to work waits for no back-off of what is not. Returns how many
/// of those beyond the desired ones found no place.
fn place_stand_ins(draft: &mut Draft<'_>, at: usize, needs: Vec<Need>, speaks: bool) -> u64 {
    let Some(generation) = needs.first().and_then(|need| need.stand_in) else { return 0 };
    let (all, beyond) = (needs.len() as u64, needs.iter().filter(|need| !need.is_missing).count() as u64);
    let placed = place(draft, at, generation, needs);
    draft.groups[at].found_no_room |= speaks && placed == 0;
    preempt::make_room(draft, at, generation);
    beyond.min(all - placed)
}

fn place_current(draft: &mut Draft<'_>, at: usize, needs: Vec<Need>) {
    if needs.is_empty() {
        return;
    }
    let deployment = draft.groups[at].deployment;
    if draft.now < deployment.retry_at {
        draft.report.due_at(deployment.retry_at);
        preempt::keep_what_was_yielded(draft, at);
        return;
    }
    draft.groups[at].found_no_room = place(draft, at, deployment.generation, needs) == 0;
    preempt::make_room(draft, at, deployment.generation);
}

/// Lists the replicas to place now: replacements of lost ones, then instances that never were, then as many as a rollout
/// or a drain may have beyond the desired ones.
fn needs(draft: &Draft<'_>, group: &Group<'_>) -> Vec<Need> {
    let state = draft.view.state;
    let current = group.kept_current().count() as u64 + group.in_grace;
    let outdated = group.kept_outdated().count() as u64;
    let wanted = group.desired().saturating_sub(current);
    let missing = wanted.min(group.desired().saturating_sub(current + outdated));
    let wanted_here = group.current.iter().chain(&group.outdated);
    let replaced: BTreeSet<_> = wanted_here.filter_map(|replica| replica.replaces).collect();
    let open = |replica: &&&Replica| !replaced.contains(&replica.id) && !draft.view.in_grace.contains(&replica.node);
    // What a broken device carried is lost as well, from the plan that takes it off to its last sign of life.
    let is_broken = |replica: &&&Replica| !replica.lost && is_lost(state, replica);
    let broken = group.condemned.iter().chain(group.leaving.iter().filter(is_broken));
    let generation = group.deployment.generation;
    // A try of what is not known to work costs nobody a promised instance: what is missing comes as it was. Who holds a
    // rollout back and asks for more wants to see the new one.
    let stand_in = group.deployment.stand_in().filter(|_| draft.now >= group.deployment.stand_in_retry_at);
    let first = stand_in.filter(|_| !group.deployment.paused);
    // What is waited for is stood in for by nobody: an instance more is one of its own.
    let lost = group.lost.iter().filter(|replica| !group.waited_for.contains(&replica.id));
    let lost = lost.chain(broken).filter(open).map(|replica| Need {
        is_missing: true,
        replaces: Some(replica.id),
        cause: node_name(state, replica).map(|node| SpendCause::Recovery { node }),
        stand_in,
    });
    // What was yielded comes back where there is room, not from the reserve.
    let recovered = missing.saturating_sub(group.deployment.yielded());
    let mut needs: Vec<_> = lost.take(recovered as usize).collect();
    needs.resize_with(missing as usize, || Need { is_missing: true, stand_in: first, ..Need::default() });
    if group.is_room_made()
        && let Some(last) = needs.last_mut()
    {
        last.stand_in = None;
    }
    let as_asked = needs.iter().filter(|need| need.stand_in.is_none()).count() as u64;
    let surge = (wanted - as_asked).min(group.surge_left(missing));
    let leaves = |replica| Some((replica, cause_of_drain(state, replica)?));
    let (to_replace, in_hand): (Vec<_>, Vec<_>) =
        group.kept_outdated().filter_map(leaves).partition(|(replica, _)| !replaced.contains(&replica.id));
    let rolls = group.kept_outdated().any(|replica| replica.generation < generation);
    let rolled = Need { cause: rolls.then_some(SpendCause::RollingUpdate { generation }), ..Need::default() };
    // Who stood in for one that leaves may have got the place of another one that ended since.
    let beside = group.desired().saturating_sub(current + outdated - in_hand.len() as u64 + missing);
    let beside = std::iter::repeat_n(Need { stand_in, ..Need::default() }, beside as usize);
    let emptied = to_replace.into_iter().map(|(replica, cause)| {
        let stand_in = stand_in.filter(|_| replica.generation < generation);
        Need { is_missing: false, replaces: Some(replica.id), cause: Some(cause), stand_in }
    });
    if group.deployment.paused {
        needs.extend(emptied.chain(beside).take(surge as usize));
        return needs;
    }
    needs.extend(emptied.chain(beside).chain(std::iter::repeat(rolled)).take(surge as usize));
    needs
}

/// Returns whether a replica is out with its node, or with a device of it.
fn is_lost(state: &ClusterState, replica: &Replica) -> bool {
    let node = state.nodes.get(&replica.node);
    replica.lost || node.is_some_and(|node| node.condemned(&replica.devices).is_some())
}

fn node_name(state: &ClusterState, replica: &Replica) -> Option<crate::model::NodeName> {
    state.nodes.get(&replica.node).map(|node| node.profile.name.clone())
}

/// Says for what a replica's node is being emptied, if it is.
fn cause_of_drain(state: &ClusterState, replica: &Replica) -> Option<SpendCause> {
    let node = state.nodes.get(&replica.node)?;
    let name = node.profile.name.clone();
    // What a host no longer has is lost, though the host is not.
    if node.overfull && node.drain.is_none() {
        return Some(SpendCause::Recovery { node: name });
    }
    Some(SpendCause::of_drain(node.drain.as_ref()?.by, name))
}

/// Places replicas, from the reserve first where it is for them, and returns how many found a place.
fn place(draft: &mut Draft<'_>, at: usize, generation: Generation, needs: Vec<Need>) -> u64 {
    let deployment = draft.groups[at].deployment;
    let (ask, seed) = (Ask::of_generation(deployment, generation), draft.seed_of(at, "ties"));
    let spec = deployment.spec_of(generation).unwrap_or(&deployment.spec);
    let mut on_node = draft.fleet().instances(&ask);
    let mut placed = 0;
    let mut rest = Vec::new();
    for need in needs {
        let mut slots = draft.groups[at].slots.clone();
        slots.retain(|slot| !draft.groups[at].promised.contains(&slot.id));
        let nodes = &draft.view.state.nodes;
        slots.retain(|slot| nodes.get(&slot.node).is_some_and(|node| slot.suits(spec, node)));
        let spent = need.cause.as_ref().and_then(|_| draft.fleet().spend(&ask, &slots, &on_node));
        let (Some((slot, placement)), Some(cause)) = (spent, need.cause.clone()) else {
            rest.push(need);
            continue;
        };
        let held = draft.groups[at].drop_slot(slot);
        if let (Some(after), Some(held)) = (&mut draft.after, held) {
            after.give_back(held);
            after.take_up(&ask, &placement);
        }
        *on_node.entry(placement.node).or_default() += 1;
        push(draft, at, generation, &need, placement, Some(ReserveSpend { slot, cause }));
        placed += 1;
    }
    if rest.is_empty() {
        return placed;
    }
    let mut placements = draft.fleet().place_beside(&ask, rest.len() as u64, seed, on_node);
    if let Some(after) = &mut draft.after {
        placements.iter().for_each(|place| after.take_up(&ask, place));
    }
    let unplaced = rest[placements.len()..].iter().filter(|need| need.is_missing).count() as u64;
    placements.extend(preempt::take_slots(draft, at, unplaced, &ask));
    draft.groups[at].unplaced = rest[placements.len()..].iter().filter(|need| need.is_missing).count() as u64;
    if placements.len() < rest.len()
        && let Ok(verdict) = Verdict::against(draft.fleet(), &deployment.key)
    {
        draft.report.short.insert(deployment.key.clone(), verdict);
    }
    placed += placements.len() as u64;
    for (need, placement) in rest.iter().zip(placements) {
        push(draft, at, generation, need, placement, None);
    }
    placed
}

fn push(
    draft: &mut Draft<'_>,
    at: usize,
    generation: Generation,
    need: &Need,
    place: Placement,
    reserve_spent: Option<ReserveSpend>,
) {
    let group = &draft.groups[at];
    let deployment = group.deployment;
    let nth = group.kept_current().count() + group.placed.len() + 1;
    let instance = match need.stand_in {
        Some(_) => format!("as before, for generation {} has not served", deployment.generation),
        None => format!("instance {nth} of {}", deployment.desired()),
    };
    let state = draft.view.state;
    let is_gone = |id: &ReplicaId| state.replicas.get(id).is_none_or(|replica| is_lost(state, replica));
    let reason = match &need.cause {
        Some(cause @ SpendCause::Recovery { .. }) if !need.replaces.as_ref().is_none_or(is_gone) => {
            format!("{instance}, {cause}")
        }
        Some(SpendCause::Recovery { .. }) => format!("{instance}, in place of a lost one"),
        Some(cause @ (SpendCause::Drain { .. } | SpendCause::AgentUpgrade { .. })) => format!("{instance}, {cause}"),
        Some(SpendCause::RollingUpdate { .. }) | None => instance,
    };
    let Placement { node, devices } = place;
    let (key, replaces) = (deployment.key.clone(), need.replaces);
    let replica = draft.mint();
    draft.groups[at].placed.push(node);
    draft.steps.push(Step::Place { replica, key, generation, node, devices, replaces, reserve_spent, reason });
}
