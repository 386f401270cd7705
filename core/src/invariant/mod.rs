//! Invariants: what must hold whatever happened, each with an id and one predicate.
//!
//! An independent judge: nothing here is shared with the planner or the scheduler, and the state never calls it. Shells
//! do, after every step in the simulator and in debug builds, and on request in production. A predicate reads the state
//! and recomputes what it claims from the plain records, so that a wrong look-up cannot hide a wrong decision.

mod preempt;
mod reserve;
mod state;
mod step;

pub use step::Witness;

use std::fmt;

use crate::state::ClusterState;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which one.
    pub id: &'static str,
    /// What was found.
    pub what: String,
}

/// Every invariant of the replicated state, with what it says. Those of a whole run (requests, routers) are the
/// simulator's.
pub const INVARIANTS: &[(&str, &str)] = &[
    ("PL01", "no node holds more than it has"),
    ("PL02", "no device is given twice or beyond its memory"),
    ("PL03", "a plan of another term changes nothing"),
    ("PL11", "nothing makes room inside the minimum of its own deployment"),
    ("PL12", "what makes room is less important by ten or more than what it makes room for, which needs it"),
    ("PL10", "a device takes new work exactly while its card is sound"),
    ("RE01", "a replica belongs to a node, a deployment and a spec that exist"),
    ("RE02", "a replica id is never used again and never moves"),
    ("RE03", "a replica is lost exactly while its node is"),
    ("LI01", "a replica goes forward through its life, or back only to start again"),
    (
        "RO01",
        "a planned step never leaves fewer ready replicas than were asked for, or one fewer where that is recorded",
    ),
    (
        "RS01",
        "a held slot goes only to a recorded rolling update, drain, upgrade or recovery, or is given back for a true cause",
    ),
    ("RS02", "a slot belongs to a node and to a deployment that exist"),
    ("RS03", "no deployment holds more beyond its instances than its reserve"),
    ("TR01", "a split totals 0 or 100 and names deployments that exist"),
    ("TR02", "the route table holds exactly the warm and serving replicas of nodes that are not lost"),
    ("TR03", "the version of the route table never falls, and what changed has a newer one"),
    ("DL01", "a deleted deployment goes with its last replica, and one without an endpoint is being deleted"),
    ("NO01", "node names are unique and epochs never fall"),
    ("NO02", "reports under another epoch change nothing"),
    ("WR01", "entries apply one after the other, and time and term never go back"),
    ("WR02", "a request id has one answer and one effect"),
    ("WR03", "a refusal changes nothing"),
    ("WR04", "no revision is newer than the last entry"),
    ("IX01", "look-ups say what the records say"),
];

/// Checks everything that one state alone can show.
pub fn check(state: &ClusterState) -> Vec<Violation> {
    let mut found = Vec::new();
    state::nodes_hold_what_they_have(state, &mut found);
    state::devices_are_given_once(state, &mut found);
    state::devices_are_trusted_by_their_condition(state, &mut found);
    state::replicas_belong(state, &mut found);
    state::slots_belong(state, &mut found);
    state::splits_are_whole(state, &mut found);
    state::routes_are_true(state, &mut found);
    state::deletes_leave_nothing(state, &mut found);
    state::names_are_unique(state, &mut found);
    state::revisions_are_past(state, &mut found);
    state::look_ups_are_true(state, &mut found);
    found
}

// === impl Violation ===

impl Violation {
    /// Creates a violation of the invariant `id`.
    pub fn new(id: &'static str, what: impl Into<String>) -> Self {
        Self { id, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.what)
    }
}
