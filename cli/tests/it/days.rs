//! A usual day of somebody who knows Azure ML, and of one who knows kubectl, typed at a live cluster in their own words.
//!
//! Nothing is translated: `az ml` and `kubectl` are Berth, and behind them stands what these people type. What was meant is
//! asked again of the API after each line, over HTTP and not through the verbs. The transcripts are files that people read:
//! `BERTH_UPDATE_DOCS=1 cargo test -p berth-cli --test it days` writes them anew, and a reader of the change reads what they say.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    berth::{Dev, not_required},
    steady::{measured, steady_by, word},
};

/// How long anything may take to come about on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long one line may take; the longest builds a Python environment.
const LINE_SECS: &str = "600";

/// The two programs' names, as a shell of these people would have them.
const NAMES: &str = r#"
az() { [ "$1" != ml ] || shift; berth "$@"; }
kubectl() { berth "$@"; }
"#;

/// What is typed, and what is to come of it.
#[derive(Clone, Copy)]
enum Step {
    /// What the next lines are about.
    About(&'static str),
    /// A line that ends by itself, the exit code it ends with, and parts of what it says.
    Type(&'static str, i32, &'static [&'static str]),
    /// A line that goes on, until it has said this; then ctrl-c.
    Watch(&'static str, &'static str),
    /// What the API says afterwards: a route, what of its answer, and how that reads.
    Then(&'static str, &'static str, &'static str),
}

use Step::{About, Then, Type, Watch};

/// A shell in a folder of its own, with a cluster.
struct Shell<'a> {
    dev: &'a Dev,
    folder: &'a Path,
    transcript: String,
}

// === impl Shell ===

impl Shell<'_> {
    fn command(&self, line: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_berth")).parent().expect("a folder");
        let mut bash = Command::new("timeout");
        bash.args(["--foreground", LINE_SECS, "bash", "-c", &format!("{NAMES}{line}")]).current_dir(self.folder);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_")) {
            bash.env_remove(name);
        }
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
        bash.env("PATH", path).env("HOME", self.folder).env("XDG_CONFIG_HOME", self.folder);
        bash.env("BERTH_API", &self.dev.api).env_remove("VISUAL").stdin(Stdio::null());
        bash.process_group(0);
        bash
    }

    fn day(&mut self, steps: &[Step]) {
        for step in steps {
            match *step {
                About(what) => self.say(&format!("\n# {what}\n")),
                Type(line, exit, says) => self.types(line, exit, says),
                Watch(line, until) => self.watches(line, until),
                Then(route, pointer, expected) => self.asks(route, pointer, expected),
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.transcript.push_str(text);
    }

    fn types(&mut self, line: &str, exit: i32, says: &[&str]) {
        let mut child = self.command(&format!("{{ {line}\n}} 2>&1"));
        let ran = child.output().expect("bash runs");
        let said = String::from_utf8_lossy(&ran.stdout);
        let code = ran.status.code().unwrap_or(-1);
        assert_eq!(code, exit, "{line}\n{said}");
        for part in says {
            assert!(said.contains(part), "`{part}` in what `{line}` says:\n{said}");
        }
        self.say(&format!("\n$ {}\n{}", line.replace('\n', "\n> "), shown(&said, line)));
        if code != 0 {
            self.say(&format!("exit {code}\n"));
        }
    }

    fn watches(&mut self, line: &str, until: &str) {
        let mut child = self.command(&format!("{{ {line}; }} 2>&1")).stdout(Stdio::piped()).spawn().expect("bash runs");
        let out = child.stdout.take().expect("a pipe");
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        while !said.contains(until) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(more) = receive.recv_timeout(left) else { panic!("`{until}` in what `{line}` says:\n{said}") };
            said.push_str(&format!("{more}\n"));
        }
        killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("a signal");
        child.wait().expect("it ends");
        self.say(&format!("\n$ {line}\n{}^C\n", shown(&said, line)));
    }

    /// Waits until the API says so: not every verb waits until everything has followed.
    fn asks(&mut self, route: &str, pointer: &str, expected: &str) {
        let wanted: Value = serde_json::from_str(expected).expect("JSON");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = get(&self.dev.api, &format!("/api/v1/{route}"));
            let found = match pointer {
                "" => Some(answer.clone()),
                "#" => answer
                    .as_object()
                    .and_then(|all| all.values().find_map(Value::as_array))
                    .map(|all| all.len().into()),
                pointer => answer.pointer(pointer).cloned(),
            };
            if found.as_ref() == Some(&wanted) {
                break;
            }
            assert!(Instant::now() < deadline, "{route} {pointer} is {found:?} and not {wanted}: {answer:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let what = match pointer {
            "" => "not there".to_owned(),
            "#" => format!("{expected} of them"),
            pointer => format!("{} is {expected}", pointer.trim_start_matches('/')),
        };
        self.say(&format!("  → GET /api/v1/{route}: {what}\n"));
    }

    /// Compares the whole day with the file, or writes it.
    fn compare(&self, name: &str, head: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/verified").join(name);
        let folder = self.folder.display().to_string();
        let text = format!("{head}{}", self.transcript.replace(&folder, "~"));
        if std::env::var_os("BERTH_UPDATE_DOCS").is_some() {
            fs::write(&path, &text).expect("a file");
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        if there != text {
            let differs = there.lines().zip(text.lines()).enumerate().find(|(_, (there, now))| there != now);
            let all = self.folder.join(name);
            fs::write(&all, &text).expect("a file");
            panic!(
                "docs/verified/{name} differs first at {differs:?}; BERTH_UPDATE_DOCS=1 writes it anew. The whole of it:\n{text}"
            );
        }
    }
}

/// Asks a route; nothing but a success is an answer, and what is not there is `null`.
fn get(api: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(api).expect("the API");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    if head.starts_with("HTTP/1.1 404") {
        return Value::Null;
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {text}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {path}: {text}"))
}

/// Returns whether a line tells how far something is: of no two runs the same.
fn is_progress(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_count = |text: &str| text.split('/').all(|part| part.parse::<u32>().is_ok());
    match words.as_slice() {
        [node, "draining", ..] if !line.starts_with(' ') && node.starts_with("node-") => true,
        [_, "Creating" | "Updating" | "Scaling" | "Succeeded" | "Failed", count, "ready" | "ready,", ..] => {
            is_count(count)
        }
        [first, ..] => line.starts_with("  ") && (first.starts_with("node-") || *first == "replica"),
        [] => false,
    }
}

/// What is hidden of a table of nodes: every amount, with its unit.
fn amounts(text: &str) -> String {
    match text {
        text if ["MiB", "GiB"].iter().any(|unit| text.starts_with(unit)) => String::new(),
        text if text.contains("127.0.0.1:") => word(text),
        "-" => text.to_owned(),
        text => measured(text),
    }
}

/// What is hidden of a table of replicas: every number that may be a process's.
fn of_processes(text: &str) -> String {
    // Linux counts processes up to 2^22: what is longer, as an id that happens to have no letter, is none.
    let is_pid = (2..=7).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_pid { "NUMBER".to_owned() } else { anywhere(text) }
}

/// What is hidden beyond ids and times: which of several nodes it was.
fn anywhere(text: &str) -> String {
    let shown = word(text);
    match shown.strip_prefix("node-") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("node-N{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => shown,
    }
}

/// Hides what differs from run to run: which node it was, unless the line names one, how far something is, and the order of
/// rows that are sorted by an id.
fn shown(text: &str, typed: &str) -> String {
    let mut out = String::new();
    let mut goes_on = false;
    // A model's answer ends without ending its line, and what is said about it comes behind it.
    let apart = match text.rsplit_once('}') {
        Some((answer, about)) if about.contains(" · replica ") => format!("{answer}}}\n{about}"),
        _ => text.to_owned(),
    };
    for line in apart.lines() {
        if is_progress(line) {
            out.push_str(if goes_on { "" } else { "  …\n" });
            goes_on = true;
            continue;
        }
        goes_on = false;
        out.push_str(&format!("{line}\n"));
    }
    let mut all = String::new();
    for block in out.split_inclusive("\n\n") {
        let hide = match block {
            block if block.starts_with("NODE ") => amounts,
            block if block.starts_with("REPLICA ") => of_processes,
            _ if typed.contains("node-") => word,
            _ => anywhere,
        };
        // The order of both is that of ids, and the order of events is a race.
        let mut lines: Vec<String> = steady_by(block, hide).lines().map(counted).collect();
        let is_listed = lines.first().is_some_and(|line| line.starts_with("REPLICA ") || line.starts_with("SLOT "));
        let is_logs = lines.iter().all(|line| line.starts_with("ID node-"));
        if is_listed || is_logs {
            let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
            lines[usize::from(is_listed)..end].sort();
        }
        if lines.first().is_some_and(|line| line.starts_with("AGE ")) && typed.contains("describe") {
            lines = vec!["AGE  SEVERITY  KIND  TEXT".to_owned(), "  … (the last ten events)".to_owned()];
        }
        lines.iter().for_each(|line| all.push_str(&format!("{line}\n")));
    }
    all
}

/// Hides a count that stands before its unit: of milliseconds, and of how many replicas were on a node.
fn counted(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_count = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hidden = words.iter().enumerate().map(|(at, text)| match words.get(at + 1) {
        Some(&"ms") if is_count(text) => "N",
        Some(&("replica" | "replicas")) if is_count(text) && line.contains(" is empty: ") => "N",
        _ => text,
    });
    hidden.collect::<Vec<_>>().join(" ").replace("N replica left", "N replicas left")
}

#[test]
fn what_is_of_one_run_alone_is_hidden() {
    for (said, typed, left) in [
        ("web/blue  Creating  0/2 ready\n  node-1  placed  74341b53\nweb serves\n", "apply", "  …\nweb serves\n"),
        ("node-2  draining  2 left here, 0 gone\nnode-2 is empty\n", "drain node-2", "  …\nnode-2 is empty\n"),
        ("b0000000 node-2 b\na0000000 node-1 a\n", "logs", "ID node-N a\nID node-N b\n"),
        ("blue · replica 74341b53 · 8 ms in all\n", "invoke", "blue · replica ID · N ms in all\n"),
        ("NODE    CPU   MEMORY\nnode-1  1/64  2 MiB/1 GiB\n", "get no", "NODE    CPU  MEMORY\nnode-1  #    #\n"),
        (
            "REPLICA   NODE    PID\n12345678  node-1  4194304\nab345678  node-2  42\n",
            "get po",
            "REPLICA  NODE    PID\nID       node-N  NUMBER\nID       node-N  NUMBER\n",
        ),
        ("n1 is empty: 1 replica left\n", "drain", "n1 is empty: N replicas left\n"),
    ] {
        assert_eq!(shown(said, typed), left, "{said}");
    }
}

const AZURE: &[Step] = &[
    About("The endpoint, from Azure's own YAML."),
    Type("cat endpoint.yml", 0, &["managedOnlineEndpoint.schema.json"]),
    Type("az ml online-endpoint create -f endpoint.yml", 0, &["digits"]),
    Then("endpoints/get?name=digits", "/provisioning_state", "\"Succeeded\""),
    Then("endpoints/get?name=digits", "/spec/auth_mode", "\"AUTH_MODE_KEY\""),
    Type("az ml online-endpoint show -n digits --query provisioning_state -o tsv", 0, &["Succeeded\n"]),
    About("A deployment: a scoring script, a model, a conda file."),
    Type("cat blue-deployment.yml", 0, &["managedOnlineDeployment.schema.json"]),
    Type("az ml online-deployment create --file blue-deployment.yml --all-traffic", 0, &["digits/blue", "100 % live"]),
    Then("deployments/get?endpoint=digits&name=blue", "/ready", "2"),
    Then("endpoints/get?name=digits", "/traffic", "{\"blue\": 100}"),
    Type(
        "az ml online-deployment show -n blue -e digits --query '{state: provisioning_state, count: instance_count}' -o table",
        0,
        &["COUNT", "Succeeded"],
    ),
    Type(
        "az ml online-endpoint invoke -n digits --request-file sample.json",
        0,
        &["\"predictions\"", "blue · replica"],
    ),
    About("Callers: the key, the address, plain HTTP."),
    Type("az ml online-endpoint get-credentials -n digits", 0, &["primary", "secondary"]),
    Type(
        "KEY=$(az ml online-endpoint get-credentials -n digits --query primaryKey -o tsv)\n\
         URI=$(az ml online-endpoint show -n digits --query scoring_uri -o tsv)\n\
         curl -sS -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -d @sample.json $URI",
        0,
        &["\"predictions\""],
    ),
    Type(
        "URI=$(az ml online-endpoint show -n digits --query scoring_uri -o tsv)\n\
         curl -sS -o /dev/null -w '%{http_code}\\n' -H 'Authorization: Bearer wrong' -d @sample.json $URI",
        0,
        &["401"],
    ),
    About("A second version: its own deployment, called by name, then copies of a tenth, then a tenth of the traffic."),
    Type("az ml online-deployment create -f green-deployment.yml", 0, &["digits/green"]),
    Then("deployments/get?endpoint=digits&name=green", "/ready", "2"),
    Then("endpoints/get?name=digits", "/traffic", "{\"blue\": 100}"),
    Type(
        "az ml online-endpoint invoke -n digits --deployment-name green --request-file sample.json",
        0,
        &["green · replica"],
    ),
    Type("az ml online-endpoint update -n digits --mirror-traffic \"green=10\"", 0, &["green=10"]),
    Then("endpoints/get?name=digits", "/mirror_traffic", "{\"green\": 10}"),
    Type("az ml online-endpoint update -n digits --mirror-traffic \"green=0\"", 0, &[]),
    Then("endpoints/get?name=digits", "/mirror_traffic", "{}"),
    Type("az ml online-endpoint update -n digits --traffic \"blue=90 green=10\"", 0, &["blue=90 green=10"]),
    Then("endpoints/get?name=digits", "/traffic", "{\"blue\": 90, \"green\": 10}"),
    Type("az ml online-endpoint show -n digits --query traffic", 0, &["\"green\": 10"]),
    About("Looking."),
    Type("az ml online-endpoint list -o table", 0, &["digits"]),
    Type("az ml online-deployment list -e digits -o table", 0, &["90 %", "10 %"]),
    Type("az ml online-endpoint list --query \"[].{Name:name, State:provisioning_state}\" -o table", 0, &["NAME"]),
    Type("az ml online-deployment list -e digits --query \"[].name\" -o tsv", 0, &["blue\ngreen\n"]),
    Type("az ml online-deployment show --name green --endpoint-name digits", 0, &["2 of 2"]),
    Type("az ml online-deployment get-logs -n blue -e digits --lines 50 | grep -om1 'POST /score.*200'", 0, &["200"]),
    Type(
        "az ml online-deployment get-logs -n blue -e digits --container storage-initializer --lines 50 | grep -om1 'fetched model'",
        0,
        &["fetched"],
    ),
    About("More instances; a key that leaked."),
    Type("az ml online-deployment update -n green -e digits --set instance_count=3", 0, &["3 of 3"]),
    Then("deployments/get?endpoint=digits&name=green", "/ready", "3"),
    Type("az ml online-endpoint regenerate-keys -n digits --key-type primary", 0, &["primary"]),
    Type("az ml online-endpoint update -n digits --set tags.team=risk", 0, &[]),
    Then("endpoints/get?name=digits", "/spec/tags", "{\"team\": \"risk\"}"),
    About("The old version goes, once it has no traffic."),
    Type("az ml online-deployment delete -n blue -e digits --yes", 1, &["E_CARRIES_TRAFFIC"]),
    Type("az ml online-endpoint update -n digits --traffic \"blue=0 green=100\"", 0, &["green=100"]),
    Type("az ml online-deployment delete -n blue -e digits --yes", 0, &["deleted"]),
    Then("deployments/list?endpoint=digits", "#", "1"),
    Type("az ml online-endpoint invoke -n digits -r sample.json", 0, &["green · replica"]),
    About("What Berth has no place for says where it went."),
    Type("az ml batch-endpoint invoke --name monthly --input ./data", 2, &["berth invoke ENDPOINT -f FILE"]),
    Type("az ml job create -f job.yml", 2, &["berth apply -f FILE"]),
    Type("az ml model create -n digits -p ./model", 2, &["uploaded with it"]),
    Type("az ml compute list", 2, &["berth get nodes"]),
    Type("az ml online-endpoint show -n digts", 1, &["E_ENDPOINT_NOT_FOUND"]),
    About("The end of the day."),
    Type("az ml online-endpoint delete -n digits --yes", 0, &["deleted"]),
    Then("endpoints/get?name=digits", "", "null"),
    Then("endpoints/list", "#", "0"),
    Then("replicas/list", "#", "0"),
];

const KUBECTL: &[Step] = &[
    About("What is there?"),
    Type("kubectl get nodes", 0, &["node-3"]),
    Type("kubectl get pods -A", 0, &["there are no namespaces"]),
    Type("kubectl api-resources", 2, &["berth get"]),
    Type("kubectl explain deployment.spec.replicas", 2, &["berth init"]),
    About("Files: what Kubernetes has is no file here, and what is."),
    Type("kubectl apply -f manifest.yml", 2, &["an object of Kubernetes"]),
    Type("cat web.yml", 0, &[]),
    Type("kubectl apply -f web.yml --dry-run=server | grep '^[+~]'", 0, &["+ endpoint web"]),
    Then("endpoints/list", "#", "0"),
    Type("kubectl diff -f web.yml >/dev/null", 1, &[]),
    Type("kubectl apply -f web.yml", 0, &["serves with 2 of 2"]),
    Then("deployments/get?endpoint=web&name=blue", "/ready", "2"),
    Type("kubectl diff -f web.yml", 0, &["nothing would change"]),
    About("Looking."),
    Type("kubectl get all", 0, &["web/blue"]),
    Type("kubectl get deploy,svc", 0, &["blue=100"]),
    Type("kubectl get pods -o wide", 0, &["serving", "PID"]),
    Type("kubectl describe deploy/web", 0, &["2 of 2", "any single node's loss fits"]),
    Type("kubectl describe node $(kubectl get pods --query '[0].node' -o tsv)", 0, &["node      = node-", "web/blue"]),
    Type(
        "NODE=$(kubectl get pods --query '[0].node' -o tsv)\nkubectl get pods --field-selector spec.nodeName=$NODE",
        0,
        &["serving"],
    ),
    Type("kubectl get pods -o jsonpath='{.items[*].metadata.name}'", 2, &["--query"]),
    Type("kubectl get pods --query '[].state' -o tsv", 0, &["serving\nserving\n"]),
    Type("kubectl top nodes", 0, &["node-1"]),
    Type("kubectl top pods", 0, &["web/blue"]),
    About("Logs."),
    Type("kubectl logs deploy/web --tail=1", 0, &["first words"]),
    Watch("kubectl logs -f deploy/web --tail=5", "first words"),
    Watch("kubectl get deploy -w", "web/blue"),
    Type("kubectl logs $(kubectl get pods -o name | head -1)", 0, &["first words"]),
    About("A change, and back."),
    Type("kubectl rollout status deploy/web", 0, &["generation 1"]),
    Type("kubectl wait --for=condition=available deploy/web --timeout=60s", 0, &["web"]),
    Type("kubectl explain deploy/web", 0, &["web/blue"]),
    Type("kubectl set env deploy/web LEVEL=debug", 2, &["--set environment_variables.NAME=VALUE"]),
    Type(
        "EDITOR=\"sed -i 's/^environment_variables: .*/environment_variables: {LEVEL: debug}/'\" kubectl edit deploy/web",
        0,
        &["2 of 2"],
    ),
    Then("deployments/get?endpoint=web&name=blue", "/spec/environment_variables", "{\"LEVEL\": \"debug\"}"),
    Then("deployments/get?endpoint=web&name=blue", "/generation", "2"),
    Type("EDITOR=true kubectl edit deploy web", 0, &["nothing was changed"]),
    Type(
        "EDITOR=\"sed -i 's/^priority: .*/priority: high/'\" kubectl edit deploy/web 2>&1 | sed 's/berth-.*yaml/berth-X.yaml/'",
        0,
        &["what was typed is in"],
    ),
    Type("kubectl rollout status deploy/web", 0, &["generation 2"]),
    Type("kubectl rollout history deploy/web", 0, &["environment_variables"]),
    Type("kubectl rollout undo deploy/web", 0, &["generation 3"]),
    Then("deployments/get?endpoint=web&name=blue", "/spec/environment_variables", "{}"),
    Type("kubectl rollout pause deploy/web", 0, &["paused"]),
    Then("deployments/get?endpoint=web&name=blue", "/paused", "true"),
    Type("kubectl rollout resume deploy/web", 0, &["goes on"]),
    Then("deployments/get?endpoint=web&name=blue", "/paused", "false"),
    Type("kubectl rollout restart deploy/web", 0, &["generation 4"]),
    Type("kubectl scale deploy/web --replicas=3", 0, &["3 of 3"]),
    Then("deployments/get?endpoint=web&name=blue", "/ready", "3"),
    About("Into it."),
    Type("kubectl port-forward svc/web 8080:80", 2, &["berth endpoint show"]),
    Type("curl -sS $(kubectl get svc web -o json --query '[0].scoring_uri' | tr -d '\"'); echo", 0, &["ok"]),
    Type("kubectl exec -it deploy/web -- sh", 2, &["berth describe REPLICA"]),
    Type(
        "kubectl describe pod $(kubectl get pods -o name | head -1) | grep -E '^(replica|deployment|node)'",
        0,
        &["web/blue"],
    ),
    About("A node is emptied for its kernel, and used again."),
    Type("kubectl cordon node-3", 0, &["takes no new replicas"]),
    Then("nodes/list", "/nodes/2/cordoned", "true"),
    Type("kubectl drain node-3 --ignore-daemonsets --delete-emptydir-data", 0, &["node-3 is empty"]),
    Then("nodes/list", "/nodes/2/replicas", "0"),
    Then("deployments/get?endpoint=web&name=blue", "/ready", "3"),
    Type("kubectl get nodes", 0, &["ready,drained"]),
    Type("kubectl uncordon node-3", 0, &["takes replicas again"]),
    Then("nodes/list", "/nodes/2/cordoned", "false"),
    About("A pod that misbehaves is deleted, and another comes."),
    Type(
        "OLD=$(kubectl get pods -o name | head -1)\n\
         kubectl delete pod $OLD --yes\n\
         while kubectl get pods -o name | grep -q $OLD; do sleep 0.2; done",
        0,
        &["goes"],
    ),
    Then("deployments/get?endpoint=web&name=blue", "/ready", "3"),
    About("What happened?"),
    Type(
        "kubectl get events --sort-by=.lastTimestamp | grep -oE '(rollout|endpoint|deployment)[.].*'",
        0,
        &["rollout.paused"],
    ),
    About("What Berth has no place for says where it went."),
    Type("kubectl create deployment nginx --image=nginx", 2, &["berth deploy NAME"]),
    Type("kubectl get secrets", 2, &["environment_variables"]),
    Type("kubectl get --raw /healthz", 2, &["berth doctor"]),
    Type("kubectl config use-context prod", 2, &["berth context use NAME"]),
    Type("kubectl autoscale deploy web --min=2 --max=5", 2, &["berth scale"]),
    About("The end of the day."),
    Type("kubectl delete -f web.yml", 2, &["add --yes"]),
    Then("endpoints/list", "#", "1"),
    Type("kubectl delete -f web.yml --yes", 0, &["deleted"]),
    Then("endpoints/list", "#", "0"),
    Then("replicas/list", "#", "0"),
    Type("kubectl get deploy", 0, &["no deployments"]),
];

fn head(who: &str) -> String {
    format!(
        "A usual day of somebody who knows {who}, typed at a live cluster (`berth dev --nodes 3`) in the words of that tool.\n\
         The shell has `az() {{ [ \"$1\" != ml ] || shift; berth \"$@\"; }}` and `kubectl() {{ berth \"$@\"; }}`, and nothing else.\n\
         Behind an arrow stands what the API says afterwards, asked over HTTP. Ids, addresses, keys, times and amounts in use are\n\
         hidden, and so is how far something is (…); cli/tests/it/days.rs types all of it and compares every line.\n"
    )
}

#[test]
fn of_somebody_who_knows_azure_ml() {
    let Ok(wheels) = std::env::var("BERTH_TEST_WHEELS") else {
        not_required("wheels");
        let _ = writeln!(std::io::stderr(), "SKIPPED: BERTH_TEST_WHEELS names no wheel folder; `.ci/run` fills one");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits");
    assert!(Command::new("cp").arg("-r").arg(digits).arg(&work).status().expect("cp runs").success());
    let pip = format!("--no-index,--find-links,{wheels}");
    let dev = Dev::start_with(&folder.path().join("data"), &["--nodes", "3"], &[("BERTH_PIP_ARGS", &pip)]);
    let mut shell = Shell { dev: &dev, folder: &work, transcript: String::new() };
    shell.day(AZURE);
    shell.compare("azure-day.txt", &head("Azure ML"));
    assert_eq!(dev.stop(), 0);
}

#[test]
fn of_somebody_who_knows_kubectl() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    fs::create_dir(&work).expect("a folder");
    let write = |name: &str, text: &str| fs::write(work.join(name), text).expect("a file");
    write("web.yml", &crate::verbs::FILE.replace("talk", "web").replace("instance_count: 1", "instance_count: 2"));
    write(
        "manifest.yml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2, template: {}}\n",
    );
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "3"]);
    let mut shell = Shell { dev: &dev, folder: &work, transcript: String::new() };
    shell.day(KUBECTL);
    shell.compare("kubectl-day.txt", &head("kubectl"));
    assert_eq!(dev.stop(), 0);
}
