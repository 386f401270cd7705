//! Time as an argument: milliseconds the proposer stamped, never read here.

use std::{fmt, ops::Add};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch as the log sees them: at apply `max(previous, proposed_at)`, so it never steps back
/// although clocks do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogTime(u64);

/// A reading of a shell's monotonic clock, in milliseconds from an arbitrary start. Deadlines and leases count on this
/// one; it means nothing on another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// A point in time counts milliseconds, whichever clock they are of: the types differ so that the clocks never mix.
macro_rules! point_in_time {
    ($($point:ident)*) => {$(
        impl $point {
            /// Wraps milliseconds of this clock.
            pub const fn from_millis(millis: u64) -> Self {
                Self(millis)
            }

            /// Returns the milliseconds.
            pub const fn millis(self) -> u64 {
                self.0
            }

            /// Returns how long ago `earlier` was; zero if it lies ahead.
            pub fn since(self, earlier: Self) -> Millis {
                Millis(self.0.saturating_sub(earlier.0))
            }
        }

        impl Add<Millis> for $point {
            type Output = Self;

            fn add(self, span: Millis) -> Self {
                Self(self.0.saturating_add(span.0))
            }
        }
    )*};
}

point_in_time! { LogTime Instant }

// === impl LogTime ===

impl LogTime {
    /// Writes the time of day: `14:02 UTC`.
    pub fn time_of_day(self) -> String {
        let minutes = self.0 / 60_000;
        format!("{:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
    }
}

// === impl Millis ===

impl Millis {
    /// Wraps whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000)
    }
}

impl fmt::Display for Millis {
    /// Writes a span as people read it: `350ms`, `12s`, `4m12s`, `3h05m`, `2d04h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0 / 1_000;
        match secs {
            0 => write!(f, "{}ms", self.0),
            1..60 => write!(f, "{secs}s"),
            60..3_600 => write!(f, "{}m{:02}s", secs / 60, secs % 60),
            3_600..86_400 => write!(f, "{}h{:02}m", secs / 3_600, secs / 60 % 60),
            _ => write!(f, "{}d{:02}h", secs / 86_400, secs / 3_600 % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_people_write_them() {
        for (millis, text) in [
            (0, "0ms"),
            (350, "350ms"),
            (12_900, "12s"),
            (252_000, "4m12s"),
            (11_100_000, "3h05m"),
            (187_200_000, "2d04h"),
        ] {
            assert_eq!(Millis(millis).to_string(), text);
        }
    }

    #[test]
    fn a_clock_that_stepped_back_gives_no_negative_age() {
        assert_eq!(LogTime::from_millis(5).since(LogTime::from_millis(9)), Millis(0));
    }
}
