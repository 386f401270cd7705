//! Pre-emption: who makes room for whom, and that it ends.

use std::collections::BTreeSet;

use berth_core::{
    controller::explain,
    error::Code,
    id::ReplicaId,
    model::{DeploymentSpec, Device, GpuAsk, NodeProfile, NodeState, ReleaseCause, Replica, ReplicaState, Yielded},
    state::{Command, Observed, Plan, Reply, Step},
    time::{LogTime, Millis},
    units::Resources,
    whatif::{Bounds, Change, Fate, Question, TakenKind, ask},
};
use proptest::prelude::*;

use crate::kit::{Cluster, INSTANCE, NODE, key, profile, reserved, spec};

/// A deployment that may give up all but `minimum`.
fn yielding(count: u32, minimum: u32, priority: u32) -> DeploymentSpec {
    DeploymentSpec { min_instances: Some(minimum), priority, ..spec(count) }
}

fn important(count: u32, priority: u32) -> DeploymentSpec {
    DeploymentSpec { priority, ..spec(count) }
}

fn large(cpu: u64, spec: DeploymentSpec) -> DeploymentSpec {
    DeploymentSpec { resources: Resources { cpu_milli: cpu * 1_000, ..INSTANCE }, ..spec }
}

fn victims(steps: &[Step]) -> Vec<ReplicaId> {
    let victim = |step: &Step| match step {
        Step::Preempt { replica, .. } => Some(*replica),
        _ => None,
    };
    steps.iter().filter_map(victim).collect()
}

fn yielded(cluster: &Cluster, name: &str) -> Vec<(String, u32)> {
    let deployment = &cluster.state.deployments[&key(name)];
    deployment.yielded.iter().map(|Yielded { to, count }| (to.to_string(), *count)).collect()
}

fn try_steps(cluster: &mut Cluster, steps: Vec<Step>) -> Vec<Option<Code>> {
    let plan = Plan { term: cluster.state.term, based_on: cluster.state.applied, part: 0, parts: 1, steps };
    let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("a plan") };
    outcomes.into_iter().map(|outcome| outcome.err().map(|error| error.code)).collect()
}

/// Each row: the minimum of what fills the node, its priority, that of the newcomer, and how many make room.
#[test]
fn only_what_is_beyond_the_minimum_of_the_less_important_makes_room() {
    for (minimum, lower, higher, expected) in [
        (None, 50, 100, 0),
        (Some(4), 50, 100, 0),
        (Some(1), 50, 50, 0),
        (Some(1), 50, 59, 0),
        (Some(1), 50, 60, 2),
        (Some(1), 60, 50, 0),
        (Some(3), 50, 60, 1),
        (Some(0), 0, 10, 2),
    ] {
        let mut cluster = Cluster::of(1);
        cluster.deploy("batch/low", DeploymentSpec { min_instances: minimum, priority: lower, ..spec(4) });
        cluster.settle();
        assert_eq!(cluster.ready("batch/low"), 4, "the node is full");
        cluster.deploy("fraud/high", important(2, higher));
        cluster.settle();
        let row = format!("{minimum:?} {lower} {higher}");
        assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (4 - expected, expected), "{row}");
        let told = if expected == 0 { vec![] } else { vec![("fraud/high".to_owned(), expected as u32)] };
        assert_eq!(yielded(&cluster, "batch/low"), told, "{row}");
    }
}

#[test]
fn what_makes_room_drains_first_says_for_whom_and_comes_back() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 2, 20));
    cluster.settle();
    cluster.deploy("fraud/high", important(1, 90));
    let (steps, report) = cluster.plan();
    assert!(report.short.contains_key(&key("fraud/high")), "it waits, and says so");
    let [victim] = victims(&steps)[..] else { panic!("one makes room: {steps:?}") };
    assert!(steps.iter().all(|step| !matches!(step, Step::Place { .. })), "nothing is placed before it is gone");
    cluster.commit(steps);
    let replica = &cluster.state.replicas[&victim];
    assert_eq!(replica.state, ReplicaState::Draining);
    assert_eq!(replica.reason, "made room for fraud/high (priority 90)");
    assert_eq!(replica.made_room_for, Some(key("fraud/high")));
    let status = cluster.state.deployment_status(&key("batch/low")).expect("it is there");
    assert_eq!(status.reason, "yielded 1 to fraud/high");
    let told: Vec<_> = cluster.state.events.iter().filter(|event| event.kind == "deployment.yielded").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].text,
        "batch/low (priority 20) gives up its place on n1 for fraud/high (priority 90): 1 place out, 2 promised"
    );
    // Another leader finds the room in the making and asks for no more, before and after the drain.
    let (again, _) = cluster.plan_with(&Default::default(), &Default::default());
    assert!(again.is_empty(), "{again:?}");
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (3, 1));
    assert!(!cluster.state.replicas.contains_key(&victim));
    cluster.scale("fraud/high", 0);
    cluster.settle();
    assert_eq!(cluster.ready("batch/low"), 4, "it is back by itself");
    assert!(yielded(&cluster, "batch/low").is_empty());
    assert!(cluster.state.events.iter().any(|event| event.kind == "deployment.returned"));
}

#[test]
fn whoever_yielded_takes_the_next_room_there_is() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 0, 20));
    cluster.settle();
    cluster.deploy("fraud/high", important(3, 90));
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (1, 3));
    cluster.node(2, profile("n2"));
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (4, 3));
    assert!(yielded(&cluster, "batch/low").is_empty());
}

/// Each row: what each node holds as `name cpu priority`, what the newcomer asks for, and who goes.
#[test]
fn as_few_as_possible_go_then_the_least_important_then_the_closest_fit() {
    type Row<'a> = (&'a [&'a [(&'a str, u64, u32)]], u64, &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        (&[&[("aaa", 2, 10), ("bbb", 2, 10)], &[("ccc", 4, 40)]], 4, &["ccc"]),
        (&[&[("aaa", 4, 20)], &[("bbb", 4, 10)], &[("ccc", 4, 30)]], 4, &["bbb"]),
        (&[&[("aaa", 4, 10)], &[("bbb", 2, 10), ("ccc", 2, 50)]], 2, &["bbb"]),
        (&[&[("aaa", 3, 10), ("bbb", 1, 10)], &[("ccc", 2, 10), ("ddd", 2, 30)]], 2, &["ccc"]),
        (&[&[("aaa", 1, 10), ("bbb", 1, 20), ("ccc", 1, 30), ("ddd", 1, 40)]], 2, &["aaa", "bbb"]),
        (&[&[("aaa", 1, 10), ("bbb", 1, 10), ("ccc", 2, 30)]], 3, &["aaa", "ccc"]),
        (&[&[("aaa", 1, 10), ("bbb", 1, 20), ("ccc", 1, 30), ("ddd", 1, 40)]], 3, &["aaa", "bbb", "ccc"]),
        (&[&[("aaa", 2, 10), ("bbb", 2, 85)]], 4, &[]),
    ];
    for (nodes, cpu, expected) in rows {
        let mut cluster = Cluster::empty();
        for (at, held) in nodes.iter().enumerate() {
            let name = format!("n{}", at + 1);
            let labels = [("node".to_owned(), name.clone())].into();
            cluster.node(at as u64 + 1, NodeProfile { labels, ..profile(&name) });
            for (deployment, cpu, priority) in *held {
                let mut spec = large(*cpu, yielding(1, 0, *priority));
                spec.constraints.insert("node".to_owned(), name.as_str().into());
                cluster.deploy(&format!("batch/{deployment}"), spec);
            }
        }
        cluster.settle();
        cluster.deploy("fraud/high", large(*cpu, important(1, 90)));
        let (steps, _) = cluster.plan();
        let mut names: Vec<_> =
            victims(&steps).iter().map(|id| cluster.state.replicas[id].key.deployment.to_string()).collect();
        names.sort();
        assert_eq!(names, *expected, "{nodes:?} {cpu}");
        cluster.settle();
        assert_eq!(cluster.ready("fraud/high"), usize::from(!expected.is_empty()));
    }
}

#[test]
fn what_does_not_serve_yet_goes_before_what_does() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(3, 1, 20));
    cluster.settle();
    cluster.scale("batch/low", 4);
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    let starting = cluster.in_state("batch/low", ReplicaState::Placed);
    cluster.deploy("fraud/high", important(1, 90));
    let (steps, _) = cluster.plan();
    assert_eq!(victims(&steps), starting);
    cluster.commit(steps);
    assert_eq!(cluster.state.replicas[&starting[0]].state, ReplicaState::Stopped, "nobody sends to it: no drain");
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (3, 1));
}

#[test]
fn a_slot_of_the_reserve_yields_before_anything_that_runs() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", DeploymentSpec { min_instances: Some(0), priority: 20, ..reserved(3) });
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.state.slots.len()), (3, 1));
    cluster.deploy("fraud/high", important(1, 90));
    let (steps, _) = cluster.plan();
    assert!(victims(&steps).is_empty(), "{steps:?}");
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (3, 1));
    assert!(cluster.state.slots.is_empty());
    assert!(cluster.state.deployments[&key("batch/low")].reserve_short_since.is_some(), "visibly short");
}

#[test]
fn whoever_promises_everything_promises_its_reserve() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", DeploymentSpec { priority: 20, ..reserved(3) });
    cluster.settle();
    cluster.deploy("fraud/high", important(1, 90));
    let slot = cluster.state.slots.keys().copied().next().expect("one slot");
    let release = Step::ReleaseSlot { slot, cause: ReleaseCause::Yielded { to: key("fraud/high") } };
    assert_eq!(try_steps(&mut cluster, vec![release]), [Some(Code::Minimum)]);
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high"), cluster.state.slots.len()), (3, 0, 1));
}

#[test]
fn slots_and_replicas_make_room_together() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", DeploymentSpec { min_instances: Some(0), priority: 20, ..reserved(3) });
    cluster.settle();
    cluster.deploy("fraud/high", large(2, important(1, 90)));
    let (steps, _) = cluster.plan();
    assert_eq!(victims(&steps).len(), 1, "{steps:?}");
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (2, 1));
}

#[test]
fn a_device_is_made_room_on() {
    let mut cluster = Cluster::empty();
    let device = |uuid: &str| Device {
        uuid: uuid.to_owned(),
        model: "NVIDIA L4".to_owned(),
        memory_mib: 24_000,
        healthy: true,
        ..Device::default()
    };
    let devices = vec![device("u1"), device("u2")];
    cluster.node(1, NodeProfile { devices, capacity: Resources { gpus: 2, ..NODE }, ..profile("n1") });
    let share = |spec: DeploymentSpec, mib| DeploymentSpec { gpu: GpuAsk::Memory { mib, model: None }, ..spec };
    cluster.deploy("batch/small", share(yielding(1, 0, 20), 8_000));
    cluster.settle();
    cluster.deploy("batch/large", share(yielding(1, 0, 20), 20_000));
    cluster.settle();
    let mut whole = important(1, 90);
    (whole.gpu, whole.resources.gpus) = (GpuAsk::Whole { count: 1, model: None, memory_mib_min: 0 }, 1);
    cluster.deploy("fraud/high", whole);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/high"), 1);
    assert_eq!(cluster.ready("batch/small") + cluster.ready("batch/large"), 1, "one of the two went, not both");
}

#[test]
fn room_that_comes_free_anyhow_is_waited_for() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(2, 0, 20));
    cluster.deploy("other/red", spec(2));
    cluster.settle();
    cluster.scale("other/red", 1);
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    cluster.deploy("fraud/high", important(1, 90));
    let (steps, _) = cluster.plan_with(&Default::default(), &Default::default());
    assert!(victims(&steps).is_empty(), "red is leaving: {steps:?}");
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (2, 1));
}

#[test]
fn a_newcomer_that_cannot_start_stops_no_more_than_it_needs() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 0, 20));
    cluster.settle();
    cluster.deploy("fraud/high", important(1, 90));
    let mut stopped = 0;
    for _ in 0..6 {
        // It fails as soon as it is placed; its place is kept for the next try.
        for _ in 0..20 {
            let (steps, _) = cluster.plan();
            stopped += victims(&steps).len();
            if !steps.is_empty() {
                cluster.commit(steps);
            }
            for id in cluster.in_state("fraud/high", ReplicaState::Placed) {
                cluster.report(id, Observed::Failed);
            }
            cluster.nodes_act();
        }
        assert_eq!((cluster.ready("batch/low"), stopped), (3, 1));
        let why = explain(&cluster.state, &key("batch/low")).expect("it is there").to_string();
        assert!(why.contains("1 place given up for fraud/high, which is tried again in "), "{why}");
        let retry_at = cluster.state.deployments[&key("fraud/high")].retry_at;
        cluster.now = LogTime::from_millis(retry_at.millis() + 1);
        cluster.must(Command::AssetExpire { digests: Vec::new() });
    }
    cluster.scale("fraud/high", 0);
    cluster.settle();
    assert_eq!(cluster.ready("batch/low"), 4);
}

#[test]
fn recovery_of_the_important_takes_from_the_less_important() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/high", important(4, 90));
    cluster.deploy("batch/low", yielding(4, 1, 20));
    cluster.settle();
    let away = cluster.replicas("fraud/high")[0].node;
    cluster.transition(away.0, NodeState::Lost);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/high") + cluster.ready("batch/low"), 4);
    assert_eq!(cluster.ready("fraud/high"), 3, "the last place is promised to the other one");
    assert_eq!(cluster.ready("batch/low"), 1);
}

#[test]
fn a_yielding_deployment_still_rolls_and_drains() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("batch/low", yielding(8, 2, 20));
    cluster.settle();
    cluster.deploy("fraud/high", important(3, 90));
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (5, 3));
    let mut next = yielding(8, 2, 20);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("batch/low", next);
    cluster.settle();
    let generations: Vec<_> = cluster.replicas("batch/low").iter().map(|replica| replica.generation.0).collect();
    assert_eq!(generations, [2; 5], "one at a time, and never at the cost of the important");
    assert_eq!(cluster.ready("fraud/high"), 3);
}

#[test]
fn an_extra_replica_of_a_rollout_is_not_owed() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("batch/low", yielding(3, 0, 20));
    cluster.settle();
    let mut next = yielding(3, 0, 20);
    next.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.deploy("batch/low", next);
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    assert_eq!(cluster.replicas("batch/low").len(), 4, "one more than it asks for");
    cluster.deploy("fraud/high", important(7, 90));
    let (steps, _) = cluster.plan();
    assert_eq!(victims(&steps).len(), 3);
    cluster.commit(steps);
    assert_eq!(yielded(&cluster, "batch/low"), [("fraud/high".to_owned(), 2)]);
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (1, 7), "what is left stays");
}

/// Each row: instances, the minimum, whether a reserve lets the rollout start beside the old ones, and how many of the
/// new generation have started but do not serve when the important one comes. Whoever makes room, an old one that serves
/// is retired only for a new one that does.
#[test]
fn a_rollout_whose_start_is_preempted_retires_nothing() {
    for (count, minimum, reserve, newcomers) in
        [(1, 0, true, 2), (1, 0, false, 2), (1, 0, true, 3), (2, 0, true, 1), (2, 1, true, 2), (3, 0, false, 1)]
    {
        let row = format!("{count} {minimum} {reserve} {newcomers}");
        let mut cluster = Cluster::of(1);
        let base = |version: &str| {
            let mut spec = DeploymentSpec { reserve, ..yielding(count, minimum, 20) };
            spec.environment_variables.insert("VERSION".to_owned(), version.to_owned());
            spec
        };
        cluster.deploy("batch/low", base("1"));
        cluster.settle();
        cluster.deploy("batch/low", base("2"));
        let (steps, _) = cluster.plan();
        cluster.commit(steps);
        let starting = cluster.in_state("batch/low", ReplicaState::Placed);
        assert!(!starting.is_empty(), "{row}: the new generation starts");
        cluster.stuck.extend(starting.iter().copied());
        let free = 4 - cluster.replicas("batch/low").len() as u32 - cluster.state.slots.len() as u32;
        cluster.deploy("fraud/high", important(free + newcomers, 90));
        let mut preempted = BTreeSet::new();
        for _ in 0..40 {
            let (steps, _) = cluster.plan();
            preempted.extend(victims(&steps));
            for step in &steps {
                let Step::Drain { replica, reason, .. } = step else { continue };
                if reason.contains("took over") {
                    let of = |replica: &&Replica| replica.generation.0 == 2 && replica.is_ready();
                    let serve = cluster.replicas("batch/low").into_iter().filter(of).count();
                    assert!(serve > 0, "{row}: {} goes for nobody", replica.short());
                }
            }
            cluster.commit(steps);
            cluster.nodes_act();
        }
        assert!(starting.iter().any(|id| preempted.contains(id)), "{row}: what only starts goes first");
        assert!(cluster.ready("batch/low") >= minimum as usize, "{row}");
        let went = preempted.difference(&starting.iter().copied().collect()).count();
        assert_eq!(cluster.ready("batch/low"), count as usize - went, "{row}: what was not taken serves");
    }
}

/// Each row: what a step of an old or lying leader says, and how it is refused.
#[test]
fn a_step_is_judged_again_when_it_is_applied() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 3, 20));
    cluster.settle();
    cluster.deploy("fraud/high", important(2, 90));
    cluster.deploy("fraud/near", important(1, 29));
    let ids: Vec<_> = cluster.replicas("batch/low").iter().map(|replica| replica.id).collect();
    let deadline = cluster.now + Millis(30_000);
    let step = |replica, to: &str| Step::Preempt { replica, to: key(to), deadline };
    for (steps, expected, why) in [
        (vec![step(ids[0], "fraud/near")], vec![Some(Code::Transition)], "nine are not ten"),
        (vec![step(ids[0], "fraud/none")], vec![Some(Code::Stale)], "nobody of that name"),
        (vec![step(ReplicaId(7), "fraud/high")], vec![Some(Code::ReplicaNotFound)], "no such replica"),
        (
            vec![step(ids[0], "fraud/high"), step(ids[0], "fraud/high"), step(ids[1], "fraud/high")],
            vec![None, Some(Code::Revision), Some(Code::Minimum)],
            "one is beyond the minimum",
        ),
    ] {
        assert_eq!(try_steps(&mut cluster, steps), expected, "{why}");
    }
    cluster.settle();
    assert_eq!((cluster.ready("batch/low"), cluster.ready("fraud/high")), (3, 1));
    cluster.scale("fraud/high", 1);
    let refused = try_steps(&mut cluster, vec![step(ids[1], "fraud/high")]);
    assert_eq!(refused, [Some(Code::Stale)], "it has all it asks for");
}

#[test]
fn nobody_is_scaled_below_the_promise() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 3, 20));
    let scale = |instance_count| Command::DeploymentScale { key: key("batch/low"), instance_count, if_revision: None };
    let Reply::Refused(error) = cluster.apply(scale(2)) else { panic!("it was promised") };
    assert_eq!(error.code, Code::Minimum);
    assert_eq!(error.why, "`min_instances` is 3");
    cluster.must(scale(3));
}

#[test]
fn a_scale_down_is_no_longer_owed() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 1, 20));
    cluster.settle();
    cluster.deploy("fraud/high", important(3, 90));
    cluster.settle();
    assert_eq!(yielded(&cluster, "batch/low"), [("fraud/high".to_owned(), 3)]);
    cluster.scale("batch/low", 2);
    assert_eq!(yielded(&cluster, "batch/low"), [("fraud/high".to_owned(), 1)]);
    cluster.scale("batch/low", 1);
    assert!(yielded(&cluster, "batch/low").is_empty());
}

#[test]
fn a_plan_tells_who_would_yield() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", yielding(4, 1, 20));
    cluster.deploy("fraud/high", important(0, 90));
    cluster.traffic("batch/low");
    cluster.settle();
    let grow = Change::Scale { key: key("fraud/high"), instance_count: 2 };
    let outcome = ask(&cluster.state, &Question::of([grow]), Bounds::default()).expect("an answer");
    assert!(outcome.keeps(), "one is promised");
    let low = outcome.deployments.iter().find(|it| it.key == key("batch/low")).expect("it is there");
    assert_eq!((low.fate, low.before.ready, low.after.ready), (Fate::Fewer, 4, 2));
    assert_eq!(low.why(), "batch/low yielded 2 to fraud/high; keeps 2 of 4, 1 promised");
    let told: Vec<_> = outcome.steps.iter().filter(|step| step.kind == TakenKind::Yield).collect();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].node.as_str(), told[0].reason.as_str()), ("n1", "made room for fraud/high (priority 90)"));
}

/// Plans and lets nodes act until nothing moves. Slots that move at the end of a plan may open a place for the next one,
/// so plans are not compared here.
fn rest(cluster: &mut Cluster) {
    for _ in 0..500 {
        let (steps, _) = cluster.plan();
        let planned = !steps.is_empty();
        if planned {
            cluster.commit(steps);
        }
        if !cluster.nodes_act() && !planned {
            return;
        }
    }
    panic!("no rest after 500 rounds");
}

fn any_deployment() -> impl Strategy<Value = (u32, u32, u32, u64, bool)> {
    (1_u32..5, 0_u32..5, 0_u32..=10, 1_u64..4, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However many of them compete, it ends: each replica makes room at most once, nothing comes back and forth, and in
    /// the end nobody waits for what a clearly less important one could give.
    #[test]
    fn it_comes_to_rest_and_the_important_have_what_can_be_had(
        nodes in 1_u64..4,
        deployments in prop::collection::vec(any_deployment(), 1..7),
        lost in any::<bool>(),
    ) {
        let mut cluster = Cluster::of(nodes);
        let mut asked = 0;
        for (at, (count, minimum, tens, cpu, reserve)) in deployments.iter().enumerate() {
            let spec = DeploymentSpec {
                min_instances: Some(*minimum.min(count)),
                priority: tens * 10,
                reserve: *reserve,
                ..large(*cpu, spec(*count))
            };
            cluster.deploy(&format!("app{at}/dep"), spec);
            rest(&mut cluster);
            asked += count;
        }
        if lost {
            cluster.transition(1, NodeState::Lost);
            rest(&mut cluster);
        }
        let told = cluster.state.events.iter().filter(|event| event.kind == "deployment.yielded").count();
        // Each replica yields to something more important at most once, and there are eleven levels.
        prop_assert!(told <= asked as usize * 11, "{told} of {asked}");
        let (steps, _) = cluster.plan();
        prop_assert!(steps.is_empty(), "{steps:?}");
        for (at, (count, _, tens, cpu, _)) in deployments.iter().enumerate() {
            let missing = cluster.ready(&format!("app{at}/dep")) < *count as usize;
            for (other, (_, minimum, lower, size, _)) in deployments.iter().enumerate() {
                let beyond = cluster.ready(&format!("app{other}/dep")) > *minimum as usize;
                prop_assert!(
                    !(missing && beyond && lower < tens && size >= cpu),
                    "app{at} waits although app{other} has some to give"
                );
            }
        }
    }
}
