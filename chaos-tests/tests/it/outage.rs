//! Every coordinator dies: traffic does not notice, and neither does a node that starts meanwhile.

use std::{path::Path, time::Duration};

use berth_chaos_tests::cluster::{Cluster, assert_all_answered};
use berth_cli::fleet::Fleet;

use crate::BERTH;

/// How long the outage lasts here. `BERTH_CHAOS_OUTAGE_SECS=60` makes it the minute that is promised.
fn outage() -> Duration {
    let secs = std::env::var("BERTH_CHAOS_OUTAGE_SECS").ok().and_then(|secs| secs.parse().ok());
    Duration::from_secs(secs.unwrap_or(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_every_coordinator_is_a_non_event_for_traffic() {
    let mut cluster = Cluster::start(BERTH, 3, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let ingresses = cluster.ingresses().await;
    (0..3).for_each(|n| cluster.fleet.kill_coordinator(n).expect("a coordinator is killed"));
    let total = outage().as_secs() * 100;
    let report = cluster.load(ingresses, 100, total).end().await;
    assert_all_answered(&report, total);
    (0..3).for_each(|n| cluster.fleet.restart_coordinator(n).expect("a coordinator starts"));
    cluster.serving("blue", 2).await;
}

/// What lies before the table in a node's file: eight bytes of magic and a checksum.
const HEADER: usize = 8 + 32;

/// Returns whether a stored route table sends traffic anywhere.
fn splits(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    let table = bytes.get(HEADER..).and_then(|bytes| berth_proto::node::decode_table(bytes).ok());
    table.is_some_and(|table| table.endpoints.values().any(|route| !route.split.is_empty()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_without_any_coordinator_still_routes() {
    let mut cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    let stored = cluster.fleet.dir().join(Fleet::node_name(1)).join("mesh/routes.bin");
    cluster.until("the second node has the split on its disk", async || splits(&stored)).await;
    cluster.fleet.kill_coordinator(0).expect("the coordinator is killed");
    cluster.fleet.kill_agent(1).expect("the agent is killed");
    cluster.fleet.restart_node(1).expect("the node starts again");
    let ingress = cluster.fleet.ingress(1);
    cluster.until("its ingress listens", async || tokio::net::TcpStream::connect(ingress).await.is_ok()).await;
    let report = cluster.load(vec![ingress], 100, 300).end().await;
    assert_all_answered(&report, 300);
}
