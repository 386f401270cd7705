//! Locality: nodes that have a deployment's model already, so that an instance there begins without fetching it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ask, Fleet};
use crate::{
    id::{Digest, NodeId},
    model::{Deployment, DeploymentKey, Replica, ReplicaState},
    state::ClusterState,
};

/// How many nodes are looked at beyond those that are asked for. With more of them the choice among those is good
/// enough, and a deployment of thousands need not rank all of its old nodes for one new instance.
const NODES_BEYOND: usize = 64;

/// Which deployments refer to a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Models<'a>(Option<BTreeMap<Digest, BTreeSet<&'a DeploymentKey>>>);

// === impl Models ===

impl<'a> Models<'a> {
    /// Lists the deployments that refer to a model, in any generation that is kept.
    fn users(&mut self, state: &'a ClusterState, model: &Digest) -> Vec<&'a DeploymentKey> {
        let users = self.0.get_or_insert_with(|| {
            let mut users = BTreeMap::<_, BTreeSet<_>>::new();
            for deployment in state.deployments.values() {
                let specs = deployment.old_specs.values().chain([&deployment.spec]);
                for model in specs.filter_map(|spec| spec.model.as_ref()) {
                    users.entry(model.asset.digest).or_default().insert(&deployment.key);
                }
            }
            users
        });
        users.get(model).into_iter().flatten().copied().collect()
    }
}

// === impl Fleet ===

impl Fleet<'_> {
    /// Lists nodes that have the model of `ask`: those on which an instance has come past fetching it, and those that
    /// hold a place of a reserve for it, which fetch ahead. At most `count` and some more, its own deployment's first.
    pub(super) fn nodes_with_model(&mut self, ask: &Ask<'_>, count: u64) -> BTreeSet<NodeId> {
        let Some(model) = &ask.model else { return BTreeSet::new() };
        let state = self.state;
        let mut users = self.models.users(state, model);
        users.sort_by_key(|key| (*key != ask.key, *key));
        let most = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(NODES_BEYOND);
        let mut nodes = BTreeSet::new();
        for deployment in users.into_iter().filter_map(|key| state.deployments.get(key)) {
            let replicas = state.replicas_of(&deployment.key).filter(|replica| has_model(deployment, replica, model));
            let is_current = deployment.spec.model.as_ref().is_some_and(|own| own.asset.digest == *model);
            let slots = state.slots_of(&deployment.key).filter(|_| is_current).map(|slot| slot.node);
            for node in replicas.map(|replica| replica.node).chain(slots) {
                if nodes.len() == most {
                    return nodes;
                }
                nodes.insert(node);
            }
        }
        nodes
    }
}

/// Returns whether a replica's node has a model because of it.
fn has_model(deployment: &Deployment, replica: &Replica, model: &Digest) -> bool {
    let is_past_fetching = match replica.state {
        ReplicaState::Placed | ReplicaState::Preparing | ReplicaState::Failed => false,
        ReplicaState::Starting
        | ReplicaState::Warm
        | ReplicaState::Serving
        | ReplicaState::Draining
        | ReplicaState::Stopped => true,
    };
    let own = || deployment.spec_of(replica.generation)?.model.as_ref().map(|own| own.asset.digest);
    is_past_fetching && !replica.lost && own() == Some(*model)
}
