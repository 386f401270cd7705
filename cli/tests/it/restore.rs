//! A cluster that lost its only coordinator for good goes on from a snapshot: with real processes, under the same node.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    berth::{Ran, run_with},
    verbs::FILE,
};

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(args: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(args)
            .args(["--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs");
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// Runs a verb until it does what it should.
fn until(api: &str, args: &[&str], is: impl Fn(&Ran) -> bool) -> Ran {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ran = run_with(args, &[("BERTH_API", api)]);
        if is(&ran) {
            return ran;
        }
        assert!(Instant::now() < deadline, "{args:?}: {ran:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(status.success(), "{} is copied", from.display());
}

#[test]
fn a_cluster_without_coordinators_goes_on_from_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let (api, ingress) = (free().to_string(), free().to_string());
    let coordinator = |data: &str| {
        Daemon::start(&["coordinator", "--data-dir", &text(data), "--api", &api, "--bootstrap-expect", "1"])
    };
    let lost = coordinator("old");
    let ready = |ran: &Ran| ran.code == 0;
    until(&api, &["status"], ready);
    let node = ["node", "--name", "node-1", "--coordinators", &api, "--ingress", &ingress, "--gate", "127.0.0.1:0"];
    let (token, data) = (text("old/node.token"), text("node"));
    let own =
        ["--token-file", &token, "--data-dir", &data, "--end-replicas", "--capacity", "cpu=8,memory=8GiB,disk=9GiB"];
    let _node = Daemon::start(&[&node[..], &own[..]].concat());
    fs::write(path("talk.yml"), FILE).expect("a file");
    until(&api, &["get", "nodes", "-o", "name"], |ran| ran.out.contains("node-1"));
    let verb = |args: &[&str]| run_with(args, &[("BERTH_API", api.as_str())]);
    verb(&["apply", "-f", &text("talk.yml")]).good();
    let names = |ran: &Ran| -> Vec<String> {
        let all = ran.json();
        let serving = all.as_array().expect("a list").iter().filter(|replica| replica["state"] == "serving");
        serving.map(|replica| replica["replica"].as_str().expect("an id").to_owned()).collect()
    };
    let replicas = ["get", "replicas", "-o", "json"];
    let before = names(&verb(&replicas).good());
    assert_eq!(before.len(), 1);

    verb(&["operator", "snapshot", "save", &text("state")]).good();
    let held = run_with(&["operator", "snapshot", "inspect", &text("state"), "-o", "json"], &[]).good().json();
    assert_eq!((&held["endpoints"][0], &held["deployments"][0]), (&"talk".into(), &"talk/blue".into()));
    // What happens after the snapshot is what a restore loses.
    verb(&["endpoint", "create", "-n", "later"]).good();
    drop(lost);
    let answers = || {
        let mut stream = std::net::TcpStream::connect(&ingress).expect("the ingress listens");
        std::io::Write::write_all(
            &mut stream,
            b"POST /e/talk/score HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        )
        .expect("sent");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.") && answer[8..].starts_with(" 200"), "{answer}");
    };
    answers();

    let restore = |data: &str| {
        let (state, data) = (text("state"), text(data));
        run_with(&["operator", "snapshot", "restore", &state, "--data-dir", &data, "--advertise", &api, "--yes"], &[])
    };
    let without = restore("new");
    assert!(without.code == 1 && without.err.contains("E_CLUSTER_KEY"), "no key, no cluster: {without:#?}");
    fs::create_dir_all(path("new")).expect("a folder");
    copy(&path("old/cluster.key"), &path("new/cluster.key"));
    copy(&path("old/artifacts"), &path("new/artifacts"));
    restore("new").good();
    let again = restore("new");
    assert!(again.code == 1 && again.err.contains("E_ALREADY_EXISTS"), "never over a member: {again:#?}");
    answers();

    let _found = coordinator("new");
    until(&api, &["get", "nodes", "-o", "json"], |ran| ran.code == 0 && ran.json()[0]["state"] == "ready");
    let after = until(&api, &replicas, |ran| ran.code == 0 && names(ran).len() == 1);
    assert_eq!(names(&after), before, "what served all the while goes on to serve");
    answers();
    let endpoints = verb(&["get", "endpoints", "-o", "name"]).good().out;
    assert_eq!(endpoints.trim(), "talk", "what came after the snapshot is lost");
    assert!(verb(&["events"]).good().out.contains("goes on from a snapshot of entry"));
    verb(&["operator", "check"]).good();
    verb(&["scale", "talk/blue", "2"]).good();
    assert_eq!(names(&verb(&replicas).good()).len(), 2, "it takes changes, and its node carries them out");
    verb(&["invoke", "talk", "-d", "{}"]).good();
}
