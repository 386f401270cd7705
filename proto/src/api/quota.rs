//! Quotas as callers see and set them.

use std::collections::BTreeMap;

use berth_core::{
    error::{Code, Error, Problem},
    id::LogIndex,
    model::{Family, FamilyUnit, Loan, ProjectName},
    quota::{PoolLine, QuotaLine, QuotaReport},
    state::ClusterState,
};

use super::v1;

/// Reads the name of a project.
pub fn project(text: &str) -> Result<ProjectName, Error> {
    ProjectName::new(text).map_err(|error| Error::new(Code::Invalid, error.to_string()))
}

/// Reads the project of an endpoint that is put; none leaves it where it is.
pub fn project_of(text: &str) -> Result<Option<ProjectName>, Error> {
    if text.is_empty() { Ok(None) } else { project(text).map(Some) }
}

/// Reads limits as a caller sent them; all families nobody knows are told at once.
pub fn quota_limits(request: &v1::SetQuotaRequest) -> Result<BTreeMap<Family, Option<u64>>, Error> {
    let set = request.limits_milli.iter().map(|(name, milli)| (name, Some(*milli)));
    let (mut limits, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, milli) in set.chain(request.unlimited.iter().map(|name| (name, None))) {
        match Family::named(name) {
            Ok(family) if limits.insert(family, milli).is_none() => {}
            Ok(family) => problems.push(problem(name, format!("{family} is named twice"), String::new())),
            Err(error) => problems.push(problem(name, error.what, error.try_)),
        }
    }
    if limits.is_empty() && problems.is_empty() {
        return Err(Error::new(Code::Invalid, "no family is named").try_("write for example `cpu=40`"));
    }
    if problems.is_empty() {
        return Ok(limits);
    }
    Err(Error { problems, ..Error::new(Code::Invalid, "the quota has a problem") })
}

/// Writes a report.
pub fn quota_report(state: &ClusterState, report: &QuotaReport) -> v1::QuotaReport {
    let revision = |project: &ProjectName| state.quotas.projects.get(project).map_or(LogIndex(0), |it| it.revision);
    v1::QuotaReport {
        quotas: report.lines.iter().map(|line| quota(line, revision(&line.project))).collect(),
        pool: report.pool.iter().map(pool).collect(),
        loans: report.loans.iter().map(loan_message).collect(),
        index: state.applied.0,
    }
}

/// Writes a loan.
pub fn loan_message(loan: &Loan) -> v1::Loan {
    v1::Loan {
        loan: loan.id.to_string(),
        project: loan.project.to_string(),
        family: loan.family.to_string(),
        unit: unit(loan.family),
        milli: loan.milli,
        lent_at_ms: loan.lent_at.millis(),
        expires_at_ms: loan.expires_at.millis(),
    }
}

fn quota(line: &QuotaLine, revision: LogIndex) -> v1::Quota {
    v1::Quota {
        project: line.project.to_string(),
        family: line.family.to_string(),
        unit: unit(line.family),
        used_milli: line.used.milli,
        reserve_milli: line.used.reserve_milli,
        limit_milli: line.limit,
        lent_milli: line.lent,
        free_milli: line.free(),
        over_milli: line.over(),
        over_since_ms: line.over_since.map_or(0, |since| since.millis()),
        revision: revision.0,
    }
}

fn pool(line: &PoolLine) -> v1::Pool {
    v1::Pool { family: line.family.to_string(), unit: unit(line.family), milli: line.milli, lent_milli: line.lent }
}

fn unit(family: Family) -> String {
    FamilyUnit::word(family.unit()).to_owned()
}

fn problem(field: &str, what: String, try_: String) -> Problem {
    Problem { field: field.escape_debug().to_string(), what, try_ }
}
