//! What may be sent again, and what callers hear where it could not be.

use std::{net::SocketAddr, time::Instant};

use berth_core::{
    id::{NodeId, ReplicaId},
    traffic::table::{DeploymentRoute, EndpointRoute},
};
use berth_node::mesh::{LocalState, Mesh};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use prometheus_client::registry::Registry;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

use crate::mesh_support::{Deployed, Node, Placed, attempts, call, echo, endpoint, full, header, node, options};

const KIB: usize = 1 << 10;

fn sized(bytes: usize) -> Request<Full<Bytes>> {
    let body = Bytes::from((0..bytes).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    Request::post("/e/fraud/score").header("host", "any").body(Full::new(body)).expect("a request")
}

/// A node that keeps so much of all requests.
fn keeping(per_node: usize) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.replay_bytes_per_node = per_node;
    options.limits.replay_bytes = 5 << 20;
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    Node { mesh, id: NodeId(1), dir }
}

/// An endpoint that takes larger bodies than are kept.
fn routed(blue: DeploymentRoute) -> EndpointRoute {
    EndpointRoute { max_body_bytes: 8 << 20, ..endpoint("fraud", &[("blue", 100)], vec![blue]) }
}

/// A replica that reads a request whose body ends with its last byte, and breaks off.
async fn breaks_off(bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(read_whole(stream, bytes));
        }
    });
    address
}

async fn read_whole(mut stream: TcpStream, bytes: usize) {
    let mut seen = Vec::new();
    while stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {
        let head = seen.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| seen.len() >= head + 4 + bytes) {
            return;
        }
    }
}

#[tokio::test]
async fn an_answer_says_that_its_request_could_not_have_been_sent_again() {
    for (per_node, idempotent, bytes, said) in [
        (64 << 20, false, 0, ""),
        (64 << 20, false, 900 * KIB, ""),
        // A replica has begun it, so there is no use in it.
        (64 << 20, false, 2_000 * KIB, "too-large"),
        (64 << 20, true, 2_000 * KIB, ""),
        (64 << 20, true, 7_000 * KIB, "too-large"),
        (0, true, 2_000 * KIB, "no-room"),
        (0, false, 100 * KIB, "no-room"),
        // The first few of each are kept whatever others keep.
        (0, false, 16 * KIB, ""),
    ] {
        let n1 = keeping(per_node);
        let deployed = Deployed::one("blue", &n1, 1, echo("blue").await);
        let route = EndpointRoute { idempotent: Some(idempotent), ..routed(deployed.publish("fraud")) };
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        let (parts, answer) = call(n1.mesh.ingress_addr(), sized(bytes)).await;
        assert_eq!((parts.status.as_u16(), answer.len()), (200, bytes + 5));
        assert_eq!(header(&parts, "x-berth-replay"), said, "{bytes} bytes of {per_node}, {idempotent}");
        let found = n1.mesh.find_request(header(&parts, "x-request-id")).expect("it is remembered");
        assert_eq!(found.replay, said);
    }
}

#[tokio::test]
async fn what_is_not_at_hand_is_not_sent_again() {
    for (per_node, bytes, asked, said) in [
        (0, 8 * KIB, 2, ""),
        (0, 100 * KIB, 1, "no-room"),
        // A batch of tensors, sent again as a whole.
        (64 << 20, 4_000 * KIB, 2, ""),
        (64 << 20, 7_000 * KIB, 1, "too-large"),
    ] {
        let n1 = keeping(per_node);
        let mut replicas = Vec::new();
        for id in [1, 2] {
            replicas.push(Placed { node: &n1, id, address: breaks_off(bytes).await });
        }
        let deployed = Deployed { replicas, ..Deployed::one("blue", &n1, 1, SocketAddr::from(([127, 0, 0, 1], 9))) };
        let route = EndpointRoute { idempotent: Some(true), ..routed(deployed.publish("fraud")) };
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        let (parts, _) = call(n1.mesh.ingress_addr(), sized(bytes)).await;
        assert_eq!(parts.status, 424, "{parts:?}");
        assert_eq!((attempts(&parts), header(&parts, "x-berth-replay")), (asked, said), "{bytes}");
    }
}

/// Everything may be sent again here and nothing helps: a fifth more, and a floor, is all that broken replicas are asked.
#[tokio::test]
async fn what_is_sent_again_is_a_fifth_more_at_most() {
    const REQUESTS: u64 = 500;
    let n1 = keeping(64 << 20);
    let mut replicas = Vec::new();
    for id in 1..=6 {
        replicas.push(Placed { node: &n1, id, address: breaks_off(100).await });
    }
    let deployed = Deployed { replicas, ..Deployed::one("blue", &n1, 1, SocketAddr::from(([127, 0, 0, 1], 9))) };
    let route = EndpointRoute { idempotent: Some(true), ..routed(deployed.publish("fraud")) };
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let begun = Instant::now();
    let mut again = 0;
    for _ in 0..REQUESTS {
        let (parts, _) = call(n1.mesh.ingress_addr(), sized(100)).await;
        again += attempts(&parts) - 1;
    }
    // Three a second are always granted, of the ten seconds that are looked back on.
    let floor = 3 * (10 + begun.elapsed().as_secs() + 1);
    assert!((1..=REQUESTS / 5 + floor).contains(&again), "{again} of {REQUESTS} in {:?}", begun.elapsed());
}

/// A gate of another node refuses from the head: what it did not read is still to be had.
#[tokio::test]
async fn a_large_body_goes_on_when_a_gate_has_not_started_it() {
    let (n1, n2, n3) = (node(1), node(2), node(3));
    let address = echo("blue").await;
    let mut replicas: Vec<_> = [1, 2, 3].map(|id| Placed { node: &n2, id, address }).into();
    replicas.push(Placed { node: &n3, id: 4, address });
    let deployed = Deployed { replicas, ..Deployed::one("blue", &n2, 1, address) };
    let mut blue = deployed.publish("fraud");
    for placed in &deployed.replicas[..3] {
        n2.mesh.publish_local(ReplicaId(placed.id), deployed.local("fraud", placed, LocalState::Draining));
    }
    // Of any two that are drawn, the one that is leaving is asked first: it may take more.
    blue.replicas[3].slots = 1;
    n1.mesh.apply_table(full(1, vec![routed(blue)])).expect("a table");
    let bytes = 3_000 * KIB;
    let (parts, answer) = call(n1.mesh.ingress_addr(), sized(bytes)).await;
    assert_eq!((parts.status.as_u16(), answer.len(), attempts(&parts)), (200, bytes + 5, 4));
    assert!(answer[5..].iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251), "every byte, once");
}
