//! Deployments: create, change, scale, delete.

use std::collections::BTreeMap;

use super::{ClusterState, Context, EventSubject, Reply, Severity, check_revision};
use crate::{
    defaults::DEFAULTS,
    error::{Code, Error},
    id::{Generation, LogIndex},
    model::{Deployment, DeploymentKey, DeploymentSpec},
    state::PutMode,
    time::LogTime,
    units::Count,
};

/// Earlier generations whose specs are kept although nothing runs them: what one may go back to. Their models and code are
/// kept with them.
const GENERATIONS_KEPT: usize = 5;

impl ClusterState {
    /// Lets replicas of earlier generations stay, or goes on with what replaces them.
    pub(super) fn deployment_pause(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        paused: bool,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let deployment = self.living_deployment(key)?;
        check_revision(&format!("deployment `{key}`"), deployment.revision, if_revision)?;
        if deployment.paused == paused {
            return Ok(Reply::Done { revision: deployment.revision });
        }
        if let Some(deployment) = self.deployments.get_mut(key) {
            deployment.paused = paused;
            deployment.revision = cx.index;
        }
        let (kind, text) = match paused {
            true => ("rollout.paused", format!("the rollout of {key} is paused: what serves stays as it is")),
            false => ("rollout.resumed", format!("the rollout of {key} goes on")),
        };
        cx.event(Severity::Info, kind, about(key), text);
        cx.done()
    }

    pub(super) fn deployment_put(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        spec: &DeploymentSpec,
        mode: PutMode,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        self.endpoint(&key.endpoint)?;
        self.check_assets(spec)?;
        let Some(deployment) = self.deployments.get(key) else {
            return self.deployment_create(cx, key, spec, mode, if_revision);
        };
        if deployment.deleting {
            return Err(being_deleted(key));
        }
        if mode == PutMode::Create {
            return Err(Error::new(Code::AlreadyExists, format!("deployment `{key}` already exists"))
                .try_("change it with `berth deployment update`, or pick another name"));
        }
        check_revision(&format!("deployment `{key}`"), deployment.revision, if_revision)?;
        let failing = deployment.failures > 0;
        if deployment.spec == *spec && !failing {
            return Ok(Reply::Done { revision: deployment.revision });
        }
        self.admit(key, spec)?;
        let Some(deployment) = self.deployments.get_mut(key) else { return cx.done() };
        self.index.change_deployment(&deployment.spec, spec);
        if deployment.spec.differs_beyond_count(spec) {
            begin_generation(deployment, cx, spec.clone());
        } else {
            deployment.spec = spec.clone();
        }
        try_anew(deployment, cx);
        let text =
            format!("deployment {key} is at generation {}, {}", deployment.generation, instances(spec.instance_count));
        self.drop_unused_specs(key);
        self.forget_yielded(key);
        self.recharge(cx, key);
        self.touch_routes(cx, &key.endpoint);
        cx.event(Severity::Info, "deployment.changed", about(key), text);
        cx.done()
    }

    /// Begins a generation of the same spec: replicas are replaced as in any rollout.
    pub(super) fn deployment_restart(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let deployment = self.living_deployment(key)?;
        check_revision(&format!("deployment `{key}`"), deployment.revision, if_revision)?;
        if deployment.paused {
            return Err(Error::new(Code::Transition, format!("the rollout of `{key}` is paused"))
                .why("a restart is a rollout: nothing would be replaced")
                .try_(format!("go on first: `berth rollout resume {key}`")));
        }
        if let Some(deployment) = self.deployments.get_mut(key) {
            let spec = deployment.spec.clone();
            begin_generation(deployment, cx, spec);
            try_anew(deployment, cx);
            let (generation, count) = (deployment.generation, instances(deployment.spec.instance_count));
            let text = format!("deployment {key} starts anew as generation {generation}, {count}");
            cx.event(Severity::Info, "deployment.restarted", about(key), text);
        }
        self.drop_unused_specs(key);
        self.touch_routes(cx, &key.endpoint);
        cx.done()
    }

    /// Returns a deployment that may still be changed.
    fn living_deployment(&self, key: &DeploymentKey) -> Result<&Deployment, Error> {
        match self.deployment(key)? {
            deployment if deployment.deleting => Err(being_deleted(key)),
            deployment => Ok(deployment),
        }
    }

    fn deployment_create(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        spec: &DeploymentSpec,
        mode: PutMode,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        if mode == PutMode::Update || if_revision.is_some_and(|revision| revision != LogIndex(0)) {
            return Err(self.deployment(key).err().unwrap_or_else(|| being_deleted(key)));
        }
        let max = DEFAULTS.deployments_per_endpoint_max;
        if self.index.deployments_of(&key.endpoint).count() >= max as usize {
            return Err(Error::new(Code::Limit, format!("endpoint `{}` has {max} deployments", key.endpoint))
                .why("that is as many as an endpoint may have")
                .try_("delete one that carries no traffic"));
        }
        self.admit(key, spec)?;
        let deployment = Deployment {
            key: key.clone(),
            spec: spec.clone(),
            generation: Generation(1),
            old_specs: BTreeMap::new(),
            old_began: BTreeMap::new(),
            paused: false,
            created_at: cx.now,
            generation_at: cx.now,
            deleting: false,
            failures: 0,
            last_failure: None,
            last_failed: None,
            retry_at: LogTime::default(),
            served_generation: None,
            started_in: None,
            room_made_for: None,
            stand_in_failures: 0,
            stand_in_retry_at: LogTime::default(),
            reserve_short_since: None,
            yielded: Vec::new(),
            revision: cx.index,
        };
        self.index.add_deployment(&deployment);
        self.deployments.insert(key.clone(), deployment);
        self.recharge(cx, key);
        self.touch_routes(cx, &key.endpoint);
        let text = format!("deployment {key} was created with {}", instances(spec.instance_count));
        cx.event(Severity::Info, "deployment.created", about(key), text);
        cx.done()
    }

    pub(super) fn deployment_scale(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        instance_count: u32,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let deployment = self.living_deployment(key)?;
        let max = DEFAULTS.instance_count_max;
        if instance_count > max {
            return Err(Error::new(Code::Invalid, format!("{instance_count} instances are too many"))
                .try_(format!("use 0 to {max}")));
        }
        check_revision(&format!("deployment `{key}`"), deployment.revision, if_revision)?;
        deployment.spec.check_count(instance_count)?;
        if deployment.spec.instance_count == instance_count {
            return Ok(Reply::Done { revision: deployment.revision });
        }
        self.admit(key, &DeploymentSpec { instance_count, ..deployment.spec.clone() })?;
        let text =
            format!("deployment {key} goes from {} to {}", deployment.spec.instance_count, instances(instance_count));
        if let Some(deployment) = self.deployments.get_mut(key) {
            deployment.spec.instance_count = instance_count;
            deployment.revision = cx.index;
        }
        self.forget_yielded(key);
        self.recharge(cx, key);
        cx.event(Severity::Info, "deployment.scaled", about(key), text);
        cx.done()
    }

    pub(super) fn deployment_delete(
        &mut self,
        cx: &mut Context,
        key: &DeploymentKey,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let deployment = self.deployment(key)?;
        check_revision(&format!("deployment `{key}`"), deployment.revision, if_revision)?;
        let percent = self.endpoints.get(&key.endpoint).map_or(0, |endpoint| endpoint.traffic.percent(&key.deployment));
        if percent > 0 {
            return Err(Error::new(
                Code::CarriesTraffic,
                format!("deployment `{key}` carries {percent} % of the traffic"),
            )
            .why("deleting it would fail the requests it gets")
            .try_(format!(
                "move the traffic first: `berth traffic {0} OTHER=100`, or `berth traffic {0} none`",
                key.endpoint
            )));
        }
        self.deployment_begin_delete(cx, key);
        cx.done()
    }

    /// Takes a deployment out of the routes; its record goes with its last replica.
    pub(super) fn deployment_begin_delete(&mut self, cx: &mut Context, key: &DeploymentKey) {
        if let Some(endpoint) = self.endpoints.get_mut(&key.endpoint)
            && endpoint.mirror.0.remove(&key.deployment).is_some()
        {
            endpoint.revision = cx.index;
        }
        if let Some(deployment) = self.deployments.get_mut(key)
            && !deployment.deleting
        {
            deployment.deleting = true;
            deployment.revision = cx.index;
            deployment.reserve_short_since = None;
            cx.event(Severity::Info, "deployment.deleting", about(key), format!("deployment {key} is being deleted"));
        }
        self.recharge(cx, key);
        self.drop_slots_of(cx, key);
        self.touch_routes(cx, &key.endpoint);
        self.finish_delete(cx, key);
    }

    /// Drops what only earlier replicas needed, and the whole record once nothing of a deleted deployment is left.
    pub(super) fn finish_delete(&mut self, cx: &mut Context, key: &DeploymentKey) {
        self.drop_unused_specs(key);
        let gone = self.deployments.get(key).is_some_and(|deployment| deployment.deleting)
            && self.index.replicas_of(key).next().is_none();
        if gone {
            if let Some(deployment) = self.deployments.remove(key) {
                self.index.remove_deployment(&deployment);
            }
            cx.event(Severity::Info, "deployment.deleted", about(key), format!("nothing of deployment {key} is left"));
        }
    }

    fn drop_unused_specs(&mut self, key: &DeploymentKey) {
        let used: Vec<_> = self.replicas_of(key).map(|replica| replica.generation).collect();
        if let Some(deployment) = self.deployments.get_mut(key) {
            let kept: Vec<_> = deployment.old_specs.keys().rev().take(GENERATIONS_KEPT).copied().collect();
            let served = deployment.served_generation;
            let keeps = |generation: &Generation| {
                used.contains(generation) || kept.contains(generation) || served == Some(*generation)
            };
            deployment.old_specs.retain(|generation, _| keeps(generation));
            deployment.old_began.retain(|generation, _| keeps(generation));
        }
    }

    fn check_assets(&self, spec: &DeploymentSpec) -> Result<(), Error> {
        match spec.assets().find(|asset| !self.assets.contains_key(&asset.digest)) {
            Some(asset) => {
                Err(Error::new(Code::AssetNotFound, format!("asset `{}` ({}) is not stored", asset.name, asset.digest))
                    .why("a deployment may only refer to bytes that a majority of coordinators holds")
                    .try_("upload it first; the `berth` verbs do so by themselves"))
            }
            None => Ok(()),
        }
    }
}

/// Makes `spec` the newest generation; the one before is kept as one may go back to it.
fn begin_generation(deployment: &mut Deployment, cx: &Context, spec: DeploymentSpec) {
    let old = std::mem::replace(&mut deployment.spec, spec);
    deployment.old_specs.insert(deployment.generation, old);
    deployment.old_began.insert(deployment.generation, deployment.generation_at);
    deployment.generation = deployment.generation.next();
    deployment.generation_at = cx.now;
    deployment.room_made_for = None;
}

/// Forgets failures: whoever asks again after one wants another try now, not when the back-off ends.
fn try_anew(deployment: &mut Deployment, cx: &Context) {
    deployment.failures = 0;
    deployment.last_failure = None;
    deployment.last_failed = None;
    deployment.retry_at = LogTime::default();
    deployment.stand_in_failures = 0;
    deployment.stand_in_retry_at = LogTime::default();
    deployment.revision = cx.index;
}

fn about(key: &DeploymentKey) -> EventSubject {
    EventSubject { endpoint: Some(key.endpoint.clone()), deployment: Some(key.clone()), ..EventSubject::default() }
}

fn instances(count: u32) -> Count {
    Count(count.into(), "instance")
}

fn being_deleted(key: &DeploymentKey) -> Error {
    Error::new(Code::Transition, format!("deployment `{key}` is being deleted"))
        .why("its last replicas are still finishing requests")
        .try_("wait until `berth get deployments` no longer lists it")
}
