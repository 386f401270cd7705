//! Invariants of a whole run: what no single state shows, each with an id.
//!
//! Those of the replicated state are listed in `berth_core::invariant`; an id means one thing in both lists. Nothing is
//! found under an id that neither of them has.

/// Every invariant of a whole run, with what it says.
pub const INVARIANTS: &[(&str, &str)] = &[
    ("AC01", "a replica serves only once every router knows it"),
    ("AC02", "a replica stops only once no router sends to it and nothing runs on it"),
    ("AC03", "whoever is taken over from leaves no router without a replica to send to"),
    ("PL04", "a node obeys no leader of a term older than it has seen"),
    ("PL05", "what runs on a host fits there, on its devices as well"),
    ("PL14", "nothing but a fault of its own condemns a card"),
    ("RC01", "once every fault is mended all is as it was asked for, and nothing is left over"),
    ("RC02", "however many nodes fall silent together, none of them is given up"),
    ("RE04", "a replica runs once"),
    ("RE05", "a replica that is out of reach is replaced when its deployment says so, and if"),
    ("RE07", "an agent that hears no coordinator ends what may not run alone, in time, and nothing else"),
    ("RS04", "once every fault is mended each reserve is whole, of use, or says truly that it is short"),
    ("SE01", "a revoked key opens nothing at a router whose feed is live"),
    ("TR10", "a router's table never goes back"),
    ("TR11", "each deployment gets its share of the requests"),
    ("TR12", "work that may not be repeated starts at most once"),
    ("TR13", "no accepted request is lost without a fault that explains it"),
    ("TR14", "nothing begins that nobody waits for"),
    ("TR15", "retries stay within their budget"),
    ("TR16", "a caller gets no answer of a mirror"),
    ("UP01", "only whoever holds the lock empties nodes for an upgrade"),
    ("WA01", "a watch has no gaps, no repeats, and is the same everywhere"),
    ("WR05", "every coordinator makes the same of the same entries"),
    ("WR06", "no acknowledged change is lost"),
];

/// Under which what a story expected is told when it was not so.
pub(crate) const STORY: &str = "story";

/// Returns whether something may be found under an id.
pub(crate) fn is_listed(id: &str) -> bool {
    let of_the_state = berth_core::invariant::INVARIANTS;
    id == STORY || INVARIANTS.iter().chain(of_the_state).any(|(listed, _)| *listed == id)
}
