//! A node that is taken over: what still arrives at its older process is the newer one's to answer, with what a replica takes
//! kept, for however many processes follow each other.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use berth_core::id::ReplicaId;
use berth_node::{NodeHandle, NodeOptions, mesh::PeerFiles};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinHandle,
};

use super::{
    bench::{Bench, options, start_with},
    coordinator::Coordinator,
};
use crate::{
    mesh_peers::{authority, secured, shown},
    mesh_support::{Deployed, Node, backend, body_of, call, endpoint, full, post, simple, until, within},
};

const REPLICA: ReplicaId = ReplicaId(1);

/// A replica that answers when it may, and counts.
struct Model {
    address: SocketAddr,
    may: Arc<Semaphore>,
    /// Requests at once, at most.
    most: Arc<AtomicUsize>,
}

// === impl Model ===

impl Model {
    async fn start() -> Self {
        let (may, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (permits, highest, at_once) = (may.clone(), most.clone(), Arc::new(AtomicUsize::new(0)));
        let address = backend(move |request: Request<Incoming>| {
            let (permits, highest, at_once) = (permits.clone(), highest.clone(), at_once.clone());
            async move {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                highest.fetch_max(at_once.fetch_add(1, Relaxed) + 1, Relaxed);
                permits.acquire().await.expect("open").forget();
                at_once.fetch_sub(1, Relaxed);
                Response::new(body_of([b"blue:", body.as_ref()].concat()))
            }
        });
        Self { address: address.await, may, most }
    }

    fn most(&self) -> u32 {
        self.most.load(Relaxed) as u32
    }
}

/// A node's folder, whose processes follow each other.
struct Line<'a> {
    dir: &'a Path,
    leader: &'a Coordinator,
    model: &'a Model,
    /// What the replica takes.
    slots: u32,
    peers: Option<PeerFiles>,
    version: u64,
}

// === impl Line ===

impl Line<'_> {
    /// Starts the next process, which takes over from the last one.
    async fn next(&mut self) -> Bench {
        let take_over = self.version > 0;
        self.version += 1;
        let options = NodeOptions { take_over, peers: self.peers.clone(), ..options(self.dir, &[self.leader]) };
        start_with(options, |handle| {
            let node = node(handle);
            handle.mesh().set_gate_token("gate");
            let blue = Deployed { slots: self.slots, ..Deployed::one("blue", &node, REPLICA.0, self.model.address) };
            let route = endpoint("fraud", &[("blue", 100)], vec![blue.publish("fraud")]);
            handle.mesh().apply_table(full(self.version, vec![route])).expect("a table");
        })
        .await
    }
}

/// A node as tests of the mesh see it.
fn node(handle: &NodeHandle) -> Node {
    Node { mesh: handle.mesh().clone(), id: handle.node_id(), dir: tempfile::tempdir().expect("a folder") }
}

/// Waits until so many requests are counted at the replica, those of older processes with them.
async fn counted(bench: &Bench, count: u64) {
    until(|| bench.handle.mesh().gate_in_flight(REPLICA) == count).await;
}

/// Asks for something that is not answered until the model may.
fn ask(ingress: SocketAddr, body: &'static str) -> JoinHandle<(Parts, Bytes)> {
    tokio::spawn(call(ingress, post("/e/fraud/score", body)))
}

async fn answered(asked: JoinHandle<(Parts, Bytes)>, body: &str) {
    let (parts, said) = within(asked).await.expect("no panic");
    assert_eq!((parts.status.as_u16(), said.as_ref()), (200, body.as_bytes()), "{parts:?}");
}

/// A request whose head is on its way while its process is taken over: it arrives there afterwards.
struct Half(TcpStream);

// === impl Half ===

impl Half {
    /// Connects to a process that then has the connection, and says how a request begins.
    async fn begin(at: &Bench, address: SocketAddr, begins: &str) -> Self {
        let opened = || {
            let text = at.handle.metrics_text();
            let line = text.lines().find_map(|line| line.strip_prefix("berth_mesh_connections_opened_total "));
            line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
        };
        let before = opened();
        let mut stream = within(TcpStream::connect(address)).await.expect("a connection");
        stream.write_all(begins.as_bytes()).await.expect("sent");
        until(|| opened() > before).await;
        Self(stream)
    }

    /// A caller's.
    async fn of_a_caller(at: &Bench) -> Self {
        Self::begin(at, at.handle.ingress_addr(), "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\n").await
    }

    /// Another node's.
    async fn of_a_node(at: &Bench) -> Self {
        let begins = format!(
            "POST http://gate/score HTTP/1.1\r\nhost: gate\r\nx-berth-gate-token: gate\r\nx-berth-gate-replica: {REPLICA}\r\n\
             x-berth-gate-may-queue: 1\r\nx-berth-gate-deadline-ms: 60000\r\n"
        );
        Self::begin(at, at.handle.gate_addr(), &begins).await
    }

    async fn end(&mut self, body: &str) {
        let ends = format!("content-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(ends.as_bytes()).await.expect("sent");
    }

    async fn answered(mut self, body: &str) {
        let mut answer = Vec::new();
        within(self.0.read_to_end(&mut answer)).await.expect("an answer, and then the end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(body), "{answer}");
    }
}

#[tokio::test]
async fn what_still_reaches_the_older_process_is_for_the_newer_one_to_answer() {
    let (dir, leader, model) = (tempfile::tempdir().unwrap(), Coordinator::start().await, Model::start().await);
    let mut line = Line { dir: dir.path(), leader: &leader, model: &model, slots: 2, peers: None, version: 0 };
    let older = line.next().await;
    let ingress = older.handle.ingress_addr();
    let held = [ask(ingress, "one"), ask(ingress, "two")];
    counted(&older, 2).await;
    let mut caller = Half::of_a_caller(&older).await;
    let mut router = Half::of_a_node(&older).await;

    let newer = line.next().await;
    counted(&newer, 2).await;
    caller.end("late").await;
    counted(&newer, 3).await;
    router.end("later").await;
    counted(&newer, 4).await;
    assert_eq!(older.handle.mesh().gate_in_flight(REPLICA), 2, "what came late is none of its own");
    model.may.add_permits(4);
    caller.answered("blue:late").await;
    router.answered("blue:later").await;
    for (asked, body) in held.into_iter().zip(["blue:one", "blue:two"]) {
        answered(asked, body).await;
    }
    assert_eq!(model.most(), line.slots, "of both together");
    older.ended().await;
    counted(&newer, 0).await;
    newer.stop().await;
}

#[tokio::test]
async fn the_third_process_counts_and_answers_what_the_first_one_has() {
    let (dir, leader, model) = (tempfile::tempdir().unwrap(), Coordinator::start().await, Model::start().await);
    let mut line = Line { dir: dir.path(), leader: &leader, model: &model, slots: 3, peers: None, version: 0 };
    let first = line.next().await;
    let held = ask(first.handle.ingress_addr(), "held");
    counted(&first, 1).await;
    let [mut early, mut late] = [Half::of_a_caller(&first).await, Half::of_a_caller(&first).await];
    let mut router = Half::of_a_node(&first).await;
    let second = line.next().await;
    counted(&second, 1).await;
    // The first one has a slot, and the second one another, which it gave to a caller of the first.
    early.end("early").await;
    counted(&second, 2).await;
    let mut caller = Half::of_a_caller(&second).await;

    let third = line.next().await;
    counted(&third, 2).await;
    // One slot is left, and two wait for more.
    for (half, body, count) in [(&mut late, "late", 3), (&mut router, "routed", 4), (&mut caller, "called", 5)] {
        half.end(body).await;
        counted(&third, count).await;
    }
    assert!(first.is_running() && second.is_running(), "the second one tells what the first one has");
    model.may.add_permits(5);
    for (half, body) in [(early, "blue:early"), (late, "blue:late"), (router, "blue:routed"), (caller, "blue:called")] {
        half.answered(body).await;
    }
    answered(held, "blue:held").await;
    first.ended().await;
    second.ended().await;
    counted(&third, 0).await;
    assert_eq!(model.most(), line.slots, "of all three together");
    third.stop().await;
}

#[tokio::test]
async fn nodes_that_show_each_other_certificates_are_taken_over_as_well() {
    let ours = authority();
    let (dir, leader, model) = (tempfile::tempdir().unwrap(), Coordinator::start().await, Model::start().await);
    let peers = Some(shown(dir.path(), &ours));
    let mut line = Line { dir: dir.path(), leader: &leader, model: &model, slots: 2, peers, version: 0 };
    let older = line.next().await;
    let other = secured(9, &ours, &[&ours]);
    other.mesh.set_gate_token("gate");
    simple(
        &other,
        &Deployed { slots: line.slots, ..Deployed::one("blue", &node(&older.handle), REPLICA.0, model.address) },
    );
    let held = ask(other.mesh.ingress_addr(), "held");
    counted(&older, 1).await;
    let mut caller = Half::of_a_caller(&older).await;

    let newer = line.next().await;
    counted(&newer, 1).await;
    caller.end("late").await;
    counted(&newer, 2).await;
    let routed = ask(other.mesh.ingress_addr(), "routed");
    counted(&newer, 3).await;
    model.may.add_permits(3);
    caller.answered("blue:late").await;
    answered(held, "blue:held").await;
    answered(routed, "blue:routed").await;
    assert_eq!(model.most(), line.slots);
    older.ended().await;
    counted(&newer, 0).await;
    newer.stop().await;
}

/// A newer process has its own desk before it has taken over.
#[tokio::test]
async fn who_takes_back_what_a_successor_had_is_found_by_the_next_one() {
    let (dir, leader, model) = (tempfile::tempdir().unwrap(), Coordinator::start().await, Model::start().await);
    let mut line = Line { dir: dir.path(), leader: &leader, model: &model, slots: 2, peers: None, version: 0 };
    let older = line.next().await;
    model.may.add_permits(2);
    answered(ask(older.handle.ingress_addr(), "x"), "blue:x").await;
    let desk = dir.path().join("node/hand-over.sock");
    let mut fails = within(UnixStream::connect(&desk)).await.expect("the node has a desk");
    fails.write_all(b"take").await.expect("asked");
    within(fails.read_exact(&mut [0; 2])).await.expect("given");
    std::fs::remove_file(&desk).expect("the older one's");
    drop((UnixListener::bind(&desk).expect("its own"), fails));
    until(|| std::os::unix::net::UnixStream::connect(&desk).is_ok()).await;
    let newer = line.next().await;
    older.ended().await;
    answered(ask(newer.handle.ingress_addr(), "x"), "blue:x").await;
    newer.stop().await;
}
