//! One router's feed of the table is late, silent, or loses and damages changes, while deployments change under load: no
//! request is lost, because nothing is stopped that a router may still send to.

use std::time::Duration;

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT},
    feed::{Fault, FaultyFeed},
    load::Load,
};
use berth_cli::load::LoadOptions;
use berth_core::model::{AuthMode, EndpointSpec};
use hyper::{HeaderMap, body::Bytes};

use crate::BERTH;

/// Longer than a feed may be silent before another member is asked.
const LATE: Duration = Duration::from_secs(5);

/// A rollout under a late feed waits for that feed several times over.
const OVER_WITHIN: Duration = Duration::from_secs(120);

/// Requests at least; the load goes on until what it is for is over.
const REQUESTS: u64 = 400;

/// Asks every node in turn, each request at work for a while, none of them sent again.
fn load(cluster: &Cluster, nodes: usize, run: &str) -> Load {
    Load::start(LoadOptions {
        targets: (0..nodes).map(|node| cluster.fleet.ingress(node)).collect(),
        path: format!("/e/{ENDPOINT}/anything"),
        headers: HeaderMap::new(),
        bodies: [Bytes::from_static(b"sleep:50")].into(),
        first: 0,
        total: REQUESTS,
        rate_per_second: 50,
        timeout: Duration::from_secs(15),
        in_flight_max: 4_000,
        idempotent: false,
        patient: false,
        deadline_header: None,
        run: run.to_owned(),
    })
}

/// Ends a load; every request has had one answer of 200, from the ingress that it was sent to.
async fn lost_nothing(load: Load, what: &str) {
    let report = load.end().await;
    let requests = report.outcomes.len() as u64;
    assert!(requests >= REQUESTS && report.is_complete(0, requests), "{what}: {requests}");
    let wrong = |outcome: &&berth_cli::load::Outcome| {
        outcome.retries > 0 || outcome.result.as_ref().map_or(true, |answer| answer.status != 200)
    };
    let lost: Vec<_> = report.outcomes.iter().filter(wrong).collect();
    assert!(lost.is_empty(), "{what}: {} of {requests}: {:#?}", lost.len(), &lost[..lost.len().min(5)]);
}

/// A new generation of `blue`.
async fn put(cluster: &Cluster, version: u32) {
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 2;
    spec.request_settings.max_concurrent_requests_per_instance = 256;
    spec.environment_variables.insert("VERSION".to_owned(), version.to_string());
    cluster.put(ENDPOINT, "blue", &spec).await;
}

/// Waits until two serve, of this generation and no other.
async fn rolled(cluster: &Cluster, generation: u64) {
    let done = async || {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        replicas.len() == 2 && replicas.iter().all(|it| it.state == "serving" && it.generation == generation)
    };
    cluster.until_within(OVER_WITHIN, &format!("generation {generation} serves alone"), done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_whose_feed_is_late_silent_or_damaged_loses_no_request() {
    let wire = FaultyFeed::open().await.expect("a port");
    let cluster = Cluster::start_behind(BERTH, 2, &wire).await;
    let spec = EndpointSpec { auth_mode: AuthMode::None, idempotent: Some(false), ..EndpointSpec::default() };
    cluster.put_endpoint(ENDPOINT, &spec).await;
    put(&cluster, 1).await;
    rolled(&cluster, 1).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
    let mut generation = 1;

    for (fault, what) in [(Fault::Late(LATE), "late"), (Fault::Lost, "lost"), (Fault::Damaged, "damaged")] {
        let load = load(&cluster, 2, what);
        wire.set(fault);
        if let Fault::Late(_) = fault {
            // The heartbeats of the feed have brought it to where it shall be.
            cluster.until("the feed is late", async || wire.done() > 0).await;
        }
        generation += 1;
        put(&cluster, generation).await;
        rolled(&cluster, u64::from(generation)).await;
        assert!(wire.done() > 0, "{what}: nothing was");
        lost_nothing(load, what).await;
        wire.set(Fault::None);
    }

    let load = load(&cluster, 2, "silent");
    wire.set(Fault::Stalled);
    generation += 1;
    put(&cluster, generation).await;
    cluster
        .until("a new replica is warm, and the feed is held back", async || {
            let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
            let warm = |it: &&berth_client::api::Replica| it.generation == u64::from(generation) && it.state == "warm";
            wire.done() > 1 && replicas.iter().filter(warm).count() > 0
        })
        .await;
    // Silence long enough that its node has turned to the coordinator again, in vain.
    cluster.until("the node asked again", async || wire.done() > 3).await;
    let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed");
    let old = replicas.iter().filter(|it| it.generation < u64::from(generation) && it.state == "serving").count();
    assert_eq!(old, 2, "a router that has not acknowledged keeps what it routes to: {replicas:?}");
    wire.set(Fault::None);
    rolled(&cluster, u64::from(generation)).await;
    lost_nothing(load, "silent").await;
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}
