//! Events across streams that break: no gap, no duplicate.

use berth_client::{Client, ClientOptions, Code, Error};

use crate::fake::{Fake, Feed};

#[tokio::test]
async fn a_broken_watch_resumes_where_it_was() {
    let broken = || Some(Error::new(Code::Unavailable, "on purpose"));
    let (fake, address) = Fake::start([]).await;
    fake.feed([
        Feed { events: vec![3, 4], then: broken() },
        // A member may send again what was seen.
        Feed { events: vec![4, 5], then: None },
        Feed { events: vec![6], then: Some(Error::new(Code::Invalid, "fell behind")) },
    ]);
    let client = Client::new(ClientOptions::new([address.to_string()]).expect("an address"));
    let mut events = client.watch_events(None);
    let mut seen = Vec::new();
    let end = loop {
        match events.next().await {
            Ok(Some(event)) => seen.push(event.seq),
            Ok(None) => panic!("a watch does not end by itself"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, [3, 4, 5, 6]);
    assert_eq!(end.code, Code::Invalid, "a gap is told, never skipped");
    assert_eq!(fake.asked_from(), [None, Some(5), Some(6)]);
    assert_eq!(events.next().await, Ok(None), "an ended stream stays ended");
}

#[tokio::test]
async fn a_listing_ends() {
    let (fake, address) = Fake::start([]).await;
    fake.feed([Feed { events: vec![1, 2], then: None }]);
    let client = Client::new(ClientOptions::new([address.to_string()]).expect("an address"));
    let seen: Vec<_> = client.events().await.expect("events").into_iter().map(|event| event.seq).collect();
    assert_eq!(seen, [1, 2]);
}
