//! Mirrors are compared with the primary, and nothing they do reaches the caller.

use std::{net::SocketAddr, sync::Arc};

use berth_core::{model::MirrorRules, traffic::table::EndpointRoute};
use berth_node::mesh::{Mesh, MeshHandle};
use berth_proto::node::v1::MirrorTally;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};

use crate::mesh_stream::stream_of;
use crate::mesh_support::{
    Body, Deployed, Node, attempts, backend, body_of, call, counters, echo, endpoint, full, header, node, open,
    options, shares, until, within,
};

/// A model that scores the number it is sent, off by half of it where `wrong` says so.
async fn model(wrong: fn(u64) -> bool) -> SocketAddr {
    backend(move |request: Request<Incoming>| async move {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let number: u64 = str::from_utf8(&body).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let score = number as f64 * if wrong(number) { 0.75 } else { 0.5 };
        json(format!(r#"{{"score": {score:.3}, "took_ms": {}}}"#, if wrong(1) { 9 } else { number % 5 }))
    })
    .await
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(body_of(text));
    response.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    response
}

fn ask(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/e/fraud/score").header("host", "any").body(Full::new(body.into())).expect("a request")
}

/// `blue` answers callers; each of the others gets a copy of every request.
fn mirrored(node: &Node, blue: SocketAddr, mirrors: &[Deployed<'_>]) -> EndpointRoute {
    let mut deployments = vec![Deployed::one("blue", node, 1, blue).publish("fraud")];
    deployments.extend(mirrors.iter().map(|mirror| mirror.publish("fraud")));
    let mut route = endpoint("fraud", &[("blue", 100)], deployments);
    route.max_body_bytes = 64 << 20;
    route.mirror = shares(&mirrors.iter().map(|mirror| (mirror.name, 100)).collect::<Vec<_>>());
    route
}

fn tally(mesh: &MeshHandle, mirror: &str) -> MirrorTally {
    let tallies = mesh.mirror_verdicts("fraud");
    tallies.into_iter().find(|tally| tally.mirror == mirror).unwrap_or_default()
}

fn counted(tally: &MirrorTally) -> u64 {
    let all = [&tally.mismatched, &tally.unjudged, &tally.missed];
    tally.matched + all.into_iter().flat_map(|counts| counts.values()).sum::<u64>()
}

#[tokio::test]
async fn a_mirror_that_is_wrong_once_in_a_hundred_is_told_to_be() {
    /// Requests before the copies of all of them are waited for; with two mirrors, fewer than a node sends at once.
    const AHEAD: u64 = 100;
    let (n1, n2) = (node(1), node(2));
    let (blue, right) = (model(|_| false).await, model(|_| false).await);
    let wrong = model(|number| number % 100 == 37).await;
    // As many slots as there are copies under way at most: none is missed, however late a mirror is.
    let mirror = |name, node, id, model| Deployed { slots: AHEAD as u32, ..Deployed::one(name, node, id, model) };
    let mut route = mirrored(&n1, blue, &[mirror("green", &n1, 2, wrong), mirror("red", &n2, 3, right)]);
    route.mirror_rules = MirrorRules { ignore: vec!["took_ms".into()], ..MirrorRules::default() };
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    for number in 0..1_000_u64 {
        let (parts, body) = call(n1.mesh.ingress_addr(), ask(number.to_string())).await;
        let alone = format!(r#"{{"score": {:.3}, "took_ms": {}}}"#, number as f64 * 0.5, number % 5);
        assert_eq!((parts.status.as_u16(), header(&parts, "azureml-model-deployment")), (200, "blue"));
        assert_eq!(body, alone, "the caller's bytes are the primary's");
        if (number + 1) % AHEAD == 0 {
            until(|| ["green", "red"].iter().all(|mirror| counted(&tally(&n1.mesh, mirror)) == number + 1)).await;
        }
    }
    let green = tally(&n1.mesh, "green");
    assert_eq!((green.matched, green.mismatched.get("value")), (990, Some(&10)), "{green:?}");
    let worst = &green.worst[0];
    assert_eq!((worst.place.as_str(), worst.places, worst.off_ppb), ("score", 1, 500_000_000));
    assert!(green.worst.len() <= 8 && !worst.request_id.is_empty());
    let found = n1.mesh.find_request(&worst.request_id).expect("it is remembered");
    assert_eq!(found.mirrors, ["green", "red"]);
    assert_eq!(found.mirror_verdicts[0], "mismatch");
    let red = tally(&n1.mesh, "red");
    assert_eq!((red.mismatched.len(), red.matched), (0, 1_000), "through a gate: {red:?}");
    assert_eq!(red.primary_took.values().sum::<u64>(), red.mirror_took.values().sum::<u64>());
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_stalled_changes_nothing_and_is_not_waited_for() {
    let n1 = node(1);
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let stalled = silent.local_addr().expect("an address");
    // It answers once it may: after all callers have theirs.
    let release = Arc::new(Semaphore::new(0));
    let hold = release.clone();
    let slow = backend(move |_| {
        let hold = hold.clone();
        async move {
            hold.acquire().await.expect("open").forget();
            json("[1.0]".to_owned())
        }
    })
    .await;
    let blue = backend(|_| async { json("[1.0]".to_owned()) }).await;
    let mirrors = [
        Deployed::one("dead", &n1, 2, dead),
        Deployed { slots: 16, timeout_ms: 60_000, ..Deployed::one("slow", &n1, 3, slow) },
        Deployed { slots: 2, timeout_ms: 300, ..Deployed::one("stalled", &n1, 4, stalled) },
    ];
    n1.mesh.apply_table(full(1, vec![mirrored(&n1, blue, &mirrors)])).expect("a table");
    for _ in 0..16 {
        let (parts, body) = call(n1.mesh.ingress_addr(), ask("x")).await;
        assert_eq!((parts.status.as_u16(), body.as_ref()), (200, b"[1.0]".as_slice()));
        assert_eq!(attempts(&parts), 1);
    }
    // Nothing of the slow one was answered when every caller had its answer: nobody waited for it.
    assert_eq!(counters(&n1, "slow").mirrored, 0);
    until(|| counted(&tally(&n1.mesh, "dead")) == 16).await;
    assert_eq!(tally(&n1.mesh, "dead").missed.keys().collect::<Vec<_>>(), ["broken"]);
    until(|| counted(&tally(&n1.mesh, "stalled")) == 16).await;
    let missed = tally(&n1.mesh, "stalled").missed;
    assert!(missed["timeout"] >= 2 && missed.keys().all(|why| ["refused", "timeout"].contains(&&**why)), "{missed:?}");
    release.add_permits(16);
    until(|| tally(&n1.mesh, "slow").matched == 16).await;
}

#[tokio::test]
async fn a_large_body_is_copied_whole_and_one_that_finds_no_room_is_counted() {
    // Sockets take some megabytes by themselves; what is beyond those has to fit into the room.
    for (large, room, outcome) in [(4 << 20, 8 << 20, "match"), (32 << 20, 1 << 20, "behind")] {
        let body = Bytes::from((0..large).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        let dir = tempfile::tempdir().expect("a folder");
        let mut options = options(1, &dir);
        options.limits.copy_bytes = room;
        let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
        let n1 = Node { mesh, id: berth_core::id::NodeId(1), dir };
        // It reads nothing until the caller has the whole answer.
        let release = Arc::new(Semaphore::new(0));
        let hold = release.clone();
        let late = backend(move |request: Request<Incoming>| {
            let hold = hold.clone();
            async move {
                hold.acquire().await.expect("open").forget();
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Response::new(body_of([b"blue:", body.as_ref()].concat()))
            }
        })
        .await;
        let route = mirrored(&n1, echo("blue").await, &[Deployed::one("late", &n1, 2, late)]);
        let route = EndpointRoute { mirror_rules: MirrorRules::default(), ..route };
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        let (parts, answer) = call(n1.mesh.ingress_addr(), ask(body.clone())).await;
        assert_eq!((parts.status.as_u16(), answer.len()), (200, large + 5));
        release.add_permits(1);
        until(|| counted(&tally(&n1.mesh, "late")) == 1).await;
        let tally = tally(&n1.mesh, "late");
        // The answers are longer than what is kept of one: all of their bytes are compared by a checksum.
        match outcome {
            "match" => assert_eq!(tally.matched, 1, "{tally:?}"),
            why => assert_eq!(tally.missed, [(why.to_owned(), 1)].into(), "{tally:?}"),
        }
    }
}

#[tokio::test]
async fn a_live_deployment_may_be_a_mirror_and_keeps_a_slot_for_callers() {
    let n1 = node(1);
    let release = Arc::new(Semaphore::new(0));
    let hold = release.clone();
    let green = backend(move |request: Request<Incoming>| {
        let hold = hold.clone();
        async move {
            if request.headers().contains_key("x-berth-mirror") {
                hold.acquire().await.expect("open").forget();
            }
            json("[2.0]".to_owned())
        }
    })
    .await;
    let blue = backend(|_| async { json("[1.0]".to_owned()) }).await;
    let deployments = vec![
        Deployed::one("blue", &n1, 1, blue).publish("fraud"),
        Deployed { slots: 3, queue_ms: 0, ..Deployed::one("green", &n1, 2, green) }.publish("fraud"),
    ];
    let mut route = endpoint("fraud", &[("blue", 50), ("green", 50)], deployments);
    route.mirror = shares(&[("green", 100)]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    // Copies hang in green, and still every caller of green finds a slot at once.
    for _ in 0..20 {
        let (parts, body) = call(n1.mesh.ingress_addr(), ask("x")).await;
        let expected = if header(&parts, "azureml-model-deployment") == "green" { "[2.0]" } else { "[1.0]" };
        assert_eq!((parts.status.as_u16(), body.as_ref()), (200, expected.as_bytes()));
    }
    until(|| tally(&n1.mesh, "green").missed.get("refused") == Some(&8)).await;
    release.add_permits(2);
    until(|| tally(&n1.mesh, "green").mismatched.get("value") == Some(&2)).await;
    assert_eq!(counted(&tally(&n1.mesh, "green")), 10, "what green answered itself is not copied to it");
}

#[tokio::test]
async fn what_the_caller_did_not_get_is_not_judged() {
    let n1 = node(1);
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let green = backend(|_| async { json("[1.0]".to_owned()) }).await;
    n1.mesh.apply_table(full(1, vec![mirrored(&n1, dead, &[Deployed::one("green", &n1, 2, green)])])).expect("a table");
    let (parts, _) = within(call(n1.mesh.ingress_addr(), ask("x"))).await;
    assert_ne!(parts.status.as_u16(), 200);
    until(|| counted(&tally(&n1.mesh, "green")) == 1).await;
    let green = tally(&n1.mesh, "green");
    assert!(green.unjudged.contains_key("no-primary") || green.missed.contains_key("cut"), "{green:?}");
}

/// At a gate of this node and at another's.
#[tokio::test]
async fn what_nobody_takes_is_not_copied() {
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1_u64), (&n2, 2)] {
        let release = Arc::new(Semaphore::new(0));
        let hold = release.clone();
        let blue = backend(move |_| {
            let hold = hold.clone();
            async move {
                hold.acquire().await.expect("open").forget();
                json("[1.0]".to_owned())
            }
        })
        .await;
        let green = backend(|_| async { json("[1.0]".to_owned()) }).await;
        let blue = Deployed { slots: 1, queue_ms: 0, ..Deployed::one("blue", owner, 10 * version, blue) };
        let green = Deployed::one("green", &n1, 10 * version + 1, green);
        let mut route = endpoint("fraud", &[("blue", 100)], vec![blue.publish("fraud"), green.publish("fraud")]);
        route.mirror = shares(&[("green", 100)]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let before = counted(&tally(&n1.mesh, "green"));
        let ingress = n1.mesh.ingress_addr();
        let running = tokio::spawn(call(ingress, ask("x")));
        until(|| owner.mesh.gate_in_flight(berth_core::id::ReplicaId(10 * version)) == 1).await;
        for _ in 0..20 {
            let (parts, _) = call(ingress, ask("x")).await;
            assert_eq!(parts.status, 429);
            let found = n1.mesh.find_request(header(&parts, "x-request-id")).expect("it is remembered");
            assert!(found.mirrors.is_empty(), "{:?}", found.mirrors);
        }
        // The next one is taken, and copied behind all that came before it.
        release.add_permits(2);
        assert_eq!(running.await.expect("an answer").0.status, 200);
        until(|| owner.mesh.in_flight().is_empty()).await;
        assert_eq!(call(ingress, ask("x")).await.0.status, 200);
        until(|| counted(&tally(&n1.mesh, "green")) >= before + 2).await;
        assert_eq!(counted(&tally(&n1.mesh, "green")), before + 2, "those that were answered, at node {}", owner.id);
    }
}

/// A body that is longer than what is kept before anybody has taken it, to a replica behind another gate.
#[tokio::test]
async fn a_large_body_is_copied_while_another_gate_reads_it() {
    const LARGE: usize = 24 << 20;
    let (n1, n2) = (node(1), node(2));
    let (blue, green) = (echo("same").await, echo("same").await);
    let deployments = [("blue", &n2, 1, blue), ("green", &n1, 2, green)]
        .map(|(name, node, id, address)| Deployed::one(name, node, id, address).publish("fraud"));
    let mut route = endpoint("fraud", &[("blue", 100)], deployments.into());
    route.max_body_bytes = 64 << 20;
    route.mirror = shares(&[("green", 100)]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let body = Bytes::from((0..LARGE).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let (parts, answer) = call(n1.mesh.ingress_addr(), ask(body)).await;
    assert_eq!((parts.status.as_u16(), answer.len()), (200, LARGE + 5));
    until(|| counted(&tally(&n1.mesh, "green")) == 1).await;
    assert_eq!(tally(&n1.mesh, "green").matched, 1, "{:?}", tally(&n1.mesh, "green"));
}

/// Says an event for each time it may.
async fn events(may: &Arc<Semaphore>, says: &'static str) -> SocketAddr {
    let may = may.clone();
    backend(move |request: Request<Incoming>| {
        let may = may.clone();
        async move {
            let _ = request.into_body().collect().await;
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for number in 0..EVENTS {
                    may.acquire().await.expect("open").forget();
                    if sender.send(Frame::data(event(number, says))).await.is_err() {
                        return;
                    }
                }
            });
            let mut response = Response::new(stream_of(receiver));
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            response
        }
    })
    .await
}

/// Events of a stream, words of a conversation.
const EVENTS: usize = 5;

fn event(number: usize, says: &str) -> Bytes {
    format!("data: {{\"token\": \"{says} {number}\"}}\n\n").into()
}

/// Mirrors that are right, wrong, dead and stalled, each with all it is sent; `blue` is on `owner`.
async fn beside<'a>(n1: &'a Node, owner: &'a Node, blue: SocketAddr, right: SocketAddr, wrong: SocketAddr, first: u64) {
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let stalled = silent.local_addr().expect("an address");
    tokio::spawn(async move {
        let _open = silent;
        std::future::pending::<()>().await
    });
    let mirror = |name, id, model| Deployed::one(name, n1, first + id, model);
    let mirrors = [
        mirror("right", 1, right),
        mirror("wrong", 2, wrong),
        mirror("dead", 3, dead),
        Deployed { timeout_ms: 300, ..mirror("stalled", 4, stalled) },
    ];
    let mut route = mirrored(n1, blue, &mirrors);
    route.deployments[0] = Deployed::one("blue", owner, first, blue).publish("fraud");
    n1.mesh.apply_table(full(first, vec![route])).expect("a table");
}

/// Waits until every mirror's one copy is counted, and says what as.
async fn outcomes(n1: &Node) -> Vec<(&'static str, u64, String)> {
    let mut outcomes = Vec::new();
    for mirror in ["right", "wrong", "dead", "stalled"] {
        until(|| counted(&tally(&n1.mesh, mirror)) == 1).await;
        let tally = tally(&n1.mesh, mirror);
        let all = [&tally.mismatched, &tally.unjudged, &tally.missed];
        outcomes.push((mirror, tally.matched, all.into_iter().flat_map(|why| why.keys().cloned()).collect()));
    }
    outcomes
}

#[tokio::test]
async fn a_stream_of_events_flows_as_if_no_mirror_heard_it() {
    for remote in [false, true] {
        let (n1, n2) = (node(1), node(2));
        let owner = if remote { &n2 } else { &n1 };
        let may = Arc::new(Semaphore::new(0));
        let at_will = Arc::new(Semaphore::new(100));
        let (blue, right) = (events(&may, "said").await, events(&at_will, "said").await);
        beside(&n1, owner, blue, right, events(&at_will, "lied").await, 1).await;
        let answer = within(open(n1.mesh.ingress_addr(), ask("go"))).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut body = answer.into_body();
        // The next is not made before this one is here.
        for number in 0..EVENTS {
            may.add_permits(1);
            let frame = within(body.frame()).await.expect("an event").expect("no error");
            assert_eq!(frame.into_data().expect("data"), event(number, "said"));
        }
        assert!(within(body.frame()).await.is_none(), "and nothing else");
        let told = outcomes(&n1).await;
        let expected = [("right", 1, ""), ("wrong", 0, "value"), ("dead", 0, "broken"), ("stalled", 0, "timeout")];
        assert_eq!(told, expected.map(|(mirror, matched, why)| (mirror, matched, why.to_owned())));
    }
}

/// Says back what it hears, word by word, and a status.
async fn talker(says: fn(Bytes) -> Bytes) -> SocketAddr {
    backend(move |request: Request<Incoming>| async move {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data()
                    && sender.send(Frame::data(says(data))).await.is_err()
                {
                    return;
                }
            }
            let status = (http::HeaderName::from_static("grpc-status"), "0".parse().expect("a value"));
            let _ = sender.send(Frame::trailers(HeaderMap::from_iter([status]))).await;
        });
        let mut response = Response::new(stream_of(receiver));
        response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
        response
    })
    .await
}

fn word(number: usize) -> Bytes {
    let text = format!("word {number}");
    [&[0, 0, 0, 0, text.len() as u8][..], text.as_bytes()].concat().into()
}

#[tokio::test]
async fn a_conversation_goes_to_and_fro_as_if_no_mirror_heard_it() {
    for remote in [false, true] {
        let (n1, n2) = (node(1), node(2));
        let owner = if remote { &n2 } else { &n1 };
        let (blue, right) = (talker(|word| word).await, talker(|word| word).await);
        let wrong = talker(|word| word.iter().map(|byte| byte.saturating_sub(u8::from(*byte == b'2'))).collect()).await;
        beside(&n1, owner, blue, right, wrong, 1).await;
        let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let (say, receiver) = mpsc::channel(1);
        let request = Request::post("http://any/echo.Echo/Talk")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-berth-endpoint", "fraud")
            .body(stream_of(receiver))
            .expect("a request");
        let mut hear = within(client.send_request(request)).await.expect("an answer").into_body();
        // The next word is said when this one has come back.
        for number in 0..EVENTS {
            say.send(Frame::data(word(number))).await.expect("the stream is open");
            let frame = within(hear.frame()).await.expect("a word").expect("no error");
            assert_eq!(frame.into_data().expect("data"), word(number));
        }
        drop(say);
        let last = within(hear.frame()).await.expect("trailers").expect("no error");
        assert_eq!(last.into_trailers().expect("trailers")["grpc-status"], "0");
        let told = outcomes(&n1).await;
        let expected = [("right", 1, ""), ("wrong", 0, "text"), ("dead", 0, "broken"), ("stalled", 0, "timeout")];
        assert_eq!(told, expected.map(|(mirror, matched, why)| (mirror, matched, why.to_owned())));
    }
}

/// Answers inference calls with as many floats, each off by a share of itself and a little; as bytes where there are many.
async fn tensors(count: usize, off: f32) -> SocketAddr {
    backend(move |_| async move {
        let values: Vec<f32> = (0..count).map(|at| at as f32 * (1.0 + off) + off / 1_000.0).collect();
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (data, raw) = match count {
            0..100 => (format!(r#""data":{values:?}"#), Vec::new()),
            _ => (format!(r#""parameters":{{"binary_data_size":{}}}"#, raw.len()), raw),
        };
        let head = format!(r#"{{"outputs":[{{"name":"y","datatype":"FP32","shape":[{count}],{data}}}]}}"#);
        let mut response = Response::new(body_of([head.as_bytes(), &raw].concat()));
        let headers = response.headers_mut();
        headers.insert(
            "content-type",
            if raw.is_empty() { "application/json" } else { "application/octet-stream" }.parse().expect("a value"),
        );
        if !raw.is_empty() {
            headers.insert("inference-header-content-length", head.len().into());
        }
        response
    })
    .await
}

/// Of a few numbers in JSON, and of four megabytes of them.
#[tokio::test]
async fn outputs_of_models_are_the_same_within_the_tolerance() {
    let near_enough = MirrorRules { rtol_ppb: 1_000_000, atol_ppb: 1_000, ..MirrorRules::default() };
    let exact = MirrorRules { rtol_ppb: 0, atol_ppb: 0, redact: true, ..MirrorRules::default() };
    for (count, rules, near_is) in
        [(4, &near_enough, "match"), (1 << 20, &near_enough, "match"), (4, &exact, "value"), (1 << 20, &exact, "value")]
    {
        let n1 = node(1);
        let (blue, near, far) = (tensors(count, 0.0).await, tensors(count, 5e-4).await, tensors(count, 1e-2).await);
        let mirrors = [Deployed::one("near", &n1, 2, near), Deployed::one("far", &n1, 3, far)];
        let route = EndpointRoute { mirror_rules: rules.clone(), ..mirrored(&n1, blue, &mirrors) };
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        let request = Request::post("/v2/models/fraud/infer").header("host", "any");
        let request = request.body(Full::new(Bytes::from_static(b"{}"))).expect("a request");
        assert_eq!(call(n1.mesh.ingress_addr(), request).await.0.status, 200);
        until(|| ["near", "far"].iter().all(|mirror| counted(&tally(&n1.mesh, mirror)) == 1)).await;
        let (near, far) = (tally(&n1.mesh, "near"), tally(&n1.mesh, "far"));
        let is =
            if near.matched == 1 { "match" } else { near.mismatched.keys().next().map_or("not judged", |kind| kind) };
        assert_eq!(is, near_is, "{count} numbers, {rules:?}: {near:?}");
        assert_eq!(far.mismatched.get("value"), Some(&1), "{far:?}");
        let worst = &far.worst[0];
        assert_eq!((&*worst.place, worst.places as usize), ("outputs.y[0]", count.min(100_000)));
        let shown = if rules.redact { ("(kept back)", "(kept back)") } else { ("0", "0.0000") };
        assert!(worst.expected == shown.0 && worst.got.starts_with(shown.1), "{worst:?}");
    }
}

/// Whatever was kept of them.
#[tokio::test]
async fn large_texts_are_judged_to_the_last_byte() {
    const LARGE: usize = 3 << 20;
    let says = async |last: &'static str| {
        backend(move |_| async move {
            let mut response = Response::new(body_of(["x".repeat(LARGE), last.to_owned()].concat()));
            response.headers_mut().insert("content-type", "text/plain".parse().expect("a value"));
            response
        })
        .await
    };
    let n1 = node(1);
    let (blue, right, wrong) = (says("yes").await, says("yes").await, says("yet").await);
    let mirrors = [Deployed::one("right", &n1, 2, right), Deployed::one("wrong", &n1, 3, wrong)];
    n1.mesh.apply_table(full(1, vec![mirrored(&n1, blue, &mirrors)])).expect("a table");
    assert_eq!(call(n1.mesh.ingress_addr(), ask("x")).await.0.status, 200);
    until(|| ["right", "wrong"].iter().all(|mirror| counted(&tally(&n1.mesh, mirror)) == 1)).await;
    assert_eq!(tally(&n1.mesh, "right").matched, 1);
    let wrong = tally(&n1.mesh, "wrong");
    assert_eq!(wrong.mismatched.get("text"), Some(&1), "{wrong:?}");
    assert!(wrong.worst[0].place.starts_with("behind byte "), "{wrong:?}");
}

/// As Azure has it, unless the endpoint says otherwise.
#[tokio::test]
async fn who_names_a_deployment_is_copied_only_where_the_endpoint_says_so() {
    for (pinned, copies) in [(false, 1), (true, 2)] {
        let n1 = node(1);
        let [blue, green] = [(); 2].map(|()| backend(|_| async { json("[1.0]".to_owned()) }));
        let (blue, green) = (blue.await, green.await);
        let route = mirrored(&n1, blue, &[Deployed::one("green", &n1, 2, green)]);
        let route = EndpointRoute { mirror_rules: MirrorRules { pinned, ..MirrorRules::default() }, ..route };
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        for named in [true, false] {
            let mut request = ask("x");
            if named {
                request.headers_mut().insert("azureml-model-deployment", "blue".parse().expect("a value"));
            }
            let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
            let found = n1.mesh.find_request(header(&parts, "x-request-id")).expect("it is remembered");
            assert_eq!(found.mirrors.len(), usize::from(pinned || !named), "named: {named}");
        }
        until(|| counted(&tally(&n1.mesh, "green")) >= copies).await;
        assert_eq!(tally(&n1.mesh, "green").matched, copies);
    }
}
