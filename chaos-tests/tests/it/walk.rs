//! Every process of a cluster is killed in turn, in an order and at moments that a seed draws: no request is lost, and
//! callers try again only where the node they spoke to is the one that died.

use std::time::Duration;

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT, assert_all_answered},
    say::say,
};
use berth_cli::{fleet::Fleet, load::LoadReport};

use crate::BERTH;

/// Coordinators and nodes, of each as many.
const EACH: usize = 3;
/// Requests a second: enough that every kill hits some in flight, few enough for two shared cores.
const RATE: u64 = 100;
/// Requests around one kill.
const TOTAL: u64 = 300;
/// The kill comes within the first half of them.
const MOMENT_WITHIN: Duration = Duration::from_millis(1_500);
/// How long a victim stays away at most; longer than a node may be silent before it is lost.
const AWAY_WITHIN: Duration = Duration::from_secs(5);

/// A process of the cluster.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Coordinator(usize),
    Node(usize),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_is_killed_in_turn_and_no_request_is_lost() {
    let mut cluster = Cluster::start(BERTH, EACH, EACH).await;
    cluster.endpoint().await;
    cluster.deploy("blue", EACH as u32).await;
    cluster.split(&[("blue", 100)]).await;
    let all = (0..EACH).flat_map(|n| [Victim::Coordinator(n), Victim::Node(n)]).collect();
    let (mut told, mut answered) = (Vec::new(), 0);
    for victim in cluster.seed.order("victims", all) {
        let name = format!("{victim:?}");
        let ingresses: Vec<_> = (0..EACH).map(|n| cluster.fleet.ingress(n)).collect();
        let load = cluster.load(ingresses, RATE, TOTAL);
        tokio::time::sleep(cluster.seed.moment(&format!("{name} dies"), MOMENT_WITHIN)).await;
        let epoch = epoch_of(&cluster, victim).await;
        match victim {
            Victim::Coordinator(n) => cluster.fleet.kill_coordinator(n),
            Victim::Node(n) => cluster.fleet.kill_agent(n),
        }
        .expect("it is killed");
        tokio::time::sleep(cluster.seed.moment(&format!("{name} is back"), AWAY_WITHIN)).await;
        match victim {
            Victim::Coordinator(n) => cluster.fleet.restart_coordinator(n),
            Victim::Node(n) => cluster.fleet.restart_node(n),
        }
        .expect("it starts again");
        let report = load.end().await;
        assert_all_answered(&report, TOTAL);
        answered += report.outcomes.len();
        assert_retries_are_due_to(victim, &report);
        let retries: u32 = report.outcomes.iter().map(|outcome| outcome.retries).sum();
        told.push(format!("{name} {retries}"));
        recovered(&cluster, victim, epoch).await;
    }
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
    say(format!(
        "seed {}: {answered} of {answered} answered; retries of callers: {}",
        cluster.seed.number(),
        told.join(", ")
    ));
}

/// A coordinator is not in the way of a request. When a node dies, only what was first sent to its own ingress is sent
/// again, once, to another one: a third of the requests at most.
fn assert_retries_are_due_to(victim: Victim, report: &LoadReport) {
    let retried: Vec<_> = report.outcomes.iter().filter(|outcome| outcome.retries > 0).collect();
    match victim {
        Victim::Coordinator(_) => assert!(retried.is_empty(), "{} were sent again: {retried:?}", retried.len()),
        Victim::Node(n) => {
            for outcome in retried {
                let first = (outcome.number % EACH as u64) as usize;
                assert!(first == n && outcome.retries == 1, "{outcome:?} while node {n} was away");
            }
        }
    }
}

/// Returns the epoch of a node that is to die.
async fn epoch_of(cluster: &Cluster, victim: Victim) -> u64 {
    let Victim::Node(n) = victim else { return 0 };
    let nodes = cluster.client.list_nodes().await.expect("the nodes are listed");
    nodes.iter().find(|node| node.node == Fleet::node_name(n)).map_or(0, |node| node.epoch)
}

/// Waits until the next kill would be the only one.
async fn recovered(cluster: &Cluster, victim: Victim, epoch: u64) {
    let client = &cluster.client;
    cluster
        .until("the cluster has a leader and all its members", async || {
            let members = client.list_members().await.map(|list| list.members).unwrap_or_default();
            let mut led = members.len() == EACH && members.iter().any(|member| member.leader);
            for address in cluster.fleet.api_addresses() {
                led &= berth_client::Client::connect([address]).await.is_ok();
            }
            led
        })
        .await;
    cluster
        .until("every node is ready", async || {
            let nodes = client.list_nodes().await.unwrap_or_default();
            let is_back = |node: &berth_client::api::Node| match victim {
                Victim::Node(n) if node.node == Fleet::node_name(n) => node.epoch > epoch,
                _ => true,
            };
            nodes.len() == EACH && nodes.iter().all(|node| node.state == "ready" && is_back(node))
        })
        .await;
    cluster
        .until("the promised replicas serve, and no others are left", async || {
            let replicas = client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
            replicas.len() == EACH && replicas.iter().all(|replica| replica.state == "serving")
        })
        .await;
}
