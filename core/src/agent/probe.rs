//! One probe of one process: when it asks again, and what its answers add up to.

use crate::{
    model::Probe,
    time::{Instant, Millis},
};

/// Time an answer may be late beyond the probe's own timeout before the agent counts it as failed by itself: the shell
/// always answers, but a shell that lost the question must not stop the probing for ever.
const ANSWER_SLACK: Millis = Millis(5_000);

/// The answers of a probe so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Track {
    settings: Probe,
    next_at: Instant,
    overdue_at: Option<Instant>,
    successes: u32,
    failures: u32,
}

// === impl Track ===

impl Track {
    pub(super) fn new(settings: Probe, first_at: Instant) -> Self {
        Self { settings, next_at: first_at, overdue_at: None, successes: 0, failures: 0 }
    }

    /// Returns whether to ask now, and remembers that it was asked.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if self.overdue_at.is_some() || now < self.next_at {
            return false;
        }
        self.overdue_at = Some(now + self.timeout() + ANSWER_SLACK);
        true
    }

    /// Counts an answer and sets when to ask again. Answers nobody waits for are dropped.
    pub(super) fn answered(&mut self, passed: bool, counts: bool, now: Instant, again_in: Millis) -> bool {
        if self.overdue_at.take().is_none() {
            return false;
        }
        self.next_at = now + again_in;
        (self.successes, self.failures) = match (passed, counts) {
            (true, _) => (self.successes.saturating_add(1), 0),
            (false, true) => (0, self.failures.saturating_add(1)),
            (false, false) => (0, 0),
        };
        true
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.overdue_at.is_some_and(|at| at <= now)
    }

    pub(super) fn passes(&self) -> bool {
        self.successes >= self.settings.success_threshold
    }

    pub(super) fn fails(&self) -> bool {
        self.failures >= self.settings.failure_threshold
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn timeout(&self) -> Millis {
        Millis(self.settings.timeout_ms)
    }

    pub(super) fn period(&self) -> Millis {
        Millis(self.settings.period_ms)
    }

    pub(super) fn initial_delay(&self) -> Millis {
        Millis(self.settings.initial_delay_ms)
    }

    /// Asks nothing for `span`.
    pub(super) fn rest(&mut self, now: Instant, span: Millis) {
        self.next_at = now + span;
    }

    /// Forgets every answer, as when the process becomes another one in the eyes of this probe.
    pub(super) fn restart(&mut self) {
        (self.successes, self.failures) = (0, 0);
    }

    pub(super) fn wake_at(&self) -> Instant {
        self.overdue_at.unwrap_or(self.next_at)
    }
}
