//! What every key changes.

use super::*;

/// Tells what a key may change.
fn told(app: &mut App) -> Vec<(&'static str, String)> {
    let list = app.list();
    let place = app.place(&list);
    let order = place.columns.iter().map(|name| (name, place.arrow(name))).find(|(_, arrow)| !arrow.is_empty());
    let order = order.map(|(name, arrow)| format!("{name}{arrow}")).unwrap_or_default();
    let marked = place.marked.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let at = place.at().map(ToString::to_string).unwrap_or_default();
    let asks = match &app.dialog {
        None => String::new(),
        Some(Dialog::Prompt(prompt)) => prompt.sign(),
        Some(Dialog::Confirm { question, .. }) => question[0].clone(),
        Some(Dialog::Traffic(edit)) => format!("traffic of {}", edit.endpoint),
    };
    vec![
        ("view", app.view.title()),
        ("panel", (app.panel + 1).to_string()),
        ("order", order),
        ("marked", marked),
        ("wide", app.wide.to_string()),
        ("asks", asks),
        ("says", app.message.as_ref().map(|message| message.text.clone()).unwrap_or_default()),
        ("at", at),
    ]
}

/// Presses keys and tells what changed; where the cursor went only if nothing else did.
fn changed(view: View, before: &str, keys: &str) -> String {
    let mut app = app(view);
    if !before.is_empty() {
        press(&mut app, before);
    }
    let was = told(&mut app);
    press(&mut app, keys);
    let is = told(&mut app);
    let mut changes: Vec<_> = was.iter().zip(&is).filter(|(was, is)| was != is).map(|(_, is)| is.0).collect();
    if changes.len() > 1 {
        changes.retain(|name| *name != "at");
    }
    let text = |name: &&str| is.iter().find(|(one, _)| one == name).map(|(_, text)| format!("{name} {text}"));
    changes.iter().filter_map(text).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_key_changes_what_it_says() {
    let deployments = || View::Deployments { endpoint: String::new() };
    for (view, before, key, expected) in [
        (View::Nodes, "", "N", "order NODE↑"),
        (View::Nodes, "N", "N", "order NODE↓"),
        (View::Nodes, "N N", "N", "order "),
        (View::Nodes, "", "A", "order FOR↑"),
        (View::Events, "", "A", "order AGE↑"),
        (deployments(), "A", "A", "order AGE↓"),
        (View::Nodes, "", "S", "order STATE↑"),
        (View::Events, "", "S", "order SEVERITY↑"),
        (View::Nodes, "", "O", "order NODE↑"),
        (View::Nodes, "O", "O", "order STATE↑"),
        (View::Nodes, "S", "O", "order FOR↑"),
        (View::Dashboard, "2", "S", "order STATE↑"),
        (deployments(), "", "s", "asks instances of fraud/blue: "),
        (deployments(), "s", "4 enter", "asks fraud/blue goes from 2 to 4 instances."),
        (deployments(), "s", "many enter", "asks ; says `many` is no number of instances"),
        (View::Nodes, "", "s", "says choose a deployment first"),
        (deployments(), "", "l", "view logs of fraud/blue"),
        (deployments(), "", "p", "view previous logs of fraud/blue"),
        (deployments(), "", "b", "view build log of fraud/blue"),
        (View::all_replicas(), "", "b", "view build log of a1000000"),
        (View::Nodes, "", "b", "says deployments and replicas have logs; go to one first"),
        (View::Nodes, "", "c", "says copied node-1"),
        (View::Nodes, "", "ctrl-w", "wide true"),
        (View::Nodes, "ctrl-w", "ctrl-w", "wide false"),
        (View::Nodes, "", "ctrl-a", "view aliases"),
        (View::Nodes, "", "P", "view pulses"),
        (View::Nodes, "", "X", "view tree"),
        (View::Nodes, "", "g", "view gpu graphs"),
        (View::Nodes, "", "?", "view help"),
        (View::Nodes, "X", "-", "view nodes"),
        (View::Nodes, "X -", "-", "view tree"),
        (View::Nodes, "", "-", ""),
        (View::Nodes, "X g", "[", "view tree"),
        (View::Nodes, "X g [", "]", "view gpu graphs"),
        (View::Dashboard, "", "tab", "panel 2"),
        (View::Dashboard, "tab tab", "tab", "panel 1"),
        (View::Dashboard, "", "3", "panel 3"),
        (View::Dashboard, "3", "2", "panel 2"),
        (View::Dashboard, "2", "1", "panel 1"),
        (View::Dashboard, "", "4", ""),
        (View::Nodes, "", "2", ""),
        (View::Nodes, "", "tab", ""),
        (View::Nodes, "", "j", "at node-2"),
        (View::Nodes, "G", "k", "at node-4"),
        (View::Nodes, "", "space", "marked node-1"),
        (View::Nodes, "", ":", "asks :"),
        (View::Nodes, "", "/", "asks /"),
        (View::Nodes, "", "x", "asks explain request: "),
        (View::Endpoints, "down", "t", "asks traffic of fraud"),
        (View::Endpoints, "down", "m", "view mirror of fraud"),
        (View::Endpoints, "down", "enter", "view deployments of fraud"),
        (deployments(), "", "enter", "view replicas of fraud/blue"),
        (View::Nodes, "", "enter", "view replicas on node-1"),
        (View::all_replicas(), "", "enter", "view describe a1000000"),
        (View::Events, "", "enter", "view describe event 3"),
        (View::Coordinators, "", "enter", "view describe 00e5d1c0aa9b37f2"),
        (View::Nodes, "", "Z", ""),
    ] {
        let title = view.title();
        assert_eq!(changed(view, before, key), expected, "{key} on {title} after `{before}`");
    }
}

#[test]
fn scale_and_copy_ask_the_world() {
    let mut at = app(View::Deployments { endpoint: String::new() });
    let scale = Act::Scale { endpoint: "fraud".into(), deployment: "blue".into(), instance_count: 4 };
    assert_eq!(press(&mut at, "s 4 enter y"), [scale]);
    assert_eq!(press(&mut at, "s 4 enter n"), []);
    assert_eq!(press(&mut at, "c"), [Act::Copy("fraud/blue".into())]);
    let mut at = app(View::all_replicas());
    assert_eq!(press(&mut at, "c"), [Act::Copy("a100000000000000".into())], "an id is copied whole");
    at.read_only = true;
    at.view = View::Deployments { endpoint: String::new() };
    assert_eq!(press(&mut at, "s"), []);
    assert!(at.dialog.is_none(), "nothing is asked where nothing may be changed");
}

/// The same words as of `berth deployment scale`, whole on the smallest screen.
#[test]
fn what_scaling_down_ends_is_asked() {
    let mut at = app(View::Deployments { endpoint: String::new() });
    press(&mut at, "s 0 enter");
    let text = text_of(&mut at, (80, 24));
    for told in ["this stops 2 of 2 instances of fraud/blue", "nobody answers its 90 % of the requests to fraud"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    press(&mut at, "n s 4 enter");
    assert!(!text_of(&mut at, (80, 24)).contains("this stops"));
}

/// Only a lost node can be forgotten; the question says what goes with it.
#[test]
fn a_lost_node_is_forgotten_and_no_other() {
    let mut at = app(View::Nodes);
    assert_eq!(press(&mut at, "ctrl-d"), []);
    assert!(at.dialog.is_none());
    let said = at.message.clone().map(|message| message.text).unwrap_or_default();
    assert!(said.contains("node node-1 is ready; only a lost node can be forgotten"), "{said}");
    press(&mut at, "down down down ctrl-d");
    let text = text_of(&mut at, (80, 24));
    assert!(text.contains("Node node-4 is forgotten, lost 1m00s ago") && text.contains("with 0 replicas"), "{text}");
    assert_eq!(press(&mut at, "y"), [Act::Forget("node-4".into())]);
    assert_eq!(press(&mut at, "k space space ctrl-d"), [], "one of the marked is not lost");
    assert!(at.dialog.is_none());
    at.read_only = true;
    press(&mut at, "esc G k ctrl-d");
    assert!(at.dialog.is_none());
}
