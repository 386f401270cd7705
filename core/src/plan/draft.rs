//! The draft: a plan while its phases work on it.

use super::{Report, View, evacuate, group::Group, parts};
use crate::{
    id::ReplicaId,
    model::{Replica, ReplicaState},
    rng::Rng,
    schedule::Fleet,
    state::{Plan, Step},
    time::LogTime,
};

/// A plan while its phases work on it.
pub(super) struct Draft<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) now: LogTime,
    /// In the order in which they get places: first a rollout that gave one up to make room for itself, or another
    /// deployment would grow at its cost; then what has served before, then what is new.
    pub(super) groups: Vec<Group<'a>>,
    /// Built when a place is first asked for: most plans ask for none.
    pub(super) fleet: Option<Fleet<'a>>,
    pub(super) steps: Vec<Step>,
    pub(super) report: Report,
    ids: Rng,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    pub(super) fn open(view: &'a View<'a>, now: LogTime) -> Self {
        let beyond = evacuate::beyond_capacity(view);
        let mut groups: Vec<_> =
            view.state.deployments.values().map(|deployment| Group::of(view, deployment)).collect();
        groups.iter_mut().for_each(|group| group.evacuate(&beyond));
        groups.sort_by_key(|group| (!group.gave_up_a_place(), !group.deployment.generation_served));
        let ids = view.seed.child("replica ids").child(view.state.applied.0.to_le_bytes()).rng();
        Self { view, now, groups, fleet: None, steps: Vec::new(), report: Report::default(), ids }
    }

    pub(super) fn close(self) -> (Vec<Plan>, Report) {
        (parts::split(self.view.term, self.view.state.applied, self.steps), self.report)
    }

    /// Mints an id no replica of this state has.
    pub(super) fn mint(&mut self) -> ReplicaId {
        loop {
            let id = ReplicaId(self.ids.next_u64());
            if id != ReplicaId(0) && !self.view.state.replicas.contains_key(&id) {
                return id;
            }
        }
    }
}

/// Returns the step that ends a replica: what callers may be using finishes first.
pub(super) fn ending(group: &Group<'_>, replica: &Replica, now: LogTime, reason: &str) -> Step {
    match replica.state {
        ReplicaState::Warm | ReplicaState::Serving if !replica.lost => {
            let spec = group.deployment.spec_of(replica.generation).unwrap_or(&group.deployment.spec);
            Step::Drain { replica: replica.id, deadline: now + spec.drain_within(), reason: reason.to_owned() }
        }
        _ => Step::Stop { replica: replica.id, cut: 0, reason: reason.to_owned() },
    }
}
