//! What the replicas of a node really use, for people to see; nothing is placed by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use berth_proto::node::v1::Usage;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    actor::World,
    metrics::ReplicaHolds,
    process::{Held, held_by},
    runtime::Layout,
};

/// How often it is measured: walking every process takes some milliseconds.
const EVERY: Duration = Duration::from_secs(2);
/// Measurements per look at the disk, which walks every file.
const DISK_EVERY: u32 = 30;

/// Measures for ever; ends by being dropped.
pub(crate) async fn keep(world: Arc<World>, usage: watch::Sender<Usage>) {
    let mut pace = interval(EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut disk_mib) = (None::<(Instant, BTreeMap<u32, Held>)>, 0);
    for turn in 0_u32.. {
        pace.tick().await;
        let entries: Vec<_> = world.ledger.borrow().replicas.clone();
        let groups: BTreeSet<u32> = entries.iter().filter_map(|entry| Some(entry.process?.pid)).collect();
        let roots = (turn % DISK_EVERY == 0).then(|| Layout::all_roots(&world.home));
        let looked = tokio::task::spawn_blocking(move || {
            let disk = roots.map(|roots| bytes_below(&roots).unwrap_or(0) >> 20);
            (held_by(&groups), groups, disk)
        });
        let Ok((held, groups, disk)) = looked.await else {
            continue;
        };
        disk_mib = disk.unwrap_or(disk_mib);
        let now = Instant::now();
        let since = last.as_ref().map_or(Duration::ZERO, |(at, _)| now.duration_since(*at));
        let before = last.take().map(|(_, before)| before).unwrap_or_default();
        // A group that was not there a moment ago began from nothing.
        let used = |pid: &u32| {
            let held = held.get(pid).copied().unwrap_or_default();
            let before = before.get(pid).copied().unwrap_or_default();
            (cpu_milli(before, held, since), (held.resident_pages * rustix::param::page_size() as u64) >> 20)
        };
        let (cpu, memory) = groups.iter().map(used).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        usage.send_replace(Usage { cpu_milli: cpu, memory_mib: memory, disk_mib });
        let cards = world.gpus.view().look.cards;
        let running = entries.iter().filter_map(|entry| Some((entry, entry.process?.pid)));
        let holds = running.map(|(entry, pid)| (entry.order.replica, ReplicaHolds::of(entry, &cards, used(&pid))));
        world.holds.measured(holds.collect(), since, disk_mib);
        last = Some((now, held));
    }
}

/// Returns the cores that were busy, in thousandths. A process that ended takes its ticks along: that counts as none.
fn cpu_milli(before: Held, now: Held, within: Duration) -> u64 {
    let ticks = now.cpu_ticks.saturating_sub(before.cpu_ticks);
    let busy_millis = ticks * 1_000 / rustix::param::clock_ticks_per_second();
    (busy_millis * 1_000).checked_div(within.as_millis() as u64).unwrap_or(0)
}

/// Adds up the files below a folder; a file with several names is somebody else's too and counts nothing here.
fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            sum += bytes_below(&entry.path()).unwrap_or(0);
        } else if std::os::unix::fs::MetadataExt::nlink(&meta) == 1 {
            sum += meta.len();
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_cores_are_ticks_over_time() {
        let per_second = rustix::param::clock_ticks_per_second();
        let held = |cpu_ticks| Held { cpu_ticks, resident_pages: 0 };
        for (before, now, millis, expected) in [
            (0, 2 * per_second, 1_000, 2_000),
            (per_second, 2 * per_second, 2_000, 500),
            (5 * per_second, per_second, 1_000, 0),
            (0, per_second, 0, 0),
        ] {
            assert_eq!(cpu_milli(held(before), held(now), Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn linked_models_are_not_counted_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/own"), [0; 1_000]).unwrap();
        fs::write(dir.path().join("shared"), [0; 5_000]).unwrap();
        fs::hard_link(dir.path().join("shared"), dir.path().join("sub/shared")).unwrap();
        assert_eq!(bytes_below(dir.path()).unwrap(), 1_000);
    }
}
