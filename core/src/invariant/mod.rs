//! Invariants: what must hold whatever happened, each with an id and one predicate.
//!
//! An independent judge: nothing here is shared with the planner or the scheduler, and the state never calls it. Shells
//! do, after every step in the simulator and in debug builds, and on request in production. A predicate reads the state
//! and recomputes what it claims from the plain records, so that a wrong look-up cannot hide a wrong decision.

mod copies;
mod preempt;
mod quota;
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
    ("PL13", "nothing is placed in a domain that holds as many of its generation as its deployment allows"),
    ("PL10", "a device takes new work exactly while its card is sound"),
    ("RE01", "a replica belongs to a node, a deployment and a spec that exist"),
    ("RE02", "a replica id is never used again and never moves"),
    ("RE03", "a replica is lost exactly while its node is"),
    ("RE06", "of a replica that is back and its stand-in, the one stays that their deployment wants"),
    ("LI01", "a replica goes forward through its life, or back only to start again"),
    (
        "RO01",
        "a planned step never leaves fewer ready replicas than were asked for, or one fewer where that is recorded",
    ),
    (
        "RS01",
        "a held slot goes only to a rolling update, drain, upgrade or recovery that is recorded as what it is, or is given back for a true cause",
    ),
    ("RS02", "a slot belongs to a node and to a deployment that exist"),
    ("RS03", "no deployment holds more beyond its instances than its reserve"),
    ("QU01", "what a project is said to take is the sum of its deployments"),
    ("QU02", "nothing grows beyond a project's limit and its loans"),
    ("QU03", "no more is lent than the pool has"),
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

/// Judges one state.
type Predicate = fn(&ClusterState, &mut Vec<Violation>);

/// What one state alone can show: each predicate with the invariants it speaks for.
const OF_ONE_STATE: &[(&[&str], Predicate)] = &[
    (&["PL01"], state::nodes_hold_what_they_have),
    (&["PL02"], state::devices_are_given_once),
    (&["PL10"], state::devices_are_trusted_by_their_condition),
    (&["RE01", "RE03"], state::replicas_belong),
    (&["RS02"], state::slots_belong),
    (&["QU01"], quota::sums_are_true),
    (&["QU03"], quota::loans_are_in_the_pool),
    (&["TR01"], state::splits_are_whole),
    (&["TR02", "TR03"], state::routes_are_true),
    (&["DL01"], state::deletes_leave_nothing),
    (&["NO01"], state::names_are_unique),
    (&["WR04"], state::revisions_are_past),
    (&["IX01"], state::look_ups_are_true),
];

/// Checks everything that one state alone can show.
pub fn check(state: &ClusterState) -> Vec<Violation> {
    let mut found = Vec::new();
    for (ids, predicate) in OF_ONE_STATE {
        let before = found.len();
        predicate(state, &mut found);
        debug_assert!(found[before..].iter().all(|broken| ids.contains(&broken.id)), "{ids:?} found {found:?}");
    }
    found
}

/// Lists the invariants that [`check`] checks, as far as one state shows them.
pub fn of_one_state() -> impl Iterator<Item = &'static str> {
    OF_ONE_STATE.iter().flat_map(|(ids, _)| *ids).copied()
}

/// Lists the invariants that take a [`Witness`] of every change; of some, one state shows a part.
pub fn of_a_history() -> impl Iterator<Item = &'static str> {
    step::OF_A_HISTORY.iter().copied()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_invariant_is_checked_somewhere() {
        let listed: BTreeSet<_> = INVARIANTS.iter().map(|(id, _)| *id).collect();
        assert_eq!(listed.len(), INVARIANTS.len(), "an id means one thing");
        let checked: BTreeSet<_> = of_one_state().chain(of_a_history()).collect();
        assert_eq!(checked, listed);
        let in_part: BTreeSet<_> = of_one_state().filter(|id| of_a_history().any(|other| other == *id)).collect();
        assert_eq!(in_part, BTreeSet::from(["NO01", "TR03"]));
    }
}
