//! What would happen, told by exit codes, in words and in JSON, and nothing changed by asking.

use std::fs;

use crate::berth::{Dev, run};

const FILES: &str = "\
name: fraud
auth_mode: none
traffic: {blue: 100}
---
name: blue
endpoint_name: fraud
command: [sleep, '1000']
instance_count: 2
resources: {cpu: 4, memory: 1GiB}
---
name: wide
endpoint_name: fraud
command: [sleep, '1000']
instance_count: 2
reserve: false
resources: {cpu: 40, memory: 1GiB}
";

#[test]
fn what_would_happen_is_told_and_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.yml");
    fs::write(&path, FILES).expect("a file");
    let file = path.display().to_string();
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "2"]);

    let planned = dev.run(&["plan", "-f", &file]);
    assert_eq!(planned.code, 1, "everything would be new: {planned:#?}");
    for part in ["+ endpoint fraud", "+ deployment fraud/wide", "instance_count: 2", "fraud/blue", "--check-index "] {
        assert!(planned.out.contains(part), "{part} in {planned:#?}");
    }
    assert_eq!(dev.run(&["get", "endpoints", "-o", "json"]).good().json(), serde_json::json!([]), "nothing was done");
    let index = planned.out.rsplit("--check-index ").next().map(str::trim).expect("a number");
    dev.run(&["apply", "-f", &file, "--no-wait", "--check-index", index]).good();

    let again = dev.run(&["plan", "-f", &file]).good();
    assert!(again.out.contains("nothing would change"), "{again:#?}");
    let more = dev.run(&["plan", "-f", &file, "--set", "tags.team=ml"]);
    assert_eq!(more.code, 1, "{more:#?}");
    assert!(more.out.contains("tags.team: (none) → ml") && more.out.contains("every replica is replaced"), "{more:#?}");
    let stale = dev.run(&["apply", "-f", &file, "--no-wait", "--check-index", index]);
    assert_eq!(stale.code, 1, "{stale:#?}");
    assert!(stale.err.contains("E_REVISION") && stale.err.contains("fraud/wide"), "{stale:#?}");

    let lost = dev.run(&["plan", "--lose", "node-1", "-o", "json"]);
    assert_eq!(lost.code, 1, "two of 40 cores do not fit on one node of 64: {lost:#?}");
    let report = lost.json();
    assert_eq!(report["keeps_minimum"], false);
    let fate = |name: &str| {
        let all = report["deployments"].as_array().expect("a list");
        all.iter().find(|it| it["deployment"] == name).expect("a deployment")["fate"].clone()
    };
    assert_eq!((fate("blue"), fate("wide")), ("dips".into(), "short".into()));
    let enough = dev.run(&["plan", "--add", "cpu=64,memory=64GiB", "--lose", "node-1"]).good();
    assert!(enough.out.contains("every endpoint keeps its minimum"), "{enough:#?}");
    let drained = dev.run(&["plan", "--drain", "node-1"]);
    assert_eq!(drained.code, 1, "{drained:#?}");
    assert!(drained.out.contains("node-1 is never empty: 1 replica fits nowhere else"), "{drained:#?}");
    let spike = dev.run(&["plan", "--spike", "fraud/wide=2x"]);
    assert_eq!(spike.code, 1, "{spike:#?}");
    assert!(spike.out.contains("2/4 placed") && spike.out.contains("nearest:"), "{spike:#?}");

    for (args, part) in [
        (&["plan", "--lose", "node-11"][..], "did you mean `node-1`"),
        (&["plan", "--spike", "fraud=half"], "is no factor"),
        (&["plan", "--add", "cpus=4,memory=1GiB"], "did you mean `cpu`"),
        (&["plan", "-f", "/nowhere.yml"], "/nowhere.yml"),
    ] {
        let ran = dev.run(args);
        assert_eq!(ran.code, 255, "{args:?} {ran:#?}");
        assert!(ran.err.contains(part), "{args:?} {ran:#?}");
    }
    assert_eq!(dev.run(&["get", "nodes", "-o", "json"]).good().json().as_array().map(Vec::len), Some(2));
    assert_eq!(dev.stop(), 0);
}

#[test]
fn a_plan_without_a_question_is_misuse_and_without_a_cluster_no_answer() {
    assert_eq!(run(&["plan"]).code, 2);
    assert_eq!(run(&["plan", "--set", "a=b"]).code, 2);
    let nobody = run(&["plan", "--lose", "node-1", "--api", "127.0.0.1:1"]);
    assert_eq!(nobody.code, 255, "{nobody:#?}");
    assert!(nobody.err.contains("E_UNAVAILABLE"), "{nobody:#?}");
}
