//! What a verb is about to end, and what to type next about traffic: the rules are `core`'s, the words are those of the verbs.

use std::collections::BTreeMap;

use berth_client::api::{Deployment, Endpoint, Replica};
use berth_core::{
    error::Problem,
    model::{DeploymentName, Traffic},
    units::Count,
};

use super::text::shares;

/// Returns the command that gives a deployment its first share of an endpoint's requests.
pub(crate) fn first_share(endpoint: &str, split: &BTreeMap<String, u32>, newcomer: &str) -> String {
    let after = match DeploymentName::new(newcomer) {
        Ok(name) => traffic(split).with_first_share(&name).0,
        // A newer coordinator may allow names that this program does not.
        Err(_) => return format!("berth traffic {endpoint} {newcomer}=PERCENT"),
    };
    let after = after.into_iter().map(|(name, percent)| (name.to_string(), percent)).collect();
    format!("berth traffic {endpoint} {}", shares(&after))
}

/// Says that an endpoint gives requests to nobody, and how it would.
pub(crate) fn without_traffic(endpoint: &Endpoint, deployments: &[Deployment]) -> Option<Problem> {
    let named = deployments.iter().filter(|it| it.endpoint == endpoint.name);
    let named: Vec<_> = named.filter_map(|it| Some((DeploymentName::new(&it.name).ok()?, it.ready > 0))).collect();
    let named: Vec<_> = named.iter().map(|(name, serves)| (name, *serves)).collect();
    let taker = traffic(&endpoint.traffic).taker_of_all(&named)?;
    Some(Problem {
        field: endpoint.name.clone(),
        what: "it gives requests to nobody; callers get 404".to_owned(),
        try_: first_share(&endpoint.name, &endpoint.traffic, taker.as_str()),
    })
}

/// Says what a deployment loses that is to have so many instances; nothing when it loses none.
pub(crate) fn on_scaling(deployment: &Deployment, instances: u64) -> Option<String> {
    let lost = lost_by_scaling(deployment, instances);
    (!lost.is_empty()).then(|| lost.join(", and "))
}

/// The same, each loss by itself.
pub(crate) fn lost_by_scaling(deployment: &Deployment, instances: u64) -> Vec<String> {
    let fewer = deployment.desired.saturating_sub(instances);
    if fewer == 0 {
        return Vec::new();
    }
    let name = format!("{}/{}", deployment.endpoint, deployment.name);
    let of = Count(deployment.desired, "instance");
    let mut lost = vec![format!("this stops {fewer} of {of} of {name}")];
    if let (0, percent @ 1..) = (instances, deployment.traffic_percent) {
        lost.push(format!("nobody answers its {percent} % of the requests to {}", deployment.endpoint));
    }
    lost
}

/// Says which replicas a drain ends.
pub(crate) fn on_draining<'a>(node: &str, replicas: impl Iterator<Item = &'a Replica>) -> String {
    let mut of = BTreeMap::<String, u64>::new();
    for replica in replicas {
        *of.entry(format!("{}/{}", replica.endpoint, replica.deployment)).or_default() += 1;
    }
    if of.is_empty() {
        return format!("nothing runs on {node}");
    }
    let of: Vec<_> = of.iter().map(|(name, count)| format!("{} of {name}", Count(*count, "replica"))).collect();
    format!("this moves off {node}: {}", of.join(", "))
}

fn traffic(split: &BTreeMap<String, u32>) -> Traffic {
    split.iter().filter_map(|(name, percent)| Some((DeploymentName::new(name).ok()?, *percent))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(&str, u32)]) -> BTreeMap<String, u32> {
        shares.iter().map(|(name, percent)| ((*name).to_owned(), *percent)).collect()
    }

    #[test]
    fn what_is_advised_can_be_typed() {
        for (before, typed) in [
            (split(&[]), "berth traffic digits blue=100"),
            (split(&[("green", 100)]), "berth traffic digits blue=10 green=90"),
        ] {
            assert_eq!(first_share("digits", &before, "blue"), typed);
        }
    }

    #[test]
    fn what_is_about_to_end_is_told() {
        let blue = |desired, traffic_percent| Deployment {
            endpoint: "digits".to_owned(),
            name: "blue".to_owned(),
            desired,
            traffic_percent,
            ..Default::default()
        };
        let none = "this stops 2 of 2 instances of digits/blue";
        for (deployment, instances, told) in [
            (blue(2, 100), 3, None),
            (blue(2, 100), 2, None),
            (blue(0, 100), 0, None),
            (blue(4, 100), 3, Some("this stops 1 of 4 instances of digits/blue".to_owned())),
            (blue(2, 0), 0, Some(none.to_owned())),
            (blue(2, 90), 0, Some(format!("{none}, and nobody answers its 90 % of the requests to digits"))),
        ] {
            assert_eq!(on_scaling(&deployment, instances), told);
        }
        let replica = |deployment: &str| Replica {
            endpoint: "digits".to_owned(),
            deployment: deployment.to_owned(),
            ..Default::default()
        };
        let here = [replica("blue"), replica("green"), replica("blue")];
        let told = "this moves off n1: 2 replicas of digits/blue, 1 replica of digits/green";
        assert_eq!(on_draining("n1", here.iter()), told);
        assert_eq!(on_draining("n1", [].iter()), "nothing runs on n1");
    }

    #[test]
    fn an_endpoint_that_nobody_answers_for_says_so() {
        let of = |endpoint: &str, name: &str, ready| Deployment {
            endpoint: endpoint.into(),
            name: name.into(),
            ready,
            ..Deployment::default()
        };
        let all = [of("other", "red", 1), of("digits", "blue", 0), of("digits", "green", 1)];
        let idle = Endpoint { name: "digits".into(), ..Endpoint::default() };
        let told = without_traffic(&idle, &all).expect("it gives requests to nobody");
        assert_eq!((told.field.as_str(), told.try_.as_str()), ("digits", "berth traffic digits green=100"));
        assert_eq!(without_traffic(&idle, &all[..1]), None, "there is nobody to give them to");
        let busy = Endpoint { traffic: split(&[("blue", 100)]), ..idle };
        assert_eq!(without_traffic(&busy, &all), None);
    }
}
