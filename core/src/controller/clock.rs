//! The log's time between entries: the last entry's time, carried on by the monotonic clock.
//!
//! Deadlines in the state are log times. A leader's wall clock may be stepped while it leads; its monotonic clock is not.
//! What it proposes carries this time too: stamped by a wall clock that went back, the log would stand still, and every
//! deadline set meanwhile would be over at once for who waits for it.

use crate::time::{Instant, LogTime};

/// Reads log time from the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogClock {
    log: LogTime,
    at: Instant,
}

// === impl LogClock ===

impl LogClock {
    /// Takes the time of the last entry, seen now. It never goes back: an old entry's time is older than now.
    pub fn follow(&mut self, log: LogTime, now: Instant) {
        if log > self.read(now) || self.log == LogTime::default() {
            *self = Self { log, at: now };
        }
    }

    pub(super) fn read(&self, now: Instant) -> LogTime {
        self.log + now.since(self.at)
    }

    /// Returns what to stamp a proposal with: what the wall clock shows, or the time the log has come to where the wall
    /// clock went back or runs behind.
    pub fn stamp(&self, wall: LogTime, now: Instant) -> LogTime {
        self.read(now).max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_between_entries_and_never_back() {
        let (log, at) = (LogTime::from_millis, Instant::from_millis);
        let mut clock = LogClock::default();
        clock.follow(log(1_000), at(50));
        assert_eq!(clock.read(at(60)), log(1_010));
        clock.follow(log(1_000), at(70));
        assert_eq!(clock.read(at(70)), log(1_020), "the same entry again says nothing new");
        clock.follow(log(5_000), at(80));
        assert_eq!(clock.read(at(90)), log(5_010), "a proposer ahead takes everybody along");
    }

    #[test]
    fn a_proposal_is_stamped_by_a_clock_that_goes_on() {
        let (log, at) = (LogTime::from_millis, Instant::from_millis);
        let mut clock = LogClock::default();
        assert_eq!(clock.stamp(log(9_000), at(40)), log(9_000), "a log without a time has the wall clock's");
        clock.follow(log(9_000), at(50));
        for (wall, now, stamp) in [(9_020, 70, 9_020), (9_100, 80, 9_100), (4_000, 90, 9_040), (4_910, 1_000, 9_950)] {
            assert_eq!(clock.stamp(log(wall), at(now)), log(stamp), "{wall} at {now}");
        }
    }
}
