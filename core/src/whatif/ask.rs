//! Asking: settle what is under way, change, settle again, and tell the difference.

use std::collections::BTreeMap;

use super::{
    Bounds, Change, Counts, DeploymentOutcome, DrainOutcome, EndpointOutcome, Fate, NodeTotals, Outcome, Rehearsal,
};
use crate::{
    error::Error,
    model::{DeploymentKey, EndpointName, NodeName},
    schedule::Verdict,
    state::{ClusterState, yielded_text},
};

/// What is asked. Each stage comes to rest before the next begins; the changes of one stage happen at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// What is done on purpose: put, scale, spike, add.
    pub first: Vec<Change>,
    /// What then befalls the cluster: drain, lose.
    pub then: Vec<Change>,
}

/// How one deployment fares on the way.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    before: Counts,
    promised: u64,
    lowest: u64,
    below_from: Option<u32>,
    below_rounds: u32,
    is_below: bool,
}

/// Everything that is watched on the way.
struct Watch {
    tracks: BTreeMap<DeploymentKey, Track>,
    drains: Vec<(NodeName, Option<u32>)>,
}

/// Asks what would happen to a state. The answer begins where the cluster rests: what is under way is finished first.
pub fn ask(state: &ClusterState, question: &Question, bounds: Bounds) -> Result<Outcome, Error> {
    let mut rehearsal = Rehearsal::of(state, bounds);
    rehearsal.settle(|_, _| ())?;
    let was_moving = rehearsal.round() > 0;
    rehearsal.start_anew();
    let before = NodeTotals::of(rehearsal.state());
    let mut watch = Watch::of(rehearsal.state(), question);
    for stage in [&question.first, &question.then] {
        if stage.is_empty() {
            continue;
        }
        rehearsal.change(stage)?;
        watch.promise(rehearsal.state());
        watch.look(rehearsal.round(), rehearsal.state());
        rehearsal.settle(|round, state| watch.look(round, state))?;
    }
    let mut outcome = watch.into_outcome(&rehearsal);
    outcome.before = before;
    if was_moving {
        outcome.notes.insert(0, "the cluster is moving; this is asked of it once it has come to rest".to_owned());
    }
    Ok(outcome)
}

// === impl Question ===

impl Question {
    /// Sorts changes into the stage they belong to.
    pub fn of(changes: impl IntoIterator<Item = Change>) -> Self {
        let is_blow = |change: &Change| matches!(change, Change::Drain(_) | Change::Lose(_));
        let (then, first) = changes.into_iter().partition(is_blow);
        Self { first, then }
    }
}

// === impl Watch ===

impl Watch {
    fn of(state: &ClusterState, question: &Question) -> Self {
        let track = |key: &DeploymentKey| Track { before: Counts::of(state, key), ..Track::default() };
        let drains = question.first.iter().chain(&question.then).filter_map(|change| match change {
            Change::Drain(node) => Some((node.clone(), None)),
            _ => None,
        });
        Self {
            tracks: state.deployments.keys().map(|key| (key.clone(), track(key))).collect(),
            drains: drains.collect(),
        }
    }

    /// Notes what is promised from here on: what a deployment had, or what it asks for now if that is less.
    fn promise(&mut self, state: &ClusterState) {
        for (key, deployment) in &state.deployments {
            let track = self.tracks.entry(key.clone()).or_default();
            track.promised = track.before.ready.min(deployment.desired());
            track.lowest = if track.below_from.is_some() { track.lowest } else { u64::MAX };
        }
    }

    fn look(&mut self, round: u32, state: &ClusterState) {
        for (key, track) in &mut self.tracks {
            let ready = state.replicas_of(key).filter(|replica| replica.is_ready()).count() as u64;
            track.lowest = track.lowest.min(ready);
            track.is_below = ready < track.promised;
            if track.is_below {
                track.below_from.get_or_insert(round);
                track.below_rounds += 1;
            }
        }
        for (name, empty_in) in &mut self.drains {
            let is_empty = state.node_named(name).is_ok_and(|node| state.replicas_on(node.id).next().is_none());
            match is_empty {
                true => *empty_in = Some(empty_in.unwrap_or(round)),
                false => *empty_in = None,
            }
        }
    }

    fn into_outcome(self, rehearsal: &Rehearsal) -> Outcome {
        let state = rehearsal.state();
        let mut deployments: Vec<_> = self.tracks.iter().map(|(key, track)| track.outcome(key, state)).collect();
        for step in rehearsal.steps() {
            if let Some(spent) = &step.reserve_spent
                && let Some(outcome) = deployments.iter_mut().find(|outcome| outcome.key == step.key)
            {
                outcome.reserve_spent.push(spent.clone());
            }
        }
        let endpoints = state.endpoints.keys().map(|name| EndpointOutcome::of(name, &deployments)).collect();
        let drains = self.drains.into_iter().map(|(node, empty_in)| {
            let left = state.node_named(&node).map_or(0, |it| state.replicas_on(it.id).count() as u64);
            DrainOutcome { node, empty_in, left }
        });
        Outcome {
            deployments,
            endpoints,
            drains: drains.collect(),
            before: NodeTotals::default(),
            after: NodeTotals::of(state),
            rounds: rehearsal.round(),
            steps: rehearsal.steps().to_vec(),
            steps_dropped: rehearsal.steps_dropped(),
            notes: rehearsal.notes().to_vec(),
        }
    }
}

// === impl Track ===

impl Track {
    fn outcome(&self, key: &DeploymentKey, state: &ClusterState) -> DeploymentOutcome {
        let after = Counts::of(state, key);
        let traffic = state.endpoints.get(&key.endpoint).map_or(0, |it| it.traffic.percent(&key.deployment));
        let exists = state.deployments.contains_key(key);
        let fate = self.fate(after, traffic, exists);
        let needs_reason = matches!(fate, Fate::Short | Fate::WasShort | Fate::Stuck);
        DeploymentOutcome {
            key: key.clone(),
            traffic_percent: traffic,
            before: self.before,
            after,
            lowest_ready: self.lowest.min(self.before.ready),
            promised: self.promised,
            below_from: self.below_from,
            below_rounds: if self.is_below { None } else { Some(self.below_rounds) },
            fate,
            reserve_spent: Vec::new(),
            yielded: match state.deployments.get(key) {
                Some(deployment) if deployment.yielded() > 0 => yielded_text(deployment),
                _ => String::new(),
            },
            verdict: Verdict::of(state, key).ok().filter(|_| needs_reason),
        }
    }

    fn fate(&self, after: Counts, traffic_percent: u32, exists: bool) -> Fate {
        let was_short = self.before.ready < self.before.wanted;
        // Whatever is there in the end: who calls meanwhile is answered by nobody.
        let is_down = self.promised > 0 && self.lowest == 0 && traffic_percent > 0;
        match after {
            _ if !exists => Fate::Gone,
            _ if after.ready < after.wanted => {
                let is_worse = after.ready < self.before.ready || after.wanted > self.before.wanted;
                let keeps_minimum = after.minimum < after.wanted && after.ready >= after.minimum.max(1);
                match was_short && !is_worse {
                    was if is_down && (was || keeps_minimum) => Fate::Down,
                    true => Fate::WasShort,
                    false if keeps_minimum => Fate::Fewer,
                    false => Fate::Short,
                }
            }
            _ if is_down => Fate::Down,
            _ if after.updated < after.wanted => Fate::Stuck,
            _ if self.below_from.is_some() => Fate::Dipped,
            _ => Fate::Kept,
        }
    }
}

// === impl EndpointOutcome ===

impl EndpointOutcome {
    fn of(name: &EndpointName, deployments: &[DeploymentOutcome]) -> Self {
        let lost = deployments.iter().filter(|it| it.key.endpoint == *name && !it.fate.keeps());
        let why: Vec<_> = lost.map(DeploymentOutcome::why).collect();
        Self { name: name.clone(), keeps: why.is_empty(), why: why.join("; ") }
    }
}

// === impl DeploymentOutcome ===

impl DeploymentOutcome {
    /// Says in a sentence what becomes of it.
    pub fn why(&self) -> String {
        let Self { key, after, .. } = self;
        match self.fate {
            Fate::Kept => format!("{key} never has fewer than {}", self.promised),
            Fate::Dipped => {
                format!("{key} has {} of {} until others serve", self.lowest_ready, self.promised)
            }
            Fate::Down => format!("nobody serves {key} until another replica has started"),
            Fate::WasShort => format!("{key} had {} of {} before", self.before.ready, self.before.wanted),
            Fate::Stuck => format!("{key} goes on as it is: what should take over fits nowhere"),
            Fate::Fewer => {
                let why = if self.yielded.is_empty() { String::new() } else { format!("{}; ", self.yielded) };
                format!("{key} {why}keeps {} of {}, {} promised", after.ready, after.wanted, after.minimum)
            }
            Fate::Short => format!("{key} ends with {} of {}", after.ready, after.wanted),
            Fate::Gone => format!("{key} is deleted"),
        }
    }
}
