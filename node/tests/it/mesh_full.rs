//! A deployment that is full: what it costs to refuse the rest, counted in messages to other nodes' gates.

use std::{sync::Arc, time::Duration};

use berth_core::id::NodeId;
use berth_node::mesh::Mesh;
use http::Response;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::mesh_support::{
    Deployed, Node, Placed, TOKEN, attempts, backend, body_of, call, endpoint, full, header, node, open, options, post,
    until,
};

/// Replicas on the other node, each with one slot and one place to wait.
const REPLICAS: u64 = 24;

#[tokio::test]
async fn refusing_what_finds_every_gate_full_asks_hardly_any() {
    /// As many as are refused.
    const REFUSED: u64 = 200;
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    // However slow the machine is: what a gate says of itself still bounds it.
    options.limits.believe_full = Duration::from_secs(3_600);
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    let (n1, n2) = (Node { mesh, id: NodeId(1), dir }, node(2));
    let done = Arc::new(Semaphore::new(0));
    let leave = done.clone();
    let address = backend(move |_request| {
        let leave = leave.clone();
        async move {
            leave.acquire().await.expect("open").forget();
            Response::new(body_of("done"))
        }
    })
    .await;
    let replicas = (1..=REPLICAS).map(|id| Placed { node: &n2, id, address }).collect();
    let deployed = Deployed {
        slots: 1,
        queue_ms: 600_000,
        timeout_ms: 600_000,
        replicas,
        ..Deployed::one("blue", &n2, 1, address)
    };
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let ingress = n1.mesh.ingress_addr();
    let taken = || n2.mesh.in_flight().values().sum::<u64>();

    // Some of these are turned away by the few they ask for a place to wait; others take those places.
    let mut callers = Vec::new();
    while taken() < 2 * REPLICAS {
        let before = taken();
        let caller = tokio::spawn(open(ingress, post("/e/fraud/score", "")));
        until(|| taken() > before || caller.is_finished()).await;
        callers.push(caller);
    }

    let (mut asked, mut unasked) = (0, 0);
    for _ in 0..REFUSED {
        let (parts, _) = call(ingress, post("/e/fraud/score", "")).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-reason")), (429, "full"));
        assert!(header(&parts, "retry-after").parse::<u64>().expect("seconds") >= 1);
        let attempts = attempts(&parts);
        assert!(attempts <= REPLICAS + 4, "each for a slot, and four for a place to wait: {attempts}");
        asked += attempts;
        unasked += u64::from(attempts == 0);
    }
    // Each twice would be 48 times as many as were refused.
    assert!(asked < 2 * REFUSED, "{asked} messages to refuse {REFUSED}");
    assert!(unasked > REFUSED / 2, "{unasked} of {REFUSED} were refused without a message");

    // An answer is news of a place: the next request gets it.
    done.add_permits(1);
    until(|| callers.iter().any(|caller| caller.is_finished()) && taken() < 2 * REPLICAS).await;
    while taken() < 2 * REPLICAS {
        let caller = tokio::spawn(open(ingress, post("/e/fraud/score", "")));
        until(|| taken() == 2 * REPLICAS || caller.is_finished()).await;
        callers.push(caller);
    }
    done.add_permits(2 * REPLICAS as usize);
    until(|| taken() == 0).await;
}
