//! Quotas, the pool and loans, to and from their stored form.

use std::collections::BTreeMap;

use berth_core::{
    error::Error,
    id::{LoanId, LogIndex},
    model::{Family, Loan, ProjectName, ProjectQuota, Quotas},
    time::LogTime,
};

use super::v1;
use crate::convert::{Wire, all, damaged, name};

impl Wire<Quotas> for v1::Quotas {
    fn wire(value: &Quotas) -> Self {
        let project = |(name, quota): (&ProjectName, &ProjectQuota)| v1::ProjectQuota {
            project: name.to_string(),
            limits_milli: by_name(&quota.limits, |milli| *milli),
            over_since_ms: by_name(&quota.over_since, |since| since.millis()),
            revision: quota.revision.0,
        };
        Self {
            projects: value.projects.iter().map(project).collect(),
            pool_milli: by_name(&value.pool, |milli| *milli),
            loans: value.loans.values().map(Wire::wire).collect(),
            pool_revision: value.pool_revision.0,
        }
    }

    fn core(self) -> Result<Quotas, Error> {
        let project = |stored: v1::ProjectQuota| {
            let quota = ProjectQuota {
                limits: by_family(stored.limits_milli, |milli| milli)?,
                over_since: by_family(stored.over_since_ms, LogTime::from_millis)?,
                revision: LogIndex(stored.revision),
            };
            Ok((name(&stored.project)?, quota))
        };
        let loans: Vec<Loan> = all(self.loans)?;
        Ok(Quotas {
            projects: self.projects.into_iter().map(project).collect::<Result<_, Error>>()?,
            pool: by_family(self.pool_milli, |milli| milli)?,
            loans: loans.into_iter().map(|loan| (loan.id, loan)).collect(),
            pool_revision: LogIndex(self.pool_revision),
        })
    }
}

impl Wire<Loan> for v1::Loan {
    fn wire(value: &Loan) -> Self {
        Self {
            id: value.id.0,
            project: value.project.to_string(),
            family: value.family.to_string(),
            milli: value.milli,
            lent_at_ms: value.lent_at.millis(),
            expires_at_ms: value.expires_at.millis(),
            revision: value.revision.0,
        }
    }

    fn core(self) -> Result<Loan, Error> {
        Ok(Loan {
            id: LoanId(self.id),
            project: name(&self.project)?,
            family: family(&self.family)?,
            milli: self.milli,
            lent_at: LogTime::from_millis(self.lent_at_ms),
            expires_at: LogTime::from_millis(self.expires_at_ms),
            revision: LogIndex(self.revision),
        })
    }
}

/// Reads a family.
pub(super) fn family(text: &str) -> Result<Family, Error> {
    Family::named(text).map_err(|error| damaged(error.what))
}

/// Writes limits, those that are taken away apart from those that are set.
pub(super) fn limits_wire(limits: &BTreeMap<Family, Option<u64>>) -> (BTreeMap<String, u64>, Vec<String>) {
    let set = limits.iter().filter_map(|(family, milli)| Some((family.to_string(), (*milli)?)));
    let unlimited = limits.iter().filter(|(_, milli)| milli.is_none()).map(|(family, _)| family.to_string());
    (set.collect(), unlimited.collect())
}

/// Reads them again.
pub(super) fn limits_core(
    set: BTreeMap<String, u64>,
    unlimited: Vec<String>,
) -> Result<BTreeMap<Family, Option<u64>>, Error> {
    let mut limits = by_family(set, Some)?;
    for name in unlimited {
        limits.insert(family(&name)?, None);
    }
    Ok(limits)
}

fn by_name<T>(map: &BTreeMap<Family, T>, value: impl Fn(&T) -> u64) -> BTreeMap<String, u64> {
    map.iter().map(|(family, each)| (family.to_string(), value(each))).collect()
}

fn by_family<T>(map: BTreeMap<String, u64>, value: impl Fn(u64) -> T) -> Result<BTreeMap<Family, T>, Error> {
    map.into_iter().map(|(name, each)| Ok((family(&name)?, value(each)))).collect()
}
