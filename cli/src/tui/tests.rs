//! Every screen at three sizes as text, and the keys that lead through them.

use berth_client::{
    api::{
        BoardUpdate, CardLoad, CardPoint, ClusterInfo, Deployment, DeploymentLoad, Endpoint, Event, Gpu,
        ListMembersResponse, LoadPoint, Member, Node, NodeDrain, Replica, Slot,
    },
    store::{Device, DeviceGrant, Resources},
};
use berth_proto::node::v1::{DeviceProcess, DeviceSample, PrepareProgress};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    Msg,
    act::{Act, TrafficWish},
    app::App,
    dialog::{Dialog, Stage},
    text_of,
    view::{Page, PageKind, Subject, View},
};

mod fits;
mod keys;
mod pages;
mod steady;
mod tree;

const NOW_MS: u64 = 10_000_000;

/// The smallest screen, a usual one, and one with two columns.
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// The number of the newest point, at that time.
const NEWEST_POINT: u64 = NOW_MS / 2_000;

/// A small cluster in the middle of a rollout, with a lost node and a shared device.
fn board() -> BoardUpdate {
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
    // Half-way: one of two is new, and all serve.
    let mut blue = deployment("blue", 2, 2, 90);
    (blue.generation, blue.updated, blue.provisioning_state) = (3, 1, "Updating".into());
    let mut green = deployment("green", 1, 0, 10);
    green.reason = "c3000000 starts on node-2".into();
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
    shared.pid = 4_321;
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
    gpu.gpus = vec![Gpu {
        uuid: "GPU-7f3a".into(),
        model: "H100".into(),
        memory_mib: 81_920,
        simulated: true,
        state: "healthy".into(),
        // The share of the replica that starts there, and that of a slot.
        held_mib: 6_144 + 20_480,
        sample: Some(DeviceSample {
            used_mib: 5_120,
            utilization_percent: Some(73),
            temperature_celsius: Some(61),
            power_milliwatt: Some(412_000),
            power_limit_milliwatt: Some(700_000),
            processes: vec![DeviceProcess { pid: 4_321, used_mib: Some(4_096) }],
            ..DeviceSample::default()
        }),
        ..Gpu::default()
    }];
    let mut cordoned = node("node-3", "ready", 0, 0);
    cordoned.cordoned = true;
    let mut draining = node("node-5", "ready", 1_000, 1);
    draining.drain = Some(NodeDrain { reason: "kernel".into(), ..NodeDrain::default() });
    let slot = |id: &str, node: &str, cpu_milli| Slot {
        endpoint: "fraud".into(),
        deployment: "blue".into(),
        slot: format!("{id:0<16}"),
        node: node.into(),
        state: "cached".into(),
        reason: "another node than all of fraud/blue".into(),
        since_ms: NOW_MS - 30_000,
        resources: Some(Resources { cpu_milli, memory_mib: cpu_milli * 2, disk_mib: 0, gpus: 0 }),
        ..Slot::default()
    };
    // Rises, and fails at its end.
    let point = |back: u64, p95_us| LoadPoint {
        number: NEWEST_POINT - back,
        requests: 2_000 - 60 * back.min(30),
        failed: if back < 3 { 13 } else { 0 },
        p50_us: p95_us / 4,
        p95_us,
    };
    // A card that is given work.
    let warms = |back: u64| CardPoint {
        number: NEWEST_POINT - back,
        utilization_percent: Some(73 - u32::try_from(back).unwrap_or(0)),
        used_mib: 5_120 - 64 * back,
        temperature_celsius: Some(61),
        power_milliwatt: Some(412_000 - 6_000 * u32::try_from(back).unwrap_or(0)),
    };
    let load = |deployment: &str, p95_us: u64| DeploymentLoad {
        endpoint: "fraud".into(),
        deployment: deployment.into(),
        points: (0..40).rev().map(|back| point(back, p95_us + back * 300)).collect(),
    };
    BoardUpdate {
        whole: true,
        newest_point: NEWEST_POINT,
        point_ms: 2_000,
        info: Some(ClusterInfo {
            cluster_id: "2f1c9a7e55d04b11".into(),
            leader_address: "127.0.0.1:7400".into(),
            table_version: 123,
            ..ClusterInfo::default()
        }),
        members: Some(ListMembersResponse {
            members: ["127.0.0.1:7400", "127.0.0.1:7401"]
                .map(|address| Member {
                    id: format!("{}e5d1c0aa9b37f2", &address[12..]),
                    address: address.into(),
                    voter: true,
                    leader: address.ends_with("00"),
                })
                .into(),
            term: 3,
        }),
        endpoints: vec![quiet, endpoint],
        deployments: vec![blue, green],
        replicas: vec![
            replica("a1", "blue", "node-1", "serving", 3),
            replica("b2", "blue", "node-2", "serving", 1),
            shared,
        ],
        nodes: vec![node("node-1", "ready", 2_000, 1), gpu, cordoned, node("node-4", "lost", 8_000, 0), draining],
        slots: vec![
            slot("e5", "node-1", 3_000),
            // A share of the card that a replica has a share of too.
            Slot {
                deployment: "green".into(),
                devices: vec![DeviceGrant { uuid: "GPU-7f3a".into(), memory_mib: Some(20_480) }],
                state: "fetching".into(),
                progress: Some(PrepareProgress {
                    what: "fetches model.onnx".into(),
                    done: 3 << 20,
                    total: 12 << 20,
                    unit: "bytes".into(),
                    ..PrepareProgress::default()
                }),
                ..slot("f6", "node-2", 1_000)
            },
        ],
        loads: vec![load("blue", 12_288), load("green", 49_152)],
        cards: vec![CardLoad {
            node: "node-2".into(),
            uuid: "GPU-7f3a".into(),
            points: (1..=40).rev().map(warms).collect(),
        }],
        ..BoardUpdate::default()
    }
}

fn events() -> Vec<Event> {
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
    vec![
        event(1, "info", "endpoint.created", "", "endpoint fraud was created"),
        event(2, "warning", "node.suspect", "node-4", "node node-4 is suspect: silent for 1.5s"),
        event(3, "error", "node.lost", "node-4", "node node-4 is lost: silent for 3s"),
    ]
}

fn app(view: View) -> App {
    let mut app = App::new(view, false, NOW_MS);
    app.update(Msg::Board(Box::new(board())));
    app.update(Msg::Events(events(), true));
    app
}

fn press(app: &mut App, keys: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    for word in keys.split(' ') {
        let key = match word {
            "enter" => KeyEvent::from(KeyCode::Enter),
            "esc" => KeyEvent::from(KeyCode::Esc),
            "space" => KeyEvent::from(KeyCode::Char(' ')),
            "tab" => KeyEvent::from(KeyCode::Tab),
            "down" => KeyEvent::from(KeyCode::Down),
            "left" => KeyEvent::from(KeyCode::Left),
            "up" => KeyEvent::from(KeyCode::Up),
            "right" => KeyEvent::from(KeyCode::Right),
            "shift-right" => KeyEvent::new(KeyCode::Right, KeyModifiers::SHIFT),
            word if word.starts_with("ctrl-") => {
                KeyEvent::new(KeyCode::Char(word.as_bytes()[5].into()), KeyModifiers::CONTROL)
            }
            word => {
                for c in word.chars() {
                    acts.extend(app.update(Msg::Key(KeyEvent::from(KeyCode::Char(c)))));
                }
                continue;
            }
        };
        acts.extend(app.update(Msg::Key(key)));
    }
    acts
}

/// What restarts, goes back or is replaced is asked first, and refused on a screen that only looks.
#[test]
fn keys_of_rollouts_and_replicas_ask_before_they_act() {
    let blue = || ("fraud".to_owned(), "blue".to_owned());
    let mut at = app(View::Deployments { endpoint: String::new() });
    assert_eq!(press(&mut at, "r"), []);
    let text = text_of(&mut at, (120, 30));
    assert!(text.contains("fraud/blue starts anew: 2 replicas"), "{text}");
    let (endpoint, name) = blue();
    assert_eq!(press(&mut at, "y"), [Act::Restart { endpoint, name }]);
    let (endpoint, name) = blue();
    assert_eq!(press(&mut at, "ctrl-l"), [Act::AskUndo { endpoint, name }]);
    press(&mut at, "space space r");
    assert!(matches!(&at.dialog, Some(Dialog::Confirm { act: Act::All(acts), .. }) if acts.len() == 2));

    let mut at = app(View::all_replicas());
    press(&mut at, "ctrl-k");
    let text = text_of(&mut at, (120, 30));
    assert!(text.contains("Replica a1000000 of fraud/blue on node-1 ends, 3 requests under way cut"), "{text}");
    let replica = "a100000000000000".to_owned();
    assert_eq!(press(&mut at, "y"), [Act::Replace { replica: replica.clone(), now: true }]);
    press(&mut at, "ctrl-d");
    assert_eq!(press(&mut at, "y"), [Act::Replace { replica, now: false }]);

    for (view, keys) in [(View::all_replicas(), "ctrl-k"), (View::Deployments { endpoint: String::new() }, "r ctrl-l")]
    {
        let mut at = App::new(view, true, NOW_MS);
        at.update(Msg::Board(Box::new(board())));
        assert_eq!(press(&mut at, keys), []);
        assert!(at.dialog.is_none());
    }
    let mut at = app(View::Nodes);
    assert_eq!(press(&mut at, "r"), [Act::AskDrain(vec!["node-1".into()])], "nodes are drained");
}

/// An alert that fires is on every screen, whatever one looks at.
#[test]
fn what_fires_is_said_on_every_screen() {
    let mut at = app(View::Slots);
    assert!(!text_of(&mut at, (80, 24)).contains("alert"));
    let mut update = board();
    update.endpoints[1].firing = vec!["error-rate".into(), "p99".into()];
    at.update(Msg::Board(Box::new(update)));
    for view in [View::Slots, View::Dashboard, View::Help] {
        at.view = view;
        let text = text_of(&mut at, (80, 24));
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("alert: fraud error-rate, fraud p99")), "{text}");
    }
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
        View::GpuGraphs,
        View::Rollouts,
        View::Slots,
        View::Events,
        View::Tree,
        View::Aliases,
        View::Help,
    ];
    for view in screens {
        for size in SIZES {
            let mut app = app(view.clone());
            app.update(Msg::Tick(NOW_MS));
            let name = format!("{}-{}x{}", view.title(), size.0, size.1);
            let text = text_of(&mut app, size);
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(size.0)), "{name} is too wide");
            insta::assert_snapshot!(name, text);
        }
    }
}

/// The pictures in the README and in the documentation are the screen as it is, not as it once was.
#[test]
fn the_readme_shows_the_screen_as_it_is() {
    let mut app = app(View::Dashboard);
    app.update(Msg::Tick(NOW_MS));
    // What is left of thirty lines is empty.
    let screen = text_of(&mut app, (120, 30));
    let screen = screen.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let screen: String = screen.map(|line| format!("{line}\n")).collect();
    let mut old = Vec::new();
    for (file, begin) in [("README.md", "$ berth tui --once dashboard --size 120x30\n"), ("docs/tui.md", "```text\n")] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let page = std::fs::read_to_string(&path).expect("the page");
        let (before, rest) = page.split_once(begin).expect("the picture");
        let (shown, after) = rest.split_once("```\n").expect("its end");
        if std::env::var_os("BERTH_UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{begin}{screen}```\n{after}")).expect("the page");
        } else if shown != screen {
            old.push(file);
        }
    }
    assert!(old.is_empty(), "{old:?} are old: BERTH_UPDATE_DOCS=1 cargo test -p berth-cli the_readme_shows");
}

/// Pages: made of answers as coordinators give them.
#[test]
fn every_page_reads_at_every_size() {
    use PageKind::{Describe, Logs, Mirror, PrepareLogs, PreviousLogs, Request, WhatIf, Yaml};
    for kind in [Describe, Yaml, Logs, PreviousLogs, PrepareLogs, WhatIf, Mirror, Request] {
        let (of, lines) = pages::text(kind);
        for size in SIZES {
            let page = Page { kind, of: of.clone() };
            let mut app = app(View::Page(page.clone()));
            app.update(Msg::Page(page, lines.clone()));
            let name = format!("page {kind:?}-{}x{}", size.0, size.1);
            let text = text_of(&mut app, size);
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(size.0)), "{name} is too wide");
            insta::assert_snapshot!(name, text);
        }
    }
}

#[test]
fn what_lies_beside_the_screen_is_told_and_scrolled_to() {
    let mut app = app(View::Gpus);
    let text = text_of(&mut app, (80, 24));
    assert!(text.lines().nth(2).is_some_and(|line| line.ends_with('›')), "{text}");
    assert!(!text.contains("REPLICAS"), "{text}");
    press(&mut app, "right right right right");
    let text = text_of(&mut app, (80, 24));
    assert!(text.contains("REPLICAS") && text.contains("‹NODE"), "the first column stays: {text}");
    press(&mut app, "left left left left left");
    assert!(text_of(&mut app, (80, 24)).contains("MODEL"));
    // A long line of a page.
    let page = Page { kind: PageKind::WhatIf, of: Subject::Node("node-1".into()) };
    let mut app = self::app(View::Page(page.clone()));
    app.update(Msg::Page(page, vec![format!("{}end", "-".repeat(90))]));
    assert!(!text_of(&mut app, (80, 24)).contains("end"));
    press(&mut app, "right right");
    assert!(text_of(&mut app, (80, 24)).contains("end"));
}

#[test]
fn the_mouse_goes_to_a_row_and_into_it() {
    use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
    let mouse = |app: &mut App, kind, row| {
        app.update(Msg::Mouse(MouseEvent { kind, column: 5, row, modifiers: KeyModifiers::NONE }))
    };
    let click = MouseEventKind::Down(MouseButton::Left);
    let mut app = app(View::Nodes);
    text_of(&mut app, (80, 24));
    // Two lines about the cluster, one of headings, then the rows.
    assert_eq!(mouse(&mut app, click, 4), []);
    assert_eq!(app.subject(), Some(Subject::Node("node-2".into())));
    mouse(&mut app, click, 20);
    assert_eq!(app.subject(), Some(Subject::Node("node-2".into())), "below the rows there is nothing");
    mouse(&mut app, MouseEventKind::ScrollUp, 4);
    assert_eq!(app.subject(), Some(Subject::Node("node-1".into())));
    mouse(&mut app, MouseEventKind::ScrollDown, 4);
    assert_eq!(app.subject(), Some(Subject::Node("node-4".into())));
    mouse(&mut app, click, 6);
    assert_eq!(app.view.title(), "replicas on node-4");
    // On the dashboard a click chooses the panel, too.
    let mut app = self::app(View::Dashboard);
    let text = text_of(&mut app, (120, 40));
    let row = text.lines().position(|line| line.starts_with("node-3")).expect("a node") as u16;
    mouse(&mut app, click, row);
    assert_eq!((app.panel, app.subject()), (1, Some(Subject::Node("node-3".into()))));
    // A question is answered by keys alone.
    press(&mut app, "u");
    mouse(&mut app, click, row);
    assert!(matches!(app.dialog, Some(Dialog::Confirm { .. })));
}

#[test]
fn what_was_typed_comes_back_and_names_are_completed() {
    let mut app = app(View::Dashboard);
    press(&mut app, ":rep space fraud/g tab enter");
    assert_eq!(app.view.title(), "replicas of fraud/green");
    press(&mut app, ":no enter");
    assert_eq!(app.view, View::Nodes);
    press(&mut app, ": up up enter");
    assert_eq!(app.view.title(), "replicas of fraud/green");
    press(&mut app, ": up down");
    assert!(matches!(&app.dialog, Some(Dialog::Prompt(prompt)) if prompt.text.is_empty()));
    press(&mut app, "esc");
    press(&mut app, ":logs enter");
    assert!(app.message.as_ref().is_some_and(|message| message.text.contains("ENDPOINT/DEPLOYMENT")));
}

#[test]
fn what_lies_over_a_screen_reads_too() {
    let deployments = || View::Deployments { endpoint: String::new() };
    for (name, view, keys) in [
        ("traffic editor", View::Endpoints, "down t shift-right"),
        ("traffic asked", View::Endpoints, "down t down shift-right enter"),
        ("delete", View::Endpoints, "down ctrl-d"),
        ("forget", View::Nodes, "down down down ctrl-d"),
        ("scale", deployments(), "s 4 enter"),
        ("restart", deployments(), "space space r"),
        ("wide", View::Nodes, "ctrl-w"),
        ("wide", deployments(), "ctrl-w"),
        ("tree filter", View::Tree, "/b2 enter"),
        ("command", View::Dashboard, ":no"),
        ("command about", View::Dashboard, ":logs space fraud/g"),
        ("filter", View::Nodes, "/lost"),
        ("inverse filter", View::Nodes, "/!lost"),
        ("marks", View::Nodes, "space space u"),
        ("request", View::Dashboard, "x622d0d97"),
    ] {
        for (width, height) in SIZES {
            let mut app = app(view.clone());
            press(&mut app, keys);
            let name = if name == "wide" { format!("wide {}", view.title()) } else { name.to_owned() };
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), text_of(&mut app, (width, height)));
        }
    }
}

/// What a split means is what the coordinators say of it.
#[test]
fn the_plan_of_a_split_reads_at_every_size() {
    for size in SIZES {
        let mut app = app(View::Endpoints);
        let act = planned(&mut app, "down t down shift-right enter");
        insta::assert_snapshot!(format!("traffic plan-{}x{}", size.0, size.1), text_of(&mut app, size));
        assert_eq!(press(&mut app, "y"), [act]);
    }
}

/// Presses keys that ask what a split means, and answers as coordinators do.
fn planned(app: &mut App, keys: &str) -> Act {
    let acts = press(app, keys);
    let [Act::AskTraffic(wish)] = acts.as_slice() else { panic!("{acts:?}") };
    let act = Act::SetTraffic(wish.clone());
    app.update(Msg::Question(crate::view::split_lines(&wish.before, &wish.shares, pages::split()), act.clone()));
    act
}

#[test]
fn a_frozen_screen_says_so_and_changes_nothing() {
    let mut app = app(View::Endpoints);
    app.update(Msg::Frozen("no coordinator answers".to_owned()));
    app.update(Msg::Tick(NOW_MS + 65_000));
    app.update(Msg::Frozen("no coordinator answers".to_owned()));
    assert_eq!(press(&mut app, "down t"), []);
    assert_eq!(app.dialog, None, "an editor that could not save anything does not open");
    insta::assert_snapshot!("frozen", text_of(&mut app, (80, 24)));
    app.update(Msg::Board(Box::new(board())));
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
    app.update(Msg::Lines(page, (0..100).map(|n| format!("line {n}")).collect()));
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
    assert_eq!(press(&mut app, "down t enter"), [], "nothing was moved");
    assert_eq!(press(&mut app, "down shift-right right y"), []);
    let stage = |app: &App| if let Some(Dialog::Traffic(edit)) = &app.dialog { Some(edit.stage.clone()) } else { None };
    assert_eq!(stage(&app), Some(Stage::Moving), "y means nothing before the plan");
    let acts = press(&mut app, "enter");
    let split = |blue, green| [("blue".to_owned(), blue), ("green".to_owned(), green)].into();
    let wish = TrafficWish { endpoint: "fraud".into(), before: split(90, 10), shares: split(79, 21), revision: 41 };
    assert_eq!(acts, [Act::AskTraffic(wish.clone())], "the coordinators are asked");
    assert_eq!(press(&mut app, "y right"), [], "nor before it was answered");
    let plan = vec!["the plan".to_owned()];
    // The answer to another split, which was asked for before.
    let other = TrafficWish { shares: split(78, 22), ..wish.clone() };
    app.update(Msg::Question(plan.clone(), Act::SetTraffic(other)));
    assert_eq!(stage(&app), Some(Stage::Asked));
    app.update(Msg::Failed("error: no".to_owned()));
    assert_eq!(stage(&app), Some(Stage::Moving), "what fails leaves the editor as it was");
    press(&mut app, "enter");
    app.update(Msg::Question(plan.clone(), Act::SetTraffic(wish.clone())));
    assert_eq!(stage(&app), Some(Stage::Planned(plan.clone(), 0)));
    assert_eq!(press(&mut app, "n"), []);
    assert_eq!(stage(&app), Some(Stage::Moving), "n goes back to the editor");
    press(&mut app, "enter");
    app.update(Msg::Question(plan.clone(), Act::SetTraffic(wish.clone())));
    assert_eq!(press(&mut app, "y"), [Act::SetTraffic(wish.clone())]);
    assert_eq!(app.dialog, None);
    app.update(Msg::Question(plan, Act::SetTraffic(wish)));
    assert_eq!(app.dialog, None, "who left the editor is not asked");
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
    press(&mut app, ":widgets enter");
    assert!(app.message.as_ref().is_some_and(|message| message.text.contains("`widgets`")));
    press(&mut app, ":nod enter");
    assert_eq!(app.view, View::Nodes);
    assert_eq!(press(&mut app, ":q enter"), [Act::Quit]);
}

#[test]
fn a_drain_is_asked_for_with_what_it_does() {
    let mut app = app(View::Nodes);
    assert_eq!(press(&mut app, "r"), [Act::AskDrain(vec!["node-1".into()])]);
    let drain = Act::Drain { node: "node-1".into(), cancel: false };
    let report = (0..40).map(|n| format!("step {n}")).collect();
    app.update(Msg::Question(report, drain.clone()));
    insta::assert_snapshot!("drain", text_of(&mut app, (80, 24)));
    press(&mut app, "down down");
    assert!(text_of(&mut app, (80, 24)).contains("step 2"), "a long question scrolls");
    assert_eq!(press(&mut app, "y"), [drain]);
    assert_eq!(press(&mut app, "G"), []);
    assert_eq!(press(&mut app, "r"), []);
    assert_eq!(
        press(&mut app, "y"),
        [Act::Drain { node: "node-5".into(), cancel: true }],
        "one that drains is let back"
    );
    assert_eq!(press(&mut app, "u y"), [Act::Drain { node: "node-5".into(), cancel: true }], "by this key, too");
    let mut both = board();
    both.nodes.iter_mut().filter(|node| node.node == "node-5").for_each(|node| node.cordoned = true);
    app.update(Msg::Board(Box::new(both)));
    press(&mut app, "r");
    assert!(text_of(&mut app, (80, 24)).contains("cordoned it stays"), "what is left is said");
    press(&mut app, "n");
    let cordon = Act::Cordon { node: "node-5".into(), cordoned: false };
    let cancel = Act::Drain { node: "node-5".into(), cancel: true };
    assert_eq!(press(&mut app, "u y"), [Act::all(vec![cancel, cordon])], "both are taken away");
}

#[test]
fn an_answer_that_comes_late_does_not_take_a_key_meant_for_something_else() {
    let mut app = app(View::Nodes);
    press(&mut app, "r");
    press(&mut app, ":y");
    app.update(Msg::Question(vec!["?".into()], Act::Drain { node: "node-1".into(), cancel: false }));
    assert_eq!(press(&mut app, "y"), []);
    assert!(matches!(&app.dialog, Some(Dialog::Prompt(prompt)) if prompt.text == "yy"));
}

#[test]
fn what_is_marked_is_meant_together() {
    let mut app = app(View::Nodes);
    let acts = press(&mut app, "space space u y");
    let cordon = |node: &str| Act::Cordon { node: node.into(), cordoned: true };
    assert_eq!(acts, [Act::All(vec![cordon("node-1"), cordon("node-2")])]);
    let acts = press(&mut app, "esc u y");
    assert_eq!(acts, [Act::Cordon { node: "node-3".into(), cordoned: false }], "esc takes the marks away");
}

#[test]
fn pages_ask_for_what_they_show() {
    let node = Subject::Node("node-1".into());
    let fraud = Subject::Endpoint("fraud".into());
    for (view, keys, kind, of) in [
        (View::Nodes, "w", PageKind::WhatIf, node.clone()),
        (View::all_replicas(), "w", PageKind::WhatIf, node.clone()),
        (View::Nodes, "d", PageKind::Describe, node),
        (View::Endpoints, "down m", PageKind::Mirror, fraud.clone()),
        (View::Endpoints, "down y", PageKind::Yaml, fraud),
        (View::Dashboard, "xabc-1 enter", PageKind::Request, Subject::Request("abc-1".into())),
        (
            View::Deployments { endpoint: String::new() },
            "p",
            PageKind::PreviousLogs,
            Subject::Deployment { endpoint: "fraud".into(), name: "blue".into() },
        ),
    ] {
        let mut app = app(view.clone());
        assert_eq!(press(&mut app, keys), [Act::Open(Page { kind, of })], "{keys} on {}", view.title());
    }
    let mut app = app(View::Endpoints);
    assert_eq!(press(&mut app, "down e"), [Act::Edit(Subject::Endpoint("fraud".into()))]);
    assert_eq!(press(&mut app, "l"), [], "an endpoint has no log of its own");
}

#[test]
fn a_page_comes_back_as_it_was_left_or_is_fetched_again() {
    let mut app = app(View::Nodes);
    let acts = press(&mut app, "y");
    let [Act::Open(first)] = acts.as_slice() else { panic!("{acts:?}") };
    app.update(Msg::Page(first.clone(), vec!["one".into()]));
    let acts = press(&mut app, "d");
    let [Act::Open(second)] = acts.as_slice() else { panic!("{acts:?}") };
    app.update(Msg::Page(second.clone(), vec!["two".into()]));
    assert_eq!(press(&mut app, "esc"), [Act::Open(first.clone())], "its text was given up");
    app.update(Msg::Page(second.clone(), vec!["late".into()]));
    assert!(!text_of(&mut app, (80, 24)).contains("late"), "the text of another page is not shown");
}

#[test]
fn a_log_follows_until_somebody_reads_and_is_bounded() {
    let mut app = app(View::Deployments { endpoint: String::new() });
    let acts = press(&mut app, "l");
    let [Act::Open(page)] = acts.as_slice() else { panic!("{acts:?}") };
    let lines = |range: std::ops::Range<usize>| range.map(|n| format!("line {n} of the log")).collect::<Vec<_>>();
    app.update(Msg::Lines(page.clone(), lines(0..100)));
    assert!(text_of(&mut app, (80, 24)).contains("line 99 "));
    press(&mut app, "k");
    app.update(Msg::Lines(page.clone(), lines(100..200)));
    assert!(!text_of(&mut app, (80, 24)).contains("line 199 "), "what one reads stays where it is");
    press(&mut app, "G");
    assert!(text_of(&mut app, (80, 24)).contains("line 199 "));
    app.update(Msg::Lines(page.clone(), lines(200..9_000)));
    assert_eq!(app.page.lines.len(), super::app::LOG_LINES_MAX);
    assert!(text_of(&mut app, (80, 24)).contains("line 8999 "));
    press(&mut app, "/8990 enter");
    let text = text_of(&mut app, (80, 24));
    assert!(text.contains("line 8990 ") && !text.contains("line 8999 "), "{text}");
}

/// Ten thousand replicas: a frame formats the rows it shows, and moving lays out nothing again.
#[test]
fn what_is_not_on_the_screen_is_not_formatted() {
    const ALL: usize = 10_000;
    let mut app = App::new(View::all_replicas(), false, NOW_MS);
    let replica = |n: usize| Replica {
        endpoint: "fraud".into(),
        deployment: "blue".into(),
        replica: format!("{n:016x}"),
        node: format!("node-{}", n % 100),
        state: "serving".into(),
        ..Replica::default()
    };
    let replicas = (0..ALL).map(replica).collect();
    app.update(Msg::Board(Box::new(BoardUpdate { whole: true, replicas, ..BoardUpdate::default() })));
    let cost = |app: &mut App, keys: &str| {
        let before = app.formatted.get();
        press(app, keys);
        let text = text_of(app, (80, 24));
        (app.formatted.get() - before, text)
    };
    let rows = 20;
    for keys in ["down", "G", "k", "ctrl-u", "ctrl-u", "down"] {
        let (formatted, _) = cost(&mut app, keys);
        assert_eq!(formatted, rows, "{keys} costs one screen");
    }
    assert!(cost(&mut app, "G").1.contains(&format!("{:08x}", 0)), "ids are shortened");
    // An update of one replica formats one screen, too.
    let one = BoardUpdate { replicas: vec![Replica { in_flight: 1, ..replica(7) }], ..BoardUpdate::default() };
    app.update(Msg::Board(Box::new(one)));
    assert_eq!(cost(&mut app, "down").0, rows);
    // A filter reads every row once; scrolling in what it leaves does not.
    let (formatted, _) = cost(&mut app, "/node-42 enter");
    assert!(formatted >= ALL as u64);
    assert_eq!(cost(&mut app, "down").0, rows);
}

#[test]
fn before_anything_was_told_nothing_is_claimed() {
    let mut app = App::new(View::Dashboard, false, NOW_MS);
    app.update(Msg::Frozen("no coordinator answers".to_owned()));
    insta::assert_snapshot!("untold", text_of(&mut app, (80, 24)));
}

#[test]
fn another_cluster_is_gone_to_by_its_name() {
    let mut app = app(View::Dashboard);
    app.contexts = vec!["prod".to_owned(), "test".to_owned()];
    assert_eq!(press(&mut app, ":ctx space prod enter"), [Act::Context("prod".to_owned())]);
    assert_eq!(press(&mut app, ":ctx space tset enter"), []);
    assert!(app.message.as_ref().is_some_and(|said| said.text.contains("no context is called `tset`")));
    assert_eq!(press(&mut app, ":ctx enter"), []);
    assert!(app.message.as_ref().is_some_and(|said| said.text.starts_with("contexts: prod, test")));
}

#[test]
fn a_page_that_is_named_is_asked_for_as_by_its_key() {
    let mut app = app(View::Nodes);
    press(&mut app, "w");
    let before = Page { kind: PageKind::WhatIf, of: Subject::Node("node-1".into()) };
    app.update(Msg::Page(before, vec!["what was lost".to_owned()]));
    let page = Page { kind: PageKind::Logs, of: Subject::Deployment { endpoint: "fraud".into(), name: "blue".into() } };
    assert_eq!(press(&mut app, ":logs space fraud/blue enter"), [Act::Open(page)]);
    assert!(!text_of(&mut app, (80, 24)).contains("what was lost"), "nothing of the page before is left");
}

#[test]
fn what_is_read_is_scrolled_by_ctrl_d_and_deleted_by_it_nowhere() {
    let mut app = app(View::Dashboard);
    press(&mut app, ":logs space fraud/blue enter");
    let page = Page { kind: PageKind::Logs, of: Subject::Deployment { endpoint: "fraud".into(), name: "blue".into() } };
    app.update(Msg::Page(page, (0..200).map(|line| format!("line {line}")).collect()));
    app.key(KeyEvent::from(KeyCode::Home));
    let before = app.page.top;
    app.key(KeyEvent::new(KeyCode::Char('d'), KeyModifiers::CONTROL));
    assert!(app.dialog.is_none(), "nothing is asked");
    assert!(app.page.top > before, "{} after {before}", app.page.top);
}

#[test]
fn colours_are_on_the_screen_only_where_they_are_wanted() {
    let colored = |color: bool| {
        let mut app = app(View::Dashboard);
        let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(120, 40)).expect("a screen");
        terminal.draw(|frame| super::draw::frame(&mut app, frame, color)).expect("a frame");
        let cells = terminal.backend().buffer().content().to_vec();
        cells.into_iter().filter(|cell| cell.fg != ratatui::style::Color::Reset).map(|cell| cell.fg).collect::<Vec<_>>()
    };
    let wanted = colored(true);
    assert!(wanted.contains(&ratatui::style::Color::Red), "a lost node");
    assert!(wanted.contains(&ratatui::style::Color::Green), "a ready one");
    assert_eq!(colored(false), []);
}

/// What a page shows is what is so now: it is fetched again once the cluster told something, and not more than one at a
/// time.
#[test]
fn a_page_follows_the_cluster() {
    let open = |kind, of| Act::Open(Page { kind, of });
    let node = || Subject::Node("node-1".into());
    let mut at = app(View::Nodes);
    assert_eq!(press(&mut at, "w"), [open(PageKind::WhatIf, node())]);
    let page = Page { kind: PageKind::WhatIf, of: node() };
    let tick = |at: &mut App, second: u64| at.update(Msg::Tick(NOW_MS + second * 1_000));
    let tell = |at: &mut App| drop(at.update(Msg::Board(Box::new(board()))));
    tell(&mut at);
    assert_eq!(tick(&mut at, 1), [], "one answer is waited for");
    let lines = (0..50).map(|line| format!("line {line}")).collect::<Vec<_>>();
    at.update(Msg::Page(page.clone(), lines.clone()));
    press(&mut at, "down down");
    // It took a second to come, so it is left alone for four.
    assert_eq!(tick(&mut at, 4), []);
    assert_eq!(tick(&mut at, 5), [open(PageKind::WhatIf, node())]);
    at.update(Msg::Page(page.clone(), lines));
    assert_eq!(at.page.top, 2, "whoever reads stays where they are");
    assert_eq!(tick(&mut at, 6), [], "nothing changed since");
    tell(&mut at);
    at.update(Msg::Frozen("no coordinator answers".to_owned()));
    assert_eq!(tick(&mut at, 7), [], "nobody would answer");
    tell(&mut at);
    assert_eq!(tick(&mut at, 8), [open(PageKind::WhatIf, node())]);
    press(&mut at, "esc");
    tell(&mut at);
    assert_eq!(tick(&mut at, 9), [], "nobody looks at it");

    // Requests are compared although nothing else changes; what became of one request stays as it is.
    for (kind, of, again) in [
        (PageKind::Mirror, Subject::Endpoint("fraud".into()), true),
        (PageKind::Describe, Subject::Endpoint("fraud".into()), false),
        (PageKind::Request, Subject::Request("r".into()), false),
    ] {
        let page = Page { kind, of };
        let mut at = app(View::Page(page.clone()));
        tick(&mut at, 1);
        at.update(Msg::Page(page, Vec::new()));
        let point = BoardUpdate { newest_point: NEWEST_POINT + 1, point_ms: 2_000, ..BoardUpdate::default() };
        at.update(Msg::Board(Box::new(point)));
        assert_eq!(!tick(&mut at, 9).is_empty(), again, "{kind:?}");
    }
}

#[test]
fn a_card_without_news_is_a_gap_and_a_card_that_is_gone_is_forgotten() {
    let mut at = app(View::GpuGraphs);
    assert_eq!(at.board.card("node-2", "GPU-7f3a").len(), 40);
    let point = |number| CardPoint { number, utilization_percent: Some(9), ..CardPoint::default() };
    let card = |number| CardLoad { node: "node-2".into(), uuid: "GPU-7f3a".into(), points: vec![point(number)] };
    let update = |newest_point, cards| BoardUpdate { newest_point, point_ms: 2_000, cards, ..BoardUpdate::default() };
    let told = update(NEWEST_POINT + 3, vec![card(NEWEST_POINT + 2)]);
    at.update(Msg::Board(Box::new(told)));
    let busy: Vec<_> = at.board.card("node-2", "GPU-7f3a").iter().map(|it| it.utilization_percent).collect();
    assert_eq!((busy.len(), &busy[39..]), (43, &[Some(72), None, None, Some(9)][..]));
    at.update(Msg::Board(Box::new(update(NEWEST_POINT + 70, Vec::new()))));
    assert_eq!(at.board.card("node-2", "GPU-7f3a"), []);
}

#[test]
fn a_screen_is_frozen_since_the_last_news() {
    let mut app = app(View::Endpoints);
    app.update(Msg::Tick(NOW_MS + 1_000));
    app.update(Msg::Board(Box::new(board())));
    // Silence is noticed later than it begins.
    app.update(Msg::Tick(NOW_MS + 4_000));
    app.update(Msg::Frozen("no coordinator answers".to_owned()));
    app.update(Msg::Tick(NOW_MS + 9_000));
    app.update(Msg::Frozen("no coordinator answers".to_owned()));
    assert_eq!(app.frozen.map(|frozen| frozen.since_ms), Some(NOW_MS + 1_000));
}
