//! What of a node's devices the fleet's deployments could not use.
//!
//! The measure is [`stranded`]: over the kinds of instances that are deployed, by how many there are, what stays free of
//! the devices when they are filled with that kind alone, and once more where it does not fit at all. An instance goes
//! where it strands least, and gets the device of which that is true.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Ask,
    fragment::{DEVICE, Kind, Room, stranded},
    problem::Slot,
};
use crate::{
    model::{Device, DeviceGrant, GpuAsk, is_model},
    state::ClusterState,
};

/// Kinds that are weighed, the most frequent ones. More would cost time and change little: the rest are rare.
const KINDS_MAX: usize = 16;

/// The instances with devices that the fleet is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected<'a> {
    kinds: Vec<Want<'a>>,
    /// The kinds against a device of a model and memory.
    against: BTreeMap<(&'a str, u64), Vec<Kind>>,
}

/// Instances that ask for the same.
#[derive(Clone, Debug)]
struct Want<'a> {
    cpu_milli: u64,
    gpu: &'a GpuAsk,
    weight: u64,
}

/// The devices of a node that a share may come from alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Choice<'a> {
    model: &'a str,
    memory_mib: u64,
    held_mib: u64,
}

// === impl Choice ===

impl<'a> Choice<'a> {
    fn of(device: &'a Device, held_mib: u64) -> Self {
        Self { model: &device.model, memory_mib: device.memory_mib, held_mib }
    }
}

// === impl Expected ===

impl<'a> Expected<'a> {
    pub(super) fn of(state: &'a ClusterState) -> Self {
        let mut weights: BTreeMap<(u64, &GpuAsk), u64> = BTreeMap::new();
        for deployment in state.deployments.values() {
            let gpu = &deployment.spec.gpu;
            if matches!(gpu, GpuAsk::Whole { .. } | GpuAsk::Memory { .. }) {
                *weights.entry((deployment.spec.resources.cpu_milli, gpu)).or_default() += deployment.desired();
            }
        }
        let mut kinds: Vec<_> =
            weights.into_iter().map(|((cpu_milli, gpu), weight)| Want { cpu_milli, gpu, weight }).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.weight));
        kinds.truncate(KINDS_MAX);
        Self { kinds, against: BTreeMap::new() }
    }

    /// Tells how much more is stranded on a node with an instance, and which device it takes a share of, where there is a
    /// choice: of the one that strands least, then of the fullest. Nothing when it does not fit.
    pub(super) fn judge(&mut self, slot: &Slot<'a>, ask: &Ask<'_>) -> Option<(i64, Option<Choice<'a>>)> {
        let first = slot.accepts(ask)?;
        if self.kinds.is_empty() || slot.node.profile.devices.is_empty() {
            return Some((0, None));
        }
        let before = self.stranded(slot);
        let GpuAsk::Memory { mib, .. } = ask.gpu else {
            return Some((self.after(slot, ask, &first) - before, None));
        };
        // Devices with the same left are the same, so each amount is judged once.
        let choices: BTreeSet<_> =
            fitting(slot, ask).map(|(device, held)| (device.memory_mib - held, Choice::of(device, held))).collect();
        let judged = choices.into_iter().filter_map(|(left, choice)| {
            let (device, _) = fitting(slot, ask).find(|(device, held)| Choice::of(device, *held) == choice)?;
            let grant = DeviceGrant { uuid: device.uuid.clone(), memory_mib: Some(*mib) };
            Some((self.after(slot, ask, &[grant]) - before, left, choice))
        });
        judged.min().map(|(gained, _, choice)| (gained, Some(choice)))
    }

    /// Returns the devices an instance gets on a node, by what was chosen for its room; nothing when it does not fit.
    pub(super) fn grant(slot: &Slot<'a>, ask: &Ask<'_>, choice: Option<Choice<'a>>) -> Option<Vec<DeviceGrant>> {
        let first = slot.accepts(ask)?;
        let (Some(choice), GpuAsk::Memory { mib, .. }) = (choice, ask.gpu) else { return Some(first) };
        let (device, _) = fitting(slot, ask).find(|(device, held)| Choice::of(device, *held) == choice)?;
        Some(vec![DeviceGrant { uuid: device.uuid.clone(), memory_mib: Some(*mib) }])
    }

    /// Does both.
    pub(super) fn best(&mut self, slot: &Slot<'a>, ask: &Ask<'_>) -> Option<(i64, Vec<DeviceGrant>)> {
        let (gained, choice) = self.judge(slot, ask)?;
        Some((gained, Self::grant(slot, ask, choice)?))
    }

    fn after(&mut self, slot: &Slot<'a>, ask: &Ask<'_>, grants: &[DeviceGrant]) -> i64 {
        let mut after = slot.clone();
        after.free = after.free.saturating_sub(&ask.resources);
        grants.iter().for_each(|grant| after.hold(grant));
        self.stranded(&after)
    }

    /// Returns what is stranded on a node: of its devices of each model, as if the cores were for them alone.
    fn stranded(&mut self, slot: &Slot<'a>) -> i64 {
        let mut shares: BTreeMap<(&'a str, u64), Vec<u32>> = BTreeMap::new();
        for (device, held) in slot.devices().filter(|(device, _)| takes_work(device)) {
            let left = device.memory_mib.saturating_sub(held) * u64::from(DEVICE) / device.memory_mib.max(1);
            shares.entry((&device.model, device.memory_mib)).or_default().push(left as u32);
        }
        let cpu_milli = slot.free.cpu_milli;
        let of = |((model, memory_mib), mut shares): ((&'a str, u64), Vec<u32>)| {
            shares.sort_unstable();
            let kinds =
                self.against.entry((model, memory_mib)).or_insert_with(|| against(&self.kinds, model, memory_mib));
            stranded(&Room { model: 1, cpu_milli, shares }, kinds) as i64
        };
        shares.into_iter().map(of).sum()
    }
}

/// Lists the devices of a node that have a share left, with what is held of them.
fn fitting<'a>(slot: &Slot<'a>, ask: &Ask<'_>) -> impl Iterator<Item = (&'a Device, u64)> {
    let GpuAsk::Memory { mib, model } = ask.gpu else { return None.into_iter().flatten() };
    let fits = move |(device, held): &(&Device, u64)| {
        let is_asked = model.as_deref().is_none_or(|model| device.is_model(model));
        is_asked && takes_work(device) && device.memory_mib.saturating_sub(*held) >= *mib
    };
    Some(slot.devices().filter(fits)).into_iter().flatten()
}

/// Returns whether shares and whole devices are given of it.
fn takes_work(device: &Device) -> bool {
    device.healthy && device.mig_profile.is_none()
}

/// Tells what the kinds are against a device of this model and memory.
fn against(kinds: &[Want<'_>], model: &str, memory_mib: u64) -> Vec<Kind> {
    let of = |want: &Want<'_>| {
        let (devices, share, asked, least) = match want.gpu {
            GpuAsk::Whole { count, model, memory_mib_min } => (*count, DEVICE, model, *memory_mib_min),
            GpuAsk::Memory { mib, model } => {
                let share = (mib * u64::from(DEVICE)).div_ceil(memory_mib.max(1)).min(u64::from(DEVICE));
                (1, share as u32, model, *mib)
            }
            GpuAsk::None | GpuAsk::Mig { .. } => return None,
        };
        let runs = least <= memory_mib && asked.as_deref().is_none_or(|asked| is_model(model, asked));
        // The devices at hand have the first bit; a kind that does not run on them has another.
        Some(Kind { cpu_milli: want.cpu_milli, devices, share, models: if runs { 1 } else { 2 }, weight: want.weight })
    };
    kinds.iter().filter_map(of).collect()
}
