//! What a coordinator counts, in a registry of its own: several of them live in one process.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::error::Code;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{alert::Levels, replicas::ReplicaCounts};

/// Seconds a call may take, from an answer out of memory to a slow election.
const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// What a coordinator counts.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    calls: Family<CallLabels, Counter>,
    seconds: Family<RpcLabels, Histogram, fn() -> Histogram>,
    pub(crate) state: StateGauges,
    pub(crate) alerts: Levels,
    pub(crate) replicas: ReplicaCounts,
}

/// Levels, read from the state when somebody asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateGauges {
    pub(crate) applied: Gauge,
    pub(crate) term: Gauge,
    pub(crate) leads: Gauge,
    pub(crate) entries: Gauge,
    pub(crate) endpoints: Gauge,
    pub(crate) deployments: Gauge,
    pub(crate) replicas: Gauge,
    pub(crate) nodes: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) table_version: Gauge,
    /// Of the last time somebody looked.
    pub(crate) violations: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    rpc: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc: &'static str,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("berth_coordinator");
        let calls = Family::<CallLabels, Counter>::default();
        let seconds = Family::<RpcLabels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
        let state = StateGauges::default();
        registry.register("calls", "Calls answered, by code", calls.clone());
        registry.register("call_seconds", "Seconds until a call was answered", seconds.clone());
        for (name, help, gauge) in [
            ("applied_index", "The last entry applied", &state.applied),
            ("term", "The Raft term", &state.term),
            ("leads", "1 while this member leads", &state.leads),
            ("applied_entries", "Entries applied since start", &state.entries),
            ("endpoints", "Endpoints", &state.endpoints),
            ("deployments", "Deployments", &state.deployments),
            ("replicas", "Replicas", &state.replicas),
            ("nodes", "Nodes", &state.nodes),
            ("node_sessions", "Open sessions of nodes, on the leader", &state.sessions),
            ("route_table_version", "The entry that last changed any route", &state.table_version),
            ("invariant_violations", "Broken invariants the last check found", &state.violations),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let alerts = Levels::default();
        alerts.register(&mut registry);
        let replicas = ReplicaCounts::default();
        registry.register_collector(Box::new(replicas.clone()));
        Self { registry: Arc::new(Mutex::new(registry)), calls, seconds, state, alerts, replicas }
    }

    /// Counts an answered call.
    pub(crate) fn answered(&self, rpc: &'static str, refused: Option<Code>, took: Duration) {
        let code = refused.map_or("OK", Code::word);
        self.calls.get_or_create(&CallLabels { rpc, code }).inc();
        self.seconds.get_or_create(&RpcLabels { rpc }).observe(took.as_secs_f64());
    }

    /// Writes everything in the text form of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}
