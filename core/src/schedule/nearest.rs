//! The nearest ways out: changes after which one more instance fits, each of them tried on the fleet before it is told.
//!
//! An advice that does not help is worse than none. So the lowered ask is put to the filter, the replicas that a smaller
//! count would end are those that the planner would end, and a raised priority is put to the search that would use it.

use std::{collections::BTreeMap, fmt};

use super::{
    Ask, Dimension, Fleet,
    preempt::{Budget, Reach, Yielders},
    problem::Slot,
    worth,
};
use crate::{
    id::NodeId,
    model::{Deployment, DeploymentKey, GpuAsk, LabelRule, PRIORITY_GAP, PRIORITY_MAX, Replica, SpreadBy, yields},
    state::ClusterState,
    units::{Cores, Mib, Resources},
    whatif::cards_for_slices,
};

/// Nodes whose replicas are looked at for somebody to scale down: the closest to having room.
const NODES_TRIED: usize = 16;
/// Replicas of one deployment that an advice may end. More is no advice but a shutdown.
const SCALED_MAX: usize = 64;
/// Ways told. More would not be read.
const FIXES_MAX: usize = 3;

/// A change after which one more instance fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// It asks for less, of all of these.
    Lower(Vec<(Dimension, u64)>),
    /// Another deployment gets fewer instances, which frees a node.
    Scale {
        /// Which one.
        key: DeploymentKey,
        /// How many it has then.
        count: u32,
        /// The node that gets room.
        node: String,
    },
    /// It becomes more important, and others make room.
    Raise {
        /// The lowest priority that helps.
        priority: u32,
        /// Who makes room, each deployment once.
        who: Vec<DeploymentKey>,
    },
    /// A node takes replicas again.
    Uncordon(String),
    /// A node is not emptied.
    CancelDrain(String),
    /// A node is heard again.
    Return(String),
    /// A node gets labels that its rules allow.
    Label(Vec<(String, LabelRule)>),
    /// A node is added; in the form `berth plan --add` reads, where there is one.
    Add(String),
    /// A first node is started.
    Start,
}

/// How far a node is from taking an instance: reasons that no amount mends, reasons, the shortage in permille.
type Distance = (usize, usize, u64);

/// Finds the nearest ways out for one more instance, the gentlest first.
pub(super) fn ways_out(fleet: &Fleet<'_>, deployment: &Deployment, ask: &Ask<'_>) -> Vec<Fix> {
    let mut slots: Vec<_> = fleet.slots.values().collect();
    if slots.is_empty() {
        return vec![Fix::Start];
    }
    slots.sort_by(|a, b| a.node.profile.name.cmp(&b.node.profile.name));
    let on_node = fleet.instances(ask);
    slots.retain(|slot| fleet.may_hold_more(ask, slot, &on_node));
    let slots: Vec<&Slot<'_>> = slots.iter().map(|slot| &**slot).collect();
    let mut near: Vec<(Distance, &Slot<'_>)> =
        slots.iter().filter_map(|slot| Some((distance(slot, ask)?, *slot))).collect();
    near.sort_by_key(|(distance, slot)| (*distance, slot.node.id));
    near.truncate(NODES_TRIED);
    let mut fixes = Vec::new();
    fixes.extend(lower(&slots, ask));
    fixes.extend(scale(fleet, &near, ask));
    fixes.extend(raise(fleet, deployment, ask));
    if let Some((_, nearest)) = near.first() {
        fixes.extend(open(nearest, ask));
    }
    fixes.truncate(FIXES_MAX);
    if fixes.is_empty() {
        fixes.push(Fix::Add(shape(ask)));
    }
    fixes
}

/// Says what pre-emption could do for an instance that fits nowhere, and why that is not enough; nothing where nobody
/// else holds anything.
pub(super) fn preemption(fleet: &Fleet<'_>, deployment: &Deployment, ask: &Ask<'_>) -> String {
    let state = fleet.state;
    let leaving = state.replicas.values().filter(|replica| replica.made_room_for.as_ref() == Some(ask.key)).count();
    if leaving > 0 {
        return format!("room is being made: {leaving} less important leave");
    }
    let others: Vec<&Deployment> = state.deployments.values().filter(|other| other.key != *ask.key).collect();
    if !others.iter().any(|other| state.replicas_of(&other.key).next().is_some()) {
        return String::new();
    }
    let priority = deployment.spec.priority;
    let lower: Vec<_> = others.into_iter().filter(|other| yields(other.spec.priority, priority)).collect();
    if lower.is_empty() {
        let most = priority.checked_sub(PRIORITY_GAP).map_or("too low".to_owned(), |most| format!("{most} or less"));
        return match priority < PRIORITY_GAP {
            true => format!("none: its own priority {priority} is {most} for anybody to make room"),
            false => format!("none: no other deployment has a priority of {most} (its own is {priority})"),
        };
    }
    let beyond: u64 = lower.iter().map(|other| budget(state, other).replicas).sum();
    let names: Vec<_> = lower.iter().take(3).map(|other| other.key.to_string()).collect();
    let more = if lower.len() > 3 { format!(" and {} more", lower.len() - 3) } else { String::new() };
    let names = names.join(", ") + &more;
    if beyond == 0 {
        return format!("none: {names} hold what they are promised and no more");
    }
    match yielders(state, ask.key).room(fleet, ask, priority, Reach::Replicas) {
        Some(room) => format!("{} on {} can make room", room.replicas.len() + room.slots.len(), room.name(state)),
        None => format!("none: the {beyond} that {names} have beyond their minimum make no place on any one node"),
    }
}

/// Tells how far a node is from taking the instance; nothing for one that takes it.
fn distance(slot: &Slot<'_>, ask: &Ask<'_>) -> Option<Distance> {
    let reasons = slot.refusals(ask);
    let hard = reasons.iter().filter(|reason| !reason.dimension.is_amount()).count();
    let short = reasons.iter().filter_map(|reason| reason.shortage);
    let cuts = short.map(|short| short.needs.saturating_sub(short.free).saturating_mul(1_000) / short.needs.max(1));
    if reasons.is_empty() { None } else { Some((hard, reasons.len(), cuts.sum())) }
}

/// Finds the node that takes the largest part of the ask: as few dimensions lowered as possible, then by as little.
fn lower(slots: &[&Slot<'_>], ask: &Ask<'_>) -> Option<Fix> {
    let lowered = slots.iter().filter_map(|slot| lowered_on(slot, ask));
    let (_, amounts) = lowered.min_by_key(|(cut, amounts)| (amounts.len(), *cut))?;
    Some(Fix::Lower(amounts))
}

/// Lowers an ask to what a node has, in amounts that can be written down, and tries it there.
fn lowered_on(slot: &Slot<'_>, ask: &Ask<'_>) -> Option<(u64, Vec<(Dimension, u64)>)> {
    let (needs, free) = (ask.resources, slot.free);
    let mut amounts = Vec::new();
    let mut cut = 0;
    let mut lower = |dimension: Dimension, needs: u64, free: u64| {
        let to = dimension.written(free.min(needs));
        if to < needs {
            amounts.push((dimension, to));
            cut += (needs - to).saturating_mul(1_000_000) / needs.max(1);
        }
        to
    };
    let mut to = Resources {
        cpu_milli: if needs.cpu_milli > free.cpu_milli {
            lower(Dimension::Cpu, needs.cpu_milli, free.cpu_milli)
        } else {
            needs.cpu_milli
        },
        memory_mib: if needs.memory_mib > free.memory_mib {
            lower(Dimension::Memory, needs.memory_mib, free.memory_mib)
        } else {
            needs.memory_mib
        },
        disk_mib: if needs.disk_mib > free.disk_mib {
            lower(Dimension::Disk, needs.disk_mib, free.disk_mib)
        } else {
            needs.disk_mib
        },
        gpus: needs.gpus,
    };
    let mut gpu = ask.gpu.clone();
    let shortage = slot.grant(ask.gpu).err().map(|refusal| refusal.shortage);
    let fewest = match shortage {
        None if needs.gpus > free.gpus => Some(free.gpus),
        None => None,
        Some(short) => Some(short?.free),
    };
    if let Some(left) = fewest {
        match &mut gpu {
            GpuAsk::None => return None,
            GpuAsk::Whole { count, .. } => {
                to.gpus = lower(Dimension::Gpus, (*count).into(), left.min(free.gpus));
                *count = to.gpus as u32;
            }
            GpuAsk::Memory { mib, .. } => *mib = lower(Dimension::GpuMemory, *mib, left),
            GpuAsk::Mig { count, .. } => *count = lower(Dimension::Mig, (*count).into(), left) as u32,
        }
    }
    // Nothing runs without a core's part and some memory, and a GPU of no size is none.
    if amounts.is_empty() || amounts.iter().any(|(dimension, to)| *to == 0 && *dimension != Dimension::Disk) {
        return None;
    }
    slot.accepts(&Ask { resources: to, gpu: &gpu, ..ask.clone() })?;
    Some((cut, amounts))
}

/// Finds the deployment that has to be scaled down by the least for one of these nodes to have room.
fn scale(fleet: &Fleet<'_>, near: &[(Distance, &Slot<'_>)], ask: &Ask<'_>) -> Option<Fix> {
    let state = fleet.state;
    let nodes: BTreeMap<NodeId, &Slot<'_>> = near.iter().map(|(_, slot)| (slot.node.id, *slot)).collect();
    let mut holders: Vec<&DeploymentKey> =
        nodes.keys().flat_map(|node| state.replicas_on(*node)).map(|replica| &replica.key).collect();
    holders.sort();
    holders.dedup();
    let found = holders.into_iter().filter(|key| *key != ask.key).filter_map(|key| {
        let deployment = state.deployments.get(key)?;
        let (ends, node) = ends_to_fit(state, deployment, &nodes, ask)?;
        let left = state.replicas_of(key).filter(|replica| replica.is_wanted()).count() - ends;
        deployment.spec.check_count(left as u32).ok()?;
        let node = state.nodes.get(&node)?.profile.name.to_string();
        Some(((ends, deployment.spec.priority, key), Fix::Scale { key: key.clone(), count: left as u32, node }))
    });
    found.min_by_key(|(cost, _)| *cost).map(|(_, fix)| fix)
}

/// Counts how many replicas of a deployment have to end, in the order in which they would, until an instance fits on one
/// of these nodes. Nothing for one that moves: its replicas go in another order.
fn ends_to_fit(
    state: &ClusterState,
    deployment: &Deployment,
    nodes: &BTreeMap<NodeId, &Slot<'_>>,
    ask: &Ask<'_>,
) -> Option<(usize, NodeId)> {
    let mut replicas: Vec<&Replica> = state.replicas_of(&deployment.key).collect();
    let stays = |replica: &&Replica| {
        let node = state.nodes.get(&replica.node);
        let is_sound = node.is_some_and(|node| node.drain.is_none() && node.condemned(&replica.devices).is_none());
        is_sound && replica.is_wanted() && !replica.lost && replica.generation == deployment.generation
    };
    if deployment.deleting || !replicas.iter().all(stays) {
        return None;
    }
    replicas.sort_by_cached_key(|replica| worth(state, replica));
    let mut after: BTreeMap<NodeId, Slot<'_>> = BTreeMap::new();
    for (at, replica) in replicas.iter().take(SCALED_MAX).enumerate() {
        let Some(slot) = nodes.get(&replica.node) else { continue };
        let slot = after.entry(replica.node).or_insert_with(|| (*slot).clone());
        slot.free += replica.resources;
        replica.devices.iter().for_each(|grant| slot.release(grant));
        if slot.accepts(ask).is_some() {
            return Some((at + 1, replica.node));
        }
    }
    None
}

/// Finds the lowest priority at which others would make room.
fn raise(fleet: &Fleet<'_>, deployment: &Deployment, ask: &Ask<'_>) -> Option<Fix> {
    let state = fleet.state;
    let own = deployment.spec.priority;
    let of_others = state.deployments.values().map(|other| other.spec.priority.saturating_add(PRIORITY_GAP));
    let mut levels: Vec<u32> = of_others.filter(|level| *level > own && *level <= PRIORITY_MAX).collect();
    levels.sort_unstable();
    levels.dedup();
    let yielders = yielders(state, ask.key);
    levels.into_iter().find_map(|priority| {
        let room = yielders.room(fleet, ask, priority, Reach::Replicas)?;
        let replicas = room.replicas.iter().map(|replica| &replica.key);
        let mut who: Vec<_> = replicas.chain(room.slots.iter().map(|slot| &slot.key)).cloned().collect();
        who.sort();
        who.dedup();
        Some(Fix::Raise { priority, who })
    })
}

/// Says what would open the nearest node, where one thing would.
fn open(slot: &Slot<'_>, ask: &Ask<'_>) -> Option<Fix> {
    let node = slot.node;
    let reasons = slot.refusals(ask);
    let name = node.profile.name.to_string();
    let only = |word: &str| reasons.iter().all(|reason| reason.word == word);
    match () {
        () if only("cordoned") => Some(Fix::Uncordon(name)),
        () if only("draining") => Some(Fix::CancelDrain(name)),
        () if only("suspect") || only("lost") => Some(Fix::Return(name)),
        () if only("label") => {
            let missing = slot.labels_missing(ask).into_iter();
            Some(Fix::Label(missing.map(|(name, rule)| (name.clone(), rule.clone())).collect()))
        }
        () => None,
    }
}

/// Lists what may yield to a deployment as the state is.
fn yielders<'a>(state: &'a ClusterState, key: &DeploymentKey) -> Yielders<'a> {
    let mut yielders = Yielders::default();
    for other in state.deployments.values().filter(|other| other.key != *key && !other.deleting) {
        let budget = budget(state, other);
        if budget.replicas > 0 || budget.slots > 0 {
            let standing = state.replicas_of(&other.key).filter(|replica| replica.is_wanted() && !replica.lost);
            yielders.add(budget, standing, state.slots_of(&other.key));
        }
    }
    yielders
}

fn budget(state: &ClusterState, deployment: &Deployment) -> Budget {
    let minimum = deployment.minimum();
    let count =
        |test: fn(&Replica) -> bool| state.replicas_of(&deployment.key).filter(|replica| test(replica)).count() as u64;
    let standing = count(|replica| replica.is_wanted() && !replica.lost);
    let slots = if minimum < deployment.desired() { state.slots_of(&deployment.key).count() as u64 } else { 0 };
    Budget {
        priority: deployment.spec.priority,
        replicas: standing.saturating_sub(minimum),
        ready: count(Replica::is_ready).checked_sub(minimum),
        slots,
    }
}

/// Writes a node on which the instance would fit, as `berth plan --add` reads it.
fn shape(ask: &Ask<'_>) -> String {
    let Resources { cpu_milli, memory_mib, disk_mib, gpus } = ask.resources;
    let size = |mib: u64| Mib(mib).to_string().replace(' ', "");
    // A size that is not written in full is rounded up, for the node has to have all of it.
    let whole = |mib: u64| if Dimension::Memory.written(mib) == mib { size(mib) } else { format!("{mib}MiB") };
    let mut parts = vec![format!("cpu={}", Cores(cpu_milli)), format!("memory={}", whole(memory_mib))];
    if disk_mib > 0 {
        parts.push(format!("disk={}", whole(disk_mib)));
    }
    let any = |model: &Option<String>| model.clone().unwrap_or_else(|| "any".to_owned());
    match ask.gpu {
        GpuAsk::Whole { count, model, memory_mib_min } if model.is_some() || *memory_mib_min > 0 => {
            parts.push(format!("gpu={count}x{}:{}", whole((*memory_mib_min).max(1)), any(model)));
        }
        GpuAsk::Memory { mib, model } => parts.push(format!("gpu=1x{}:{}", whole(*mib), any(model))),
        GpuAsk::Mig { profile, count } => parts.push(format!("gpu={}", cards_for_slices(profile, (*count).into()))),
        GpuAsk::None | GpuAsk::Whole { .. } if gpus > 0 => parts.push(format!("gpu={gpus}")),
        GpuAsk::None | GpuAsk::Whole { .. } => {}
    }
    // A node that is new has no label: it breaks no rule that wants none.
    for (name, value) in ask.constraints.iter().filter_map(|(name, rule)| Some((name, rule.example()?))) {
        match name.as_str() {
            "zone" | "rack" => parts.push(format!("{name}={value}")),
            _ => parts.push(format!("label.{name}={value}")),
        }
    }
    let is_counted = matches!(ask.spread.by, SpreadBy::Zone | SpreadBy::Rack) && ask.spread.max_per_domain.is_some();
    if is_counted && !ask.constraints.contains_key(ask.spread.by.word()) {
        parts.push(format!("{}=another", ask.spread.by.word()));
    }
    parts.join(",")
}

// === impl Dimension ===

impl Dimension {
    /// Rounds an amount down to what can be written as people write it, so that what is read back is never more.
    fn written(self, amount: u64) -> u64 {
        match self {
            Self::Memory | Self::Disk | Self::GpuMemory if amount >= 1_024 => {
                let (whole, rest) = (amount / 1_024, amount % 1_024);
                whole * 1_024 + (rest * 10 / 1_024 * 1_024).div_ceil(10)
            }
            _ => amount,
        }
    }
}

// === impl Fix ===

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lower(amounts) => {
                let told = amounts.iter().map(|(dimension, to)| format!("{dimension} to {}", dimension.shown(*to)));
                write!(f, "lower {}", told.collect::<Vec<_>>().join(" and "))
            }
            Self::Scale { key, count, node } => write!(f, "free {node} with `berth scale {key} {count}`"),
            Self::Raise { priority, who } => {
                let who: Vec<_> = who.iter().map(ToString::to_string).collect();
                let verb = if who.len() == 1 { "makes" } else { "make" };
                write!(f, "raise its priority to {priority}, and {} {verb} room", who.join(" and "))
            }
            Self::Uncordon(node) => write!(f, "`berth node uncordon {node}`"),
            Self::CancelDrain(node) => write!(f, "`berth node drain {node} --cancel`"),
            Self::Return(node) => write!(f, "bring {node} back"),
            Self::Label(labels) => {
                let told = |(name, rule): &(String, LabelRule)| match rule.example() {
                    Some(value) => format!("{name}={value}"),
                    None => format!("so that it has {}", rule.about(name)),
                };
                write!(f, "label a node {}", labels.iter().map(told).collect::<Vec<_>>().join(" "))
            }
            Self::Add(shape) => write!(f, "add a node of {shape}"),
            Self::Start => f.write_str("start a node: `berth node`"),
        }
    }
}
