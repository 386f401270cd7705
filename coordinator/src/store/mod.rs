//! A coordinator member's disk: the Raft log, the vote, the snapshot and the member's identity.
//!
//! [`Durable`] is a small key-value space that tells the truth about what is on the disk; only its file names the engine
//! below. [`LogStore`] and [`MachineStore`] are openraft's two storage traits over it, [`Committer`] turns many waiting
//! writers into one sync. The replicated state itself lives in memory behind [`StateMachine`](crate::raft::StateMachine)
//! and is rebuilt from the stored snapshot and the log behind it.

mod commit;
mod error;
mod frame;
mod identity;
mod log;
mod revive;
mod sled;
mod snapshot;
mod state_machine;

pub use self::{
    commit::Committer,
    error::{StoreError, StoreFailure},
    frame::{FrameError, decode, encode},
    identity::{Identity, open},
    log::LogStore,
    revive::revive_log,
    sled::{Batch, DATA_VERSION, Durable, End, MAX_VALUE_BYTES, Space, damaged_sibling, set_aside},
    snapshot::SnapshotStore,
    state_machine::{Applied, MachineStore},
};
