//! Hedges: when a second replica is asked beside the first, and whose answer counts.
//!
//! A hedge is a retry that does not wait for a failure. It helps against one slow replica and hurts when all are slow,
//! so it is bounded three times over: one per request, a share of recent requests, and the budget that retries have
//! (see [`super::budget`]). It takes only a free slot, never a place to wait, and only a request whose body is whole and
//! at hand can be sent twice at the same time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::durations::{self, BUCKETS};
use crate::{
    model::{HedgeAfter, Hedging},
    time::Instant,
};

/// How long answers count as recent: between one and two of these.
const WINDOW_SECS: u64 = 30;

/// Answers that a percentile is taken of at least; of fewer the slowest twentieth is a matter of chance.
const SAMPLES_MIN: u64 = 100;

/// How long recent answers of a deployment took, as the node's ingress saw it. Shared by all cores.
#[derive(Debug, Default)]
pub struct Recent([Window; 2]);

#[derive(Debug)]
struct Window {
    /// Which window of time it counts; 0 for none.
    number: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

/// How an attempt ended, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// With an answer.
    Answered,
    /// With an answer that says that the replica could not.
    Failing,
    /// Without an answer.
    Missed,
}

/// The two attempts of a hedged request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that was under way.
    First,
    /// The one that was added.
    Hedge,
}

/// Returns after how many microseconds a second replica is asked; nothing when not enough is known to tell.
pub fn delay_us(hedging: &Hedging, recent: &Recent, now: Instant) -> Option<u64> {
    match hedging.after {
        HedgeAfter::Delay(after) => Some(after.0.saturating_mul(1_000)),
        HedgeAfter::Percentile { permille } => recent.quantile_us(u64::from(permille), now),
    }
}

/// Returns whose end the caller hears of, once one of the two has ended; nothing while the other one is worth waiting for.
/// A replica that fails at once must not win the race.
pub fn heard(first: Option<Ended>, hedge: Option<Ended>) -> Option<Side> {
    match (first, hedge) {
        (Some(first), Some(hedge)) => Some(if hedge < first { Side::Hedge } else { Side::First }),
        (Some(Ended::Answered), None) => Some(Side::First),
        (None, Some(Ended::Answered)) => Some(Side::Hedge),
        (Some(_) | None, None) | (None, Some(_)) => None,
    }
}

// === impl Recent ===

impl Recent {
    /// Notes how long an answer took, or how long it has not come when it was given up.
    pub fn note(&self, took_us: u64, now: Instant) {
        let number = number(now);
        let window = &self.0[(number % 2) as usize];
        let before = window.number.load(Relaxed);
        // Whoever turns the page clears it. What another core counts in between may be lost, which a percentile bears.
        if before != number && window.number.compare_exchange(before, number, Relaxed, Relaxed).is_ok() {
            window.counts.iter().for_each(|count| count.store(0, Relaxed));
        }
        window.counts[durations::bucket_of(took_us)].fetch_add(1, Relaxed);
    }

    fn quantile_us(&self, permille: u64, now: Instant) -> Option<u64> {
        let number = number(now);
        let mut counts = [0_u64; BUCKETS];
        for window in self.0.iter().filter(|window| number - window.number.load(Relaxed).min(number) < 2) {
            for (sum, count) in counts.iter_mut().zip(&window.counts) {
                *sum += u64::from(count.load(Relaxed));
            }
        }
        let all: u64 = counts.iter().sum();
        (all >= SAMPLES_MIN).then(|| durations::quantile_us(&counts, permille))
    }
}

impl Default for Window {
    fn default() -> Self {
        Self { number: AtomicU64::new(0), counts: std::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

fn number(now: Instant) -> u64 {
    // From two on, so that a window that was never used is too old.
    now.millis() / 1_000 / WINDOW_SECS + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    const NO: Option<Ended> = None;

    #[test]
    fn a_failing_answer_waits_for_the_other_and_the_first_wins_a_tie() {
        use Ended::{Answered, Failing, Missed};
        for (first, hedge, heard_is, why) in [
            (NO, NO, None, "both are under way"),
            (Some(Answered), NO, Some(Side::First), "the first was in time"),
            (NO, Some(Answered), Some(Side::Hedge), "the hedge was faster"),
            (Some(Failing), NO, None, "the hedge may do better"),
            (NO, Some(Failing), None, "the first may do better"),
            (Some(Missed), NO, None, "the hedge is the retry"),
            (NO, Some(Missed), None, "the first goes on"),
            (Some(Failing), Some(Answered), Some(Side::Hedge), "an answer beats a failure"),
            (Some(Answered), Some(Failing), Some(Side::First), "an answer beats a failure"),
            (Some(Missed), Some(Failing), Some(Side::Hedge), "the model's own words beat none"),
            (Some(Failing), Some(Failing), Some(Side::First), "alike: the one that was chosen"),
            (Some(Missed), Some(Missed), Some(Side::First), "alike: the search goes on from there"),
        ] {
            assert_eq!(heard(first, hedge), heard_is, "{why}");
        }
    }

    #[test]
    fn a_percentile_needs_enough_answers_and_forgets_old_ones() {
        let at = |secs: u64| Instant::from_millis(secs * 1_000);
        let recent = Recent::default();
        let p95 = Hedging::default();
        let fixed = Hedging { after: HedgeAfter::Delay(Millis(40)), ..p95 };
        assert_eq!(delay_us(&fixed, &recent, at(0)), Some(40_000), "needs nothing");
        (0..99).for_each(|_| recent.note(1_000, at(0)));
        assert_eq!(delay_us(&p95, &recent, at(1)), None, "ninety-nine are not enough");
        recent.note(1_000, at(29));
        assert_eq!(delay_us(&p95, &recent, at(29)), Some(1_024));
        (0..10).for_each(|_| recent.note(50_000, at(40)));
        assert_eq!(delay_us(&p95, &recent, at(59)), Some(65_536), "both windows count");
        assert_eq!(delay_us(&p95, &recent, at(60)), None, "of the last one there are ten");
        (0..100).for_each(|_| recent.note(3_000, at(61)));
        assert_eq!(delay_us(&p95, &recent, at(89)), Some(65_536), "ten of a hundred and ten");
        assert_eq!(delay_us(&p95, &recent, at(90)), Some(3_072), "they are forgotten");
        assert_eq!(delay_us(&p95, &recent, at(1_000)), None, "so is everything");
    }
}
