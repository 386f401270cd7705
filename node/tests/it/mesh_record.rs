//! What the ingress writes down: the memory that is asked for a request, the access log, and the times.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use berth_core::{
    id::{Digest, NodeId, ReplicaId},
    model::AuthMode,
    traffic::table::EndpointRoute,
};
use berth_node::mesh::{AccessLogOptions, Mesh, MeshOptions};
use berth_proto::api::v1::RequestReport;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    mesh_stream::stream_of,
    mesh_support::{
        Deployed, Node, Placed, TOKEN, backend, body_of, call, echo, endpoint, full, header, node, open, options, post,
        simple, until, within,
    },
};

/// A request with an id of the caller's choice.
fn named(path: &str, id: &str) -> Request<Full<Bytes>> {
    let mut request = post(path, "body");
    request.headers_mut().insert("x-request-id", id.parse().expect("a value"));
    request
}

/// Waits for a report: it is closed with the last byte, which the caller may see before.
async fn report(node: &Node, id: &str) -> RequestReport {
    until(|| node.mesh.find_request(id).is_some()).await;
    node.mesh.find_request(id).expect("it was there")
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn a_request_is_remembered_with_who_was_drawn_and_asked() {
    let n1 = node(1);
    let (dead, alive) = (nobody().await, echo("blue").await);
    let replicas = vec![Placed { node: &n1, id: 1, address: dead }, Placed { node: &n1, id: 2, address: alive }];
    simple(&n1, &Deployed { replicas, ..Deployed::one("blue", &n1, 0, alive) });
    // Which of the two is asked first is a matter of chance; the one that refuses is soon left alone.
    let mut asked = None;
    for _ in 0..64 {
        let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/score?x=1", "body")).await;
        assert_eq!(parts.status, 200);
        let found = report(&n1, header(&parts, "x-request-id")).await;
        if found.attempt_count == 2 {
            asked = Some(found);
            break;
        }
    }
    let found = asked.expect("one that met the dead replica first");
    assert_eq!(
        (found.method.as_str(), found.path.as_str(), found.protocol.as_str()),
        ("POST", "/e/fraud/score?x=1", "HTTP/1.1")
    );
    assert_eq!((found.endpoint.as_str(), found.deployment.as_str()), ("fraud", "blue"));
    assert_eq!((found.chosen_by.as_str(), found.share_percent, found.table_version), ("split", 100, 1));
    assert_eq!((found.candidates, found.drawn.len()), (2, 2));
    let drawn: BTreeSet<_> = found.drawn.iter().map(|drawn| drawn.replica.as_str()).collect();
    assert_eq!(drawn.len(), 2, "two different ones");
    let [first, second] = &found.attempts[..] else { panic!("{found:?}") };
    assert_eq!(first.replica, found.drawn[0].replica, "the lighter of the two came first");
    assert_eq!((first.failure.as_str(), first.status), ("unreachable", None));
    assert_eq!((second.failure.as_str(), second.status), ("", Some(200)));
    assert!(first.after_us <= second.after_us);
    assert_eq!((found.status, found.end.as_str(), found.request_bytes), (200, "whole", 4));
    assert_eq!(found.response_bytes, "blue:body".len() as u64);
    assert!(found.head_us.is_some_and(|head| head <= found.total_us));
}

#[tokio::test]
async fn pins_keys_and_ids_of_callers_are_remembered() {
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    for (name, value, by) in [("azureml-model-deployment", "blue", "pin"), ("x-berth-key", "user-7", "key")] {
        let mut request = named("/e/fraud/score", by);
        request.headers_mut().insert(name, value.parse().expect("a value"));
        request.headers_mut().insert("x-ms-client-request-id", "theirs".parse().expect("a value"));
        call(n1.mesh.ingress_addr(), request).await;
        assert_eq!(report(&n1, by).await.chosen_by, by, "{name}");
        assert_eq!(report(&n1, "theirs").await.id, by, "the newest of that id");
    }
}

#[tokio::test]
async fn what_was_refused_or_broke_off_says_why() {
    let n1 = node(1);
    let (events, stream) = mpsc::channel::<Frame<Bytes>>(1);
    let stream = std::sync::Arc::new(std::sync::Mutex::new(Some(stream)));
    let address = backend(move |request| {
        let stream = stream.clone();
        async move {
            if request.uri().path() == "/silent" {
                let _ = request.into_body().collect().await;
                std::future::pending::<()>().await;
            }
            Response::new(stream_of(stream.lock().expect("no panic").take().expect("one stream")))
        }
    })
    .await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    let ingress = n1.mesh.ingress_addr();

    call(ingress, named("/e/nowhere/score", "lost")).await;
    let lost = report(&n1, "lost").await;
    assert_eq!((lost.status, lost.refusal_code.as_str(), lost.endpoint.as_str()), (404, "E_ENDPOINT_NOT_FOUND", ""));

    let caller = tokio::spawn(open(ingress, named("/e/fraud/silent", "left")));
    until(|| n1.mesh.in_flight().values().sum::<u64>() == 1).await;
    caller.abort();
    let left = report(&n1, "left").await;
    assert_eq!((left.status, left.end.as_str(), left.head_us), (0, "left", None));
    assert_eq!(left.attempts[0].failure, "open");

    let mut answer = within(open(ingress, named("/e/fraud/score", "cut"))).await;
    events.send(Frame::data(Bytes::from_static(b"half"))).await.expect("a reader");
    within(answer.frame()).await.expect("a frame").expect("no error");
    assert_eq!(n1.mesh.find_request("cut"), None, "it is not over");
    drop(answer);
    let cut = report(&n1, "cut").await;
    assert_eq!((cut.status, cut.end.as_str(), cut.response_bytes), (200, "cut", 4));
}

#[tokio::test]
async fn refusals_of_a_full_gate_are_told_with_their_reason() {
    let n1 = node(1);
    let address = backend(|request| async move {
        let _ = request.into_body().collect().await;
        std::future::pending().await
    })
    .await;
    simple(&n1, &Deployed { slots: 1, queue_ms: 0, ..Deployed::one("blue", &n1, 1, address) });
    let ingress = n1.mesh.ingress_addr();
    let holder = tokio::spawn(open(ingress, post("/e/fraud/score", "")));
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 1).await;
    let (parts, _) = call(ingress, named("/e/fraud/score", "full")).await;
    assert_eq!(parts.status, 429);
    let full = report(&n1, "full").await;
    assert_eq!((full.refusal_code.as_str(), full.gate_reason.as_str()), ("E_TOO_MANY_REQUESTS", "full"));
    holder.abort();
}

#[tokio::test]
async fn every_request_is_a_line_and_the_disk_is_not_filled() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("logs/access.log");
    let access_log = Some(AccessLogOptions { path: path.clone(), max_bytes: 4_096, files: 2 });
    let mut registry = Registry::default();
    let mesh = Mesh::start(MeshOptions { access_log, ..options(1, &dir) }, &mut registry).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    let mut request = named("/e/fraud/score?secret=no", "the-first");
    request.headers_mut().insert("user-agent", "u".repeat(100).parse().expect("a value"));
    call(n1.mesh.ingress_addr(), request).await;
    let first = || std::fs::read_to_string(&path).ok()?.lines().next().map(str::to_owned);
    until(|| first().is_some()).await;
    let line: Value = serde_json::from_str(&first().expect("a line")).expect("JSON");
    for (column, value) in [
        ("Method", "POST"),
        ("Path", "/e/fraud/score"),
        ("EndpointName", "fraud"),
        ("DeploymentName", "blue"),
        ("Protocol", "HTTP/1.1"),
        ("ResponseCodeReason", "OK"),
        ("ModelStatusReason", "OK"),
        ("AuthType", ""),
        ("XRequestId", "the-first"),
        ("Replica", "0000000000000001"),
        ("End", "whole"),
    ] {
        assert_eq!(line[column], value, "{column} of {line}");
    }
    // Azure's columns, each of them: a query names what it likes.
    for column in [
        "Method",
        "Path",
        "SubscriptionId",
        "AzureMLWorkspaceId",
        "AzureMLWorkspaceName",
        "EndpointName",
        "DeploymentName",
        "Protocol",
        "ResponseCode",
        "ResponseCodeReason",
        "RequestPayloadSize",
        "ResponsePayloadSize",
        "UserAgent",
        "XRequestId",
        "XMSClientRequestId",
        "TotalDurationMs",
        "RequestDurationMs",
        "ResponseDurationMs",
        "RequestThrottlingDelayMs",
        "ResponseThrottlingDelayMs",
        "IdentityData",
    ] {
        assert!(line.get(column).is_some(), "{column} of {line}");
    }
    let numbers = ["ResponseCode", "ModelStatusCode", "RequestPayloadSize"].map(|column| line[column].as_u64());
    assert_eq!(numbers, [Some(200), Some(200), Some(4)]);
    assert_eq!(line["UserAgent"].as_str().map(str::len), Some(70), "cut as Azure cuts it");
    assert!(line["TimeGenerated"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");

    let rotated = path.with_extension("log.2");
    for _ in 0..200 {
        call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
        if rotated.exists() {
            break;
        }
    }
    until(|| rotated.exists()).await;
    for _ in 0..20 {
        call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
    }
    assert!(!path.with_extension("log.3").exists(), "older files are removed");

    let mut text = String::new();
    encode(&mut text, &registry).expect("metrics");
    assert!(text.contains("berth_mesh_access_log_lost_total 0"), "{text}");
    let sum = text.lines().find(|line| line.starts_with("berth_mesh_duration_seconds_count")).expect("a histogram");
    assert!(sum.contains(r#"deployment="blue""#) && !sum.ends_with(" 0"), "{sum}");
}

/// What measures the cost of counting has it off: requests are served, and nothing is known of them.
#[tokio::test]
async fn without_telemetry_nothing_is_known_of_a_request() {
    let dir = tempfile::tempdir().expect("a folder");
    let mesh = Mesh::start(MeshOptions { telemetry: false, ..options(1, &dir) }, &mut Registry::default());
    let mesh = mesh.expect("a mesh");
    mesh.set_gate_token(TOKEN);
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    for path in ["/e/fraud/score", "/e/nobody/score"] {
        let (parts, _) = call(n1.mesh.ingress_addr(), named(path, "unknown")).await;
        assert_eq!(parts.status == 200, path.contains("fraud"), "{}", parts.status);
    }
    assert_eq!(n1.mesh.find_request("unknown"), None);
    let counted = n1.mesh.counters();
    assert!(counted.unrouted.is_empty() && counted.deployments.values().all(|it| it.answers.is_empty()), "{counted:?}");
    assert_eq!(n1.mesh.gate_in_flight(ReplicaId(1)), 0, "the gate counts all the same: it holds the slots");
}

/// The container's status is told beside the gateway's, and a request that reached no model has none.
#[tokio::test]
async fn a_line_tells_what_the_model_answered_and_how_the_caller_is_known() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("access.log");
    let access_log = Some(AccessLogOptions { path: path.clone(), max_bytes: 1 << 20, files: 2 });
    let mesh = Mesh::start(MeshOptions { access_log, ..options(1, &dir) }, &mut Registry::default()).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    let ill = backend(|_| async {
        let mut response = Response::new(body_of(""));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    let deployed = Deployed::one("blue", &n1, 1, ill.await).publish("fraud");
    let route = EndpointRoute {
        auth_mode: AuthMode::Key,
        key_hashes: vec![Digest::of(b"secret").0],
        ..endpoint("fraud", &[("blue", 100)], vec![deployed])
    };
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let mut known = named("/e/fraud/score", "known");
    known.headers_mut().insert("authorization", "Bearer secret".parse().expect("a value"));
    for request in [known, named("/e/fraud/score", "unknown"), named("/e/nowhere/score", "lost")] {
        call(n1.mesh.ingress_addr(), request).await;
    }
    n1.mesh.shutdown(Duration::from_secs(20)).await;
    let text = std::fs::read_to_string(&path).expect("a log");
    let mut rows: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| {
            ["XRequestId", "ResponseCode", "ModelStatusCode", "ModelStatusReason", "AuthType", "IdentityData"]
                .map(|column| line[column].to_string())
                .join(" ")
        })
        .collect();
    rows.sort();
    let expected = [
        r#""known" 424 500 "Internal Server Error" "Key" """#,
        r#""lost" 404 0 "" "" """#,
        r#""unknown" 401 0 "" "Key" """#,
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn the_last_lines_are_written_before_the_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("access.log");
    let access_log = Some(AccessLogOptions { path: path.clone(), max_bytes: 1 << 20, files: 2 });
    let mesh = Mesh::start(MeshOptions { access_log, ..options(1, &dir) }, &mut Registry::default()).expect("a mesh");
    let n1 = Node { mesh, id: NodeId(1), dir };
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    for turn in 0..20 {
        call(n1.mesh.ingress_addr(), named("/e/fraud/score", &format!("turn-{turn}"))).await;
    }
    n1.mesh.shutdown(Duration::from_secs(20)).await;
    let text = std::fs::read_to_string(&path).expect("the log");
    let ids: BTreeSet<_> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["XRequestId"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!((ids.len(), text.lines().count()), (20, 20), "{text}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("file"), "").expect("a file");
    let path = dir.path().join("file/access.log");
    let access_log = Some(AccessLogOptions { path, max_bytes: 4_096, files: 2 });
    let started = Mesh::start(MeshOptions { access_log, ..options(1, &dir) }, &mut Registry::default());
    let Err(error) = started else { panic!("it cannot be opened") };
    assert!(error.to_string().contains("access log"), "{error}");
}

#[tokio::test]
async fn a_copy_is_named_and_not_confused_with_the_answer() {
    let n1 = node(1);
    let (blue, green) = (echo("blue").await, echo("green").await);
    let deployments = vec![
        Deployed::one("blue", &n1, 1, blue).publish("fraud"),
        Deployed::one("green", &n1, 2, green).publish("fraud"),
    ];
    let mut route = endpoint("fraud", &[("blue", 100)], deployments);
    route.mirror = crate::mesh_support::shares(&[("green", 100)]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    call(n1.mesh.ingress_addr(), named("/e/fraud/score", "copied")).await;
    let report = report(&n1, "copied").await;
    assert_eq!((report.deployment.as_str(), report.mirrors), ("blue", vec!["green".to_owned()]));
}
