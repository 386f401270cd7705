//! The reserve at work: a loss goes as it was foretold, what takes a slot finds its model there, and nothing is lost on
//! the way.

use std::{collections::BTreeMap, path::Path, time::Duration};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, WITHIN, assert_all_answered};
use berth_cli::fleet::Fleet;
use berth_client::api::{LogsRequest, PlanReport, PlanRequest, Replica, Slot};
use berth_core::model::GpuAsk;

use crate::BERTH;

/// Requests a second: enough that something is always in flight, few enough for two shared cores.
const RATE: u64 = 100;

fn number_of(name: &str) -> usize {
    (0..8).find(|n| Fleet::node_name(*n) == name).expect("one of ours")
}

/// Where the steps of a kind put something, in order of name: `place`, `hold`.
fn foretold(report: &PlanReport, kind: &str) -> Vec<String> {
    let steps = report.steps.iter().filter(|step| step.kind == kind);
    let mut nodes: Vec<_> = steps.map(|step| step.node.clone()).collect();
    nodes.sort();
    nodes
}

fn nodes_of(replicas: &[Replica]) -> BTreeMap<String, String> {
    replicas.iter().map(|replica| (replica.replica.clone(), replica.node.clone())).collect()
}

/// Waits until everything is where it belongs, and nothing of it on `gone`.
async fn at_rest(cluster: &Cluster, instances: usize, slots: usize, gone: &str) -> (Vec<Replica>, Vec<Slot>) {
    let client = &cluster.client;
    let (mut found, mut held) = (Vec::new(), Vec::new());
    cluster
        .until(&format!("{instances} serve and {slots} slots are held and cached"), async || {
            found = client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
            held = client.list_slots(ENDPOINT, "blue").await.unwrap_or_default();
            let serving = found.iter().filter(|replica| replica.state == "serving").count();
            let leaving = found.iter().filter(|replica| replica.state != "serving" && replica.state != "lost").count();
            let cached = held.iter().filter(|slot| slot.state == "cached").count();
            let is_off = held.iter().all(|slot| slot.node != gone)
                && found.iter().all(|replica| replica.node != gone || replica.state == "lost");
            serving == instances && leaving == 0 && held.len() == slots && cached == slots && is_off
        })
        .await;
    (found, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_lost_and_a_generation_rolls_just_as_it_was_foretold() {
    let mut cluster = Cluster::start_with_gpus(BERTH, 4, "2x16GiB:H100").await;
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 6;
    spec.gpu = GpuAsk::Memory { mib: 6 << 10, model: Some("H100".to_owned()) };
    spec.request_settings.max_concurrent_requests_per_instance = 64;
    cluster.put(ENDPOINT, "blue", &spec).await;
    let (before, slots) = at_rest(&cluster, 6, 2, "").await;
    cluster.split(&[("blue", 100)]).await;
    let victim = before[0].node.clone();
    let question = PlanRequest { lose: vec![victim.clone()], ..Default::default() };
    let report = cluster.client.plan(question).await.expect("an answer");
    assert!(report.keeps_minimum, "{report:#?}");
    let spent = report.steps.iter().filter(|step| step.kind == "place" && !step.reserve_spent.is_empty()).count();
    assert!(spent > 0, "it would come from the reserve: {report:#?}");

    // The ingress of the victim goes with it; its callers' balancer sends them to the others.
    let number = number_of(&victim);
    let others = (0..4).filter(|n| *n != number).map(|n| cluster.fleet.ingress(n)).collect();
    let total = 1_500;
    let load = cluster.load(others, RATE, total);
    let pids = cluster.pids_on(&victim).await;
    cluster.fleet.kill_node(number, &pids).expect("the node is killed");
    let (after, slots_after) = at_rest(&cluster, 6, 2, &victim).await;
    let (known, known_slots) = (nodes_of(&before), slots.iter().map(|slot| &slot.slot).collect::<Vec<_>>());
    let serving: Vec<_> = after.iter().filter(|replica| replica.state == "serving").collect();
    let mut placed: Vec<_> =
        serving.iter().filter(|replica| !known.contains_key(&replica.replica)).map(|r| r.node.clone()).collect();
    placed.sort();
    assert_eq!(placed, foretold(&report, "place"), "replacements are where the plan said: {report:#?}");
    let mut held: Vec<_> =
        slots_after.iter().filter(|slot| !known_slots.contains(&&slot.slot)).map(|slot| slot.node.clone()).collect();
    held.sort();
    let told = cluster.client.events().await.expect("the events");
    let told: Vec<_> = told.iter().map(|event| format!("{} {}", event.index, event.text)).collect();
    assert_eq!(held, foretold(&report, "hold"), "and so is the reserve: {report:#?} {told:#?}");
    let from_reserve = serving.iter().filter(|replica| replica.reserve_spent.starts_with("recovery of ")).count();
    assert_eq!(from_reserve, spent);
    let stayed = serving.iter().filter(|replica| known.get(&replica.replica) == Some(&replica.node)).count();
    assert_eq!(stayed + placed.len(), 6, "nobody else moved");

    // In place, under the same load: every replica is another one afterwards.
    spec.environment_variables.insert("LEVEL".to_owned(), "2".to_owned());
    cluster.put(ENDPOINT, "blue", &spec).await;
    let client = &cluster.client;
    cluster
        .until("all run the new generation", async || {
            let now = client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
            now.iter().filter(|replica| replica.state == "serving" && replica.generation == 2).count() == 6
        })
        .await;
    assert_all_answered(&load.end().await, total);
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_slot_fetches_nothing() {
    let mut cluster = Cluster::start(BERTH, 1, 3).await;
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let digits = digits.join("examples/digits");
    berth_cli::verbs::create_endpoint(&cluster.client, &digits.join("endpoint.yml")).await.expect("the endpoint");
    let (green, within) = (digits.join("green-deployment.yml"), Duration::from_secs(60));
    berth_cli::verbs::create_deployment(&cluster.client, &green, &[], within).await.expect("green serves");
    let client = cluster.client.clone();
    let mut slot = Slot::default();
    cluster
        .until("a slot is held where no replica is, and the model lies there", async || {
            let slots = client.list_slots("digits", "green").await.unwrap_or_default();
            slot = slots.into_iter().find(|slot| slot.state == "cached").unwrap_or_default();
            !slot.node.is_empty()
        })
        .await;
    let before = client.list_replicas("digits", "green").await.expect("the replicas");
    assert!(before.iter().all(|replica| replica.node != slot.node), "a slot lies off what it covers: {before:?}");
    // The store of models is gone: what was not fetched by now never will be.
    let assets = cluster.fleet.dir().join("coordinator-1/artifacts/blobs");
    assert!(assets.is_dir(), "{} holds what was uploaded", assets.display());
    std::fs::remove_dir_all(&assets).expect("it is removed");
    let victim = before[0].node.clone();
    let pids: Vec<_> = before.iter().filter(|replica| replica.node == victim).map(|replica| replica.pid).collect();
    cluster.fleet.kill_node(number_of(&victim), &pids).expect("the node is killed");
    let mut heir = Replica::default();
    cluster
        .until("its replacement serves from the slot", async || {
            let now = client.list_replicas("digits", "green").await.unwrap_or_default();
            heir = now.into_iter().find(|r| r.node == slot.node && r.state == "serving").unwrap_or_default();
            !heir.replica.is_empty()
        })
        .await;
    assert!(heir.reserve_spent.ends_with(&format!("slot {}", &slot.slot[..8])), "{heir:?}");
    let of = |word: &str| word.to_owned();
    let request = LogsRequest {
        endpoint: of("digits"),
        deployment: of("green"),
        replica: heir.replica.clone(),
        ..Default::default()
    };
    let log = prepare_log(&cluster, request).await;
    assert!(log.contains("model.onnx is in the cache") && !log.contains("fetching"), "{log}");
}

/// Reads what preparing a replica wrote.
async fn prepare_log(cluster: &Cluster, request: LogsRequest) -> String {
    let read = async {
        let mut lines = cluster.client.logs(LogsRequest { prepare: true, ..request }).await.expect("the log is read");
        let mut text = String::new();
        while let Some(piece) = lines.next().await.expect("the log is read") {
            text.push_str(&String::from_utf8_lossy(&piece.data));
        }
        text
    };
    tokio::time::timeout(WITHIN, read).await.expect("the log ends")
}
