//! The mesh finds endpoint and deployment, checks keys, and gives replicas and callers the headers they shall see.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use berth_core::{
    id::Digest,
    model::{AuthMode, ReplicaState},
    traffic::{
        split::Split,
        table::{EndpointRoute, RouteRuntime},
    },
};
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::sync::Semaphore;

use crate::mesh_support::{
    Deployed, backend, body_of, call, counters, echo, endpoint, full, header, node, post, shares, simple, until, within,
};

#[tokio::test]
async fn any_hundred_requests_are_split_exactly() {
    let n1 = node(1);
    let (blue, green) = (echo("blue").await, echo("green").await);
    let deployments = vec![
        Deployed::one("blue", &n1, 1, blue).publish("fraud"),
        Deployed::one("green", &n1, 2, green).publish("fraud"),
    ];
    let route = endpoint("fraud", &[("blue", 90), ("green", 10)], deployments);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let mut answered = Vec::new();
    for _ in 0..130 {
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "x")).await;
        let by = header(&parts, "azureml-model-deployment").to_owned();
        assert_eq!(body, format!("{by}:x"));
        answered.push(by);
    }
    for window in answered.windows(100) {
        assert_eq!(window.iter().filter(|by| *by == "green").count(), 10);
    }
    assert_eq!(counters(&n1, "blue").answers.values().sum::<u64>(), 117);
    assert_eq!(counters(&n1, "green").answers, BTreeMap::from([(200, 13)]));
    assert_eq!(n1.mesh.carried().len(), 1);
}

/// Two routers, each with callers that do not wait for each other, while the weights change under them.
#[tokio::test]
async fn the_split_is_exact_while_its_weights_change() {
    const CALLERS: usize = 4;
    /// The share of `green`, version by version.
    const SHARES: [u32; 6] = [10, 50, 33, 99, 1, 20];
    /// Answers by each version at each router.
    const EACH: usize = 300;
    let (n1, n2) = (node(1), node(2));
    let deployed = [
        Deployed { slots: 64, ..Deployed::one("blue", &n1, 1, echo("blue").await) },
        Deployed { slots: 64, ..Deployed::one("green", &n2, 2, echo("green").await) },
    ];
    let deployments = deployed.map(|deployed| deployed.publish("fraud"));
    let versions = || 1..=SHARES.len() as u64;
    let split = |version: u64| {
        let green = SHARES[version as usize - 1];
        [("blue", 100 - green), ("green", green)]
    };
    let apply = |version: u64| {
        let route = endpoint("fraud", &split(version), deployments.to_vec());
        for router in [&n1, &n2] {
            router.mesh.apply_table(full(version, vec![route.clone()])).expect("a table");
        }
    };
    apply(1);
    // What each router was asked, by ticket.
    let answered = [(); 2].map(|()| Arc::new(Mutex::new(BTreeMap::<u64, (u64, String)>::new())));
    let done = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for (router, answered) in [&n1, &n2].into_iter().zip(&answered) {
        for _ in 0..CALLERS {
            let (mesh, answered, done) = (router.mesh.clone(), answered.clone(), done.clone());
            callers.push(tokio::spawn(async move {
                while !done.load(Relaxed) {
                    let (parts, _) = call(mesh.ingress_addr(), post("/e/fraud/score", "x")).await;
                    assert_eq!(parts.status, StatusCode::OK);
                    let found = mesh.find_request(header(&parts, "x-request-id")).expect("it is remembered");
                    let ticket = found.ticket.expect("the split chose it");
                    let version = header(&parts, "x-berth-table").parse().expect("a version");
                    let by = (version, header(&parts, "azureml-model-deployment").to_owned());
                    assert_eq!(answered.lock().expect("no panic").insert(ticket, by), None, "a ticket is drawn once");
                }
            }));
        }
    }
    let by_version = |at: usize, version: u64| {
        let answered = answered[at].lock().expect("no panic");
        answered.values().filter(|(by, _)| *by == version).map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    for version in versions() {
        apply(version);
        until(|| [0, 1].iter().all(|at| by_version(*at, version).len() >= EACH)).await;
    }
    done.store(true, Relaxed);
    for caller in callers {
        within(caller).await.expect("no panic");
    }
    for at in [0, 1] {
        for version in versions() {
            let names = by_version(at, version);
            let green = names.iter().filter(|name| *name == "green").count() as f64;
            let share = f64::from(SHARES[version as usize - 1]) / 100.0;
            let off = (green - share * names.len() as f64).abs();
            // One in a hundred; and where one version follows another, those that were under way belong to either.
            let most = names.len().div_ceil(100) + 2 * CALLERS;
            assert!(off <= most as f64, "router {at}, version {version}: {green} of {} green", names.len());
        }
        // Each went where the weights of its version send its ticket, and no ticket was left out.
        let answered = answered[at].lock().expect("no panic");
        for (ticket, (version, name)) in answered.iter() {
            let shares = shares(&split(*version));
            let chosen = Split::of(&shares).choose(*ticket).expect("a deployment");
            assert_eq!(*name, shares[chosen].0.as_str(), "ticket {ticket} by version {version} at router {at}");
        }
        let (first, last) = (answered.keys().next().expect("some"), answered.keys().next_back().expect("some"));
        assert_eq!((last - first + 1) as usize, answered.len(), "no ticket was drawn for nobody");
    }
}

#[tokio::test]
async fn a_request_may_name_its_deployment() {
    let n1 = node(1);
    let (blue, green) = (echo("blue").await, echo("green").await);
    // Warm replicas answer pinned requests only.
    let warm = Deployed { state: ReplicaState::Warm, ..Deployed::one("green", &n1, 2, green) };
    let deployments = vec![Deployed::one("blue", &n1, 1, blue).publish("fraud"), warm.publish("fraud")];
    let route = endpoint("fraud", &[("blue", 100)], deployments);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    for (path, pin, status, by) in [
        ("/e/fraud/score", None, 200, "blue"),
        ("/e/fraud/score", Some("green"), 200, "green"),
        ("/e/fraud/score", Some("GREEN"), 200, "green"),
        ("/e/fraud/score", Some("red"), 404, ""),
        ("/v2/models/fraud/versions/green/infer", None, 200, "green"),
        ("/v2/models/fraud/versions/7/infer", None, 200, "blue"),
    ] {
        let mut request = post(path, "x");
        if let Some(pin) = pin {
            request.headers_mut().insert("azureml-model-deployment", pin.parse().expect("a value"));
        }
        let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "azureml-model-deployment")), (status, by), "{path} {pin:?}");
    }
}

#[tokio::test]
async fn the_replica_sees_the_request_and_nothing_of_the_mesh() {
    let n1 = node(1);
    let n2 = node(2);
    let address = echo("blue").await;
    for (replica_on, hop) in [(&n1, "its own node"), (&n2, "another node")] {
        let deployed = Deployed::one("blue", replica_on, 1, address);
        let keyed = EndpointRoute {
            auth_mode: AuthMode::Key,
            key_hashes: vec![Digest::of(b"one").0, Digest::of(b"two").0],
            ..endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")])
        };
        n1.mesh.apply_table(full(if hop == "its own node" { 1 } else { 2 }, vec![keyed])).expect("a table");
        let request = Request::post("/e/fraud//a/b/?q=1&r=%20")
            .header("host", "shop.example")
            .header("authorization", "Bearer two")
            .header("x-berth-gate-token", "forged")
            .header("connection", "x-drop")
            .header("te", "trailers, gzip")
            .header("x-request-id", "mine-1")
            .header("x-ms-client-request-id", "a".repeat(60))
            .body(Full::from("x"))
            .expect("a request");
        let (parts, body) = call(n1.mesh.ingress_addr(), request).await;
        assert_eq!((parts.status, body.as_ref()), (StatusCode::OK, b"blue:x".as_slice()), "{hop}");
        for (name, value) in [
            ("seen-uri", "//a/b/?q=1&r=%20"),
            ("seen-host", "shop.example"),
            ("seen-authorization", ""),
            ("seen-x-berth-gate-token", ""),
            ("seen-te", "trailers"),
            ("seen-x-request-id", "mine-1"),
            ("x-request-id", "mine-1"),
            ("x-ms-client-request-id", "a".repeat(40).as_str()),
            ("azureml-model-deployment", "blue"),
            ("x-berth-replica", "0000000000000001"),
            // What goes without saying.
            ("x-berth-endpoint", ""),
            ("x-berth-attempts", ""),
            ("x-berth-queue-ms", ""),
            ("x-berth-deployment", ""),
            ("x-berth-gate-load", ""),
        ] {
            assert_eq!(header(&parts, name), value, "{name} on {hop}");
        }
        for (name, key, status) in
            [("api-key", "one", 200), ("x-api-key", "two", 200), ("api-key", "three", 401), ("x-none", "one", 401)]
        {
            let mut request = post("/e/fraud/score", "x");
            request.headers_mut().insert(name, key.parse().expect("a value"));
            let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
            assert_eq!(parts.status.as_u16(), status, "{name}: {key}");
            assert_eq!(header(&parts, "seen-api-key"), "");
        }
    }
}

#[tokio::test]
async fn refusals_speak_the_dialect_of_the_route() {
    let n1 = node(1);
    let script = Deployed { runtime: RouteRuntime::Python, ..Deployed::one("blue", &n1, 1, echo("blue").await) };
    let idle = endpoint("idle", &[], vec![script.publish("idle")]);
    let gone = Deployed { replicas: Vec::new(), ..Deployed::one("blue", &n1, 9, ([127, 0, 0, 1], 1).into()) };
    let gone = endpoint("gone", &[("blue", 100)], vec![gone.publish("gone")]);
    n1.mesh.apply_table(full(1, vec![idle, gone])).expect("a table");
    for (path, content_type, status, error, body) in [
        ("/nothing", "", 404, "E_ENDPOINT_NOT_FOUND", None),
        ("/e/none/score", "", 404, "E_ENDPOINT_NOT_FOUND", None),
        ("/e/idle/score", "", 404, "E_NOT_READY", None),
        ("/e/gone/score", "", 503, "E_NOT_READY", Some("no replica is ready")),
        ("/v2/models/gone/infer", "", 503, "E_NOT_READY", Some(r#"{"error":"no replica is ready"}"#)),
        ("/e/gone/echo.Echo/Say", "application/grpc", 200, "E_ROUTE_NOT_FOUND", Some("")),
        ("/v2/health/live", "", 200, "", Some(r#"{"live":true}"#)),
    ] {
        let mut request = post(path, "");
        if !content_type.is_empty() {
            request.headers_mut().insert("content-type", content_type.parse().expect("a value"));
        }
        let (parts, got) = call(n1.mesh.ingress_addr(), request).await;
        // The deployment without replicas is a `command`, so the call is not refused for its protocol.
        let error = if content_type.is_empty() { error } else { "E_NOT_READY" };
        assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-error")), (status, error), "{path}");
        assert!(body.is_none_or(|body| got == body), "{path}: {got:?}");
        assert_ne!(header(&parts, "x-request-id"), "");
    }
    let mut grpc = post("/e/idle/echo.Echo/Say", "");
    grpc.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    grpc.headers_mut().insert("x-berth-deployment", "blue".parse().expect("a value"));
    let (parts, _) = call(n1.mesh.ingress_addr(), grpc).await;
    assert_eq!((parts.status.as_u16(), header(&parts, "grpc-status")), (200, "12"), "an HTTP-only server");
}

#[tokio::test]
async fn a_mirror_gets_the_same_bytes_and_never_delays_the_answer() {
    let n1 = node(1);
    let n2 = node(2);
    let (seen, mut copies) = tokio::sync::mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let hold = release.clone();
    let mirror = backend(move |request| {
        let (seen, hold) = (seen.clone(), hold.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = http_body_util::BodyExt::collect(body).await.map(|body| body.to_bytes());
            seen.send((parts, body)).expect("the test listens");
            hold.acquire().await.expect("open").forget();
            let mut response = http::Response::new(body_of("copy"));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        }
    })
    .await;
    let deployments = vec![
        Deployed::one("blue", &n1, 1, echo("blue").await).publish("fraud"),
        Deployed { slots: 3, ..Deployed::one("green", &n2, 2, mirror) }.publish("fraud"),
    ];
    let mut route = endpoint("fraud", &[("blue", 100)], deployments);
    route.mirror = shares(&[("green", 100)]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    // The mirror hangs with all its slots taken; the primary goes on.
    for _ in 0..10 {
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "the body")).await;
        assert_eq!((parts.status.as_u16(), body.as_ref()), (200, b"blue:the body".as_slice()));
        assert_eq!(header(&parts, "azureml-model-deployment"), "blue");
    }
    for _ in 0..3 {
        let (parts, body) = crate::mesh_support::within(copies.recv()).await.expect("a copy");
        assert_eq!(body.expect("a body"), "the body");
        assert_eq!(parts.headers["x-berth-mirror"], "1");
        assert_eq!(parts.uri.path(), "/score");
    }
    until(|| counters(&n1, "green").mirror_dropped == 7).await;
    release.add_permits(3);
    until(|| counters(&n1, "green").mirrored == 3).await;
    assert_eq!(counters(&n1, "green").mirror_answers.values().sum::<u64>(), 3);
    assert!(counters(&n1, "green").answers.is_empty(), "a copy is nobody's answer");
    // A pinned request is not copied.
    let mut pinned = post("/e/fraud/score", "x");
    pinned.headers_mut().insert("azureml-model-deployment", "blue".parse().expect("a value"));
    call(n1.mesh.ingress_addr(), pinned).await;
    assert_eq!(counters(&n1, "green").mirrored + counters(&n1, "green").mirror_dropped, 10);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let n1 = node(1);
    let deployed = Deployed::one("blue", &n1, 1, echo("blue").await);
    let mut route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    route.max_body_bytes = 8;
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    for (body, status) in [("12345678", 200), ("123456789", 413)] {
        let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", body)).await;
        assert_eq!(parts.status.as_u16(), status, "declared {body}");
        let chunked = format!(
            "POST /e/fraud/score HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let answer = crate::mesh_stream::raw(n1.mesh.ingress_addr(), &chunked, 1).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "streamed {body}: {answer}");
    }
    until(|| n1.mesh.in_flight().is_empty()).await;
    simple(&n1, &deployed);
}
