//! The main job on a development cluster, verb by verb.

use std::{fs, path::Path};

use crate::{
    berth::{Dev, is_alive, run_with},
    verbs::FILE,
};

fn digits(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits").join(name).display().to_string()
}

/// One image of 64 grey values.
fn image() -> String {
    format!("{{\"data\": [[{}]]}}", vec!["0"; 64].join(","))
}

#[test]
fn from_nothing_to_an_answer_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let dev = Dev::start(&data, &[]);

    let nodes = dev.run(&["get", "nodes", "-o", "json"]).good().json();
    assert_eq!(nodes.as_array().expect("a list").len(), 2);
    for field in ["node", "state", "epoch", "capacity", "allocated"] {
        assert!(!nodes[0][field].is_null(), "{field} in {nodes:#}");
    }

    dev.run(&["endpoint", "create", "-f", &digits("endpoint.yml")]).good();
    let again = dev.run(&["endpoint", "create", "-f", &digits("endpoint.yml")]);
    assert!(again.code == 1 && again.err.contains("E_ALREADY_EXISTS"), "{again:#?}");

    let created = dev.run(&["deployment", "create", "-f", &digits("green-deployment.yml"), "--all-traffic"]).good();
    assert!(created.out.contains("2 of 2") && created.out.contains("100 % live"), "{created:#?}");
    assert!(created.err.contains("digits/green  Creating"), "a pipe gets a line per change: {created:#?}");
    // Two instances on two nodes: its reserve is beside one of them.
    let thin = dev.run(&["status", "digits"]).good();
    assert!(thin.out.contains("does not cover the loss of") && thin.out.contains("try: add a node"), "{thin:#?}");

    let replicas = dev.run(&["get", "replicas", "-o", "json"]).good().json();
    let replicas = replicas.as_array().expect("a list");
    assert_eq!(replicas.len(), 2);
    for field in ["endpoint", "deployment", "replica", "node", "state", "pid", "address"] {
        assert!(!replicas[0][field].is_null(), "{field} in {:#}", replicas[0]);
    }
    let pids: Vec<_> = replicas.iter().map(|replica| replica["pid"].as_i64().expect("a pid") as i32).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)));

    let answer = dev.run(&["invoke", "digits", "-d", &image()]).good();
    assert!(answer.json()["predictions"].is_array(), "{answer:#?}");
    assert!(answer.err.contains("green · replica ") && answer.err.contains(" ms in all · request "), "{answer:#?}");
    let pinned = dev.run(&["endpoint", "invoke", "-n", "digits", "-d", &image(), "--ingress", &dev.ingress]);
    pinned.good();
    let wrong = dev.run(&["invoke", "digits", "-d", "nonsense"]);
    assert!(wrong.code == 1 && wrong.err.contains("the model answered 400"), "{wrong:#?}");

    let half = dev.run(&["traffic", "digits", "green=90"]);
    assert!(half.code == 1 && half.err.contains("E_TRAFFIC"), "{half:#?}");
    let gone = dev.run(&["traffic", "digits", "red=100"]);
    assert!(gone.code == 1 && gone.err.contains("no such deployment"), "{gone:#?}");
    let file = folder.path().join("as-azure.yml");
    fs::write(&file, "name: digits\nauth_mode: key\ntraffic: {green: 100}\nmirror_traffic: {green: 10}\n")
        .expect("a file");
    let path = file.display().to_string();
    for typed in [
        &["mirror", "digits", "green=10"][..],
        &["endpoint", "update", "digits", "--mirror-traffic", "green=10"],
        &["apply", "-f", &path],
        // The mirror of before, which Azure would not have.
        &["traffic", "digits", "green=100"],
    ] {
        dev.run(typed).good();
        let strict = dev.run(&[typed, &["--strict-azure"]].concat());
        assert!(strict.code == 1 && strict.err.contains("E_TRAFFIC"), "{typed:?}: {strict:#?}");
    }
    dev.run(&["mirror", "digits", "none"]).good();
    let busy = dev.run(&["deployment", "delete", "digits/green", "--yes"]);
    assert!(busy.code == 1 && busy.err.contains("E_CARRIES_TRAFFIC"), "{busy:#?}");
    let asked = dev.run(&["endpoint", "delete", "digits"]);
    assert!(asked.code == 2 && asked.err.contains("--yes"), "nobody is there to be asked: {asked:#?}");

    dev.run(&["scale", "digits/green", "1"]).good();
    dev.run(&["deployment", "update", "digits/green", "--set", "tags.team=risk", "--no-wait"]).good();
    let shown = dev.run(&["deployment", "show", "digits/green", "-o", "json"]).good().json();
    assert_eq!(
        (&shown["spec"]["tags"]["team"], shown["generation"].as_u64()),
        (&"risk".into(), Some(1)),
        "nothing restarts for what people write beside it"
    );

    let keys = dev.run(&["endpoint", "get-credentials", "digits", "-o", "json"]).good().json();
    let renewed = dev.run(&["endpoint", "regenerate-keys", "-n", "digits", "-o", "json"]).good().json();
    assert_ne!(keys["primary_key"], renewed["primary_key"]);
    assert_eq!(keys["secondary_key"], renewed["secondary_key"]);

    dev.run(&["operator", "check"]).good();
    let peers = dev.run(&["operator", "raft", "list-peers"]).good();
    assert!(peers.out.contains(&dev.api) && peers.out.contains("leader"), "{peers:#?}");
    let snapshot = folder.path().join("snapshot");
    dev.run(&["operator", "snapshot", "save", &snapshot.display().to_string()]).good();
    assert!(fs::metadata(&snapshot).expect("a snapshot").len() > 0);
    let events = dev.run(&["get", "events", "-o", "json"]).good().json();
    let kinds: Vec<_> = events.as_array().expect("a list").iter().map(|event| event["kind"].clone()).collect();
    assert!(kinds.contains(&"endpoint.created".into()), "{kinds:?}");
    let status = dev.run(&["status", "digits"]).good();
    assert!(status.out.contains("endpoint = digits") && status.out.contains("digits/green"), "{status:#?}");

    // What was there is there again, under the same addresses, and nothing of the old run is left.
    assert_eq!(dev.stop(), 0);
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "replicas of a development cluster end with it");
    let dev = Dev::start(&data, &[]);
    let traffic = dev.run(&["traffic", "digits", "-o", "json"]).good().json();
    assert_eq!(traffic["green"], 100);
    dev.run(&["endpoint", "delete", "digits", "--yes"]).good();
    assert_eq!(dev.run(&["get", "endpoints", "-o", "json"]).good().json(), serde_json::json!([]));
    assert_eq!(dev.stop(), 0);
}

#[test]
fn what_cannot_run_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let both =
        "name: fraud\nauth_mode: none\n---\nname: huge\nendpoint_name: fraud\ncommand: serve\nresources: {cpu: 1000}\n";
    let applied = dev.run(&["apply", "-f", &write("all.yml", both), "--timeout", "1s"]);
    assert_eq!(applied.code, 3, "it goes on without us: {applied:#?}");
    assert!(applied.err.contains("0 of 1 ready") && applied.err.contains("needs 1000"), "{applied:#?}");
    let applied = dev.run(&["apply", "-f", &write("all.yml", both)]);
    assert_eq!(applied.code, 1, "nothing more comes by waiting: {applied:#?}");
    assert!(applied.err.contains("no node takes fraud/huge (E_NO_CAPACITY)"), "{applied:#?}");
    assert!(applied.err.contains("0/1 placed") && applied.err.contains("needs 1000"), "{applied:#?}");
    let verdict = dev.run(&["explain", "fraud/huge"]).good();
    assert!(verdict.out.contains("node-1") && verdict.out.contains("nearest:"), "{verdict:#?}");

    let ends = "name: ends\nendpoint_name: fraud\ncommand: [sh, -c, 'echo last words; exit 3']\nresources: {cpu: 1}\n";
    let ended = dev.run(&["deployment", "create", "-f", &write("ends.yml", ends), "--timeout", "90s"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    for part in ["error: fraud/ends cannot start (E_REPLICA_START)", "exited with code 3", "last words"] {
        assert!(ended.err.contains(part), "{part} in {ended:#?}");
    }
    // Whether a replica is there or the next try is yet to come: what it wrote can be read.
    let logs = dev.run(&["logs", "fraud/ends"]).good();
    assert!(logs.out.contains("last words"), "{logs:#?}");
    let previous = dev.run(&["deployment", "get-logs", "-e", "fraud", "-n", "ends", "--previous"]).good();
    assert!(previous.out.contains("last words") && previous.err.contains("which failed last"), "{previous:#?}");
    let ends = dev.run(&["deployment", "show", "fraud/ends", "-o", "json"]).good().json();
    assert!(ends["last_failed_node"] == "node-1" && ends["retry_at_ms"].as_u64() > Some(0), "{ends}");
    assert_eq!(dev.stop(), 0);
}

/// What is typed into an editor is held to the rule of files: a field that nobody knows is no wish that may be left out.
#[test]
fn what_nobody_knows_is_refused_in_an_editor_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    dev.run(&["endpoint", "create", "-n", "talk", "--auth-mode", "none"]).good();
    let edit = |line: &str| {
        let editor = format!("echo '{line}' >>");
        run_with(&["edit", "talk"], &[("BERTH_API", &dev.api), ("VISUAL", &editor)])
    };
    for (line, field, near) in
        [("descripton: toys", "descripton", "`description`"), ("max_body_mib: 5", "max_body_mib", "`max_body_bytes`")]
    {
        let refused = edit(line);
        assert_eq!(refused.code, 1, "{refused:#?}");
        for part in ["E_UNKNOWN_FIELD", &format!("{field}: unknown field (try: {near})"), "what was typed is in "] {
            assert!(refused.err.contains(part), "{part} in {refused:#?}");
        }
        // What was kept is read, and not left to those who come after.
        let kept = refused.err.lines().find_map(|line| line.strip_prefix("what was typed is in ")).expect("a path");
        assert!(fs::read_to_string(kept).expect("it is kept").contains(line));
        fs::remove_file(kept).expect("it is there");
    }
    let edited = edit("hedging: {after: {delay_ms: 5}, budget_percent: 1}");
    assert_eq!(edited.code, 1, "a field twice is a mistake: {edited:#?}");
    assert!(edited.err.contains("is given twice"), "{edited:#?}");
    assert_eq!(dev.stop(), 0);
}

/// A program that says nothing has the log of how it was prepared, as far as that is of the time that is asked about.
#[test]
fn the_log_of_a_quiet_program_is_that_of_its_preparing() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    fs::write(folder.path().join("weights.bin"), "weights").expect("a file");
    let file = folder.path().join("talk.yml");
    let quiet = FILE.replace("print(\"first words\"); ", "");
    assert_ne!(quiet, FILE);
    fs::write(&file, format!("{quiet}model: {{path: weights.bin}}\n")).expect("a file");
    dev.run(&["apply", "-f", &file.display().to_string()]).good();
    for line in ["logs talk --since 1h", "logs talk", "deployment get-logs -e talk -n blue --since 1h"] {
        let logs = dev.run(&line.split(' ').collect::<Vec<_>>()).good();
        assert!(logs.out.contains("fetched weights.bin"), "{line}: {logs:#?}");
        assert!(logs.err.contains("nothing was written but this, while it was prepared"), "{line}: {logs:#?}");
    }
    let none = dev.run(&["logs", "talk", "--since", "2100-01-01"]).good();
    assert!(none.out.is_empty() && none.err.contains("nothing was written since then"), "{none:#?}");
    assert_eq!(dev.stop(), 0);
}
