//! What every handler of a coordinator works with.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    artifact::Artifacts, controller::LeadWatch, keys::ClusterKey, machine::Machine, metrics::Metrics, peers::Peers,
    propose::Proposer, raft::RaftHandle, table::Feed,
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
    pub(crate) metrics: Metrics,
    /// Cancelled when this coordinator stops: streams end, tasks return.
    pub(crate) stop: CancellationToken,
}
