//! What a run is asked for, and what it tells.

use std::fmt;

use crate::Bug;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The seed every draw comes from.
    pub seed: u64,
    /// Coordinators; drawn from the seed when zero.
    pub members: usize,
    /// Nodes; drawn from the seed when zero.
    pub nodes: usize,
    /// Simulated seconds of changes and faults; the time to come to rest is added.
    pub seconds: u64,
    /// Stop after this many events, to look at what led to a failure.
    pub steps: Option<u64>,
    /// Whether faults happen; without them no request may fail at all.
    pub faults: Option<bool>,
    /// A bug to plant.
    pub bug: Option<Bug>,
    /// Whether the report keeps every line of what happened instead of the last ones.
    pub whole_trace: bool,
}

/// A broken invariant, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which invariant.
    pub id: String,
    /// What was found.
    pub what: String,
    /// Simulated milliseconds since the start.
    pub at_ms: u64,
}

/// Requests, counted by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted by an ingress.
    pub accepted: u64,
    /// Answered by a replica.
    pub answered: u64,
    /// Refused because every slot and every place to wait was taken.
    pub shed: u64,
    /// Failed while a fault was at their node, their replica or the network between.
    pub failed_by_fault: u64,
    /// Failed with no such excuse.
    pub lost: u64,
    /// Copies sent to a mirror.
    pub mirrored: u64,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The planted bug.
    pub bug: Option<Bug>,
    /// A hash over everything that happened: the same seed gives the same one.
    pub trace_hash: u64,
    /// Broken invariants; a run ends at the first step that breaks any.
    pub violations: Vec<Finding>,
    /// Requests.
    pub requests: Tally,
    /// Log entries.
    pub entries: u64,
    /// Leaders there were.
    pub terms: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// The last lines of what happened.
    pub trace: Vec<String>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, members: 0, nodes: 0, seconds: 40, steps: None, faults: None, bug: None, whole_trace: false }
    }
}

// === impl Report ===

impl Report {
    /// Returns whether nothing was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Returns the command that runs this seed again.
    pub fn replay(&self) -> String {
        let bug = self.bug.map(|bug| format!(" --bug {bug}")).unwrap_or_default();
        format!("berth sim run --seed {}{bug}", self.seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { accepted, answered, shed, failed_by_fault, lost, mirrored } = self.requests;
        let secs = self.simulated_ms / 1_000;
        writeln!(
            f,
            "seed {}: {secs}s simulated, {} events, {} entries, {} terms",
            self.seed, self.events, self.entries, self.terms
        )?;
        writeln!(
            f,
            "requests: {accepted} accepted, {answered} answered, {shed} shed, {failed_by_fault} hit by a fault, {lost} lost, {mirrored} mirrored"
        )?;
        write!(f, "trace {:016x}", self.trace_hash)?;
        if self.violations.is_empty() {
            return write!(f, ", every invariant held");
        }
        for finding in &self.violations {
            write!(
                f,
                "\nbroken {} at {}.{:03}s: {}",
                finding.id,
                finding.at_ms / 1_000,
                finding.at_ms % 1_000,
                finding.what
            )?;
        }
        for line in &self.trace {
            write!(f, "\n{line}")?;
        }
        write!(f, "\nreplay: {}", self.replay())
    }
}
