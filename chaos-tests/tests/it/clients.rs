//! Unmodified clients get answers from any node's port: grpcio, tritonclient, KServe's, OpenAI's, requests, httpx, the
//! Rust SDK.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT},
    say::skipped,
};
use berth_client::{InferClient, Tensor, TensorData};
use berth_core::model::{AuthMode, DeploymentSpec, EndpointSpec, Runtime};

use crate::BERTH;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Builds a Python environment from the wheel folder, with what a file beside the scripts asks for, or says why its tests
/// cannot run.
pub(crate) fn python(requirements: &str) -> Option<PathBuf> {
    let Some(wheels) = std::env::var_os("BERTH_TEST_WHEELS") else {
        let what = format!("what needs {requirements}");
        skipped(&what, "BERTH_TEST_WHEELS names no wheel folder; `.ci/run` fills one");
        return None;
    };
    let stem = requirements.trim_end_matches(".txt");
    let venv = std::env::temp_dir().join(format!("berth-{stem}-{}", std::process::id()));
    let requirements = repository().join("chaos-tests/python").join(requirements);
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().expect("python3 runs");
    assert!(made.success(), "the environment is made");
    let python = venv.join("bin/python");
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "-q", "--no-index", "--find-links"])
        .arg(wheels)
        .arg("-r")
        .arg(requirements)
        .status()
        .expect("pip runs");
    assert!(installed.success(), "the wheels are installed");
    Some(python)
}

async fn run(python: &Path, script: &str, args: Vec<String>) -> String {
    let mut command = tokio::process::Command::new(python);
    command.arg(repository().join("chaos-tests/python").join(script)).args(args).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let output = output.expect("the client ends in time").expect("the client runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_answered_by_every_node_and_any_member_tells_what_became_of_it() {
    let cluster = Cluster::start(BERTH, 3, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    for ingress in cluster.ingresses().await {
        let client = InferClient::new([ingress.to_string()], ENDPOINT).expect("a client");
        let answer = client.score(r#"{"data":[1]}"#).await.expect("an answer");
        assert_eq!(answer.deployment(), Some("blue"));
        let echoed = client.unary("/echo.Echo/Say", b"hello".to_vec()).await.expect("a gRPC answer");
        assert_eq!(&echoed.message[..], b"hello");
        let id = answer.headers["x-request-id"].to_str().expect("text").to_owned();
        for member in cluster.fleet.api_addresses() {
            let text = explain_request(&member, &id).expect("it is remembered");
            assert!(text.starts_with("POST /e/") && text.contains("deployment  blue: the split"), "{text}");
        }
    }
    let member = &cluster.fleet.api_addresses()[0];
    let refused = explain_request(member, "nobody-sent-this").expect_err("nobody knows it");
    assert!(refused.contains("E_REQUEST_NOT_FOUND") && !refused.contains("did not answer"), "{refused}");
}

/// Asks a member what became of a request, as an operator does.
fn explain_request(member: &str, id: &str) -> Result<String, String> {
    let output = Command::new(BERTH).args(["--api", member, "explain", "request", id]).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Deploys a Python server of a stock library as its own endpoint, open to everyone.
async fn deploy_python(cluster: &Cluster, endpoint: &str, python: &Path, script: &str) {
    let spec = EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() };
    cluster.put_endpoint(endpoint, &spec).await;
    let script = repository().join("chaos-tests/python").join(script);
    let argv = [python.display().to_string(), script.display().to_string()].to_vec();
    let spec = DeploymentSpec { runtime: Runtime::Command(argv), ..cluster.command(&[]) };
    cluster.put(endpoint, "one", &spec).await;
    let client = &cluster.client;
    cluster
        .until(&format!("{endpoint} serves"), async || {
            let replicas = client.list_replicas(endpoint, "one").await.unwrap_or_default();
            replicas.iter().any(|replica| replica.state == "serving")
        })
        .await;
    cluster.split_of(endpoint, &[("one", 100)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_python_clients_are_answered_by_every_node() {
    let Some(python) = python("requirements.txt") else { return };
    let cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    let digits = repository().join("examples/digits");
    berth_cli::verbs::create_endpoint(&cluster.client, &digits.join("endpoint.yml")).await.expect("the endpoint");
    let green = digits.join("green-deployment.yml");
    let within = Duration::from_secs(60);
    berth_cli::verbs::create_deployment(&cluster.client, &green, &[], within).await.expect("green serves");
    cluster.split_of("digits", &[("green", 100)]).await;
    deploy_python(&cluster, "talker", &python, "stock_grpc_model.py").await;
    deploy_python(&cluster, "chatter", &python, "openai_model.py").await;
    let key = cluster.client.list_keys("digits").await.expect("the keys").primary_key;
    let held_out = digits.join("held-out.json").display().to_string();
    for ingress in cluster.ingresses().await {
        let with = |last: &[&str]| {
            let args = [&[ingress.to_string(), "digits".to_owned(), key.clone(), held_out.clone()][..]].concat();
            args.into_iter().chain(last.iter().map(|word| (*word).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(run(&python, "grpc_echo.py", vec![ingress.to_string(), ENDPOINT.to_owned()]).await, "ok");
        let right = run(&python, "triton_infer.py", with(&["chatter"])).await;
        assert!(right.ends_with("of 20"), "{right}");
        assert_eq!(run(&python, "triton_grpc.py", with(&["talker"])).await, "ok");
        assert_eq!(run(&python, "kserve_infer.py", with(&["chatter"])).await, "ok");
        assert_eq!(run(&python, "openai_chat.py", vec![ingress.to_string(), "chatter".to_owned()]).await, "ok");
    }
    if let Some(venv) = python.parent().and_then(Path::parent) {
        let _ = std::fs::remove_dir_all(venv);
    }
}

/// The typed gRPC calls of the SDK against the built-in ONNX server, through the ingress and gate of every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_sends_tensors_to_an_onnx_file() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    let digits = repository().join("examples/digits");
    berth_cli::verbs::create_endpoint(&cluster.client, &digits.join("endpoint.yml")).await.expect("the endpoint");
    let (green, within) = (digits.join("green-deployment.yml"), Duration::from_secs(60));
    berth_cli::verbs::create_deployment(&cluster.client, &green, &[], within).await.expect("green serves");
    cluster.split_of("digits", &[("green", 100)]).await;
    let key = cluster.client.list_keys("digits").await.expect("the keys").primary_key;
    let text = std::fs::read_to_string(digits.join("held-out.json")).expect("the held-out digits");
    let held_out: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let first = &held_out[0];
    let pixels: Vec<f32> = serde_json::from_value(first["data"].clone()).expect("pixels");
    for ingress in cluster.ingresses().await {
        let client = InferClient::new([ingress.to_string()], "digits").expect("a client").with_key(&key);
        assert!(client.server_live().await.expect("live") && client.server_ready().await.expect("ready"));
        assert!(client.model_ready("digits").await.expect("ready"));
        assert_eq!(client.server_metadata().await.expect("metadata").name, "berth-onnx");
        let model = client.model_metadata("digits").await.expect("metadata");
        let image = Tensor::new(&model.inputs[0].name, [1, 64], pixels.clone()).expect("a whole image");
        let answer = client.infer_tensors("digits", &[image]).await.expect("an answer");
        let label = answer.outputs.iter().find(|output| output.name == "label").expect("a label");
        assert_eq!(label.data, TensorData::Int64(vec![first["label"].as_i64().expect("a number")]));
        let wrong = Tensor::new("input", [1], vec!["text".to_owned()]).expect("a tensor");
        let refused = client.infer_tensors("digits", &[wrong]).await.expect_err("the model takes floats");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    }
    let nobody = InferClient::new([cluster.ingresses().await[0].to_string()], "digits").expect("a client");
    assert_eq!(nobody.server_live().await.expect_err("no key").code(), tonic::Code::Unauthenticated);
}
