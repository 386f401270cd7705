//! An agent that went away and comes back.

use std::{path::Path, process::Command};

use berth_core::{agent::Desired, error::Code, state::Observed};
use berth_node::{NodeOptions, NodeService};

use super::{
    bench::{Sweeper, command, kill, lives, options, server, start},
    coordinator::Coordinator,
};

/// Options under which replicas outlive their agent, as they do beneath a daemon.
fn lasting(dir: &Path, leader: &Coordinator) -> NodeOptions {
    NodeOptions { die_with_parent: false, ..options(dir, &[leader]) }
}

#[tokio::test]
async fn replicas_outlive_a_crashed_agent_and_are_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let _sweeper = Sweeper(dir.path().canonicalize().unwrap());
    let leader = Coordinator::start().await;
    let node = start(lasting(dir.path(), &leader)).await;
    leader.order(1, &server(), Desired::Run).await;
    let before = leader.report(1, Observed::Warm).await;
    let id = node.handle.node_id();
    node.crash().await;
    assert!(lives(before.pid));

    let seen = leader.reports().len();
    let node = start(lasting(dir.path(), &leader)).await;
    assert_eq!(node.handle.node_id(), id, "the id is kept");
    let after = leader.report_from(seen, 1, Observed::Warm).await;
    assert_eq!((after.pid, after.restarts, &after.address), (before.pid, 0, &before.address));
    assert_eq!(leader.hello(2).await.epoch, 0, "a new agent holds no epoch");
    assert!(leader.hello(2).await.replicas.iter().any(|report| report.pid == before.pid), "the hello shows it");

    // An adopted process is watched like one's own, and its successor is a child again.
    let seen = leader.reports().len();
    kill(after.pid);
    let third = leader.report_from(seen, 1, Observed::Warm).await;
    assert_ne!(third.pid, before.pid);
    node.stop().await;
}

#[tokio::test]
async fn without_any_coordinator_a_node_restarts_what_died_while_it_was_away() {
    let dir = tempfile::tempdir().unwrap();
    let _sweeper = Sweeper(dir.path().canonicalize().unwrap());
    let leader = Coordinator::start().await;
    let node = start(lasting(dir.path(), &leader)).await;
    leader.order(1, &server(), Desired::Run).await;
    let before = leader.report(1, Observed::Warm).await;
    node.crash().await;
    kill(before.pid);
    let mut options = lasting(dir.path(), &leader);
    options.coordinators = vec!["127.0.0.1:1".into()];
    let node = start(options).await;
    let ledger = dir.path().join("node/ledger.json");
    let deadline = tokio::time::Instant::now() + super::coordinator::PATIENCE;
    let pid = loop {
        let text = std::fs::read_to_string(&ledger).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let row = &value["replicas"][0];
        match row["process"]["pid"].as_u64().filter(|pid| *pid != u64::from(before.pid)) {
            Some(pid) if row["is_warm"] == true => break pid as u32,
            _ => assert!(tokio::time::Instant::now() < deadline, "it was not started again: {row}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(lives(pid));
    node.stop().await;
}

#[tokio::test]
async fn a_process_whose_launch_was_never_written_down_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let _sweeper = Sweeper(dir.path().canonicalize().unwrap());
    let leader = Coordinator::start().await;
    let root = dir.path().join("node/replicas/00000000000000aa");
    std::fs::create_dir_all(&root).unwrap();
    let root = root.canonicalize().unwrap();
    let mut stray = Command::new("sleep").arg("1000").env("BERTH_REPLICA_ROOT", &root).spawn().unwrap();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let node = start(lasting(dir.path(), &leader)).await;
    leader.hello(1).await;
    assert!(!stray.wait().unwrap().success());
    assert!(lives(other.id()), "what bears no mark is nobody's business");
    other.kill().unwrap();
    other.wait().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_fails_is_started_again_and_finds_its_replicas() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.order(1, &server(), Desired::Run).await;
    let before = leader.report(1, Observed::Warm).await;
    for count in 2..4 {
        let seen = leader.reports().len();
        node.handle.fail_agent();
        let after = leader.report_from(seen, 1, Observed::Warm).await;
        assert_eq!((after.pid, after.restarts), (before.pid, 0), "nothing was started again");
        assert_eq!(leader.hello(count).await.epoch, 1, "it is still the same agent to the cluster");
    }
    leader.order(1, &server(), Desired::Stop).await;
    leader.report(1, Observed::Gone).await;
    assert!(!lives(before.pid));
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_fails_again_and_again_ends_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let error = node.fail_for_good().await;
    assert_eq!((error.code, error.what.as_str()), (Code::Internal, "the agent fails again and again"));
}

#[tokio::test]
async fn two_agents_cannot_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _sweeper = Sweeper(dir.path().canonicalize().unwrap());
    let leader = Coordinator::start().await;
    let node = start(lasting(dir.path(), &leader)).await;
    let error = NodeService::open(lasting(dir.path(), &leader)).await.err().unwrap();
    assert_eq!(error.code, Code::AlreadyExists);
    node.stop().await;
    let again = start(lasting(dir.path(), &leader)).await;
    again.stop().await;
}

#[tokio::test]
async fn an_end_that_was_ordered_while_the_agent_was_away_is_carried_out() {
    let dir = tempfile::tempdir().unwrap();
    let _sweeper = Sweeper(dir.path().canonicalize().unwrap());
    let leader = Coordinator::start().await;
    let node = start(lasting(dir.path(), &leader)).await;
    let spec = command(&["python3", "-c", super::bench::SERVER, "{port}"]);
    leader.order(1, &spec, Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    node.crash().await;
    leader.order(1, &spec, Desired::Stop).await;
    let node = start(lasting(dir.path(), &leader)).await;
    leader.report(1, Observed::Gone).await;
    assert!(!lives(warm.pid));
    node.stop().await;
}

/// What is on its disk may be of an older program, which did not know all that the cluster says now.
#[tokio::test]
async fn a_new_process_asks_for_the_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let table = dir.path().join("node/mesh/routes.bin");
    let deadline = tokio::time::Instant::now() + super::coordinator::PATIENCE;
    while !table.exists() {
        assert!(tokio::time::Instant::now() < deadline, "the table is kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    node.stop().await;
    let seen = leader.tables(1).await.len();

    let node = start(options(dir.path(), &[&leader])).await;
    assert_eq!(leader.tables(seen + 1).await[seen], 0, "as if it had none");
    node.stop().await;
}
