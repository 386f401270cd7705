//! What one state alone can show.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::{
    id::{LogIndex, NodeId, ReplicaId},
    model::{DeploymentKey, DeviceState, NodeState, ReplicaState, Traffic},
    state::{ClusterState, Index},
    traffic::table::RouteTable,
    units::Resources,
};

pub(super) fn nodes_hold_what_they_have(state: &ClusterState, found: &mut Vec<Violation>) {
    let mut held: BTreeMap<NodeId, Resources> = BTreeMap::new();
    for replica in state.replicas.values() {
        *held.entry(replica.node).or_default() += replica.resources;
    }
    for slot in state.slots.values() {
        *held.entry(slot.node).or_default() += slot.resources;
    }
    let crowded: BTreeSet<NodeId> = crowded_devices(state).into_iter().map(|(node, _)| node).collect();
    for (id, held) in held {
        // A host may come back with less than it had. Then it says so, and nothing new comes before the rest fits.
        if let Some(node) = state.nodes.get(&id)
            && (held.fits(&node.profile.capacity) && !crowded.contains(&id)) == node.overfull
        {
            let text = format!("node {} holds {held} of {}", node.profile.name, node.profile.capacity);
            found.push(Violation::new("PL01", text));
        }
    }
}

pub(super) fn devices_are_given_once(state: &ClusterState, found: &mut Vec<Violation>) {
    for (node, text) in crowded_devices(state) {
        // A card may come back with less memory than it had, as a host may.
        if state.nodes.get(&node).is_some_and(|node| !node.overfull) {
            found.push(Violation::new("PL02", text));
        }
    }
}

/// Lists the nodes with a device of which more is given than there is.
fn crowded_devices(state: &ClusterState) -> Vec<(NodeId, String)> {
    let mut held: BTreeMap<(NodeId, &str), u64> = BTreeMap::new();
    let mut found = Vec::new();
    let by_replicas = state.replicas.values().map(|replica| (replica.node, &replica.devices));
    let by_slots = state.slots.values().map(|slot| (slot.node, &slot.devices));
    for (node, grants) in by_replicas.chain(by_slots) {
        let Some(node) = state.nodes.get(&node) else { continue };
        for grant in grants {
            let device = node.profile.devices.iter().find(|device| device.uuid == grant.uuid);
            let whole = device.map_or(0, |device| device.memory_mib);
            // A slice is given whole, whatever a driver counts of it: twice is too often.
            let is_slice = device.is_some_and(|device| device.mig_profile.is_some());
            let grant_mib = grant.memory_mib.filter(|_| !is_slice).unwrap_or(whole);
            let held = held.entry((node.id, &grant.uuid)).or_default();
            *held += grant_mib;
            if *held > whole {
                let text = format!("{held} MiB of {whole} of device {} on {} are given", grant.uuid, node.profile.name);
                found.push((node.id, text));
            }
        }
    }
    found
}

pub(super) fn devices_are_trusted_by_their_condition(state: &ClusterState, found: &mut Vec<Violation>) {
    for node in state.nodes.values() {
        for device in &node.profile.devices {
            let card = device.card.as_ref().unwrap_or(&device.uuid);
            let is_sound = node.devices.get(card).is_none_or(|known| known.state == DeviceState::Healthy);
            if is_sound != device.healthy {
                let text = format!(
                    "device {} of {} takes work: {}, its card is sound: {is_sound}",
                    device.uuid, node.profile.name, device.healthy
                );
                found.push(Violation::new("PL10", text));
            }
        }
        let cards: BTreeSet<_> =
            node.profile.devices.iter().map(|device| device.card.as_ref().unwrap_or(&device.uuid)).collect();
        if let Some(card) = node.devices.keys().find(|card| !cards.contains(card)) {
            found.push(Violation::new(
                "PL10",
                format!("{} keeps a condition of {card}, which it has not", node.profile.name),
            ));
        }
    }
}

pub(super) fn replicas_belong(state: &ClusterState, found: &mut Vec<Violation>) {
    for replica in state.replicas.values() {
        let node = state.nodes.get(&replica.node);
        if node.is_none() {
            found.push(Violation::new("RE01", format!("replica {} is on a node that does not exist", replica.id)));
        }
        let deployment = state.deployments.get(&replica.key);
        if deployment.is_none_or(|deployment| {
            replica.generation > deployment.generation || deployment.spec_of(replica.generation).is_none()
        }) {
            let text = format!(
                "replica {} runs generation {} of {}, which is not kept",
                replica.id, replica.generation, replica.key
            );
            found.push(Violation::new("RE01", text));
        }
        let node_is_lost = node.is_some_and(|node| node.state == NodeState::Lost);
        if node_is_lost != replica.lost {
            let text = format!("replica {} is lost: {}, its node: {node_is_lost}", replica.id, replica.lost);
            found.push(Violation::new("RE03", text));
        }
    }
}

pub(super) fn slots_belong(state: &ClusterState, found: &mut Vec<Violation>) {
    for slot in state.slots.values() {
        if !state.nodes.contains_key(&slot.node) {
            found.push(Violation::new("RS02", format!("slot {} is on a node that does not exist", slot.id)));
        }
        if state.deployments.get(&slot.key).is_none_or(|deployment| deployment.deleting) {
            found.push(Violation::new("RS02", format!("slot {} is held for {}, which is gone", slot.id, slot.key)));
        }
    }
}

pub(super) fn splits_are_whole(state: &ClusterState, found: &mut Vec<Violation>) {
    for endpoint in state.endpoints.values() {
        let total: u32 = endpoint.traffic.0.values().sum();
        if total != 0 && total != 100 {
            found.push(Violation::new("TR01", format!("the split of {} totals {total}", endpoint.name)));
        }
        let named = |traffic: &Traffic| traffic.0.keys().cloned().collect::<Vec<_>>();
        for name in named(&endpoint.traffic).into_iter().chain(named(&endpoint.mirror)) {
            let key = DeploymentKey::new(endpoint.name.clone(), name);
            if state.deployments.get(&key).is_none_or(|deployment| deployment.deleting) {
                found.push(Violation::new(
                    "TR01",
                    format!("traffic of {} names {key}, which is not there", endpoint.name),
                ));
            }
        }
    }
}

pub(super) fn routes_are_true(state: &ClusterState, found: &mut Vec<Violation>) {
    let table = RouteTable::of(state);
    let mut routed = BTreeSet::new();
    for endpoint in table.endpoints.values() {
        if endpoint.revision > table.version {
            let text =
                format!("routes of {} are of {}, the table of {}", endpoint.name, endpoint.revision, table.version);
            found.push(Violation::new("TR03", text));
        }
        routed
            .extend(endpoint.deployments.iter().flat_map(|deployment| &deployment.replicas).map(|replica| replica.id));
    }
    for replica in state.replicas.values() {
        let alive = state.nodes.get(&replica.node).is_some_and(|node| node.state != NodeState::Lost);
        let is_open = state.deployments.get(&replica.key).is_some_and(|deployment| !deployment.deleting)
            && state.endpoints.contains_key(&replica.key.endpoint);
        let should = alive && is_open && matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving);
        if should != routed.remove(&replica.id) {
            let text = format!("replica {} is {}, routed: {}", replica.id, replica.state, !should);
            found.push(Violation::new("TR02", text));
        }
    }
    if let Some(ghost) = routed.first() {
        found.push(Violation::new("TR02", format!("replica {ghost} is routed and does not exist")));
    }
}

pub(super) fn deletes_leave_nothing(state: &ClusterState, found: &mut Vec<Violation>) {
    let used: BTreeSet<&DeploymentKey> = state.replicas.values().map(|replica| &replica.key).collect();
    for deployment in state.deployments.values() {
        if !state.endpoints.contains_key(&deployment.key.endpoint) && !deployment.deleting {
            found.push(Violation::new("DL01", format!("{} outlives its endpoint", deployment.key)));
        }
        if deployment.deleting && !used.contains(&deployment.key) {
            found.push(Violation::new(
                "DL01",
                format!("{} is deleted, has no replica and is still there", deployment.key),
            ));
        }
    }
}

pub(super) fn names_are_unique(state: &ClusterState, found: &mut Vec<Violation>) {
    let mut names = BTreeSet::new();
    for node in state.nodes.values() {
        if !names.insert(&node.profile.name) {
            found.push(Violation::new("NO01", format!("two nodes are called {}", node.profile.name)));
        }
    }
}

pub(super) fn revisions_are_past(state: &ClusterState, found: &mut Vec<Violation>) {
    let endpoints = state.endpoints.values().map(|endpoint| endpoint.revision);
    let deployments = state.deployments.values().map(|deployment| deployment.revision);
    let replicas = state.replicas.values().map(|replica| replica.revision);
    let nodes = state.nodes.values().map(|node| node.revision);
    let slots = state.slots.values().map(|slot| slot.revision);
    let assets = state.assets.values().map(|asset| asset.revision);
    let routes = state.routes.endpoints().map(|(_, revision)| revision).chain([state.routes.version()]);
    let newest =
        endpoints.chain(deployments).chain(replicas).chain(slots).chain(nodes).chain(assets).chain(routes).max();
    if newest.unwrap_or(LogIndex(0)) > state.applied {
        found.push(Violation::new(
            "WR04",
            format!("a revision is {}, the last entry {}", newest.unwrap_or_default(), state.applied),
        ));
    }
}

pub(super) fn look_ups_are_true(state: &ClusterState, found: &mut Vec<Violation>) {
    let rebuilt = Index::of(
        state.endpoints.values(),
        state.nodes.values(),
        state.deployments.values(),
        state.replicas.values(),
        state.slots.values(),
    );
    if rebuilt != *state.index() {
        let differing: Vec<ReplicaId> = state
            .replicas
            .values()
            .filter(|replica| !state.index().replicas_on(replica.node).any(|id| id == replica.id))
            .map(|replica| replica.id)
            .collect();
        found.push(Violation::new("IX01", format!("the look-ups differ from the records (missing: {differing:?})")));
    }
}
