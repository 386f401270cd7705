//! What callers of a mesh that drains are told, on the wire, and that what they began is answered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};

use crate::mesh_abuse::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, frame, head, http2};
use crate::mesh_support::{Deployed, Node, backend, body_of, node, simple, until, within};

/// Says in a PING that it answers one.
const ACK: u8 = 1;

/// The highest number a stream can have: no stream is left out.
const EVERY_STREAM: u32 = (1 << 31) - 1;

/// Answers when it may, with what it was sent.
async fn patient(may: &Arc<Semaphore>) -> SocketAddr {
    let may = may.clone();
    backend(move |request: Request<Incoming>| {
        let may = may.clone();
        async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            may.acquire().await.expect("open").forget();
            Response::new(body_of([b"blue:", body.as_ref()].concat()))
        }
    })
    .await
}

fn drains(node: &Node) -> tokio::task::JoinHandle<()> {
    let mesh = node.mesh.clone();
    tokio::spawn(async move { mesh.shutdown(Duration::from_secs(30)).await })
}

/// Reads one frame: its kind, flags and stream, and what is in it. Nothing when the connection has ended.
async fn next(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    within(stream.read_exact(&mut head)).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    within(stream.read_exact(&mut payload)).await.expect("a whole frame");
    let number = u32::from_be_bytes(head[5..].try_into().expect("four bytes")) & EVERY_STREAM;
    Some((head[3], head[4], number, payload))
}

/// Reads until the connection says that it goes away; returns the last stream it names, and its code.
async fn goes_away(stream: &mut TcpStream) -> (u32, u32) {
    loop {
        if let (GOAWAY, _, _, payload) = next(stream).await.expect("it says so before it ends") {
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
            return (number(0) & EVERY_STREAM, number(4));
        }
    }
}

/// RFC 9113 §6.8: first that it will go away, which leaves no stream out; then, when everything the caller sent before it
/// knew has come, which stream is the last.
#[tokio::test]
async fn a_caller_of_http2_is_told_first_and_what_it_began_is_answered() {
    let may = Arc::new(Semaphore::new(0));
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, patient(&may).await));
    let begin = |number| frame(HEADERS, END_HEADERS | END_STREAM, number, &head("/e/fraud/score"));
    let at_work = |count| n1.mesh.gate_in_flight(berth_core::id::ReplicaId(1)) == count;
    let mut stream = http2(&n1).await;
    stream.write_all(&begin(1)).await.expect("sent");
    until(|| at_work(1)).await;
    let drained = drains(&n1);
    assert_eq!(goes_away(&mut stream).await, (EVERY_STREAM, 0), "no stream is left out yet");
    // It has not heard yet, and asks once more.
    stream.write_all(&begin(3)).await.expect("sent");
    until(|| at_work(2)).await;
    let last = loop {
        match next(&mut stream).await.expect("it goes on") {
            (PING, 0, _, payload) => stream.write_all(&frame(PING, ACK, 0, &payload)).await.expect("sent"),
            (GOAWAY, _, _, payload) => break payload,
            _ => {}
        }
    };
    assert_eq!(last, [3_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat(), "what came by now is the last");
    stream.write_all(&begin(5)).await.expect("sent");
    may.add_permits(3);
    let mut answers = std::collections::BTreeMap::<u32, Vec<u8>>::new();
    let mut ended = Vec::new();
    while let Some((kind, flags, number, payload)) = next(&mut stream).await {
        if kind == DATA {
            answers.entry(number).or_default().extend(payload);
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            ended.push(number);
        }
    }
    ended.sort_unstable();
    assert_eq!(answers, [(1, b"blue:".to_vec()), (3, b"blue:".to_vec())].into(), "before the connection ends");
    assert_eq!(ended, [1, 3]);
    within(drained).await.expect("the mesh ends with its last connection");
    assert_eq!(may.available_permits(), 1, "the one behind the last was not begun");
}

#[tokio::test]
async fn a_caller_of_http1_is_told_with_its_answer() {
    let may = Arc::new(Semaphore::new(1));
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, patient(&may).await));
    let address = n1.mesh.ingress_addr();
    let request = "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx";
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut first = Vec::new();
    while !first.ends_with(b"blue:x") {
        assert_ne!(within(stream.read_buf(&mut first)).await.expect("read"), 0, "the connection is kept");
    }
    let said = |answer: &[u8]| String::from_utf8_lossy(answer).to_ascii_lowercase().contains("connection: close");
    assert!(!said(&first), "{}", String::from_utf8_lossy(&first));
    stream.write_all(request.as_bytes()).await.expect("sent");
    until(|| n1.mesh.gate_in_flight(berth_core::id::ReplicaId(1)) == 1).await;
    let drained = drains(&n1);
    until(|| std::net::TcpStream::connect(address).is_err()).await;
    may.add_permits(1);
    let mut last = Vec::new();
    within(stream.read_to_end(&mut last)).await.expect("an answer, and then the end");
    assert!(last.starts_with(b"HTTP/1.1 200") && last.ends_with(b"blue:x"), "{}", String::from_utf8_lossy(&last));
    assert!(said(&last), "{}", String::from_utf8_lossy(&last));
    within(drained).await.expect("the mesh ends with its last connection");
}
