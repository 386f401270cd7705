//! When to try again, and when to stop: a bounded number of attempts, spread by chance, within one deadline.

use std::time::Duration;

use berth_core::error::{Code, Error, ErrorKind};
use tokio::time::Instant;

/// The first wait. Another member usually answers at once, so it is short.
const FIRST: Duration = Duration::from_millis(25);
/// The longest wait: an election is over by then.
const LONGEST: Duration = Duration::from_secs(1);

/// What is left of a call's patience.
#[derive(Debug)]
pub(crate) struct Patience {
    until: Instant,
    attempts_left: u32,
    wait: Duration,
    /// Members with which TLS was not agreed on.
    distrusted: usize,
}

// === impl Patience ===

impl Patience {
    pub(crate) fn new(deadline: Duration, attempts_max: u32) -> Self {
        Self { until: Instant::now() + deadline, attempts_left: attempts_max.max(1), wait: FIRST, distrusted: 0 }
    }

    /// Returns how long the next attempt may take, or `None` when there is none.
    pub(crate) fn attempt(&mut self, longest: Duration) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.attempts_left = self.attempts_left.checked_sub(1)?;
        (!left.is_zero()).then(|| left.min(longest))
    }

    /// Returns whether another attempt makes sense after `error`, where there are so many members to ask. One whose
    /// certificate is not believed will not be believed later, but another may be.
    pub(crate) fn allows(&mut self, error: &Error, members: usize) -> bool {
        if error.code == Code::Tls {
            self.distrusted += 1;
            return self.distrusted < members;
        }
        may_retry(error)
    }

    /// Waits before the next attempt: between half and all of a span that doubles, so that callers who failed together
    /// do not come back together.
    pub(crate) async fn pause(&mut self) {
        let half = self.wait / 2;
        let jitter = half.mul_f64(f64::from(random_u32()) / f64::from(u32::MAX));
        self.wait = (self.wait * 2).min(LONGEST);
        tokio::time::sleep_until((Instant::now() + half + jitter).min(self.until)).await;
    }

    /// Starts anew after something succeeded.
    pub(crate) fn renew(&mut self, deadline: Duration, attempts_max: u32) {
        *self = Self::new(deadline, attempts_max);
    }
}

/// Returns whether the same request may be sent again: it was not delivered, or what became of it is not known and the
/// request id makes a second delivery harmless.
fn may_retry(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable => true,
        ErrorKind::Timeout => matches!(error.code, Code::Unknown | Code::Timeout),
        _ => false,
    }
}

/// Mints a request id.
pub(crate) fn request_id() -> String {
    let mut bytes = [0_u8; 16];
    fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_u32() -> u32 {
    let mut bytes = [0_u8; 4];
    fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

/// Fills from the system's generator. A system that has none cannot mint ids; there is no honest fallback.
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has a source of randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_delivered_or_is_unknown_is_sent_again() {
        for code in Code::ALL {
            let expected = matches!(code.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
            assert_eq!(may_retry(&Error::new(*code, "x")), expected, "{code}");
        }
    }

    #[test]
    fn every_member_is_asked_once_when_none_is_believed() {
        let mut patience = Patience::new(Duration::from_secs(60), 20);
        let error = Error::new(Code::Tls, "x");
        let asked: Vec<_> = (0..3).map(|_| patience.allows(&error, 3)).collect();
        assert_eq!(asked, [true, true, false]);
        assert!(patience.allows(&Error::new(Code::Unavailable, "x"), 3), "what broke may be whole again");
    }

    #[test]
    fn ids_differ() {
        assert_ne!(request_id(), request_id());
        assert_eq!(request_id().len(), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_by_count_and_by_time() {
        let mut patience = Patience::new(Duration::from_secs(60), 3);
        let attempts = std::iter::from_fn(|| patience.attempt(Duration::from_secs(1))).count();
        assert_eq!(attempts, 3);
        let mut patience = Patience::new(Duration::from_secs(2), 1_000);
        let mut attempts = 0;
        while patience.attempt(Duration::from_secs(1)).is_some() {
            attempts += 1;
            patience.pause().await;
        }
        // 25 ms doubling to a second: between seven and a dozen within two seconds, whatever the dice say.
        assert!((6..=12).contains(&attempts), "{attempts}");
    }
}
