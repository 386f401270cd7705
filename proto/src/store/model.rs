//! The nouns, to and from their stored form.

use std::collections::BTreeMap;

use berth_core::{
    defaults::DEFAULTS,
    error::Error,
    id::{Generation, LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId},
    model::{
        Asset, AssetKind, AssetRef, AuthMode, Code, Deployment, DeploymentKey, DeploymentName, DeploymentSpec, Device,
        DeviceCondition, DeviceGrant, DeviceState, Disconnect, DrainBy, Endpoint, EndpointKeys, EndpointSpec,
        Environment, FailedReplica, GpuAsk, HedgeAfter, Hedging, HttpRoute, LabelRule, MirrorRules, Model, ModelType,
        Node, NodeDrain, NodeProfile, NodeState, Probe, Reconcile, Replica, ReplicaState, RequestSettings, Runtime,
        SealedKey, Settings, SettingsChange, Spread, SpreadBy, Traffic, UpgradeLock, Yielded,
    },
    state::{Observed, ReplicaReport},
    time::{LogTime, Millis},
    units::Resources,
};

use super::v1;
use crate::convert::{Wire, all, bytes32, damaged, digest, enum_wire, name, need, wires};

enum_wire!(AuthMode, v1::AuthMode, Key, None);
enum_wire!(AssetKind, v1::AssetKind, File, Folder);
enum_wire!(ModelType, v1::ModelType, CustomModel, MlflowModel, TritonModel);
enum_wire!(ReplicaState, v1::ReplicaState, Placed, Preparing, Starting, Warm, Serving, Draining, Stopped, Failed);
enum_wire!(Reconcile, v1::Reconcile, KeepServing, KeepOriginal, KeepReplacement);
enum_wire!(SpreadBy, v1::SpreadBy, Node, Rack, Zone, None);
enum_wire!(NodeState, v1::NodeState, Ready, Suspect, Lost);
enum_wire!(DrainBy, v1::DrainBy, Operator, Agent, Upgrade);
enum_wire!(DeviceState, v1::DeviceState, Healthy, Unknown, Probation, Failed);
enum_wire!(Observed, v1::Observed, Preparing, Starting, Warm, Failed, Gone);

/// Reads the two halves of a deployment's name.
pub(crate) fn key(endpoint: &str, deployment: &str) -> Result<DeploymentKey, Error> {
    Ok(DeploymentKey::new(name(endpoint)?, name(deployment)?))
}

impl From<Resources> for v1::Resources {
    fn from(Resources { cpu_milli, memory_mib, disk_mib, gpus }: Resources) -> Self {
        Self { cpu_milli, memory_mib, disk_mib, gpus }
    }
}

impl From<v1::Resources> for Resources {
    fn from(v1::Resources { cpu_milli, memory_mib, disk_mib, gpus }: v1::Resources) -> Self {
        Self { cpu_milli, memory_mib, disk_mib, gpus }
    }
}

impl Wire<Resources> for v1::Resources {
    fn wire(value: &Resources) -> Self {
        (*value).into()
    }

    fn core(self) -> Result<Resources, Error> {
        Ok(self.into())
    }
}

impl Wire<EndpointSpec> for v1::EndpointSpec {
    fn wire(value: &EndpointSpec) -> Self {
        Self {
            description: value.description.clone(),
            tags: value.tags.clone(),
            auth_mode: i32::wire(&value.auth_mode),
            max_body_bytes: value.max_body_bytes,
            idempotent: value.idempotent,
            mirror_rules: Some(Wire::wire(&value.mirror_rules)),
            hedging: value.hedging.as_ref().map(Wire::wire),
            alerts: wires(&value.alerts),
        }
    }

    fn core(self) -> Result<EndpointSpec, Error> {
        Ok(EndpointSpec {
            description: self.description,
            tags: self.tags,
            auth_mode: self.auth_mode.core()?,
            max_body_bytes: self.max_body_bytes,
            idempotent: self.idempotent,
            mirror_rules: self.mirror_rules.unwrap_or_default().core()?,
            hedging: self.hedging.map(Wire::core).transpose()?,
            alerts: all(self.alerts)?,
        })
    }
}

impl Wire<Hedging> for v1::Hedging {
    fn wire(value: &Hedging) -> Self {
        let after = match value.after {
            HedgeAfter::Delay(after) => v1::hedging::After::DelayMs(after.0),
            HedgeAfter::Percentile { permille } => v1::hedging::After::PercentilePermille(permille),
        };
        Self { after: Some(after), budget_percent: value.budget_percent }
    }

    fn core(self) -> Result<Hedging, Error> {
        let after = match need(self.after, "hedging.after")? {
            v1::hedging::After::DelayMs(ms) => HedgeAfter::Delay(Millis(ms)),
            v1::hedging::After::PercentilePermille(permille) => HedgeAfter::Percentile { permille },
        };
        Ok(Hedging { after, budget_percent: self.budget_percent })
    }
}

impl Wire<MirrorRules> for v1::MirrorRules {
    fn wire(value: &MirrorRules) -> Self {
        Self {
            skip_compare: !value.compare,
            rtol_ppb: Some(value.rtol_ppb),
            atol_ppb: Some(value.atol_ppb),
            ignore: value.ignore.clone(),
            redact: value.redact,
            pinned: value.pinned,
        }
    }

    fn core(self) -> Result<MirrorRules, Error> {
        let default = MirrorRules::default();
        Ok(MirrorRules {
            compare: !self.skip_compare,
            rtol_ppb: self.rtol_ppb.unwrap_or(default.rtol_ppb),
            atol_ppb: self.atol_ppb.unwrap_or(default.atol_ppb),
            ignore: self.ignore,
            redact: self.redact,
            pinned: self.pinned,
        })
    }
}

impl Wire<SealedKey> for v1::SealedKey {
    fn wire(value: &SealedKey) -> Self {
        Self {
            cluster_key_id: value.cluster_key_id,
            nonce: value.nonce.clone(),
            ciphertext: value.ciphertext.clone(),
            hash: value.hash.to_vec(),
        }
    }

    fn core(self) -> Result<SealedKey, Error> {
        Ok(SealedKey {
            cluster_key_id: self.cluster_key_id,
            nonce: self.nonce,
            ciphertext: self.ciphertext,
            hash: bytes32(&self.hash, "hash")?,
        })
    }
}

impl Wire<EndpointKeys> for v1::EndpointKeys {
    fn wire(value: &EndpointKeys) -> Self {
        Self { primary: Some(Wire::wire(&value.primary)), secondary: Some(Wire::wire(&value.secondary)) }
    }

    fn core(self) -> Result<EndpointKeys, Error> {
        let (primary, secondary) = (need(self.primary, "primary")?, need(self.secondary, "secondary")?);
        Ok(EndpointKeys { primary: primary.core()?, secondary: secondary.core()? })
    }
}

impl Wire<Traffic> for v1::Traffic {
    fn wire(value: &Traffic) -> Self {
        Self { percent: value.0.iter().map(|(name, percent)| (name.to_string(), *percent)).collect() }
    }

    fn core(self) -> Result<Traffic, Error> {
        let shares = self.percent.into_iter().map(|(text, percent)| Ok((name::<DeploymentName>(&text)?, percent)));
        shares.collect::<Result<BTreeMap<_, _>, Error>>().map(Traffic)
    }
}

impl Wire<Endpoint> for v1::Endpoint {
    fn wire(value: &Endpoint) -> Self {
        Self {
            name: value.name.to_string(),
            project: value.project.to_string(),
            spec: Some(Wire::wire(&value.spec)),
            keys: Some(Wire::wire(&value.keys)),
            traffic: Some(Wire::wire(&value.traffic)),
            mirror: Some(Wire::wire(&value.mirror)),
            created_at_ms: value.created_at.millis(),
            revision: value.revision.0,
        }
    }

    fn core(self) -> Result<Endpoint, Error> {
        Ok(Endpoint {
            name: name(&self.name)?,
            project: name(&self.project)?,
            spec: need(self.spec, "spec")?.core()?,
            keys: need(self.keys, "keys")?.core()?,
            traffic: self.traffic.unwrap_or_default().core()?,
            mirror: self.mirror.unwrap_or_default().core()?,
            created_at: LogTime::from_millis(self.created_at_ms),
            revision: LogIndex(self.revision),
        })
    }
}

impl Wire<AssetRef> for v1::AssetRef {
    fn wire(value: &AssetRef) -> Self {
        Self {
            digest: value.digest.0.to_vec(),
            kind: i32::wire(&value.kind),
            name: value.name.clone(),
            size_bytes: value.size_bytes,
        }
    }

    fn core(self) -> Result<AssetRef, Error> {
        Ok(AssetRef {
            digest: digest(&self.digest)?,
            kind: self.kind.core()?,
            name: self.name,
            size_bytes: self.size_bytes,
        })
    }
}

impl From<AssetRef> for v1::AssetRef {
    fn from(value: AssetRef) -> Self {
        Self::wire(&value)
    }
}

impl Wire<Asset> for v1::Asset {
    fn wire(value: &Asset) -> Self {
        Self {
            digest: value.digest.0.to_vec(),
            size_bytes: value.size_bytes,
            committed_at_ms: value.committed_at.millis(),
            revision: value.revision.0,
            holders: value.holders.iter().map(|member| member.0).collect(),
        }
    }

    fn core(self) -> Result<Asset, Error> {
        Ok(Asset {
            digest: digest(&self.digest)?,
            size_bytes: self.size_bytes,
            committed_at: LogTime::from_millis(self.committed_at_ms),
            revision: LogIndex(self.revision),
            holders: self.holders.into_iter().map(MemberId).collect(),
        })
    }
}

impl Wire<Model> for v1::Model {
    fn wire(value: &Model) -> Self {
        Self {
            name: value.name.clone(),
            version: value.version.clone(),
            model_type: i32::wire(&value.model_type),
            asset: Some(Wire::wire(&value.asset)),
        }
    }

    fn core(self) -> Result<Model, Error> {
        Ok(Model {
            name: self.name,
            version: self.version,
            model_type: self.model_type.core()?,
            asset: need(self.asset, "asset")?.core()?,
        })
    }
}

impl Wire<Code> for v1::Code {
    fn wire(value: &Code) -> Self {
        Self { asset: Some(Wire::wire(&value.asset)), scoring_script: value.scoring_script.clone() }
    }

    fn core(self) -> Result<Code, Error> {
        Ok(Code { asset: need(self.asset, "asset")?.core()?, scoring_script: self.scoring_script })
    }
}

impl Wire<HttpRoute> for v1::HttpRoute {
    fn wire(value: &HttpRoute) -> Self {
        Self { path: value.path.clone(), port: value.port }
    }

    fn core(self) -> Result<HttpRoute, Error> {
        Ok(HttpRoute { path: self.path, port: self.port })
    }
}

impl Wire<Environment> for v1::Environment {
    fn wire(value: &Environment) -> Self {
        Self {
            name: value.name.clone(),
            image: value.image.clone(),
            pip: value.pip.clone(),
            liveness_route: value.liveness_route.as_ref().map(Wire::wire),
            readiness_route: value.readiness_route.as_ref().map(Wire::wire),
            scoring_route: value.scoring_route.as_ref().map(Wire::wire),
            python: value.python.clone(),
        }
    }

    fn core(self) -> Result<Environment, Error> {
        Ok(Environment {
            name: self.name,
            image: self.image,
            pip: self.pip,
            liveness_route: self.liveness_route.map(Wire::core).transpose()?,
            readiness_route: self.readiness_route.map(Wire::core).transpose()?,
            scoring_route: self.scoring_route.map(Wire::core).transpose()?,
            python: self.python,
        })
    }
}

impl Wire<Runtime> for v1::Runtime {
    fn wire(value: &Runtime) -> Self {
        use v1::runtime::Runtime as R;
        let runtime = match value {
            Runtime::Python => R::Python(v1::PythonRuntime {}),
            Runtime::Onnx => R::Onnx(v1::OnnxRuntime {}),
            Runtime::Command(argv) => R::Command(v1::CommandRuntime { argv: argv.clone() }),
        };
        Self { runtime: Some(runtime) }
    }

    fn core(self) -> Result<Runtime, Error> {
        use v1::runtime::Runtime as R;
        Ok(match need(self.runtime, "runtime")? {
            R::Python(_) => Runtime::Python,
            R::Onnx(_) => Runtime::Onnx,
            R::Command(command) => Runtime::Command(command.argv),
        })
    }
}

/// No GPU is an absent message, so this writes none for [`GpuAsk::None`].
fn gpu_wire(value: &GpuAsk) -> Option<v1::GpuAsk> {
    use v1::gpu_ask::Ask;
    let ask = match value.clone() {
        GpuAsk::None => return None,
        GpuAsk::Whole { count, model, memory_mib_min } => Ask::Whole(v1::WholeGpus { count, model, memory_mib_min }),
        GpuAsk::Memory { mib, model } => Ask::Memory(v1::GpuMemory { mib, model }),
        GpuAsk::Mig { profile, count } => Ask::Mig(v1::MigSlices { profile, count }),
    };
    Some(v1::GpuAsk { ask: Some(ask) })
}

fn gpu_core(wire: Option<v1::GpuAsk>) -> Result<GpuAsk, Error> {
    use v1::gpu_ask::Ask;
    let Some(wire) = wire else { return Ok(GpuAsk::None) };
    Ok(match need(wire.ask, "ask")? {
        Ask::Whole(whole) => {
            GpuAsk::Whole { count: whole.count, model: whole.model, memory_mib_min: whole.memory_mib_min }
        }
        Ask::Memory(memory) => GpuAsk::Memory { mib: memory.mib, model: memory.model },
        Ask::Mig(mig) => GpuAsk::Mig { profile: mig.profile, count: mig.count },
    })
}

impl Wire<RequestSettings> for v1::RequestSettings {
    fn wire(value: &RequestSettings) -> Self {
        Self {
            request_timeout_ms: value.request_timeout_ms,
            max_concurrent_requests_per_instance: value.max_concurrent_requests_per_instance,
            max_queue_wait_ms: value.max_queue_wait_ms,
        }
    }

    fn core(self) -> Result<RequestSettings, Error> {
        Ok(RequestSettings {
            request_timeout_ms: self.request_timeout_ms,
            max_concurrent_requests_per_instance: self.max_concurrent_requests_per_instance,
            max_queue_wait_ms: self.max_queue_wait_ms,
        })
    }
}

impl Wire<Probe> for v1::Probe {
    fn wire(value: &Probe) -> Self {
        let Probe { initial_delay_ms, period_ms, timeout_ms, success_threshold, failure_threshold } = *value;
        Self { initial_delay_ms, period_ms, timeout_ms, success_threshold, failure_threshold }
    }

    fn core(self) -> Result<Probe, Error> {
        let Self { initial_delay_ms, period_ms, timeout_ms, success_threshold, failure_threshold } = self;
        Ok(Probe { initial_delay_ms, period_ms, timeout_ms, success_threshold, failure_threshold })
    }
}

impl Wire<LabelRule> for v1::LabelRule {
    fn wire(value: &LabelRule) -> Self {
        Self { not: value.not, values: value.values.iter().cloned().collect() }
    }

    fn core(self) -> Result<LabelRule, Error> {
        Ok(LabelRule { not: self.not, values: self.values.into_iter().collect() })
    }
}

impl Wire<Spread> for v1::Spread {
    fn wire(value: &Spread) -> Self {
        Self { by: i32::wire(&value.by), max_per_domain: value.max_per_domain }
    }

    fn core(self) -> Result<Spread, Error> {
        Ok(Spread { by: self.by.core()?, max_per_domain: self.max_per_domain })
    }
}

impl Wire<Disconnect> for v1::Disconnect {
    fn wire(value: &Disconnect) -> Self {
        Self {
            lost_after_ms: value.lost_after.map(|span| span.0),
            replace: value.replace,
            stop_on_client_after_ms: value.stop_on_client_after.map(|span| span.0),
            reconcile: i32::wire(&value.reconcile),
        }
    }

    fn core(self) -> Result<Disconnect, Error> {
        Ok(Disconnect {
            lost_after: self.lost_after_ms.map(Millis),
            replace: self.replace,
            stop_on_client_after: self.stop_on_client_after_ms.map(Millis),
            reconcile: self.reconcile.core()?,
        })
    }
}

impl Wire<UpgradeLock> for v1::UpgradeLock {
    fn wire(value: &UpgradeLock) -> Self {
        Self {
            holder: value.holder.clone(),
            taken_at_ms: value.taken_at.millis(),
            expires_at_ms: value.expires_at.millis(),
        }
    }

    fn core(self) -> Result<UpgradeLock, Error> {
        Ok(UpgradeLock {
            holder: self.holder,
            taken_at: LogTime::from_millis(self.taken_at_ms),
            expires_at: LogTime::from_millis(self.expires_at_ms),
        })
    }
}

impl Wire<Settings> for v1::Settings {
    fn wire(value: &Settings) -> Self {
        Self {
            suspect_after_ms: value.suspect_after.0,
            lost_after_ms: value.lost_after.0,
            restart_grace_ms: value.restart_grace.0,
            brake_percent: value.brake_percent,
            brake_floor: value.brake_floor,
            brake_window_ms: value.brake_window.0,
            device_silent_ms: value.device_silent.0,
            returns_free: value.returns_free,
            returns_window_ms: value.returns_window.0,
            return_hold_ms: value.return_hold.0,
            return_hold_max_ms: value.return_hold_max.0,
            device_probation_ms: value.device_probation.0,
            device_strikes_max: value.device_strikes_max,
            device_failed_ms: value.device_failed.0,
            revision: value.revision.0,
        }
    }

    fn core(self) -> Result<Settings, Error> {
        Ok(Settings {
            suspect_after: Millis(self.suspect_after_ms),
            lost_after: Millis(self.lost_after_ms),
            restart_grace: Millis(self.restart_grace_ms),
            brake_percent: self.brake_percent,
            brake_floor: self.brake_floor,
            brake_window: Millis(self.brake_window_ms),
            device_silent: Millis(self.device_silent_ms),
            returns_free: self.returns_free,
            returns_window: Millis(self.returns_window_ms),
            return_hold: Millis(self.return_hold_ms),
            return_hold_max: Millis(self.return_hold_max_ms),
            device_probation: Millis(self.device_probation_ms),
            device_strikes_max: self.device_strikes_max,
            device_failed: Millis(self.device_failed_ms),
            revision: LogIndex(self.revision),
        })
    }
}

impl Wire<SettingsChange> for v1::SettingsChange {
    fn wire(value: &SettingsChange) -> Self {
        Self {
            suspect_after_ms: value.suspect_after.map(|span| span.0),
            lost_after_ms: value.lost_after.map(|span| span.0),
            restart_grace_ms: value.restart_grace.map(|span| span.0),
            brake_percent: value.brake_percent,
            brake_floor: value.brake_floor,
            brake_window_ms: value.brake_window.map(|span| span.0),
            device_silent_ms: value.device_silent.map(|span| span.0),
            returns_free: value.returns_free,
            returns_window_ms: value.returns_window.map(|span| span.0),
            return_hold_ms: value.return_hold.map(|span| span.0),
            return_hold_max_ms: value.return_hold_max.map(|span| span.0),
            device_probation_ms: value.device_probation.map(|span| span.0),
            device_strikes_max: value.device_strikes_max,
            device_failed_ms: value.device_failed.map(|span| span.0),
            reset: value.reset,
        }
    }

    fn core(self) -> Result<SettingsChange, Error> {
        Ok(SettingsChange {
            suspect_after: self.suspect_after_ms.map(Millis),
            lost_after: self.lost_after_ms.map(Millis),
            restart_grace: self.restart_grace_ms.map(Millis),
            brake_percent: self.brake_percent,
            brake_floor: self.brake_floor,
            brake_window: self.brake_window_ms.map(Millis),
            device_silent: self.device_silent_ms.map(Millis),
            returns_free: self.returns_free,
            returns_window: self.returns_window_ms.map(Millis),
            return_hold: self.return_hold_ms.map(Millis),
            return_hold_max: self.return_hold_max_ms.map(Millis),
            device_probation: self.device_probation_ms.map(Millis),
            device_strikes_max: self.device_strikes_max,
            device_failed: self.device_failed_ms.map(Millis),
            reset: self.reset,
        })
    }
}

impl Wire<DeploymentSpec> for v1::DeploymentSpec {
    fn wire(value: &DeploymentSpec) -> Self {
        Self {
            description: value.description.clone(),
            tags: value.tags.clone(),
            runtime: Some(Wire::wire(&value.runtime)),
            model: value.model.as_ref().map(Wire::wire),
            model_mount_path: value.model_mount_path.clone(),
            code: value.code.as_ref().map(Wire::wire),
            environment: Some(Wire::wire(&value.environment)),
            environment_variables: value.environment_variables.clone(),
            instance_type: value.instance_type.clone(),
            resources: Some(Wire::wire(&value.resources)),
            gpu: gpu_wire(&value.gpu),
            instance_count: value.instance_count,
            request_settings: Some(Wire::wire(&value.request_settings)),
            liveness_probe: Some(Wire::wire(&value.liveness_probe)),
            readiness_probe: Some(Wire::wire(&value.readiness_probe)),
            reserve: value.reserve,
            disconnect: Some(Wire::wire(&value.disconnect)),
            priority: Some(value.priority),
            min_instances: value.min_instances,
            spread: Some(Wire::wire(&value.spread)),
            label_rules: value.constraints.iter().map(|(name, rule)| (name.clone(), Wire::wire(rule))).collect(),
        }
    }

    fn core(self) -> Result<DeploymentSpec, Error> {
        Ok(DeploymentSpec {
            description: self.description,
            tags: self.tags,
            runtime: need(self.runtime, "runtime")?.core()?,
            model: self.model.map(Wire::core).transpose()?,
            model_mount_path: self.model_mount_path,
            code: self.code.map(Wire::core).transpose()?,
            environment: self.environment.unwrap_or_default().core()?,
            environment_variables: self.environment_variables,
            instance_type: self.instance_type,
            resources: need(self.resources, "resources")?.core()?,
            gpu: gpu_core(self.gpu)?,
            constraints: self
                .label_rules
                .into_iter()
                .map(|(name, rule)| Ok((name, rule.core()?)))
                .collect::<Result<_, Error>>()?,
            instance_count: self.instance_count,
            request_settings: need(self.request_settings, "request_settings")?.core()?,
            liveness_probe: need(self.liveness_probe, "liveness_probe")?.core()?,
            readiness_probe: need(self.readiness_probe, "readiness_probe")?.core()?,
            reserve: self.reserve,
            disconnect: self.disconnect.map(Wire::core).transpose()?.unwrap_or_default(),
            priority: self.priority.unwrap_or(DEFAULTS.priority),
            min_instances: self.min_instances,
            spread: self.spread.map(Wire::core).transpose()?.unwrap_or_default(),
        })
    }
}

impl Wire<Yielded> for v1::Yielded {
    fn wire(value: &Yielded) -> Self {
        let (endpoint, deployment) = (value.to.endpoint.to_string(), value.to.deployment.to_string());
        Self { endpoint, deployment, count: value.count }
    }

    fn core(self) -> Result<Yielded, Error> {
        Ok(Yielded { to: key(&self.endpoint, &self.deployment)?, count: self.count })
    }
}

impl Wire<DeploymentKey> for v1::DeploymentRef {
    fn wire(value: &DeploymentKey) -> Self {
        Self { endpoint: value.endpoint.to_string(), deployment: value.deployment.to_string() }
    }

    fn core(self) -> Result<DeploymentKey, Error> {
        key(&self.endpoint, &self.deployment)
    }
}

impl Wire<FailedReplica> for v1::FailedReplica {
    fn wire(value: &FailedReplica) -> Self {
        Self { replica: value.replica.0, node: value.node.0 }
    }

    fn core(self) -> Result<FailedReplica, Error> {
        Ok(FailedReplica { replica: ReplicaId(self.replica), node: NodeId(self.node) })
    }
}

impl Wire<Deployment> for v1::Deployment {
    fn wire(value: &Deployment) -> Self {
        let old = value.old_specs.iter();
        let old = old.map(|(generation, spec)| v1::OldSpec {
            generation: generation.0,
            spec: Some(Wire::wire(spec)),
            began_ms: value.old_began.get(generation).map_or(0, |began| began.millis()),
        });
        Self {
            endpoint: value.key.endpoint.to_string(),
            name: value.key.deployment.to_string(),
            spec: Some(Wire::wire(&value.spec)),
            generation: value.generation.0,
            old_specs: old.collect(),
            created_at_ms: value.created_at.millis(),
            generation_at_ms: value.generation_at.millis(),
            deleting: value.deleting,
            failures: value.failures,
            last_failure: value.last_failure.clone(),
            last_failed: value.last_failed.as_ref().map(Wire::wire),
            retry_at_ms: value.retry_at.millis(),
            served_generation: value.served_generation.map(|generation| generation.0),
            room_made_for: value.room_made_for.map(|generation| generation.0),
            stand_in_failures: value.stand_in_failures,
            stand_in_retry_at_ms: value.stand_in_retry_at.millis(),
            revision: value.revision.0,
            reserve_short_since_ms: value.reserve_short_since.map(LogTime::millis),
            yielded: wires(&value.yielded),
            paused: value.paused,
            started_in_ms: value.started_in.map(|took| took.0),
        }
    }

    fn core(self) -> Result<Deployment, Error> {
        let began = self.old_specs.iter().filter(|old| old.began_ms > 0);
        let old_began = began.map(|old| (Generation(old.generation), LogTime::from_millis(old.began_ms))).collect();
        let old = self.old_specs.into_iter();
        let old = old.map(|old| Ok((Generation(old.generation), need(old.spec, "spec")?.core()?)));
        Ok(Deployment {
            key: key(&self.endpoint, &self.name)?,
            spec: need(self.spec, "spec")?.core()?,
            generation: Generation(self.generation),
            old_specs: old.collect::<Result<_, Error>>()?,
            old_began,
            paused: self.paused,
            created_at: LogTime::from_millis(self.created_at_ms),
            generation_at: LogTime::from_millis(self.generation_at_ms),
            deleting: self.deleting,
            failures: self.failures,
            last_failure: self.last_failure,
            last_failed: self.last_failed.map(Wire::core).transpose()?,
            retry_at: LogTime::from_millis(self.retry_at_ms),
            served_generation: self.served_generation.map(Generation),
            started_in: self.started_in_ms.map(Millis),
            room_made_for: self.room_made_for.map(Generation),
            stand_in_failures: self.stand_in_failures,
            stand_in_retry_at: LogTime::from_millis(self.stand_in_retry_at_ms),
            reserve_short_since: self.reserve_short_since_ms.map(LogTime::from_millis),
            yielded: all(self.yielded)?,
            revision: LogIndex(self.revision),
        })
    }
}

impl Wire<Device> for v1::Device {
    fn wire(value: &Device) -> Self {
        Self {
            uuid: value.uuid.clone(),
            model: value.model.clone(),
            memory_mib: value.memory_mib,
            mig_profile: value.mig_profile.clone(),
            healthy: value.healthy,
            card: value.card.clone(),
            driver: value.driver.clone(),
            simulated: value.simulated,
        }
    }

    fn core(self) -> Result<Device, Error> {
        Ok(Device {
            uuid: self.uuid,
            model: self.model,
            memory_mib: self.memory_mib,
            mig_profile: self.mig_profile,
            healthy: self.healthy,
            card: self.card,
            driver: self.driver,
            simulated: self.simulated,
        })
    }
}

impl Wire<DeviceCondition> for v1::DeviceCondition {
    fn wire(value: &DeviceCondition) -> Self {
        Self {
            state: i32::wire(&value.state),
            reason: value.reason.clone(),
            since_ms: value.since.millis(),
            strikes: value.strikes,
            epoch: value.epoch.0,
            faults: value.faults,
        }
    }

    fn core(self) -> Result<DeviceCondition, Error> {
        Ok(DeviceCondition {
            state: self.state.core()?,
            reason: self.reason,
            since: LogTime::from_millis(self.since_ms),
            strikes: self.strikes,
            epoch: NodeEpoch(self.epoch),
            faults: self.faults,
        })
    }
}

impl Wire<DeviceGrant> for v1::DeviceGrant {
    fn wire(value: &DeviceGrant) -> Self {
        Self { uuid: value.uuid.clone(), memory_mib: value.memory_mib }
    }

    fn core(self) -> Result<DeviceGrant, Error> {
        Ok(DeviceGrant { uuid: self.uuid, memory_mib: self.memory_mib })
    }
}

impl Wire<Replica> for v1::Replica {
    fn wire(value: &Replica) -> Self {
        Self {
            id: value.id.0,
            endpoint: value.key.endpoint.to_string(),
            deployment: value.key.deployment.to_string(),
            generation: value.generation.0,
            node: value.node.0,
            resources: Some(Wire::wire(&value.resources)),
            devices: wires(&value.devices),
            replaces: value.replaces.map(|id| id.0),
            reserve_spent: value.reserve_spent.as_ref().map(Wire::wire),
            made_room_for: value.made_room_for.as_ref().map(Wire::wire),
            state: i32::wire(&value.state),
            reason: value.reason.clone(),
            lost: value.lost,
            restarts: value.restarts,
            pid: value.pid,
            address: value.address.clone(),
            placed_at_ms: value.placed_at.millis(),
            since_ms: value.since.millis(),
            drain_deadline_ms: value.drain_deadline.millis(),
            retry_at_ms: value.retry_at.millis(),
            revision: value.revision.0,
        }
    }

    fn core(self) -> Result<Replica, Error> {
        Ok(Replica {
            id: ReplicaId(self.id),
            key: key(&self.endpoint, &self.deployment)?,
            generation: Generation(self.generation),
            node: NodeId(self.node),
            resources: need(self.resources, "resources")?.core()?,
            devices: all(self.devices)?,
            replaces: self.replaces.map(ReplicaId),
            reserve_spent: self.reserve_spent.map(Wire::core).transpose()?,
            made_room_for: self.made_room_for.map(Wire::core).transpose()?,
            state: self.state.core()?,
            reason: self.reason,
            lost: self.lost,
            restarts: self.restarts,
            pid: self.pid,
            address: self.address,
            placed_at: LogTime::from_millis(self.placed_at_ms),
            since: LogTime::from_millis(self.since_ms),
            drain_deadline: LogTime::from_millis(self.drain_deadline_ms),
            retry_at: LogTime::from_millis(self.retry_at_ms),
            revision: LogIndex(self.revision),
        })
    }
}

impl Wire<NodeProfile> for v1::NodeProfile {
    fn wire(value: &NodeProfile) -> Self {
        Self {
            name: value.name.to_string(),
            labels: value.labels.clone(),
            capacity: Some(Wire::wire(&value.capacity)),
            devices: wires(&value.devices),
            gate_address: value.gate_address.clone(),
            ingress_address: value.ingress_address.clone(),
            is_virtual: value.is_virtual,
            version: value.version.clone(),
        }
    }

    fn core(self) -> Result<NodeProfile, Error> {
        Ok(NodeProfile {
            name: name(&self.name)?,
            labels: self.labels,
            capacity: need(self.capacity, "capacity")?.core()?,
            devices: all(self.devices)?,
            gate_address: self.gate_address,
            ingress_address: self.ingress_address,
            is_virtual: self.is_virtual,
            version: self.version,
        })
    }
}

impl Wire<NodeDrain> for v1::NodeDrain {
    fn wire(value: &NodeDrain) -> Self {
        Self {
            reason: value.reason.clone(),
            started_at_ms: value.started_at.millis(),
            deadline_ms: value.deadline.millis(),
            force: value.force,
            by: i32::wire(&value.by),
            finished_at_ms: value.finished_at.map(LogTime::millis),
            moved: value.moved,
            cut_requests: value.cut_requests,
        }
    }

    fn core(self) -> Result<NodeDrain, Error> {
        Ok(NodeDrain {
            reason: self.reason,
            started_at: LogTime::from_millis(self.started_at_ms),
            deadline: LogTime::from_millis(self.deadline_ms),
            force: self.force,
            by: self.by.core()?,
            finished_at: self.finished_at_ms.map(LogTime::from_millis),
            moved: self.moved,
            cut_requests: self.cut_requests,
        })
    }
}

impl Wire<Node> for v1::Node {
    fn wire(value: &Node) -> Self {
        Self {
            id: value.id.0,
            epoch: value.epoch.0,
            profile: Some(Wire::wire(&value.profile)),
            state: i32::wire(&value.state),
            cordoned: value.cordoned,
            reason: value.reason.clone(),
            since_ms: value.since.millis(),
            revision: value.revision.0,
            drain: value.drain.as_ref().map(Wire::wire),
            returns: value.returns,
            returned_at_ms: value.returned_at.millis(),
            overfull: value.overfull,
            devices: value.devices.iter().map(|(card, known)| (card.clone(), Wire::wire(known))).collect(),
        }
    }

    fn core(self) -> Result<Node, Error> {
        Ok(Node {
            id: NodeId(self.id),
            epoch: NodeEpoch(self.epoch),
            profile: need(self.profile, "profile")?.core()?,
            state: self.state.core()?,
            cordoned: self.cordoned,
            drain: self.drain.map(Wire::core).transpose()?,
            returns: self.returns,
            returned_at: LogTime::from_millis(self.returned_at_ms),
            overfull: self.overfull,
            devices: self
                .devices
                .into_iter()
                .map(|(card, known)| Ok((card, known.core()?)))
                .collect::<Result<_, Error>>()?,
            reason: self.reason,
            since: LogTime::from_millis(self.since_ms),
            revision: LogIndex(self.revision),
        })
    }
}

impl Wire<ReplicaReport> for v1::ReplicaReport {
    fn wire(value: &ReplicaReport) -> Self {
        Self {
            replica: value.replica.0,
            observed: i32::wire(&value.observed),
            reason: value.reason.clone(),
            permanent: value.permanent,
            restarts: value.restarts,
            retry_in_ms: value.retry_in.0,
            pid: value.pid,
            address: value.address.clone(),
        }
    }

    fn core(self) -> Result<ReplicaReport, Error> {
        Ok(ReplicaReport {
            replica: ReplicaId(self.replica),
            observed: self.observed.core()?,
            reason: self.reason,
            permanent: self.permanent,
            restarts: self.restarts,
            retry_in: Millis(self.retry_in_ms),
            pid: self.pid,
            address: self.address,
        })
    }
}

impl Wire<Error> for v1::Error {
    fn wire(value: &Error) -> Self {
        let problems = value.problems.iter().map(|problem| v1::Problem {
            field: problem.field.clone(),
            what: problem.what.clone(),
            r#try: problem.try_.clone(),
        });
        Self {
            code: value.code.word().to_owned(),
            what: value.what.clone(),
            why: value.why.clone(),
            r#try: value.try_.clone(),
            problems: problems.collect(),
        }
    }

    fn core(self) -> Result<Error, Error> {
        let Some(code) = berth_core::error::Code::from_word(&self.code) else {
            return Err(damaged(format!("`{}` is no error code", self.code)));
        };
        let problems = self.problems.into_iter().map(|problem| berth_core::error::Problem {
            field: problem.field,
            what: problem.what,
            try_: problem.r#try,
        });
        Ok(Error { code, what: self.what, why: self.why, try_: self.r#try, problems: problems.collect() })
    }
}
