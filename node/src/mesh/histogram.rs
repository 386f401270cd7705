//! How long requests take, in buckets that are the same everywhere, so that those of cores and nodes add up.
//!
//! Two buckets an octave from 256 µs to 134 s: a quantile read from them is at most half too high.

use std::{
    array, fmt,
    iter::Sum,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// All of them, with the one for whatever takes longer.
const BUCKETS: usize = 40;

/// The first bucket ends at this power of two, in microseconds.
const FIRST_POWER: u32 = 8;

/// Counts durations; one per core.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// Durations that were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each bucket.
    pub counts: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

// === impl Histogram ===

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(super) fn read(&self) -> Durations {
        let counts = array::from_fn(|at| self.counts[at].load(Relaxed));
        Durations { counts, sum_us: self.sum_us.load(Relaxed) }
    }
}

/// Returns the bucket that a duration falls into: the first whose end it does not exceed.
fn bucket_of(us: u64) -> usize {
    let below = us.saturating_sub(1);
    let Some(power) = below.checked_ilog2().filter(|power| *power >= FIRST_POWER) else { return 0 };
    // The bit behind the highest tells the lower half of the octave from the upper one.
    let upper_half = (below >> (power - 1)) & 1;
    (2 * (power - FIRST_POWER) as usize + 1 + upper_half as usize).min(BUCKETS - 1)
}

/// Returns where a bucket ends, in microseconds; nothing for the last.
fn end_us(bucket: usize) -> Option<u64> {
    let octave = 1 << (FIRST_POWER as usize + bucket / 2);
    (bucket + 1 < BUCKETS).then_some(if bucket.is_multiple_of(2) { octave } else { octave + octave / 2 })
}

// === impl Durations ===

impl Default for Durations {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_us: 0 }
    }
}

impl Sum for Durations {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            counts: array::from_fn(|at| sum.counts[at] + one.counts[at]),
            sum_us: sum.sum_us + one.sum_us,
        })
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let end = |bucket| end_us(bucket).map_or(f64::MAX, |us| us as f64 / 1e6);
        let buckets: Vec<(f64, u64)> =
            self.counts.iter().enumerate().map(|(bucket, count)| (end(bucket), *count)).collect();
        let count = self.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum_us as f64 / 1e6, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_end_where_they_should() {
        for (us, end) in [
            (0, Some(256)),
            (256, Some(256)),
            (257, Some(384)),
            (384, Some(384)),
            (385, Some(512)),
            (1_000, Some(1_024)),
            (1 << 27, Some(1 << 27)),
            ((1 << 27) + 1, None),
            (u64::MAX, None),
        ] {
            assert_eq!(end_us(bucket_of(us)), end, "{us}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_is_in_the_first_bucket_that_holds_it(us in 0_u64..200_000_000) {
            let bucket = bucket_of(us);
            prop_assert!(end_us(bucket).is_none_or(|end| us <= end));
            prop_assert!(bucket == 0 || end_us(bucket - 1).is_some_and(|end| us > end));
        }
    }

    #[test]
    fn those_of_two_cores_add_up() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_micros(300));
        two.observe(Duration::from_micros(300));
        two.observe(Duration::from_secs(200));
        let sum: Durations = [one.read(), two.read()].into_iter().sum();
        assert_eq!((sum.counts[1], sum.counts[BUCKETS - 1], sum.sum_us), (2, 1, 200_000_600));
    }
}
