//! The filter: whether a node can take an instance, and every reason why not.

use std::{collections::BTreeMap, fmt};

use super::problem::{Ask, Slot};
use crate::{
    model::{Device, DeviceGrant, GpuAsk, LabelRule, NodeState},
    units::{Cores, Count, Mib},
};

/// What a node falls short in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// It is suspect, lost, or to be empty.
    State,
    /// An operator keeps new replicas away.
    Cordoned,
    /// A label does not match.
    Label,
    /// Cores.
    Cpu,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Whole devices.
    Gpus,
    /// The model of its devices.
    GpuModel,
    /// Device memory.
    GpuMemory,
    /// MIG slices.
    Mig,
    /// The devices that would do had a fault.
    Device,
    /// Enough of the deployment's instances are there.
    Spread,
}

/// One reason why a node cannot take an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it falls short in.
    pub dimension: Dimension,
    /// The word people read in the second column: `cpu`, `draining`.
    pub word: &'static str,
    /// The rest of the line: `needs 4, free 1.5`.
    pub text: String,
    /// The amounts, where it is about one.
    pub shortage: Option<Shortage>,
}

/// What was asked of an amount and what is left of it: thousandths of a core, MiB, devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What was asked for.
    pub needs: u64,
    /// What is left.
    pub free: u64,
}

// === impl Dimension ===

impl Dimension {
    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Cordoned => "cordoned",
            Self::Label => "label",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Gpus => "gpu",
            Self::GpuModel => "gpu_model",
            Self::GpuMemory => "gpu_mem",
            Self::Mig => "mig",
            Self::Device => "device",
            Self::Spread => "spread",
        }
    }

    /// Writes an amount of it as people do.
    pub fn shown(self, amount: u64) -> String {
        match self {
            Self::Cpu => Cores(amount).to_string(),
            Self::Memory | Self::Disk | Self::GpuMemory => Mib(amount).to_string(),
            _ => amount.to_string(),
        }
    }

    /// Returns whether it is an amount that replicas hold, so that freeing some would help.
    pub fn is_amount(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory | Self::Disk | Self::Gpus | Self::GpuMemory | Self::Mig)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl Refusal ===

impl Refusal {
    fn new(dimension: Dimension, text: String) -> Self {
        Self { dimension, word: dimension.word(), text, shortage: None }
    }

    /// Says that enough instances are in one domain.
    pub(super) fn spread(text: String) -> Self {
        Self::new(Dimension::Spread, text)
    }

    /// Stands for reasons that are not told one by one.
    pub(super) fn other() -> Self {
        Self { word: "other", ..Self::new(Dimension::State, "refuse for other reasons".to_owned()) }
    }

    fn amount(dimension: Dimension, needs: u64, free: u64) -> Self {
        let text = format!("needs {}, free {}", dimension.shown(needs), dimension.shown(free));
        Self { shortage: Some(Shortage { needs, free }), ..Self::new(dimension, text) }
    }
}

// === impl Slot ===

impl Slot<'_> {
    /// Returns the devices an instance would get here, or nothing when it does not fit. The quick form of
    /// [`Slot::refusals`].
    pub(super) fn accepts(&self, ask: &Ask<'_>) -> Option<Vec<DeviceGrant>> {
        let matches = |(name, rule): (&String, &LabelRule)| rule.allows(self.node.label(name));
        let open = self.node.is_schedulable() && ask.resources.fits(&self.free) && ask.constraints.iter().all(matches);
        if open { self.grant(ask.gpu).ok() } else { None }
    }

    /// Lists every reason why an instance does not fit here; none when it does.
    pub(super) fn refusals(&self, ask: &Ask<'_>) -> Vec<Refusal> {
        let mut found = Vec::new();
        self.refuse_state(&mut found);
        self.refuse_labels(ask.constraints, &mut found);
        let (needs, free) = (ask.resources, self.free);
        if needs.cpu_milli > free.cpu_milli {
            found.push(Refusal::amount(Dimension::Cpu, needs.cpu_milli, free.cpu_milli));
        }
        if needs.memory_mib > free.memory_mib {
            found.push(Refusal::amount(Dimension::Memory, needs.memory_mib, free.memory_mib));
        }
        if needs.disk_mib > free.disk_mib {
            found.push(Refusal::amount(Dimension::Disk, needs.disk_mib, free.disk_mib));
        }
        match self.grant(ask.gpu) {
            Err(refusal) => found.push(refusal),
            Ok(_) if needs.gpus > free.gpus => {
                found.push(Refusal::amount(Dimension::Gpus, needs.gpus, free.gpus));
            }
            Ok(_) => {}
        }
        found
    }

    fn refuse_state(&self, found: &mut Vec<Refusal>) {
        let node = self.node;
        if node.state != NodeState::Ready {
            let why = if node.reason.is_empty() { "takes nothing new".to_owned() } else { node.reason.clone() };
            found.push(Refusal { word: node.state.word(), ..Refusal::new(Dimension::State, why) });
        }
        if let Some(drain) = &node.drain {
            let why = if drain.reason.is_empty() { "it is to be empty" } else { &drain.reason };
            let text = match drain.finished_at {
                Some(_) => format!("empty ({why})"),
                None => format!("until {} ({why})", drain.deadline.time_of_day()),
            };
            found.push(Refusal { word: "draining", ..Refusal::new(Dimension::State, text) });
        }
        if node.overfull {
            let why = "it came back with less than its replicas hold".to_owned();
            found.push(Refusal { word: "overfull", ..Refusal::new(Dimension::State, why) });
        }
        if node.cordoned {
            found.push(Refusal::new(Dimension::Cordoned, "an operator keeps new replicas away".to_owned()));
        }
    }

    /// Lists the rules that its labels break.
    pub(super) fn labels_missing<'w>(&self, ask: &Ask<'w>) -> Vec<(&'w String, &'w LabelRule)> {
        ask.constraints.iter().filter(|(name, rule)| !rule.allows(self.node.label(name))).collect()
    }

    fn refuse_labels(&self, constraints: &BTreeMap<String, LabelRule>, found: &mut Vec<Refusal>) {
        for (name, rule) in constraints {
            let has = self.node.label(name);
            if !rule.allows(has) {
                let has = has.map_or_else(|| format!("no {name}"), str::to_owned);
                found.push(Refusal::new(Dimension::Label, format!("wants {}, has {has}", rule.about(name))));
            }
        }
    }

    /// Picks devices for an ask, or says why there are none.
    ///
    /// A node that lists no devices but declares whole GPUs is believed: the plain dimension counts them.
    pub(super) fn grant(&self, gpu: &GpuAsk) -> Result<Vec<DeviceGrant>, Refusal> {
        let devices = &self.node.profile.devices;
        match gpu {
            GpuAsk::None => Ok(Vec::new()),
            GpuAsk::Whole { .. } if devices.is_empty() => Ok(Vec::new()),
            GpuAsk::Whole { count, model, memory_mib_min } => {
                self.grant_whole(*count, model.as_deref(), *memory_mib_min)
            }
            GpuAsk::Memory { mib, model } => self.grant_share(*mib, model.as_deref()),
            GpuAsk::Mig { profile, count } => self.grant_mig(profile, *count),
        }
    }

    fn grant_whole(&self, count: u32, model: Option<&str>, memory_mib_min: u64) -> Result<Vec<DeviceGrant>, Refusal> {
        let fitting = self.devices_of(model)?;
        let large: Vec<_> = fitting.into_iter().filter(|device| device.memory_mib >= memory_mib_min).collect();
        if large.is_empty() {
            let largest = self.node.profile.devices.iter().map(|device| device.memory_mib).max().unwrap_or(0);
            let text = format!("wants devices of {}, the largest has {}", Mib(memory_mib_min), Mib(largest));
            return Err(Refusal::new(Dimension::GpuMemory, text));
        }
        let mut free: Vec<_> = large.into_iter().filter(|device| self.held_of(device) == 0).collect();
        // On a host of several kinds the larger ones are kept for whoever needs them.
        free.sort_by_key(|device| device.memory_mib);
        if free.len() < count as usize {
            return Err(Refusal::amount(Dimension::Gpus, count.into(), free.len() as u64));
        }
        Ok(free
            .iter()
            .take(count as usize)
            .map(|device| DeviceGrant { uuid: device.uuid.clone(), memory_mib: None })
            .collect())
    }

    /// Gives a share of the device on which the least is left afterwards, to keep whole devices whole.
    fn grant_share(&self, mib: u64, model: Option<&str>) -> Result<Vec<DeviceGrant>, Refusal> {
        let fitting = self.devices_of(model)?;
        let left = |device: &Device| device.memory_mib.saturating_sub(self.held_of(device));
        let best =
            fitting.iter().filter(|device| left(device) >= mib).min_by_key(|device| (left(device), &device.uuid));
        match best {
            Some(device) => Ok(vec![DeviceGrant { uuid: device.uuid.clone(), memory_mib: Some(mib) }]),
            None => {
                let most = fitting.iter().map(|device| left(device)).max().unwrap_or(0);
                Err(Refusal::amount(Dimension::GpuMemory, mib, most))
            }
        }
    }

    fn grant_mig(&self, profile: &str, count: u32) -> Result<Vec<DeviceGrant>, Refusal> {
        let slices = self.node.profile.devices.iter().filter(|device| device.mig_profile.as_deref() == Some(profile));
        let free: Vec<_> = slices.filter(|device| device.healthy && self.held_of(device) == 0).collect();
        if free.len() < count as usize {
            if let Some(refusal) = self.refuse_condition(|device| device.mig_profile.as_deref() == Some(profile)) {
                return Err(refusal);
            }
            let text = format!("needs {} of {profile}, free {}", Count(count.into(), "slice"), free.len());
            let shortage = Some(Shortage { needs: count.into(), free: free.len() as u64 });
            return Err(Refusal { shortage, ..Refusal::new(Dimension::Mig, text) });
        }
        let grant = |device: &&Device| DeviceGrant { uuid: device.uuid.clone(), memory_mib: Some(device.memory_mib) };
        Ok(free.iter().take(count as usize).map(grant).collect())
    }

    /// Lists the healthy undivided devices of a model.
    fn devices_of(&self, model: Option<&str>) -> Result<Vec<&Device>, Refusal> {
        let devices = &self.node.profile.devices;
        if devices.is_empty() {
            return Err(Refusal::new(Dimension::GpuMemory, "wants a share of a device, lists none".to_owned()));
        }
        let usable = devices.iter().filter(|device| device.healthy && device.mig_profile.is_none());
        let fitting: Vec<_> = usable.filter(|device| model.is_none_or(|model| device.is_model(model))).collect();
        if fitting.is_empty() {
            if let Some(refusal) = self.refuse_condition(|device| {
                device.mig_profile.is_none() && model.is_none_or(|model| device.is_model(model))
            }) {
                return Err(refusal);
            }
            let mut has: Vec<_> = devices.iter().map(|device| device.model.as_str()).collect();
            has.dedup();
            let text = format!("wants {}, has {}", model.unwrap_or("a healthy device"), has.join(" "));
            return Err(Refusal::new(Dimension::GpuModel, text));
        }
        Ok(fitting)
    }

    /// Names the condition of the devices that would do if they were sound.
    fn refuse_condition(&self, wanted: impl Fn(&Device) -> bool) -> Option<Refusal> {
        let out: Vec<_> = self.node.profile.devices.iter().filter(|device| !device.healthy && wanted(device)).collect();
        let condition = out.iter().find_map(|device| self.node.condition(device))?;
        let text = format!("{} of {} out, {}", out.len(), out[0].model, condition.sentence());
        Some(Refusal::new(Dimension::Device, text))
    }
}
