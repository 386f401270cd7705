//! The stored snapshot: parts first, then one sync, then the description that makes them count.
//!
//! Each snapshot has a generation of its own, so a new one is written beside the one in use. A crash at any point leaves
//! either the old description with all of its parts or the new one with all of its own.

use std::{io, sync::Arc};

use berth_proto::raft::v1 as proto;
use bytes::Bytes;

use super::{
    frame::{decode, encode},
    sled::{Batch, Durable, End, MAX_VALUE_BYTES, Space},
};
use crate::raft::{
    convert,
    types::{Snapshot, SnapshotMeta},
};

const META_KEY: &[u8] = b"snapshot";

/// Parts per batch: a mebibyte at a time, so that other writers get their turn in between.
const BATCH_PARTS: usize = 256;

/// Reads and writes the one stored snapshot. All methods block.
#[derive(Debug)]
pub struct SnapshotStore {
    durable: Arc<Durable>,
    current: Option<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    generation: u64,
    length: u64,
    crc32: u32,
    meta: SnapshotMeta,
}

// === impl SnapshotStore ===

impl SnapshotStore {
    /// Reads the description of the stored snapshot and drops parts that belong to none.
    pub fn open(durable: Arc<Durable>) -> io::Result<Self> {
        let current = match durable.get(Space::Meta, META_KEY)? {
            None => None,
            Some(bytes) => {
                let broken =
                    |why: String| durable.condemn(&format!("the snapshot's description cannot be read: {why}"));
                let stored = decode::<proto::StoredSnapshot>(&bytes).map_err(|why| broken(why.to_string()))?;
                let meta = stored.meta.as_ref().ok_or_else(|| broken("it does not say what it covers".into()))?;
                let meta = convert::to_snapshot_meta(meta).map_err(|why| broken(why.to_string()))?;
                Some(Stored { generation: stored.generation, length: stored.length, crc32: stored.crc32, meta })
            }
        };
        let this = Self { durable, current };
        this.remove_others()?;
        Ok(this)
    }

    /// Returns what the stored snapshot covers.
    pub fn meta(&self) -> Option<&SnapshotMeta> {
        self.current.as_ref().map(|stored| &stored.meta)
    }

    /// Reads the snapshot and checks it against its length and checksum.
    pub fn read(&self) -> io::Result<Option<Snapshot>> {
        let Some(stored) = &self.current else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(stored.length).unwrap_or_default());
        let (from, to) = (part_key(stored.generation, 0), part_key(stored.generation, u32::MAX));
        self.durable.scan(Space::Snapshot, &from, &to, |_, part| {
            bytes.extend_from_slice(part);
            Ok(true)
        })?;
        if bytes.len() as u64 != stored.length || crc32fast::hash(&bytes) != stored.crc32 {
            return Err(self.durable.condemn("the snapshot does not match its checksum"));
        }
        Ok(Some(Snapshot { meta: stored.meta.clone(), snapshot: Bytes::from(bytes) }))
    }

    /// Stores a snapshot durably and drops the one before. One that covers less than the stored one is left out.
    pub fn write(&mut self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        if self.meta().is_some_and(|stored| stored.last_log_id >= meta.last_log_id) {
            return Ok(());
        }
        let generation = self.current.as_ref().map_or(0, |stored| stored.generation + 1);
        let mut parts = (0_u32..).zip(bytes.chunks(MAX_VALUE_BYTES)).peekable();
        while parts.peek().is_some() {
            let mut batch = Batch::default();
            for (part, chunk) in parts.by_ref().take(BATCH_PARTS) {
                batch.put(&part_key(generation, part), chunk);
            }
            self.durable.apply(Space::Snapshot, batch)?;
        }
        self.durable.sync()?;
        let stored =
            Stored { generation, length: bytes.len() as u64, crc32: crc32fast::hash(bytes), meta: meta.clone() };
        let mut batch = Batch::default();
        batch.put(
            META_KEY,
            &encode(&proto::StoredSnapshot {
                generation,
                length: stored.length,
                crc32: stored.crc32,
                meta: Some(convert::snapshot_meta(meta)),
            }),
        );
        self.durable.apply(Space::Meta, batch)?;
        self.durable.sync()?;
        self.current = Some(stored);
        self.remove_others()
    }

    /// Removes the parts of every generation but the current one.
    fn remove_others(&self) -> io::Result<()> {
        let (first, after) = match &self.current {
            Some(stored) => (stored.generation, stored.generation + 1),
            None => (0, 0),
        };
        self.durable.remove_range(Space::Snapshot, &part_key(0, 0), &part_key(first, 0), End::Front)?;
        self.durable.remove_range(Space::Snapshot, &part_key(after, 0), &part_key(u64::MAX, u32::MAX), End::Front)
    }
}

fn part_key(generation: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&generation.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}
