//! GPUs, as NVML tells of them. A host without the library is a CPU host.

use std::path::Path;

use berth_core::model::Device;
use nvml_wrapper::{Nvml, error::NvmlError};

/// Prefixes that a driver puts before the model people ask for.
const BRANDS: [&str; 3] = ["NVIDIA ", "Tesla ", "GeForce "];

/// Lists whole GPUs, or notes why there are none.
pub(super) fn devices(library: Option<&Path>, notes: &mut Vec<String>) -> Vec<Device> {
    let nvml = match library {
        Some(path) => Nvml::builder().lib_path(path.as_os_str()).init(),
        None => Nvml::init(),
    };
    match nvml.and_then(|nvml| list(&nvml)) {
        Ok(devices) => devices,
        Err(NvmlError::LibloadingError(_)) => {
            notes.push("no GPU: the NVML library is not on this host".to_owned());
            Vec::new()
        }
        Err(error) => {
            notes.push(format!("no GPU: NVML answers `{error}`"));
            Vec::new()
        }
    }
}

fn list(nvml: &Nvml) -> Result<Vec<Device>, NvmlError> {
    (0..nvml.device_count()?)
        .map(|index| {
            let device = nvml.device_by_index(index)?;
            Ok(Device {
                uuid: device.uuid()?,
                model: model(&device.name()?),
                memory_mib: device.memory_info()?.total >> 20,
                mig_profile: None,
                healthy: true,
            })
        })
        .collect()
}

/// Shortens a driver's name to what a deployment asks for: `NVIDIA H100 80GB HBM3` to `H100`.
fn model(name: &str) -> String {
    let mut rest = name;
    while let Some(shorter) = BRANDS.iter().find_map(|brand| rest.strip_prefix(brand)) {
        rest = shorter;
    }
    rest.split([' ', '-']).next().unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_name_becomes_what_people_ask_for() {
        for (name, expected) in [
            ("NVIDIA H100 80GB HBM3", "H100"),
            ("NVIDIA A100-SXM4-80GB", "A100"),
            ("Tesla T4", "T4"),
            ("NVIDIA Tesla V100-PCIE-16GB", "V100"),
            ("H200", "H200"),
        ] {
            assert_eq!(model(name), expected);
        }
    }

    /// On a host with GPUs this is a test of the real library; on any other, of a reason being given.
    #[test]
    fn what_this_host_has_is_told_whole_or_with_a_reason() {
        let mut notes = Vec::new();
        let found = devices(None, &mut notes);
        assert_eq!(found.is_empty(), !notes.is_empty(), "{found:?} {notes:?}");
        for device in &found {
            assert!(device.uuid.starts_with("GPU-") && !device.model.is_empty() && device.memory_mib > 1_000);
        }
    }

    #[test]
    fn a_host_without_the_library_is_a_cpu_host_with_a_reason() {
        let mut notes = Vec::new();
        assert!(devices(Some(Path::new("/nowhere/libnvidia-ml.so")), &mut notes).is_empty());
        assert_eq!(notes, ["no GPU: the NVML library is not on this host"]);
    }
}
