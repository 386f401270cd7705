//! Starting a mesh, and everything the rest of the node says to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use berth_core::{
    error::{Code, Error},
    id::{LogIndex, ReplicaId},
    model::EndpointName,
    rng::SeedTree,
    traffic::{
        absence::Expected,
        acks::TableAcks,
        change::{Resync, TableChange},
        table::RouteTable,
    },
};
use berth_proto::{
    api::v1::RequestReport,
    node::{v1::MirrorTally, verdicts_to_wire},
    tls::{Server, ServerFiles, Watch},
};
use http::HeaderValue;
use prometheus_client::registry::Registry;
use tokio::{sync::watch, time::timeout};

use super::{
    access_log::AccessLog,
    gate::{LocalReplica, LocalState},
    listening::Listening,
    metrics::{MeshCollector, MeshCounters},
    options::MeshOptions,
    peers::Peers,
    persist::{self, Writer},
    record::Record,
    report::report,
    routes::Routes,
    verdict::Comparator,
    worker::{self, Listeners, Secured, Shared},
};

/// How long ago an endpoint may have been called for this node to count as carrying it.
const CARRIED_MS: u64 = 60_000;

/// How long the cores may take to close their doors: a turn of each.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(5);

/// What a process of a node has that another one is to take account of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Requests per replica, running and waiting.
    pub(crate) in_flight: BTreeMap<ReplicaId, u64>,
    /// Slots that are taken, of every replica it has.
    pub(crate) taken: BTreeMap<ReplicaId, u32>,
}

/// Starts meshes.
#[derive(Debug)]
pub struct Mesh;

/// Speaks to a running mesh. Nothing here blocks or waits but [`MeshHandle::shutdown`].
#[derive(Clone)]
pub struct MeshHandle(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    writer: Writer,
    /// What is given to a successor; nothing once no more connections are taken.
    listening: Mutex<Option<Listening>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// One change of the table at a time.
    applying: Mutex<()>,
    ingress: SocketAddr,
    gate: SocketAddr,
    loaded: bool,
    _watches: [Option<Watch>; 2],
}

// === impl Mesh ===

impl Mesh {
    /// Binds, loads the stored table and gate token, and starts the threads. Counters are shown in `registry`.
    pub fn start(options: MeshOptions, registry: &mut Registry) -> Result<MeshHandle, Error> {
        let mesh = Self::inherit(options, None, registry)?;
        mesh.open();
        Ok(mesh)
    }

    /// Starts on the listeners of an older process, or binds its own. It accepts nobody until it is opened.
    pub(crate) fn inherit(
        options: MeshOptions,
        inherited: Option<Listening>,
        registry: &mut Registry,
    ) -> Result<MeshHandle, Error> {
        let cores = match options.cores {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cores => cores,
        };
        let listening = match inherited {
            Some(listening) => listening,
            None => Listening {
                ingress: Listening::bind_door(options.ingress, cores)
                    .map_err(|error| cannot_listen("ingress", options.ingress, &error))?,
                gate: Listening::bind_door(options.gate, cores)
                    .map_err(|error| cannot_listen("gate", options.gate, &error))?,
            },
        };
        // Each listener of a shared address gets its part of the connections, so each needs a core that accepts them.
        let cores = listening.ingress.len();
        let copied = listening.addresses().and_then(|addresses| Ok((addresses, listening.copy()?)));
        let ((ingress, gate), kept) = copied.map_err(|error| cannot_listen("mesh", options.ingress, &error))?;
        let folder = options.data_dir.clone();
        std::fs::create_dir_all(&folder).map_err(|error| {
            Error::new(Code::Unavailable, format!("could not create {}", folder.display())).why(error.to_string())
        })?;
        let stored = persist::load_table(&folder, options.codec);
        let token = persist::load_token(&folder);
        let access_log = options.access_log.as_ref().map(|log| {
            AccessLog::open(log, cores).map_err(|error| {
                Error::new(Code::Unavailable, format!("could not write the access log {}", log.path.display()))
                    .why(error.to_string())
                    .try_("name a file this user may write as `access_log`")
            })
        });
        let access_log = access_log.transpose()?;
        let tls = options.tls.as_ref().map(|own| ServerFiles { own: own.clone(), client_ca: None });
        let (tls, tls_watch) = tls.map(|files| Server::open(&files, "to callers")).transpose()?.unzip();
        let (peers, peers_watch) = options.peers.as_ref().map(Peers::open).transpose()?.unzip();
        let writer = Writer::start(folder, options.codec).map_err(|error| cannot_start(&error))?;
        let comparator = Comparator::start(&options.limits).map_err(|error| cannot_start(&error))?;
        let shared = Arc::new(Shared::new(options, cores, access_log, comparator, Secured { tls, peers }));
        if let Some(token) = token.and_then(|token| HeaderValue::from_bytes(&token).ok()) {
            shared.set_token(token);
        }
        let loaded = stored.is_some();
        if let Some(table) = stored {
            tracing::info!(version = %table.version, endpoints = table.endpoints.len(), "routing by the stored table");
            swap(&shared, table);
        }
        registry.register_collector(Box::new(MeshCollector(Arc::downgrade(&shared))));
        let seed = SeedTree::from_entropy(entropy());
        let listeners = listening.ingress.into_iter().zip(listening.gate);
        let mut threads = Vec::new();
        for (index, (ingress, gate)) in listeners.enumerate() {
            let (shared, seed) = (shared.clone(), seed.clone());
            let run = move || {
                if let Err(error) = worker::run(&shared, index, &seed, Listeners { ingress, gate }) {
                    tracing::error!(%error, index, "a core of the mesh ended");
                }
            };
            let thread = thread::Builder::new().name(format!("mesh-{index}")).spawn(run);
            threads.push(thread.map_err(|error| cannot_start(&error))?);
        }
        tracing::info!(%ingress, %gate, cores, "the mesh listens");
        let threads = Mutex::new(threads);
        Ok(MeshHandle(Arc::new(Inner {
            shared,
            writer,
            threads,
            applying: Mutex::new(()),
            ingress,
            gate,
            loaded,
            listening: Mutex::new(Some(kept)),
            _watches: [tls_watch, peers_watch],
        })))
    }
}

fn cannot_listen(what: &str, address: SocketAddr, error: &std::io::Error) -> Error {
    Error::new(Code::Unavailable, format!("the {what} could not listen on {address}"))
        .why(error.to_string())
        .try_("stop what holds the address, or choose another one")
}

fn cannot_start(error: &std::io::Error) -> Error {
    Error::new(Code::Internal, "could not start a thread of the mesh").why(error.to_string())
}

/// Draws a seed from the process's random hash keys: for request ids and picking, not for secrets.
fn entropy() -> [u8; 32] {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
    }
    seed
}

/// Where this host reaches what listens there.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// Puts a table in force and says so.
fn swap(shared: &Shared, table: RouteTable) {
    let version = table.version;
    let routes = {
        let mut memory = shared.memory();
        Routes::new(table, Some(&shared.routes.load()), &mut memory)
    };
    shared.routes.store(Arc::new(routes));
    shared.acks.send_modify(|acks| acks.applied(version));
    shared.applied.send_replace(version);
}

// === impl MeshHandle ===

impl MeshHandle {
    /// Returns where callers connect.
    pub fn ingress_addr(&self) -> SocketAddr {
        self.0.ingress
    }

    /// Returns where other nodes connect.
    pub fn gate_addr(&self) -> SocketAddr {
        self.0.gate
    }

    /// Sets the secret gates show each other. It is stored, so that a restart without coordinators still has it.
    pub fn set_gate_token(&self, token: &str) {
        let Ok(value) = HeaderValue::from_str(token) else {
            tracing::error!("the gate token is no header value and is ignored");
            return;
        };
        self.0.shared.set_token(value);
        self.0.writer.token(token.as_bytes());
        // Gates that refused the old token are probed again.
        self.0.shared.applied.send_modify(|_| {});
    }

    /// Applies a change of the table. On an error the table stays, and everything has to be asked for.
    pub fn apply_table(&self, change: TableChange) -> Result<(), Resync> {
        let shared = &self.0.shared;
        let _one = self.0.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let offered = match &change {
            TableChange::Full(table) => table.version,
            TableChange::Delta(delta) => delta.results_in,
        };
        let current = self.table();
        let next = current.apply(change)?;
        shared.acks.send_modify(|acks| acks.received(offered));
        let stale = next.version == current.version && next == *current;
        swap(shared, next);
        if !stale {
            self.0.writer.table(self.table());
        }
        Ok(())
    }

    /// Returns the table in force.
    pub fn table(&self) -> Arc<RouteTable> {
        self.0.shared.routes.load().table.clone()
    }

    /// Returns whether the mesh began with a table from disk.
    pub fn table_loaded_from_disk(&self) -> bool {
        self.0.loaded
    }

    /// Returns what this router has received, applied and warmed.
    pub fn acks(&self) -> TableAcks {
        self.0.shared.acks()
    }

    /// Follows what this router has received, applied and warmed.
    pub fn watch_acks(&self) -> watch::Receiver<TableAcks> {
        self.0.shared.acks.subscribe()
    }

    /// Accepts connections from here on.
    pub fn open(&self) {
        self.0.shared.opened.cancel();
    }

    /// Waits until connections are accepted.
    pub(crate) async fn opened(&self) {
        self.0.shared.opened.cancelled().await;
    }

    /// Returns whether a replica of this node takes requests.
    pub(crate) fn is_published(&self, replica: ReplicaId) -> bool {
        self.0.shared.gate.find(replica).is_some_and(|replica| replica.local().state == LocalState::Open)
    }

    /// Returns what this mesh listens on, for a successor.
    pub(crate) fn listening(&self) -> Option<std::io::Result<Listening>> {
        self.0.listening.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Listening::copy)
    }

    /// Sets who is expected of the deployments that nobody serves, as a member has just guessed it.
    pub fn expect(&self, expected: Vec<Expected>) {
        let shared = &self.0.shared;
        // Nearly always nobody, as before.
        if expected.is_empty() && shared.expected.load().is_empty() {
            return;
        }
        let now = shared.clock.now();
        let expected = expected.into_iter().map(|expected| (expected.key, now + expected.within));
        shared.expected.store(Arc::new(expected.collect()));
    }

    /// Sets what an older process of this node still has.
    pub(crate) fn set_elsewhere(&self, left: Remains) {
        self.0.shared.elsewhere.store(Arc::new(left.in_flight));
        self.0.shared.gate.set_elsewhere(left.taken);
    }

    /// Returns what this process has, for a newer one.
    pub(crate) fn left(&self) -> Remains {
        Remains { in_flight: self.in_flight(), taken: self.0.shared.gate.taken().into_iter().collect() }
    }

    /// Waits until there may be less.
    pub(crate) async fn left_less(&self) {
        self.0.shared.gate.freed().await;
    }

    /// Takes no more connections and starts nothing more here: what callers of this process still ask goes through the gate
    /// of the newer one, which has the listeners by now and opens them when it has heard what is left.
    pub(crate) async fn yield_to_successor(&self) {
        let shared = &self.0.shared;
        self.stop_listening();
        // A connection to that gate must not be taken here.
        shared.accepting.close();
        if timeout(ACCEPTED_WITHIN, shared.accepting.wait()).await.is_err() {
            tracing::warn!("a core goes on taking connections: it is busy");
        }
        let _ = shared.successor.set(reachable(self.0.gate).to_string().into());
        shared.gate.yield_slots();
    }

    /// Passes requests on while connections are still taken.
    #[cfg(test)]
    pub(super) fn pass_on_to(&self, gate: SocketAddr) {
        let _ = self.0.shared.successor.set(gate.to_string().into());
    }

    /// A listener that nobody accepts from would keep callers waiting.
    fn stop_listening(&self) {
        drop(self.0.listening.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.0.shared.draining.cancel();
    }

    /// Returns the requests per replica: what this node's gate has of its own replicas, and what this node's ingress
    /// has under way to others. Read the acks first. Zeros are left out.
    pub fn in_flight(&self) -> BTreeMap<ReplicaId, u64> {
        let shared = &self.0.shared;
        let mut loads: BTreeMap<ReplicaId, u64> = shared.memory().remote_in_flight().collect();
        for (replica, _, load) in shared.gate.loads() {
            let sum = loads.entry(replica).or_default();
            *sum = sum.saturating_add(load);
        }
        for (replica, load) in self.0.shared.elsewhere.load().iter() {
            // Another process's word: whatever it says is a count.
            let sum = loads.entry(*replica).or_default();
            *sum = sum.saturating_add(*load);
        }
        loads.retain(|_, load| *load > 0);
        loads
    }

    /// Leaves of these replicas those that this router's table no longer names: they get nothing new from here.
    pub(crate) fn unrouted(&self, mut replicas: BTreeSet<ReplicaId>) -> BTreeSet<ReplicaId> {
        if !replicas.is_empty() {
            let table = self.table();
            let deployments = table.endpoints.values().flat_map(|route| &route.deployments);
            deployments.flat_map(|deployment| &deployment.replicas).for_each(|routed| {
                replicas.remove(&routed.id);
            });
        }
        replicas
    }

    /// Returns what this node's gate has of one replica, running and waiting.
    pub fn gate_in_flight(&self, replica: ReplicaId) -> u64 {
        let elsewhere = self.0.shared.elsewhere.load().get(&replica).copied().unwrap_or(0);
        self.0.shared.gate.in_flight(replica).saturating_add(elsewhere)
    }

    /// Returns the endpoints that were called here within the last minute.
    pub fn carried(&self) -> BTreeSet<EndpointName> {
        let now = self.0.shared.clock.now().millis();
        let routes = self.0.shared.routes.load();
        let recent = routes.endpoints().filter(|endpoint| {
            let at = endpoint.soft.carried_ms.load(Relaxed);
            at > 0 && now.saturating_sub(at) <= CARRIED_MS
        });
        recent.map(|endpoint| endpoint.route.name.clone()).collect()
    }

    /// Publishes a replica of this node, or what changed about it.
    pub fn publish_local(&self, replica: ReplicaId, local: LocalReplica) {
        self.0.shared.gate.publish(replica, local);
    }

    /// Forgets a replica of this node: new requests are not started, running ones may end.
    pub fn withdraw_local(&self, replica: ReplicaId) {
        self.0.shared.gate.withdraw(replica);
    }

    /// Tells what became of the newest request of an id, the mesh's or the caller's own, that this node's ingress took;
    /// nothing when it is not remembered.
    pub fn find_request(&self, id: &str) -> Option<RequestReport> {
        let read = |record: &Record| (record.begun, report(record));
        let found = self.0.shared.recent.iter().filter_map(|core| core.find(id, read));
        found.max_by_key(|(begun, _)| *begun).map(|(_, report)| report)
    }

    /// Tells what this node's ingress has made of the answers of an endpoint's mirrors.
    pub fn mirror_verdicts(&self, endpoint: &str) -> Vec<MirrorTally> {
        let routes = self.0.shared.routes.load();
        routes.endpoint(endpoint).map(|endpoint| verdicts_to_wire(&endpoint.soft.verdicts())).unwrap_or_default()
    }

    /// Returns what was counted since the start.
    pub fn counters(&self) -> MeshCounters {
        self.0.shared.counters()
    }

    /// Takes no new requests, lets running ones end until `drain` is over, stores the table and ends the threads.
    pub async fn shutdown(&self, drain: Duration) {
        let shared = &self.0.shared;
        self.stop_listening();
        let deadline = tokio::time::Instant::now() + drain;
        while !self.is_idle() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shared.stopping.cancel();
        let inner = self.0.clone();
        let joined = tokio::task::spawn_blocking(move || {
            let threads = std::mem::take(&mut *inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a core of the mesh has panicked");
                }
            }
            inner.writer.close();
            if let Some(log) = &inner.shared.access_log {
                log.close();
            }
        });
        if joined.await.is_err() {
            tracing::error!("the mesh did not end in order");
        }
    }

    fn is_idle(&self) -> bool {
        self.0.shared.connections.load(Relaxed) == 0 && self.in_flight().is_empty()
    }
}

impl std::fmt::Debug for MeshHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MeshHandle(ingress={}, gate={}, version={})", self.0.ingress, self.0.gate, self.version())
    }
}

impl MeshHandle {
    fn version(&self) -> LogIndex {
        self.table().version
    }
}

impl Drop for Inner {
    /// A handle that is dropped without a shutdown still ends its threads.
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.stopping.cancel();
        self.writer.close();
    }
}
