//! WebSockets: from the ingress over the gate to a replica and back, byte for byte, holding their slot until they end.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    mesh_stream::raw,
    mesh_support::{Deployed, Node, counters, endpoint, full, node, until, within},
};

const ASK: &str = "GET /e/fraud/live?x=1 HTTP/1.1\r\nhost: any\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n\r\n";

/// A replica that agrees to a WebSocket and echoes what comes, or refuses. What it was asked goes before its answer.
pub(crate) async fn talker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    address
}

async fn talk(mut stream: TcpStream) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => asked.push(byte),
            Err(_) => return,
        }
    }
    let asked = String::from_utf8(asked).expect("a head").to_ascii_lowercase();
    if !asked.contains("upgrade: websocket") || asked.contains("/refuses") {
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nnope").await;
        return;
    }
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\nseen-path: {path}\r\n\r\nhello"
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let deaf = asked.contains("/deaf");
    let mut part = [0; 4_096];
    loop {
        match stream.read(&mut part).await {
            Ok(0) if deaf => std::future::pending().await,
            Ok(0) | Err(_) => return,
            Ok(read) if part[..read].starts_with(b"bye") => return,
            Ok(read) => {
                if stream.write_all(&part[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends the head of a handshake and reads that of its answer.
async fn ask(address: SocketAddr, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.expect("a head"));
    }
    (stream, String::from_utf8(head).expect("text"))
}

async fn exact(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    within(stream.read_exact(&mut got)).await.expect("read");
    assert_eq!(got, expected);
}

/// Puts `fraud` on the second node and serves it from the first's table version after `version`.
fn place(ingress: &Node, owner: &Node, version: u64, address: SocketAddr) {
    let route =
        endpoint("fraud", &[("blue", 100)], vec![Deployed::one("blue", owner, version, address).publish("fraud")]);
    ingress.mesh.apply_table(full(version, vec![route])).expect("a table");
}

#[tokio::test]
async fn a_conversation_goes_both_ways_and_holds_its_slot_over_one_hop_and_two() {
    let (n1, n2, address) = (node(1), node(2), talker().await);
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        place(&n1, owner, version, address);
        let (mut stream, head) = ask(n1.mesh.ingress_addr(), ASK).await;
        let lower = head.to_ascii_lowercase();
        assert!(lower.starts_with("http/1.1 101 "), "{head}");
        for line in [
            "connection: upgrade\r\n",
            "upgrade: websocket\r\n",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
            "sec-websocket-protocol: chat\r\n",
            "seen-path: /live?x=1\r\n",
            "azureml-model-deployment: blue\r\n",
        ] {
            assert!(lower.contains(line), "{line}: {head}");
        }
        assert!(!lower.contains("x-berth-gate"), "{head}");
        exact(&mut stream, b"hello").await;
        let replica = berth_core::id::ReplicaId(version);
        for turn in 0..50_u32 {
            let frame = turn.to_be_bytes().repeat(1 + turn as usize);
            stream.write_all(&frame).await.expect("sent");
            exact(&mut stream, &frame).await;
            assert_eq!(owner.mesh.gate_in_flight(replica), 1, "the slot is held");
        }
        stream.write_all(b"bye").await.expect("sent");
        assert_eq!(within(stream.read(&mut [0])).await.expect("an end"), 0, "the replica ended it");
        until(|| owner.mesh.gate_in_flight(replica) == 0 && n1.mesh.in_flight().is_empty()).await;
    }
    assert_eq!(counters(&n1, "blue").retries, 0);
}

#[tokio::test]
async fn whoever_leaves_frees_the_slot() {
    let (n1, n2, address) = (node(1), node(2), talker().await);
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        place(&n1, owner, version, address);
        let replica = berth_core::id::ReplicaId(version);
        // The last one ends its side only, and its replica does not care: it is cut in time.
        for (path, cut) in [("/live", true), ("/live", false), ("/deaf", false)] {
            let (mut stream, _) = ask(n1.mesh.ingress_addr(), &ASK.replace("/live", path)).await;
            exact(&mut stream, b"hello").await;
            assert_eq!(owner.mesh.gate_in_flight(replica), 1);
            if cut {
                drop(stream);
            } else {
                stream.shutdown().await.expect("half closed");
                assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0, "{path}");
            }
            until(|| owner.mesh.gate_in_flight(replica) == 0 && n1.mesh.in_flight().is_empty()).await;
        }
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_other_protocols_are_not_taken() {
    let (n1, n2, address) = (node(1), node(2), talker().await);
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        place(&n1, owner, version, address);
        for request in [
            ASK.replace("/live", "/refuses"),
            // To HTTP/2 in clear, which would reach the replica past every check.
            ASK.replace("WebSocket", "h2c")
                .replace("connection: keep-alive, Upgrade", "connection: Upgrade, HTTP2-Settings"),
            ASK.replace("keep-alive, Upgrade", "keep-alive"),
        ] {
            let answer = raw(n1.mesh.ingress_addr(), &request, 1).await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("nope"), "{request} {answer}");
        }
        let nobody = raw(n1.mesh.ingress_addr(), &ASK.replace("/e/fraud", "/e/none"), 1).await;
        assert!(nobody.starts_with("HTTP/1.1 404 "), "{nobody}");
        until(|| n1.mesh.in_flight().is_empty() && owner.mesh.in_flight().is_empty()).await;
    }
}

#[tokio::test]
async fn over_http2_a_stream_is_a_conversation() {
    let (n1, n2, address) = (node(1), node(2), talker().await);
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        place(&n1, owner, version, address);
        let stream = TcpStream::connect(n1.mesh.ingress_addr()).await.expect("a connection");
        let (sender, connection) = within(h2::client::handshake(stream)).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let mut sender = within(sender.ready()).await.expect("ready");
        // Whether it may be asked is said with the settings.
        within(async {
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{}/e/fraud/live", n1.mesh.ingress_addr()))
            .header("sec-websocket-version", "13")
            .body(())
            .expect("a request");
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, mut send) = sender.send_request(request, false).expect("sent");
        let answer = within(answer).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut body = answer.into_body();
        let mut got = Vec::new();
        for (said, expected) in [("", "hello"), ("one", "helloone"), ("two", "helloonetwo")] {
            if !said.is_empty() {
                send.send_data(Bytes::from_static(said.as_bytes()), false).expect("sent");
            }
            while got.len() < expected.len() {
                got.extend_from_slice(&within(body.data()).await.expect("more").expect("data"));
            }
            assert_eq!(got, expected.as_bytes());
        }
        send.send_data(Bytes::from_static(b"bye"), false).expect("sent");
        while let Some(last) = within(body.data()).await {
            assert!(last.expect("the replica ended it in order").is_empty());
        }
        until(|| n1.mesh.in_flight().is_empty() && owner.mesh.in_flight().is_empty()).await;
        connection.abort();
    }
}

#[tokio::test]
async fn a_node_that_drains_lets_a_conversation_end_and_cuts_it_at_its_deadline() {
    for (farewell, drain) in [(true, Duration::from_secs(20)), (false, Duration::from_millis(50))] {
        let (n1, address) = (node(1), talker().await);
        place(&n1, &n1, 1, address);
        let (mut stream, _) = ask(n1.mesh.ingress_addr(), ASK).await;
        exact(&mut stream, b"hello").await;
        let mesh = n1.mesh.clone();
        let ends = tokio::spawn(async move { mesh.shutdown(drain).await });
        if farewell {
            for turn in 0..10_u8 {
                stream.write_all(&[turn]).await.expect("sent");
                exact(&mut stream, &[turn]).await;
            }
            stream.write_all(b"bye").await.expect("sent");
        }
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);
        within(ends).await.expect("it ends");
    }
}
