//! The fake network: delays, cuts between any two, and streams that keep their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use berth_core::rng::Rng;

use crate::event::Event;

/// Someone who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Addr {
    /// A coordinator, by position.
    Member(usize),
    /// A node, by position.
    Node(usize),
}

/// The fake network.
#[derive(Debug)]
pub(crate) struct Net {
    cuts: BTreeSet<(Addr, Addr)>,
    /// When the last message of each link arrives: streams keep their order.
    last: BTreeMap<(Addr, Addr), u64>,
    /// What was sent on streams while they were cut: it is sent again until it arrives or its stream is given up.
    held: BTreeMap<(Addr, Addr), Vec<Event>>,
    /// Milliseconds every message to a node's table feed takes longer.
    slow_feeds: BTreeMap<usize, u64>,
    rng: Rng,
}

// === impl Net ===

impl Net {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { cuts: BTreeSet::new(), last: BTreeMap::new(), held: BTreeMap::new(), slow_feeds: BTreeMap::new(), rng }
    }

    pub(crate) fn cut(&mut self, a: Addr, b: Addr) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    /// Makes everyone reach everyone, and returns what waited for that, in the order in which it was sent.
    pub(crate) fn heal(&mut self) -> BTreeMap<(Addr, Addr), Vec<Event>> {
        self.cuts.clear();
        self.slow_feeds.clear();
        std::mem::take(&mut self.held)
    }

    /// Keeps what was sent on a cut stream.
    pub(crate) fn hold(&mut self, from: Addr, to: Addr, event: Event) {
        self.held.entry((from, to)).or_default().push(event);
    }

    pub(crate) fn slow_feed(&mut self, node: usize, millis: u64) {
        self.slow_feeds.insert(node, millis);
    }

    pub(crate) fn feed_delay(&self, node: usize) -> u64 {
        self.slow_feeds.get(&node).copied().unwrap_or(0)
    }

    /// Returns whether two reach each other.
    pub(crate) fn reaches(&self, a: Addr, b: Addr) -> bool {
        a == b || !self.cuts.contains(&(a.min(b), a.max(b)))
    }

    /// Returns when a message sent now on a stream arrives: a millisecond or a few, now and then many.
    pub(crate) fn arrival(&mut self, from: Addr, to: Addr, now: u64) -> u64 {
        let delay = if from == to {
            0
        } else if self.rng.chance(10) {
            20 + self.rng.below(180)
        } else {
            1 + self.rng.below(4)
        };
        let last = self.last.entry((from, to)).or_default();
        *last = (now + delay).max(*last);
        *last
    }

    /// Returns when a message that keeps no order arrives.
    pub(crate) fn loose_arrival(&mut self, from: Addr, to: Addr, now: u64) -> u64 {
        if from == to { now } else { now + 1 + self.rng.below(4) }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(at) => write!(f, "c{}", at + 1),
            Self::Node(at) => write!(f, "n{}", at + 1),
        }
    }
}
