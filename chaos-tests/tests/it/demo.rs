//! The demo runs to its report, here with what a host without Python gives.

use std::{process::Stdio, time::Duration};

use crate::BERTH;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_to_an_honest_report() {
    let mut command = tokio::process::Command::new(BERTH);
    // An empty path has no Python, so the demo neither builds an environment nor reaches for the network.
    command.args(["demo", "-o", "json"]).env("PATH", "").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(180), command.output()).await;
    let output = output.expect("the demo ends").expect("the demo runs");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    assert!(notes.contains("no Python 3"), "it says what stands in for what: {notes}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a JSON report on stdout");
    assert_eq!(report["answers"], 360, "{report:#}\n{notes}");
    assert_eq!(report["failed"], 0, "{report:#}");
    assert_eq!(report["blue_runtime"], "onnx");
    for deployment in ["blue", "green"] {
        let accuracy = report["accuracy"][deployment].as_f64().expect("an accuracy");
        assert!(accuracy > 0.95, "{deployment}: {accuracy}");
    }
    let split = &report["shares"]["3 blue=90 green=10"];
    // Three routers, each within one request in a hundred.
    assert!((split["green"].as_f64().expect("a share") - 10.0).abs() <= 3.0, "{split}");
    let mirrored = report["mirrored"].as_u64().expect("a count");
    assert!((7..=13).contains(&mirrored), "{mirrored} of 100 were mirrored at 10 %");
    assert!(report["recovery_seconds"].as_f64().expect("a time") > 0.0);
}
