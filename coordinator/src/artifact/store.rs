//! Blobs on this member's disk, named by the SHA-256 of their bytes.
//!
//! A blob is there whole or not at all: it is written under another name, hashed on the way, fsynced, renamed, and the
//! folder is fsynced. What a crash leaves half written has no name anybody asks for and is removed at start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use berth_core::{
    error::{Code, Error},
    id::Digest,
};
use sha2::{Digest as _, Sha256};

/// How much is read from a file at once.
const READ_BYTES: usize = 256 << 10;

/// An empty file: there once this member held every asset of its cluster.
const CAUGHT_UP: &str = "caught-up";

/// The blobs of this member.
#[derive(Debug)]
pub(crate) struct BlobStore {
    root: PathBuf,
    drafts: AtomicU64,
    /// Keeps a blob from being swept between somebody seeing it and saying so.
    sweeping: Mutex<()>,
}

/// A blob on its way to the disk. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(super) struct BlobWriter {
    digest: Digest,
    size_bytes: u64,
    written_bytes: u64,
    hash: Sha256,
    file: File,
    draft: PathBuf,
    target: PathBuf,
    done: bool,
}

// === impl BlobStore ===

impl BlobStore {
    /// Opens the blobs below `root` and removes what a crash left half written.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let store = Self { root: root.to_owned(), drafts: AtomicU64::new(0), sweeping: Mutex::new(()) };
        let opened = (|| {
            fs::create_dir_all(store.root.join("blobs"))?;
            match fs::remove_dir_all(store.draft_folder()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::create_dir_all(store.draft_folder())
        })();
        opened.map_err(|error| disk_error("cannot open the artifact store", &error))?;
        Ok(store)
    }

    /// Returns the size of a blob that is here.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().filter(fs::Metadata::is_file).map(|meta| meta.len())
    }

    /// Returns whether the bytes are here and are what they should be. Reads all of them.
    pub(crate) fn holds_whole(&self, digest: &Digest) -> bool {
        self.size(digest).is_some() && self.verify(digest).is_ok()
    }

    /// Returns the size of a blob that is here and starts its grace anew, so that no sweep takes it while its asset is
    /// being committed.
    pub(super) fn keep(&self, digest: &Digest) -> Option<u64> {
        let _guard = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let size_bytes = self.size(digest)?;
        let file = OpenOptions::new().append(true).open(self.path(digest)).ok()?;
        file.set_modified(SystemTime::now()).ok()?;
        Some(size_bytes)
    }

    /// Begins to store a blob.
    pub(super) fn begin(&self, digest: Digest, size_bytes: u64) -> Result<BlobWriter, Error> {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = self.draft_folder().join(format!("{number}"));
        let begun = OpenOptions::new().write(true).create_new(true).open(&draft);
        let file = begun.map_err(|error| disk_error("cannot store an asset", &error))?;
        let (hash, target) = (Sha256::new(), self.path(&digest));
        Ok(BlobWriter { digest, size_bytes, written_bytes: 0, hash, file, draft, target, done: false })
    }

    /// Opens a blob for reading.
    pub(super) fn read(&self, digest: &Digest) -> Result<File, Error> {
        File::open(self.path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_here(digest),
            _ => disk_error("cannot read an asset", &error),
        })
    }

    /// Reads a blob and compares it with its name. One that does not fit is removed: it must not be served again.
    pub(super) fn verify(&self, digest: &Digest) -> Result<(), Error> {
        let mut file = self.read(digest)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.discard(digest);
                    return Err(damaged(digest).why(error.to_string()));
                }
            }
        }
        if <[u8; 32]>::from(hash.finalize()) != digest.0 {
            self.discard(digest);
            return Err(damaged(digest).why("the disk gives other bytes than were stored"));
        }
        Ok(())
    }

    /// Removes a blob that turned out damaged.
    pub(super) fn discard(&self, digest: &Digest) {
        let _guard = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = fs::remove_file(self.path(digest)) {
            tracing::warn!(%digest, %error, "a damaged blob cannot be removed");
        }
    }

    /// Removes the blobs that nothing wants and nobody touched for `grace`. Returns how many.
    pub(super) fn sweep(&self, wanted: impl Fn(&Digest) -> bool, grace: Duration) -> io::Result<u64> {
        let mut removed = 0;
        for digest in self.list()? {
            let _guard = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
            let path = self.path(&digest);
            let untouched = fs::metadata(&path)?.modified()?.elapsed().is_ok_and(|age| age >= grace);
            if untouched && !wanted(&digest) {
                fs::remove_file(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Lists the blobs that are here, in no particular order.
    pub(super) fn list(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for folder in fs::read_dir(self.root.join("blobs"))? {
            for entry in fs::read_dir(folder?.path())? {
                found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()));
            }
        }
        Ok(found)
    }

    /// Returns whether this member once held every asset of its cluster.
    pub(super) fn is_caught_up(&self) -> bool {
        self.root.join(CAUGHT_UP).exists()
    }

    /// Remembers that this member holds every asset of its cluster.
    pub(super) fn set_caught_up(&self) -> Result<(), Error> {
        let noted = File::create(self.root.join(CAUGHT_UP))
            .and_then(|file| file.sync_all())
            .and_then(|()| File::open(&self.root)?.sync_all());
        noted.map_err(|error| disk_error("cannot note that every asset is here", &error))
    }

    fn draft_folder(&self) -> PathBuf {
        self.root.join("drafts")
    }

    /// Two levels, because some file systems slow down with many names in one folder.
    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs").join(&name[..2]).join(name)
    }
}

// === impl BlobWriter ===

impl BlobWriter {
    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written_bytes += bytes.len() as u64;
        if self.written_bytes > self.size_bytes {
            return Err(Error::new(Code::Invalid, format!("asset {} is longer than announced", self.digest))
                .why(format!("{} bytes were announced", self.size_bytes)));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| disk_error("cannot store an asset", &error))
    }

    /// Gives the blob its name, once its bytes are durable and are the right ones.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.written_bytes != self.size_bytes {
            return Err(Error::new(Code::Invalid, format!("asset {} is shorter than announced", self.digest))
                .why(format!("{} of {} bytes came", self.written_bytes, self.size_bytes)));
        }
        let found = Digest(std::mem::take(&mut self.hash).finalize().into());
        if found != self.digest {
            return Err(damaged(&self.digest).why(format!("the bytes that came have the digest {found}")));
        }
        let named = (|| {
            self.file.sync_all()?;
            let folder = self.target.parent().unwrap_or(Path::new("."));
            if !folder.exists() {
                fs::create_dir_all(folder)?;
                File::open(folder.parent().unwrap_or(folder))?.sync_all()?;
            }
            fs::rename(&self.draft, &self.target)?;
            self.done = true;
            File::open(folder)?.sync_all()
        })();
        named.map_err(|error| disk_error("cannot store an asset", &error))
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.done {
            // Failing here only leaves a draft, which the next start removes.
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// Says that the bytes of an asset are not the right ones.
pub(super) fn damaged(digest: &Digest) -> Error {
    Error::new(Code::AssetDamaged, format!("asset {digest} is damaged"))
}

/// Says that this member does not hold an asset.
pub(super) fn not_here(digest: &Digest) -> Error {
    Error::new(Code::AssetNotFound, format!("asset {digest} is not stored"))
        .try_("upload it first; the `berth` verbs do so by themselves")
}

fn disk_error(what: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(Code::DiskFull, what)
            .why("the coordinator's disk is full")
            .try_("free space below its data directory"),
        _ => Error::new(Code::Internal, what).why(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = BlobStore::open(folder.path()).expect("opened");
        (folder, store)
    }

    fn put(store: &BlobStore, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut writer = store.begin(digest, bytes.len() as u64).expect("begun");
        bytes.chunks(3).for_each(|part| writer.write(part).expect("written"));
        writer.finish().expect("finished");
        digest
    }

    fn drafts(folder: &Path) -> usize {
        fs::read_dir(folder.join("drafts")).expect("a folder").count()
    }

    #[test]
    fn a_blob_is_there_after_finish_and_survives_a_new_start() {
        let (folder, store) = store();
        let digest = put(&store, b"weights");
        assert_eq!((store.size(&digest), drafts(folder.path())), (Some(7), 0));
        let again = BlobStore::open(folder.path()).expect("opened");
        assert_eq!(again.verify(&digest), Ok(()));
        assert_eq!(again.list().expect("listed"), [digest]);
    }

    #[test]
    fn what_is_not_what_was_announced_leaves_nothing() {
        let (folder, store) = store();
        let digest = Digest::of(b"weights");
        for (bytes, size_bytes, code, why) in [
            (&b"weight!"[..], 7, Code::AssetDamaged, "other bytes"),
            (b"weigh", 7, Code::Invalid, "too few"),
            (b"weights and more", 7, Code::Invalid, "too many"),
        ] {
            let mut writer = store.begin(digest, size_bytes).expect("begun");
            let stored = writer.write(bytes).and_then(|()| writer.finish());
            assert_eq!(stored.expect_err(why).code, code, "{why}");
            assert_eq!((store.size(&digest), drafts(folder.path())), (None, 0), "{why}");
        }
    }

    #[test]
    fn a_crash_in_mid_write_leaves_nothing_after_the_next_start() {
        let (folder, store) = store();
        let mut writer = store.begin(Digest::of(b"weights"), 7).expect("begun");
        writer.write(b"wei").expect("written");
        std::mem::forget(writer);
        assert_eq!(drafts(folder.path()), 1);
        BlobStore::open(folder.path()).expect("opened");
        assert_eq!(drafts(folder.path()), 0);
    }

    #[test]
    fn a_damaged_blob_is_found_and_not_served_again() {
        let (_folder, store) = store();
        let digest = put(&store, b"weights");
        fs::write(store.path(&digest), b"weighty").expect("written");
        assert_eq!(store.verify(&digest).expect_err("damaged").code, Code::AssetDamaged);
        assert_eq!(store.read(&digest).expect_err("gone").code, Code::AssetNotFound);
    }

    #[test]
    fn only_what_nobody_wants_or_touched_is_swept() {
        let (_folder, store) = store();
        let (wanted, unwanted, touched) = (put(&store, b"wanted"), put(&store, b"unwanted"), put(&store, b"touched"));
        let hours_ago = SystemTime::now() - Duration::from_secs(7_200);
        for digest in [wanted, unwanted, touched] {
            let file = OpenOptions::new().append(true).open(store.path(&digest)).expect("opened");
            file.set_modified(hours_ago).expect("set");
        }
        assert_eq!(store.keep(&touched), Some(7));
        let removed = store.sweep(|digest| *digest == wanted, Duration::from_secs(3_600)).expect("swept");
        assert_eq!(removed, 1);
        assert_eq!((store.size(&unwanted), store.keep(&unwanted)), (None, None));
        assert!(store.size(&wanted).is_some() && store.size(&touched).is_some());
    }
}
