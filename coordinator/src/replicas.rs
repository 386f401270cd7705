//! How many replicas every deployment has in which state, and how many GPUs every node, for whoever scrapes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    id::LogIndex,
    model::{DeploymentKey, Device, NodeName, ReplicaState},
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
    /// GPUs by node and verdict: cards, however they are cut.
    gpus: BTreeMap<(NodeName, &'static str), u64>,
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
        for node in state.nodes.values() {
            // A card that its node no longer lists is the more worth an alert.
            let known = node.devices.keys().map(String::as_str);
            let cards: BTreeSet<_> = node.profile.devices.iter().map(Device::card).chain(known).collect();
            for card in cards {
                let verdict = node.devices.get(card).map(|condition| condition.state).unwrap_or_default();
                *counts.gpus.entry((node.profile.name.clone(), verdict.word())).or_default() += 1;
            }
        }
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
            ConstGauge::new(i64::try_from(*count).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
        }
        let mut family =
            encoder.encode_descriptor("gpus", "GPUs of a node, by their state", None, MetricType::Gauge)?;
        for ((node, state), count) in &counts.gpus {
            let labels = [("node", node.as_str()), ("state", state)];
            ConstGauge::new(i64::try_from(*count).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use berth_core::{
        id::{Generation, NodeEpoch, NodeId, ReplicaId},
        model::{DeviceCondition, DeviceState, Node, NodeProfile, NodeState, Replica},
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

    fn node(name: &str, devices: Vec<Device>, conditions: &[(&str, DeviceState)]) -> Node {
        let condition =
            |state| DeviceCondition { state, reason: "XID 79: fell off the bus".into(), ..DeviceCondition::default() };
        Node {
            id: NodeId(devices.len() as u64),
            epoch: NodeEpoch(1),
            profile: NodeProfile {
                name: name.parse().expect("a name"),
                labels: BTreeMap::new(),
                capacity: Resources::default(),
                devices,
                gate_address: String::new(),
                ingress_address: String::new(),
                is_virtual: false,
                version: String::new(),
            },
            state: NodeState::Ready,
            cordoned: false,
            drain: None,
            overfull: false,
            returns: 0,
            returned_at: LogTime::default(),
            devices: conditions.iter().map(|(card, state)| ((*card).to_owned(), condition(*state))).collect(),
            reason: String::new(),
            since: LogTime::default(),
            revision: LogIndex(1),
        }
    }

    /// A card counts once, however it is cut; one that is gone counts as what became of it.
    #[test]
    fn a_faulty_gpu_is_a_number_to_alert_on() {
        let whole = |uuid: &str| Device { uuid: uuid.into(), ..Device::default() };
        let slice = |uuid: &str| Device { card: Some("GPU-3".into()), ..whole(uuid) };
        let devices = vec![whole("GPU-1"), whole("GPU-2"), slice("MIG-1"), slice("MIG-2")];
        let faulty = [("GPU-2", DeviceState::Failed), ("GPU-3", DeviceState::Healthy), ("GPU-4", DeviceState::Failed)];
        let (counts, mut state) = (ReplicaCounts::default(), ClusterState::new());
        for node in [node("gpu-1", devices, &faulty), node("cpu-1", Vec::new(), &[])] {
            state.nodes.insert(node.id, node);
        }
        counts.set(&state);
        let mut registry = prometheus_client::registry::Registry::with_prefix("berth_coordinator");
        registry.register_collector(Box::new(counts));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes all");
        let gpus: Vec<_> = text.lines().filter(|line| line.starts_with("berth_coordinator_gpus")).collect();
        let told = r#"berth_coordinator_gpus{node="gpu-1",state="#;
        assert_eq!(gpus, [format!(r#"{told}"failed"}} 2"#), format!(r#"{told}"healthy"}} 2"#)]);
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
