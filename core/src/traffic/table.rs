//! The route table: all a router knows. Derived from the state, immutable, swapped as one pointer.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    id::{Generation, LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{
        AuthMode, DeploymentKey, DeploymentName, EndpointName, Hedging, MirrorRules, NodeState, ReplicaState, Runtime,
    },
    state::ClusterState,
    time::LogTime,
};

/// All routes of a cluster at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    /// The cluster it belongs to; a router refuses a foreign one.
    pub cluster_id: String,
    /// The entry that last changed any route.
    pub version: LogIndex,
    /// Routes by endpoint.
    pub endpoints: BTreeMap<EndpointName, Arc<EndpointRoute>>,
}

/// The routes of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRoute {
    /// The endpoint.
    pub name: EndpointName,
    /// The entry that last changed these routes.
    pub revision: LogIndex,
    /// How callers prove who they are.
    pub auth_mode: AuthMode,
    /// SHA-256 of the keys that open it.
    pub key_hashes: Vec<[u8; 32]>,
    /// Largest request body in bytes.
    pub max_body_bytes: u64,
    /// Whether unanswered requests may be sent again on any route; `None` leaves it to the route's protocol.
    pub idempotent: Option<bool>,
    /// When a second replica is asked beside the first; never when absent.
    pub hedging: Option<Hedging>,
    /// Percent per deployment; totals 0 or 100.
    pub split: Vec<(DeploymentName, u32)>,
    /// Percent of copies per deployment.
    pub mirror: Vec<(DeploymentName, u32)>,
    /// How the copies' answers are judged.
    pub mirror_rules: MirrorRules,
    /// When it was created, for who lists models; the beginning of time where a table of an older member does not say.
    pub created_at: LogTime,
    /// Its deployments, in order of name.
    pub deployments: Vec<DeploymentRoute>,
}

/// The routes of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRoute {
    /// The deployment.
    pub name: DeploymentName,
    /// The generation its settings are of.
    pub generation: Generation,
    /// What serves it.
    pub runtime: RouteRuntime,
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// How many requests an instance works on at once.
    pub max_concurrent_requests_per_instance: u32,
    /// How long a request may wait for a slot.
    pub max_queue_wait_ms: u64,
    /// The path that is scored; on it Azure's status codes apply.
    pub scoring_path: String,
    /// Its replicas that may be sent to (`Warm` and `Serving`), in order of id.
    pub replicas: Vec<ReplicaRoute>,
}

/// What serves a deployment, as far as it changes how to talk to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteRuntime {
    /// azureml-inference-server-http: a connection per request, because an idle one blocks its only worker.
    Python,
    /// The built-in ONNX server.
    Onnx,
    /// Any server.
    Command,
}

/// Where a replica is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRoute {
    /// The replica.
    pub id: ReplicaId,
    /// Its node.
    pub node: NodeId,
    /// Its node's epoch.
    pub epoch: NodeEpoch,
    /// The gate of its node, `host:port`.
    pub gate_address: String,
    /// `Warm` (pinned and mirrored calls only) or `Serving`.
    pub state: ReplicaState,
    /// How many requests it works on at once.
    pub slots: u32,
}

// === impl RouteTable ===

impl RouteTable {
    /// Builds the whole table of a state.
    pub fn of(state: &ClusterState) -> Self {
        let endpoints = state.endpoints.keys().filter_map(|name| EndpointRoute::of(state, name));
        Self {
            cluster_id: state.cluster_id.clone(),
            version: state.routes.version(),
            endpoints: endpoints.map(|route| (route.name.clone(), Arc::new(route))).collect(),
        }
    }

    /// Brings the table up to a newer state, building only what changed since.
    #[must_use]
    pub fn advanced_to(&self, state: &ClusterState) -> Self {
        let mut next = self.clone();
        next.cluster_id.clone_from(&state.cluster_id);
        next.version = state.routes.version();
        next.endpoints.retain(|name, _| state.endpoints.contains_key(name));
        for (name, revision) in state.routes.endpoints() {
            let known = next.endpoints.get(name).is_some_and(|route| route.revision == revision);
            if !known && let Some(route) = EndpointRoute::of(state, name) {
                next.endpoints.insert(name.clone(), Arc::new(route));
            }
        }
        next
    }
}

// === impl EndpointRoute ===

impl EndpointRoute {
    /// Builds the routes of one endpoint.
    pub fn of(state: &ClusterState, name: &EndpointName) -> Option<Self> {
        let endpoint = state.endpoints.get(name)?;
        let shares = |traffic: &crate::model::Traffic| -> Vec<_> {
            traffic
                .0
                .iter()
                .filter(|(_, percent)| **percent > 0)
                .map(|(name, percent)| (name.clone(), *percent))
                .collect()
        };
        let keys = &endpoint.keys;
        let mut key_hashes = vec![keys.primary.hash, keys.secondary.hash];
        key_hashes.dedup();
        Some(Self {
            name: name.clone(),
            revision: state.routes.of(name),
            auth_mode: endpoint.spec.auth_mode,
            key_hashes: if endpoint.spec.auth_mode == AuthMode::Key { key_hashes } else { Vec::new() },
            max_body_bytes: endpoint.spec.max_body_bytes,
            idempotent: endpoint.spec.idempotent,
            hedging: endpoint.spec.hedging,
            split: shares(&endpoint.traffic),
            mirror: shares(&endpoint.mirror),
            mirror_rules: endpoint.spec.mirror_rules.clone(),
            created_at: endpoint.created_at,
            deployments: state
                .deployments_of(name)
                .filter(|deployment| !deployment.deleting)
                .map(|deployment| DeploymentRoute::of(state, &deployment.key, &deployment.spec, deployment.generation))
                .collect(),
        })
    }

    /// Finds a deployment.
    pub fn deployment(&self, name: &str) -> Option<&DeploymentRoute> {
        self.deployments.iter().find(|deployment| deployment.name.as_str() == name)
    }
}

// === impl DeploymentRoute ===

impl DeploymentRoute {
    fn of(
        state: &ClusterState,
        key: &DeploymentKey,
        spec: &crate::model::DeploymentSpec,
        generation: Generation,
    ) -> Self {
        let runtime = match &spec.runtime {
            Runtime::Python => RouteRuntime::Python,
            Runtime::Onnx => RouteRuntime::Onnx,
            Runtime::Command(_) => RouteRuntime::Command,
        };
        let settings = spec.request_settings;
        let scoring = spec.environment.scoring_route.as_ref().map(|route| route.path.clone());
        let routed = |state: ReplicaState| matches!(state, ReplicaState::Warm | ReplicaState::Serving);
        let replicas = state.replicas_of(key).filter(|replica| routed(replica.state) && !replica.lost);
        Self {
            name: key.deployment.clone(),
            generation,
            runtime,
            request_timeout_ms: settings.request_timeout_ms,
            max_concurrent_requests_per_instance: settings.max_concurrent_requests_per_instance,
            max_queue_wait_ms: settings.queue_wait_ms(),
            scoring_path: scoring.unwrap_or_else(|| "/score".to_owned()),
            replicas: replicas
                .filter_map(|replica| {
                    let node = state.nodes.get(&replica.node).filter(|node| node.state != NodeState::Lost)?;
                    Some(ReplicaRoute {
                        id: replica.id,
                        node: node.id,
                        epoch: node.epoch,
                        gate_address: node.profile.gate_address.clone(),
                        state: replica.state,
                        slots: settings.max_concurrent_requests_per_instance,
                    })
                })
                .collect(),
        }
    }
}
