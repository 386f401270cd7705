//! A stranger's path: Azure's files and a pickled scikit-learn model, `berth dev`, two `create` commands, an answer.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use berth_chaos_tests::say::skipped;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::BERTH;

/// An environment with scikit-learn is unpacked once, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(300);

/// The `pip` arguments that install from the folder of the tests, or why these tests cannot run.
fn pip_args() -> Option<String> {
    let Some(wheels) = std::env::var_os("BERTH_TEST_WHEELS") else {
        skipped("scikit-learn models", "BERTH_TEST_WHEELS names no wheel folder; `.ci/run` fills one");
        return None;
    };
    Some(format!("--no-index,--find-links,{}", wheels.to_str().expect("a readable path")))
}

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").join("examples/digits")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("the file is there")).expect("JSON")
}

/// `berth dev` and where it answers.
struct Dev {
    _child: Child,
    api: String,
    ingress: String,
}

impl Dev {
    async fn start(dir: &TempDir, pip_args: &str) -> Self {
        let mut command = Command::new(BERTH);
        command.args([
            "dev",
            "--nodes",
            "1",
            "--api",
            "127.0.0.1:0",
            "--ingress",
            "127.0.0.1:0",
            "--pip-args",
            pip_args,
        ]);
        command.arg("--data-dir").arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if let Some(rest) = line.strip_prefix("ready: ") {
                    return rest.to_owned();
                }
            }
            panic!("it ended before it was ready")
        };
        let ready = timeout(WITHIN, ready).await.expect("it is ready in time");
        let word = |name: &str| {
            let found = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {ready}")).to_owned()
        };
        Self { _child: child, api: word("api="), ingress: word("ingress=") }
    }

    /// Runs a verb in the folder of the example and returns what it printed.
    async fn berth(&self, words: &[&str]) -> String {
        let mut command = Command::new(BERTH);
        command.args(words).current_dir(digits()).env("BERTH_API", &self.api).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(WITHIN, command.output()).await.expect("it ends in time").expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "berth {}: {stderr}", words.join(" "));
        String::from_utf8(output.stdout).expect("text")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_creates_make_azures_files_and_a_pickled_model_answer() {
    let Some(pip_args) = pip_args() else { return };
    let dir = TempDir::new().expect("a directory");
    let dev = Dev::start(&dir, &pip_args).await;
    dev.berth(&["endpoint", "create", "-f", "endpoint.yml"]).await;
    dev.berth(&["deployment", "create", "-f", "blue-deployment.yml", "--all-traffic"]).await;

    let held_out = json_of(&digits().join("held-out.json"));
    let rows: Vec<Value> = held_out.as_array().expect("rows").iter().take(40).map(|row| row["data"].clone()).collect();
    let expected = json_of(&digits().join("expected.json"));
    let request = dir.path().join("request.json");
    std::fs::write(&request, json!({ "data": rows }).to_string()).expect("the request is written");
    let answer = dev.berth(&["invoke", "digits", "-f", request.to_str().expect("a readable path")]).await;
    let answer: Value = serde_json::from_str(&answer).expect("the model's JSON");
    let numbers =
        |value: &Value| -> Vec<i64> { value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect() };
    assert_eq!(numbers(&answer["predictions"]), numbers(&expected["blue"])[..rows.len()]);

    // As the README has it, with what any system has.
    let credentials = dev.berth(&["endpoint", "get-credentials", "digits", "-o", "json"]).await;
    let credentials: Value = serde_json::from_str(&credentials).expect("JSON");
    let key = credentials["primary_key"].as_str().expect("a key");
    let url = format!("http://{}/e/digits/score", dev.ingress.trim_start_matches("http://"));
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "-m",
        "60",
        "-H",
        "content-type: application/json",
        "-H",
        &format!("Authorization: Bearer {key}"),
    ]);
    curl.arg("-d").arg(format!("@{}", digits().join("sample.json").display())).arg(url).kill_on_drop(true);
    let output = match timeout(WITHIN, curl.output()).await.expect("it ends in time") {
        Ok(output) => output,
        Err(error) => {
            let required = std::env::var("BERTH_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split_whitespace().any(|tool| tool == "curl"), "curl is required: {error}");
            return skipped("curl against a scikit-learn model", &error.to_string());
        }
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(numbers(&answer["predictions"]).len(), 1, "{answer}");
}

/// The whole demo with both runtimes, as a host with Python runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_serves_a_scoring_script_and_an_onnx_file_behind_one_endpoint() {
    let Some(pip_args) = pip_args() else { return };
    let mut command = Command::new(BERTH);
    command.args(["demo", "-o", "json"]).env("BERTH_PIP_ARGS", pip_args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(WITHIN, command.output()).await.expect("the demo ends").expect("the demo runs");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON report on stdout");
    assert_eq!((&report["answers"], &report["failed"]), (&json!(360), &json!(0)), "{report:#}\n{notes}");
    assert_eq!(report["blue_runtime"], "python", "{report:#}\n{notes}");
    for deployment in ["blue", "green"] {
        let accuracy = report["accuracy"][deployment].as_f64().expect("an accuracy");
        assert!(accuracy > 0.95, "{deployment}: {accuracy}");
    }
    // Both models make mistakes, and not the same ones: an answer is of whom it says it is.
    assert_ne!(report["accuracy"]["blue"], report["accuracy"]["green"], "{report:#}");
}
