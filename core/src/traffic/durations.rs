//! How long requests take, in buckets that are the same everywhere, so that those of cores and nodes add up.
//!
//! Two buckets an octave from 256 µs to 134 s: a quantile read from them is at most half too high.

/// All of them, with the one for whatever takes longer.
pub const BUCKETS: usize = 40;

/// The first bucket ends at this power of two, in microseconds.
const FIRST_POWER: u32 = 8;

/// Returns the bucket that a duration falls into: the first whose end it does not exceed.
pub fn bucket_of(us: u64) -> usize {
    let below = us.saturating_sub(1);
    let Some(power) = below.checked_ilog2().filter(|power| *power >= FIRST_POWER) else { return 0 };
    // The bit behind the highest tells the lower half of the octave from the upper one.
    let upper_half = (below >> (power - 1)) & 1;
    (2 * (power - FIRST_POWER) as usize + 1 + upper_half as usize).min(BUCKETS - 1)
}

/// Returns where a bucket ends, in microseconds; nothing for the last.
pub fn end_us(bucket: usize) -> Option<u64> {
    let octave = 1 << (FIRST_POWER as usize + bucket / 2);
    (bucket + 1 < BUCKETS).then_some(if bucket.is_multiple_of(2) { octave } else { octave + octave / 2 })
}

/// Returns what this share of all durations does not exceed, in microseconds; zero when there are none. What lies beyond
/// the last end is told as that end.
pub fn quantile_us(counts: &[u64; BUCKETS], permille: u64) -> u64 {
    let all = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    if all == 0 {
        return 0;
    }
    let wanted = u128::from(all) * u128::from(permille.min(1_000));
    let mut sum = 0_u128;
    let found = counts.iter().position(|count| {
        sum += u128::from(*count) * 1_000;
        sum >= wanted && sum > 0
    });
    let bucket = found.unwrap_or(BUCKETS - 1).min(BUCKETS - 2);
    end_us(bucket).unwrap_or(u64::MAX)
}

/// Returns the same, read between the ends of the bucket as if its durations lay evenly in it: for comparing with a limit
/// that is no end of a bucket.
pub fn quantile_between_us(counts: &[u64; BUCKETS], permille: u64) -> u64 {
    let all: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    let wanted = (all * u128::from(permille.min(1_000))).div_ceil(1_000);
    let mut before = 0_u128;
    for (bucket, count) in counts.iter().enumerate() {
        let within = u128::from(*count);
        if within > 0 && before + within >= wanted {
            let low = bucket.checked_sub(1).and_then(end_us).unwrap_or(0);
            let high = end_us(bucket).unwrap_or(low);
            let part = u128::from(high - low) * (wanted - before) / within;
            return low + u64::try_from(part).unwrap_or(0);
        }
        before += within;
    }
    0
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

    #[test]
    fn quantiles_are_ends_of_buckets() {
        let counted = |some: &[(u64, u64)]| {
            let mut counts = [0; BUCKETS];
            some.iter().for_each(|(us, count)| counts[bucket_of(*us)] += count);
            counts
        };
        for (some, permille, us) in [
            (&[][..], 500, 0),
            (&[(300, 1)], 500, 384),
            (&[(300, 1)], 0, 384),
            (&[(300, 99), (5_000, 1)], 950, 384),
            (&[(300, 94), (5_000, 6)], 950, 6_144),
            (&[(300, 1), (5_000, 1)], 1_000, 6_144),
            (&[(u64::MAX, 3)], 500, 1 << 27),
        ] {
            assert_eq!(quantile_us(&counted(some), permille), us, "{some:?} at {permille}");
        }
    }

    #[test]
    fn between_the_ends_durations_lie_evenly() {
        let counted = |some: &[(usize, u64)]| {
            let mut counts = [0; BUCKETS];
            some.iter().for_each(|(bucket, count)| counts[*bucket] += count);
            counts
        };
        for (some, permille, us) in [
            (&[][..], 990, 0),
            (&[(0, 100)], 500, 128),
            (&[(1, 100)], 990, 256 + 126),
            (&[(0, 99), (3, 1)], 990, 256),
            (&[(0, 98), (3, 2)], 990, 512 + 128),
            (&[(BUCKETS - 1, 5)], 500, 1 << 27),
        ] {
            assert_eq!(quantile_between_us(&counted(some), permille), us, "{some:?} at {permille}");
        }
    }

    proptest! {
        #[test]
        fn a_quantile_between_ends_is_within_its_bucket(
            counts in proptest::collection::vec(0_u64..1_000, BUCKETS), permille in 1_u64..=1_000,
        ) {
            let counts: [u64; BUCKETS] = counts.try_into().expect("as many as there are");
            prop_assert!(quantile_between_us(&counts, permille) <= quantile_us(&counts, permille));
        }

        #[test]
        fn every_duration_is_in_the_first_bucket_that_holds_it(us in 0_u64..200_000_000) {
            let bucket = bucket_of(us);
            prop_assert!(end_us(bucket).is_none_or(|end| us <= end));
            prop_assert!(bucket == 0 || end_us(bucket - 1).is_some_and(|end| us > end));
        }
    }
}
