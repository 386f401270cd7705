//! Picking a replica: power of two choices on what each has to do, and everyone else in order behind.
//!
//! Two random candidates and the less loaded of them is within a hair of knowing every queue, and unlike "always the
//! least loaded" it does not make every router stampede to the same replica on the same stale report.

use std::cmp::Ordering;

use crate::time::Instant;

/// After so many milliseconds without a sample, a replica's latency counts half: a replica that was slow once is not
/// avoided for ever, because only traffic can show that it has recovered.
const HALF_LIFE_MS: u64 = 5_000;

/// Age at which a gate's report of its queue says nothing any more.
const REPORT_MAX_AGE_MS: u64 = 1_000;

/// Weight of a new latency sample, as a power of two: an eighth, so that one outlier does not decide.
const SAMPLE_SHIFT: u32 = 3;

/// What a router knows of a replica's load when it picks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests of this router that it has, plus what its gate reported beyond them.
    pub outstanding: u64,
    /// How many it works on at once.
    pub slots: u64,
    /// How long its answers take, in microseconds.
    pub latency_us: u64,
    /// Whether it is on another node.
    pub remote: bool,
}

/// A moving average of latencies that forgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    average_us: u64,
    at: Instant,
}

/// What a gate said of others' requests with its last answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    others: u64,
    at: Instant,
}

// === impl Load ===

impl Load {
    /// Orders by what there is to do per slot, then by latency in powers of two, then near before far.
    pub fn lighter(&self, other: &Self) -> Ordering {
        let left = u128::from(self.outstanding) * u128::from(other.slots.max(1));
        let right = u128::from(other.outstanding) * u128::from(self.slots.max(1));
        left.cmp(&right)
            .then_with(|| self.latency_us.checked_ilog2().cmp(&other.latency_us.checked_ilog2()))
            .then_with(|| self.remote.cmp(&other.remote))
    }
}

/// Returns the position of the replica to ask first. `draw` is any random number.
pub fn first(loads: &[Load], draw: u64) -> Option<usize> {
    let count = loads.len() as u64;
    match count {
        0 => None,
        1 => Some(0),
        _ => {
            let a = (draw >> 32) % count;
            // Any other one, each with the same chance.
            let b = (a + 1 + (draw & u64::from(u32::MAX)) % (count - 1)) % count;
            let (a, b) = (a as usize, b as usize);
            Some(if loads[b].lighter(&loads[a]) == Ordering::Less { b } else { a })
        }
    }
}

/// Returns every position, lightest first: whom to ask when the first refused.
pub fn in_order(loads: &[Load]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..loads.len()).collect();
    order.sort_by(|a, b| loads[*a].lighter(&loads[*b]).then(a.cmp(b)));
    order
}

// === impl Latency ===

impl Latency {
    /// Adds the latency of one answer.
    pub fn sample(&mut self, took_us: u64, now: Instant) {
        let average = self.read(now);
        let next = if average == 0 { took_us } else { average - (average >> SAMPLE_SHIFT) + (took_us >> SAMPLE_SHIFT) };
        *self = Self { average_us: next, at: now };
    }

    /// Returns the average; zero when nothing recent is known.
    pub fn read(&self, now: Instant) -> u64 {
        let halvings = now.since(self.at).0 / HALF_LIFE_MS;
        self.average_us.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }
}

// === impl Reported ===

impl Reported {
    /// Notes what a gate has in all, while `own` of it are this router's.
    pub fn note(&mut self, total: u64, own: u64, now: Instant) {
        *self = Self { others: total.saturating_sub(own), at: now };
    }

    /// Returns what others have there, as far as is known.
    pub fn read(&self, now: Instant) -> u64 {
        if now.since(self.at).0 > REPORT_MAX_AGE_MS { 0 } else { self.others }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(outstanding: u64, slots: u64, latency_us: u64, remote: bool) -> Load {
        Load { outstanding, slots, latency_us, remote }
    }

    #[test]
    fn lighter_reads_from_left_to_right() {
        for (light, heavy, why) in [
            (load(1, 4, 0, false), load(1, 2, 0, false), "per slot, not in all"),
            (load(0, 1, 9_000, true), load(1, 1, 10, false), "work before latency"),
            (load(0, 1, 100, true), load(0, 1, 300, false), "latency before locality"),
            (load(0, 1, 100, false), load(0, 1, 120, true), "near before far among equals"),
        ] {
            assert_eq!(light.lighter(&heavy), Ordering::Less, "{why}");
            assert_eq!(heavy.lighter(&light), Ordering::Greater, "{why}");
        }
    }

    proptest! {
        #[test]
        fn the_heaviest_of_three_or_more_is_never_first(
            work in prop::collection::vec(0..100_u64, 3..12),
            draw in any::<u64>(),
        ) {
            let mut loads: Vec<_> = work.iter().map(|work| load(*work, 1, 0, false)).collect();
            loads[0].outstanding = 1_000;
            prop_assert_ne!(first(&loads, draw), Some(0));
        }

        #[test]
        fn the_order_names_everyone_once_and_rises(work in prop::collection::vec(0..100_u64, 0..12)) {
            let loads: Vec<_> = work.iter().map(|work| load(*work, 2, 0, false)).collect();
            let order = in_order(&loads);
            prop_assert!(order.windows(2).all(|pair| work[pair[0]] <= work[pair[1]]));
            let mut named = order;
            named.sort_unstable();
            prop_assert_eq!(named, (0..loads.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn equal_replicas_share_the_work() {
        let loads = [load(0, 1, 0, false); 4];
        let mut rng = crate::rng::SeedTree::new(11).rng();
        let mut counts = [0; 4];
        (0..4_000).for_each(|_| counts[first(&loads, rng.next_u64()).expect("a choice")] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_slow_replica_is_forgiven() {
        let at = Instant::from_millis;
        let mut latency = Latency::default();
        latency.sample(8_000, at(0));
        latency.sample(0, at(0));
        assert_eq!(latency.read(at(4_999)), 7_000, "one sample weighs an eighth");
        assert_eq!(latency.read(at(10_000)), 1_750);
        assert_eq!(latency.read(at(10_000_000)), 0);
        let mut reported = Reported::default();
        reported.note(5, 2, at(0));
        assert_eq!((reported.read(at(1_000)), reported.read(at(1_001))), (3, 0));
    }
}
