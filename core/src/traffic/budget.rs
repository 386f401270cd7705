//! Retry budget: how many extra attempts an endpoint may spend on a node.
//!
//! Retries multiply load exactly when a backend is weakest. A per-request limit does not stop that (three tries each
//! still triples the load), so the bound is on the endpoint: retries may add at most a fixed share of recent first
//! attempts, plus a small floor, or the first failure of an idle endpoint could never be retried.
//!
//! Hedges spend from the same budget, and at most a share of their own: they are for the slow few, and have no floor,
//! since nothing is broken where there is none.
//!
//! Every core of a node counts here, so the counters are atomics; the answer depends on them and on `now` alone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::time::Instant;

/// Seconds of history an endpoint may spend against: about as long as a rollout step's worst moment.
const WINDOW_SECS: u64 = 10;

/// Share of first attempts that retries may add.
const SHARE_PERMILLE: u64 = 200;

/// Retries per second that are always allowed.
const FLOOR_PER_SEC: u64 = 3;

/// Bits of a counter word that count; the rest is the second it counts.
const COUNT_BITS: u32 = 32;

/// Grants retries as a bounded share of recent first attempts.
#[derive(Debug, Default)]
pub struct RetryBudget {
    first: Window,
    /// Hedges too.
    retries: Window,
    hedges: Window,
}

/// Counts per second, over the last seconds. A word holds the second and its count, so that a stale one is recognised
/// and replaced in one step.
#[derive(Debug, Default)]
struct Window([AtomicU64; WINDOW_SECS as usize]);

// === impl RetryBudget ===

impl RetryBudget {
    /// Records a first attempt.
    pub fn deposit(&self, now: Instant) {
        self.first.add(second(now));
    }

    /// Takes one retry if the window allows it.
    #[must_use = "a refused retry must not be sent"]
    pub fn withdraw(&self, now: Instant) -> bool {
        let second = second(now);
        let allowed = self.first.sum(second) * SHARE_PERMILLE / 1_000 + FLOOR_PER_SEC * WINDOW_SECS;
        let granted = self.retries.sum(second) < allowed;
        if granted {
            self.retries.add(second);
        }
        granted
    }

    /// Takes one hedge if the window allows it: at most `percent` of a hundred first attempts, and what retries may have.
    #[must_use = "a refused hedge must not be sent"]
    pub fn withdraw_hedge(&self, percent: u32, now: Instant) -> bool {
        let second = second(now);
        let allowed = self.first.sum(second) * u64::from(percent) / 100;
        let granted = self.hedges.sum(second) < allowed && self.withdraw(now);
        if granted {
            self.hedges.add(second);
        }
        granted
    }
}

// === impl Window ===

impl Window {
    fn add(&self, second: u64) {
        let word = &self.0[(second % WINDOW_SECS) as usize];
        let mut seen = word.load(Relaxed);
        while seen >> COUNT_BITS != second & u64::from(u32::MAX) {
            let fresh = (second << COUNT_BITS) | 1;
            match word.compare_exchange_weak(seen, fresh, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        word.fetch_add(1, Relaxed);
    }

    fn sum(&self, second: u64) -> u64 {
        let oldest = second.saturating_sub(WINDOW_SECS - 1);
        let live = self.0.iter().map(|word| word.load(Relaxed)).filter(|word| {
            let of = word >> COUNT_BITS;
            (oldest & u64::from(u32::MAX)..=second & u64::from(u32::MAX)).contains(&of)
        });
        live.map(|word| word & u64::from(u32::MAX)).sum()
    }
}

fn second(now: Instant) -> u64 {
    // One, so that the words a window begins with are older than any second.
    now.millis() / 1_000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: first attempts at t=0, when the retries are asked for, how many are granted out of a thousand.
    #[test]
    fn grants_follow_the_window() {
        for (first, asked_at_s, granted, why) in [
            (0, 0, 30, "an idle endpoint still has its floor"),
            (50, 0, 40, "a fifth of fifty on top"),
            (50, 9, 40, "the last second of the window still counts"),
            (50, 10, 30, "one second later only the floor is left"),
            (1_000, 5, 230, "a fifth of a thousand"),
        ] {
            let budget = RetryBudget::default();
            (0..first).for_each(|_| budget.deposit(Instant::from_millis(0)));
            let now = Instant::from_millis(asked_at_s * 1_000);
            let got = (0..1_000).filter(|_| budget.withdraw(now)).count();
            assert_eq!(got, granted, "{why}");
        }
    }

    #[test]
    fn what_was_spent_comes_back_after_the_window() {
        let budget = RetryBudget::default();
        let at = |secs: u64| Instant::from_millis(secs * 1_000);
        assert_eq!((0..100).filter(|_| budget.withdraw(at(100))).count(), 30);
        assert!(!budget.withdraw(at(109)));
        assert_eq!((0..100).filter(|_| budget.withdraw(at(110))).count(), 30);
    }

    /// Each row: first attempts, hedges a hundred may have, retries spent before, how many of a thousand are granted.
    #[test]
    fn hedges_have_a_share_of_their_own_within_what_retries_may_have() {
        for (first, percent, retried, granted, why) in [
            (0, 20, 0, 0, "no floor"),
            (19, 5, 0, 0, "a twentieth of nineteen is none"),
            (20, 5, 0, 1, "a twentieth"),
            (1_000, 5, 0, 50, "a twentieth"),
            (1_000, 20, 0, 200, "a fifth, and the floor is left to retries"),
            (1_000, 20, 150, 80, "what retries have spent is gone"),
            (1_000, 5, 230, 0, "nothing is left"),
        ] {
            let budget = RetryBudget::default();
            let now = Instant::from_millis(5_000);
            (0..first).for_each(|_| budget.deposit(now));
            assert_eq!((0..retried).filter(|_| budget.withdraw(now)).count(), retried, "{why}");
            let hedges = (0..1_000).filter(|_| budget.withdraw_hedge(percent, now)).count();
            assert_eq!(hedges, granted, "{why}");
            let left = (0..1_000).filter(|_| budget.withdraw(now)).count();
            assert_eq!(left, first / 5 + 30 - retried - hedges, "retries have the rest: {why}");
        }
    }
}
