//! What endpoints with rules answered in the last minute, summed over the ingresses of all nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    model::{DeploymentName, EndpointName},
    time::{Instant, Millis},
    traffic::durations::{BUCKETS, quantile_between_us},
};

/// Time that one sum stands for. Nodes speak once a second.
const SLOT: Millis = Millis::from_secs(5);

/// The longest look back.
pub(super) const WINDOW_MAX: Millis = Millis::from_secs(60);

/// The shortest: two slots, or a single heartbeat that comes late would look like silence.
pub(super) const WINDOW_MIN: Millis = Millis::from_secs(10);

/// Sums kept: the longest look back, and the one that grows.
const SLOTS_MAX: usize = (WINDOW_MAX.0 / SLOT.0) as usize + 1;

/// Deployments that are counted, whoever names how many: some twenty megabytes.
const COUNTED_MAX: usize = 5_000;

/// What an ingress answered since it said so last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Requests that were answered.
    pub requests: u64,
    /// Those whose failure the caller could not have prevented.
    pub failed: u64,
    /// Those that were refused because there was too much to do.
    pub shed: u64,
    /// How many took how long.
    pub took: [u64; BUCKETS],
}

/// What endpoints with rules answered lately.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    watched: BTreeSet<EndpointName>,
    of: BTreeMap<(EndpointName, Option<DeploymentName>), VecDeque<Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Its place in time.
    number: u64,
    sum: Sample,
}

// === impl Sample ===

impl Default for Sample {
    fn default() -> Self {
        Self { requests: 0, failed: 0, shed: 0, took: [0; BUCKETS] }
    }
}

impl Sample {
    fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.failed = self.failed.saturating_add(more.failed);
        self.shed = self.shed.saturating_add(more.shed);
        for (sum, more) in self.took.iter_mut().zip(more.took) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Returns a share of the requests in millionths.
    pub(super) fn ppm(&self, part: u64) -> Option<u64> {
        let share = u128::from(part.min(self.requests)) * 1_000_000;
        u64::try_from(share.checked_div(u128::from(self.requests))?).ok()
    }

    /// Returns what this share of the requests took at most.
    pub(super) fn quantile_us(&self, permille: u64) -> Option<u64> {
        self.took.iter().any(|count| *count > 0).then(|| quantile_between_us(&self.took, permille))
    }
}

// === impl Tallies ===

impl Tallies {
    /// Counts these endpoints from now on and no others.
    pub(super) fn watch(&mut self, endpoints: BTreeSet<EndpointName>) {
        if self.watched != endpoints {
            self.of.retain(|(endpoint, _), _| endpoints.contains(endpoint));
            self.watched = endpoints;
        }
    }

    /// Returns whether an endpoint is counted.
    pub fn watches(&self, endpoint: &str) -> bool {
        self.watched.contains(endpoint)
    }

    /// Adds what a node said.
    pub fn add(&mut self, now: Instant, endpoint: &EndpointName, deployment: Option<&DeploymentName>, more: &Sample) {
        let key = (endpoint.clone(), deployment.cloned());
        if !self.watched.contains(endpoint) || (self.of.len() >= COUNTED_MAX && !self.of.contains_key(&key)) {
            return;
        }
        let number = number(now);
        let slots = self.of.entry(key).or_default();
        if slots.back().is_none_or(|newest| newest.number < number) {
            slots.push_back(Slot { number, sum: Sample::default() });
        }
        while slots.len() > SLOTS_MAX {
            slots.pop_front();
        }
        if let Some(newest) = slots.back_mut() {
            newest.sum.add(more);
        }
    }

    /// Adds up what an endpoint, or one deployment of it, answered within a window that ends now.
    pub(super) fn within(
        &self,
        now: Instant,
        window: Millis,
        endpoint: &EndpointName,
        deployment: Option<&DeploymentName>,
    ) -> Sample {
        let slots = window.0.div_ceil(SLOT.0);
        let oldest = number(now).saturating_sub(slots.saturating_sub(1));
        let from = (endpoint.clone(), None);
        let mut sum = Sample::default();
        let all = self.of.range(from..).take_while(|((of, _), _)| of == endpoint);
        for ((_, of), slots) in all {
            if deployment.is_none() || of.as_ref() == deployment {
                slots.iter().filter(|slot| slot.number >= oldest).for_each(|slot| sum.add(&slot.sum));
            }
        }
        sum
    }
}

fn number(now: Instant) -> u64 {
    now.millis() / SLOT.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str) -> EndpointName {
        EndpointName::new(name).expect("a name")
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    #[test]
    fn a_window_holds_what_was_said_within_it() {
        let (fraud, other) = (endpoint("fraud"), endpoint("fraud-two"));
        let (blue, green) =
            (DeploymentName::new("blue").expect("a name"), DeploymentName::new("green").expect("a name"));
        let mut tallies = Tallies::default();
        let said = |requests, failed| Sample { requests, failed, ..Sample::default() };
        tallies.add(at(1), &fraud, Some(&blue), &said(100, 1));
        tallies.watch([fraud.clone(), other.clone()].into());
        for secs in 0..=59 {
            tallies.add(at(secs), &fraud, Some(&blue), &said(10, 1));
        }
        tallies.add(at(59), &fraud, Some(&green), &said(5, 5));
        tallies.add(at(59), &fraud, None, &said(2, 2));
        tallies.add(at(59), &other, Some(&blue), &said(7, 7));
        for (now, window, deployment, requests, failed, why) in [
            (59, 60, Some(&blue), 600, 60, "what came before it was watched does not count"),
            (59, 60, None, 607, 67, "all deployments and what was refused before one was chosen"),
            (59, 10, Some(&blue), 100, 10, "the newest two slots"),
            (59, 60, Some(&green), 5, 5, "one deployment alone"),
            (90, 60, Some(&blue), 250, 25, "the older half of it has gone"),
            (200, 60, None, 0, 0, "all of it has"),
        ] {
            let sum = tallies.within(at(now), Millis::from_secs(window), &fraud, deployment);
            assert_eq!((sum.requests, sum.failed), (requests, failed), "{why}");
        }
        tallies.watch([other.clone()].into());
        assert_eq!(tallies.within(at(59), WINDOW_MAX, &fraud, None), Sample::default(), "nobody asks for it any more");
        assert_eq!(tallies.within(at(59), WINDOW_MAX, &other, None).requests, 7);
    }

    #[test]
    fn nothing_grows_for_ever() {
        let fraud = endpoint("fraud");
        let mut tallies = Tallies::default();
        tallies.watch([fraud.clone()].into());
        let one = Sample { requests: 1, ..Sample::default() };
        for secs in 0..1_000 {
            tallies.add(at(secs), &fraud, None, &one);
        }
        assert!(tallies.of.values().all(|slots| slots.len() <= SLOTS_MAX));
        for number in 0..COUNTED_MAX + 10 {
            let name = DeploymentName::new(&format!("d{number:05}")).expect("a name");
            tallies.add(at(1_000), &fraud, Some(&name), &one);
        }
        assert_eq!(tallies.of.len(), COUNTED_MAX);
    }
}
