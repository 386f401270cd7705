//! Measures a rolling update of many replicas against its lower bound.
//!
//! `rolling_update [--instances N] [--start-ms N]`, beside the binary `berth-under-test` of the same profile. The model
//! takes `start-ms` to come up and nothing else, so one wave costs at least that; with a reserve of a fifth there are
//! five waves. The bound is (1/0.2) × (start + warm-up + drain), each taken from what one replica's own states say on the
//! same cluster, with nobody beside it: what the coordinators take to decide is not in it. Requests go on all the time;
//! each must be answered.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, beside_this};
use tokio::time::{Instant, sleep_until};

/// Between two looks at the replicas.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long an update may take before the measurement gives up.
const WITHIN: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (instances, start_ms) = (number("--instances", 100) as u32, number("--start-ms", 2_000));
    let cluster = Cluster::start(&beside_this(), 3, 4).await;
    cluster.endpoint().await;
    deploy(&cluster, "unit", 1, start_ms, 1).await;
    let one = update(&cluster, "unit", 1, start_ms).await;
    println!(
        "one instance: start + warm-up {} ms, drain {} ms, whole update {} ms",
        one.start.as_millis(),
        one.drain.as_millis(),
        one.whole.as_millis()
    );
    deploy(&cluster, "many", instances, start_ms, 1).await;
    cluster.split(&[("many", 100)]).await;
    let done = AtomicBool::new(false);
    let updating = async {
        let result = update(&cluster, "many", instances, start_ms).await;
        done.store(true, Ordering::Relaxed);
        result
    };
    let (Update { whole, ready_min, .. }, (requests, failed)) = tokio::join!(updating, requests_until(&cluster, &done));
    let bound = (one.start + one.drain) * 5;
    println!("{instances} instances: {} ms, lower bound {} ms", whole.as_millis(), bound.as_millis());
    println!("  requests meanwhile {requests}, failed {failed}");
    println!("  ratio {:.2}, ready never below {ready_min} of {instances}", whole.as_secs_f64() / bound.as_secs_f64());
}

/// Sends a hundred requests a second, in rounds, until told; returns how many, and how many failed.
async fn requests_until(cluster: &Cluster, done: &AtomicBool) -> (u64, u64) {
    const ROUND: u64 = 100;
    let (mut sent, mut failed) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let report = cluster.load(cluster.ingresses().await, 100, ROUND).end().await;
        sent += ROUND;
        failed += report.failed();
    }
    (sent, failed)
}

async fn deploy(cluster: &Cluster, name: &str, instances: u32, start_ms: u64, version: u32) {
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = instances;
    spec.resources.cpu_milli = 500;
    spec.environment_variables.insert("START_MS".to_owned(), start_ms.to_string());
    spec.environment_variables.insert("VERSION".to_owned(), version.to_string());
    cluster.put(ENDPOINT, name, &spec).await;
    let deadline = Instant::now() + WITHIN;
    while serving(cluster, name).await < instances as usize {
        assert!(Instant::now() < deadline, "{name} did not come up");
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}

async fn serving(cluster: &Cluster, name: &str) -> usize {
    let replicas = cluster.client.list_replicas(ENDPOINT, name).await.unwrap_or_default();
    replicas.iter().filter(|replica| replica.state == "serving").count()
}

/// How an update went.
struct Update {
    /// Until only the new generation was left.
    whole: Duration,
    /// The fewest instances that served.
    ready_min: usize,
    /// From the moment the first new replica was seen until one was warm.
    start: Duration,
    /// From the moment the first old replica was seen to drain until one was gone.
    drain: Duration,
}

/// Rolls a second generation out.
async fn update(cluster: &Cluster, name: &str, instances: u32, start_ms: u64) -> Update {
    let began = Instant::now();
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = instances;
    spec.resources.cpu_milli = 500;
    spec.environment_variables.insert("START_MS".to_owned(), start_ms.to_string());
    spec.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    cluster.put(ENDPOINT, name, &spec).await;
    let mut ready_min = usize::MAX;
    let [mut placed, mut warm, mut draining, mut gone] = [None; 4];
    loop {
        let replicas = cluster.client.list_replicas(ENDPOINT, name).await.unwrap_or_default();
        let at = began.elapsed();
        let any = |is: &dyn Fn(&berth_client::api::Replica) -> bool| replicas.iter().any(is).then_some(at);
        placed = placed.or(any(&|replica| replica.generation == 2));
        warm =
            warm.or(any(&|replica| replica.generation == 2 && ["warm", "serving"].contains(&replica.state.as_str())));
        draining = draining.or(any(&|replica| replica.generation == 1 && replica.state == "draining"));
        let old = replicas.iter().filter(|replica| replica.generation == 1).count();
        gone = gone.or((!replicas.is_empty() && old < instances as usize).then_some(at));
        if !replicas.is_empty() {
            ready_min = ready_min.min(replicas.iter().filter(|replica| replica.state == "serving").count());
        }
        let is_new = |replica: &berth_client::api::Replica| replica.generation == 2 && replica.state == "serving";
        if replicas.len() == instances as usize && replicas.iter().all(is_new) {
            let between = |from: Option<Duration>, to: Option<Duration>| {
                to.unwrap_or_default().saturating_sub(from.or(to).unwrap_or_default())
            };
            let (start, drain) = (between(placed, warm), between(draining, gone));
            return Update { whole: began.elapsed(), ready_min, start, drain };
        }
        assert!(at < WITHIN, "the update did not end");
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}
