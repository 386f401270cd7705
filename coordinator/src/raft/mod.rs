//! Consensus: replicates opaque commands over the coordinator members.
//!
//! Nothing here knows what a command means. The coordinator implements [`StateMachine`] over its state, starts a
//! [`RaftService`] with [`RaftOptions`], mounts its gRPC service and works with a [`RaftHandle`]. openraft and the store
//! stay behind that line.

pub mod convert;
mod credentials;
mod error;
mod formation;
mod handle;
mod machine;
mod member;
mod membership;
mod network;
mod options;
mod peers;
mod server;
mod service;
mod status;
pub mod types;

pub use berth_core::id::{LogIndex, MemberId, Term};

pub use self::{
    credentials::Admission,
    error::Error,
    handle::RaftHandle,
    machine::{RestoreError, StateMachine},
    member::Proposed,
    options::{DEFAULTS, Dialer, Formation, MAX_COMMAND_BYTES, RaftOptions, RaftTimings, RaftToken},
    server::RaftRpc,
    service::{RaftGrpc, RaftService},
    status::{Member, RaftStatus},
};
