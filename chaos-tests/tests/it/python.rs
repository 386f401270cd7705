//! The Python SDK as it is installed: its own tests against a real `berth dev`, and its types.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use berth_chaos_tests::say::skipped;

use crate::BERTH;

/// What all of its tests may take, environments and clusters included.
const WITHIN: Duration = Duration::from_secs(600);

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").join("sdk/python")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_passes_its_own_tests_against_a_cluster() {
    let Some(wheels) = std::env::var_os("BERTH_TEST_WHEELS") else {
        skipped("the Python SDK", "BERTH_TEST_WHEELS names no wheel folder; `.ci/run` fills one");
        return;
    };
    // A copy: installing writes beside what it installs.
    let folder = tempfile::tempdir().expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(sdk()).arg(folder.path()).status().expect("cp runs");
    assert!(copied.success(), "the SDK is copied");
    let (venv, copy) = (folder.path().join("venv"), folder.path().join("python"));
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().expect("python3 runs");
    assert!(made.success(), "the environment is made");
    let python = venv.join("bin/python");
    let pip = |rest: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "-q", "--no-index", "--find-links"]).arg(&wheels).args(rest);
        let output = command.current_dir(&copy).output().expect("pip runs");
        assert!(output.status.success(), "{}", text(&output));
    };
    pip(&["-r", "tests/requirements.txt"]);
    pip(&["."]);
    let tested = run(&python, &["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests"]).await;
    // A test that is skipped would look like one that passed.
    assert!(tested.status.success() && !text(&tested).contains("skipped"), "{}", text(&tested));
    let typed = run(&python, &["-m", "mypy", "--cache-dir=/dev/null"]).await;
    assert!(typed.status.success(), "{}", text(&typed));
}

/// Runs a module of Python where the SDK lies: its tests read the examples and the protos beside it.
async fn run(python: &Path, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(python);
    command.args(args).current_dir(sdk()).env("BERTH_BINARY", BERTH).env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = tokio::time::timeout(WITHIN, command.kill_on_drop(true).output()).await;
    ended.expect("it ends in time").expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}
