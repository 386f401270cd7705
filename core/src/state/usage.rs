//! What every project takes of every family: sums over the deployments, kept so that one change costs one deployment.
//!
//! A deployment counts from the moment it is accepted to the moment its deletion is, whether it runs, waits or has
//! failed: a quota is a promise of room, and the room is the deployment's until it is deleted.

use std::collections::BTreeMap;

use crate::model::{
    Deployment, DeploymentKey, DeploymentSpec, Endpoint, EndpointName, Family, ProjectName, reserve_of,
};

/// The most one deployment counts for, in thousandths: several times what a spec that passes validation can take, and a
/// millionth of what a sum holds. An entry may carry anything; a sum that stopped at its end could not be undone.
pub const TAKEN_MILLI_MAX: u64 = 1 << 43;

/// What is taken of a family, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In all.
    pub milli: u64,
    /// Of which for the reserve.
    pub reserve_milli: u64,
}

/// What every project takes, and which deployment takes how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    projects: BTreeMap<ProjectName, BTreeMap<Family, Taken>>,
    charges: BTreeMap<DeploymentKey, (ProjectName, BTreeMap<Family, Taken>)>,
}

// === impl Usage ===

impl Usage {
    /// Sums up these records.
    pub fn of<'a>(
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
        deployments: impl IntoIterator<Item = &'a Deployment>,
    ) -> Self {
        let owners: BTreeMap<&EndpointName, &ProjectName> =
            endpoints.into_iter().map(|endpoint| (&endpoint.name, &endpoint.project)).collect();
        let mut usage = Self::default();
        for deployment in deployments {
            if let Some(project) = owners.get(&deployment.key.endpoint) {
                usage.charge(project, deployment);
            }
        }
        usage
    }

    /// Returns what a project takes of a family.
    pub fn taken(&self, project: &ProjectName, family: Family) -> Taken {
        self.projects.get(project).and_then(|families| families.get(&family)).copied().unwrap_or_default()
    }

    /// Lists what a project takes, in order of family.
    pub fn families_of(&self, project: &ProjectName) -> impl Iterator<Item = (Family, Taken)> {
        self.projects.get(project).into_iter().flatten().map(|(family, taken)| (*family, *taken))
    }

    /// Returns what one deployment takes of a family.
    pub fn charged(&self, key: &DeploymentKey, family: Family) -> u64 {
        self.charges.get(key).and_then(|(_, families)| families.get(&family)).map_or(0, |taken| taken.milli)
    }

    /// Counts a deployment as it is now, instead of as it was.
    pub(super) fn charge(&mut self, project: &ProjectName, deployment: &Deployment) {
        self.discharge(&deployment.key);
        let families = if deployment.deleting { BTreeMap::new() } else { taken_by(&deployment.spec) };
        if families.is_empty() {
            return;
        }
        let sums = self.projects.entry(project.clone()).or_default();
        for (family, taken) in &families {
            let sum = sums.entry(*family).or_default();
            sum.milli = sum.milli.saturating_add(taken.milli);
            sum.reserve_milli = sum.reserve_milli.saturating_add(taken.reserve_milli);
        }
        self.charges.insert(deployment.key.clone(), (project.clone(), families));
    }

    /// Counts a deployment no longer; returns whose it was and what it took.
    pub(super) fn discharge(&mut self, key: &DeploymentKey) -> Option<(ProjectName, Vec<Family>)> {
        let (project, families) = self.charges.remove(key)?;
        if let Some(sums) = self.projects.get_mut(&project) {
            for (family, taken) in &families {
                let Some(sum) = sums.get_mut(family) else { continue };
                sum.milli = sum.milli.saturating_sub(taken.milli);
                sum.reserve_milli = sum.reserve_milli.saturating_sub(taken.reserve_milli);
                if sum.milli == 0 {
                    sums.remove(family);
                }
            }
            if sums.is_empty() {
                self.projects.remove(&project);
            }
        }
        Some((project, families.into_keys().collect()))
    }
}

/// Counts what the instances of a spec take of each family, reserve included; nothing for no instance.
pub fn taken_by(spec: &DeploymentSpec) -> BTreeMap<Family, Taken> {
    let (instances, reserve) = places(spec);
    let counted = spec.families().into_iter().map(|each| {
        let of = |count: u64| each.milli.saturating_mul(count).min(TAKEN_MILLI_MAX);
        (each.family, Taken { milli: of(instances + reserve), reserve_milli: of(reserve) })
    });
    counted.filter(|(_, taken)| taken.milli > 0).collect()
}

/// Returns how many instances a spec has, and how many places its reserve holds.
pub(super) fn places(spec: &DeploymentSpec) -> (u64, u64) {
    let instances = u64::from(spec.instance_count);
    (instances, if spec.reserve { reserve_of(instances) } else { 0 })
}
