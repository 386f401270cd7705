//! Rest: what must be so once every fault is mended and everyone had time.
//!
//! Every deployment has what it asks for and its reserve is whole, or the state says what is short and it is; nothing is
//! left over: no replica, no slot, no process.

use berth_core::{
    model::{Deployment, DeviceGrant, GpuAsk, Node, NodeState, Replica, ReserveSlot},
    state::ClusterState,
    time::Millis,
    units::Resources,
};

use crate::{node::EXIT_VARIABLE, world::World};

/// What is not as it should be: the invariant, and what was found.
pub(crate) type Unrest = (&'static str, String);

// === impl World ===

impl World {
    /// Lists what is not as it should be once everything is mended.
    pub(crate) fn unrest(&self) -> Vec<Unrest> {
        let mut found = Vec::new();
        self.coordinators_agree(&mut found);
        let truth = self.truth();
        nodes_are_well(truth, &mut found);
        let waits = deployments_are_whole(truth, &mut found);
        reserves_are_whole(truth, waits, &mut found);
        self.nodes_run_what_they_should(&mut found);
        found.extend(self.lock_left().map(|what| ("RC01", what)));
        found
    }

    fn coordinators_agree(&self, found: &mut Vec<Unrest>) {
        let newest = self.truth().applied;
        let behind = self.members.iter().enumerate().filter(|(_, member)| member.state.applied != newest);
        found.extend(behind.map(|(at, member)| {
            ("RC01", format!("coordinator c{} is at entry {} of {newest}", at + 1, member.state.applied))
        }));
    }

    fn nodes_run_what_they_should(&self, found: &mut Vec<Unrest>) {
        let truth = self.truth();
        for node in &self.nodes {
            let name = &node.profile.name;
            for process in node.processes.values() {
                if truth.replicas.get(&process.replica).is_none_or(|replica| replica.node != node.id) {
                    let text = format!("{name} runs a process of {}, which is gone", process.replica.short());
                    found.push(("RC01", text));
                }
            }
            if node.router.table != self.members[self.leader_or_first()].table {
                let version = node.router.table.version;
                found.push(("RC01", format!("{name} routes by {version} of {}", truth.routes.version())));
            }
        }
        for replica in truth.replicas.values() {
            let node = truth.nodes.get(&replica.node);
            if node.is_some_and(|node| node.condemned(&replica.devices).is_some()) {
                let what = format!("replica {} is {} on a broken GPU", replica.id.short(), replica.state);
                found.push(("RC01", what));
            }
        }
        for replica in truth.replicas.values().filter(|replica| replica.is_ready()) {
            let runs = self.nodes.iter().any(|node| {
                node.id == replica.node && node.processes.values().any(|process| process.replica == replica.id)
            });
            if !runs {
                found.push(("RC01", format!("replica {} serves and has no process", replica.id.short())));
            }
        }
    }
}

fn nodes_are_well(truth: &ClusterState, found: &mut Vec<Unrest>) {
    for node in truth.nodes.values().filter(|node| node.state != NodeState::Ready) {
        // One that flapped is not trusted for a while; what waits for it is counted as having no room.
        if node.state != NodeState::Suspect || node.hold(&truth.settings) == Millis(0) {
            found.push(("RC01", format!("node {} is {}", node.profile.name, node.state)));
        }
    }
    for node in truth.nodes.values().filter(|node| node.overfull) {
        let fits = |replica: &Replica| {
            let Some(deployment) = truth.deployments.get(&replica.key) else { return false };
            let other = |other: &&Node| other.id != node.id && could_hold(truth, deployment, other);
            truth.nodes.values().any(|node| other(&node))
                || truth.slots_of(&replica.key).any(|slot| slot.node != node.id)
        };
        if truth.replicas_on(node.id).any(fits) {
            let text = format!("node {} holds more than it has, and others have room", node.profile.name);
            found.push(("RC01", text));
        }
    }
    for node in truth.nodes.values().filter(|node| node.wish() == Some("draining")) {
        let fits_nowhere = |replica: &Replica| {
            berth_core::controller::explain(truth, &replica.key).is_ok_and(|verdict| !verdict.by.is_empty())
        };
        // One that can place nothing keeps what it has, and starts that fail are tried again later and later; where an
        // earlier generation is known to work, that one is started elsewhere.
        let waits = |replica: &Replica| {
            let keeps_failing = |deployment: &Deployment| deployment.failures > 0 && deployment.stand_in().is_none();
            let tried = truth.deployments.get(&replica.key).is_some_and(keeps_failing);
            tried || fits_nowhere(replica)
        };
        if !truth.replicas_on(node.id).any(waits) {
            found.push(("RC01", format!("node {} is to be empty and is not", node.profile.name)));
        }
    }
}

/// Returns whether a deployment waits for places it is going to have.
fn deployments_are_whole(truth: &ClusterState, found: &mut Vec<Unrest>) -> bool {
    let mut waits = false;
    for deployment in truth.deployments.values() {
        let replicas: Vec<_> = truth.replicas_of(&deployment.key).collect();
        let good = replicas.iter().filter(|replica| replica.is_ready() && replica.generation == deployment.generation);
        let (good, all, desired) = (good.count() as u64, replicas.len() as u64, deployment.desired());
        waits |= deployment.deleting || good != desired || all != desired;
        if is_broken(deployment, truth) {
            continue;
        }
        let waits_for = |to: &Deployment| to.retry_at > truth.time;
        let mut yielded_to = deployment.yielded.iter().filter_map(|yielded| truth.deployments.get(&yielded.to));
        if all < desired && yielded_to.any(waits_for) {
            continue;
        }
        let is_full =
            || berth_core::controller::explain(truth, &deployment.key).is_ok_and(|verdict| !verdict.by.is_empty());
        if deployment.deleting || ((good != desired || all != desired) && !(all <= desired && is_full())) {
            found.push(("RC01", format!("{}: {good} of {desired} serve, {all} exist", deployment.key)));
        }
    }
    waits
}

/// Returns whether its processes exit, or its next start is not due yet.
fn is_broken(deployment: &Deployment, truth: &ClusterState) -> bool {
    deployment.spec.environment_variables.contains_key(EXIT_VARIABLE) || deployment.retry_at > truth.time
}

/// A reserve is whole, or its deployment says that it is short and no node could hold one place more.
fn reserves_are_whole(truth: &ClusterState, somebody_waits: bool, found: &mut Vec<Unrest>) {
    for deployment in truth.deployments.values().filter(|deployment| !deployment.deleting) {
        let key = &deployment.key;
        let held = truth.slots_of(key).count() as u64;
        let (beyond, wanted) = (truth.places_beyond(key), deployment.reserve());
        if held > wanted {
            found.push(("RS04", format!("{key} holds {held} slots of {wanted}")));
        }
        let is_of_use = |slot: &&ReserveSlot| {
            truth.nodes.get(&slot.node).is_some_and(|node| node.is_open() && slot.suits(&deployment.spec, node))
        };
        if let Some(slot) = truth.slots_of(key).find(|slot| !is_of_use(slot)) {
            found.push(("RS04", format!("{key} holds slot {}, which it cannot use", slot.id)));
        }
        let is_whole = held + beyond >= wanted;
        if is_whole && deployment.reserve_short_since.is_some() {
            found.push(("RS04", format!("{key} has its reserve and says that it is short")));
        }
        if is_whole {
            continue;
        }
        if deployment.reserve_short_since.is_none() {
            found.push(("RS04", format!("{key} holds {held} slots of {wanted} and does not say so")));
        }
        // First instances come before anybody's slots, also those that are tried again in a while.
        if !somebody_waits && let Some(node) = truth.nodes.values().find(|node| could_hold(truth, deployment, node)) {
            let text = format!("{key} holds {held} slots of {wanted}, and {} has room", node.profile.name);
            found.push(("RS04", text));
        }
    }
}

/// Returns whether a node has room for one more instance, from the plain records.
fn could_hold(truth: &ClusterState, deployment: &Deployment, node: &Node) -> bool {
    let spec = &deployment.spec;
    let is_open = node.state == NodeState::Ready && !node.cordoned && node.drain.is_none() && !node.overfull;
    let is_meant = spec.constraints.iter().all(|(name, rule)| rule.allows(node.label(name)));
    let replicas = truth.replicas.values().filter(|replica| replica.node == node.id);
    let slots = truth.slots.values().filter(|slot| slot.node == node.id);
    let held = replicas.clone().map(|replica| replica.resources).chain(slots.clone().map(|slot| slot.resources));
    let held = held.fold(Resources::ZERO, |sum, each| sum + each);
    let grants: Vec<&DeviceGrant> =
        replicas.flat_map(|replica| &replica.devices).chain(slots.flat_map(|slot| &slot.devices)).collect();
    is_open && is_meant && (held + spec.resources).fits(&node.profile.capacity) && has_devices(node, &spec.gpu, &grants)
}

fn has_devices(node: &Node, ask: &GpuAsk, grants: &[&DeviceGrant]) -> bool {
    let free_mib = |device: &berth_core::model::Device| {
        let held = grants.iter().filter(|grant| grant.uuid == device.uuid);
        let held: u64 = held.map(|grant| grant.memory_mib.unwrap_or(device.memory_mib)).sum();
        device.memory_mib.saturating_sub(held)
    };
    let sound = || node.profile.devices.iter().filter(|device| device.healthy && device.mig_profile.is_none());
    match ask {
        GpuAsk::None => true,
        GpuAsk::Memory { mib, .. } => sound().any(|device| free_mib(device) >= *mib),
        GpuAsk::Whole { count, .. } => {
            sound().filter(|device| free_mib(device) == device.memory_mib).count() >= *count as usize
        }
        GpuAsk::Mig { profile, count } => {
            let slices = node.profile.devices.iter().filter(|device| device.mig_profile.as_ref() == Some(profile));
            slices.filter(|device| device.healthy && free_mib(device) == device.memory_mib).count() >= *count as usize
        }
    }
}
