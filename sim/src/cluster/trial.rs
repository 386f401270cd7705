//! A trial: one day of load on one fleet, and every failure that must be survived.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    error::Error,
    id::NodeId,
    model::{DeploymentKey, DeviceGrant, EndpointSpec, Node, NodeName},
    reserve,
    schedule::Verdict,
    state::ClusterState,
    whatif::{Bounds, Change, Counts, NodeShape, Rehearsal},
};

use super::{Amounts, Count, Description, Sample, Shape, Shortfall, Survive};

/// What one day on one fleet gave.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// What was used when, as far as the day went.
    pub(super) samples: Vec<Sample>,
    /// What did not fit; nothing when all did.
    pub(super) shortfall: Option<Shortfall>,
}

/// Plays the day with `auto` nodes of the counted shape, until something does not fit.
pub(super) fn run(description: &Description, auto: u64) -> Result<Trial, Error> {
    let mut rehearsal = Rehearsal::of(&ClusterState::new(), Bounds { steps_kept: 0, ..Bounds::default() });
    let mut changes: Vec<Change> = description.shapes.iter().flat_map(|shape| nodes(shape, auto)).collect();
    let endpoints: BTreeSet<_> = description.workloads.iter().map(|workload| &workload.key.endpoint).collect();
    let put = |name| Change::PutEndpoint { name, spec: EndpointSpec::default(), project: None };
    changes.extend(endpoints.into_iter().cloned().map(put));
    rehearsal.change(&changes)?;
    let mut trial = Trial { samples: Vec::new(), shortfall: None };
    let mut before = None;
    for minute in description.minutes() {
        let wanted: Vec<u32> = description.workloads.iter().map(|it| it.load.instances_at(minute)).collect();
        let is_new = before.as_ref() != Some(&wanted);
        if is_new {
            rehearsal.change(&scaled(description, &wanted))?;
            rehearsal.settle(|_, _| ())?;
        }
        trial.samples.push(Sample::of(rehearsal.state(), minute));
        if is_new {
            trial.shortfall = shortfall(description, &rehearsal, minute)?;
        }
        if trial.shortfall.is_some() {
            break;
        }
        before = Some(wanted);
    }
    Ok(trial)
}

/// Lists the nodes of a shape as changes, dealt to racks and zones in turn.
fn nodes(shape: &Shape, auto: u64) -> Vec<Change> {
    let count = match shape.count {
        Count::Fixed(count) => count,
        Count::Auto { .. } => auto,
    };
    let mut domains: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for nth in 0..count {
        let rack = if shape.racks > 0 { nth % shape.racks } else { 0 };
        // A rack stands in one zone.
        let zone = match (shape.zones, shape.racks) {
            (0, _) => 0,
            (zones, 0) => nth % zones,
            (zones, _) => rack % zones,
        };
        *domains.entry((zone, rack)).or_default() += 1;
    }
    let domain = |((zone, rack), count): ((u64, u64), u64)| {
        let mut labels = shape.node.labels.clone();
        if shape.racks > 0 {
            labels.insert("rack".to_owned(), format!("rack-{}", rack + 1));
        }
        if shape.zones > 0 {
            labels.insert("zone".to_owned(), format!("zone-{}", zone + 1));
        }
        Change::Add(NodeShape { count, labels, ..shape.node.clone() })
    };
    domains.into_iter().map(domain).collect()
}

fn scaled(description: &Description, wanted: &[u32]) -> Vec<Change> {
    let put = |(workload, count): (&super::Workload, &u32)| {
        let mut spec = workload.spec.clone();
        spec.instance_count = *count;
        Change::PutDeployment { key: workload.key.clone(), spec: Box::new(spec) }
    };
    description.workloads.iter().zip(wanted).map(put).collect()
}

/// Finds what has no place now, or would have none after a failure.
fn shortfall(description: &Description, now: &Rehearsal, minute: u64) -> Result<Option<Shortfall>, Error> {
    if let Some(found) = short_of(now.state(), minute, "") {
        return Ok(Some(found));
    }
    if let Some(found) = reserve_short(now.state(), minute) {
        return Ok(Some(found));
    }
    for (what, names) in failures(now.state(), description.survive) {
        let mut after = now.clone();
        after.change(&names.into_iter().map(Change::Lose).collect::<Vec<_>>())?;
        after.settle(|_, _| ())?;
        if let Some(found) = short_of(after.state(), minute, &what) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Names the first deployment that has fewer places than it asks for.
fn short_of(state: &ClusterState, minute: u64, after: &str) -> Option<Shortfall> {
    let is_short = |key: &&DeploymentKey| {
        let counts = Counts::of(state, key);
        counts.placed < counts.wanted
    };
    let key = state.deployments.keys().find(is_short)?;
    let counts = Counts::of(state, key);
    let verdict = Verdict::of(state, key).map(|verdict| verdict.to_string()).unwrap_or_default();
    Some(Shortfall {
        minute,
        after: after.to_owned(),
        deployment: key.to_string(),
        placed: counts.placed,
        wanted: counts.wanted,
        verdict,
    })
}

/// Names the first deployment whose reserve has no place. It is asked before a failure alone: a failure spends it.
fn reserve_short(state: &ClusterState, minute: u64) -> Option<Shortfall> {
    state.deployments.values().find_map(|deployment| {
        let status = reserve::status(state, deployment);
        (status.held + status.in_use < status.wanted).then(|| Shortfall {
            minute,
            after: String::new(),
            deployment: deployment.key.to_string(),
            placed: status.held + status.in_use,
            wanted: status.wanted,
            verdict: format!(
                "{} has no place for its reserve: {}",
                deployment.key,
                reserve::arithmetic(state, deployment)
            ),
        })
    })
}

/// Lists the failures to try, each by the nodes it takes. Of nodes that are alike in everything, one stands for all.
fn failures(state: &ClusterState, survive: Survive) -> Vec<(String, Vec<NodeName>)> {
    let domain = match survive {
        Survive::Nothing => return Vec::new(),
        Survive::Node => return alike(state),
        Survive::Rack => "rack",
        Survive::Zone => "zone",
    };
    let mut domains: BTreeMap<&str, Vec<NodeName>> = BTreeMap::new();
    for node in state.nodes.values() {
        if let Some(name) = node.profile.labels.get(domain) {
            domains.entry(name).or_default().push(node.profile.name.clone());
        }
    }
    domains.into_iter().map(|(name, nodes)| (format!("losing {name}"), nodes)).collect()
}

fn alike(state: &ClusterState) -> Vec<(String, Vec<NodeName>)> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut found: Vec<_> = state.nodes.values().filter(|node| seen.insert(looks(state, node))).collect();
    found.sort_by_key(|node| &node.profile.name);
    let one = |node: &Node| (format!("losing {}", node.profile.name), vec![node.profile.name.clone()]);
    found.into_iter().map(one).collect()
}

/// Describes what a node is and holds, device by device, without its name and those of its devices.
fn looks<'a>(state: &'a ClusterState, node: &'a Node) -> String {
    let mut holds: BTreeMap<&DeploymentKey, (u64, u64)> = BTreeMap::new();
    let mut granted: BTreeMap<&str, Vec<(&DeploymentKey, Option<u64>)>> = BTreeMap::new();
    let mut grant = |key: &'a DeploymentKey, grants: &'a [DeviceGrant]| {
        for one in grants {
            granted.entry(one.uuid.as_str()).or_default().push((key, one.memory_mib));
        }
    };
    for replica in state.replicas_on(node.id) {
        holds.entry(&replica.key).or_default().0 += 1;
        grant(&replica.key, &replica.devices);
    }
    for slot in state.slots_on(node.id) {
        holds.entry(&slot.key).or_default().1 += 1;
        grant(&slot.key, &slot.devices);
    }
    let devices = node.profile.devices.iter().map(|device| {
        let mut held = granted.remove(device.uuid.as_str()).unwrap_or_default();
        held.sort();
        (&device.model, device.memory_mib, &device.mig_profile, held)
    });
    let mut devices: Vec<_> = devices.collect();
    devices.sort();
    format!("{:?} {:?} {devices:?} {holds:?}", node.profile.labels, node.profile.capacity)
}

// === impl Sample ===

impl Sample {
    /// Adds up what is held at a moment.
    fn of(state: &ClusterState, minute: u64) -> Self {
        let mut sample = Self { minute, ..Self::default() };
        let devices_of = |id: NodeId, uuid: &str| {
            let devices = state.nodes.get(&id).map(|node| &node.profile.devices[..]).unwrap_or_default();
            devices.iter().find(|device| device.uuid == uuid).map_or(0, |device| device.memory_mib)
        };
        for node in state.nodes.values() {
            sample.capacity.add(&node.profile.capacity);
            sample.capacity.gpu_memory_mib += node.profile.devices.iter().map(|device| device.memory_mib).sum::<u64>();
        }
        for replica in state.replicas.values() {
            sample.used.add(&replica.resources);
            let grants = replica.devices.iter();
            sample.used.gpu_memory_mib +=
                grants.map(|it| it.memory_mib.unwrap_or_else(|| devices_of(replica.node, &it.uuid))).sum::<u64>();
        }
        for slot in state.slots.values() {
            sample.reserved.add(&slot.resources);
            let grants = slot.devices.iter();
            sample.reserved.gpu_memory_mib +=
                grants.map(|it| it.memory_mib.unwrap_or_else(|| devices_of(slot.node, &it.uuid))).sum::<u64>();
        }
        sample.replicas = state.replicas.len() as u64;
        sample
    }
}

// === impl Amounts ===

impl Amounts {
    fn add(&mut self, resources: &berth_core::units::Resources) {
        self.cpu_milli += resources.cpu_milli;
        self.memory_mib += resources.memory_mib;
        self.gpus += resources.gpus;
    }
}
