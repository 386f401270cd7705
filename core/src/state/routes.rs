//! When each endpoint's routes last changed: what makes a route table's version and its deltas.

use std::collections::{BTreeMap, VecDeque};

use crate::{id::LogIndex, model::EndpointName};

/// Deleted endpoints remembered, so that a router a little behind gets a delta instead of everything.
const TOMBSTONES_MAX: usize = 1_000;

/// Revisions of routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRevisions {
    version: LogIndex,
    endpoints: BTreeMap<EndpointName, LogIndex>,
    tombstones: VecDeque<(LogIndex, EndpointName)>,
    /// Deltas from before this version are not possible: a tombstone was dropped.
    floor: LogIndex,
}

// === impl RouteRevisions ===

impl RouteRevisions {
    /// Restores from the parts of a snapshot.
    pub fn restore(
        version: LogIndex,
        floor: LogIndex,
        endpoints: BTreeMap<EndpointName, LogIndex>,
        tombstones: impl IntoIterator<Item = (LogIndex, EndpointName)>,
    ) -> Self {
        Self { version, endpoints, tombstones: tombstones.into_iter().collect(), floor }
    }

    /// Returns the version of the route table: the last entry that changed any route.
    pub fn version(&self) -> LogIndex {
        self.version
    }

    /// Returns the oldest version a delta may start from.
    pub fn floor(&self) -> LogIndex {
        self.floor
    }

    /// Returns when the routes of `endpoint` last changed.
    pub fn of(&self, endpoint: &EndpointName) -> LogIndex {
        self.endpoints.get(endpoint).copied().unwrap_or_default()
    }

    /// Lists the live endpoints with their revisions.
    pub fn endpoints(&self) -> impl Iterator<Item = (&EndpointName, LogIndex)> {
        self.endpoints.iter().map(|(name, revision)| (name, *revision))
    }

    /// Lists the deleted endpoints that are still remembered, oldest first.
    pub fn tombstones(&self) -> impl Iterator<Item = (LogIndex, &EndpointName)> {
        self.tombstones.iter().map(|(at, name)| (*at, name))
    }

    pub(super) fn touch(&mut self, endpoint: &EndpointName, at: LogIndex) {
        self.version = at;
        self.endpoints.insert(endpoint.clone(), at);
    }

    pub(super) fn remove(&mut self, endpoint: &EndpointName, at: LogIndex) {
        if self.endpoints.remove(endpoint).is_none() {
            return;
        }
        self.version = at;
        if self.tombstones.len() == TOMBSTONES_MAX
            && let Some((dropped, _)) = self.tombstones.pop_front()
        {
            self.floor = dropped;
        }
        self.tombstones.push_back((at, endpoint.clone()));
    }
}
