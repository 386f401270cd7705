//! What a node was last told, to tell it only what is new.

use std::collections::BTreeMap;

use berth_core::{
    agent::order::Assignments,
    id::{Generation, NodeEpoch, NodeId, ReplicaId, Term},
    model::{DeploymentKey, ReplicaState},
    state::ClusterState,
    time::LogTime,
};

/// What decides a node's orders. Two states that agree in it give the same orders: a spec changes only with its
/// generation, devices are granted once, and the number of instances does not concern a single replica.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gist {
    term: Term,
    epoch: NodeEpoch,
    replicas: BTreeMap<ReplicaId, (Generation, Want, bool)>,
    prefetches: BTreeMap<DeploymentKey, Generation>,
}

/// What is wanted of a replica, as far as orders tell states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Run,
    Drain(LogTime),
    Stop,
}

/// What a node was last told.
#[derive(Debug, Default)]
pub(super) struct Told {
    gist: Option<Gist>,
}

// === impl Told ===

impl Told {
    /// Returns the node's orders, if they differ from those it was told, and takes them as told.
    pub(super) fn news(&mut self, state: &ClusterState, node: NodeId) -> Option<Assignments> {
        let gist = Gist::of(state, node)?;
        if self.gist.as_ref() == Some(&gist) {
            return None;
        }
        self.gist = Some(gist);
        Assignments::of(state, node)
    }
}

// === impl Gist ===

impl Gist {
    fn of(state: &ClusterState, node: NodeId) -> Option<Self> {
        let epoch = state.nodes.get(&node)?.epoch;
        let replicas = state.replicas_on(node).map(|replica| {
            let want = match replica.state {
                ReplicaState::Draining => Want::Drain(replica.drain_deadline),
                ReplicaState::Stopped | ReplicaState::Failed => Want::Stop,
                _ => Want::Run,
            };
            let known = state.deployments.get(&replica.key).is_some_and(|d| d.spec_of(replica.generation).is_some());
            (replica.id, (replica.generation, want, known))
        });
        let wanted = state.slots_on(node).filter_map(|slot| state.deployments.get(&slot.key));
        let wanted = wanted.filter(|deployment| !deployment.deleting);
        let prefetches = wanted.map(|deployment| (deployment.key.clone(), deployment.generation)).collect();
        Some(Self { term: state.term, epoch, replicas: replicas.collect(), prefetches })
    }
}
