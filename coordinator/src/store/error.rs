//! What can be wrong with a store, in words an operator can act on.

use std::{
    io,
    path::{Path, PathBuf},
};

use berth_core::error::{Code, Error};

/// A store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The bytes are not what was written. The directory has been set aside.
    #[error("the store at {} is damaged: {why}", path.display())]
    Damaged {
        /// Where the store was.
        path: PathBuf,
        /// Where it is now; `None` if it could not be renamed.
        moved_to: Option<PathBuf>,
        /// What was found.
        why: String,
    },
    /// An earlier start set a damaged store aside, and this one would begin a new cluster beside the old one.
    #[error("the store of this member was damaged and is set aside at {}", path.display())]
    SetAside {
        /// The damaged store.
        path: PathBuf,
    },
    /// Written by a newer Berth.
    #[error("the store at {} holds data version {found}; this berth knows versions up to {known}", path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Another process has it open.
    #[error("the store at {} is in use by another process", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The store belongs to another cluster.
    #[error("the store at {} belongs to cluster {found}, not to {expected}", path.display())]
    ForeignCluster {
        /// The store.
        path: PathBuf,
        /// The cluster it belongs to.
        found: String,
        /// The cluster this member was started for.
        expected: String,
    },
    /// The disk or the file system refused.
    #[error(transparent)]
    Failed(#[from] StoreFailure),
}

/// The first operation of an open store that failed. It is final: the member stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not {doing} the store at {}: {why}", path.display())]
pub struct StoreFailure {
    /// What was being done.
    pub doing: &'static str,
    /// The store.
    pub path: PathBuf,
    /// What the system said.
    pub why: String,
    kind: io::ErrorKind,
}

// === impl StoreFailure ===

impl StoreFailure {
    pub(super) fn new(doing: &'static str, path: &Path, source: &io::Error) -> Self {
        Self { doing, path: path.to_owned(), why: source.to_string(), kind: source.kind() }
    }

    /// Returns whether there was no room left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    }

    /// Returns whether what is stored makes no sense, as opposed to the disk refusing.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
    }

    pub(super) fn to_io(&self) -> io::Error {
        io::Error::new(self.kind, self.clone())
    }
}

// === impl StoreError ===

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path, source: &io::Error) -> Self {
        Self::Failed(StoreFailure::new(doing, path, source))
    }

    /// Returns the stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Damaged { .. } | Self::SetAside { .. } => Code::StoreDamaged,
            Self::Version { .. } => Code::StoreVersion,
            Self::InUse { .. } => Code::Unavailable,
            Self::ForeignCluster { .. } => Code::ForeignCluster,
            Self::Failed(failure) if failure.is_disk_full() => Code::DiskFull,
            Self::Failed(failure) if failure.is_damage() => Code::StoreDamaged,
            Self::Failed(_) => Code::Internal,
        }
    }
}

impl From<StoreError> for Error {
    fn from(broken: StoreError) -> Self {
        let error = Self::new(broken.code(), broken.to_string());
        match broken {
            StoreError::Damaged { moved_to, .. } => {
                let kept = moved_to.map_or_else(
                    || "it is still in place".to_owned(),
                    |path| format!("it was set aside at {}", path.display()),
                );
                error
                    .why(format!(
                        "a member that lost part of its log may have voted already, so it must not return under its id; {kept}"
                    ))
                    .try_("start this member again with --join ADDR of a healthy member: it joins under a new id")
            }
            StoreError::SetAside { path } => error
                .why("bootstrapping again could form a second cluster beside the one this member belonged to")
                .try_(format!(
                    "--join ADDR of a healthy member; if there is none and the data is given up, remove {}",
                    path.display()
                )),
            StoreError::Version { .. } => error
                .why("a newer berth has written it")
                .try_("start the newer berth again; there is no way back to an older data version"),
            StoreError::InUse { .. } => error
                .why("one directory serves one member")
                .try_("stop the other process, or give this member another --data-dir"),
            StoreError::ForeignCluster { .. } => error
                .why("members of two clusters must never share a log")
                .try_("use the cluster.key of the cluster this directory belongs to, or another --data-dir"),
            StoreError::Failed(failure) if failure.is_disk_full() => error
                .why("a member that cannot write stops rather than promise what it cannot keep")
                .try_("make room on this file system and start the member again: it resumes where it was"),
            StoreError::Failed(_) => error
                .why("after a failed write nobody can tell what is on the disk, so nothing is retried")
                .try_("check the disk and its messages in the kernel log, then start the member again"),
        }
    }
}
