//! Orders: the full set of replicas a node shall have, fenced by term, epoch and revision.

use std::collections::BTreeMap;

use super::PrefetchOrder;
use crate::{
    id::{Generation, LogIndex, NodeEpoch, NodeId, ReplicaId, Term},
    model::{DeploymentKey, DeploymentSpec, DeviceGrant, ReplicaState},
    state::ClusterState,
    time::LogTime,
};

/// Everything a node shall run. What it runs beyond this, it stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    /// The leader's term; an agent refuses an older one than it has seen.
    pub term: Term,
    /// The node's epoch; an agent refuses any but its own.
    pub epoch: NodeEpoch,
    /// The state this was built from; an agent refuses an older one than it has seen.
    pub revision: LogIndex,
    /// One order per replica.
    pub replicas: BTreeMap<ReplicaId, ReplicaOrder>,
    /// What is to be ready for the slots it holds, one per deployment.
    pub prefetches: BTreeMap<DeploymentKey, PrefetchOrder>,
}

/// What a node shall do with a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaOrder {
    /// The replica.
    pub replica: ReplicaId,
    /// Its deployment.
    pub key: DeploymentKey,
    /// The generation of `spec`.
    pub generation: Generation,
    /// What it runs.
    pub spec: DeploymentSpec,
    /// The devices it gets.
    pub devices: Vec<DeviceGrant>,
    /// What is wanted of it.
    pub desired: Desired,
}

/// What is wanted of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired {
    /// Run it and keep it running.
    Run,
    /// Finish what it has; the gate answers NOT_STARTED to anything new. Stopping is another order.
    Drain {
        /// When requests still running are cut.
        deadline: LogTime,
    },
    /// End it and report it gone.
    Stop,
}

// === impl Assignments ===

impl Assignments {
    /// Builds the orders of a node from the state.
    pub fn of(state: &ClusterState, node: NodeId) -> Option<Self> {
        let epoch = state.nodes.get(&node)?.epoch;
        let replicas = state.replicas_on(node).map(|replica| {
            let desired = match replica.state {
                ReplicaState::Draining => Desired::Drain { deadline: replica.drain_deadline },
                ReplicaState::Stopped | ReplicaState::Failed => Desired::Stop,
                _ => Desired::Run,
            };
            let spec =
                state.deployments.get(&replica.key).and_then(|deployment| deployment.spec_of(replica.generation));
            // A spec is kept as long as a replica runs it; were it missing, stopping is the only safe order.
            let (spec, desired) = match spec {
                Some(spec) => (spec.clone(), desired),
                None => (DeploymentSpec::new(crate::model::Runtime::Command(Vec::new())), Desired::Stop),
            };
            ReplicaOrder {
                replica: replica.id,
                key: replica.key.clone(),
                generation: replica.generation,
                spec,
                devices: replica.devices.clone(),
                desired,
            }
        });
        let replicas = replicas.map(|order| (order.replica, order)).collect();
        let prefetches = prefetches(state, node).map(|order| (order.key.clone(), order)).collect();
        Some(Self { term: state.term, epoch, revision: state.applied, replicas, prefetches })
    }
}

/// Lists what a node has ready for its slots: whatever takes one runs the newest generation.
fn prefetches(state: &ClusterState, node: NodeId) -> impl Iterator<Item = PrefetchOrder> {
    let deployments = state.slots_on(node).filter_map(|slot| state.deployments.get(&slot.key));
    deployments.filter(|deployment| !deployment.deleting).map(|deployment| PrefetchOrder {
        key: deployment.key.clone(),
        generation: deployment.generation,
        spec: deployment.spec.clone(),
    })
}
