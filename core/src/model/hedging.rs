//! Hedging: asking a second replica when the first one takes long.
//!
//! Off unless an endpoint says otherwise, because the same work may be done twice; so only endpoints that say
//! `idempotent: true` may say it.

use serde::{Deserialize, Serialize};

use crate::{error::Problems, time::Millis};

/// The largest share of requests that may be hedged: what retries and hedges may add together, see
/// [`crate::traffic::budget`].
pub const HEDGE_PERCENT_MAX: u32 = 20;

/// The longest delay; a request that may take longer is no case for a hedge.
const DELAY_MS_MAX: u64 = 600_000;

/// When a second replica is asked, and how often at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hedging {
    /// When.
    pub after: HedgeAfter,
    /// How many of a hundred recent requests of a node may be hedged.
    pub budget_percent: u32,
}

/// How long a request waits for its first replica alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HedgeAfter {
    /// So long.
    Delay(Millis),
    /// As long as this many of a thousand recent answers of the deployment did not take.
    Percentile {
        /// Of a thousand.
        permille: u32,
    },
}

// === impl Hedging ===

impl Default for Hedging {
    /// What a bare `hedging: true` means: the slowest twentieth is asked for twice.
    fn default() -> Self {
        Self { after: HedgeAfter::Percentile { permille: 950 }, budget_percent: 5 }
    }
}

impl Hedging {
    /// Notes every broken rule. `idempotent` is what the endpoint says of its requests.
    pub fn check(&self, idempotent: Option<bool>, problems: &mut Problems) {
        if idempotent != Some(true) {
            problems.add_try(
                "hedging",
                "asks for work to be done twice, and the endpoint does not say that this is safe",
                "say `idempotent: true` beside it, if it is",
            );
        }
        match self.after {
            HedgeAfter::Delay(Millis(ms)) if !(1..=DELAY_MS_MAX).contains(&ms) => {
                let what = format!("{ms} is out of range");
                problems.add_try("hedging.after_ms", what, format!("use 1 to {DELAY_MS_MAX}"));
            }
            HedgeAfter::Percentile { permille } if !(500..=999).contains(&permille) => {
                let what = format!("{} is out of range", Tenths(permille));
                problems.add_try("hedging.percentile", what, "use 50 to 99.9, such as 95");
            }
            HedgeAfter::Delay(_) | HedgeAfter::Percentile { .. } => {}
        }
        if !(1..=HEDGE_PERCENT_MAX).contains(&self.budget_percent) {
            let what = format!("{} is out of range", self.budget_percent);
            problems.add_try("hedging.budget_percent", what, format!("use 1 to {HEDGE_PERCENT_MAX}"));
        }
    }
}

/// Thousandths, written as hundredths.
struct Tenths(u32);

impl std::fmt::Display for Tenths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenth => write!(f, "{}.{tenth}", self.0 / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    /// Each row: what is asked for, what the endpoint says of repeating, and the fields that are complained about.
    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let after = |after, budget_percent| Hedging { after, budget_percent };
        let delay = |ms| HedgeAfter::Delay(Millis(ms));
        let of = |permille| HedgeAfter::Percentile { permille };
        for (hedging, idempotent, fields) in [
            (Hedging::default(), Some(true), vec![]),
            (Hedging::default(), Some(false), vec!["hedging"]),
            (Hedging::default(), None, vec!["hedging"]),
            (after(delay(1), 20), Some(true), vec![]),
            (after(delay(0), 21), Some(true), vec!["hedging.after_ms", "hedging.budget_percent"]),
            (after(delay(600_001), 0), None, vec!["hedging", "hedging.after_ms", "hedging.budget_percent"]),
            (after(of(999), 1), Some(true), vec![]),
            (after(of(1_000), 1), Some(true), vec!["hedging.percentile"]),
            (after(of(499), 1), Some(true), vec!["hedging.percentile"]),
        ] {
            let mut problems = Problems::default();
            hedging.check(idempotent, &mut problems);
            let error = problems.into_result(Code::Invalid, "the endpoint").err();
            let named: Vec<_> =
                error.map(|error| error.problems).into_iter().flatten().map(|problem| problem.field).collect();
            assert_eq!(named, fields, "{hedging:?} {idempotent:?}");
        }
        assert_eq!((Tenths(955).to_string(), Tenths(900).to_string()), ("95.5".into(), "90".into()));
    }
}
