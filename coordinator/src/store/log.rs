//! The Raft log and the vote on disk.
//!
//! An entry is framed, split into parts of at most [`MAX_VALUE_BYTES`] and stored under (index, part), all parts in one
//! batch. Writes are applied at once, so they can be read, and become durable through the [`Committer`]: appends report
//! back from there, votes and truncations wait for it. Consensus counts on a log without holes, so an append that does
//! not continue the log exactly is refused and stops the member.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use berth_proto::raft::v1 as proto;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage},
};

use super::{
    commit::Committer,
    frame::{decode, encode},
    sled::{Batch, Durable, End, MAX_VALUE_BYTES, Space},
};
use crate::raft::{
    convert,
    types::{Entry, LogId, Types, Vote},
};

const VOTE_KEY: &[u8] = b"vote";
/// Where a log that was never purged begins.
const FIRST_KEY: &[u8] = b"first";
const PURGED_KEY: &[u8] = b"purged";
const COMMITTED_KEY: &[u8] = b"committed";

/// Bytes of entries read for one message to a follower. Well below the transport's limit, large enough that a follower
/// that was away catches up at disk speed. One entry may exceed it alone.
const READ_BYTES: usize = 1024 * 1024;

/// Entries read on the caller's thread. More than that is a scan, and scans belong on a thread that may block.
const READ_INLINE: u64 = 64;

/// Log and vote storage. Clones share the store.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    durable: Arc<Durable>,
    committer: Committer,
    /// Held for reading while entries are read and for writing while they change: a reader sees one state of the log.
    ends: RwLock<Ends>,
}

#[derive(Clone, Debug, Default)]
struct Ends {
    /// The entry before the first one that is kept.
    purged: Option<LogId>,
    /// Index of the first entry of a log that was never purged. Consensus begins at zero; it is written down rather than
    /// assumed, so that a log that has lost its beginning is known from one that never had it.
    first: u64,
    last: Option<LogId>,
}

// === impl LogStore ===

impl LogStore {
    /// Reads where the log begins and ends. Blocks. A log with a hole, or one that ends before what is known to be
    /// committed, is damaged.
    pub fn open(durable: Arc<Durable>, committer: Committer) -> io::Result<Self> {
        let purged = read_position(&durable, PURGED_KEY)?;
        let first = match durable.get(Space::Meta, FIRST_KEY)?.as_deref().map(<[u8; 8]>::try_from) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(durable.condemn("the index of the first log entry cannot be read")),
        };
        let mut expected = purged.as_ref().map_or(first, |id| id.index + 1);
        let mut last_key_index = None;
        durable.scan(Space::Log, &entry_key(expected, 0), &entry_key(u64::MAX, u32::MAX), |key, _| {
            let (index, part) = parse_key(key).ok_or_else(|| durable.condemn("a log key has the wrong length"))?;
            if part == 0 {
                if index != expected {
                    return Err(durable.condemn(&format!("log entry {expected} is missing before entry {index}")));
                }
                expected += 1;
                last_key_index = Some(index);
            }
            Ok(true)
        })?;
        let last = match last_key_index {
            Some(index) => Some(read_entries(&durable, index, index + 1, usize::MAX)?[0].log_id()),
            None => purged,
        };
        let committed = read_position(&durable, COMMITTED_KEY)?;
        if committed.as_ref().map(|id| id.index) > last.as_ref().map(|id| id.index) {
            return Err(durable.condemn("the log ends before the last entry known to be committed"));
        }
        let ends = RwLock::new(Ends { purged, first, last });
        Ok(Self { shared: Arc::new(Shared { durable, committer, ends }) })
    }

    fn ends(&self) -> RwLockReadGuard<'_, Ends> {
        // A panic under this lock leaves the ends as they were; the store itself remembers that it failed.
        self.shared.ends.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends_mut(&self) -> RwLockWriteGuard<'_, Ends> {
        self.shared.ends.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the entries of `start..end` that the log holds, up to about `budget` bytes, at least one.
    fn read(&self, start: u64, end: u64, budget: usize) -> io::Result<Vec<Entry>> {
        let ends = self.ends();
        let start = start.max(ends.begin());
        let end = end.min(ends.end());
        if start >= end { Ok(Vec::new()) } else { read_entries(&self.shared.durable, start, end, budget) }
    }

    async fn read_anywhere(&self, start: u64, end: u64, budget: usize) -> io::Result<Vec<Entry>> {
        if end.saturating_sub(start) <= READ_INLINE {
            return self.read(start, end, budget);
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.read(start, end, budget)).await.map_err(io::Error::other)?
    }

    fn append_batch(&self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        let mut ends = self.ends_mut();
        let mut entries = entries.peekable();
        if let Some(first) = entries.peek().map(Entry::index).filter(|first| *first != ends.first)
            && ends.is_pristine()
        {
            let mut batch = Batch::default();
            batch.put(FIRST_KEY, &first.to_be_bytes());
            self.shared.durable.apply(Space::Meta, batch)?;
            ends.first = first;
        }
        let mut last = ends.last;
        let mut batch = Batch::default();
        for (expected, entry) in (ends.end()..).zip(entries) {
            if entry.index() != expected {
                return Err(self
                    .shared
                    .durable
                    .condemn(&format!("an append of entry {} where entry {expected} must follow", entry.index())));
            }
            let bytes = encode(&convert::entry(&entry));
            for (part, chunk) in (0_u32..).zip(bytes.chunks(MAX_VALUE_BYTES)) {
                batch.put(&entry_key(expected, part), chunk);
            }
            last = Some(entry.log_id());
        }
        self.shared.durable.apply(Space::Log, batch)?;
        ends.last = last;
        Ok(())
    }

    fn cut_after(&self, keep: Option<LogId>) -> io::Result<()> {
        let mut ends = self.ends_mut();
        let from = keep.as_ref().map_or(0, |id| id.index + 1);
        if from >= ends.end() {
            return Ok(());
        }
        let (from, to) = (entry_key(from, 0), entry_key(u64::MAX, u32::MAX));
        self.shared.durable.remove_range(Space::Log, &from, &to, End::Back)?;
        ends.last = keep.max(ends.purged);
        Ok(())
    }

    fn purge_to(&self, upto: LogId) -> io::Result<()> {
        let mut ends = self.ends_mut();
        // The position first: entries below it that are still there after a crash are ignored, a hole would not be.
        put_position(&self.shared.durable, PURGED_KEY, &upto)?;
        ends.purged = Some(upto);
        ends.last = ends.last.max(Some(upto));
        self.shared.durable.remove_range(Space::Log, &entry_key(0, 0), &entry_key(upto.index + 1, 0), End::Front)
    }
}

// === impl Ends ===

impl Ends {
    fn is_pristine(&self) -> bool {
        self.purged.is_none() && self.last.is_none()
    }

    fn begin(&self) -> u64 {
        self.purged.as_ref().map_or(self.first, |id| id.index + 1)
    }

    fn end(&self) -> u64 {
        self.last.as_ref().map_or(self.first, |id| id.index + 1)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        self.read_anywhere(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read_anywhere(start, end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let durable = &self.shared.durable;
        let stored = durable.get(Space::Meta, VOTE_KEY)?;
        stored
            .map(|bytes| {
                decode::<proto::Vote>(&bytes)
                    .map(|vote| convert::to_vote(&vote))
                    .map_err(|broken| durable.condemn(&format!("the vote cannot be read: {broken}")))
            })
            .transpose()
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let ends = self.ends();
        Ok(LogState { last_purged_log_id: ends.purged, last_log_id: ends.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.put(VOTE_KEY, &encode(&convert::vote(vote)));
        self.shared.durable.apply(Space::Meta, batch)?;
        self.shared.committer.sync().await
    }

    /// Kept so that a restarted member comes back to the state it had shown. Not synced: an older position is as safe.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        match committed {
            Some(id) => put_position(&self.shared.durable, COMMITTED_KEY, &id),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        read_position(&self.shared.durable, COMMITTED_KEY)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.append_batch(entries.into_iter())?;
        self.shared.committer.notify(|result| flushed.io_completed(result)).await
    }

    async fn truncate_after(&mut self, keep: Option<LogId>) -> io::Result<()> {
        self.cut_after(keep)?;
        self.shared.committer.sync().await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.purge_to(upto)).await.map_err(io::Error::other)?
    }
}

/// Writes a log that begins behind `id`, and a vote; a store that holds either is not to be given to this.
pub(super) fn begin_after(durable: &Durable, id: &LogId, vote: &Vote) -> io::Result<()> {
    put_position(durable, PURGED_KEY, id)?;
    put_position(durable, COMMITTED_KEY, id)?;
    let mut batch = Batch::default();
    batch.put(VOTE_KEY, &encode(&convert::vote(vote)));
    durable.apply(Space::Meta, batch)
}

fn entry_key(index: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn parse_key(key: &[u8]) -> Option<(u64, u32)> {
    let (index, part) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*index), u32::from_be_bytes(part.try_into().ok()?)))
}

fn put_position(durable: &Durable, key: &[u8], id: &LogId) -> io::Result<()> {
    let mut batch = Batch::default();
    batch.put(key, &encode(&proto::StoredPosition { id: Some(convert::log_id(id)) }));
    durable.apply(Space::Meta, batch)
}

fn read_position(durable: &Durable, key: &[u8]) -> io::Result<Option<LogId>> {
    let Some(bytes) = durable.get(Space::Meta, key)? else {
        return Ok(None);
    };
    let broken = |why: String| durable.condemn(&format!("a log position cannot be read: {why}"));
    let stored = decode::<proto::StoredPosition>(&bytes).map_err(|why| broken(why.to_string()))?;
    stored.id.map(|id| Some(convert::to_log_id(&id))).ok_or_else(|| broken("it is empty".into()))
}

/// Reads entries that must all be there; stops early only when `budget` bytes are exceeded.
fn read_entries(durable: &Durable, start: u64, end: u64, budget: usize) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut read = 0;
    let mut pending: Option<(u64, u32, Vec<u8>)> = None;
    let mut finish = |pending: &mut Option<(u64, u32, Vec<u8>)>| -> io::Result<()> {
        let Some((index, _, bytes)) = pending.take() else {
            return Ok(());
        };
        let broken = |why: String| durable.condemn(&format!("log entry {index} cannot be read: {why}"));
        let stored = decode::<proto::Entry>(&bytes).map_err(|why| broken(why.to_string()))?;
        let entry = convert::to_entry(stored).map_err(|why| broken(why.to_string()))?;
        let expected = start + entries.len() as u64;
        if index != expected || entry.index() != expected {
            return Err(durable.condemn(&format!("log entry {expected} is missing before entry {index}")));
        }
        entries.push(entry);
        Ok(())
    };
    durable.scan(Space::Log, &entry_key(start, 0), &entry_key(end, 0), |key, value| {
        let (index, part) = parse_key(key).ok_or_else(|| durable.condemn("a log key has the wrong length"))?;
        match &mut pending {
            Some((current, parts, bytes)) if *current == index => {
                if part != *parts {
                    return Err(durable.condemn(&format!("a part of log entry {index} is missing")));
                }
                *parts += 1;
                bytes.extend_from_slice(value);
            }
            _ => {
                finish(&mut pending)?;
                if read > budget {
                    return Ok(false);
                }
                if part != 0 {
                    return Err(durable.condemn(&format!("log entry {index} has lost its beginning")));
                }
                pending = Some((index, 1, value.to_vec()));
            }
        }
        read += value.len();
        Ok(true)
    })?;
    finish(&mut pending)?;
    if read <= budget && entries.len() as u64 != end - start {
        return Err(durable.condemn(&format!("log entry {} is missing", start + entries.len() as u64)));
    }
    Ok(entries)
}
