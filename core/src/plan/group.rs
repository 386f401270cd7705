//! A group: one deployment and its replicas, sorted by what they are to a plan.

use std::collections::BTreeSet;

use super::View;
use crate::{
    id::{NodeId, ReplicaId, SlotId},
    model::{Deployment, Replica, ReplicaState, ReserveSlot},
};

/// One deployment and its replicas.
pub(super) struct Group<'a> {
    pub(super) deployment: &'a Deployment,
    /// Of the current generation, on their way to serving or there, where they may stay.
    pub(super) current: Vec<&'a Replica>,
    /// The same of earlier generations, or on a node that is being emptied.
    pub(super) outdated: Vec<&'a Replica>,
    /// On a device that had a fault, and not told to end.
    pub(super) condemned: Vec<&'a Replica>,
    /// Of a lost node and not told to end.
    pub(super) lost: Vec<&'a Replica>,
    /// Of a node that may be back in a moment: not ready, and not replaced yet.
    pub(super) in_grace: u64,
    /// Lost ones that the deployment does not have replaced, or not yet.
    pub(super) waited_for: BTreeSet<ReplicaId>,
    /// On their way out; their places come back.
    pub(super) leaving: Vec<&'a Replica>,
    /// Those that just returned with their node and have yet to show what they are.
    pub(super) spared: BTreeSet<ReplicaId>,
    /// Those this plan ends.
    pub(super) retired: BTreeSet<ReplicaId>,
    /// Slots that are held and that this plan leaves alone.
    pub(super) slots: Vec<&'a ReserveSlot>,
    /// Those of them that will make room for a more important deployment.
    pub(super) promised: BTreeSet<SlotId>,
    /// Where this plan places replicas.
    pub(super) placed: Vec<NodeId>,
    /// Where this plan holds slots.
    pub(super) held: Vec<NodeId>,
    /// Whether this plan looked for places and found none.
    pub(super) found_no_room: bool,
    /// Instances this plan found no place for.
    pub(super) unplaced: u64,
    /// Whether this plan keeps the places clear that its next try will ask for.
    pub(super) kept_clear: bool,
}

// === impl Group ===

impl<'a> Group<'a> {
    pub(super) fn of(view: &View<'a>, deployment: &'a Deployment) -> Self {
        let mut group = Self {
            deployment,
            current: Vec::new(),
            outdated: Vec::new(),
            condemned: Vec::new(),
            lost: Vec::new(),
            in_grace: 0,
            waited_for: BTreeSet::new(),
            leaving: Vec::new(),
            spared: BTreeSet::new(),
            retired: BTreeSet::new(),
            slots: view.state.slots_of(&deployment.key).collect(),
            promised: BTreeSet::new(),
            placed: Vec::new(),
            held: Vec::new(),
            found_no_room: false,
            unplaced: 0,
            kept_clear: false,
        };
        for replica in view.state.replicas_of(&deployment.key) {
            group.sort_in(view, replica);
        }
        group
    }

    fn sort_in(&mut self, view: &View<'a>, replica: &'a Replica) {
        let is_current = replica.generation == self.deployment.generation;
        let node = view.state.nodes.get(&replica.node);
        let may_stay = node.is_some_and(|node| node.drain.is_none());
        match replica.state {
            ReplicaState::Draining | ReplicaState::Stopped | ReplicaState::Failed => self.leaving.push(replica),
            _ if replica.lost => {
                if self.is_replaced_in_kind(replica) && view.in_grace.contains(&replica.node) {
                    self.in_grace += 1;
                }
                self.lost.push(replica);
            }
            _ if node.is_some_and(|node| node.condemned(&replica.devices).is_some()) => self.condemned.push(replica),
            _ if is_current && may_stay => self.current.push(replica),
            _ => self.outdated.push(replica),
        }
    }

    /// Returns whether another of its own generation takes its place when it is lost.
    pub(super) fn is_replaced_in_kind(&self, replica: &Replica) -> bool {
        replica.generation == self.deployment.generation || self.deployment.stand_in().is_some()
    }

    /// Counts those that have to leave their node among the outdated.
    pub(super) fn evacuate(&mut self, leaving: &BTreeSet<ReplicaId>) {
        let (out, stay) = self.current.iter().partition(|replica| leaving.contains(&replica.id));
        self.current = stay;
        let out: Vec<&'a Replica> = out;
        self.outdated.extend(out);
    }

    pub(super) fn desired(&self) -> u64 {
        self.deployment.desired()
    }

    /// Lists the current ones this plan leaves alone.
    pub(super) fn kept_current(&self) -> impl Iterator<Item = &'a Replica> {
        self.current.iter().copied().filter(|replica| !self.retired.contains(&replica.id))
    }

    /// Lists the outdated ones this plan leaves alone.
    pub(super) fn kept_outdated(&self) -> impl Iterator<Item = &'a Replica> {
        self.outdated.iter().copied().filter(|replica| !self.retired.contains(&replica.id))
    }

    /// Counts the current ones that serve for every router, and stay.
    pub(super) fn ready_current(&self, view: &View<'_>) -> u64 {
        self.kept_current().filter(|replica| view.is_ready(replica)).count() as u64
    }

    /// Counts all that serve for every router, and stay.
    pub(super) fn ready(&self, view: &View<'_>) -> u64 {
        self.ready_current(view) + self.kept_outdated().filter(|replica| view.is_ready(replica)).count() as u64
    }

    /// Returns whether enough serve for every router without this one. What no router sends to can always be spared;
    /// what is warm cannot: a node that was lost may be the only one that still sends to it.
    pub(super) fn can_spare(&self, view: &View<'_>, replica: &Replica) -> bool {
        let is_routed = matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving) && !replica.lost;
        !is_routed || self.ready(view) - u64::from(view.is_ready(replica)) >= self.deployment.floor()
    }

    /// Returns whether a rollout has fewer places than it should: it ended an old replica to make room for itself.
    pub(super) fn gave_up_a_place(&self) -> bool {
        !self.outdated.is_empty() && ((self.current.len() + self.outdated.len()) as u64) < self.deployment.floor()
    }

    /// Returns whether an old replica gave up its place for the current generation, which has not taken it yet.
    pub(super) fn is_room_made(&self) -> bool {
        self.deployment.room_made_for == Some(self.deployment.generation)
    }

    /// Returns whether places of this deployment are about to come back.
    pub(super) fn is_leaving(&self) -> bool {
        !self.retired.is_empty() || self.leaving.iter().any(|replica| !replica.lost)
    }
}
