//! The arithmetic of a reserve, always printed: what it takes, what is there, and what to change.

use std::fmt;

use crate::{
    id::NodeId,
    model::{Deployment, Device, GpuAsk, Node},
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
    /// MIG slices.
    Slices,
}

/// Counts a deployment's reserve in the dimension in which it is tightest.
pub fn arithmetic(state: &ClusterState, deployment: &Deployment) -> Arithmetic {
    let nodes: Vec<_> = state.nodes.values().filter(|node| may_use(deployment, node)).collect();
    let free: Vec<_> = nodes.iter().map(|node| Free::of(state, deployment, node)).collect();
    let places: u64 =
        free.iter().map(|free| Unit::ALL.into_iter().map(|unit| free.places(unit)).min().unwrap_or(0)).sum();
    let (replicas, reserve) = (deployment.desired(), deployment.reserve());
    let total = |unit: Unit| free.iter().map(|free| free.get(unit)).fold(0, u64::saturating_add);
    // Pieces first: what is free in pieces too small for anybody is no room, however much it is.
    let room = |unit: Unit| {
        let places = free.iter().map(|free| free.places(unit)).fold(0, u64::saturating_add);
        (places, u128::from(total(unit)) * 1_000 / u128::from(each(deployment, unit).max(1)))
    };
    let asked = Unit::ALL.into_iter().filter(|unit| each(deployment, *unit) > 0);
    let unit = asked.min_by_key(|unit| room(*unit)).unwrap_or(Unit::Cores);
    let fits = (0..=replicas).rev().find(|fewer| fewer + crate::model::reserve_of(*fewer) <= places).unwrap_or(0);
    let free_on_one = free.iter().flat_map(|free| free.pieces(unit)).max().unwrap_or(0);
    Arithmetic { replicas, reserve, each: each(deployment, unit), free: total(unit), free_on_one, fits, unit }
}

/// Returns what one place takes.
fn each(deployment: &Deployment, unit: Unit) -> u64 {
    let (plain, gpu) = (&deployment.spec.resources, &deployment.spec.gpu);
    match (unit, gpu) {
        (Unit::Cores, _) => plain.cpu_milli,
        (Unit::Memory, _) => plain.memory_mib,
        (Unit::Disk, _) => plain.disk_mib,
        (Unit::Gpus, GpuAsk::Whole { count, .. }) => u64::from(*count),
        (Unit::Gpus, GpuAsk::None) => plain.gpus,
        (Unit::GpuMemory, GpuAsk::Memory { mib, .. }) => *mib,
        (Unit::Slices, GpuAsk::Mig { count, .. }) => u64::from(*count),
        (Unit::Gpus | Unit::GpuMemory | Unit::Slices, _) => 0,
    }
}

/// Returns whether a node is heard from, open, and labelled as the deployment asks.
fn may_use(deployment: &Deployment, node: &Node) -> bool {
    node.is_schedulable() && deployment.spec.constraints.iter().all(|(name, rule)| rule.allows(node.label(name)))
}

/// What a node has for a deployment: what nobody holds, and what the deployment holds itself.
struct Free<'a> {
    deployment: &'a Deployment,
    plain: Resources,
    /// What is left of each device that would do: its memory, or one for what is given whole.
    devices: Vec<u64>,
}

// === impl Free ===

impl<'a> Free<'a> {
    fn of(state: &ClusterState, deployment: &'a Deployment, node: &Node) -> Self {
        let (id, key): (NodeId, _) = (node.id, &deployment.key);
        let mut plain = node.profile.capacity.saturating_sub(&state.index().held_on(id));
        let replicas = state.replicas_on(id).filter(|replica| replica.key == *key).map(|replica| replica.resources);
        let slots = state.slots_on(id).filter(|slot| slot.key == *key).map(|slot| slot.resources);
        replicas.chain(slots).for_each(|own| plain += own);
        let left = |device: &Device| {
            let replicas = state.replicas_on(id).filter(|replica| replica.key != *key);
            let slots = state.slots_on(id).filter(|slot| slot.key != *key);
            let others = replicas.flat_map(|replica| &replica.devices).chain(slots.flat_map(|slot| &slot.devices));
            let held = others.filter(|grant| grant.uuid == device.uuid);
            let held: u64 = held.map(|grant| grant.memory_mib.unwrap_or(device.memory_mib)).sum();
            let left = device.memory_mib.saturating_sub(held);
            match &deployment.spec.gpu {
                GpuAsk::Memory { .. } => left,
                _ => u64::from(held == 0),
            }
        };
        let devices = node.profile.devices.iter().filter(|device| would_do(&deployment.spec.gpu, device)).map(left);
        let mut devices: Vec<u64> = devices.collect();
        // A node may declare GPUs without listing any.
        if node.profile.devices.is_empty() && each(deployment, Unit::Gpus) > 0 {
            devices.push(plain.gpus);
        }
        Self { deployment, plain, devices }
    }

    /// Lists what is free in one piece.
    fn pieces(&self, unit: Unit) -> Vec<u64> {
        match unit {
            Unit::Cores => vec![self.plain.cpu_milli],
            Unit::Memory => vec![self.plain.memory_mib],
            Unit::Disk => vec![self.plain.disk_mib],
            // Several devices of one node go to one place, memory of several does not.
            Unit::Gpus | Unit::Slices => vec![self.devices.iter().sum()],
            Unit::GpuMemory => self.devices.clone(),
        }
    }

    fn get(&self, unit: Unit) -> u64 {
        self.pieces(unit).into_iter().fold(0, u64::saturating_add)
    }

    /// Counts the places that fit as far as one dimension goes.
    fn places(&self, unit: Unit) -> u64 {
        match each(self.deployment, unit) {
            0 => u64::MAX,
            each => self.pieces(unit).into_iter().map(|piece| piece / each).sum(),
        }
    }
}

/// Returns whether a device is of the kind that is asked for, and sound.
fn would_do(ask: &GpuAsk, device: &Device) -> bool {
    let is_model = |model: &Option<String>| model.as_deref().is_none_or(|model| device.is_model(model));
    let is_kind = match ask {
        GpuAsk::None => false,
        GpuAsk::Whole { model, memory_mib_min, .. } => {
            device.mig_profile.is_none() && is_model(model) && device.memory_mib >= *memory_mib_min
        }
        GpuAsk::Memory { model, .. } => device.mig_profile.is_none() && is_model(model),
        GpuAsk::Mig { profile, .. } => device.mig_profile.as_deref() == Some(profile),
    };
    device.healthy && is_kind
}

// === impl Unit ===

impl Unit {
    const ALL: [Self; 6] = [Self::Cores, Self::Memory, Self::Disk, Self::Gpus, Self::GpuMemory, Self::Slices];

    /// Shows an amount as people read it.
    fn show(self, amount: u64) -> String {
        match self {
            Self::Cores => Cores(amount).to_string(),
            Self::Gpus | Self::Slices => amount.to_string(),
            Self::Memory | Self::Disk | Self::GpuMemory => Mib(amount).to_string(),
        }
    }

    fn word(self, amount: u64) -> &'static str {
        match self {
            Self::Gpus if amount == 1 => " GPU",
            Self::Slices if amount == 1 => " MIG slice",
            Self::Cores => " cores",
            Self::Memory => " of memory",
            Self::Disk => " of disk",
            Self::Gpus => " GPUs",
            Self::GpuMemory => " of GPU memory",
            Self::Slices => " MIG slices",
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
            unit.word(self.each)
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
