//! How every verb looks: its help, and what it prints about a cluster at rest.
//!
//! Snapshots are files: `INSTA_UPDATE=always cargo test -p berth-cli` rewrites them, and a reader of the change reads
//! what users will read.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    berth::{Dev, Ran, run, run_at},
    steady::{measured, steady, steady_by, word},
};

/// What is served while the verbs are looked at: one instance of a program that any host with Python runs.
pub(crate) const FILE: &str = "\
name: talk
auth_mode: none
traffic: {blue: 100}
---
name: blue
endpoint_name: talk
command: [python3, -uc, 'import http.server as h,os; print(\"first words\"); R=h.BaseHTTPRequestHandler; \
R.do_GET=R.do_POST=lambda s:(s.send_response(200),s.send_header(\"content-length\",\"2\"),s.end_headers(),s.wfile.write(b\"ok\")); \
R.log_message=lambda *a:None; h.ThreadingHTTPServer((\"127.0.0.1\",int(os.environ[\"PORT\"])),R).serve_forever()']
resources: {cpu: 1, memory: 64MiB}
instance_count: 1
";

/// How long a verb may be refused that waits for a node to be found lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every verb says in one line what it does, and how it is called.
#[test]
fn help_of_every_verb() {
    let top = run(&["--help"]).good().out;
    let listed = top.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<Vec<&str>> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| words[0] != "help")
        .collect();
    assert!(verbs.len() > 25, "{verbs:?}");
    for words in verbs {
        let verb = words[0];
        assert!(words.len() > 2, "`berth {verb}` does not say what it does");
        let help = run(&[verb, "-h"]).good().out;
        assert!(help.contains(&format!("Usage: berth {verb}")), "{help}");
        assert!(!help.starts_with("Usage:"), "`berth {verb} -h` begins with what it does: {help}");
        for (at, line) in help.lines().enumerate().filter(|(_, line)| line.starts_with("  -")) {
            let more = help.lines().nth(at + 1).unwrap_or_default();
            let says =
                line.trim().split("  ").filter(|part| !part.is_empty()).count() > 1 || more.starts_with("      ");
            assert!(says, "`berth {verb}`: `{line}` does not say what it is for");
        }
    }
}

/// What every verb says; `args` holds every verb against this and fails when one is missing. Whatever a verb does is over
/// when it returns, so that the next one finds the cluster at rest.
const SESSION: &[&str] = &[
    "apply -f talk.yml 2>/dev/null",
    "invoke talk -d {} -q",
    "endpoint invoke -n talk -d {} -q",
    "get endpoints",
    "get endpoints -o name",
    "get deployments",
    "get deployments -o wide",
    "get replicas --query [].{deployment:deployment,state:state,node:node} -o tsv",
    "get nodes",
    "get nodes --query [].node",
    "get ro",
    "get all -o name",
    "get all -l endpoint=talk -o name",
    "get all -l app=talk",
    "get svc,nodes -l endpoint=talk",
    "describe ep talk -o name",
    "describe talk/blue",
    "status",
    "status talk",
    "version",
    "endpoint show talk",
    "endpoint list",
    "endpoint list -o name",
    "deployment show talk/blue",
    "deployment list talk",
    "traffic talk",
    "mirror talk",
    "mirror report talk",
    "logs talk/blue",
    "deployment get-logs -e talk -n blue",
    "plan -f talk.yml",
    "explain talk/blue",
    "top",
    "top --query [].node",
    "top deployments",
    "cost --core-hour 1",
    "cost --core-hour 1 --query [].{deployment:deployment,replicas:replicas,slots:reserve_slots,per_hour:per_hour}",
    "node ls",
    "node ls -o name",
    "node status node-1",
    "node upgrade --all --dry-run",
    "node join-command --token-file data/coordinator-1/node.token",
    "doctor",
    "edit talk",
    "edit deploy/talk",
    "edit node/node-1",
    "label talk team=fraud tier=gold",
    "label endpoint talk team=risk tier-",
    "label ep/talk team=risk tier- --overwrite",
    "get endpoints -l team=risk -o name",
    "label deploy talk stage-",
    "label node node-1 zone=a",
    "node cordon node-1",
    "node uncordon node-1",
    "events node-1",
    "events --since 2100-01-01",
    "operator raft list-peers",
    "operator raft transfer-leadership",
    "operator raft add-peer --id zz --address 127.0.0.1:1",
    "operator autopilot health",
    "operator settings show",
    "operator settings set --restart-grace 2s",
    "operator check",
    "operator check --query checked",
    "quota show",
    "quota set default cpu=8",
    "quota set --pool cpu=4",
    "quota lend default cpu=2 --for 1h",
    "quota return LOAN",
    "alerts",
    "alerts talk -o name",
    "rollout status talk/blue",
    "rollout status deploy/talk",
    "rollout pause talk",
    "deployment update talk/blue --set environment_variables.TEAM=fraud --no-wait",
    "rollout status talk/blue --timeout 1s",
    "rollout undo talk/blue --no-wait -q",
    "rollout resume talk/blue",
    "rollout status talk/blue -q",
    "rollout history talk",
    "rollout history talk -n team-a",
    "wait talk/blue",
    "wait deploy/talk --for=condition=Available --timeout=5s -o name",
    "wait node/node-1 --for=condition=Ready",
    "wait node nothing --for=create --timeout=0",
    "wait node nothing --for=delete",
    "wait talk --for=jsonpath={.state}=x",
    "replica replace REPLICA --yes",
    "rollout restart talk/blue -q",
    "deployment update talk/blue --set environment_variables.TEAM=risk -q",
    "rollout show talk/blue 3 --query [generation]",
    "rollout show talk/blue",
    "rollout undo talk/blue 2>/dev/null",
    "scale talk/blue 2 2>/dev/null",
    "node drain node-1 -m kernel --no-wait",
    "node drain node-1 --cancel",
    "operator snapshot save STATE",
    "operator snapshot inspect STATE",
    "operator snapshot inspect STATE --query [endpoints,deployments,nodes]",
    "operator snapshot restore STATE --data-dir new --cluster-key data/cluster.key --yes",
    "events --query [?contains(kind,'rollout')].kind -o tsv",
    "init shop --serves command",
    "endpoint create -f shop/endpoint.yml",
    "endpoint update shop --set description=toys",
    "endpoint get-credentials shop",
    "endpoint regenerate-keys shop --key-type secondary",
    "events shop",
    "deployment create -f shop/blue-deployment.yml --all-traffic 2>/dev/null",
    "deploy hello --cmd true --dry-run",
    "deploy tiny --onnx model.onnx 2>/dev/null",
    "mirror tiny",
    "delete -f tiny.yml --yes",
    "delete deploy/nothing --yes",
    "context",
    "context set here --api 127.0.0.1:7400",
    "context ls",
    "context use here",
    "context delete here",
    "error E_TRAFFIC",
    "man pages",
    "deployment delete talk/blue --yes",
    "traffic talk none",
    "deployment delete talk/blue --yes 2>/dev/null",
    "endpoint delete talk --yes",
    "dev kill node-1 --data-dir data",
    "node forget node-1 --yes",
    "dev start node-1 --data-dir data",
];

/// Takes what was found out of what `doctor` says: what it looked at is left.
fn subjects(told: &str) -> String {
    let subject = |line: &str| Some(line.split_whitespace().nth(1)?.to_owned());
    told.lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(subject)
        .map(|it| format!("* {it}  FOUND\n"))
        .collect()
}

#[test]
fn what_verbs_say_about_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let dev = Dev::start(&data, &["--nodes", "1"]);
    fs::write(folder.path().join("talk.yml"), FILE).expect("a file");
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/green/model.onnx");
    fs::copy(model, folder.path().join("model.onnx")).expect("the example's model");
    let home = folder.path().display().to_string();
    let run = |args: &[&str]| {
        // An editor that is left as it was opened.
        let vars = [("BERTH_API", dev.api.as_str()), ("HOME", &home), ("XDG_CONFIG_HOME", &home), ("VISUAL", "true")];
        run_at(folder.path(), args, &vars)
    };
    let first = |args: &[&str]| run(args).good().out.lines().next().unwrap_or_default().to_owned();
    let mut all = String::new();
    for line in SESSION {
        // What a command says beside its answer, as it goes on, is of no two runs the same.
        let (typed, is_answer_alone) = line.strip_suffix(" 2>/dev/null").map_or((*line, false), |typed| (typed, true));
        let given: Vec<String> = typed
            .split(' ')
            .map(|word| match word {
                "LOAN" => first(&["quota", "show", "--query", "loans[].loan", "-o", "tsv"]),
                "REPLICA" => first(&["get", "replicas", "--query", "[?state=='serving'].replica", "-o", "tsv"]),
                "STATE" => format!("{home}/state"),
                word => word.to_owned(),
            })
            .collect();
        let given: Vec<_> = given.iter().map(String::as_str).collect();
        let mut ran = run(&given);
        // A host that went is found lost a moment later.
        let deadline = Instant::now() + PATIENCE;
        while typed.starts_with("node forget") && ran.code != 0 && Instant::now() < deadline {
            ran = run(&given);
        }
        if typed == "doctor" {
            // What it finds is the host's, and so are its advice and whether it ends well.
            ran = Ran { code: 0, out: subjects(&ran.out), ..ran };
        }
        let is_measured = typed == "top" || (typed.starts_with("cost") && !typed.contains("--query"));
        let hidden = |text: &str| steady_by(text, if is_measured { measured } else { word });
        all.push_str(&format!("$ berth {line}\n{}", hidden(&ran.out)));
        for line in hidden(&ran.err).lines().filter(|_| !is_answer_alone) {
            all.push_str(&format!("! {line}\n"));
        }
        if typed.starts_with("deploy tiny") {
            // What it says to type next answers.
            let call = ran.out.lines().find_map(|line| line.strip_prefix("call it: berth ")).expect("a call");
            let (name, body) = call.split_once(" -d ").expect("a body");
            let given: Vec<&str> = name.split(' ').chain(["-d", body.trim_matches('\'')]).collect();
            assert!(run(&given).good().out.contains("predictions"), "{call}");
        }
        if ran.code != 0 {
            all.push_str(&format!("exit {}\n", ran.code));
        }
        all.push('\n');
    }
    assert_eq!(dev.stop(), 0);
    let shown = all.replace(&home, "DIR").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!("cluster", shown);
}

/// Says what an error lacks: a stable code that has a page, and why it came about or what to try.
fn helps(text: &str) -> Result<(), &'static str> {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    let is_code = |code: &str| code.starts_with("E_") && pages.join(format!("{code}.md")).is_file();
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
        let error = &value["error"];
        let said = |name: &str| error[name].as_str().is_some_and(|text| !text.is_empty());
        return match is_code(error["code"].as_str().unwrap_or_default()) && said("what") {
            false => Err("no code, or nothing said"),
            true if said("why") || said("try") => Ok(()),
            true => Err("neither why nor try"),
        };
    }
    let first = text.lines().next().unwrap_or_default();
    let code = first.rsplit_once('(').map_or("", |(_, code)| code.trim_end_matches(')'));
    if !first.starts_with("error: ") || !is_code(code) {
        return Err("no code");
    }
    let is_helped = text.lines().any(|line| ["  why: ", "  try: ", "  - "].iter().any(|head| line.starts_with(head)));
    if is_helped { Ok(()) } else { Err("neither why nor try") }
}

#[test]
fn an_error_that_does_not_help_is_found() {
    for (text, found) in [
        ("error: no (E_INVALID)\n  why: because", Ok(())),
        ("error: no (E_INVALID)\n", Err("neither why nor try")),
        ("error: no\n  why: because", Err("no code")),
        ("error: no (E_NO_SUCH)\n  why: because", Err("no code")),
        (r#"{"error":{"code":"E_INVALID","what":"x","why":"","try":""}}"#, Err("neither why nor try")),
        (r#"{"error":{"code":"E_INVALID","what":"x","why":"","try":"y"}}"#, Ok(())),
    ] {
        assert_eq!(helps(text), found, "{text}");
    }
}

/// Thirty ways to be wrong, each with what is said about it.
#[test]
fn what_is_said_about_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().display().to_string();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write(
        "wrong.yml",
        "name: blue\nendpoint_name: talk\ninstace_count: 2\ninstance_type: Standard_DS3_v3\nmodel: {path: ./no}\n",
    );
    write("broken.yml", "name: [blue\n");
    write("empty.yml", "");
    write(
        "alerts.yml",
        "name: talk\nalerts:\n  - eror rate > 1 % for 5m\n  - {when: p99 > 800, nofity: [pager]}\n  - queue > 1\n  - queue > 2\n",
    );
    write("talk.yml", FILE);
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let file = |name: &str| format!("{dir}/{name}");
    dev.run(&["apply", "-f", &file("talk.yml")]).good();
    let mut all = String::new();
    for args in [
        "apply -f DIR/wrong.yml",
        "apply -f DIR/broken.yml",
        "apply -f DIR/empty.yml",
        "apply -f DIR/none.yml",
        "apply -f DIR/talk.yml --set x",
        "endpoint show tlak",
        "endpoint create -n talk",
        "endpoint create -n -x-",
        "endpoint update talk",
        "deployment show talk/red",
        "deployment show talk",
        "deployment delete talk/blue --yes",
        "deployment update talk/blue --set instance_count=many",
        "deploy talk",
        "deploy talk --onnx DIR/none.onnx",
        "describe nothing-here",
        "describe node nod-1",
        "traffic talk blue=90",
        "traffic talk red=100",
        "traffic talk blue=x",
        "mirror talk blue=200",
        "scale talk/ 3",
        "scale talk/blue many",
        "invoke talk",
        "invoke nobody -d {}",
        "logs talk/red",
        "explain request 0000",
        "get podes",
        "get podes -o json",
        "fly --now",
        "delete thing x",
        "deploy talk --script DIR/none.py",
        "get all -o json",
        "logs tlak",
        "explain tlak",
        "get nodes --query [?",
        "node status node-9",
        "node drain node-9",
        "node forget node-1",
        "node forget node-1 --yes",
        "node join-command --token-file DIR/none.token",
        "operator raft remove-peer --id zz --yes",
        "operator snapshot save DIR/talk.yml",
        "operator snapshot inspect DIR/talk.yml",
        "operator snapshot restore DIR/none --data-dir DIR/new --yes",
        "apply -f DIR/alerts.yml",
        "alerts nobody",
        "alerts test nobody",
        "rollout status talk/red",
        "rollout show talk/blue 9",
        "rollout undo talk/blue",
        "rollout undo talk/blue --to-generation 9",
        "rollout pause nobody",
        "rollout restart talk/red",
        "replica replace zz --yes",
        "quota show nobody",
        "error E_NONE",
        "context use nowhere",
        "endpoint delete talk",
    ] {
        let given: Vec<_> = args.split(' ').map(|word| word.replace("DIR", &dir)).collect();
        let ran = dev.run(&given.iter().map(String::as_str).collect::<Vec<_>>());
        assert_ne!(ran.code, 0, "{args}: {ran:#?}");
        assert!(ran.out.is_empty(), "an error is no answer: {args}: {ran:#?}");
        // What it was about to do is said before.
        let error = ran.err.find("error: ").map_or(&*ran.err, |at| &ran.err[at..]);
        assert_eq!(helps(error), Ok(()), "{args}: {ran:#?}");
        all.push_str(&format!("$ berth {args}\n{}exit {}\n\n", steady(&ran.err), ran.code));
    }
    assert_eq!(dev.stop(), 0);
    insta::assert_snapshot!("mistakes", all.replace(&dir, "DIR"));
}
