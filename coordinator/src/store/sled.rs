//! The one file that names sled: a small durable key-value space with an fsync that deserves the name.
//!
//! sled 0.34's `flush` is `sync_file_range`: it writes no file length and does not empty the disk cache, and values that
//! outgrow a quarter of a segment become separate files that nothing syncs. Power loss after such a flush loses
//! acknowledged votes. So [`Durable::sync`] adds `fdatasync` on its own handle of the data file (fsync works per inode),
//! no value is longer than [`MAX_VALUE_BYTES`] (no separate file ever appears), and directories are synced at creation.
//!
//! A store that cannot be read makes sled panic; opening therefore happens on a thread of its own, inside
//! `catch_unwind`, and a damaged store is set aside rather than repaired: whoever lost its log may already have voted.
//! The first error of any later operation is kept and answered for ever after. Nothing is retried: after a failed fsync
//! the page cache can no longer be believed.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{error, warn};

use super::error::{StoreError, StoreFailure};

/// Longest value that is stored. Sixteen of them fit a page that sled still keeps inside its log, and the power-loss
/// test passes with it and fails with four times as much.
pub const MAX_VALUE_BYTES: usize = 4 * 1024;

/// Version of everything under this directory. A newer one is refused, never guessed at.
pub const DATA_VERSION: u32 = 1;

/// Holds [`DATA_VERSION`]; written before a store gets its name, so a store without it is damaged.
const FORMAT_KEY: &[u8] = b"format";

/// sled's page cache. The live set is a log of a few thousand small entries; the default of a gigabyte would only hide a
/// leak.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Keys removed in one batch, so that purging a long log never builds one giant batch.
const REMOVE_BATCH: usize = 1024;

/// A directory this process has just closed is free within this; one that another process holds is told after it.
const RELEASED_WITHIN: Duration = Duration::from_secs(2);

/// Pause between two looks whether it is free.
const RELEASE_LOOK: Duration = Duration::from_millis(10);

/// Where a key lives. Each is one sled tree; a batch is atomic within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Single values: identity, vote, positions, the description of the snapshot.
    Meta,
    /// Log entries in parts.
    Log,
    /// Snapshot bytes in parts.
    Snapshot,
}

/// From which end a range is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Smallest key first: what is left has no hole when this is broken off.
    Front,
    /// Largest key first, for the same reason when a tail is cut.
    Back,
}

/// Writes that become visible together.
#[derive(Default)]
pub struct Batch(sled::Batch);

/// An open store directory. Dropping the last handle releases the directory's lock.
pub struct Durable {
    dir: PathBuf,
    meta: sled::Tree,
    log: sled::Tree,
    snapshot: sled::Tree,
    db: sled::Db,
    data_file: File,
    failed: OnceLock<StoreFailure>,
    /// Tells waiters of the first failure; closes when the store is released.
    watch: watch::Sender<Option<StoreFailure>>,
    blob_alarm: OnceLock<()>,
}

enum OpenError {
    Io(io::Error),
    InUse,
    Damaged(String),
}

// === impl Batch ===

impl Batch {
    /// Sets `key`.
    ///
    /// # Panics
    /// If the value is longer than [`MAX_VALUE_BYTES`]: callers split first.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        assert!(value.len() <= MAX_VALUE_BYTES, "a value of {} bytes was not split", value.len());
        self.0.insert(key, value);
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

// === impl Durable ===

impl Durable {
    /// Opens the store at `dir`, or creates it holding `first` in [`Space::Meta`].
    ///
    /// Blocks; call it where blocking is allowed. A directory appears under its name only when it is complete and synced,
    /// so a crash while creating leaves nothing behind that could be mistaken for a damaged store.
    pub fn open(dir: &Path, first: &[(&[u8], Vec<u8>)]) -> Result<Self, StoreError> {
        if !dir.try_exists().map_err(|source| StoreError::io("look for", dir, &source))? {
            Self::create(dir, first)?;
        }
        // Before: a process that was killed leaves bytes that only the page cache holds. sled would build on them, and
        // write files of its own that survive a power loss these bytes do not. After: what sled's recovery itself wrote.
        let sync_all = || sync_tree(dir).map_err(|source| StoreError::io("sync", dir, &source));
        sync_all()?;
        let db = match open_released(dir) {
            Ok(db) => db,
            Err(OpenError::Io(source)) => return Err(StoreError::io("open", dir, &source)),
            Err(OpenError::InUse) => {
                return Err(StoreError::InUse { path: dir.to_owned() });
            }
            Err(OpenError::Damaged(why)) => return Err(set_aside(dir, why)),
        };
        sync_all()?;
        let opened = catch(|| Self::wrap(dir, db)).and_then(|store| {
            let format = store.get(Space::Meta, FORMAT_KEY)?;
            Ok((store, format))
        });
        let (store, format) = match opened {
            Ok(opened) => opened,
            Err(source) if is_disk_trouble(&source) => {
                return Err(StoreError::io("open", dir, &source));
            }
            Err(source) => return Err(set_aside(dir, source.to_string())),
        };
        match format.as_deref().map(<[u8; 4]>::try_from).map(|bytes| bytes.map(u32::from_be_bytes)) {
            Some(Ok(DATA_VERSION)) => Ok(store),
            Some(Ok(found)) => Err(StoreError::Version { path: dir.to_owned(), found, known: DATA_VERSION }),
            Some(Err(_)) | None => {
                drop(store);
                Err(set_aside(dir, "it does not say which data version it holds".into()))
            }
        }
    }

    fn create(dir: &Path, first: &[(&[u8], Vec<u8>)]) -> Result<(), StoreError> {
        let staging = sibling(dir, "new");
        let failed = |source: io::Error| StoreError::io("create", dir, &source);
        match fs::remove_dir_all(&staging) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
            _ => {}
        }
        let made: Vec<PathBuf> =
            dir.ancestors().skip(1).take_while(|parent| !parent.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(parent(dir)).map_err(failed)?;
        DirBuilder::new().mode(0o700).create(&staging).map_err(failed)?;
        let db = open_database(&staging).map_err(|broken| match broken {
            OpenError::Io(source) => failed(source),
            OpenError::InUse => StoreError::InUse { path: staging.clone() },
            OpenError::Damaged(why) => failed(io::Error::other(why)),
        })?;
        let fill = catch(|| {
            let store = Self::wrap(&staging, db)?;
            let mut batch = Batch::default();
            batch.put(FORMAT_KEY, &DATA_VERSION.to_be_bytes());
            for (key, value) in first {
                batch.put(key, value);
            }
            store.apply(Space::Meta, batch)?;
            store.sync()
        });
        fill.map_err(failed)?;
        sync_tree(&staging).map_err(failed)?;
        fs::rename(&staging, dir).map_err(failed)?;
        // The name itself, and that of every directory just made on the way to it.
        for name in [dir].into_iter().chain(made.iter().map(PathBuf::as_path)) {
            sync_dir(parent(name)).map_err(failed)?;
        }
        Ok(())
    }

    fn wrap(dir: &Path, db: sled::Db) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            meta: db.open_tree("meta").map_err(into_io)?,
            log: db.open_tree("log").map_err(into_io)?,
            snapshot: db.open_tree("snapshot").map_err(into_io)?,
            data_file: File::open(dir.join("db"))?,
            db,
            failed: OnceLock::new(),
            watch: watch::Sender::new(None),
            blob_alarm: OnceLock::new(),
        })
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Watches for the first failure. The channel closes when the directory is released.
    pub fn watch(&self) -> watch::Receiver<Option<StoreFailure>> {
        self.watch.subscribe()
    }

    /// Returns the value of `key`.
    pub fn get(&self, space: Space, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.guard("read", || Ok(self.tree(space).get(key)?.map(|value| value.to_vec())))
    }

    /// Returns the largest key of `space`.
    pub fn last_key(&self, space: Space) -> io::Result<Option<Vec<u8>>> {
        self.guard("read", || Ok(self.tree(space).last()?.map(|(key, _)| key.to_vec())))
    }

    /// Visits the pairs with `from <= key < to` in order until `visit` answers `false`.
    pub fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut pairs = self.tree(space).range(from..to);
        while let Some((key, value)) = self.guard("read", || pairs.next().transpose())? {
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// Makes the writes of `batch` visible at once. Durable after the next [`sync`](Self::sync).
    pub fn apply(&self, space: Space, batch: Batch) -> io::Result<()> {
        self.guard("write", || self.tree(space).apply_batch(batch.0))
    }

    /// Removes the keys with `from <= key < to`, in batches.
    pub fn remove_range(&self, space: Space, from: &[u8], to: &[u8], end: End) -> io::Result<()> {
        loop {
            let keys = self.guard("read", || {
                let keys = self.tree(space).range(from..to).keys();
                match end {
                    End::Front => keys.take(REMOVE_BATCH).collect::<sled::Result<Vec<_>>>(),
                    End::Back => keys.rev().take(REMOVE_BATCH).collect(),
                }
            })?;
            if keys.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for key in &keys {
                batch.delete(key);
            }
            self.apply(space, batch)?;
        }
    }

    /// Returns once everything written before the call survives a power loss. Blocks for as long as the disk takes.
    pub fn sync(&self) -> io::Result<()> {
        self.guard("flush", || self.db.flush())?;
        self.guard_io("sync", || {
            self.sync_blobs()?;
            self.data_file.sync_data()
        })
    }

    /// Syncs value files, of which there should be none: a bug elsewhere must not cost data as well.
    fn sync_blobs(&self) -> io::Result<()> {
        let dir = self.dir.join("blobs");
        let mut found = 0_u32;
        for entry in fs::read_dir(&dir)? {
            File::open(entry?.path())?.sync_all()?;
            found += 1;
        }
        if found > 0 {
            sync_dir(&dir)?;
            if self.blob_alarm.set(()).is_ok() {
                error!(found, dir = %dir.display(), "the store holds values too long to be kept inside its log");
            }
        }
        Ok(())
    }

    fn tree(&self, space: Space) -> &sled::Tree {
        match space {
            Space::Meta => &self.meta,
            Space::Log => &self.log,
            Space::Snapshot => &self.snapshot,
        }
    }

    fn guard<T>(&self, doing: &'static str, f: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
        self.guard_io(doing, || f().map_err(into_io))
    }

    /// Runs `f` unless an earlier operation failed; keeps the first failure, a panic included.
    fn guard_io<T>(&self, doing: &'static str, f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(failure) = self.failed.get() {
            return Err(failure.to_io());
        }
        catch(f).map_err(|source| self.fail(doing, &source).to_io())
    }

    fn fail(&self, doing: &'static str, source: &io::Error) -> StoreFailure {
        let failure = self.failed.get_or_init(|| StoreFailure::new(doing, &self.dir, source)).clone();
        self.watch.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                error!(dir = %self.dir.display(), doing, error = %source, "the store failed; this member stops");
                *known = Some(failure.clone());
            }
            first
        });
        failure
    }

    /// Reports bytes that are there but make no sense, found by a reader of the store.
    pub fn condemn(&self, why: &str) -> io::Error {
        let source = io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        self.fail("understand", &source).to_io()
    }
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Opens sled on a thread of its own: a torn store panics deep inside, possibly with its locks held.
/// Opens a directory that this process may have closed a moment ago: sled's own threads let go of it a little after its
/// last handle is dropped, and tell nobody when.
fn open_released(dir: &Path) -> Result<sled::Db, OpenError> {
    let deadline = Instant::now() + RELEASED_WITHIN;
    loop {
        match open_database(dir) {
            Err(OpenError::InUse) if Instant::now() < deadline => std::thread::sleep(RELEASE_LOOK),
            opened => return opened,
        }
    }
}

fn open_database(dir: &Path) -> Result<sled::Db, OpenError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        // No flusher: it would write at times of its own choosing, and `sync` is the only promise given.
        .flush_every_ms(None);
    let thread = std::thread::Builder::new()
        .name("raft-open".into())
        .spawn(move || catch_unwind(AssertUnwindSafe(|| config.open())))
        .map_err(OpenError::Io)?;
    match thread.join() {
        Ok(Ok(Ok(db))) => Ok(db),
        Ok(Ok(Err(sled::Error::Io(source)))) if source.to_string().contains("could not acquire lock") => {
            Err(OpenError::InUse)
        }
        // sled reports a file that ends too early as an I/O error; every other one is about the disk, not the bytes.
        Ok(Ok(Err(sled::Error::Io(source)))) if is_disk_trouble(&source) => Err(OpenError::Io(source)),
        Ok(Ok(Err(broken))) => Err(OpenError::Damaged(broken.to_string())),
        Ok(Err(panic)) | Err(panic) => Err(OpenError::Damaged(panic_text(&*panic))),
    }
}

/// Runs `f`, turning a panic into an error.
fn catch<T>(f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(io::Error::other(panic_text(&*panic))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked without a message")
        .to_owned()
}

fn into_io(broken: sled::Error) -> io::Error {
    match broken {
        sled::Error::Io(source) => source,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// Tells trouble with the disk from bytes (or a panic over bytes) that make no sense.
fn is_disk_trouble(source: &io::Error) -> bool {
    !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other)
}

/// Renames a damaged store so that the next start cannot take it, or its member id, for a good one.
///
/// A handle that is still open goes with it and stays harmless.
pub fn set_aside(dir: &Path, why: String) -> StoreError {
    let moved_to = (1..)
        .map(|n| sibling(dir, &if n == 1 { "damaged".to_owned() } else { format!("damaged-{n}") }))
        .find(|candidate| !candidate.exists());
    let moved_to = moved_to.and_then(|target| match fs::rename(dir, &target) {
        Ok(()) => Some(target),
        Err(source) => {
            warn!(error = %source, dir = %dir.display(), "could not set the damaged store aside");
            None
        }
    });
    StoreError::Damaged { path: dir.to_owned(), moved_to, why }
}

/// Returns the first store next to `dir` that an earlier start found damaged and set aside.
pub fn damaged_sibling(dir: &Path) -> Option<PathBuf> {
    let damaged = sibling(dir, "damaged");
    damaged.exists().then_some(damaged)
}

fn sibling(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    dir.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs every file and directory below `dir`, and `dir`.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
