//! Verdicts on mirrors as people and programs read them.

use std::collections::BTreeMap;

use berth_core::{
    model::{DeploymentKey, EndpointName},
    state::ClusterState,
    traffic::compare::{
        Kind, Missed, Unjudged,
        tally::{Basis, Latencies, Pair, Tally},
    },
};

use super::v1;
use crate::convert::wires;

/// Adds up what nodes said of an endpoint's mirrors. What they counted for an earlier generation or by other rules says
/// nothing about the mirrors there are, and is left out.
pub fn mirror_verdicts(
    state: &ClusterState,
    endpoint: &EndpointName,
    told: impl IntoIterator<Item = (Pair, Basis, Tally)>,
) -> Vec<v1::MirrorVerdict> {
    let generation = |name: &berth_core::model::DeploymentName| {
        let key = DeploymentKey::new(endpoint.clone(), name.clone());
        state.deployments.get(&key).map(|deployment| deployment.generation)
    };
    let rules = state.endpoints.get(endpoint).map(|endpoint| endpoint.spec.mirror_rules.fingerprint());
    let mut sums: BTreeMap<Pair, (Basis, Tally)> = BTreeMap::new();
    for (pair, basis, tally) in told {
        let now = (generation(&pair.mirror), generation(&pair.primary), rules);
        if now == (Some(basis.mirror), Some(basis.primary), Some(basis.rules)) {
            sums.entry(pair).or_insert_with(|| (basis, Tally::default())).1.add(tally);
        }
    }
    sums.into_iter().map(|(pair, (basis, tally))| verdict(&pair, basis, &tally)).collect()
}

fn verdict(pair: &Pair, basis: Basis, tally: &Tally) -> v1::MirrorVerdict {
    let judged = tally.judged();
    let percent = |of: u64| 100.0 * tally.matched as f64 / of as f64;
    v1::MirrorVerdict {
        mirror: pair.mirror.to_string(),
        primary: pair.primary.to_string(),
        mirror_generation: basis.mirror.0,
        primary_generation: basis.primary.0,
        since_ms: tally.since_ms,
        copies: tally.copies(),
        judged,
        matched: tally.matched,
        match_percent: Some(judged).filter(|judged| *judged > 0).map(percent),
        mismatched: counts(&tally.mismatched, Kind::word),
        unjudged: counts(&tally.unjudged, Unjudged::word),
        missed: counts(&tally.missed, Missed::word),
        primary_latency: latency(&tally.primary_took),
        mirror_latency: latency(&tally.mirror_took),
        mean_slower_us: tally.mean_slower_us(),
        worst: wires(&tally.worst),
    }
}

fn counts<K: Copy>(counts: &BTreeMap<K, u64>, word: fn(K) -> &'static str) -> BTreeMap<String, u64> {
    counts.iter().map(|(key, count)| (word(*key).to_owned(), *count)).collect()
}

fn latency(took: &Latencies) -> Option<v1::MirrorLatency> {
    let [p50_us, p90_us, p99_us] = [500, 900, 990].map(|permille| took.quantile_us(permille));
    Some(v1::MirrorLatency { p50_us: p50_us?, p90_us: p90_us?, p99_us: p99_us? })
}
