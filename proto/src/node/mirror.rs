//! Verdicts on mirrors, from the node that made them.

use std::collections::BTreeMap;

use berth_core::{
    error::Error,
    id::Generation,
    traffic::compare::{
        Difference, Kind, Missed, Unjudged,
        tally::{Basis, Example, Latencies, Pair, Tally, Verdicts, WORST_MAX},
    },
};

use super::v1;
use crate::{
    api::v1::MirrorExample,
    convert::{name, wires},
};

/// Writes the verdicts of an endpoint.
pub fn verdicts_to_wire(verdicts: &Verdicts) -> Vec<v1::MirrorTally> {
    verdicts.tallies().map(|(pair, basis, tally)| tally_to_wire(pair, basis, tally)).collect()
}

fn tally_to_wire(pair: &Pair, basis: Basis, tally: &Tally) -> v1::MirrorTally {
    v1::MirrorTally {
        mirror: pair.mirror.to_string(),
        primary: pair.primary.to_string(),
        mirror_generation: basis.mirror.0,
        primary_generation: basis.primary.0,
        rules: basis.rules,
        since_ms: tally.since_ms,
        matched: tally.matched,
        mismatched: words(&tally.mismatched, Kind::word),
        unjudged: words(&tally.unjudged, Unjudged::word),
        missed: words(&tally.missed, Missed::word),
        primary_took: tally.primary_took.0.clone(),
        mirror_took: tally.mirror_took.0.clone(),
        slower_us: tally.slower_us,
        worst: wires(&tally.worst),
    }
}

/// Reads a tally. Reasons that a newer node knows and this build does not are left out.
pub fn tally_from_wire(wire: v1::MirrorTally) -> Result<(Pair, Basis, Tally), Error> {
    let pair = Pair { mirror: name(&wire.mirror)?, primary: name(&wire.primary)? };
    let basis = Basis {
        mirror: Generation(wire.mirror_generation),
        primary: Generation(wire.primary_generation),
        rules: wire.rules,
    };
    let tally = Tally {
        since_ms: wire.since_ms,
        matched: wire.matched,
        mismatched: of_words(&wire.mismatched, Kind::from_word),
        unjudged: of_words(&wire.unjudged, Unjudged::from_word),
        missed: of_words(&wire.missed, Missed::from_word),
        primary_took: Latencies(wire.primary_took),
        mirror_took: Latencies(wire.mirror_took),
        slower_us: wire.slower_us,
        worst: wire.worst.into_iter().take(WORST_MAX).filter_map(example).collect(),
    };
    Ok((pair, basis, tally))
}

fn words<K>(counts: &BTreeMap<K, u64>, word: fn(K) -> &'static str) -> BTreeMap<String, u64>
where
    K: Copy,
{
    counts.iter().map(|(key, count)| (word(*key).to_owned(), *count)).collect()
}

fn of_words<K: Ord>(counts: &BTreeMap<String, u64>, read: fn(&str) -> Option<K>) -> BTreeMap<K, u64> {
    counts.iter().filter_map(|(word, count)| Some((read(word)?, *count))).collect()
}

impl crate::convert::Wire<Example> for MirrorExample {
    fn wire(value: &Example) -> Self {
        let Difference { kind, off_ppb, places, place, expected, got } = value.difference.clone();
        Self {
            request_id: value.request_id.clone(),
            at_ms: value.at_ms,
            kind: kind.word().to_owned(),
            place,
            expected,
            got,
            off_ppb,
            places,
        }
    }

    fn core(self) -> Result<Example, Error> {
        let kind = Kind::from_word(&self.kind).ok_or_else(|| crate::convert::damaged("another kind of difference"))?;
        let Self { request_id, at_ms, kind: _, place, expected, got, off_ppb, places } = self;
        Ok(Example { difference: Difference { kind, off_ppb, places, place, expected, got }, request_id, at_ms })
    }
}

fn example(wire: MirrorExample) -> Option<Example> {
    crate::convert::Wire::core(wire).ok()
}

#[cfg(test)]
mod tests {
    use berth_core::{
        id::LogIndex,
        traffic::compare::{
            Verdict,
            tally::{Noted, Outcome},
        },
    };

    use super::*;

    #[test]
    fn verdicts_come_back_as_they_were() {
        let mut verdicts = Verdicts::default();
        let difference = Difference {
            kind: Kind::Value,
            off_ppb: 7,
            places: 2,
            place: "outputs.y[1]".into(),
            expected: "1".into(),
            got: "2".into(),
        };
        let answered = |verdict| Outcome::Answered { verdict, primary_us: Some(900), mirror_us: 1_900 };
        let all = [
            answered(Verdict::Match),
            answered(Verdict::Mismatch(difference)),
            answered(Verdict::Unjudged(Unjudged::TooLarge)),
            Outcome::Missed(Missed::Behind),
        ];
        for outcome in all {
            verdicts.note(Noted {
                pair: Pair { mirror: "green".parse().expect("a name"), primary: "blue".parse().expect("a name") },
                basis: Basis { mirror: Generation(2), primary: Generation(1), rules: 5 },
                revision: LogIndex(3),
                request_id: "r".into(),
                at_ms: 4,
                outcome,
            });
        }
        let wire = verdicts_to_wire(&verdicts).remove(0);
        let (pair, basis, tally) = verdicts.tallies().next().expect("a tally");
        assert_eq!(tally_from_wire(wire.clone()).expect("a tally"), (pair.clone(), basis, tally.clone()));
        assert!(tally_from_wire(v1::MirrorTally { mirror: "No Name".into(), ..wire }).is_err());
    }
}
