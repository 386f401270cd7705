//! The state as the API shows it. A `View` of soft facts (loads, usage) is added by the leader alone.

use berth_core::{
    agent::{PrefetchReport, PrefetchState},
    id::{NodeId, ReplicaId},
    model::{Deployment, DeploymentKey, Endpoint, Node, NodeDrain, Replica, ReserveSlot},
    reserve,
    schedule::Verdict,
    state::{ClusterState, DeploymentState, Event, Severity},
};

use super::v1;
use crate::convert::{Wire, wires};
use crate::node::v1::{DeviceReport, PrepareProgress};

/// Shows an endpoint.
pub fn endpoint_message(state: &ClusterState, endpoint: &Endpoint) -> v1::Endpoint {
    let shares = |traffic: &berth_core::model::Traffic| {
        traffic.0.iter().map(|(name, percent)| (name.to_string(), *percent)).collect()
    };
    let states = state
        .deployments_of(&endpoint.name)
        .filter_map(|deployment| state.deployment_status(&deployment.key).ok().map(|status| status.state));
    // Most urgent first: a failed deployment makes the endpoint worth looking at, one that moves makes it updating.
    let provisioning_state = states.fold("Succeeded", |worst, state| match (worst, state) {
        ("Failed", _) | (_, DeploymentState::Failed) => "Failed",
        (_, DeploymentState::Succeeded) => worst,
        _ => "Updating",
    });
    let mut nodes: Vec<_> =
        state.nodes.values().filter(|node| node.state != berth_core::model::NodeState::Lost).collect();
    // People try the first one: that is the node they would name first, not the smallest random id.
    nodes.sort_by_key(|node| &node.profile.name);
    let uri = |node: &&Node, path: &str| format!("http://{}/e/{}/{path}", node.profile.ingress_address, endpoint.name);
    let of_first = |path: &str| nodes.first().map(|node| uri(node, path)).unwrap_or_default();
    v1::Endpoint {
        name: endpoint.name.to_string(),
        project: endpoint.project.to_string(),
        spec: Some(Wire::wire(&endpoint.spec)),
        traffic: shares(&endpoint.traffic),
        mirror_traffic: shares(&endpoint.mirror),
        scoring_uris: nodes.iter().map(|node| uri(node, "score")).collect(),
        scoring_uri: of_first("score"),
        openapi_uri: of_first("swagger.json"),
        provisioning_state: provisioning_state.to_owned(),
        created_at_ms: endpoint.created_at.millis(),
        revision: endpoint.revision.0,
        firing: state.firing_of(&endpoint.name).map(|alert| alert.key.rule.clone()).collect(),
    }
}

/// Shows a deployment.
pub fn deployment_message(state: &ClusterState, deployment: &Deployment) -> v1::Deployment {
    let key = &deployment.key;
    let endpoint = state.endpoints.get(&key.endpoint);
    let status = state.deployment_status(key).ok();
    v1::Deployment {
        endpoint: key.endpoint.to_string(),
        name: key.deployment.to_string(),
        spec: Some(Wire::wire(&deployment.spec)),
        generation: deployment.generation.0,
        provisioning_state: status.as_ref().map_or("Deleting", |status| status.state.word()).to_owned(),
        reason: status.as_ref().map(|status| status.reason.clone()).unwrap_or_default(),
        desired: status.as_ref().map_or(0, |status| status.desired),
        ready: status.as_ref().map_or(0, |status| status.ready),
        updated: status.as_ref().map_or(0, |status| status.updated),
        traffic_percent: endpoint.map_or(0, |endpoint| endpoint.traffic.percent(&key.deployment)),
        mirror_percent: endpoint.map_or(0, |endpoint| endpoint.mirror.percent(&key.deployment)),
        created_at_ms: deployment.created_at.millis(),
        revision: deployment.revision.0,
        retry_at_ms: deployment.retry_at.millis(),
        last_failed_replica: deployment.last_failed.map(|failed| failed.replica.to_string()).unwrap_or_default(),
        last_failed_node: deployment.last_failed.map(|failed| node_name(state, failed.node)).unwrap_or_default(),
        reserve: deployment.spec.reserve.then(|| reserve_message(state, deployment)),
        yielded: wires(&deployment.yielded),
        paused: deployment.paused,
    }
}

/// Lists the generations of a deployment that one may go back to, oldest first, with the current one.
pub fn generations_message(state: &ClusterState, deployment: &Deployment) -> v1::ListGenerationsResponse {
    let ready = |generation| {
        let of = state.replicas_of(&deployment.key).filter(|replica| replica.generation == generation);
        of.filter(|replica| replica.is_ready()).count() as u64
    };
    let old = deployment.old_specs.iter().map(|(generation, spec)| v1::DeploymentGeneration {
        generation: generation.0,
        spec: Some(Wire::wire(spec)),
        began_ms: deployment.old_began.get(generation).map_or(0, |began| began.millis()),
        current: false,
        ready: ready(*generation),
    });
    let current = v1::DeploymentGeneration {
        generation: deployment.generation.0,
        spec: Some(Wire::wire(&deployment.spec)),
        began_ms: deployment.generation_at.millis(),
        current: true,
        ready: ready(deployment.generation),
    };
    v1::ListGenerationsResponse { generations: old.chain([current]).collect(), index: state.applied.0 }
}

fn reserve_message(state: &ClusterState, deployment: &Deployment) -> v1::Reserve {
    let status = reserve::status(state, deployment);
    let not_covered = reserve::uncovered_of(state, deployment);
    v1::Reserve {
        wanted: status.wanted,
        held: status.held,
        in_use: status.in_use,
        short_since_ms: status.short_since.map_or(0, berth_core::time::LogTime::millis),
        arithmetic: status.arithmetic.map(|arithmetic| arithmetic.to_string()).unwrap_or_default(),
        not_covered: not_covered.iter().map(|loss| node_name(state, loss.node)).collect(),
        not_covered_try: reserve::remedy(&not_covered, status.wanted).unwrap_or_default(),
    }
}

/// Lists the nodes whose loss does not fit in the reserve, each as a sentence.
pub fn not_covered(state: &ClusterState) -> Vec<String> {
    let told = |loss: &reserve::Uncovered| {
        let node = node_name(state, loss.node);
        format!("losing {node} takes {} of {}, its reserve elsewhere is {}", loss.lost, loss.key, loss.slots)
    };
    reserve::uncovered(state).iter().map(told).collect()
}

fn node_name(state: &ClusterState, node: NodeId) -> String {
    state.nodes.get(&node).map(|node| node.profile.name.to_string()).unwrap_or_default()
}

/// Returns the word for a replica's state: `lost` while its node is lost.
pub fn replica_state_word(replica: &Replica) -> &'static str {
    replica.word()
}

/// Shows a replica. `in_flight` is the gate's count, when known.
pub fn replica_message(state: &ClusterState, replica: &Replica, in_flight: Option<u64>) -> v1::Replica {
    // What it last said is no reason for where it stands now.
    let of_node = state.nodes.get(&replica.node).filter(|_| replica.lost).map(|node| node.reason.clone());
    v1::Replica {
        endpoint: replica.key.endpoint.to_string(),
        deployment: replica.key.deployment.to_string(),
        replica: replica.id.to_string(),
        node: node_name(state, replica.node),
        state: replica_state_word(replica).to_owned(),
        reason: of_node.unwrap_or_else(|| replica.reason.clone()),
        pid: replica.pid,
        address: replica.address.clone(),
        generation: replica.generation.0,
        restarts: replica.restarts,
        since_ms: replica.since.millis(),
        placed_at_ms: replica.placed_at.millis(),
        devices: wires(&replica.devices),
        resources: Some(Wire::wire(&replica.resources)),
        used_cpu_milli: None,
        used_memory_mib: None,
        used_gpu_milli: None,
        progress: None,
        in_flight: in_flight.unwrap_or(0),
        retry_at_ms: replica.retry_at.millis(),
        reserve_spent: replica.reserve_spent.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Shows a reserve slot. `prefetch` is what its node said last of what an instance would find there.
pub fn slot_message(
    state: &ClusterState,
    slot: &ReserveSlot,
    prefetch: Option<&PrefetchReport>,
    progress: Option<&PrepareProgress>,
) -> v1::Slot {
    let generation = state.deployments.get(&slot.key).map(|deployment| deployment.generation);
    // What was said of an older generation says nothing about this one.
    let prefetch = prefetch.filter(|report| Some(report.generation) == generation);
    let is_fetching = prefetch.is_some_and(|report| report.state == PrefetchState::Fetching);
    v1::Slot {
        endpoint: slot.key.endpoint.to_string(),
        deployment: slot.key.deployment.to_string(),
        slot: slot.id.to_string(),
        node: node_name(state, slot.node),
        state: prefetch.map_or("unknown", |report| report.state.word()).to_owned(),
        why: prefetch.map(|report| report.reason.clone()).unwrap_or_default(),
        reason: slot.reason.clone(),
        since_ms: slot.since.millis(),
        resources: Some(Wire::wire(&slot.resources)),
        devices: wires(&slot.devices),
        progress: progress.filter(|_| is_fetching).cloned(),
    }
}

/// Shows a node. `used` and `gpus` are what it measured last, when known.
pub fn node_message(
    state: &ClusterState,
    node: &Node,
    used: Option<berth_core::units::Resources>,
    gpus: &[DeviceReport],
) -> v1::Node {
    v1::Node {
        node: node.profile.name.to_string(),
        id: node.id.to_string(),
        state: node.state.word().to_owned(),
        epoch: node.epoch.0,
        capacity: Some(Wire::wire(&node.profile.capacity)),
        allocated: Some(Wire::wire(&state.index().held_on(node.id))),
        used: used.as_ref().map(Wire::wire),
        cordoned: node.cordoned,
        is_virtual: node.profile.is_virtual,
        labels: node.profile.labels.clone(),
        devices: wires(&node.profile.devices),
        ingress_address: node.profile.ingress_address.clone(),
        gate_address: node.profile.gate_address.clone(),
        reason: node.reason.clone(),
        since_ms: node.since.millis(),
        version: node.profile.version.clone(),
        replicas: state.replicas_on(node.id).count() as u64,
        drain: node.drain.as_ref().map(drain_message),
        returns: node.returns,
        hold_ms: node.hold(&state.settings).0,
        gpus: gpu_messages(state, node, gpus),
    }
}

/// Shows every card of a node once, however it is cut.
fn gpu_messages(state: &ClusterState, node: &Node, reports: &[DeviceReport]) -> Vec<v1::Gpu> {
    let mut cards: Vec<v1::Gpu> = Vec::new();
    for device in &node.profile.devices {
        let at = cards.iter().position(|known| known.uuid == device.card()).unwrap_or_else(|| {
            let condition = node.devices.get(device.card()).cloned().unwrap_or_default();
            let report = reports.iter().find(|report| report.card == device.card());
            cards.push(v1::Gpu {
                uuid: device.card().to_owned(),
                model: device.model.clone(),
                driver: device.driver.clone(),
                simulated: device.simulated,
                state: condition.state.word().to_owned(),
                reason: condition.reason,
                since_ms: condition.since.millis(),
                strikes: condition.strikes,
                sample: report.and_then(|report| report.sample.clone()),
                silent_ms: report.map_or(0, |report| report.silent_ms),
                ..v1::Gpu::default()
            });
            cards.len() - 1
        });
        let held = state.replicas_on(node.id).flat_map(|replica| &replica.devices);
        let held = held.chain(state.slots_on(node.id).flat_map(|slot| &slot.devices));
        let held = held.filter(|grant| grant.uuid == device.uuid);
        cards[at].held_mib += held.map(|grant| grant.memory_mib.unwrap_or(device.memory_mib)).sum::<u64>();
        cards[at].memory_mib += device.memory_mib;
        cards[at].slices.extend(device.mig_profile.clone());
    }
    cards
}

fn drain_message(drain: &NodeDrain) -> v1::NodeDrain {
    v1::NodeDrain {
        reason: drain.reason.clone(),
        started_at_ms: drain.started_at.millis(),
        deadline_ms: drain.deadline.millis(),
        force: drain.force,
        by: drain.by.word().to_owned(),
        finished_at_ms: drain.finished_at.map_or(0, berth_core::time::LogTime::millis),
        moved: drain.moved,
        cut_requests: drain.cut_requests,
        waits_for: Vec::new(),
    }
}

/// Shows an event.
pub fn event_message(state: &ClusterState, event: &Event) -> v1::Event {
    let subject = &event.subject;
    let node_name = subject
        .node_name
        .as_ref()
        .or_else(|| subject.node.and_then(|node| state.nodes.get(&node)).map(|node| &node.profile.name));
    let severity = match event.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    v1::Event {
        seq: event.seq,
        index: event.index.0,
        at_ms: event.at.millis(),
        severity: severity.to_owned(),
        kind: event.kind.clone(),
        endpoint: subject.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        deployment: subject.deployment.as_ref().map(|key| key.deployment.to_string()).unwrap_or_default(),
        replica: subject.replica.as_ref().map(ReplicaId::to_string).unwrap_or_default(),
        node: node_name.map(ToString::to_string).unwrap_or_default(),
        text: event.text.clone(),
    }
}

/// Shows why replicas are placed or not.
pub fn verdict_message(key: &DeploymentKey, verdict: &Verdict) -> v1::Verdict {
    let nodes = verdict.nodes.iter().flat_map(|node| {
        node.reasons.iter().map(|refusal| v1::NodeVerdict {
            node: node.node.clone(),
            reason: refusal.dimension.to_string(),
            detail: refusal.text.clone(),
            count: node.count,
        })
    });
    v1::Verdict {
        endpoint: key.endpoint.to_string(),
        deployment: key.deployment.to_string(),
        desired: verdict.desired,
        placed: verdict.placed,
        ready: verdict.ready,
        nodes_looked_at: verdict.looked_at,
        refused_by: verdict.by.iter().map(|(dimension, count)| (dimension.to_string(), *count)).collect(),
        nodes: nodes.collect(),
        preemption: verdict.preemption.clone(),
        nearest: verdict.nearest.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        text: verdict.to_string(),
    }
}
