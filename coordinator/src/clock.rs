//! The clocks of a coordinator: what proposals are stamped with and what leases count on.

use std::time::{SystemTime, UNIX_EPOCH};

use berth_core::time::{Instant, LogTime};

/// Reads the wall clock. It may step back: proposals then carry the log's own time on.
pub(crate) fn wall() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Reads the monotonic clock, which starts with the process; it means nothing elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

// === impl Clock ===

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Returns when the monotonic clock shows `due`.
    pub(crate) fn at(&self, due: Instant) -> tokio::time::Instant {
        self.start + std::time::Duration::from_millis(due.millis())
    }

    /// Returns the monotonic clock.
    pub(crate) fn monotonic(&self) -> Instant {
        Instant::from_millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
