//! Any one process dies without a word while traffic goes on: no request is lost.

use std::time::Duration;

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, assert_all_answered};
use berth_cli::fleet::Fleet;

use crate::BERTH;

/// Requests a second: enough that every kill hits some in flight, few enough for two shared cores.
const RATE: u64 = 100;
/// When a victim dies: within two heartbeats and an election.
const MOMENT_WITHIN: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_survives_the_kill_of_each_coordinator() {
    let mut cluster = Cluster::start(BERTH, 3, 3).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let total = 1_500;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    for turn in 0..3 {
        // At any moment of the load, and of what the coordinators do by the clock.
        tokio::time::sleep(cluster.seed.moment(&format!("kill {turn}"), MOMENT_WITHIN)).await;
        let leader = cluster.leader().await;
        cluster.fleet.kill_coordinator(leader).expect("the leader is killed");
        let client = &cluster.client;
        cluster
            .until("another coordinator leads", async || {
                client.list_members().await.is_ok_and(|m| m.members.iter().any(|m| m.leader))
            })
            .await;
        cluster.fleet.restart_coordinator(leader).expect("it starts again");
        let client = &cluster.client;
        cluster.until("the cluster accepts changes", async || client.list_replicas(ENDPOINT, "").await.is_ok()).await;
    }
    let report = load.end().await;
    assert_all_answered(&report, total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_survives_the_end_of_a_node_and_its_replicas_come_back_elsewhere() {
    let mut cluster = Cluster::start(BERTH, 1, 3).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 3).await;
    cluster.split(&[("blue", 100)]).await;
    let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas");
    let victim = cluster.seed.pick("victim", &replicas).node;
    let number = (0..3).find(|n| Fleet::node_name(*n) == victim).expect("one of ours");
    let total = 1_000;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    let pids = cluster.pids_on(&victim).await;
    assert!(!pids.is_empty(), "the victim runs something");
    cluster.fleet.kill_node(number, &pids).expect("the node is killed");
    let client = &cluster.client;
    cluster
        .until("three replicas serve on the other nodes", async || {
            let replicas = client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
            replicas.iter().filter(|r| r.state == "serving" && r.node != victim).count() == 3
        })
        .await;
    let report = load.end().await;
    assert_all_answered(&report, total);
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_alone_adopts_its_replicas_again() {
    let mut cluster = Cluster::start(BERTH, 1, 1).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let mut before = cluster.pids_on(&Fleet::node_name(0)).await;
    cluster.fleet.kill_agent(0).expect("the agent is killed");
    cluster.fleet.restart_node(0).expect("it starts again");
    let client = &cluster.client;
    cluster
        .until("the agent registered again", async || {
            client
                .list_nodes()
                .await
                .is_ok_and(|nodes| nodes.iter().all(|node| node.epoch > 1 && node.state == "ready"))
        })
        .await;
    cluster.serving("blue", 2).await;
    let mut after = cluster.pids_on(&Fleet::node_name(0)).await;
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after, "the processes are the same ones");
    let report = cluster.load(cluster.ingresses().await, RATE, 100).end().await;
    assert_all_answered(&report, 100);
}
