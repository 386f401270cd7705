//! A newer process of a node takes over from the one that runs: sockets, replicas and streams, under load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT, WITHIN, assert_all_answered},
    echo::MOST,
    talk::Streams,
};
use berth_cli::fleet::{Daemon, Fleet};
use berth_client::http1::{Pool, PoolPolicy};
use hyper::{Request, StatusCode, body::Bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use crate::BERTH;

/// Requests a second.
const RATE: u64 = 100;

/// Conversations over HTTP/2 and streams of events over HTTP/1.1 that are open meanwhile; `examples/open_streams.rs` has
/// more.
const STREAMS: [usize; 2] = [150, 150];

async fn serve(cluster: &Cluster) {
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 2;
    Streams::suit(&mut spec, 600);
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
}

async fn taken_over(cluster: &Cluster, node: &str) {
    let log = cluster.fleet.dir().join(format!("{node}.log"));
    let said = || std::fs::read_to_string(&log).unwrap_or_default().contains("took over from the older process");
    cluster.until("the newer process has taken over", async || said()).await;
}

async fn ended(cluster: &Cluster, mut older: Daemon) {
    cluster.until("the older process ends by itself", async || !older.is_running()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_streams_and_a_load_go_on_across_a_hand_over() {
    let mut cluster = Cluster::start(BERTH, 1, 2).await;
    serve(&cluster).await;
    let node = Fleet::node_name(0);
    let before = cluster.pids_on(&node).await;
    let [talks, events] = STREAMS;
    let mut streams = Streams::open(&cluster, cluster.fleet.ingress(0), talks, events).await;
    assert_eq!(streams.count(), talks + events);
    streams.exchange("before").await;
    let total = 1_500;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    let mut older = cluster.fleet.succeed_node(0).expect("a newer process starts");
    taken_over(&cluster, &node).await;
    for round in 0..3 {
        streams.exchange(&format!("round {round}")).await;
    }
    assert!(older.is_running(), "what it has goes on there");
    // The newer one knows of them: a drain would wait.
    let counted = async || {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        replicas.iter().map(|replica| replica.in_flight).sum::<u64>() >= streams.count() as u64
    };
    cluster.until("the streams are counted", counted).await;
    assert_all_answered(&load.end().await, total);
    assert!(older.is_running(), "every stream is there still");
    streams.end().await;
    ended(&cluster, older).await;
    assert_eq!(cluster.pids_on(&node).await, before, "it found its replicas again");
    let nodes = cluster.client.list_nodes().await.expect("the nodes");
    let exchanged = nodes.iter().find(|known| known.node == node).expect("it is one of them");
    assert!(exchanged.epoch > 1 && exchanged.returns == 0, "nobody was away: {exchanged:?}");
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

/// A node lives through many releases: each process that took over is taken over from as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_taken_over_again_and_again_under_load() {
    let mut cluster = Cluster::start(BERTH, 1, 1).await;
    serve(&cluster).await;
    let node = Fleet::node_name(0);
    let before = cluster.pids_on(&node).await;
    let total = 300;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    for turn in 1..=3 {
        let older = cluster.fleet.succeed_node(0).expect("a newer process starts");
        let log = cluster.fleet.dir().join(format!("{node}.log"));
        let times =
            || std::fs::read_to_string(&log).unwrap_or_default().matches("took over from the older process").count();
        cluster.until(&format!("take-over {turn}"), async || times() == turn).await;
        ended(&cluster, older).await;
    }
    assert_all_answered(&load.end().await, total);
    assert_eq!(cluster.pids_on(&node).await, before, "its replicas never ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_fails_leaves_everything_as_it_was() {
    let cluster = Cluster::start(BERTH, 1, 1).await;
    serve(&cluster).await;
    let node = Fleet::node_name(0);
    let total = 800;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    let desk = cluster.fleet.dir().join(&node).join("hand-over.sock");
    for name in ["green", "red"] {
        let mut asks = UnixStream::connect(&desk).await.expect("the node has a desk");
        asks.write_all(b"take").await.expect("asked");
        let mut counts = [0; 2];
        timeout(WITHIN, asks.read_exact(&mut counts)).await.expect("in time").expect("given");
        assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
        // It is gone before it said that it has everything.
        drop(asks);
        // The agent acts again: what is ordered now is done.
        let mut spec = cluster.command(&["echo-model"]);
        spec.instance_count = 1;
        spec.request_settings.max_concurrent_requests_per_instance = 64;
        cluster.put(ENDPOINT, name, &spec).await;
        cluster.serving(name, 1).await;
    }
    assert_all_answered(&load.end().await, total);
}

/// Asks until told to stop, one request at a time over connections that are kept; returns how many were answered.
async fn ask_on(ingress: std::net::SocketAddr, answered: Arc<AtomicUsize>, enough: Arc<AtomicBool>) {
    let pool = Pool::new(ingress.to_string().parse().expect("an address"), PoolPolicy::default());
    while !enough.load(Relaxed) {
        let request = Request::post(format!("/e/{ENDPOINT}/work")).body(Bytes::from("sleep:20")).expect("a request");
        let answer = timeout(WITHIN, pool.send(request)).await.expect("in time").expect("an answer");
        match answer.status() {
            StatusCode::OK => answered.fetch_add(1, Relaxed),
            // A place is free a moment after the answer that made it so.
            StatusCode::TOO_MANY_REQUESTS => continue,
            other => panic!("{other}: {:?}", answer.headers()),
        };
    }
}

/// A replica has as many slots while two processes of its node send to it as it has at any other time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_gets_no_more_than_it_takes_while_its_node_is_handed_over() {
    const SLOTS: usize = 4;
    const TALKS: usize = 2;
    let mut cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    Streams::suit(&mut spec, SLOTS);
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
    let replica = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas").remove(0);
    let at = (0..2).find(|n| Fleet::node_name(*n) == replica.node).expect("it is on a node");
    let most = async || {
        let pool = Pool::new(replica.address.parse().expect("where it listens"), PoolPolicy::default());
        let asked = pool.send(Request::get(MOST).body(Bytes::new()).expect("a request")).await.expect("it answers");
        String::from_utf8_lossy(asked.body()).parse::<usize>().expect("a number")
    };
    // What goes on in the older process, and callers beside who fill every slot and every place to wait: through the node
    // that is handed over, and through the other one, which has connections to its gate.
    let mut streams = Streams::open(&cluster, cluster.fleet.ingress(at), TALKS, 0).await;
    let (answered, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..2 * SLOTS - TALKS)
        .map(|n| tokio::spawn(ask_on(cluster.fleet.ingress(n % 2), Arc::clone(&answered), Arc::clone(&enough))))
        .collect();
    let more = async |cluster: &Cluster| {
        let before = answered.load(Relaxed);
        cluster.until("callers are answered", async || answered.load(Relaxed) > before + 50).await;
    };
    more(&cluster).await;
    assert_eq!(most().await, SLOTS, "the replica is as busy as it may be");
    let older = cluster.fleet.succeed_node(at).expect("a newer process starts");
    taken_over(&cluster, &replica.node).await;
    more(&cluster).await;
    streams.exchange("still there").await;
    assert_eq!(most().await, SLOTS, "the streams of the older process have slots, which the newer one left them");
    streams.end().await;
    ended(&cluster, older).await;
    more(&cluster).await;
    enough.store(true, Relaxed);
    for caller in callers {
        caller.await.expect("every request was answered");
    }
    assert_eq!(most().await, SLOTS);
}
