//! Traffic: which share of an endpoint's requests each deployment gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DeploymentName;
use crate::error::Problems;

/// The largest share that Azure mirrors.
const AZURE_MIRROR_MAX: u32 = 50;

/// Percent per deployment, as a split (total 0 or 100) or as mirrors (each at most 100).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Traffic(pub BTreeMap<DeploymentName, u32>);

// === impl Traffic ===

impl Traffic {
    /// Sends everything to one deployment.
    pub fn all_to(deployment: DeploymentName) -> Self {
        Self(BTreeMap::from([(deployment, 100)]))
    }

    /// Returns the percent of `deployment`; zero when it is not named.
    pub fn percent(&self, deployment: &DeploymentName) -> u32 {
        self.0.get(deployment).copied().unwrap_or(0)
    }

    /// Returns the sum.
    pub fn total(&self) -> u32 {
        self.0.values().fold(0, |sum, percent| sum.saturating_add(*percent))
    }

    /// Drops the entries of zero percent, which mean the same as being absent.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.0.retain(|_, percent| *percent > 0);
        self
    }

    /// Notes every broken rule of a split.
    pub fn check_split(&self, exists: impl Fn(&DeploymentName) -> bool, problems: &mut Problems) {
        self.check_each("traffic", exists, problems);
        let total = self.total();
        if total != 0 && total != 100 {
            problems.add_try("traffic", format!("the shares total {total}"), "make them total 0 or 100");
        }
    }

    /// Notes every broken rule of a set of mirrors.
    pub fn check_mirror(&self, exists: impl Fn(&DeploymentName) -> bool, problems: &mut Problems) {
        self.check_each("mirror_traffic", exists, problems);
    }

    /// Notes what Azure would refuse: more than one mirror, more than half of the requests, a mirror that answers callers
    /// too.
    pub fn check_as_azure(&self, split: &Self, problems: &mut Problems) {
        let targets: Vec<_> = self.0.iter().filter(|(_, percent)| **percent > 0).collect();
        if targets.len() > 1 {
            let what = format!("{} deployments get copies, and Azure mirrors to one", targets.len());
            problems.add_try("mirror_traffic", what, "name one, or leave out --strict-azure");
        }
        for (name, percent) in targets {
            let field = format!("mirror_traffic.{name}");
            if *percent > AZURE_MIRROR_MAX {
                let what = format!("{percent} is more than the {AZURE_MIRROR_MAX} that Azure allows");
                problems.add_try(&*field, what, "take less, or leave out --strict-azure");
            }
            if split.percent(name) > 0 {
                let what = "it answers callers too, and in Azure a deployment does one or the other";
                problems.add_try(field, what, "take it out of the split, or leave out --strict-azure");
            }
        }
    }

    fn check_each(&self, field: &str, exists: impl Fn(&DeploymentName) -> bool, problems: &mut Problems) {
        for (name, percent) in &self.0 {
            if *percent > 100 {
                problems.add_try(
                    format!("{field}.{name}"),
                    format!("{percent} is more than 100"),
                    "use a percent from 0 to 100",
                );
            }
            if *percent > 0 && !exists(name) {
                problems.add_try(
                    format!("{field}.{name}"),
                    "no such deployment",
                    "create the deployment first, then give it traffic",
                );
            }
        }
    }
}

impl FromIterator<(DeploymentName, u32)> for Traffic {
    fn from_iter<I: IntoIterator<Item = (DeploymentName, u32)>>(shares: I) -> Self {
        Self(shares.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_has_one_mirror_of_at_most_half_that_is_not_live() {
        let shares = |shares: &[(&str, u32)]| -> Traffic {
            shares.iter().map(|(text, percent)| (DeploymentName::new(text).expect("a valid name"), *percent)).collect()
        };
        let split = shares(&[("blue", 90), ("green", 10)]);
        for (mirror, refused, why) in [
            (shares(&[]), 0, "none"),
            (shares(&[("red", 50)]), 0, "half"),
            (shares(&[("red", 51)]), 1, "more than half"),
            (shares(&[("red", 10), ("pink", 10)]), 1, "two"),
            (shares(&[("red", 10), ("pink", 0)]), 0, "zero means absent"),
            (shares(&[("green", 10)]), 1, "it is live"),
            (shares(&[("green", 60), ("blue", 60)]), 5, "everything at once"),
        ] {
            let mut found = Problems::default();
            mirror.check_as_azure(&split, &mut found);
            let got = found
                .into_result(crate::error::Code::Traffic, "traffic")
                .map_or_else(|error| error.problems.len(), |()| 0);
            assert_eq!(got, refused, "{why}");
        }
    }

    #[test]
    fn a_split_totals_zero_or_a_hundred() {
        let name = |text| DeploymentName::new(text).expect("a valid name");
        for (shares, problems, why) in [
            (vec![("blue", 90), ("green", 10)], 0, "the canonical split"),
            (vec![], 0, "no traffic at all"),
            (vec![("blue", 0)], 0, "zero means absent"),
            (vec![("blue", 90)], 1, "ninety is neither"),
            (vec![("blue", 50), ("red", 50)], 1, "red is not there"),
            (vec![("blue", 101)], 2, "too large, and the total is wrong"),
            (vec![("blue", u32::MAX), ("green", 101)], 3, "no overflow"),
        ] {
            let traffic: Traffic = shares.into_iter().map(|(text, percent)| (name(text), percent)).collect();
            let mut found = Problems::default();
            traffic.check_split(|deployment| ["blue", "green"].contains(&deployment.as_str()), &mut found);
            let got = found
                .into_result(crate::error::Code::Traffic, "traffic")
                .map_or_else(|error| error.problems.len(), |()| 0);
            assert_eq!(got, problems, "{why}");
        }
    }
}
