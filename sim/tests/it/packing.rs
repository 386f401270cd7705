//! The packing experiment on small traces: what it measures, and what it refuses.

use berth_core::schedule::pack::Policy;
use berth_sim::pack::{Trace, pack};

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn0,32000,65536,4,T4\nn1,64000,65536,8,G2\n";

const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
    a,1000,1024,1,500,,LS\nb,2000,1024,1,1000,,LS\nc,500,1024,1,250,T4|G2,BE\nd,1000,1024,0,0,,BE\n";

fn trace(nodes: &str, pods: &str) -> Result<Trace, Vec<String>> {
    Trace::read(nodes.as_bytes(), pods.as_bytes())
        .map_err(|error| error.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn what_arrives_is_allocated_until_it_fits_no_more() {
    let trace = trace(NODES, PODS).expect("a trace");
    for policy in Policy::ALL {
        let outcome = pack(&trace, policy, 1, 1_300);
        assert_eq!(outcome, pack(&trace, policy, 1, 1_300), "{policy}: a seed is a run");
        let marks: Vec<_> = outcome.allocated_ppm.keys().copied().collect();
        assert_eq!(marks, [100, 120, 130], "{policy}");
        let shares: Vec<_> = outcome.allocated_ppm.values().copied().collect();
        assert!(shares.is_sorted() && shares[2] <= 1_000_000, "{policy}: {shares:?}");
        assert!(shares[2] > 900_000, "{policy}: small pods fill small hosts: {shares:?}");
        assert!(outcome.placed <= outcome.arrived);
    }
    let half = pack(&trace, Policy::Berth, 1, 500);
    assert!(half.allocated_ppm.is_empty() && half.placed == half.arrived, "half of it fits everywhere: {half:?}");
}

#[test]
fn a_model_that_is_asked_for_is_kept_to() {
    let picky = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\na,1,1,1,1000,G2\n";
    let outcome = pack(&trace(NODES, picky).expect("a trace"), Policy::Berth, 3, 1_300);
    assert_eq!(outcome.placed, 8, "only the host with that model takes them");
}

#[test]
fn a_trace_is_refused_with_all_of_its_problems() {
    let problems = trace("sn,cpu_milli,gpu\nn0,1,1\n", "name\na\n").expect_err("refused");
    assert_eq!(
        problems,
        [
            "nodes line 1: memory_mib: is no column of it",
            "nodes line 1: model: is no column of it",
            "pods line 1: cpu_milli: is no column of it",
            "pods line 1: memory_mib: is no column of it",
            "pods line 1: num_gpu: is no column of it",
            "pods line 1: gpu_milli: is no column of it",
            "pods line 1: gpu_spec: is no column of it"
        ]
    );
    let nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,-1,x,99,T4\n";
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\na,1,1,2,500,\nb,1,1,1,0,\nc,1,1\n";
    let problems = trace(nodes, pods).expect_err("refused");
    for expected in [
        "nodes line 2: cpu_milli: `-1` is no whole number",
        "nodes line 2: memory_mib: `x` is no whole number",
        "nodes line 2: gpu: a host has at most 64 devices",
        "pods line 2: gpu_milli: 2 devices of 500 thousandths each cannot be",
        "pods line 3: gpu_milli: 1 devices of 0 thousandths each cannot be",
        "pods line 4: num_gpu: `` is no whole number",
    ] {
        assert!(problems.iter().any(|problem| problem == expected), "{expected}: {problems:#?}");
    }
    assert_eq!(trace(NODES, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n").expect_err("empty").len(), 1);
    let endless = format!("{NODES}{}", "n,x,x,x,\n".repeat(100_000));
    assert_eq!(trace(&endless, PODS).expect_err("bounded").len(), 20);
}

#[test]
fn a_trace_without_devices_ends() {
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\na,1,1,0,0,\n";
    let outcome = pack(&trace(NODES, pods).expect("a trace"), Policy::Fgd, 1, 1_300);
    assert_eq!((outcome.arrived, outcome.placed), (1, 1));
}
