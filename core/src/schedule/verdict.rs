//! The verdict: why a deployment has fewer replicas than it should, per node and dimension, and the nearest way out.

use std::{collections::BTreeMap, fmt};

use super::{Ask, Dimension, Fleet, Refusal, problem::Slot};
use crate::{
    error::Error,
    id::NodeId,
    model::{DeploymentKey, Replica, ReplicaState},
    state::ClusterState,
    units::{Cores, Count, Mib},
};

/// Nodes told one by one; the rest is counted by reason only. More would not be read.
const NODES_SHOWN: usize = 20;
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
    /// The nearest ways out.
    pub nearest: Vec<String>,
    /// What it waits for besides places.
    pub waiting: Vec<String>,
}

/// A node that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRefusal {
    /// The node's name.
    pub node: String,
    /// Every reason.
    pub reasons: Vec<Refusal>,
}

/// What a way out would cost: fewer dimensions first, then the smaller cut.
type Distance = (usize, u64, NodeId);

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
        let is_stuck = updated < verdict.desired && fleet.slots.values().all(|slot| slot.accepts(&ask).is_none());
        if verdict.placed < verdict.desired || is_stuck {
            verdict.note_refusals(fleet, &ask);
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
        // Forty replicas that do the same on one node are one thing to read.
        let mut alike: BTreeMap<_, Vec<&Replica>> = BTreeMap::new();
        for replica in state.replicas_of(key) {
            if replica.lost || replica.state != ReplicaState::Serving {
                let node = state.nodes.get(&replica.node).map_or("?", |node| node.profile.name.as_str());
                let word = if replica.is_crash_looping() { replica.word() } else { replica.state.word() };
                let reason = replica.reason.lines().next().unwrap_or_default();
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
                _ => format!("{who} {word} for {longest}{again}: {reason}"),
            });
        }
    }

    fn note_refusals(&mut self, fleet: &Fleet<'_>, ask: &Ask<'_>) {
        let mut slots: Vec<_> = fleet.slots.values().collect();
        slots.sort_by(|a, b| a.node.profile.name.cmp(&b.node.profile.name));
        let mut best: Option<(Distance, &Slot<'_>, Vec<Refusal>)> = None;
        for slot in slots {
            let mut reasons = slot.refusals(ask);
            if reasons.is_empty() {
                continue;
            }
            let mut dimensions: Vec<_> = reasons.iter().map(|reason| reason.dimension).collect();
            dimensions.dedup();
            dimensions.into_iter().for_each(|dimension| *self.by.entry(dimension).or_default() += 1);
            let distance = distance(slot, ask, &reasons);
            if best.as_ref().is_none_or(|(least, ..)| distance < *least) {
                best = Some((distance, slot, reasons.clone()));
            }
            if self.nodes.len() < NODES_SHOWN {
                name_holders(fleet.state, slot, &mut reasons);
                self.nodes.push(NodeRefusal { node: slot.node.profile.name.to_string(), reasons });
            }
        }
        self.nearest = match best {
            Some((_, slot, reasons)) => ways_out(fleet.state, slot, ask, &reasons),
            None if fleet.slots.is_empty() => vec!["start a node: `berth node`".to_owned()],
            None => Vec::new(),
        };
    }
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
        let refusing = self.nodes.len() as u64;
        if self.looked_at > refusing && refusing == NODES_SHOWN as u64 {
            let by: Vec<_> = self.by.iter().map(|(dimension, nodes)| format!("{dimension} on {nodes}")).collect();
            write!(f, "\n  in all {} nodes: {}", self.looked_at, by.join(", "))?;
        }
        if self.looked_at == 0 {
            write!(f, "\n  no node has registered")?;
        }
        for waiting in &self.waiting {
            write!(f, "\n  waits: {waiting}")?;
        }
        if !self.nearest.is_empty() {
            write!(f, "\n  nearest: {}", self.nearest.join(", or "))?;
        }
        Ok(())
    }
}

/// Tells how far a node is from taking the instance: what no change of the ask or the load mends counts most.
fn distance(slot: &Slot<'_>, ask: &Ask<'_>, reasons: &[Refusal]) -> Distance {
    let hard = reasons.iter().filter(|reason| !reason.dimension.is_amount() && reason.dimension != Dimension::Cordoned);
    let cut = |needs: u64, free: u64| needs.saturating_sub(free) * 1_000 / needs.max(1);
    let cuts = cut(ask.resources.cpu_milli, slot.free.cpu_milli)
        + cut(ask.resources.memory_mib, slot.free.memory_mib)
        + cut(ask.resources.disk_mib, slot.free.disk_mib)
        + cut(ask.resources.gpus, slot.free.gpus);
    (hard.count() * 100 + reasons.len(), cuts, slot.node.id)
}

/// Lists what would make the nearest node take the instance.
fn ways_out(state: &ClusterState, slot: &Slot<'_>, ask: &Ask<'_>, reasons: &[Refusal]) -> Vec<String> {
    let name = &slot.node.profile.name;
    let amounts = reasons.iter().filter(|reason| reason.dimension.is_amount()).count();
    if amounts == reasons.len() {
        let lowered: Vec<_> = reasons.iter().filter_map(|reason| reason.lower.clone()).collect();
        let mut ways = Vec::new();
        if lowered.len() == reasons.len() {
            ways.push(format!("lower {}", lowered.join(" and ")));
        }
        if ask.resources.fits(&slot.node.profile.capacity)
            && let Some(holder) = largest_holder(state, slot, ask)
        {
            ways.push(format!("free {name} with `berth scale {} {}`", holder.0, holder.1));
        }
        if ways.is_empty() {
            ways.push("add a node that is large enough".to_owned());
        }
        return ways;
    }
    let only = |dimension| reasons.iter().all(|reason| reason.dimension == dimension || reason.dimension.is_amount());
    if only(Dimension::Cordoned) && amounts == 0 {
        return vec![format!("`berth node uncordon {name}`")];
    }
    if only(Dimension::Label) && amounts == 0 {
        let wanted: Vec<_> = ask.constraints.iter().map(|(name, value)| format!("{name}={value}")).collect();
        return vec![format!("label a node {}", wanted.join(" "))];
    }
    if only(Dimension::State) && amounts == 0 {
        return vec![format!("bring {name} back")];
    }
    vec!["add a node that fits".to_owned()]
}

/// Finds the deployment, other than the asking one, that holds the most of the node's memory, and the number of
/// instances it would have with one less.
fn largest_holder(state: &ClusterState, slot: &Slot<'_>, ask: &Ask<'_>) -> Option<(DeploymentKey, u32)> {
    let others = state.replicas_on(slot.node.id).filter(|replica| replica.key != *ask.key && replica.is_wanted());
    let frees = |replica: &&Replica| ask.resources.fits(&(slot.free + replica.resources));
    let holder = others.filter(frees).min_by_key(|replica| (replica.resources.memory_mib, replica.id))?;
    let count = state.deployments.get(&holder.key)?.spec.instance_count;
    Some((holder.key.clone(), count.saturating_sub(1)))
}

/// Adds to each amount who holds it: `(held: fraud/blue 12 GiB)`.
fn name_holders(state: &ClusterState, slot: &Slot<'_>, reasons: &mut [Refusal]) {
    for reason in reasons {
        let mut held: BTreeMap<&DeploymentKey, u64> = BTreeMap::new();
        for replica in state.replicas_on(slot.node.id) {
            let amount = match reason.dimension {
                Dimension::Cpu => replica.resources.cpu_milli,
                Dimension::Memory => replica.resources.memory_mib,
                Dimension::Disk => replica.resources.disk_mib,
                Dimension::Gpus => replica.resources.gpus,
                Dimension::GpuMemory => replica.devices.iter().filter_map(|grant| grant.memory_mib).sum(),
                _ => 0,
            };
            if amount > 0 {
                *held.entry(&replica.key).or_default() += amount;
            }
        }
        let show = |amount: u64| match reason.dimension {
            Dimension::Cpu => Cores(amount).to_string(),
            Dimension::Gpus => amount.to_string(),
            _ => Mib(amount).to_string(),
        };
        let mut holders: Vec<_> = held.into_iter().collect();
        holders.sort_by_key(|(key, amount)| (std::cmp::Reverse(*amount), *key));
        let shown: Vec<_> =
            holders.iter().take(HOLDERS_SHOWN).map(|(key, amount)| format!("{key} {}", show(*amount))).collect();
        let more = holders.len().saturating_sub(HOLDERS_SHOWN);
        if !shown.is_empty() {
            let more = if more > 0 { format!(", {more} more") } else { String::new() };
            reason.text.push_str(&format!(" (held: {}{more})", shown.join(", ")));
        }
    }
}
