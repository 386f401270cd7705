//! What the routers of several nodes find out about a mirror, in one report.

use std::{collections::BTreeSet, process::Command};

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT, assert_all_answered},
    echo::is_wrong,
};

use crate::BERTH;

/// Requests, a second and in all; the mirror is wrong about one in a hundred of them.
const RATE: u64 = 200;
const TOTAL: u64 = 2_000;

/// Runs a verb.
fn berth(cluster: &Cluster, words: &[&str]) -> String {
    let member = &cluster.fleet.api_addresses()[0];
    let output = Command::new(BERTH).args(["--api", member]).args(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_is_wrong_once_in_a_hundred_is_told_to_be_by_all_routers_together() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    let mut green = cluster.command(&["echo-model"]);
    green.instance_count = 2;
    green.request_settings.max_concurrent_requests_per_instance = 64;
    green.environment_variables.insert("WRONG".to_owned(), "1".to_owned());
    cluster.put(ENDPOINT, "green", &green).await;
    cluster.serving("green", 2).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
    berth(&cluster, &["mirror", ENDPOINT, "green=100"]);
    let ingresses = cluster.ingresses().await;
    assert_eq!(ingresses.len(), 2, "the requests take turns");
    // Every answer is the primary's, byte for byte.
    assert_all_answered(&cluster.load(ingresses, RATE, TOTAL).end().await, TOTAL);
    let mut verdict = Default::default();
    cluster
        .until("every copy is counted", async || {
            let report = cluster.client.mirror_report(ENDPOINT).await.expect("a report");
            let of_green = report.mirrors.into_iter().find(|verdict| verdict.mirror == "green");
            verdict = of_green.unwrap_or_default();
            (report.nodes_heard, report.nodes, verdict.copies >= TOTAL) == (2, 2, true)
        })
        .await;
    let wrong = 100.0 - verdict.match_percent.expect("something was compared");
    assert!((0.9..=1.1).contains(&wrong), "{verdict:?}");
    assert!(verdict.mean_slower_us.is_some() && verdict.primary_latency.is_some(), "{verdict:?}");
    let told = berth(&cluster, &["mirror", "report", ENDPOINT]);
    let part =
        format!("{:.3} % of {} ({} not the same)", 100.0 - wrong, verdict.judged, verdict.judged - verdict.matched);
    for part in [&*part, "green compared with blue", "latency", "worst"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // The worst are those it was wrong about, of both routers; each knows its own by name.
    let mut routers = BTreeSet::new();
    for example in &verdict.worst {
        let number = example.request_id.rsplit('-').next().and_then(|number| number.parse().ok());
        assert!(number.is_some_and(is_wrong), "{example:?}");
        let explained = berth(&cluster, &["explain", "request", &example.request_id]);
        let taken = explained.lines().find(|line| line.contains("taken")).expect("who took it");
        routers.extend(taken.split_whitespace().find(|word| word.starts_with("node-")).map(str::to_owned));
    }
    assert_eq!(routers.len(), 2, "{:?}", verdict.worst);
}
