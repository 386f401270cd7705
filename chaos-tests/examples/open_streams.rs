//! Counts streams that break while a newer process of a node takes over: `open_streams [--grpc N] [--sse N]`.
//!
//! Beside the binary `berth-under-test` of the same profile. Half of the streams are conversations over gRPC, half are events
//! over HTTP/1.1 as OpenAI's clients read them. Every stream has a word before the hand-over, three after it, and ends in
//! order on the older process; the program panics at the first one that does not.

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT, WITHIN, beside_this},
    talk::Streams,
};
use tokio::time::Instant;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(500)
    };
    let (talks, events) = (number("--grpc"), number("--sse"));
    let mut cluster = Cluster::start(&beside_this(), 1, 2).await;
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 2;
    Streams::suit(&mut spec, talks + events);
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
    let mut streams = Streams::open(&cluster, cluster.fleet.ingress(0), talks, events).await;
    streams.exchange("before").await;
    let began = Instant::now();
    let log = cluster.fleet.node(0).log().to_owned();
    let mut older = cluster.fleet.succeed_node(0).expect("a newer process starts");
    let said = || std::fs::read_to_string(&log).unwrap_or_default().contains("took over from the older process");
    cluster.until_within(WITHIN, "the newer process has taken over", async || said()).await;
    let taken = began.elapsed();
    for round in 0..3 {
        streams.exchange(&format!("round {round}")).await;
    }
    assert!(older.is_running(), "the streams are with the older process");
    let count = streams.count();
    streams.end().await;
    cluster.until_within(WITHIN, "the older process ends by itself", async || !older.is_running()).await;
    println!(
        "{count} open streams ({talks} gRPC, {events} SSE) across a hand-over that took {} ms: 0 broken",
        taken.as_millis()
    );
}
