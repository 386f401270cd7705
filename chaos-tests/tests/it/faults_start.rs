//! Models that do not start, and scripts that fail at their work: the reason and the log reach whoever deployed them.

use std::{collections::BTreeSet, path::Path};

use berth_chaos_tests::{
    cluster::{Cluster, WITHIN},
    say::skipped,
};
use berth_client::InferClient;
use berth_core::model::{AuthMode, Code, DeploymentSpec, EndpointSpec, Probe, Runtime};
use berth_core::units::Resources;
use tokio::time::timeout;

use crate::BERTH;

/// Asked as soon and as often as a spec may say, so that a start that hangs is noticed within seconds.
const IMPATIENT: Probe =
    Probe { initial_delay_ms: 1_000, period_ms: 1_000, timeout_ms: 1_000, success_threshold: 1, failure_threshold: 2 };
/// A start that hangs where others of its kind take seconds for good reasons.
const PATIENT: Probe = Probe { initial_delay_ms: 12_000, ..IMPATIENT };

/// Every way to fail, in one file: `init` fails as the variable says, `run` as the request says.
const SCRIPT: &str = r#"
import os, sys, time

def init():
    how = os.environ.get("FAIL", "")
    print("loading", how, flush=True)
    if how == "raise":
        raise ValueError("the weights are from another model")
    if how == "exit":
        os._exit(3)
    if how == "hang":
        time.sleep(100000)

def run(data):
    if "raise" in data:
        raise KeyError("no such column")
    if "hang" in data:
        time.sleep(100000)
    if "garbage" in data:
        return {"a set is no JSON", 1.5, object()}
    return {"read": len(data)}
"#;

/// Runs a verb as a user would, and returns its exit code and everything it printed.
async fn berth(cluster: &Cluster, args: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(BERTH);
    command.args(args).env("BERTH_API", cluster.fleet.api_addresses().join(",")).kill_on_drop(true);
    let output = timeout(WITHIN, command.output()).await.expect("it ends in time").expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

async fn endpoint(cluster: &Cluster) {
    cluster.put_endpoint("new", &EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() }).await;
}

/// Waits until a deployment is in this state and returns its reason.
async fn reason(cluster: &Cluster, name: &str, state: &str) -> String {
    let mut reason = String::new();
    cluster
        .until(&format!("{name} is {state}"), async || match cluster.client.get_deployment("new", name).await {
            Ok(deployment) => {
                reason = deployment.reason;
                deployment.provisioning_state == state
            }
            Err(_) => false,
        })
        .await;
    reason
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_exits_or_hangs_fails_with_its_last_words() {
    let cluster = Cluster::start(BERTH, 1, 1).await;
    endpoint(&cluster).await;
    let mut hang = cluster.command(&["broken-model", "hang"]);
    (hang.liveness_probe, hang.readiness_probe) = (IMPATIENT, IMPATIENT);
    cluster.put("new", "hang", &hang).await;
    let mut pids = BTreeSet::new();
    let started = async |pids: &mut BTreeSet<u32>| {
        let replicas = cluster.client.list_replicas("new", "hang").await.unwrap_or_default();
        pids.extend(replicas.iter().map(|replica| replica.pid).filter(|pid| *pid != 0));
        !pids.is_empty()
    };
    cluster.until("the one that hangs has started", async || started(&mut pids).await).await;

    let file = cluster.fleet.dir().join("exit.yml");
    let text = format!(
        "name: exit\nendpoint_name: new\ncommand: [{BERTH}, broken-model, exit]\nresources: {{cpu: 500m, memory: 64MiB}}\n"
    );
    std::fs::write(&file, text).expect("the file is written");
    let file = file.display().to_string();
    let (code, text) = berth(&cluster, &["deployment", "create", "-f", &file]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("E_REPLICA_START") && text.contains("exited with code 3"), "{text}");
    assert!(text.contains("exit: the weights are not what they should be"), "the log's end is shown: {text}");

    let mut reason = String::new();
    cluster
        .until("the one that hangs has failed", async || {
            started(&mut pids).await;
            let hang = cluster.client.get_deployment("new", "hang").await.unwrap_or_default();
            reason = hang.reason;
            hang.provisioning_state == "Failed"
        })
        .await;
    assert!(reason.contains("hang: the weights are not what they should be"), "{reason}");
    cluster
        .until("what hung is ended", async || pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scoring_script_that_fails_is_told_apart_from_the_mesh() {
    let Some(wheels) = std::env::var_os("BERTH_TEST_WHEELS") else {
        skipped("Python environments", "BERTH_TEST_WHEELS names no wheel folder; `.ci/run` fills one");
        return;
    };
    let wheels = wheels.to_str().expect("a readable path").to_owned();
    let args = vec!["--pip-args".to_owned(), format!("--no-index,--find-links,{wheels}")];
    let cluster = Cluster::start_with(BERTH, 1, 1, args).await;
    endpoint(&cluster).await;
    let folder = cluster.fleet.dir().join("onlinescoring");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("score.py"), SCRIPT).expect("the script is written");
    let asset = cluster.client.upload(&folder).await.expect("the code is uploaded");
    let spec = |fail: &str| {
        let mut spec = DeploymentSpec::new(Runtime::Python);
        spec.code = Some(Code { asset: asset.clone(), scoring_script: "score.py".to_owned() });
        spec.instance_type = String::new();
        spec.resources = Resources { cpu_milli: 500, memory_mib: 64, ..Resources::ZERO };
        spec.environment_variables.insert("FAIL".to_owned(), fail.to_owned());
        // The one that hangs must be told from the slow start of an interpreter on a busy host.
        spec.liveness_probe = if fail == "hang" { PATIENT } else { Probe::default() };
        spec.request_settings.request_timeout_ms = 3_000;
        spec
    };
    // The environment is built once, by the one that works; the others find it.
    cluster.put("new", "works", &spec("")).await;
    reason(&cluster, "works", "Succeeded").await;
    for fail in ["raise", "exit", "hang"] {
        cluster.put("new", fail, &spec(fail)).await;
    }
    cluster.split_of("new", &[("works", 100)]).await;
    let client = InferClient::new([cluster.fleet.ingress(0).to_string()], "new").expect("a client");
    let score = async |body: &str| {
        let answer = timeout(WITHIN, client.score(format!("\"{body}\""))).await;
        answer.expect("it ends in time").expect("an answer")
    };
    cluster.until("the script answers", async || score("fine").await.status == 200).await;
    for body in ["raise", "garbage"] {
        let answer = score(body).await;
        assert_eq!(answer.status, 424, "{body}: {answer:?}");
        assert_eq!(answer.headers["ms-azureml-model-error-statuscode"], "500", "{body}");
        assert_eq!(score("fine").await.status, 200, "one bad request harms no other");
    }
    let answer = score("hang").await;
    assert_eq!(answer.status, 408, "{answer:?}");
    // A worker cannot be stopped from outside: its slot is taken, and who waits for it hears that it never came to work.
    let answer = score("fine").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["x-berth-reason"]),
        (408, &"expired".parse().expect("a value"))
    );

    let raised = reason(&cluster, "raise", "Failed").await;
    assert!(raised.contains("ValueError: the weights are from another model"), "{raised}");
    let exited = reason(&cluster, "exit", "Failed").await;
    assert!(exited.contains("loading exit"), "{exited}");
    // Its probes gave it 15 s; what it printed in that time is the reason it is given up with.
    let hung = reason(&cluster, "hang", "Failed").await;
    assert!(hung.contains("liveness probe failed") && hung.contains("loading hang"), "{hung}");
    let (code, text) = berth(&cluster, &["logs", "new/hang", "--tail", "100"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("loading hang"), "{text}");
    let (code, text) = berth(&cluster, &["deployment", "delete", "new/hang", "--yes"]).await;
    assert_eq!(code, Some(0), "a hung start does not stand against its end: {text}");
}
