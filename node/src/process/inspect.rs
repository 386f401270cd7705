//! What `/proc` tells of processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::MARK;

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) group: u32,
    pub(super) cpu_ticks: u64,
    pub(super) start_ticks: u64,
    pub(super) resident_pages: u64,
}

/// What the processes of some groups have used and hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Processor time since their start, in the kernel's ticks.
    pub(crate) cpu_ticks: u64,
    /// Memory in pages.
    pub(crate) resident_pages: u64,
}

/// Adds up what the processes of each of these groups hold.
pub(crate) fn held_by(groups: &BTreeSet<u32>) -> BTreeMap<u32, Held> {
    added_up(groups, pids().filter_map(stat))
}

/// The processes of a host are thousands: nobody looks at them where nothing runs.
fn added_up(groups: &BTreeSet<u32>, stats: impl Iterator<Item = Stat>) -> BTreeMap<u32, Held> {
    let mut held: BTreeMap<u32, Held> = groups.iter().map(|group| (*group, Held::default())).collect();
    if held.is_empty() {
        return held;
    }
    for stat in stats.filter(Stat::is_running) {
        if let Some(sum) = held.get_mut(&stat.group) {
            sum.cpu_ticks += stat.cpu_ticks;
            sum.resident_pages += stat.resident_pages;
        }
    }
    held
}

/// Returns when a process started, in the kernel's count since boot; together with its id it names one process.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// Returns whether this very process still runs; one that ended and was not waited for does not.
pub(crate) fn is_alive(pid: u32, ticks: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.start_ticks == ticks && stat.is_running())
}

/// Lists the running processes of a replica: those of its group, and those that carry its mark.
pub(super) fn belonging(group: Option<u32>, root: &Path) -> Vec<u32> {
    let is_of = |pid: &u32| {
        stat(*pid).is_some_and(|stat| {
            stat.is_running() && (Some(stat.group) == group || mark(*pid).is_some_and(|mark| mark == root))
        })
    };
    pids().filter(is_of).collect()
}

/// Lists `(pid, replica folder)` of every running process that was started for a replica below `folder`.
pub(crate) fn marked_processes(folder: &Path) -> Vec<(u32, PathBuf)> {
    let found = pids().filter_map(|pid| {
        let root = mark(pid).filter(|root| root.starts_with(folder))?;
        stat(pid).filter(Stat::is_running)?;
        Some((pid, root))
    });
    found.collect()
}

/// Returns the group of a running process and the replica folder it is marked with, if it is.
pub(crate) fn owner(pid: u32) -> Option<(u32, Option<PathBuf>)> {
    let group = stat(pid).filter(Stat::is_running)?.group;
    Some((group, mark(pid)))
}

/// Whether the host, as this process sees it, lists a process, running or not.
pub(crate) fn is_listed(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn mark(pid: u32) -> Option<PathBuf> {
    mark_of(&fs::read(format!("/proc/{pid}/environ")).ok()?)
}

fn mark_of(environ: &[u8]) -> Option<PathBuf> {
    let value = environ.split(|byte| *byte == 0).find_map(|entry| {
        let rest = entry.strip_prefix(MARK.as_bytes())?;
        rest.strip_prefix(b"=")
    })?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(value)))
}

/// Lists every process but this one, which may itself run inside somebody's replica.
fn pids() -> impl Iterator<Item = u32> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |pid| *pid != own)
}

pub(super) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a `stat` line. The name in it may hold blanks and brackets, so counting begins after its last bracket.
fn parse_stat(text: &str) -> Option<Stat> {
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        group: fields.get(2)?.parse().ok()?,
        cpu_ticks: number(11)?.checked_add(number(12)?)?,
        start_ticks: number(19)?,
        resident_pages: number(21)?,
    })
}

/// What is promised of `stat` lines and of an environment, over any bytes; see [`crate::fuzzing`].
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn promise(bytes: &[u8]) {
    if let Some(root) = mark_of(bytes) {
        let marked = [MARK.as_bytes(), b"=", root.as_os_str().as_bytes()].concat();
        assert!(bytes.split(|byte| *byte == 0).any(|entry| entry == marked), "a mark that is not there");
    }
    if let Some(stat) = str::from_utf8(bytes).ok().and_then(parse_stat) {
        assert!(bytes.contains(&stat.state), "a state that is not there");
    }
}

// === impl Stat ===

impl Stat {
    fn is_running(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let tail = "S 1 42 42 0 -1 4194304 1 0 0 0 30 4 0 0 20 0 1 0 777 0 55";
        for name in ["(sh)", "(a b)", "(x) R 9 9)"] {
            let stat = parse_stat(&format!("7 {name} {tail}")).unwrap();
            assert_eq!(
                stat,
                Stat { state: b'S', group: 42, cpu_ticks: 34, start_ticks: 777, resident_pages: 55 },
                "{name}"
            );
        }
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn what_groups_hold_is_added_up_and_nobody_is_looked_at_for_nothing() {
        let stat = |state, group, cpu_ticks| Stat { state, group, cpu_ticks, start_ticks: 1, resident_pages: 10 };
        let all = [stat(b'S', 42, 3), stat(b'R', 42, 4), stat(b'S', 43, 9), stat(b'Z', 42, 100)];
        let held = added_up(&[42, 44].into(), all.into_iter());
        let sum = Held { cpu_ticks: 7, resident_pages: 20 };
        assert_eq!(held, [(42, sum), (44, Held::default())].into());
        let nobody = std::iter::from_fn(|| panic!("a process was looked at"));
        assert_eq!(added_up(&BTreeSet::new(), nobody), BTreeMap::new());
    }

    #[test]
    fn this_process_is_alive_and_another_start_is_not() {
        let pid = std::process::id();
        let ticks = start_ticks(pid).unwrap();
        assert!(is_alive(pid, ticks));
        assert!(!is_alive(pid, ticks + 1));
    }
}
