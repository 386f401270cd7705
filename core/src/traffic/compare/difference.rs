//! One difference between two answers, and how bad it is.

use std::fmt;

use super::{
    Unjudged, Verdict,
    path::{Pattern, Place},
};
use crate::model::MirrorRules;

/// Bytes of a value that an example shows.
const SHOWN_BYTES: usize = 120;

/// Differences of one answer that are counted; a tensor of a million has no better ones behind.
const PLACES_MAX: u32 = 100_000;

/// What is different, the least bad first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A number or another value at the same place.
    Value,
    /// Text or bytes that have to be the same as a whole.
    Text,
    /// Another form: what is there in one is missing in the other, or of another type or shape.
    Form,
    /// Another status.
    Status,
}

/// The worst difference between two answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// What is different there.
    pub kind: Kind,
    /// By how much a number is off, in billionths of the one expected; the most for what is no number.
    pub off_ppb: u64,
    /// How many places are different.
    pub places: u32,
    /// Where.
    pub place: String,
    /// What the primary has there.
    pub expected: String,
    /// What the mirror has there.
    pub got: String,
}

/// The rules as a comparison uses them.
#[derive(Clone, Debug)]
pub struct Rules {
    rtol: f64,
    atol: f64,
    ignore: Vec<Pattern>,
    redact: bool,
}

/// Collects the differences of two answers and keeps the worst.
#[derive(Debug)]
pub(super) struct Findings<'r> {
    rules: &'r Rules,
    worst: Option<Difference>,
    places: u32,
    /// Something was not looked at, because it is too large.
    left: bool,
}

// === impl Kind ===

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Value, Self::Text, Self::Form, Self::Status];

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Text => "text",
            Self::Form => "form",
            Self::Status => "status",
        }
    }

    /// Reads a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

// === impl Rules ===

impl Rules {
    /// Prepares the rules of an endpoint.
    pub fn of(rules: &MirrorRules) -> Self {
        Self {
            rtol: rules.rtol_ppb as f64 / 1e9,
            atol: rules.atol_ppb as f64 / 1e9,
            ignore: rules.ignore.iter().filter_map(|path| Pattern::parse(path)).collect(),
            redact: rules.redact,
        }
    }

    pub(super) fn ignores(&self, place: &Place<'_>) -> bool {
        self.ignore.iter().any(|pattern| pattern.covers(place))
    }

    /// Returns by how much a number is off, in billionths, when that is too much. What is not a number equals itself.
    pub(super) fn off(&self, expected: f64, got: f64) -> Option<u64> {
        if expected == got || (expected.is_nan() && got.is_nan()) {
            return None;
        }
        let off = (got - expected).abs();
        if !off.is_finite() {
            // A share of the infinite would allow anything.
            return Some(u64::MAX);
        }
        if off <= self.atol + self.rtol * expected.abs() {
            return None;
        }
        // A cast of a float saturates.
        Some((off / expected.abs().max(f64::MIN_POSITIVE) * 1e9) as u64)
    }
}

// === impl Findings ===

impl<'r> Findings<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self { rules, worst: None, places: 0, left: false }
    }

    pub(super) fn rules(&self) -> &'r Rules {
        self.rules
    }

    /// Returns whether looking further would tell nothing new.
    pub(super) fn is_full(&self) -> bool {
        self.places >= PLACES_MAX
    }

    /// Notes one. What was there is only written out when it is the worst so far.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        off_ppb: u64,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) {
        self.places = self.places.saturating_add(1).min(PLACES_MAX);
        if self.worst.as_ref().is_some_and(|worst| (worst.kind, worst.off_ppb) >= (kind, off_ppb)) {
            return;
        }
        let redact = self.rules.redact;
        let shown = |value: &dyn fmt::Display| if redact { "(kept back)".to_owned() } else { clipped(value) };
        self.worst = Some(Difference {
            kind,
            off_ppb,
            places: 1,
            place: clipped(&place),
            expected: shown(&expected),
            got: shown(&got),
        });
    }

    /// Notes that something is too large to be looked at.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    /// What differs differs, whatever was not looked at.
    pub(super) fn verdict(self) -> Verdict {
        match self.worst {
            Some(worst) => Verdict::Mismatch(Difference { places: self.places, ..worst }),
            None if self.left => Verdict::Unjudged(Unjudged::TooLarge),
            None => Verdict::Match,
        }
    }

    #[cfg(test)]
    pub(super) fn finish(self) -> Option<Difference> {
        match self.verdict() {
            Verdict::Mismatch(difference) => Some(difference),
            Verdict::Match | Verdict::Unjudged(_) => None,
        }
    }
}

/// Writes a value as far as it is shown.
fn clipped(value: &dyn fmt::Display) -> String {
    use fmt::Write as _;

    /// Takes no more than what is shown, however long the value is.
    struct Clip(String);

    impl fmt::Write for Clip {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = SHOWN_BYTES - self.0.len();
            let end = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }

    let mut clip = Clip(String::new());
    if write!(clip, "{value}").is_err() {
        clip.0.push('…');
    }
    clip.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_off_as_numpy_says() {
        let rules = Rules::of(&MirrorRules { rtol_ppb: 10_000_000, atol_ppb: 1_000_000, ..MirrorRules::default() });
        for (expected, got, is_off, why) in [
            (1.0, 1.0, false, "the same"),
            (100.0, 101.0, false, "one percent is allowed"),
            (100.0, 101.2, true, "more than a percent and a thousandth"),
            (0.0, 0.001, false, "a thousandth is allowed anywhere"),
            (0.0, 0.002, true, "more than a thousandth of nothing"),
            (f64::NAN, f64::NAN, false, "both are not numbers"),
            (1.0, f64::NAN, true, "one is not a number"),
            (f64::INFINITY, f64::INFINITY, false, "the same infinity"),
            (f64::INFINITY, 1.0, true, "one is infinite"),
            (1.0, f64::INFINITY, true, "the other is infinite"),
            (f64::INFINITY, f64::NEG_INFINITY, true, "another infinity"),
        ] {
            assert_eq!(rules.off(expected, got).is_some(), is_off, "{why}");
        }
        assert_eq!(rules.off(2.0, 3.0), Some(500_000_000));
        assert_eq!(rules.off(1.0, f64::NAN), Some(u64::MAX));
    }

    #[test]
    fn the_worst_is_kept_clipped_and_all_are_counted() {
        let rules = Rules::of(&MirrorRules::default());
        let mut findings = Findings::new(&rules);
        findings.note(Kind::Value, 5, "a", 1, 2);
        findings.note(Kind::Value, 9, "b", 1, "é".repeat(200));
        findings.note(Kind::Value, 7, "c", 1, 2);
        let worst = findings.finish().expect("a difference");
        assert_eq!((worst.place.as_str(), worst.places, worst.off_ppb), ("b", 3, 9));
        assert_eq!(worst.got, format!("{}…", "é".repeat(60)));
        let rules = Rules::of(&MirrorRules { redact: true, ..MirrorRules::default() });
        let mut findings = Findings::new(&rules);
        findings.note(Kind::Value, 5, "a", "secret", "other");
        let worst = findings.finish().expect("a difference");
        assert_eq!((worst.expected.as_str(), worst.got.as_str()), ("(kept back)", "(kept back)"));
    }
}
