//! Actors: one that holds the pure agent, one per replica that acts for it, and their supervisor.
//!
//! Handlers hold no policy: they copy a message into an input, step the agent, and hand its effects on. Mailboxes are
//! unbounded, so what is sent is bounded before: a replica has at most a handful of questions open, and the session waits
//! for the agent's answer before it reads on.

mod agent;
mod link;
mod prefetch;
mod replica;
mod supervisor;

use std::{path::PathBuf, sync::Arc, time::Instant};

use berth_core::agent::{Ledger, PrefetchReport, Timing};
use tokio::sync::watch;

use crate::{
    cache::Cache,
    gpu::GpuMonitor,
    identity::Lock,
    mesh::MeshHandle,
    metrics::NodeHolds,
    process::{Ports, Spawner},
    runtime::{Environments, Host, Progresses},
    session::Outbox,
};

pub(crate) use link::AgentLink;
pub(crate) use supervisor::supervise;

/// Everything the actors act upon.
pub(crate) struct World {
    /// No other agent begins before the last actor of this one has let go.
    #[expect(dead_code, reason = "it only has to be held")]
    pub(crate) lock: Lock,
    pub(crate) home: PathBuf,
    pub(crate) host: Host,
    pub(crate) environments: Environments,
    pub(crate) cache: Arc<Cache>,
    pub(crate) spawner: Spawner,
    pub(crate) ports: Ports,
    pub(crate) mesh: MeshHandle,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) timing: Timing,
    /// The newest ledger; a task of its own brings it to the disk.
    pub(crate) ledger: watch::Sender<Ledger>,
    /// How far every prefetch is, for the next heartbeat.
    pub(crate) prefetches: watch::Sender<Vec<PrefetchReport>>,
    /// How far every replica is that is being prepared, for the same.
    pub(crate) progress: Arc<Progresses>,
    pub(crate) agent: AgentLink,
    pub(crate) gpus: Arc<GpuMonitor>,
    /// What its replicas hold and use, as measured last.
    pub(crate) holds: Arc<NodeHolds>,
    pub(crate) started: Instant,
}

// === impl World ===

impl World {
    /// Reads the monotonic clock in the form the pure agent takes.
    pub(crate) fn now(&self) -> berth_core::time::Instant {
        berth_core::time::Instant::from_millis(self.started.elapsed().as_millis() as u64)
    }
}
