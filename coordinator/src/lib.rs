//! Berth's coordinator: Raft-replicated state, the API, node sessions and the artifact store.
//!
//! [`CoordinatorService`] is one member: it opens its store, listens on one port for everybody (users, nodes, other
//! members) and runs until it is told to stop. Decisions are made by the pure machines of `berth_core`; this crate moves
//! bytes and carries them out.

mod alert;
mod api;
mod artifact;
mod auth;
mod clock;
mod context;
mod controller;
mod feature;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod keys;
mod listen;
mod machine;
mod metrics;
mod options;
mod peers;
mod propose;
pub mod raft;
mod replicas;
mod rest;
mod restore;
mod serve;
mod service;
mod session;
pub mod store;
mod table;

pub use alert::{AlertReceiver, ReceiverKind};
pub use auth::{MEMBER_TOKEN, NODE_TOKEN};
pub use machine::Machine;
pub use options::CoordinatorOptions;
pub use restore::{RestoreOptions, Restored, inspect, restore};
pub use service::{CoordinatorHandle, CoordinatorService, CoordinatorStatus};
