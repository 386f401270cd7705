//! Node sessions: admission, orders, reports, fences, and what happens to them when the leader goes.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    error::Code,
    id::{LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{DeploymentKey, ReplicaState},
    state::Observed,
};
use berth_proto::{
    api::v1::{
        DeleteDeploymentRequest, ListNodesRequest, ListReplicasRequest, ListSlotsRequest, LogsRequest,
        SetTrafficRequest, Slot, TrafficMap, nodes_client::NodesClient, replicas_client::ReplicasClient,
    },
    node::v1::{Hello, from_node, node_client::NodeClient, to_node},
    status::from_status,
};
use tokio::time::{Instant, timeout};

use crate::{
    api_fleet::{Fleet, PATIENCE, fresh_id},
    session_node::{Line, Puppet, Token, hello, report},
};

fn blue() -> DeploymentKey {
    "fraud/blue".parse().expect("a key")
}

async fn serving(fleet: &Fleet, at: usize, count: usize) {
    fleet
        .until(at, "the replicas serve", |state| {
            state.replicas_of(&blue()).filter(|replica| replica.state == ReplicaState::Serving).count() == count
                && state.replicas_of(&blue()).count() == count
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_comes_to_serve_and_goes_again() {
    let fleet = Fleet::start(3).await;
    let follower = fleet.follower().await;
    let puppets = [Puppet::start(&fleet, 1, "n-1"), Puppet::start(&fleet, 2, "n-2")];
    fleet.until(follower, "both nodes are registered", |state| state.nodes.len() == 2).await;
    puppets.iter().for_each(|puppet| puppet.seen.lock().expect("a puppet").still_fetches = true);
    fleet.put_endpoint(follower, "fraud").await.expect("created");
    fleet.put_deployment(follower, "fraud", "blue", 3).await.expect("created");
    serving(&fleet, follower, 3).await;

    // What only the leader knows is told by any member.
    let mut replicas = ReplicasClient::new(fleet.channel(follower));
    let listed = replicas.list(ListReplicasRequest::default()).await.expect("listed").into_inner().replicas;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|replica| replica.state == "serving" && replica.pid == 42));
    let mut nodes = NodesClient::new(fleet.channel(follower));
    let seen = nodes.list(ListNodesRequest {}).await.expect("listed").into_inner().nodes;
    assert_eq!(seen.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["n-1", "n-2"]);
    assert_eq!(seen.iter().map(|node| node.replicas).sum::<u64>(), 3);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let slots = replicas.list_slots(ListSlotsRequest::default()).await.expect("listed").into_inner().slots;
        let half = |slot: &Slot| slot.progress.as_ref().is_some_and(|far| (far.done, far.total) == (1, 2));
        if slots.len() == 1 && slots.iter().all(|slot| slot.state == "fetching" && half(slot)) {
            break;
        }
        assert!(Instant::now() < deadline, "how far the slot is does not come: {slots:?}");
        tokio::task::yield_now().await;
    }
    puppets.iter().for_each(|puppet| puppet.seen.lock().expect("a puppet").still_fetches = false);
    loop {
        // Loads come with the next heartbeat.
        let listed = replicas.list(ListReplicasRequest::default()).await.expect("listed").into_inner().replicas;
        let seen = nodes.list(ListNodesRequest {}).await.expect("listed").into_inner().nodes;
        let used = |node: &berth_proto::api::v1::Node| node.used.as_ref().is_some_and(|used| used.cpu_milli == 250);
        // A node that holds a slot was told what to have ready for it, and said that it has.
        let slots = replicas.list_slots(ListSlotsRequest::default()).await.expect("listed").into_inner().slots;
        let is_cached = |slot: &Slot| {
            slot.state == "cached" && slot.progress.is_none() && slot.endpoint == "fraud" && slot.node.starts_with("n-")
        };
        let reserve = slots.len() == 1 && slots.iter().all(is_cached);
        if listed.iter().all(|replica| replica.in_flight == 3) && seen.iter().all(used) && reserve {
            break;
        }
        assert!(Instant::now() < deadline, "loads do not come: {listed:?} {slots:?} {seen:?}");
        tokio::task::yield_now().await;
    }

    let request =
        LogsRequest { endpoint: "fraud".into(), deployment: "blue".into(), tail_lines: 5, ..LogsRequest::default() };
    let mut logs = fleet.deployments(follower).logs(request.clone()).await.expect("a stream").into_inner();
    let mut lines = Vec::new();
    while let Some(part) = timeout(PATIENCE, logs.message()).await.expect("in time").expect("a part") {
        lines.push((part.replica.clone(), String::from_utf8(part.data.to_vec()).expect("text")));
    }
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|(replica, text)| *text == format!("replica {replica} says hello\n")), "{lines:?}");

    // All of it since a time takes several answers, and ends where the log did at first, although it grows.
    let since = LogsRequest { tail_lines: 0, since_ms: 77, ..request };
    let mut logs = fleet.deployments(follower).logs(since).await.expect("a stream").into_inner();
    let mut whole: BTreeMap<String, String> = BTreeMap::new();
    let mut times = BTreeSet::new();
    while let Some(part) = timeout(PATIENCE, logs.message()).await.expect("in time").expect("a part") {
        whole.entry(part.replica.clone()).or_default().push_str(str::from_utf8(&part.data).expect("text"));
        times.extend(part.times.iter().map(|time| (time.until, time.at_ms)));
    }
    assert_eq!(whole.into_values().collect::<Vec<_>>(), ["part 0\npart 1\npart 2\n"; 3]);
    assert_eq!(times, BTreeSet::from([(7, 77), (7, 0)]), "a time is asked for once, and handed on as it is told");

    // Traffic moves only to what is there; a deployment without traffic goes, and its replicas with it.
    let traffic = SetTrafficRequest {
        strict_azure: false,
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        split: Some(TrafficMap { percent: [("blue".to_owned(), 100)].into() }),
        mirror: None,
        if_revision: None,
    };
    fleet.endpoints(follower).set_traffic(traffic.clone()).await.expect("set");
    let off = SetTrafficRequest { request_id: fresh_id(), split: Some(TrafficMap::default()), ..traffic };
    fleet.endpoints(follower).set_traffic(off).await.expect("set");
    let delete = DeleteDeploymentRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        name: "blue".into(),
        if_revision: None,
    };
    fleet.deployments(follower).delete(delete).await.expect("deleted");
    fleet.until(follower, "nothing is left", |state| state.deployments.is_empty() && state.replicas.is_empty()).await;
    let taken: u64 = puppets.iter().map(|puppet| puppet.seen.lock().unwrap().reports_taken).sum();
    assert!(taken > 0, "reports are acknowledged");
    puppets.into_iter().for_each(Puppet::stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_a_new_leader_and_keep_their_epoch() {
    let mut fleet = Fleet::start(3).await;
    let puppet = Puppet::start(&fleet, 1, "n-1");
    fleet.put_endpoint(0, "fraud").await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");
    serving(&fleet, 0, 1).await;
    let replica =
        fleet.handle(0).read(|state| state.replicas_of(&blue()).map(|replica| replica.id).collect::<Vec<_>>());
    let leader = fleet.leader().await;
    fleet.members[leader].stop().await;
    let next = fleet.leader().await;
    // The new leader scales, which it can only do through a session of its own.
    fleet.put_deployment(next, "fraud", "blue", 2).await.expect("changed");
    serving(&fleet, next, 2).await;
    fleet.handle(next).read(|state| {
        assert!(replica.iter().all(|id| state.replicas.contains_key(id)), "what served goes on serving");
        assert_eq!(state.nodes[&NodeId(1)].epoch, NodeEpoch(1), "a mere reconnect is no registration");
    });
    puppet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sends_nodes_to_the_leader() {
    let fleet = Fleet::start(3).await;
    let (leader, follower) = (fleet.leader().await, fleet.follower().await);
    let mut line = Line::open(&fleet, follower, hello(1, "n-1")).await.expect("a session");
    match line.next().await {
        Some(to_node::Message::Redirect(redirect)) => {
            assert_eq!(redirect.leader_address, fleet.members[leader].address.to_string());
        }
        other => panic!("expected Redirect, got {other:?}"),
    }
    assert_eq!(line.next().await, None, "the session ends");

    let mut line = Line::open(&fleet, leader, hello(1, "n-1")).await.expect("a session");
    let welcome = line.welcome().await;
    assert_eq!((welcome.epoch, welcome.cluster_id.as_str()), (1, fleet.handle(leader).cluster_id()));
    assert_eq!((welcome.coordinators.len(), welcome.gate_token.len()), (3, 64));
    // A leader that hands over sends its nodes on.
    let to = fleet.handle(follower).member_id();
    let deadline = Instant::now() + PATIENCE;
    fleet.handle(leader).raft().transfer_leadership(to, deadline).await.expect("handed over");
    let mut last = None;
    while let Some(message) = line.next().await {
        last = Some(message);
    }
    assert!(matches!(last, Some(to_node::Message::Redirect(_))), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_and_told_why() {
    let fleet = Fleet::start(1).await;
    let wrong = NodeClient::with_interceptor(fleet.channel(0), Token::new("0000"));
    let (_up, none) = tokio::sync::mpsc::channel(1);
    let status = wrong.clone().session(tokio_stream::wrappers::ReceiverStream::new(none)).await.expect_err("refused");
    let error = from_status(&status);
    assert_eq!(error.code, Code::Unauthenticated);
    assert!(error.try_.contains("node.token"), "{error}");

    let refusal = async |hello: Hello| {
        let mut line = Line::open(&fleet, 0, hello).await.expect("a session");
        match line.next().await {
            Some(to_node::Message::Refused(refused)) => refused,
            other => panic!("expected Refused, got {other:?}"),
        }
    };
    let foreign = refusal(Hello { cluster_id: "c-other".into(), ..hello(1, "n-1") }).await;
    assert_eq!(foreign.code, Code::ForeignCluster.word());
    assert_eq!(refusal(Hello { profile: None, ..hello(1, "n-1") }).await.code, Code::Invalid.word());
    assert_eq!(refusal(hello(0, "n-1")).await.code, Code::Invalid.word());

    let mut first = Line::open(&fleet, 0, hello(1, "n-1")).await.expect("a session");
    first.welcome().await;
    let clash = refusal(hello(2, "n-1")).await;
    assert_eq!(clash.code, Code::NodeNameTaken.word());
    assert!(clash.r#try.contains("--name"), "{clash:?}");
    assert_eq!(fleet.handle(0).read(|state| state.nodes.len()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_session_and_an_older_epoch_count_for_nothing() {
    let fleet = Fleet::start(1).await;
    let mut older = Line::open(&fleet, 0, hello(1, "n-1")).await.expect("a session");
    assert_eq!(older.welcome().await.epoch, 1);
    // The same process on another connection: same epoch, no entry in the log.
    let mut again = Line::open(&fleet, 0, Hello { epoch: 1, ..hello(1, "n-1") }).await.expect("a session");
    assert_eq!(again.welcome().await.epoch, 1);
    let mut last = None;
    while let Some(message) = older.next().await {
        last = Some(message);
    }
    assert!(
        matches!(&last, Some(to_node::Message::Refused(refused)) if refused.code == Code::Stale.word()),
        "{last:?}"
    );

    // A restarted agent holds no epoch: it is registered anew.
    let mut newer = Line::open(&fleet, 0, hello(1, "n-1")).await.expect("a session");
    assert_eq!(newer.welcome().await.epoch, 2);
    fleet.put_endpoint(0, "fraud").await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");
    let replica = loop {
        match newer.next().await {
            Some(to_node::Message::Assignments(orders)) if !orders.replicas.is_empty() => {
                assert_eq!(orders.epoch, 2);
                break ReplicaId(orders.replicas[0].replica);
            }
            Some(_) => {}
            None => panic!("the session ended"),
        }
        newer
            .send(from_node::Message::Heartbeat(berth_proto::node::v1::Heartbeat { epoch: 2, ..Default::default() }))
            .await;
    };
    // Reports of the older epoch are not even answered; those of the present one are acknowledged once in the log.
    newer.report(1, 7, &[report(replica, Observed::Warm)]).await;
    newer.report(2, 8, &[report(replica, Observed::Preparing)]).await;
    let taken = loop {
        match newer.next().await {
            Some(to_node::Message::ReportsTaken(taken)) => break taken.seq,
            Some(_) => {}
            None => panic!("the session ended"),
        }
    };
    assert_eq!(taken, 8);
    let state = fleet.handle(0).read(|state| state.replicas[&replica].state);
    assert_eq!(state, ReplicaState::Preparing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_reading_holds_up_nobody() {
    let fleet = Fleet::start(1).await;
    // Registered, and never read again.
    let mut stalled = Line::open(&fleet, 0, hello(9, "stalled")).await.expect("a session");
    stalled.welcome().await;
    let flood = stalled.up.clone();
    let flooding = tokio::spawn(async move {
        for seq in 1..=2_000 {
            let reports = berth_proto::node::v1::ReplicaReports { epoch: 1, seq, reports: Vec::new() };
            let message = berth_proto::node::v1::FromNode { message: Some(from_node::Message::Reports(reports)) };
            if flood.send(message).await.is_err() {
                return;
            }
        }
    });
    let puppet = Puppet::start(&fleet, 1, "n-1");
    fleet.put_endpoint(0, "fraud").await.expect("created");
    fleet.until(0, "both nodes are registered", |state| state.nodes.len() == 2).await;
    let cordon =
        berth_proto::api::v1::CordonNodeRequest { request_id: fresh_id(), node: "stalled".into(), cordoned: true };
    NodesClient::new(fleet.channel(0)).cordon(cordon).await.expect("cordoned");
    let drain = berth_proto::api::v1::DrainNodeRequest {
        request_id: fresh_id(),
        node: "stalled".into(),
        within_ms: 1_000,
        reason: "it stalls".into(),
        ..Default::default()
    };
    let drained = NodesClient::new(fleet.channel(0)).drain(drain).await.expect("drained").into_inner();
    let wish = drained.drain.expect("the wish is shown");
    assert_eq!((wish.reason.as_str(), wish.finished_at_ms > 0), ("it stalls", true), "nothing runs there");
    // Silent for long enough the stalled one is lost; its neighbour serves all the same.
    fleet.put_deployment(0, "fraud", "blue", 2).await.expect("created");
    serving(&fleet, 0, 2).await;
    flooding.abort();
    puppet.stop();
    drop(stalled);
    assert!(fleet.handle(0).read(|state| state.applied) > LogIndex(0));
}
