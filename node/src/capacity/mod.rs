//! What a node has: measured, bounded by its cgroups, or declared.

mod cgroup;
mod host;
mod text;

use std::path::Path;

use berth_core::{model::Device, units::Resources};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use cgroup::promise as promise_of_cgroup;
pub use text::CapacityOverride;
pub(crate) use text::visible_name;

/// What a host has beside its GPUs, and what is worth knowing about how that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// The plain dimensions.
    pub(crate) resources: Resources,
    /// For the log: which cgroup bounds the memory.
    pub(crate) notes: Vec<String>,
}

/// Measures the host of `data_dir`.
pub(crate) fn measure(data_dir: &Path) -> Host {
    let mut notes = Vec::new();
    let (host, Resources { cpu_milli, memory_mib, .. }) = bounded(data_dir, &mut notes);
    if (cpu_milli, memory_mib) != (host.cpu_milli, host.memory_mib) {
        notes.push("cgroup limits bound what the host has".to_owned());
    }
    Host { resources: Resources { cpu_milli, memory_mib, disk_mib: host.disk_mib, gpus: 0 }, notes }
}

impl Host {
    /// Returns what a node on this host has with these GPUs, and what was declared in the place of what was measured.
    pub(crate) fn with(
        &self,
        devices: Vec<Device>,
        declared: Option<&CapacityOverride>,
        is_driver_broken: bool,
    ) -> (Resources, Vec<Device>) {
        let measured = Resources { gpus: whole(&devices), ..self.resources };
        match declared {
            Some(declared) => declared.apply(measured, devices, is_driver_broken),
            None => (measured, devices),
        }
    }
}

/// Counts the devices that can be given whole; slices are a dimension of their own.
fn whole(devices: &[Device]) -> u64 {
    devices.iter().filter(|device| device.mig_profile.is_none()).count() as u64
}

/// Measures what the host has, and what cgroups leave of it.
pub(crate) fn host_and_allowed(data_dir: &Path) -> (Resources, Resources) {
    bounded(data_dir, &mut Vec::new())
}

/// Says which versions of cgroups this host has; nothing where it has none.
pub(crate) fn cgroup_version() -> Option<&'static str> {
    cgroup::version(Path::new("/"))
}

fn bounded(data_dir: &Path, notes: &mut Vec<String>) -> (Resources, Resources) {
    let host = host::measure(data_dir, notes);
    let bounds = cgroup::bounds(Path::new("/"), Path::new("/proc/self/cgroup"));
    let cpu_milli = bounds.cpu_milli.map_or(host.cpu_milli, |bound| bound.min(host.cpu_milli));
    let memory_mib = bounds.memory_mib.map_or(host.memory_mib, |bound| bound.min(host.memory_mib));
    (host, Resources { cpu_milli, memory_mib, ..host })
}
