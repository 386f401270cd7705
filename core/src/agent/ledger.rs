//! The ledger: what an agent must know again after it was restarted.
//!
//! Orders are kept whole, not only process ids, so that a node whose coordinators are all gone still restarts what
//! crashed while its agent was down.

use std::sync::Arc;

use super::{Fence, PrefetchOrder, Process, ReplicaOrder};
use crate::model::DeploymentSpec;

/// What a node was told and what it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The newest orders that were taken.
    pub fence: Fence,
    /// One entry per replica, in order of id.
    pub replicas: Vec<LedgerEntry>,
    /// What is to be ready for slots, in order of deployment.
    pub prefetches: Vec<Arc<PrefetchOrder>>,
}

/// A replica as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// What was ordered.
    pub order: Arc<ReplicaOrder>,
    /// The last launch.
    pub attempt: u64,
    /// Its process; absent when there is none.
    pub process: Option<Process>,
    /// Whether that process answered its warm-up.
    pub is_warm: bool,
    /// Whether any process of this replica ever did: such a replica is restarted for ever.
    pub ever_warm: bool,
    /// How often its process was started again.
    pub restarts: u32,
}

// === impl Ledger ===

impl Ledger {
    /// Lists everything this node is to have the assets and environments of: what it runs, and what its slots are for.
    /// None of that is ever collected from its cache.
    pub fn specs(&self) -> impl Iterator<Item = &DeploymentSpec> {
        let replicas = self.replicas.iter().map(|entry| &entry.order.spec);
        replicas.chain(self.prefetches.iter().map(|order| &order.spec))
    }
}
