//! The replicated machine: every coordinator applies the same entries and holds the same state.
//!
//! `apply` reads no clock, mints nothing and never panics on input; a refusal is typed and part of the replicated
//! answer, so that a retry gets the same one.

mod apply;
mod command;
mod event;
mod feature;
mod index;
mod reply;
mod revive;
pub(crate) mod rooms;
mod routes;
mod snapshot;
mod status;
mod usage;

pub use apply::ONE_AT_A_TIME;
pub use command::{
    AlertChange, AlertTold, Command, DeviceTransition, DrainWish, Entry, NodeTransition, Observed, Plan, PutMode,
    RegisterNode, ReplicaReport, Step, StepOutcome,
};
pub use event::{Event, EventLog, EventSubject, Severity};
pub use feature::{FEATURE_LEVEL, level_to_raise_to};
pub use index::Index;
pub use reply::{Applied, Reply, ReplyRecord, ReplyTable};
pub use routes::RouteRevisions;
pub use snapshot::Snapshot;
pub(crate) use status::yielded_text;
pub use status::{DeploymentState, DeploymentStatus};
pub use usage::{TAKEN_MILLI_MAX, Taken, Usage, taken_by};

use std::collections::BTreeMap;

use crate::{
    error::{Code, Error},
    id::{Digest, LogIndex, NodeId, ReplicaId, SlotId, Term},
    model::{
        Alert, AlertKey, Asset, Deployment, DeploymentKey, Endpoint, EndpointName, Node, NodeName, Quotas, Replica,
        ReserveSlot, Settings, UpgradeLock,
    },
    time::LogTime,
};

/// Everything the cluster has agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// The cluster's id; empty until the first entry names it.
    pub cluster_id: String,
    /// The last entry applied.
    pub applied: LogIndex,
    /// The time of that entry; never steps back.
    pub time: LogTime,
    /// The term of the last leader that made itself known; plans of older terms are refused.
    pub term: Term,
    /// What every member is known to understand.
    pub feature_level: u32,
    /// Endpoints by name.
    pub endpoints: BTreeMap<EndpointName, Endpoint>,
    /// Deployments by endpoint and name.
    pub deployments: BTreeMap<DeploymentKey, Deployment>,
    /// Replicas by id.
    pub replicas: BTreeMap<ReplicaId, Replica>,
    /// Places held beyond the replicas, by id.
    pub slots: BTreeMap<SlotId, ReserveSlot>,
    /// Nodes by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// What an operator set for the whole cluster.
    pub settings: Settings,
    /// Who upgrades the fleet, if anybody does.
    pub upgrade: Option<UpgradeLock>,
    /// Limits of projects, the pool and what is lent out of it.
    pub quotas: Quotas,
    /// Alerts that fire, and those that are over and not told.
    pub alerts: BTreeMap<AlertKey, Alert>,
    /// Assets a majority holds.
    pub assets: BTreeMap<Digest, Asset>,
    /// Answers to recent requests, so that a retry is applied once.
    pub replies: ReplyTable,
    /// What happened lately.
    pub events: EventLog,
    /// When each endpoint's routes last changed.
    pub routes: RouteRevisions,
    /// Look-ups derived from the fields above.
    index: Index,
}

// === impl ClusterState ===

impl Default for ClusterState {
    fn default() -> Self {
        Self::new()
    }
}

impl ClusterState {
    /// Creates the state before the first entry.
    pub fn new() -> Self {
        Self {
            cluster_id: String::new(),
            applied: LogIndex(0),
            time: LogTime::default(),
            term: Term(0),
            feature_level: 1,
            endpoints: BTreeMap::new(),
            deployments: BTreeMap::new(),
            replicas: BTreeMap::new(),
            slots: BTreeMap::new(),
            nodes: BTreeMap::new(),
            settings: Settings::default(),
            upgrade: None,
            quotas: Quotas::default(),
            alerts: BTreeMap::new(),
            assets: BTreeMap::new(),
            replies: ReplyTable::default(),
            events: EventLog::default(),
            routes: RouteRevisions::default(),
            index: Index::default(),
        }
    }

    /// Returns the derived look-ups.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Builds the look-ups anew, for records that were changed other than by an entry.
    pub fn reindex(&mut self) {
        self.index = Index::of(
            self.endpoints.values(),
            self.nodes.values(),
            self.deployments.values(),
            self.replicas.values(),
            self.slots.values(),
        );
    }

    /// Finds an endpoint or says which name is near.
    pub fn endpoint(&self, name: &EndpointName) -> Result<&Endpoint, Error> {
        self.endpoints.get(name).ok_or_else(|| {
            let error = Error::new(Code::EndpointNotFound, format!("endpoint `{name}` does not exist"));
            match crate::error::nearest(name.as_str(), self.endpoints.keys().map(EndpointName::as_str)) {
                Some(near) => error.try_(format!("did you mean `{near}`?")),
                None => error.try_(format!(
                    "list them with `berth get endpoints`, or make it: `berth endpoint create -n {name}`"
                )),
            }
        })
    }

    /// Finds a deployment or says which name is near.
    pub fn deployment(&self, key: &DeploymentKey) -> Result<&Deployment, Error> {
        self.deployments.get(key).ok_or_else(|| {
            let error = Error::new(Code::DeploymentNotFound, format!("deployment `{key}` does not exist"));
            let names = self.deployments_of(&key.endpoint).map(|deployment| deployment.key.deployment.as_str());
            match crate::error::nearest(key.deployment.as_str(), names) {
                Some(near) => error.try_(format!("did you mean `{}/{near}`?", key.endpoint)),
                None => error.try_("list them with `berth get deployments`"),
            }
        })
    }

    /// Finds a node by name.
    pub fn node_named(&self, name: &NodeName) -> Result<&Node, Error> {
        let node = self.index.node_named(name).and_then(|id| self.nodes.get(&id));
        node.ok_or_else(|| {
            let error = Error::new(Code::NodeNotFound, format!("node `{name}` does not exist"));
            let names = self.nodes.values().map(|node| node.profile.name.as_str());
            match crate::error::nearest(name.as_str(), names) {
                Some(near) => error.try_(format!("did you mean `{near}`?")),
                None => error.try_("list them with `berth get nodes`"),
            }
        })
    }

    /// Lists the deployments of an endpoint, in order of name.
    pub fn deployments_of(&self, endpoint: &EndpointName) -> impl Iterator<Item = &Deployment> {
        self.index.deployments_of(endpoint).filter_map(|key| self.deployments.get(key))
    }

    /// Lists the replicas of a deployment, in order of id.
    pub fn replicas_of(&self, key: &DeploymentKey) -> impl Iterator<Item = &Replica> {
        self.index.replicas_of(key).filter_map(|id| self.replicas.get(&id))
    }

    /// Lists the slots of a deployment, in order of id.
    pub fn slots_of(&self, key: &DeploymentKey) -> impl Iterator<Item = &ReserveSlot> {
        self.index.slots_of(key).filter_map(|id| self.slots.get(&id))
    }

    /// Lists the slots on a node, in order of id.
    pub fn slots_on(&self, node: NodeId) -> impl Iterator<Item = &ReserveSlot> {
        self.index.slots_on(node).filter_map(|id| self.slots.get(&id))
    }

    /// Returns how many places a deployment holds beyond those that should serve, on nodes that are heard from: what a
    /// rollout or a drain has out of the reserve now. What is on its way out counts until its node confirms.
    pub fn places_beyond(&self, key: &DeploymentKey) -> u64 {
        let desired = self.deployments.get(key).map_or(0, Deployment::desired);
        let held = self.replicas_of(key).filter(|replica| !replica.lost).count() as u64;
        held.saturating_sub(desired)
    }

    /// Lists the alerts of an endpoint that fire, in order of name.
    pub fn firing_of(&self, endpoint: &EndpointName) -> impl Iterator<Item = &Alert> {
        let from = AlertKey { endpoint: endpoint.clone(), rule: String::new() };
        let all = self.alerts.range(from..).map(|(_, alert)| alert);
        all.take_while(|alert| alert.key.endpoint == *endpoint).filter(|alert| alert.is_firing())
    }

    /// Lists the replicas of a node, in order of id.
    pub fn replicas_on(&self, node: NodeId) -> impl Iterator<Item = &Replica> {
        self.index.replicas_on(node).filter_map(|id| self.replicas.get(&id))
    }
}
