//! Many times more requests than a deployment can take, each with a deadline, and what becomes of them.
//!
//! Open loop: nobody waits because the fleet is busy. The model itself counts what it was given after its caller's
//! deadline, by the caller's clock.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use berth_cli::load::{LoadOptions, LoadReport, Outcome};
use berth_client::{
    Address,
    http1::{Pool, PoolPolicy},
};
use hyper::{HeaderMap, Request, body::Bytes, header::HeaderValue};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    cluster::{Cluster, ENDPOINT},
    echo::{COUNTS, DEADLINE},
};

/// How long a caller waits.
const DEADLINE_MS: u64 = 1_000;

/// The share of its capacity that is asked of a deployment in usual times, in percent.
const USUAL_PERCENT: u64 = 60;
/// The share at which its best is measured: a little more than it can take.
const PEAK_PERCENT: u64 = 120;

/// How large the deployment is, by how much it is asked too much, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Nodes, and instances: one on each.
    pub nodes: usize,
    /// Requests an instance works on at once.
    pub slots: u32,
    /// How long a request is at work, in milliseconds.
    pub work_ms: u64,
    /// How many times its capacity is asked.
    pub times: u64,
    /// How long its usual times and its best are measured, in seconds.
    pub measured_s: u64,
    /// How long the overload lasts, in seconds.
    pub overload_s: u64,
    /// How long it is looked at afterwards, in seconds.
    pub after_s: u64,
}

/// What became of the requests of one phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// Requests due per second.
    pub rate_per_second: u64,
    report: LoadReport,
}

/// What became of all of them.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// In order: usual times, its best, the overload, afterwards.
    pub phases: [Phase; 4],
    /// Requests that the model was given.
    pub started: u64,
    /// Those that it was given after their caller's deadline.
    pub too_late: u64,
}

// === impl Plan ===

impl Plan {
    /// Returns how many requests a second the deployment can take.
    pub fn capacity_per_second(&self) -> u64 {
        self.nodes as u64 * u64::from(self.slots) * 1_000 / self.work_ms
    }

    /// Starts a cluster that serves.
    pub async fn start(&self, berth: &str) -> Cluster {
        let cluster = Cluster::start(berth, 1, self.nodes).await;
        cluster.endpoint().await;
        let mut spec = cluster.command(&["echo-model"]);
        spec.instance_count = self.nodes as u32;
        spec.request_settings.max_concurrent_requests_per_instance = self.slots;
        cluster.put(ENDPOINT, "blue", &spec).await;
        cluster.serving("blue", self.nodes).await;
        cluster.split(&[("blue", 100)]).await;
        cluster.routed().await;
        cluster
    }

    /// Asks too much of it.
    pub async fn measure(&self, cluster: &Cluster) -> Outcomes {
        let before = counts(cluster).await;
        let usual_rate = self.capacity_per_second() * USUAL_PERCENT / 100;
        let usual = self.phase(cluster, "usual", usual_rate, self.measured_s).await;
        let best_rate = self.capacity_per_second() * PEAK_PERCENT / 100;
        let best = self.phase(cluster, "best", best_rate, self.measured_s).await;
        let began = Instant::now();
        let overload = self.spawn(cluster, "overload", self.capacity_per_second() * self.times, self.overload_s);
        sleep_until(began + Duration::from_secs(self.overload_s)).await;
        let after = self.spawn(cluster, "after", usual_rate, self.after_s);
        let overload = overload.await.expect("the overload ends");
        let after = after.await.expect("the load afterwards ends");
        let counts = counts(cluster).await;
        let phases = [usual, best, overload, after];
        Outcomes { phases, started: counts[0] - before[0], too_late: counts[1] - before[1] }
    }

    async fn phase(&self, cluster: &Cluster, name: &'static str, rate: u64, seconds: u64) -> Phase {
        self.spawn(cluster, name, rate, seconds).await.expect("a phase ends")
    }

    fn spawn(&self, cluster: &Cluster, name: &'static str, rate_per_second: u64, seconds: u64) -> JoinHandle<Phase> {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-timeout-ms", HeaderValue::from(DEADLINE_MS));
        let options = LoadOptions {
            targets: (0..self.nodes).map(|node| cluster.fleet.ingress(node)).collect(),
            path: format!("/e/{ENDPOINT}/anything"),
            headers,
            bodies: Arc::new([Bytes::from(format!("sleep:{}", self.work_ms))]),
            first: 0,
            total: rate_per_second * seconds,
            rate_per_second,
            timeout: Duration::from_millis(DEADLINE_MS),
            deadline_header: Some(hyper::header::HeaderName::from_static(DEADLINE)),
            in_flight_max: 2 * (rate_per_second * DEADLINE_MS / 1_000) as usize,
            idempotent: false,
            patient: false,
            run: name.to_owned(),
        };
        tokio::spawn(async move { Phase { name, rate_per_second, report: berth_cli::load::run(options).await } })
    }
}

/// Asks every replica itself how many requests it started, and how many of them too late.
async fn counts(cluster: &Cluster) -> [u64; 2] {
    let mut sums = [0, 0];
    for replica in cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed") {
        let address: Address = replica.address.parse().expect("where the replica listens");
        let request = Request::get(COUNTS).body(Bytes::new()).expect("a request");
        let answer = Pool::new(address, PoolPolicy::default()).send(request).await.expect("the replica answers");
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let counts: Vec<u64> = text.split(' ').map(|count| count.parse().expect("a count")).collect();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

// === impl Phase ===

impl Phase {
    /// Counts the requests.
    pub fn requests(&self) -> u64 {
        self.report.outcomes.len() as u64
    }

    /// Counts answers in time.
    pub fn answered(&self) -> u64 {
        self.report.ok()
    }

    /// Counts answers in time per second.
    pub fn goodput(&self) -> f64 {
        self.report.ok() as f64 * self.rate_per_second as f64 / self.requests().max(1) as f64
    }

    /// Counts outcomes by status and reason; what the caller itself saw as the end is under `caller`.
    pub fn by_outcome(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for outcome in &self.report.outcomes {
            *counts.entry(word(outcome)).or_default() += 1;
        }
        counts
    }

    /// Lists refusals that do not say when to come again, or for which there is no law.
    pub fn lawless(&self) -> Vec<String> {
        let law = |outcome: &&Outcome| match &outcome.result {
            Ok(answer) => match answer.status {
                200 => true,
                429 | 503 => !answer.retry_after.is_empty() && !answer.reason.is_empty(),
                // Whether it waited or worked until then, the deadline is the law.
                408 => true,
                _ => false,
            },
            // The caller's own clock may strike before the answer that says so arrives.
            Err(_) => outcome.latency >= Duration::from_millis(DEADLINE_MS),
        };
        let lawless = self.report.outcomes.iter().filter(|outcome| !law(outcome));
        lawless.map(|outcome| format!("{}: {:?}", word(outcome), outcome.result)).collect()
    }

    /// Returns when, from the phase's begin, the last request was due that had no good answer.
    pub fn normal_after(&self) -> Duration {
        let bad = self.report.outcomes.iter().filter(|outcome| !outcome.is_ok());
        let last = bad.map(|outcome| outcome.number + 1).max().unwrap_or(0);
        Duration::from_millis(last * 1_000 / self.rate_per_second.max(1))
    }
}

/// Names what became of a request: status and reason, or what the caller saw as the end.
pub(crate) fn word(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok(answer) if answer.reason.is_empty() => answer.status.to_string(),
        Ok(answer) => format!("{} {}", answer.status, answer.reason),
        Err(why) if outcome.not_sent => why.clone(),
        Err(_) => "caller gave up".to_owned(),
    }
}

// === impl Outcomes ===

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<9} {:>9} {:>9} {:>10}  outcomes", "phase", "asked /s", "requests", "in time /s")?;
        for phase in &self.phases {
            let outcomes: Vec<_> =
                phase.by_outcome().into_iter().map(|(what, count)| format!("{what}: {count}")).collect();
            let (rate, requests, goodput) = (phase.rate_per_second, phase.requests(), phase.goodput());
            writeln!(f, "{:<9} {rate:>9} {requests:>9} {goodput:>10.1}  {}", phase.name, outcomes.join(", "))?;
        }
        let [_, best, overload, after] = &self.phases;
        writeln!(
            f,
            "goodput under overload: {:.0} % of the best",
            100.0 * overload.goodput() / best.goodput().max(0.1)
        )?;
        writeln!(f, "last request without a good answer: {} ms after the overload", after.normal_after().as_millis())?;
        write!(f, "started by the model: {}, after the caller's deadline: {}", self.started, self.too_late)
    }
}
