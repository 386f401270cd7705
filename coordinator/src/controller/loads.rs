//! What every deployment answered lately, summed over the ingresses of all nodes.
//!
//! For screens, not for bills: it is lost with the leadership, and what a node says counts when it is heard, not when it
//! happened. A point stands for two seconds, the last two minutes are kept.

use std::collections::{BTreeMap, VecDeque};

use berth_core::{
    time::LogTime,
    traffic::durations::{BUCKETS, quantile_us},
};
use berth_proto::{
    api::v1::{DeploymentLoad, LoadPoint},
    node::v1::Served,
};

/// Time that a point stands for. Nodes speak once a second: every point hears each of them.
pub(crate) const POINT_MS: u32 = 2_000;

/// Points of one deployment.
const POINTS_MAX: usize = 60;

/// Deployments that are counted. A fleet with more has other means of looking; the bound keeps a lying node from filling
/// the leader's memory.
const COUNTED_MAX: usize = 20_000;

/// What every deployment answered lately.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    of: BTreeMap<(String, String), Line>,
}

/// The points of one deployment.
#[derive(Debug)]
struct Line {
    points: VecDeque<LoadPoint>,
    /// Durations of the newest point, which still grows.
    took: [u64; BUCKETS],
}

// === impl Loads ===

impl Loads {
    /// Returns the number of the newest point there can be.
    pub(crate) fn newest(now: LogTime) -> u64 {
        now.millis() / u64::from(POINT_MS)
    }

    /// Adds what a node said.
    pub(crate) fn add(&mut self, now: LogTime, served: &Served) {
        let number = Self::newest(now);
        let key = (served.endpoint.clone(), served.deployment.clone());
        if !self.of.contains_key(&key) && self.of.len() >= COUNTED_MAX {
            self.forget(number);
            if self.of.len() >= COUNTED_MAX {
                return;
            }
        }
        self.of.entry(key).or_insert_with(Line::new).add(number, served);
    }

    /// Lists the points from number `from` on; deployments without any are left out.
    pub(crate) fn since(&mut self, now: LogTime, from: u64) -> Vec<DeploymentLoad> {
        self.forget(Self::newest(now));
        let load = |((endpoint, deployment), line): (&(String, String), &Line)| {
            let points: Vec<_> = line.points.iter().filter(|point| point.number >= from).copied().collect();
            let load = DeploymentLoad { endpoint: endpoint.clone(), deployment: deployment.clone(), points };
            (!load.points.is_empty()).then_some(load)
        };
        self.of.iter().filter_map(load).collect()
    }

    /// Forgets what is older than what is kept.
    fn forget(&mut self, newest: u64) {
        let oldest = newest.saturating_sub(POINTS_MAX as u64);
        self.of.retain(|_, line| line.points.back().is_some_and(|point| point.number > oldest));
    }
}

// === impl Line ===

impl Line {
    fn new() -> Self {
        Self { points: VecDeque::new(), took: [0; BUCKETS] }
    }

    fn add(&mut self, number: u64, served: &Served) {
        // A clock that stepped back adds to the newest point: numbers never fall.
        if self.points.back().is_none_or(|newest| newest.number < number) {
            self.points.push_back(LoadPoint { number, ..LoadPoint::default() });
            self.took = [0; BUCKETS];
            while self.points.front().is_some_and(|oldest| oldest.number + (POINTS_MAX as u64) <= number) {
                self.points.pop_front();
            }
        }
        let Some(point) = self.points.back_mut() else { return };
        point.requests = point.requests.saturating_add(served.requests);
        point.failed = point.failed.saturating_add(served.failed);
        for (sum, more) in self.took.iter_mut().zip(&served.took) {
            *sum = sum.saturating_add(*more);
        }
        point.p50_us = quantile_us(&self.took, 500);
        point.p95_us = quantile_us(&self.took, 950);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(deployment: &str, requests: u64, bucket: usize) -> Served {
        let mut took = vec![0; bucket + 1];
        took[bucket] = requests;
        Served { endpoint: "fraud".into(), deployment: deployment.into(), requests, failed: 1, shed: 0, took }
    }

    #[test]
    fn what_nodes_say_within_a_point_adds_up() {
        let mut loads = Loads::default();
        let at = LogTime::from_millis;
        loads.add(at(10_000), &served("blue", 90, 0));
        loads.add(at(11_999), &served("blue", 10, 4));
        loads.add(at(12_000), &served("blue", 3, 4));
        loads.add(at(9_000), &served("blue", 1, 4));
        let told = loads.since(at(12_000), 0);
        let point = |number, requests, failed, p50_us, p95_us| LoadPoint { number, requests, failed, p50_us, p95_us };
        assert_eq!(told[0].points, [point(5, 100, 2, 256, 1_024), point(6, 4, 2, 1_024, 1_024)]);
        assert_eq!(loads.since(at(12_000), 6)[0].points.len(), 1, "only what is new or still grows");
        assert_eq!(loads.since(at(12_000), 7), []);
    }

    #[test]
    fn what_is_old_is_forgotten_and_nothing_grows_for_ever() {
        let mut loads = Loads::default();
        let step = u64::from(POINT_MS);
        for number in 0..200 {
            loads.add(LogTime::from_millis(number * step), &served("blue", 1, 0));
        }
        let told = loads.since(LogTime::from_millis(199 * step), 0);
        assert_eq!((told[0].points.len(), told[0].points[0].number), (POINTS_MAX, 140));
        assert_eq!(loads.since(LogTime::from_millis(260 * step), 0), []);
        for number in 0..COUNTED_MAX + 10 {
            loads.add(LogTime::from_millis(300 * step), &served(&format!("d{number}"), 1, 0));
        }
        assert_eq!(loads.of.len(), COUNTED_MAX);
        loads.add(LogTime::from_millis(400 * step), &served("late", 1, 0));
        assert_eq!(loads.of.len(), 1, "what is old makes room");
    }
}
