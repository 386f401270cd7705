//! How fast a gate drains, and what that means for who was refused: a caller told to come back in a second when a place
//! is free in a millisecond wastes it, and one told so when the next is a minute away only adds to the crowd.
//!
//! Measured while every slot is taken, since only then does the time between two ends say how long a place takes to come
//! free. A gate that has stalled is found out by its silence: the time since the last end counts as soon as it is longer.

use crate::time::{Instant, Millis};

/// Weight of a new interval, as a power of two: ends come in bursts, and a sixteenth rides them out.
const SAMPLE_SHIFT: u32 = 4;

/// The shortest time a caller is told: less is a busy loop.
const SOONEST: Millis = Millis(1);

/// The longest: later the crowd, the replicas and their number are likely others.
const LATEST: Millis = Millis(60_000);

/// Before anything was measured.
const UNKNOWN: Millis = Millis(1_000);

/// The time between two ends at a full gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Microseconds, so that a thousand ends per second are told from none.
    interval_us: Option<u64>,
    /// Since when an end would tell something: the gate became full, or something ended and it stayed full.
    since: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// Notes that every slot is taken from now on.
    pub fn full(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Notes an end. `still_full` says whether its slot was taken at once.
    pub fn ended(&mut self, now: Instant, still_full: bool) {
        if let Some(since) = self.since {
            let took_us = now.since(since).0.saturating_mul(1_000);
            self.interval_us = Some(match self.interval_us {
                None => took_us,
                Some(average) => average - (average >> SAMPLE_SHIFT) + (took_us >> SAMPLE_SHIFT),
            });
        }
        self.since = still_full.then_some(now);
    }

    /// Returns when a caller should try again that has `ahead` others in front of it.
    pub fn retry_after(&self, ahead: u32, now: Instant) -> Millis {
        let silence_us = self.since.map_or(0, |since| now.since(since).0.saturating_mul(1_000));
        let Some(interval_us) = self.interval_us.map(|interval| interval.max(silence_us)) else {
            // Nothing has ended yet: as long again as it has taken so far.
            return Millis(silence_us / 1_000).clamp(UNKNOWN, LATEST);
        };
        let us = interval_us.saturating_mul(u64::from(ahead) + 1);
        Millis(us.div_ceil(1_000)).clamp(SOONEST, LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// A gate that is full from zero and ends something every `every` milliseconds.
    fn steady(every: u64, times: u64) -> Pace {
        let mut pace = Pace::default();
        pace.full(at(0));
        (1..=times).for_each(|turn| pace.ended(at(turn * every), true));
        pace
    }

    #[test]
    fn the_wait_is_the_place_in_line_times_the_pace() {
        for (every, ahead, now, wait, why) in [
            (20, 0, 1_000, 20, "next in line"),
            (20, 4, 1_000, 100, "four before it"),
            (20, 0, 1_500, 500, "it has stalled: the silence counts"),
            (4_000, 100, 200_000, 60_000, "never longer than a minute"),
        ] {
            assert_eq!(steady(every, 50).retry_after(ahead, at(now)), Millis(wait), "{why}");
        }
    }

    #[test]
    fn a_fast_gate_is_told_in_milliseconds() {
        let mut pace = Pace::default();
        pace.full(at(0));
        // Ten ends per millisecond: nine intervals of nothing and one of a millisecond.
        for ms in 1..2_000 {
            (0..10).for_each(|_| pace.ended(at(ms), true));
        }
        assert_eq!(pace.retry_after(0, at(1_999)), SOONEST);
        let wait = pace.retry_after(99, at(1_999));
        assert!((Millis(4)..=Millis(20)).contains(&wait), "a hundred places at ten per millisecond: {wait:?}");
    }

    #[test]
    fn what_was_never_seen_is_guessed_from_the_silence() {
        let mut pace = Pace::default();
        assert_eq!(pace.retry_after(3, at(0)), UNKNOWN);
        pace.full(at(0));
        assert_eq!(pace.retry_after(0, at(5_000)), Millis(5_000));
        assert_eq!(pace.retry_after(0, at(500_000)), LATEST);
    }

    #[test]
    fn an_idle_gate_does_not_slow_the_pace() {
        let mut pace = steady(20, 50);
        pace.ended(at(1_020), false);
        assert_eq!(pace.retry_after(0, at(90_000)), Millis(20), "nothing had to end while a slot was free");
        pace.full(at(90_000));
        pace.ended(at(90_020), true);
        assert_eq!(pace.retry_after(0, at(90_020)), Millis(20));
    }
}
