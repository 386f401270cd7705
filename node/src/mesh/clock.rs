//! The mesh's clock: one monotonic reading for all cores, in the milliseconds the pure machines count in.

use std::time::Duration;

use berth_core::time::Instant;

/// A monotonic clock with a common start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: tokio::time::Instant,
}

// === impl Clock ===

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Returns the reading. It begins at one second, so that zero is always long ago.
    pub(super) fn now(&self) -> Instant {
        self.of(tokio::time::Instant::now())
    }

    /// Turns a reading of tokio's clock into one of this one.
    pub(super) fn of(&self, at: tokio::time::Instant) -> Instant {
        Instant::from_millis(1_000 + at.saturating_duration_since(self.start).as_millis() as u64)
    }

    /// Turns a reading into one of tokio's clock, for timers.
    pub(super) fn timer(&self, at: Instant) -> tokio::time::Instant {
        self.start + Duration::from_millis(at.millis().saturating_sub(1_000))
    }
}
