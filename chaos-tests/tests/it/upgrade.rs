//! Nodes are emptied, upgraded and taken out on purpose: through the program an operator uses, under load.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, WITHIN, assert_all_answered};
use berth_cli::fleet::Fleet;
use berth_client::{
    InferClient,
    api::{Event, Node},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::BERTH;

/// Requests a second.
const RATE: u64 = 50;

/// What an operator's hook does: it says that it is there and waits until the host is through.
const HOOK: &str = r#"touch "$DIR/$BERTH_NODE.asked"; until [ -e "$DIR/$BERTH_NODE.done" ]; do sleep 0.05; done"#;

/// Where hooks and the test meet.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn asked(&self, node: &str) -> PathBuf {
        self.path().join(format!("{node}.asked"))
    }

    fn done(&self, node: &str) {
        std::fs::write(self.path().join(format!("{node}.done")), "").expect("the hook is answered");
    }
}

fn berth(cluster: &Cluster, desk: &Desk, args: &[&str]) -> Child {
    let mut command = Command::new(BERTH);
    command.args(args).args(["--api", &cluster.fleet.api_addresses().join(",")]).env("DIR", desk.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("berth runs")
}

async fn ended(child: Child) -> Output {
    timeout(WITHIN, child.wait_with_output()).await.expect("it ends in time").expect("it ran")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn node(cluster: &Cluster, name: &str) -> Node {
    let nodes = cluster.client.list_nodes().await.unwrap_or_default();
    nodes.into_iter().find(|node| node.node == name).unwrap_or_default()
}

/// Does what a hook asks for: the host goes down and comes back.
async fn restart(cluster: &mut Cluster, desk: &Desk, number: usize) {
    let name = Fleet::node_name(number);
    let asked = desk.asked(&name);
    cluster.until(&format!("the hook of {name} runs"), async || asked.exists()).await;
    cluster.fleet.stop_node(number, WITHIN).await.expect("its agent ends");
    cluster.fleet.restart_node(number).expect("it starts again");
    desk.done(&name);
}

async fn serve(cluster: &Cluster, instances: u32) {
    cluster.endpoint().await;
    cluster.deploy("blue", instances).await;
    cluster.split(&[("blue", 100)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_over_the_fleet_under_load_loses_no_request_and_empties_one_node_at_a_time() {
    let mut cluster = Cluster::start(BERTH, 1, 4).await;
    let desk = Desk::new();
    serve(&cluster, 3).await;
    // The callers' own way in is not part of the walk: where it goes down they use another one.
    let total = 1_500;
    let load = cluster.load(vec![cluster.fleet.ingress(3)], RATE, total);
    let walked = ["node-1", "node-2", "node-3"];
    let rehearsed = ended(berth(&cluster, &desk, &["node", "upgrade", "--all", "--dry-run"])).await;
    assert!(rehearsed.status.success() && words(&rehearsed).contains("fits"), "{}", words(&rehearsed));
    let args = [&["node", "upgrade"], &walked[..], &["--hook", HOOK]].concat();
    let walk = berth(&cluster, &desk, &args);
    for number in 0..walked.len() {
        restart(&mut cluster, &desk, number).await;
    }
    let output = ended(walk).await;
    assert!(output.status.success() && words(&output).contains("3 nodes upgraded"), "{}", words(&output));
    for name in walked {
        let node = node(&cluster, name).await;
        assert_eq!((node.epoch, node.state.as_str(), node.drain), (2, "ready", None), "{name}");
    }
    let events = cluster.client.events().await.expect("the events");
    let steps = events
        .iter()
        .filter(|event| ["node.draining", "node.drained", "node.drain_cancelled"].contains(&event.kind.as_str()));
    let steps: Vec<_> = steps.map(|event| format!("{} {}", event.kind, event.node)).collect();
    let expected: Vec<_> = walked
        .iter()
        .flat_map(|name| ["node.draining", "node.drained", "node.drain_cancelled"].map(|kind| format!("{kind} {name}")))
        .collect();
    assert_eq!(steps, expected, "one after another");
    let spends = |event: &Event| {
        walked.iter().any(|name| event.text.contains(&format!("from the reserve (agent upgrade of {name})")))
    };
    assert!(events.iter().any(spends), "{events:#?}");
    assert_all_answered(&load.end().await, total);
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

/// Between its first node and its second the fleet gets too full for the next drain: the walk ends before it, says why,
/// and goes on where it stopped when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_ends_before_the_node_the_fleet_got_too_full_for() {
    let mut cluster = Cluster::start(BERTH, 1, 3).await;
    let desk = Desk::new();
    serve(&cluster, 2).await;
    let total = 1_500;
    let load = cluster.load(vec![cluster.fleet.ingress(2)], RATE, total);
    let walk = berth(&cluster, &desk, &["node", "upgrade", "node-1", "node-2", "--hook", HOOK]);
    let asked = desk.asked("node-1");
    cluster.until("the hook of node-1 runs", async || asked.exists()).await;
    // More than half of each of the other two; and what node-1 will have again is kept from use.
    let mut bulky = cluster.command(&["echo-model"]);
    (bulky.instance_count, bulky.resources.cpu_milli, bulky.reserve) = (2, 9_000, false);
    cluster.put(ENDPOINT, "bulky", &bulky).await;
    cluster.serving("bulky", 2).await;
    let cordoned = ended(berth(&cluster, &desk, &["node", "cordon", "node-1"])).await;
    assert!(cordoned.status.success(), "{}", words(&cordoned));
    restart(&mut cluster, &desk, 0).await;
    let refused = ended(walk).await;
    assert!(!refused.status.success(), "{}", words(&refused));
    for part in [
        "node-2 would not get empty",
        "1 replica fits nowhere else",
        "berth plan --drain node-2",
        "run this again to go on",
    ] {
        assert!(words(&refused).contains(part), "`{part}` in: {}", words(&refused));
    }
    let (first, second) = (node(&cluster, "node-1").await, node(&cluster, "node-2").await);
    assert_eq!((first.epoch, first.drain, second.epoch, second.drain), (2, None, 1, None));

    let uncordoned = ended(berth(&cluster, &desk, &["node", "uncordon", "node-1"])).await;
    assert!(uncordoned.status.success(), "{}", words(&uncordoned));
    let walk = berth(&cluster, &desk, &["node", "upgrade", "node-2", "--hook", HOOK]);
    restart(&mut cluster, &desk, 1).await;
    let output = ended(walk).await;
    assert!(output.status.success() && words(&output).contains("1 node upgraded"), "{}", words(&output));
    assert_all_answered(&load.end().await, total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_walk_at_a_time_and_one_that_was_killed_is_taken_over() {
    let mut cluster = Cluster::start(BERTH, 1, 2).await;
    let desk = Desk::new();
    let all = ["node", "upgrade", "--all", "--hook", HOOK];
    let mut first = berth(&cluster, &desk, &all);
    let asked = desk.asked("node-1");
    cluster.until("the first walk is at its first node", async || asked.exists()).await;
    let refused = ended(berth(&cluster, &desk, &all)).await;
    let holder = format!("({})", first.id().expect("it runs"));
    assert_eq!(refused.status.code(), Some(1));
    for part in ["another upgrade walks the fleet", &holder, "holds the lock for", "--steal"] {
        assert!(words(&refused).contains(part), "{part}: {}", words(&refused));
    }

    // Whoever walked is gone without a word: its lock and its drain stay, and the next walk begins with that node.
    first.kill().await.expect("it is killed");
    let again = ended(berth(&cluster, &desk, &all)).await;
    assert_eq!(again.status.code(), Some(1), "{}", words(&again));
    assert!(node(&cluster, "node-1").await.drain.is_some());
    std::fs::remove_file(&asked).expect("the hook asked");
    let second = berth(&cluster, &desk, &[&all[..], &["--steal"]].concat());
    restart(&mut cluster, &desk, 0).await;
    restart(&mut cluster, &desk, 1).await;
    let output = ended(second).await;
    assert!(output.status.success(), "{}", words(&output));
    let events = cluster.client.events().await.expect("the events");
    let stolen = events.iter().find(|event| event.kind == "cluster.upgrade_began" && event.severity == "warning");
    assert!(stolen.is_some_and(|event| event.text.contains(&holder)), "{events:#?}");
    for name in ["node-1", "node-2"] {
        assert_eq!(node(&cluster, name).await.drain, None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_that_fails_or_is_interrupted_stops_says_how_to_go_on_and_blocks_nobody() {
    let mut cluster = Cluster::start(BERTH, 1, 3).await;
    let desk = Desk::new();
    // Somebody else wants this one empty, and is not to find it taken back.
    let drained = ended(berth(&cluster, &desk, &["node", "drain", "node-3", "-m", "bad disk"])).await;
    assert!(drained.status.success(), "{}", words(&drained));

    let failed =
        ended(berth(&cluster, &desk, &["node", "upgrade", "--all", "--hook", "echo no such package; exit 7"])).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stdout.is_empty(), "a hook's words are not this program's answer: {}", words(&failed));
    for part in
        ["no such package", "the hook failed for node-1", "exit status: 7", "run this again", "drain node-1 --cancel"]
    {
        assert!(words(&failed).contains(part), "{part}: {}", words(&failed));
    }
    assert!(words(&failed).contains("node-3 is passed over: it is drained: bad disk"), "{}", words(&failed));
    assert!(node(&cluster, "node-1").await.drain.is_some(), "it waits for the next walk");
    assert_eq!(node(&cluster, "node-2").await.drain, None, "nothing went on");

    let walk = berth(&cluster, &desk, &["node", "upgrade", "--all", "--hook", HOOK]);
    restart(&mut cluster, &desk, 0).await;
    let asked = desk.asked("node-2");
    cluster.until("it is at its second node", async || asked.exists()).await;
    let pid = i32::try_from(walk.id().expect("it runs")).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it is interrupted");
    let interrupted = ended(walk).await;
    assert_eq!(interrupted.status.code(), Some(130), "{}", words(&interrupted));
    assert!(words(&interrupted).contains("stays drained, and the lock is given back"), "{}", words(&interrupted));

    std::fs::remove_file(&asked).expect("the hook asked");
    let last = berth(&cluster, &desk, &["node", "upgrade", "node-2", "--hook", HOOK]);
    restart(&mut cluster, &desk, 1).await;
    let output = ended(last).await;
    assert!(output.status.success() && words(&output).contains("1 node upgraded"), "{}", words(&output));
    assert_eq!(node(&cluster, "node-3").await.drain.map(|drain| drain.reason), Some("bad disk".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_cuts_at_its_deadline_and_is_withdrawn_and_a_cordon_keeps_new_work_away() {
    let cluster = Cluster::start(BERTH, 1, 2).await;
    let (desk, client) = (Desk::new(), &cluster.client);
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 1;
    spec.request_settings.request_timeout_ms = 180_000;
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    let home = async || {
        let replicas = client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        replicas.into_iter().find(|replica| replica.state == "serving").map(|replica| replica.node).unwrap_or_default()
    };
    let at_work = async |node: &str| {
        let replicas = client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        replicas.iter().any(|replica| replica.node == node && replica.in_flight == 1)
    };
    let ask = |body: &'static str| {
        let caller = InferClient::new([cluster.fleet.ingress(0).to_string()], ENDPOINT).expect("a client");
        tokio::spawn(async move { caller.score(body.to_owned()).await })
    };
    let first = home().await;

    // Withdrawn half way: what had moved stays moved, and what was under way ends as it would have.
    let slow = ask("sleep:4000");
    cluster.until("the request is under way", async || at_work(&first).await).await;
    let begun = ended(berth(&cluster, &desk, &["node", "drain", &first, "--no-wait", "-m", "kernel update"])).await;
    assert!(begun.status.success(), "{}", words(&begun));
    let shown = ended(berth(&cluster, &desk, &["node", "status", &first])).await;
    assert!(words(&shown).contains("kernel update"), "{}", words(&shown));
    let cancelled = ended(berth(&cluster, &desk, &["node", "drain", &first, "--cancel"])).await;
    assert!(cancelled.status.success(), "{}", words(&cancelled));
    assert_eq!(node(&cluster, &first).await.drain, None);
    let answer = slow.await.expect("the caller").expect("an answer");
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"sleep:4000"[..]));
    cluster.serving("blue", 1).await;

    // At its deadline it cuts, and names what.
    let now = home().await;
    let endless = ask("sleep:170000");
    cluster.until("the request is under way", async || at_work(&now).await).await;
    let drained = ended(berth(&cluster, &desk, &["node", "drain", &now, "--deadline", "2s"])).await;
    assert!(drained.status.success() && words(&drained).contains("1 request was cut"), "{}", words(&drained));
    let events = client.events().await.expect("the events");
    let cut = events.iter().find(|event| event.kind == "replica.cut");
    assert!(cut.is_some_and(|event| event.node == now), "it names the replica: {events:#?}");
    let answer = timeout(Duration::from_secs(20), endless).await.expect("it ended").expect("the caller");
    assert!(!answer.is_ok_and(|answer| answer.status.is_success()), "it was cut, not answered");
    assert_ne!(home().await, now, "another took over first");

    // Uncordoned, it takes replicas again; cordoned, it keeps what it has and takes no more.
    let other = home().await;
    ended(berth(&cluster, &desk, &["node", "uncordon", &now])).await;
    let cordoned = ended(berth(&cluster, &desk, &["node", "cordon", &now])).await;
    assert!(cordoned.status.success(), "{}", words(&cordoned));
    spec.instance_count = 3;
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 3).await;
    let replicas = client.list_replicas(ENDPOINT, "blue").await.expect("the replicas");
    assert!(replicas.iter().all(|replica| replica.node == other), "{replicas:#?}");
    ended(berth(&cluster, &desk, &["node", "uncordon", &now])).await;
    spec.instance_count = 4;
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 4).await;
    let replicas = client.list_replicas(ENDPOINT, "blue").await.expect("the replicas");
    assert!(replicas.iter().any(|replica| replica.node == now), "{replicas:#?}");
}
