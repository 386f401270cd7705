//! What the mesh counts: per endpoint, deployment and core, so that counting costs no shared cache line.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use berth_core::{
    model::{DeploymentName, EndpointName},
    time::Instant,
    traffic::hedge::Recent,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    histogram::{Durations, Histogram},
    record::{End, Record},
    worker::Shared,
};

/// The statuses that are counted one by one; any other counts as the last entry.
const STATUSES: [u16; 28] = [
    200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 422, 424, 429, 499, 500,
    501, 502, 503, 504, OTHER,
];

/// Stands for every status that is not in the list.
const OTHER: u16 = 0;

/// What callers saw, as one label of few values: how long answers take is read beside refusals that take no time, and a
/// histogram for each status of each deployment would be thirty times as many series as anybody reads.
pub const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

/// What a node's mesh has counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshCounters {
    /// By endpoint and deployment; without deployment where none was chosen.
    pub deployments: BTreeMap<(EndpointName, Option<DeploymentName>), DeploymentCounters>,
    /// Answers to requests whose endpoint is not known, by status.
    pub unrouted: BTreeMap<u16, u64>,
}

/// The counters of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentCounters {
    /// Answers by the status the caller saw, or the one a gRPC call counts as; 0 stands for the rare ones.
    pub answers: BTreeMap<u16, u64>,
    /// Copies sent to it as a mirror.
    pub mirrored: u64,
    /// Copies it should have got and did not: it was full, slow or gone.
    pub mirror_dropped: u64,
    /// Answers to copies by the status it gave.
    pub mirror_answers: BTreeMap<u16, u64>,
    /// Attempts after the first that cost retry budget.
    pub retries: u64,
    /// Second replicas that were asked beside a slow first one.
    pub hedges: u64,
    /// Those whose answer was taken.
    pub hedges_won: u64,
    /// Refusals of gates that were full.
    pub sheds: u64,
    /// Callers that left before the answer began.
    pub abandoned: u64,
    /// Answers that were given up because their callers took them too slowly.
    pub slow_readers: u64,
    /// Answers that ended in the middle because their callers left.
    pub cut_by_callers: u64,
    /// Answers that ended in the middle because replicas broke off.
    pub cut_by_replicas: u64,
    /// How long requests took, to the last byte of the answer.
    pub took: Durations,
    /// The same by what the caller saw, in the order of [`CLASSES`].
    pub took_by_class: [Durations; CLASSES.len()],
    /// How long they waited at gates.
    pub queued: Durations,
    /// The model's own statuses, where callers saw another one.
    pub model_answers: BTreeMap<u16, u64>,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of answers.
    pub response_bytes: u64,
}

/// Counters of one core, alone on their cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Stats {
    answers: [AtomicU64; STATUSES.len()],
    mirror_answers: [AtomicU64; STATUSES.len()],
    pub(super) mirrored: AtomicU64,
    pub(super) mirror_dropped: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) hedges_won: AtomicU64,
    pub(super) sheds: AtomicU64,
    pub(super) abandoned: AtomicU64,
    slow_readers: AtomicU64,
    cut_by_callers: AtomicU64,
    cut_by_replicas: AtomicU64,
    /// How long requests took, to the last byte of the answer, by class.
    took: [Histogram; CLASSES.len()],
    /// How long those waited that did.
    queued: Histogram,
    model_answers: [AtomicU64; STATUSES.len()],
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

/// The same counters for every core.
#[derive(Debug)]
pub(super) struct CoreStats {
    cores: Box<[Stats]>,
    /// How long answers took lately; kept only where requests are hedged by it.
    pub(super) recent: Recent,
    /// Since when nobody has taken a request, in milliseconds of the mesh's clock; zero while somebody does.
    absent_ms: AtomicU64,
}

/// Shows the counters of a mesh to a registry; nothing once the mesh is gone.
pub(super) struct MeshCollector(pub(super) Weak<Shared>);

// === impl Stats ===

impl Default for Stats {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            answers: zeros(),
            mirror_answers: zeros(),
            mirrored: AtomicU64::new(0),
            mirror_dropped: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            hedges_won: AtomicU64::new(0),
            sheds: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            slow_readers: AtomicU64::new(0),
            cut_by_callers: AtomicU64::new(0),
            cut_by_replicas: AtomicU64::new(0),
            took: std::array::from_fn(|_| Histogram::default()),
            queued: Histogram::default(),
            model_answers: zeros(),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
        }
    }
}

impl Stats {
    pub(super) fn answer(&self, status: u16) {
        self.answers[position(status)].fetch_add(1, Relaxed);
    }

    /// Counts what a record says when it is closed.
    pub(super) fn closed(&self, record: &Record) {
        self.took[class(record.counts_as.unwrap_or_default())].observe(record.total);
        let queued_ms: u64 = record.attempts.iter().map(|attempt| attempt.queued_ms).sum();
        if queued_ms > 0 {
            self.queued.observe(Duration::from_millis(queued_ms));
        }
        self.request_bytes.fetch_add(record.request_bytes, Relaxed);
        self.response_bytes.fetch_add(record.response_bytes, Relaxed);
        if let Some(status) = record.model_status {
            self.model_answers[position(status)].fetch_add(1, Relaxed);
        }
        let ended = match record.end {
            End::Whole | End::Left => return,
            End::Cut => &self.cut_by_callers,
            End::Broken => &self.cut_by_replicas,
            End::Slow => &self.slow_readers,
        };
        ended.fetch_add(1, Relaxed);
    }

    pub(super) fn mirror_answer(&self, status: u16) {
        self.mirror_answers[position(status)].fetch_add(1, Relaxed);
    }
}

/// Returns the position of a status in [`CLASSES`].
pub(super) fn class(status: u16) -> usize {
    match status {
        // A conversation that began is one that went well.
        100..300 => 0,
        300..400 => 1,
        400..500 => 2,
        500..=999 => 3,
        _ => 4,
    }
}

fn position(status: u16) -> usize {
    STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1)
}

// === impl CoreStats ===

impl CoreStats {
    pub(super) fn new(cores: usize) -> Self {
        let cores = (0..cores).map(|_| Stats::default()).collect();
        Self { cores, recent: Recent::default(), absent_ms: AtomicU64::new(0) }
    }

    pub(super) fn of(&self, core: usize) -> &Stats {
        &self.cores[core]
    }

    /// Notes that nobody could take a request, and returns since when that is so.
    pub(super) fn absent_since(&self, now: Instant) -> Instant {
        let begun = self.absent_ms.compare_exchange(0, now.millis(), Relaxed, Relaxed);
        begun.map_or_else(Instant::from_millis, |_| now)
    }

    /// Notes that somebody serves.
    pub(super) fn present(&self) {
        if self.absent_ms.load(Relaxed) > 0 {
            self.absent_ms.store(0, Relaxed);
        }
    }

    pub(super) fn counters(&self) -> DeploymentCounters {
        let sum = |of: &dyn Fn(&Stats) -> &AtomicU64| self.cores.iter().map(|stats| of(stats).load(Relaxed)).sum();
        let by_status = |of: &dyn Fn(&Stats) -> &[AtomicU64]| {
            let total = |at: usize| self.cores.iter().map(|stats| of(stats)[at].load(Relaxed)).sum::<u64>();
            let counted = STATUSES.iter().enumerate().map(|(at, status)| (*status, total(at)));
            counted.filter(|(_, count)| *count > 0).collect()
        };
        let took_by_class: [Durations; CLASSES.len()] =
            std::array::from_fn(|class| self.cores.iter().map(|stats| stats.took[class].read()).sum());
        let took: Durations = took_by_class.iter().cloned().sum();
        let queued: Durations = self.cores.iter().map(|stats| stats.queued.read()).sum();
        DeploymentCounters {
            queued: queued.of_all(took.counts.iter().sum()),
            answers: by_status(&|stats| &stats.answers),
            mirror_answers: by_status(&|stats| &stats.mirror_answers),
            mirrored: sum(&|stats| &stats.mirrored),
            mirror_dropped: sum(&|stats| &stats.mirror_dropped),
            retries: sum(&|stats| &stats.retries),
            hedges: sum(&|stats| &stats.hedges),
            hedges_won: sum(&|stats| &stats.hedges_won),
            sheds: sum(&|stats| &stats.sheds),
            abandoned: sum(&|stats| &stats.abandoned),
            slow_readers: sum(&|stats| &stats.slow_readers),
            cut_by_callers: sum(&|stats| &stats.cut_by_callers),
            cut_by_replicas: sum(&|stats| &stats.cut_by_replicas),
            took,
            took_by_class,
            model_answers: by_status(&|stats| &stats.model_answers),
            request_bytes: sum(&|stats| &stats.request_bytes),
            response_bytes: sum(&|stats| &stats.response_bytes),
        }
    }
}

// === impl MeshCollector ===

impl fmt::Debug for MeshCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshCollector")
    }
}

impl Collector for MeshCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let counters = shared.counters();
        let rows = rows(&counters);
        encode_by_status(&mut encoder, "berth_mesh_answers", "Answers by the status callers saw", &rows, |counters| {
            &counters.answers
        })?;
        encode_by_status(&mut encoder, "berth_mesh_mirror_answers", "Answers to copies", &rows, |counters| {
            &counters.mirror_answers
        })?;
        encode_by_status(
            &mut encoder,
            "berth_mesh_model_answers",
            "The models' own statuses, where callers saw another one",
            &rows,
            |counters| &counters.model_answers,
        )?;
        type Read = fn(&DeploymentCounters) -> u64;
        let plain: [(&str, &str, Read); 10] = [
            ("berth_mesh_request_bytes", "Bytes of requests", |counters| counters.request_bytes),
            ("berth_mesh_response_bytes", "Bytes of answers", |counters| counters.response_bytes),
            ("berth_mesh_mirrored", "Copies sent to mirrors", |counters| counters.mirrored),
            ("berth_mesh_mirror_dropped", "Copies that were given up", |counters| counters.mirror_dropped),
            ("berth_mesh_retries", "Attempts after the first", |counters| counters.retries),
            ("berth_mesh_hedges", "Replicas asked beside a slow one", |counters| counters.hedges),
            ("berth_mesh_hedges_won", "Hedges whose answer was taken", |counters| counters.hedges_won),
            ("berth_mesh_sheds", "Refusals of full gates", |counters| counters.sheds),
            ("berth_mesh_abandoned", "Callers that left before an answer", |counters| counters.abandoned),
            ("berth_mesh_slow_readers", "Answers that their callers took too slowly", |counters| counters.slow_readers),
        ];
        for (name, help, read) in plain {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (endpoint, deployment, counters) in &rows {
                let labels = [("endpoint", *endpoint), ("deployment", *deployment)];
                ConstCounter::new(read(counters)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Answers that ended in the middle, by who broke off";
        let mut family = encoder.encode_descriptor("berth_mesh_cut", help, None, MetricType::Counter)?;
        for (endpoint, deployment, counters) in &rows {
            for (by, count) in [("caller", counters.cut_by_callers), ("replica", counters.cut_by_replicas)] {
                let labels = [("endpoint", *endpoint), ("deployment", *deployment), ("by", by)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("berth_mesh_duration_seconds", "Time from the head of a request to the end of its answer");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (endpoint, deployment, counters) in rows.iter().filter(|(_, deployment, _)| !deployment.is_empty()) {
            for (class, took) in CLASSES.into_iter().zip(&counters.took_by_class) {
                // An empty one says nothing, but that there is none at all.
                if class == CLASSES[0] || took.counts.iter().any(|count| *count > 0) {
                    let labels = [("endpoint", *endpoint), ("deployment", *deployment), ("status", class)];
                    took.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let (name, help) = ("berth_mesh_queue_wait_seconds", "Time that requests waited at gates for a slot");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (endpoint, deployment, counters) in rows.iter().filter(|(_, deployment, _)| !deployment.is_empty()) {
            let labels = [("endpoint", *endpoint), ("deployment", *deployment)];
            counters.queued.encode(family.encode_family(&labels)?)?;
        }
        encode_verdicts(&mut encoder, &shared)?;
        let help = "Requests a replica of this node has, running and waiting";
        let mut family = encoder.encode_descriptor("berth_mesh_gate_in_flight", help, None, MetricType::Gauge)?;
        for (replica, key, load) in shared.gate.loads() {
            let replica = replica.to_string();
            let labels = [
                ("endpoint", key.endpoint.as_str()),
                ("deployment", key.deployment.as_str()),
                ("replica", replica.as_str()),
            ];
            ConstGauge::new(load as i64).encode(family.encode_family(&labels)?)?;
        }
        let help = "Requests that wait for a slot of a replica of this node";
        let mut family = encoder.encode_descriptor("berth_mesh_gate_waiting", help, None, MetricType::Gauge)?;
        for (replica, key, waiting) in shared.gate.waiting() {
            let replica = replica.to_string();
            let labels = [
                ("endpoint", key.endpoint.as_str()),
                ("deployment", key.deployment.as_str()),
                ("replica", replica.as_str()),
            ];
            ConstGauge::new(i64::from(waiting)).encode(family.encode_family(&labels)?)?;
        }
        encode_replicas(&mut encoder, &shared)?;
        let help = "Callers that were told that this node has too many connections";
        let family = encoder.encode_descriptor("berth_mesh_connections_refused", help, None, MetricType::Counter)?;
        ConstCounter::new(shared.connections_refused.load(Relaxed)).encode(family)?;
        let help = "Open connections, those of callers and of other nodes";
        let family = encoder.encode_descriptor("berth_mesh_connections", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(shared.connections.load(Relaxed))).encode(family)?;
        let help = "Connections that were opened";
        let family = encoder.encode_descriptor("berth_mesh_connections_opened", help, None, MetricType::Counter)?;
        ConstCounter::new(shared.connections_opened.load(Relaxed)).encode(family)?;
        if let Some(spans) = &shared.spans {
            let help = "Spans for which the collector had no room";
            let family = encoder.encode_descriptor("berth_mesh_spans_lost", help, None, MetricType::Counter)?;
            ConstCounter::new(spans.lost()).encode(family)?;
        }
        if let Some(log) = &shared.access_log {
            let help = "Lines of the access log that could not be written";
            let family = encoder.encode_descriptor("berth_mesh_access_log_lost", help, None, MetricType::Counter)?;
            ConstCounter::new(log.lost()).encode(family)?;
        }
        let help = "Version of the route table, as acknowledged";
        let mut family = encoder.encode_descriptor("berth_mesh_table_version", help, None, MetricType::Gauge)?;
        let acks = shared.acks();
        for (stage, version) in [("received", acks.received), ("applied", acks.applied), ("warm", acks.warm)] {
            ConstGauge::new(version.0 as i64).encode(family.encode_family(&[("stage", stage)])?)?;
        }
        Ok(())
    }
}

/// Shows what mirrors answered. The counts begin anew with a generation, as counters do with a process.
fn encode_verdicts(encoder: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), fmt::Error> {
    let help = "Copies by what became of them and of the comparison";
    let mut family = encoder.encode_descriptor("berth_mesh_mirror_verdicts", help, None, MetricType::Counter)?;
    for endpoint in shared.routes.load().endpoints() {
        for (pair, _, tally) in endpoint.soft.verdicts().tallies() {
            let different = tally.mismatched.iter().map(|(kind, count)| (kind.word(), *count));
            let unjudged = tally.unjudged.iter().map(|(why, count)| (why.word(), *count));
            let missed = tally.missed.iter().map(|(why, count)| (why.word(), *count));
            let all = [("match", tally.matched)].into_iter().chain(different).chain(unjudged).chain(missed);
            for (verdict, count) in all {
                let labels = [
                    ("endpoint", endpoint.route.name.as_str()),
                    ("deployment", pair.mirror.as_str()),
                    ("primary", pair.primary.as_str()),
                    ("verdict", verdict),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

/// Shows what each replica of this node has answered, and whether the table has it. Seven series of a replica at most, and
/// they end with it: a node holds few at a time, a cluster's list would have all of them.
fn encode_replicas(encoder: &mut DescriptorEncoder<'_>, shared: &Shared) -> Result<(), fmt::Error> {
    let answered = shared.gate.answered();
    let ids: Vec<String> = answered.iter().map(|(replica, ..)| replica.to_string()).collect();
    let all = || answered.iter().zip(&ids).map(|((id, key, of), text)| (id, key, of, text.as_str()));
    let help = "Requests of a replica of this node that ended, by the class of what it answered, copies too";
    let mut family = encoder.encode_descriptor("berth_mesh_replica_answers", help, None, MetricType::Counter)?;
    for (_, key, of, replica) in all() {
        for (class, count) in CLASSES.into_iter().zip(of.by_class) {
            if class == CLASSES[0] || count > 0 {
                let labels = [
                    ("endpoint", key.endpoint.as_str()),
                    ("deployment", key.deployment.as_str()),
                    ("replica", replica),
                    ("status", class),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let help = "Time that requests which ended held a slot of a replica of this node";
    let mut family = encoder.encode_descriptor("berth_mesh_replica_held_seconds", help, None, MetricType::Counter)?;
    for (_, key, of, replica) in all() {
        let labels =
            [("endpoint", key.endpoint.as_str()), ("deployment", key.deployment.as_str()), ("replica", replica)];
        ConstCounter::new(of.held_ms as f64 / 1_000.0).encode(family.encode_family(&labels)?)?;
    }
    let help = "1 for the state in which the route table has a replica of this node: warm or serving";
    let mut family = encoder.encode_descriptor("berth_mesh_replica_state", help, None, MetricType::Gauge)?;
    let routes = shared.routes.load();
    for (id, key, _, replica) in all() {
        let state = routes.endpoint(key.endpoint.as_str()).and_then(|endpoint| {
            let deployments = &endpoint.route.deployments;
            let deployment = deployments.iter().find(|deployment| deployment.name == key.deployment)?;
            let at = deployment.replicas.binary_search_by_key(id, |replica| replica.id).ok()?;
            Some(deployment.replicas[at].state.word())
        });
        if let Some(state) = state {
            let labels = [
                ("endpoint", key.endpoint.as_str()),
                ("deployment", key.deployment.as_str()),
                ("replica", replica),
                ("state", state),
            ];
            ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

type Row<'a> = (&'a str, &'a str, &'a DeploymentCounters);

fn rows(counters: &MeshCounters) -> Vec<Row<'_>> {
    let rows = counters.deployments.iter().map(|((endpoint, deployment), counters)| {
        (endpoint.as_str(), deployment.as_ref().map_or("", DeploymentName::as_str), counters)
    });
    rows.collect()
}

fn encode_by_status(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[Row<'_>],
    read: fn(&DeploymentCounters) -> &BTreeMap<u16, u64>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (endpoint, deployment, counters) in rows {
        for (status, count) in read(counters) {
            let status = if *status == OTHER { "other".to_owned() } else { status.to_string() };
            let labels = [("endpoint", *endpoint), ("deployment", *deployment), ("status", status.as_str())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Shared ownership of a deployment's counters.
pub(super) type SharedStats = Arc<CoreStats>;
