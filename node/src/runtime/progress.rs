//! How far the replicas are that are being prepared: told with each heartbeat, kept by nobody.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use berth_core::{id::ReplicaId, model::AssetRef};
use berth_proto::node::v1::{PrepareProgress, ReplicaProgress};

/// What is counted of an asset.
const BYTES: &str = "bytes";

/// The newest word of each replica that is being prepared; at most one for each of this node.
#[derive(Debug, Default)]
pub(crate) struct Progresses(Mutex<BTreeMap<ReplicaId, PrepareProgress>>);

// === impl Progresses ===

impl Progresses {
    pub(super) fn set(&self, replica: ReplicaId, progress: PrepareProgress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(replica, progress);
    }

    pub(super) fn end(&self, replica: ReplicaId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&replica);
    }

    /// Lists them for a heartbeat.
    pub(crate) fn told(&self) -> Vec<ReplicaProgress> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(replica, progress): (&ReplicaId, &PrepareProgress)| ReplicaProgress {
            replica: replica.0,
            progress: Some(progress.clone()),
        };
        known.iter().map(told).collect()
    }
}

/// Says how many bytes of an asset have come.
pub(crate) fn fetches(asset: &AssetRef, got_bytes: u64) -> PrepareProgress {
    PrepareProgress {
        what: format!("fetches {}", asset.name),
        done: got_bytes,
        total: asset.size_bytes,
        unit: BYTES.to_owned(),
        ..PrepareProgress::default()
    }
}

/// Says what is done of which nothing can be counted.
pub(crate) fn does(what: impl Into<String>) -> PrepareProgress {
    PrepareProgress { what: what.into(), ..PrepareProgress::default() }
}
