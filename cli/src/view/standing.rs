//! How a deployment stands that has everything it asks for: where it is, what its reserve covers, who calls it.
//!
//! Whoever asks why a deployment is as it is wants an answer also when nothing is wrong with it.

use std::collections::BTreeMap;

use berth_client::api::{Deployment, Replica, Reserve, Slot};
use berth_core::units::Count;

use super::{advice::first_share, text::short};

/// Nodes told with one line.
const NODES_SHOWN: usize = 12;

/// Says where the instances and the slots of a deployment are, and what that is good for.
pub(crate) fn lines(
    deployment: &Deployment,
    split: &BTreeMap<String, u32>,
    replicas: &[Replica],
    slots: &[Slot],
) -> Vec<String> {
    let mut lines = Vec::new();
    let serving = replicas.iter().filter(|replica| replica.state == "serving");
    lines.extend(places("serves on", serving.map(|replica| replica.node.as_str())));
    match &deployment.reserve {
        Some(reserve) => lines.extend(reserve_lines(reserve, replicas, slots)),
        None => lines.push("  reserve: none is held for it".to_owned()),
    }
    lines.push(match (deployment.traffic_percent, deployment.mirror_percent) {
        (0, 0) => {
            let way = first_share(&deployment.endpoint, split, &deployment.name);
            format!("  traffic: none; `{way}` gives it some")
        }
        (0, copies) => format!("  traffic: copies of {copies} %, nobody waits for its answers"),
        (live, 0) => format!("  traffic: {live} % of {}", deployment.endpoint),
        (live, copies) => format!("  traffic: {live} % of {}, and copies of {copies} %", deployment.endpoint),
    });
    lines
}

fn reserve_lines(reserve: &Reserve, replicas: &[Replica], slots: &[Slot]) -> Vec<String> {
    let mut lines = places(&format!("reserve: {} of {} held on", reserve.held, reserve.wanted), slots_on(slots));
    if lines.is_empty() {
        lines.push(format!("  reserve: {} of {} held", reserve.held, reserve.wanted));
    }
    lines.extend(risk(reserve, replicas, slots));
    lines
}

/// Says what of a reserve is away or missing, and which loss it does not cover.
pub(crate) fn risk(reserve: &Reserve, replicas: &[Replica], slots: &[Slot]) -> Vec<String> {
    let mut lines = Vec::new();
    if reserve.in_use > 0 {
        lines.push(format!("  reserve: {} in use, held again afterwards", Count(reserve.in_use, "place")));
    }
    if reserve.short_since_ms > 0 {
        lines.push(format!("  ReserveShort: {}", reserve.arithmetic));
    }
    if reserve.not_covered.is_empty() {
        lines.push("  any single node's loss fits in its reserve".to_owned());
    }
    for node in &reserve.not_covered {
        let lost = replicas.iter().filter(|replica| replica.node == *node && replica.state == "serving").count();
        let elsewhere = slots.iter().filter(|slot| slot.node != *node).count();
        lines.push(format!(
            "  the loss of {node} does not fit: {} there, {} elsewhere",
            Count(lost as u64, "instance"),
            Count(elsewhere as u64, "slot")
        ));
    }
    if !reserve.not_covered_try.is_empty() {
        lines.push(format!("    try: {}", reserve.not_covered_try));
    }
    lines
}

fn slots_on(slots: &[Slot]) -> impl Iterator<Item = &str> {
    slots.iter().map(|slot| slot.node.as_str())
}

/// Counts by node: `serves on node-1, node-2 ×3`.
fn places<'a>(what: &str, nodes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    nodes.for_each(|node| *counts.entry(node).or_default() += 1);
    if counts.is_empty() {
        return Vec::new();
    }
    let told =
        |(node, count): (&&str, &u64)| if *count == 1 { (*node).to_owned() } else { format!("{node} ×{count}") };
    let mut shown: Vec<_> = counts.iter().take(NODES_SHOWN).map(told).collect();
    if let more @ 1.. = counts.len().saturating_sub(NODES_SHOWN) {
        shown.push(Count(more as u64, "more node").to_string());
    }
    vec![format!("  {what} {}", shown.join(", "))]
}

/// Says in a line why a deployment has fewer replicas than it asks for, where no replica would show it.
pub(crate) fn missing(deployment: &Deployment, replicas: &[Replica]) -> Option<String> {
    let of = |replica: &&Replica| replica.endpoint == deployment.endpoint && replica.deployment == deployment.name;
    let there = |replica: &&Replica| !matches!(replica.state.as_str(), "lost" | "draining" | "stopped" | "failed");
    let count = replicas.iter().filter(of).filter(there).count() as u64;
    let missing = deployment.desired.saturating_sub(count);
    if missing == 0 {
        return None;
    }
    let name = format!("{}/{}", deployment.endpoint, deployment.name);
    let failed = match deployment.last_failed_replica.as_str() {
        "" => String::new(),
        replica => format!(" ({} failed on {})", short(replica), deployment.last_failed_node),
    };
    let state = &deployment.provisioning_state;
    Some(format!(
        "{name} is {state}: {missing} of {} not there{failed}; `berth explain {name}` says why",
        deployment.desired
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        let reserve = Reserve { wanted: 1, held: 1, ..Reserve::default() };
        Deployment {
            endpoint: "chat".into(),
            name: "blue".into(),
            provisioning_state: "Succeeded".into(),
            desired: 3,
            ready: 3,
            traffic_percent: 100,
            reserve: Some(reserve),
            ..Deployment::default()
        }
    }

    fn replica(node: &str, state: &str) -> Replica {
        let (endpoint, deployment) = ("chat".into(), "blue".into());
        Replica { endpoint, deployment, node: node.into(), state: state.into(), ..Replica::default() }
    }

    fn slot(node: &str) -> Slot {
        Slot { node: node.into(), ..Slot::default() }
    }

    #[test]
    fn what_is_well_says_where_it_is_and_what_it_survives() {
        let replicas = [replica("n1", "serving"), replica("n2", "serving"), replica("n2", "serving")];
        let whole = lines(&deployment(), &BTreeMap::new(), &replicas[..2], &[slot("n3")]);
        assert_eq!(
            whole,
            [
                "  serves on n1, n2",
                "  reserve: 1 of 1 held on n3",
                "  any single node's loss fits in its reserve",
                "  traffic: 100 % of chat",
            ]
        );
        let mut thin = deployment();
        let (not_covered, not_covered_try) = (vec!["n2".into()], "add a node".into());
        thin.reserve = Some(Reserve { not_covered, not_covered_try, ..thin.reserve.unwrap_or_default() });
        thin.traffic_percent = 0;
        assert_eq!(
            lines(&thin, &[("green".to_owned(), 100)].into(), &replicas, &[slot("n3")]),
            [
                "  serves on n1, n2 ×2",
                "  reserve: 1 of 1 held on n3",
                "  the loss of n2 does not fit: 2 instances there, 1 slot elsewhere",
                "    try: add a node",
                "  traffic: none; `berth traffic chat blue=10 green=90` gives it some",
            ]
        );
        let exempt = Deployment { reserve: None, traffic_percent: 0, mirror_percent: 5, ..deployment() };
        assert_eq!(
            lines(&exempt, &BTreeMap::new(), &[], &[]),
            ["  reserve: none is held for it", "  traffic: copies of 5 %, nobody waits for its answers",]
        );
    }

    #[test]
    fn what_is_missing_is_told_where_no_replica_shows_it() {
        let serving = [replica("n1", "serving"), replica("n2", "starting"), replica("n3", "lost")];
        let mut creating = Deployment { provisioning_state: "Creating".into(), ..deployment() };
        let told = missing(&creating, &serving);
        assert_eq!(
            told.as_deref(),
            Some("chat/blue is Creating: 1 of 3 not there; `berth explain chat/blue` says why")
        );
        creating.desired = 2;
        assert_eq!(missing(&creating, &serving), None);
        let failed = Deployment {
            provisioning_state: "Failed".into(),
            last_failed_replica: "0123456789abcdef".into(),
            last_failed_node: "n4".into(),
            ..deployment()
        };
        let told = missing(&failed, &[]).expect("all are missing");
        assert!(told.starts_with("chat/blue is Failed: 3 of 3 not there (01234567 failed on n4)"), "{told}");
    }
}
