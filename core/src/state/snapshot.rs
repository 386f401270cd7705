//! Snapshots: the whole state as plain lists, for the store and the wire.

use super::{ClusterState, EventLog, Index, ReplyTable, RouteRevisions};
use crate::{
    id::{LogIndex, Term},
    model::{Alert, Asset, Deployment, Endpoint, Node, Quotas, Replica, ReserveSlot, Settings, UpgradeLock},
    time::LogTime,
};

/// The whole state without what can be derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The cluster's id.
    pub cluster_id: String,
    /// The last entry applied.
    pub applied: LogIndex,
    /// The time of that entry.
    pub time: LogTime,
    /// The last known leader's term.
    pub term: Term,
    /// What every member understands.
    pub feature_level: u32,
    /// Endpoints in order of name.
    pub endpoints: Vec<Endpoint>,
    /// Deployments in order of key.
    pub deployments: Vec<Deployment>,
    /// Replicas in order of id.
    pub replicas: Vec<Replica>,
    /// Places held beyond the replicas, in order of id.
    pub slots: Vec<ReserveSlot>,
    /// Nodes in order of id.
    pub nodes: Vec<Node>,
    /// What an operator set for the whole cluster.
    pub settings: Settings,
    /// Who upgrades the fleet, if anybody does.
    pub upgrade: Option<UpgradeLock>,
    /// Limits, the pool and loans.
    pub quotas: Quotas,
    /// Alerts in order of key.
    pub alerts: Vec<Alert>,
    /// Assets in order of digest.
    pub assets: Vec<Asset>,
    /// Kept answers.
    pub replies: ReplyTable,
    /// Kept events.
    pub events: EventLog,
    /// Revisions of routes.
    pub routes: RouteRevisions,
}

// === impl ClusterState ===

impl ClusterState {
    /// Copies the state into a snapshot.
    pub fn to_snapshot(&self) -> Snapshot {
        Snapshot {
            cluster_id: self.cluster_id.clone(),
            applied: self.applied,
            time: self.time,
            term: self.term,
            feature_level: self.feature_level,
            endpoints: self.endpoints.values().cloned().collect(),
            deployments: self.deployments.values().cloned().collect(),
            replicas: self.replicas.values().cloned().collect(),
            slots: self.slots.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
            settings: self.settings.clone(),
            upgrade: self.upgrade.clone(),
            quotas: self.quotas.clone(),
            alerts: self.alerts.values().cloned().collect(),
            assets: self.assets.values().cloned().collect(),
            replies: self.replies.clone(),
            events: self.events.clone(),
            routes: self.routes.clone(),
        }
    }

    /// Restores the state from a snapshot.
    pub fn from_snapshot(snapshot: Snapshot) -> Self {
        let index =
            Index::of(&snapshot.endpoints, &snapshot.nodes, &snapshot.deployments, &snapshot.replicas, &snapshot.slots);
        Self {
            cluster_id: snapshot.cluster_id,
            applied: snapshot.applied,
            time: snapshot.time,
            term: snapshot.term,
            feature_level: snapshot.feature_level,
            endpoints: snapshot.endpoints.into_iter().map(|endpoint| (endpoint.name.clone(), endpoint)).collect(),
            deployments: snapshot
                .deployments
                .into_iter()
                .map(|deployment| (deployment.key.clone(), deployment))
                .collect(),
            replicas: snapshot.replicas.into_iter().map(|replica| (replica.id, replica)).collect(),
            slots: snapshot.slots.into_iter().map(|slot| (slot.id, slot)).collect(),
            nodes: snapshot.nodes.into_iter().map(|node| (node.id, node)).collect(),
            settings: snapshot.settings,
            upgrade: snapshot.upgrade,
            quotas: snapshot.quotas,
            alerts: snapshot.alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect(),
            assets: snapshot.assets.into_iter().map(|asset| (asset.digest, asset)).collect(),
            replies: snapshot.replies,
            events: snapshot.events,
            routes: snapshot.routes,
            index,
        }
    }
}
