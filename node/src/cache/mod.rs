//! The node's cache of assets: bytes addressed by their digest, fetched once, shared by every replica, collected only
//! when nothing refers to them.

mod collect;
mod fetch;
mod mount;
mod unpack;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::{AssetKind, AssetRef},
};

use crate::{
    identity::io_error,
    runtime::{PrepareLog, does, fetches},
    session::Members,
};

pub(crate) use mount::{Sharing, mount};

/// Fetched assets of a node.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    max_bytes: u64,
    members: Arc<Members>,
    /// One lock per asset that is being fetched: two replicas of one model fetch it once.
    fetching: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

// === impl Cache ===

impl Cache {
    /// Opens the cache and removes what a crash left half done.
    pub(crate) fn open(folder: PathBuf, max_bytes: u64, members: Arc<Members>) -> Result<Self, Error> {
        let incoming = folder.join("incoming");
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("cannot empty", &incoming, &error));
            }
            _ => {}
        }
        fs::create_dir_all(&incoming).map_err(|error| io_error("cannot create", &incoming, &error))?;
        Ok(Self { folder, max_bytes, members, fetching: Mutex::default() })
    }

    /// Returns where an asset lies: its file, or the folder it was unpacked into. Fetches it when it is not there.
    pub(crate) async fn obtain(&self, asset: &AssetRef, log: &PrepareLog) -> Result<PathBuf, Error> {
        let entry = self.entry(asset);
        let lock = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fetching.entry(entry.clone()).or_default())
        };
        if lock.try_lock().is_err() {
            log.at(does(format!("waits for {}, which another replica fetches", asset.name)));
        }
        let held = lock.lock().await;
        let result = match entry.exists() {
            true => {
                log.line(&format!("{} is in the cache (sha256:{})", asset.name, asset.digest));
                Ok(())
            }
            false => self.fetch(asset, &entry, log).await,
        };
        drop(held);
        // The last one out takes the lock away; whoever waits for it holds a handle of its own.
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&lock) <= 2 {
            fetching.remove(&entry);
        }
        drop(fetching);
        result?;
        touch(&entry);
        Ok(entry.join(CONTENT))
    }

    async fn fetch(&self, asset: &AssetRef, entry: &Path, log: &PrepareLog) -> Result<(), Error> {
        let incoming = self.folder.join("incoming");
        let temporary = tempfile::Builder::new()
            .prefix(&asset.digest.to_string()[..16])
            .tempdir_in(&incoming)
            .map_err(|error| io_error("cannot create a folder in", &incoming, &error))?;
        log.line(&format!("fetching {} ({} bytes, sha256:{})", asset.name, asset.size_bytes, asset.digest));
        let bytes = temporary.path().join("bytes");
        log.at(fetches(asset, 0));
        fetch::download(&self.members, asset, &bytes, log).await?;
        if asset.kind == AssetKind::Folder {
            log.at(does(format!("unpacks {}", asset.name)));
        }
        let (kind, size, folder, entry) = (asset.kind, asset.size_bytes, temporary.path().to_owned(), entry.to_owned());
        tokio::task::spawn_blocking(move || put(kind, size, &bytes, &folder, &entry))
            .await
            .map_err(|error| Error::new(Code::Internal, "unpacking an asset broke off").why(error.to_string()))??;
        log.line(&format!("fetched {}", asset.name));
        Ok(())
    }

    /// Removes what nothing refers to, oldest use first, until the rest fits.
    pub(crate) fn collect(&self, referenced: &BTreeSet<Digest>) -> Result<u64, Error> {
        let fetching: BTreeSet<PathBuf> =
            self.fetching.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        collect::collect(&self.folder, self.max_bytes, |path, digest| {
            referenced.contains(digest) || fetching.contains(path)
        })
        .map_err(|error| io_error("cannot collect in", &self.folder, &error))
    }

    fn entry(&self, asset: &AssetRef) -> PathBuf {
        let suffix = match asset.kind {
            AssetKind::File => "file",
            AssetKind::Folder => "folder",
        };
        self.folder.join(format!("{}.{suffix}", asset.digest))
    }
}

/// The name of the file or folder inside an entry.
const CONTENT: &str = "content";

/// Makes downloaded bytes an entry, so that after a power loss it is there whole or not at all.
fn put(kind: AssetKind, size_bytes: u64, bytes: &Path, temporary: &Path, entry: &Path) -> Result<(), Error> {
    let staged = temporary.join("entry");
    let content = staged.join(CONTENT);
    fs::create_dir(&staged).map_err(|error| io_error("cannot create", &staged, &error))?;
    match kind {
        AssetKind::File => {
            fs::rename(bytes, &content).map_err(|error| io_error("cannot move", bytes, &error))?;
            mount::protect(&content).map_err(|error| io_error("cannot protect", &content, &error))?;
        }
        AssetKind::Folder => {
            unpack::unpack(bytes, &content, size_bytes)?;
            fs::remove_file(bytes).map_err(|error| io_error("cannot remove", bytes, &error))?;
        }
    }
    let folder = entry.parent().unwrap_or(entry);
    let renamed = fs::File::open(folder).and_then(|handle| {
        // One call for what may be thousands of files; then the name that makes them count.
        rustix::fs::syncfs(&handle)?;
        fs::rename(&staged, entry)?;
        handle.sync_all()
    });
    renamed.map_err(|error| io_error("cannot keep", entry, &error))
}

/// Notes that an entry is in use, for the collection. A failure only makes it look older.
fn touch(entry: &Path) {
    let touched = fs::File::open(entry).and_then(|folder| folder.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %entry.display(), %error, "the use of an asset could not be noted");
    }
}
