//! A coordinator made up of what a test tells it: it takes sessions, hands out orders and assets, and remembers what it
//! hears.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_core::{
    agent::{Assignments, Desired, PrefetchOrder, ReplicaOrder},
    error::{Code, Error},
    id::{Digest, Generation, LogIndex, NodeEpoch, ReplicaId, Term},
    model::{AssetKind, AssetRef, DeploymentKey, DeploymentSpec},
    state::{Observed, ReplicaReport},
    traffic::{change::TableChange, table::RouteTable},
};
use berth_proto::{
    node::{
        assignments_to_wire, change_to_wire, heartbeat_to_wire, report_from_wire,
        v1::{
            AssetChunk, FetchAssetRequest, FromNode, Heartbeat, Hello, LogChunk, LogRequest, PrefetchState,
            PrepareProgress, Redirect, Refused, ReportsTaken, TableUpdate, ToNode, WatchTableRequest, Welcome,
            from_node::Message as Up,
            node_server::{Node, NodeServer},
            to_node::Message as Down,
        },
    },
    status::to_status,
};
use futures::{Stream, StreamExt, stream};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// How long a test waits for anything. Far more than it takes; only a fault lets it pass.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What it answers to a hello.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    Welcome,
    Redirect(String),
    Refuse(Code),
}

/// What it knows and was told.
#[derive(Debug)]
struct Memory {
    manner: Manner,
    epoch: u64,
    revision: u64,
    orders: BTreeMap<ReplicaId, ReplicaOrder>,
    prefetches: BTreeMap<DeploymentKey, PrefetchOrder>,
    assets: BTreeMap<Digest, Vec<u8>>,
    hellos: Vec<Hello>,
    heartbeats: Vec<Heartbeat>,
    reports: Vec<ReplicaReport>,
    chunks: BTreeMap<u64, LogChunk>,
    fetches: u32,
    /// The versions of their tables that nodes said they had.
    tables: Vec<u64>,
    /// Bytes of each asset after which it sends no more, until told to.
    holds_after: Option<usize>,
    /// Milliseconds between heartbeats; none is as short as tests like it.
    pace_ms: Option<u64>,
    down: Option<mpsc::Sender<Result<ToNode, Status>>>,
}

/// A coordinator; it ends when it is dropped.
pub(super) struct Coordinator {
    pub(super) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    changed: watch::Sender<u64>,
    /// Of its own, so that every connection ends with it as with a process.
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Service {
    memory: Arc<Mutex<Memory>>,
    changed: watch::Sender<u64>,
}

// === impl Coordinator ===

impl Drop for Coordinator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Coordinator {
    pub(super) async fn start() -> Self {
        Self::with(Manner::Welcome).await
    }

    pub(super) async fn with(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Mutex::new(Memory {
            manner,
            epoch: 0,
            revision: 0,
            orders: BTreeMap::new(),
            prefetches: BTreeMap::new(),
            assets: BTreeMap::new(),
            hellos: Vec::new(),
            heartbeats: Vec::new(),
            reports: Vec::new(),
            chunks: BTreeMap::new(),
            fetches: 0,
            tables: Vec::new(),
            holds_after: None,
            pace_ms: None,
            down: None,
        }));
        let changed = watch::Sender::new(0);
        let service = Service { memory: Arc::clone(&memory), changed: changed.clone() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = Server::builder().add_service(NodeServer::new(service));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, memory, changed, runtime: Some(runtime) }
    }

    fn with_memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.memory.lock().unwrap())
    }

    /// Sends no more than this of an asset, or goes on with what it held back.
    pub(super) fn hold_after(&self, bytes: Option<usize>) {
        self.with_memory(|memory| memory.holds_after = bytes);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Waits until a heartbeat says this of a replica that is being prepared.
    pub(super) async fn progress(
        &self,
        replica: u64,
        mut is_it: impl FnMut(Option<&PrepareProgress>) -> bool,
    ) -> Option<PrepareProgress> {
        self.wait("progress", |memory| {
            let said = memory.heartbeats.last()?.progress.iter().find(|said| said.replica == replica);
            let said = said.and_then(|said| said.progress.as_ref());
            is_it(said).then(|| said.cloned())
        })
        .await
    }

    /// Waits until a heartbeat says this of what a deployment's slots need.
    pub(super) async fn prefetching(
        &self,
        key: &str,
        mut is_it: impl FnMut(Option<&PrepareProgress>) -> bool,
    ) -> Option<PrepareProgress> {
        self.wait("progress of a prefetch", |memory| {
            let mut said = memory.heartbeats.last()?.prefetches.iter();
            let said = said.find(|said| format!("{}/{}", said.endpoint, said.deployment) == key)?;
            is_it(said.progress.as_ref()).then(|| said.progress.clone())
        })
        .await
    }

    /// Waits until this many watches of the table have begun; returns the versions that nodes said they had.
    pub(super) async fn tables(&self, count: usize) -> Vec<u64> {
        self.wait("watches of the table", |memory| (memory.tables.len() >= count).then(|| memory.tables.clone())).await
    }

    /// Asks for heartbeats at this pace, in sessions that begin from now on.
    pub(super) fn pace(&self, pace_ms: u64) {
        self.with_memory(|memory| memory.pace_ms = Some(pace_ms));
    }

    pub(super) fn behave(&self, manner: Manner) {
        self.with_memory(|memory| memory.manner = manner);
    }

    /// Takes an asset into its store and returns how to refer to it.
    pub(super) fn store(&self, name: &str, kind: AssetKind, bytes: Vec<u8>) -> AssetRef {
        let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        self.with_memory(|memory| memory.assets.insert(digest, bytes));
        AssetRef { digest, kind, name: name.to_owned(), size_bytes }
    }

    /// Orders something of a replica, keeping what else was ordered.
    pub(super) async fn order(&self, replica: u64, spec: &DeploymentSpec, desired: Desired) {
        let replica = ReplicaId(replica);
        let order = ReplicaOrder {
            replica,
            key: "fraud/blue".parse().unwrap(),
            generation: Generation(1),
            spec: spec.clone(),
            devices: Vec::new(),
            desired,
        };
        self.with_memory(|memory| memory.orders.insert(replica, order));
        self.send_orders().await;
    }

    /// Orders what the slots of a deployment need to be had ready; nothing any more without a spec.
    pub(super) async fn prefetch(&self, key: &str, spec: Option<&DeploymentSpec>) {
        let key: DeploymentKey = key.parse().unwrap();
        self.with_memory(|memory| match spec {
            Some(spec) => {
                let order = PrefetchOrder { key: key.clone(), generation: Generation(1), spec: spec.clone() };
                memory.prefetches.insert(key, order);
            }
            None => drop(memory.prefetches.remove(&key)),
        });
        self.send_orders().await;
    }

    /// Waits until a heartbeat says this of every prefetch.
    pub(super) async fn prefetched(&self, expected: &[(&str, PrefetchState)]) {
        self.wait("prefetches", |memory| {
            let said = memory.heartbeats.last()?.prefetches.iter();
            let said = said.map(|report| (format!("{}/{}", report.endpoint, report.deployment), report.state()));
            said.eq(expected.iter().map(|(key, state)| ((*key).to_owned(), *state))).then_some(())
        })
        .await;
    }

    async fn send_orders(&self) {
        let (down, message) = self.with_memory(|memory| {
            memory.revision += 1;
            (memory.down.clone(), memory.assignments())
        });
        if let Some(down) = down {
            // A session that just broke gets its orders with the next welcome.
            drop(down.send(Ok(message)).await);
        }
    }

    /// Sends orders that say they are older than what was sent.
    pub(super) async fn send_stale_orders(&self) {
        let (down, message) = self.with_memory(|memory| {
            let stale = Assignments {
                term: Term(1),
                epoch: NodeEpoch(memory.epoch),
                revision: LogIndex(memory.revision - 1),
                ..Assignments::default()
            };
            let message = ToNode { message: Some(Down::Assignments(assignments_to_wire(&stale))) };
            (memory.down.clone().unwrap(), message)
        });
        down.send(Ok(message)).await.unwrap();
    }

    /// Waits until what it remembers passes, and returns that.
    async fn wait<T>(&self, what: &str, mut look: impl FnMut(&Memory) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(found) = self.with_memory(|memory| look(memory)) {
                return found;
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                let reports = self.with_memory(|memory| memory.reports.clone());
                panic!("waited in vain for {what}; reports: {reports:#?}");
            }
        }
    }

    /// Waits for a report of a replica that was not there before `from`.
    pub(super) async fn report_from(&self, from: usize, replica: u64, observed: Observed) -> ReplicaReport {
        let what = format!("{observed:?} of {replica}");
        self.wait(&what, |memory| {
            let fits = |report: &&ReplicaReport| report.replica == ReplicaId(replica) && report.observed == observed;
            memory.reports.iter().skip(from).find(fits).cloned()
        })
        .await
    }

    pub(super) async fn report(&self, replica: u64, observed: Observed) -> ReplicaReport {
        self.report_from(0, replica, observed).await
    }

    pub(super) fn reports(&self) -> Vec<ReplicaReport> {
        self.with_memory(|memory| memory.reports.clone())
    }

    pub(super) fn fetches(&self) -> u32 {
        self.with_memory(|memory| memory.fetches)
    }

    pub(super) async fn hello(&self, count: usize) -> Hello {
        self.wait("a hello", |memory| memory.hellos.get(count - 1).cloned()).await
    }

    pub(super) async fn heartbeats(&self, count: usize) -> Vec<Heartbeat> {
        self.wait("heartbeats", |memory| (memory.heartbeats.len() >= count).then(|| memory.heartbeats.clone())).await
    }

    pub(super) async fn ask_log(&self, request: LogRequest) -> LogChunk {
        let number = request.request;
        let down = self.with_memory(|memory| memory.down.clone().unwrap());
        down.send(Ok(ToNode { message: Some(Down::LogRequest(request)) })).await.unwrap();
        self.wait("a piece of a log", |memory| memory.chunks.get(&number).cloned()).await
    }

    /// Breaks the session that is open.
    pub(super) fn hang_up(&self) {
        self.with_memory(|memory| memory.down = None);
    }
}

// === impl Memory ===

impl Memory {
    fn assignments(&self) -> ToNode {
        let orders = Assignments {
            term: Term(1),
            epoch: NodeEpoch(self.epoch),
            revision: LogIndex(self.revision),
            replicas: self.orders.clone(),
            prefetches: self.prefetches.clone(),
        };
        ToNode { message: Some(Down::Assignments(assignments_to_wire(&orders))) }
    }

    /// Takes a hello; returns what to answer, and whether the session stays open.
    fn greet(&mut self, hello: Hello) -> (Vec<ToNode>, bool) {
        let say = |message| ToNode { message: Some(message) };
        let returns = hello.epoch == self.epoch && self.epoch > 0;
        self.hellos.push(hello);
        match &self.manner {
            Manner::Redirect(leader_address) => {
                (vec![say(Down::Redirect(Redirect { leader_address: leader_address.clone() }))], false)
            }
            Manner::Refuse(code) => {
                let refused = Refused {
                    code: code.word().to_owned(),
                    what: "another live node is called `n1`".to_owned(),
                    why: "it is heard from".to_owned(),
                    r#try: "give this node another name".to_owned(),
                };
                (vec![say(Down::Refused(refused))], false)
            }
            Manner::Welcome => {
                self.epoch += u64::from(!returns);
                self.revision += 1;
                let welcome = Welcome {
                    cluster_id: "test-cluster".to_owned(),
                    term: 1,
                    epoch: self.epoch,
                    gate_token: "gate".to_owned(),
                    heartbeat_ms: self.pace_ms.unwrap_or(100),
                    coordinators: Vec::new(),
                    node_token: String::new(),
                };
                (vec![say(Down::Welcome(welcome)), self.assignments()], true)
            }
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    fn note(&self, look: impl FnOnce(&mut Memory)) {
        look(&mut self.memory.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
    }

    async fn serve(self, mut up: Streaming<FromNode>, down: mpsc::Sender<Result<ToNode, Status>>) {
        let Ok(Some(FromNode { message: Some(Up::Hello(hello)) })) = up.message().await else {
            return;
        };
        let (weak, mut stays) = (down.downgrade(), false);
        // At once: an order that is given from here on goes to this session, behind its welcome.
        self.note(|memory| {
            let (answers, is_open) = memory.greet(hello);
            answers.into_iter().for_each(|answer| drop(down.try_send(Ok(answer))));
            (memory.down, stays) = (is_open.then_some(down), is_open);
        });
        if !stays {
            return;
        }
        while let Ok(Some(message)) = up.message().await {
            match message.message {
                Some(Up::Heartbeat(heartbeat)) => self.note(|memory| memory.heartbeats.push(heartbeat)),
                Some(Up::Reports(reports)) => {
                    let read = reports.reports.into_iter().map(|report| report_from_wire(report).unwrap());
                    self.note(|memory| memory.reports.extend(read));
                    let taken = ToNode { message: Some(Down::ReportsTaken(ReportsTaken { seq: reports.seq })) };
                    if let Some(down) = weak.upgrade() {
                        drop(down.send(Ok(taken)).await);
                    }
                }
                Some(Up::LogChunk(chunk)) => self.note(|memory| drop(memory.chunks.insert(chunk.request, chunk))),
                // No test here asks for requests: whole clusters do.
                Some(Up::RequestFound(_)) => {}
                Some(Up::Hello(_)) | None => return,
                Some(Up::MirrorsTold(_)) => {}
            }
        }
    }
}

#[tonic::async_trait]
impl Node for Service {
    type SessionStream = Answers<ToNode>;
    type WatchTableStream = Answers<TableUpdate>;
    type FetchAssetStream = Answers<AssetChunk>;

    async fn session(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::SessionStream>, Status> {
        if request.metadata().get("berth-node-token").is_none_or(|token| token != "token") {
            return Err(to_status(&Error::new(Code::Unauthenticated, "the token does not fit")));
        }
        let (down, answers) = mpsc::channel(64);
        tokio::spawn(self.clone().serve(request.into_inner(), down));
        Ok(Response::new(ReceiverStream::new(answers).boxed()))
    }

    async fn watch_table(
        &self,
        request: Request<WatchTableRequest>,
    ) -> Result<Response<Self::WatchTableStream>, Status> {
        self.note(|memory| memory.tables.push(request.get_ref().version));
        let table = RouteTable { version: LogIndex(1), ..RouteTable::default() };
        let whole = change_to_wire(&TableChange::Full(table.clone()));
        let beats = stream::unfold(tokio::time::interval(Duration::from_secs(1)), move |mut pace| {
            let beat = heartbeat_to_wire(table.version, table.digest(), &[]);
            async move {
                pace.tick().await;
                Some((Ok(beat), pace))
            }
        });
        Ok(Response::new(stream::iter([Ok(whole)]).chain(beats).boxed()))
    }

    async fn fetch_asset(
        &self,
        request: Request<FetchAssetRequest>,
    ) -> Result<Response<Self::FetchAssetStream>, Status> {
        let request = request.into_inner();
        let digest = Digest(request.digest.as_slice().try_into().unwrap());
        self.note(|memory| memory.fetches += 1);
        let found = self.memory.lock().unwrap().assets.get(&digest).cloned();
        let Some(bytes) = found else {
            return Err(to_status(&Error::new(Code::AssetNotFound, "no such asset")));
        };
        let size_bytes = bytes.len() as u64;
        let rest = bytes[request.offset as usize..].to_vec();
        let (memory, changed) = (Arc::clone(&self.memory), self.changed.subscribe());
        let mut at = request.offset as usize;
        let chunks: Vec<_> = rest.chunks(64 << 10).map(|data| data.to_vec()).collect();
        let answers = stream::iter(chunks).then(move |data| {
            let (memory, mut changed) = (Arc::clone(&memory), changed.clone());
            at += data.len();
            async move {
                let is_held = |_: &u64| memory.lock().unwrap().holds_after.is_some_and(|most| at > most);
                // A test that is over lets everything go.
                drop(changed.wait_for(|count| !is_held(count)).await);
                Ok(AssetChunk { size_bytes, data: data.into() })
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

impl Coordinator {
    /// The bytes of an asset it stores.
    pub(super) fn bytes(&self, digest: &Digest) -> Vec<u8> {
        self.with_memory(|memory| memory.assets[digest].clone())
    }

    /// Stores bytes under a digest that is not theirs.
    pub(super) fn store_damaged(&self, digest: Digest, bytes: Vec<u8>) {
        self.with_memory(|memory| memory.assets.insert(digest, bytes));
    }
}
