//! The routing mesh: any node answers for any endpoint.
//!
//! A request enters at the ingress of some node, goes to the gate of the node that owns the replica (a call within the
//! process when that is the same node), and from the gate to the replica. What is decided is decided in
//! `berth_core::traffic`; this module moves bytes.
//!
//! The data side is thread per core: each core has one current-thread runtime with its own listeners, its own
//! connections to other gates and to replicas, and its own counters. Cores share one atomically swapped table, the
//! tickets of each endpoint and the gate of each replica, and nothing else. No request waits for the control side.

mod access_log;
mod answer;
mod auth;
mod body;
mod clock;
mod conn;
mod dispatch;
mod drain;
mod full_house;
mod gate;
mod gate_server;
mod h2_server;
mod handle;
mod headers;
mod hedge;
mod histogram;
mod ingress;
mod keeper;
mod link;
mod listening;
mod metrics;
mod mirror;
mod models;
mod options;
mod packed;
mod patient;
mod peers;
mod persist;
mod pool;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod promises;
mod pump;
mod quiet;
mod record;
mod replay;
mod report;
mod routes;
mod span;
mod tee;
mod tunnel;
mod verdict;
mod warm;
mod wire;
mod worker;

pub use gate::{LocalReplica, LocalState};
pub(crate) use handle::Remains;
pub use handle::{Mesh, MeshHandle};
pub use histogram::Durations;
pub use listening::Listening;
pub use metrics::{CLASSES, DeploymentCounters, MeshCounters};
pub use options::{AccessLogOptions, Limits, MeshOptions, TableCodec};
pub use peers::{PEER_NAME, PeerFiles};
pub use span::{AttemptSpan, Span, SpanOptions};

pub use berth_proto::tls::TlsFiles;

/// Any error of a body, as hyper carries it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
