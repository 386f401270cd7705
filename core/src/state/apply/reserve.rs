//! The reserve: slots are held, used up by what may use them, and come back.

use super::{ClusterState, Context, EventSubject, Severity, node::unfit};
use crate::{
    error::{Code, Error},
    id::{NodeId, ReplicaId, SlotId},
    model::{
        DeploymentKey, DeviceGrant, Node, NodeState, ReleaseCause, Replica, ReserveSlot, ReserveSpend, SpendCause,
    },
    state::StepOutcome,
    units::Resources,
};

impl ClusterState {
    pub(super) fn hold_slot(
        &mut self,
        cx: &mut Context,
        id: SlotId,
        key: &DeploymentKey,
        node: NodeId,
        devices: &[DeviceGrant],
        reason: &str,
    ) -> StepOutcome {
        let deployment = self.deployment(key)?;
        let (reserve, resources) = (deployment.reserve(), deployment.spec.resources);
        let out = self.index.slots_of(key).count() as u64 + self.places_beyond(key);
        if out >= reserve {
            return Err(Error::new(Code::Transition, format!("the reserve of `{key}` is complete"))
                .why(format!("{out} of {reserve} places beyond its instances are held or in use")));
        }
        if self.slots.contains_key(&id) {
            return Err(Error::new(Code::AlreadyExists, format!("slot {id} exists")));
        }
        self.check_room(node, &resources, devices, None)?;
        self.add_slot(cx, id, key, node, devices.to_vec(), reason);
        Ok(())
    }

    fn add_slot(
        &mut self,
        cx: &mut Context,
        id: SlotId,
        key: &DeploymentKey,
        node: NodeId,
        devices: Vec<DeviceGrant>,
        reason: &str,
    ) {
        let Some(resources) = self.deployments.get(key).map(|deployment| deployment.spec.resources) else { return };
        let (key, reason) = (key.clone(), reason.to_owned());
        let slot = ReserveSlot { id, key, node, resources, devices, reason, since: cx.now, revision: cx.index };
        let text = format!("a place for {} is held in reserve on {}: {}", slot.key, self.name_of(node), slot.reason);
        cx.event(Severity::Info, "reserve.held", self.about_slot(&slot), text);
        self.index.add_slot(&slot, self.nodes.get(&slot.node));
        self.slots.insert(id, slot);
    }

    pub(super) fn release_slot(&mut self, cx: &mut Context, id: SlotId, cause: &ReleaseCause) -> StepOutcome {
        if let (Some(slot), ReleaseCause::Yielded { to }) = (self.slots.get(&id), cause) {
            self.check_slot_yields(&slot.key, to)?;
        }
        let Some(slot) = self.drop_slot(cx, id) else {
            return Err(Error::new(Code::ReplicaNotFound, format!("slot {id} does not exist")));
        };
        let text = format!("a reserved place of {} on {} was given back: {cause}", slot.key, self.name_of(slot.node));
        cx.event(Severity::Info, "reserve.released", self.about_slot(&slot), text);
        Ok(())
    }

    /// Refuses to give a slot back for a cause that has passed since the plan was made: its node may be back, and the
    /// deployment may have grown.
    pub(super) fn check_release(&self, id: SlotId, cause: &ReleaseCause) -> StepOutcome {
        let (Some(slot), why) = (self.slots.get(&id), format!("the cause was: {cause}")) else { return Ok(()) };
        let (deployment, node) = (self.deployments.get(&slot.key), self.nodes.get(&slot.node));
        let is_so = match cause {
            ReleaseCause::NotNeeded => {
                deployment.is_none_or(|deployment| self.index.slots_of(&slot.key).count() as u64 > deployment.reserve())
            }
            ReleaseCause::OtherSize => match (deployment, node) {
                (Some(deployment), Some(node)) => !slot.suits(&deployment.spec, node),
                _ => true,
            },
            ReleaseCause::NodeUnfit => node.is_none_or(|node| !can_hold(node, slot)),
            ReleaseCause::Moved => self.replicas_of(&slot.key).any(|replica| replica.node == slot.node),
            ReleaseCause::Yielded { to } => self.deployments.contains_key(to),
        };
        let stale = || Error::new(Code::Stale, format!("slot {id} is of use where it is")).why(why);
        if is_so { Ok(()) } else { Err(stale()) }
    }

    /// Takes a slot off the books.
    pub(super) fn drop_slot(&mut self, cx: &mut Context, id: SlotId) -> Option<ReserveSlot> {
        let slot = self.slots.remove(&id)?;
        self.index.remove_slot(&slot, self.nodes.get(&slot.node));
        self.relieve_node(cx, slot.node);
        Some(slot)
    }

    /// Drops every slot of a deployment that ends.
    pub(super) fn drop_slots_of(&mut self, cx: &mut Context, key: &DeploymentKey) {
        let ids: Vec<SlotId> = self.index.slots_of(key).collect();
        ids.into_iter().for_each(|id| drop(self.drop_slot(cx, id)));
    }

    /// Drops every slot of a node that is forgotten.
    pub(super) fn drop_slots_on(&mut self, cx: &mut Context, node: NodeId) {
        let ids: Vec<SlotId> = self.index.slots_on(node).collect();
        ids.into_iter().for_each(|id| drop(self.drop_slot(cx, id)));
    }

    /// Refuses to use a slot up for anything but what the reserve is for, and returns it otherwise.
    pub(super) fn check_spend(
        &self,
        spend: &ReserveSpend,
        key: &DeploymentKey,
        node: NodeId,
        replaces: Option<ReplicaId>,
    ) -> Result<&ReserveSlot, Error> {
        let refuse =
            |why: String| Error::new(Code::Transition, format!("slot {} is not for this", spend.slot)).why(why);
        let Some(slot) = self.slots.get(&spend.slot) else {
            return Err(Error::new(Code::ReplicaNotFound, format!("slot {} does not exist", spend.slot)));
        };
        if slot.key != *key || slot.node != node {
            return Err(refuse(format!("it is held for {} on {}", slot.key, self.name_of(slot.node))));
        }
        match self.cause_to_spend(key, replaces) {
            Some(cause) if cause == spend.cause => Ok(slot),
            Some(cause) => Err(refuse(format!("it is said to be for a {}, and would be for a {cause}", spend.cause))),
            None => Err(refuse(format!("there is no {} that `{key}` needs it for", spend.cause))),
        }
    }

    /// Returns the one cause for which a deployment may use up a place of its reserve: what befell the replica that is
    /// replaced, or its rollout where none is.
    fn cause_to_spend(&self, key: &DeploymentKey, replaces: Option<ReplicaId>) -> Option<SpendCause> {
        let deployment = self.deployments.get(key)?;
        let is_out = |replica: &Replica| {
            let node = self.nodes.get(&replica.node);
            replica.lost || node.is_some_and(|node| node.condemned(&replica.devices).is_some())
        };
        let Some(id) = replaces else {
            let generation = deployment.generation;
            let is_old = |replica: &Replica| replica.is_wanted() && replica.generation < generation && !is_out(replica);
            return self.replicas_of(key).any(is_old).then_some(SpendCause::RollingUpdate { generation });
        };
        let replaced = self.replicas.get(&id).filter(|replica| replica.key == *key)?;
        // Whoever stood in for it and is out as well stands in for nobody.
        let stands_in = |replica: &Replica| replica.is_wanted() && replica.replaces == Some(id) && !is_out(replica);
        if self.replicas_of(key).any(stands_in) {
            return None;
        }
        let node = self.nodes.get(&replaced.node)?;
        let name = node.profile.name.clone();
        match &node.drain {
            _ if is_out(replaced) => Some(SpendCause::Recovery { node: name }),
            Some(drain) => Some(SpendCause::of_drain(drain.by, name)),
            None => node.overfull.then_some(SpendCause::Recovery { node: name }),
        }
    }

    /// Puts the place of a replica that is gone back into the reserve it came from: what a rolling update frees is held
    /// again in the same entry, so that nobody else gets it first.
    pub(super) fn return_to_reserve(&mut self, cx: &mut Context, gone: &Replica) {
        let Some(deployment) = self.deployments.get(&gone.key) else { return };
        // Its place is spoken for.
        if gone.made_room_for.is_some() {
            return;
        }
        let is_same = deployment.spec.resources == gone.resources && {
            let old = deployment.old_specs.get(&gone.generation).unwrap_or(&deployment.spec);
            old.gpu == deployment.spec.gpu && old.constraints == deployment.spec.constraints
        };
        let is_spare = gone.reserve_spent.as_ref().is_some_and(|spend| spend.cause.node().is_none());
        let is_rolled = gone.generation < deployment.generation || is_spare;
        let places = self.replicas_of(&gone.key).filter(|replica| !replica.lost).count() as u64;
        // An instance that is missing needs the place more, and a reserve that was never whole has no claim.
        let may_hold = places >= deployment.desired() && deployment.reserve_short_since.is_none();
        let out = self.index.slots_of(&gone.key).count() as u64 + self.places_beyond(&gone.key);
        let id = SlotId(gone.id.0);
        let is_owed = is_same && is_rolled && may_hold && out < deployment.reserve() && !self.slots.contains_key(&id);
        if is_owed && self.check_room(gone.node, &gone.resources, &gone.devices, None).is_ok() {
            self.add_slot(cx, id, &gone.key, gone.node, gone.devices.clone(), "returned by the rolling update");
        }
    }

    pub(super) fn note_reserve(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        short: bool,
        reason: &str,
    ) -> StepOutcome {
        let Some(deployment) = self.deployments.get_mut(key) else {
            return Err(Error::new(Code::DeploymentNotFound, format!("deployment `{key}` does not exist")));
        };
        if deployment.reserve_short_since.is_some() == short {
            return Ok(());
        }
        deployment.reserve_short_since = short.then_some(cx.now);
        let subject = EventSubject {
            endpoint: Some(key.endpoint.clone()),
            deployment: Some(key.clone()),
            ..EventSubject::default()
        };
        if short {
            cx.event(Severity::Warning, "reserve.short", subject, format!("{key} is short of reserve: {reason}"));
        } else {
            cx.event(Severity::Info, "reserve.complete", subject, format!("{key} has its reserve: {reason}"));
        }
        Ok(())
    }

    /// Refuses a place that a node does not have. What `spent` holds is about to be given back.
    pub(super) fn check_room(
        &self,
        node: NodeId,
        needs: &Resources,
        devices: &[DeviceGrant],
        spent: Option<&ReserveSlot>,
    ) -> Result<(), Error> {
        let Some(node) = self.nodes.get(&node) else {
            return Err(Error::new(Code::NodeNotFound, format!("node {node} does not exist")));
        };
        if let Some(why) = unfit(node) {
            return Err(Error::new(Code::NoCapacity, format!("node `{}` is {why}", node.profile.name)));
        }
        let returned = spent.map(|slot| slot.resources).unwrap_or_default();
        let held = self.index.held_on(node.id).saturating_sub(&returned);
        let free = node.profile.capacity.saturating_sub(&held);
        if !needs.fits(&free) {
            return Err(Error::new(Code::NoCapacity, format!("node `{}` has too little left", node.profile.name))
                .why(format!("needs {needs}, free {free}")));
        }
        self.check_devices(node, devices, needs.gpus, spent.map(|slot| slot.id))
    }

    pub(super) fn name_of(&self, node: NodeId) -> &str {
        self.nodes.get(&node).map_or("?", |node| node.profile.name.as_str())
    }

    fn about_slot(&self, slot: &ReserveSlot) -> EventSubject {
        EventSubject {
            endpoint: Some(slot.key.endpoint.clone()),
            deployment: Some(slot.key.clone()),
            ..self.about_node(slot.node)
        }
    }
}

/// Returns whether a slot may stay where it is: its node is heard from or soon again, open, large enough, and has the
/// devices that are held.
fn can_hold(node: &Node, slot: &ReserveSlot) -> bool {
    let has =
        |grant: &DeviceGrant| node.profile.devices.iter().any(|device| device.uuid == grant.uuid && device.healthy);
    node.state != NodeState::Lost && node.is_open() && !node.overfull && slot.devices.iter().all(has)
}
