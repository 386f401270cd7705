//! What-if and what then happens: the answer to *lose this node*, beside a world in which the node really dies.

use berth_core::{
    model::NodeName,
    whatif::{Bounds, Change, Counts, Fate, Question, ask},
};

use crate::{
    Options,
    action::{Action, Behaviour},
    event::Event,
    workload::endpoint_put,
    world::World,
};

/// Milliseconds in which a small cluster comes to rest when nothing goes wrong.
const REST_MS: u64 = 60_000;

fn world(seed: u64, nodes: usize, deployments: &[(&str, u32)]) -> World {
    let options = Options { seed, members: 3, nodes, faults: Some(false), ..Options::default() };
    let mut world = World::new(&options);
    for (at, (key, count)) in deployments.iter().enumerate() {
        let key: berth_core::model::DeploymentKey = key.parse().expect("a key");
        let at = 5_000 + 1_000 * at as u64;
        world.at(at, Event::Do(Action::Change(Box::new(endpoint_put(&key.endpoint)))));
        let deploy = Action::Deploy { key, count: *count, version: 0, behaviour: Behaviour::Good };
        world.at(at + 500, Event::Do(deploy));
    }
    world.run_until(REST_MS);
    world
}

/// Each row: nodes of four places, what runs, which node dies and how, whether everything fits on the others.
#[test]
fn what_is_foretold_comes_true() {
    let kill: fn(usize) -> Action = Action::KillNode;
    let unplug: fn(usize) -> Action = Action::KillHost;
    for (nodes, deployments, dies, how, fits, why) in [
        (4, &[("fraud/blue", 3), ("llm/main", 4)][..], 1, unplug, true, "seven of twelve places"),
        (4, &[("fraud/blue", 3), ("llm/main", 4)], 0, kill, true, "a host that answers is replaced as well"),
        (3, &[("fraud/blue", 5), ("llm/main", 6)], 2, unplug, false, "eleven of eight"),
        (3, &[("fraud/blue", 5), ("llm/main", 6)], 0, kill, false, "eleven of eight"),
        (2, &[("fraud/blue", 1)], 0, unplug, true, "one moves, or none has to"),
        (2, &[("fraud/blue", 4), ("llm/main", 4)], 1, unplug, false, "one node cannot hold both"),
    ] {
        for seed in 1..=3 {
            let mut world = world(seed, nodes, deployments);
            let name: NodeName = world.nodes[dies].profile.name.clone();
            let question = Question::of([Change::Lose(name)]);
            let told = ask(world.truth(), &question, Bounds::default()).expect("an answer");
            world.act(how(dies));
            let until = world.now + REST_MS;
            world.run_until(until);
            let truth = world.truth();
            for it in &told.deployments {
                assert_eq!(it.after, Counts::of(truth, &it.key), "{why}: seed {seed}, {}: {it:?}", it.key);
            }
            let is_short = told.deployments.iter().any(|it| it.fate == Fate::Short);
            assert_eq!(is_short, !fits, "{why}: seed {seed}: {told:?}");
            assert!(world.judge.found.is_empty(), "{:?}", world.judge.found);
        }
    }
}
