//! What is sent again, under which name, and what is not.

use std::{net::SocketAddr, time::Duration};

use berth_client::{Client, ClientOptions, Code, Error};

use crate::fake::{Fake, Reply};

fn client(addresses: &[SocketAddr]) -> Client {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Client::new(ClientOptions::new(addresses).expect("addresses"))
}

fn refuse(code: Code) -> Reply {
    Reply::Refuse(Error::new(code, "on purpose"))
}

/// An address nobody listens on: a port that was free a moment ago.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[tokio::test]
async fn a_mutation_is_sent_again_under_the_same_id() {
    for code in [Code::NoLeader, Code::Unavailable, Code::Unknown, Code::Timeout] {
        let (fake, address) = Fake::start([refuse(code), refuse(code)]).await;
        let node = client(&[address]).cordon_node("n1", true).await.expect("the third attempt");
        assert!(node.cordoned);
        let ids = fake.request_ids();
        assert_eq!(ids.len(), 3, "{code}");
        assert!(!ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]), "{code}: {ids:?}");
    }
}

#[tokio::test]
async fn two_mutations_have_two_ids() {
    let (fake, address) = Fake::start([]).await;
    let client = client(&[address]);
    client.cordon_node("n1", true).await.expect("an answer");
    client.forget_node("n1").await.expect("an answer");
    let ids = fake.request_ids();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_refusal_is_final_and_whole() {
    let refusal = Error::new(Code::NodeNotFound, "there is no node `n1`").why("why").try_("`n2`");
    let (fake, address) = Fake::start([Reply::Refuse(refusal.clone())]).await;
    let error = client(&[address]).cordon_node("n1", true).await.expect_err("a refusal");
    assert_eq!(error, refusal);
    assert_eq!(fake.request_ids().len(), 1);
}

#[tokio::test]
async fn another_member_is_asked_when_one_is_gone() {
    let (fake, address) = Fake::start([]).await;
    let client = client(&[nobody(), address]);
    client.cordon_node("n1", true).await.expect("the second member");
    client.cordon_node("n1", false).await.expect("the second member at once");
    assert_eq!(fake.request_ids().len(), 2);
}

#[tokio::test]
async fn a_member_that_hangs_is_left() {
    let (stuck, first) = Fake::start([Reply::Hang]).await;
    let (fake, second) = Fake::start([]).await;
    let mut options = ClientOptions::new([first.to_string(), second.to_string()]).expect("addresses");
    options.attempt_timeout = Duration::from_millis(200);
    Client::new(options).cordon_node("n1", true).await.expect("the second member");
    assert_eq!(stuck.request_ids(), fake.request_ids());
}

#[tokio::test]
async fn patience_ends_and_says_what_was_last_heard() {
    let mut options = ClientOptions::new([nobody().to_string()]).expect("an address");
    options.deadline = Duration::from_millis(300);
    let error = Client::new(options.clone()).list_nodes().await.expect_err("nobody");
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.what.contains(options.addresses[0].as_str()) && error.why.contains("refused"), "{error}");
    let patient = ClientOptions { deadline: Duration::from_secs(60), unreachable: Duration::ZERO, ..options.clone() };
    let error = Client::new(patient).list_nodes().await.expect_err("nobody, and no patience for that");
    assert_eq!(error.code, Code::Unavailable);

    let (_, address) = Fake::start(std::iter::repeat_n(refuse(Code::NoLeader), 1_000)).await;
    let options =
        ClientOptions { addresses: ClientOptions::new([address.to_string()]).expect("one").addresses, ..options };
    let error = Client::new(options).list_nodes().await.expect_err("no leader");
    assert_eq!(error.code, Code::NoLeader);
}

#[tokio::test]
async fn a_snapshot_is_whole_or_an_error() {
    let (_, address) = Fake::start([Reply::Well, refuse(Code::Internal)]).await;
    let client = client(&[address]);
    let mut bytes = Vec::new();
    assert_eq!(client.save_snapshot(&mut bytes).await.expect("a snapshot"), 7);
    assert_eq!(bytes, b"one two");
    client.save_snapshot(&mut Vec::new()).await.expect_err("a snapshot that broke off");
}
