//! Applies committed entries to the replicated state, and takes and installs its snapshots.
//!
//! The state lives in memory behind [`StateMachine`]; what is applied and who belongs to the cluster is kept here. A
//! panic in the state machine is an error like any other: the member stops instead of answering from a state that half
//! an entry has changed.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::id::LogIndex;
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    entry::RaftEntry as _,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::watch;

use super::{sled::Durable, snapshot::SnapshotStore};
use crate::raft::{
    StateMachine,
    types::{LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, Types},
};

/// Entries applied before other tasks get the thread. Applying is computing: a member that replays a long log must still
/// answer heartbeats.
const APPLY_BURST: u32 = 64;

/// How far the local state has come: the index of the last applied entry, `None` before the first.
pub type Applied = Option<LogIndex>;

/// openraft's view of the replicated state.
pub struct MachineStore {
    machine: Arc<dyn StateMachine>,
    snapshots: Arc<Mutex<SnapshotStore>>,
    last: Option<LogId>,
    membership: StoredMembership,
    applied: watch::Sender<Applied>,
}

/// A state serialized at one point of the log, on its way to disk.
pub struct SnapshotBuilder {
    snapshots: Arc<Mutex<SnapshotStore>>,
    meta: SnapshotMeta,
    bytes: io::Result<Bytes>,
}

// === impl MachineStore ===

impl MachineStore {
    /// Reads the description of the stored snapshot. The state itself is restored when consensus starts. Blocks.
    pub fn open(durable: Arc<Durable>, machine: Arc<dyn StateMachine>) -> io::Result<Self> {
        Ok(Self {
            machine,
            snapshots: Arc::new(Mutex::new(SnapshotStore::open(durable)?)),
            last: None,
            membership: StoredMembership::default(),
            applied: watch::Sender::new(None),
        })
    }

    /// Watches how far the state has come.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    fn advance(&mut self, id: LogId) {
        self.last = Some(id);
        self.applied.send_replace(Some(LogIndex(id.index)));
    }
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut burst = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let id = entry.log_id();
            let reply = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(command) => {
                    let machine = &self.machine;
                    guard("applying a command", || machine.apply(LogIndex(id.index), &command.0))?
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(id), membership);
                    Vec::new()
                }
            };
            self.advance(id);
            if let Some(responder) = responder {
                responder.send(Reply(reply));
            }
            burst += 1;
            if burst == APPLY_BURST {
                burst = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Serializes the state here, where nothing is applied meanwhile; the builder only stores it.
    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let machine = self.machine.clone();
        let bytes = tokio::task::spawn_blocking(move || guard("taking a snapshot", || machine.snapshot()))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map(Bytes::from);
        let meta = SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() };
        SnapshotBuilder { snapshots: self.snapshots.clone(), meta, bytes }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, bytes: Bytes) -> io::Result<()> {
        // The state first: bytes it refuses must not become the stored snapshot.
        let (machine, snapshots, covered) = (self.machine.clone(), self.snapshots.clone(), meta.clone());
        blocking(move || {
            guard("restoring a snapshot", || machine.restore(&bytes))?
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
            lock(&snapshots).write(&covered, &bytes)
        })
        .await?;
        self.membership = meta.last_membership.clone();
        if let Some(id) = meta.last_log_id {
            self.advance(id);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        blocking(move || lock(&snapshots).read()).await
    }
}

// === impl SnapshotBuilder ===

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let bytes = std::mem::replace(&mut self.bytes, Err(io::Error::other("a snapshot is built once")))?;
        let (snapshots, meta, stored) = (self.snapshots.clone(), self.meta.clone(), bytes.clone());
        blocking(move || lock(&snapshots).write(&meta, &stored)).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: bytes })
    }
}

fn lock(snapshots: &Mutex<SnapshotStore>) -> std::sync::MutexGuard<'_, SnapshotStore> {
    // A panic under this lock is a failed store operation, which the store itself remembers.
    snapshots.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.map_err(io::Error::other)?
}

fn guard<T>(doing: &str, f: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        // Its words are what the operator needs: which entry, and what to do about it.
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        io::Error::other(format!("the state machine panicked while {doing}: {}", words.unwrap_or("no words")))
    })
}
