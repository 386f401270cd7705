//! Callers that take their answers slowly, and models that give them slowly: only the former lose their slots.

use std::{net::SocketAddr, time::Duration};

use berth_core::id::NodeId;
use berth_node::mesh::Mesh;
use bytes::Bytes;
use http::Response;
use hyper::body::Frame;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    mesh_abuse::{
        DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, endless, frame, head,
    },
    mesh_stream::stream_of,
    mesh_support::{Deployed, Node, backend, echo, options, simple, until, within},
    mesh_tunnel::talker,
};

const CANCEL: u32 = 8;

/// How long answers wait for their callers here.
const PATIENCE: Duration = Duration::from_millis(200);

/// A node whose one replica has a slot, and the metrics of its mesh.
fn impatient() -> (Node, Registry) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.answer_patience = PATIENCE;
    let mut registry = Registry::default();
    let mesh = Mesh::start(options, &mut registry).expect("a mesh");
    (Node { mesh, id: NodeId(1), dir }, registry)
}

fn place(node: &Node, address: SocketAddr) {
    simple(node, &Deployed { slots: 1, queue_ms: 0, ..Deployed::one("blue", node, 1, address) });
}

/// Waits until the record of a request is closed and the slot free, and returns how it ended.
async fn end(node: &Node, id: &str) -> String {
    until(|| node.mesh.find_request(id).is_some()).await;
    until(|| node.mesh.in_flight().is_empty()).await;
    node.mesh.find_request(id).expect("it was there").end
}

fn slow_readers(registry: &Registry) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).expect("metrics");
    let name = r#"berth_mesh_slow_readers_total{endpoint="fraud",deployment="blue"} "#;
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    count.expect("it is counted").parse().expect("a number")
}

fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// Asks over HTTP/2 with a window of sixteen bytes, which is then opened by one, again and again. Returns how many bytes of
/// the answer came until the stream was reset, and why it was.
async fn trickle(node: &Node, id: &str, fields: &[u8]) -> (usize, u32) {
    let mut stream = TcpStream::connect(node.mesh.ingress_addr()).await.expect("a connection");
    let small = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 16]);
    let block = [head("/e/fraud/score"), field("x-request-id", id), fields.to_vec()].concat();
    let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    stream.write_all(&[PREFACE, &small, &ask].concat()).await.expect("sent");
    let (mut read, mut write) = stream.into_split();
    let opens = tokio::spawn(async move {
        let one = frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
        while write.write_all(&one).await.is_ok() {
            tokio::time::sleep(PATIENCE / 20).await;
        }
    });
    let reset = within(async {
        let mut taken = 0;
        loop {
            let mut head = [0; 9];
            read.read_exact(&mut head).await.expect("the connection goes on");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            read.read_exact(&mut payload).await.expect("a whole frame");
            match head[3] {
                DATA => taken += payload.len(),
                RST_STREAM => return (taken, u32::from_be_bytes(payload.try_into().expect("a reason"))),
                _ => {}
            }
        }
    })
    .await;
    opens.abort();
    reset
}

#[tokio::test]
async fn who_takes_a_byte_now_and_then_loses_the_slot() {
    let (n1, registry) = impatient();
    place(&n1, endless().await);
    for (at, (id, fields)) in
        [("plain", vec![]), ("call", field("content-type", "application/grpc"))].into_iter().enumerate()
    {
        let (taken, reason) = trickle(&n1, id, &fields).await;
        // More than the first window: it was taking something all the while.
        assert!(taken > 16, "{id}: {taken} bytes");
        assert_eq!((reason, &*end(&n1, id).await), (CANCEL, "slow"), "{id}");
        assert_eq!(slow_readers(&registry), at as u64 + 1);
    }
}

#[tokio::test]
async fn who_takes_nothing_over_http1_is_told_apart_from_who_leaves() {
    let (n1, registry) = impatient();
    place(&n1, endless().await);
    for (id, leaves, expected) in [("silent", false, "slow"), ("gone", true, "cut")] {
        let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let ask = format!("GET /e/fraud/score HTTP/1.1\r\nhost: h\r\nx-request-id: {id}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        within(stream.read_u8()).await.expect("it begins");
        let stays = Some(stream).filter(|_| !leaves);
        assert_eq!(end(&n1, id).await, expected);
        drop(stays);
    }
    assert_eq!(slow_readers(&registry), 1);
}

#[tokio::test]
async fn a_conversation_that_nobody_listens_to_is_ended() {
    let (n1, registry) = impatient();
    place(&n1, talker().await);
    let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let ask = "GET /e/fraud/live HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-request-id: deaf\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.expect("sent");
    within(stream.read_u8()).await.expect("it begins");
    // Quiet for longer than an answer waits: there is nothing to take.
    tokio::time::sleep(2 * PATIENCE).await;
    assert!(!n1.mesh.in_flight().is_empty(), "a quiet one goes on");
    // What is said is said back, and not read.
    let speaks = tokio::spawn(async move { while stream.write_all(&[b'x'; 4 << 10]).await.is_ok() {} });
    assert_eq!(end(&n1, "deaf").await, "slow");
    assert_eq!(slow_readers(&registry), 1);
    speaks.abort();
}

/// A model whose words the test says.
async fn model(words: mpsc::Receiver<Frame<Bytes>>) -> SocketAddr {
    let words = std::sync::Arc::new(std::sync::Mutex::new(Some(words)));
    backend(move |_| {
        let words = words.lock().expect("nobody panicked").take().expect("one request");
        async move { Response::builder().header("content-type", "text/event-stream").body(stream_of(words)).expect("one") }
    })
    .await
}

/// However long it thinks about each word.
#[tokio::test]
async fn who_takes_what_a_slow_model_says_is_not_cut() {
    const WORD: &str = "data: a word\n\n";
    for over_http2 in [false, true] {
        let (n1, registry) = impatient();
        let (say, words) = mpsc::channel(1);
        place(&n1, model(words).await);
        let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let (mut reader, mut writer) = stream.into_split();
        let ask = if over_http2 {
            let block = [head("/e/fraud/score"), field("x-request-id", "listens")].concat();
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)].concat()
        } else {
            b"GET /e/fraud/score HTTP/1.1\r\nhost: h\r\nx-request-id: listens\r\n\r\n".to_vec()
        };
        writer.write_all(&ask).await.expect("sent");
        let mut came = Vec::new();
        for words in 1..=3 {
            tokio::time::sleep(2 * PATIENCE).await;
            say.send(Frame::data(Bytes::from_static(WORD.as_bytes()))).await.expect("it is heard");
            let count = |came: &[u8]| came.windows(WORD.len()).filter(|part| *part == WORD.as_bytes()).count();
            within(async {
                while count(&came) < words {
                    assert_ne!(reader.read_buf(&mut came).await.expect("it goes on"), 0, "it goes on");
                }
            })
            .await;
        }
        drop(say);
        assert_eq!(end(&n1, "listens").await, "whole");
        assert_eq!(slow_readers(&registry), 0);
    }
}

/// A call that is known to have one answer has one request too. The time limit of its deployment is a hundred times as long.
#[tokio::test]
async fn the_body_of_a_call_that_has_one_answer_must_come() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.body_patience = PATIENCE;
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    place(&n1, echo("blue").await);
    let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let fields =
        [field("content-type", "application/grpc"), field("x-berth-endpoint", "fraud"), field("x-request-id", "mute")];
    let block = [head(path), fields.concat()].concat();
    let ask = frame(HEADERS, END_HEADERS, 1, &block);
    // A message of a thousand bytes that names its model, and stops.
    let part = [&[0, 0, 0, 3, 232][..], b"\x0a\x05fraud\x12\x011\x1a\x01i"].concat();
    let part = frame(DATA, 0, 1, &part);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &ask, &part].concat()).await.expect("sent");
    until(|| n1.mesh.find_request("mute").is_some()).await;
    let found = n1.mesh.find_request("mute").expect("it was there");
    assert_eq!((&*found.refusal_code, &*found.refusal), ("E_TIMEOUT", "the body came too slowly"));
    until(|| n1.mesh.in_flight().is_empty()).await;
}
