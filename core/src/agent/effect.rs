//! Effects: what the agent asks its shell to do.

use std::sync::Arc;

use super::{Ledger, PrefetchOrder, PrefetchReport, ProbeKind, ProbeTarget, Process, ReplicaOrder};
use crate::{id::ReplicaId, model::DeploymentKey, state::ReplicaReport, time::Millis};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fetch every asset of a replica and mount it; answer `AssetsReady` or `AssetsFailed`.
    FetchAssets {
        /// What is to run.
        order: Arc<ReplicaOrder>,
    },
    /// Make its environment; answer `EnvironmentReady` or `EnvironmentFailed`.
    BuildEnvironment {
        /// What is to run.
        order: Arc<ReplicaOrder>,
    },
    /// Start its process on a free port; answer `Started` or `StartFailed`, and `Exited` once no process of its group
    /// is left.
    Launch {
        /// What is to run.
        order: Arc<ReplicaOrder>,
        /// Names this launch.
        attempt: u64,
    },
    /// Watch a process of an earlier agent; answer `Exited` once no process of its group is left.
    Adopt {
        /// What it runs.
        order: Arc<ReplicaOrder>,
        /// The launch that made it.
        attempt: u64,
        /// The process.
        process: Process,
    },
    /// Ask the process; always answer `ProbeAnswered`.
    Probe {
        /// The replica.
        replica: ReplicaId,
        /// The launch that made the process.
        attempt: u64,
        /// Which probe it is.
        kind: ProbeKind,
        /// How to ask.
        target: ProbeTarget,
        /// Where.
        port: u16,
        /// How long it may take.
        timeout: Millis,
    },
    /// Send one request that is thrown away; always answer `WarmedUp`.
    WarmUp {
        /// The replica.
        replica: ReplicaId,
        /// The launch that made the process.
        attempt: u64,
        /// How to ask.
        target: ProbeTarget,
        /// Where.
        port: u16,
        /// How long it may take.
        timeout: Millis,
    },
    /// Signal the process group.
    Kill {
        /// The replica.
        replica: ReplicaId,
        /// The launch that made the process.
        attempt: u64,
        /// The signal.
        signal: Signal,
    },
    /// Tell the gate where a replica listens and whether it takes new requests.
    Publish {
        /// What it runs.
        order: Arc<ReplicaOrder>,
        /// Where it listens on loopback.
        port: u16,
        /// Whether it takes new requests.
        state: GateState,
    },
    /// Make the gate forget a replica.
    Withdraw {
        /// The replica.
        replica: ReplicaId,
    },
    /// Count the requests the gate has for a replica, running and waiting; always answer `GateCounted`.
    AskGate {
        /// The replica.
        replica: ReplicaId,
    },
    /// Tell the leader; to be repeated until it is acknowledged.
    Report(ReplicaReport),
    /// Cancel what is being prepared and remove the replica's folder; answer `FilesRemoved`.
    RemoveFiles {
        /// The replica.
        replica: ReplicaId,
    },
    /// Get everything ready that an instance would need; answer `Prefetched`.
    Prefetch {
        /// What for.
        order: Arc<PrefetchOrder>,
    },
    /// Stop getting it ready; nothing is to be answered any more.
    CancelPrefetch {
        /// Of which deployment.
        key: DeploymentKey,
    },
    /// Tell the leader how far every prefetch is, with each heartbeat from now on.
    ReportPrefetches(Vec<PrefetchReport>),
    /// Keep this across a restart of the agent.
    SaveLedger(Ledger),
    /// Orders or a session were refused; for the log.
    Refuse {
        /// Why.
        why: String,
    },
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Politely.
    Term,
    /// By force.
    Kill,
}

/// Whether the gate sends a replica new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// It does.
    Open,
    /// It answers NOT_STARTED and lets running requests end.
    Draining,
}
