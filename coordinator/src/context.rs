//! What every handler of a coordinator works with.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    alert::Alerts, artifact::Artifacts, controller::LeadWatch, keys::ClusterKey, machine::Machine, metrics::Metrics,
    peers::Peers, propose::Proposer, raft::RaftHandle, table::Feed,
};

/// What every handler of a coordinator works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) machine: Arc<Machine>,
    pub(crate) raft: RaftHandle,
    pub(crate) proposer: Proposer,
    pub(crate) key: Arc<ClusterKey>,
    pub(crate) peers: Peers,
    pub(crate) lead: LeadWatch,
    pub(crate) feed: Feed,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) alerts: Alerts,
    pub(crate) metrics: Metrics,
    /// Held by a what-if while it computes: one at a time, because it takes a core and a copy of the state.
    pub(crate) whatif: Arc<Semaphore>,
    /// Cancelled when this coordinator stops: streams end, tasks return.
    pub(crate) stop: CancellationToken,
}
