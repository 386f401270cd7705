//! The split: which deployment gets a request, exact in every window rather than on average.
//!
//! A random draw at 90/10 gives anything from 4 to 16 in a hundred, so a canary is judged on noise. Here the choice is a
//! pure function of the weights and a ticket number: the tickets walk through a fixed order whose length is the sum of
//! the weights in lowest terms, so any hundred tickets in a row hold exactly the promised shares, and any prefix is less
//! than one request off.

use crate::{id::Digest, model::DeploymentName};

/// The longest period kept. Percents total at most 100; the bound only guards against a table that breaks that rule.
const PERIOD_MAX: u64 = 10_000;

/// A split, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// One entry per ticket of a period: the position of a deployment in the weights.
    order: Vec<u16>,
}

// === impl Split ===

impl Split {
    /// Prepares the split of `shares`, in the order they are given.
    pub fn of(shares: &[(DeploymentName, u32)]) -> Self {
        Self::new(&shares.iter().map(|(_, percent)| u64::from(*percent)).collect::<Vec<_>>())
    }

    /// Prepares a split by plain weights.
    ///
    /// The order is Tijdeman's: the k-th turn of a weight w out of W may come no earlier than ⌊(k−1)·W/w⌋ and no later
    /// than ⌈k·W/w⌉; taking the most urgent turn that may come always meets both, which keeps every prefix within one.
    pub fn new(weights: &[u64]) -> Self {
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let weights: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
        let period = weights.iter().fold(0_u64, |sum, weight| sum.saturating_add(*weight));
        if period > PERIOD_MAX || weights.len() > usize::from(u16::MAX) {
            return Self::default();
        }
        let mut turns = vec![0_u64; weights.len()];
        let order = (0..period).filter_map(|now| {
            let due = |at: usize| ((turns[at] + 1) * period).div_ceil(weights[at]);
            let may_come = |at: usize| weights[at] > 0 && turns[at] * period / weights[at] <= now;
            let next = (0..weights.len()).filter(|at| may_come(*at)).min_by_key(|at| (due(*at), *at))?;
            turns[next] += 1;
            Some(next as u16)
        });
        let order = order.collect();
        Self { order }
    }

    /// Returns the position of the deployment that gets this ticket; nothing when no weight is positive.
    pub fn choose(&self, ticket: u64) -> Option<usize> {
        if self.order.is_empty() {
            return None;
        }
        self.order.get((ticket % self.order.len() as u64) as usize).map(|at| usize::from(*at))
    }
}

/// Returns where a router's tickets begin: a hundred nodes that all start at zero would all send their first request,
/// often their only one, to the same deployment.
pub fn first_ticket(router: impl AsRef<[u8]>) -> u64 {
    u64::from_le_bytes(Digest::of(router.as_ref()).0[..8].try_into().unwrap_or_default()) >> 1
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Percents that total a hundred.
    fn percents() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0..=100_u64, 0..8).prop_map(|mut cuts| {
            cuts.push(0);
            cuts.push(100);
            cuts.sort_unstable();
            cuts.windows(2).map(|pair| pair[1] - pair[0]).collect()
        })
    }

    proptest! {
        #[test]
        fn every_window_of_a_hundred_is_exact(weights in percents(), start in 0..u64::MAX / 2) {
            let split = Split::new(&weights);
            let mut counts = vec![0_u64; weights.len()];
            (start..start + 100).for_each(|ticket| counts[split.choose(ticket).expect("a choice")] += 1);
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn every_prefix_is_less_than_one_off(weights in percents()) {
            let split = Split::new(&weights);
            let mut counts = vec![0_i64; weights.len()];
            for ticket in 0..100 {
                counts[split.choose(ticket).expect("a choice")] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let off = count * 100 - (ticket as i64 + 1) * *weight as i64;
                    prop_assert!(off.abs() < 100, "{counts:?} after {} of {weights:?}", ticket + 1);
                }
            }
        }
    }

    #[test]
    fn without_weight_there_is_no_choice() {
        assert_eq!(Split::new(&[]).choose(7), None);
        assert_eq!(Split::new(&[0, 0]).choose(7), None);
        assert_eq!(Split::new(&[u64::MAX, 1]).choose(7), None, "a table out of bounds is refused, not computed");
        assert_eq!(Split::new(&[0, 100]).choose(7), Some(1));
    }

    #[test]
    fn routers_start_at_different_tickets() {
        assert_ne!(first_ticket("a"), first_ticket("b"));
        assert_eq!(first_ticket("a"), first_ticket("a"));
    }
}
