//! The examples of the Rust SDK, against a cluster: what they do is done, not only compiled.

use std::path::Path;

use crate::berth::{Dev, run_at};

#[path = "../../../client/examples/call.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod call;
#[path = "../../../client/examples/deploy.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod deploy;
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
    let model_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/green/model.onnx");
    let model = model_file.display().to_string();
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
        let uri = deploy::run(&dev.api, "hallo", &model_file).await.expect("it serves");
        assert!(uri.ends_with("/e/hallo/score"), "{uri}");
        let (answer, _) = call::run(&dev.api, "hallo", &sample).await.expect("an answer");
        assert!(answer.contains("predictions"), "{answer}");
        refused_when_empty(&dev.api).await;
        let told = watch::run(&dev.api, 3).await.expect("events");
        assert_eq!(told.len(), 3, "{told:?}");
    });
    assert_eq!(dev.stop(), 0);
}

/// What begins empty is what the cluster refuses, and what [`berth_client::spec`] is for.
async fn refused_when_empty(api: &str) {
    use berth_client::{Client, Code, api::PutDeploymentRequest, spec::Deployment};
    let client = Client::connect([api]).await.expect("a client");
    let (endpoint, name) = ("hello".to_owned(), "empty".to_owned());
    let empty = PutDeploymentRequest { endpoint, name, spec: Some(Default::default()), ..Default::default() };
    assert_eq!(client.put_deployment(empty).await.expect_err("it is refused").code, Code::Invalid);
    // One ends at once and is given up; the other one is there and never listens.
    for (name, program, within_ms, code) in
        [("dead", vec!["false"], 120_000, Code::ReplicaStart), ("mute", vec!["sleep", "600"], 400, Code::Timeout)]
    {
        let spec = Deployment::command("hello", name, program).resources(100, 64);
        let applied = client.apply_deployment(&spec).await.expect("it is whole");
        let within = std::time::Duration::from_millis(within_ms);
        let error = client.await_serving(&applied, within).await.expect_err("it never serves");
        assert_eq!(error.code, code, "{error}");
    }
}
