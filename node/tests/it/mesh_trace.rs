//! Traces: a caller's context goes into the replica under the request's own span, and the span comes out.

use std::sync::{Arc, Mutex};

use berth_core::{
    id::NodeId,
    traffic::trace::{SHARE_OF, TraceContext},
};
use berth_node::mesh::{Mesh, MeshOptions, Span, SpanOptions};
use http::{HeaderMap, Response};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::sync::mpsc;

use crate::mesh_support::{Deployed, Node, TOKEN, backend, body_of, call, node, options, post, simple, within};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// A replica that remembers what it was told.
async fn told() -> (std::net::SocketAddr, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let address = backend(move |request| {
        kept.lock().expect("no panic").push(request.headers().clone());
        async { Response::new(body_of("ok")) }
    })
    .await;
    (address, seen)
}

/// A node that keeps a share of the traces that begin at it.
fn tracing(share: u32, waiting: usize, registry: &mut Registry) -> (Node, mpsc::Receiver<Span>) {
    let dir = tempfile::tempdir().expect("a folder");
    let (sink, spans) = mpsc::channel(waiting);
    let options = MeshOptions { spans: Some(SpanOptions { sink, share }), ..options(1, &dir) };
    let mesh = Mesh::start(options, registry).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    (Node { mesh, id: NodeId(1), dir }, spans)
}

fn context(headers: &HeaderMap) -> TraceContext {
    let value = headers.get("traceparent").expect("a context");
    TraceContext::parse(value.as_bytes()).expect("a context that can be read")
}

#[tokio::test]
async fn a_callers_trace_goes_on_in_the_replica_and_its_span_comes_out() {
    let (n1, mut spans) = tracing(0, 16, &mut Registry::default());
    let (address, seen) = told().await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    let mut request = post("/e/fraud/score?secret=1", "body");
    request.headers_mut().insert("traceparent", CALLER.parse().expect("a value"));
    request.headers_mut().insert("tracestate", "vendor=1".parse().expect("a value"));
    call(n1.mesh.ingress_addr(), request).await;

    let caller = TraceContext::parse(CALLER.as_bytes()).expect("it can be read");
    let span = within(spans.recv()).await.expect("a span");
    assert_eq!((span.entered.context.trace_id, span.entered.parent), (caller.trace_id, Some(caller.span_id)));
    assert_eq!((span.endpoint.as_str(), span.deployment.as_str(), span.status), ("fraud", "blue", 200));
    assert_eq!((span.path.as_str(), span.method.as_str(), span.end), ("/e/fraud/score", "POST", "whole"));
    assert_eq!((span.request_bytes, span.response_bytes), (4, 2));
    let [attempt] = &span.attempts[..] else { panic!("{span:?}") };
    assert_eq!((attempt.replica.as_str(), attempt.status), ("0000000000000001", Some(200)));
    assert!(span.took >= attempt.after + attempt.took, "{span:?}");

    let told = seen.lock().expect("no panic").remove(0);
    assert_eq!(context(&told), span.entered.context, "the replica is told of the request's own span");
    assert_eq!(told.get("tracestate").map(|value| value.as_bytes()), Some(&b"vendor=1"[..]));
}

#[tokio::test]
async fn who_does_not_sample_gets_no_span_and_keeps_its_trace() {
    let (n1, mut spans) = tracing(SHARE_OF, 16, &mut Registry::default());
    let (address, seen) = told().await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    for (given, sampled, why) in [
        (Some(UNSAMPLED), false, "the caller decides"),
        (None, true, "it begins here"),
        (Some("00-nonsense"), true, "what cannot be read is no context"),
    ] {
        let mut request = post("/e/fraud/score", "body");
        if let Some(given) = given {
            request.headers_mut().insert("traceparent", given.parse().expect("a value"));
        }
        request.headers_mut().insert("tracestate", "vendor=1".parse().expect("a value"));
        call(n1.mesh.ingress_addr(), request).await;
        let told = seen.lock().expect("no panic").remove(0);
        assert_eq!(context(&told).sampled, sampled, "{why}");
        assert_eq!(told.contains_key("tracestate"), given == Some(UNSAMPLED), "state means nothing alone: {why}");
        if sampled {
            let span = within(spans.recv()).await.expect("a span");
            assert_eq!((span.entered.context, span.entered.parent), (context(&told), None), "{why}");
        }
    }
    assert!(spans.try_recv().is_err(), "none of the one that was not sampled");
}

#[tokio::test]
async fn a_collector_that_does_not_keep_up_costs_spans_and_nothing_else() {
    let mut registry = Registry::default();
    let (n1, spans) = tracing(SHARE_OF, 1, &mut registry);
    let (address, _) = told().await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    for _ in 0..3 {
        let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
        assert_eq!(parts.status, 200);
    }
    crate::mesh_support::until(|| {
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text.contains("berth_mesh_spans_lost_total 2")
    })
    .await;
    drop(spans);
}

#[tokio::test]
async fn without_a_collector_a_context_goes_through_as_it_came() {
    let n1 = node(1);
    let (address, seen) = told().await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    let mut request = post("/e/fraud/score", "body");
    request.headers_mut().insert("traceparent", CALLER.parse().expect("a value"));
    call(n1.mesh.ingress_addr(), request).await;
    let told = seen.lock().expect("no panic").remove(0);
    assert_eq!(told.get("traceparent").map(|value| value.as_bytes()), Some(CALLER.as_bytes()));
}
