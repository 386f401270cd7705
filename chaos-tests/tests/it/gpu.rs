//! GPUs through the real NVML wrapper, on a library that pretends: placed by UUID, shared, broken, hung, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
    time::Duration,
};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, assert_all_answered};
use berth_cli::fleet::{FakeHost, Fleet};
use berth_client::{
    InferClient,
    api::{Gpu, Node, Replica},
};
use berth_core::model::{DeploymentSpec, GpuAsk};

use crate::BERTH;

/// What a replica asks for: two fit on a card of 16 GiB, and no third.
const SHARE_MIB: u64 = 6 << 10;
/// A card that had its first fault comes back after a minute of passing its self-test.
const PROBATION: Duration = Duration::from_secs(180);

fn shares(cluster: &Cluster, instances: u32) -> DeploymentSpec {
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = instances;
    spec.gpu = GpuAsk::Memory { mib: SHARE_MIB, model: None };
    spec.request_settings.max_concurrent_requests_per_instance = 64;
    spec
}

async fn deploy(cluster: &Cluster, spec: &DeploymentSpec) {
    cluster.endpoint().await;
    cluster.put(ENDPOINT, "blue", spec).await;
    cluster.serving("blue", spec.instance_count as usize).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
}

async fn replicas(cluster: &Cluster) -> Vec<Replica> {
    cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed")
}

async fn node(cluster: &Cluster, name: &str) -> Node {
    let nodes = cluster.client.list_nodes().await.unwrap_or_default();
    nodes.into_iter().find(|node| node.node == name).unwrap_or_default()
}

async fn card(cluster: &Cluster, on: &str) -> Gpu {
    node(cluster, on).await.gpus.into_iter().next().unwrap_or_default()
}

/// Adds lines to what a node's library pretends; events come last in a script, so these are events.
fn xid(host: &FakeHost, xid: u64, card: &str) {
    let script = std::fs::read_to_string(host.script()).expect("a script");
    host.rewrite(&format!("{script}xid = {xid} {card}\n")).expect("the script is written");
}

fn change(host: &FakeHost, change: impl FnOnce(String) -> String) {
    let script = std::fs::read_to_string(host.script()).expect("a script");
    host.rewrite(&change(script)).expect("the script is written");
}

fn number_of(name: &str) -> usize {
    (0..8).find(|n| Fleet::node_name(*n) == name).expect("one of ours")
}

/// Asks every replica which devices it sees, by the process that answers.
async fn seen_devices(ingress: SocketAddr, replicas: usize) -> BTreeMap<u32, String> {
    let client = InferClient::new([ingress.to_string()], ENDPOINT).expect("a client");
    let mut seen = BTreeMap::new();
    // Each draws two of them and takes the better; none stays unasked for long.
    for n in 0..2_000 {
        let answer = client.score(format!("request {n}")).await.expect("an answer");
        let word = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        seen.insert(word("x-model-pid").parse().expect("a pid"), word("x-model-devices"));
        if seen.len() == replicas {
            break;
        }
    }
    seen
}

fn berth(cluster: &Cluster, args: &[&str]) -> String {
    let api = cluster.fleet.api_addresses().join(",");
    let output = Command::new(BERTH).args(args).args(["--api", &api, "--no-color"]).output().expect("berth runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_given_by_uuid_and_what_does_not_fit_is_explained() {
    let cluster = Cluster::start_with_gpus(BERTH, 2, "1x16GiB:A10").await;
    deploy(&cluster, &shares(&cluster, 4)).await;
    let given: BTreeMap<u32, String> =
        replicas(&cluster).await.iter().map(|replica| (replica.pid, replica.devices[0].uuid.clone())).collect();
    assert_eq!(seen_devices(cluster.fleet.ingress(0), 4).await, given, "each process sees its own card alone");
    let on = |uuid: &str| given.values().filter(|given| *given == uuid).count();
    assert_eq!((on("GPU-node-1-0"), on("GPU-node-2-0")), (2, 2), "a card is never given more than it has");

    let deployment = cluster.client.get_deployment(ENDPOINT, "blue").await.expect("it is there");
    let reserve = deployment.reserve.expect("it holds a reserve");
    assert!(reserve.short_since_ms > 0, "its reserve has no card: {reserve:?}");
    assert!(reserve.arithmetic.contains("4 replicas + 1 reserve × 6 GiB of GPU memory"), "{}", reserve.arithmetic);

    for (name, gpu, word) in [
        ("more", GpuAsk::Memory { mib: SHARE_MIB, model: None }, "gpu_mem"),
        ("other", GpuAsk::Memory { mib: 1 << 10, model: Some("H100".to_owned()) }, "gpu_model"),
        ("whole", GpuAsk::Whole { count: 2, model: None, memory_mib_min: 0 }, "gpu"),
    ] {
        let mut spec = shares(&cluster, 1);
        spec.resources.gpus = if name == "whole" { 2 } else { 0 };
        spec.gpu = gpu;
        cluster.put(ENDPOINT, name, &spec).await;
        let client = &cluster.client;
        cluster
            .until(&format!("{name} is refused for {word}"), async || {
                let verdict = client.explain_deployment(ENDPOINT, name).await.unwrap_or_default();
                verdict.placed == 0 && verdict.refused_by.get(word) == Some(&2) && verdict.text.contains(word)
            })
            .await;
    }
    let explained = berth(&cluster, &["explain", &format!("{ENDPOINT}/more")]);
    for part in ["needs 6 GiB", "free 4 GiB", "echo-ep/blue 12 GiB"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    // Nobody shall take these cards for real ones.
    let screen = |name| ["tui", "--once", name, "--size", "140x20"];
    for words in [&["node", "ls"][..], &["node", "status", "node-1"], &screen("nodes"), &screen("gpus")] {
        let shown = berth(&cluster, words);
        assert!(shown.contains("simulated"), "{words:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slice_is_given_by_its_own_uuid() {
    let cluster = Cluster::start_with_gpus(BERTH, 1, "1x80GiB:H100/2x1g.10gb").await;
    let mut spec = shares(&cluster, 2);
    spec.gpu = GpuAsk::Mig { profile: "1g.10gb".to_owned(), count: 1 };
    // There is no third slice, and what is short would be another story.
    spec.reserve = false;
    deploy(&cluster, &spec).await;
    let seen: Vec<String> = seen_devices(cluster.fleet.ingress(0), 2).await.into_values().collect();
    let slices: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(slices, BTreeSet::from(["MIG-node-1-0-0", "MIG-node-1-0-1"]), "each process sees a slice of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_more_than_its_share_is_restarted_and_its_neighbour_is_not() {
    let cluster = Cluster::start_with_gpus(BERTH, 1, "1x16GiB:A10").await;
    deploy(&cluster, &shares(&cluster, 2)).await;
    let before = replicas(&cluster).await;
    let (offender, neighbour) = (&before[0], &before[1]);
    let host = cluster.fleet.gpus(0).expect("a pretended host");
    let used = format!("process = {} 9318\nprocess = {} 6000\n", offender.pid, neighbour.pid);
    change(host, |script| script.replace("\n[events]", &format!("{used}\n[events]")));
    cluster
        .until("the offender runs as another process, within its share", async || {
            let now = replicas(&cluster).await;
            now.iter().any(|replica| {
                let again = replica.replica == offender.replica && replica.restarts == 1;
                again && replica.pid != offender.pid && replica.state == "serving"
            })
        })
        .await;
    let now = replicas(&cluster).await;
    let spared = now.iter().find(|replica| replica.replica == neighbour.replica).expect("it is still there");
    assert_eq!((spared.pid, spared.restarts, spared.state.as_str()), (neighbour.pid, 0, "serving"));
    let events = cluster.client.events().await.expect("the events");
    let told = events.iter().find(|event| event.text.contains("of its 6 GiB share of GPU memory"));
    assert_eq!(told.map(|event| &event.replica), Some(&offender.replica), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_card_is_emptied_under_load_and_comes_back_by_itself() {
    let cluster = Cluster::start_with_gpus(BERTH, 3, "1x16GiB:A10").await;
    deploy(&cluster, &shares(&cluster, 3)).await;
    let before = replicas(&cluster).await;
    let (doomed, spared) = (&before[0], &before[1]);
    let (sick, well) = (doomed.devices[0].uuid.clone(), spared.devices[0].uuid.clone());
    assert_ne!(sick, well, "they are spread");
    let gpus = |name: &str| cluster.fleet.gpus(number_of(name)).expect("a pretended host");
    let total = 1_500;
    let load = cluster.load(cluster.ingresses().await, 100, total);

    // A program's own mistake is told and nothing else; it comes first, so that the other is surely heard after it.
    xid(gpus(&spared.node), 13, &well);
    cluster
        .until("the program's mistake is told", async || {
            let events = cluster.client.events().await.unwrap_or_default();
            events.iter().any(|event| event.kind == "device.note" && event.node == spared.node)
        })
        .await;
    xid(gpus(&doomed.node), 79, &sick);
    cluster
        .until("the broken card is empty and three serve elsewhere", async || {
            let now = replicas(&cluster).await;
            let serving = now.iter().filter(|replica| replica.state == "serving");
            let on_sick = now.iter().filter(|replica| replica.devices[0].uuid == sick).count();
            on_sick == 0 && serving.count() == 3 && card(&cluster, &doomed.node).await.state == "probation"
        })
        .await;
    let events = cluster.client.events().await.expect("the events");
    let index_of = |kind: &str, of: &str| {
        events
            .iter()
            .find(|event| event.kind == kind && (event.replica == of || event.node == of))
            .map(|event| event.index)
    };
    let fault = index_of("device.probation", &doomed.node).expect("the fault is told");
    let off = index_of("replica.draining", &doomed.replica).expect("its replica left");
    // Nothing is waited for in between: the plan that follows the fault takes the replica off.
    assert!((1..=3).contains(&(off - fault)), "the fault is entry {fault}, its replica left with entry {off}");
    let now = replicas(&cluster).await;
    let still = now.iter().find(|replica| replica.replica == spared.replica).expect("it is still there");
    assert_eq!((still.pid, still.restarts), (spared.pid, 0), "a program's own mistake costs nothing");
    assert_eq!(card(&cluster, &spared.node).await.state, "healthy");
    assert_all_answered(&load.end().await, total);

    cluster
        .until_within(PROBATION, "the card passed its self-tests and takes work again", async || {
            card(&cluster, &doomed.node).await.state == "healthy"
        })
        .await;
    let mut more = shares(&cluster, 6);
    more.reserve = false;
    cluster.put(ENDPOINT, "blue", &more).await;
    cluster
        .until("all three cards are in use", async || {
            let now = replicas(&cluster).await;
            let serving = now.iter().filter(|replica| replica.state == "serving");
            serving.clone().count() == 6 && serving.filter(|replica| replica.devices[0].uuid == sick).count() == 2
        })
        .await;
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_vanishes_takes_its_replicas_and_not_its_node() {
    let cluster = Cluster::start_with_gpus(BERTH, 2, "1x16GiB:A10").await;
    let mut spec = shares(&cluster, 2);
    spec.reserve = false;
    deploy(&cluster, &spec).await;
    let before = replicas(&cluster).await;
    let gone = &before[0];
    let host = cluster.fleet.gpus(number_of(&gone.node)).expect("a pretended host");
    let whole = std::fs::read_to_string(host.script()).expect("a script");
    let driver = whole.split("\n[device").next().expect("the driver's part");
    host.rewrite(&format!("{driver}\n[events]\n")).expect("the script is written");
    cluster
        .until("both serve on the card that is left", async || {
            let now = replicas(&cluster).await;
            now.len() == 2 && now.iter().all(|replica| replica.state == "serving" && replica.node != gone.node)
        })
        .await;
    let left = node(&cluster, &gone.node).await;
    assert_eq!(left.state, "ready", "{}", left.reason);
    assert!(left.gpus.iter().all(|gpu| gpu.state != "healthy"), "{:?}", left.gpus);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_hangs_costs_its_cards_new_work_and_nobody_a_heartbeat() {
    let cluster = Cluster::start_with_gpus(BERTH, 2, "1x16GiB:A10").await;
    let mut spec = shares(&cluster, 2);
    spec.reserve = false;
    deploy(&cluster, &spec).await;
    let before = replicas(&cluster).await;
    let hung = &before[0];
    let host = cluster.fleet.gpus(number_of(&hung.node)).expect("a pretended host");
    change(host, |script| script.replace("cuda = 12040", "cuda = 12040\nhang = true"));
    cluster.until("nobody knows how the card is", async || card(&cluster, &hung.node).await.state == "unknown").await;
    // It was silent for ten seconds: three times as long as a node may be that is not heard.
    assert_eq!(node(&cluster, &hung.node).await.state, "ready");
    let mut more = shares(&cluster, 4);
    more.reserve = false;
    cluster.put(ENDPOINT, "blue", &more).await;
    cluster.serving("blue", 3).await;
    let now = replicas(&cluster).await;
    let on_hung: Vec<_> = now.iter().filter(|replica| replica.node == hung.node).collect();
    assert_eq!(on_hung.len(), 1, "nothing new comes to it: {now:?}");
    assert_eq!((on_hung[0].pid, on_hung[0].state.as_str()), (hung.pid, "serving"), "what runs there goes on");
    change(host, |script| script.replace("hang = true", "hang = false"));
    cluster.serving("blue", 4).await;
    assert_eq!(card(&cluster, &hung.node).await.state, "healthy", "a driver that answers again had no fault");
    let events = cluster.client.events().await.expect("the events");
    let lost: Vec<_> =
        events.iter().filter(|event| event.kind == "node.suspect" || event.kind == "node.lost").collect();
    assert!(lost.is_empty(), "{lost:?}");
}
