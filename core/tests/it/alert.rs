//! Alerts through the log: what fires once, what ends, what another leader makes of it, and what is measured.

use std::collections::BTreeMap;

use berth_core::{
    alert::{Figures, Sample, Stand, Tallies, Watcher},
    error::Code,
    id::{LogIndex, MemberId, ReplicaId, Term},
    model::{AlertKey, AlertRule, AlertState, EndpointName, EndpointSpec},
    state::{AlertChange, AlertTold, ClusterState, Command, PutMode, Reply},
    time::Instant,
};

use crate::kit::{Cluster, spec};

fn rule(text: &str) -> AlertRule {
    AlertRule::new(text.parse().expect("a condition"))
}

fn endpoint(name: &str) -> EndpointName {
    EndpointName::new(name).expect("a name")
}

fn alert_key(name: &str, rule: &AlertRule) -> AlertKey {
    AlertKey { endpoint: endpoint(name), rule: rule.name.clone() }
}

fn with_rules(cluster: &mut Cluster, name: &str, alerts: Vec<AlertRule>) {
    let known = cluster.state.endpoints.get(&endpoint(name)).expect("the endpoint").clone();
    let reply = cluster.apply(Command::EndpointPut {
        name: endpoint(name),
        spec: EndpointSpec { alerts, ..known.spec },
        project: None,
        keys: known.keys,
        mode: PutMode::Update,
        if_revision: None,
    });
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
}

fn change(name: &str, rule: &AlertRule, to: AlertState) -> AlertChange {
    AlertChange { key: alert_key(name, rule), rule: rule.clone(), to, value: Some(3), text: "it is so".into() }
}

fn changes(cluster: &mut Cluster, changes: Vec<AlertChange>) -> Reply {
    let term = cluster.state.term;
    cluster.apply(Command::AlertsChange { term, changes })
}

fn kinds(state: &ClusterState) -> Vec<&str> {
    state.events.iter().map(|event| event.kind.as_str()).filter(|kind| kind.starts_with("alert.")).collect()
}

#[test]
fn an_alert_fires_once_ends_once_and_is_forgotten_when_it_was_told() {
    let mut cluster = Cluster::empty();
    cluster.endpoint("fraud");
    let queue = rule("queue > 2 for 1m");
    let key = alert_key("fraud", &queue);
    changes(&mut cluster, vec![change("fraud", &queue, AlertState::Firing)]);
    assert!(cluster.state.alerts.is_empty(), "the endpoint has no such rule");
    with_rules(&mut cluster, "fraud", vec![queue.clone()]);
    for _ in 0..2 {
        changes(&mut cluster, vec![change("fraud", &queue, AlertState::Firing)]);
    }
    assert_eq!(kinds(&cluster.state), ["alert.firing"]);
    let fired = cluster.state.alerts[&key].clone();
    assert_eq!(cluster.state.firing_of(&endpoint("fraud")).count(), 1);

    let told = |revision| AlertTold { key: key.clone(), revision, given_up: vec!["pager: 503".into()] };
    let term = cluster.state.term;
    cluster.apply(Command::AlertsTold { term, told: vec![told(LogIndex(fired.revision.0 - 1))] });
    assert!(!cluster.state.alerts[&key].told, "somebody was told of something else");
    for _ in 0..2 {
        cluster.apply(Command::AlertsTold { term, told: vec![told(fired.revision)] });
    }
    assert!(cluster.state.alerts[&key].told);
    assert_eq!(kinds(&cluster.state), ["alert.firing", "alert.undelivered"]);

    changes(&mut cluster, vec![change("fraud", &queue, AlertState::Resolved)]);
    let over = cluster.state.alerts[&key].clone();
    assert_eq!((over.state, over.told, over.fired_at), (AlertState::Resolved, false, fired.fired_at));
    let again = AlertTold { key: key.clone(), revision: over.revision, given_up: Vec::new() };
    cluster.apply(Command::AlertsTold { term, told: vec![again] });
    assert!(cluster.state.alerts.is_empty());
    changes(&mut cluster, vec![change("fraud", &queue, AlertState::Resolved)]);
    assert_eq!(kinds(&cluster.state), ["alert.firing", "alert.undelivered", "alert.resolved"]);
}

#[test]
fn an_alert_ends_with_its_rule_and_with_its_endpoint() {
    for deleted in [false, true] {
        let mut cluster = Cluster::empty();
        cluster.endpoint("fraud");
        let queue = rule("queue > 2 for 1m");
        with_rules(&mut cluster, "fraud", vec![queue.clone()]);
        changes(&mut cluster, vec![change("fraud", &queue, AlertState::Firing)]);
        if deleted {
            cluster.apply(Command::EndpointDelete { name: endpoint("fraud"), if_revision: None });
        } else {
            with_rules(&mut cluster, "fraud", vec![rule("queue > 3 for 1m")]);
        }
        let alert = &cluster.state.alerts[&alert_key("fraud", &queue)];
        assert_eq!((alert.state, alert.told), (AlertState::Resolved, false), "its receivers hear the end");
        assert!(alert.text.contains("was changed or taken away"), "{}", alert.text);
    }
}

#[test]
fn a_deposed_leader_changes_nothing() {
    let mut cluster = Cluster::empty();
    cluster.endpoint("fraud");
    let queue = rule("queue > 2 for 1m");
    with_rules(&mut cluster, "fraud", vec![queue.clone()]);
    cluster.apply(Command::LeaderEstablished { term: Term(7), member: MemberId(1) });
    for command in [
        Command::AlertsChange { term: Term(6), changes: vec![change("fraud", &queue, AlertState::Firing)] },
        Command::AlertsTold { term: Term(6), told: Vec::new() },
    ] {
        let Reply::Refused(error) = cluster.apply(command) else { panic!("taken") };
        assert_eq!(error.code, Code::Stale);
    }
    assert!(cluster.state.alerts.is_empty());
}

#[test]
fn another_leader_goes_on_with_what_fires_and_begins_what_was_pending_anew() {
    let mut cluster = Cluster::empty();
    cluster.endpoint("fraud");
    cluster.deploy("fraud/blue", spec(2));
    let short = AlertRule { name: "short".into(), ..rule("replicas short for 0s") };
    let later = AlertRule { name: "later".into(), ..rule("replicas short for 10s") };
    with_rules(&mut cluster, "fraud", vec![short, later]);
    let at = |secs: u64| Instant::from_millis(secs * 1_000);
    let (mut tallies, in_flight) = (Tallies::default(), BTreeMap::new());
    let mut look = |watcher: &mut Watcher, state: &ClusterState, secs| {
        Watcher::watch(state, &mut tallies);
        watcher.step(state, Figures { tallies: &tallies, in_flight: &in_flight }, at(secs))
    };
    let mut first = Watcher::default();
    let found = look(&mut first, &cluster.state, 0);
    assert_eq!(found.iter().map(|change| change.key.rule.as_str()).collect::<Vec<_>>(), ["short"]);
    assert_eq!(look(&mut first, &cluster.state, 1), found, "what is not in the log is found again");
    changes(&mut cluster, found);
    assert_eq!(look(&mut first, &cluster.state, 5), []);

    let mut second = Watcher::default();
    assert_eq!(look(&mut second, &cluster.state, 9), [], "it fires already");
    assert_eq!(look(&mut second, &cluster.state, 18), [], "pending for nine seconds, as far as this leader knows");
    let stands: Vec<_> =
        second.standings(&cluster.state, at(18)).iter().map(|it| (it.key.rule.clone(), it.stand)).collect();
    assert_eq!(stands, [("short".to_owned(), Stand::Firing), ("later".to_owned(), Stand::Pending)]);
    let found = look(&mut second, &cluster.state, 19);
    assert_eq!(found.iter().map(|change| change.key.rule.as_str()).collect::<Vec<_>>(), ["later"]);
    assert_eq!(found[0].text, "fraud lacks 2 replicas, for 10s");
}

#[test]
fn every_measure_is_read_from_its_figures() {
    let mut cluster = Cluster::empty();
    cluster.endpoint("fraud");
    cluster.deploy("fraud/blue", spec(2));
    let at = Instant::from_millis(100_000);
    let mut sample = Sample { requests: 100, failed: 3, shed: 2, ..Sample::default() };
    sample.took[10] = 100;
    for (text, requests, value) in [
        ("error rate > 1 % for 0s", true, Some(30_000)),
        ("shed rate > 1 % for 0s", true, Some(20_000)),
        ("p50 > 1 ms for 0s", true, Some(7_168)),
        ("error rate > 1 % for 0s", false, None),
        ("p99 > 1 ms for 0s", false, None),
        ("queue > 1 for 0s", false, None),
        ("replicas short > 0 for 0s", false, Some(2)),
        ("reserve short > 0 for 0s", false, Some(0)),
    ] {
        let mut watcher = Watcher::default();
        with_rules(&mut cluster, "fraud", vec![rule(text)]);
        let mut tallies = Tallies::default();
        Watcher::watch(&cluster.state, &mut tallies);
        if requests {
            tallies.add(at, &endpoint("fraud"), None, &sample);
        }
        let in_flight: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        watcher.step(&cluster.state, Figures { tallies: &tallies, in_flight: &in_flight }, at);
        assert_eq!(watcher.standings(&cluster.state, at)[0].value, value, "{text}");
    }
}
