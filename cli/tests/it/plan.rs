//! What would happen, told by exit codes, in words and in JSON, and nothing changed by asking.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

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

/// Applies a file on a terminal whose person types `answer`. Returns the exit code and everything that was shown.
fn applied_at_a_terminal(dev: &Dev, file: &str, answer: &str) -> (i32, String) {
    // Python's own library has terminals, and hands on how the program ended.
    let script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let binary = env!("CARGO_BIN_EXE_berth");
    let mut child = Command::new("timeout")
        .args(["120", "python3", "-c", script, binary, "apply", "-f", file, "--no-wait", "--no-color"])
        .env("BERTH_API", &dev.api)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    child.stdin.take().expect("a pipe").write_all(answer.as_bytes()).expect("typed");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_person_sees_the_plan_before_it_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.yml");
    fs::write(&path, "name: fraud\nauth_mode: none\n").expect("a file");
    let file = path.display().to_string();
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let names = || dev.run(&["get", "endpoints", "-o", "name"]).good().out;

    let (code, shown) = applied_at_a_terminal(&dev, &file, "n\n");
    assert_eq!(code, 1, "{shown}");
    for part in ["+ endpoint fraud", "This is what would be done. Go on? [y/N]", "nothing was changed"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(names(), "", "who says no has changed nothing");
    let (code, shown) = applied_at_a_terminal(&dev, &file, "y\n");
    assert!(code == 0 && shown.contains("Go on?") && shown.contains("endpoint fraud applied"), "{code}: {shown}");
    assert_eq!(names(), "fraud\n");
    let (code, shown) = applied_at_a_terminal(&dev, &file, "");
    assert!(code == 0 && !shown.contains("Go on?"), "nothing would change, so nothing is asked: {code}: {shown}");
    // A script is not asked, and a person may say so beforehand.
    dev.run(&["apply", "-f", &file, "--set", "description=a", "--no-wait"]).good();
    dev.run(&["apply", "-f", &file, "--set", "description=b", "--no-wait", "-y"]).good();
    assert_eq!(dev.stop(), 0);
}

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
    let more = dev.run(&["plan", "-f", &file, "--set", "environment_variables.TEAM=ml"]);
    assert_eq!(more.code, 1, "{more:#?}");
    assert!(
        more.out.contains("environment_variables.TEAM: (none) → ml") && more.out.contains("every replica is replaced"),
        "{more:#?}"
    );
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
