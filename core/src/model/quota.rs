//! Quotas: how much of each family a project may take, and what it is lent for a while.
//!
//! Only limits, loans and the moment since which a project is over are kept; what is used follows from the deployments.
//! A project without a limit in a family takes what it likes of it, so that nobody needs a quota on the first day.

use std::collections::BTreeMap;

use super::{Family, ProjectName};
use crate::{
    error::{Code, Error, Problems},
    id::{LoanId, LogIndex},
    time::{LogTime, Millis},
};

/// The most anybody may set, in thousandths: more cores than any fleet has, and sums that cannot overflow.
pub const QUOTA_MILLI_MAX: u64 = 1_000_000_000_000;
/// The shortest and the longest a loan may run. Azure takes back what it lends after a week.
pub const LOAN_MIN: Millis = Millis::from_secs(60);
/// See [`LOAN_MIN`].
pub const LOAN_MAX: Millis = Millis::from_secs(7 * 24 * 3_600);
/// Projects that may have limits.
pub const PROJECTS_MAX: usize = 10_000;
/// Loans that may run at once.
pub const LOANS_MAX: usize = 1_000;

/// The limits of every project, the cluster's own pool, and what is lent out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Limits by project.
    pub projects: BTreeMap<ProjectName, ProjectQuota>,
    /// What the cluster may lend, in thousandths.
    pub pool: BTreeMap<Family, u64>,
    /// What it has lent.
    pub loans: BTreeMap<LoanId, Loan>,
    /// The entry that last changed the pool.
    pub pool_revision: LogIndex,
}

/// How much a project may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectQuota {
    /// Limits in thousandths; a family without one is unlimited.
    pub limits: BTreeMap<Family, u64>,
    /// Since when it takes more than it may: a limit was lowered or a loan returned, and what runs was left alone.
    pub over_since: BTreeMap<Family, LogTime>,
    /// The entry that last changed its limits.
    pub revision: LogIndex,
}

/// Capacity out of the cluster's pool that raises a project's limit for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Its id, never used again.
    pub id: LoanId,
    /// Who has it.
    pub project: ProjectName,
    /// Of what.
    pub family: Family,
    /// How much, in thousandths.
    pub milli: u64,
    /// Since when.
    pub lent_at: LogTime,
    /// When it returns by itself.
    pub expires_at: LogTime,
    /// The entry that made it.
    pub revision: LogIndex,
}

// === impl Quotas ===

impl Quotas {
    /// Returns what a project's own limit in a family is; nothing when it has none.
    pub fn limit(&self, project: &ProjectName, family: Family) -> Option<u64> {
        self.projects.get(project)?.limits.get(&family).copied()
    }

    /// Returns what a project is lent of a family.
    pub fn lent_to(&self, project: &ProjectName, family: Family) -> u64 {
        let loans = self.loans.values().filter(|loan| loan.project == *project && loan.family == family);
        loans.map(|loan| loan.milli).sum()
    }

    /// Returns what is lent of a family in all.
    pub fn lent(&self, family: Family) -> u64 {
        self.loans.values().filter(|loan| loan.family == family).map(|loan| loan.milli).sum()
    }

    /// Returns what a project may take of a family, loans included; nothing when it is unlimited.
    pub fn allowed(&self, project: &ProjectName, family: Family) -> Option<u64> {
        Some(self.limit(project, family)?.saturating_add(self.lent_to(project, family)))
    }

    /// Finds a loan by its id or the beginning of it that people see.
    pub fn loan(&self, text: &str) -> Result<&Loan, Error> {
        let text = text.to_ascii_lowercase();
        let mut fits = self.loans.values().filter(|loan| text.len() >= 4 && loan.id.to_string().starts_with(&text));
        match (fits.next(), fits.next()) {
            (Some(loan), None) => Ok(loan),
            (Some(_), Some(_)) => Err(Error::new(Code::Invalid, format!("`{text}` begins the ids of several loans"))
                .try_("give more digits of the one that is meant")),
            (None, _) => Err(Error::new(Code::LoanNotFound, format!("there is no loan `{}`", text.escape_debug()))
                .why("it was returned, or it never was")
                .try_("list them with `berth quota show`")),
        }
    }
}

/// Checks amounts that somebody wants to set.
pub fn check_amounts(amounts: impl IntoIterator<Item = (Family, u64)>, least: u64) -> Result<(), Error> {
    let mut problems = Problems::default();
    for (family, milli) in amounts {
        if !(least..=QUOTA_MILLI_MAX).contains(&milli) {
            let unit = family.unit().word();
            problems.add_try(
                family.name(),
                format!("{} {unit} are out of range", crate::units::Cores(milli)),
                format!("use {} to {} {unit}", crate::units::Cores(least), QUOTA_MILLI_MAX / 1_000),
            );
        }
    }
    problems.into_result(Code::Invalid, "the quota")
}
