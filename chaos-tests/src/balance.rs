//! A minute in which one of many replicas goes bad, and what callers see of it.
//!
//! The measure that Linkerd's authors chose for balancers: eleven backends, one of which begins to take two seconds while
//! callers wait for one. Two relatives of it are harder, because the bad one looks idle: it fails at once, or it takes
//! requests and never answers. Requests may not be repeated, so every one that the bad replica gets is lost; the endpoint may
//! say otherwise, and then they are repeated and hedged.
//!
//! Other balancers have the same minute before the same model servers: see [`Peer`](crate::peer::Peer).

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use berth_cli::load::{LoadOptions, LoadReport, Outcome};
use berth_client::{
    Address, api,
    http1::{Pool, PoolPolicy},
};
use berth_core::model::{AuthMode, EndpointSpec, HedgeAfter, Hedging};
use hyper::{HeaderMap, Request, body::Bytes, header::HeaderValue};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    cluster::{Cluster, ENDPOINT},
    echo::TURN,
    overload::word,
    peer::Peer,
};

/// How long a caller waits.
const DEADLINE_MS: u64 = 1_000;

/// How one replica goes bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// Each answer takes two seconds more.
    Slow,
    /// It answers 503 at once.
    Failing,
    /// It takes connections and requests, and nothing comes of them: its process is stopped.
    Silent,
}

/// The model server that goes bad.
pub(crate) struct Victim {
    pub(crate) pid: Pid,
    pub(crate) address: Address,
}

/// How large the deployment is and how much is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Nodes, each with an ingress that callers use in turn.
    pub nodes: usize,
    /// Instances.
    pub instances: u32,
    /// Requests due per second.
    pub rate_per_second: u64,
    /// How long a request is at work, in milliseconds.
    pub work_ms: u64,
    /// When the replica goes bad, in seconds from the begin.
    pub ill_at_s: u64,
    /// How long all of it takes, in seconds.
    pub seconds: u64,
}

/// What became of the requests.
#[derive(Clone, Debug)]
pub struct Minute {
    who: String,
    ill: Ill,
    report: LoadReport,
    /// Answers by replica after one went bad.
    shares: BTreeMap<String, u64>,
}

// === impl Ill ===

impl Ill {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Slow, Self::Failing, Self::Silent];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "takes 2 s",
            Self::Failing => "fails at once",
            Self::Silent => "black hole",
        }
    }

    async fn befall(self, victim: &Victim) {
        let turn = match self {
            Self::Slow => "slow 2000",
            Self::Failing => "failing",
            Self::Silent => {
                assert!(victim.pid.as_raw() > 1, "a replica has a process");
                return kill(victim.pid, Signal::SIGSTOP).expect("it is stopped");
            }
        };
        let request = Request::post(TURN).body(Bytes::from_static(turn.as_bytes())).expect("a request");
        let answer =
            Pool::new(victim.address.clone(), PoolPolicy::default()).send(request).await.expect("the replica answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

// === impl Victim ===

impl Victim {
    fn of(replica: &api::Replica) -> Self {
        let pid = Pid::from_raw(i32::try_from(replica.pid).expect("a process id"));
        Self { pid, address: replica.address.parse().expect("where the replica listens") }
    }
}

// === impl Plan ===

impl Plan {
    /// Starts a cluster that serves, whose requests may be repeated where `is_idempotent`, and are hedged then.
    pub async fn start(&self, berth: &str, is_idempotent: bool) -> Cluster {
        let cluster = Cluster::start(berth, 1, self.nodes).await;
        let hedging = Hedging { after: HedgeAfter::Percentile { permille: 990 }, budget_percent: 3 };
        let spec = EndpointSpec {
            auth_mode: AuthMode::None,
            idempotent: Some(is_idempotent),
            hedging: is_idempotent.then_some(hedging),
            ..EndpointSpec::default()
        };
        cluster.put_endpoint(ENDPOINT, &spec).await;
        let mut spec = cluster.command(&["echo-model"]);
        spec.instance_count = self.instances;
        spec.request_settings.max_concurrent_requests_per_instance = 64;
        cluster.put(ENDPOINT, "blue", &spec).await;
        cluster.serving("blue", self.instances as usize).await;
        cluster.split(&[("blue", 100)]).await;
        cluster.routed().await;
        cluster
    }

    /// Lets one replica go bad under load.
    pub async fn measure(&self, who: &str, cluster: &Cluster, ill: Ill) -> Minute {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed");
        let victim = replicas.iter().find(|replica| replica.state == "serving").expect("some replica serves");
        let targets = (0..self.nodes).map(|node| cluster.fleet.ingress(node)).collect();
        let path = format!("/e/{ENDPOINT}/anything");
        self.minute(who.to_owned(), targets, path, &Victim::of(victim), ill).await
    }

    /// Lets one of the model servers behind another balancer go bad under the same load.
    pub async fn measure_peer(&self, peer: &Peer, ill: Ill) -> Minute {
        self.minute(peer.name().to_owned(), vec![peer.ingress()], "/anything".to_owned(), &peer.victim(), ill).await
    }

    async fn minute(&self, who: String, targets: Vec<SocketAddr>, path: String, victim: &Victim, ill: Ill) -> Minute {
        let began = Instant::now();
        let load = tokio::spawn(berth_cli::load::run(self.load(targets, path, ill)));
        sleep_until(began + Duration::from_secs(self.ill_at_s)).await;
        ill.befall(victim).await;
        let report = load.await.expect("the load ends");
        let mut shares = BTreeMap::new();
        for outcome in report.outcomes.iter().filter(|one| one.number >= self.ill_at_s * self.rate_per_second) {
            if let Ok(answer) = &outcome.result {
                *shares.entry(answer.replica.clone()).or_default() += 1;
            }
        }
        Minute { who, ill, report, shares }
    }

    fn load(&self, targets: Vec<SocketAddr>, path: String, ill: Ill) -> LoadOptions {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-timeout-ms", HeaderValue::from(DEADLINE_MS));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        LoadOptions {
            targets,
            path,
            headers,
            bodies: Arc::new([Bytes::from(format!("sleep:{}", self.work_ms))]),
            first: 0,
            total: self.rate_per_second * self.seconds,
            rate_per_second: self.rate_per_second,
            // A little more than the deadline that the mesh is told, so that its own word is heard.
            timeout: Duration::from_millis(DEADLINE_MS + 500),
            deadline_header: None,
            in_flight_max: 2 * self.rate_per_second as usize,
            idempotent: false,
            patient: false,
            run: format!("{}-{}", ill.name().replace(' ', "-"), since.as_millis()),
        }
    }
}

// === impl Minute ===

impl Minute {
    /// Returns how many of a million requests were answered with 200.
    pub fn success_ppm(&self) -> u64 {
        self.report.ok() * 1_000_000 / self.report.outcomes.len().max(1) as u64
    }

    /// The heading above rows.
    pub fn heading() -> String {
        let head =
            format!("{:<20} {:<14} {:>8} {:>6} {:>9}", "balancer", "one replica", "requests", "failed", "success");
        format!("{head} {:>7} {:>7} {:>7}  outcomes", "p50 ms", "p99 ms", "max ms")
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, failed) = (self.report.outcomes.len(), self.report.failed());
        let percent = self.success_ppm() as f64 / 10_000.0;
        write!(f, "{:<20} ", self.who)?;
        write!(f, "{:<14} {requests:>8} {failed:>6} {percent:>7.3} %", self.ill.name())?;
        [500, 990, 1_000]
            .iter()
            .try_for_each(|permille| write!(f, " {:>7}", self.report.latency(*permille).as_millis()))?;
        let mut outcomes = BTreeMap::<String, u64>::new();
        self.report.outcomes.iter().for_each(|outcome| *outcomes.entry(word(outcome)).or_default() += 1);
        let outcomes: Vec<_> = outcomes.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        let again = |outcome: &Outcome| outcome.result.as_ref().map_or(0, |answer| answer.attempts.saturating_sub(1));
        let again: u32 = self.report.outcomes.iter().map(again).sum();
        let (least, most) = (self.shares.values().min().unwrap_or(&0), self.shares.values().max().unwrap_or(&0));
        write!(f, "  {}; {again} asked of two; afterwards {least} to {most} answers of a replica", outcomes.join(", "))
    }
}
