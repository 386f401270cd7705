//! How long an answer may wait for its caller.
//!
//! Who reads a byte a minute holds a replica's slot for as long as one who reads nothing, at as little cost. What counts is
//! the time in which the mesh had bytes, or room for them alone was missing: a model that says a word a minute to a caller
//! that listens costs that caller nothing, and who read fast for an hour has earned no hour of silence.

use crate::time::Millis;

/// The slowest that a caller may read, in bytes a second, once its patience is used up. Kestrel's default
/// (`MinResponseDataRate`); a telephone line reads ten times as fast.
pub const SLOWEST: u64 = 240;

/// What is left of the time that an answer may wait. Waiting spends it, what the caller takes earns it again, and there is
/// never more of it than at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    left: Millis,
    most: Millis,
}

// === impl Patience ===

impl Patience {
    /// Creates the patience for an answer of which nothing has waited yet.
    pub fn new(most: Millis) -> Self {
        Self { left: most, most }
    }

    /// Returns how much longer the answer may wait.
    pub fn left(&self) -> Millis {
        self.left
    }

    /// Notes that the answer has waited for so long.
    pub fn waited(&mut self, waited: Millis) {
        self.left.0 = self.left.0.saturating_sub(waited.0);
    }

    /// Notes that the caller took so many bytes.
    pub fn took(&mut self, bytes: u64) {
        let earned = bytes.saturating_mul(1_000) / SLOWEST;
        self.left.0 = self.left.0.saturating_add(earned).min(self.most.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_too_little_is_waited_for_no_longer() {
        /// So many bytes are taken, then it waits for so long.
        type Turn = (u64, u64);
        let minute = 60_000;
        for (turns, each, expected, why) in [
            (0, (0, 0), minute, "all of it at first"),
            (1, (minute - 1, 0), 1, "nothing is taken"),
            (1, (minute, 0), 0, "for all of it"),
            (1, (minute + 1, 0), 0, "and more"),
            (2, (minute / 2, 1), 4, "a byte earns four milliseconds"),
            (2, (minute / 2, 0), 0, "nothing earns none"),
            (61, (1_000, 120), 29_000, "half as fast as the slowest lasts twice as long"),
            (119, (1_000, 120), 0, "and no longer"),
            (100_000, (1_000, SLOWEST), minute - 1_000, "the slowest lasts for ever"),
            (100_000, (50_000, 50 * SLOWEST), 10_000, "in bursts, too"),
            (100_000, (0, 1 << 40), minute, "what is taken at once is not saved up"),
            (1, (0, u64::MAX), minute, "nor is all there can be"),
        ] {
            let mut patience = Patience::new(Millis(minute));
            for _ in 0..turns {
                let (waited, bytes): Turn = each;
                patience.took(bytes);
                patience.waited(Millis(waited));
            }
            assert_eq!(patience.left(), Millis(expected), "{why}");
        }
    }
}
