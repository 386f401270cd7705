//! gRPC calls are counted by how they went: what all of them are to HTTP is 200.

use std::collections::BTreeMap;

use berth_core::{
    id::{NodeId, ReplicaId},
    traffic::trace::SHARE_OF,
};
use berth_node::mesh::{AccessLogOptions, Mesh, MeshOptions, SpanOptions};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::mesh_support::{
    Body, Deployed, Node, TOKEN, backend, body_of, call, counters, header, node, open, options, post, simple, until,
    within,
};

/// A call with an id of the caller's choice.
fn grpc(method: &str, content_type: &str) -> Request<Full<Bytes>> {
    let mut request = post(&format!("/e/fraud/echo.Echo/{method}"), "");
    request.headers_mut().insert("content-type", content_type.parse().expect("a value"));
    request.headers_mut().insert("x-request-id", method.parse().expect("a value"));
    request
}

/// A message, then what comes behind it once the message is out: a server takes back what it has not written when it breaks off.
fn message_and(behind: Option<Result<Frame<Bytes>, std::io::Error>>) -> Body {
    let message = Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\0")));
    let behind = async move {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        behind
    };
    let frames = stream::iter([message]).chain(stream::once(behind).filter_map(std::future::ready));
    http_body_util::BodyExt::boxed(StreamBody::new(frames))
}

fn trailers(status: &str) -> Option<Result<Frame<Bytes>, std::io::Error>> {
    let status = (HeaderName::from_static("grpc-status"), status.parse().expect("a value"));
    Some(Ok(Frame::trailers(HeaderMap::from_iter([status]))))
}

/// A server of gRPC: how a call of it goes is its name.
async fn server() -> std::net::SocketAddr {
    backend(|request| async move {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let (content_type, at_head, body) = match method.as_str() {
            "fails" => ("application/grpc", "", message_and(trailers("13"))),
            "refuses" => ("application/grpc+proto", "5", body_of("")),
            "says-nothing" => ("application/grpc", "", message_and(None)),
            "breaks" => ("application/grpc", "", message_and(Some(Err(std::io::Error::other("broke"))))),
            "breaks-text" => ("text/plain", "", message_and(Some(Err(std::io::Error::other("broke"))))),
            "waits" => std::future::pending().await,
            "web" => ("application/grpc-web", "", message_and(None)),
            _ => ("application/grpc", "", message_and(trailers("0"))),
        };
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", content_type.parse().expect("a value"));
        if !at_head.is_empty() {
            response.headers_mut().insert("grpc-status", at_head.parse().expect("a value"));
        }
        response
    })
    .await
}

#[tokio::test]
async fn a_call_is_counted_by_how_it_went() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("access.log");
    let access_log = Some(AccessLogOptions { path: path.clone(), max_bytes: 1 << 20, files: 1 });
    let (sink, mut spans) = mpsc::channel(16);
    let spans_to = Some(SpanOptions { sink, share: SHARE_OF });
    let mut registry = Registry::default();
    let mesh = Mesh::start(MeshOptions { access_log, spans: spans_to, ..options(1, &dir) }, &mut registry);
    let mesh = mesh.expect("a mesh");
    mesh.set_gate_token(TOKEN);
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed::one("blue", &n1, 1, server().await));
    let mut counted = BTreeMap::new();
    for (method, content_type, status, class, said, why) in [
        ("goes-well", "application/grpc", 200, 0, Some(0), "it says so in its trailers"),
        ("fails", "application/grpc", 500, 3, Some(13), "it says so in its trailers"),
        ("refuses", "application/grpc", 404, 2, Some(5), "it says so at its head"),
        ("says-nothing", "application/grpc", 500, 3, None, "clients call that unknown"),
        ("breaks", "application/grpc", 502, 3, None, "the replica broke off"),
        ("breaks-text", "text/plain", 200, 0, None, "what is no gRPC is counted at its head"),
        ("web", "application/grpc-web", 200, 0, None, "its status is in its body"),
    ] {
        let answer = within(open(n1.mesh.ingress_addr(), grpc(method, content_type))).await;
        assert_eq!(answer.status(), 200, "{method}: to HTTP");
        let _ = within(answer.into_body().collect()).await;
        until(|| n1.mesh.find_request(method).is_some()).await;
        let report = n1.mesh.find_request(method).expect("it was there");
        assert_eq!((report.status, report.grpc_status), (200, said), "{method}: {why}");
        *counted.entry(status).or_insert(0) += 1;
        assert_eq!(counters(&n1, "blue").answers, counted, "{method}: {why}");
        let took = counters(&n1, "blue").took_by_class.map(|took| took.counts.iter().sum::<u64>());
        let of_class =
            |at: usize| counted.iter().filter(move |(status, _)| **status / 100 == at as u16 + 2).map(|(_, n)| n);
        assert_eq!(took[class], of_class(class).sum::<u64>(), "{method}: {why}");
        let span = within(spans.recv()).await.expect("a span");
        assert_eq!(span.grpc_status.map(|said| u32::from(said.number())), said, "{method}: {why}");
        let line = || {
            let text = std::fs::read_to_string(&path).ok()?;
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["XRequestId"] == method)
        };
        until(|| line().is_some()).await;
        let line = line().expect("a line");
        assert_eq!((&line["ResponseCode"], line["GrpcStatus"].as_u64()), (&200.into(), said.map(u64::from)), "{line}");
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("metrics");
    for (by, count) in [("caller", 0), ("replica", 2)] {
        let line = format!(r#"berth_mesh_cut_total{{endpoint="fraud",deployment="blue",by="{by}"}} {count}"#);
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_refused_call_is_counted_as_the_refusal_and_not_as_200() {
    let n1 = node(1);
    simple(&n1, &Deployed { slots: 1, queue_ms: 0, ..Deployed::one("blue", &n1, 1, server().await) });
    let ingress = n1.mesh.ingress_addr();
    let holder = tokio::spawn(open(ingress, grpc("waits", "application/grpc")));
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 1).await;
    let (parts, _) = call(ingress, grpc("full", "application/grpc")).await;
    assert_eq!((parts.status.as_u16(), header(&parts, "grpc-status")), (200, "8"));
    assert_eq!(counters(&n1, "blue").answers, [(429, 1)].into(), "shed");
    until(|| n1.mesh.find_request("full").is_some()).await;
    assert_eq!(n1.mesh.find_request("full").and_then(|report| report.grpc_status), Some(8));
    let mut lost = grpc("lost", "application/grpc");
    *lost.uri_mut() = "/e/nowhere/echo.Echo/lost".parse().expect("a path");
    call(ingress, lost).await;
    assert_eq!(n1.mesh.counters().unrouted, [(404, 1)].into());
    holder.abort();
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_call_has_cancelled_it() {
    let n1 = node(1);
    let (sender, receiver) = mpsc::channel::<Frame<Bytes>>(1);
    let stream = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let address = backend(move |_| {
        let stream = stream.lock().expect("no panic").take().expect("one call");
        let mut response = Response::new(crate::mesh_stream::stream_of(stream));
        response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
        async { response }
    })
    .await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    let mut answer = within(open(n1.mesh.ingress_addr(), grpc("left", "application/grpc"))).await;
    sender.send(Frame::data(Bytes::from_static(b"half"))).await.expect("a reader");
    within(answer.frame()).await.expect("a frame").expect("no error");
    assert!(counters(&n1, "blue").answers.is_empty(), "nobody knows yet how it goes");
    drop(answer);
    until(|| n1.mesh.find_request("left").is_some()).await;
    let counted = counters(&n1, "blue");
    assert_eq!((counted.answers, counted.cut_by_callers, counted.cut_by_replicas), ([(499, 1)].into(), 1, 0));
}
