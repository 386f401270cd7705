//! The fake log: what a majority holds is committed, one leader a term, and a proposal may be lost with its leader.

use std::collections::BTreeMap;

use berth_core::{
    controller::Ticket,
    id::Term,
    state::{Applied, Entry},
};

/// Milliseconds after which a proposal that found no majority is given up.
pub(crate) const PROPOSAL_DEADLINE_MS: u64 = 5_000;

/// The committed entries and what is on its way to become one.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    /// What the first member that applied an entry got: all others must get the same.
    pub(crate) applied: Vec<Applied>,
    pub(crate) term: Term,
    pub(crate) leader: Option<usize>,
    pub(crate) proposals: BTreeMap<u64, Proposal>,
    pub(crate) last_commit_at: u64,
    /// Since when the leader has been missing.
    pub(crate) missing_since: Option<u64>,
    next: u64,
}

/// An entry on its way.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) member: usize,
    pub(crate) boot: u64,
    pub(crate) term: Term,
    pub(crate) entry: Entry,
    pub(crate) origin: Origin,
    pub(crate) deadline: u64,
}

/// Who waits for its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Controller(Ticket),
    Register { node: usize, node_boot: u64, session: u64 },
    Reports { node: usize, session: u64, upto: u64 },
    Change { change: usize, tries: u32 },
    Nobody,
}

// === impl Log ===

impl Log {
    pub(crate) fn propose(&mut self, proposal: Proposal) -> u64 {
        self.next += 1;
        self.proposals.insert(self.next, proposal);
        self.next
    }
}
