//! Callers and operators that do wrong, and processes that go in the middle of something.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, WITHIN, assert_all_answered};
use berth_cli::fleet::Fleet;
use berth_client::{Answer, InferClient, api};
use berth_core::{
    error::Code,
    model::{AuthMode, EndpointSpec},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::BERTH;

/// A request the echo model works on for longer than any of these tests runs.
const LONG: &str = "sleep:170000";

fn open() -> EndpointSpec {
    EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() }
}

fn caller(ingress: SocketAddr, endpoint: &str) -> InferClient {
    InferClient::new([ingress.to_string()], endpoint).expect("a client")
}

async fn score(client: &InferClient, body: &str) -> Answer {
    let answer = timeout(WITHIN, client.score(body.to_owned())).await;
    answer.expect("it ends in time").expect("an answer, whatever its status")
}

/// Deploys the echo model with one slot and a time limit that no test reaches.
async fn deploy_single(cluster: &Cluster, endpoint: &str, name: &str) {
    let mut spec = cluster.command(&["echo-model"]);
    spec.request_settings.max_concurrent_requests_per_instance = 1;
    spec.request_settings.request_timeout_ms = 180_000;
    cluster.put(endpoint, name, &spec).await;
    serving(cluster, endpoint, name).await;
}

async fn serving(cluster: &Cluster, endpoint: &str, name: &str) {
    cluster
        .until(&format!("{endpoint}/{name} serves"), async || {
            cluster.client.get_deployment(endpoint, name).await.is_ok_and(|d| d.provisioning_state == "Succeeded")
        })
        .await;
}

/// Waits until a deployment's only replica works on a request, and returns its pid.
async fn at_work(cluster: &Cluster, endpoint: &str) -> u32 {
    let mut pid = 0;
    cluster
        .until("the replica works on the request", async || {
            let replicas = cluster.client.list_replicas(endpoint, "").await.unwrap_or_default();
            pid = replicas.iter().find(|replica| replica.in_flight == 1).map_or(0, |replica| replica.pid);
            pid != 0
        })
        .await;
    pid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_break_an_endpoint_is_refused_and_it_goes_on() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    let client = &cluster.client;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let ingresses = cluster.ingresses().await;
    let load = cluster.load(ingresses, 50, 100);

    let shares = [("blue".to_owned(), 50), ("green".to_owned(), 20)].into();
    let refused = client.set_traffic(ENDPOINT, Some(shares), None).await.expect_err("70 is neither 0 nor 100");
    assert_eq!(refused.code, Code::Traffic);
    let fields: Vec<_> = refused.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert!(fields.contains(&"traffic") && fields.contains(&"traffic.green"), "{refused:?}");

    let request =
        api::DeleteDeploymentRequest { endpoint: ENDPOINT.to_owned(), name: "blue".to_owned(), ..Default::default() };
    let refused = client.delete_deployment(request.clone()).await.expect_err("it carries everything");
    assert_eq!(refused.code, Code::CarriesTraffic);

    // One that asks for more than any node has stays pending, says why, and harms nobody.
    let mut giant = cluster.command(&["echo-model"]);
    giant.resources.cpu_milli = 1_000_000;
    cluster.put(ENDPOINT, "giant", &giant).await;
    cluster
        .until("the giant is explained", async || {
            let verdict = client.explain_deployment(ENDPOINT, "giant").await.unwrap_or_default();
            verdict.nodes_looked_at == 2 && verdict.refused_by.get("cpu") == Some(&2)
        })
        .await;
    let verdict = client.explain_deployment(ENDPOINT, "giant").await.expect("a verdict");
    assert_eq!((verdict.desired, verdict.placed), (1, 0));
    assert!(verdict.text.contains("cpu") && !verdict.nearest.is_empty(), "{verdict:?}");
    let pending = client.get_deployment(ENDPOINT, "giant").await.expect("it is kept");
    assert_eq!(pending.provisioning_state, "Creating", "a lack of room is no failure");
    giant.resources.cpu_milli = 500;
    cluster.put(ENDPOINT, "giant", &giant).await;
    serving(&cluster, ENDPOINT, "giant").await;

    assert_all_answered(&load.end().await, 100);
    cluster.split(&[]).await;
    client.delete_deployment(request).await.expect("nothing stands against it now");
    cluster
        .until("nothing of blue is left", async || {
            client.get_deployment(ENDPOINT, "blue").await.is_err_and(|error| error.code == Code::DeploymentNotFound)
        })
        .await;
    let check = client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_limits_hold_at_every_node() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    let client = &cluster.client;
    let spec = EndpointSpec { max_body_bytes: 1_024, ..EndpointSpec::default() };
    cluster.put_endpoint("safe", &spec).await;
    deploy_single(&cluster, "safe", "blue").await;
    cluster.split_of("safe", &[("blue", 100)]).await;
    let keys = client.list_keys("safe").await.expect("the keys");
    let ingresses = cluster.ingresses().await;
    assert_eq!(ingresses.len(), 2);
    for ingress in &ingresses {
        let nobody = caller(*ingress, "safe");
        let right = nobody.clone().with_key(&keys.primary_key);
        cluster.until("the node has the split", async || score(&right, "hello").await.status == 200).await;
        assert_eq!(score(&nobody, "hello").await.status, 401);
        assert_eq!(score(&nobody.clone().with_key("guessed"), "hello").await.status, 401);
        assert_eq!(score(&nobody.clone().with_key(&keys.secondary_key), "hello").await.status, 200);
        assert_eq!(score(&right, &"x".repeat(1_024)).await.status, 200, "the limit itself is allowed");
        assert_eq!(score(&right, &"x".repeat(1_025)).await.status, 413);
    }
    let request = api::RegenerateKeyRequest {
        endpoint: "safe".to_owned(),
        key_type: api::KeyType::Primary as i32,
        ..Default::default()
    };
    let fresh = client.regenerate_key(request).await.expect("a new key");
    assert_eq!(fresh.secondary_key, keys.secondary_key, "the other key stays");
    for ingress in ingresses {
        let nobody = caller(ingress, "safe");
        let (old, new) = (nobody.clone().with_key(&keys.primary_key), nobody.clone().with_key(&fresh.primary_key));
        cluster.until("the old key is of no use", async || score(&old, "hello").await.status == 401).await;
        assert_eq!(score(&new, "hello").await.status, 200);
        assert_eq!(score(&nobody.with_key(&keys.secondary_key), "hello").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_with_its_caller_and_with_its_replica() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.put_endpoint("one", &open()).await;
    deploy_single(&cluster, "one", "blue").await;
    cluster.split_of("one", &[("blue", 100)]).await;
    for ingress in cluster.ingresses().await {
        let client = caller(ingress, "one");
        cluster.until("the node has the split", async || score(&client, "hello").await.status == 200).await;

        // The caller goes: the only slot is free again, long before the model would have answered.
        let mut leaver = TcpStream::connect(ingress).await.expect("a connection");
        let request = format!("POST /e/one/score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{LONG}", LONG.len());
        leaver.write_all(request.as_bytes()).await.expect("the request is sent");
        at_work(&cluster, "one").await;
        drop(leaver);
        cluster.until("the slot is free again", async || score(&client, "hello").await.status == 200).await;
        // What is said of it is a heartbeat old: the request that left may still be in it.
        let idle = async || {
            let replicas = cluster.client.list_replicas("one", "").await.unwrap_or_default();
            !replicas.is_empty() && replicas.iter().all(|replica| replica.in_flight == 0)
        };
        cluster.until("it is said to be idle", idle).await;

        // The replica goes: its caller is told at once, nobody does the work twice, and another process takes over.
        let doomed = client.clone();
        let call = tokio::spawn(async move { score(&doomed, LONG).await });
        let pid = at_work(&cluster, "one").await;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("the replica is killed");
        let answer = call.await.expect("the caller gets an answer");
        assert_eq!(answer.status, 424);
        let header = |name: &'static str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("ms-azureml-model-error-statuscode"), Some("502"));
        assert_eq!(header("x-berth-attempts"), None, "what may have been done is not done again");
        let mut now = String::new();
        cluster
            .until("another process answers", async || {
                let answer = score(&client, "hello").await;
                now = answer.headers.get("x-model-pid").map_or(String::new(), |v| v.to_str().unwrap_or("").to_owned());
                answer.status == 200
            })
            .await;
        assert_ne!(now, pid.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_answers_garbage_is_a_model_error() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.put_endpoint("odd", &open()).await;
    cluster.put("odd", "blue", &cluster.command(&["broken-model", "garbage"])).await;
    serving(&cluster, "odd", "blue").await;
    cluster.split_of("odd", &[("blue", 100)]).await;
    for ingress in cluster.ingresses().await {
        let client = caller(ingress, "odd");
        cluster.until("the node has the split", async || score(&client, "hello").await.status != 404).await;
        let answer = score(&client, "hello").await;
        assert_eq!(answer.status, 424, "{answer:?}");
        assert_eq!(answer.headers["ms-azureml-model-error-reason"], "model_error");
        assert!(!String::from_utf8_lossy(&answer.body).contains("no answer"), "nothing of it reaches the caller");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_of_one_name_waits_until_the_first_is_lost() {
    let mut cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let name = Fleet::node_name(0);
    let first = node_id(&cluster, &name).await;

    let dir = cluster.fleet.dir().join("impostor");
    let log = cluster.fleet.dir().join("impostor.log");
    let mut impostor = spawn_node(&cluster.fleet, &name, &dir, &log);
    cluster.until("it is told that the name is taken", async || says(&log, "E_NODE_NAME_TAKEN")).await;
    assert_eq!(node_id(&cluster, &name).await, first, "the name stays where it is");
    let report = cluster.load(cluster.ingresses().await, 50, 100).end().await;
    assert_all_answered(&report, 100);

    let pids = cluster.pids_on(&name).await;
    cluster.fleet.kill_node(0, &pids).expect("the first is killed");
    cluster
        .until("the second has the name", async || {
            let nodes = cluster.client.list_nodes().await.unwrap_or_default();
            nodes.iter().any(|node| node.node == name && node.id != first && node.state == "ready")
        })
        .await;
    cluster.serving("blue", 2).await;
    impostor.kill().expect("it is killed");
    impostor.wait().expect("it is reaped");
}

/// Starts a node beside those of the fleet.
fn spawn_node(fleet: &Fleet, name: &str, dir: &Path, log: &Path) -> std::process::Child {
    let log = std::fs::File::create(log).expect("a log");
    Command::new(BERTH)
        .args(["node", "--name", name, "--ingress", "127.0.0.1:0", "--gate", "127.0.0.1:0"])
        .args(["--capacity", "cpu=16,memory=32GiB,disk=32GiB", "--coordinators"])
        .arg(fleet.api_addresses().join(","))
        .arg("--token-file")
        .arg(fleet.dir().join("coordinator-1/node.token"))
        .arg("--data-dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the same log"))
        .stderr(log)
        .spawn()
        .expect("a node starts")
}

fn says(log: &Path, words: &str) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains(words))
}

async fn node_id(cluster: &Cluster, name: &str) -> String {
    let nodes = cluster.client.list_nodes().await.expect("the nodes are listed");
    let mut named = nodes.into_iter().filter(|node| node.node == name);
    let node = named.next().expect("the node is listed");
    assert!(named.next().is_none(), "two nodes have one name");
    node.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_is_replaced_and_follows_when_it_wakes() {
    let cluster = Cluster::start(BERTH, 3, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let paused = cluster.leader().await;
    let total = 500;
    let load = cluster.load(cluster.ingresses().await, 50, total);
    cluster.fleet.coordinator(paused).signal(Signal::SIGSTOP).expect("the leader is paused");
    let addresses = cluster.fleet.api_addresses();
    let client = &cluster.client;
    cluster
        .until("another coordinator leads", async || {
            let members = client.list_members().await.map(|answer| answer.members).unwrap_or_default();
            members.iter().any(|member| member.leader && member.address != addresses[paused])
        })
        .await;
    let written = client.scale_deployment(scaled(3)).await.expect("a change is taken while the leader is paused");
    cluster.serving("blue", 3).await;
    cluster.fleet.coordinator(paused).signal(Signal::SIGCONT).expect("it goes on");

    // It must not answer from what it knew before it was paused, whatever it believes about its office.
    let woken = berth_client::Client::connect([addresses[paused].clone()]).await.expect("a client of the woken one");
    cluster.until("the woken one answers", async || woken.get_deployment(ENDPOINT, "blue").await.is_ok()).await;
    let seen = woken.get_deployment(ENDPOINT, "blue").await.expect("a read");
    assert!(seen.revision >= written.revision, "{} is older than {}", seen.revision, written.revision);
    woken.scale_deployment(scaled(2)).await.expect("it forwards what it is told");
    cluster.serving("blue", 2).await;
    assert_all_answered(&load.end().await, total);
    let check = client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

fn scaled(instance_count: u32) -> api::ScaleDeploymentRequest {
    api::ScaleDeploymentRequest {
        endpoint: ENDPOINT.to_owned(),
        name: "blue".to_owned(),
        instance_count,
        ..Default::default()
    }
}

/// The longest of these tests must not outlive the request that it keeps in flight.
const _: () = assert!(WITHIN.as_secs() < Duration::from_millis(170_000).as_secs());
