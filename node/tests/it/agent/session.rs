//! Sessions: found, fenced, refused, opened again.

use berth_core::{agent::Desired, error::Code, state::Observed, time::Millis};
use berth_node::{NodeStatus, Secret, SessionStatus};
use tokio::time::Instant;

use super::{
    bench::{lives, options, server, start},
    coordinator::{Coordinator, Manner, PATIENCE},
};

#[tokio::test]
async fn a_node_is_redirected_to_the_leader_and_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let follower = Coordinator::with(Manner::Redirect(leader.address.to_string())).await;
    let node = start(options(dir.path(), &[&follower])).await;
    node.handle.wait_session(Instant::now() + PATIENCE).await.unwrap();
    let NodeStatus { session, .. } = node.handle.status();
    assert!(matches!(session, SessionStatus::Open { leader: at, .. } if at == leader.address.to_string()));
    let beats = leader.heartbeats(3).await;
    let (first, later) = (&beats[0], &beats[2]);
    assert_eq!((first.epoch, first.seq, later.seq), (1, 1, 3));
    node.stop().await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_said_plainly_and_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::with(Manner::Refuse(Code::NodeNameTaken)).await;
    let node = start(options(dir.path(), &[&leader])).await;
    let error = node.handle.wait_session(Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(error.code, Code::NodeNameTaken);
    assert!(error.what.contains("another live node is called `n1`") && error.what.contains("another name"));
    leader.behave(Manner::Welcome);
    leader.heartbeats(1).await;
    node.stop().await;
}

#[tokio::test]
async fn a_wrong_token_is_a_refusal_and_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.token = Secret::new("a-wrong-secret");
    let node = start(options).await;
    let error = node.handle.wait_session(Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(error.code, Code::Unauthenticated);
    assert!(!error.to_string().contains("a-wrong-secret"));
    node.stop().await;
}

#[tokio::test]
async fn a_broken_session_is_opened_again_under_the_same_epoch_and_everything_is_said_anew() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.order(1, &server(), Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    let seen = leader.reports().len();
    leader.hang_up();
    let again = leader.report_from(seen, 1, Observed::Warm).await;
    assert_eq!(again.pid, warm.pid, "nothing was started again");
    assert_eq!(leader.hello(2).await.epoch, 1);
    node.stop().await;
}

#[tokio::test]
async fn orders_of_the_past_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.order(1, &server(), Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    leader.send_stale_orders().await;
    // The session takes its messages in order: once a later order is carried out, the stale one was judged.
    leader.order(2, &server(), Desired::Run).await;
    leader.report(2, Observed::Warm).await;
    assert!(lives(warm.pid));
    node.stop().await;
}

#[tokio::test]
async fn a_coordinator_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    std::fs::create_dir_all(dir.path().join("node")).unwrap();
    std::fs::write(dir.path().join("node/cluster-id"), "its-own").unwrap();
    let node = start(options(dir.path(), &[&leader])).await;
    let error = node.handle.wait_session(Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(error.code, Code::ForeignCluster);
    node.stop().await;
}

#[tokio::test]
async fn replicas_and_routing_go_on_when_every_coordinator_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.order(1, &server(), Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    drop(leader);
    let mut session = Instant::now() + PATIENCE;
    while matches!(node.handle.status().session, SessionStatus::Open { .. }) {
        assert!(Instant::now() < session, "the session is never given up");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    session = Instant::now() + std::time::Duration::from_millis(300);
    assert!(node.handle.wait_session(session).await.is_err());
    assert!(lives(warm.pid));
    assert_eq!(super::bench::get(&warm.address)["pid"], warm.pid);
    node.stop().await;
}

#[tokio::test]
async fn what_may_not_run_alone_ends_without_any_coordinator_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut bound = server();
    // Less than users may ask for: what matters is who ends it, and not how long that takes.
    bound.disconnect.stop_on_client_after = Some(Millis(1_500));
    leader.order(1, &bound, Desired::Run).await;
    leader.order(2, &server(), Desired::Run).await;
    let (bound, free) = (leader.report(1, Observed::Warm).await, leader.report(2, Observed::Warm).await);
    drop(leader);
    let deadline = Instant::now() + PATIENCE;
    while lives(bound.pid) {
        assert!(Instant::now() < deadline, "it runs alone for ever");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(lives(free.pid));
    assert_eq!(super::bench::get(&free.address)["pid"], free.pid);
    node.stop().await;
}
