//! How many replicas every deployment has in which state, for whoever scrapes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    model::{DeploymentKey, ReplicaState},
    state::ClusterState,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

/// What was counted last. A page shows one count or the next, never a part of each: two may be read at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplicaCounts(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// Instances asked for.
    wanted: BTreeMap<DeploymentKey, u32>,
    /// By the word that people read. The cluster's deployments times the states that occur in each: there is no series for
    /// a replica, of which there may be a hundred thousand.
    by_state: BTreeMap<(DeploymentKey, &'static str), u64>,
}

// === impl ReplicaCounts ===

impl ReplicaCounts {
    /// Counts anew.
    pub(crate) fn set(&self, state: &ClusterState) {
        let mut counts = Counts::default();
        for (key, deployment) in &state.deployments {
            counts.wanted.insert(key.clone(), deployment.spec.instance_count);
            // Nobody serving is a number worth an alert, and a series that is not there is none.
            counts.by_state.insert((key.clone(), ReplicaState::Serving.word()), 0);
        }
        let mut found: BTreeMap<(&DeploymentKey, &'static str), u64> = BTreeMap::new();
        for replica in state.replicas.values() {
            *found.entry((&replica.key, replica.word())).or_default() += 1;
        }
        counts.by_state.extend(found.into_iter().map(|((key, state), count)| ((key.clone(), state), count)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

impl Collector for ReplicaCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, help) = ("deployment_instances", "Instances a deployment asks for");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (key, wanted) in &counts.wanted {
            let labels = [("endpoint", key.endpoint.as_str()), ("deployment", key.deployment.as_str())];
            ConstGauge::new(i64::from(*wanted)).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("deployment_replicas", "Replicas of a deployment, by their state");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((key, state), count) in &counts.by_state {
            let labels =
                [("endpoint", key.endpoint.as_str()), ("deployment", key.deployment.as_str()), ("state", state)];
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
