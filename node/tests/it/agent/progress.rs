//! How far a replica is that is being prepared: told with the heartbeats, and no more once it is done.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use berth_core::{
    agent::Desired,
    model::{AssetKind, Model, ModelType},
    state::Observed,
};
use berth_proto::node::v1::{PrefetchState, PrepareProgress};

use super::{
    bench::{command, options, server, start},
    coordinator::Coordinator,
};

/// Stands in for Python: every step that takes long waits for a file, so that a test can look at it.
const PYTHON: &str = r#"#!/bin/sh
until_there() { while ! [ -e "HERE/$1" ]; do sleep 0.02; done; }
case "$1 $2" in
"-m venv")
    until_there venv
    mkdir -p "$3/bin" "$3/lib/python3/site-packages/pip-1.dist-info"
    touch "$3/lib/python3/site-packages/pip-1.dist-info/INSTALLER"
    cp "$0" "$3/bin/python" ;;
"-m pip")
    echo "Collecting numpy==2 (from -r requirements.txt (line 1))"
    echo "  Downloading numpy-2.0-py3-none-any.whl (18.0 MB)"
    until_there collected
    echo "Installing collected packages: numpy, scipy"
    packages="$(dirname "$0")/../lib/python3/site-packages"
    mkdir -p "$packages/numpy-2.dist-info" && touch "$packages/numpy-2.dist-info/INSTALLER"
    until_there installed ;;
*) exec python3 "$@" ;;
esac
"#;

fn go_on(here: &Path, what: &str) {
    fs::write(here.join(what), "").unwrap();
}

#[tokio::test]
async fn a_build_tells_its_steps_as_pip_says_them() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    let python = dir.path().join("python");
    fs::write(&python, PYTHON.replace("HERE", &dir.path().display().to_string())).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    options.python = python;
    let node = start(options).await;
    let mut spec = command(&["sleep", "600"]);
    spec.environment.pip = vec!["numpy==2".into(), "scipy".into()];
    leader.order(1, &spec, Desired::Run).await;
    let is = |step: u32, done: u64| {
        move |said: Option<&PrepareProgress>| said.is_some_and(|said| (said.step, said.done) == (step, done))
    };
    let said = leader.progress(1, is(1, 0)).await.unwrap();
    assert_eq!((said.what.as_str(), said.steps), ("makes a virtual environment", 3));
    // The same environment is built once, and whoever else needs it says what it waits for.
    leader.order(2, &spec, Desired::Run).await;
    leader.progress(2, |said| said.is_some_and(|said| said.what.starts_with("waits until"))).await;
    go_on(dir.path(), "venv");
    let said = leader.progress(1, is(2, 1)).await.unwrap();
    assert_eq!((said.what.as_str(), said.detail.as_str(), said.total), ("collects packages", "numpy, 18.0 MB", 0));
    go_on(dir.path(), "collected");
    let said = leader.progress(1, is(3, 1)).await.unwrap();
    assert_eq!((said.what.as_str(), said.total, said.unit.as_str()), ("installs packages", 2, "packages"));
    go_on(dir.path(), "installed");
    leader.progress(1, |said| said.is_none()).await;
    leader.progress(2, |said| said.is_none()).await;
    leader.report(1, Observed::Starting).await;
    node.stop().await;
}

#[tokio::test]
async fn a_fetch_tells_how_many_bytes_have_come() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut spec = server();
    let asset = leader.store("model.onnx", AssetKind::File, vec![7; 256 << 10]);
    spec.model = Some(Model { name: "m".into(), version: "1".into(), model_type: ModelType::CustomModel, asset });
    leader.hold_after(Some(128 << 10));
    leader.order(1, &spec, Desired::Run).await;
    let half = |said: Option<&PrepareProgress>| said.is_some_and(|said| said.done == 128 << 10);
    let said = leader.progress(1, half).await.unwrap();
    assert_eq!((said.what.as_str(), said.total, said.unit.as_str()), ("fetches model.onnx", 256 << 10, "bytes"));
    leader.order(2, &spec, Desired::Run).await;
    leader.progress(2, |said| said.is_some_and(|said| said.what.starts_with("waits for model.onnx"))).await;
    leader.hold_after(None);
    leader.report(1, Observed::Warm).await;
    leader.report(2, Observed::Warm).await;
    leader.progress(1, |said| said.is_none()).await;
    node.stop().await;
}

#[tokio::test]
async fn what_slots_need_is_told_as_what_replicas_need() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut spec = server();
    let asset = leader.store("model.onnx", AssetKind::File, vec![7; 256 << 10]);
    spec.model = Some(Model { name: "m".into(), version: "1".into(), model_type: ModelType::CustomModel, asset });
    leader.hold_after(Some(128 << 10));
    leader.prefetch("fraud/blue", Some(&spec)).await;
    let half = |said: Option<&PrepareProgress>| said.is_some_and(|said| said.done == 128 << 10);
    let said = leader.prefetching("fraud/blue", half).await.unwrap();
    assert_eq!((said.what.as_str(), said.total, said.unit.as_str()), ("fetches model.onnx", 256 << 10, "bytes"));
    leader.hold_after(None);
    leader.prefetched(&[("fraud/blue", PrefetchState::Cached)]).await;
    leader.prefetching("fraud/blue", |said| said.is_none()).await;
    node.stop().await;
}
