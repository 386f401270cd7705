//! How a deployment's reserve does: derived from the records, never stored.

use super::{Arithmetic, arithmetic};
use crate::{model::Deployment, state::ClusterState, time::LogTime};

/// How a deployment's reserve does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveStatus {
    /// Places to hold beyond the instances.
    pub wanted: u64,
    /// Slots that are held.
    pub held: u64,
    /// Places beyond the instances that a rollout or a drain uses now.
    pub in_use: u64,
    /// Since when no node has room for all of it.
    pub short_since: Option<LogTime>,
    /// The arithmetic while it is short: it takes a look at every node.
    pub arithmetic: Option<Arithmetic>,
}

/// Derives how a deployment's reserve does.
pub fn status(state: &ClusterState, deployment: &Deployment) -> ReserveStatus {
    let wanted = deployment.reserve();
    ReserveStatus {
        wanted,
        held: state.slots_of(&deployment.key).count() as u64,
        in_use: state.places_beyond(&deployment.key).min(wanted),
        short_since: deployment.reserve_short_since,
        arithmetic: deployment.reserve_short_since.map(|_| arithmetic(state, deployment)),
    }
}

// === impl ReserveStatus ===

impl ReserveStatus {
    /// Returns whether some of it has no place: the state `ReserveShort`.
    pub fn is_short(&self) -> bool {
        self.short_since.is_some()
    }
}
