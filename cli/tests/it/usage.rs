//! Misuse, and what can be told without a cluster.

use std::fs;

use crate::berth::{run, run_with};

#[test]
fn exit_codes_tell_misuse_from_failure() {
    for (args, code, part) in [
        (&["--help"][..], 0, ""),
        (&["--version"], 0, ""),
        (&["fly"], 2, "unrecognized subcommand"),
        (&["traffic"], 2, "ENDPOINT"),
        (&["get", "podes"], 2, "invalid value 'podes'"),
        (&["deployment", "create", "-f", "/nowhere.yml"], 2, "/nowhere.yml"),
        (&["deployment", "create", "-f", "/nowhere.yml", "--set", "x"], 2, "has no equals sign"),
        (&["deployment", "show", "fraud"], 2, "ENDPOINT/DEPLOYMENT"),
        (&["deployment", "update", "fraud/blue"], 2, "nothing to change"),
        (&["deployment", "create", "fraud/blue"], 2, "no file describes"),
        (&["endpoint", "update", "fraud"], 2, "nothing to change"),
        (&["endpoint", "update", "fraud", "--traffic", "blue"], 2, "not a share"),
        (&["scale", "digits/bl!ue", "3"], 2, "write ENDPOINT/DEPLOYMENT"),
        (&["logs", "digits/bl!ue"], 2, "write ENDPOINT/DEPLOYMENT"),
        (&["tui", "--once", "quota"], 1, "`berth quota` is a verb of its own"),
        (&["explain", "request"], 2, "no request is named"),
        (&["explain", "digits/"], 2, "write ENDPOINT/DEPLOYMENT"),
        (&["traffic", "digits", "blue=abc"], 2, "no percent"),
        (&["mirror", "digits", "blue"], 2, "not a share"),
        (&["invoke", "digits"], 2, "no request is given"),
        (&["node", "forget", "n1"], 2, "nobody is there to be asked (E_UNCONFIRMED)"),
        (&["error", "E_NONE"], 2, "no error code"),
        (&["context", "set", "x"], 2, "needs its coordinators"),
        (&["coordinator"], 2, "--bootstrap-expect"),
        (&["node"], 2, "--token-file"),
        (&["dev", "--coordinators", "2"], 2, "2 cannot form a cluster"),
        (&["endpoint", "list", "--api", "https://x"], 2, "nobody is believed (E_TLS)"),
        (&["sim", "run", "--seed", "1", "--bug", "none-such"], 2, "no bug that can be planted"),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, code, "{args:?} {ran:#?}");
        assert!(ran.err.contains(part), "{args:?} {ran:#?}");
    }
}

#[test]
fn nobody_answers_and_says_so_in_words_and_in_json() {
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let nobody = nobody.to_string();
    let ran = run_with(&["get", "nodes"], &[("BERTH_API", &nobody)]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(
        ran.err.starts_with(&format!("error: no coordinator answered at {nobody} (E_UNAVAILABLE)\n  why: ")),
        "{ran:#?}"
    );
    assert!(ran.err.contains("\n  try: start one with `berth dev`"), "{ran:#?}");
    let ran = run(&["get", "nodes", "--api", &nobody, "-o", "json"]);
    let error: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON on stderr");
    assert_eq!(error["error"]["code"], "E_UNAVAILABLE");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let ran = run(&["version", "--api", &nobody, "-o", "json"]).good();
    assert_eq!(ran.json()["cluster"], serde_json::Value::Null);
}

#[test]
fn a_file_is_refused_with_every_problem_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("blue.yml");
    fs::write(&file, "name: blue\nendpoint_name: fraud\nmodel: {path: gone}\ninstace_count: 2\n").expect("a file");
    let ran = run(&["deployment", "create", "-f", &file.display().to_string(), "--api", "127.0.0.1:1"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    for part in [
        "has 2 problems",
        "blue.yml:3:15 model.path",
        "gone` does not exist",
        "blue.yml:4:1 instace_count",
        "`instance_count`",
    ] {
        assert!(ran.err.contains(part), "{part} in {ran:#?}");
    }
}

#[test]
fn a_daemon_tells_everything_that_is_wrong_with_its_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("berth.toml");
    fs::write(&config, "[coordinator]\ndata_dri = \"x\"\n").expect("a file");
    let ran = run_with(
        &["coordinator", "--config", &config.display().to_string(), "--api", "nowhere"],
        &[("BERTH_COORDINATOR_LOG", "=nonsense=")],
    );
    assert_eq!(ran.code, 2, "{ran:#?}");
    for part in [
        "E_UNKNOWN_FIELD",
        "coordinator.data_dri",
        "`data_dir`",
        "--api",
        "BERTH_COORDINATOR_LOG",
        "--bootstrap-expect",
    ] {
        assert!(ran.err.contains(part), "{part} in {ran:#?}");
    }
}

#[test]
fn a_daemon_refuses_to_listen_beyond_loopback() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().display().to_string();
    let ran =
        run(&["coordinator", "--data-dir", &data, "--api", "0.0.0.0:0", "--bootstrap-expect", "1", "--log", "error"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.err.contains("--insecure") || ran.err.contains("insecure"), "{ran:#?}");
    let ran = run(&["dev", "--data-dir", &data, "--ingress", "0.0.0.0:0", "--coordinators", "2"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.err.contains("--insecure") && ran.err.contains("2 cannot form a cluster"), "{ran:#?}");
}

#[test]
fn the_simulator_runs_a_seed() {
    let ran = run(&["sim", "run", "--seed", "1", "--seconds", "2"]).good();
    assert!(ran.out.contains("seed"), "{ran:#?}");
    let json = run(&["sim", "run", "--seed", "1", "--seconds", "2", "-o", "json"]).good().json();
    assert!(json["seed"] == 1 && json["violations"] == serde_json::json!([]), "{json}");
    assert!(ran.out.contains(json["trace_hash"].as_str().expect("text")), "{ran:#?} {json}");
    let swarm = run(&["sim", "swarm", "--seeds", "2", "--seconds", "2", "-o", "json"]).good().json();
    assert!(swarm["seeds"] == 2 && swarm["failed"].is_null(), "{swarm}");
}

#[test]
fn a_described_fleet_is_sized_with_a_plot() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sim");
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("plot.svg").display().to_string();
    let file = |name: &str| examples.join(name).display().to_string();
    let small = run(&["sim", "cluster", &file("small.yml"), "--svg", &svg]).good();
    assert!(small.out.starts_with("4 nodes `node` are needed") && small.out.contains("with 3"), "{small:#?}");
    assert!(fs::read_to_string(&svg).is_ok_and(|text| text.contains("</svg>")), "a plot");
    let day = run(&["sim", "cluster", &file("one-day.yml"), "-o", "json"]).good().json();
    assert_eq!((&day["fits"], &day["survive"]), (&true.into(), &"1 rack".into()), "{day}");
    let hours: Vec<_> = day["samples"].as_array().expect("samples").iter().map(|it| it["minute"].clone()).collect();
    assert_eq!(hours, [0, 6, 8, 9, 12, 13, 18, 20, 22].map(|hour| hour * 60), "whenever some load changes");

    let path = folder.path().join("full.yml").display().to_string();
    let text = fs::read_to_string(file("small.yml")).expect("the example");
    fs::write(&path, text.replace("max: 20", "count: 2")).expect("a file");
    let full = run(&["sim", "cluster", &path]);
    assert_eq!(full.code, 1, "{full:#?}");
    assert!(full.out.contains("the 2 nodes are too few") && full.out.contains("4/6 placed"), "{full:#?}");
    fs::write(&path, text.replace("survive", "surive")).expect("a file");
    let wrong = run(&["sim", "cluster", &path]);
    assert_eq!(wrong.code, 255, "{wrong:#?}");
    assert!(wrong.err.contains(":2:1 surive: unknown field (try: `survive`)"), "{wrong:#?}");
}
