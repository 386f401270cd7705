//! What a node has: measured, bounded by its cgroups, or declared.

mod cgroup;
mod gpu;
mod host;
mod text;

use std::path::Path;

use berth_core::{model::Device, units::Resources};

pub use text::CapacityOverride;

/// What a node has, and what is worth knowing about how that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The plain dimensions.
    pub resources: Resources,
    /// Its GPUs.
    pub devices: Vec<Device>,
    /// For the log: why there is no GPU, which cgroup bounds the memory.
    pub notes: Vec<String>,
}

/// Measures the host of `data_dir` and applies what was declared.
pub(crate) fn measure(data_dir: &Path, nvml_library: Option<&Path>, declared: Option<&CapacityOverride>) -> Capacity {
    let mut notes = Vec::new();
    let host = host::measure(data_dir, &mut notes);
    let bounds = cgroup::bounds(Path::new("/"), Path::new("/proc/self/cgroup"));
    let cpu_milli = bounds.cpu_milli.map_or(host.cpu_milli, |bound| bound.min(host.cpu_milli));
    let memory_mib = bounds.memory_mib.map_or(host.memory_mib, |bound| bound.min(host.memory_mib));
    if (cpu_milli, memory_mib) != (host.cpu_milli, host.memory_mib) {
        notes.push("cgroup limits bound what the host has".to_owned());
    }
    let devices = gpu::devices(nvml_library, &mut notes);
    let measured = Resources { cpu_milli, memory_mib, disk_mib: host.disk_mib, gpus: devices.len() as u64 };
    match declared {
        Some(declared) => declared.apply(measured, devices, notes),
        None => Capacity { resources: measured, devices, notes },
    }
}
