//! Counts streams that break while a newer process of a node takes over: `open_streams [--streams N]`.
//!
//! Beside the binary `berth-under-test` of the same profile. Every stream says a word and hears it before the hand-over,
//! three times after it, and ends in order; the process panics at the first one that does not.

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT, WITHIN, beside_this},
    talk,
};
use tokio::time::Instant;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == "--streams");
    let streams = at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(1_000);
    let mut cluster = Cluster::start(&beside_this(), 1, 2).await;
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 2;
    spec.request_settings.max_concurrent_requests_per_instance = streams as u32;
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
    let mut talks = talk::open(cluster.fleet.ingress(0), streams).await;
    for talk in &mut talks {
        talk.exchange("before").await;
    }
    let began = Instant::now();
    let log = cluster.fleet.node(0).log().to_owned();
    let mut older = cluster.fleet.succeed_node(0).expect("a newer process starts");
    let said = || std::fs::read_to_string(&log).unwrap_or_default().contains("took over from the older process");
    cluster.until_within(WITHIN, "the newer process has taken over", async || said()).await;
    let taken = began.elapsed();
    for round in 0..3 {
        for talk in &mut talks {
            talk.exchange(&format!("round {round}")).await;
        }
    }
    assert!(older.is_running(), "the streams are with the older process");
    for talk in talks {
        talk.end().await;
    }
    cluster.until_within(WITHIN, "the older process ends by itself", async || !older.is_running()).await;
    println!("{streams} open streams across a hand-over that took {} ms: 0 broken", taken.as_millis());
}
