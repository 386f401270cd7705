//! The draft: a plan while its phases work on it.

use std::cmp::Reverse;

use super::{Report, View, evacuate, group::Group, parts};
use crate::{
    id::{ReplicaId, SlotId},
    model::{Deployment, Replica, ReplicaState, ReserveSlot},
    rng::{Rng, SeedTree},
    schedule::Fleet,
    state::{Plan, Step},
    time::LogTime,
};

/// A plan while its phases work on it.
pub(super) struct Draft<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) now: LogTime,
    /// In the order in which they get places: first a rollout that gave one up to make room for itself, or another
    /// deployment would grow at its cost; then what is more important; then what has served before, then what is new.
    pub(super) groups: Vec<Group<'a>>,
    /// Built when a place is first asked for: most plans ask for none.
    pub(super) fleet: Option<Fleet<'a>>,
    /// The same once everything has left that is on its way out. Built when an instance has to wait for that.
    pub(super) after: Option<Fleet<'a>>,
    /// Replicas this plan ends for more important deployments.
    pub(super) victims: usize,
    /// Slots this plan gave back before the fleet was built.
    pub(super) released: Vec<&'a ReserveSlot>,
    pub(super) steps: Vec<Step>,
    pub(super) report: Report,
    ids: Rng,
    slot_ids: Rng,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    pub(super) fn open(view: &'a View<'a>, now: LogTime) -> Self {
        let beyond = evacuate::beyond_capacity(view);
        let mut groups: Vec<_> =
            view.state.deployments.values().map(|deployment| Group::of(view, deployment)).collect();
        groups.iter_mut().for_each(|group| group.evacuate(&beyond));
        groups.sort_by_key(|group| {
            let Deployment { spec, .. } = group.deployment;
            let generation_served = group.deployment.generation_served();
            (!group.gave_up_a_place(), Reverse(spec.priority), !generation_served)
        });
        let rng = |what| view.seed.child(what).child(view.state.applied.0.to_le_bytes()).rng();
        let (ids, slot_ids) = (rng("replica ids"), rng("slot ids"));
        let (steps, released, report) = (Vec::new(), Vec::new(), Report::default());
        Self { view, now, groups, fleet: None, after: None, victims: 0, released, steps, report, ids, slot_ids }
    }

    pub(super) fn close(self) -> (Vec<Plan>, Report) {
        (parts::split(self.view.term, self.view.state.applied, self.steps), self.report)
    }

    /// Returns the fleet as this plan leaves it.
    pub(super) fn fleet(&mut self) -> &mut Fleet<'a> {
        let (state, released) = (self.view.state, &self.released);
        self.fleet.get_or_insert_with(|| {
            let mut fleet = Fleet::of(state);
            released.iter().for_each(|slot| fleet.give_back(slot));
            fleet
        })
    }

    /// Returns what tells equal nodes apart for a deployment, the same way in every plan: by every leader, and by a
    /// what-if, which would foretell other nodes if it drew its own lots.
    pub(super) fn seed_of(&self, at: usize, what: &str) -> u64 {
        let cluster = SeedTree::new(0).child(&self.view.state.cluster_id);
        cluster.child(what).child(self.groups[at].deployment.key.to_string()).rng().next_u64()
    }

    /// Mints an id no slot of this state has.
    pub(super) fn mint_slot(&mut self) -> SlotId {
        loop {
            let id = SlotId(self.slot_ids.next_u64());
            if id != SlotId(0) && !self.view.state.slots.contains_key(&id) {
                return id;
            }
        }
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
