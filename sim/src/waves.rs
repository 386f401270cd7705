//! Waves: how long a rolling update of many instances takes beside the least it can take.
//!
//! With a reserve of a fifth, a fifth is on its way at any moment, so it takes at least five times what one instance
//! takes to start, warm up, take over and let the old one drain. On the virtual clock that ratio is the product's own: no
//! machine is too slow for it, and no neighbour takes its cores.

use berth_core::model::{DeploymentKey, ReplicaState, Traffic};

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
const LOOK_MS: u64 = 10;
/// The longest an update is waited for.
const PATIENCE_MS: u64 = 120_000;

/// Returns how long an update takes until the last old replica has let go, and the fewest that served meanwhile.
fn update(seed: u64, nodes: usize, instances: u32) -> (u64, usize) {
    let mut world = World::new(&Options { seed, members: 3, nodes, faults: Some(false), ..Options::default() });
    let key: DeploymentKey = "llm/blue".parse().expect("a key");
    let deploy = |version| Action::Deploy { key: key.clone(), count: instances, version, behaviour: Behaviour::Good };
    let split = Traffic::all_to(key.deployment.clone());
    world.at(1_000, Event::Do(Action::Change(Box::new(endpoint_put(&key.endpoint)))));
    world.at(1_500, Event::Do(deploy(1)));
    world.at(5_000, Event::Do(Action::Split { endpoint: key.endpoint.clone(), split }));
    world.at(6_000, Event::Do(Action::Load { endpoint: key.endpoint.clone(), gap_ms: 20, until_ms: PATIENCE_MS }));
    world.at(CHANGE_MS, Event::Do(deploy(2)));
    world.run_until(CHANGE_MS + 200);
    let mut ready_min = usize::MAX;
    while world.now < CHANGE_MS + PATIENCE_MS {
        let replicas: Vec<_> = world.truth().replicas_of(&key).collect();
        let ready = replicas.iter().filter(|replica| replica.is_ready()).count();
        ready_min = ready_min.min(ready);
        let is_new = |state: ReplicaState, generation: u64| generation == 2 && state == ReplicaState::Serving;
        if replicas.len() == instances as usize
            && replicas.iter().all(|replica| is_new(replica.state, replica.generation.0))
        {
            assert!(world.judge.found.is_empty(), "{:?}", world.judge.found);
            assert_eq!((world.tally.lost, world.tally.failed_by_fault), (0, 0), "no caller notices");
            return (world.now - CHANGE_MS, ready_min);
        }
        let next = world.now + LOOK_MS;
        world.run_until(next);
    }
    panic!("the update did not end: {:?}", world.judge.found);
}

/// Thirty nodes of four places: a hundred instances, their reserve of twenty, and not one place more.
#[test]
fn a_hundred_instances_roll_within_a_quarter_of_the_least_they_can_take() {
    const SINGLES: u64 = 20;
    let one: u64 = (1..=SINGLES).map(|seed| update(seed, 2, 1).0).sum::<u64>() / SINGLES;
    let (all, ready_min) = update(1, 30, 100);
    let percent = all * 100 / (one * 5);
    assert_eq!(ready_min, 100, "never fewer than promised");
    assert!(percent <= 125, "one takes {one} ms, all took {all} ms: {percent} % of the least");
    // A reserve of a fifth cannot do better than a fifth at once by much: processes start in 50 to 950 ms.
    assert!(percent >= 70, "one takes {one} ms, all took {all} ms: more than the reserve was on its way");
}
