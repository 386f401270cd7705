//! Waves: how long a rolling update of many instances takes beside the least it can take.
//!
//! While a hundred serve, whatever else is there has a place of the reserve: a replica that is fetched, started and warmed
//! up, or one that drains and ends. There are never more of those than the reserve has places. So the time that all of
//! them spend so, divided by the places, is less than the update takes, whoever plans it: (1 / 0.2) × (start + warm +
//! drain), with the times that this very run drew. It is a bound of this run and no average of others: the quotient cannot
//! be less than one. What is above one is the product's own, places that stand empty and steps that wait for each other, and
//! the last turn, in which not every place has somebody left. On the virtual clock no machine is too slow for it, and no
//! neighbour takes its cores.

use berth_core::model::{DeploymentKey, Replica, ReplicaState, Traffic};

use crate::{
    Options,
    action::{Action, Behaviour},
    event::Event,
    workload::endpoint_put,
    world::World,
};

/// When the update is asked for: everything is at rest by then.
const CHANGE_MS: u64 = 12_000;
/// Milliseconds between two looks.
const LOOK_MS: u64 = 2;
/// The longest an update is waited for.
const PATIENCE_MS: u64 = 120_000;

/// What became of an update.
#[derive(Debug)]
struct Update {
    /// Until the last old replica had let go of its last request.
    took_ms: u64,
    /// The fewest that served meanwhile.
    ready_min: usize,
    /// The most that were there and did not serve.
    busy_max: usize,
    /// What all of them together spent with starting, warming up, draining and ending.
    busy_ms: u64,
}

/// Returns whether a replica does what takes its time whoever plans it. One that is only placed, or warm and not offered
/// yet, waits for somebody.
fn is_busy(state: ReplicaState) -> bool {
    use ReplicaState::{Draining, Preparing, Starting, Stopped};
    matches!(state, Preparing | Starting | Draining | Stopped)
}

fn update(seed: u64, nodes: usize, instances: u32) -> Update {
    let mut world = World::new(&Options { seed, members: 3, nodes, faults: Some(false), ..Options::default() });
    let key: DeploymentKey = "llm/blue".parse().expect("a key");
    let deploy = |version| Action::Deploy { key: key.clone(), count: instances, version, behaviour: Behaviour::Good };
    let split = Traffic::all_to(key.deployment.clone());
    world.at(1_000, Event::Do(Action::Change(Box::new(endpoint_put(&key.endpoint)))));
    world.at(1_500, Event::Do(deploy(1)));
    world.at(5_000, Event::Do(Action::Split { endpoint: key.endpoint.clone(), split }));
    world.at(6_000, Event::Do(Action::Load { endpoint: key.endpoint.clone(), gap_ms: 20, until_ms: PATIENCE_MS }));
    world.at(CHANGE_MS, Event::Do(deploy(2)));
    world.run_until(CHANGE_MS);
    let mut update = Update { took_ms: 0, ready_min: usize::MAX, busy_max: 0, busy_ms: 0 };
    while world.now < CHANGE_MS + PATIENCE_MS {
        let next = world.now + LOOK_MS;
        world.run_until(next);
        let replicas: Vec<_> = world.truth().replicas_of(&key).collect();
        let ready = replicas.iter().filter(|replica| replica.is_ready()).count();
        let busy = replicas.iter().filter(|replica| is_busy(replica.state)).count();
        update.ready_min = update.ready_min.min(ready);
        update.busy_max = update.busy_max.max(busy);
        update.busy_ms += busy as u64 * LOOK_MS;
        let ended = replicas.iter().filter(|replica| replica.state == ReplicaState::Stopped).count();
        // A process that does not want to end holds its place, and nobody's requests.
        let is_over = |replica: &&Replica| match replica.generation.0 {
            1 => replica.state == ReplicaState::Stopped,
            _ => replica.is_ready(),
        };
        if replicas.len() - ended == instances as usize && replicas.iter().all(is_over) {
            assert!(world.judge.found.is_empty(), "{:?}", world.judge.found);
            assert_eq!((world.tally.lost, world.tally.failed_by_fault), (0, 0), "no caller notices");
            update.took_ms = world.now - CHANGE_MS;
            return update;
        }
    }
    panic!("the update did not end: {:?}", world.judge.found);
}

/// Thirty nodes of four places: a hundred instances, their reserve of twenty, and not one place more.
#[test]
fn a_hundred_instances_keep_their_reserve_busy_while_they_roll() {
    const RESERVE: u64 = 20;
    for seed in 1..=3 {
        let update = update(seed, 30, 100);
        assert_eq!(update.ready_min, 100, "seed {seed}: never fewer than promised: {update:?}");
        assert!(
            update.busy_max as u64 <= RESERVE,
            "seed {seed}: what does not serve has a place of the reserve: {update:?}"
        );
        let percent = update.took_ms * RESERVE * 100 / update.busy_ms;
        assert!((100..=145).contains(&percent), "seed {seed}: {percent} % of the least: {update:?}");
    }
}
