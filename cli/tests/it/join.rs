//! A second node, from the line that `berth node join-command` prints.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::berth::Dev;

/// How long a node may take to join on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shell with a process group of its own, ended with everything in it.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

#[test]
fn the_printed_line_makes_a_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let token = folder.path().join("data/coordinator-1/node.token");
    let printed = dev.run(&["node", "join-command", "--token-file", token.to_str().expect("text")]).good();
    assert!(printed.err.contains("listen on loopback"), "{printed:#?}");
    let binary = Path::new(env!("CARGO_BIN_EXE_berth")).parent().expect("a folder").display().to_string();
    let run = |line: &str| {
        let shell = Command::new("sh")
            .args(["-c", line])
            .env("HOME", folder.path())
            .env("PATH", format!("{binary}:{}", std::env::var("PATH").unwrap_or_default()))
            .env("BERTH_NODE_NAME", "second")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        Group(shell)
    };
    let group = run(printed.out.trim());
    // Which process of the node is meant: a node that starts again has the next epoch.
    let ready = |epoch: u64| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let nodes = dev.run(&["get", "nodes", "-o", "json"]).good().json();
            let is_second = |node: &&serde_json::Value| {
                node["node"] == "second" && node["state"] == "ready" && node["epoch"].as_u64() >= Some(epoch)
            };
            if nodes.as_array().expect("a list").iter().any(|node| is_second(&node)) {
                break;
            }
            assert!(Instant::now() < deadline, "{nodes:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    ready(1);
    drop(group);
    // What was in the line no longer opens anything, as after its time; the node was given what lasts.
    let file = folder.path().join(".berth/node.token");
    let shown = std::fs::read_to_string(&file).expect("the token");
    let (claim, _) = shown.trim().rsplit_once('-').expect("a join token");
    assert!(claim.starts_with("join-v1-") && printed.err.contains("lets machines join until"), "{printed:#?}");
    std::fs::write(&file, format!("{claim}-00")).expect("a file");
    let (_, again) = printed.out.trim().split_once(") && ").expect("the second half");
    let group = run(again);
    ready(2);
    drop(group);
    assert_eq!(dev.stop(), 0);
}
