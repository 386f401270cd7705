//! What must lose no request, done under a fixed open-loop load that counts by request id.
//!
//! One place for the test and for the measurement: the test lets each event happen once, the measurement again and again
//! over many thousand requests. Each request is at work for a while, so that whatever happens hits some of them.
//!
//! Callers know every ingress, as behind a virtual address or with the SDK. Where the process they are connected to ends,
//! they go to another one: that is the residue which the design names, and it is counted apart. Where no ingress ends, a
//! request that had to be sent again is a lost one.
//!
//! The load is a mixture of protocols, and what became of each is counted apart: what is sound in HTTP/1.1 may lose a stream
//! where a connection has many.

mod event;
mod table;

pub use event::Event;
pub use table::{put, table};

use std::{fmt, time::Duration};

use berth_cli::load::{Answer, LoadOptions, LoadReport, Outcome};
use berth_core::model::{AuthMode, EndpointSpec};
use hyper::{HeaderMap, body::Bytes};
use tokio::time::{Instant, sleep_until};

use crate::{
    cluster::{Cluster, ENDPOINT},
    load::Load,
    protocol::Protocol,
};

/// How long a request is at work, in milliseconds: at 100 a second five of them are at any moment.
const WORK_MS: u64 = 50;

/// Different bodies; request `n` carries body `n` modulo their number.
const BODIES: u64 = 10_000;

/// How long a request may take from the moment it is due. Later than that it counts as lost.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// Requests that may be unanswered at once: more than are due while an answer may take.
const IN_FLIGHT_MAX: usize = 16_000;

/// How large the cluster is, how much is asked of it and how often an event happens.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Coordinators.
    pub coordinators: usize,
    /// Nodes, each with an ingress.
    pub nodes: usize,
    /// Instances of the deployment.
    pub instances: u32,
    /// Requests due per second.
    pub rate_per_second: u64,
    /// The least number of requests per event; the load goes on until the event is over.
    pub requests: u64,
    /// How often an event happens, spread over the load.
    pub strikes: u64,
    /// How long every coordinator is gone when all are.
    pub outage: Duration,
    /// Whether a node that is asked to end counts as a planned change: requests may not be repeated then.
    pub strict: bool,
    /// What callers speak, request by request in turn.
    pub protocols: &'static [Protocol],
}

/// What became of the requests of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What happened.
    pub event: Event,
    /// What their callers spoke.
    pub protocol: Protocol,
    /// How often.
    pub strikes: u64,
    /// Requests that were due.
    pub requests: u64,
    /// Those with an answer of 200 that carries their id and their body.
    pub answered: u64,
    /// Those without, and where no ingress ends those that had to be sent again.
    pub lost: u64,
    /// Those whose ingress was gone before a byte of them was taken; their caller went to another one.
    pub refused: u64,
    /// Those whose ingress ended while it had them; their caller asked another one.
    pub cut: u64,
    /// What half, 99 % and all of the answers took at most.
    pub latency: [Duration; 3],
    /// The first reasons of those that are lost.
    pub why: Vec<String>,
}

// === impl Plan ===

impl Plan {
    /// Starts a cluster of this size that serves, ready for events.
    pub async fn start(&self, berth: &str) -> Cluster {
        let cluster = Cluster::start(berth, self.coordinators, self.nodes).await;
        self.declare(&cluster, false).await;
        self.put(&cluster, self.instances, 0).await;
        self.settled(&cluster).await;
        cluster.split(&[("blue", 100)]).await;
        cluster.routed().await;
        cluster
    }

    /// Lets an event happen under load. Returns a row for each protocol.
    pub async fn measure(&self, cluster: &mut Cluster, event: Event) -> Vec<Row> {
        self.declare(cluster, self.may_repeat(event)).await;
        self.settled(cluster).await;
        cluster.routed().await;
        let load = Load::start_over(self.load(cluster, event), self.protocols);
        let began = Instant::now();
        let strikes = self.strikes_of(event);
        let apart = Duration::from_secs(self.requests) / (self.rate_per_second * strikes) as u32;
        for turn in 0..strikes {
            sleep_until(began + apart * turn as u32).await;
            event.strike(self, cluster, turn).await;
            self.settled(cluster).await;
        }
        self.rows(event, strikes, &load.end().await)
    }

    fn rows(&self, event: Event, strikes: u64, report: &LoadReport) -> Vec<Row> {
        let row = |place| Row::new(event, strikes, self.protocols, place, report);
        (0..self.protocols.len()).map(row).collect()
    }

    /// Returns how often an event happens.
    fn strikes_of(&self, event: Event) -> u64 {
        event.strikes_at_most().min(self.strikes).max(1)
    }

    fn may_repeat(&self, event: Event) -> bool {
        event.is_crash() && !(self.strict && event == Event::RouterRestart)
    }

    fn load(&self, cluster: &Cluster, event: Event) -> LoadOptions {
        LoadOptions {
            targets: (0..self.nodes).map(|node| cluster.fleet.ingress(node)).collect(),
            path: format!("/e/{ENDPOINT}/anything"),
            headers: HeaderMap::new(),
            bodies: (0..BODIES).map(body).collect(),
            first: 0,
            total: self.requests,
            rate_per_second: self.rate_per_second,
            timeout: ANSWERED_WITHIN,
            deadline_header: None,
            in_flight_max: IN_FLIGHT_MAX,
            idempotent: self.may_repeat(event),
            patient: false,
            run: event.name().replace(' ', "-"),
        }
    }

    /// Only where something dies without a word may requests be repeated; a planned change needs no such leave.
    async fn declare(&self, cluster: &Cluster, idempotent: bool) {
        let spec = EndpointSpec { auth_mode: AuthMode::None, idempotent: Some(idempotent), ..EndpointSpec::default() };
        cluster.put_endpoint(ENDPOINT, &spec).await;
    }

    async fn put(&self, cluster: &Cluster, instances: u32, version: u64) {
        let mut spec = cluster.command(&["echo-model"]);
        spec.instance_count = instances;
        spec.request_settings.max_concurrent_requests_per_instance = 256;
        spec.environment_variables.insert("VERSION".to_owned(), version.to_string());
        cluster.put(ENDPOINT, "blue", &spec).await;
    }

    /// Waits until the cluster is as it shall be: every instance serves, of one generation, no other is left, the
    /// reserve is held again, and every node takes work.
    async fn settled(&self, cluster: &Cluster) {
        self.instances_serve(cluster, self.instances).await;
        let client = &cluster.client;
        let whole = async || {
            let nodes = client.list_nodes().await.unwrap_or_default();
            let slots = client.list_slots(ENDPOINT, "blue").await.unwrap_or_default();
            let open = nodes.iter().filter(|node| node.state == "ready" && node.drain.is_none() && !node.cordoned);
            open.count() == self.nodes && slots.len() == self.instances.div_ceil(5) as usize
        };
        cluster.until_within(event::OVER_WITHIN, "every node is ready and the reserve is held", whole).await;
    }

    /// Waits until as many serve as shall, all of one generation, and no other is left but on nodes that are lost.
    async fn instances_serve(&self, cluster: &Cluster, instances: u32) {
        let serve = async || {
            let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
            let mut live = replicas.iter().filter(|replica| replica.state != "lost");
            let newest = replicas.iter().map(|replica| replica.generation).max();
            live.clone().count() == instances as usize
                && live.all(|replica| replica.state == "serving" && Some(replica.generation) == newest)
        };
        cluster.until_within(event::OVER_WITHIN, "as many serve as shall", serve).await;
    }
}

// === impl Row ===

impl Row {
    /// Counts what became of the requests of one of these protocols.
    fn new(event: Event, strikes: u64, protocols: &[Protocol], place: usize, report: &LoadReport) -> Self {
        let total = report.outcomes.len() as u64;
        let is_own = |outcome: &&Outcome| outcome.number % protocols.len() as u64 == place as u64;
        let own =
            LoadReport { outcomes: report.outcomes.iter().filter(is_own).cloned().collect(), elapsed: report.elapsed };
        let count = |is: &dyn Fn(&Outcome) -> bool| own.outcomes.iter().filter(|outcome| is(outcome)).count() as u64;
        let elsewhere = |outcome: &Outcome| outcome.retries > 0 && !event.ends_an_ingress();
        let wrong = |outcome: &Outcome| !is_right(outcome) || elsewhere(outcome);
        // One that has no outcome, or two, is nobody's: it is counted with the first protocol.
        let absent = u64::from(place == 0 && !report.is_complete(0, total));
        let why = own.outcomes.iter().filter(|outcome| wrong(outcome)).take(5).map(|outcome| {
            let Outcome { number, retries, why_again, latency, result, .. } = outcome;
            let result = result.as_ref().map(|answer| format!("{} {:?}", answer.status, answer.body));
            format!("request {number}, sent again {retries} times ({why_again}), after {latency:?}: {result:?}")
        });
        Self {
            event,
            protocol: protocols[place],
            strikes,
            requests: own.outcomes.len() as u64,
            answered: count(&is_right),
            lost: count(&wrong) + absent,
            refused: count(&|outcome| is_right(outcome) && outcome.retries > 0 && outcome.broken == 0),
            cut: count(&|outcome| is_right(outcome) && outcome.broken > 0),
            latency: [500, 990, 1_000].map(|permille| own.latency(permille)),
            why: why.collect(),
        }
    }

    /// The heading above rows.
    pub fn heading() -> String {
        let columns = format!("{:<22} {:<8} {:>5} {:>8} {:>8}", "event", "protocol", "times", "requests", "answered");
        let columns = format!("{columns} {:>5} {:>8} {:>5}", "lost", "refused", "cut");
        format!("{columns} {:>7} {:>7} {:>7}", "p50 ms", "p99 ms", "max ms")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, protocol, strikes, requests, answered, lost, refused, cut, latency, .. } = self;
        write!(f, "{:<22} {:<8} {strikes:>5} {requests:>8} {answered:>8}", event.name(), protocol.name())?;
        write!(f, " {lost:>5} {refused:>8} {cut:>5}")?;
        latency.iter().try_for_each(|latency| write!(f, " {:>7}", latency.as_millis()))
    }
}

fn body(number: u64) -> Bytes {
    Bytes::from(format!("sleep:{WORK_MS} request {}", number % BODIES))
}

/// Returns whether a request has the answer that belongs to it.
fn is_right(outcome: &Outcome) -> bool {
    let own =
        |answer: &Answer| answer.status == 200 && answer.body == body(outcome.number) && !answer.request_id.is_empty();
    outcome.result.as_ref().is_ok_and(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a test has it.
    pub(super) const PLAN: Plan = Plan {
        coordinators: 3,
        nodes: 3,
        instances: 2,
        rate_per_second: 100,
        requests: 400,
        strikes: 3,
        outage: Duration::from_secs(6),
        strict: false,
        protocols: &Protocol::ALL,
    };

    fn outcome(number: u64, retries: u32, broken: u32, result: Result<(u16, Bytes), &str>) -> Outcome {
        let result = result.map_err(str::to_owned).map(|(status, body)| Answer {
            status,
            deployment: "blue".to_owned(),
            replica: String::new(),
            request_id: format!("run-{number}"),
            reason: String::new(),
            retry_after: String::new(),
            attempts: 1,
            body,
        });
        let why_again = String::new();
        let latency = Duration::ZERO;
        Outcome { number, retries, broken, why_again, latency, result, not_sent: false, timed_out: false }
    }

    /// Each row: the outcome, and lost, refused and cut where an ingress ends and where none does.
    #[test]
    fn what_had_to_be_sent_again_is_residue_only_where_an_ingress_ended() {
        for (outcome, with_end, without_end, what) in [
            (outcome(0, 0, 0, Ok((200, body(0)))), [0, 0, 0], [0, 0, 0], "an answer"),
            (outcome(0, 1, 0, Ok((200, body(0)))), [0, 1, 0], [1, 1, 0], "refused, then answered elsewhere"),
            (outcome(0, 2, 1, Ok((200, body(0)))), [0, 0, 1], [1, 0, 1], "cut, then answered elsewhere"),
            (outcome(0, 0, 0, Ok((503, body(0)))), [1, 0, 0], [1, 0, 0], "another status"),
            (outcome(0, 0, 0, Ok((200, body(1)))), [1, 0, 0], [1, 0, 0], "the answer of another request"),
            (outcome(0, 1, 1, Err("reset")), [1, 0, 0], [1, 0, 0], "no answer"),
            (outcome(1, 0, 0, Ok((200, body(1)))), [1, 0, 0], [1, 0, 0], "request 0 has no outcome"),
        ] {
            let report = LoadReport { outcomes: vec![outcome], elapsed: Duration::ZERO };
            let counts = |event| {
                let row = Row::new(event, 1, &[Protocol::Http1], 0, &report);
                [row.lost, row.refused, row.cut]
            };
            assert_eq!(counts(Event::NodeKill), with_end, "{what}");
            assert_eq!(counts(Event::RollingUpdate), without_end, "{what}");
        }
    }

    #[test]
    fn what_became_of_each_protocol_is_counted_apart() {
        let mut outcomes: Vec<_> = (0..7).map(|number| outcome(number, 0, 0, Ok((200, body(number))))).collect();
        outcomes[1] = outcome(1, 0, 0, Err("reset"));
        outcomes[5] = outcome(5, 1, 0, Ok((200, body(5))));
        let report = LoadReport { outcomes, elapsed: Duration::ZERO };
        let rows = PLAN.rows(Event::RouterRestart, 1, &report);
        let counts = |row: &Row| (row.protocol, [row.requests, row.answered, row.lost, row.refused, row.cut]);
        assert_eq!(
            rows.iter().map(counts).collect::<Vec<_>>(),
            [(Protocol::Http1, [3, 3, 0, 0, 0]), (Protocol::Http2, [2, 1, 1, 0, 0]), (Protocol::Grpc, [2, 2, 0, 1, 0]),]
        );
        assert!(rows[1].why[0].contains("request 1,"), "{:?}", rows[1].why);
    }
}
