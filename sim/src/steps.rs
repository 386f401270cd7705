//! Step by step: a planned change is told once, and then again for each of its log entries, with something that happens
//! right after that entry. Whatever it is, the end is the same and no caller notices.

use berth_core::model::{DeploymentKey, Traffic};

use crate::{
    Options,
    action::{Action, Behaviour},
    event::Event,
    workload::endpoint_put,
    world::World,
};

/// When the change is asked for.
const CHANGE_MS: u64 = 8_000;
/// When it is over, whatever happened on the way: elections, a start, drains.
const OVER_MS: u64 = 40_000;
/// Instances that serve: their reserve is one.
const INSTANCES: u32 = 3;

fn key() -> DeploymentKey {
    "llm/blue".parse().expect("a key")
}

fn deploy(version: u32) -> Action {
    Action::Deploy { key: key(), count: INSTANCES, version, behaviour: Behaviour::Good }
}

/// Tells of a deployment under load and a change, with an act right after the entry at `after`.
fn tell(change: &Action, after: Option<(usize, Action)>) -> World {
    let mut world = World::new(&Options { seed: 1, members: 3, nodes: 3, ..Options::default() });
    let key = key();
    let split = Traffic::all_to(key.deployment.clone());
    world.at(1_000, Event::Do(Action::Change(Box::new(endpoint_put(&key.endpoint)))));
    world.at(1_200, Event::Do(deploy(1)));
    world.at(2_000, Event::Do(Action::Split { endpoint: key.endpoint.clone(), split }));
    world.at(5_000, Event::Do(Action::Load { endpoint: key.endpoint, gap_ms: 50, until_ms: OVER_MS - 6_000 }));
    world.at(CHANGE_MS, Event::Do(change.clone()));
    // A host that died is mended in time.
    world.at(CHANGE_MS + 12_000, Event::Do(Action::StartNode(0)));
    world.after_entry = after;
    world.run_until(OVER_MS);
    world
}

/// Insists that everything is as it should be after a change.
fn judge(world: &World, what: &str) {
    let (truth, key) = (world.truth(), key());
    assert!(world.judge.found.is_empty(), "{what}: {:?}", world.judge.found);
    assert_eq!(world.unrest(), [], "{what}");
    assert_eq!(truth.replicas_of(&key).filter(|it| it.is_ready()).count() as u32, INSTANCES, "{what}");
    assert_eq!(truth.slots_of(&key).count(), 1, "{what}: its reserve is whole");
}

/// Tells a change once for each of its entries, and returns how many there were.
fn at_every_step(change: &Action, act: impl Fn(usize) -> Action, planned: bool) -> usize {
    let whole = tell(change, None);
    judge(&whole, "undisturbed");
    let begins = whole.entries_before(CHANGE_MS);
    let ends = whole.log.entries.len();
    for entry in begins + 1..=ends {
        let world = tell(change, Some((entry, act(entry))));
        let what = format!("after entry {entry} of {begins}..{ends}");
        judge(&world, &what);
        if planned {
            let tally = world.tally;
            assert_eq!((tally.lost, tally.failed_by_fault, tally.shed), (0, 0, 0), "{what}: {tally:?}");
            assert!(tally.answered > 400, "{what}: {tally:?}");
        }
    }
    ends - begins
}

#[test]
fn a_leader_may_die_after_every_step_of_a_rolling_update() {
    let steps = at_every_step(&deploy(2), |_| Action::KillLeader(1_500), true);
    assert!(steps >= 20, "three replicas are placed, start, serve, drain and go: {steps}");
}

#[test]
fn a_rolling_update_may_be_rolled_back_from_every_step() {
    let steps = at_every_step(&deploy(2), |_| deploy(1), true);
    assert!(steps >= 20, "{steps}");
}

#[test]
fn a_leader_may_die_after_every_step_of_a_drain() {
    let drain = crate::workload::drain("n1", 30_000);
    let steps = at_every_step(&drain, |_| Action::KillLeader(1_500), true);
    assert!(steps >= 6, "{steps}");
}

#[test]
fn a_drain_may_be_cancelled_after_every_step() {
    let drain = crate::workload::drain("n1", 30_000);
    let steps = at_every_step(&drain, |_| crate::workload::cancel_drain("n1"), true);
    assert!(steps >= 6, "{steps}");
}

#[test]
fn a_leader_may_die_after_every_step_of_a_recovery() {
    let steps = at_every_step(&Action::KillHost(0), |_| Action::KillLeader(1_500), false);
    assert!(steps >= 6, "{steps}");
}

#[test]
fn an_agent_may_die_after_every_step_of_a_rolling_update() {
    let act = |entry: usize| Action::KillAndStart(entry % 3, 400);
    let steps = at_every_step(&deploy(2), act, false);
    assert!(steps >= 20, "{steps}");
}
