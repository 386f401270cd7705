//! A daemon that is asked to end: it hands over what it has, and ends by itself.

use std::collections::BTreeSet;

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, WITHIN, assert_all_answered};
use berth_cli::fleet::Fleet;

use crate::BERTH;

/// Requests a second.
const RATE: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_asked_to_end_hands_its_replicas_over_and_no_request_is_lost() {
    let args = vec!["--drain-on-stop".to_owned(), "60s".to_owned()];
    let mut cluster = Cluster::start_with(BERTH, 1, 3, args).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 3).await;
    cluster.split(&[("blue", 100)]).await;
    let leaver = Fleet::node_name(0);
    let pids = cluster.pids_on(&leaver).await;
    assert_eq!(pids.len(), 1, "one on each");
    let nodes = cluster.client.list_nodes().await.expect("the nodes are listed");
    // A caller's balancer knows that this host goes down; its replicas are the cluster's business.
    let others = nodes.iter().filter(|node| node.node != leaver);
    let others: Vec<_> = others.filter_map(|node| node.ingress_address.parse().ok()).collect();
    let total = 1_000;
    let load = cluster.load(others, RATE, total);
    cluster.fleet.stop_node(0, WITHIN).await.expect("it ends by itself");
    let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas");
    let serving: Vec<_> = replicas.iter().filter(|replica| replica.state == "serving").collect();
    assert_eq!(serving.len(), 3, "as many as were asked for: {replicas:?}");
    assert!(replicas.iter().all(|replica| replica.node != leaver), "none is left there: {replicas:?}");
    let homes: BTreeSet<_> = serving.iter().map(|replica| replica.node.as_str()).collect();
    assert_eq!(homes.len(), 2);
    let alive = pids.iter().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).count();
    assert_eq!(alive, 0, "its process ended with its last request");
    let report = load.end().await;
    assert_all_answered(&report, total);
    cluster.fleet.restart_node(0).expect("it starts again");
    let client = &cluster.client;
    cluster
        .until("the node is back and takes replicas", async || {
            let nodes = client.list_nodes().await.unwrap_or_default();
            nodes.iter().any(|node| node.node == leaver && node.state == "ready" && node.drain.is_none())
        })
        .await;
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_replicas_fit_nowhere_ends_at_its_deadline_and_leaves_them_running() {
    let args = vec!["--drain-on-stop".to_owned(), "2s".to_owned()];
    let mut cluster = Cluster::start_with(BERTH, 1, 1, args).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    let before = cluster.pids_on(&Fleet::node_name(0)).await;
    cluster.fleet.stop_node(0, WITHIN).await.expect("it ends by itself");
    let alive = before.iter().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).count();
    assert_eq!(alive, 2, "what nobody took over goes on");
    cluster.fleet.restart_node(0).expect("it starts again");
    cluster.serving("blue", 2).await;
    let (mut before, mut after) = (before, cluster.pids_on(&Fleet::node_name(0)).await);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after, "it adopted them");
}
