//! Traffic: which share of an endpoint's requests each deployment gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DeploymentName;
use crate::error::Problems;

/// The largest share that Azure mirrors.
const AZURE_MIRROR_MAX: u32 = 50;

/// The share that a deployment gets first of callers that another one has: enough to see errors, few enough to bear them.
const FIRST_SHARE: u32 = 10;

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

    /// Returns the split in which `newcomer` gets its first share: all of it where nobody has any, else a tenth from
    /// whoever has most.
    #[must_use]
    pub fn with_first_share(&self, newcomer: &DeploymentName) -> Self {
        let mut split = self.clone().normalised();
        let rest = split.0.iter_mut().filter(|(name, _)| *name != newcomer);
        let Some((_, most)) = rest.max_by_key(|(_, percent)| **percent) else {
            return Self::all_to(newcomer.clone());
        };
        let share = FIRST_SHARE.min(*most);
        *most -= share;
        *split.0.entry(newcomer.clone()).or_default() += share;
        split.normalised()
    }

    /// Returns who could have all requests of an endpoint that gives them to nobody: the first deployment that serves,
    /// else the first there is. `deployments` says of each whether it serves.
    pub fn taker_of_all<'a>(&self, deployments: &[(&'a DeploymentName, bool)]) -> Option<&'a DeploymentName> {
        if self.total() > 0 {
            return None;
        }
        let serves = deployments.iter().find(|(_, serves)| *serves);
        serves.or(deployments.first()).map(|(name, _)| *name)
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

    fn shares(shares: &[(&str, u32)]) -> Traffic {
        shares.iter().map(|(text, percent)| (DeploymentName::new(text).expect("a valid name"), *percent)).collect()
    }

    #[test]
    fn a_newcomer_takes_all_from_nobody_and_a_little_from_somebody() {
        let newcomer = DeploymentName::new("red").expect("a valid name");
        for (before, after, why) in [
            (shares(&[]), shares(&[("red", 100)]), "nobody has any"),
            (shares(&[("blue", 0)]), shares(&[("red", 100)]), "zero means absent"),
            (shares(&[("blue", 100)]), shares(&[("blue", 90), ("red", 10)]), "callers of another are not taken away"),
            (
                shares(&[("blue", 70), ("pink", 30)]),
                shares(&[("blue", 60), ("pink", 30), ("red", 10)]),
                "from the most",
            ),
            (shares(&[("red", 100)]), shares(&[("red", 100)]), "it has all"),
        ] {
            let split = before.with_first_share(&newcomer);
            assert_eq!(split, after, "{why}");
            let mut found = Problems::default();
            split.check_split(|_| true, &mut found);
            assert!(found.into_result(crate::error::Code::Traffic, "traffic").is_ok(), "{why}");
        }
    }

    #[test]
    fn who_could_have_all_is_named_where_nobody_has_any() {
        let [blue, red] = ["blue", "red"].map(|text| DeploymentName::new(text).expect("a valid name"));
        for (split, deployments, taker, why) in [
            (shares(&[]), vec![(&blue, false), (&red, true)], Some(&red), "the one that serves"),
            (shares(&[]), vec![(&blue, false), (&red, false)], Some(&blue), "none serves yet"),
            (shares(&[("blue", 0)]), vec![(&blue, true)], Some(&blue), "zero means absent"),
            (shares(&[("red", 100)]), vec![(&blue, true), (&red, true)], None, "somebody has it"),
            (shares(&[]), vec![], None, "there is nobody"),
        ] {
            assert_eq!(split.taker_of_all(&deployments), taker, "{why}");
        }
    }

    #[test]
    fn azure_has_one_mirror_of_at_most_half_that_is_not_live() {
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
