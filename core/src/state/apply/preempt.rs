//! Pre-emption: a replica makes room for a more important deployment, and comes back.
//!
//! No planner is believed. A step names the replica and who needs its place; here both are looked at again: whether the
//! other one is clearly more important and still misses an instance, and whether this one is beyond what its own
//! deployment was promised.

use super::{ClusterState, Context, EventSubject, Severity};
use crate::{
    error::{Code, Error},
    id::ReplicaId,
    model::{Deployment, DeploymentKey, Replica, ReplicaState, Yielded, yields},
    state::StepOutcome,
    time::LogTime,
    units::Count,
};

impl ClusterState {
    pub(super) fn preempt(
        &mut self,
        cx: &mut Context,
        id: ReplicaId,
        to: &DeploymentKey,
        deadline: LogTime,
    ) -> StepOutcome {
        let Some(replica) = self.replicas.get(&id) else {
            return Err(Error::new(Code::ReplicaNotFound, format!("replica {id} does not exist")));
        };
        if !replica.is_wanted() || replica.lost {
            return Err(Error::new(Code::Transition, format!("replica {id} is {}", replica.word()))
                .why("its place comes back, or is out of reach"));
        }
        let key = replica.key.clone();
        let priority = self.check_importance(&key, to)?;
        self.check_missing(to)?;
        self.check_minimum(replica)?;
        let is_routed = matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving);
        let node = self.name_of(replica.node).to_owned();
        let reason = format!("made room for {to} (priority {priority})");
        match is_routed {
            true => self.advance(cx, id, ReplicaState::Draining, &reason, Some(deadline))?,
            false => self.advance(cx, id, ReplicaState::Stopped, &reason, None)?,
        }
        if let Some(replica) = self.replicas.get_mut(&id) {
            replica.made_room_for = Some(to.clone());
        }
        let Some(deployment) = self.deployments.get_mut(&key) else { return Ok(()) };
        match deployment.yielded.iter_mut().find(|yielded| yielded.to == *to) {
            Some(yielded) => yielded.count = yielded.count.saturating_add(1),
            None => deployment.yielded.push(Yielded { to: to.clone(), count: 1 }),
        }
        // One more than it asks for, in a rollout, is nothing it will miss.
        self.forget_yielded(&key);
        let Some(deployment) = self.deployments.get(&key) else { return Ok(()) };
        let (own, places) = (deployment.spec.priority, Count(deployment.yielded(), "place"));
        let text = format!(
            "{key} (priority {own}) gives up its place on {node} for {to} (priority {priority}): \
             {places} out, {} promised",
            deployment.minimum()
        );
        cx.event(Severity::Warning, "deployment.yielded", about(&key), text);
        Ok(())
    }

    /// Refuses to make room for what is not clearly more important, and returns its priority otherwise.
    pub(super) fn check_importance(&self, key: &DeploymentKey, to: &DeploymentKey) -> Result<u32, Error> {
        let higher = self.deployments.get(to).filter(|deployment| !deployment.deleting);
        let Some(higher) = higher.map(|deployment| deployment.spec.priority) else {
            return Err(Error::new(Code::Stale, format!("deployment `{to}` needs no place any more")));
        };
        let lower = self.deployments.get(key).map_or(0, |deployment| deployment.spec.priority);
        if yields(lower, higher) {
            return Ok(higher);
        }
        Err(Error::new(Code::Transition, format!("`{key}` does not make room for `{to}`"))
            .why(format!("its priority is {lower}, the other one {higher}")))
    }

    /// Refuses to make room for what has all its instances by now.
    fn check_missing(&self, to: &DeploymentKey) -> Result<(), Error> {
        let desired = self.deployments.get(to).map_or(0, Deployment::desired);
        if self.standing(to) < desired {
            return Ok(());
        }
        Err(Error::new(Code::Stale, format!("`{to}` has its {}", Count(desired, "instance"))))
    }

    /// Refuses to take a replica that its deployment was promised.
    fn check_minimum(&self, replica: &Replica) -> Result<(), Error> {
        let minimum = self.deployments.get(&replica.key).map_or(0, Deployment::minimum);
        let standing = self.standing(&replica.key);
        let ready = self.replicas_of(&replica.key).filter(|other| other.is_ready()).count() as u64;
        if standing > minimum && (!replica.is_ready() || ready > minimum) {
            return Ok(());
        }
        Err(Error::new(Code::Minimum, format!("replica {} is promised", replica.id)).why(format!(
            "{standing} replicas of `{}` stand, {ready} of them serve, and {minimum} are promised",
            replica.key
        )))
    }

    /// Counts the replicas of a deployment that hold a place of use: not those that are lost or on a broken device.
    fn standing(&self, key: &DeploymentKey) -> u64 {
        let stands = |replica: &&Replica| {
            let node = self.nodes.get(&replica.node);
            replica.is_wanted() && !replica.lost && node.is_none_or(|node| node.condemned(&replica.devices).is_none())
        };
        self.replicas_of(key).filter(stands).count() as u64
    }

    /// Refuses to give up a slot of a deployment that was promised everything: its reserve is a part of that.
    pub(super) fn check_slot_yields(&self, key: &DeploymentKey, to: &DeploymentKey) -> Result<(), Error> {
        self.check_importance(key, to)?;
        self.check_missing(to)?;
        let (minimum, desired) =
            self.deployments.get(key).map_or((0, 0), |deployment| (deployment.minimum(), deployment.desired()));
        if minimum < desired {
            return Ok(());
        }
        Err(Error::new(Code::Minimum, format!("the reserve of `{key}` is promised"))
            .why(format!("so are all of its {}", Count(desired, "instance"))))
    }

    /// Notes that a deployment got a place: one of those it gave up may be back.
    pub(super) fn return_yielded(&mut self, cx: &mut Context, key: &DeploymentKey) {
        let owed = |state: &Self| state.deployments.get(key).map_or(0, Deployment::yielded);
        if owed(self) == 0 {
            return;
        }
        self.forget_yielded(key);
        if owed(self) == 0 {
            let text = format!("{key} has back what it gave up for more important deployments");
            cx.event(Severity::Info, "deployment.returned", about(key), text);
        }
    }

    /// Forgets places a deployment does not miss any more: it has them back, or was scaled down.
    pub(super) fn forget_yielded(&mut self, key: &DeploymentKey) {
        let wanted = self.replicas_of(key).filter(|replica| replica.is_wanted() && !replica.lost).count() as u64;
        let Some(deployment) = self.deployments.get_mut(key) else { return };
        let missing = deployment.desired().saturating_sub(wanted);
        let mut beyond = deployment.yielded().saturating_sub(missing);
        for yielded in deployment.yielded.iter_mut().rev() {
            let cut = beyond.min(u64::from(yielded.count));
            yielded.count -= cut as u32;
            beyond -= cut;
        }
        deployment.yielded.retain(|yielded| yielded.count > 0);
    }
}

fn about(key: &DeploymentKey) -> EventSubject {
    EventSubject { endpoint: Some(key.endpoint.clone()), deployment: Some(key.clone()), ..EventSubject::default() }
}
