//! What this node's ingress answered since it last said so, for the leader's figures.
//!
//! The mesh counts for ever; a heartbeat carries what was added. At most [`TOGETHER_MAX`] deployments go with one
//! heartbeat, in the order of their names from where the last one ended, so that none is left out for long.

use std::{collections::BTreeMap, time::Duration};

use berth_core::model::{DeploymentName, EndpointName};
use berth_proto::node::v1::Served as Message;
use tokio::time::Instant;

use crate::mesh::{DeploymentCounters, MeshCounters};

/// Time between two counts: adding up the cores of every deployment is not for each heartbeat.
const PACE: Duration = Duration::from_secs(1);

/// Deployments in one heartbeat: some ten kilobytes at most.
const TOGETHER_MAX: usize = 64;

type Key = (EndpointName, Option<DeploymentName>);

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Served {
    said: BTreeMap<Key, DeploymentCounters>,
    /// The last one that was told, when there was no room for all.
    at: Option<Key>,
    counted: Option<Instant>,
}

// === impl Served ===

impl Served {
    /// Returns what was added since the last time, unless that was just now.
    pub(super) fn since(&mut self, now: Instant, counters: impl FnOnce() -> MeshCounters) -> Vec<Message> {
        if self.counted.is_some_and(|counted| now.saturating_duration_since(counted) < PACE) {
            return Vec::new();
        }
        self.counted = Some(now);
        self.added(counters().deployments)
    }

    fn added(&mut self, counters: BTreeMap<Key, DeploymentCounters>) -> Vec<Message> {
        self.said.retain(|key, _| counters.contains_key(key));
        let mut told = Vec::new();
        let (before, after): (Vec<_>, Vec<_>) =
            counters.into_iter().partition(|(key, _)| self.at.as_ref().is_some_and(|at| key <= at));
        self.at = None;
        for (key, counters) in after.into_iter().chain(before) {
            if told.len() == TOGETHER_MAX {
                break;
            }
            let said = self.said.entry(key.clone()).or_default();
            let Some(message) = message(&key, said, &counters) else { continue };
            *said = counters;
            told.push(message);
            if told.len() == TOGETHER_MAX {
                self.at = Some(key);
            }
        }
        told
    }
}

/// Returns what was added; nothing where nothing was.
fn message((endpoint, deployment): &Key, said: &DeploymentCounters, now: &DeploymentCounters) -> Option<Message> {
    let count = |counters: &DeploymentCounters, of: fn(u16) -> bool| {
        counters.answers.iter().filter(|(status, _)| of(**status)).map(|(_, count)| *count).sum::<u64>()
    };
    let before = count(said, |_| true);
    let requests = count(now, |_| true);
    if requests == before {
        return None;
    }
    // A deployment that went and came back counts from zero.
    let base = if requests < before { &DeploymentCounters::default() } else { said };
    let mut took: Vec<u64> =
        now.took.counts.iter().zip(base.took.counts).map(|(now, base)| now.saturating_sub(base)).collect();
    while took.pop_if(|count| *count == 0).is_some() {}
    Some(Message {
        endpoint: endpoint.to_string(),
        deployment: deployment.as_ref().map(ToString::to_string).unwrap_or_default(),
        requests: requests - count(base, |_| true),
        failed: count(now, is_failure).saturating_sub(count(base, is_failure)),
        took,
        shed: count(now, is_shed).saturating_sub(count(base, is_shed)),
    })
}

/// Returns whether an answer says that there was too much to do.
fn is_shed(status: u16) -> bool {
    status == 429
}

/// Returns whether an answer is one that the caller could not have prevented.
fn is_failure(status: u16) -> bool {
    matches!(status, 408 | 424 | 429 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(deployment: &str) -> Key {
        (EndpointName::new("fraud").expect("a name"), Some(DeploymentName::new(deployment).expect("a name")))
    }

    fn counted(answers: &[(u16, u64)]) -> DeploymentCounters {
        let mut counters = DeploymentCounters { answers: answers.iter().copied().collect(), ..Default::default() };
        counters.took.counts[3] = answers.iter().map(|(_, count)| count).sum();
        counters
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let mut served = Served::default();
        let told = served.added([(key("blue"), counted(&[(200, 5), (424, 1)]))].into());
        assert_eq!((told[0].requests, told[0].failed, told[0].took.as_slice()), (6, 1, &[0, 0, 0, 6][..]));
        assert_eq!(served.added([(key("blue"), counted(&[(200, 5), (424, 1)]))].into()), []);
        let told = served.added([(key("blue"), counted(&[(200, 7), (424, 1), (503, 2)]))].into());
        assert_eq!((told[0].requests, told[0].failed, told[0].took.as_slice()), (4, 2, &[0, 0, 0, 4][..]));
        let told = served.added([(key("blue"), counted(&[(200, 3)]))].into());
        assert_eq!((told[0].requests, told[0].failed), (3, 0), "it was made anew");
    }

    #[test]
    fn many_take_turns() {
        let mut served = Served::default();
        let all = |count| (0..100).map(|n| (key(&format!("d{n:03}")), counted(&[(200, count)]))).collect();
        let first = served.added(all(1));
        assert_eq!((first.len(), first[0].deployment.as_str()), (TOGETHER_MAX, "d000"));
        let second = served.added(all(2));
        assert_eq!((second.len(), second[0].deployment.as_str()), (TOGETHER_MAX, "d064"));
        assert_eq!(second[36].deployment, "d000", "it goes on from the beginning");
        let third: u64 = served.added(all(2)).iter().map(|told| told.requests).sum();
        let sum: u64 = first.iter().chain(&second).map(|told| told.requests).sum();
        assert_eq!(sum + third, 200, "every request is told once");
    }
}
