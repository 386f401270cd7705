//! Hedges over real sockets: a second replica beside a slow one, who is let go, and how often.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use berth_core::{
    id::ReplicaId,
    model::{HedgeAfter, Hedging},
    time::Millis,
    traffic::table::EndpointRoute,
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::Notify;

use crate::mesh_support::{
    Body, Deployed, Node, Placed, attempts, backend, body_of, call, counters, endpoint, full, header, node, post, until,
};

/// Long enough that a fast replica is never hedged, even on a busy machine.
const AFTER_MS: u64 = 150;

/// What replicas see of the requests they were given.
#[derive(Clone, Default)]
struct Seen {
    /// One of them has the request that takes long.
    taken: Arc<AtomicBool>,
    begun: Arc<AtomicU32>,
    let_go: Arc<AtomicU32>,
    failed: Arc<AtomicU32>,
    bytes: Arc<AtomicU32>,
    release: Arc<Notify>,
}

/// Counts a request that ends without an answer.
struct Working(Option<Seen>);

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(seen) = &self.0 {
            seen.let_go.fetch_add(1, SeqCst);
        }
    }
}

/// Two replicas that answer at once, but for the one that gets a body with `slow` first: that one has it until it is told
/// to answer. Whichever is drawn, it is the slow one. The other one fails if it shall.
async fn pair(seen: &Seen, fails: bool) -> [SocketAddr; 2] {
    [one_of(seen.clone(), fails).await, one_of(seen.clone(), fails).await]
}

async fn one_of(seen: Seen, fails: bool) -> SocketAddr {
    backend(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let mut working = Working(Some(seen.clone()));
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let is_slow = body.starts_with(b"slow");
            if is_slow && !seen.taken.swap(true, SeqCst) {
                seen.bytes.store(body.len() as u32, SeqCst);
                seen.begun.fetch_add(1, SeqCst);
                seen.release.notified().await;
            } else if is_slow && fails {
                seen.failed.fetch_add(1, SeqCst);
                let mut response = Response::new(body_of("no"));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                working.0 = None;
                return response;
            }
            working.0 = None;
            Response::new(body_of([b"done:", &body[..]].concat()))
        }
    })
    .await
}

/// A replica that answers at once until it is told to be stuck.
async fn moody(stuck: Arc<AtomicBool>, seen: Seen) -> SocketAddr {
    backend(move |request: Request<Incoming>| {
        let (stuck, seen) = (stuck.clone(), seen.clone());
        async move {
            request.into_body().collect().await.expect("a body");
            if stuck.load(SeqCst) {
                let _working = Working(Some(seen.clone()));
                seen.begun.fetch_add(1, SeqCst);
                return std::future::pending::<Response<Body>>().await;
            }
            Response::new(body_of("well"))
        }
    })
    .await
}

/// Two replicas of `blue` on `owner`, as `entry` and `owner` know them.
fn hedged(owner: &Node, entry: &Node, addresses: [SocketAddr; 2], hedging: Option<Hedging>) {
    let replicas = (1..).zip(addresses).map(|(id, address)| Placed { node: owner, id, address }).collect();
    let deployed = Deployed { replicas, ..Deployed::one("blue", owner, 1, addresses[0]) };
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    let route = EndpointRoute { idempotent: Some(true), hedging, ..route };
    for node in [entry, owner] {
        node.mesh.apply_table(full(1, vec![route.clone()])).expect("a table");
    }
}

fn after(ms: u64, budget_percent: u32) -> Option<Hedging> {
    Some(Hedging { after: HedgeAfter::Delay(Millis(ms)), budget_percent })
}

/// Deposits enough requests that one hedge is within the share.
async fn warm_up(entry: &Node, requests: u32) {
    for _ in 0..requests {
        let (parts, _) = call(entry.mesh.ingress_addr(), post("/e/fraud/any", "x")).await;
        assert_eq!(parts.status, 200);
    }
}

#[tokio::test]
async fn a_slow_replica_is_outrun_and_let_go_at_once_on_the_own_node_and_on_another() {
    for remote in [false, true] {
        let (n1, n2) = (node(1), node(2));
        let owner = if remote { &n2 } else { &n1 };
        let seen = Seen::default();
        hedged(owner, &n1, pair(&seen, false).await, after(AFTER_MS, 20));
        warm_up(&n1, 40).await;
        let before = counters(&n1, "blue");
        let (won, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/any", "slow b")).await;
        assert_eq!((won.status, body.as_ref()), (StatusCode::OK, &b"done:slow b"[..]));
        let winner = header(&won, "x-berth-replica").to_owned();
        let loser = if winner == ReplicaId(1).to_string() { ReplicaId(2) } else { ReplicaId(1) };
        // On the own node the slot is free before the answer is written; on another one a reset stream frees it.
        assert!(remote || owner.mesh.gate_in_flight(loser) == 0);
        until(|| owner.mesh.gate_in_flight(loser) == 0).await;
        until(|| seen.let_go.load(SeqCst) == 1).await;
        assert_eq!((header(&won, "x-berth-hedge"), attempts(&won)), ("won", 2));
        assert_eq!((seen.begun.load(SeqCst), seen.bytes.load(SeqCst)), (1, 6), "it had the whole request");
        let counted = counters(&n1, "blue");
        assert_eq!((counted.hedges - before.hedges, counted.hedges_won - before.hedges_won), (1, 1));
        // A report is closed with the last byte, which the caller may see before.
        let id = header(&won, "x-request-id");
        until(|| n1.mesh.find_request(id).is_some()).await;
        let report = n1.mesh.find_request(id).expect("it is remembered");
        let attempts: Vec<_> = report.attempts.iter().map(|of| (of.hedge, of.status, of.failure.as_str())).collect();
        assert_eq!(attempts, [(false, None, "outrun"), (true, Some(200), "")]);
    }
}

#[tokio::test]
async fn without_hedging_or_without_budget_nobody_else_is_asked() {
    for (hedging, requests, sent, why) in [
        (None, 20, 0, "off by default"),
        (after(1, 20), 0, 0, "no recent requests, no share"),
        (after(1, 20), 20, 1, "the share is there"),
    ] {
        let n1 = node(1);
        let (is_stuck, seen) = (Arc::new(AtomicBool::new(false)), Seen::default());
        let slow = [moody(is_stuck.clone(), seen.clone()).await, moody(is_stuck.clone(), seen.clone()).await];
        hedged(&n1, &n1, slow, None);
        warm_up(&n1, requests).await;
        is_stuck.store(true, SeqCst);
        let mut route = (*n1.mesh.table().endpoints.values().next().expect("the endpoint")).as_ref().clone();
        route.hedging = hedging;
        n1.mesh.apply_table(full(2, vec![route])).expect("a table");
        let asked = call(n1.mesh.ingress_addr(), {
            let mut request = post("/e/fraud/any", "x");
            request.headers_mut().insert("x-request-timeout-ms", "1500".parse().expect("a value"));
            request
        });
        let (parts, _) = asked.await;
        assert_eq!(parts.status, StatusCode::REQUEST_TIMEOUT, "{why}");
        assert_eq!(counters(&n1, "blue").hedges, sent, "{why}");
        until(|| seen.let_go.load(SeqCst) == 1 + sent as u32).await;
        assert_eq!(seen.begun.load(SeqCst), 1 + sent as u32, "{why}");
    }
}

#[tokio::test]
async fn a_replica_that_fails_at_once_does_not_win() {
    let n1 = node(1);
    let seen = Seen::default();
    hedged(&n1, &n1, pair(&seen, true).await, after(10, 20));
    warm_up(&n1, 40).await;
    let asked = tokio::spawn(call(n1.mesh.ingress_addr(), post("/e/fraud/any", "slow")));
    until(|| seen.failed.load(SeqCst) == 1).await;
    seen.release.notify_one();
    let (parts, body) = asked.await.expect("an answer");
    assert_eq!((parts.status, body.as_ref()), (StatusCode::OK, &b"done:slow"[..]));
    assert_eq!(header(&parts, "x-berth-hedge"), "lost");
}

#[tokio::test]
async fn a_percentile_is_learnt_from_answers() {
    let n1 = node(1);
    let seen = Seen::default();
    hedged(&n1, &n1, pair(&seen, false).await, Some(Hedging { budget_percent: 20, ..Hedging::default() }));
    warm_up(&n1, 120).await;
    let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/any", "slow")).await;
    assert_eq!((parts.status, body.as_ref()), (StatusCode::OK, &b"done:slow"[..]));
    assert_eq!(header(&parts, "x-berth-hedge"), "won");
}

#[tokio::test]
async fn two_that_never_answer_are_both_let_go_when_the_caller_leaves() {
    let n1 = node(1);
    let (is_stuck, seen) = (Arc::new(AtomicBool::new(true)), Seen::default());
    let slow = [moody(is_stuck.clone(), seen.clone()).await, moody(is_stuck, seen.clone()).await];
    hedged(&n1, &n1, slow, after(1, 20));
    // Requests that nobody waits for make the share.
    let asked: Vec<_> =
        (0..10).map(|_| tokio::spawn(call(n1.mesh.ingress_addr(), post("/e/fraud/any", "x")))).collect();
    until(|| seen.begun.load(SeqCst) >= 10).await;
    let asked_last = tokio::spawn(call(n1.mesh.ingress_addr(), post("/e/fraud/any", "x")));
    until(|| counters(&n1, "blue").hedges >= 1).await;
    asked.iter().chain([&asked_last]).for_each(|asked| asked.abort());
    until(|| seen.let_go.load(SeqCst) >= seen.begun.load(SeqCst)).await;
    until(|| n1.mesh.in_flight().is_empty()).await;
}
