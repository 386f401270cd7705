//! Verdicts: what is told, how it is counted, and that the advice helps.

use berth_core::{
    controller::explain,
    model::{DeploymentSpec, Device, DrainBy, GpuAsk, LabelRule, NodeProfile, NodeState},
    schedule::{Dimension, Fix},
    state::{Command, DrainWish},
    time::{LogTime, Millis},
    units::Resources,
    whatif::NodeShape,
};
use proptest::prelude::*;

use crate::kit::{Cluster, NODE, key, profile, reserved, spec};

fn sized(cpu_milli: u64, memory_mib: u64, spec: DeploymentSpec) -> DeploymentSpec {
    DeploymentSpec { resources: Resources { cpu_milli, memory_mib, ..spec.resources }, ..spec }
}

fn devices(models: &[(&str, u64)]) -> Vec<Device> {
    let device = |(at, (model, memory_mib)): (usize, &(&str, u64))| Device {
        uuid: format!("u{at}"),
        model: (*model).to_owned(),
        memory_mib: *memory_mib,
        healthy: true,
        ..Device::default()
    };
    models.iter().enumerate().map(device).collect()
}

fn shown(cluster: &Cluster, name: &str) -> String {
    explain(&cluster.state, &key(name)).expect("it is there").to_string()
}

#[test]
fn it_reads_as_the_manual_says() {
    let mut cluster = Cluster::empty();
    let gpus = |name: &str, models: &[(&str, u64)]| NodeProfile {
        devices: devices(models),
        capacity: Resources { gpus: models.len() as u64, cpu_milli: 64_000, memory_mib: 65_536, ..NODE },
        ..profile(name)
    };
    cluster.node(1, gpus("node-1", &[("H100", 24_576)]));
    cluster.node(2, gpus("node-2", &[("L4", 24_576)]));
    let share = |mib: u64, spec: DeploymentSpec| {
        let gpu = GpuAsk::Memory { mib, model: Some("H100".to_owned()) };
        DeploymentSpec { gpu, ..spec }
    };
    cluster.deploy("fraud/blue", share(6_144, reserved(1)));
    cluster.settle();
    let labels = [("kind".to_owned(), "own".to_owned())].into();
    cluster.node(3, NodeProfile { labels, ..gpus("node-3", &[("H100", 4_096)]) });
    let mut stays = spec(1);
    stays.constraints.insert("kind".to_owned(), "own".into());
    cluster.deploy("other/red", stays);
    cluster.settle();
    cluster.now = LogTime::from_millis(14 * 3_600_000);
    let wish =
        DrainWish { within: Millis(120_000), reason: "ops: kernel".to_owned(), force: false, by: DrainBy::Operator };
    cluster.wish(3, Some(wish));
    cluster.deploy("fraud/green", share(18_432, spec(2)));
    cluster.settle();
    assert_eq!(
        shown(&cluster, "fraud/green"),
        "\
fraud/green  0/2 placed
  node-1  gpu_mem    needs 18 GiB, free 12 GiB (held: fraud/blue 6 GiB, reserve 6 GiB)
  node-2  gpu_model  wants H100, has L4
  node-3  draining   until 14:02 UTC (ops: kernel)
  node-3  gpu_mem    needs 18 GiB, free 4 GiB
  pre-emption: none: no other deployment has a priority of 40 or less (its own is 50)
  nearest: lower gpu_mem to 12 GiB, or free node-1 with `berth scale fraud/blue 0`"
    );
}

#[test]
fn many_nodes_are_counted_by_equal_reasons() {
    let mut cluster = Cluster::empty();
    for id in 1..=300_u64 {
        let capacity = Resources { cpu_milli: 1_000 + id, ..NODE };
        cluster.node(id, NodeProfile { capacity, ..profile(&format!("n{id}")) });
    }
    for id in 1..=40 {
        cluster.must(Command::NodeCordon { name: format!("n{id}").parse().expect("a name"), cordoned: true });
    }
    cluster.transition(7, NodeState::Suspect);
    cluster.deploy("fraud/blue", sized(8_000, 1_024, spec(1)));
    let text = shown(&cluster, "fraud/blue");
    assert_eq!(
        text,
        "\
fraud/blue  0/1 placed
  260 nodes  cpu       needs 8, free at most 1.3
  39 nodes   cordoned  an operator keeps new replicas away
  39 nodes   cpu       needs 8, free at most 1.04
  n7         suspect   test
  n7         cordoned  an operator keeps new replicas away
  n7         cpu       needs 8, free 1.007
  in all 300 nodes: state on 1, cordoned on 40, cpu on 300
  nearest: lower cpu to 1.3"
    );
    let verdict = explain(&cluster.state, &key("fraud/blue")).expect("it is there");
    assert_eq!(verdict.nodes.iter().map(|node| node.count).sum::<u64>(), 300);
}

/// Each row: what stands in the way, and what is said about making room for it.
#[test]
fn pre_emption_is_considered_and_said_why_not() {
    for (priority, minimum, own, cpu, told) in [
        (50, None, 50, 2_000, "none: no other deployment has a priority of 40 or less (its own is 50)"),
        (0, None, 5, 2_000, "none: its own priority 5 is too low for anybody to make room"),
        (20, None, 50, 2_000, "none: batch/low hold what they are promised and no more"),
        (20, Some(3), 50, 2_000, "none: the 1 that batch/low have beyond their minimum make no place on any one node"),
        (20, Some(3), 50, 1_000, "1 on n1 can make room"),
    ] {
        let mut cluster = Cluster::of(1);
        cluster.deploy("batch/low", DeploymentSpec { priority, min_instances: minimum, ..spec(4) });
        cluster.settle();
        cluster.deploy("fraud/high", DeploymentSpec { priority: own, ..sized(cpu, 1_024, spec(1)) });
        let verdict = explain(&cluster.state, &key("fraud/high")).expect("it is there");
        assert_eq!(verdict.preemption, told);
    }
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", DeploymentSpec { priority: 20, min_instances: Some(0), ..spec(4) });
    cluster.settle();
    cluster.deploy("fraud/high", DeploymentSpec { priority: 90, ..spec(1) });
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    let verdict = explain(&cluster.state, &key("fraud/high")).expect("it is there");
    assert_eq!(verdict.preemption, "room is being made: 1 less important leave");
}

#[test]
fn several_amounts_of_one_node_are_lowered_together() {
    let mut cluster = Cluster::empty();
    cluster
        .node(1, NodeProfile { capacity: Resources { cpu_milli: 1_500, memory_mib: 1_999, ..NODE }, ..profile("n1") });
    cluster.node(2, NodeProfile { capacity: Resources { cpu_milli: 8_000, memory_mib: 512, ..NODE }, ..profile("n2") });
    cluster.deploy("fraud/blue", sized(2_000, 2_048, spec(1)));
    let verdict = explain(&cluster.state, &key("fraud/blue")).expect("it is there");
    assert_eq!(verdict.nearest[0].to_string(), "lower memory to 512 MiB", "one amount before two");
    cluster.must(Command::NodeCordon { name: "n2".parse().expect("a name"), cordoned: true });
    let verdict = explain(&cluster.state, &key("fraud/blue")).expect("it is there");
    assert_eq!(verdict.nearest[0].to_string(), "lower cpu to 1.5 and memory to 1.9 GiB");
    assert_eq!(verdict.nearest[0], Fix::Lower(vec![(Dimension::Cpu, 1_500), (Dimension::Memory, 1_946)]));
}

#[test]
fn a_minimum_is_not_advised_away() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("batch/low", DeploymentSpec { min_instances: Some(4), ..spec(4) });
    cluster.settle();
    cluster.deploy("fraud/high", spec(1));
    let text = shown(&cluster, "fraud/high");
    assert!(!text.contains("berth scale"), "{text}");
    assert!(text.ends_with("nearest: add a node of cpu=1,memory=1GiB"), "{text}");
}

/// What a random fleet is asked: nodes of these sizes, fillers of these, one that may not fit.
#[derive(Clone, Debug)]
struct Case {
    nodes: Vec<(u64, u64, u8, u64)>,
    fillers: Vec<(u64, u64, u32, u32, bool)>,
    asks: (u64, u64, u32, u64),
}

fn any_case() -> impl Strategy<Value = Case> {
    let node = (1_u64..9, 512_u64..9_000, 0_u8..8, prop_oneof![Just(0), 1_000_u64..50_000]);
    let filler = (100_u64..4_000, 128_u64..4_000, 1_u32..5, 0_u32..=10, any::<bool>());
    let asks = (100_u64..12_000, 128_u64..12_000, 0_u32..=10, prop_oneof![3 => Just(0), 1 => 100_u64..60_000]);
    let parts = (prop::collection::vec(node, 0..5), prop::collection::vec(filler, 0..4), asks);
    parts.prop_map(|(nodes, fillers, asks)| Case { nodes, fillers, asks })
}

fn build(case: &Case) -> Cluster {
    let mut cluster = Cluster::empty();
    for (at, (cores, memory_mib, _, device_mib)) in case.nodes.iter().enumerate() {
        let gpus = u64::from(*device_mib > 0);
        let devices = if gpus > 0 { devices(&[("L4", *device_mib)]) } else { Vec::new() };
        let capacity = Resources { cpu_milli: cores * 1_000, memory_mib: *memory_mib, gpus, ..NODE };
        cluster.node(at as u64 + 1, NodeProfile { capacity, devices, ..profile(&format!("n{at}")) });
    }
    for (at, (cpu, memory, count, tens, yields)) in case.fillers.iter().enumerate() {
        let min_instances = yields.then_some(0);
        let spec = DeploymentSpec { priority: tens * 10, min_instances, ..sized(*cpu, *memory, spec(*count)) };
        let name = format!("filler{at}/dep");
        cluster.deploy(&name, spec);
        cluster.settle();
    }
    // Whoever else waits would take any room before the one that asks.
    for at in 0..case.fillers.len() {
        let name = format!("filler{at}/dep");
        let ready = cluster.ready(&name) as u32;
        cluster.scale(&name, ready);
    }
    cluster.settle();
    for (at, (_, _, shut, _)) in case.nodes.iter().enumerate() {
        let name = format!("n{at}").parse().expect("a name");
        match shut {
            0 => drop(cluster.must(Command::NodeCordon { name, cordoned: true })),
            1 => cluster.transition(at as u64 + 1, NodeState::Suspect),
            _ => {}
        }
    }
    cluster.settle();
    let (cpu, memory, tens, share) = case.asks;
    let gpu = if share > 0 { GpuAsk::Memory { mib: share, model: None } } else { GpuAsk::None };
    cluster.deploy("asker/dep", DeploymentSpec { priority: tens * 10, gpu, ..sized(cpu, memory, spec(1)) });
    for _ in 0..20 {
        let (steps, _) = cluster.plan();
        if steps.is_empty() && !cluster.nodes_act() {
            break;
        }
        if !steps.is_empty() {
            cluster.commit(steps);
        }
        cluster.nodes_act();
    }
    cluster
}

fn follow(cluster: &mut Cluster, fix: &Fix) {
    let mut spec = cluster.state.deployments[&key("asker/dep")].spec.clone();
    match fix {
        Fix::Lower(amounts) => {
            for (dimension, to) in amounts {
                match (dimension, &mut spec.gpu) {
                    (Dimension::Cpu, _) => spec.resources.cpu_milli = *to,
                    (Dimension::Memory, _) => spec.resources.memory_mib = *to,
                    (Dimension::GpuMemory, GpuAsk::Memory { mib, .. }) => *mib = *to,
                    other => panic!("{other:?} was never asked for"),
                }
            }
            cluster.deploy("asker/dep", spec);
        }
        Fix::Scale { key, count, .. } => cluster.scale(&key.to_string(), *count),
        Fix::Raise { priority, .. } => cluster.deploy("asker/dep", DeploymentSpec { priority: *priority, ..spec }),
        Fix::Uncordon(node) => {
            let name = node.parse().expect("a name");
            cluster.must(Command::NodeCordon { name, cordoned: false });
        }
        Fix::Return(node) => {
            let name = node.parse().expect("a name");
            let id = cluster.state.node_named(&name).expect("it is there").id;
            cluster.transition(id.0, NodeState::Ready);
        }
        Fix::Add(shape) => {
            let shape: NodeShape = shape.parse().expect("a shape that is read");
            cluster.node(99, shape.profile("added".parse().expect("a name")));
        }
        Fix::Start => cluster.node(99, profile("first")),
        Fix::CancelDrain(_) | Fix::Label(_) => panic!("nothing drains and nothing is labelled: {fix:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever the fleet: following any one of the ways out makes the instance fit.
    #[test]
    fn every_way_out_is_one(case in any_case()) {
        let cluster = build(&case);
        prop_assume!(cluster.ready("asker/dep") == 0);
        let verdict = explain(&cluster.state, &key("asker/dep")).expect("it is there");
        prop_assert!(!verdict.nearest.is_empty(), "{verdict}");
        for fix in &verdict.nearest {
            let mut after = build(&case);
            follow(&mut after, fix);
            if matches!(fix, Fix::Start) {
                continue;
            }
            for _ in 0..100 {
                let (steps, _) = after.plan();
                let planned = !steps.is_empty();
                if planned {
                    after.commit(steps);
                }
                if !after.nodes_act() && !planned {
                    break;
                }
            }
            prop_assert_eq!(after.ready("asker/dep"), 1, "{} did not help: {}", fix, verdict);
        }
    }
}

#[test]
fn instances_that_do_the_same_are_told_as_one() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(3));
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    let verdict = shown(&cluster, "fraud/blue");
    let waits: Vec<_> = verdict.lines().filter(|line| line.starts_with("  waits: ")).collect();
    assert_eq!(waits.len(), 1, "{verdict}");
    assert!(waits[0].starts_with("  waits: 3 replicas on n1 are placed for "), "{verdict}");
}

#[test]
fn labels_are_refused_by_rule_and_the_way_out_is_told() {
    let rules = |rules: &[(&str, LabelRule)]| {
        let constraints = rules.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect();
        DeploymentSpec { constraints, ..spec(1) }
    };
    let some = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let mut cluster = Cluster::empty();
    for (id, label) in [(1, Some("gold")), (2, Some("spot")), (3, None), (4, Some("spot"))] {
        let labels = label.into_iter().map(|label| ("tier".to_owned(), label.to_owned())).collect();
        cluster.node(id, NodeProfile { labels, ..profile(&format!("n{id}")) });
    }
    cluster.deploy("fraud/one", rules(&[("tier", "gold".into())]));
    cluster.deploy("fraud/none-of", rules(&[("tier", LabelRule::none_of(some(&["spot", "gold"])))]));
    cluster.deploy("fraud/one-of", rules(&[("tier", LabelRule::one_of(some(&["spot", "silver"])))]));
    cluster.deploy("fraud/there", rules(&[("tier", LabelRule::exists(true))]));
    cluster.deploy("fraud/absent", rules(&[("tier", LabelRule::exists(false))]));
    cluster.settle();
    let places =
        |name: &str| -> Vec<u64> { cluster.state.replicas_of(&key(name)).map(|replica| replica.node.0).collect() };
    assert_eq!(places("fraud/one"), [1]);
    assert_eq!(places("fraud/none-of"), [3]);
    assert!(matches!(places("fraud/one-of")[..], [2 | 4]));
    assert!(matches!(places("fraud/there")[..], [1 | 2 | 4]));
    assert_eq!(places("fraud/absent"), [3]);
    cluster.deploy("fraud/nobody", rules(&[("tier", LabelRule::one_of(some(&["bronze", "iron"])))]));
    cluster.deploy("fraud/picky", rules(&[("tier", LabelRule::exists(true)), ("disk", "nvme".into())]));
    cluster.deploy("fraud/never", rules(&[("tier", LabelRule::none_of(some(&["spot"]))), ("disk", "nvme".into())]));
    cluster.settle();
    assert_eq!(
        shown(&cluster, "fraud/nobody"),
        "\
fraud/nobody  0/1 placed
  n1  label  wants tier in (bronze, iron), has gold
  n2  label  wants tier in (bronze, iron), has spot
  n3  label  wants tier in (bronze, iron), has no tier
  n4  label  wants tier in (bronze, iron), has spot
  pre-emption: none: no other deployment has a priority of 40 or less (its own is 50)
  nearest: label a node tier=bronze"
    );
    let picky = shown(&cluster, "fraud/picky");
    assert!(picky.contains("n3  label  wants a tier, has no tier"), "{picky}");
    assert!(picky.contains("label a node disk=nvme"), "{picky}");
    let never = shown(&cluster, "fraud/never");
    assert!(never.contains("wants tier!=spot, has spot"), "{never}");
    // What is free of the label needs one change less.
    assert!(never.contains("label a node disk=nvme") && !never.contains("so that"), "{never}");
}

#[test]
fn what_was_lost_and_made_good_waits_for_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(2));
    cluster.settle();
    let lost = cluster.replicas("fraud/blue")[0].node;
    cluster.transition(lost.0, NodeState::Suspect);
    cluster.transition(lost.0, NodeState::Lost);
    assert!(shown(&cluster, "fraud/blue").contains("lost with the node"), "{}", shown(&cluster, "fraud/blue"));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2);
    let verdict = explain(&cluster.state, &key("fraud/blue")).expect("it is there");
    assert!(verdict.is_satisfied(), "{verdict}");
}
