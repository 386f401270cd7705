//! Bytes and trailers go through untouched and at once, in both directions, over one hop and two.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use berth_core::{id::ReplicaId, traffic::table::RouteRuntime};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::mesh_support::{
    Body, Deployed, backend, body_of, call, echo, endpoint, full, header, node, open, post, simple, until, within,
};

/// Writes `request` as it is and reads until `answers` heads and a pause-free end were seen.
pub(crate) async fn raw(address: SocketAddr, request: &str, answers: usize) -> String {
    within(async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut got = Vec::new();
        let mut part = [0; 4_096];
        loop {
            let text = String::from_utf8_lossy(&got).into_owned();
            let whole = text.matches("HTTP/1.1 ").count() >= answers && text.matches("\r\n\r\n").count() >= answers;
            if whole && text.ends_with(|last: char| !last.is_whitespace() || last == '\n') {
                return text;
            }
            match stream.read(&mut part).await.expect("read") {
                0 => return text,
                read => got.extend_from_slice(&part[..read]),
            }
        }
    })
    .await
}

pub(crate) fn stream_of(receiver: mpsc::Receiver<Frame<Bytes>>) -> Body {
    let frames = StreamBody::new(ReceiverStream::new(receiver).map(Ok));
    http_body_util::BodyExt::boxed(frames)
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_made() {
    let n1 = node(1);
    let n2 = node(2);
    let next = Arc::new(Notify::new());
    let told = next.clone();
    let address = backend(move |_| {
        let told = told.clone();
        async move {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                    if sender.send(Frame::data(Bytes::from_static(event.as_bytes()))).await.is_err() {
                        return;
                    }
                    told.notified().await;
                }
            });
            let mut response = Response::new(stream_of(receiver));
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            response
        }
    })
    .await;
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let deployed = Deployed::one("blue", owner, version, address);
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let mut answer = open(n1.mesh.ingress_addr(), post("/e/fraud/score", "go")).await.into_body();
        for expected in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            let frame = within(answer.frame()).await.expect("a frame").expect("no error");
            assert_eq!(frame.into_data().expect("data"), expected);
            next.notify_one();
        }
        assert!(within(answer.frame()).await.is_none());
    }
}

#[tokio::test]
async fn a_grpc_conversation_keeps_its_frames_and_trailers_over_two_hops() {
    let n1 = node(1);
    let n2 = node(2);
    let address = backend(|request| async move {
        assert_eq!(request.version(), http::Version::HTTP_2, "gRPC goes over HTTP/2 to the replica");
        assert_eq!(request.headers()["te"], "trailers");
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data()
                    && sender.send(Frame::data(data)).await.is_err()
                {
                    return;
                }
            }
            let trailers = HeaderMap::from_iter([
                (http::HeaderName::from_static("grpc-status"), "0".parse().expect("a value")),
                (http::HeaderName::from_static("x-sum-bin"), "AQID".parse().expect("a value")),
            ]);
            let _ = sender.send(Frame::trailers(trailers)).await;
        });
        let mut response = Response::new(stream_of(receiver));
        response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
        response
    })
    .await;
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let deployed = Deployed::one("blue", owner, version, address);
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let (sender, receiver) = mpsc::channel(1);
        let request = Request::post("http://any/echo.Echo/Say")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-berth-endpoint", "fraud")
            .body(stream_of(receiver))
            .expect("a request");
        let answer = tokio::spawn(client.send_request(request));
        let mut answer = {
            sender.send(Frame::data(Bytes::from_static(b"0"))).await.expect("sent");
            within(answer).await.expect("a task").expect("an answer").into_body()
        };
        // The next frame is sent only after the echo of the last: nothing may be held back anywhere.
        for turn in 0..100_u32 {
            let frame = within(answer.frame()).await.expect("a frame").expect("no error");
            assert_eq!(frame.into_data().expect("data"), turn.to_string());
            if turn < 99 {
                sender.send(Frame::data(Bytes::from((turn + 1).to_string()))).await.expect("sent");
            }
        }
        drop(sender);
        let trailers = within(answer.frame()).await.expect("a frame").expect("no error").into_trailers();
        let trailers = trailers.expect("trailers");
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-sum-bin"]),
            (&"0".parse().unwrap(), &"AQID".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_stock_inference_call_is_routed_by_its_first_message() {
    let n1 = node(1);
    let message: &[u8] = b"\0\0\0\0\x0e\x0a\x05fraud\x12\x05green";
    let mut seen = Vec::new();
    for name in ["blue", "green"] {
        let address = backend(move |request| async move {
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body, message, "the message is passed on as it came");
            let mut response = Response::new(body_of(""));
            response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
            response.headers_mut().insert("grpc-status", "0".parse().expect("a value"));
            response
        })
        .await;
        seen.push((name, address));
    }
    let publish = |(id, (name, address)): (usize, &(&'static str, SocketAddr))| {
        Deployed::one(name, &n1, id as u64, *address).publish("fraud")
    };
    let route = endpoint("fraud", &[("blue", 100)], seen.iter().enumerate().map(publish).collect());
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::post("http://any/inference.GRPCInferenceService/ModelInfer")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from_static(message)))
        .expect("a request");
    let (parts, _) = within(client.send_request(request)).await.expect("an answer").into_parts();
    assert_eq!((header(&parts, "grpc-status"), header(&parts, "azureml-model-deployment")), ("0", "green"));
}

/// Of an endpoint its replica tells how it is, once (`Check`) or with each change (`Watch`), over one hop and two; of itself a
/// router says so when it is asked.
#[tokio::test]
async fn health_is_told_by_the_replica_and_by_the_router_itself() {
    /// `HealthCheckResponse`s that say that it serves, and that it does not.
    const SERVES: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
    const DOES_NOT: &[u8] = &[0, 0, 0, 0, 2, 8, 2];
    let (n1, n2) = (node(1), node(2));
    let (changes, mut changed) = mpsc::unbounded_channel::<mpsc::Sender<Frame<Bytes>>>();
    let address = backend(move |request| {
        let changes = changes.clone();
        async move {
            assert!(request.uri().path().starts_with("/grpc.health.v1.Health/"), "{}", request.uri());
            let watches = request.uri().path().ends_with("/Watch");
            let (sender, receiver) = mpsc::channel(4);
            if watches {
                changes.send(sender).expect("the test is there");
            } else {
                let trailers = HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    "0".parse().expect("a value"),
                )]);
                sender.send(Frame::data(Bytes::from_static(DOES_NOT))).await.expect("room");
                sender.send(Frame::trailers(trailers)).await.expect("room");
            }
            let mut response = Response::new(stream_of(receiver));
            response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
            response
        }
    })
    .await;
    let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut ask = async |call: &str, endpoint: Option<&str>| {
        let request = Request::post(format!("http://any/grpc.health.v1.Health/{call}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = endpoint.into_iter().fold(request, |request, name| request.header("x-berth-endpoint", name));
        let request = request.body(Full::new(Bytes::from_static(&[0; 5]))).expect("a request");
        within(client.send_request(request)).await.expect("an answer")
    };
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let deployed = Deployed::one("blue", owner, version, address);
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let checked = ask("Check", Some("fraud")).await.into_body();
        let checked = within(checked.collect()).await.expect("a whole answer");
        assert_eq!(checked.trailers().expect("trailers")["grpc-status"], "0");
        assert_eq!(checked.to_bytes(), DOES_NOT, "the replica's own word");
        let mut watched = ask("Watch", Some("fraud")).await.into_body();
        let replica = within(changed.recv()).await.expect("it is watched");
        for says in [SERVES, DOES_NOT, SERVES] {
            // The next is said once the last has come.
            replica.send(Frame::data(Bytes::from_static(says))).await.expect("it is watched");
            let frame = within(watched.frame()).await.expect("a frame").expect("no error");
            assert_eq!(frame.into_data().expect("data"), says);
            assert_eq!(owner.mesh.gate_in_flight(ReplicaId(version)), 1, "it goes on");
        }
        drop(watched);
        within(replica.closed()).await;
        until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0).await;
    }
    let own = within(ask("Check", None).await.into_body().collect()).await.expect("a whole answer");
    assert_eq!(own.to_bytes(), SERVES);
    assert_eq!(ask("Watch", None).await.headers()["grpc-status"], "12", "clients take it for one that serves");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_a_head_has_no_body() {
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    let two = "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\none\
               HEAD /e/fraud/score HTTP/1.1\r\nhost: h\r\n\r\n\
               POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 3\r\n\r\ntwo";
    let answer = raw(n1.mesh.ingress_addr(), two, usize::MAX).await;
    let (one, rest) = answer.split_once("blue:one").expect("the first answer");
    assert!(one.starts_with("HTTP/1.1 200") && !rest.contains("blue:one"));
    // Azure's law: a HEAD is an answer like any other, and it ends with its head.
    let (head, last) = rest.split_once("\r\n\r\n").expect("the second answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(last.starts_with("HTTP/1.1 200") && last.ends_with("blue:two"), "{last}");
}

#[tokio::test]
async fn a_caller_that_waits_for_100_gets_it() {
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    within(async {
        let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let head = "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\nconnection: close\r\n\
                    content-length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut got = [0; 25];
        stream.read_exact(&mut got).await.expect("a continue");
        assert_eq!(&got, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"ok").await.expect("sent");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("an answer");
        assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("blue:ok"), "{rest}");
    })
    .await;
}

#[tokio::test]
async fn large_bodies_go_through_both_ways_over_two_hops() {
    let n1 = node(1);
    let n2 = node(2);
    let deployed = Deployed::one("blue", &n2, 1, echo("blue").await);
    let mut route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    route.max_body_bytes = 64 << 20;
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let body: Vec<u8> = (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let request =
        Request::post("/e/fraud/score").header("host", "h").body(Full::from(body.clone())).expect("a request");
    let (parts, got) = call(n1.mesh.ingress_addr(), request).await;
    assert_eq!(parts.status.as_u16(), 200);
    assert!(got.strip_prefix(b"blue:".as_slice()) == Some(body.as_slice()), "eight MiB come back as they went");
}

#[tokio::test]
async fn a_replicas_connection_is_used_again_except_by_the_python_runtime() {
    let n1 = node(1);
    for (runtime, version, connections) in [(RouteRuntime::Onnx, 1, 1), (RouteRuntime::Python, 2, 20)] {
        let (address, accepted) = counting_echo().await;
        let deployed = Deployed { runtime, ..Deployed::one("blue", &n1, version, address) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        // One connection of the caller's, so that one core serves it.
        let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        for _ in 0..20 {
            within(client.ready()).await.expect("ready");
            let answer = within(client.send_request(post("/e/fraud/score", "x"))).await.expect("an answer");
            assert_eq!(within(answer.into_body().collect()).await.expect("a body").to_bytes(), "x");
        }
        assert_eq!(accepted.load(Relaxed), connections, "{runtime:?}");
    }
}

/// An HTTP/1.1 replica that counts its connections.
async fn counting_echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            let service = service_fn(|request: Request<Incoming>| async move {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(body)))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, accepted)
}
