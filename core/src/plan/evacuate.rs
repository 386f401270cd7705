//! Evacuation: what the wish that a node be empty changes in a plan.
//!
//! Its replicas are outdated like those of an earlier generation: others come first, and each that serves retires one.
//! So a node is emptied without anybody falling short, and a node whose replicas fit nowhere else keeps them, with a
//! verdict that says why. Here is only what is special: the operator's deadline bounds how long requests may go on, and
//! a forced drain takes at its deadline what nobody replaces.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    View,
    draft::{Draft, ending},
};
use crate::{
    id::ReplicaId,
    model::{DeviceGrant, Node, NodeDrain, Replica},
    state::Step,
    time::Millis,
    units::Resources,
};

/// Lists the replicas that have to leave nodes which came back with less than they hold: the newest first, as many as it
/// takes for the rest to fit.
pub(super) fn beyond_capacity(view: &View<'_>) -> BTreeSet<ReplicaId> {
    let mut leaving = BTreeSet::new();
    for node in view.state.nodes.values().filter(|node| node.overfull) {
        // Slots on it are given back before anybody moves.
        let mut replicas: Vec<&Replica> = view.state.replicas_on(node.id).collect();
        let mut held = Beyond::of(node, &replicas);
        // What is on its way out already gives its place back first.
        replicas.sort_by_key(|replica| (replica.is_wanted(), std::cmp::Reverse((replica.placed_at, replica.id))));
        for replica in replicas {
            if held.is_eased_by(replica) {
                held.vacate(replica);
                leaving.insert(replica.id);
            }
        }
    }
    leaving
}

/// What replicas hold of a node that has less than it had.
struct Beyond<'a> {
    node: &'a Node,
    held: Resources,
    device_mib: BTreeMap<&'a str, u64>,
}

// === impl Beyond ===

impl<'a> Beyond<'a> {
    fn of(node: &'a Node, replicas: &[&'a Replica]) -> Self {
        let mut beyond = Self { node, held: Resources::default(), device_mib: BTreeMap::new() };
        for replica in replicas {
            beyond.held += replica.resources;
            for grant in &replica.devices {
                *beyond.device_mib.entry(&grant.uuid).or_default() += beyond.mib(grant);
            }
        }
        beyond
    }

    fn vacate(&mut self, replica: &Replica) {
        self.held = self.held.saturating_sub(&replica.resources);
        for grant in &replica.devices {
            let mib = self.mib(grant);
            if let Some(held) = self.device_mib.get_mut(grant.uuid.as_str()) {
                *held = held.saturating_sub(mib);
            }
        }
    }

    /// Returns whether the node holds too much of something that this replica holds.
    fn is_eased_by(&self, replica: &Replica) -> bool {
        let is_over = |grant: &DeviceGrant| {
            let held_mib = self.device_mib.get(grant.uuid.as_str()).copied().unwrap_or(0);
            self.has_mib(&grant.uuid).is_some_and(|has_mib| held_mib > has_mib)
        };
        !self.held.fits(&self.node.profile.capacity) || replica.devices.iter().any(is_over)
    }

    fn mib(&self, grant: &DeviceGrant) -> u64 {
        grant.memory_mib.or_else(|| self.has_mib(&grant.uuid)).unwrap_or(0)
    }

    /// Returns what there is to share of a device. One that is gone takes its replicas off by its condition, and a slice
    /// is given whole.
    fn has_mib(&self, uuid: &str) -> Option<u64> {
        let device = self.node.profile.devices.iter().find(|device| device.uuid == uuid);
        device.filter(|device| device.mig_profile.is_none()).map(|device| device.memory_mib)
    }
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
