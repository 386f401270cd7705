//! Corners of the protocols: trailers both ways, doubled metadata, heads without bodies, bodies refused before they come.

use std::net::SocketAddr;

use berth_core::traffic::table::RouteRuntime;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

use crate::{
    mesh_stream::{raw, stream_of},
    mesh_support::{
        Body, Deployed, Node, backend, body_of, call, counters, echo, endpoint, full, header, node, post, until, within,
    },
};

/// `fraud` with one deployment `blue` on `owner`, as `entry` knows it.
fn routed(entry: &Node, owner: &Node, version: u64, address: SocketAddr) {
    let deployed = Deployed { runtime: RouteRuntime::Command, ..Deployed::one("blue", owner, version, address) };
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    entry.mesh.apply_table(full(version, vec![route])).expect("a table");
}

/// Answers with what the request's trailers said, as trailers.
async fn trailing() -> SocketAddr {
    backend(|request| async move {
        let body = request.into_body().collect().await.expect("a body");
        let said = body.trailers().and_then(|trailers| trailers.get("x-check")).cloned();
        let (sender, receiver) = mpsc::channel(2);
        let sum = said.unwrap_or(HeaderValue::from_static("nothing"));
        sender.send(Frame::data(body.to_bytes())).await.expect("room");
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), sum)]);
        sender.send(Frame::trailers(trailers)).await.expect("room");
        let mut response: Response<Body> = Response::new(stream_of(receiver));
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        response
    })
    .await
}

#[tokio::test]
async fn trailers_go_both_ways_in_chunks_and_over_http2_over_one_hop_and_two() {
    let (n1, n2) = (node(1), node(2));
    let address = trailing().await;
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        routed(&n1, owner, version, address);
        let chunked = "POST /e/fraud/any HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: close, te\r\ntrailer: x-check\r\n\
                       transfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\nx-check: seven\r\n\r\n";
        let answer = raw(n1.mesh.ingress_addr(), chunked, usize::MAX).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("3\r\none\r\n") && answer.ends_with("0\r\nx-sum: seven\r\n\r\n"),
            "{version}: {answer}"
        );
        let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Frame::data(Bytes::from_static(b"two"))).await.expect("room");
        let trailers = [(HeaderName::from_static("x-check"), HeaderValue::from_static("nine"))];
        sender.send(Frame::trailers(HeaderMap::from_iter(trailers))).await.expect("room");
        drop(sender);
        let request = Request::post("http://any/e/fraud/any").header("te", "trailers").header("trailer", "x-check");
        let request = request.body(stream_of(receiver)).expect("a request");
        let answer = within(client.send_request(request)).await.expect("an answer");
        let body = within(answer.into_body().collect()).await.expect("a body");
        let sum = body.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
        assert_eq!((sum, body.to_bytes()), (Some(HeaderValue::from_static("nine")), Bytes::from_static(b"two")));
    }
}

#[tokio::test]
async fn metadata_that_comes_twice_or_joined_stays_as_it_is() {
    let (n1, n2) = (node(1), node(2));
    let address = backend(|request| async move {
        let mut response = Response::new(body_of(""));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
        for value in request.headers().get_all("trace-bin") {
            response.headers_mut().append("seen-bin", value.clone());
        }
        response
    })
    .await;
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        routed(&n1, owner, version, address);
        let mut request = post("/e/fraud/echo.Echo/Say", "\0\0\0\0\0");
        let map = request.headers_mut();
        map.insert("content-type", HeaderValue::from_static("application/grpc"));
        // Padded, unpadded, and two values joined as some clients do: a list to whoever understands it, bytes to us.
        for value in ["AAE=", "AAECAw", "AAE=,AAECAw", ""] {
            map.append("trace-bin", HeaderValue::from_static(value));
        }
        let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
        let seen: Vec<_> = parts.headers.get_all("seen-bin").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(seen, [&b"AAE="[..], b"AAECAw", b"AAE=,AAECAw", b""], "{version}");
    }
}

#[tokio::test]
async fn a_head_tells_the_length_and_the_connection_goes_on() {
    let n1 = node(1);
    routed(&n1, &n1, 1, echo("blue").await);
    let two = "HEAD /e/fraud/any HTTP/1.1\r\nhost: h\r\n\r\nGET /e/fraud/any HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = raw(n1.mesh.ingress_addr(), two, usize::MAX).await;
    let (head, rest) = answer.split_once("\r\n\r\n").expect("the first answer");
    assert!(head.to_ascii_lowercase().contains("content-length: 5"), "{head}");
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("\r\n\r\nblue:"), "{rest}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_comes() {
    let n1 = node(1);
    let deployed = Deployed::one("blue", &n1, 1, echo("blue").await);
    let mut route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    route.max_body_bytes = 8;
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    for expects in ["", "expect: 100-continue\r\n"] {
        // Not a byte of the body is sent, and none is asked for.
        let head = format!("POST /e/fraud/score HTTP/1.1\r\nhost: h\r\n{expects}content-length: 1000000\r\n\r\n");
        let answer = raw(n1.mesh.ingress_addr(), &head, 1).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{expects}{answer}");
        assert!(!answer.contains("100 Continue"), "{answer}");
    }
    assert_eq!(counters(&n1, "blue").answers, [].into(), "no replica was asked");
    until(|| n1.mesh.in_flight().is_empty()).await;
}

#[tokio::test]
async fn a_part_of_a_body_arrives_before_the_next_is_sent() {
    let (n1, n2) = (node(1), node(2));
    let (told, mut hears) = mpsc::channel::<Bytes>(1);
    let address = backend(move |request| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    told.send(data).await.expect("the test listens");
                }
            }
            Response::new(body_of("heard"))
        }
    })
    .await;
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        routed(&n1, owner, version, address);
        let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let head = b"POST /e/fraud/any HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.expect("sent");
        for part in ["one", "two", "six"] {
            stream.write_all(format!("3\r\n{part}\r\n").as_bytes()).await.expect("sent");
            assert_eq!(within(hears.recv()).await.expect("a part"), part);
        }
        stream.write_all(b"0\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("heard"), "{answer}");
    }
}

/// Paths of other servers' clients: where they go, what the replica sees, and who answers.
#[tokio::test]
async fn every_dialects_paths_find_their_endpoint() {
    let n1 = node(1);
    let (blue, green) = (echo("blue").await, echo("green").await);
    let deployments = vec![
        Deployed::one("blue", &n1, 1, blue).publish("fraud"),
        Deployed::one("green", &n1, 2, green).publish("fraud"),
    ];
    let route = endpoint("fraud", &[("blue", 100)], deployments);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    for (path, host, body, seen, by) in [
        ("/v1/models/fraud:predict", "any", "{}", "/v1/models/fraud:predict", "blue"),
        ("/v1/models/fraud:explain", "any", "{}", "/v1/models/fraud:explain", "blue"),
        ("/openai/v1/chat/completions", "any", r#"{"model":"fraud"}"#, "/openai/v1/chat/completions", "blue"),
        ("/openai/v1/embeddings", "any", r#"{"input":[],"model":"FRAUD"}"#, "/openai/v1/embeddings", "blue"),
        ("/v1/completions", "fraud.localhost", r#"{"model":"llama"}"#, "/v1/completions", "blue"),
        ("/v2/models/fraud/versions/green/infer", "any", "{}", "/v2/models/fraud/versions/green/infer", "green"),
        ("/v2/models/fraud/versions/3/infer", "any", "{}", "/v2/models/fraud/versions/3/infer", "blue"),
        ("/invocations", "fraud.localhost:7480", "{}", "/invocations", "blue"),
        ("/e/fraud/ping", "any", "", "/ping", "blue"),
        ("/endpoints/fraud/invocations", "any", "{}", "/score", "blue"),
    ] {
        let mut request = post(path, body);
        request.headers_mut().insert("host", host.parse().expect("a value"));
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
        assert_eq!(
            (parts.status.as_u16(), header(&parts, "seen-uri"), header(&parts, "azureml-model-deployment")),
            (200, seen, by),
            "{path}"
        );
    }
    // Without an endpoint, SageMaker's question is about the mesh.
    let (parts, _) = call(
        n1.mesh.ingress_addr(),
        Request::get("/ping").header("host", "any").body(Default::default()).expect("a request"),
    )
    .await;
    assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-endpoint")), (200, ""));
}

/// A server of an older HTTP, as those of many standard libraries are: the end of the connection ends its answer.
async fn older() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut got = Vec::new();
            while !got.ends_with(b"one") && stream.read_buf(&mut got).await.is_ok_and(|read| read > 0) {}
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfine").await;
        }
    });
    address
}

#[tokio::test]
async fn a_replica_of_an_older_http_does_not_end_the_callers_connection() {
    let (n1, n2) = (node(1), node(2));
    let address = older().await;
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        routed(&n1, owner, version, address);
        let one = |last: &str| format!("POST /e/fraud/any HTTP/1.1\r\nhost: h\r\n{last}content-length: 3\r\n\r\none");
        let two = one("") + &one("connection: close\r\n");
        let answer = raw(n1.mesh.ingress_addr(), &two, usize::MAX).await;
        assert_eq!((answer.matches("HTTP/1.1 200").count(), answer.matches("fine").count()), (2, 2), "{answer}");
    }
}

/// A server of HTTP/2 that ends each answer with an empty frame and only then says its trailers, once `ended` says so.
async fn late_with_its_trailers(ended: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut ended = ended.clone();
                    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
                    let mut answer = respond.send_response(head, false).expect("it is sent");
                    tokio::spawn(async move {
                        ended.wait_for(|ended| *ended).await.expect("the test goes on");
                        answer.send_data(Bytes::new(), false).expect("it is sent");
                        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                        answer.send_trailers(HeaderMap::from_iter([status])).expect("it is sent");
                    });
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_replica_that_ends_its_answers_with_empty_frames_is_never_cut_off() {
    /// Streams at once, and more one after the other; some libraries end a connection at the hundredth such frame.
    const STREAMS: u32 = 250;
    let (n1, (ends, ended)) = (node(1), watch::channel(false));
    let address = late_with_its_trailers(ended).await;
    let deployed = Deployed { slots: STREAMS, ..Deployed::one("blue", &n1, 1, address) };
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let ask = || {
        let request = Request::post("http://any/e/fraud/some.Service/Talk").header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(body_of("\0\0\0\0\0")).expect("a request");
        let mut client = client.clone();
        async move { within(client.send_request(request)).await.expect("an answer").into_body() }
    };
    let ends_in_order = |body: hyper::body::Incoming| async move {
        let body = within(body.collect()).await.expect("the answer is whole");
        assert_eq!(body.trailers().and_then(|trailers| trailers.get("grpc-status")).expect("a status"), "0");
    };
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(ask().await);
    }
    ends.send(true).expect("the server goes on");
    for body in open {
        ends_in_order(body).await;
    }
    for _ in 0..STREAMS {
        ends_in_order(ask().await).await;
    }
}
