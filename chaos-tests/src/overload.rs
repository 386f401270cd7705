//! Many times more requests than a deployment can take, each with a deadline, and what becomes of them.
//!
//! Open loop: nobody waits because the fleet is busy. The callers are a process of their own, with a bound on their
//! connections, and what ended with them is told apart from what the fleet answered: else their own lack of room would pass for
//! the fleet's. The model itself counts what it was given after its caller's deadline, by the caller's clock.

use std::{collections::BTreeMap, fmt, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use berth_cli::load::{LoadOptions, Outcome};
use berth_client::{
    Address,
    http1::{Pool, PoolPolicy},
};
use hyper::{HeaderMap, Request, body::Bytes, header::HeaderValue};
use tokio::{
    process::Command,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    cluster::{Cluster, ENDPOINT},
    echo::{COUNTS, DEADLINE},
};

/// The word that makes the binary under test the callers of a phase.
pub const CALLERS: &str = "overload-callers";

/// How long a caller waits.
const DEADLINE_MS: u64 = 1_000;

/// Requests, and so connections, that the callers of a phase have at once: what is refused in milliseconds needs a tenth of
/// them, and hosts take no more files than some thousand. A request that finds none is counted as not sent.
const UNDER_WAY_MAX: usize = 1_024;

/// Requests without a law that are told.
const LAWLESS_MAX: usize = 20;

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
    counts: Counts,
}

/// What the callers of a phase say at its end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Counts {
    requests: u64,
    answered: u64,
    /// The number of the last request that had no good answer.
    last_bad: Option<u64>,
    by_outcome: BTreeMap<String, u64>,
    lawless: Vec<String>,
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
        let mut callers = Command::new(cluster.berth());
        callers.arg(CALLERS).arg(name);
        callers.args([rate_per_second, seconds, self.work_ms].map(|number| number.to_string()));
        callers.args((0..self.nodes).map(|node| cluster.fleet.ingress(node).to_string()));
        callers.kill_on_drop(true).stderr(std::process::Stdio::inherit());
        tokio::spawn(async move {
            let said = callers.output().await.expect("the callers start");
            assert!(said.status.success(), "the callers of phase {name} ended with {}", said.status);
            Phase { name, rate_per_second, counts: Counts::read(&String::from_utf8_lossy(&said.stdout)) }
        })
    }
}

/// Is the callers of one phase: its name, the requests due per second, for how many seconds, the work of each in milliseconds,
/// and where to send them.
#[expect(clippy::print_stdout, reason = "what becomes of the requests is told on the standard output")]
pub fn callers_main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok());
    let (Some(name), Some(rate), Some(seconds), Some(work_ms)) = (words.first(), number(1), number(2), number(3))
    else {
        return ExitCode::from(2);
    };
    let targets = words.iter().skip(4).filter_map(|word| word.parse().ok()).collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let options = options(name, targets, rate, seconds, work_ms);
    let report = runtime.block_on(berth_cli::load::run(options));
    print!("{}", Counts::of(&report.outcomes));
    ExitCode::SUCCESS
}

fn options(name: &str, targets: Vec<SocketAddr>, rate_per_second: u64, seconds: u64, work_ms: u64) -> LoadOptions {
    let mut headers = HeaderMap::new();
    headers.insert("x-request-timeout-ms", HeaderValue::from(DEADLINE_MS));
    LoadOptions {
        targets,
        path: format!("/e/{ENDPOINT}/anything"),
        headers,
        bodies: Arc::new([Bytes::from(format!("sleep:{work_ms}"))]),
        first: 0,
        total: rate_per_second * seconds,
        rate_per_second,
        timeout: Duration::from_millis(DEADLINE_MS),
        deadline_header: Some(hyper::header::HeaderName::from_static(DEADLINE)),
        in_flight_max: UNDER_WAY_MAX,
        idempotent: false,
        patient: false,
        run: name.to_owned(),
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
        self.counts.requests
    }

    /// Counts answers in time.
    pub fn answered(&self) -> u64 {
        self.counts.answered
    }

    /// Counts answers in time per second.
    pub fn goodput(&self) -> f64 {
        self.answered() as f64 * self.rate_per_second as f64 / self.requests().max(1) as f64
    }

    /// Counts outcomes by status and reason; what ended with the caller is named as such.
    pub fn by_outcome(&self) -> &BTreeMap<String, u64> {
        &self.counts.by_outcome
    }

    /// Lists refusals that do not say when to come again, or for which there is no law: twenty at most.
    pub fn lawless(&self) -> &[String] {
        &self.counts.lawless
    }

    /// Returns when, from the phase's begin, the last request was due that had no good answer.
    pub fn normal_after(&self) -> Duration {
        let bad = self.counts.last_bad.map_or(0, |number| number + 1);
        Duration::from_millis(bad * 1_000 / self.rate_per_second.max(1))
    }
}

// === impl Counts ===

impl Counts {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self { requests: outcomes.len() as u64, ..Self::default() };
        for outcome in outcomes {
            *counts.by_outcome.entry(word(outcome)).or_default() += 1;
            match outcome.is_ok() {
                true => counts.answered += 1,
                false => counts.last_bad = counts.last_bad.max(Some(outcome.number)),
            }
            if !is_lawful(outcome) && counts.lawless.len() < LAWLESS_MAX {
                counts.lawless.push(format!("{}: {:?}", word(outcome), outcome.result));
            }
        }
        counts
    }

    /// Reads what [`fmt::Display`] writes.
    fn read(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').expect("a key and a value");
            let number = || value.parse().expect("a number");
            match key {
                "requests" => counts.requests = number(),
                "answered" => counts.answered = number(),
                "last-bad" => counts.last_bad = Some(number()),
                "lawless" => counts.lawless.push(value.to_owned()),
                count => drop(counts.by_outcome.insert(value.to_owned(), count.parse().expect("how many"))),
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests {}\nanswered {}", self.requests, self.answered)?;
        self.last_bad.iter().try_for_each(|number| writeln!(f, "last-bad {number}"))?;
        self.by_outcome.iter().try_for_each(|(what, count)| writeln!(f, "{count} {what}"))?;
        // Each is one line: what it quotes is escaped.
        self.lawless.iter().try_for_each(|what| writeln!(f, "lawless {what}"))
    }
}

/// Returns whether somebody is answerable for what became of a request.
fn is_lawful(outcome: &Outcome) -> bool {
    match &outcome.result {
        Ok(answer) => match answer.status {
            200 => true,
            429 | 503 => !answer.retry_after.is_empty() && !answer.reason.is_empty(),
            // Whether it waited or worked until then, the deadline is the law.
            408 => true,
            _ => false,
        },
        // The caller's own clock may strike before the answer that says so arrives.
        Err(_) => outcome.latency >= Duration::from_millis(DEADLINE_MS),
    }
}

/// Names what became of a request: status and reason, or what the caller saw as the end.
pub(crate) fn word(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok(answer) if answer.reason.is_empty() => answer.status.to_string(),
        Ok(answer) => format!("{} {}", answer.status, answer.reason),
        Err(why) if outcome.not_sent => why.clone(),
        Err(_) if outcome.timed_out => "caller gave up".to_owned(),
        Err(_) => "connection refused or cut".to_owned(),
    }
}

// === impl Outcomes ===

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<9} {:>9} {:>9} {:>10}  outcomes", "phase", "asked /s", "requests", "in time /s")?;
        for phase in &self.phases {
            let outcomes: Vec<_> = phase.by_outcome().iter().map(|(what, count)| format!("{what}: {count}")).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_say_is_read_as_it_was() {
        let counts = Counts {
            requests: 12,
            answered: 4,
            last_bad: Some(11),
            by_outcome: BTreeMap::from([("200".into(), 4), ("429 full".into(), 7), ("caller gave up".into(), 1)]),
            lawless: vec!["500: Ok(Answer { body: b\"two\\nlines\" })".into()],
        };
        assert_eq!(Counts::read(&counts.to_string()), counts);
        assert_eq!(Counts::read(&Counts::default().to_string()), Counts::default());
    }
}
