//! The log's time between entries: the last entry's time, carried on by the monotonic clock.
//!
//! Deadlines in the state are log times. A leader's wall clock may be stepped while it leads; its monotonic clock is not.

use crate::time::{Instant, LogTime};

/// Reads log time from the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogClock {
    log: LogTime,
    at: Instant,
}

// === impl LogClock ===

impl LogClock {
    /// Takes the time of the last entry, seen now. It never goes back: an old entry's time is older than now.
    pub(super) fn follow(&mut self, log: LogTime, now: Instant) {
        if log > self.read(now) || self.log == LogTime::default() {
            *self = Self { log, at: now };
        }
    }

    pub(super) fn read(&self, now: Instant) -> LogTime {
        self.log + now.since(self.at)
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
}
