//! Picking a replica: power of two choices on what each has to do, and everyone else in order behind.
//!
//! Two random candidates and the less loaded of them is within a hair of knowing every queue, and unlike "always the
//! least loaded" it does not make every router stampede to the same replica on the same stale report.

use std::cmp::Ordering;

use super::full::Places;
use crate::time::{Instant, Millis};

/// After so many milliseconds without a sample, a replica's latency counts half: a replica that was slow once is not
/// avoided for ever, because only traffic can show that it has recovered.
const HALF_LIFE_MS: u64 = 5_000;

/// Age at which a gate's report of its queue says nothing any more.
const REPORT_MAX_AGE_MS: u64 = 1_000;

/// How long a new replica takes to get its whole share: its caches are cold and its code is not compiled yet, and every
/// router would otherwise pour its requests on the one that has none.
const SLOW_START_MS: u64 = 10_000;

/// The share it begins with, in thousandths.
const FIRST_SHARE_MILLI: u64 = 100;

/// Requests the first failed answer counts as; each further one doubles what is left and adds as many.
const FAILING_STEP: u64 = 4;

/// The most that failures count as: after it, a trial a minute later.
const FAILING_MAX: u64 = 16_384;

/// A request that ran out of time is held against a replica that had it for so many times what its answers take. One whose
/// caller gave it little time, or that had waited elsewhere before, says nothing.
const OVERDUE_TIMES: u64 = 2;

/// gRPC statuses that say the server could not, whatever was asked: unknown, exhausted, internal, unavailable, data loss.
const GRPC_FAILED: [&[u8]; 5] = [b"2", b"8", b"13", b"14", b"15"];

/// Weight of a new latency sample, as a power of two: an eighth, so that one outlier does not decide.
const SAMPLE_SHIFT: u32 = 3;

/// What a router knows of a replica's load when it picks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests of this router that it has, plus what its gate reported beyond them.
    pub outstanding: u64,
    /// Thousandths of a request it works on at once; see [`capacity_milli`].
    pub capacity_milli: u64,
    /// How long its answers take, in microseconds.
    pub latency_us: u64,
    /// Whether it is on another node.
    pub remote: bool,
    /// What its gate is known to have left.
    pub places: Places,
}

/// Answers that failed, as load: a replica that fails at once looks idle and quick, and would draw everybody's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failing {
    requests: u64,
    at: Instant,
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
    /// Orders by what there would be to do per slot with one more request, then by latency in powers of two, then near
    /// before far. One more, because an idle replica that may take little is not the equal of an idle one that may take
    /// much.
    pub fn lighter(&self, other: &Self) -> Ordering {
        let left = (u128::from(self.outstanding) + 1) * u128::from(other.capacity_milli.max(1));
        let right = (u128::from(other.outstanding) + 1) * u128::from(self.capacity_milli.max(1));
        left.cmp(&right)
            .then_with(|| self.latency_us.checked_ilog2().cmp(&other.latency_us.checked_ilog2()))
            .then_with(|| self.remote.cmp(&other.remote))
    }
}

/// Returns what a replica of so many slots may take that has served for `age`.
pub fn capacity_milli(slots: u32, age: Millis) -> u64 {
    let share = (age.0.min(SLOW_START_MS) * 1_000 / SLOW_START_MS).max(FIRST_SHARE_MILLI);
    u64::from(slots) * share
}

/// Returns whether an answer says that the replica could not, rather than that the request was wrong. Being turned away
/// by the replica itself counts: it is as full as if it had said nothing. One that does not know what it was asked is none
/// the worse for it.
pub fn has_failed(status: u16, grpc_status: Option<&[u8]>) -> bool {
    matches!(status, 429 | 500 | 502..=599) || grpc_status.is_some_and(|status| GRPC_FAILED.contains(&status))
}

/// Two replicas that were drawn, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The one to ask first.
    pub first: usize,
    /// The one it was compared with, where there was another.
    pub other: Option<usize>,
}

/// Draws two replicas and returns which of them to ask first. `draw` is any random number.
pub fn draw(loads: &[Load], draw: u64) -> Option<Drawn> {
    let count = loads.len() as u64;
    match count {
        0 => None,
        1 => Some(Drawn { first: 0, other: None }),
        _ => {
            let a = (draw >> 32) % count;
            // Any other one, each with the same chance.
            let b = (a + 1 + (draw & u64::from(u32::MAX)) % (count - 1)) % count;
            let (a, b) = (a as usize, b as usize);
            let (first, other) = if loads[b].lighter(&loads[a]) == Ordering::Less { (b, a) } else { (a, b) };
            Some(Drawn { first, other: Some(other) })
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

    /// Notes that an answer has not come for so long, and is not waited for.
    pub fn at_least(&mut self, took_us: u64, now: Instant) {
        if took_us > self.read(now) {
            self.sample(took_us, now);
        }
    }

    /// Returns whether an answer that has not come for so long is late by what is known of this replica.
    pub fn is_overdue(&self, took_us: u64, now: Instant) -> bool {
        took_us > OVERDUE_TIMES.saturating_mul(self.read(now))
    }

    /// Returns the average; zero when nothing recent is known.
    pub fn read(&self, now: Instant) -> u64 {
        let halvings = now.since(self.at).0 / HALF_LIFE_MS;
        self.average_us.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }
}

// === impl Failing ===

impl Failing {
    /// Notes an answer.
    pub fn note(&mut self, failed: bool, now: Instant) {
        let left = self.read(now);
        let requests = if failed { (2 * left + FAILING_STEP).min(FAILING_MAX) } else { left / 2 };
        *self = Self { requests, at: now };
    }

    /// Returns how many requests the failures count as; half of them after a while, so that it is tried again.
    pub fn read(&self, now: Instant) -> u64 {
        let halvings = now.since(self.at).0 / HALF_LIFE_MS;
        self.requests.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }

    /// Returns whether nothing is held against it, whatever the time.
    pub fn is_clear(&self) -> bool {
        self.requests == 0
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

    fn load(outstanding: u64, slots: u32, latency_us: u64, remote: bool) -> Load {
        let capacity_milli = capacity_milli(slots, Millis(SLOW_START_MS));
        Load { outstanding, capacity_milli, latency_us, remote, places: Places::Unknown }
    }

    #[test]
    fn lighter_reads_from_left_to_right() {
        for (light, heavy, why) in [
            (load(1, 4, 0, false), load(1, 2, 0, false), "per slot, not in all"),
            (load(0, 4, 0, false), load(0, 2, 0, false), "per slot with the request that is placed"),
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
            prop_assert_ne!(super::draw(&loads, draw).map(|drawn| drawn.first), Some(0));
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
        (0..4_000).for_each(|_| counts[draw(&loads, rng.next_u64()).expect("a choice").first] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_new_replica_gets_its_share_little_by_little() {
        for (age_ms, milli) in [(0, 400), (500, 400), (2_500, 1_000), (5_000, 2_000), (10_000, 4_000), (99_000, 4_000)]
        {
            assert_eq!(capacity_milli(4, Millis(age_ms)), milli, "{age_ms}");
        }
        let new = Load { capacity_milli: capacity_milli(4, Millis(0)), ..load(0, 4, 0, false) };
        assert_eq!(
            load(8, 4, 0, false).lighter(&new),
            Ordering::Less,
            "two deep in the warm ones before one at the new"
        );
        assert_eq!(load(12, 4, 0, false).lighter(&new), Ordering::Greater, "not left out when the others are deep");
    }

    #[test]
    fn failing_fast_counts_as_load_until_it_has_passed() {
        let at = Instant::from_millis;
        let mut failing = Failing::default();
        failing.note(false, at(0));
        assert_eq!(failing.read(at(0)), 0);
        (0..3).for_each(|_| failing.note(true, at(0)));
        assert_eq!(failing.read(at(0)), 28, "4, 12, 28");
        assert_eq!((failing.read(at(5_000)), failing.read(at(25_000))), (14, 0));
        failing.note(false, at(5_000));
        assert_eq!(failing.read(at(5_000)), 7, "an answer halves it");
        assert!(!failing.is_clear());
        (0..3).for_each(|_| failing.note(false, at(5_000)));
        assert!(failing.is_clear(), "7, 3, 1, 0");
        (0..64).for_each(|_| failing.note(true, at(5_000)));
        assert_eq!(failing.read(at(5_000)), FAILING_MAX);
    }

    #[test]
    fn what_is_the_requests_fault_is_no_failure() {
        for (status, grpc, failed) in [
            (200, None, false),
            (200, Some(&b"0"[..]), false),
            (200, Some(&b"3"[..]), false),
            (200, Some(&b"14"[..]), true),
            (400, None, false),
            (424, None, false),
            (429, None, true),
            (500, None, true),
            (501, None, false),
            (200, Some(&b"12"[..]), false),
            (503, None, true),
        ] {
            assert_eq!(has_failed(status, grpc), failed, "{status} {grpc:?}");
        }
    }

    #[test]
    fn what_had_little_time_is_not_held_against_a_replica() {
        let at = Instant::from_millis;
        let mut latency = Latency::default();
        assert!(latency.is_overdue(1, at(0)), "nothing is known in its favour");
        latency.sample(200_000, at(0));
        assert!(!latency.is_overdue(400_000, at(0)));
        assert!(latency.is_overdue(400_001, at(0)));
        assert!(latency.is_overdue(200_001, at(5_000)), "what was slow long ago is no measure");
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
