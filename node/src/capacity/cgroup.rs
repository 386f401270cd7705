//! cgroup limits, versions 1 and 2, read by hand.
//!
//! A limit anywhere on the way from the root to this process's group bounds it, so the smallest one counts. Hosts may
//! mount both versions at once, each with some of the controllers.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What cgroups allow; absent where nothing bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) cpu_milli: Option<u64>,
    pub(super) memory_mib: Option<u64>,
}

/// One line of `/proc/self/cgroup`: which hierarchy, and the group in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    /// Controllers of a version 1 hierarchy; empty for version 2.
    controllers: Vec<String>,
    group: PathBuf,
}

/// Reads the bounds of the process whose `cgroup` file is `own`, with the file system at `root`.
pub(super) fn bounds(root: &Path, own: &Path) -> Bounds {
    let mut bounds = Bounds::default();
    let text = fs::read_to_string(own).unwrap_or_default();
    for membership in text.lines().filter_map(Membership::parse) {
        for folder in membership.folders(&root.join("sys/fs/cgroup")) {
            let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
            let cpu = read("cpu.max")
                .and_then(|text| cpu_max(&text))
                .or_else(|| cfs_quota(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?));
            let memory = read("memory.max").or_else(|| read("memory.limit_in_bytes"));
            bounds.cpu_milli = least(bounds.cpu_milli, cpu);
            bounds.memory_mib = least(bounds.memory_mib, memory.and_then(|text| memory_limit(&text)));
        }
    }
    bounds
}

/// Says which versions are mounted in the file system at `root`: `2`, `1`, or both; nothing where there is neither.
pub(super) fn version(root: &Path) -> Option<&'static str> {
    let mounted = root.join("sys/fs/cgroup");
    if mounted.join("cgroup.controllers").exists() {
        return Some("2");
    }
    let has_one = ["cpu", "memory", "cpu,cpuacct"].iter().any(|name| mounted.join(name).is_dir());
    match (has_one, mounted.join("unified/cgroup.controllers").exists()) {
        (true, true) => Some("1 and 2"),
        (true, false) => Some("1"),
        (false, true) => Some("2"),
        (false, false) => None,
    }
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Reads version 2's `QUOTA PERIOD` or `max PERIOD` into thousandths of a core.
fn cpu_max(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    per_period(quota.parse().ok()?, period.parse().ok()?)
}

/// Reads version 1's quota (−1 for none) and period.
fn cfs_quota(quota: &str, period: &str) -> Option<u64> {
    per_period(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn per_period(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1_000)?.checked_div(period).filter(|milli| *milli > 0)
}

/// Reads `max` or bytes. Version 1 writes "no limit" as a huge number just below 2⁶³.
fn memory_limit(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok().filter(|bytes| *bytes < 1 << 62).map(|bytes| bytes >> 20)
}

/// What is promised of a line of `/proc/self/cgroup`, over any text: it leads nowhere but below the mount.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn promise(line: &str) {
    let mount = Path::new("/sys/fs/cgroup");
    let folders = Membership::parse(line).map(|of| of.folders(mount)).unwrap_or_default();
    assert!(folders.iter().all(|folder| folder.starts_with(mount)), "{folders:?}");
}

// === impl Membership ===

impl Membership {
    /// Reads `4:memory:/some/group` or `0::/some/group`.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        // A name is that of a folder below the mount.
        let is_name = |name: &&str| !name.is_empty() && !name.contains('/');
        let controllers = controllers.split(',').filter(is_name).map(str::to_owned).collect();
        Some(Self { controllers, group: PathBuf::from(group.trim_start_matches('/')) })
    }

    /// Lists the folders whose limits bound this process: every level of the group, under each place where its
    /// hierarchy may be mounted.
    fn folders(&self, mount: &Path) -> Vec<PathBuf> {
        let roots: Vec<PathBuf> = match self.controllers.iter().any(|name| name == "cpu" || name == "memory") {
            true => {
                let joined = self.controllers.join(",");
                self.controllers.iter().chain([&joined]).map(|name| mount.join(name)).collect()
            }
            false if self.controllers.is_empty() => vec![mount.to_owned(), mount.join("unified")],
            false => Vec::new(),
        };
        let levels: Vec<&Path> = self.group.ancestors().collect();
        roots.iter().flat_map(|root| levels.iter().map(move |level| root.join(level))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_is_mounted() {
        for (there, version) in [
            (&[][..], None),
            (&["cgroup.controllers/"], Some("2")),
            (&["memory/", "cpu/"], Some("1")),
            (&["memory/", "unified/cgroup.controllers/"], Some("1 and 2")),
            (&["unified/cgroup.controllers/"], Some("2")),
        ] {
            let root = tempfile::tempdir().unwrap();
            for path in there {
                fs::create_dir_all(root.path().join("sys/fs/cgroup").join(path)).unwrap();
            }
            assert_eq!(super::version(root.path()), version, "{there:?}");
        }
    }

    #[test]
    fn limits_are_read_in_both_dialects() {
        for (text, expected) in [
            ("max 100000", None),
            ("200000 100000\n", Some(2_000)),
            ("50000 100000", Some(500)),
            ("1 0", None),
            ("junk", None),
        ] {
            assert_eq!(cpu_max(text), expected, "{text}");
        }
        for (quota, period, expected) in
            [("-1\n", "100000\n", None), ("150000\n", "100000\n", Some(1_500)), ("x", "1", None)]
        {
            assert_eq!(cfs_quota(quota, period), expected, "{quota}");
        }
        for (text, expected) in
            [("max\n", None), ("1073741824\n", Some(1_024)), ("9223372036854771712\n", None), ("-1", None)]
        {
            assert_eq!(memory_limit(text), expected, "{text}");
        }
    }

    /// A file system with these files, and what bounds a process in it.
    fn bounds_of(own: &str, files: &[(&str, &str)]) -> Bounds {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("sys/fs/cgroup").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let own_path = dir.path().join("own");
        fs::write(&own_path, own).unwrap();
        bounds(dir.path(), &own_path)
    }

    #[test]
    fn the_smallest_limit_on_the_way_counts() {
        let v2 = bounds_of(
            "0::/kubepods/pod1/main\n",
            &[
                ("kubepods/memory.max", "4294967296"),
                ("kubepods/pod1/memory.max", "2147483648"),
                ("kubepods/pod1/main/memory.max", "max"),
                ("kubepods/pod1/main/cpu.max", "150000 100000"),
            ],
        );
        assert_eq!(v2, Bounds { cpu_milli: Some(1_500), memory_mib: Some(2_048) });
        let v1 = bounds_of(
            "9:name=systemd:/\n4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n",
            &[
                ("memory/job/memory.limit_in_bytes", "536870912"),
                ("memory/memory.limit_in_bytes", "9223372036854771712"),
                ("cpu,cpuacct/job/cpu.cfs_quota_us", "-1"),
                ("cpu,cpuacct/job/cpu.cfs_period_us", "100000"),
            ],
        );
        assert_eq!(v1, Bounds { cpu_milli: None, memory_mib: Some(512) });
        assert_eq!(bounds_of("", &[]), Bounds::default());
    }
}
