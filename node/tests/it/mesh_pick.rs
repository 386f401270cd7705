//! Which deployment and which replica a request goes to, over real sockets.

use std::collections::BTreeMap;

use berth_core::id::LogIndex;
use berth_core::traffic::change::TableChange;
use http::{Response, StatusCode};

use crate::mesh_support::{
    Body, Deployed, Placed, backend, body_of, call, echo, endpoint, header, node, post, shares, simple, table,
};

#[tokio::test]
async fn a_key_stays_with_its_deployment_on_every_router() {
    let (n1, n2) = (node(1), node(2));
    let (blue, green) = (echo("blue").await, echo("green").await);
    let deployments = vec![
        Deployed::one("blue", &n1, 1, blue).publish("fraud"),
        Deployed::one("green", &n2, 2, green).publish("fraud"),
    ];
    let mut route = endpoint("fraud", &[("blue", 90), ("green", 10)], deployments);
    for entry in [&n1, &n2] {
        entry.mesh.apply_table(TableChange::Full(table(1, vec![route.clone()]))).expect("a table");
    }
    let ask = async |entry: &crate::mesh_support::Node, key: usize| {
        let mut request = post("/e/fraud/score", "");
        request.headers_mut().insert("x-berth-key", format!("user-{key}").parse().expect("a value"));
        let (parts, _) = call(entry.mesh.ingress_addr(), request).await;
        assert_eq!(parts.status, 200);
        header(&parts, "azureml-model-deployment").to_owned()
    };
    let mut before = BTreeMap::new();
    for key in 0..100 {
        before.insert(key, ask(&n1, key).await);
        assert_eq!(before[&key], ask(&n2, key).await, "every router chooses alike");
    }
    assert!(before.values().any(|name| name == "green"));
    route.split = shares(&[("blue", 60), ("green", 40)]);
    route.revision = LogIndex(2);
    n1.mesh.apply_table(TableChange::Full(table(2, vec![route]))).expect("a table");
    let mut moved = 0;
    for (key, name) in before {
        let after = ask(&n1, key).await;
        assert!(after == name || after == "green", "keys move to what has grown, and none back");
        moved += usize::from(after != name);
    }
    assert!((10..=55).contains(&moved), "about thirty of a hundred: {moved}");
}

#[tokio::test]
async fn a_replica_that_fails_at_once_does_not_draw_the_requests() {
    let n1 = node(1);
    let failing = backend(|_request| async {
        let mut response = Response::new(body_of("no"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    })
    .await;
    let good = [echo("a").await, echo("b").await, echo("c").await];
    let mut replicas = vec![Placed { node: &n1, id: 1, address: failing }];
    replicas.extend((2..).zip(good).map(|(id, address)| Placed { node: &n1, id, address }));
    simple(&n1, &Deployed { replicas, ..Deployed::one("blue", &n1, 1, failing) });
    let mut failed = 0;
    for _ in 0..200 {
        let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/any", "")).await;
        failed += usize::from(parts.status == 503);
    }
    // It may be tried again when some time has passed.
    assert!((1..=20).contains(&failed), "of 200 a fair share would be 50: {failed}");
}

#[tokio::test]
async fn a_replica_that_never_answers_does_not_draw_the_requests() {
    let n1 = node(1);
    let silent = backend(|_request| std::future::pending::<Response<Body>>()).await;
    let mut replicas = vec![Placed { node: &n1, id: 1, address: silent }];
    for id in 2..4 {
        replicas.push(Placed { node: &n1, id, address: echo("well").await });
    }
    simple(&n1, &Deployed { replicas, ..Deployed::one("blue", &n1, 1, silent) });
    let mut late = 0;
    for _ in 0..90 {
        let mut request = post("/e/fraud/any", "");
        // Long enough for whoever answers at all, however busy the machine.
        request.headers_mut().insert("x-request-timeout-ms", "2000".parse().expect("a value"));
        let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
        late += usize::from(parts.status == 408);
    }
    // One that ran out of time is held against it at every core, until it may be tried again.
    assert!((1..=10).contains(&late), "of 90 a fair share would be 30: {late}");
}
