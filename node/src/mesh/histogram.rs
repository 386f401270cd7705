//! Counts how long requests take, in the buckets of [`berth_core::traffic::durations`].

use std::{
    array, fmt,
    iter::Sum,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use berth_core::traffic::durations::{BUCKETS, bucket_of, end_us};
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

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

impl Durations {
    /// Counts `all` in place of those that were counted, for the others took no time.
    pub(super) fn of_all(mut self, all: u64) -> Self {
        self.counts[0] += all.saturating_sub(self.counts.iter().sum());
        self
    }
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
        let end = |bucket| end_us(bucket).map_or(f64::INFINITY, |us| us as f64 / 1e6);
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
    use super::*;

    #[test]
    fn those_of_two_cores_add_up() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_micros(300));
        two.observe(Duration::from_micros(300));
        two.observe(Duration::from_secs(200));
        let sum: Durations = [one.read(), two.read()].into_iter().sum();
        assert_eq!((sum.counts[1], sum.counts[BUCKETS - 1], sum.sum_us), (2, 1, 200_000_600));
    }

    #[test]
    fn who_did_not_wait_counts_as_no_time() {
        let one = Histogram::default();
        one.observe(Duration::from_millis(300));
        let all = one.read().of_all(10);
        assert_eq!((all.counts[0], all.counts.iter().sum::<u64>(), all.sum_us), (9, 10, 300_000));
        assert_eq!(one.read().of_all(0).counts.iter().sum::<u64>(), 1);
    }

    /// Without it Prometheus tells no quantile.
    #[test]
    fn the_last_bucket_has_no_end() {
        let one = Histogram::default();
        one.observe(Duration::from_secs(200));
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("took_seconds", "How long it took", one.read());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is encoded");
        assert!(text.contains("took_seconds_bucket{le=\"+Inf\"} 1\n"), "{text}");
    }
}
