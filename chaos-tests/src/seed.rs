//! What a chaos run leaves to chance, drawn from one number, so that a run that failed can be walked again.
//!
//! Processes and the machine's load still differ from run to run; the victims, their order and the moments do not.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use berth_core::rng::SeedTree;

use crate::say::say;

/// The variable that repeats a run.
const VARIABLE: &str = "BERTH_CHAOS_SEED";

/// The number a run draws from. It is told when the test that holds it fails.
#[derive(Debug)]
pub struct Seed {
    number: u64,
    tree: SeedTree,
}

// === impl Seed ===

impl Seed {
    /// Takes the number from `BERTH_CHAOS_SEED`, else a fresh one.
    pub fn of_this_run() -> Self {
        let given = std::env::var(VARIABLE).ok();
        let number = match given {
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is a number, not `{text}`")),
            // The keys of a hasher are the standard library's only source of chance; six digits are easily typed.
            None => RandomState::new().hash_one(0) % 1_000_000,
        };
        Self::new(number)
    }

    /// Draws from this number.
    pub fn new(number: u64) -> Self {
        Self { number, tree: SeedTree::new(number) }
    }

    /// Returns the number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Picks one of several, under a name of its own.
    pub fn pick<T: Clone>(&self, name: &str, items: &[T]) -> T {
        self.tree.child(name).rng().pick(items).expect("there is something to pick").clone()
    }

    /// Puts things into a drawn order.
    pub fn order<T>(&self, name: &str, mut items: Vec<T>) -> Vec<T> {
        let mut rng = self.tree.child(name).rng();
        for last in (1..items.len()).rev() {
            let at = rng.below(last as u64 + 1) as usize;
            items.swap(last, at);
        }
        items
    }

    /// Draws a moment within a span.
    pub fn moment(&self, name: &str, within: Duration) -> Duration {
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.tree.child(name).rng().below(millis.max(1)))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(format!("the run drew from {VARIABLE}={}", self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_another_one_does_not() {
        let walk = |seed: u64| {
            let seed = Seed::new(seed);
            let moment = seed.moment("moment", Duration::from_secs(60));
            (seed.order("order", (0..6).collect::<Vec<_>>()), moment, seed.pick("victim", &[1, 2, 3]))
        };
        assert_eq!(walk(7), walk(7));
        let orders: std::collections::BTreeSet<_> = (0..20).map(|seed| walk(seed).0).collect();
        assert!(orders.len() > 10, "orders differ: {orders:?}");
        for (mut order, moment, _) in (0..20).map(walk) {
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4, 5], "nobody is left out or comes twice");
            assert!(moment < Duration::from_secs(60));
        }
    }
}
