//! When a deployment that nobody serves is expected to answer, and what that means for who was refused.
//!
//! A caller that is told to come back in a second while a model takes a minute to load asks sixty times in vain, and so
//! does everybody else. The members know what is starting and how long it took last time, and say so with each sign of life
//! of the table; it is a guess, so it is no part of the table and nothing is decided by it.

use crate::{
    model::{Deployment, DeploymentKey, Replica, ReplicaState},
    state::ClusterState,
    time::{Instant, LogTime, Millis},
};

/// Deployments told of in one sign of life. Of more than these a fleet is starting as a whole, and the first to come are
/// the ones whose callers have something to gain.
pub const EXPECTED_MAX: usize = 256;

/// The shortest time a caller is told: from its first answer on, a replica waits for the routers to know of it.
const SOONEST: Millis = Millis(250);

/// The shortest where nothing is known: it may be a matter of moments.
const UNKNOWN: Millis = Millis(1_000);

/// The longest: later much may have changed.
const LATEST: Millis = Millis(60_000);

/// A deployment that nobody serves, and when somebody may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// From now on.
    pub within: Millis,
    /// Which deployment.
    pub key: DeploymentKey,
}

// === impl Expected ===

impl Expected {
    /// Lists the deployments that nobody serves although somebody is on the way, the first to come first.
    pub fn of(state: &ClusterState, now: LogTime) -> Vec<Self> {
        let wanted = state.deployments.values().filter(|deployment| deployment.desired() > 0);
        let expected = wanted.filter_map(|deployment| {
            let within = within(deployment, state.replicas_of(&deployment.key), now)?;
            Some(Self { within, key: deployment.key.clone() })
        });
        let mut all: Vec<_> = expected.collect();
        all.sort();
        all.truncate(EXPECTED_MAX);
        all
    }
}

/// Returns when the first replica of a deployment may serve; nothing when one does, or none is on the way.
fn within<'a>(deployment: &Deployment, replicas: impl Iterator<Item = &'a Replica>, now: LogTime) -> Option<Millis> {
    let mut first = None;
    for replica in replicas.filter(|replica| !replica.lost) {
        let left = match replica.state {
            ReplicaState::Serving => return None,
            ReplicaState::Warm => Millis(0),
            ReplicaState::Placed | ReplicaState::Preparing | ReplicaState::Starting => {
                left(deployment.started_in, replica, now)
            }
            ReplicaState::Draining | ReplicaState::Stopped | ReplicaState::Failed => continue,
        };
        first = Some(first.map_or(left, |first: Millis| first.min(left)));
    }
    let again = deployment.retry_at.since(now);
    first.or((again > Millis(0)).then(|| sum(again, deployment.started_in)))
}

/// Returns how long a start still takes.
fn left(usual: Option<Millis>, replica: &Replica, now: LogTime) -> Millis {
    let pause = replica.retry_at.since(now);
    if pause > Millis(0) {
        return sum(pause, usual);
    }
    // One that was started again has its files; when that began is when it entered its state.
    let began = if replica.restarts == 0 { replica.placed_at } else { replica.since };
    let spent = now.since(began);
    match usual {
        Some(usual) if spent < usual => Millis(usual.0 - spent.0),
        // Late, or never measured: as long again as that.
        Some(usual) => Millis(spent.0 - usual.0),
        None => spent,
    }
}

fn sum(pause: Millis, start: Option<Millis>) -> Millis {
    Millis(pause.0.saturating_add(start.unwrap_or_default().0))
}

/// Returns when a caller should try again that nobody could take. `expected` is when somebody is expected, `since` when the
/// first caller was refused of those that nobody could take.
pub fn retry_after(expected: Option<Instant>, since: Instant, now: Instant) -> Millis {
    match expected {
        Some(at) if at >= now => at.since(now).clamp(SOONEST, LATEST),
        // Late: as long again as it is late.
        Some(at) => now.since(at).clamp(SOONEST, LATEST),
        // Nothing is known: as long again as it has lasted.
        None => now.since(since).clamp(UNKNOWN, LATEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_expected_decides_and_else_how_long_nobody_was_there() {
        let at = Instant::from_millis;
        for (expected, since, now, wait, why) in [
            (Some(40_000), 10_000, 12_000, 28_000, "what is left of the start"),
            (Some(12_000), 10_000, 12_000, 250, "any moment"),
            (Some(12_000), 10_000, 15_000, 3_000, "three seconds late: as long again"),
            (Some(900_000), 10_000, 12_000, 60_000, "never longer than a minute"),
            (Some(12_000), 10_000, 900_000, 60_000, "late for long"),
            (None, 10_000, 10_000, 1_000, "it has only begun"),
            (None, 10_000, 17_000, 7_000, "as long again as it has lasted"),
            (None, 10_000, 900_000, 60_000, "it lasts"),
        ] {
            assert_eq!(retry_after(expected.map(at), at(since), at(now)), Millis(wait), "{why}");
        }
    }
}
