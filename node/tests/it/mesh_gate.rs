//! What the gate tells callers and replicas: when to come back, when time is up, and that a caller has left.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use berth_core::{
    id::{NodeId, ReplicaId},
    model::DeploymentKey,
    time::Millis,
    traffic::absence::Expected,
};
use berth_node::mesh::{LocalState, Mesh};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};

use crate::mesh_law::held;
use crate::mesh_stream::stream_of;
use crate::mesh_support::{
    Body, Deployed, Node, Placed, TOKEN, backend, body_of, call, echo, endpoint, full, header, node, open, options,
    post, simple, until, within,
};

/// A replica that never answers and tells when a request came and when it was given up.
async fn silent() -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
    let (said, events) = mpsc::unbounded_channel();
    let address = backend(move |request| {
        let said = said.clone();
        async move {
            // A server sees the end of a connection only behind a body that it has read.
            let _ = request.into_body().collect().await;
            let _ = said.send("came");
            let _gone = OnDrop(said);
            std::future::pending::<Response<Body>>().await
        }
    })
    .await;
    (address, events)
}

struct OnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("gone");
    }
}

/// A call of `blue`, owned by `owner`, through the ingress of `entry`.
fn route(entry: &Node, owner: &Node, version: u64, slots: u32, address: SocketAddr) {
    let deployed = Deployed { slots, queue_ms: 0, ..Deployed::one("blue", owner, version, address) };
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    entry.mesh.apply_table(full(version, vec![route])).expect("a table");
}

fn with(request: Request<Full<Bytes>>, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    headers.iter().fold(request, |mut request, (name, value)| {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
        request
    })
}

#[tokio::test]
async fn who_is_refused_hears_when_a_place_comes_free() {
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let (address, mut events) = silent().await;
        route(&n1, owner, version, 1, address);
        let ingress = n1.mesh.ingress_addr();
        let running = tokio::spawn(open(ingress, post("/e/fraud/score", "body")));
        assert_eq!(within(events.recv()).await, Some("came"));
        let (parts, _) = call(ingress, post("/e/fraud/score", "body")).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-reason")), (429, "full"));
        assert!((1..=90).contains(&header(&parts, "retry-after").parse().expect("seconds")));
        let grpc = with(post("/e/fraud/echo.Echo/Say", ""), &[("content-type", "application/grpc")]);
        let (parts, _) = call(ingress, grpc).await;
        assert_eq!(header(&parts, "grpc-status"), "8");
        assert!((1..=90_000).contains(&header(&parts, "grpc-retry-pushback-ms").parse().expect("milliseconds")));
        let (parts, _) = call(ingress, post("/e/fraud/v1/embeddings", "{}")).await;
        assert!((1..=90_000).contains(&header(&parts, "retry-after-ms").parse().expect("milliseconds")));
        running.abort();
        until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0).await;
    }
}

/// What those are told who find a slot and the place behind it taken, in milliseconds and in seconds, and what is right: from
/// the shortest time between two ends to the longest, this one included. One ends after each pause.
struct Drained {
    told_ms: [u64; 2],
    told_s: u64,
    right_ms: std::ops::RangeInclusive<u64>,
}

async fn drained(ends: usize, pause: Duration) -> Drained {
    let n1 = node(1);
    let (address, mut arrived, permits) = held().await;
    simple(&n1, &Deployed { slots: 1, ..Deployed::one("blue", &n1, 1, address) });
    let ingress = n1.mesh.ingress_addr();
    let ask = || tokio::spawn(call(ingress, post("/e/fraud/score", "body")));
    let mut asked = vec![ask()];
    within(arrived.recv()).await.expect("it came");
    let (mut since, mut took) = (tokio::time::Instant::now(), Vec::new());
    for _ in 0..ends {
        asked.push(ask());
        until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 2).await;
        tokio::time::sleep(pause).await;
        permits.add_permits(1);
        // Who waited is begun: the slot was never free.
        within(arrived.recv()).await.expect("it came");
        took.push(std::mem::replace(&mut since, tokio::time::Instant::now()).elapsed());
    }
    asked.push(ask());
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 2).await;
    let (parts, _) = call(ingress, post("/e/fraud/score", "body")).await;
    assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-reason")), (429, "full"));
    let told_s = header(&parts, "retry-after").parse().expect("seconds");
    let grpc = with(post("/e/fraud/echo.Echo/Say", ""), &[("content-type", "application/grpc")]);
    let grpc = call(ingress, grpc).await.0;
    let open_ai = call(ingress, post("/e/fraud/v1/embeddings", "{}")).await.0;
    let told_ms = [(&grpc, "grpc-retry-pushback-ms"), (&open_ai, "retry-after-ms")];
    let told_ms = told_ms.map(|(parts, name)| header(parts, name).parse().expect("milliseconds"));
    took.push(since.elapsed());
    permits.add_permits(asked.len());
    for asked in asked {
        assert_eq!(within(asked).await.expect("a task").0.status, 200);
    }
    let (least, most) = (took.iter().min().expect("one"), took.iter().max().expect("one"));
    // One is ahead, and up to half as long again is added; a hop and the clock's grain take some of it.
    let right_ms = (2 * least.as_millis() as u64).saturating_sub(2)..=3 * (most.as_millis() as u64 + 1) + 30;
    Drained { told_ms, told_s, right_ms }
}

#[tokio::test]
async fn who_is_refused_hears_how_fast_the_gate_drains() {
    let fast = drained(20, Duration::ZERO).await;
    let slow = drained(3, Duration::from_millis(1_100)).await;
    for (drained, why) in [(&fast, "fast"), (&slow, "slow")] {
        let Drained { told_ms, told_s, right_ms } = drained;
        assert!(told_ms.iter().all(|told| right_ms.contains(told)), "{why}: {told_ms:?} of {right_ms:?}");
        let right_s = right_ms.start().div_ceil(1_000)..=right_ms.end().div_ceil(1_000);
        assert!(right_s.contains(told_s), "{why}: {told_s} of {right_s:?}");
    }
    assert!(fast.told_ms.iter().max() < slow.told_ms.iter().min(), "{:?} and {:?}", fast.told_ms, slow.told_ms);
    assert!(fast.told_s < slow.told_s, "{} and {}", fast.told_s, slow.told_s);
}

#[tokio::test]
async fn who_nobody_can_take_hears_when_somebody_is_expected() {
    let n1 = node(1);
    let nobody =
        Deployed { replicas: Vec::new(), ..Deployed::one("blue", &n1, 1, SocketAddr::from(([127, 0, 0, 1], 9))) };
    let route = endpoint("fraud", &[("blue", 100)], vec![nobody.publish("fraud")]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let ingress = n1.mesh.ingress_addr();
    let (parts, _) = call(ingress, post("/e/fraud/score", "body")).await;
    assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-reason")), (503, "no-replica"));
    let at_first = header(&parts, "retry-after").parse::<u64>().expect("seconds");
    assert!((1..=2).contains(&at_first), "a second where nothing is known, and half of one: {at_first}");

    let named = |name: &str| DeploymentKey::new("fraud".parse().expect("a name"), name.parse().expect("a name"));
    n1.mesh.expect(vec![
        Expected { within: Millis(1), key: named("green") },
        Expected { within: Millis(40_000), key: named("blue") },
    ]);
    // What this machine takes for three requests comes off, and half as long again is added by chance.
    let (parts, _) = call(ingress, post("/e/fraud/score", "body")).await;
    assert!((10..=60).contains(&header(&parts, "retry-after").parse().expect("seconds")), "{parts:?}");
    let grpc = with(post("/e/fraud/echo.Echo/Say", ""), &[("content-type", "application/grpc")]);
    let (parts, _) = call(ingress, grpc).await;
    assert_eq!(header(&parts, "grpc-status"), "14");
    let pushback = header(&parts, "grpc-retry-pushback-ms").parse::<u64>().expect("milliseconds");
    assert!((10_000..=60_000).contains(&pushback), "{pushback}");
    let (parts, _) = call(ingress, post("/e/fraud/v1/embeddings", "{}")).await;
    let after = header(&parts, "retry-after-ms").parse::<u64>().expect("milliseconds");
    assert!((10_000..=60_000).contains(&after), "{after}");
}

#[tokio::test]
async fn the_caller_says_how_long_it_waits() {
    let n1 = node(1);
    let (address, mut events) = silent().await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    // Time may be up before the replica was reached: then the caller has more of it.
    let mut seen = None;
    for timeout in ["30", "300", "3000", "15000"] {
        let hurried = with(post("/e/fraud/score", ""), &[("x-request-timeout-ms", timeout)]);
        let (parts, _) = call(n1.mesh.ingress_addr(), hurried).await;
        assert_eq!(parts.status, 408);
        seen = tokio::time::timeout(Duration::from_secs(1), events.recv()).await.ok();
        if seen.is_some() {
            break;
        }
    }
    assert_eq!(seen, Some(Some("came")));
    assert_eq!(within(events.recv()).await, Some("gone"), "the replica hears of it");
    // Over before it begins: the replica never sees it.
    let late = with(post("/e/fraud/score", ""), &[("x-request-timeout-ms", "0")]);
    let (parts, _) = call(n1.mesh.ingress_addr(), late).await;
    assert_eq!(parts.status, 408);
    assert!(events.try_recv().is_err());
}

/// Who never came to work is told apart from who worked too long, at the gate of this node and at another's.
#[tokio::test]
async fn who_waited_until_the_deadline_hears_that_it_did() {
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let (address, mut events) = silent().await;
        let deployed = Deployed { slots: 1, ..Deployed::one("blue", owner, version, address) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let ingress = n1.mesh.ingress_addr();
        let running = tokio::spawn(open(ingress, post("/e/fraud/score", "body")));
        assert_eq!(within(events.recv()).await, Some("came"));
        // The gate's word has ten milliseconds to be heard before the deadline ends the talk. Where the machine is busy it
        // may come too late, and the caller hears of the deadline alone: the next one hears the word.
        let mut heard = None;
        for _ in 0..60 {
            let hurried = with(post("/e/fraud/score", "body"), &[("x-request-timeout-ms", "250")]);
            let (parts, _) = call(ingress, hurried).await;
            assert_eq!(parts.status, 408);
            assert!(events.try_recv().is_err(), "it never reached the replica");
            if header(&parts, "x-berth-reason") == "expired" {
                heard = Some(parts);
                break;
            }
            assert_eq!(header(&parts, "x-berth-reason"), "");
        }
        let parts = heard.unwrap_or_else(|| panic!("nobody heard it at node {}", owner.id));
        assert!(header(&parts, "x-berth-queue-ms").parse::<u64>().expect("milliseconds") > 0, "{parts:?}");
        running.abort();
        until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0).await;
    }
}

#[tokio::test]
async fn a_replica_hears_that_the_caller_has_left() {
    let (n1, n2) = (node(1), node(2));
    for (owner, version, content_type) in [
        (&n1, 1, "application/json"),
        (&n2, 2, "application/json"),
        (&n1, 3, "application/grpc"),
        (&n2, 4, "application/grpc"),
    ] {
        let (address, mut events) = silent().await;
        route(&n1, owner, version, 1, address);
        let request = with(post("/e/fraud/echo.Echo/Say", "body"), &[("content-type", content_type)]);
        let caller = tokio::spawn(open(n1.mesh.ingress_addr(), request));
        assert_eq!(within(events.recv()).await, Some("came"));
        caller.abort();
        assert_eq!(within(events.recv()).await, Some("gone"), "{content_type} at node {}", owner.id);
        until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0 && n1.mesh.in_flight().is_empty()).await;
    }
}

/// How soon is a matter of the machine; but it is the leaving itself that tells the replica, and no timer that happens to look:
/// callers who come later than that have not had all their answers before.
#[tokio::test]
async fn who_leaves_is_heard_of_before_two_hundred_who_come_later_are_answered() {
    const LATER: usize = 200;
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let (address, mut events) = silent().await;
        let well = echo("well").await;
        let slow = Deployed { slots: 4, ..Deployed::one("blue", owner, 10 * version, address) };
        let quick = Deployed::one("green", owner, 10 * version + 1, well);
        let route = endpoint("fraud", &[("blue", 100)], vec![slow.publish("fraud"), quick.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let caller = tokio::spawn(open(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")));
        assert_eq!(within(events.recv()).await, Some("came"));
        caller.abort();
        let mut heard_before = None;
        for turn in 0..LATER {
            let request = with(post("/e/fraud/score", "x"), &[("x-berth-deployment", "green")]);
            assert_eq!(call(n1.mesh.ingress_addr(), request).await.0.status, 200);
            if events.try_recv() == Ok("gone") {
                heard_before = Some(turn);
                break;
            }
        }
        assert!(heard_before.is_some(), "at node {}", owner.id);
    }
}

/// A stream of HTTP/2 that its caller resets, on a connection that goes on.
#[tokio::test]
async fn a_reset_stream_ends_its_own_work_and_no_other() {
    let n1 = node(1);
    let (address, mut events) = silent().await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let mut say = || sender.send_request(post("http://any/e/fraud/score", "body"));
    let (first, second) = (tokio::spawn(say()), tokio::spawn(say()));
    for _ in 0..2 {
        assert_eq!(within(events.recv()).await, Some("came"));
    }
    first.abort();
    assert_eq!(within(events.recv()).await, Some("gone"));
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 1).await;
    assert!(!second.is_finished());
}

#[tokio::test]
async fn a_stream_holds_its_slot_until_its_last_event() {
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let (events, stream) = mpsc::channel::<Frame<Bytes>>(1);
        // The first request gets the stream, later ones a word.
        let stream = Arc::new(Mutex::new(Some(stream)));
        let address = backend(move |_request| {
            let stream = stream.lock().expect("no panic").take();
            let mut response = Response::new(stream.map_or_else(|| body_of("late"), stream_of));
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            std::future::ready(response)
        })
        .await;
        route(&n1, owner, version, 1, address);
        let ingress = n1.mesh.ingress_addr();
        let mut answer = within(open(ingress, post("/e/fraud/events", ""))).await;
        for _ in 0..3 {
            events.send(Frame::data(Bytes::from_static(b"data: 1\n\n"))).await.expect("a reader");
            within(answer.frame()).await.expect("an event").expect("no error");
            assert_eq!(owner.mesh.gate_in_flight(ReplicaId(version)), 1);
            let (parts, _) = call(ingress, post("/e/fraud/events", "")).await;
            assert_eq!(parts.status, 429, "the one slot is taken by the stream");
        }
        drop(events);
        while within(answer.frame()).await.is_some() {}
        until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0).await;
        let (parts, _) = call(ingress, post("/e/fraud/events", "")).await;
        assert_eq!(parts.status, 200);
    }
}

#[tokio::test]
async fn a_node_that_takes_the_connection_and_ends_was_sent_nothing() {
    let (n1, n2) = (node(1), node(2));
    // What is left of a node that is about to end: its listener, and then not even that.
    let ending = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let deployed = Deployed {
        replicas: [1, 2].map(|id| Placed { node: &n2, id, address: SocketAddr::from(([127, 0, 0, 1], 9)) }).into(),
        ..Deployed::one("blue", &n2, 1, ending.local_addr().expect("an address"))
    };
    let mut blue = deployed.publish("fraud");
    let well = Placed { node: &n2, id: 2, address: echo("well").await };
    n2.mesh.publish_local(ReplicaId(2), deployed.local("fraud", &well, LocalState::Open));
    blue.replicas[0].node = NodeId(3);
    blue.replicas[0].gate_address = ending.local_addr().expect("an address").to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = ending.accept().await {
            counted.fetch_add(1, Relaxed);
            // Closed with all that was sent on it unread: the peer is told by a reset.
            let _ = stream.readable().await;
        }
    });
    let mut route = endpoint("fraud", &[("blue", 100)], vec![blue]);
    route.idempotent = Some(false);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    for turn in 0..100 {
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/any", "body")).await;
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"well:body"[..]), "request {turn}");
    }
    assert!(taken.load(Relaxed) > 0, "it was connected to");
}

/// A replica that says how long it was told to have, once it may.
async fn tells_its_time(release: Arc<Semaphore>) -> SocketAddr {
    backend(move |request| {
        let release = release.clone();
        async move {
            release.acquire().await.expect("open").forget();
            let said =
                |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().expect("text")).to_owned();
            Response::new(body_of(format!("{} {}", said("x-request-timeout-ms"), said("grpc-timeout"))))
        }
    })
    .await
}

/// At the gate of this node and at another's.
#[tokio::test]
async fn a_replica_hears_what_is_left_of_the_time() {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    const INFER: &str = "/e/fraud/inference.GRPCInferenceService/ModelInfer";
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let release = Arc::new(Semaphore::new(0));
        let address = tells_its_time(release.clone()).await;
        let deployed = Deployed {
            slots: 1,
            timeout_ms: 200_000,
            queue_ms: 200_000,
            ..Deployed::one("blue", owner, version, address)
        };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        for (path, headers, expected, why) in [
            ("/e/fraud/score", &[][..], (Some(200_000), None), "the deployment's limit"),
            ("/e/fraud/score", &[("x-request-timeout-ms", "150000")], (Some(150_000), None), "the caller's"),
            ("/e/fraud/score", &[("x-request-timeout-ms", "900000")], (Some(200_000), None), "the shorter one"),
            (INFER, &[GRPC], (None, Some(200_000)), "the limit, of a call with one answer"),
            (INFER, &[GRPC, ("grpc-timeout", "2M")], (None, Some(120_000)), "the caller's"),
            (INFER, &[GRPC, ("x-request-timeout-ms", "150000")], (None, Some(150_000)), "in gRPC's word alone"),
            ("/e/fraud/echo.Echo/Say", &[GRPC], (None, None), "what may be a stream has no end"),
            ("/e/fraud/echo.Echo/Say", &[GRPC, ("grpc-timeout", "5M")], (None, Some(300_000)), "but its caller's"),
        ] {
            // It waits behind another one, for a time that is long enough to be told of.
            let ingress = n1.mesh.ingress_addr();
            let first = tokio::spawn(call(ingress, post("/e/fraud/score", "")));
            until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 1).await;
            let waiting = tokio::spawn(call(ingress, with(post(path, ""), headers)));
            until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 2).await;
            let since = std::time::Instant::now();
            until(|| since.elapsed() > Duration::from_millis(20)).await;
            release.add_permits(2);
            first.await.expect("an answer");
            let (parts, body) = waiting.await.expect("an answer");
            let queued: u64 = header(&parts, "x-berth-queue-ms").parse().expect("milliseconds");
            assert!(queued >= 20, "{queued}");
            let text = str::from_utf8(&body).expect("text");
            let (http, grpc) = text.split_once(' ').expect("two");
            let told =
                |text: &str| (text != "-").then(|| text.trim_end_matches('m').parse::<u64>().expect("milliseconds"));
            for (told, all) in [(told(http), expected.0), (told(grpc), expected.1)] {
                assert_eq!(told.is_some(), all.is_some(), "{why}: {text}");
                // As long again is granted to a machine that is busy.
                let (told, all) = (told.unwrap_or_default(), all.unwrap_or_default());
                assert!(told + queued <= all.max(queued) && told >= all / 2, "{why}: {text} of {all} after {queued}");
            }
        }
    }
}

/// A caller that sends a head and then nothing, or a byte now and then.
#[tokio::test]
async fn a_body_that_does_not_come_holds_no_slot() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.body_patience = Duration::from_millis(200);
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    let (n1, n2) = (Node { mesh, id: NodeId(1), dir }, node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        // No deadline ends it within the time a test may take.
        let deployed =
            Deployed { slots: 1, timeout_ms: 600_000, ..Deployed::one("blue", owner, version, echo("well").await) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        for trickles in [false, true] {
            let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
            let head = "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\nabc";
            stream.write_all(head.as_bytes()).await.expect("sent");
            let (mut reader, mut writer) = stream.into_split();
            let trickle = tokio::spawn(async move {
                while trickles && writer.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                writer
            });
            let mut answer = [0; 12];
            within(reader.read_exact(&mut answer)).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 408", "{trickles} at node {}", owner.id);
            until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0).await;
            trickle.abort();
        }
        // One that comes steadily takes as long as it takes.
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"well:body"[..]));
    }
}

#[tokio::test]
async fn what_waits_is_shown_and_for_how_long() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut registry = Registry::default();
    let mesh = Mesh::start(options(1, &dir), &mut registry).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    let release = Arc::new(Semaphore::new(0));
    simple(&n1, &Deployed { slots: 1, ..Deployed::one("blue", &n1, 1, tells_its_time(release.clone()).await) });
    let ingress = n1.mesh.ingress_addr();
    let shown = |line: &str| {
        let mut text = String::new();
        encode(&mut text, &registry).expect("metrics");
        let found = text.lines().filter(|shown| shown.starts_with(line));
        let number =
            found.map(|shown| shown.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN));
        number.sum::<f64>()
    };
    let mut calls = vec![tokio::spawn(call(ingress, post("/e/fraud/score", "")))];
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 1).await;
    assert_eq!((shown("berth_mesh_gate_in_flight{"), shown("berth_mesh_gate_waiting{")), (1.0, 0.0));
    calls.push(tokio::spawn(call(ingress, post("/e/fraud/score", ""))));
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 2).await;
    assert_eq!((shown("berth_mesh_gate_in_flight{"), shown("berth_mesh_gate_waiting{")), (2.0, 1.0));
    assert_eq!(call(ingress, post("/e/fraud/score", "")).await.0.status, 429);
    let since = std::time::Instant::now();
    until(|| since.elapsed() > Duration::from_millis(20)).await;
    release.add_permits(2);
    for answered in calls {
        assert_eq!(within(answered).await.expect("an answer").0.status, 200);
    }
    assert_eq!((shown("berth_mesh_gate_in_flight{"), shown("berth_mesh_gate_waiting{")), (0.0, 0.0));
    let of = |series: &str| shown(&format!("berth_mesh_{series}"));
    assert_eq!(of("queue_wait_seconds_count{"), 3.0, "two of whom did not wait");
    assert!(of("queue_wait_seconds_sum{") >= 0.02);
    let classed =
        |class: &str| of(&format!("duration_seconds_count{{endpoint=\"fraud\",deployment=\"blue\",status=\"{class}\""));
    assert_eq!((classed("2xx"), classed("4xx"), classed("5xx")), (2.0, 1.0, 0.0));
}

#[tokio::test]
async fn each_replica_tells_what_it_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut registry = Registry::default();
    let mesh = Mesh::start(options(1, &dir), &mut registry).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    let ill = backend(|_| async {
        let mut response = Response::new(body_of(""));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
    .await;
    let (held, well) = (Arc::new(Semaphore::new(0)), echo("well").await);
    let silent = tells_its_time(held.clone()).await;
    let routes = [("well", 1, well), ("ill", 2, ill), ("silent", 3, silent)].map(|(name, id, address)| {
        endpoint(name, &[("blue", 100)], vec![Deployed::one("blue", &n1, id, address).publish(name)])
    });
    n1.mesh.apply_table(full(1, routes.into())).expect("a table");
    let ingress = n1.mesh.ingress_addr();
    for _ in 0..3 {
        assert_eq!(call(ingress, post("/e/well/score", "")).await.0.status, 200);
    }
    assert_eq!(call(ingress, post("/e/ill/score", "")).await.0.status, 424);
    let caller = tokio::spawn(open(ingress, post("/e/silent/score", "")));
    until(|| n1.mesh.gate_in_flight(ReplicaId(3)) == 1).await;
    let since = std::time::Instant::now();
    until(|| since.elapsed() > Duration::from_millis(20)).await;
    caller.abort();
    // The last byte of an answer is seen before its slot is free.
    until(|| (1..=3).all(|id| n1.mesh.gate_in_flight(ReplicaId(id)) == 0)).await;
    let shown = || {
        let mut text = String::new();
        encode(&mut text, &registry).expect("metrics");
        text
    };
    let text = shown();
    let told: Vec<_> = text.lines().filter(|line| line.starts_with("berth_mesh_replica_answers_total{")).collect();
    let row = |endpoint: &str, id: u64, class: &str, count: u32| {
        let labels = format!("endpoint=\"{endpoint}\",deployment=\"blue\",replica=\"{}\"", ReplicaId(id));
        format!("berth_mesh_replica_answers_total{{{labels},status=\"{class}\"}} {count}")
    };
    let expected = [
        row("well", 1, "2xx", 3),
        row("ill", 2, "2xx", 0),
        row("ill", 2, "5xx", 1),
        row("silent", 3, "2xx", 0),
        row("silent", 3, "none", 1),
    ];
    assert_eq!(told, expected);
    let held = text.lines().find(|line| line.starts_with("berth_mesh_replica_held_seconds_total{endpoint=\"silent\""));
    let seconds: f64 = held.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number");
    assert!(seconds >= 0.019, "{seconds}");
    assert_eq!(text.matches("berth_mesh_replica_state{").count(), 3, "{text}");
    assert!(text.contains(&format!("replica=\"{}\",state=\"serving\"}} 1", ReplicaId(1))), "{text}");
    // What is gone has no series: they are bounded by what a node holds.
    n1.mesh.withdraw_local(ReplicaId(1));
    assert!(!shown().contains("berth_mesh_replica_answers_total{endpoint=\"well\""));
}
