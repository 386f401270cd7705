//! What programs read: every verb says what it did as JSON, and nothing else on stdout.

use std::fs;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::berth::{Dev, run_with};

/// Reads one value per line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

const FILE: &str = r#"
name: talk
auth_mode: none
---
name: blue
endpoint_name: talk
instance_count: 2
command:
  - python3
  - -uc
  - |
    import http.server, os
    print("first words")
    class H(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"ok")
        do_POST = do_GET
        def log_message(self, *a): pass
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
resources: {cpu: 1, memory: 64MiB}
"#;

#[test]
fn every_verb_tells_programs_what_it_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &[]);
    let json = |args: &[&str]| dev.run(&[args, &["-o", "json"]].concat()).good();
    let file = folder.path().join("all.yml");
    fs::write(&file, FILE).expect("a file");
    json(&["apply", "-f", &file.display().to_string()]).json();

    // What the ingress says is worth more than what its status alone would.
    for (more, code, advice) in [
        (&[][..], "E_NOT_READY", "berth traffic talk blue=100"),
        (&["--deployment", "red"], "E_DEPLOYMENT_NOT_FOUND", "it has blue"),
    ] {
        let refused = dev.run(&[&["invoke", "talk", "-d", "{}", "-o", "json"], more].concat());
        let told = lines(&refused.err);
        assert_eq!((refused.code, &told[0]["status"], told.len()), (1, &404.into(), 2), "{refused:#?}");
        assert_eq!(told[1]["error"]["code"], code, "{refused:#?}");
        assert!(told[1]["error"]["try"].as_str().is_some_and(|it| it.contains(advice)), "{refused:#?}");
    }

    json(&["traffic", "talk", "blue=100"]).json();
    let answer = json(&["invoke", "talk", "-d", "{}"]);
    assert_eq!(answer.out, "ok", "the body, as it is");
    let who = &lines(&answer.err)[0];
    assert!(who["status"] == 200 && who["deployment"] == "blue" && who["replica"].is_string(), "{answer:#?}");

    let logs = lines(&json(&["logs", "talk/blue"]).out);
    let replicas = json(&["get", "replicas"]).json();
    assert_eq!(logs.len(), 2, "{logs:?}");
    for line in &logs {
        let of = replicas.as_array().expect("a list").iter().find(|replica| replica["replica"] == line["replica"]);
        assert_eq!((&line["line"], &line["node"]), (&"first words".into(), &of.expect("its replica")["node"]));
    }

    // When a line was written is told by its node; a bound on it takes all that is younger.
    let begun = dev.run(&["get", "replicas", "-o", "json"]).json()[0]["placed_at_ms"].as_u64().expect("a time");
    assert!(logs.iter().all(|line| line["at_ms"].as_u64() >= Some(begun)), "{logs:?}");
    let timed = dev.run(&["logs", "talk/blue", "--timestamps", "--since", "1h", "--tail", "all"]).good();
    let words: Vec<Vec<&str>> = timed.out.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    assert_eq!(words.len(), 2, "{timed:#?}");
    for (line, told) in words.iter().zip(&logs) {
        let at_ms = DateTime::parse_from_rfc3339(line[2]).expect("a time").timestamp_millis();
        assert_eq!((Some(at_ms), line[3]), (told["at_ms"].as_i64(), "first words"), "{timed:#?} {logs:?}");
    }
    // Azure's verb is the same log.
    let since = ["deployment", "get-logs", "-e", "talk", "-n", "blue", "--since", "1h", "--timestamps"];
    assert_eq!(dev.run(&since).good().out, timed.out);
    for none in [&["--lines", "0"], &["--since", "2100-01-01"]] {
        assert_eq!(dev.run(&[&since[..6], none].concat()).good().out, "", "{none:?}");
    }
    let row = lines(&dev.run(&["logs", "talk/blue", "--table", "--tail", "1"]).good().out).remove(0);
    assert_eq!(row["TimeGenerated"], words[0][2]);
    let none = dev.run(&["logs", "talk/blue", "--since", "2100-01-01"]).good();
    assert!(none.out.is_empty() && none.err.contains("nothing was written since then"), "{none:#?}");
    assert_eq!(dev.run(&["logs", "talk/blue", "--tail", "0"]).good().out, "");
    assert_eq!(dev.run(&["logs", "talk/blue", "--tail=-1", "--since", "1h"]).good().out.lines().count(), 2);

    // An endpoint is explained as a list of its deployments, one of them by itself.
    let one = json(&["explain", "talk/blue"]).json();
    assert_eq!((&one["deployment"], &one["placed"]), (&"blue".into(), &2.into()), "{one}");
    assert_eq!(json(&["explain", "talk"]).json(), json!([one]));
    assert_eq!(dev.run(&["explain", "talk", "-o", "name"]).good().out, "talk/blue\n");
    let yaml = dev.run(&["explain", "talk", "-o", "yaml"]).good();
    assert!(yaml.out.starts_with("-\n  deployment: blue\n"), "{yaml:#?}");

    let check = json(&["operator", "check"]).json();
    let has = |list: &str, id: &str| check[list].as_array().expect("a list").contains(&id.into());
    assert!(has("checked", "PL01") && !has("checked", "WR01") && has("need_history", "WR01"), "{check}");
    let objects = ["endpoints", "deployments", "replicas", "nodes"]
        .map(|noun| json(&["get", noun]).json().as_array().expect("a list").len() as u64);
    assert_eq!(check["objects"].as_u64(), Some(objects.iter().sum()), "{check}");
    let said = dev.run(&["operator", "check"]).good();
    let count = check["checked"].as_array().expect("a list").len();
    assert!(said.out.starts_with(&format!("{count} invariants hold over 6 objects at index ")), "{said:#?}");
    assert!(said.err.contains("not checked here") && said.err.contains("WR01"), "{said:#?}");

    let snapshot = folder.path().join("state").display().to_string();
    let saved = json(&["operator", "snapshot", "save", &snapshot]).json();
    assert_eq!(saved, json!({"file": snapshot, "bytes": fs::metadata(&snapshot).expect("it is there").len()}));
    let rehearsed = dev.run(&["node", "upgrade", "--all", "--dry-run", "-o", "json"]).json();
    assert!(rehearsed[0]["node"].is_string() && rehearsed[0]["drain"].is_string(), "{rehearsed}");
    // A host whose replicas fit nowhere else would not get empty: it is said before anything is begun.
    let home = json(&["get", "replicas"]).json()[0]["node"].as_str().expect("it has a node").to_owned();
    let others = json(&["get", "nodes"]).json();
    let others = others.as_array().expect("a list").iter().filter_map(|node| node["node"].as_str());
    let others: Vec<_> = others.filter(|name| *name != home).collect();
    others.iter().for_each(|other| drop(dev.run(&["node", "cordon", other]).good()));
    let args = ["node", "upgrade", &home, "--hook", "true", "--deadline", "1s", "--back-within", "1s"];
    let refused = dev.run(&args);
    assert!(refused.code != 0 && refused.err.contains("would not get empty"), "{refused:#?}");
    let nodes = json(&["get", "nodes"]).json();
    let drained = |node: &serde_json::Value| node["node"] == home.as_str() && !node["drain"].is_null();
    assert!(!nodes.as_array().expect("a list").iter().any(drained), "it was not drained: {nodes}");
    others.iter().for_each(|other| drop(dev.run(&["node", "uncordon", other]).good()));
    assert_eq!(json(&["node", "upgrade", "--all", "--to", env!("CARGO_PKG_VERSION")]).json(), json!({"upgraded": []}));

    json(&["traffic", "talk", "none"]).json();
    let gone = json(&["deployment", "delete", "talk/blue", "--yes"]).json();
    assert_eq!(gone, json!({"deleted": "talk/blue", "noun": "deployment"}));
    let gone = json(&["endpoint", "delete", "talk", "-y"]).json();
    assert_eq!(gone, json!({"deleted": "talk", "noun": "endpoint"}));
    assert_eq!(dev.stop(), 0);
}

#[test]
fn contexts_and_manuals_tell_programs_what_was_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().display().to_string();
    let json = |args: &[&str]| run_with(&[args, &["-o", "json"]].concat(), &[("XDG_CONFIG_HOME", &home)]).good().json();
    let row = json!({"name": "prod", "api": "a:1", "current": true});
    assert_eq!(json(&["context", "set", "prod", "--api", "a:1"]), row);
    assert_eq!(json(&["context", "use", "prod"]), row);
    assert_eq!(json(&["context", "delete", "prod"]), json!({"deleted": "prod", "noun": "context"}));
    let pages = folder.path().join("man").display().to_string();
    assert_eq!(json(&["man", &pages]), json!({"dir": pages}));
}
