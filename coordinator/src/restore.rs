//! A coordinator's data directory made from a saved state: how a cluster that lost all of its coordinators goes on.
//!
//! Nothing of it is there under its final name before all of it is: a restore that is cut off is begun again.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use berth_core::{
    error::{Code, Error},
    id::{Digest, LogIndex, MemberId},
    invariant,
    model::AssetRef,
    state::{ClusterState, FEATURE_LEVEL},
};
use berth_proto::store::{decode_snapshot, encode_snapshot};

use crate::{
    artifact::BlobStore,
    clock::wall,
    keys::ClusterKey,
    store::{self, revive_log},
};

/// What is to be restored, and where.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// A file that `SaveSnapshot` gave.
    pub snapshot: PathBuf,
    /// The data directory to make. It may hold `cluster.key` and `artifacts/` of a lost member, and no `raft/`.
    pub data_dir: PathBuf,
    /// The cluster key; `cluster.key` in `data_dir` when absent.
    pub key_file: Option<PathBuf>,
    /// Where the member will be reached, `host:port`.
    pub advertise: String,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The cluster.
    pub cluster_id: String,
    /// Its only member.
    pub member_id: MemberId,
    /// The entry that the snapshot was taken at.
    pub saved_at: LogIndex,
    /// The state as it begins.
    pub state: ClusterState,
    /// Models and code that deployments refer to and whose bytes are not in the data directory.
    pub missing: Vec<AssetRef>,
}

/// Reads a saved state and judges it, without changing anything.
pub fn inspect(snapshot: &Path) -> Result<ClusterState, Error> {
    let unreadable = |why: String| {
        Error::new(Code::Invalid, format!("`{}` is no snapshot that can be used", snapshot.display()))
            .why(why)
            .try_("`berth operator snapshot save FILE` makes one")
    };
    let bytes = fs::read(snapshot).map_err(|error| unreadable(error.to_string()))?;
    let state = decode_snapshot(&bytes).map_err(|error| unreadable(error.why))?;
    let state = ClusterState::from_snapshot(state);
    if state.feature_level > FEATURE_LEVEL {
        return Err(Error::new(Code::FeatureLevel, "this build is too old for the snapshot")
            .why(format!("it is at feature level {}, this build knows {FEATURE_LEVEL}", state.feature_level))
            .try_("restore it with a build as new as the one that saved it"));
    }
    Ok(state)
}

/// Makes a member of its own of a saved state. Blocks.
pub fn restore(options: &RestoreOptions) -> Result<Restored, Error> {
    let state = inspect(&options.snapshot)?;
    if let Some(broken) = invariant::check(&state).first() {
        return Err(Error::new(Code::Invalid, "the snapshot holds a state that cannot be")
            .why(format!("{}: {}", broken.id, broken.what))
            .try_("restore an older one, and report this one"));
    }
    let key_file = options.key_file.clone().unwrap_or_else(|| options.data_dir.join("cluster.key"));
    let key = ClusterKey::load(&key_file)?;
    if key.cluster_id() != state.cluster_id {
        return Err(Error::new(Code::ForeignCluster, "the cluster key is another cluster's")
            .why(format!("the snapshot is of {}, the key of {}", state.cluster_id, key.cluster_id()))
            .try_("use the `cluster.key` that the lost coordinators had: without it no endpoint key can be read"));
    }
    let raft = options.data_dir.join("raft");
    if raft.exists() {
        return Err(Error::new(
            Code::AlreadyExists,
            format!("`{}` holds a member already", options.data_dir.display()),
        )
        .why("a restored state beside it would be two clusters under one name")
        .try_("name another --data-dir; take `cluster.key` and `artifacts` of the old one along"));
    }
    let failed = |error: io::Error| {
        Error::new(Code::Internal, format!("`{}` cannot be written", options.data_dir.display())).why(error.to_string())
    };
    fs::create_dir_all(&options.data_dir).map_err(failed)?;
    let draft = options.data_dir.join("raft.restoring");
    match fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let held = held(&options.data_dir, &state)?;
    let saved_at = state.applied;
    let (durable, identity) =
        store::open(&draft, key.cluster_id()).map_err(|error| failed(io::Error::other(error.to_string())))?;
    let state = state.revived(wall(), identity.member, &held);
    revive_log(durable, identity.member, &options.advertise, &state, &encode_snapshot(&state.to_snapshot()))
        .map_err(failed)?;
    fs::rename(&draft, &raft).map_err(failed)?;
    fs::File::open(&options.data_dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
    let mut missing: Vec<AssetRef> = referred(&state).filter(|asset| !held.contains(&asset.digest)).cloned().collect();
    missing.sort_by_key(|asset| asset.digest);
    missing.dedup_by_key(|asset| asset.digest);
    let cluster_id = state.cluster_id.clone();
    Ok(Restored { cluster_id, member_id: identity.member, saved_at, state, missing })
}

/// Lists the assets of a state whose bytes are in the data directory, whole.
fn held(data_dir: &Path, state: &ClusterState) -> Result<BTreeSet<Digest>, Error> {
    let blobs = BlobStore::open(&data_dir.join("artifacts"))?;
    Ok(state.assets.keys().filter(|digest| blobs.holds_whole(digest)).copied().collect())
}

fn referred(state: &ClusterState) -> impl Iterator<Item = &AssetRef> {
    state.deployments.values().flat_map(|deployment| deployment.spec.assets())
}
