//! The types consensus is instantiated with. Nothing outside `raft` and `store` sees them.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A command of the replicated state machine: opaque bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct Command(pub Bytes);

/// What the state machine answered: opaque bytes, empty for entries it never sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply(pub Vec<u8>);

/// A member as the log knows it.
pub type Peer = openraft::BasicNode;

openraft::declare_raft_types!(
    /// The instantiation.
    pub Types:
        D = Command,
        R = Reply,
        Node = Peer,
        AsyncRuntime = openraft::TokioRuntime,
);

/// A position in the log.
pub type LogId = openraft::alias::LogIdOf<Types>;
/// The leadership that wrote an entry.
pub type LeaderId = openraft::alias::LeaderIdOf<Types>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<Types>;
/// A log entry.
pub type Entry = openraft::alias::EntryOf<Types>;
/// A membership and the entry that set it.
pub type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
/// A membership.
pub type Membership = openraft::Membership<u64, Peer>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
/// A snapshot with its bytes.
pub type Snapshot = openraft::alias::SnapshotOf<Types, Bytes>;
/// The consensus engine over this crate's stores.
pub type Engine = openraft::Raft<Types, crate::store::MachineStore>;

// === impl Command ===

impl From<Vec<u8>> for Command {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Command> for Vec<u8> {
    fn from(command: Command) -> Self {
        command.0.into()
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Shows the length alone: commands may carry secrets, and openraft prints entries when it traces.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
