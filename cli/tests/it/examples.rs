//! The examples of the Rust SDK, against a cluster: what they do is done, not only compiled.

use std::path::Path;

use crate::berth::{Dev, run_at};

#[path = "../../../client/examples/call.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod call;
#[path = "../../../client/examples/shift.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod shift;
#[path = "../../../client/examples/watch.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod watch;

#[test]
fn the_examples_of_the_sdk_move_call_and_watch() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/green/model.onnx").display().to_string();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/sample.json");
    let sample = std::fs::read_to_string(sample).expect("the sample");
    let api = [("BERTH_API", dev.api.as_str())];
    run_at(folder.path(), &["deploy", "hello", "--onnx", &model, "--traffic", "0"], &api).good();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        assert!(call::run(&dev.api, "hello", &sample).await.is_err(), "it has no traffic yet");
        assert_eq!(shift::run(&dev.api, "hello", "blue").await, Ok(Vec::new()));
        let (answer, who) = call::run(&dev.api, "hello", &sample).await.expect("an answer");
        assert!(answer.contains("predictions") && who == "blue", "{who}: {answer}");
        let told = watch::run(&dev.api, 3).await.expect("events");
        assert_eq!(told.len(), 3, "{told:?}");
    });
    assert_eq!(dev.stop(), 0);
}
