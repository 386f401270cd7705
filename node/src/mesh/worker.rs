//! One core of the data side: its runtime, listeners and connections, and what all cores share.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use berth_core::{
    id::{LogIndex, ReplicaId},
    model::DeploymentKey,
    rng::{Rng, SeedTree},
    time::Instant,
    traffic::acks::TableAcks,
};
use berth_proto::tls;
use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::LocalOptions,
    sync::{Notify, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BoxError,
    access_log::AccessLog,
    body::OutBody,
    clock::Clock,
    drain::Drain,
    full_house,
    gate::Gate,
    gate_server, h2_server,
    headers::Timeout,
    ingress,
    link::Links,
    metrics::{CoreStats, MeshCounters},
    options::MeshOptions,
    patient::{Patient, Reader},
    peers::Peers,
    pool::Pool,
    quiet::Quiet,
    record::Recent,
    replay::{Left, Room},
    routes::{Memory, Routes},
    span::Spans,
    verdict::Comparator,
    warm,
    wire::Wire,
};

/// How often connections that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Tasks a core runs before it looks for input again. More make larger writes, since requests that became ready together
/// go out together; a task runs for microseconds, so input still waits for less than one.
const TASKS_PER_POLL: u32 = 256;

/// Finds callers that are gone without a word, over a minute or two.
const KEEPALIVE: socket2::TcpKeepalive = socket2::TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20))
    .with_retries(3);

/// How long a connection of HTTP/1.1 may still bring its next request when the core drains.
const QUIET: Duration = Duration::from_secs(1);

/// Pause after a failed accept: the process is out of descriptors, and asking again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection that was made just before the end may take to say what it wants.
const LAST_WORD: Duration = Duration::from_millis(100);

/// What all cores of a node share.
pub(super) struct Shared {
    pub(super) options: MeshOptions,
    pub(super) clock: Clock,
    pub(super) gate: Gate,
    pub(super) routes: ArcSwap<Routes>,
    pub(super) memory: Mutex<Memory>,
    pub(super) acks: watch::Sender<TableAcks>,
    /// The newest table, for whoever warms it.
    pub(super) applied: watch::Sender<LogIndex>,
    pub(super) mirrors: Arc<AtomicU32>,
    pub(super) comparator: Comparator,
    /// Open connections of every core, for a drain to wait on.
    pub(super) connections: AtomicU32,
    pub(super) unrouted: CoreStats,
    /// What became of the newest requests, per core.
    pub(super) recent: Box<[Recent]>,
    pub(super) access_log: Option<AccessLog>,
    /// What callers have to speak, if anything but plain HTTP.
    pub(super) tls: Option<tls::Server>,
    /// What other nodes have to speak, if anything but plain HTTP/2.
    pub(super) peers: Option<Peers>,
    /// Connections are taken.
    pub(super) opened: CancellationToken,
    /// Those who take them.
    pub(super) accepting: TaskTracker,
    /// Where the gate of a newer process of this node is, once that has the listeners.
    pub(super) successor: OnceLock<Arc<str>>,
    /// What an older process of this node still has under way.
    pub(super) elsewhere: ArcSwap<BTreeMap<ReplicaId, u64>>,
    /// When somebody may serve the deployments that nobody does.
    pub(super) expected: ArcSwap<BTreeMap<DeploymentKey, Instant>>,
    pub(super) spans: Option<Spans>,
    /// Connections callers opened since the start.
    pub(super) connections_opened: AtomicU64,
    /// Those that were too many.
    pub(super) connections_refused: AtomicU64,
    /// No new connections or requests are taken.
    pub(super) draining: CancellationToken,
    /// Everything ends.
    pub(super) stopping: CancellationToken,
    /// What all requests together may still keep to be sent again.
    replay_left: Left,
    token: ArcSwapOption<HeaderValue>,
}

/// One core.
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) pool: Rc<Pool>,
    /// The same for copies: a stuck one holds no connection and no window of a caller's request.
    pub(super) copies: Rc<Pool>,
    pub(super) links: Links,
    pub(super) room: Room,
    /// Copies that wait until nothing of a caller is at hand.
    pub(super) quiet: Rc<Quiet>,
    /// What copies of requests may be behind.
    pub(super) copy_room: Room,
    /// What the connections of this core see of [`Shared::draining`].
    pub(super) drain: Rc<Drain>,
    /// The time that a replica was told last, as it is written: most requests have as long as the one before them.
    told: RefCell<Option<(u64, Timeout)>>,
    rng: RefCell<Rng>,
    connections: Cell<usize>,
    /// Connections beyond those, that are being told so.
    pub(super) refusing: Cell<usize>,
    pub(super) closed: Notify,
}

/// The listeners of one core.
pub(super) struct Listeners {
    pub(super) ingress: std::net::TcpListener,
    pub(super) gate: std::net::TcpListener,
}

/// The work on one request.
pub(super) type Work = Pin<Box<dyn Future<Output = Response<OutBody>>>>;

/// What connections are wrapped in.
pub(super) struct Secured {
    pub(super) tls: Option<tls::Server>,
    pub(super) peers: Option<Peers>,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Ingress,
    Gate,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        options: MeshOptions,
        cores: usize,
        access_log: Option<AccessLog>,
        comparator: Comparator,
        secured: Secured,
    ) -> Self {
        let mut memory = Memory::new(options.node, cores);
        let routes = Routes::new(berth_core::traffic::table::RouteTable::default(), None, &mut memory);
        let clock = Clock::new();
        Self {
            clock,
            gate: Gate::new(clock),
            routes: ArcSwap::from_pointee(routes),
            memory: Mutex::new(memory),
            acks: watch::Sender::new(TableAcks::default()),
            applied: watch::Sender::new(LogIndex(0)),
            mirrors: Arc::default(),
            comparator,
            connections: AtomicU32::new(0),
            unrouted: CoreStats::new(cores),
            recent: (0..cores).map(|_| Recent::default()).collect(),
            access_log,
            tls: secured.tls,
            peers: secured.peers,
            opened: CancellationToken::new(),
            accepting: TaskTracker::new(),
            successor: OnceLock::new(),
            elsewhere: ArcSwap::default(),
            expected: ArcSwap::default(),
            spans: options.spans.clone().map(Spans::new),
            connections_opened: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
            replay_left: Left::new(options.limits.replay_bytes_per_node),
            token: ArcSwapOption::empty(),
            options,
        }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn token(&self) -> Option<Arc<HeaderValue>> {
        self.token.load_full()
    }

    pub(super) fn set_token(&self, mut token: HeaderValue) {
        token.set_sensitive(true);
        self.token.store(Some(Arc::new(token)));
    }

    pub(super) fn acks(&self) -> TableAcks {
        *self.acks.borrow()
    }

    /// Returns whether a table was ever applied.
    pub(super) fn is_ready(&self) -> bool {
        self.routes.load().table.version > LogIndex(0)
    }

    pub(super) fn counters(&self) -> MeshCounters {
        let mut deployments = BTreeMap::new();
        for endpoint in self.routes.load().endpoints() {
            let name = &endpoint.route.name;
            deployments.insert((name.clone(), None), endpoint.soft.stats.counters());
            for (route, deployment) in endpoint.route.deployments.iter().zip(&endpoint.deployments) {
                deployments.insert((name.clone(), Some(route.name.clone())), deployment.stats.counters());
            }
        }
        MeshCounters { deployments, unrouted: self.unrouted.counters().answers }
    }
}

// === impl Core ===

impl Core {
    fn new(shared: Arc<Shared>, index: usize, seed: &SeedTree) -> Self {
        Self {
            index,
            pool: Rc::default(),
            copies: Rc::default(),
            links: Links::new(shared.peers.clone()),
            room: Room::of(shared.replay_left.clone()),
            quiet: Rc::default(),
            copy_room: Room::new(shared.options.limits.copy_bytes_per_core),
            drain: Rc::default(),
            told: RefCell::default(),
            rng: RefCell::new(seed.child(index.to_le_bytes()).rng()),
            connections: Cell::new(0),
            refusing: Cell::new(0),
            closed: Notify::new(),
            shared,
        }
    }

    /// Counts an answer, where requests are counted.
    pub(super) fn count(&self, stats: &CoreStats, status: u16) {
        if self.shared.options.telemetry {
            stats.of(self.index).answer(status);
        }
    }

    /// Writes how long a replica has.
    pub(super) fn timeout(&self, left_ms: u64) -> Timeout {
        let mut told = self.told.borrow_mut();
        if told.as_ref().is_none_or(|(ms, _)| *ms != left_ms) {
            *told = None;
        }
        told.get_or_insert_with(|| (left_ms, Timeout::new(left_ms))).1.clone()
    }

    /// Draws any number.
    pub(super) fn draw(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    /// Takes connections until the mesh drains. Those that were made by then are taken as well, to be told in order that
    /// this is the end: closing the listener would reset them.
    async fn accept(self: Rc<Self>, listener: TcpListener, door: Door) {
        let max = self.shared.options.limits.connections;
        let _accepts = self.shared.accepting.token();
        tokio::select! {
            biased;
            () = self.drain.watch() => return,
            () = self.shared.opened.cancelled() => {}
        }
        loop {
            // Who cannot even be told waits in the listener's backlog.
            while door == Door::Ingress && self.connections.get() >= max && self.refusing.get() >= full_house::AT_ONCE {
                tokio::select! {
                    biased;
                    () = self.drain.watch() => return,
                    () = self.closed.notified() => {}
                }
            }
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = self.drain.watch() => return,
            };
            match accepted {
                Ok((stream, _)) if door == Door::Ingress && self.connections.get() >= max => {
                    self.shared.connections_refused.fetch_add(1, Relaxed);
                    full_house::refuse(self.clone(), stream);
                }
                Ok((stream, _)) => {
                    let core = self.clone();
                    tokio::task::spawn_local(async move { core.serve(stream, door).await });
                }
                Err(error) => {
                    tracing::warn!(%error, ?door, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection, HTTP/1.1 or HTTP/2.
    async fn serve(self: Rc<Self>, stream: TcpStream, door: Door) {
        let counted = Counted::new(self.clone(), door);
        // Small answers must not wait for an acknowledgement; a failure only costs that.
        let _ = stream.set_nodelay(true);
        // A caller that is gone without a word must not hold a conversation, and its slot, for ever.
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
        let (tls, peers) = (self.shared.tls.clone(), self.shared.peers.clone());
        let ended = match (door, tls, peers) {
            (Door::Ingress, Some(tls), _) => self.clone().serve_tls(&tls, stream, door).await,
            (Door::Gate, _, Some(peers)) => self.clone().serve_peer(&peers, stream).await,
            (Door::Ingress, None, _) | (Door::Gate, _, None) => self.serve_plain(stream, door).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, ?door, "a connection ended");
        }
        drop(counted);
    }

    async fn serve_tls(self: Rc<Self>, tls: &tls::Server, stream: TcpStream, door: Door) -> Result<(), BoxError> {
        let accepted = tokio::select! {
            biased;
            () = self.drain.watch() => return Ok(()),
            accepted = tls.accept(stream) => accepted,
        };
        match accepted? {
            (stream, true) => h2_server::serve(&self, stream, door).await,
            (stream, false) => self.serve_http1(stream, door).await,
        }
    }

    async fn serve_peer(self: Rc<Self>, peers: &Peers, stream: TcpStream) -> Result<(), BoxError> {
        let accepted = tokio::select! {
            biased;
            () = self.drain.watch() => return Ok(()),
            accepted = peers.accept(stream) => accepted,
        };
        h2_server::serve(&self, accepted?, Door::Gate).await
    }

    async fn serve_plain(self: Rc<Self>, stream: TcpStream, door: Door) -> Result<(), BoxError> {
        // A connection that says nothing must not take a place for ever.
        let first = {
            let header_timeout = self.shared.options.limits.header_timeout;
            let mut spoken = pin!(tokio::time::timeout(header_timeout, speaks_http2(&stream)));
            tokio::select! {
                biased;
                first = spoken.as_mut() => first,
                // Who spoke just before the end is told of it in its own protocol, not by a reset.
                () = self.drain.watch() => match tokio::time::timeout(LAST_WORD, spoken).await {
                    Ok(first) => first,
                    Err(_) => return Ok(()),
                },
            }
        };
        match first {
            Ok(Ok(true)) => h2_server::serve(&self, stream, door).await,
            Ok(Ok(false)) => self.serve_http1(stream, door).await,
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    async fn serve_http1<S>(self: &Rc<Self>, stream: S, door: Door) -> Result<(), BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.shared.options.limits;
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(limits.headers)
            .max_buf_size(limits.header_bytes as usize + limits.uri_bytes);
        let reader = Arc::new(Reader::default());
        let service = service_fn(|request: Request<Incoming>| async {
            let mut response = door.answer(self.clone(), request.map(Wire::Http1)).await;
            response.body_mut().read_by(&reader);
            if self.drain.has_begun() && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        });
        let stream = Patient::new(stream, limits.answer_patience, reader.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        tokio::select! {
            biased;
            () = self.drain.watch() => {}
            ended = connection.as_mut() => return Ok(ended?),
        }
        // A connection that waits for its next request is not closed under it: the answer to that says it is the last.
        // One that stays quiet is closed.
        match tokio::time::timeout(QUIET, connection.as_mut()).await {
            Ok(ended) => return Ok(ended?),
            Err(_) => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    /// Lets the connections of this core know when the mesh drains.
    async fn drain_in_time(self: Rc<Self>) {
        self.shared.draining.cancelled().await;
        self.drain.begin();
    }

    /// Closes what nobody uses.
    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            for pool in [&self.pool, &self.copies] {
                pool.sweep(|id| self.shared.gate.find(id).is_some());
            }
            let gates = self.shared.routes.load().remote_gates();
            let successor = self.shared.successor.get().map(|address| &**address);
            self.links.retain(|address| gates.contains(address) || Some(address) == successor);
        }
    }
}

// === impl Door ===

impl Door {
    /// Answers one request that came in here.
    pub(super) fn answer(self, core: Rc<Core>, request: Request<Wire>) -> Work {
        core.quiet.stir();
        match self {
            Self::Ingress => boxed(|| ingress::handle(core, request)),
            Self::Gate => boxed(|| gate_server::handle(core, request)),
        }
    }
}

/// Makes work where it stays. It is kilobytes, of which little is filled at first: made before its box, all of it would be
/// moved.
fn boxed<F: Future<Output = Response<OutBody>> + 'static>(work: impl FnOnce() -> F) -> Work {
    let place = Box::<F>::new_uninit();
    let boxed = Box::write(place, work());
    Box::into_pin(boxed)
}

/// Looks at the first bytes of a connection without taking them.
pub(super) async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    /// How the preface of HTTP/2 begins; no method of HTTP/1.1 does.
    const PREFACE: &[u8; 4] = b"PRI ";
    /// Pause while the first bytes come one by one, which only a hand or an attacker sends.
    const TRICKLE: Duration = Duration::from_millis(20);
    let mut head = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut head).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            seen if head[..seen] != PREFACE[..seen] => return Ok(false),
            seen if seen == PREFACE.len() => return Ok(true),
            _ => tokio::time::sleep(TRICKLE).await,
        }
    }
}

/// Counts a connection while it lives.
pub(super) struct Counted {
    core: Rc<Core>,
    door: Door,
}

impl Counted {
    pub(super) fn new(core: Rc<Core>, door: Door) -> Self {
        core.shared.connections.fetch_add(1, Relaxed);
        core.shared.connections_opened.fetch_add(1, Relaxed);
        if door == Door::Ingress {
            core.connections.set(core.connections.get() + 1);
        }
        Self { core, door }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.core.shared.connections.fetch_sub(1, Relaxed);
        if self.door == Door::Ingress {
            self.core.connections.set(self.core.connections.get() - 1);
            self.core.closed.notify_one();
        }
    }
}

/// Runs one core until the mesh stops. When it drains, connections end with their requests.
pub(super) fn run(shared: &Arc<Shared>, index: usize, seed: &SeedTree, listeners: Listeners) -> std::io::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().event_interval(TASKS_PER_POLL).build_local(LocalOptions::default())?;
    let core = Rc::new(Core::new(shared.clone(), index, seed));
    runtime.block_on(async {
        let ingress = TcpListener::from_std(listeners.ingress)?;
        let gate = TcpListener::from_std(listeners.gate)?;
        tokio::task::spawn_local(core.clone().accept(ingress, Door::Ingress));
        tokio::task::spawn_local(core.clone().accept(gate, Door::Gate));
        tokio::task::spawn_local(core.clone().drain_in_time());
        tokio::task::spawn_local(core.pool.clone().read_orphans());
        tokio::task::spawn_local(core.copies.clone().read_orphans());
        tokio::task::spawn_local(core.quiet.clone().run());
        tokio::task::spawn_local(core.clone().sweep());
        if index == 0 {
            tokio::task::spawn_local(warm::run(core.clone()));
        }
        core.shared.stopping.cancelled().await;
        Ok::<_, std::io::Error>(())
    })
}

/// Binds a listener for each core to one address. Port 0 is picked once.
pub(super) fn bind(address: SocketAddr, cores: usize) -> std::io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    // Without sharing first: two processes that share a port by mistake would each get a part of the requests.
    if address.port() != 0 {
        drop(listener(address, false)?);
    }
    let first = listener(address, true)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..cores {
        listeners.push(listener(bound, true)?);
    }
    Ok((bound, listeners))
}

fn listener(address: SocketAddr, shared: bool) -> std::io::Result<std::net::TcpListener> {
    /// Connections the kernel holds until a core accepts them.
    const BACKLOG: i32 = 1_024;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
