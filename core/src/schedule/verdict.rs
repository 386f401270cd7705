//! The verdict: why a deployment has fewer replicas than it should, per node and dimension, and the nearest way out.

use std::{collections::BTreeMap, fmt};

use super::{Ask, Dimension, Fix, Fleet, Refusal, nearest};
use crate::{
    error::Error,
    model::{Deployment, DeploymentKey, DeviceGrant, Node, Replica, ReplicaState},
    state::ClusterState,
    units::{Count, Resources},
};

/// Nodes told one by one. More are counted by equal reasons.
const NODES_SHOWN: usize = 20;
/// Groups of nodes with equal reasons that are told.
const GROUPS_SHOWN: usize = 12;
/// Holders named per refusal.
const HOLDERS_SHOWN: usize = 3;

/// Why a deployment has fewer replicas than it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The deployment, `fraud/blue`.
    pub key: String,
    /// Replicas that should serve.
    pub desired: u64,
    /// Places held for it.
    pub placed: u64,
    /// Replicas that serve.
    pub ready: u64,
    /// Nodes that were asked.
    pub looked_at: u64,
    /// Nodes that refuse, by dimension; a node with two reasons counts in both.
    pub by: BTreeMap<Dimension, u64>,
    /// Nodes that refuse, with every reason, in order of name; the first of many.
    pub nodes: Vec<NodeRefusal>,
    /// What pre-emption could do, and why that is not enough; empty where there is nobody to make room.
    pub preemption: String,
    /// The nearest ways out.
    pub nearest: Vec<Fix>,
    /// What it waits for besides places.
    pub waiting: Vec<String>,
}

/// A node that refuses, or many of them for the same reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRefusal {
    /// The node's name, or how many they are: `12 nodes`.
    pub node: String,
    /// How many nodes it stands for.
    pub count: u64,
    /// Every reason.
    pub reasons: Vec<Refusal>,
}

/// A node with every reason why it refuses.
type Refusing<'a> = (&'a Node, Vec<Refusal>);
/// What a reason has in common with others like it.
type Kind<'a> = (Dimension, &'a str, String);

// === impl Verdict ===

impl Verdict {
    /// Judges a deployment against the fleet as it is.
    pub fn of(state: &ClusterState, key: &DeploymentKey) -> Result<Self, Error> {
        Self::against(&Fleet::of(state), key)
    }

    /// Judges a deployment against a fleet on which a plan has already taken places.
    pub fn against(fleet: &Fleet<'_>, key: &DeploymentKey) -> Result<Self, Error> {
        let state = fleet.state;
        let deployment = state.deployment(key)?;
        let ask = Ask::of(deployment);
        let count = |test: fn(&Replica) -> bool| state.replicas_of(key).filter(|replica| test(replica)).count();
        let mut verdict = Self {
            key: key.to_string(),
            desired: deployment.desired(),
            placed: count(|replica| replica.is_wanted()) as u64,
            ready: count(|replica| replica.is_ready()) as u64,
            looked_at: fleet.slots.len() as u64,
            ..Self::default()
        };
        verdict.note_waiting(state, key);
        // What is to leave its node has yet to find a place, like what runs an earlier generation.
        let may_stay = |replica: &Replica| state.nodes.get(&replica.node).is_some_and(|node| node.drain.is_none());
        let updated = |replica: &&Replica| {
            replica.is_wanted() && replica.generation == deployment.generation && may_stay(replica)
        };
        let updated = state.replicas_of(key).filter(updated).count() as u64;
        // A rollout that goes on has nothing to explain; one that no node takes an instance of does.
        let on_node = fleet.instances(&ask);
        let takes_one = || {
            fleet.slots.values().any(|slot| slot.accepts(&ask).is_some() && fleet.may_hold_more(&ask, &slot, &on_node))
        };
        let is_stuck = updated < verdict.desired && !takes_one();
        if verdict.placed < verdict.desired || is_stuck {
            verdict.note_refusals(fleet, deployment, &ask);
        }
        Ok(verdict)
    }

    /// Returns whether everything it asks for serves.
    pub fn is_satisfied(&self) -> bool {
        self.ready >= self.desired && self.waiting.is_empty()
    }

    fn note_waiting(&mut self, state: &ClusterState, key: &DeploymentKey) {
        let Some(deployment) = state.deployments.get(key) else { return };
        if deployment.retry_at > state.time && self.placed < self.desired {
            let left = deployment.retry_at.since(state.time);
            let why =
                deployment.last_failure.as_deref().and_then(|text| text.lines().next()).unwrap_or("no reason given");
            self.waiting.push(format!("the next try in {left}; the last one failed: {why}"));
        }
        // A place that was given up is kept for whom it was given up for, between its tries too.
        for yielded in deployment.yielded.iter().filter(|_| self.placed < self.desired) {
            let to = state.deployments.get(&yielded.to).filter(|to| to.retry_at > state.time);
            if let Some(left) = to.map(|to| to.retry_at.since(state.time)) {
                let places = Count(yielded.count.into(), "place");
                self.waiting.push(format!("{places} given up for {}, which is tried again in {left}", yielded.to));
            }
        }
        // Forty replicas that do the same on one node are one thing to read.
        let mut alike: BTreeMap<_, Vec<&Replica>> = BTreeMap::new();
        // What was lost and made good is history, though its node may yet come back.
        let is_made_good = self.ready >= self.desired;
        for replica in state.replicas_of(key).filter(|replica| !(replica.lost && is_made_good)) {
            if replica.lost || replica.state != ReplicaState::Serving {
                let node = state.nodes.get(&replica.node).map_or("?", |node| node.profile.name.as_str());
                let word = if replica.is_crash_looping() { replica.word() } else { replica.state.word() };
                let reason = replica.reason.lines().next().unwrap_or_default();
                // Which of how many it is sets apart what does the same.
                let reason = if replica.state == ReplicaState::Placed { "" } else { reason };
                alike.entry((node, replica.lost, replica.state, word, reason)).or_default().push(replica);
            }
        }
        for ((node, lost, stage, word, reason), replicas) in alike {
            let who = match replicas.as_slice() {
                [one] => format!("replica {} on {node} is", one.id.short()),
                many => format!("{} replicas on {node} are", many.len()),
            };
            let longest = replicas.iter().map(|replica| state.time.since(replica.since)).max().unwrap_or_default();
            let again = match replicas.iter().map(|replica| replica.restarts).max().unwrap_or(0) {
                0 => String::new(),
                restarts => format!(" after {}", Count(restarts.into(), "restart")),
            };
            self.waiting.push(match stage {
                _ if lost => format!("{who} lost with the node"),
                ReplicaState::Warm => format!("{who} warm: routers are told"),
                _ if reason.is_empty() => format!("{who} {word} for {longest}{again}"),
                _ => format!("{who} {word} for {longest}{again}: {reason}"),
            });
        }
    }

    fn note_refusals(&mut self, fleet: &Fleet<'_>, deployment: &Deployment, ask: &Ask<'_>) {
        let mut refusing: Vec<Refusing<'_>> = Vec::new();
        let on_node = fleet.instances(ask);
        for node in fleet.state.nodes.values() {
            let Some(slot) = fleet.slots.get(&node.id) else { continue };
            let mut reasons = slot.refusals(ask);
            reasons.extend(fleet.spread_refusal(ask, &slot, &on_node));
            if reasons.is_empty() {
                continue;
            }
            let mut dimensions: Vec<_> = reasons.iter().map(|reason| reason.dimension).collect();
            dimensions.dedup();
            dimensions.into_iter().for_each(|dimension| *self.by.entry(dimension).or_default() += 1);
            refusing.push((node, reasons));
        }
        refusing.sort_by_key(|(node, _)| &node.profile.name);
        if refusing.len() <= NODES_SHOWN {
            for (node, mut reasons) in refusing {
                name_holders(fleet.state, node, &mut reasons);
                self.nodes.push(NodeRefusal { node: node.profile.name.to_string(), count: 1, reasons });
            }
        } else {
            self.nodes = grouped(fleet.state, &refusing);
        }
        self.preemption = nearest::preemption(fleet, deployment, ask);
        self.nearest = nearest::ways_out(fleet, deployment, ask);
    }
}

/// Counts nodes that refuse for the same reasons, the most first: thousands of lines are not read.
fn grouped(state: &ClusterState, refusing: &[Refusing<'_>]) -> Vec<NodeRefusal> {
    let mut alike: BTreeMap<Vec<Kind<'_>>, Vec<&Refusing<'_>>> = BTreeMap::new();
    for each in refusing {
        let common = each.1.iter().map(Refusal::common);
        let kind = common.map(|reason| (reason.dimension, reason.word, reason.text)).collect();
        alike.entry(kind).or_default().push(each);
    }
    let mut groups: Vec<_> = alike.into_values().collect();
    groups.sort_by_key(|nodes| std::cmp::Reverse(nodes.len()));
    let rest: u64 = groups.iter().skip(GROUPS_SHOWN).map(|nodes| nodes.len() as u64).sum();
    let mut told: Vec<_> = groups.iter().take(GROUPS_SHOWN).map(|nodes| group(state, nodes)).collect();
    if rest > 0 {
        let reasons = vec![Refusal::other()];
        told.push(NodeRefusal { node: Count(rest, "more node").to_string(), count: rest, reasons });
    }
    told
}

/// Tells of nodes that refuse for the same reasons how close the closest of them comes.
fn group(state: &ClusterState, nodes: &[&Refusing<'_>]) -> NodeRefusal {
    let [(node, reasons), rest @ ..] = nodes else { return NodeRefusal::default() };
    let mut reasons = reasons.clone();
    if rest.is_empty() {
        name_holders(state, node, &mut reasons);
        return NodeRefusal { node: node.profile.name.to_string(), count: 1, reasons };
    }
    for (at, reason) in reasons.iter_mut().enumerate() {
        let Some(shortage) = &mut reason.shortage else { continue };
        let free = nodes.iter().filter_map(|(_, reasons)| reasons.get(at)?.shortage).map(|short| short.free);
        shortage.free = free.max().unwrap_or(shortage.free);
        let (needs, free) = (reason.dimension.shown(shortage.needs), reason.dimension.shown(shortage.free));
        reason.text = format!("needs {needs}, free at most {free}");
    }
    let count = nodes.len() as u64;
    NodeRefusal { node: Count(count, "node").to_string(), count, reasons }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}/{} placed", self.key, self.placed, self.desired)?;
        if self.ready != self.placed || self.placed == self.desired {
            write!(f, ", {} serving", self.ready)?;
        }
        let lines = || self.nodes.iter().flat_map(|node| node.reasons.iter().map(move |reason| (node, reason)));
        let node_width = lines().map(|(node, _)| node.node.len()).max().unwrap_or(0);
        let word_width = lines().map(|(_, reason)| reason.word.len()).max().unwrap_or(0);
        for (node, reason) in lines() {
            write!(f, "\n  {:node_width$}  {:word_width$}  {}", node.node, reason.word, reason.text)?;
        }
        if self.nodes.iter().any(|node| node.count > 1) {
            let by: Vec<_> = self.by.iter().map(|(dimension, nodes)| format!("{dimension} on {nodes}")).collect();
            write!(f, "\n  in all {}: {}", Count(self.looked_at, "node"), by.join(", "))?;
        }
        if self.looked_at == 0 {
            write!(f, "\n  no node has registered")?;
        }
        for waiting in &self.waiting {
            write!(f, "\n  waits: {waiting}")?;
        }
        if !self.preemption.is_empty() {
            write!(f, "\n  pre-emption: {}", self.preemption)?;
        }
        if !self.nearest.is_empty() {
            let ways: Vec<_> = self.nearest.iter().map(ToString::to_string).collect();
            write!(f, "\n  nearest: {}", ways.join(", or "))?;
        }
        Ok(())
    }
}

/// Adds to each amount who holds it: `(held: fraud/blue 12 GiB, reserve 0.8 GiB)`.
fn name_holders(state: &ClusterState, node: &Node, reasons: &mut [Refusal]) {
    for reason in reasons.iter_mut().filter(|reason| reason.dimension.is_amount()) {
        let amount = |resources: &Resources, grants: &[DeviceGrant]| match reason.dimension {
            Dimension::Cpu => resources.cpu_milli,
            Dimension::Memory => resources.memory_mib,
            Dimension::Disk => resources.disk_mib,
            Dimension::Gpus => resources.gpus.max(grants.len() as u64),
            Dimension::GpuMemory => grants.iter().map(|grant| held_mib(node, grant)).sum(),
            Dimension::Mig => grants.len() as u64,
            _ => 0,
        };
        let mut held: BTreeMap<&DeploymentKey, u64> = BTreeMap::new();
        for replica in state.replicas_on(node.id) {
            *held.entry(&replica.key).or_default() += amount(&replica.resources, &replica.devices);
        }
        let reserve: u64 = state.slots_on(node.id).map(|slot| amount(&slot.resources, &slot.devices)).sum();
        let mut holders: Vec<_> = held.into_iter().filter(|(_, amount)| *amount > 0).collect();
        holders.sort_by_key(|(key, amount)| (std::cmp::Reverse(*amount), *key));
        let show = |amount: u64| reason.dimension.shown(amount);
        let mut shown: Vec<_> =
            holders.iter().take(HOLDERS_SHOWN).map(|(key, amount)| format!("{key} {}", show(*amount))).collect();
        if reserve > 0 {
            shown.push(format!("reserve {}", show(reserve)));
        }
        if let more @ 1.. = holders.len().saturating_sub(HOLDERS_SHOWN) {
            shown.push(format!("{more} more"));
        }
        if !shown.is_empty() {
            reason.text.push_str(&format!(" (held: {})", shown.join(", ")));
        }
    }
}

fn held_mib(node: &Node, grant: &DeviceGrant) -> u64 {
    let device = || node.profile.devices.iter().find(|device| device.uuid == grant.uuid);
    grant.memory_mib.or_else(|| device().map(|device| device.memory_mib)).unwrap_or(0)
}

// === impl Refusal ===

impl Refusal {
    /// Leaves out what differs from node to node, so that equal reasons are one.
    fn common(&self) -> Self {
        match self.shortage {
            Some(_) => Self { text: String::new(), shortage: None, ..self.clone() },
            None => self.clone(),
        }
    }
}
