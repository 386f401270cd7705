//! Plans: each step is judged again against the state it meets; what no longer fits is refused, the rest applied.

use super::{ClusterState, Context, Reply, Severity, cluster::stale_term, replica::about};
use crate::{
    error::{Code, Error},
    id::{Generation, LogIndex, NodeId, ReplicaId, SlotId},
    model::{Deployment, DeploymentKey, DeviceGrant, Node, Replica, ReplicaState, ReserveSpend},
    state::{Plan, Step, StepOutcome},
    time::LogTime,
    units::Count,
};

/// The reason of a drain that leaves a deployment without a reserve one ready replica short because there is no room for
/// one more. It is
/// the record of that allowance: no other drain may go below what was asked for.
pub const ONE_AT_A_TIME: &str = "no room for one more: one instance at a time";

/// The fields of a place step.
struct Place<'a> {
    id: ReplicaId,
    key: &'a DeploymentKey,
    generation: Generation,
    node: NodeId,
    devices: &'a [DeviceGrant],
    replaces: Option<ReplicaId>,
    spend: Option<&'a ReserveSpend>,
    reason: &'a str,
}

impl ClusterState {
    pub(super) fn plan_commit(&mut self, cx: &mut Context, plan: &Plan) -> Result<Reply, Error> {
        if plan.term != self.term {
            return Err(stale_term(plan.term, self.term));
        }
        let outcomes = plan.steps.iter().map(|step| self.step(cx, plan.based_on, step)).collect();
        Ok(Reply::Planned { outcomes })
    }

    fn step(&mut self, cx: &mut Context, based_on: LogIndex, step: &Step) -> StepOutcome {
        if let Step::Serve { replica }
        | Step::Drain { replica, .. }
        | Step::Stop { replica, .. }
        | Step::Preempt { replica, .. } = step
        {
            self.check_unchanged(*replica, based_on)?;
        }
        match step {
            Step::Place { replica, key, generation, node, devices, replaces, reserve_spent, reason } => {
                let (id, generation, node, replaces) = (*replica, *generation, *node, *replaces);
                let spend = reserve_spent.as_ref();
                self.place(cx, &Place { id, key, generation, node, devices, replaces, spend, reason })
            }
            Step::Serve { replica } => self.advance(cx, *replica, ReplicaState::Serving, "every router knows it", None),
            Step::Drain { replica, deadline, reason } => {
                self.check_promise(*replica, reason)?;
                self.advance(cx, *replica, ReplicaState::Draining, reason, Some(*deadline))
            }
            Step::Preempt { replica, to, deadline } => self.preempt(cx, *replica, to, *deadline),
            Step::Stop { replica, cut, reason } => {
                self.check_stop(*replica)?;
                self.stop(cx, *replica, *cut, reason)
            }
            Step::HoldSlot { slot, key, node, devices, reason } => {
                self.hold_slot(cx, *slot, key, *node, devices, reason)
            }
            Step::ReleaseSlot { slot, cause } => {
                self.check_release(*slot, cause)?;
                self.release_slot(cx, *slot, cause)
            }
            Step::NoteReserve { key, short, reason } => self.note_reserve(cx, key, *short, reason),
        }
    }

    /// Refuses to go on with a replica that changed since the plan was made: the routers acknowledged what it was then,
    /// and a node that was lost may be back.
    fn check_unchanged(&self, replica: ReplicaId, based_on: LogIndex) -> Result<(), Error> {
        match self.replicas.get(&replica).filter(|replica| replica.revision > based_on) {
            Some(replica) => Err(Error::new(Code::Revision, format!("replica {} has changed", replica.id))
                .why(format!("it is at revision {}, the plan was made at {based_on}", replica.revision))),
            None => Ok(()),
        }
    }

    /// Refuses a drain that would leave fewer ready replicas than were asked for: one of them may have ended since the
    /// plan was made.
    fn check_promise(&self, replica: ReplicaId, reason: &str) -> Result<(), Error> {
        let Some(replica) = self.replicas.get(&replica).filter(|replica| replica.is_ready()) else {
            return Ok(());
        };
        let deployment = self.deployments.get(&replica.key);
        let floor = deployment.map_or(0, Deployment::floor);
        let ready = self.replicas_of(&replica.key).filter(|replica| replica.is_ready()).count() as u64;
        let may_fall = deployment.is_some_and(|deployment| !deployment.spec.reserve);
        let allowance = u64::from(reason == ONE_AT_A_TIME && may_fall);
        if ready + allowance > floor || self.is_forced_off(replica) {
            return Ok(());
        }
        Err(Error::new(Code::Transition, format!("replica {} is needed", replica.id))
            .why(format!("{ready} of {floor} replicas of `{}` serve", replica.key)))
    }

    /// Returns whether an operator wants it off its node by now, or its device had a fault: then it goes, whatever its
    /// deployment was promised.
    fn is_forced_off(&self, replica: &Replica) -> bool {
        let node = self.nodes.get(&replica.node);
        let drain = node.and_then(|node| node.drain.as_ref());
        drain.is_some_and(|drain| drain.force && drain.deadline <= self.time)
            || node.is_some_and(|node| node.condemned(&replica.devices).is_some())
    }

    /// Ends a replica, and says what is cut with it.
    fn stop(&mut self, cx: &mut Context, id: ReplicaId, cut: u64, reason: &str) -> StepOutcome {
        self.advance(cx, id, ReplicaState::Stopped, reason, None)?;
        let Some(replica) = self.replicas.get(&id) else { return Ok(()) };
        let (node, key, subject) = (replica.node, replica.key.clone(), about(replica));
        self.count_drained(node, cut);
        if cut > 0 {
            let text =
                format!("replica {} of {key} ends with {} under way: {reason}", id.short(), Count(cut, "request"));
            cx.event(Severity::Warning, "replica.cut", subject, text);
        }
        Ok(())
    }

    /// Refuses to stop what callers may be using: it drains first.
    fn check_stop(&self, replica: ReplicaId) -> Result<(), Error> {
        let routed = |replica: &&Replica| matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving);
        match self.replicas.get(&replica).filter(routed).filter(|replica| !replica.lost) {
            Some(replica) => Err(Error::new(Code::Transition, format!("replica {} is {}", replica.id, replica.state))
                .why("what routers may send to drains before it stops")),
            None => Ok(()),
        }
    }

    fn place(&mut self, cx: &mut Context, place: &Place<'_>) -> StepOutcome {
        let Place { id, key, generation, node, devices, reason, .. } = *place;
        let deployment = self.deployment(key)?;
        if deployment.deleting {
            return Err(Error::new(Code::Transition, format!("deployment `{key}` is being deleted")));
        }
        let is_asked_for = deployment.generation == generation || deployment.stand_in() == Some(generation);
        let spec = deployment.spec_of(generation).filter(|_| is_asked_for);
        let Some(spec) = spec else {
            return Err(Error::new(Code::Stale, format!("generation {generation} of `{key}` is not the current one")));
        };
        if self.replicas.contains_key(&id) {
            return Err(Error::new(Code::AlreadyExists, format!("replica {id} exists")));
        }
        // The deployment's own key: what is kept shares its text.
        let (key, resources) = (&deployment.key.clone(), spec.resources);
        let spent = place.spend.map(|spend| self.check_spend(spend, key, node, place.replaces)).transpose()?;
        self.check_spread(key, generation, node)?;
        self.check_room(node, &resources, devices, spent)?;
        if let Some(spent) = spent.map(|slot| slot.id) {
            self.drop_slot(cx, spent);
        }
        let replica = Replica {
            id,
            key: key.clone(),
            generation,
            node,
            resources,
            devices: devices.to_vec(),
            replaces: place.replaces,
            reserve_spent: place.spend.cloned(),
            made_room_for: None,
            state: ReplicaState::Placed,
            reason: reason.to_owned(),
            lost: false,
            restarts: 0,
            retry_at: LogTime::default(),
            pid: 0,
            address: String::new(),
            placed_at: cx.now,
            since: cx.now,
            drain_deadline: LogTime::default(),
            revision: cx.index,
        };
        let spent = place.spend.map(|spend| format!(", from the reserve ({})", spend.cause)).unwrap_or_default();
        let text = format!("replica {} of {key} was placed on {}: {reason}{spent}", id.short(), self.name_of(node));
        cx.event(Severity::Info, "replica.placed", about(&replica), text);
        self.index.add_replica(&replica, self.nodes.get(&node));
        self.replicas.insert(id, replica);
        if let Some(deployment) = self.deployments.get_mut(key) {
            deployment.room_made_for = deployment.room_made_for.filter(|made_for| *made_for != generation);
        }
        // What came from the reserve is out of it for a while; it is no room that was found.
        if place.spend.is_none() {
            self.return_yielded(cx, key);
        }
        Ok(())
    }

    pub(super) fn check_devices(
        &self,
        node: &Node,
        devices: &[DeviceGrant],
        gpus: u64,
        spent: Option<SlotId>,
    ) -> Result<(), Error> {
        let refuse = |uuid: &str, why: String| {
            Err(Error::new(Code::NoCapacity, format!("device {uuid} cannot be given")).why(why))
        };
        let whole = devices.iter().filter(|grant| grant.memory_mib.is_none()).count() as u64;
        if !node.profile.devices.is_empty() && whole != gpus {
            return Err(Error::new(Code::NoCapacity, format!("{gpus} devices are needed, {whole} are granted")));
        }
        for grant in devices {
            let Some(device) = node.profile.devices.iter().find(|device| device.uuid == grant.uuid) else {
                return refuse(&grant.uuid, format!("node `{}` does not have it", node.profile.name));
            };
            if !device.healthy {
                let condition = node.condition(device).map(crate::model::DeviceCondition::sentence);
                return refuse(&grant.uuid, condition.unwrap_or_else(|| "it is not healthy".to_owned()));
            }
            let returned = spent.and_then(|id| self.slots.get(&id)).into_iter().flat_map(|slot| &slot.devices);
            let returned = returned.filter(|held| held.uuid == grant.uuid);
            let returned_mib: u64 = returned.map(|held| held.memory_mib.unwrap_or(device.memory_mib)).sum();
            let held_mib = self.index.held_of(node, device).saturating_sub(returned_mib);
            let same = devices.iter().filter(|other| other.uuid == grant.uuid).count();
            let wanted_mib = grant.memory_mib.unwrap_or(device.memory_mib);
            if same > 1 || held_mib.saturating_add(wanted_mib) > device.memory_mib {
                return refuse(&grant.uuid, format!("{held_mib} of {} MiB are held", device.memory_mib));
            }
        }
        Ok(())
    }

    pub(super) fn advance(
        &mut self,
        cx: &mut Context,
        id: ReplicaId,
        next: ReplicaState,
        reason: &str,
        drain_deadline: Option<LogTime>,
    ) -> StepOutcome {
        let Some(replica) = self.replicas.get_mut(&id) else {
            return Err(Error::new(Code::ReplicaNotFound, format!("replica {id} does not exist")));
        };
        let from = replica.state;
        // Nobody can show a lost replica warm, so nothing of it may be offered to the split.
        if !from.may_become(next) || (next == ReplicaState::Serving && replica.lost) {
            return Err(Error::new(Code::Transition, format!("replica {id} cannot go from {from} to {next}")));
        }
        replica.state = next;
        reason.clone_into(&mut replica.reason);
        replica.since = cx.now;
        replica.revision = cx.index;
        if let Some(deadline) = drain_deadline {
            replica.drain_deadline = deadline;
        }
        let (key, generation, subject) = (replica.key.clone(), replica.generation, about(replica));
        if next == ReplicaState::Serving {
            self.generation_serves(&key, generation);
        }
        if reason == ONE_AT_A_TIME
            && let Some(deployment) = self.deployments.get_mut(&key)
        {
            deployment.room_made_for = Some(deployment.generation);
        }
        let routed = |state| matches!(state, ReplicaState::Warm | ReplicaState::Serving);
        if routed(from) || routed(next) {
            self.touch_routes(cx, &key.endpoint);
        }
        let text = format!("replica {} of {key} is {next}: {reason}", id.short());
        cx.event(Severity::Info, &format!("replica.{next}"), subject, text);
        Ok(())
    }

    /// A replica that serves ends the back-off: whatever was wrong is mended.
    fn generation_serves(&mut self, key: &DeploymentKey, generation: Generation) {
        let Some(deployment) = self.deployments.get_mut(key) else { return };
        if deployment.stand_in() == Some(generation) {
            deployment.stand_in_failures = 0;
            deployment.stand_in_retry_at = LogTime::default();
        }
        if deployment.generation == generation {
            deployment.served_generation = Some(generation);
            deployment.failures = 0;
            deployment.last_failure = None;
            deployment.last_failed = None;
            deployment.retry_at = LogTime::default();
        }
    }
}
