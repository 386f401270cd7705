//! How long a caller may let a replica wait for the body of its request.
//!
//! A slot is taken on a request's head, so callers who send heads and no more would hold every slot of a deployment for its
//! whole time limit, at no cost to them. What counts is the time in which the mesh had nothing to read: a body that waits for
//! the replica is not late, and a large one that comes steadily is not either.

use crate::time::Millis;

/// The slowest that a body may come, in bytes a second, once its caller's patience is used up: a slow telephone line.
const SLOWEST: u64 = 500;

/// Returns how much longer a body of which so many bytes came may be waited for after it was for `waited`; nothing when it
/// was long enough. `patience` is what each has, and what comes earns more.
pub fn left(waited: Millis, bytes: u64, patience: Millis) -> Option<Millis> {
    let earned = bytes.saturating_mul(1_000) / SLOWEST;
    let left = patience.0.saturating_add(earned).saturating_sub(waited.0);
    (left > 0).then_some(Millis(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_stalls_or_trickles_is_not_waited_for() {
        for (waited, bytes, expected, why) in [
            (0, 0, Some(10_000), "the patience alone"),
            (9_999, 0, Some(1), "for all of it"),
            (10_000, 0, None, "silence"),
            (10_000, 5, Some(10), "a byte a second earns two milliseconds each"),
            (10_020, 10, None, "which is not enough"),
            (60_000, 30_000, Some(10_000), "a slow line has as much left as at first"),
            (60_000, u64::MAX, Some(u64::MAX / 500), "a very large one"),
        ] {
            let found = left(Millis(waited), bytes, Millis(10_000));
            match expected {
                Some(at_least) if bytes == u64::MAX => {
                    assert!(found.is_some_and(|left| left.0 > at_least / 2), "{why}")
                }
                expected => assert_eq!(found, expected.map(Millis), "{why}"),
            }
        }
    }
}
