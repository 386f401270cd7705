//! `berth sim pack` over small traces: what it prints for programs and for people, and what it refuses.

use std::{fs, path::Path};

use crate::berth::{Ran, run};

/// Twelve devices on two hosts.
const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn0,32000,65536,4,T4\nn1,64000,65536,8,G2\n";
/// Work that fills them without a rest.
const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
    a,1000,1024,1,500,,LS\nb,2000,1024,1,1000,,LS\nc,500,1024,1,250,T4|G2,BE\nd,1000,1024,0,0,,BE\n";

/// Packs a trace that is written for it, and returns what was said of its two files by their names alone.
fn pack(nodes: &str, pods: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (nodes, pods) = (file("nodes.csv", nodes), file("pods.csv", pods));
    let mut ran = run(&[&["sim", "pack", "--nodes", &nodes, "--pods", &pods], more].concat());
    ran.err = ran.err.replace(&format!("{}/", folder.path().display()), "");
    ran
}

#[test]
fn programs_read_the_documented_fields_and_no_other() {
    for policy in ["random", "best-fit", "fgd", "berth"] {
        let packed = |seed: &str| {
            pack(NODES, PODS, &["--policy", policy, "--seed", seed, "--inflate", "1.3", "-o", "json"]).good().json()
        };
        let first = packed("7");
        let fields: Vec<_> = first.as_object().expect("an object").keys().cloned().collect();
        let mut documented = ["policy", "seed", "placements", "seconds", "gpu_allocation_percent"];
        documented.sort_unstable();
        assert_eq!(fields, documented, "{first}");
        assert_eq!((&first["policy"], &first["seed"]), (&policy.into(), &7.into()));
        assert!(first["placements"].as_u64().is_some_and(|count| count > 12), "{first}");
        assert!(first["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{first}");
        let shares = first["gpu_allocation_percent"].as_object().expect("an object");
        assert_eq!(shares.keys().collect::<Vec<_>>(), ["100", "120", "130"], "{first}");
        let percent: Vec<_> = shares.values().map(|share| share.as_f64().expect("a number")).collect();
        assert!(percent.is_sorted() && percent[0] > 50.0 && percent[2] <= 100.0, "nothing departs: {first}");
        let again = packed("7");
        assert_eq!(again["gpu_allocation_percent"], first["gpu_allocation_percent"], "a seed is a run");
        assert_eq!(again["placements"], first["placements"]);
    }
}

#[test]
fn people_read_the_same_in_sentences() {
    let told = pack(NODES, PODS, &["--policy", "fgd"]).good();
    let lines: Vec<_> = told.out.lines().collect();
    assert_eq!(lines.len(), 5, "{told:#?}");
    assert_eq!(lines[0], "policy      fgd");
    assert!(lines[1].starts_with("placements  ") && lines[1].contains(" of ") && lines[1].ends_with("/s"), "{told:#?}");
    for (line, mark) in lines[2..].iter().zip(["100", "120", "130"]) {
        assert!(line.starts_with("allocated   ") && line.ends_with(&format!("after {mark} % arrived")), "{told:#?}");
    }
    let half = pack(NODES, PODS, &["--inflate", "0.5", "-o", "json"]).good().json();
    assert_eq!(half["gpu_allocation_percent"], serde_json::json!({}), "no mark was reached");
    assert_eq!(pack(NODES, PODS, &["-o", "name"]).good().out, "berth\n");
}

/// Each row: hosts, work, and what is said: file and line, column, what is wrong, what to write instead.
#[test]
fn a_trace_is_refused_with_line_column_and_remedy() {
    let nodes = |rows: &str| format!("sn,cpu_milli,memory_mib,gpu,model\n{rows}");
    let pods = |rows: &str| format!("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n{rows}");
    for (nodes, pods, said) in [
        (
            nodes("n0,-1,1,1,T4\n"),
            PODS.to_owned(),
            "nodes.csv:2 cpu_milli: `-1` is no whole number (try: write digits alone, such as `4000`)",
        ),
        (
            nodes("n0,1,1,1,T4\n\"n1\",1,1,99,T4\n"),
            PODS.to_owned(),
            "nodes.csv:3 gpu: a host has at most 64 devices (try: write it as several hosts)",
        ),
        (
            "sn,cpu,memory_mib,gpu,model\nn0,1,1,1,T4\n".to_owned(),
            PODS.to_owned(),
            "nodes.csv:1 cpu_milli: is no column of it (try: add it to the first line; columns are found by name)",
        ),
        (
            NODES.to_owned(),
            pods("a,1,1,2,500,\n"),
            "pods.csv:2 gpu_milli: 2 devices of 500 thousandths each cannot be (try: ask for 1 device of 1 to 1000 \
             thousandths, or for several of 1000)",
        ),
        (
            NODES.to_owned(),
            pods("a,1,1,1,1000,\nb,1\n"),
            "pods.csv:3 memory_mib: `` is no whole number (try: write digits alone, such as `4000`)",
        ),
        (NODES.to_owned(), pods(""), "pods.csv:1: holds nothing below its headings (try: give a line to each pod)"),
        (String::new(), PODS.to_owned(), "nodes.csv:1 gpu: is no column of it"),
    ] {
        let ran = pack(&nodes, &pods, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{said}: {ran:#?}");
        assert!(ran.err.contains("E_INVALID") && ran.err.contains(said), "{said}: {ran:#?}");
    }
    let many = pack(&nodes(&"n,x,x,x,\n".repeat(1_000)), PODS, &[]);
    assert!(many.err.contains("the trace has 20 problems"), "told at once, and not for ever: {many:#?}");
}

/// Each row: arguments beside a good trace, and what is said of them.
#[test]
fn what_makes_no_sense_is_misuse() {
    for (args, said) in [
        (["--policy", "worst-fit"], "the policies are random, best-fit, fgd, berth"),
        (["--policy", ""], "the policies are"),
        (["--inflate", "0"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--inflate", "0.05"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--inflate", "11"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--inflate", "1e9"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--inflate", "1300m"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--inflate", "99999999999999999999"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--inflate", "NaN"], "expected a factor from 0.1 to 10, such as 1.3"),
        (["--seed", "three"], "invalid value 'three'"),
    ] {
        let ran = pack(NODES, PODS, &args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:#?}");
        assert!(ran.err.contains(said), "{args:?}: {ran:#?}");
    }
    let nowhere = Path::new("/nowhere/nodes.csv").display().to_string();
    let ran = run(&["sim", "pack", "--nodes", &nowhere, "--pods", &nowhere]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.err.contains("E_PATH_MISSING") && ran.err.contains(&nowhere), "{ran:#?}");
}
