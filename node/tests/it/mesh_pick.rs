//! Which deployment and which replica a request goes to, over real sockets.

use std::{collections::BTreeMap, net::SocketAddr};

use berth_core::id::LogIndex;
use berth_core::traffic::change::TableChange;
use http::{Response, StatusCode};

use crate::mesh_support::{
    Body, Deployed, Placed, backend, body_of, call, echo, endpoint, full, header, node, post, shares, simple, table,
    until, within,
};

const OLD: &str = "0000000000000001";
const NEW: &str = "0000000000000002";

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

/// The nodes' own records tell what was known of the two: as long as one is newer, it is asked for less than its share, and
/// nothing of that is left in the end.
#[tokio::test]
async fn a_new_replica_gets_less_than_its_share_at_first() {
    const SLOTS: u32 = 8;
    let whole = u64::from(SLOTS) * 1_000;
    let n1 = node(1);
    let (old, new) = (echo("old").await, echo("new").await);
    let place = |version, addresses: &[SocketAddr]| {
        let replicas = (1..).zip(addresses).map(|(id, address)| Placed { node: &n1, id, address: *address });
        let deployed = Deployed { slots: SLOTS, replicas: replicas.collect(), ..Deployed::one("blue", &n1, 1, old) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
    };
    // Who answered, and what each may take by what is known of it.
    let ask = async || {
        let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/any", "")).await;
        let id = header(&parts, "x-request-id");
        until(|| n1.mesh.find_request(id).is_some()).await;
        let drawn = n1.mesh.find_request(id).expect("it was there").drawn;
        let may_take =
            |replica: &str| drawn.iter().find(|drawn| drawn.replica == replica).map(|drawn| drawn.capacity_milli);
        (header(&parts, "x-berth-replica") == NEW, may_take(OLD), may_take(NEW))
    };
    place(1, &[old]);
    // Old enough to be told from a newer one.
    within(async { while ask().await.1 < Some(whole / 4) {} }).await;
    place(2, &[old, new]);
    let (mut behind, mut drawn_to_new) = (0, 0);
    within(async {
        loop {
            let (is_new, old, new) = ask().await;
            if new >= Some(whole) {
                break;
            }
            assert!(new < old, "{new:?} and {old:?}");
            behind += 1;
            drawn_to_new += u32::from(is_new);
        }
    })
    .await;
    // One request at a time: the one that may take more is asked for each.
    assert!(behind > 0);
    assert!(drawn_to_new * 2 < behind, "{drawn_to_new} of {behind}, before it may take as much");
    let mut later = 0;
    for _ in 0..200 {
        later += u32::from(ask().await.0);
    }
    assert!((20..=180).contains(&later), "of 200 a fair share is 100: {later}");
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
