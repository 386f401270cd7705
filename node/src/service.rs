//! A node as one service: options in, a handle out, and one future that runs it.

use std::{
    fmt,
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use berth_core::{
    agent::{Desired, Ledger, LedgerEntry, Signal},
    error::{Code, Error},
    id::{LogIndex, NodeId, ReplicaId},
    join,
    model::{NodeName, NodeProfile},
    rng::SeedTree,
};
use berth_proto::node::{decode_table, encode_table, v1::Usage};
use prometheus_client::registry::Registry;
use tokio::{sync::watch, time::timeout};

use crate::{
    actor::{AgentLink, World, supervise},
    cache::Cache,
    console::{self, ConsoleOptions},
    gpu::{self, GpuMonitor},
    hand_over::{Desk, Inheritance, Successor},
    identity::{self, Home, random_u64},
    keeper::{self, LogLimits},
    leave,
    ledger::{self, LedgerFile},
    mesh::{AccessLogOptions, Listening, Mesh, MeshHandle, MeshOptions, TableCodec},
    metrics::{NodeCollector, NodeHolds},
    options::{NodeOptions, Secret},
    process::{Ports, Spawner, check_writable, end_replica, signal_group, watch_leader},
    profile::ProfileKeeper,
    runtime::{Environments, Host, Layout},
    session::{Members, Outbox, SessionOptions, SessionStatus, keep_session, keep_table},
    usage,
};

/// How long requests may take to end when the node is shut down.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// A node that is set up and not yet running.
pub struct NodeService {
    home: Home,
    options: NodeOptions,
    world: Arc<World>,
    members: Arc<Members>,
    profile: ProfileKeeper,
    status: watch::Sender<SessionStatus>,
    handle: NodeHandle,
    /// The process it takes over from.
    older: Option<UnixStream>,
}

/// What others may ask a node.
#[derive(Clone)]
pub struct NodeHandle {
    id: NodeId,
    name: NodeName,
    profile: watch::Receiver<NodeProfile>,
    mesh: MeshHandle,
    session: watch::Receiver<SessionStatus>,
    registry: Arc<Mutex<Registry>>,
    agent: AgentLink,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its session.
    pub session: SessionStatus,
    /// The version of the route table it serves from.
    pub table_version: LogIndex,
}

// === impl NodeService ===

impl NodeService {
    /// Takes the lock, reads or mints the id, measures the host and starts the data side, which serves from the table on
    /// disk from here on.
    pub async fn open(options: NodeOptions) -> Result<Self, Error> {
        options.validate()?;
        let folder = options.data_dir.clone();
        let inherited = if options.take_over {
            let folder = folder.clone();
            let asked = tokio::task::spawn_blocking(move || Inheritance::ask(&folder)).await;
            asked.map_err(|error| {
                Error::new(Code::Internal, "asking the older process broke off").why(error.to_string())
            })??
        } else {
            None
        };
        let home = tokio::task::spawn_blocking(move || Home::open(&folder)).await.map_err(|error| {
            Error::new(Code::Internal, "taking the node's folder broke off").why(error.to_string())
        })??;
        let ledger = ledger::read(home.folder())?;
        let given = identity::given_token(home.folder());
        let given = given.as_ref().map(|(nonce, lasting)| (nonce.as_str(), lasting.as_str()));
        let token = Secret::new(join::shown(options.token.expose(), given));
        let members = Members::new(options.coordinators.clone(), &token, options.trust.as_ref())?;
        let cache = Cache::open(home.folder().join("assets"), options.cache_max_bytes, Arc::clone(&members))?;
        let environments = Environments::open(home.folder(), &options)?;
        if let Some(path) = &options.console_log {
            check_writable(path).map_err(|error| {
                Error::new(Code::PathMissing, format!("the console log `{}` cannot be written", path.display()))
                    .why(error.to_string())
                    .try_("name a file this user may write as `console_log`")
            })?;
        }
        let spawner = Spawner::start()
            .map_err(|error| Error::new(Code::Internal, "no thread to start processes from").why(error.to_string()))?;
        let mut registry = Registry::default();
        let (listening, older) = inherited.map(Inheritance::split).unzip();
        let mesh = start_mesh(&home, &options, listening, &mut registry)?;
        let before = gpu::read_devices(home.folder());
        let gpus = GpuMonitor::start(options.nvml_library.as_deref(), before)
            .map_err(|error| Error::new(Code::Internal, "no thread to watch GPUs from").why(error.to_string()))?;
        let (gpus, holds) = (Arc::new(gpus), Arc::new(NodeHolds::default()));
        let profile = ProfileKeeper::open(&home, &options, &mesh, Arc::clone(&gpus)).await?;
        let (held, cards) = (Arc::clone(&holds), Arc::clone(&gpus));
        registry.register_collector(Box::new(NodeCollector { holds: held, gpus: cards, profile: profile.watch() }));
        let status = watch::Sender::new(SessionStatus::Connecting { why: "the node starts".to_owned() });
        let world = Arc::new(World {
            lock: home.lock(),
            home: home.folder().to_owned(),
            host: Host::of(&options),
            environments,
            cache: Arc::new(cache),
            spawner,
            ports: Ports::default(),
            mesh: mesh.clone(),
            outbox: Arc::new(Outbox::default()),
            timing: options.timing,
            ledger: watch::Sender::new(ledger),
            prefetches: watch::Sender::default(),
            progress: Arc::default(),
            agent: AgentLink::new(home.cluster_id()?),
            gpus,
            holds,
            started: Instant::now(),
        });
        let handle = NodeHandle {
            id: home.id(),
            name: options.name.clone(),
            profile: profile.watch(),
            mesh,
            session: status.subscribe(),
            registry: Arc::new(Mutex::new(registry)),
            agent: world.agent.clone(),
        };
        Ok(Self { home, options, world, members, profile, status, handle, older })
    }

    /// Returns a handle.
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Runs the node until `shutdown` completes, or its actors give up.
    ///
    /// Dropping the future ends the control side at once and leaves every replica running, as a crash would.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { mut home, options, world, members, profile, status, handle, mut older } = self;
        let mesh = handle.mesh.clone();
        let _ends_with_the_data_side = EndMesh(mesh.clone());
        let seed = SeedTree::new(random_u64()?);
        let ledger_file = LedgerFile::new(home.folder().to_owned(), world.ledger.subscribe());
        let leaving = watch::Sender::new(None);
        let mut stop = Box::pin({
            let (ledger, session, within) = (world.ledger.subscribe(), handle.session.clone(), options.drain_on_stop);
            let (leaving, outbox) = (leaving.clone(), Arc::clone(&world.outbox));
            async move {
                shutdown.await;
                if let Some(within) = within {
                    leave::hand_over(&leaving, ledger, &outbox, session, within).await;
                }
            }
        });
        let mut desk = Desk::open(home.folder());
        let takes_over = older.is_some();
        let ended = loop {
            let mut actors = supervise(Arc::clone(&world)).await?;
            match older.take() {
                Some(older) => {
                    let expected = running(&world.ledger.borrow());
                    tokio::spawn(Inheritance::begin(older, mesh.clone(), expected));
                }
                None => mesh.open(),
            }
            let usage = watch::Sender::new(Usage::default());
            let session = SessionOptions {
                node: home.id(),
                home: home.folder().to_owned(),
                profile: profile.watch(),
                members: Arc::clone(&members),
                outbox: Arc::clone(&world.outbox),
                mesh: mesh.clone(),
                agent: world.agent.clone(),
                status: status.clone(),
                usage: usage.subscribe(),
                leaving: leaving.subscribe(),
                gpus: Arc::clone(&world.gpus),
                prefetches: world.prefetches.subscribe(),
                progress: Arc::clone(&world.progress),
                holds: Arc::clone(&world.holds),
                seed: seed.child("session"),
                takes_over,
            };
            let measured = usage::keep(Arc::clone(&world), usage);
            let console = options.console_log.clone().map(|path| ConsoleOptions {
                path,
                max_bytes: options.log_max_bytes,
                files: options.log_files,
            });
            let limits = LogLimits { max_bytes: options.log_max_bytes, files: options.log_files };
            let ended = tokio::select! {
                () = &mut stop => Ended::Over(Ok(())),
                error = actors.failed() => Ended::Over(Err(error)),
                successor = desk.asked(&mesh) => Ended::Asked(successor),
                () = keep_session(session) => Ended::Over(Ok(())),
                () = keep_table(Arc::clone(&members), mesh.clone(), home.id().0, seed.child("table")) => Ended::Over(Ok(())),
                () = ledger_file.clone().keep() => Ended::Over(Ok(())),
                () = keeper::keep(Arc::clone(&world), limits) => Ended::Over(Ok(())),
                () = console::keep(Arc::clone(&world), console) => Ended::Over(Ok(())),
                () = measured => Ended::Over(Ok(())),
                () = profile.keep() => Ended::Over(Ok(())),
                () = gpu::keep_shares(Arc::clone(&world)) => Ended::Over(Ok(())),
            };
            actors.stop().await;
            let successor = match ended {
                Ended::Over(outcome) => break Ok(outcome),
                Ended::Asked(successor) => successor,
            };
            ledger_file.write_newest().await?;
            match hand_over(&home, &mesh, successor).await {
                Ok(successor) => break Err(successor),
                Err(error) => tracing::error!(%error, "the successor failed: this process goes on"),
            }
            let retaken = Arc::new(home);
            let again = Arc::clone(&retaken);
            let locked = tokio::task::spawn_blocking(move || again.retake()).await;
            locked.map_err(|error| {
                Error::new(Code::Internal, "taking the folder back broke off").why(error.to_string())
            })??;
            home = Arc::into_inner(retaken).ok_or_else(|| Error::new(Code::Internal, "the folder is still in use"))?;
            // The one that failed may have put its own in the place.
            desk = Desk::open(home.folder());
        };
        match ended {
            Ok(outcome) => {
                mesh.shutdown(DRAIN_DEADLINE).await;
                let last = world.ledger.borrow().clone();
                if options.stop_replicas_on_shutdown {
                    end_replicas(&world, &last).await;
                }
                ledger_file.write_newest().await?;
                outcome
            }
            Err(successor) => {
                tracing::info!("another process of this node has taken over; this one ends what it has");
                // Its file stays: it is the successor's by now, whose own desk is there for whoever comes next.
                drop(desk);
                mesh.yield_to_successor().await;
                let telling = tokio::spawn(successor.tell(mesh.clone()));
                mesh.shutdown(options.finish_within).await;
                telling.abort();
                Ok(())
            }
        }
    }
}

/// Why the control side ended.
enum Ended {
    Over(Result<(), Error>),
    Asked(Successor),
}

/// Lets go of the folder and gives the listeners away.
async fn hand_over(home: &Home, mesh: &MeshHandle, successor: Successor) -> Result<Successor, Error> {
    let broken = |error: std::io::Error| {
        Error::new(Code::Unavailable, "the listeners were not handed over").why(error.to_string())
    };
    let listening = mesh.listening().ok_or_else(|| Error::new(Code::Internal, "this node takes no connections"))?;
    let listening = listening.map_err(broken)?;
    home.release()?;
    successor.give(&listening).await.map_err(broken)
}

/// Lists the replicas that took requests when the ledger was written.
fn running(ledger: &Ledger) -> Vec<ReplicaId> {
    let runs = |entry: &&LedgerEntry| entry.process.is_some() && entry.is_warm && entry.order.desired == Desired::Run;
    ledger.replicas.iter().filter(runs).map(|entry| entry.order.replica).collect()
}

/// Lets the data side end when the future that runs the node is dropped.
struct EndMesh(MeshHandle);

impl Drop for EndMesh {
    fn drop(&mut self) {
        let mesh = self.0.clone();
        // Without a runtime there is nothing left to end it with; its threads then end with the process.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { mesh.shutdown(Duration::ZERO).await });
        }
    }
}

fn start_mesh(
    home: &Home,
    options: &NodeOptions,
    listening: Option<Listening>,
    registry: &mut Registry,
) -> Result<MeshHandle, Error> {
    let codec = TableCodec { encode: encode_table, decode: decode_table };
    let mut mesh = MeshOptions::new(home.id(), home.folder().join("mesh"), codec);
    mesh.ingress = options.ingress;
    mesh.gate = options.gate;
    mesh.domain.clone_from(&options.domain);
    mesh.cores = options.mesh_cores;
    mesh.tls.clone_from(&options.tls);
    mesh.peers.clone_from(&options.peers);
    mesh.access_log = options.access_log.clone().map(|path| AccessLogOptions {
        path,
        max_bytes: options.log_max_bytes,
        files: options.log_files,
    });
    mesh.spans.clone_from(&options.spans);
    Mesh::inherit(mesh, listening, registry)
}

/// Ends every replica, politely first.
async fn end_replicas(world: &World, ledger: &Ledger) {
    let running: Vec<_> = ledger
        .replicas
        .iter()
        .filter_map(|entry| Some((entry.process?, Layout::new(&world.home, entry.order.replica))))
        .collect();
    running.iter().for_each(|(process, _)| signal_group(process.pid, Signal::Term));
    let grace = Duration::from_millis(world.timing.kill_grace.0);
    let ended = running.iter().map(|(process, _)| watch_leader(process.pid, process.start_ticks));
    // Whoever is not done by then is killed.
    drop(timeout(grace, futures::future::join_all(ended)).await);
    futures::future::join_all(running.iter().map(|(process, layout)| end_replica(Some(process.pid), layout.root())))
        .await;
}

// === impl NodeHandle ===

impl NodeHandle {
    /// Returns the node's id.
    pub fn node_id(&self) -> NodeId {
        self.id
    }

    /// Returns the node's name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// Returns what the node says about itself.
    pub fn profile(&self) -> NodeProfile {
        self.profile.borrow().clone()
    }

    /// Returns where callers reach it.
    pub fn ingress_addr(&self) -> SocketAddr {
        self.mesh.ingress_addr()
    }

    /// Returns where other nodes reach it.
    pub fn gate_addr(&self) -> SocketAddr {
        self.mesh.gate_addr()
    }

    /// Returns its data side.
    pub fn mesh(&self) -> &MeshHandle {
        &self.mesh
    }

    /// Returns where it stands.
    pub fn status(&self) -> NodeStatus {
        NodeStatus { session: self.session.borrow().clone(), table_version: self.mesh.table().version }
    }

    /// Waits until a session is open; a refusal or the deadline is an error that says why.
    pub async fn wait_session(&self, deadline: tokio::time::Instant) -> Result<(), Error> {
        let mut session = self.session.clone();
        let decided = session.wait_for(|status| !matches!(status, SessionStatus::Connecting { .. }));
        let status = match tokio::time::timeout_at(deadline, decided).await {
            Ok(Ok(status)) => status.clone(),
            Ok(Err(_)) => return Err(Error::new(Code::Unavailable, "the node has ended")),
            Err(_) => self.session.borrow().clone(),
        };
        match status {
            SessionStatus::Open { .. } => Ok(()),
            SessionStatus::Refused { code, text } => {
                Err(Error::new(Code::from_word(&code).unwrap_or(Code::Forbidden), text))
            }
            SessionStatus::Connecting { why } => {
                Err(Error::new(Code::Timeout, "no session with the coordinators was opened in time").why(why))
            }
        }
    }

    /// Makes the agent's actor fail, for tests of its supervision.
    #[doc(hidden)]
    pub fn fail_agent(&self) {
        self.agent.fail();
    }

    /// Returns the node's metrics in Prometheus' text form.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            Err(error) => format!("# metrics could not be written: {error}\n"),
        }
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle").field("id", &self.id).field("name", self.name()).finish_non_exhaustive()
    }
}
