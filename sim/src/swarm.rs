//! Many seeds, one after the other, until one fails.

use std::fmt;

use crate::{Options, Report, run};

/// What many seeds found.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Seeds that were run.
    pub seeds: u64,
    /// Requests accepted in all of them.
    pub requests: u64,
    /// Log entries in all of them.
    pub entries: u64,
    /// Simulated milliseconds in all of them.
    pub simulated_ms: u64,
    /// A hash over all their traces.
    pub trace_hash: u64,
    /// The first seed that broke an invariant.
    pub failed: Option<Box<Report>>,
}

/// Runs `count` seeds from `first` on with otherwise equal options, until one breaks an invariant. `each` sees every
/// report, for progress.
pub fn swarm(first: u64, count: u64, options: &Options, mut each: impl FnMut(&Report)) -> Swarm {
    let mut swarm = Swarm { seeds: 0, requests: 0, entries: 0, simulated_ms: 0, trace_hash: 0, failed: None };
    for seed in first..first.saturating_add(count) {
        let report = run(&Options { seed, ..*options });
        swarm.seeds += 1;
        swarm.requests += report.requests.accepted;
        swarm.entries += report.entries;
        swarm.simulated_ms += report.simulated_ms;
        swarm.trace_hash = swarm.trace_hash.rotate_left(5) ^ report.trace_hash;
        each(&report);
        if !report.is_clean() {
            swarm.failed = Some(Box::new(report));
            break;
        }
    }
    swarm
}

// === impl Swarm ===

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated_ms / 3_600_000;
        let minutes = self.simulated_ms / 60_000 % 60;
        write!(
            f,
            "{} seeds, {hours}h{minutes:02}m simulated, {} entries, {} requests, trace {:016x}",
            self.seeds, self.entries, self.requests, self.trace_hash
        )?;
        match &self.failed {
            None => write!(f, ": every invariant held"),
            Some(report) => write!(f, "\n{report}"),
        }
    }
}
