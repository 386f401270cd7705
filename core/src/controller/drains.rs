//! What a node that is to be empty waits for: one line per replica that is still there, for people.

use super::Controller;
use crate::{
    id::NodeId,
    model::{Node, Replica, ReplicaState},
    state::ClusterState,
};

impl Controller {
    /// Lists what keeps a node from being empty; nothing when nothing does.
    pub fn drain_waits(&self, state: &ClusterState, node: NodeId) -> Vec<String> {
        let Some(node) = state.nodes.get(&node).filter(|node| node.drain.is_some()) else { return Vec::new() };
        let in_flight = self.routers.in_flight(state);
        let line = |replica: &Replica| {
            let told = match replica.state {
                _ if replica.lost => format!("{} is lost: it tells what runs there when it is back", name(node)),
                ReplicaState::Draining => self.drains(state, replica, in_flight.get(&replica.id).copied()),
                ReplicaState::Stopped | ReplicaState::Failed => "its process ends".to_owned(),
                _ => self.stays(state, replica),
            };
            format!("replica {} of {}: {told}", replica.id.short(), replica.key)
        };
        state.replicas_on(node.id).map(line).collect()
    }

    fn drains(&self, state: &ClusterState, replica: &Replica, in_flight: Option<u64>) -> String {
        let missing = self.routers.missing(state, replica);
        let names: Vec<_> = missing.iter().filter_map(|node| state.nodes.get(node)).map(name).collect();
        let left = replica.drain_deadline.since(state.time);
        match in_flight {
            Some(1) => format!("1 request is under way, cut in {left} at the latest"),
            Some(count) if count > 1 => format!("{count} requests are under way, cut in {left} at the latest"),
            _ if names.is_empty() => "it is about to stop".to_owned(),
            _ => format!("not yet forgotten by {}", names.join(", ")),
        }
    }

    fn stays(&self, state: &ClusterState, replica: &Replica) -> String {
        if let Some(verdict) = self.report.short.get(&replica.key) {
            return format!("it stays until another fits elsewhere\n{verdict}");
        }
        let open = |other: &&Replica| {
            let node = state.nodes.get(&other.node);
            other.is_wanted() && !other.is_ready() && node.is_some_and(Node::is_open)
        };
        match state.replicas_of(&replica.key).find(open) {
            Some(other) => {
                let on = state.nodes.get(&other.node).map_or("?", name);
                format!("until {} takes over, which is {} on {on}", other.id.short(), other.state)
            }
            None => "its turn comes: a fifth of a deployment moves at a time".to_owned(),
        }
    }
}

fn name(node: &Node) -> &str {
    node.profile.name.as_str()
}
