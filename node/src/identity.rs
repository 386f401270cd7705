//! Who this node is: its id, and the lock that keeps a second agent out of its folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use berth_core::{
    error::{Code, Error},
    id::NodeId,
};

/// How long the lock is waited for. An agent that is just ending still holds it, and so, for a moment, does any process
/// it was starting: a fork shares the lock until its program begins.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long a successor that failed may take to end.
const RETAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Pace of looking again; the kernel has no wait with a deadline for this lock.
const LOCK_PACE: Duration = Duration::from_millis(10);

/// The folder of a node, held by this process.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    id: NodeId,
    /// Held open: the kernel drops the lock when the process ends, however it ends.
    lock: Lock,
}

/// The right to act for the replicas of a folder; the lock goes with the last of its holders.
#[derive(Clone, Debug)]
pub(crate) struct Lock(Arc<File>);

// === impl Home ===

impl Home {
    /// Takes the lock and reads the id, or mints it. May block for a moment.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| io_error("cannot create", folder, &error))?;
        // Children are given paths below it, and their own working folder: a relative one would mean another place.
        let folder = folder.canonicalize().map_err(|error| io_error("cannot resolve", folder, &error))?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| io_error("cannot open", &lock_path, &error))?;
        match lock_within(&lock, LOCK_PATIENCE) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Code::AlreadyExists, format!("another agent uses {}", folder.display()))
                    .why("two agents would start every replica twice")
                    .try_("stop it, or give this node its own `--data-dir`"));
            }
            Err(TryLockError::Error(error)) => return Err(io_error("cannot lock", &lock_path, &error)),
        }
        let id = node_id(&folder)?;
        Ok(Self { folder, id, lock: Lock(Arc::new(lock)) })
    }

    /// Lets another process take the folder.
    pub(crate) fn release(&self) -> Result<(), Error> {
        self.lock.0.unlock().map_err(|error| io_error("cannot unlock", &self.folder, &error))
    }

    /// Takes the folder back from a process that let go of it.
    pub(crate) fn retake(&self) -> Result<(), Error> {
        lock_within(&self.lock.0, RETAKE_PATIENCE).map_err(|error| match error {
            TryLockError::WouldBlock => Error::new(Code::AlreadyExists, "the successor keeps this node's folder")
                .why("it failed to take over and did not end"),
            TryLockError::Error(error) => io_error("cannot lock", &self.folder, &error),
        })
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Whatever may still start or end a process holds this.
    pub(crate) fn lock(&self) -> Lock {
        self.lock.clone()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cluster this node belonged to last; empty at first.
    pub(crate) fn cluster_id(&self) -> Result<String, Error> {
        read_or_empty(&self.folder.join("cluster-id")).map(|text| text.trim().to_owned())
    }
}

/// Keeps the cluster this node belongs to: a session of another one is refused from then on.
pub(crate) fn keep_cluster_id(folder: &Path, cluster_id: &str) -> Result<(), Error> {
    let path = folder.join("cluster-id");
    write_durably(&path, cluster_id.as_bytes()).map_err(|error| io_error("cannot write", &path, &error))
}

/// The file of the lasting token that a join token was exchanged for, behind the number of that.
const GIVEN: &str = "node.token";

/// Keeps the lasting token that was given for a join token.
pub(crate) fn keep_token(folder: &Path, nonce: &str, lasting: &str) -> Result<(), Error> {
    let path = folder.join(GIVEN);
    let text = format!("{nonce} {lasting}\n");
    write_durably(&path, text.as_bytes()).map_err(|error| io_error("cannot write", &path, &error))
}

/// Reads the lasting token that was given, and for which join token; nothing while none was.
pub(crate) fn given_token(folder: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(folder.join(GIVEN)).ok()?;
    let (nonce, lasting) = text.trim().split_once(' ')?;
    Some((nonce.to_owned(), lasting.to_owned()))
}

fn lock_within(lock: &File, patience: Duration) -> Result<(), TryLockError> {
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < patience => thread::sleep(LOCK_PACE),
            outcome => return outcome,
        }
    }
}

fn node_id(folder: &Path) -> Result<NodeId, Error> {
    let path = folder.join("node-id");
    let text = read_or_empty(&path)?;
    if text.is_empty() {
        let id = NodeId(random_u64()?);
        write_durably(&path, id.to_string().as_bytes()).map_err(|error| io_error("cannot write", &path, &error))?;
        return Ok(id);
    }
    text.trim().parse().map_err(|_| {
        Error::new(Code::StoreDamaged, format!("{} holds no node id", path.display()))
            .why("it is written once and never changed")
            .try_("restore the file, or empty the folder: the node then joins as a new one")
    })
}

/// Draws from the kernel. Never zero: zero means "none" on the wire.
pub(crate) fn random_u64() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    let mut source = File::open("/dev/urandom").map_err(|error| io_error("cannot open", "/dev/urandom", &error))?;
    io::Read::read_exact(&mut source, &mut bytes).map_err(|error| io_error("cannot read", "/dev/urandom", &error))?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

fn read_or_empty(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io_error("cannot read", path, &error)),
    }
}

/// Replaces a file so that after a power loss either the old or the new content is there, whole.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Wraps an input or output error; a full disk is told apart because it has another remedy.
pub(crate) fn io_error(what: &str, path: impl AsRef<Path>, error: &io::Error) -> Error {
    let what = format!("{what} {}", path.as_ref().display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(Code::DiskFull, what)
            .why(error.to_string())
            .try_("free space on the node's disk, or give its `--data-dir` a larger one"),
        _ => Error::new(Code::Internal, what).why(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_minted_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path()).unwrap().id();
        assert_eq!(Home::open(dir.path()).unwrap().id(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Home::open(other.path()).unwrap().id(), first);
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let held = Home::open(dir.path()).unwrap();
        assert_eq!(Home::open(dir.path()).unwrap_err().code, Code::AlreadyExists);
        drop(held);
        assert!(Home::open(dir.path()).is_ok());
    }

    #[test]
    fn a_damaged_id_is_refused_in_plain_words() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("node-id"), "garbage").unwrap();
        assert_eq!(Home::open(dir.path()).unwrap_err().code, Code::StoreDamaged);
    }
}
