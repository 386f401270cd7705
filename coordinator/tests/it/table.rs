//! Route tables: everything first, then what differs, from any member.

use berth_core::{error::Code, traffic::table::RouteTable};
use berth_proto::{
    api::v1::DeleteEndpointRequest,
    node::{
        TableMessage, change_from_wire,
        v1::{TableUpdate, WatchTableRequest},
    },
    status::from_status,
};
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    api_fleet::{Fleet, PATIENCE, fresh_id},
    session_node::{node_client, table_at},
};

async fn watch(fleet: &Fleet, at: usize, request: WatchTableRequest) -> Streaming<TableUpdate> {
    node_client(fleet, at).watch_table(request).await.expect("a watch").into_inner()
}

async fn first(watch: &mut Streaming<TableUpdate>) -> TableMessage {
    let update = timeout(PATIENCE, watch.message()).await.expect("in time").expect("an update").expect("more");
    change_from_wire(update).expect("an update")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_gets_everything_and_then_what_differs() {
    let fleet = Fleet::start(3).await;
    let (leader, follower) = (fleet.leader().await, fleet.follower().await);
    fleet.put_endpoint(leader, "fraud").await.expect("created");
    let mut feed = watch(&fleet, follower, WatchTableRequest::default()).await;
    let version = |at: usize| fleet.handle(at).read(|state| state.routes.version());
    let (table, kinds) = table_at(&mut feed, RouteTable::default(), version(leader)).await;
    // Everything comes once, be it from before the endpoint was known to this member.
    assert_eq!((kinds.iter().position(|kind| *kind == "full"), table.endpoints.len()), (Some(0), 1));
    assert!(kinds[1..].iter().all(|kind| *kind == "delta"), "{kinds:?}");

    fleet.put_endpoint(leader, "other").await.expect("created");
    let (table, kinds) = table_at(&mut feed, table, version(leader)).await;
    assert!(kinds.iter().all(|kind| *kind == "delta") && table.endpoints.len() == 2, "{kinds:?}");
    let delete = DeleteEndpointRequest { request_id: fresh_id(), name: "fraud".into(), if_revision: None };
    fleet.endpoints(leader).delete(delete).await.expect("deleted");
    let (table, kinds) = table_at(&mut feed, table, version(leader)).await;
    assert!(kinds.iter().all(|kind| *kind == "delta"));
    assert_eq!(table.endpoints.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["other"]);
    assert_eq!(table, fleet.handle(leader).read(RouteTable::of));

    // Whoever holds the very table gets a sign of life; whoever only says so gets everything.
    let held = WatchTableRequest {
        cluster_id: fleet.handle(leader).cluster_id().to_owned(),
        node_id: 1,
        version: table.version.0,
        digest: table.digest().0.to_vec(),
    };
    let mut resumed = watch(&fleet, leader, held.clone()).await;
    assert_eq!(
        first(&mut resumed).await,
        TableMessage::Heartbeat { version: table.version, digest: table.digest(), expected: Vec::new() }
    );
    let mut damaged = watch(&fleet, leader, WatchTableRequest { digest: vec![0; 32], ..held.clone() }).await;
    assert!(matches!(first(&mut damaged).await, TableMessage::Change(change) if table_of(&change) == Some(&table)));

    let foreign = WatchTableRequest { cluster_id: "c-other".into(), ..held };
    let status = node_client(&fleet, leader).watch_table(foreign).await.expect_err("refused");
    assert_eq!(from_status(&status).code, Code::ForeignCluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_watcher_skips_versions_and_misses_nothing() {
    let fleet = Fleet::start(1).await;
    let mut feed = watch(&fleet, 0, WatchTableRequest::default()).await;
    for at in 0..200 {
        fleet.put_endpoint(0, &format!("endpoint-{at}")).await.expect("created");
    }
    let version = fleet.handle(0).read(|state| state.routes.version());
    let (table, _kinds) = table_at(&mut feed, RouteTable::default(), version).await;
    assert_eq!(table, fleet.handle(0).read(RouteTable::of));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_never_steps_back() {
    let fleet = Fleet::start(1).await;
    fleet.put_endpoint(0, "fraud").await.expect("created");
    let version = fleet.handle(0).read(|state| state.routes.version());
    // A node that saw a later version than this member has applied waits for it.
    let ahead = WatchTableRequest { version: version.0 + 2, digest: vec![1; 32], ..WatchTableRequest::default() };
    let mut feed = watch(&fleet, 0, ahead).await;
    let early = timeout(std::time::Duration::from_millis(300), feed.message()).await;
    assert!(early.is_err(), "nothing comes before this member has caught up: {early:?}");
    for at in 0..4 {
        fleet.put_endpoint(0, &format!("endpoint-{at}")).await.expect("created");
    }
    let TableMessage::Change(change) = first(&mut feed).await else { panic!("expected the table") };
    assert!(table_of(&change).is_some_and(|table| table.version.0 >= version.0 + 2));
}

fn table_of(change: &berth_core::traffic::change::TableChange) -> Option<&RouteTable> {
    match change {
        berth_core::traffic::change::TableChange::Full(table) => Some(table),
        berth_core::traffic::change::TableChange::Delta(_) => None,
    }
}
