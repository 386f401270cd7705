//! Measures how long replicas are missing: after `kill -9` of an agent with its replicas, and after a cut cable.
//!
//! `recovery_times [--trials N]`, beside the binary `berth-under-test` of the same profile. The model is a no-op, so the
//! figure is Berth's own: detection, decision, commit, launch, warm-up, serving. The cut cable needs root and `ip`.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT, WITHIN, beside_this, command, put, put_endpoint},
    netns::{self, Bridge, Host},
};
use berth_cli::fleet::{Fleet, end_replicas_below};
use berth_client::Client;
use berth_core::model::{AuthMode, EndpointSpec};
use tokio::time::{Instant, sleep_until};

/// Between two looks at the replicas: a tenth of what is measured at its best.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Instances of the deployment, on four nodes.
const INSTANCES: usize = 4;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let trials = args.iter().position(|arg| arg == "--trials").and_then(|at| args.get(at + 1)?.parse().ok());
    let trials = trials.unwrap_or(10);
    let berth = beside_this();
    show("kill -9 of an agent with its replicas", killed(&berth, trials).await);
    match netns::permitted() {
        Ok(()) => show("cable cut without a word", cut(&berth, trials).await),
        Err(why) => println!("cable cut: skipped, {why}"),
    }
}

/// Prints milliseconds: each trial, then the median, the least and the most.
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
fn show(what: &str, mut times: Vec<Duration>) {
    let all: Vec<_> = times.iter().map(|time| time.as_millis().to_string()).collect();
    times.sort_unstable();
    let at = |nth: usize| times.get(nth).map_or(0, Duration::as_millis);
    println!("{what}: replacement serves after, ms: {}", all.join(" "));
    println!("  median {} min {} max {}", at(times.len() / 2), at(0), at(times.len().saturating_sub(1)));
}

async fn serving_off(client: &Client, node: &str) -> usize {
    let replicas = client.list_replicas(ENDPOINT, "").await.unwrap_or_default();
    replicas.iter().filter(|replica| replica.state == "serving" && replica.node != node).count()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}

async fn settled(client: &Client, nodes: usize) {
    until("all nodes are ready and the deployment is whole", async || {
        let listed = client.list_nodes().await.unwrap_or_default();
        let replicas = client.list_replicas(ENDPOINT, "").await.unwrap_or_default();
        listed.iter().filter(|node| node.state == "ready").count() == nodes
            && replicas.len() == INSTANCES
            && replicas.iter().all(|replica| replica.state == "serving")
    })
    .await;
}

async fn killed(berth: &str, trials: usize) -> Vec<Duration> {
    let mut cluster = Cluster::start(berth, 3, 4).await;
    cluster.endpoint().await;
    cluster.deploy("blue", INSTANCES as u32).await;
    cluster.split(&[("blue", 100)]).await;
    let mut times = Vec::new();
    for _ in 0..trials {
        settled(&cluster.client, 4).await;
        let replicas = cluster.client.list_replicas(ENDPOINT, "").await.expect("the replicas");
        let victim = replicas[0].node.clone();
        let number = (0..4).find(|n| Fleet::node_name(*n) == victim).expect("one of ours");
        let pids = cluster.pids_on(&victim).await;
        let began = Instant::now();
        cluster.fleet.kill_node(number, &pids).expect("the node is killed");
        until("its replicas serve elsewhere", async || serving_off(&cluster.client, &victim).await == INSTANCES).await;
        times.push(began.elapsed());
        cluster.fleet.restart_node(number).expect("it starts again");
    }
    times
}

/// Ends a process, and what killed agents leave running, however the measurement ends.
struct Ended(Child, PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        end_replicas_below(&self.1);
    }
}

fn spawn(words: &[String], dir: &std::path::Path) -> Ended {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ended(command.spawn().expect("a process starts"), dir.to_owned())
}

fn node_words(berth: &str, n: usize, host: &Host, api: &str, dir: &std::path::Path) -> Vec<String> {
    let mut words = host.prefix();
    let path = |name: &str| dir.join(name).display().to_string();
    let name = format!("host-{n}");
    let rest = [
        berth.to_owned(),
        "node".to_owned(),
        "--insecure".to_owned(),
        format!("--coordinators={api}"),
        format!("--ingress={}:7480", host.address()),
        format!("--gate={}:7481", host.address()),
        format!("--data-dir={}", path(&name)),
        format!("--name={name}"),
        "--capacity=cpu=8,memory=8GiB,disk=8GiB".to_owned(),
        format!("--token-file={}", path("c1/node.token")),
    ];
    words.extend(rest);
    words
}

async fn cut(berth: &str, trials: usize) -> Vec<Duration> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut bridge = Bridge::new(62).expect("a bridge");
    let hosts: Vec<Host> = (0..4).map(|_| bridge.host().expect("a host")).collect();
    let api = SocketAddr::from((bridge.address(), 7_400)).to_string();
    let folder = dir.path().join("c1").display().to_string();
    let words = ["coordinator", "--bootstrap-expect", "1", "--insecure", "--api", &api, "--data-dir", &folder];
    let words: Vec<String> = [berth].into_iter().chain(words).map(str::to_owned).collect();
    let _coordinator = spawn(&words, dir.path());
    let token = dir.path().join("c1/node.token");
    until("the coordinator made its token", async || token.exists()).await;
    let nodes = hosts.iter().enumerate();
    let _nodes: Vec<_> =
        nodes.map(|(n, host)| spawn(&node_words(berth, n, host, &api, dir.path()), dir.path())).collect();
    let client = Client::new(berth_client::ClientOptions::new([api]).expect("an address"));
    until("every node is ready", async || {
        client.list_nodes().await.unwrap_or_default().iter().filter(|node| node.state == "ready").count() == 4
    })
    .await;
    put_endpoint(&client, ENDPOINT, &EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() }).await;
    let mut spec = command(berth, &["echo-model"]);
    spec.instance_count = INSTANCES as u32;
    put(&client, ENDPOINT, "blue", &spec).await;
    let mut times = Vec::new();
    for trial in 0..trials {
        settled(&client, 4).await;
        let (host, name) = (&hosts[trial % 4], format!("host-{}", trial % 4));
        let began = Instant::now();
        host.cut().expect("the cable is cut");
        until("its replicas serve elsewhere", async || serving_off(&client, &name).await == INSTANCES).await;
        times.push(began.elapsed());
        host.join().expect("the cable is mended");
    }
    times
}
