//! An agent and its GPUs: whatever the driver does, the leader hears from the node.

use berth_core::{agent::Desired, state::Observed};
use berth_node::gpu::fake::{FakeGpus, FakeHost};
use tokio::time::Instant;

use super::{
    bench::{command, options, start},
    coordinator::{Coordinator, PATIENCE},
};

/// A driver that hangs in every call holds up no heartbeat, and each tells how long the card has been silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_hangs_holds_up_no_heartbeat() {
    let dir = tempfile::tempdir().unwrap();
    let script = "1x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let fake = FakeHost::install(dir.path(), &script).unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.nvml_library = Some(fake.library());
    let node = start(options).await;
    node.handle.wait_session(Instant::now() + PATIENCE).await.unwrap();
    let sign = |beats: &[berth_proto::node::v1::Heartbeat]| beats.last().unwrap().devices[0].clone();
    assert_eq!(sign(&leader.heartbeats(1).await).card, "GPU-t-0");
    fake.rewrite(&script.replace("[driver]", "[driver]\nhang = true")).unwrap();
    // A look takes a second at most: what is silent for three hangs, and the beats that say so came all the while.
    let mut count = 1;
    let silent = tokio::time::timeout(PATIENCE, async {
        loop {
            let beats = leader.heartbeats(count).await;
            if sign(&beats).silent_ms >= 3_000 {
                return beats;
            }
            count = beats.len() + 1;
        }
    });
    let beats = silent.await.expect("the card's silence is told");
    let ages: Vec<u64> = beats.iter().map(|beat| beat.devices[0].silent_ms).collect();
    let told = ages.iter().rev().take_while(|age| **age >= 1_500).count();
    assert!(told >= 2, "one beat after the other tells how its silence grows: {ages:?}");
    assert!(beats.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "none is left out");
    assert_eq!((sign(&beats).faults, beats.last().unwrap().epoch), (0, 1), "silence is no fault, and the session held");
    fake.rewrite(&script).unwrap();
    tokio::time::timeout(PATIENCE, async {
        let mut count = beats.len() + 1;
        loop {
            let beats = leader.heartbeats(count).await;
            if sign(&beats).silent_ms < 1_500 {
                return;
            }
            count = beats.len() + 1;
        }
    })
    .await
    .expect("a driver that answers again is heard again");
    node.stop().await;
}

/// A driver that is loaded after the agent: the node says anew what it has, under the epoch it holds. And one that hangs
/// when the next agent starts: the node says what the host had.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_anew_what_it_has_when_its_driver_answers() {
    let dir = tempfile::tempdir().unwrap();
    let script = "2x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let fake = FakeHost::install(dir.path(), &script.replace("[driver]", "[driver]\nfails = 9")).unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.nvml_library = Some(fake.library());
    let node = start(options.clone()).await;
    let uuids = |hello: &berth_proto::node::v1::Hello| {
        let devices = &hello.profile.as_ref().unwrap().devices;
        devices.iter().map(|device| device.uuid.clone()).collect::<Vec<_>>()
    };
    let first = leader.hello(1).await;
    assert_eq!((uuids(&first), first.epoch), (vec![], 0));
    fake.rewrite(&script).unwrap();
    let second = leader.hello(2).await;
    assert_eq!((uuids(&second), second.epoch), (vec!["GPU-t-0".to_owned(), "GPU-t-1".to_owned()], 1));
    let capacity = second.profile.as_ref().unwrap().capacity.unwrap();
    assert_eq!(capacity.gpus, 2);
    node.stop().await;

    fake.rewrite(&script.replace("[driver]", "[driver]\nhang = true")).unwrap();
    let node = start(options).await;
    let third = leader.hello(3).await;
    assert_eq!((uuids(&third), third.epoch), (uuids(&second), 0));
    fake.rewrite(&script).unwrap();
    node.stop().await;
}

/// A fault of a card waits for no heartbeat: with one every ten seconds, the next one comes at once and tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_before_the_next_heartbeat_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let script = "1x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    let fake = FakeHost::install(dir.path(), &script).unwrap();
    let leader = Coordinator::start().await;
    leader.pace(10_000);
    let mut options = options(dir.path(), &[&leader]);
    options.nvml_library = Some(fake.library());
    let node = start(options).await;
    let first = leader.heartbeats(1).await.len();
    let due = Instant::now() + std::time::Duration::from_secs(9);
    fake.rewrite(&script.replace("ecc_uncorrected = 0", "ecc_uncorrected = 2")).unwrap();
    let told = tokio::time::timeout_at(due, async {
        let mut count = first + 1;
        loop {
            let beats = leader.heartbeats(count).await;
            if beats.last().unwrap().devices.iter().any(|device| device.faults == 1) {
                return;
            }
            count = beats.len() + 1;
        }
    });
    told.await.expect("the fault is told before the pace would");
    node.stop().await;
}

/// NVML names processes as the host does; a card with one that this agent cannot find says that its share is not enforced.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_another_view_is_told_as_a_note_of_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let script = "2x80GiB:H100".parse::<FakeGpus>().unwrap().script("t");
    // One more than the largest id a kernel gives. The test's own is found.
    let foreign = (1_u32 << 22) + 1;
    let (second, end) = (script.rfind("[device").unwrap(), script.find("[events]").unwrap());
    let (first, second, end) = (&script[..second], &script[second..end], &script[end..]);
    let own = std::process::id();
    let script = format!("{first}process = {foreign} 512\n{second}process = {own} 512\n{end}");
    let fake = FakeHost::install(dir.path(), &script).unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.nvml_library = Some(fake.library());
    let node = start(options).await;
    let told = tokio::time::timeout(PATIENCE, async {
        let mut count = 1;
        loop {
            let beats = leader.heartbeats(count).await;
            let devices = &beats.last().unwrap().devices;
            if let Some(noted) = devices.iter().find(|device| device.notes > 0) {
                return (noted.clone(), devices.clone());
            }
            count = beats.len() + 1;
        }
    });
    let (noted, devices) = told.await.expect("a note");
    assert!(noted.last_note.starts_with(&format!("process {foreign} holds its memory")), "{noted:?}");
    assert_eq!(devices.iter().map(|device| device.notes).sum::<u64>(), 1, "the other card's process is found");
    node.stop().await;
}

/// A drain waits for the last request of a replica that gets no more; its end is told before the next heartbeat is due.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_request_of_what_empties_is_told_at_once() {
    const HELD: &str = r#"
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while "held" in self.path and not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;
    let dir = tempfile::tempdir().unwrap();
    let release = dir.path().join("release");
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let spec = command(&["python3", "-c", HELD, "$PORT", release.to_str().unwrap()]);
    leader.order(1, &spec, Desired::Run).await;
    leader.report(1, Observed::Warm).await;
    let request = http::Request::get("/held")
        .header("host", "fraud")
        .header("x-berth-gate-token", "gate")
        .header("x-berth-gate-replica", "0000000000000001")
        .header("x-berth-gate-deadline-ms", "60000");
    let request = request.body(http_body_util::Full::new(bytes::Bytes::new())).unwrap();
    let call = tokio::spawn(crate::mesh_support::open(node.handle.gate_addr(), request));
    let until = async |has: bool, deadline: Instant| {
        tokio::time::timeout_at(deadline, async {
            let mut count = 1;
            loop {
                let beats = leader.heartbeats(count).await;
                if beats.last().unwrap().loads.iter().any(|load| load.replica == 1) == has {
                    return beats.len();
                }
                count = beats.len() + 1;
            }
        })
        .await
    };
    let patience = || Instant::now() + PATIENCE;
    let held = until(true, patience()).await.expect("the request is under way");
    // The next session begins with a heartbeat, and its second one is due in ten seconds.
    leader.pace(10_000);
    leader.hang_up();
    leader.hello(2).await;
    leader.heartbeats(held + 1).await;
    let due = Instant::now() + std::time::Duration::from_secs(9);
    std::fs::write(&release, "").unwrap();
    until(false, due).await.expect("the end is told before the pace would");
    assert_eq!(call.await.unwrap().status(), 200);
    node.stop().await;
}
