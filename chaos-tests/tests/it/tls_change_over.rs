//! A cluster that runs without TLS and changes over to it, one member after another, while callers go on.

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, WITHIN};
use berth_cli::fleet::FleetTls;
use berth_client::{InferClient, TrustFiles};
use berth_proto::tls::ServerFiles;

use crate::{BERTH, tls::Authority};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_changes_over_to_tls_member_by_member() {
    let ours = Authority::new("ours");
    let ca = ours.dir.path().join("ca.pem");
    let coordinators = ServerFiles { own: ours.signed("coordinator", "127.0.0.1"), client_ca: None };
    let tls = FleetTls { coordinators, trust: TrustFiles { ca, own: None }, from_start: false };
    let mut cluster = Cluster::start_over_tls(BERTH, 3, 1, tls).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    let client = InferClient::new([cluster.fleet.ingress(0).to_string()], ENDPOINT).expect("a client");
    let answers = async || client.score("x").await.is_ok_and(|it| it.status.is_success());
    cluster.until("a call is answered", answers).await;
    for n in 0..3 {
        if n == 2 {
            // A node hears of new addresses when it opens a session: it is told of those that speak TLS before none is left
            // at an address that it knows.
            cluster.fleet.restart_node(0).expect("started again");
        }
        cluster.fleet.secure_coordinator(n).expect("started again");
        // All members call this one as it says now, and it still calls those that have not changed.
        cluster.client = cluster.fleet.client(WITHIN).await.expect("the coordinators answer");
        let changed = cluster.fleet.api_addresses();
        cluster
            .until("every member is known by its address", async || {
                let told = cluster.client.list_members().await.map(|told| told.members).unwrap_or_default();
                told.len() == 3 && told.iter().all(|member| changed.contains(&member.address))
            })
            .await;
        cluster.client.get_endpoint(ENDPOINT).await.expect("the state is whole");
        cluster.until("callers go on", answers).await;
    }
    // What is changed from here on reaches the node: it has a session with who speaks TLS alone.
    cluster.deploy("green", 1).await;
    cluster.split(&[("green", 100)]).await;
    cluster.until("the node follows", answers).await;
}
