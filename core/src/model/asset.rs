//! Assets: immutable bytes addressed by their SHA-256.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Digest, LogIndex, MemberId},
    time::LogTime,
};

/// What the bytes of an asset are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AssetKind {
    /// One file, stored as it is.
    File,
    /// A folder, stored as a tar archive with sorted entries, no owners and no times, so that equal folders have equal
    /// digests.
    Folder,
}

/// How a deployment refers to an asset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AssetRef {
    /// The SHA-256 of the stored bytes.
    pub digest: Digest,
    /// File or folder.
    pub kind: AssetKind,
    /// The base name of what was uploaded: the name under which it is mounted.
    pub name: String,
    /// Stored bytes.
    pub size_bytes: u64,
}

/// An asset a majority of coordinators holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// The SHA-256 of the stored bytes.
    pub digest: Digest,
    /// Stored bytes.
    pub size_bytes: u64,
    /// When the majority was reached.
    pub committed_at: LogTime,
    /// The entry that committed it.
    pub revision: LogIndex,
    /// The members that held it then.
    pub holders: Vec<MemberId>,
}
