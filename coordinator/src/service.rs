//! One coordinator: opened, served on one port, stopped.

use std::{
    fs::{self, OpenOptions},
    future::Future,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{extract::State, http::StatusCode, routing::get};
use berth_core::{
    address,
    error::{Code, Error},
    id::{LogIndex, MemberId, Term},
    state::ClusterState,
};
use berth_proto::{
    api::v1::{
        alerts_server::AlertsServer, assets_server::AssetsServer, boards_server::BoardsServer,
        cluster_server::ClusterServer, deployments_server::DeploymentsServer, endpoints_server::EndpointsServer,
        mirrors_server::MirrorsServer, nodes_server::NodesServer, plans_server::PlansServer,
        quotas_server::QuotasServer, replicas_server::ReplicasServer, requests_server::RequestsServer,
        watch_server::WatchServer,
    },
    node::v1::node_server::NodeServer,
    peer::v1::peer_server::PeerServer,
    tls::{AUTHORITY_PAGE, Audience, Server, Watch, pem},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::{self, server::TcpIncoming},
};

use crate::{
    alert::{self, Alerts},
    api::Api,
    artifact::{Artifacts, BlobStore, Settings},
    auth::{Gatekeeper, MemberPass},
    clock::Clock,
    context::Context,
    controller::Keeper,
    feature,
    keys::ClusterKey,
    listen,
    machine::{self, Machine},
    metrics::Metrics,
    options::CoordinatorOptions,
    peers::Peers,
    propose::Proposer,
    raft::{Dialer, Member, RaftHandle, RaftOptions, RaftService, RaftToken},
    rest,
    serve::{NodeRpc, PeerRpc},
    table::{self, Feed},
};

/// Largest message taken: room for a spec with a long conda file, or a chunk of an asset; a plan of a thousand orders
/// goes the other way.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// A connection that is silently cut off is noticed within two of these.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Calls that are running when a coordinator stops have this long to finish.
const FAREWELL: Duration = Duration::from_secs(5);

/// One coordinator, opened.
pub struct CoordinatorService {
    handle: CoordinatorHandle,
    listener: TcpListener,
    raft: RaftService,
    keeper: Keeper,
    /// How others call this member.
    advertise: String,
    /// TLS of the listener; plain HTTP when absent.
    tls: Option<Server>,
    /// The file of the authority, handed out to who has yet to join.
    authority: Option<PathBuf>,
    /// Look at certificates for as long as the coordinator runs.
    watches: Vec<Watch>,
}

/// A handle on a coordinator. Clones are cheap.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    context: Arc<Context>,
    api_addr: SocketAddr,
    advertise: Arc<str>,
}

/// How a coordinator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorStatus {
    /// This member.
    pub member_id: MemberId,
    /// The Raft term.
    pub term: Term,
    /// Who leads, as far as it knows.
    pub leader: Option<Member>,
    /// Whether it leads itself.
    pub is_leader: bool,
    /// Whether it belongs to a cluster.
    pub formed: bool,
    /// Whether there is a leader that makes decisions.
    pub ready: bool,
    /// The last entry its state contains.
    pub applied: LogIndex,
    /// Everybody, by id.
    pub members: Vec<Member>,
    /// Open sessions of nodes; only the leader has any.
    pub sessions: usize,
    /// Why it has stopped, if it has.
    pub fatal: Option<String>,
}

// === impl CoordinatorService ===

impl CoordinatorService {
    /// Binds the socket, reads or makes the cluster key, opens the store and starts the member.
    pub async fn open(mut options: CoordinatorOptions) -> Result<Self, Error> {
        options.validate()?;
        let key = Arc::new(options.cluster_key()?);
        let (listener, api_addr) = bind(options.listener.take(), options.listen)?;
        let scheme = if options.tls.is_some() { address::HTTPS } else { "" };
        let advertise = options.advertise.clone().unwrap_or_else(|| format!("{scheme}{api_addr}"));
        let (trust, trust_watch) = options.trust()?.unzip();
        let host = address::host(&advertise);
        let audience = options.ca.as_ref().map(|ca| Audience { ca: ca.clone(), host: host.to_owned() });
        if let (Some(tls), Some(audience)) = (&options.tls, &audience) {
            tls.check(audience)?;
        }
        let tls = options.tls.as_ref().map(|files| Server::open_for(files, audience, "of the API")).transpose()?;
        let (tls, tls_watch) = tls.unzip();
        let machine = Arc::new(Machine::new(options.feature_level));
        let tokens = key.member_tokens().into_iter().map(RaftToken::new).collect();
        let raft_options = RaftOptions {
            timings: options.timings.clone(),
            dialer: Dialer::believing(trust.clone()),
            ..RaftOptions::new(
                &options.data_dir,
                key.cluster_id(),
                tokens,
                advertise.clone(),
                options.formation.clone(),
            )
        };
        // Whatever else can fail comes before consensus, which runs from here on.
        write_node_token(&options.data_dir, &key)?;
        let blobs = BlobStore::open(&options.data_dir.join("artifacts"))?;
        let clock = Clock::start();
        let alerts = Alerts::new(std::mem::take(&mut options.alert_receivers), clock)?;
        let raft = RaftService::open(raft_options, machine.clone()).await?;
        let proposer = Proposer::new(raft.handle(), machine.clone(), options.wall_clock, clock);
        let keeper = Keeper::new(raft.handle(), proposer.clone(), clock);
        let peers = Peers::new(trust);
        let settings = Settings {
            max_bytes: options.asset_max_bytes,
            grace: options.asset_grace,
            scrub_interval: options.scrub_interval,
        };
        let artifacts = Artifacts::new(
            blobs,
            settings,
            machine.clone(),
            raft.handle(),
            proposer.clone(),
            peers.clone(),
            MemberPass::new(&key),
        );
        let context = Context {
            machine,
            raft: raft.handle(),
            proposer,
            key,
            peers,
            lead: keeper.lead(),
            feed: Feed::new(),
            artifacts: Arc::new(artifacts),
            alerts,
            metrics: Metrics::new(),
            whatif: Arc::new(Semaphore::new(1)),
            stop: CancellationToken::new(),
        };
        let handle = CoordinatorHandle { context: Arc::new(context), api_addr, advertise: advertise.as_str().into() };
        let watches = trust_watch.into_iter().chain(tls_watch).collect();
        let authority = options.ca.filter(|_| tls.is_some());
        Ok(Self { handle, listener, raft, keeper, advertise, tls, authority, watches })
    }

    /// Returns a handle.
    pub fn handle(&self) -> CoordinatorHandle {
        self.handle.clone()
    }

    /// Serves until `shutdown` completes, or until the member stops by itself: then its error is returned, and the
    /// process should end.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { handle, listener, raft, keeper, advertise, tls, authority, watches: _watches } = self;
        let context = handle.context.clone();
        let stop = context.stop.clone();
        let routes = routes(&context, &raft, &advertise, authority)?;
        let listener = listening(listener)?;
        let (tasks, drained) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(keeper.run(stop.clone()));
        tasks.spawn(table::follow(context.feed.clone(), context.machine.clone(), stop.clone()));
        tasks.spawn(context.artifacts.clone().tend(context.lead.clone(), stop.clone()));
        tasks.spawn(feature::raise(context.raft.clone(), context.proposer.clone(), context.lead.clone(), stop.clone()));
        tasks.spawn(alert::run(context.clone(), stop.clone()));
        tasks.spawn(machine::judge(context.machine.clone(), context.metrics.clone(), stop.clone()));
        tasks.close();
        let server = transport::Server::builder()
            .accept_http1(true)
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_routes(routes);
        let ended = drained.clone().cancelled_owned();
        let serving = match tls {
            Some(tls) => tokio::spawn(server.serve_with_incoming_shutdown(listen::secured(listener, tls), ended)),
            None => {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                tokio::spawn(server.serve_with_incoming_shutdown(incoming, ended))
            }
        };
        tracing::info!(address = %handle.api_addr, member = %context.raft.member_id(), "coordinator is up");
        // Consensus ends last: the rest hands over and says goodbye through it.
        let (leave, left) = tokio::sync::oneshot::channel::<()>();
        let consensus = tokio::spawn(raft.run(async move { drop(left.await) }));
        let mut consensus = std::pin::pin!(consensus);
        let ended = tokio::select! {
            () = shutdown => None,
            ended = &mut consensus => Some(ended),
        };
        stop.cancel();
        drained.cancel();
        if timeout(FAREWELL, serving).await.is_err() {
            tracing::warn!("some calls did not end in time");
        }
        if timeout(FAREWELL, tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        drop(leave);
        let ended = match ended {
            Some(ended) => ended,
            None => consensus.await,
        };
        ended
            .map_err(|error| Error::new(Code::Internal, "consensus failed").why(error.to_string()))?
            .map_err(Error::from)
    }
}

// === impl CoordinatorHandle ===

impl CoordinatorHandle {
    /// Returns how others call it: `host:port`, or `https://host:port`.
    pub fn advertise(&self) -> &str {
        &self.advertise
    }

    /// Returns the address it listens on.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Returns the cluster's id.
    pub fn cluster_id(&self) -> &str {
        self.context.raft.cluster_id()
    }

    /// Returns this member's id.
    pub fn member_id(&self) -> MemberId {
        self.context.raft.member_id()
    }

    /// Returns what a node shows to be let in.
    pub fn node_token(&self) -> String {
        self.context.key.node_token()
    }

    /// Returns the consensus of this member.
    pub fn raft(&self) -> &RaftHandle {
        &self.context.raft
    }

    /// Reads this member's state. Entries wait meanwhile.
    pub fn read<R>(&self, read: impl FnOnce(&ClusterState) -> R) -> R {
        self.context.machine.read(read)
    }

    /// Returns how it does.
    pub fn status(&self) -> CoordinatorStatus {
        let status = self.context.raft.status();
        let lead = self.context.lead.borrow().clone();
        let (applied, known) = self.read(|state| (state.applied, state.term));
        CoordinatorStatus {
            member_id: status.member_id,
            term: status.term,
            ready: status.leader.is_some() && known == status.term && status.fatal.is_none(),
            leader: status.leader.clone(),
            is_leader: status.is_leader,
            formed: status.formed,
            applied,
            members: status.members.clone(),
            sessions: lead.map_or(0, |lead| lead.sessions.count()),
            fatal: status.fatal.as_ref().map(ToString::to_string),
        }
    }

    /// Waits until there is a leader that makes decisions and this member knows of it.
    pub async fn wait_ready(&self, deadline: Instant) -> Result<(), Error> {
        let (mut applied, mut raft) = (self.context.machine.watch(), self.context.raft.watch());
        let ready = async {
            loop {
                applied.mark_unchanged();
                raft.mark_unchanged();
                let status = self.status();
                if let Some(why) = status.fatal {
                    return Err(Error::new(Code::Unavailable, "the coordinator has stopped").why(why));
                }
                if status.ready {
                    return Ok(());
                }
                tokio::select! {
                    changed = applied.changed() => if changed.is_err() { return Err(gone()) },
                    changed = raft.changed() => if changed.is_err() { return Err(gone()) },
                }
            }
        };
        let late = |_| {
            let members = self.context.raft.status().members.len();
            Error::new(Code::NoLeader, "the cluster is not ready in time")
                .why(format!("this member knows {members} members and no leader that decides"))
        };
        timeout_at(deadline, ready).await.map_err(late)?
    }

    /// Returns everything it counts, in the text form of Prometheus.
    pub fn metrics_text(&self) -> String {
        measure(&self.context);
        self.context.metrics.text()
    }
}

fn gone() -> Error {
    Error::new(Code::Unavailable, "the coordinator has stopped")
}

fn bind(bound: Option<TcpListener>, listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = bound.map_or_else(|| TcpListener::bind(listen), Ok).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    listener.map_err(|error| {
        Error::new(Code::Unavailable, format!("cannot listen on {listen}"))
            .why(error.to_string())
            .try_("stop what listens there, or choose another address")
    })
}

fn listening(listener: TcpListener) -> Result<tokio::net::TcpListener, Error> {
    let taken = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    taken.map_err(|error| Error::new(Code::Internal, "cannot listen").why(error.to_string()))
}

/// Everything on the one listener: the API over gRPC and over HTTP, nodes, members, consensus, and pages for operators.
fn routes(context: &Arc<Context>, raft: &RaftService, advertise: &str, ca: Option<PathBuf>) -> Result<Routes, Error> {
    let api = Api { context: context.clone() };
    let nodes = NodeServer::new(NodeRpc(context.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let members = PeerServer::new(PeerRpc(context.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut routes = Routes::builder();
    routes
        .add_service(EndpointsServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(DeploymentsServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(ReplicasServer::new(api.clone()))
        .add_service(NodesServer::new(api.clone()))
        .add_service(AssetsServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(WatchServer::new(api.clone()))
        .add_service(BoardsServer::new(api.clone()))
        .add_service(PlansServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(RequestsServer::new(api.clone()))
        .add_service(MirrorsServer::new(api.clone()))
        .add_service(QuotasServer::new(api.clone()))
        .add_service(AlertsServer::new(api.clone()))
        .add_service(ClusterServer::new(api))
        .add_service(InterceptedService::new(nodes, Gatekeeper::for_nodes(context.key.clone())))
        .add_service(InterceptedService::new(members, Gatekeeper::for_members(context.key.clone())))
        .add_service(raft.grpc());
    let mut pages = axum::Router::new().route("/metrics", get(metrics_page)).route("/healthz", get(health_page));
    if let Some(ca) = ca {
        pages = pages.route(AUTHORITY_PAGE, get(async move || authority_page(ca).await));
    }
    let pages = pages.with_state(context.clone());
    let services = routes.routes().into_axum_router();
    let rest = rest::router(services.clone(), advertise)?;
    Ok(Routes::from(services.merge(pages).merge(rest)).prepare())
}

async fn metrics_page(State(context): State<Arc<Context>>) -> String {
    measure(&context);
    context.metrics.text()
}

/// Hands out the certificates of the authority, for nodes that have yet to join; of the file nothing else.
async fn authority_page(ca: PathBuf) -> (StatusCode, String) {
    let read = tokio::task::spawn_blocking(move || pem::written(&ca)).await;
    match read.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(certificates) => (StatusCode::OK, certificates.concat()),
        Err(why) => {
            tracing::warn!(%why, "the authority cannot be handed out");
            (StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read\n".to_owned())
        }
    }
}

/// Healthy means that this member can serve reads: it belongs to a cluster that has a leader.
async fn health_page(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    let status = context.raft.status();
    if status.fatal.is_some() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "stopped\n");
    }
    if status.leader.is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no leader\n");
    }
    (StatusCode::OK, "ok\n")
}

/// Brings the gauges up to date; they are levels, read when somebody looks.
fn measure(context: &Context) {
    let gauges = &context.metrics.state;
    let level = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let status = context.raft.status();
    gauges.term.set(level(status.term.0));
    gauges.leads.set(i64::from(status.is_leader));
    gauges.entries.set(level(context.machine.entries()));
    let lead = context.lead.borrow().clone();
    gauges.sessions.set(level(lead.as_ref().map_or(0, |lead| lead.sessions.count() as u64)));
    context.metrics.alerts.set(&lead.map(|lead| lead.alerts.standings()).unwrap_or_default());
    context.machine.read(|state| {
        gauges.applied.set(level(state.applied.0));
        gauges.endpoints.set(level(state.endpoints.len() as u64));
        gauges.deployments.set(level(state.deployments.len() as u64));
        gauges.replicas.set(level(state.replicas.len() as u64));
        gauges.nodes.set(level(state.nodes.len() as u64));
        gauges.table_version.set(level(state.routes.version().0));
        context.metrics.replicas.set(state);
    });
}

/// Leaves the token for nodes beside the data, for the operator to hand out. It opens no endpoint key.
fn write_node_token(data_dir: &Path, key: &ClusterKey) -> Result<(), Error> {
    let path = data_dir.join("node.token");
    let written = (|| {
        fs::create_dir_all(data_dir)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(key.node_token().as_bytes())?;
        file.sync_all()
    })();
    written.map_err(|error: std::io::Error| {
        Error::new(Code::Internal, format!("cannot write {}", path.display())).why(error.to_string())
    })
}
