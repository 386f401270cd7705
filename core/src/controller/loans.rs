//! Loans that are over: told to the log, which takes them back.

use super::{Controller, Effect, Purpose};
use crate::{
    id::LoanId,
    state::{ClusterState, Command},
    time::{Instant, LogTime},
};

/// Loans taken back in one entry.
const LOANS_PER_ENTRY: usize = 100;

impl Controller {
    /// Proposes the end of loans whose time is over.
    pub(super) fn watch_loans(&mut self, state: &ClusterState, now: Instant, effects: &mut Vec<Effect>) {
        if state.quotas.loans.is_empty() || self.outstanding.has(Purpose::Loans) || self.outstanding.is_full() {
            return;
        }
        let at = self.clock.read(now);
        let due = state.quotas.loans.values().filter(|loan| loan.expires_at <= at);
        let loans: Vec<LoanId> = due.map(|loan| loan.id).take(LOANS_PER_ENTRY).collect();
        if !loans.is_empty() {
            let command = Command::LoansExpire { term: self.term, loans };
            effects.push(self.outstanding.propose(Purpose::Loans, command));
        }
    }

    /// Returns when the next loan is over; nothing while the end of one is being told.
    pub(super) fn next_loan_due(&self, state: &ClusterState) -> Option<LogTime> {
        let is_told = self.outstanding.has(Purpose::Loans);
        state.quotas.loans.values().map(|loan| loan.expires_at).min().filter(|_| !is_told)
    }
}
