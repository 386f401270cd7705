//! Berth's node agent: replicas, runtimes, capacity and the routing mesh.
//!
//! [`NodeService`] is the whole of it: it holds the node's folder, a session with the leading coordinator, the route
//! table from any of them, one actor per replica, and the data side. What to do is decided by the pure agent in
//! `berth_core`; this crate does it.

mod actor;
mod cache;
pub mod capacity;
mod console;
pub mod doctor;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gpu;
mod hand_over;
mod http2;
mod identity;
mod keeper;
mod leave;
mod ledger;
pub mod mesh;
mod metrics;
#[cfg(feature = "onnx")]
pub mod onnx;
mod options;
mod probe;
mod process;
mod profile;
mod runtime;
mod service;
mod session;
pub mod telemetry;
mod usage;

pub use options::{NodeOptions, Secret};
pub use process::RowFile;
pub use service::{NodeHandle, NodeService, NodeStatus};
pub use session::SessionStatus;
