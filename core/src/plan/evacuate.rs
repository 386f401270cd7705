//! Evacuation: what the wish that a node be empty changes in a plan.
//!
//! Its replicas are outdated like those of an earlier generation: others come first, and each that serves retires one.
//! So a node is emptied without anybody falling short, and a node whose replicas fit nowhere else keeps them, with a
//! verdict that says why. Here is only what is special: the operator's deadline bounds how long requests may go on, and
//! a forced drain takes at its deadline what nobody replaces.

use std::collections::BTreeSet;

use super::{
    View,
    draft::{Draft, ending},
};
use crate::{
    id::ReplicaId,
    model::{Node, NodeDrain, Replica},
    state::Step,
    time::Millis,
};

/// Lists the replicas that have to leave nodes which came back with less than they hold: the newest first, as many as it
/// takes for the rest to fit.
pub(super) fn beyond_capacity(view: &View<'_>) -> BTreeSet<ReplicaId> {
    let mut leaving = BTreeSet::new();
    for node in view.state.nodes.values().filter(|node| node.overfull) {
        let mut held = view.state.index().held_on(node.id);
        // Slots on it are given back before anybody moves.
        view.state.slots_on(node.id).for_each(|slot| held = held.saturating_sub(&slot.resources));
        let mut replicas: Vec<&Replica> = view.state.replicas_on(node.id).collect();
        // What is on its way out already gives its place back first.
        replicas.sort_by_key(|replica| (replica.is_wanted(), std::cmp::Reverse((replica.placed_at, replica.id))));
        for replica in replicas {
            if held.fits(&node.profile.capacity) {
                break;
            }
            held = held.saturating_sub(&replica.resources);
            leaving.insert(replica.id);
        }
    }
    leaving
}

/// Time a replica has although the deadline has passed: routers hear of it, and what is nearly done gets done.
const LAST_WORDS: Millis = Millis::from_secs(1);

/// Ends what a forced drain finds at its deadline, whatever its deployment was promised.
pub(super) fn force_off(draft: &mut Draft<'_>) {
    let (state, now) = (draft.view.state, draft.now);
    for group in &mut draft.groups {
        let staying: Vec<&Replica> = group.kept_outdated().collect();
        for replica in staying {
            let Some((node, drain)) = wish(state.nodes.get(&replica.node)) else { continue };
            if !drain.force {
                continue;
            }
            if drain.deadline > now {
                draft.report.due_at(drain.deadline);
                continue;
            }
            group.retired.insert(replica.id);
            let reason = format!("the drain of {} is forced", node.profile.name);
            draft.steps.push(ending(group, replica, now, &reason));
        }
    }
}

/// Returns why a replica of the current generation leaves its node.
pub(super) fn reason(view: &View<'_>, replica: &Replica) -> String {
    match wish(view.state.nodes.get(&replica.node)) {
        Some((node, drain)) if drain.reason.is_empty() => format!("drain of {}", node.profile.name),
        Some((node, drain)) => format!("drain of {}: {}", node.profile.name, drain.reason),
        None => "its node has less than it had".to_owned(),
    }
}

/// Lets no request of a node that is to be empty go on beyond the wish.
pub(super) fn bound_by_wish(draft: &mut Draft<'_>) {
    let (state, now) = (draft.view.state, draft.now);
    for step in &mut draft.steps {
        let (Step::Drain { replica, deadline, .. } | Step::Preempt { replica, deadline, .. }) = step else { continue };
        let node = state.replicas.get(replica).and_then(|replica| state.nodes.get(&replica.node));
        if let Some((_, drain)) = wish(node) {
            *deadline = (*deadline).min(drain.deadline.max(now + LAST_WORDS));
        }
    }
}

/// Returns the drain of a replica's node, if there is one.
pub(super) fn wish_of<'a>(view: &View<'a>, replica: &Replica) -> Option<&'a NodeDrain> {
    view.state.nodes.get(&replica.node)?.drain.as_ref()
}

fn wish(node: Option<&Node>) -> Option<(&Node, &NodeDrain)> {
    node.and_then(|node| Some((node, node.drain.as_ref()?)))
}
