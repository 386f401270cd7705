//! Tables: applied in order, warmed, stored, and in force without any coordinator. Gates: closed to strangers.

use std::time::Duration;

use berth_core::{
    id::{LogIndex, ReplicaId},
    traffic::change::{Resync, TableChange},
};
use http::Request;
use http_body_util::Full;

use crate::mesh_support::{
    Deployed, Node, TOKEN, call, echo, endpoint, full, header, node, post, start, table, until, within,
};

#[tokio::test]
async fn deltas_apply_to_their_base_and_anything_else_asks_for_everything() {
    let n1 = node(1);
    let route = |name| endpoint(name, &[], Vec::new());
    let (v1, v2, v3) =
        (table(1, vec![route("one")]), table(2, vec![route("one"), route("two")]), table(3, vec![route("two")]));
    n1.mesh.apply_table(TableChange::Full(v1.clone())).expect("a table");
    n1.mesh.apply_table(TableChange::Delta(v1.delta_to(&v2))).expect("a delta");
    assert_eq!(*n1.mesh.table(), v2);
    let lost = TableChange::Delta(v1.delta_to(&v3));
    assert_eq!(n1.mesh.apply_table(lost), Err(Resync::Base { applies_to: LogIndex(1), have: LogIndex(2) }));
    assert_eq!(
        n1.mesh.apply_table(TableChange::Full(v1)),
        Err(Resync::Older { offered: LogIndex(1), have: LogIndex(2) })
    );
    assert_eq!(n1.mesh.acks().applied, LogIndex(2), "what was refused was not acknowledged");
    n1.mesh.apply_table(TableChange::Full(v3.clone())).expect("a full table");
    assert_eq!(n1.mesh.table().digest(), v3.digest());
}

#[tokio::test]
async fn a_version_is_warm_once_the_gates_of_its_replicas_answer() {
    let (n1, n2) = (node(1), node(2));
    let address = echo("blue").await;
    let deployed = Deployed::one("blue", &n2, 1, address).publish("fraud");
    // A gate that is not there: applied, never warm.
    let mut cold = deployed.clone();
    cold.replicas[0].gate_address = "127.0.0.1:1".into();
    n1.mesh.apply_table(full(1, vec![endpoint("fraud", &[("blue", 100)], vec![cold])])).expect("a table");
    assert_eq!(n1.mesh.acks().applied, LogIndex(1));
    let mut acks = n1.mesh.watch_acks();
    n1.mesh.apply_table(full(2, vec![endpoint("fraud", &[("blue", 100)], vec![deployed])])).expect("a table");
    let warm = within(acks.wait_for(|acks| acks.warm > LogIndex(0))).await.expect("acks").warm;
    assert_eq!(warm, LogIndex(2), "version 1 never was");
}

#[tokio::test]
async fn a_restarted_node_routes_although_no_coordinator_answers() {
    let (n1, n2) = (node(1), node(2));
    let deployed = Deployed::one("blue", &n2, 1, echo("blue").await);
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    n1.mesh.apply_table(full(7, vec![route])).expect("a table");
    assert_eq!(call(n1.mesh.ingress_addr(), post("/e/fraud/score", "x")).await.1, "blue:x");
    within(n1.mesh.shutdown(Duration::from_secs(5))).await;
    let Node { mesh, id, dir } = n1;
    drop(mesh);
    let again = start(id.0, &dir);
    assert!(again.table_loaded_from_disk());
    assert_eq!(again.acks().applied, LogIndex(7));
    // The token was stored as well: the other gate lets it in.
    let (parts, body) = call(again.ingress_addr(), post("/e/fraud/score", "x")).await;
    assert_eq!((parts.status.as_u16(), body.as_ref()), (200, b"blue:x".as_slice()));
    assert_eq!(header(&parts, "x-berth-table"), "7");
    let mode = std::os::unix::fs::MetadataExt::mode(&dir.path().join("gate-token").metadata().expect("a file"));
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_damaged_table_on_disk_is_ignored() {
    let n1 = node(1);
    n1.mesh.apply_table(full(7, vec![endpoint("one", &[], Vec::new())])).expect("a table");
    within(n1.mesh.shutdown(Duration::from_secs(5))).await;
    let path = n1.dir.path().join("routes.bin");
    let mut bytes = std::fs::read(&path).expect("stored");
    bytes.truncate(bytes.len() - 1);
    std::fs::write(&path, bytes).expect("torn");
    let again = start(1, &n1.dir);
    assert!(!again.table_loaded_from_disk());
    assert_eq!(again.acks().applied, LogIndex(0));
}

#[tokio::test]
async fn a_gate_starts_nothing_for_strangers() {
    let n1 = node(1);
    let deployed = Deployed::one("blue", &n1, 1, echo("blue").await);
    deployed.publish("fraud");
    let ask = |token: Option<&str>, replica: &str| {
        let mut request = Request::post("/score")
            .header("host", "h")
            .header("x-berth-gate-replica", replica)
            .header("x-berth-gate-deadline-ms", "9000");
        if let Some(token) = token {
            request = request.header("x-berth-gate-token", token);
        }
        call(n1.mesh.gate_addr(), request.body(Full::from("x")).expect("a request"))
    };
    for (token, replica, status, reason) in [
        (None, "0000000000000001", 401, "token"),
        (Some("wrong"), "0000000000000001", 401, "token"),
        (Some(TOKEN), "0000000000000002", 503, "unknown"),
        (Some(TOKEN), "0000000000000001", 200, ""),
    ] {
        let (parts, _) = ask(token, replica).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-not-started")), (status, reason), "{token:?}");
    }
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 0).await;
}
