//! Consensus over real stores and real sockets.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use berth_coordinator::raft::{
    DEFAULTS, Error, Formation, LogIndex, MAX_COMMAND_BYTES, MemberId, RaftOptions, RaftService, RaftTimings, RaftToken,
};
use berth_core::error::Code;
use bytes::Bytes;
use tokio::time::Instant;

use crate::raft_cluster::{Kv, Node, Start, agree, cluster, cluster_with, leader, listen, listen_again, single, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_takes_a_command_and_sees_its_own_write() {
    let nodes = cluster(3).await;
    let mut indexes = BTreeSet::new();
    for round in 0..4 {
        for (place, node) in nodes.iter().enumerate() {
            let value = format!("{round}.{place}");
            let before = node.machine.get("k");
            let done = node.put("k", &value).await.unwrap();
            assert!(indexes.insert(done.index), "every command has an index of its own");
            assert_eq!(done.reply, before.unwrap_or_default().into_bytes(), "the answer is the state machine's");
            for reader in &nodes {
                let seen = reader.handle.read_barrier(soon()).await.unwrap();
                assert!(seen >= done.index);
                assert_eq!(reader.machine.get("k").as_deref(), Some(value.as_str()), "a linearizable read");
            }
        }
    }
    agree(&nodes).await;
    let status = nodes[0].handle.status();
    assert_eq!(status.members.iter().filter(|member| member.voter).count(), 3);
    assert!(status.members.iter().all(|member| nodes.iter().any(|node| node.address.to_string() == member.address)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_proposed_together_are_applied_once_each() {
    let nodes = Arc::new(cluster(3).await);
    let mut proposals = tokio::task::JoinSet::new();
    for n in 0..200 {
        let nodes = nodes.clone();
        proposals.spawn(async move { nodes[n % 3].put(&format!("k{n}"), "v").await.unwrap().index });
    }
    let indexes: BTreeSet<LogIndex> = proposals.join_all().await.into_iter().collect();
    assert_eq!(indexes.len(), 200);
    assert_eq!(agree(&nodes).await.values.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut nodes = cluster(3).await;
    for n in 0..10 {
        nodes[n % 3].put(&format!("before{n}"), "v").await.unwrap();
    }
    let old = nodes.remove(leader(&nodes).await);
    let (old_id, dir, address) = (old.id(), old.dir.clone(), old.address);
    old.stop().await.unwrap();
    let new = leader(&nodes).await;
    assert_ne!(nodes[new].id(), old_id);
    for n in 0..10 {
        nodes[n % 2].put(&format!("after{n}"), "v").await.unwrap();
    }
    let state = agree(&nodes).await;
    assert_eq!(state.values.len(), 20);

    let formation = Formation::Join { addresses: vec![nodes[0].address.to_string()] };
    let back = Start { dir, ..Start::new(formation) }.run_on(listen_again(address).await).await;
    assert_eq!(back.id(), old_id, "it keeps its id with its store");
    nodes.push(back);
    assert_eq!(agree(&nodes).await, state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_promised() {
    let mut nodes = cluster(3).await;
    let survivor = nodes.remove(0);
    survivor.put("k", "v").await.unwrap();
    for node in nodes {
        node.stop().await.unwrap();
    }
    let patience = Instant::now() + Duration::from_millis(1500);
    let refused = survivor.handle.propose(Bytes::from_static(b"k=w"), patience).await.unwrap_err();
    assert!(matches!(refused, Error::NoLeader { .. } | Error::OutcomeUnknown { .. }), "{refused:?}");
    let patience = Instant::now() + Duration::from_millis(1500);
    let refused = survivor.handle.read_barrier(patience).await.unwrap_err();
    assert_eq!(refused.code(), Code::NoLeader, "{refused:?}");
    assert!(!refused.may_have_been_applied());
}

/// Snapshots early and keeps little, so that a test need not write thousands of entries.
fn eager() -> RaftTimings {
    RaftTimings { snapshot_after_entries: 20, keep_entries: 5, ..DEFAULTS }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_catches_up_from_a_snapshot_longer_than_a_message() {
    let mut nodes = cluster_with(1, eager()).await;
    let long = "x".repeat(900_000);
    for n in 0..12 {
        nodes[0].put(&format!("long{n}"), &long).await.unwrap();
    }
    for n in 0..30 {
        nodes[0].put(&format!("k{n}"), "v").await.unwrap();
    }
    let handle = nodes[0].handle.clone();
    handle.snapshot_now(soon()).await.unwrap();
    handle.wait_for(soon(), "the log to be purged", |status| status.purged.0 >= 12).await.unwrap();
    for n in 0..2 {
        let formation = Formation::Join { addresses: vec![nodes[0].address.to_string()] };
        let node = Start { timings: eager(), ..Start::new(formation) }.run().await;
        node.is_voter().await;
        node.put(&format!("joined{n}"), "v").await.unwrap();
        assert!(node.handle.status().snapshot.0 >= 12, "it came by snapshot: the entries are gone");
        nodes.push(node);
    }
    let state = agree(&nodes).await;
    assert_eq!(state.values.len(), 12 + 30 + 2);
    assert_eq!(state.values["long11"], long);

    // And the snapshot it was sent is good enough to restart from.
    let newcomer = nodes.pop().unwrap();
    let (dir, address) = (newcomer.dir.clone(), newcomer.address);
    newcomer.stop().await.unwrap();
    let formation = Formation::Join { addresses: vec![nodes[0].address.to_string()] };
    let start = Start { dir, timings: eager(), ..Start::new(formation) };
    nodes.push(start.run_on(listen_again(address).await).await);
    assert_eq!(agree(&nodes).await, state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything() {
    let node = Start { timings: eager(), ..Start::new(Formation::Bootstrap { expect: 1, peers: vec![] }) }.run().await;
    node.is_voter().await;
    let mut last = LogIndex(0);
    for n in 0..57 {
        last = node.put(&format!("k{n}"), &n.to_string()).await.unwrap().index;
    }
    let (id, dir, state) = (node.id(), node.dir.clone(), node.machine.state());
    node.stop().await.unwrap();

    for _ in 0..2 {
        let formation = Formation::Bootstrap { expect: 1, peers: vec![] };
        let again = Start { dir: dir.clone(), timings: eager(), ..Start::new(formation) }.run().await;
        assert_eq!(again.id(), id);
        let seen = again.handle.read_barrier(soon()).await.unwrap();
        assert!(seen >= last);
        assert_eq!(again.machine.state(), state);
        again.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_restarts_and_its_members_may_move() {
    let nodes = cluster(3).await;
    for n in 0..10 {
        nodes[n % 3].put(&format!("k{n}"), "v").await.unwrap();
    }
    let state = agree(&nodes).await;
    let ids: Vec<MemberId> = nodes.iter().map(Node::id).collect();
    let mut dirs = Vec::new();
    let mut addresses = Vec::new();
    for node in nodes {
        dirs.push(node.dir.clone());
        addresses.push(node.address);
        node.stop().await.unwrap();
    }
    // Two come back where they were, the third somewhere else.
    let mut again = Vec::new();
    for (place, dir) in dirs.into_iter().enumerate() {
        let listener = if place == 2 { listen().await } else { listen_again(addresses[place]).await };
        let formation = Formation::Join { addresses: vec![addresses[0].to_string()] };
        again.push(Start { dir, ..Start::new(formation) }.run_on(listener).await);
    }
    assert_eq!(again.iter().map(Node::id).collect::<Vec<_>>(), ids);
    assert_eq!(agree(&again).await, state);
    let (moved, to) = (again[2].id(), again[2].address.to_string());
    for node in &again {
        node.handle
            .wait_for(soon(), "the new address to be known", |status| {
                status.member(moved).is_some_and(|member| member.address == to)
            })
            .await
            .unwrap();
    }
    again[2].put("moved", "v").await.unwrap();
    agree(&again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_store_takes_its_own_place_under_a_new_id() {
    let mut nodes = cluster(3).await;
    nodes[0].put("k", "v").await.unwrap();
    let peers: Vec<String> = nodes.iter().map(|node| node.address.to_string()).collect();
    let lost = nodes.pop().unwrap();
    let (old_id, address) = (lost.id(), lost.address);
    lost.stop().await.unwrap();
    // The same flags as before: it must not begin a second cluster.
    let formation = Formation::Bootstrap { expect: 3, peers };
    let back = Start::new(formation).run_on(listen_again(address).await).await;
    assert_ne!(back.id(), old_id);
    back.is_voter().await;
    nodes.push(back);
    let status = nodes[0]
        .handle
        .wait_for(soon(), "the lost member to be gone", |status| status.member(old_id).is_none())
        .await
        .unwrap();
    assert_eq!(status.members.iter().filter(|member| member.voter).count(), 3);
    let state = agree(&nodes).await;
    assert_eq!(state.values["k"], "v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cluster_forms_however_late_its_members_come() {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(listen().await);
    }
    let peers: Vec<String> = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let formation = Formation::Bootstrap { expect: 3, peers };
    let mut nodes: Vec<Node> = Vec::new();
    for (place, listener) in listeners.into_iter().enumerate() {
        if place == 1 {
            // The first one is restarted before there is a cluster.
            let first = nodes.pop().unwrap();
            assert!(!first.handle.status().formed, "one of three forms nothing");
            let (dir, address, id) = (first.dir.clone(), first.address, first.id());
            first.stop().await.unwrap();
            let again = Start { dir, ..Start::new(formation.clone()) }.run_on(listen_again(address).await).await;
            assert_eq!(again.id(), id);
            nodes.push(again);
        }
        nodes.push(Start::new(formation.clone()).run_on(listener).await);
    }
    for node in &nodes {
        node.is_voter().await;
    }
    nodes[1].put("k", "v").await.unwrap();
    agree(&nodes).await;
    let members: BTreeSet<Vec<MemberId>> =
        nodes.iter().map(|node| node.handle.status().members.iter().map(|member| member.id).collect()).collect();
    assert_eq!(members.len(), 1, "one membership");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_on_request_and_before_a_leader_stops() {
    let mut nodes = cluster(3).await;
    nodes[0].put("k", "v").await.unwrap();
    agree(&nodes).await;
    let old = leader(&nodes).await;
    let heir = (old + 1) % 3;
    // Asked of the member that is neither.
    nodes[(old + 2) % 3].handle.transfer_leadership(nodes[heir].id(), soon()).await.unwrap();
    let led = nodes[heir].handle.wait_for(soon(), "leadership", |status| status.is_leader).await.unwrap();
    nodes[old].put("k", "w").await.unwrap();

    let stopped = nodes.remove(heir);
    stopped.stop().await.unwrap();
    let next = leader(&nodes).await;
    let status = nodes[next].handle.status();
    assert_eq!(status.term.0, led.term.0 + 1, "handed over in one election, not fought for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_promoted_and_removed_from_anywhere() {
    let mut nodes = cluster(3).await;
    nodes[0].put("k", "v").await.unwrap();
    let follower = (leader(&nodes).await + 1) % 3;

    let stranger = MemberId(42);
    let refused = nodes[follower].handle.promote(stranger, soon()).await.unwrap_err();
    assert_eq!(refused, Error::UnknownMember(stranger));
    let refused = nodes[follower].handle.remove_member(stranger, soon()).await.unwrap_err();
    assert_eq!(refused.code(), Code::MemberNotFound);

    // A learner is nobody's majority: it need not even be there.
    nodes[follower].handle.add_learner(stranger, "127.0.0.1:9", soon()).await.unwrap();
    nodes[follower].put("k", "w").await.unwrap();
    let status = nodes[follower]
        .handle
        .wait_for(soon(), "the learner", |status| status.member(stranger).is_some())
        .await
        .unwrap();
    assert!(!status.member(stranger).unwrap().voter);
    nodes[follower].handle.remove_member(stranger, soon()).await.unwrap();

    // A follower leaves; the two that stay can still decide alone.
    let gone = nodes.remove(follower);
    nodes[0].handle.remove_member(gone.id(), soon()).await.unwrap();
    gone.stop().await.unwrap();
    nodes[1].put("k", "x").await.unwrap();
    assert_eq!(agree(&nodes).await.values["k"], "x");
    assert_eq!(nodes[0].handle.status().members.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_voter_stays() {
    let node = single().await;
    let refused = node.handle.remove_member(node.id(), soon()).await.unwrap_err();
    assert!(matches!(&refused, Error::Membership { why } if why.contains("last voter")), "{refused:?}");
    node.put("k", "v").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_in_plain_words() {
    let node = single().await;
    let join = || Start::new(Formation::Join { addresses: vec![node.address.to_string()] });

    let wrong_key = Start { tokens: vec![RaftToken::new("guess")], ..join() }.run().await;
    let refused = wrong_key.ends().await.unwrap_err();
    assert_eq!(refused, Error::ClusterKey { address: node.address.to_string() });
    let words = berth_core::error::Error::from(refused);
    assert!(words.to_string().contains("cluster.key"), "{words}");

    let foreign = Start { cluster: "other".into(), ..join() }.run().await;
    let refused = foreign.ends().await.unwrap_err();
    assert_eq!(refused.code(), Code::ForeignCluster);
    assert!(refused.to_string().contains("belongs to another cluster than other"), "{refused}");

    // While the key is exchanged, members accept the old one and the new one.
    let both = vec![RaftToken::new("secret"), RaftToken::new("next")];
    let welcome = Start { tokens: both, ..join() }.run().await;
    welcome.is_voter().await;
    assert_eq!(node.handle.status().members.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_over_the_limit_is_refused_before_it_is_proposed() {
    let node = single().await;
    let long = Bytes::from(vec![b'='; MAX_COMMAND_BYTES + 1]);
    let refused = node.handle.propose(long, soon()).await.unwrap_err();
    assert_eq!(refused, Error::TooLarge { bytes: MAX_COMMAND_BYTES + 1, limit: MAX_COMMAND_BYTES });
    let longest = Bytes::from([b"k=".as_slice(), &vec![b'v'; MAX_COMMAND_BYTES - 2]].concat());
    node.handle.propose(longest, soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_are_refused_with_every_problem_at_once() {
    let options = RaftOptions {
        timings: RaftTimings { heartbeat_ms: 500, ..DEFAULTS },
        ..RaftOptions::new(
            "unused",
            "no spaces",
            vec![],
            "nowhere",
            Formation::Bootstrap { expect: 3, peers: vec!["a:1".into(), "b:x".into()] },
        )
    };
    let Err(Error::Options { problems }) = RaftService::open(options, Arc::new(Kv::default())).await.map(|_| ()) else {
        panic!("refused");
    };
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["cluster_id", "tokens", "advertise", "peers", "timings"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_never_begins_a_second_cluster() {
    let bootstrap = || Start::new(Formation::Bootstrap { expect: 1, peers: vec![] });
    let node = single().await;
    node.put("k", "v").await.unwrap();
    let dir = node.dir.clone();
    node.stop().await.unwrap();
    let conf = dir.path().join("raft/conf");
    fs::write(&conf, b"these are not the bytes that were written").unwrap();

    let start = Start { dir: dir.clone(), ..bootstrap() };
    let refused = start.clone().try_run_on(listen().await).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::StoreDamaged);
    let words = berth_core::error::Error::from(refused).to_string();
    assert!(words.contains("set aside") && words.contains("--join"), "{words}");

    // A supervisor that starts it again and again changes nothing.
    for _ in 0..2 {
        let refused = start.clone().try_run_on(listen().await).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code(), Code::StoreDamaged);
        assert!(!dir.path().join("raft").exists());
    }

    // Joining is the way back.
    let healthy = single().await;
    let formation = Formation::Join { addresses: vec![healthy.address.to_string()] };
    let back = Start { dir, ..Start::new(formation) }.run().await;
    back.is_voter().await;
}
