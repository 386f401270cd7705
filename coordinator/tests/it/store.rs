//! The store by itself: openraft's own suite over it, and what that suite leaves out.

use std::{
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::{Arc, Mutex},
};

use berth_coordinator::{
    raft::{
        RestoreError, StateMachine,
        types::{Command, Entry, LeaderId, LogId, Types, Vote},
    },
    store::{
        self, Batch, Committer, Durable, LogStore, MAX_VALUE_BYTES, MachineStore, SnapshotStore, Space, StoreError,
    },
};
use berth_core::{error::Code, id::LogIndex};
use openraft::{
    EntryPayload, RaftLogReader as _, StorageError,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
};
use tempfile::TempDir;

/// Keeps every command it was given.
#[derive(Default)]
struct Recorder(Mutex<Vec<Vec<u8>>>);

struct Builder;

// === impl Recorder ===

impl StateMachine for Recorder {
    fn apply(&self, _: LogIndex, command: &[u8]) -> Vec<u8> {
        self.0.lock().unwrap().push(command.to_vec());
        Vec::new()
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.0.lock().unwrap()).unwrap()
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        *self.0.lock().unwrap() = serde_json::from_slice(snapshot)?;
        Ok(())
    }
}

// === impl Builder ===

impl StoreBuilder<Types, LogStore, MachineStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, MachineStore), StorageError<Types>> {
        let dir = TempDir::new().expect("a temporary directory");
        let durable = Arc::new(open(dir.path()));
        let committer = Committer::start(durable.clone()).expect("a thread");
        let log = LogStore::open(durable.clone(), committer).expect("an empty log");
        let machine = MachineStore::open(durable, Arc::new(Recorder::default())).expect("no snapshot");
        Ok((dir, log, machine))
    }
}

pub(crate) fn open(dir: &Path) -> Durable {
    store::open(&dir.join("raft"), "test").expect("the store opens").0
}

pub(crate) fn log(dir: &Path) -> LogStore {
    let durable = Arc::new(open(dir));
    let committer = Committer::start(durable.clone()).expect("a thread");
    LogStore::open(durable, committer).expect("the log is whole")
}

pub(crate) fn position(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 7 }, index)
}

pub(crate) fn entry(term: u64, index: u64, command: Vec<u8>) -> Entry {
    Entry { log_id: position(term, index), payload: EntryPayload::Normal(Command(command.into())) }
}

/// Appends and waits until the entries are durable.
pub(crate) async fn append(log: &mut LogStore, entries: Vec<Entry>) -> std::io::Result<()> {
    let (done, flushed) = Types::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    flushed.await.expect("the sync thread answers")
}

/// Waits until the directory's lock is released: the sync thread may hold the store a moment longer than its owners.
pub(crate) async fn released(mut watch: tokio::sync::watch::Receiver<Option<store::StoreFailure>>) {
    while watch.changed().await.is_ok() {}
}

#[test]
fn openrafts_suite_passes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { Suite::test_all(Builder).await.unwrap() });
}

#[tokio::test]
async fn entries_longer_than_a_value_come_back_whole() {
    let dir = TempDir::new().unwrap();
    let sizes = [0, 1, MAX_VALUE_BYTES - 40, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1, 1024 * 1024];
    let entries: Vec<_> = (0..).zip(sizes).map(|(index, size)| entry(1, index, vec![index as u8 + 1; size])).collect();
    {
        let mut log = log(dir.path());
        append(&mut log, entries.clone()).await.unwrap();
        assert_eq!(log.try_get_log_entries(..).await.unwrap(), entries);
        let first = log.limited_get_log_entries(4, 6).await.unwrap();
        assert_eq!(first, entries[4..6], "one entry may exceed the budget alone");
    }
    assert_eq!(fs::read_dir(dir.path().join("raft/blobs")).unwrap().count(), 0, "no value became a file of its own");
    let durable = reopen(dir.path()).await;
    let mut log = LogStore::open(durable.clone(), Committer::start(durable).unwrap()).unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), entries);
}

/// Opens a store whose last owner may still be on its way out.
pub(crate) async fn reopen(dir: &Path) -> Arc<Durable> {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match store::open(&dir.join("raft"), "test") {
            Ok((durable, _)) => return Arc::new(durable),
            Err(StoreError::InUse { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Err(broken) => panic!("{broken}"),
        }
    }
}

#[tokio::test]
async fn a_gap_is_refused_and_stops_the_store() {
    for (why, second) in [("a gap", 3), ("an overlap", 1)] {
        let dir = TempDir::new().unwrap();
        let durable = Arc::new(open(dir.path()));
        let mut log = LogStore::open(durable.clone(), Committer::start(durable.clone()).unwrap()).unwrap();
        append(&mut log, vec![entry(1, 0, vec![]), entry(1, 1, vec![])]).await.unwrap();
        let refused = append(&mut log, vec![entry(1, second, vec![])]).await.unwrap_err();
        assert!(refused.to_string().contains("where entry 2 must follow"), "{why}: {refused}");
        assert!(durable.watch().borrow().is_some(), "{why}: the failure is reported");
        let after = append(&mut log, vec![entry(1, 2, vec![])]).await.unwrap_err();
        assert!(after.to_string().contains("where entry 2 must follow"), "{why}: nothing is retried after it: {after}");
    }
}

#[tokio::test]
async fn purge_and_truncation_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    {
        let mut log = log(dir.path());
        append(&mut log, (0..20).map(|index| entry(1, index, vec![9; 5000])).collect()).await.unwrap();
        log.save_vote(&Vote { leader_id: LeaderId { term: 2, node_id: 7 }, committed: true }).await.unwrap();
        log.truncate_after(Some(position(1, 14))).await.unwrap();
        append(&mut log, vec![entry(2, 15, b"new".to_vec())]).await.unwrap();
        log.save_committed(Some(position(1, 10))).await.unwrap();
        log.purge(position(1, 4)).await.unwrap();
        append(&mut log, vec![entry(2, 16, b"newer".to_vec())]).await.unwrap();
    }
    let durable = reopen(dir.path()).await;
    let mut log = LogStore::open(durable.clone(), Committer::start(durable).unwrap()).unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(position(1, 4)), Some(position(2, 16))));
    let indexes: Vec<_> = log.try_get_log_entries(..).await.unwrap().iter().map(|entry| entry.index()).collect();
    assert_eq!(indexes, (5..=16).collect::<Vec<_>>());
    assert_eq!(log.try_get_log_entries(15..16).await.unwrap(), [entry(2, 15, b"new".to_vec())]);
    assert_eq!(log.read_vote().await.unwrap().map(|vote| (vote.leader_id.term, vote.committed)), Some((2, true)));
    assert_eq!(log.read_committed().await.unwrap(), Some(position(1, 10)));
}

#[tokio::test]
async fn a_hole_in_the_stored_log_is_found_at_start() {
    let dir = TempDir::new().unwrap();
    {
        let mut log = log(dir.path());
        append(&mut log, (0..9).map(|index| entry(1, index, vec![])).collect()).await.unwrap();
    }
    let durable = reopen(dir.path()).await;
    let mut batch = Batch::default();
    let mut key = [0; 12];
    key[..8].copy_from_slice(&4_u64.to_be_bytes());
    batch.delete(&key);
    durable.apply(Space::Log, batch).unwrap();
    let broken = LogStore::open(durable.clone(), Committer::start(durable).unwrap()).unwrap_err();
    assert!(broken.to_string().contains("log entry 4 is missing"), "{broken}");
}

#[tokio::test]
async fn a_log_that_ends_before_the_committed_entry_is_damaged() {
    let dir = TempDir::new().unwrap();
    {
        let mut log = log(dir.path());
        append(&mut log, vec![entry(1, 0, vec![]), entry(1, 1, vec![])]).await.unwrap();
        log.save_committed(Some(position(1, 1))).await.unwrap();
        log.truncate_after(Some(position(1, 0))).await.unwrap();
    }
    let durable = reopen(dir.path()).await;
    let broken = LogStore::open(durable.clone(), Committer::start(durable).unwrap()).unwrap_err();
    assert!(broken.to_string().contains("ends before the last entry known to be committed"), "{broken}");
}

#[test]
fn a_snapshot_is_replaced_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let durable = Arc::new(open(dir.path()));
    let mut snapshots = SnapshotStore::open(durable.clone()).unwrap();
    let meta = |index| berth_coordinator::raft::types::SnapshotMeta {
        last_log_id: Some(position(1, index)),
        ..Default::default()
    };
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    snapshots.write(&meta(5), &bytes).unwrap();
    snapshots.write(&meta(9), &bytes[1..]).unwrap();
    snapshots.write(&meta(7), b"older").unwrap();
    let read = snapshots.read().unwrap().unwrap();
    assert_eq!((read.meta, &read.snapshot[..]), (meta(9), &bytes[1..]), "an older snapshot never replaces a newer one");
    let count = || {
        let mut parts = 0;
        durable
            .scan(Space::Snapshot, &[], &[0xff; 12], |_, _| {
                parts += 1;
                Ok(true)
            })
            .unwrap();
        parts
    };
    assert_eq!(count(), (bytes.len() - 1).div_ceil(MAX_VALUE_BYTES), "the replaced snapshot leaves nothing behind");

    // A crash before the description was written: parts of a generation that does not exist.
    let mut batch = Batch::default();
    let mut key = [0; 12];
    key[7] = 2;
    batch.put(&key, b"half");
    durable.apply(Space::Snapshot, batch).unwrap();
    let reopened = SnapshotStore::open(durable.clone()).unwrap();
    assert_eq!(reopened.read().unwrap().unwrap().snapshot, &bytes[1..]);
    assert_eq!(count(), (bytes.len() - 1).div_ceil(MAX_VALUE_BYTES), "what was half written is dropped");

    // A bit flips.
    let mut batch = Batch::default();
    key[7] = 1;
    batch.put(&key, &[0; MAX_VALUE_BYTES]);
    durable.apply(Space::Snapshot, batch).unwrap();
    let broken = reopened.read().unwrap_err();
    assert!(broken.to_string().contains("does not match its checksum"), "{broken}");
}

#[tokio::test]
async fn a_torn_last_record_costs_nothing_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("raft/db");
    let acknowledged;
    let release;
    {
        let durable = Arc::new(open(dir.path()));
        release = durable.watch();
        let mut log = LogStore::open(durable.clone(), Committer::start(durable).unwrap()).unwrap();
        append(&mut log, (0..50).map(|index| entry(1, index, vec![index as u8; 300])).collect()).await.unwrap();
        acknowledged = fs::read(&data).unwrap();
        append(&mut log, (50..60).map(|index| entry(1, index, vec![index as u8; 300])).collect()).await.unwrap();
    }
    released(release).await;
    let whole = fs::read(&data).unwrap();
    let first_difference =
        acknowledged.iter().zip(&whole).position(|(before, after)| before != after).unwrap_or(acknowledged.len());
    // Cut the file in the middle of what came after the first fifty, as a crash during that write would.
    let tear = first_difference + 40;
    assert!(tear < whole.len());
    let file = OpenOptions::new().write(true).open(&data).unwrap();
    file.set_len(tear as u64).unwrap();
    drop(file);
    let durable = reopen(dir.path()).await;
    let mut log = LogStore::open(durable.clone(), Committer::start(durable).unwrap()).unwrap();
    let entries = log.try_get_log_entries(0..50).await.unwrap();
    assert_eq!(entries.len(), 50);
    assert!(entries.iter().all(|entry| *entry == self::entry(1, entry.index(), vec![entry.index() as u8; 300])));
}

#[test]
fn a_damaged_store_is_set_aside_and_refused_in_plain_words() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    drop(open(dir.path()));
    let mut file = OpenOptions::new().write(true).open(path.join("conf")).unwrap();
    file.seek(SeekFrom::Start(3)).unwrap();
    file.write_all(b"garbage").unwrap();
    drop(file);
    let broken = store::open(&path, "test").unwrap_err();
    let StoreError::Damaged { moved_to: Some(moved_to), .. } = &broken else {
        panic!("{broken:?}");
    };
    assert_eq!(*moved_to, dir.path().join("raft.damaged"));
    assert!(moved_to.join("db").exists() && !path.exists());
    assert_eq!(store::damaged_sibling(&path).as_ref(), Some(moved_to));
    let words = berth_core::error::Error::from(broken);
    assert_eq!(words.code, Code::StoreDamaged);
    assert!(words.what.contains("is damaged"), "{words}");
    assert!(words.why.contains("may have voted already"), "{words}");
    assert!(words.try_.contains("--join"), "{words}");
}

#[test]
fn a_store_without_its_first_record_is_damaged() {
    let dir = TempDir::new().unwrap();
    let durable = open(dir.path());
    let mut batch = Batch::default();
    batch.delete(b"format");
    durable.apply(Space::Meta, batch).unwrap();
    durable.sync().unwrap();
    drop(durable);
    let broken = store::open(&dir.path().join("raft"), "test").unwrap_err();
    assert!(matches!(&broken, StoreError::Damaged { why, .. } if why.contains("data version")), "{broken:?}");
}

#[test]
fn a_newer_data_version_is_left_untouched() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    let durable = open(dir.path());
    let mut batch = Batch::default();
    batch.put(b"format", &99_u32.to_be_bytes());
    durable.apply(Space::Meta, batch).unwrap();
    durable.sync().unwrap();
    drop(durable);
    let refused = store::open(&path, "test").unwrap_err();
    assert_eq!(refused, StoreError::Version { path: path.clone(), found: 99, known: 1 });
    assert!(path.join("db").exists());
}

#[test]
fn one_directory_serves_one_member_of_one_cluster() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    let (first, identity) = store::open(&path, "blue").unwrap();
    assert_eq!(store::open(&path, "blue").unwrap_err(), StoreError::InUse { path: path.clone() });
    drop(first);
    let foreign = store::open(&path, "green").unwrap_err();
    assert_eq!(foreign.code(), Code::ForeignCluster);
    let (_, again) = store::open(&path, "blue").unwrap();
    assert_eq!(identity, again, "the member keeps its id");
}

#[test]
fn what_a_crash_left_of_creating_a_store_is_no_damage() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("raft.new")).unwrap();
    fs::write(dir.path().join("raft.new/conf"), b"torn").unwrap();
    drop(open(dir.path()));
    assert!(!dir.path().join("raft.new").exists());
}
