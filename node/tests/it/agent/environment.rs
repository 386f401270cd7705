//! Python environments, without any index: what is installed is a wheel made here.

use berth_core::{
    agent::Desired,
    model::{Code, DeploymentSpec, Model, ModelType, Probe, Runtime},
    state::Observed,
};

use super::{
    bench::{command, folder, get, options, start, wheel},
    coordinator::Coordinator,
};

/// Stands in for Azure's server: as much of it as shows whether it was started rightly.
const SERVER: &str = r#"
import argparse, http.server, importlib.util, json, os, sys
from . import constants
def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry_script")
    parser.add_argument("--port", type=int)
    args = parser.parse_args()
    sys.path.append(os.environ["AML_APP_ROOT"])
    spec = importlib.util.spec_from_file_location("entry", args.entry_script)
    entry = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    entry.init()
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            env = {name: os.environ.get(name) for name in
                   ["AML_APP_ROOT", "AZUREML_ENTRY_SCRIPT", "AZUREML_MODEL_DIR", "WORKER_COUNT", "VIRTUAL_ENV"]}
            body = json.dumps({"answer": entry.run("{}"), "env": env, "host": constants.DEFAULT_HOST}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *args):
            pass
    http.server.ThreadingHTTPServer((constants.DEFAULT_HOST, args.port), Handler).serve_forever()
"#;

fn server_wheel(dir: &std::path::Path) -> std::path::PathBuf {
    wheel(
        dir,
        "azureml_inference_server_http",
        &[
            ("azureml_inference_server_http/__init__.py", ""),
            ("azureml_inference_server_http/constants.py", "DEFAULT_HOST = '0.0.0.0'\n"),
            ("azureml_inference_server_http/amlserver.py", SERVER),
        ],
    )
}

fn scoring(leader: &Coordinator, script: &str) -> DeploymentSpec {
    let mut spec = DeploymentSpec::new(Runtime::Python);
    let (kind, bytes) = folder(&[("inner/score.py", script), ("inner/helper.py", "ANSWER = 42\n")]);
    spec.code =
        Some(Code { asset: leader.store("onlinescoring", kind, bytes), scoring_script: "inner/score.py".into() });
    let (kind, bytes) = folder(&[("weights.txt", "seven")]);
    let asset = leader.store("model", kind, bytes);
    spec.model = Some(Model { name: "iris".into(), version: "1".into(), model_type: ModelType::CustomModel, asset });
    spec.liveness_probe = Probe { initial_delay_ms: 500, ..Probe::default() };
    spec.request_settings.max_concurrent_requests_per_instance = 2;
    spec
}

#[tokio::test]
async fn a_scoring_script_runs_unmodified_in_an_environment_built_once() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    let wheels = server_wheel(dir.path());
    options.pip_args = vec!["--no-index".into(), "--find-links".into(), wheels.display().to_string()];
    let node = start(options).await;
    let script = "import os\nimport helper\ndef init():\n    global weights\n    weights = open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'model', 'weights.txt')).read()\n    print('init done')\ndef run(data):\n    return [helper.ANSWER, weights]\n";
    let mut spec = scoring(&leader, script);
    spec.environment.python = Some("2.0".into());
    leader.order(1, &spec, Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    let answer = get(&warm.address);
    assert_eq!(answer["answer"], serde_json::json!([42, "seven"]));
    assert_eq!(answer["host"], "127.0.0.1", "nobody passes by the gate");
    let env = &answer["env"];
    assert_eq!((&env["AZUREML_ENTRY_SCRIPT"], &env["WORKER_COUNT"]), (&"score.py".into(), &"2".into()));
    assert!(env["AML_APP_ROOT"].as_str().unwrap().ends_with("/app/onlinescoring/inner"));
    assert!(env["AZUREML_MODEL_DIR"].as_str().unwrap().ends_with("/app/azureml-models/iris/1"));
    spec.environment_variables.insert("WORKER_COUNT".into(), "7".into());
    leader.order(2, &spec, Desired::Run).await;
    let second = get(&leader.report(2, Observed::Warm).await.address);
    assert_eq!(second["env"]["WORKER_COUNT"], "7", "what the user sets wins");
    assert_eq!(second["env"]["VIRTUAL_ENV"], env["VIRTUAL_ENV"], "one environment for both");
    let log = std::fs::read_to_string(dir.path().join("node/logs/0000000000000001/prepare.log")).unwrap();
    assert!(log.contains("warning: this is for Python 2.0, which this node has not: 3."), "{log}");
    let second_log = std::fs::read_to_string(dir.path().join("node/logs/0000000000000002/prepare.log")).unwrap();
    assert!(!second_log.contains("building an environment"), "{second_log}");

    let raises = scoring(&leader, "def init():\n    raise ValueError('no weights')\ndef run(data):\n    pass\n");
    leader.order(3, &raises, Desired::Run).await;
    let failed = leader.report(3, Observed::Failed).await;
    assert!(failed.reason.starts_with("exited with code 1: ValueError: no weights\n"), "{}", failed.reason);
    assert!(failed.reason.ends_with("ValueError: no weights"), "{}", failed.reason);
    node.stop().await;
}

/// What a build that cannot work comes down to.
const BUILD: &str = "E_ENVIRONMENT: the environment cannot be built: No matching distribution found for \
                     no-such-package-of-berth==1.2.3\n";

#[tokio::test]
async fn an_environment_that_cannot_be_built_is_refused_with_pips_words() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.pip_args = vec!["--no-index".into()];
    let node = start(options).await;
    let mut spec = command(&["true"]);
    spec.environment.pip = vec!["no-such-package-of-berth==1.2.3".into()];
    leader.order(1, &spec, Desired::Run).await;
    let failed = leader.report(1, Observed::Failed).await;
    assert!(failed.permanent);
    assert!(failed.reason.starts_with(BUILD), "{}", failed.reason);
    spec.environment.python = Some("2.0".into());
    leader.order(2, &spec, Desired::Run).await;
    let failed = leader.report(2, Observed::Failed).await;
    let first = failed.reason.lines().next().unwrap();
    assert!(first.contains("==1.2.3; it is for Python 2.0; this node has only 3."), "{first}");
    node.stop().await;
}

#[tokio::test]
async fn a_node_without_python_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.python = "/nowhere/python3".into();
    let node = start(options).await;
    leader.order(1, &scoring(&leader, "def init(): pass\ndef run(x): pass\n"), Desired::Run).await;
    let failed = leader.report(1, Observed::Failed).await;
    assert!(failed.reason.contains("`/nowhere/python3` cannot be run on this node"), "{}", failed.reason);
    node.stop().await;
}
