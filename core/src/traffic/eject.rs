//! Passive ejection: a replica that failed to take a request rests, and is tried again with one request.
//!
//! The request path learns of a dead replica long before any prober or coordinator. A rest of one second, doubling,
//! keeps almost all requests away from it; one trial at the end of each rest finds out when it is back. At most half of
//! a deployment rests: beyond that the fault is more likely the router's own, and refusing everything helps nobody.

use crate::time::{Instant, Millis};

/// The first rest: long enough to spare a burst of requests, short enough that a restarted replica is not missed.
const FIRST: Millis = Millis(1_000);

/// The longest rest; a coordinator has replaced a dead replica long before.
const LONGEST: Millis = Millis(30_000);

/// How long a trial may stay without an outcome before the next request is a trial too: a caller may have left.
const TRIAL: Millis = Millis(1_000);

/// How one replica has behaved, as this router saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejection {
    failures: u32,
    until: Instant,
    on_trial: bool,
}

/// Whether a replica may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As any other.
    Healthy,
    /// Its rest is over: this one request finds out.
    Trial,
    /// It rests.
    Ejected,
}

// === impl Ejection ===

impl Ejection {
    /// Returns whether it may be asked now. A trial is granted to one caller at a time.
    pub fn standing(&mut self, now: Instant) -> Standing {
        match self.peek(now) {
            Standing::Trial => {
                self.until = now + TRIAL;
                self.on_trial = true;
                Standing::Trial
            }
            other => other,
        }
    }

    /// Returns the same without granting the trial.
    pub fn peek(&self, now: Instant) -> Standing {
        match self.failures {
            0 => Standing::Healthy,
            _ if now < self.until => Standing::Ejected,
            _ => Standing::Trial,
        }
    }

    /// Returns whether there is anything to remember.
    pub fn is_clear(&self) -> bool {
        self.failures == 0
    }

    /// Notes that it could not take a request.
    pub fn failed(&mut self, now: Instant) {
        let rest = FIRST.0.saturating_mul(1 << self.failures.min(16)).min(LONGEST.0);
        // Requests that were under way together fail together: within one rest they count once.
        if self.on_trial || self.peek(now) != Standing::Ejected {
            *self = Self { failures: self.failures.saturating_add(1), until: now + Millis(rest), on_trial: false };
        }
    }

    /// Notes that it answered.
    pub fn answered(&mut self) {
        *self = Self::default();
    }
}

/// Returns whether so many rest that all are asked regardless.
pub fn is_panic(ejected: usize, total: usize) -> bool {
    ejected * 2 > total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_until_an_answer() {
        let at = Instant::from_millis;
        let mut replica = Ejection::default();
        assert_eq!(replica.standing(at(0)), Standing::Healthy);
        replica.failed(at(0));
        replica.failed(at(5));
        assert_eq!(replica.standing(at(999)), Standing::Ejected);
        assert_eq!(replica.standing(at(1_000)), Standing::Trial, "failures of one moment count once; half open");
        assert_eq!(replica.standing(at(1_001)), Standing::Ejected, "one trial at a time");
        replica.failed(at(1_010));
        assert_eq!(replica.standing(at(3_009)), Standing::Ejected, "two seconds now");
        assert_eq!(replica.standing(at(3_010)), Standing::Trial);
        replica.answered();
        assert_eq!(replica.standing(at(3_011)), Standing::Healthy);
    }

    #[test]
    fn a_trial_without_outcome_is_followed_by_another() {
        let at = Instant::from_millis;
        let mut replica = Ejection::default();
        replica.failed(at(0));
        assert_eq!(replica.standing(at(1_000)), Standing::Trial);
        assert_eq!(replica.standing(at(2_000)), Standing::Trial);
    }

    #[test]
    fn a_long_silence_never_rests_longer_than_the_limit() {
        let mut replica = Ejection::default();
        let mut now = Instant::from_millis(0);
        for _ in 0..40 {
            replica.failed(now);
            now = now + LONGEST;
            assert_eq!(replica.standing(now), Standing::Trial);
        }
    }

    #[test]
    fn at_most_half_rests() {
        for (ejected, total, panic, why) in [
            (0, 0, false, "nothing to panic about"),
            (1, 1, true, "the only one is asked all the same"),
            (1, 2, false, "half may rest"),
            (2, 3, true, "more than half"),
        ] {
            assert_eq!(is_panic(ejected, total), panic, "{why}");
        }
    }
}
