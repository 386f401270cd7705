//! The host: cores, memory, and the disk that holds the node's folder.

use std::{num::NonZero, path::Path, thread};

use berth_core::units::Resources;
use sysinfo::{Disks, MemoryRefreshKind, RefreshKind, System};

/// Measures the host; what cannot be measured counts as none and is noted.
pub(super) fn measure(data_dir: &Path, notes: &mut Vec<String>) -> Resources {
    // The scheduler's view of this process: it respects the CPU set it may run on.
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let memory_bytes = memory_bytes().unwrap_or_else(|| {
        notes.push("the memory of this host could not be read".to_owned());
        0
    });
    let disk_bytes = disk_bytes(data_dir).unwrap_or_else(|| {
        notes.push(format!("the disk of {} could not be read", data_dir.display()));
        0
    });
    Resources { cpu_milli: cores * 1_000, memory_mib: memory_bytes >> 20, disk_mib: disk_bytes >> 20, gpus: 0 }
}

fn memory_bytes() -> Option<u64> {
    let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(what).ok().map(|system| system.total_memory()).filter(|bytes| *bytes > 0)
}

/// Returns the size of the file system that holds `path`: the one mounted nearest above it.
fn disk_bytes(path: &Path) -> Option<u64> {
    if let Ok(disks) = Disks::new_with_refreshed_list() {
        let nearest = disks
            .iter()
            .filter(|disk| path.starts_with(disk.mount_point()))
            .max_by_key(|disk| disk.mount_point().as_os_str().len());
        if let Some(disk) = nearest {
            return Some(disk.total_space());
        }
    }
    // Overlays and some container roots are no disks to sysinfo.
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    Some(stat.blocks() * stat.fragment_size())
}
