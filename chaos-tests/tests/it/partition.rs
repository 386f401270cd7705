//! A node whose cable is cut: its replicas come back elsewhere, and it is let in again when the cable is mended.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use berth_chaos_tests::{
    cluster::{ENDPOINT, WITHIN, command, put, put_endpoint},
    netns::{self, Bridge},
    say::skipped,
};
use berth_cli::fleet::end_replicas_below;
use berth_client::Client;
use berth_core::model::{AuthMode, EndpointSpec};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::BERTH;

const LOOK_AGAIN: Duration = Duration::from_millis(50);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}

fn spawn(mut words: Vec<String>) -> Child {
    let program = words.remove(0);
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("a process starts")
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_replaced_and_let_in_again() {
    if let Err(why) = netns::permitted() {
        return skipped("a cut cable", &why);
    }
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut bridge = Bridge::new(61).expect("a bridge");
    let hosts = [bridge.host().expect("a host"), bridge.host().expect("a host")];
    let api = SocketAddr::from((bridge.address(), 7_400)).to_string();
    let coordinator = ["coordinator", "--bootstrap-expect", "1", "--insecure", "--api", &api, "--data-dir"];
    let _coordinator = spawn([words(&[BERTH]), words(&coordinator), vec![path("c1")]].concat());
    until("the coordinator made its token", async || dir.path().join("c1/node.token").exists()).await;
    // Made before the agents, so that it drops after them.
    let _replicas = Replicas(dir.path().to_owned());
    let mut nodes = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        let name = format!("host-{n}");
        let (ingress, gate) = (format!("{}:7480", host.address()), format!("{}:7481", host.address()));
        let flags = ["--insecure", "--coordinators", &api, "--ingress", &ingress, "--gate", &gate, "--name", &name];
        let more = ["--capacity", "cpu=8,memory=8GiB,disk=8GiB", "--data-dir"];
        let token = vec![path(&name), "--token-file".to_owned(), path("c1/node.token")];
        nodes.push(spawn([host.prefix(), words(&[BERTH, "node"]), words(&flags), words(&more), token].concat()));
    }
    let client = Client::new(berth_client::ClientOptions::new([api]).expect("an address"));
    let ready = async |wanted: usize| {
        let nodes = client.list_nodes().await.unwrap_or_default();
        nodes.iter().filter(|node| node.state == "ready").count() == wanted
    };
    until("both nodes are ready", async || ready(2).await).await;
    deploy(&client).await;
    let serving_on = async |node: &str| {
        let replicas = client.list_replicas(ENDPOINT, "").await.unwrap_or_default();
        replicas.iter().filter(|replica| replica.state == "serving" && replica.node == node).count()
    };
    until("one replica serves on each", async || serving_on("host-0").await == 1 && serving_on("host-1").await == 1)
        .await;
    hosts[1].cut().expect("the cable is cut");
    until("both replicas serve on the other", async || serving_on("host-0").await == 2).await;
    hosts[1].join().expect("the cable is mended");
    until("both nodes are ready again", async || ready(2).await).await;
    until("two replicas serve, and no third", async || {
        let replicas = client.list_replicas(ENDPOINT, "").await.unwrap_or_default();
        replicas.len() == 2 && replicas.iter().all(|replica| replica.state == "serving")
    })
    .await;
    let check = client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

/// Ends what killed agents leave running, however the test ends.
struct Replicas(PathBuf);

impl Drop for Replicas {
    fn drop(&mut self) {
        end_replicas_below(&self.0);
    }
}

async fn deploy(client: &Client) {
    let endpoint = EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() };
    put_endpoint(client, ENDPOINT, &endpoint).await;
    let mut spec = command(BERTH, &["echo-model"]);
    spec.instance_count = 2;
    put(client, ENDPOINT, "blue", &spec).await;
}
