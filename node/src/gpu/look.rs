//! One look at every card of a host, through NVML.
//!
//! A card that cannot tell something (a temperature, a count of memory errors) is no worse for it: only an answer that
//! the card is gone counts against it. Handles are asked for anew at every look, because a reset makes old ones invalid.

use berth_core::{health::DriverAnswer, model::Device};
use nvml_wrapper::{
    Nvml,
    enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor},
    enums::device::UsedGpuMemory,
    error::NvmlError,
};

/// Prefixes that a driver puts before the model people ask for.
const BRANDS: [&str; 4] = ["NVIDIA ", "Tesla ", "GeForce ", "GRID "];
/// Lines of cards: the word alone names many.
const LINES: [&str; 4] = ["RTX", "GTX", "Quadro", "TITAN"];
/// Words after which no more is said about which card it is, and those that say nothing.
const ENDS: [&str; 2] = ["MIG", "with"];
const FILLERS: [&str; 2] = ["Generation", "GPU"];
/// What a driver says of itself that only pretends. The stand-in's scripts carry it in their version.
const SIMULATED: &str = "simulated";
/// Times a list of processes that grew while it was read is read again.
const PROCESS_TRIES: u32 = 3;

/// What one look saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The driver's version.
    pub driver: String,
    /// Every card, those included that were seen before and do not answer now.
    pub cards: Vec<CardLook>,
    /// What the driver answered instead of saying which card one is that was never seen before.
    pub nameless: Vec<String>,
}

/// One card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardLook {
    /// Its UUID.
    pub uuid: String,
    /// The model, as asked for.
    pub model: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// Whether it is to be cut into slices: it is then no whole card, even before it has any.
    pub is_cut: bool,
    /// The slices it is cut into; none when it is whole.
    pub slices: Vec<SliceLook>,
    /// How much of its memory is in use.
    pub used_mib: u64,
    /// How busy it is, in percent.
    pub utilization_percent: Option<u32>,
    /// Its temperature in degrees Celsius.
    pub temperature_celsius: Option<u32>,
    /// What it draws, in milliwatts.
    pub power_milliwatt: Option<u32>,
    /// The most it may draw, in milliwatts: what is enforced, whoever set it.
    pub power_limit_milliwatt: Option<u32>,
    /// Memory errors it corrected since the driver was loaded.
    pub ecc_corrected: Option<u64>,
    /// Memory errors it could not correct since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// Processes that use it and how many MiB of it each holds, where the driver tells.
    pub processes: Vec<(u32, Option<u64>)>,
    /// Why it does not answer; nothing while it does.
    pub fault: Option<String>,
}

/// One MIG slice of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceLook {
    /// Its UUID.
    pub uuid: String,
    /// Its profile: `1g.10gb`.
    pub profile: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
}

/// Looks at every card: those that are listed, and those of `known` that no longer are. With `is_first`, what was known
/// is from before: a card that is simply not listed was taken out meanwhile.
pub(super) fn look(nvml: &Nvml, known: &[String], is_first: bool) -> Result<Look, NvmlError> {
    let driver = nvml.sys_driver_version()?;
    let (mut cards, mut nameless) = (Vec::new(), Vec::new());
    for index in 0..nvml.device_count()? {
        let named = nvml.device_by_index(index).and_then(|device| Ok((device.uuid()?, device)));
        match named {
            Ok((uuid, device)) => cards.push(card(&device, uuid.clone()).unwrap_or_else(|error| gone(uuid, &error))),
            // The others may answer. Which one it is shows below, if it was ever seen.
            Err(error) => nameless.push(in_words(&error)),
        }
    }
    for uuid in known {
        if cards.iter().any(|card| card.uuid == *uuid) {
            continue;
        }
        let error = nvml.device_by_uuid(uuid.as_str()).err().unwrap_or(NvmlError::NotFound);
        if is_first && nameless.is_empty() && matches!(error, NvmlError::NotFound) {
            continue;
        }
        cards.push(gone(uuid.clone(), &error));
        nameless.pop();
    }
    Ok(Look { driver, cards, nameless })
}

fn gone(uuid: String, error: &NvmlError) -> CardLook {
    CardLook { uuid, fault: Some(in_words(error)), ..CardLook::default() }
}

fn in_words(error: &NvmlError) -> String {
    match error {
        NvmlError::GpuLost => "it fell off the bus".to_owned(),
        NvmlError::NotFound => "the driver does not list it any more".to_owned(),
        NvmlError::ResetRequired => "it has to be reset before it works again".to_owned(),
        other => format!("the driver answers `{other}`"),
    }
}

fn card(device: &nvml_wrapper::Device<'_>, uuid: String) -> Result<CardLook, NvmlError> {
    let memory = device.memory_info()?;
    let is_cut = optional(device.mig_mode())?.is_some_and(|mode| mode.current == 1);
    let temperature = optional(device.temperature(TemperatureSensor::Gpu))?;
    let ecc = |kind| optional(device.total_ecc_errors(kind, EccCounter::Volatile));
    Ok(CardLook {
        uuid,
        model: model(&device.name()?),
        memory_mib: memory.total >> 20,
        is_cut,
        slices: if is_cut { slices(device)? } else { Vec::new() },
        used_mib: memory.used >> 20,
        utilization_percent: optional(device.utilization_rates())?.map(|rates| rates.gpu),
        temperature_celsius: temperature,
        power_milliwatt: optional(device.power_usage())?,
        power_limit_milliwatt: optional(device.enforced_power_limit())?,
        ecc_corrected: ecc(MemoryError::Corrected)?,
        ecc_uncorrected: ecc(MemoryError::Uncorrected)?,
        processes: processes(device)?,
        fault: None,
    })
}

/// Lets a card not know something, and nothing else.
fn optional<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error @ (NvmlError::GpuLost | NvmlError::Uninitialized | NvmlError::ResetRequired)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Lists the slices a card is cut into. The count NVML gives is the most there can be, so it is walked to its end.
fn slices(device: &nvml_wrapper::Device<'_>) -> Result<Vec<SliceLook>, NvmlError> {
    let most = optional(device.mig_device_count())?.unwrap_or(0);
    let mut slices = Vec::new();
    for index in 0..most {
        let Some(slice) = optional(device.mig_device_by_index(index))? else { continue };
        let name = slice.name()?;
        slices.push(SliceLook {
            uuid: slice.uuid()?,
            profile: name.rsplit_once(" MIG ").map_or(name.as_str(), |(_, profile)| profile).to_owned(),
            memory_mib: slice.memory_info()?.total >> 20,
        });
    }
    Ok(slices)
}

fn processes(device: &nvml_wrapper::Device<'_>) -> Result<Vec<(u32, Option<u64>)>, NvmlError> {
    for _ in 0..PROCESS_TRIES {
        match device.running_compute_processes() {
            Err(NvmlError::InsufficientSize(_)) => {}
            answer => {
                let processes = optional(answer)?.unwrap_or_default();
                let used = |memory| match memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes >> 20),
                    UsedGpuMemory::Unavailable => None,
                };
                return Ok(processes.into_iter().map(|one| (one.pid, used(one.used_gpu_memory))).collect());
            }
        }
    }
    Ok(Vec::new())
}

/// Shortens a driver's name to what a deployment asks for: `NVIDIA H100 80GB HBM3` to `H100`, `NVIDIA GeForce RTX 4090`
/// to `RTX-4090`.
fn model(name: &str) -> String {
    let mut rest = name;
    while let Some(shorter) = BRANDS.iter().find_map(|brand| rest.strip_prefix(brand)) {
        rest = shorter;
    }
    if !LINES.iter().any(|line| rest.split(' ').next() == Some(line)) {
        return rest.split([' ', '-']).next().unwrap_or(rest).to_owned();
    }
    let words = rest.split(' ').take_while(|word| !ENDS.contains(word) && !word.ends_with("GB"));
    words.filter(|word| !FILLERS.contains(word)).collect::<Vec<_>>().join("-")
}

// === impl Look ===

impl CardLook {
    /// Returns whether the driver hides how much of the card's memory some process holds.
    pub(super) fn hides_memory(&self) -> bool {
        !self.is_cut && self.processes.iter().any(|(_, mib)| mib.is_none())
    }
}

impl Look {
    /// Returns what the driver answered, with every card that is sick.
    pub(super) fn answer(&self) -> DriverAnswer {
        let sick = self.cards.iter().filter(|card| card.fault.is_some()).map(|card| card.uuid.clone());
        DriverAnswer::Listed { devices: self.devices(), sick: sick.collect() }
    }

    /// Says what is wrong with every card that does not answer.
    pub(super) fn sick(&self) -> Vec<String> {
        let named = self.cards.iter().filter_map(|card| Some(format!("{}: {}", card.uuid, card.fault.as_ref()?)));
        let nameless = self.nameless.iter().map(|why| format!("one that was never seen: {why}"));
        named.chain(nameless).collect()
    }

    /// Lists what can be given to replicas: whole cards, and of cards that are cut their slices.
    fn devices(&self) -> Vec<Device> {
        let simulated = self.driver.contains(SIMULATED);
        let healthy = |card: &CardLook| card.fault.is_none();
        let base = |card: &CardLook| Device {
            model: card.model.clone(),
            healthy: healthy(card),
            driver: self.driver.clone(),
            simulated,
            ..Device::default()
        };
        let mut devices = Vec::new();
        for card in self.cards.iter().filter(|card| healthy(card)) {
            if !card.is_cut {
                devices.push(Device { uuid: card.uuid.clone(), memory_mib: card.memory_mib, ..base(card) });
            }
            devices.extend(card.slices.iter().map(|slice| Device {
                uuid: slice.uuid.clone(),
                memory_mib: slice.memory_mib,
                mig_profile: Some(slice.profile.clone()),
                card: Some(card.uuid.clone()),
                ..base(card)
            }));
        }
        devices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_name_becomes_what_people_ask_for() {
        for (name, expected) in [
            ("NVIDIA H100 80GB HBM3", "H100"),
            ("NVIDIA A100-SXM4-80GB", "A100"),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100"),
            ("Tesla T4", "T4"),
            ("NVIDIA Tesla V100-PCIE-16GB", "V100"),
            ("H200", "H200"),
            ("GRID A100-10C", "A100"),
            ("NVIDIA GeForce RTX 4090", "RTX-4090"),
            ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX-4070-Ti-SUPER"),
            ("NVIDIA GeForce RTX 3080 Laptop GPU", "RTX-3080-Laptop"),
            ("NVIDIA GeForce GTX 1060 6GB", "GTX-1060"),
            ("NVIDIA RTX A6000", "RTX-A6000"),
            ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
            ("Quadro RTX 8000 with Max-Q Design", "Quadro-RTX-8000"),
            ("NVIDIA TITAN V", "TITAN-V"),
            ("NVIDIA RTX PRO 6000 Blackwell MIG 1g.24gb", "RTX-PRO-6000-Blackwell"),
        ] {
            assert_eq!(model(name), expected);
        }
    }
}
