//! A node as the coordinator sees it, without processes: sessions, reports, heartbeats, a table watch.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_core::{
    agent::{
        self, PrefetchOrder, PrefetchState,
        order::{Assignments, Desired},
    },
    id::{LogIndex, ReplicaId},
    model::{NodeName, NodeProfile},
    state::{Observed, ReplicaReport},
    traffic::{change::TableChange, table::RouteTable},
    units::Resources,
};
use berth_proto::node::{
    TableMessage, assignments_from_wire, change_from_wire, prefetch_to_wire, profile_to_wire, report_to_wire,
    v1::{
        FromNode, Heartbeat, Hello, LogChunk, LogRequest, LogTime, PrefetchReport, PrepareProgress, ReplicaLoad,
        ReplicaReports, Served, TableAcks, TableUpdate, ToNode, Usage, WatchTableRequest, from_node,
        node_client::NodeClient, to_node,
    },
};
use berth_proto::store::v1::Device;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::api_fleet::{Fleet, PATIENCE, channel};

/// Shows a node's token.
#[derive(Clone)]
pub(crate) struct Token(MetadataValue<Ascii>);

/// One session, driven by hand.
pub(crate) struct Line {
    pub(crate) up: mpsc::Sender<FromNode>,
    pub(crate) down: Streaming<ToNode>,
}

/// A node that does what it is told: everything ordered becomes warm, everything to be stopped is gone.
pub(crate) struct Puppet {
    task: JoinHandle<()>,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

/// What a puppet has and does beside what every puppet does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) devices: Vec<Device>,
    /// Deployments whose replicas never come up there.
    pub(crate) fails: Vec<&'static str>,
    /// What its ingress answers between two heartbeats.
    pub(crate) served: Vec<Served>,
}

/// What a puppet saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) orders: Option<Assignments>,
    pub(crate) table: RouteTable,
    pub(crate) epoch: u64,
    pub(crate) redirects: u32,
    pub(crate) reports_taken: u64,
    /// Whether what its slots need is still on its way.
    pub(crate) still_fetches: bool,
}

// === impl Token ===

impl Token {
    pub(crate) fn new(text: &str) -> Self {
        Self(MetadataValue::try_from(text).expect("ASCII"))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(berth_coordinator::NODE_TOKEN, self.0.clone());
        Ok(request)
    }
}

// === impl Line ===

impl Line {
    pub(crate) async fn open(fleet: &Fleet, at: usize, hello: Hello) -> Result<Self, Status> {
        Self::dial(node_client(fleet, at), hello).await
    }

    async fn dial(mut client: NodeClient<InterceptedService<Channel, Token>>, hello: Hello) -> Result<Self, Status> {
        let (up, messages) = mpsc::channel(64);
        up.send(FromNode { message: Some(from_node::Message::Hello(hello)) }).await.expect("room");
        let down = client.session(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { up, down })
    }

    pub(crate) async fn next(&mut self) -> Option<to_node::Message> {
        let message = timeout(PATIENCE, self.down.message()).await.expect("a message in time");
        message.ok().flatten().and_then(|message| message.message)
    }

    pub(crate) async fn send(&self, message: from_node::Message) {
        let sent = timeout(PATIENCE, self.up.send(FromNode { message: Some(message) })).await;
        sent.expect("the session takes messages").expect("the session is open");
    }

    pub(crate) async fn report(&self, epoch: u64, seq: u64, reports: &[ReplicaReport]) {
        let reports = reports.iter().map(report_to_wire).collect();
        self.send(from_node::Message::Reports(ReplicaReports { epoch, seq, reports })).await;
    }

    pub(crate) async fn welcome(&mut self) -> berth_proto::node::v1::Welcome {
        match self.next().await {
            Some(to_node::Message::Welcome(welcome)) => welcome,
            other => panic!("expected Welcome, got {other:?}"),
        }
    }
}

// === impl Puppet ===

impl Puppet {
    /// Starts a node that finds the leader by itself.
    pub(crate) fn start(fleet: &Fleet, id: u64, name: &str) -> Self {
        Self::start_as(fleet, id, name, Part::default())
    }

    /// Starts a node that plays a part.
    pub(crate) fn start_as(fleet: &Fleet, id: u64, name: &str, part: Part) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let addresses: Vec<SocketAddr> = fleet.members.iter().map(|member| member.address).collect();
        let token =
            Token::new(&fleet.members.iter().map(|member| member.handle().node_token()).next().expect("members"));
        let puppet = Strings { id, name: name.to_owned(), addresses, token, part, seen: seen.clone() };
        Self { task: tokio::spawn(puppet.live()), seen }
    }

    pub(crate) fn stop(self) {
        self.task.abort();
    }
}

/// What moves a puppet.
struct Strings {
    id: u64,
    name: String,
    addresses: Vec<SocketAddr>,
    token: Token,
    part: Part,
    seen: Arc<Mutex<Seen>>,
}

// === impl Strings ===

impl Strings {
    async fn live(self) {
        let mut at = 0;
        let mut next: Option<SocketAddr> = None;
        loop {
            let address = next.take().unwrap_or_else(|| {
                at += 1;
                self.addresses[at % self.addresses.len()]
            });
            next = self.session(address).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Serves one session; returns where to ask next, if told.
    async fn session(&self, address: SocketAddr) -> Option<SocketAddr> {
        let client = || NodeClient::with_interceptor(channel(address), self.token.clone());
        let epoch = self.seen.lock().unwrap().epoch;
        let mut hello = Hello { epoch, ..hello(self.id, &self.name) };
        if let Some(profile) = &mut hello.profile {
            profile.devices.clone_from(&self.part.devices);
        }
        let line = Line::dial(client(), hello).await;
        let mut line = line.ok()?;
        match line.down.message().await.ok()??.message? {
            to_node::Message::Welcome(welcome) => self.seen.lock().unwrap().epoch = welcome.epoch,
            to_node::Message::Redirect(redirect) => {
                self.seen.lock().unwrap().redirects += 1;
                return redirect.leader_address.parse().ok();
            }
            _ => return None,
        }
        let epoch = self.seen.lock().unwrap().epoch;
        let mut tables = client().watch_table(WatchTableRequest::default()).await.ok()?.into_inner();
        let mut beat = interval(Duration::from_millis(50));
        let mut states: BTreeMap<ReplicaId, Observed> = BTreeMap::new();
        let (mut seq, mut beats) = (0, 0);
        loop {
            tokio::select! {
                message = line.down.message() => match message.ok()??.message? {
                    to_node::Message::Assignments(wire) => {
                        let orders = assignments_from_wire(wire).expect("orders");
                        let reports = obey(&orders, &self.part.fails, &mut states);
                        self.seen.lock().unwrap().orders = Some(orders);
                        if !reports.is_empty() {
                            seq += 1;
                            line.report(epoch, seq, &reports).await;
                        }
                    }
                    to_node::Message::ReportsTaken(_) => self.seen.lock().unwrap().reports_taken += 1,
                    to_node::Message::LogRequest(request) => {
                        line.send(from_node::Message::LogChunk(log_of(&request))).await;
                    }
                    to_node::Message::Redirect(redirect) => {
                        self.seen.lock().unwrap().redirects += 1;
                        return redirect.leader_address.parse().ok();
                    }
                    _ => return None,
                },
                update = tables.message() => {
                    let update = update.ok()??;
                    self.take_table(update);
                }
                _ = beat.tick() => {
                    beats += 1;
                    let version = self.seen.lock().unwrap().table.version.0;
                    let loads = states.keys().map(|replica| ReplicaLoad { replica: replica.0, in_flight: 3 }).collect();
                    // A replica that drains has nothing left to do.
                    let draining = self.draining();
                    let loads = if draining { Vec::new() } else { loads };
                    line.send(from_node::Message::Heartbeat(Heartbeat {
                        epoch,
                        seq: beats,
                        acks: Some(TableAcks { received: version, applied: version, warm: version }),
                        loads,
                        carried: Vec::new(),
                        usage: Some(Usage { cpu_milli: 250, memory_mib: 128, disk_mib: 0 }),
                        leaving_ms: None,
                        devices: Vec::new(),
                        prefetches: self.prefetched(),
                        served: self.part.served.clone(),
                        uses: Vec::new(),
                        progress: Vec::new(),
                    })).await;
                }
            }
        }
    }

    /// Says of everything it is to have ready that it has it, or half of it.
    fn prefetched(&self) -> Vec<PrefetchReport> {
        let seen = self.seen.lock().unwrap();
        let (state, progress) = match seen.still_fetches {
            true => {
                (PrefetchState::Fetching, Some(PrepareProgress { done: 1, total: 2, ..PrepareProgress::default() }))
            }
            false => (PrefetchState::Cached, None),
        };
        let orders = seen.orders.iter().flat_map(|orders| orders.prefetches.values());
        let told = |order: &PrefetchOrder| PrefetchReport {
            progress: progress.clone(),
            ..prefetch_to_wire(&agent::PrefetchReport {
                key: order.key.clone(),
                generation: order.generation,
                state,
                reason: String::new(),
            })
        };
        orders.map(told).collect()
    }

    fn draining(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.orders.as_ref().is_some_and(|orders| orders.replicas.values().any(|order| order.desired != Desired::Run))
    }

    fn take_table(&self, update: TableUpdate) {
        if let TableMessage::Change(change) = change_from_wire(update).expect("an update") {
            let mut seen = self.seen.lock().unwrap();
            seen.table = seen.table.apply(change).expect("it fits");
        }
    }
}

fn obey(orders: &Assignments, fails: &[&str], states: &mut BTreeMap<ReplicaId, Observed>) -> Vec<ReplicaReport> {
    let mut reports = Vec::new();
    for order in orders.replicas.values() {
        let observed = match order.desired {
            Desired::Run if fails.contains(&order.key.deployment.as_str()) => Observed::Failed,
            Desired::Run => Observed::Warm,
            Desired::Drain { .. } => continue,
            Desired::Stop => Observed::Gone,
        };
        if states.insert(order.replica, observed) != Some(observed) {
            reports.push(report(order.replica, observed));
        }
    }
    states.retain(|replica, observed| orders.replicas.contains_key(replica) && *observed != Observed::Gone);
    reports
}

pub(crate) fn report(replica: ReplicaId, observed: Observed) -> ReplicaReport {
    ReplicaReport {
        replica,
        observed,
        reason: if observed == Observed::Failed { "init() raised: no model".into() } else { "as ordered".into() },
        permanent: observed == Observed::Failed,
        restarts: 0,
        retry_in: berth_core::time::Millis(0),
        pid: 42,
        address: "127.0.0.1:9".into(),
    }
}

pub(crate) fn node_client(fleet: &Fleet, at: usize) -> NodeClient<InterceptedService<Channel, Token>> {
    let token = Token::new(&fleet.handle(at).node_token());
    NodeClient::with_interceptor(fleet.channel(at), token)
}

pub(crate) fn hello(id: u64, name: &str) -> Hello {
    let profile = NodeProfile {
        name: NodeName::new(name).expect("a name"),
        labels: BTreeMap::new(),
        capacity: Resources { cpu_milli: 4_000, memory_mib: 8_192, disk_mib: 10_000, gpus: 0 },
        devices: Vec::new(),
        gate_address: "127.0.0.1:1".into(),
        ingress_address: format!("{name}:7480"),
        is_virtual: true,
        version: "test".into(),
    };
    Hello { node_id: id, profile: Some(profile_to_wire(&profile)), ..Hello::default() }
}

/// Follows a table watch until it shows a version.
pub(crate) async fn table_at(
    watch: &mut Streaming<TableUpdate>,
    mut table: RouteTable,
    version: LogIndex,
) -> (RouteTable, Vec<&'static str>) {
    let mut kinds = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while table.version < version {
        let update = tokio::time::timeout_at(deadline, watch.message()).await.expect("in time").expect("an update");
        match change_from_wire(update.expect("more")).expect("an update") {
            TableMessage::Change(change) => {
                kinds.push(if matches!(change, TableChange::Full(_)) { "full" } else { "delta" });
                table = table.apply(change).expect("it fits");
            }
            TableMessage::Heartbeat { version, digest, .. } => {
                assert_eq!((version, digest), (table.version, table.digest()))
            }
        }
    }
    (table, kinds)
}

/// A machine that is set up in time is given what it shows from then on; later the same line is refused in words.
#[tokio::test]
async fn a_join_token_is_exchanged_for_the_lasting_one_until_it_runs_out() {
    let fleet = Fleet::start(1).await;
    let lasting = fleet.handle(0).node_token();
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after the epoch").as_millis();
    let token = |until_ms: u64| {
        let until = berth_core::time::LogTime::from_millis(until_ms);
        berth_coordinator::keys::join_token(&lasting, until).expect("a token").to_string()
    };
    let now_ms = u64::try_from(now_ms).expect("a time");
    for (id, shown, given, why) in
        [(1, token(now_ms + 3_600_000), lasting.as_str(), "it joins"), (2, lasting.clone(), "", "it has what lasts")]
    {
        let client = NodeClient::with_interceptor(fleet.channel(0), Token::new(&shown));
        let mut session = Line::dial(client, hello(id, &format!("n{id}"))).await.expect("a session");
        assert_eq!(session.welcome().await.node_token, given, "{why}");
    }
    let made_up = token(now_ms + 3_600_000).replace("join-v1-", "join-v1-9");
    for (shown, what) in
        [(token(now_ms - 1), "the join token ran out just now"), (made_up, "the node token does not fit")]
    {
        let client = NodeClient::with_interceptor(fleet.channel(0), Token::new(&shown));
        let refused = Line::dial(client, hello(3, "n3")).await.err().expect("it is refused");
        let error = berth_proto::status::from_status(&refused);
        assert_eq!((error.code, error.what.as_str()), (berth_core::error::Code::Unauthenticated, what));
        assert!(error.try_.contains("node.token") || error.try_.contains("berth node join-command"), "{error:?}");
    }
}

/// Answers for a replica that says hello at its end, and whose log since a time is read slower than it grows, up to ten parts.
fn log_of(of: &LogRequest) -> LogChunk {
    const PART_BYTES: u64 = 7;
    let is_part = of.offset.is_multiple_of(PART_BYTES) && of.offset < 10 * PART_BYTES;
    let (text, next_offset, end_offset) = if of.since_ms > 0 || (of.offset > 0 && is_part) {
        let text = format!("part {}\n", of.offset / PART_BYTES);
        (text, of.offset + PART_BYTES, of.offset + 3 * PART_BYTES)
    } else if of.tail_lines > 0 {
        (format!("replica {:016x} says hello\n", of.replica), 27, 27)
    } else {
        (String::new(), of.offset, of.offset)
    };
    let times = vec![LogTime { until: text.len() as u64, at_ms: of.since_ms }];
    LogChunk { request: of.request, data: text.into(), next_offset, end_offset, times, ..LogChunk::default() }
}
