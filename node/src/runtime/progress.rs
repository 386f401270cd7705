//! How far the replicas and slots are that are being prepared: told with each heartbeat, kept by nobody.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use berth_core::{
    id::ReplicaId,
    model::{AssetRef, DeploymentKey},
};
use berth_proto::node::v1::{PrepareProgress, ReplicaProgress};

/// What is counted of an asset.
const BYTES: &str = "bytes";

/// What something is fetched or built for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Prepared {
    Replica(ReplicaId),
    /// The reserve slots of a deployment.
    Slots(DeploymentKey),
}

/// The newest word of everything that is being prepared; at most one for each replica and each deployment of this node.
#[derive(Debug, Default)]
pub(crate) struct Progresses(Mutex<BTreeMap<Prepared, PrepareProgress>>);

// === impl Progresses ===

impl Progresses {
    pub(super) fn set(&self, of: Prepared, progress: PrepareProgress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(of, progress);
    }

    pub(super) fn end(&self, of: &Prepared) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(of);
    }

    /// Lists those of replicas for a heartbeat.
    pub(crate) fn of_replicas(&self) -> Vec<ReplicaProgress> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(of, progress): (&Prepared, &PrepareProgress)| match of {
            Prepared::Replica(replica) => {
                Some(ReplicaProgress { replica: replica.0, progress: Some(progress.clone()) })
            }
            Prepared::Slots(_) => None,
        };
        known.iter().filter_map(told).collect()
    }

    /// Returns how far it is what a deployment's slots need.
    pub(crate) fn of_slots(&self, key: &DeploymentKey) -> Option<PrepareProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&Prepared::Slots(key.clone())).cloned()
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
