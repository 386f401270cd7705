//! How many nodes are needed, checked against what arithmetic says.

use berth_core::{
    model::{DeploymentSpec, GpuAsk, Runtime},
    units::Resources,
    whatif::NodeShape,
};
use berth_sim::cluster::{Count, Description, Load, Shape, Survive, Workload, plot, size};

fn shape(text: &str, count: Count, racks: u64) -> Shape {
    let node: NodeShape = text.parse().expect("a shape");
    Shape { node, count, racks, zones: 0 }
}

fn workload(key: &str, cpu_milli: u64, load: Load) -> Workload {
    let resources = Resources { cpu_milli, memory_mib: 1_024, disk_mib: 0, gpus: 0 };
    let command = Runtime::Command(vec!["serve".to_owned()]);
    let spec = DeploymentSpec { resources, reserve: false, ..DeploymentSpec::new(command) };
    Workload { key: key.parse().expect("a key"), spec, load }
}

fn fleet(racks: u64, survive: Survive, workloads: Vec<Workload>) -> Description {
    let shapes = vec![shape("name=cpu,cpu=4,memory=64GiB", Count::Auto { max: 50 }, racks)];
    Description { shapes, workloads, survive }
}

/// Each row: instances of two cores each, racks, what is survived, how many nodes of four cores that takes.
#[test]
fn the_smallest_number_that_will_do() {
    use Survive::*;
    for (instances, racks, survive, nodes, why) in [
        (1, 0, Nothing, Some(1), "one fits on one"),
        (2, 0, Nothing, Some(1), "two per node"),
        (7, 0, Nothing, Some(4), "three and a half"),
        (7, 0, Node, Some(5), "and one that may be lost"),
        (8, 4, Rack, Some(6), "of six nodes in four racks a lost one takes two"),
        (100, 0, Nothing, Some(50), "as many as there may be"),
        (101, 0, Nothing, None, "one more"),
    ] {
        let found = size(&fleet(racks, survive, vec![workload("fraud/blue", 2_000, Load::Instances(instances))]));
        let found = found.expect("an answer");
        assert_eq!(found.count, nodes, "{why}: {found}");
        assert_eq!(found.fits, nodes.is_some(), "{why}");
        let text = found.to_string();
        match (nodes, &found.shortfall) {
            (Some(1), shortfall) => assert!(shortfall.is_none(), "fewer than one is none: {text}"),
            (_, Some(short)) => {
                assert!(short.verdict.contains("placed") && text.contains(&short.verdict[..5]), "{text}")
            }
            (_, None) => panic!("{why}: nothing says why not one fewer: {text}"),
        }
    }
}

#[test]
fn a_day_is_sized_for_its_fullest_hour() {
    let points = vec![(0, 10_000), (480, 200_000), (1_200, 30_000)];
    let load = Load::Requests { points, per_instance_milli: 10_000, instances_min: 1 };
    let found = size(&fleet(0, Survive::Nothing, vec![workload("chat/llm", 2_000, load)])).expect("an answer");
    assert_eq!(found.count, Some(10), "twenty instances, two per node: {found}");
    assert_eq!(found.samples.iter().map(|sample| sample.replicas).collect::<Vec<_>>(), [1, 20, 3]);
    assert_eq!(found.peak().map(|sample| sample.minute), Some(480));
    let short = found.shortfall.as_ref().expect("nine are too few");
    assert_eq!((short.minute, short.wanted, short.placed), (480, 20, 18));
    let svg = plot(&found);
    assert!(svg.contains("40 used from 08:00") && svg.contains("20:00"), "{svg}");
}

#[test]
fn a_fleet_without_a_question_is_judged_as_it_is() {
    let shapes = vec![shape("name=cpu,cpu=4,memory=64GiB", Count::Fixed(2), 0)];
    for (instances, fits) in [(4, true), (5, false)] {
        let workloads = vec![workload("fraud/blue", 2_000, Load::Instances(instances))];
        let found = size(&Description { shapes: shapes.clone(), workloads, survive: Survive::Nothing });
        let found = found.expect("an answer");
        assert_eq!((found.fits, found.count, found.nodes), (fits, None, 2), "{found}");
    }
}

/// Two nodes hold the same and differ in the card alone: what is left when the larger one goes is too small.
#[test]
fn nodes_with_other_cards_are_lost_one_by_one() {
    let shapes = [("small", "24GiB:A10"), ("large", "80GiB:H100")]
        .map(|(name, card)| shape(&format!("name={name},cpu=16,memory=64GiB,gpu=1x{card}"), Count::Fixed(1), 0));
    let mut share = workload("llm/blue", 1_000, Load::Instances(2));
    share.spec.gpu = GpuAsk::parse_share("20GiB").expect("a share");
    let description = |survive| Description { shapes: shapes.to_vec(), workloads: vec![share.clone()], survive };
    assert!(size(&description(Survive::Nothing)).expect("an answer").fits);
    let found = size(&description(Survive::Node)).expect("an answer");
    let after = found.shortfall.as_ref().map(|short| short.after.as_str());
    assert!(!found.fits && after.is_some_and(|after| after.starts_with("losing large")), "{found}");
}
