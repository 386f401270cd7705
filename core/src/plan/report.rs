//! The report: what a plan could not do, and why.

use std::collections::BTreeMap;

use crate::{model::DeploymentKey, schedule::Verdict, time::LogTime};

/// What a plan could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Deployments with fewer places than they should have.
    pub short: BTreeMap<DeploymentKey, Verdict>,
    /// When a step becomes due by time alone: the end of a back-off or of a drain.
    pub next_due: Option<LogTime>,
}

// === impl Report ===

impl Report {
    pub(super) fn due_at(&mut self, at: LogTime) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }
}
