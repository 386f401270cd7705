//! Verdicts added up: what a node keeps per mirror, and how those of nodes become one report.
//!
//! A tally is bounded whatever comes in, and adding is associative and commutative, so that neither cores nor nodes nor the
//! leader that asks them have to agree on an order. It lives on the nodes that made it: a change of leader loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Difference, Kind, Missed, Unjudged, Verdict};
use crate::{
    id::{Generation, LogIndex},
    model::DeploymentName,
};

/// Examples kept per mirror and primary.
pub const WORST_MAX: usize = 8;

/// Mirrors and primaries kept per endpoint; an endpoint has fewer deployments than would fill it.
const PAIRS_MAX: usize = 512;

/// Parts of an octave that latencies are told apart by: a quantile is at most a ninth too high.
const PARTS: u32 = 8;

/// What two answers are compared for: whose they are, of which generation, by which rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    /// The mirror's generation.
    pub mirror: Generation,
    /// The primary's.
    pub primary: Generation,
    /// The fingerprint of the rules.
    pub rules: u64,
}

/// A mirror and whom it is compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The deployment that gets copies.
    pub mirror: DeploymentName,
    /// The deployment that answers callers.
    pub primary: DeploymentName,
}

/// Where two answers differed, and whose they were.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Example {
    /// The difference; the worst is the greatest.
    pub difference: Difference,
    /// The request, as `berth explain request` knows it.
    pub request_id: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// How long answers took, in buckets that are the same everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(pub BTreeMap<u32, u64>);

/// Verdicts on a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Answers that were the same.
    pub matched: u64,
    /// Answers that were not, by the worst of their differences.
    pub mismatched: BTreeMap<Kind, u64>,
    /// Answers that were not compared.
    pub unjudged: BTreeMap<Unjudged, u64>,
    /// Copies that brought no answer.
    pub missed: BTreeMap<Missed, u64>,
    /// How long the primary took until the head of its answer, of those the mirror answered too.
    pub primary_took: Latencies,
    /// How long the mirror took.
    pub mirror_took: Latencies,
    /// By how much the mirror was slower, in microseconds, all of them together.
    pub slower_us: i64,
    /// The worst, the very worst first.
    pub worst: Vec<Example>,
}

/// What became of one copy.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was answered: the verdict, and how long the primary and the mirror took, in microseconds.
    Answered {
        /// The verdict.
        verdict: Verdict,
        /// How long the primary took, if it answered.
        primary_us: Option<u64>,
        /// How long the mirror took.
        mirror_us: u64,
    },
    /// It was not.
    Missed(Missed),
}

/// One outcome with what it is about.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Whose answers.
    pub pair: Pair,
    /// Of which generations, by which rules.
    pub basis: Basis,
    /// The version of the routes that said so.
    pub revision: LogIndex,
    /// The request.
    pub request_id: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// The verdicts on the mirrors of an endpoint, as one node has them.
#[derive(Clone, Debug, Default)]
pub struct Verdicts(BTreeMap<Pair, Slot>);

#[derive(Clone, Debug, Default)]
struct Slot {
    basis: Basis,
    revision: LogIndex,
    tally: Tally,
}

// === impl Latencies ===

impl Latencies {
    /// Counts one.
    pub fn note(&mut self, us: u64) {
        *self.0.entry(bucket(us)).or_default() += 1;
    }

    /// Returns the value below which a share of them lies, at most a ninth too high; nothing when there are none.
    pub fn quantile_us(&self, permille: u64) -> Option<u64> {
        let count: u64 = self.0.values().sum();
        let rank = (count * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then(|| end_us(*bucket))
        })
    }

    fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }
}

/// Returns the bucket of a duration: its octave and the part of it.
fn bucket(us: u64) -> u32 {
    let Some(octave) = us.checked_ilog2().filter(|octave| *octave >= 3) else { return us as u32 };
    octave * PARTS - 2 * PARTS + ((us >> (octave - 3)) & 7) as u32
}

/// Returns the greatest duration of a bucket.
fn end_us(bucket: u32) -> u64 {
    if bucket < PARTS {
        return bucket.into();
    }
    let (octave, part) = (bucket / PARTS + 2, u64::from(bucket % PARTS));
    // The last one ends with the type.
    let width = 1_u64.checked_shl(octave - 3).unwrap_or(u64::MAX);
    (PARTS as u64 + part).saturating_mul(width).saturating_add(width - 1)
}

// === impl Tally ===

impl Tally {
    /// Adds an outcome.
    pub fn note(&mut self, request_id: String, at_ms: u64, outcome: Outcome) {
        let (verdict, primary_us, mirror_us) = match outcome {
            Outcome::Missed(why) => return *self.missed.entry(why).or_default() += 1,
            Outcome::Answered { verdict, primary_us, mirror_us } => (verdict, primary_us, mirror_us),
        };
        if let Some(primary_us) = primary_us {
            self.primary_took.note(primary_us);
            self.mirror_took.note(mirror_us);
            let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
            self.slower_us = self.slower_us.saturating_add(signed(mirror_us) - signed(primary_us));
        }
        match verdict {
            Verdict::Match => self.matched += 1,
            Verdict::Unjudged(why) => *self.unjudged.entry(why).or_default() += 1,
            Verdict::Mismatch(difference) => {
                *self.mismatched.entry(difference.kind).or_default() += 1;
                self.keep(Example { difference, request_id, at_ms });
            }
        }
    }

    /// Keeps an example while it is among the worst.
    fn keep(&mut self, example: Example) {
        let at = self.worst.partition_point(|known| *known > example);
        if at < WORST_MAX && self.worst.get(at) != Some(&example) {
            self.worst.insert(at, example);
            self.worst.truncate(WORST_MAX);
        }
    }

    /// Adds what another node has.
    pub fn add(&mut self, other: Self) {
        fn sum<K: Ord>(ours: &mut BTreeMap<K, u64>, theirs: BTreeMap<K, u64>) {
            theirs.into_iter().for_each(|(key, count)| *ours.entry(key).or_default() += count);
        }
        self.since_ms = match (self.since_ms, other.since_ms) {
            (0, since) | (since, 0) => since,
            (a, b) => a.min(b),
        };
        self.matched += other.matched;
        sum(&mut self.mismatched, other.mismatched);
        sum(&mut self.unjudged, other.unjudged);
        sum(&mut self.missed, other.missed);
        self.primary_took.add(&other.primary_took);
        self.mirror_took.add(&other.mirror_took);
        self.slower_us = self.slower_us.saturating_add(other.slower_us);
        other.worst.into_iter().for_each(|example| self.keep(example));
    }

    /// Returns how many answers were compared.
    pub fn judged(&self) -> u64 {
        self.matched + self.mismatched.values().sum::<u64>()
    }

    /// Returns how many copies there were.
    pub fn copies(&self) -> u64 {
        self.judged() + self.unjudged.values().sum::<u64>() + self.missed.values().sum::<u64>()
    }

    /// Returns by how much the mirror was slower on the average, in microseconds.
    pub fn mean_slower_us(&self) -> Option<i64> {
        let count: u64 = self.mirror_took.0.values().sum();
        i64::try_from(count).ok().filter(|count| *count > 0).map(|count| self.slower_us / count)
    }
}

// === impl Verdicts ===

impl Verdicts {
    /// Adds an outcome. The first of a new generation, or of new rules, begins anew; what comes late from before it is
    /// not counted.
    pub fn note(&mut self, noted: Noted) {
        let Noted { pair, basis, revision, request_id, at_ms, outcome } = noted;
        if self.0.len() >= PAIRS_MAX && !self.0.contains_key(&pair) {
            return;
        }
        let slot = self.0.entry(pair).or_default();
        if slot.basis != basis {
            if revision < slot.revision {
                return;
            }
            *slot = Slot { basis, revision, tally: Tally { since_ms: at_ms, ..Tally::default() } };
        }
        slot.revision = slot.revision.max(revision);
        slot.tally.note(request_id, at_ms, outcome);
    }

    /// Lists what was added up.
    pub fn tallies(&self) -> impl Iterator<Item = (&Pair, Basis, &Tally)> {
        self.0.iter().map(|(pair, slot)| (pair, slot.basis, &slot.tally))
    }

    /// Forgets deployments that are gone.
    pub fn retain(&mut self, lives: &BTreeSet<&DeploymentName>) {
        self.0.retain(|pair, _| lives.contains(&pair.mirror) && lives.contains(&pair.primary));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn difference(kind: Kind, off_ppb: u64) -> Difference {
        Difference { kind, off_ppb, places: 1, place: "p".into(), expected: "1".into(), got: "2".into() }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let verdict = prop_oneof![
            Just(Verdict::Match),
            (0..4_usize, 0..5_u64).prop_map(|(kind, off)| Verdict::Mismatch(difference(Kind::ALL[kind], off))),
            (0..4_usize).prop_map(|why| Verdict::Unjudged(Unjudged::ALL[why])),
        ];
        prop_oneof![
            (verdict, prop::option::of(0..9_000_u64), 0..9_000_u64)
                .prop_map(|(verdict, primary_us, mirror_us)| Outcome::Answered { verdict, primary_us, mirror_us }),
            (0..7_usize).prop_map(|why| Outcome::Missed(Missed::ALL[why])),
        ]
    }

    fn tally(outcomes: &[Outcome], from: usize) -> Tally {
        let mut tally = Tally { since_ms: 1 + from as u64, ..Tally::default() };
        for (at, outcome) in outcomes.iter().enumerate() {
            tally.note(format!("r{}", from + at), 1, outcome.clone());
        }
        tally
    }

    proptest! {
        /// However the outcomes are spread over nodes and in whatever order those are added, the report is the same.
        #[test]
        fn adding_is_the_same_in_any_order(
            a in prop::collection::vec(outcome(), 0..30),
            b in prop::collection::vec(outcome(), 0..30),
            c in prop::collection::vec(outcome(), 0..30),
        ) {
            let each = [tally(&a, 0), tally(&b, 100), tally(&c, 200)];
            let added = |order: [usize; 3]| {
                let mut sum = Tally::default();
                order.into_iter().for_each(|at| sum.add(each[at].clone()));
                sum
            };
            let mut nested = each[1].clone();
            nested.add(each[2].clone());
            let mut right = each[0].clone();
            right.add(nested);
            prop_assert_eq!(&added([0, 1, 2]), &right);
            prop_assert_eq!(&added([2, 0, 1]), &right);
            prop_assert_eq!(right.copies(), (a.len() + b.len() + c.len()) as u64);
            prop_assert!(right.worst.len() <= WORST_MAX && right.worst.is_sorted_by(|a, b| a >= b));
        }

        #[test]
        fn a_bucket_ends_at_most_a_ninth_too_high(us: u64) {
            let end = end_us(bucket(us));
            prop_assert!(end >= us && end - us <= us / PARTS as u64, "{us} to {end}");
            prop_assert!(us == 0 || bucket(us - 1) <= bucket(us));
        }
    }

    #[test]
    fn quantiles_are_read_from_the_buckets() {
        let mut took = Latencies::default();
        assert_eq!(took.quantile_us(500), None);
        (1..=100).for_each(|us| took.note(us * 1_000));
        let near = |got: Option<u64>, us: u64| got.is_some_and(|got| got >= us && got <= us + us / 8);
        assert!(near(took.quantile_us(500), 50_000), "{:?}", took.quantile_us(500));
        assert!(near(took.quantile_us(990), 99_000), "{:?}", took.quantile_us(990));
    }

    #[test]
    fn a_new_generation_begins_anew_and_late_answers_of_the_old_one_are_left_out() {
        let name = |text| DeploymentName::new(text).expect("a valid name");
        let pair = Pair { mirror: name("green"), primary: name("blue") };
        let mut verdicts = Verdicts::default();
        let mut note = |generation: u64, revision: u64| {
            verdicts.note(Noted {
                pair: pair.clone(),
                basis: Basis { mirror: Generation(generation), ..Basis::default() },
                revision: LogIndex(revision),
                request_id: "r".into(),
                at_ms: revision,
                outcome: Outcome::Missed(Missed::Timeout),
            });
            verdicts.tallies().map(|(_, basis, tally)| (basis.mirror.0, tally.since_ms, tally.copies())).next()
        };
        assert_eq!(note(1, 10), Some((1, 10, 1)));
        assert_eq!(note(1, 9), Some((1, 10, 2)));
        assert_eq!(note(2, 11), Some((2, 11, 1)));
        assert_eq!(note(1, 10), Some((2, 11, 1)));
        assert_eq!(note(2, 12), Some((2, 11, 2)));
        verdicts.retain(&BTreeSet::from([&name("blue")]));
        assert_eq!(verdicts.tallies().count(), 0);
    }
}
