//! `berth get TYPE/NAME`, as kubectl has it, on a cluster with two endpoints whose deployments have the same name.

use crate::{berth::Dev, verbs::FILE};

#[test]
fn one_thing_is_shown_and_one_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    for endpoint in ["talk", "chat"] {
        let path = folder.path().join(format!("{endpoint}.yml"));
        std::fs::write(&path, FILE.replace("talk", endpoint)).expect("a file");
        dev.run(&["apply", "-f", &path.display().to_string()]).good();
    }
    dev.run(&["scale", "talk/blue", "2"]).good();
    let replica = dev.run(&["get", "replicas", "chat", "-o", "name"]).good().out.trim().to_owned();
    for (thing, names) in [
        ("endpoint/talk", vec!["talk"]),
        ("ep/talk", vec!["talk"]),
        ("deployment/talk/blue", vec!["talk/blue"]),
        ("deploy/talk", vec!["talk/blue"]),
        ("rollout/chat/blue", vec!["chat/blue"]),
        ("node/node-1", vec!["node-1"]),
        (&format!("replica/{replica}"), vec![replica.as_str()]),
        (&format!("rep/{}", &replica[..8]), vec![replica.as_str()]),
    ] {
        let shown = dev.run(&["get", thing, "-o", "name"]).good();
        assert_eq!(shown.out.lines().collect::<Vec<_>>(), names, "{thing}");
        let listed = dev.run(&["get", thing, "-o", "json"]).good().json();
        assert_eq!(listed.as_array().map(Vec::len), Some(names.len()), "{thing}: {listed:#}");
    }
    assert_eq!(dev.run(&["get", "rep/talk/blue", "-o", "name"]).good().out.lines().count(), 2);
    for (thing, exit, code, part) in [
        ("ep/red", 1, "E_ENDPOINT_NOT_FOUND", "red"),
        ("deploy/red", 1, "E_DEPLOYMENT_NOT_FOUND", "`berth get deployments` lists them"),
        ("node/nine", 1, "E_NODE_NOT_FOUND", "`berth get nodes` lists them"),
        ("rep/ffffffff", 1, "E_", "ffffffff"),
        ("deploy/blue", 2, "E_INVALID", "chat/blue, talk/blue"),
        ("slots/talk", 2, "E_INVALID", "are shown as lists"),
    ] {
        let refused = dev.run(&["get", thing]);
        assert_eq!(refused.code, exit, "{thing}: {refused:#?}");
        assert!(refused.err.contains(code) && refused.err.contains(part), "{thing}: {refused:#?}");
        assert_eq!(refused.out, "", "{thing}");
    }
    let two = dev.run(&["get", "deploy/talk", "chat"]);
    assert!(two.code == 2 && two.err.contains("are two things"), "{two:#?}");
    assert_eq!(dev.stop(), 0);
}
