//! Every screen at three sizes as text, and the keys that lead through them.

use std::sync::Arc;

use berth_client::{
    api::{ClusterInfo, Deployment, Endpoint, Event, Member, Node, Replica},
    store::{Device, DeviceGrant, Resources},
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    act::Act,
    app::App,
    board::Board,
    dialog::Dialog,
    text_of,
    view::{Page, PageKind, Subject, View},
};

const NOW_MS: u64 = 10_000_000;

/// A small cluster in the middle of a rollout, with a lost node and a shared device.
fn board() -> Board {
    let share = |name: &str, percent| (name.to_owned(), percent);
    let endpoint = Endpoint {
        name: "fraud".into(),
        project: "default".into(),
        traffic: [share("blue", 90), share("green", 10)].into(),
        mirror_traffic: [share("green", 5)].into(),
        scoring_uris: vec!["http://127.0.0.1:7480/e/fraud".into()],
        provisioning_state: "Succeeded".into(),
        created_at_ms: NOW_MS - 7_200_000,
        revision: 41,
        ..Endpoint::default()
    };
    let quiet = Endpoint {
        name: "digits".into(),
        provisioning_state: "Updating".into(),
        created_at_ms: NOW_MS - 5_000,
        ..Endpoint::default()
    };
    let deployment = |name: &str, desired, ready, percent| Deployment {
        endpoint: "fraud".into(),
        name: name.into(),
        generation: 2,
        provisioning_state: if ready < desired { "Updating" } else { "Succeeded" }.into(),
        desired,
        ready,
        traffic_percent: percent,
        created_at_ms: NOW_MS - 3_600_000,
        ..Deployment::default()
    };
    let replica = |id: &str, deployment: &str, node: &str, state: &str, in_flight| Replica {
        endpoint: "fraud".into(),
        deployment: deployment.into(),
        replica: format!("{id:0<16}"),
        node: node.into(),
        state: state.into(),
        reason: "instance 1 of 2".into(),
        since_ms: NOW_MS - 252_000,
        in_flight,
        ..Replica::default()
    };
    let mut shared = replica("c3", "green", "node-2", "starting", 0);
    shared.devices = vec![DeviceGrant { uuid: "GPU-7f3a".into(), memory_mib: Some(6_144) }];
    let node = |name: &str, state: &str, cpu_milli, replicas| Node {
        node: name.into(),
        state: state.into(),
        epoch: 1,
        capacity: Some(Resources { cpu_milli: 8_000, memory_mib: 32_768, disk_mib: 0, gpus: 0 }),
        allocated: Some(Resources { cpu_milli, memory_mib: cpu_milli * 2, disk_mib: 0, gpus: 0 }),
        ingress_address: "127.0.0.1:7480".into(),
        since_ms: NOW_MS - 60_000,
        replicas,
        ..Node::default()
    };
    let mut gpu = node("node-2", "ready", 4_000, 1);
    gpu.devices = vec![Device {
        uuid: "GPU-7f3a".into(),
        model: "H100".into(),
        memory_mib: 81_920,
        healthy: true,
        ..Device::default()
    }];
    let mut cordoned = node("node-3", "ready", 0, 0);
    cordoned.cordoned = true;
    let event = |seq, severity: &str, kind: &str, node: &str, text: &str| Event {
        seq,
        index: seq,
        at_ms: NOW_MS - 1_000 * (10 - seq),
        severity: severity.into(),
        kind: kind.into(),
        node: node.into(),
        text: text.into(),
        ..Event::default()
    };
    Board {
        info: ClusterInfo {
            cluster_id: "2f1c9a7e55d04b11".into(),
            leader_address: "127.0.0.1:7400".into(),
            table_version: 123,
            ..ClusterInfo::default()
        },
        members: ["127.0.0.1:7400", "127.0.0.1:7401"]
            .map(|address| Member {
                id: format!("{}e5d1c0aa9b37f2", &address[12..]),
                address: address.into(),
                voter: true,
                leader: address.ends_with("00"),
            })
            .into(),
        endpoints: vec![quiet, endpoint],
        deployments: vec![deployment("blue", 2, 2, 90), deployment("green", 1, 0, 10)],
        replicas: vec![
            replica("a1", "blue", "node-1", "serving", 3),
            replica("b2", "blue", "node-2", "serving", 1),
            shared,
        ],
        nodes: vec![node("node-1", "ready", 2_000, 1), gpu, cordoned, node("node-4", "lost", 8_000, 0)],
        events: [
            event(1, "info", "endpoint.created", "", "endpoint fraud was created"),
            event(2, "warning", "node.suspect", "node-4", "node node-4 is suspect: silent for 1.5s"),
            event(3, "error", "node.lost", "node-4", "node node-4 is lost: silent for 3s"),
        ]
        .into(),
    }
}

fn app(view: View) -> App {
    let mut app = App::new(view, false, NOW_MS);
    app.take_board(Arc::new(board()));
    app
}

fn press(app: &mut App, keys: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    for word in keys.split(' ') {
        let key = match word {
            "enter" => KeyEvent::from(KeyCode::Enter),
            "esc" => KeyEvent::from(KeyCode::Esc),
            "tab" => KeyEvent::from(KeyCode::Tab),
            "down" => KeyEvent::from(KeyCode::Down),
            "right" => KeyEvent::from(KeyCode::Right),
            "shift-right" => KeyEvent::new(KeyCode::Right, KeyModifiers::SHIFT),
            word if word.starts_with("ctrl-") => {
                KeyEvent::new(KeyCode::Char(word.as_bytes()[5].into()), KeyModifiers::CONTROL)
            }
            word => {
                for c in word.chars() {
                    acts.extend(app.key(KeyEvent::from(KeyCode::Char(c))));
                }
                continue;
            }
        };
        acts.extend(app.key(key));
    }
    acts
}

#[test]
fn every_screen_reads_at_every_size() {
    let screens = [
        View::Dashboard,
        View::Pulses,
        View::Endpoints,
        View::Deployments { endpoint: String::new() },
        View::all_replicas(),
        View::Nodes,
        View::Coordinators,
        View::Gpus,
        View::Events,
        View::Tree,
        View::Aliases,
        View::Help,
    ];
    for view in screens {
        for size in [(80, 24), (120, 30), (160, 40)] {
            let mut app = app(view.clone());
            app.tick(NOW_MS);
            let name = format!("{}-{}x{}", view.title(), size.0, size.1);
            let text = text_of(&mut app, size);
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(size.0)), "{name} is too wide");
            insta::assert_snapshot!(name, text);
        }
    }
}

#[test]
fn what_lies_over_a_screen_reads_too() {
    for (name, view, keys) in [
        ("traffic editor", View::Endpoints, "down t shift-right"),
        ("traffic plan", View::Endpoints, "down t down shift-right enter"),
        ("delete", View::Endpoints, "down ctrl-d"),
        ("command", View::Dashboard, ":no"),
        ("filter", View::Nodes, "/lost"),
    ] {
        let mut app = app(view);
        press(&mut app, keys);
        insta::assert_snapshot!(name, text_of(&mut app, (80, 24)));
    }
}

#[test]
fn a_frozen_screen_says_so_and_changes_nothing() {
    let mut app = app(View::Endpoints);
    app.freeze("no coordinator answers in time".to_owned());
    app.tick(NOW_MS + 65_000);
    app.freeze("no coordinator answers in time".to_owned());
    assert_eq!(press(&mut app, "down t"), []);
    assert_eq!(app.dialog, None, "an editor that could not save anything does not open");
    insta::assert_snapshot!("frozen", text_of(&mut app, (80, 24)));
    app.take_board(Arc::new(board()));
    assert_eq!(app.frozen, None);
}

#[test]
fn keys_lead_from_an_endpoint_to_a_log_and_back() {
    let mut app = app(View::Dashboard);
    press(&mut app, ":ep enter");
    assert_eq!(app.view, View::Endpoints);
    press(&mut app, "/fraud enter enter");
    assert_eq!(app.view, View::Deployments { endpoint: "fraud".into() });
    press(&mut app, "enter");
    assert_eq!(app.view.title(), "replicas of fraud/blue");
    let of = Subject::Replica { id: format!("{:0<16}", "a1"), endpoint: "fraud".into(), deployment: "blue".into() };
    let page = Page { kind: PageKind::Logs, of };
    assert_eq!(press(&mut app, "l"), [Act::Open(page.clone())]);
    app.take_page(page, (0..100).map(|n| format!("line {n}")).collect());
    assert!(text_of(&mut app, (80, 24)).contains("line 99"), "a log is read from its end");
    press(&mut app, "esc esc esc");
    assert_eq!(app.view, View::Endpoints);
    press(&mut app, "esc");
    assert_eq!(app.view, View::Endpoints, "the first esc clears the filter");
    press(&mut app, "esc");
    assert_eq!(app.view, View::Dashboard);
    press(&mut app, "] ]");
    assert_eq!(app.view, View::Deployments { endpoint: "fraud".into() });
}

#[test]
fn traffic_moves_only_after_the_plan_was_confirmed() {
    let mut app = app(View::Endpoints);
    assert_eq!(press(&mut app, "down t down shift-right right y"), []);
    assert!(matches!(&app.dialog, Some(Dialog::Traffic(edit)) if !edit.planned), "y means nothing before the plan");
    let acts = press(&mut app, "enter y");
    let shares = [("blue".to_owned(), 79), ("green".to_owned(), 21)].into();
    assert_eq!(acts, [Act::SetTraffic { endpoint: "fraud".into(), shares, revision: 41 }]);
    assert_eq!(app.dialog, None);
}

#[test]
fn what_destroys_is_asked_first_and_refused_when_read_only() {
    let mut app = app(View::Endpoints);
    assert_eq!(press(&mut app, "down ctrl-d n"), []);
    assert_eq!(press(&mut app, "ctrl-d y"), [Act::DeleteEndpoint("fraud".into())]);
    app.read_only = true;
    assert_eq!(press(&mut app, "ctrl-d"), []);
    assert_eq!(app.dialog, None);
    assert!(app.message.as_ref().is_some_and(|message| message.text.contains("--read-only")));
}

#[test]
fn a_node_is_kept_free_and_let_back() {
    let mut app = app(View::Nodes);
    assert_eq!(press(&mut app, "u y"), [Act::Cordon { node: "node-1".into(), cordoned: true }]);
    assert_eq!(press(&mut app, "down down u y"), [Act::Cordon { node: "node-3".into(), cordoned: false }]);
}

#[test]
fn unknown_words_are_told_and_beginnings_are_enough() {
    let mut app = app(View::Dashboard);
    press(&mut app, ":pods enter");
    assert!(app.message.as_ref().is_some_and(|message| message.text.contains("`pods`")));
    press(&mut app, ":nod enter");
    assert_eq!(app.view, View::Nodes);
    assert_eq!(press(&mut app, ":q enter"), [Act::Quit]);
}
