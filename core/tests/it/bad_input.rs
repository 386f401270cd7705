//! What users ask for and nobody can give: refused or kept waiting with the reason, and never at the cost of others.

use berth_core::{
    controller::explain,
    error::Code,
    model::{DeploymentSpec, Device, GpuAsk},
    schedule::Dimension,
    state::Reply,
    units::Resources,
};

use crate::kit::{Cluster, INSTANCE, key, profile, spec};

#[test]
fn more_than_the_fleet_holds_is_placed_as_far_as_it_goes_and_says_the_rest() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(2));
    cluster.settle();
    cluster.deploy("fraud/green", spec(5_000));
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), cluster.ready("fraud/green")), (2, 10), "three nodes of four places");
    let verdict = explain(&cluster.state, &key("fraud/green")).expect("it exists");
    assert!(verdict.to_string().starts_with("fraud/green  10/5000 placed"), "{verdict}");
    assert!(verdict.by.keys().all(|dimension| matches!(dimension, Dimension::Cpu | Dimension::Memory)), "{verdict:?}");
}

#[test]
fn an_instance_larger_than_any_node_takes_nothing_and_names_the_nearest_that_fits() {
    let mut cluster = Cluster::of(3);
    let mut large = spec(1);
    large.resources.cpu_milli = 64_000;
    cluster.deploy("fraud/blue", large);
    cluster.settle();
    assert!(cluster.state.replicas.is_empty());
    let text = explain(&cluster.state, &key("fraud/blue")).expect("it exists").to_string();
    assert!(text.contains("nearest: lower cpu to 4"), "{text}");
}

#[test]
fn a_gpu_model_nobody_has_waits_and_says_so() {
    let mut cluster = Cluster::of(2);
    let mut other = profile("n3");
    let device =
        Device { uuid: "GPU-1".into(), model: "H100".into(), memory_mib: 81_920, healthy: true, ..Device::default() };
    (other.capacity.gpus, other.devices) = (1, vec![device]);
    cluster.node(3, other);
    let mut wants = spec(1);
    (wants.resources.gpus, wants.gpu) = (1, GpuAsk::Whole { count: 1, model: Some("B200".into()), memory_mib_min: 0 });
    cluster.deploy("llm/blue", wants);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    assert_eq!((cluster.replicas("llm/blue").len(), cluster.ready("fraud/blue")), (0, 1));
    let text = explain(&cluster.state, &key("llm/blue")).expect("it exists").to_string();
    assert!(text.contains("0/1 placed") && text.contains("B200"), "{text}");
}

/// A negative size cannot be written down in these types; texts with one are refused where they are read. Each row: what
/// is absurd, the field that is named, and why.
#[test]
fn sizes_that_make_no_sense_are_refused_by_field() {
    type Change = fn(&mut DeploymentSpec);
    let rows: [(Change, &str, &str); 8] = [
        (|it| it.resources.cpu_milli = 0, "resources.cpu", "no cores"),
        (|it| it.resources.cpu_milli = u64::MAX, "resources.cpu", "all cores there are"),
        (|it| it.resources.memory_mib = 0, "resources.memory", "no memory"),
        (|it| it.resources.memory_mib = u64::MAX, "resources.memory", "all memory there is"),
        (|it| it.resources.disk_mib = u64::MAX, "resources.disk", "all disks there are"),
        (|it| it.resources.gpus = 3, "resources.gpu", "devices nobody asked for"),
        (|it| it.gpu = GpuAsk::Memory { mib: 0, model: None }, "resources.gpu", "a share of nothing"),
        (|it| it.instance_count = u32::MAX, "instance_count", "four billion instances"),
    ];
    for (change, field, why) in rows {
        let mut absurd = spec(1);
        change(&mut absurd);
        let error = absurd.validate().expect_err(why);
        assert_eq!(error.code, Code::Invalid, "{why}");
        assert!(error.problems.iter().any(|problem| problem.field == field), "{why}: {error:?}");
    }
}

/// What slipped past every check is in the log, and no entry of the log may bring a coordinator down.
#[test]
fn an_absurd_entry_brings_nobody_down() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", spec(2));
    cluster.settle();
    let all = Resources { cpu_milli: u64::MAX, memory_mib: u64::MAX, disk_mib: u64::MAX, gpus: u64::MAX };
    for (name, resources) in [("fraud/vast", all), ("fraud/void", Resources::ZERO)] {
        cluster.deploy(name, DeploymentSpec { resources, reserve: true, ..spec(3) });
        cluster.settle();
    }
    assert_eq!((cluster.replicas("fraud/vast").len(), cluster.ready("fraud/blue")), (0, 2));
    let reply =
        cluster.apply(berth_core::state::Command::DeploymentDelete { key: key("fraud/vast"), if_revision: None });
    assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    cluster.settle();
    cluster.deploy("fraud/green", DeploymentSpec { resources: INSTANCE, ..spec(1) });
    cluster.settle();
    assert_eq!(cluster.ready("fraud/green"), 1);
}
