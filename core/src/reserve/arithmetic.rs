//! The arithmetic of a reserve, always printed: what it takes, what is there, and what to change.

use std::fmt;

use crate::{
    id::NodeId,
    model::{Deployment, GpuAsk, Node},
    state::ClusterState,
    units::{Cores, Mib, Resources},
};

/// What a deployment with its reserve takes, and what the nodes it may use have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// Replicas that should serve.
    pub replicas: u64,
    /// Places beyond them.
    pub reserve: u64,
    /// Of the dimension in which it is tightest, what one place takes.
    pub each: u64,
    /// What is free for this deployment, its own places included.
    pub free: u64,
    /// The most that is free on one node.
    pub free_on_one: u64,
    /// The most replicas for which the reserve fits as well.
    pub fits: u64,
    /// That dimension.
    pub unit: Unit,
}

/// A dimension in which a reserve is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Cores.
    Cores,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Whole devices.
    Gpus,
    /// Memory of devices.
    GpuMemory,
}

/// Counts a deployment's reserve in the dimension in which it is tightest.
pub fn arithmetic(state: &ClusterState, deployment: &Deployment) -> Arithmetic {
    let nodes: Vec<_> = state.nodes.values().filter(|node| may_use(deployment, node)).collect();
    let free: Vec<_> = nodes.iter().map(|node| free_for(state, deployment, node)).collect();
    let each = Amounts::of(deployment);
    let places: u64 = free.iter().map(|free| free.places(&each)).sum();
    let (replicas, reserve) = (deployment.desired(), deployment.reserve());
    let total = |unit: Unit| free.iter().map(|free| free.get(unit)).fold(0, u64::saturating_add);
    let asked = Unit::ALL.into_iter().filter(|unit| each.get(*unit) > 0);
    let unit = asked.min_by_key(|unit| u128::from(total(*unit)) * 1_000 / u128::from(each.get(*unit)));
    let unit = unit.unwrap_or(Unit::Cores);
    let fits = (0..=replicas).rev().find(|fewer| fewer + crate::model::reserve_of(*fewer) <= places).unwrap_or(0);
    let free_on_one = free.iter().map(|free| free.get(unit)).max().unwrap_or(0);
    Arithmetic { replicas, reserve, each: each.get(unit), free: total(unit), free_on_one, fits, unit }
}

/// Amounts of every dimension.
#[derive(Clone, Copy, Debug, Default)]
struct Amounts {
    plain: Resources,
    gpu_memory_mib: u64,
}

/// Returns whether a node is heard from, open, and labelled as the deployment asks.
fn may_use(deployment: &Deployment, node: &Node) -> bool {
    node.is_schedulable() && deployment.spec.constraints.iter().all(|(name, rule)| rule.allows(node.label(name)))
}

/// Returns what a node has for a deployment: what nobody holds, and what the deployment holds itself.
fn free_for(state: &ClusterState, deployment: &Deployment, node: &Node) -> Amounts {
    let (id, key): (NodeId, _) = (node.id, &deployment.key);
    let mut free =
        Amounts { plain: node.profile.capacity.saturating_sub(&state.index().held_on(id)), gpu_memory_mib: 0 };
    let replicas = state.replicas_on(id).filter(|replica| replica.key == *key).map(|replica| replica.resources);
    let slots = state.slots_on(id).filter(|slot| slot.key == *key).map(|slot| slot.resources);
    replicas.chain(slots).for_each(|own| free.plain += own);
    let devices = node.profile.devices.iter().filter(|device| device.healthy && device.mig_profile.is_none());
    let model = match &deployment.spec.gpu {
        GpuAsk::Memory { model, .. } => model.as_deref(),
        _ => return free,
    };
    for device in devices.filter(|device| model.is_none_or(|model| device.model.contains(model))) {
        let others = state.replicas_on(id).filter(|replica| replica.key != *key).flat_map(|replica| &replica.devices);
        let slots = state.slots_on(id).filter(|slot| slot.key != *key).flat_map(|slot| &slot.devices);
        let held = others.chain(slots).filter(|grant| grant.uuid == device.uuid);
        let held: u64 = held.map(|grant| grant.memory_mib.unwrap_or(device.memory_mib)).sum();
        free.gpu_memory_mib += device.memory_mib.saturating_sub(held);
    }
    free
}

// === impl Amounts ===

impl Amounts {
    fn of(deployment: &Deployment) -> Self {
        let gpu_memory_mib = match deployment.spec.gpu {
            GpuAsk::Memory { mib, .. } => mib,
            _ => 0,
        };
        Self { plain: deployment.spec.resources, gpu_memory_mib }
    }

    fn get(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Cores => self.plain.cpu_milli,
            Unit::Memory => self.plain.memory_mib,
            Unit::Disk => self.plain.disk_mib,
            Unit::Gpus => self.plain.gpus,
            Unit::GpuMemory => self.gpu_memory_mib,
        }
    }

    /// Counts the places of `each` that fit.
    fn places(&self, each: &Self) -> u64 {
        let asked = Unit::ALL.into_iter().filter(|unit| each.get(*unit) > 0);
        asked.map(|unit| self.get(unit) / each.get(unit)).min().unwrap_or(0)
    }
}

// === impl Unit ===

impl Unit {
    const ALL: [Self; 5] = [Self::Cores, Self::Memory, Self::Disk, Self::Gpus, Self::GpuMemory];

    /// Shows an amount as people read it.
    fn show(self, amount: u64) -> String {
        match self {
            Self::Cores => Cores(amount).to_string(),
            Self::Gpus => amount.to_string(),
            Self::Memory | Self::Disk | Self::GpuMemory => Mib(amount).to_string(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Cores => " cores",
            Self::Memory => " of memory",
            Self::Disk => " of disk",
            Self::Gpus => " GPUs",
            Self::GpuMemory => " of GPU memory",
        }
    }
}

// === impl Arithmetic ===

impl Arithmetic {
    /// Returns whether everything together fits, as far as sums show.
    pub fn is_enough(&self) -> bool {
        self.fits >= self.replicas
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, needed) = (self.unit, self.each.saturating_mul(self.replicas + self.reserve));
        let noun = if self.replicas == 1 { "replica" } else { "replicas" };
        let (each, total, free) = (unit.show(self.each), unit.show(needed), unit.show(self.free));
        write!(
            f,
            "{} {noun} + {} reserve × {each}{} = {total}, free {free}",
            self.replicas,
            self.reserve,
            unit.word()
        )?;
        if self.is_enough() {
            return Ok(());
        }
        if self.free >= needed {
            write!(f, " in pieces of at most {}", unit.show(self.free_on_one))?;
        }
        match self.fits {
            0 => f.write_str("; add a node"),
            fits => write!(f, "; lower to {fits} or add a node"),
        }
    }
}
