//! Members in one process over loopback, with a key-value state machine: the fixture of the consensus tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_coordinator::raft::{
    DEFAULTS, Dialer, Error, Formation, LogIndex, MemberId, Proposed, RaftHandle, RaftOptions, RaftService,
    RaftTimings, RaftToken, RestoreError, StateMachine,
};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;

/// Long enough for a loaded machine; a test that meets it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Understands `key=value`, answers the value before, and remembers the order of everything.
#[derive(Default)]
pub(crate) struct Kv {
    state: Mutex<KvState>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct KvState {
    pub(crate) values: BTreeMap<String, String>,
    /// A running hash over every command: two members that applied the same log agree on it.
    pub(crate) history: u64,
    pub(crate) applied: u64,
}

/// One member and everything around it.
pub(crate) struct Node {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) address: SocketAddr,
    pub(crate) handle: RaftHandle,
    pub(crate) machine: Arc<Kv>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), Error>>,
    serving: JoinHandle<()>,
}

/// How a member is started.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) formation: Formation,
    pub(crate) cluster: String,
    pub(crate) tokens: Vec<RaftToken>,
    pub(crate) timings: RaftTimings,
    pub(crate) dialer: Dialer,
}

// === impl Kv ===

impl Kv {
    pub(crate) fn state(&self) -> KvState {
        self.state.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.state.lock().unwrap().values.get(key).cloned()
    }
}

impl StateMachine for Kv {
    fn apply(&self, index: LogIndex, command: &[u8]) -> Vec<u8> {
        let mut state = self.state.lock().unwrap();
        let text = String::from_utf8(command.to_vec()).expect("tests propose text");
        for byte in command.iter().chain(&index.0.to_be_bytes()) {
            state.history = (state.history ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state.applied = index.0;
        let (key, value) = text.split_once('=').expect("key=value");
        state.values.insert(key.to_owned(), value.to_owned()).unwrap_or_default().into_bytes()
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state()).unwrap()
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        *self.state.lock().unwrap() = serde_json::from_slice(snapshot)?;
        Ok(())
    }
}

// === impl Start ===

impl Start {
    pub(crate) fn new(formation: Formation) -> Self {
        Self {
            dir: Arc::new(TempDir::new().unwrap()),
            formation,
            cluster: "test".into(),
            tokens: vec![RaftToken::new("secret")],
            timings: DEFAULTS,
            dialer: Dialer::default(),
        }
    }

    pub(crate) async fn run(self) -> Node {
        self.run_on(listen().await).await
    }

    pub(crate) async fn run_on(self, listener: TcpListener) -> Node {
        self.try_run_on(listener).await.expect("the member starts")
    }

    pub(crate) async fn try_run_on(self, listener: TcpListener) -> Result<Node, Error> {
        let address = listener.local_addr().unwrap();
        let machine = Arc::new(Kv::default());
        let options = RaftOptions {
            timings: self.timings,
            dialer: self.dialer,
            ..RaftOptions::new(self.dir.path(), self.cluster, self.tokens, address.to_string(), self.formation)
        };
        let service = RaftService::open(options, machine.clone()).await?;
        let handle = service.handle();
        let grpc = service.grpc();
        let (stop_serving, serving_stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(grpc);
            // Connections are served by tasks of their own: only asking them to end makes others connect anew.
            let stopped = async { drop(serving_stopped.await) };
            server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await.unwrap();
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let outcome = service.run(async { drop(stopped.await) }).await;
            drop(stop_serving);
            outcome
        });
        Ok(Node { dir: self.dir, address, handle, machine, stop: Some(stop), running, serving })
    }
}

// === impl Node ===

impl Node {
    pub(crate) fn id(&self) -> MemberId {
        self.handle.member_id()
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<Proposed, Error> {
        self.handle.propose(Bytes::from(format!("{key}={value}")), soon()).await
    }

    /// Stops the member in good order and returns what `run` returned.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        drop(self.stop.take());
        let outcome = timeout(PATIENCE, &mut self.running).await.expect("it stops in time").unwrap();
        timeout(PATIENCE, &mut self.serving).await.expect("it stops serving in time").unwrap();
        outcome
    }

    /// Waits for the member to end by itself.
    pub(crate) async fn ends(mut self) -> Result<(), Error> {
        timeout(PATIENCE, &mut self.running).await.expect("it ends in time").unwrap()
    }

    pub(crate) async fn is_voter(&self) {
        let voter = self.handle.wait_for(soon(), "a vote", |status| status.own().is_some_and(|own| own.voter));
        voter.await.unwrap();
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Listens where a stopped member did.
pub(crate) async fn listen_again(address: SocketAddr) -> TcpListener {
    let deadline = soon();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(broken) => panic!("{address}: {broken}"),
        }
    }
}

pub(crate) async fn single() -> Node {
    let node = Start::new(Formation::Bootstrap { expect: 1, peers: vec![] }).run().await;
    node.is_voter().await;
    node
}

/// Starts `size` members that find one another.
pub(crate) async fn cluster_with(size: usize, timings: RaftTimings) -> Vec<Node> {
    let mut listeners = Vec::new();
    for _ in 0..size {
        listeners.push(listen().await);
    }
    let peers: Vec<String> = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let mut nodes = Vec::new();
    for listener in listeners {
        let formation = Formation::Bootstrap { expect: size, peers: peers.clone() };
        nodes.push(Start { timings: timings.clone(), ..Start::new(formation) }.run_on(listener).await);
    }
    for node in &nodes {
        node.is_voter().await;
    }
    nodes
}

pub(crate) async fn cluster(size: usize) -> Vec<Node> {
    cluster_with(size, DEFAULTS).await
}

/// Waits until the members agree on a leader among them, and returns its place.
pub(crate) async fn leader(nodes: &[Node]) -> usize {
    let status = nodes[0]
        .handle
        .wait_for(soon(), "a leader", |status| {
            status.leader.as_ref().is_some_and(|leader| nodes.iter().any(|node| node.id() == leader.id))
        })
        .await
        .unwrap();
    let id = status.leader.as_ref().unwrap().id;
    nodes.iter().position(|node| node.id() == id).unwrap()
}

/// Waits until every member has applied what the first one's read barrier saw, and compares their states.
pub(crate) async fn agree(nodes: &[Node]) -> KvState {
    let index = nodes[0].handle.read_barrier(soon()).await.unwrap();
    for node in nodes {
        node.handle.wait_applied(index, soon()).await.unwrap();
    }
    let state = nodes[0].machine.state();
    for node in nodes {
        assert_eq!(node.machine.state(), state, "equal state at equal index");
    }
    state
}
