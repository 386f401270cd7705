//! Alerts from a rule to a receiver: a real webhook, a leader that goes, and one that does not answer.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use berth_coordinator::{AlertReceiver, CoordinatorOptions};
use berth_proto::{
    api::v1::{
        EventBatch, ListAlertsRequest, PutEndpointRequest, TestReceiverRequest, WatchEventsRequest,
        alerts_client::AlertsClient, watch_client::WatchClient,
    },
    store::v1::AlertRule,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tonic::transport::Channel;

use crate::api_fleet::{Fleet, PATIENCE, endpoint_request, fresh_id};

/// A receiver that answers as it is told and says what it heard.
struct Pager {
    url: String,
    heard: mpsc::UnboundedReceiver<(String, Value)>,
}

#[derive(Clone)]
struct Desk {
    heard: mpsc::UnboundedSender<(String, Value)>,
    /// Statuses of the next answers; 200 when there are none.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

// === impl Pager ===

impl Pager {
    async fn start(answers: &[u16]) -> Self {
        let (told, heard) = mpsc::unbounded_channel();
        let desk = Desk { heard: told, answers: Arc::new(Mutex::new(answers.iter().copied().collect())) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().route("/hook/{secret}", post(take)).with_state(desk);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url: format!("http://{address}/hook/s3cret"), heard }
    }

    /// Returns the next message: its idempotency key, whether it fires or is over, and which alerts it holds.
    async fn next(&mut self) -> (String, String, Vec<String>) {
        let (id, body) = timeout(PATIENCE, self.heard.recv()).await.expect("a message in time").expect("a pager");
        let alerts = body["alerts"].as_array().expect("alerts");
        let named = |alert: &Value| {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", label("endpoint"), label("alertname"))
        };
        (id, body["status"].as_str().expect("a status").to_owned(), alerts.iter().map(named).collect())
    }
}

async fn take(State(desk): State<Desk>, headers: axum::http::HeaderMap, body: String) -> StatusCode {
    let id = headers["idempotency-key"].to_str().expect("text").to_owned();
    let _ = desk.heard.send((id, serde_json::from_str(&body).expect("JSON")));
    let next = desk.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    next.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK)
}

fn rule(when: &str, notify: &[&str]) -> AlertRule {
    let notify = notify.iter().map(|name| (*name).to_owned()).collect();
    AlertRule { when: when.into(), notify, ..AlertRule::default() }
}

fn with_rules(endpoint: &str, rules: Vec<AlertRule>) -> PutEndpointRequest {
    let mut request = endpoint_request(endpoint, &fresh_id());
    request.spec.as_mut().expect("a spec").alerts = rules;
    request
}

fn channel(fleet: &Fleet, at: usize) -> Channel {
    Channel::from_shared(format!("http://{}", fleet.members[at].address)).expect("an address").connect_lazy()
}

/// Reads events until one of this kind comes, and returns its text.
async fn event(fleet: &Fleet, at: usize, kind: &str) -> String {
    let request = WatchEventsRequest { from_seq: Some(0), once: false };
    let mut batches = WatchClient::new(channel(fleet, at)).events(request).await.expect("a watch").into_inner();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let batch = tokio::time::timeout_at(deadline, batches.message()).await.expect("the event in time");
        let EventBatch { events, .. } = batch.expect("a batch").expect("no end");
        if let Some(found) = events.into_iter().find(|event| event.kind == kind) {
            return found.text;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fires_reaches_its_receiver_and_so_does_its_end() {
    static RECEIVERS: OnceLock<Vec<AlertReceiver>> = OnceLock::new();
    // The first answer is a failure: it is tried again, under the same key.
    let mut pager = Pager::start(&[503]).await;
    RECEIVERS.get_or_init(|| vec![AlertReceiver::webhook(&format!("pager={}", pager.url)).expect("a receiver")]);
    let tune = |options: &mut CoordinatorOptions| {
        options.alert_receivers.clone_from(RECEIVERS.get().expect("they are set"));
    };
    let mut fleet = Fleet::start_with(3, tune).await;
    let leader = fleet.leader().await;
    let mut alerts = AlertsClient::new(channel(&fleet, (leader + 1) % 3));

    fleet.endpoints(0).put(with_rules("fraud", vec![rule("replicas short for 0s", &[])])).await.expect("created");
    // No node is there: the replicas cannot be.
    fleet.put_deployment(0, "fraud", "blue", 2).await.expect("created");
    let first = pager.next().await;
    assert_eq!((first.1.as_str(), first.2.as_slice()), ("firing", &["fraud/replicas-short".to_owned()][..]));
    assert_eq!(pager.next().await, first, "it was not taken, and is told again");
    let text = event(&fleet, leader, "alert.firing").await;
    assert_eq!(text, "replicas-short: fraud lacks 2 replicas");
    let listed = alerts.list(ListAlertsRequest::default()).await.expect("any member answers").into_inner();
    let alert = &listed.alerts[0];
    assert_eq!((alert.state.as_str(), alert.value.as_str()), ("firing", "2"));
    assert_eq!((listed.receivers[0].name.as_str(), listed.receivers[0].kind.as_str()), ("pager", "webhook"));
    assert!(!format!("{listed:?}").contains("s3cret"), "an address may be a secret");

    // Only once the log knows that it was told is there nothing left for the next leader.
    let deadline = Instant::now() + PATIENCE;
    while !alerts.list(ListAlertsRequest::default()).await.expect("listed").into_inner().alerts[0].told {
        assert!(Instant::now() < deadline, "it was told");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    fleet.members[leader].stop().await;
    let next = fleet.leader().await;
    assert_ne!(next, leader);
    // What fires goes on to fire, and nobody is told of it again: the next that is heard is something else.
    fleet
        .endpoints(next)
        .put(with_rules("hello", vec![rule("replicas short for 0s", &["pager"])]))
        .await
        .expect("created");
    fleet.put_deployment(next, "hello", "blue", 1).await.expect("created");
    let second = pager.next().await;
    assert_eq!(second.2, ["hello/replicas-short"]);

    fleet.endpoints(next).put(with_rules("fraud", vec![])).await.expect("changed");
    let over = pager.next().await;
    assert_eq!((over.1.as_str(), over.2.as_slice()), ("resolved", &["fraud/replicas-short".to_owned()][..]));

    let mut alerts = AlertsClient::new(channel(&fleet, next));
    let asked = TestReceiverRequest { receiver: "pager".into() };
    assert!(alerts.test(asked).await.expect("asked").into_inner().delivered);
    assert_eq!(pager.next().await.2, ["/test"]);
    let unknown = alerts.test(TestReceiverRequest { receiver: "nobody".into() }).await.expect_err("unknown");
    assert!(unknown.message().contains("nobody"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_nobody_knows_is_said_and_a_bad_rule_is_refused() {
    let fleet = Fleet::start(1).await;
    let wrong = fleet.endpoints(0).put(with_rules("fraud", vec![rule("eror rate > 1 % for 5m", &[])])).await;
    assert!(wrong.expect_err("refused").message().contains("request"), "a caller's mistake");
    let rules = vec![rule("replicas short for 0s", &["pager"]), rule("p99 > 1 s for 5m", &[])];
    fleet.endpoints(0).put(with_rules("fraud", rules)).await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");
    let text = event(&fleet, 0, "alert.undelivered").await;
    assert!(text.contains("fraud/replicas-short") && text.contains("pager: the coordinators know no such"), "{text}");
    let mut alerts = AlertsClient::new(channel(&fleet, 0));
    let listed = alerts.list(ListAlertsRequest { endpoint: "fraud".into() }).await.expect("listed").into_inner();
    let stands: Vec<_> = listed.alerts.iter().map(|it| (it.rule.as_str(), it.state.as_str())).collect();
    assert_eq!(stands, [("replicas-short", "firing"), ("p99", "unknown")], "nobody called it");
    let absent = alerts.list(ListAlertsRequest { endpoint: "absent".into() }).await;
    assert!(absent.is_err(), "there is no such endpoint");
}
