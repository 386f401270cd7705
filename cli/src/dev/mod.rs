//! `berth dev`: a whole cluster in one process, with the very services the daemons run.
//!
//! Its nodes are virtual: they declare generous amounts, so that files written for the cloud place on a laptop. Replicas
//! are real processes, and end with this one.

mod control;
mod folder;
mod keys;

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use berth_client::{Client, ClientOptions, store::AuthMode};
use berth_coordinator::{CoordinatorHandle, CoordinatorOptions, CoordinatorService, keys::ClusterKey, raft::Formation};
use berth_core::{
    defaults::DEFAULTS,
    error::{Code, Error, Problems, nearest},
    model::NodeName,
    units::Count,
};
use berth_node::{
    NodeHandle, NodeOptions, NodeService, Secret,
    gpu::fake::{FakeGpus, FakeHost},
    mesh::SpanOptions,
    telemetry::{self, Speaker},
};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    args::{DevArgs, tls_files},
    config::LogConfig,
    output::{Fault, Ink, Misused, Output},
    process,
};
use control::Order;
use folder::Folder;
use keys::Keys;

/// What each virtual node declares: room for a dozen of Azure's sample sizes.
const CAPACITY: &str = "cpu=64,memory=256GiB,disk=1TiB";
/// How long everything may take to come up on a busy laptop.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long nodes may take to end their replicas: the grace between the polite and the forced end, and a little.
const STOP_WITHIN: Duration = Duration::from_millis(DEFAULTS.kill_grace.0 + 10_000);
/// How long a node that was started again may take to be heard.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// Endpoints of an earlier run whose call is shown.
const CALLS_MAX: usize = 3;
/// How long finding them may take.
const CALLS_WITHIN: Duration = Duration::from_secs(2);
/// More in one process would measure the laptop, not the product.
const NODES_MAX: usize = 32;

/// Everything that runs.
struct Cluster {
    coordinators: Vec<CoordinatorHandle>,
    nodes: Vec<DevNode>,
    /// What was started, by name; each ends by itself only when something is wrong.
    running: JoinSet<(String, Result<(), Error>)>,
    stop_nodes: watch::Sender<bool>,
    stop_coordinators: watch::Sender<bool>,
    /// Where the metrics of each node are read.
    metrics: BTreeMap<String, SocketAddr>,
    /// What a node needs to join: the coordinators' addresses, and its token.
    joining: Option<(Vec<String>, String)>,
}

/// A node, which may be gone for a while.
struct DevNode {
    name: String,
    /// Absent while it is gone.
    handle: Option<NodeHandle>,
    task: Option<AbortHandle>,
    /// Where it listened before: it comes back there, as a host does.
    addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Does what is asked of a cluster that runs, or runs one until it is asked to stop.
pub(crate) async fn run(mut args: DevArgs, api: Option<&str>, out: Output) -> Result<(), Fault> {
    if let Some(verb) = args.verb.take() {
        return control::ask(verb, &out).await;
    }
    let api = check(&args, api).or_misused()?;
    process::log(&LogConfig { filter: args.log.clone(), json: false })?;
    let stop = process::asked_to_stop()?;
    let mut stop = std::pin::pin!(stop);
    let folder = Folder::open(args.data_dir.clone(), args.fresh, |text| out.aside(text))?;
    let mut cluster = Cluster::empty();
    let started = tokio::select! {
        biased;
        () = &mut stop => Ok(false),
        started = cluster.start(&args, api, &folder) => started.map(|()| true),
    };
    match started {
        Ok(true) => {
            let calls = calls(&cluster, &args).await;
            let _keys = announce(&cluster, &args, &calls, &out)?;
            let ended = tokio::select! {
                biased;
                () = &mut stop => None,
                ended = cluster.go_on(&args, &folder) => Some(ended),
            };
            out.aside("stopping");
            cluster.stop(&out).await;
            match ended {
                None => Ok(()),
                Some(error) => Err(error.into()),
            }
        }
        Ok(false) => {
            cluster.stop(&out).await;
            Ok(())
        }
        Err(error) => {
            cluster.stop(&out).await;
            Err(error.into())
        }
    }
}

/// Checks everything that can be checked before anything is started.
fn check(args: &DevArgs, api: Option<&str>) -> Result<SocketAddr, Error> {
    let mut problems = Problems::default();
    let text = api.map_or_else(|| format!("127.0.0.1:{}", DEFAULTS.api_port), str::to_owned);
    let api = text.parse::<SocketAddr>();
    if api.is_err() {
        problems.add_try("--api", format!("`{text}` is not an address to listen on"), "such as 127.0.0.1:7400");
    }
    if let Err(error) = fake_gpus(args) {
        for problem in error.problems {
            problems.add_try(format!("--fake-gpus {}", problem.field), problem.what, problem.try_);
        }
    }
    if !matches!(args.coordinators, 1 | 3 | 5) {
        problems.add_try("--coordinators", format!("{} cannot form a cluster", args.coordinators), "1, 3 or 5");
    }
    if !(1..=NODES_MAX).contains(&args.nodes) {
        problems.add_try("--nodes", format!("{} is out of range", args.nodes), format!("1 to {NODES_MAX}"));
    }
    let beyond = |address: &SocketAddr| !address.ip().is_loopback();
    let open = beyond(&args.ingress) && args.tls_cert.is_none();
    if !args.insecure && (open || api.as_ref().is_ok_and(beyond)) {
        problems.add_try(
            "--ingress, --api",
            "whoever reaches an address beyond loopback could read and send everything",
            "--tls-cert and --tls-key for the ingress, or --insecure",
        );
    }
    problems.into_result(Code::Invalid, "berth dev")?;
    api.map_err(|error| Error::new(Code::Invalid, error.to_string()))
}

/// Returns where the first node's metrics are read: at their usual port beside an ingress at its own. A cluster on other
/// ports may be a second one of this host, and has none unless it is told where.
fn metrics(args: &DevArgs) -> Option<SocketAddr> {
    let beside = SocketAddr::new(args.ingress.ip(), DEFAULTS.metrics_port);
    let is_usual = args.ingress.ip().is_loopback() && args.ingress.port() == DEFAULTS.ingress_port;
    args.metrics.or(is_usual.then_some(beside))
}

/// Reads what the nodes shall pretend to have.
fn fake_gpus(args: &DevArgs) -> Result<Option<FakeGpus>, Error> {
    args.fake_gpus.as_deref().map(str::parse).transpose()
}

/// Where a development cluster is reached, for programs.
#[derive(Serialize)]
struct Ready {
    api: String,
    ingress: String,
    /// Where the metrics of each node are read, in order of name; nothing unless `--metrics` is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<String>,
}

/// Lists a line to paste for endpoints of an earlier run, with their keys; nothing for a log, which keeps no secrets.
async fn calls(cluster: &Cluster, args: &DevArgs) -> Vec<String> {
    let api = cluster.coordinators.first().map(|first| first.api_addr().to_string());
    let ingress = cluster.handles().next().map(NodeHandle::ingress_addr);
    let (Some(api), Some(ingress), true) = (api, ingress, std::io::stdout().is_terminal()) else { return Vec::new() };
    let listed = async {
        let client = Client::new(ClientOptions::new([api.as_str()])?);
        let mut lines = Vec::new();
        for endpoint in client.list_endpoints().await?.into_iter().take(CALLS_MAX) {
            let key = match endpoint.spec.as_ref().map(|spec| spec.auth_mode()) {
                Some(AuthMode::None) => String::new(),
                _ => format!("-H 'Authorization: Bearer {}' ", client.list_keys(&endpoint.name).await?.primary_key),
            };
            let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
            let name = &endpoint.name;
            lines.push(format!(
                "curl {key}-H 'content-type: application/json' -d @FILE {scheme}://{ingress}/e/{name}/score"
            ));
        }
        Ok::<_, Error>(lines)
    };
    // What is only handy keeps nobody waiting, and fails nothing.
    timeout(CALLS_WITHIN, listed).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Says where everything is, and takes keys where a person reads it.
fn announce(cluster: &Cluster, args: &DevArgs, calls: &[String], out: &Output) -> Result<Option<Keys>, Error> {
    let api = cluster.coordinators.first().map(CoordinatorHandle::api_addr);
    let ingress = cluster.handles().next().map(NodeHandle::ingress_addr);
    if let (Some(api), Some(ingress)) = (api, ingress) {
        // One line that a script can wait for.
        if out.is_for_programs() {
            let metrics = cluster.metrics.values().map(ToString::to_string).collect();
            let ready = Ready { api: api.to_string(), ingress: ingress.to_string(), metrics };
            return out.json_line(&ready).map(|()| None);
        }
        let first = cluster.metrics.values().next();
        let metrics = first.map(|address| format!(" metrics={address}")).unwrap_or_default();
        out.line(format!("ready: api={api} ingress={ingress}{metrics}"));
        let flag = if api.port() == DEFAULTS.api_port { String::new() } else { format!(" --api {api}") };
        out.aside(format!(
            "{} and {} ({CAPACITY} each)",
            Count(args.coordinators as u64, "coordinator"),
            Count(args.nodes as u64, "virtual node"),
        ));
        let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
        out.aside(format!("page: http://{api}/   endpoints: {scheme}://{ingress}/e/NAME/score"));
        calls.iter().for_each(|call| out.aside(call));
        if calls.is_empty() {
            out.aside(format!("keys: berth{flag} endpoint get-credentials NAME"));
        }
        let next = format!("berth{flag} deploy hello --onnx FILE");
        let other = format!("berth{flag} apply -f FILE");
        out.aside(format!("next: {} or {}", out.paint(&next, Ink::Bold), out.paint(&other, Ink::Bold)));
        if let Ok(Some(gpus)) = fake_gpus(args) {
            out.aside(format!("each node has {gpus}, simulated; edit its `gpus/gpus.ini` to load or break them"));
        }
        if !cluster.metrics.is_empty() {
            let pages = cluster.metrics.iter().map(|(node, address)| format!("{node} http://{address}/metrics"));
            out.aside(format!("metrics: coordinator http://{api}/metrics, {}", pages.collect::<Vec<_>>().join(", ")));
        }
        if args.nodes > 1 {
            let dir = args.data_dir.as_ref().map(|dir| format!(" --data-dir {}", dir.display())).unwrap_or_default();
            out.aside(format!(
                "`berth dev kill node-2{dir}` loses a node, `berth dev start node-2{dir}` brings it back"
            ));
        }
        let keys = Keys::take(api.to_string());
        if keys.is_some() {
            out.aside("press t for the screen, ctrl-c to end everything");
        }
        return Ok(keys);
    }
    Ok(None)
}

fn ended_early(ended: Result<(String, Result<(), Error>), tokio::task::JoinError>) -> Error {
    match ended {
        Ok((_, Err(error))) => error,
        Ok((name, Ok(()))) => Error::new(Code::Internal, format!("{name} ended by itself")),
        Err(error) => Error::new(Code::Internal, "a part of the cluster broke").why(error.to_string()),
    }
}

// === impl Cluster ===

impl Cluster {
    fn empty() -> Self {
        Self {
            coordinators: Vec::new(),
            nodes: Vec::new(),
            running: JoinSet::new(),
            stop_nodes: watch::Sender::new(false),
            stop_coordinators: watch::Sender::new(false),
            metrics: BTreeMap::new(),
            joining: None,
        }
    }

    /// Starts everything and returns when it can serve.
    async fn start(&mut self, args: &DevArgs, api: SocketAddr, folder: &Folder) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WITHIN;
        let key_file = folder.path().join("cluster.key");
        let key = ClusterKey::load_or_create(&key_file)?;
        let listeners = folder.listeners(api, args.coordinators)?;
        let addresses = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|address| address.to_string()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::new(Code::Internal, "a listener has no address").why(error.to_string()))?;
        for (at, listener) in listeners.into_iter().enumerate() {
            let formation = Formation::Bootstrap { expect: args.coordinators, peers: addresses.clone() };
            let name = format!("coordinator-{}", at + 1);
            let mut options = CoordinatorOptions::new(folder.path().join(&name), formation);
            options.listener = Some(listener);
            options.key_file = Some(key_file.clone());
            options.alert_receivers.clone_from(&args.alert_receivers());
            options.insecure = args.insecure;
            let service = CoordinatorService::open(options).await?;
            self.coordinators.push(service.handle());
            let run = service.run(told(self.stop_coordinators.subscribe()));
            self.running.spawn(async move { (name, run.await) });
        }
        for coordinator in &self.coordinators {
            coordinator.wait_ready(deadline).await?;
        }
        self.nodes = (1..=args.nodes).map(|at| DevNode::gone(format!("node-{at}"))).collect();
        for at in 0..args.nodes {
            self.start_node(at, args, &addresses, folder, key.node_token()).await?;
        }
        self.joining = Some((addresses, key.node_token()));
        self.wait_ready(deadline).await
    }

    /// Goes on until a part of it ends that nobody ended, and takes orders meanwhile.
    async fn go_on(&mut self, args: &DevArgs, folder: &Folder) -> Error {
        let (orders, mut asked) = control::channel();
        let listening = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            Ok::<_, std::io::Error>((listener, address))
        };
        let (listener, address) = match listening.await {
            Ok(listening) => listening,
            Err(error) => return Error::new(Code::Internal, "no port to take orders on").why(error.to_string()),
        };
        if let Err(error) = folder.controlled_at(address) {
            return error;
        }
        let mut listening = std::pin::pin!(control::listen(listener, orders));
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    Some(Err(error)) if error.is_cancelled() => {}
                    Some(ended) => return ended_early(ended),
                    None => return Error::new(Code::Internal, "nothing runs any more"),
                },
                () = &mut listening => return Error::new(Code::Internal, "orders cannot be taken any more"),
                Some(control::Asked { order, answer }) = asked.recv() => {
                    let outcome = match order {
                        Order::Kill(name) => self.kill(&name, folder).await,
                        Order::Start(name) => self.start_again(&name, args, folder).await,
                    };
                    // Whoever asked may have gone.
                    drop(answer.send(outcome));
                }
            }
        }
    }

    /// Ends a node as the end of its host would: nothing of it says a word.
    async fn kill(&mut self, name: &str, folder: &Folder) -> Result<String, Error> {
        let node = self.node(name)?;
        let Some(task) = node.task.take() else {
            return Err(
                Error::new(Code::Transition, format!("{name} is gone already")).try_(format!("berth dev start {name}"))
            );
        };
        let handle = node.handle.take();
        task.abort();
        if let Some(handle) = handle {
            handle.mesh().shutdown(Duration::ZERO).await;
        }
        let below = folder.path().join(name);
        let ended = tokio::task::spawn_blocking(move || crate::fleet::end_replicas_below(&below));
        ended
            .await
            .map_err(|error| Error::new(Code::Internal, "ending its replicas broke off").why(error.to_string()))?;
        Ok(format!("{name} is gone, and what ran on it"))
    }

    /// Starts a node that was killed.
    async fn start_again(&mut self, name: &str, args: &DevArgs, folder: &Folder) -> Result<String, Error> {
        let node = self.node(name)?;
        if node.handle.is_some() {
            return Err(Error::new(Code::Transition, format!("{name} runs")).try_(format!("berth dev kill {name}")));
        }
        let at = self.nodes.iter().position(|node| node.name == name).unwrap_or_default();
        let (addresses, token) = self.joining.clone().unwrap_or_default();
        self.start_node(at, args, &addresses, folder, token).await?;
        if let Some(handle) = &self.nodes[at].handle {
            handle.wait_session(Instant::now() + BACK_WITHIN).await?;
        }
        Ok(format!("{name} is back"))
    }

    fn node(&mut self, name: &str) -> Result<&mut DevNode, Error> {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let unknown = || {
            let near = nearest(name, names.iter().map(String::as_str));
            let try_ = near.map_or_else(|| names.join(", "), |near| format!("`{near}`"));
            Error::new(Code::NodeNotFound, format!("this cluster has no node `{name}`")).try_(try_)
        };
        self.nodes.iter_mut().find(|node| node.name == name).ok_or_else(unknown)
    }

    fn handles(&self) -> impl Iterator<Item = &NodeHandle> {
        self.nodes.iter().filter_map(|node| node.handle.as_ref())
    }

    async fn start_node(
        &mut self,
        at: usize,
        args: &DevArgs,
        coordinators: &[String],
        folder: &Folder,
        token: String,
    ) -> Result<(), Error> {
        let text = format!("node-{}", at + 1);
        let name = NodeName::new(&text).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let mut options = NodeOptions::new(name, folder.path().join(&text), coordinators.to_vec(), Secret::new(token));
        let free = SocketAddr::new(args.ingress.ip(), 0);
        let first = if at == 0 { args.ingress } else { free };
        (options.ingress, options.gate) = self.nodes[at].addresses.unwrap_or((first, free));
        options.insecure = args.insecure;
        options.tls = tls_files(args.tls_cert.clone(), args.tls_key.clone()).ok().flatten();
        options.capacity = Some(CAPACITY.parse().map_err(|error| Error::new(Code::Internal, format!("{error}")))?);
        options.is_virtual = true;
        if let Some(gpus) = fake_gpus(args)? {
            let path = folder.path().join(&text).join("gpus");
            let host = FakeHost::install(&path, &gpus.script(&text)).map_err(|error| {
                Error::new(Code::Invalid, format!("`{}` cannot be written", path.display())).why(error.to_string())
            })?;
            options.nvml_library = Some(host.library());
        }
        // They share this host's cores; a thread per core for each of them would only take turns.
        options.mesh_cores = if args.nodes > 1 { 1 } else { 0 };
        options.executable = process::this_binary()?;
        options.python = args.python.clone();
        options.pip_args = args.pip_args.clone();
        options.env_dir = Some(folder.path().join("envs"));
        options.base_env = NodeOptions::inheritable(std::env::vars());
        options.die_with_parent = true;
        options.stop_replicas_on_shutdown = true;
        let (sink, spans) = mpsc::channel(telemetry::SPANS_WAITING_MAX);
        if args.otlp.is_some() {
            options.spans = Some(SpanOptions { sink, share: berth_core::traffic::trace::SHARE_OF });
        }
        let service = NodeService::open(options).await?;
        let handle = service.handle();
        if let Some(first) = metrics(args) {
            // A node that comes back gets another port: the page of the one that is gone goes with the process.
            let is_first = at == 0 && self.nodes[at].addresses.is_none();
            let address = if is_first { first } else { SocketAddr::new(first.ip(), 0) };
            let address = crate::metrics::serve(address, args.insecure, handle.clone()).await?;
            self.metrics.insert(text.clone(), address);
        }
        if let Some(collector) = &args.otlp {
            let speaker = Speaker { service: "berth-node", instance: text.clone() };
            let of = handle.clone();
            telemetry::start(collector, speaker, move || of.metrics_text(), spans);
        }
        let run = service.run(told(self.stop_nodes.subscribe()));
        let task = self.running.spawn(async move { (text, run.await) });
        self.nodes[at] = DevNode {
            name: handle.name().to_string(),
            addresses: Some((handle.ingress_addr(), handle.gate_addr())),
            handle: Some(handle),
            task: Some(task),
        };
        Ok(())
    }

    /// Waits until every node is registered and routes by the table of now.
    async fn wait_ready(&mut self, deadline: Instant) -> Result<(), Error> {
        for node in self.handles() {
            node.wait_session(deadline).await?;
        }
        let version = self.coordinators.iter().map(|member| member.read(|state| state.routes.version())).max();
        let late = |_| Error::new(Code::Timeout, "a node has no route table in time");
        for node in self.handles() {
            let mut acks = node.mesh().watch_acks();
            let applied = acks.wait_for(|acks| Some(acks.applied) >= version);
            let applied = timeout_at(deadline, applied).await.map_err(late)?;
            applied.map_err(|_| Error::new(Code::Internal, "a node stopped before it was ready"))?;
        }
        Ok(())
    }

    /// Ends nodes first, so that replicas end while somebody still hears of it, then coordinators.
    async fn stop(&mut self, out: &Output) {
        let (nodes, coordinators) = (self.nodes.len(), self.coordinators.len());
        self.stop_nodes.send_replace(true);
        self.await_left(coordinators.min(self.running.len()), nodes > 0, out).await;
        self.stop_coordinators.send_replace(true);
        self.await_left(0, true, out).await;
        self.running.shutdown().await;
    }

    /// Waits until only `left` parts still run.
    async fn await_left(&mut self, left: usize, wait: bool, out: &Output) {
        let all = async {
            while wait && self.running.len() > left {
                self.running.join_next().await;
            }
        };
        if timeout(STOP_WITHIN, all).await.is_err() {
            out.note("not everything ended in time; what is left is cut");
        }
    }
}

// === impl DevNode ===

impl DevNode {
    fn gone(name: String) -> Self {
        Self { name, handle: None, task: None, addresses: None }
    }
}

/// Completes when it is time to stop.
async fn told(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left to say so: time to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Returns where state is kept by default.
fn default_dir() -> Result<PathBuf, Error> {
    let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = var("XDG_STATE_HOME").or_else(|| var("HOME").map(|home| home.join(".local/state")));
    state
        .map(|state| state.join("berth/dev"))
        .ok_or_else(|| Error::new(Code::Invalid, "there is no home to keep data in").try_("--data-dir DIR"))
}

/// Returns where the development cluster of this machine keeps its data.
pub(crate) fn local_dir() -> Option<PathBuf> {
    let named = std::env::var_os("BERTH_DEV_DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.or_else(|| default_dir().ok())
}

/// Returns where the development cluster of this machine answers, running or not.
pub(crate) fn local_api() -> String {
    let known = local_dir().and_then(|dir| folder::api_of(&dir));
    known.map_or_else(|| format!("127.0.0.1:{}", DEFAULTS.api_port), |address| address.to_string())
}
