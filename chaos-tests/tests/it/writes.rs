//! A stream of writes while leaders are killed: every acknowledged one is there, none is there twice.

use std::collections::BTreeSet;

use berth_chaos_tests::cluster::Cluster;
use berth_client::api;
use berth_core::model::{AuthMode, EndpointSpec};

use crate::BERTH;

fn endpoint(n: u64) -> String {
    format!("ep-{n}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_and_none_is_applied_twice() {
    let mut cluster = Cluster::start(BERTH, 3, 1).await;
    let client = cluster.client.clone();
    let writer = tokio::spawn(async move {
        let spec = EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() };
        let mut acknowledged = BTreeSet::new();
        for n in 0..300 {
            let request = api::PutEndpointRequest {
                request_id: format!("write-{n}"),
                name: endpoint(n),
                spec: Some(berth_proto::api::endpoint_spec_message(&spec)),
                // A second application would be refused, so an acknowledgement of a retry proves exactly-once.
                mode: api::PutMode::Create as i32,
                ..Default::default()
            };
            match client.put_endpoint(request).await {
                Ok(_) => {
                    acknowledged.insert(endpoint(n));
                }
                Err(error) => assert!(error.is_transient(), "a write was refused: {error}"),
            }
        }
        acknowledged
    });
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.fleet.kill_coordinator(leader).expect("the leader is killed");
        let client = &cluster.client;
        cluster.until("another coordinator leads", async || client.list_members().await.is_ok()).await;
        cluster.fleet.restart_coordinator(leader).expect("it starts again");
    }
    let acknowledged = writer.await.expect("the writer ends");
    assert!(acknowledged.len() > 200, "most writes get through: {}", acknowledged.len());
    let listed: Vec<String> =
        cluster.client.list_endpoints().await.expect("a read").into_iter().map(|e| e.name).collect();
    let there: BTreeSet<String> = listed.iter().cloned().collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let created: Vec<api::Event> = cluster.client.events().await.expect("the events");
    let created: Vec<_> =
        created.iter().filter(|event| event.kind == "endpoint.created").map(|e| e.endpoint.clone()).collect();
    let distinct: BTreeSet<_> = created.iter().cloned().collect();
    assert_eq!(created.len(), distinct.len(), "a write was applied twice");
}
