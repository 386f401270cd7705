//! Callers that mean harm: what one takes is bounded, and the others are served.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use berth_core::id::NodeId;
use berth_node::mesh::Mesh;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::mesh_stream::raw;
use crate::mesh_support::{
    Body, Deployed, Node, backend, call, counters, echo, endpoint, full, header, node, options, post, simple, until,
    within,
};

/// No attack of these is let go on for longer, in bytes that were taken.
const TAKEN_MAX: usize = 64 << 20;

/// A connection that stays stuck for so long is not read any more; a slow machine only makes the test slower.
const STUCK: Duration = Duration::from_secs(3);

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const END_STREAM: u8 = 1;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of `POST /e/fraud/score`, without a table entry.
pub(crate) fn head(path: &str) -> Vec<u8> {
    let literal = |name: u8, value: &str| [&[name, value.len() as u8][..], value.as_bytes()].concat();
    // Indexed: `:method: POST`, `:scheme: http`; literal by name: `:path`, `:authority`.
    [&[0x83, 0x86][..], &literal(0x04, path), &literal(0x01, "any")].concat()
}

fn opened_and_reset(stream: u32, path: &str) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, &head(path)), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
}

pub(crate) async fn http2(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.mesh.ingress_addr()).await.expect("a connection");
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("sent");
    stream
}

/// Writes parts until the other side closes, takes no more, or has taken all there is. Nothing is read meanwhile, except
/// where `reads` says so. Returns how much was taken.
async fn flood(mut stream: TcpStream, reads: bool, mut part: impl FnMut(u32) -> Option<Vec<u8>>) -> usize {
    let mut taken = 0;
    let mut sink = vec![0; 64 << 10];
    for turn in 0.. {
        let Some(bytes) = part(turn) else { break };
        match tokio::time::timeout(STUCK, stream.write_all(&bytes)).await {
            Ok(Ok(())) => taken += bytes.len(),
            Ok(Err(_)) | Err(_) => break,
        }
        assert!(taken < TAKEN_MAX, "the flood is taken without end");
        if reads && matches!(stream.try_read(&mut sink), Ok(0)) {
            break;
        }
    }
    taken
}

async fn others_are_served(node: &Node) {
    let (parts, body) = call(node.mesh.ingress_addr(), post("/e/fraud/score", "x")).await;
    assert_eq!((parts.status.as_u16(), body.as_ref()), (200, b"blue:x".as_slice()));
    until(|| node.mesh.in_flight().is_empty()).await;
}

async fn served() -> Node {
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    n1
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_leave_nothing() {
    let n1 = served().await;
    let stream = http2(&n1).await;
    flood(stream, true, |turn| (turn < 50_000).then(|| opened_and_reset(2 * turn + 1, "/e/fraud/score"))).await;
    others_are_served(&n1).await;
}

/// The model never hears of them, and no slot was theirs: what is begun for a caller that has left is work for nobody.
#[tokio::test]
async fn who_left_before_its_turn_is_not_begun() {
    /// Fewer than what the library takes for an attack at once.
    const AT_ONCE: u32 = 10;
    let n1 = served().await;
    let mut stream = http2(&n1).await;
    for first in (0..200).step_by(AT_ONCE as usize) {
        let pairs = (first..first + AT_ONCE).flat_map(|turn| opened_and_reset(2 * turn + 1, "/e/fraud/score"));
        let burst: Vec<u8> = pairs.chain(frame(PING, 0, 0, &[7; 8])).collect();
        stream.write_all(&burst).await.expect("sent");
        frames(&mut stream, PING, 1).await;
    }
    others_are_served(&n1).await;
    let counters = counters(&n1, "blue");
    assert_eq!((counters.abandoned, counters.answers.get(&200)), (0, Some(&1)));
}

/// Reads frames until one of this kind has come so often; panics when the connection ends or says that it will.
async fn frames(stream: &mut TcpStream, kind: u8, wanted: usize) {
    let read = async {
        let mut seen = 0;
        while seen < wanted {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("the connection goes on");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.expect("a whole frame");
            assert_ne!(head[3], GOAWAY, "it goes away: {:?}", String::from_utf8_lossy(&payload));
            seen += usize::from(head[3] == kind);
        }
    };
    within(read).await;
}

/// A connection to a gate, as another node has one for all its callers.
async fn gate_link(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.mesh.gate_addr()).await.expect("a connection");
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("sent");
    stream
}

#[tokio::test]
async fn callers_that_leave_at_once_do_not_end_the_connection_between_nodes() {
    let n1 = served().await;
    let mut link = gate_link(&n1).await;
    let mut burst: Vec<u8> = (0..500).flat_map(|turn| opened_and_reset(2 * turn + 1, "/e/fraud/score")).collect();
    burst.extend(frame(PING, 0, 0, &[7; 8]));
    link.write_all(&burst).await.expect("sent");
    frames(&mut link, PING, 1).await;
    others_are_served(&n1).await;
}

#[tokio::test]
async fn bodies_that_come_after_their_refusal_do_not_end_the_connection_between_nodes() {
    // More than what HTTP/2 libraries forgive a connection in its life.
    const REFUSED: u32 = 3_000;
    let n1 = served().await;
    let mut link = gate_link(&n1).await;
    for first in (0..REFUSED).step_by(500) {
        let ids = || (first..first + 500).map(|turn| 2 * turn + 1);
        let heads: Vec<u8> = ids().flat_map(|id| frame(HEADERS, END_HEADERS, id, &head("/e/fraud/score"))).collect();
        link.write_all(&heads).await.expect("sent");
        // Without the cluster's secret each is refused on its head alone.
        frames(&mut link, HEADERS, 500).await;
        let bodies: Vec<u8> = ids().flat_map(|id| frame(DATA, END_STREAM, id, b"late")).collect();
        link.write_all(&bodies).await.expect("sent");
    }
    link.write_all(&frame(PING, 0, 0, &[7; 8])).await.expect("sent");
    frames(&mut link, PING, 1).await;
    others_are_served(&n1).await;
}

#[tokio::test]
async fn headers_without_end_are_cut_off() {
    let n1 = served().await;
    let stream = http2(&n1).await;
    // A literal header of a few bytes, again and again, never with the flag that ends them.
    let filler: Vec<u8> = [0x00, 0x01, b'a', 0x01, b'b'].repeat(3_000);
    let taken = flood(stream, true, |turn| {
        Some(match turn {
            0 => frame(HEADERS, END_STREAM, 1, &head("/e/fraud/score")),
            _ => frame(CONTINUATION, 0, 1, &filler),
        })
    })
    .await;
    assert!(taken < TAKEN_MAX / 4, "{taken} bytes of headers were taken");
    others_are_served(&n1).await;
}

#[tokio::test]
async fn a_small_block_that_unpacks_to_a_large_one_is_refused() {
    let n1 = served().await;
    let mut stream = http2(&n1).await;
    // 32 MB of twelve thousand bytes.
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb())).await.expect("sent");
    let mut answer = Vec::new();
    // It is answered with a refusal or cut off; in no case does it reach the model.
    let mut part = [0; 4_096];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(STUCK, stream.read(&mut part)).await {
        answer.extend_from_slice(&part[..read]);
    }
    assert!(!answer.windows(5).any(|window| window == b"blue:"), "the model has seen it");
    others_are_served(&n1).await;
}

#[tokio::test]
async fn pings_and_settings_whose_answers_nobody_reads_are_not_hoarded() {
    let n1 = served().await;
    for part in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])] {
        let many = part.repeat(1_000);
        let stream = http2(&n1).await;
        flood(stream, false, |_| Some(many.clone())).await;
        others_are_served(&n1).await;
    }
    // Empty frames of data cost the sender next to nothing.
    let mut stream = http2(&n1).await;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head("/e/fraud/score"))).await.expect("sent");
    let many = frame(DATA, 0, 1, &[]).repeat(1_000);
    flood(stream, true, |turn| (turn < 2_000).then(|| many.clone())).await;
    others_are_served(&n1).await;
}

#[tokio::test]
async fn requests_of_two_readings_are_refused_and_reach_nobody() {
    let (seen, mut smuggled) = mpsc::unbounded_channel();
    let blue = backend(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let has = |name: &str| request.headers().contains_key(name);
            let two_readings = has("content-length") && has("transfer-encoding");
            let path = if two_readings { "/smuggled" } else { request.uri().path() }.to_owned();
            let _ = request.into_body().collect().await;
            let _ = seen.send(path);
            Response::new(crate::mesh_support::body_of("answered"))
        }
    })
    .await;
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, blue));
    let inner = "GET /e/fraud/smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let start = "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\n";
    for (request, why) in [
        (format!("{start}content-length: 3\r\ncontent-length: 40\r\n\r\nabc{inner}"), "two lengths"),
        (format!("{start}content-length: 3, 40\r\n\r\nabc{inner}"), "two lengths in one"),
        (format!("{start}content-length: +3\r\n\r\nabc{inner}"), "a length with a sign"),
        (format!("{start}content-length: -1\r\n\r\n{inner}"), "a length below zero"),
        (format!("{start}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"), "chunked is not last"),
        (format!("{start}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"), "an unknown coding"),
        (format!("{start}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}"), "a space before the colon"),
        (format!("{start}x: a\r\n folded: b\r\ncontent-length: 0\r\n\r\n{inner}"), "a folded line"),
        (format!("{start}x: a\0b\r\ncontent-length: 0\r\n\r\n{inner}"), "a NUL in a value"),
        (format!("{start}x\0y: a\r\ncontent-length: 0\r\n\r\n{inner}"), "a NUL in a name"),
        (format!("POST /e/fraud/\0score HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n{inner}"), "a NUL in the path"),
        (format!("{start}x: a\rcontent-length: 0\r\n\r\n{inner}"), "a bare CR"),
        (format!("{start}transfer-encoding: chunked\r\n\r\nzz\r\n{inner}"), "a chunk without a length"),
        (format!("{start}transfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n{inner}"), "a chunk with a sign"),
        (format!("{start}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc{inner}"), "a chunk without bound"),
        (
            format!("{start}transfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n{inner}"),
            "a bare LF behind a chunk's length",
        ),
        (format!("{start}transfer-encoding: chunked\r\n\r\n3;x\nabc\r\n0\r\n\r\n{inner}"), "a bare LF in an extension"),
        (format!("{start}transfer-encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n{inner}"), "a bare LF behind a chunk"),
    ] {
        let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = within(stream.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{why}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), usize::from(!text.is_empty()), "{why}: {text}");
    }
    // Both a length and chunks (RFC 9112 §6.3): the chunks count, what is handed on has one reading, and nothing behind it
    // has any, for the connection ends.
    let lengths = [5, 5 + inner.len()].map(|length| format!("content-length: {length}"));
    for length in &lengths {
        for both in [
            format!("{length}\r\ntransfer-encoding: chunked\r\n"),
            format!("transfer-encoding: chunked\r\n{length}\r\n"),
            format!("{length}\ntransfer-encoding: chunked\n"),
            format!("transfer-encoding: chunked\r\nconnection: keep-alive\r\n{length}\r\n"),
            format!("{length}\r\n{length}\r\ntransfer-encoding: chunked\r\n"),
        ] {
            let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
            stream.write_all(format!("{start}{both}\r\n0\r\n\r\n{inner}").as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            // What lies behind may turn the end into a reset, which is an end too.
            let _ = within(stream.read_to_end(&mut answer)).await;
            let text = String::from_utf8_lossy(&answer);
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close\r\n"), "{both}: {text}");
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{both}: {text}");
        }
    }
    let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/last", "x")).await;
    assert_eq!(parts.status.as_u16(), 200);
    let mut paths = Vec::new();
    while paths.last().is_none_or(|path| path != "/last") {
        paths.push(within(smuggled.recv()).await.expect("the last one"));
    }
    assert!(paths.iter().all(|path| path != "/smuggled"), "{paths:?}");
}

/// Reads until something says what becomes of a request over HTTP/2, and returns that frame's kind and payload; nothing
/// where the connection has ended.
async fn verdict(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        if [HEADERS, RST_STREAM, GOAWAY].contains(&head[3]) {
            return Some((head[3], payload));
        }
    }
}

/// The frames of HTTP/2 say where everything ends; the lines of HTTP/1.1, which the model speaks, only if nothing in them
/// can be taken for an end.
#[tokio::test]
async fn what_http1_would_read_otherwise_is_refused_over_http2() {
    const INNER: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    /// `:status: 200`, as an index into the table that both sides know.
    const OK: u8 = 0x88;
    let (seen, mut told) = mpsc::unbounded_channel();
    let blue = backend(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let _ = seen.send((request.uri().path().to_owned(), request.headers().contains_key("x-smuggled")));
            let _ = request.into_body().collect().await;
            Response::new(crate::mesh_support::body_of("answered"))
        }
    })
    .await;
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, blue));
    let (post, score, any) = ("POST", "/e/fraud/score", "any");
    for ((method, path, authority), fields, why) in [
        ((post, score, any), &[("x", "a\r\nx-smuggled: 1")][..], "a line more in a value"),
        ((post, score, any), &[("x", "a\nx-smuggled: 1")], "a bare LF in a value"),
        ((post, score, any), &[("x", "a\rx-smuggled: 1")], "a bare CR in a value"),
        ((post, score, any), &[("x", "a\0b")], "a NUL in a value"),
        ((post, score, any), &[("x: a\r\nx-smuggled", "1")], "a line more in a name"),
        ((post, score, any), &[("x-smuggled ", "1")], "a space behind a name"),
        ((post, score, any), &[("X-Smuggled", "1")], "a name in capitals"),
        ((post, score, any), &[("", "1")], "a name of nothing"),
        ((post, score, any), &[("transfer-encoding", "chunked")], "chunks of the other protocol"),
        ((post, score, any), &[("connection", "x-smuggled"), ("x-smuggled", "1")], "a header of one hop"),
        ((post, score, any), &[("te", "chunked")], "codings that only the other protocol has"),
        ((post, score, any), &[("content-length", "5")], "a body that is longer than it says"),
        ((post, score, any), &[("content-length", "500")], "a body that is shorter than it says"),
        ((post, score, any), &[("content-length", "5"), ("content-length", "44")], "two lengths"),
        ((post, score, any), &[("content-length", "+44")], "a length with a sign"),
        ((post, "/e/fraud/score HTTP/1.1\r\nx-smuggled: 1", any), &[], "a line more in the path"),
        ((post, "/e/fraud/score x", any), &[], "a space in the path"),
        ((post, "e/fraud/score", any), &[], "a path from nowhere"),
        (("POST /smuggled HTTP/1.1\r\nx:", score, any), &[], "a line more in the method"),
        ((post, score, "any\r\nx-smuggled: 1"), &[], "a line more in the authority"),
        ((post, score, any), &[(":path", "/e/fraud/smuggled")], "two paths"),
        ((post, score, any), &[("x", "a"), (":authority", "b")], "a pseudo-header behind the others"),
    ] {
        let indexed = |index: u8, value: &str| [&[index, value.len() as u8], value.as_bytes()].concat();
        let named = |(name, value): &(&str, &str)| {
            [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
        };
        let pseudo = [indexed(0x02, method), vec![0x86], indexed(0x04, path), indexed(0x01, authority)].concat();
        let block = [pseudo, fields.iter().flat_map(named).collect()].concat();
        let mut stream = http2(&n1).await;
        let head = frame(HEADERS, END_HEADERS, 1, &block);
        // Where the head alone is enough to refuse it, nobody may be there to take the body.
        let _ = stream.write_all(&[head, frame(DATA, END_STREAM, 1, INNER.as_bytes())].concat()).await;
        let came = within(verdict(&mut stream)).await;
        let is_answered = came.as_ref().is_some_and(|(kind, block)| *kind == HEADERS && block.first() == Some(&OK));
        assert!(!is_answered, "{why}: {came:?}");
    }
    let (parts, _) = call(n1.mesh.ingress_addr(), crate::mesh_support::post("/e/fraud/last", "x")).await;
    assert_eq!(parts.status.as_u16(), 200);
    let mut last = (String::new(), false);
    while last.0 != "/last" {
        last = within(told.recv()).await.expect("the last one");
        assert!(["/score", "/last"].contains(&last.0.as_str()) && !last.1, "{last:?}");
    }
}

/// A line of a head may end in a bare LF (RFC 9112 §2.2). What a replica sees of it has one reading, whoever reads it.
#[tokio::test]
async fn a_bare_line_feed_ends_a_line_of_a_head_and_goes_no_further() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let blue = listener.local_addr().expect("an address");
    let (seen, mut heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"inner") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            let _ = seen.send(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    });
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, blue));
    // The body looks like a request, to who takes another line for the end of the head.
    let inner = "GET /e/fraud/smuggled HTTP/1.1\r\nhost: h\r\n\r\ninner";
    let length = inner.len();
    for head in [
        format!("POST /e/fraud/score HTTP/1.1\nhost: h\ncontent-length: {length}\n\n"),
        format!("POST /e/fraud/score HTTP/1.1\r\nhost: h\nx: a\ncontent-length: {length}\r\n\n"),
        format!("POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nx: a\ny: b\r\ncontent-length: {length}\r\n\r\n"),
    ] {
        let text = raw(n1.mesh.ingress_addr(), &format!("{head}{inner}"), 1).await;
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one request: {text}");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let told = within(heads.recv()).await.expect("a request");
        let (head, body) = told.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("POST /score HTTP/1.1\r\n") && body == inner, "{told}");
        assert!(head.split("\r\n").all(|line| !line.contains(['\r', '\n'])), "every line ends in both: {head:?}");
        assert!(heads.try_recv().is_err(), "and nothing beside it");
    }
}

/// Who is slow with a head, or silent, is cut off, and holds nothing meanwhile.
#[tokio::test]
async fn who_does_not_finish_a_head_is_cut_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.header_timeout = Duration::from_millis(200);
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed { slots: 1, ..Deployed::one("blue", &n1, 1, echo("blue").await) });
    let begun = [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "POST /e/fraud/score HTT",
        "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nx: ",
        // Answered, and then silent in place of a next request.
        "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx",
    ];
    for begun in begun {
        let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        stream.write_all(begun.as_bytes()).await.expect("sent");
        others_are_served(&n1).await;
        let mut answer = Vec::new();
        // A reset is an end too.
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    // One that goes on byte by byte is cut off as well: the time is for all of the head.
    let (mut reader, mut writer) = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection").into_split();
    let trickle = tokio::spawn(async move {
        let head = format!("POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nx: {}", "y".repeat(60_000));
        for byte in head.as_bytes() {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = within(reader.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    trickle.abort();
    others_are_served(&n1).await;
}

/// What a caller that means harm says on a connection, over and over.
struct Attack {
    what: &'static str,
    opens: fn() -> Vec<u8>,
    /// What is sent in a turn; some go by a filler.
    part: fn(u32, &[u8]) -> Vec<u8>,
    /// Slow ones are many, and rest between their turns.
    connections: usize,
    pause: Duration,
    reads: bool,
}

fn opens_http2() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// A head that was packed into a small block: an entry of 4000 bytes that a byte each names eight thousand times.
fn bomb() -> Vec<u8> {
    let entry = [&[0x40, 0x01, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4_000]].concat();
    [&head("/e/fraud/score")[..], &entry, &[0xbe; 8_000]].concat()
}

/// Every kind there is, each as fast as the wire takes it or as slowly as it may. What asks for an answer at all asks for
/// one of the mesh's own, or of another model: that of a test has one thread, and is no match for them.
fn attacks() -> [Attack; 13] {
    const FLOOD: Attack = Attack {
        what: "pings",
        opens: opens_http2,
        part: |_, _| frame(PING, 0, 0, &[7; 8]).repeat(100),
        connections: 1,
        pause: Duration::ZERO,
        reads: true,
    };
    const SLOW: Attack = Attack { connections: 16, pause: Duration::from_millis(20), ..FLOOD };
    // A connection for each: as many as the ports of a host would not last.
    const REFUSED: Attack = Attack { opens: Vec::new, pause: Duration::from_millis(2), ..FLOOD };
    [
        FLOOD,
        Attack { what: "settings", part: |_, _| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100), ..FLOOD },
        Attack { what: "pings whose answers nobody reads", reads: false, ..FLOOD },
        Attack {
            what: "streams that are reset",
            part: |turn, _| opened_and_reset(2 * turn + 1, "/e/nobody/score"),
            ..FLOOD
        },
        Attack {
            what: "heads without end",
            part: |turn, filler| match turn {
                0 => frame(HEADERS, END_STREAM, 1, &head("/e/fraud/score")),
                _ => frame(CONTINUATION, 0, 1, filler),
            },
            ..FLOOD
        },
        Attack {
            what: "small blocks that unpack to large ones",
            part: |turn, _| frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, &bomb()),
            ..FLOOD
        },
        Attack {
            what: "frames of nothing",
            part: |turn, _| match turn {
                0 => frame(HEADERS, END_HEADERS, 1, &head("/e/long/score")),
                _ => frame(DATA, 0, 1, &[]).repeat(100),
            },
            ..FLOOD
        },
        Attack {
            what: "answers that are read byte by byte",
            // With a window of sixteen bytes.
            opens: || [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 16])].concat(),
            part: |turn, _| match turn {
                0 => frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("/e/long/score")),
                _ => frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
            },
            ..SLOW
        },
        Attack {
            what: "bodies that come byte by byte",
            part: |turn, _| match turn {
                0 => frame(HEADERS, END_HEADERS, 1, &head("/e/long/score")),
                _ => frame(DATA, 0, 1, b"x"),
            },
            ..SLOW
        },
        Attack {
            what: "heads that come byte by byte",
            opens: || b"POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nx: ".to_vec(),
            part: |_, _| vec![b'y'],
            ..SLOW
        },
        Attack {
            what: "fields without number",
            part: |_, _| {
                let many: String = (0..200).map(|at| format!("h{at}: v\r\n")).collect();
                format!("GET /e/fraud/score HTTP/1.1\r\nhost: h\r\n{many}\r\n").into_bytes()
            },
            ..REFUSED
        },
        Attack {
            what: "long paths",
            part: |_, _| format!("GET /e/fraud/{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(9 << 10)).into_bytes(),
            ..REFUSED
        },
        Attack {
            what: "requests of two readings",
            part: |_, _| {
                let head =
                    "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 40\r\n\r\nabc";
                format!("{head}GET /e/fraud/smuggled HTTP/1.1\r\nhost: h\r\n\r\n").into_bytes()
            },
            ..REFUSED
        },
    ]
}

/// Attacks until it is over. A connection that is cut off is followed by another one.
async fn go_on(attack: &Attack, address: SocketAddr, filler: &[u8], over: &AtomicBool, sent: &AtomicUsize) {
    let mut sink = vec![0; 64 << 10];
    while !over.load(Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let _ = stream.write_all(&(attack.opens)()).await;
        for turn in 0..100_000 {
            let part = (attack.part)(turn, filler);
            let taken = tokio::time::timeout(STUCK / 30, stream.write_all(&part)).await;
            if !matches!(taken, Ok(Ok(()))) {
                break;
            }
            sent.fetch_add(1, Relaxed);
            // Not `sleep` for nothing: a flood has no pauses.
            if !attack.pause.is_zero() {
                tokio::time::sleep(attack.pause).await;
            }
            if over.load(Relaxed) || attack.reads && matches!(stream.try_read(&mut sink), Ok(0)) {
                break;
            }
        }
    }
}

/// What callers of other connections are told while an attack of each kind goes on: every one of a fixed number, by its id.
#[tokio::test]
async fn others_are_served_while_attacks_go_on() {
    const OTHERS: usize = 20;
    let n1 = node(1);
    let fraud = Deployed::one("blue", &n1, 1, echo("blue").await).publish("fraud");
    let long = Deployed { slots: 64, ..Deployed::one("blue", &n1, 2, endless().await) }.publish("long");
    let routes = [("fraud", fraud), ("long", long)].map(|(name, of)| endpoint(name, &[("blue", 100)], vec![of]));
    n1.mesh.apply_table(full(1, routes.to_vec())).expect("a table");
    // Headers of a hundred bytes: reading the least there are takes a build without optimisation longer than a caller waits.
    let filler: Vec<u8> = [&[0x00, 0x01, b'a', 100], [b'b'; 100].as_slice()].concat().repeat(150);
    let mut served = 0;
    for attack in attacks() {
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, parts, filler, address) = (over.clone(), sent.clone(), filler.clone(), n1.mesh.ingress_addr());
        let what = attack.what;
        // Not on the thread that serves the model.
        let attackers = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let all = (0..attack.connections).map(|_| go_on(&attack, address, &filler, &ended, &parts));
            runtime.block_on(futures::future::join_all(all));
        });
        until(|| sent.load(Relaxed) > 0).await;
        let mut answered = BTreeSet::new();
        for turn in 0..OTHERS {
            let id = format!("{}-{turn}", what.replace(' ', "-"));
            let mut request = post("/e/fraud/score", "x");
            request.headers_mut().insert("x-request-id", id.parse().expect("a value"));
            let (parts, body) = call(address, request).await;
            let told = (parts.status.as_u16(), body.as_ref());
            assert_eq!(told, (200, b"blue:x".as_slice()), "{id}");
            answered.insert(header(&parts, "x-request-id").to_owned());
        }
        assert_eq!(answered.len(), OTHERS, "each by its id: {answered:?}");
        served += OTHERS as u64;
        assert!(!attackers.is_finished(), "the attack went on all the while");
        over.store(true, Relaxed);
        within(tokio::task::spawn_blocking(|| attackers.join().expect("no panic"))).await.expect("it ends");
        until(|| n1.mesh.in_flight().is_empty()).await;
        // Nothing of the attack itself came to the model.
        assert_eq!(counters(&n1, "blue").answers.get(&200), Some(&served), "{what}");
    }
}

/// What this process holds, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("what is resident");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// Run by [`what_connections_hold_is_bounded`], in a process that does nothing else.
#[tokio::test]
#[ignore = "run in a process of its own, by another test"]
async fn what_connections_hold() {
    const CONNECTIONS: usize = 16;
    let n1 = node(1);
    let silent = backend(|_request| std::future::pending::<Response<Body>>()).await;
    // Half of all streams wait for a slot, and nobody reads of them meanwhile.
    let deployed = Deployed { slots: 150, ..Deployed::one("blue", &n1, 1, silent) };
    let mut route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    route.max_body_bytes = 1 << 30;
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let before = resident();
    let mut stuck = Vec::new();
    for turn in 0..CONNECTIONS {
        let mut stream = http2(&n1).await;
        // The windows are as large as they are said to be once that was heard.
        frames(&mut stream, SETTINGS, 1).await;
        stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.expect("sent");
        // Half of them bring what they may, and stay; the others what they like, for as long as it is taken.
        let (streams, parts) = if turn % 2 == 0 { (4, 16) } else { (32, 128) };
        let heads = (0..streams).flat_map(|at| frame(HEADERS, END_HEADERS, 2 * at + 1, &head("/e/fraud/score")));
        stream.write_all(&heads.collect::<Vec<u8>>()).await.expect("sent");
        for part in 0..streams * parts {
            let part = frame(DATA, 0, 2 * (part / parts) + 1, &[0; 16 << 10]);
            if !matches!(tokio::time::timeout(STUCK / 30, stream.write_all(&part)).await, Ok(Ok(()))) {
                break;
            }
        }
        stuck.push(stream);
    }
    // What was sent has been read, as far as it is going to be.
    for stream in stuck.iter_mut().step_by(2) {
        stream.write_all(&frame(PING, 0, 0, &[7; 8])).await.expect("sent");
        frames(stream, PING, 1).await;
    }
    let held = resident().saturating_sub(before);
    // A mebibyte of requests by each connection's window, and as much again for what is on its way.
    assert!(held < CONNECTIONS * (3 << 20) + (16 << 20), "{} MiB are held", held >> 20);
}

/// Run by [`what_floods_hold_is_bounded`], in a process that does nothing else.
#[tokio::test]
#[ignore = "run in a process of its own, by another test"]
async fn what_floods_hold() {
    const CONNECTIONS: usize = 8;
    /// Of each connection, at most: what was read, what is to be written, and what is between the two.
    const EACH: usize = 1 << 20;
    /// What this test has itself, and what the allocator keeps.
    const BESIDE: usize = 16 << 20;
    /// What a connection brings, if it is taken.
    const BRINGS: usize = 8 << 20;
    type Flood = fn(u32) -> Option<Vec<u8>>;
    let floods: [(&str, Flood); 9] = [
        ("streams that are reset", |turn| Some(opened_and_reset(2 * turn + 1, "/e/nobody/score"))),
        ("small blocks that unpack to large ones", |turn| {
            Some(frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, &bomb()))
        }),
        ("pings", |_| Some(frame(PING, 0, 0, &[7; 8]).repeat(1_000))),
        ("settings", |_| Some(frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(1_000))),
        ("a head that stops before its end", |turn| match turn {
            0 => Some(frame(HEADERS, END_STREAM, 1, &head("/e/fraud/score"))),
            1..=3 => Some(frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b'].repeat(3_000))),
            _ => None,
        }),
        ("a head without end", |turn| match turn {
            0 => Some(frame(HEADERS, END_STREAM, 1, &head("/e/fraud/score"))),
            _ => Some(frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b'].repeat(3_000))),
        }),
        ("a head of HTTP/1.1 without end", |turn| match turn {
            0 => Some(b"POST /e/fraud/score HTTP/1.1\r\nhost: h\r\nx: ".to_vec()),
            _ => Some(vec![b'y'; 16 << 10]),
        }),
        ("an answer of HTTP/1.1 that nobody reads", |turn| {
            (turn == 0).then(|| b"GET /e/fraud/score HTTP/1.1\r\nhost: h\r\n\r\n".to_vec())
        }),
        // With windows that are open as far as they go.
        ("answers that nobody reads", |turn| {
            let wide = || [frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]), frame(8, 0, 0, &[0x7f, 0, 0, 0])];
            let ask = |at: u32| frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &head("/e/fraud/score"));
            (turn == 0).then(|| wide().into_iter().chain((0_u32..4).map(ask)).flatten().collect())
        }),
    ];
    let n1 = node(1);
    simple(&n1, &Deployed { slots: 64, ..Deployed::one("blue", &n1, 1, endless().await) });
    let before = resident();
    for (what, flood) in floods {
        let mut stuck = Vec::new();
        for _ in 0..CONNECTIONS {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            // What the kernel holds of an answer is not what this is about, and takes its time.
            socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
            let mut stream = socket.connect(n1.mesh.ingress_addr()).await.expect("a connection");
            if !what.contains("HTTP/1.1") {
                let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
                stream.write_all(&hello).await.expect("sent");
            }
            let mut brought = 0;
            for part in (0..).map_while(flood) {
                let sent = tokio::time::timeout(STUCK / 30, stream.write_all(&part)).await;
                brought += part.len();
                if !matches!(sent, Ok(Ok(()))) || brought > BRINGS {
                    break;
                }
            }
            stuck.push(stream);
        }
        // Connections take turns: whoever has taken something of it has done so by the time another one is answered.
        assert_eq!(call(n1.mesh.ingress_addr(), post("/e/nobody/score", "x")).await.0.status, 404);
        let held = resident().saturating_sub(before);
        assert!(held < CONNECTIONS * EACH + BESIDE, "{what}: {} MiB are held", held >> 20);
    }
}

/// Runs one test of this file alone: what a process holds is only told of all of it.
fn alone(test: &str) {
    let this = std::env::current_exe().expect("this program");
    let test = format!("mesh_abuse::{test}");
    let run = std::process::Command::new(this)
        .args(["--ignored", "--exact", &test, "--nocapture"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn what_connections_hold_is_bounded() {
    alone("what_connections_hold");
}

#[test]
fn what_floods_hold_is_bounded() {
    alone("what_floods_hold");
}

#[tokio::test]
async fn heads_are_bounded() {
    let n1 = served().await;
    let long = "x".repeat(9 << 10);
    let many: String = (0..200).map(|at| format!("h{at}: v\r\n")).collect();
    let large: String = (0..20).map(|at| format!("h{at}: {}\r\n", "v".repeat(8 << 10))).collect();
    for (request, status) in [
        (format!("GET /e/fraud/{long} HTTP/1.1\r\nhost: h\r\n\r\n"), "414"),
        (format!("GET /e/fraud/score HTTP/1.1\r\nhost: h\r\n{many}\r\n"), "431"),
        (format!("GET /e/fraud/score HTTP/1.1\r\nhost: h\r\n{large}\r\n"), "431"),
    ] {
        let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        // It may be cut off before everything is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {text}");
    }
    others_are_served(&n1).await;
}

#[tokio::test]
async fn heads_of_http2_are_bounded() {
    let n1 = served().await;
    let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    let path = |length: usize| Request::post(format!("http://any/e/fraud/score?{}", "x".repeat(length)));
    let fields = |many: usize, value: &str| {
        let request = Request::post("http://any/e/fraud/score");
        (0..many).fold(request, |request, at| request.header(format!("h{at}"), value))
    };
    for (request, status, why) in [
        (path(7 << 10), 200, "a long path"),
        (path(9 << 10), 414, "a longer one"),
        (fields(3, &"v".repeat(16 << 10)), 200, "large fields"),
        (fields(5, &"v".repeat(16 << 10)), 431, "larger ones"),
        (fields(3_000, "v"), 431, "each is counted with what it costs to hold"),
        (fields(0, ""), 200, "all of these on one connection"),
    ] {
        sender = within(sender.ready()).await.expect("the connection goes on");
        let request = request.body(()).expect("a request");
        let (answer, _) = sender.send_request(request, true).expect("sent");
        let answer = within(answer).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{why}");
    }
    others_are_served(&n1).await;
}

/// A replica whose answer never ends.
pub(crate) async fn endless() -> SocketAddr {
    backend(|_| async {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let part = Bytes::from(vec![b'x'; 64 << 10]);
            while sender.send(Ok(Frame::data(part.clone()))).await.is_ok() {}
        });
        let frames = tokio_stream::wrappers::ReceiverStream::new(receiver);
        Response::new(Body::new(StreamBody::new(frames)))
    })
    .await
}

#[tokio::test]
async fn who_does_not_read_an_answer_loses_the_slot() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.answer_patience = Duration::from_millis(200);
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed { slots: 2, queue_ms: 0, ..Deployed::one("blue", &n1, 1, endless().await) });
    let mut http1 = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    http1.write_all(b"GET /e/fraud/score HTTP/1.1\r\nhost: h\r\n\r\n").await.expect("sent");
    let mut http2 = http2(&n1).await;
    http2.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("/e/fraud/score"))).await.expect("sent");
    // Both are answered, for as long as they read, and neither does.
    let answered = || counters(&n1, "blue").answers.get(&200).copied();
    until(|| answered() == Some(2)).await;
    until(|| n1.mesh.in_flight().is_empty()).await;
    drop((http1, http2));
}

/// A server that does not switch may answer what it likes; who leaves ends it.
#[tokio::test]
async fn who_is_refused_a_conversation_holds_no_slot_when_it_leaves() {
    let n1 = node(1);
    simple(&n1, &Deployed { slots: 1, ..Deployed::one("blue", &n1, 1, endless().await) });
    let mut stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let ask = "GET /e/fraud/ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    within(stream.read_exact(&mut head)).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(n1.mesh.in_flight().values().sum::<u64>(), 1);
    drop(stream);
    until(|| n1.mesh.in_flight().is_empty()).await;
}

/// In each protocol, and while the one connection that has a place goes on.
#[tokio::test]
async fn who_finds_no_place_for_a_connection_is_told_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    (options.cores, options.limits.connections) = (1, 1);
    let mut registry = Registry::default();
    let mesh = Mesh::start(options, &mut registry).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    let ask = "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx";
    let mut first = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
    let mut head = [0; 12];
    for _ in 0..2 {
        first.write_all(ask.as_bytes()).await.expect("sent");
        within(first.read_exact(&mut head)).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"blue:x") {
            within(first.read_buf(&mut rest)).await.expect("the rest");
        }
        let text = raw(n1.mesh.ingress_addr(), ask, 1).await;
        assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 1"), "{text}");
        assert!(text.contains("x-berth-reason: connections"), "{text}");
        let mut other = http2(&n1).await;
        let mut told = Vec::new();
        within(other.read_to_end(&mut told)).await.expect("an end");
        let kinds: Vec<u8> = [told.get(3), told.get(12)].into_iter().flatten().copied().collect();
        assert_eq!(kinds, [SETTINGS, GOAWAY], "{told:?}");
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("metrics");
    assert!(text.contains("berth_mesh_connections_refused_total 4"), "{text}");
    drop(first);
    // The next one gets the place as soon as it is free.
    within(async { while !raw(n1.mesh.ingress_addr(), ask, 1).await.starts_with("HTTP/1.1 200") {} }).await;
}
