//! Gates that were full: what a router remembers of them, and for how long.
//!
//! To ask a gate of another node costs a message each way. Under overload nearly every request finds every gate full, and
//! asking each of a hundred for a slot and then for a place to wait would put two hundred times the callers' load between
//! the nodes, when they have the least to spare. So who was full is believed to be: no longer than the gate itself expects
//! it to be, no longer than a few round trips, and only until a request of this router ends there, whose place is free.

use crate::time::{Instant, Millis};

/// What a gate has left for one more request, as far as a router knows without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// Only it can tell.
    #[default]
    Unknown,
    /// No slot; perhaps a place to wait.
    ToWait,
    /// Nothing before so long.
    None(Millis),
}

/// How a gate refused for want of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// It had no place to wait either.
    pub no_place: bool,
    /// How many waited there.
    pub waiting: u64,
    /// When it expects a slot for who asks now, where it said so.
    pub retry_after: Option<Millis>,
}

/// When a gate was full last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastFull {
    /// Until when no slot is expected.
    slot_at: Instant,
    /// Until when no place to wait is.
    place_at: Instant,
    /// When it is worth coming back.
    again_at: Instant,
}

// === impl LastFull ===

impl LastFull {
    /// Notes a refusal, to be believed for `longest` at most.
    pub fn refused(&mut self, full: Full, longest: Millis, now: Instant) {
        let after = full.retry_after.unwrap_or(longest);
        // Who waits goes first, so a slot takes as long as all of them, and a place as long as the first.
        self.slot_at = now + after.min(longest);
        self.again_at = now + after;
        if full.no_place {
            let next = Millis(after.0 / full.waiting.saturating_add(1));
            self.place_at = now + next.min(longest);
        }
    }

    /// Returns what it has left.
    pub fn read(&self, now: Instant) -> Places {
        if now < self.place_at {
            Places::None(self.again_at.since(now))
        } else if now < self.slot_at {
            Places::ToWait
        } else {
            Places::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_is_believed_no_longer_than_it_says() {
        let full = |no_place, waiting, after: u64| Full { no_place, waiting, retry_after: Some(Millis(after)) };
        for (refused, asked_ms, places, why) in [
            (full(false, 0, 6), 5, Places::ToWait, "no slot for as long as the gate said"),
            (full(false, 0, 6), 6, Places::Unknown, "then there may be one"),
            (full(false, 0, 900), 9, Places::ToWait, "at most for ten"),
            (full(false, 0, 900), 10, Places::Unknown, "a gate that is slow has other callers, too"),
            (full(true, 2, 900), 9, Places::None(Millis(891)), "and when to come back is what the gate said"),
            (full(true, 2, 9), 2, Places::None(Millis(7)), "a place comes free with the next slot"),
            (full(true, 2, 9), 3, Places::ToWait, "and a slot when those who wait have had theirs"),
            (full(true, 7, 4), 0, Places::ToWait, "a gate that drains faster than a message travels is asked"),
            (Full { no_place: true, waiting: 0, retry_after: None }, 9, Places::None(Millis(1)), "it did not say"),
        ] {
            let mut last = LastFull::default();
            assert_eq!(last.read(Instant::from_millis(0)), Places::Unknown);
            last.refused(refused, Millis(10), Instant::from_millis(0));
            assert_eq!(last.read(Instant::from_millis(asked_ms)), places, "{why}");
        }
    }

    #[test]
    fn a_gate_without_a_slot_says_nothing_about_places_to_wait() {
        let mut last = LastFull::default();
        let at = Instant::from_millis;
        last.refused(Full { no_place: true, waiting: 0, retry_after: Some(Millis(8)) }, Millis(10), at(0));
        last.refused(Full { no_place: false, waiting: 1, retry_after: Some(Millis(16)) }, Millis(10), at(2));
        assert_eq!(last.read(at(7)), Places::None(Millis(11)));
        assert_eq!(last.read(at(11)), Places::ToWait);
    }
}
