//! How every verb looks: its help, and what it prints about a cluster at rest.
//!
//! Snapshots are files: `INSTA_UPDATE=always cargo test -p berth-cli` rewrites them, and a reader of the change reads
//! what users will read.

use std::fs;

use crate::berth::{Dev, run, run_at};

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

/// Hides what differs from run to run: ids, addresses, times, counts of bytes, keys, and the widths they make.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().map(word).collect();
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        out.push_str(&format!("{indent}{}\n", words.join(" ")));
    }
    out
}

fn word(word: &str) -> String {
    let end = word.trim_end_matches([',', ';', ':', ')', '.']);
    let (core, tail) = word.split_at(end.len());
    let bare = core.trim_start_matches('(');
    let lead = &core[..core.len() - bare.len()];
    let hex = |len: usize| bare.len() == len && bare.bytes().all(|b| b.is_ascii_hexdigit());
    let is_time = bare.len() > 1
        && bare.starts_with(|c: char| c.is_ascii_digit())
        && bare.ends_with(['s', 'm', 'h'])
        && bare.chars().all(|c| c.is_ascii_digit() || "smh.".contains(c));
    let shown = if let Some((before, port)) = bare.rsplit_once("127.0.0.1:") {
        let rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}ADDR{rest}")
    } else if bare.len() == 36 && bare.matches('-').count() == 4 || hex(8) || hex(16) || hex(32) {
        "ID".to_owned()
    } else if bare.strip_prefix("c-").is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())) {
        "CLUSTER".to_owned()
    } else if bare.len() == 43 && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        "KEY".to_owned()
    } else if is_time {
        "TIME".to_owned()
    } else if bare.len() > 3 && bare.bytes().all(|b| b.is_ascii_digit()) {
        "NUMBER".to_owned()
    } else {
        bare.to_owned()
    };
    format!("{lead}{shown}{tail}")
}

#[test]
fn words_that_differ_are_hidden_and_others_are_not() {
    for (given, shown) in [
        ("replica 1f2e3d4c on node-1,", "replica ID on node-1,\n"),
        ("  uri http://127.0.0.1:4711/e/talk", "  uri http://ADDR/e/talk\n"),
        ("for 4m12s (8.5s)", "for TIME (TIME)\n"),
        ("64 cores, 123456 bytes", "64 cores, NUMBER bytes\n"),
        ("primary  RkecMT0_Nv_gdtcPoVcZa5i-kg8yBVZ3uQ8lh_psTvo", "primary KEY\n"),
        ("cluster = c-e2a55af4c6859c49", "cluster = CLUSTER\n"),
    ] {
        assert_eq!(steady(given), shown);
    }
}

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
    "apply -f talk.yml -q",
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
    "describe ep talk -o name",
    "status",
    "status talk",
    "version",
    "endpoint show talk",
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
    "top --query [].node",
    "top deployments",
    "cost --core-hour 1 --query [].{deployment:deployment,replicas:replicas,slots:reserve_slots,per_hour:per_hour}",
    "node ls -o name",
    "node status node-1",
    "node upgrade --all --dry-run",
    "node cordon node-1",
    "node uncordon node-1",
    "operator raft list-peers",
    "operator raft transfer-leadership",
    "operator raft add-peer --id zz --address 127.0.0.1:1",
    "operator autopilot health",
    "operator settings show",
    "operator settings set --restart-grace 2s",
    "operator check --query checked",
    "quota show",
    "quota set default cpu=8",
    "quota set --pool cpu=4",
    "quota lend default cpu=2 --for 1h",
    "quota return LOAN",
    "alerts",
    "alerts talk -o name",
    "rollout status talk/blue",
    "rollout pause talk",
    "rollout resume talk/blue",
    "rollout history talk",
    "replica replace REPLICA --yes",
    "rollout restart talk/blue -q",
    "deployment update talk/blue --set tags.team=risk -q",
    "rollout show talk/blue 3 --query [generation]",
    "rollout undo talk/blue -q",
    "scale talk/blue 2 -q",
    "node drain node-1 -m kernel --no-wait",
    "node drain node-1 --cancel",
    "operator snapshot save STATE",
    "operator snapshot inspect STATE --query [endpoints,deployments,nodes]",
    "operator snapshot restore STATE --data-dir new --cluster-key data/cluster.key --yes",
    "events --query [?contains(kind,'rollout')].kind -o tsv",
    "init shop --serves command",
    "endpoint create -f shop/endpoint.yml",
    "endpoint update shop --set description=toys",
    "endpoint get-credentials shop",
    "endpoint regenerate-keys shop --key-type secondary",
    "deployment create -f shop/blue-deployment.yml --all-traffic -q",
    "deploy hello --cmd true --dry-run",
    "context",
    "context set here --api 127.0.0.1:7400",
    "context ls",
    "context use here",
    "context delete here",
    "error E_TRAFFIC",
    "man pages",
    "deployment delete talk/blue --yes -q",
    "traffic talk none",
    "deployment delete talk/blue --yes -q",
    "endpoint delete talk --yes",
    "dev kill node-1 --data-dir data",
    "dev start node-1 --data-dir data",
];

#[test]
fn what_verbs_say_about_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let dev = Dev::start(&data, &["--nodes", "1"]);
    fs::write(folder.path().join("talk.yml"), FILE).expect("a file");
    let home = folder.path().display().to_string();
    let run = |args: &[&str]| {
        let vars = [("BERTH_API", dev.api.as_str()), ("HOME", &home), ("XDG_CONFIG_HOME", &home)];
        run_at(folder.path(), args, &vars)
    };
    let first = |args: &[&str]| run(args).good().out.lines().next().unwrap_or_default().to_owned();
    let mut all = String::new();
    for line in SESSION {
        let given: Vec<String> = line
            .split(' ')
            .map(|word| match word {
                "LOAN" => first(&["quota", "show", "--query", "loans[].loan", "-o", "tsv"]),
                "REPLICA" => first(&["get", "replicas", "--query", "[?state=='serving'].replica", "-o", "tsv"]),
                "STATE" => format!("{home}/state"),
                word => word.to_owned(),
            })
            .collect();
        let ran = run(&given.iter().map(String::as_str).collect::<Vec<_>>());
        all.push_str(&format!("$ berth {line}\n{}", steady(&ran.out)));
        for line in steady(&ran.err).lines() {
            all.push_str(&format!("! {line}\n"));
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
        "scale talk 3",
        "scale talk/blue many",
        "invoke talk",
        "invoke nobody -d {}",
        "logs talk/red",
        "explain request 0000",
        "get podes",
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
        all.push_str(&format!("$ berth {args}\n{}exit {}\n\n", steady(&ran.err), ran.code));
    }
    assert_eq!(dev.stop(), 0);
    insta::assert_snapshot!("mistakes", all.replace(&dir, "DIR"));
}
