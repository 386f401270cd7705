//! The scheduler: who gets a place, and what is said to those who do not.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    controller::explain,
    id::{Digest, MemberId},
    model::{
        AssetKind, AssetRef, DeploymentSpec, Device, DeviceGrant, GpuAsk, Model, ModelType, NodeProfile, NodeState,
        ReplicaState,
    },
    schedule::{Ask, Dimension, Fleet},
    state::Command,
    units::Resources,
};

use crate::kit::{Cluster, NODE, key, profile, spec};

fn labelled(name: &str, labels: &[(&str, &str)]) -> NodeProfile {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    NodeProfile { labels, ..profile(name) }
}

fn with_devices(name: &str, devices: &[(&str, &str, u64)]) -> NodeProfile {
    let device = |(uuid, model, memory_mib): &(&str, &str, u64)| Device {
        uuid: (*uuid).to_owned(),
        model: (*model).to_owned(),
        memory_mib: *memory_mib,
        healthy: true,
        ..Device::default()
    };
    let capacity = Resources { gpus: devices.len() as u64, ..NODE };
    NodeProfile { devices: devices.iter().map(device).collect(), capacity, ..profile(name) }
}

/// Places `count` instances of a deployment and returns the names of the nodes, in order.
fn places(cluster: &Cluster, name: &str, count: u64) -> Vec<String> {
    let deployment = &cluster.state.deployments[&key(name)];
    let placements = Fleet::of(&cluster.state).place(&Ask::of(deployment), count, 1);
    placements.iter().map(|place| cluster.state.nodes[&place.node].profile.name.to_string()).collect()
}

#[test]
fn zones_are_filled_evenly() {
    let mut cluster = Cluster::empty();
    for (id, name, zone) in [(1, "a1", "a"), (2, "a2", "a"), (3, "a3", "a"), (4, "b1", "b")] {
        cluster.node(id, labelled(name, &[("zone", zone)]));
    }
    cluster.deploy("fraud/blue", spec(2));
    let placed = places(&cluster, "fraud/blue", 2);
    assert!(placed.contains(&"b1".to_owned()), "two zones, one in each: {placed:?}");
    let all = places(&cluster, "fraud/blue", 4);
    assert_eq!(all.len(), 4);
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "every node before any twice: {all:?}");
}

#[test]
fn among_equals_the_fuller_node_is_filled_first() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let full = cluster.state.nodes[&cluster.replicas("fraud/blue")[0].node].profile.name.to_string();
    cluster.deploy("other/red", spec(1));
    assert_eq!(places(&cluster, "other/red", 1), [full]);
}

#[test]
fn the_same_seed_gives_the_same_places() {
    let mut cluster = Cluster::of(20);
    cluster.deploy("fraud/blue", spec(7));
    assert_eq!(places(&cluster, "fraud/blue", 7), places(&cluster, "fraud/blue", 7));
}

#[test]
fn devices_are_given_whole_and_shared_without_overlap() {
    let mut cluster = Cluster::empty();
    cluster.node(1, with_devices("gpu", &[("u1", "NVIDIA A10", 24_000), ("u2", "NVIDIA A10", 24_000)]));
    let mut share = spec(1);
    share.gpu = GpuAsk::Memory { mib: 16_000, model: Some("A10".to_owned()) };
    cluster.deploy("fraud/share", share.clone());
    cluster.settle();
    let mut whole = spec(1);
    whole.resources.gpus = 1;
    whole.gpu = GpuAsk::Whole { count: 1, model: Some("A10".to_owned()), memory_mib_min: 20_000 };
    cluster.deploy("fraud/whole", whole.clone());
    cluster.settle();
    assert_eq!(
        cluster.replicas("fraud/share")[0].devices,
        [DeviceGrant { uuid: "u1".into(), memory_mib: Some(16_000) }]
    );
    assert_eq!(cluster.replicas("fraud/whole")[0].devices, [DeviceGrant { uuid: "u2".into(), memory_mib: None }]);
    cluster.deploy("fraud/small", spec_share(8_000));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/small"), 1, "the rest of the shared device");
    cluster.deploy("fraud/more", spec_share(1_000));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/more"), 0);
    let verdict = explain(&cluster.state, &key("fraud/more")).unwrap();
    assert_eq!(verdict.by, BTreeMap::from([(Dimension::GpuMemory, 1)]));
    whole.gpu = GpuAsk::Whole { count: 1, model: Some("H100".to_owned()), memory_mib_min: 0 };
    cluster.deploy("fraud/other", whole);
    let verdict = explain(&cluster.state, &key("fraud/other")).unwrap();
    assert_eq!(verdict.by, BTreeMap::from([(Dimension::GpuModel, 1)]));
}

fn spec_share(mib: u64) -> berth_core::model::DeploymentSpec {
    let mut share = spec(1);
    share.gpu = GpuAsk::Memory { mib, model: None };
    share
}

#[test]
fn a_declared_gpu_is_a_plain_dimension() {
    let mut cluster = Cluster::empty();
    cluster.node(1, NodeProfile { capacity: Resources { gpus: 1, ..NODE }, ..profile("dev") });
    let mut whole = spec(2);
    whole.resources.gpus = 1;
    whole.gpu = GpuAsk::Whole { count: 1, model: Some("T4".to_owned()), memory_mib_min: 16_000 };
    cluster.deploy("fraud/whole", whole);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/whole"), 1, "there is one to give");
    let mut share = spec(1);
    share.gpu = GpuAsk::Memory { mib: 1, model: None };
    cluster.deploy("fraud/share", share);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/share"), 0, "a share needs a device that is listed");
}

#[test]
fn a_verdict_says_what_stands_in_the_way_and_the_way_out() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", {
        let mut spec = spec(1);
        spec.resources.memory_mib = 3_072;
        spec.constraints.insert("kind".to_owned(), "large".into());
        spec
    });
    cluster.node(4, labelled("n4", &[("kind", "large")]));
    cluster.settle();
    cluster.must(Command::NodeCordon { name: "n2".parse().unwrap(), cordoned: true });
    cluster.transition(3, NodeState::Suspect);
    cluster.deploy("fraud/green", {
        let mut spec = spec(2);
        spec.resources.memory_mib = 2_048;
        spec.constraints.insert("kind".to_owned(), "large".into());
        spec
    });
    let verdict = explain(&cluster.state, &key("fraud/green")).unwrap();
    let expected = "\
fraud/green  0/2 placed
  n1  label     wants kind=large, has no kind
  n2  cordoned  an operator keeps new replicas away
  n2  label     wants kind=large, has no kind
  n3  suspect   test
  n3  label     wants kind=large, has no kind
  n4  memory    needs 2 GiB, free 1 GiB (held: fraud/blue 3 GiB)
  pre-emption: none: no other deployment has a priority of 40 or less (its own is 50)
  nearest: lower memory to 1 GiB, or free n4 with `berth scale fraud/blue 0`";
    assert_eq!(verdict.to_string(), expected);
    assert_eq!(verdict.by[&Dimension::Label], 3);
}

#[test]
fn an_empty_cluster_says_so() {
    let mut cluster = Cluster::empty();
    cluster.deploy("fraud/blue", spec(1));
    let text = explain(&cluster.state, &key("fraud/blue")).unwrap().to_string();
    assert!(text.contains("no node has registered"), "{text}");
    assert!(text.contains("berth node"), "{text}");
}

/// A deployment's spec with a model of these bytes.
fn with_model(instance_count: u32, bytes: &[u8]) -> DeploymentSpec {
    let asset = AssetRef { digest: Digest::of(bytes), kind: AssetKind::File, name: "m.onnx".to_owned(), size_bytes: 1 };
    let model = Model { name: "m".into(), version: "1".into(), model_type: ModelType::CustomModel, asset };
    DeploymentSpec { model: Some(model), ..spec(instance_count) }
}

fn upload(cluster: &mut Cluster, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    cluster.must(Command::AssetCommit { digest, size_bytes: 1, holders: vec![MemberId(1)] });
}

#[test]
fn a_node_that_has_the_model_goes_before_a_fuller_one() {
    let mut cluster = Cluster::of(3);
    upload(&mut cluster, b"first");
    upload(&mut cluster, b"other");
    let node_of = |cluster: &Cluster, name| cluster.replicas(name)[0].node;
    cluster.deploy("fraud/blue", with_model(1, b"first"));
    cluster.settle();
    let first = node_of(&cluster, "fraud/blue");
    // Another node becomes the fullest by what asks for no model.
    let mut large = spec(1);
    large.resources.cpu_milli = 3_500;
    cluster.deploy("large/red", large);
    cluster.settle();
    assert_ne!(node_of(&cluster, "large/red"), first, "it does not fit beside the other");
    let mut small = with_model(1, b"first");
    small.resources.cpu_milli = 500;
    cluster.deploy("fraud/green", small.clone());
    cluster.settle();
    assert_eq!(node_of(&cluster, "fraud/green"), first, "the model is there");
    small.model = with_model(1, b"other").model;
    cluster.deploy("fraud/grey", small);
    cluster.settle();
    assert_eq!(node_of(&cluster, "fraud/grey"), node_of(&cluster, "large/red"), "the fuller one: nobody has the model");
}

#[test]
fn spread_goes_before_the_model() {
    let mut cluster = Cluster::of(4);
    upload(&mut cluster, b"first");
    cluster.deploy("fraud/blue", with_model(2, b"first"));
    cluster.settle();
    cluster.deploy("fraud/green", with_model(4, b"first"));
    cluster.settle();
    let nodes: BTreeSet<_> = cluster.replicas("fraud/green").iter().map(|replica| replica.node).collect();
    assert_eq!(nodes.len(), 4, "every node before any twice");
}

#[test]
fn what_has_not_fetched_the_model_does_not_count() {
    let mut cluster = Cluster::of(2);
    upload(&mut cluster, b"first");
    cluster.deploy("fraud/blue", with_model(1, b"first"));
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    assert_eq!(cluster.replicas("fraud/blue")[0].state, ReplicaState::Placed);
    let mut large = spec(1);
    large.resources.cpu_milli = 3_500;
    cluster.deploy("large/red", large);
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    let fuller = cluster.state.nodes[&cluster.replicas("large/red")[0].node].profile.name.to_string();
    let mut small = with_model(1, b"first");
    small.resources.cpu_milli = 500;
    cluster.deploy("fraud/green", small);
    assert_eq!(places(&cluster, "fraud/green", 1), [fuller]);
}

#[test]
fn a_model_is_meant_by_its_whole_name() {
    let mut cluster = Cluster::empty();
    cluster.node(1, with_devices("a100", &[("u1", "NVIDIA A100-SXM4-80GB", 80_000)]));
    cluster.node(2, with_devices("l40s", &[("u2", "NVIDIA L40S", 48_000)]));
    let mut whole = spec(1);
    whole.resources.gpus = 1;
    for (asked, expected) in
        [("A10", None), ("L4", None), ("L40", None), ("A100", Some("a100")), ("l40s", Some("l40s"))]
    {
        let name = format!("some/on-{}", asked.to_lowercase());
        whole.gpu = GpuAsk::Whole { count: 1, model: Some(asked.to_owned()), memory_mib_min: 0 };
        cluster.deploy(&name, whole.clone());
        assert_eq!(places(&cluster, &name, 1), Vec::from_iter(expected), "{asked}");
        let mut share = spec_share(6_000);
        share.gpu = GpuAsk::Memory { mib: 6_000, model: Some(asked.to_owned()) };
        cluster.deploy(&name, share);
        assert_eq!(places(&cluster, &name, 1), Vec::from_iter(expected), "a share of {asked}");
    }
}
