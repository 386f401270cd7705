//! Quotas, judged: that the sums are true, that nothing grew beyond a limit, that no more is lent than there is.

use std::collections::BTreeMap;

use super::{Violation, Witness};
use crate::{
    model::{Deployment, Family, ProjectName},
    state::{ClusterState, TAKEN_MILLI_MAX},
};

/// What every project takes, summed up from the records alone.
pub(super) type Sums = BTreeMap<(ProjectName, Family), u64>;

pub(super) fn sums(state: &ClusterState) -> Sums {
    let mut sums = Sums::new();
    for deployment in state.deployments.values().filter(|deployment| !deployment.deleting) {
        let Some(endpoint) = state.endpoints.get(&deployment.key.endpoint) else { continue };
        for each in deployment.spec.families().into_iter().filter(|each| each.milli > 0) {
            let milli = each.milli.saturating_mul(places(deployment)).min(TAKEN_MILLI_MAX);
            if milli > 0 {
                *sums.entry((endpoint.project.clone(), each.family)).or_default() += milli;
            }
        }
    }
    sums
}

/// Written as the promise is: 1.2 n, rounded up, and n for a size that holds no reserve.
fn places(deployment: &Deployment) -> u64 {
    let count = u64::from(deployment.spec.instance_count);
    if deployment.spec.reserve { (count * 6).div_ceil(5) } else { count }
}

pub(super) fn sums_are_true(state: &ClusterState, found: &mut Vec<Violation>) {
    let sums = sums(state);
    let projects: std::collections::BTreeSet<_> =
        state.endpoints.values().map(|endpoint| &endpoint.project).chain(state.quotas.projects.keys()).collect();
    let mut said = Sums::new();
    for project in projects {
        let families = state.index().usage().families_of(project);
        said.extend(families.map(|(family, taken)| ((project.clone(), family), taken.milli)));
    }
    if said != sums {
        found.push(Violation::new("QU01", format!("quotas say {said:?}, the deployments take {sums:?}")));
    }
}

pub(super) fn loans_are_in_the_pool(state: &ClusterState, found: &mut Vec<Violation>) {
    let mut lent: BTreeMap<Family, u64> = BTreeMap::new();
    for loan in state.quotas.loans.values() {
        *lent.entry(loan.family).or_default() += loan.milli;
    }
    for (family, milli) in lent {
        let pool = state.quotas.pool.get(&family).copied().unwrap_or(0);
        if milli > pool {
            found.push(Violation::new("QU03", format!("{milli} of {family} are lent out of a pool of {pool}")));
        }
    }
}

// === impl Witness ===

impl Witness {
    /// Asks of everything that grew whether its project had room for it.
    pub(super) fn growth(&self, after: &ClusterState, found: &mut Vec<Violation>) {
        for ((project, family), now) in sums(after) {
            let before = self.taken.get(&(project.clone(), family)).copied().unwrap_or(0);
            let quota = after.quotas.projects.get(&project);
            let Some(limit) = quota.and_then(|quota| quota.limits.get(&family)) else { continue };
            let loans = after.quotas.loans.values().filter(|loan| loan.project == project && loan.family == family);
            let allowed = limit + loans.map(|loan| loan.milli).sum::<u64>();
            if now > before && now > allowed {
                let text = format!("{project} went from {before} to {now} of {family} and may take {allowed}");
                found.push(Violation::new("QU02", text));
            }
        }
    }
}
