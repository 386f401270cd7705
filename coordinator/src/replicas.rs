//! How many replicas every deployment has in which state, for whoever scrapes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    id::LogIndex,
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
    /// The entry up to which they are counted: while nothing is applied, nothing is counted anew.
    applied: Option<LogIndex>,
    /// Instances asked for.
    wanted: BTreeMap<DeploymentKey, u32>,
    /// By the word that people read. The cluster's deployments times the states that occur in each: there is no series for
    /// a replica, of which there may be a hundred thousand.
    by_state: BTreeMap<(DeploymentKey, &'static str), u64>,
}

// === impl ReplicaCounts ===

impl ReplicaCounts {
    /// Counts what the state holds, unless it was counted as it is: heartbeats are no part of it, so that at rest a scrape
    /// walks nothing.
    pub(crate) fn set(&self, state: &ClusterState) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).applied == Some(state.applied) {
            return;
        }
        let mut counts = Counts { applied: Some(state.applied), ..Counts::default() };
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

#[cfg(test)]
mod tests {
    use berth_core::{
        id::{Generation, NodeId, ReplicaId},
        model::Replica,
        time::LogTime,
        units::Resources,
    };

    use super::*;

    fn replica(id: u64, state: ReplicaState) -> Replica {
        Replica {
            id: ReplicaId(id),
            key: "fraud/blue".parse().expect("a key"),
            generation: Generation(1),
            node: NodeId(1),
            resources: Resources::default(),
            devices: Vec::new(),
            replaces: None,
            reserve_spent: None,
            made_room_for: None,
            state,
            reason: String::new(),
            lost: false,
            restarts: 0,
            retry_at: LogTime::default(),
            pid: 0,
            address: String::new(),
            placed_at: LogTime::default(),
            since: LogTime::default(),
            drain_deadline: LogTime::default(),
            revision: LogIndex(1),
        }
    }

    #[test]
    fn what_is_at_rest_is_counted_once() {
        let (counts, mut state) = (ReplicaCounts::default(), ClusterState::new());
        let mut counted = |applied: u64, added: Replica| -> Vec<(&'static str, u64)> {
            state.applied = LogIndex(applied);
            state.replicas.insert(added.id, added);
            counts.set(&state);
            let counts = counts.0.lock().expect("nobody panicked");
            counts.by_state.iter().map(|((_, state), count)| (*state, *count)).collect()
        };
        assert_eq!(counted(1, replica(1, ReplicaState::Serving)), [("serving", 1)]);
        let unseen = "no entry was applied, so nothing can have changed";
        assert_eq!(counted(1, replica(2, ReplicaState::Starting)), [("serving", 1)], "{unseen}");
        assert_eq!(counted(2, replica(1, ReplicaState::Draining)), [("draining", 1), ("starting", 1)]);
    }
}
