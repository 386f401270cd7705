//! Quotas as people read them: per project and family what is used, what is allowed, and what of it is lent.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{Code, Error, nearest},
    model::{Family, Loan, ProjectName},
    state::{ClusterState, Taken},
    time::LogTime,
};

/// Everything there is to say about quotas, or about those of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaReport {
    /// Per project and family; families that are neither used nor limited are left out.
    pub lines: Vec<QuotaLine>,
    /// What the cluster may lend.
    pub pool: Vec<PoolLine>,
    /// What it has lent, the one that ends first before the others.
    pub loans: Vec<Loan>,
}

/// A project's standing in a family. Amounts are in thousandths of the family's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaLine {
    /// The project.
    pub project: ProjectName,
    /// The family.
    pub family: Family,
    /// What its deployments take.
    pub used: Taken,
    /// Its own limit; nothing when it has none.
    pub limit: Option<u64>,
    /// What it is lent.
    pub lent: u64,
    /// Since when it takes more than it may.
    pub over_since: Option<LogTime>,
}

/// What the cluster may lend of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLine {
    /// The family.
    pub family: Family,
    /// In all.
    pub milli: u64,
    /// Of which is lent.
    pub lent: u64,
}

// === impl QuotaReport ===

impl QuotaReport {
    /// Reads it off the state; one project alone when it is named.
    pub fn of(state: &ClusterState, project: Option<&ProjectName>) -> Result<Self, Error> {
        let mut projects: BTreeSet<&ProjectName> = state.quotas.projects.keys().collect();
        projects.extend(state.endpoints.values().map(|endpoint| &endpoint.project));
        // Everybody may use it at any time, so it is there before anybody has.
        let default = ProjectName::default();
        if let Some(name) = project {
            if !projects.contains(name) && *name != default {
                return Err(unknown(name, &projects));
            }
            projects = BTreeSet::from([name]);
        }
        let lines = projects.iter().flat_map(|project| lines_of(state, project)).collect();
        let pool = state.quotas.pool.iter().map(|(family, milli)| PoolLine {
            family: *family,
            milli: *milli,
            lent: state.quotas.lent(*family),
        });
        let mut loans: Vec<Loan> = state
            .quotas
            .loans
            .values()
            .filter(|loan| project.is_none_or(|name| loan.project == *name))
            .cloned()
            .collect();
        loans.sort_by_key(|loan| (loan.expires_at, loan.id));
        Ok(Self { lines, pool: pool.collect(), loans })
    }
}

// === impl QuotaLine ===

impl QuotaLine {
    /// Returns what it may still take; nothing when it is unlimited.
    pub fn free(&self) -> Option<u64> {
        Some((self.limit?.saturating_add(self.lent)).saturating_sub(self.used.milli))
    }

    /// Returns how much more it takes than it may.
    pub fn over(&self) -> u64 {
        self.limit.map_or(0, |limit| self.used.milli.saturating_sub(limit.saturating_add(self.lent)))
    }
}

fn lines_of(state: &ClusterState, project: &ProjectName) -> Vec<QuotaLine> {
    let used: BTreeMap<Family, Taken> = state.index().usage().families_of(project).collect();
    let quota = state.quotas.projects.get(project);
    let mut families: BTreeSet<Family> = used.keys().copied().collect();
    families.extend(quota.into_iter().flat_map(|quota| quota.limits.keys()));
    let line = |family: Family| QuotaLine {
        project: project.clone(),
        family,
        used: used.get(&family).copied().unwrap_or_default(),
        limit: state.quotas.limit(project, family),
        lent: state.quotas.lent_to(project, family),
        over_since: quota.and_then(|quota| quota.over_since.get(&family)).copied(),
    };
    families.into_iter().map(line).collect()
}

fn unknown(name: &ProjectName, projects: &BTreeSet<&ProjectName>) -> Error {
    let error = Error::new(Code::ProjectNotFound, format!("project `{name}` does not exist"))
        .why("no endpoint belongs to it and it has no quota");
    match nearest(name.as_str(), projects.iter().map(|project| project.as_str())) {
        Some(near) => error.try_(format!("did you mean `{near}`?")),
        None => error.try_("list them with `berth quota show`"),
    }
}
