//! Declared capacity: `cpu=8,memory=32GiB,disk=100GiB,gpu=2`.

use std::str::FromStr;

use berth_core::{
    error::{Code, Error, Problems, nearest},
    model::Device,
    units::{Resources, parse_cpu_milli, parse_mib},
};

use super::whole;

/// The dimensions that can be declared.
const KEYS: [&str; 4] = ["cpu", "memory", "disk", "gpu"];
/// Memory of a GPU that was declared and not measured: that of the largest size Azure has, so that any of them places.
const DECLARED_GPU_MIB: u64 = 96_000;
/// How the names of made-up devices begin.
const DECLARED: &str = "GPU-declared-";
/// GPUs one may declare: what a host holds today, eight times over.
const DECLARED_GPUS_MAX: u64 = 64;

/// What an operator says a node has. What is absent is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityOverride {
    /// Thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Disk in MiB.
    pub disk_mib: Option<u64>,
    /// GPUs: at most this many of the measured ones; with none measured, this many made-up ones.
    pub gpus: Option<u64>,
}

// === impl CapacityOverride ===

impl CapacityOverride {
    /// Puts what was declared in the place of what was measured.
    ///
    /// GPUs are made up only where there are none: a driver that fails now lists its cards when it is mended.
    pub(super) fn apply(
        &self,
        measured: Resources,
        mut devices: Vec<Device>,
        is_driver_broken: bool,
    ) -> (Resources, Vec<Device>) {
        if let Some(gpus) = self.gpus {
            if devices.is_empty() && gpus > 0 && !is_driver_broken {
                tracing::info!(gpus, "GPUs are declared and none was found: they are made up");
                devices = (0..gpus).map(made_up_device).collect();
            }
            devices.truncate(gpus as usize);
        }
        let resources = Resources {
            cpu_milli: self.cpu_milli.unwrap_or(measured.cpu_milli),
            memory_mib: self.memory_mib.unwrap_or(measured.memory_mib),
            disk_mib: self.disk_mib.unwrap_or(measured.disk_mib),
            gpus: whole(&devices),
        };
        (resources, devices)
    }

    fn set(&mut self, key: &str, value: &str, problems: &mut Problems) {
        let amount = match key {
            "cpu" => parse_cpu_milli(value).map_err(|error| error.to_string()),
            "memory" | "disk" => parse_mib(value).map_err(|error| error.to_string()),
            "gpu" => match value.parse::<u64>() {
                Ok(count) if count <= DECLARED_GPUS_MAX => Ok(count),
                _ => Err(format!("`{value}` is not a number of GPUs from 0 to {DECLARED_GPUS_MAX}")),
            },
            _ => {
                let hint = nearest(key, KEYS).map(|near| format!("use `{near}`"));
                let hint = hint.unwrap_or_else(|| format!("use {}", KEYS.join(", ")));
                problems.add_try(key, "is no dimension", hint);
                return;
            }
        };
        let slot = match key {
            "cpu" => &mut self.cpu_milli,
            "memory" => &mut self.memory_mib,
            "disk" => &mut self.disk_mib,
            _ => &mut self.gpus,
        };
        match amount {
            Ok(0) if key != "gpu" => problems.add(key, "a node without any of it holds nothing"),
            Ok(amount) if slot.replace(amount).is_some() => {
                problems.add(key, format!("is given twice, the second time as {amount}"));
            }
            Ok(_) => {}
            Err(why) => problems.add(key, why),
        }
    }
}

impl FromStr for CapacityOverride {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut capacity = Self::default();
        let mut problems = Problems::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((key, value)) => capacity.set(key.trim(), value.trim(), &mut problems),
                None => problems.add_try(part, "is not `dimension=amount`", "write for example `cpu=8,memory=32GiB`"),
            }
        }
        problems.into_result(Code::Invalid, "the capacity")?;
        Ok(capacity)
    }
}

/// What a program calls a device. No driver knows the name of a made-up one: such a host counts its devices itself, and
/// the program gets that number.
pub(crate) fn visible_name(uuid: &str) -> &str {
    uuid.strip_prefix(DECLARED).unwrap_or(uuid)
}

fn made_up_device(index: u64) -> Device {
    Device {
        uuid: format!("{DECLARED}{index}"),
        model: "declared".to_owned(),
        memory_mib: DECLARED_GPU_MIB,
        healthy: true,
        ..Device::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_read_as_written() {
        let parse = |text: &str| text.parse::<CapacityOverride>().ok();
        let all = CapacityOverride {
            cpu_milli: Some(2_500),
            memory_mib: Some(8_192),
            disk_mib: Some(102_400),
            gpus: Some(2),
        };
        for (text, expected) in [
            ("cpu=2.5,memory=8GiB,disk=100GiB,gpu=2", Some(all.clone())),
            (" cpu = 2500m , memory=8Gi, disk=100gb,gpu=2 ", Some(all)),
            ("gpu=0", Some(CapacityOverride { gpus: Some(0), ..CapacityOverride::default() })),
            ("", None),
            ("cpu", None),
            ("cpu=", None),
            ("cpu=0", None),
            ("cpu=1,cpu=2", None),
            ("gpu=1000", None),
            ("gpu=-1", None),
            ("memory=lots", None),
            ("cpus=2", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn all_problems_are_reported_with_the_nearest_name() {
        let error = "cpuu=2,memory=x".parse::<CapacityOverride>().unwrap_err();
        assert_eq!(error.problems.len(), 2);
        assert_eq!(error.problems[0].try_, "use `cpu`");
    }

    #[test]
    fn gpus_are_made_up_only_where_there_are_none_and_named_by_number() {
        let declared = CapacityOverride { gpus: Some(2), ..CapacityOverride::default() };
        let real = |uuid: &str| Device { uuid: uuid.to_owned(), ..Device::default() };
        for (devices, is_driver_broken, names) in [
            (vec![], false, &["0", "1"][..]),
            (vec![], true, &[]),
            (vec![real("GPU-a")], false, &["GPU-a"]),
            (vec![real("GPU-a"), real("GPU-b"), real("GPU-c")], false, &["GPU-a", "GPU-b"]),
        ] {
            let case = format!("{devices:?} {is_driver_broken}");
            let (resources, devices) = declared.apply(Resources::default(), devices, is_driver_broken);
            let visible: Vec<_> = devices.iter().map(|device| visible_name(&device.uuid)).collect();
            assert_eq!((visible.as_slice(), resources.gpus), (names, names.len() as u64), "{case}");
        }
    }
}
