//! The files of rows that daemons write: each is written by a real process, and takes a bounded part of the disk.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{berth::run_with, verbs::FILE};

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Bytes after which another file is begun, and older ones that are kept: what the documentation promises.
const FILE_BYTES: u64 = 16 << 20;
const FILES: usize = 3;

/// A daemon that listens where it likes, and ends with the test.
struct Daemon {
    child: Child,
    /// The first address that it said it listens on.
    address: String,
}

// === impl Daemon ===

impl Daemon {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(args)
            .args(["--log", "warn,berth=info"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = child.stderr.take().expect("a pipe");
        let (send, receive) = mpsc::channel();
        // Read to its end: a pipe that is full would stop the daemon.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut daemon = Self { child, address: String::new() };
        let mut said = Vec::new();
        while daemon.address.is_empty() {
            let line = receive.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {said:?}"));
            if let Some((_, rest)) = line.split_once(" listens ").and_then(|(_, rest)| rest.split_once('=')) {
                daemon.address = rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
            said.push(line);
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked: a node that is killed leaves its replicas running by design.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    PathBuf::from(format!("{}.{number}", path.display()))
}

/// Leaves what a long life would have: a file that is full, and as many older ones as are kept, each with its number.
fn filled(path: &Path) {
    let mut rows = b"{\"Old\":0}".to_vec();
    // Lines of nothing fill it.
    rows.resize(usize::try_from(FILE_BYTES).expect("it fits") + 1, b'\n');
    fs::write(path, rows).expect("a file");
    for number in 1..=FILES {
        fs::write(numbered(path, number), format!("{{\"Old\":{number}}}\n")).expect("a file");
    }
}

/// Waits until a file has a row like this, and returns it.
fn row(path: &Path, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter(|line| !line.is_empty());
        let rows = lines.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
        if let Some(row) = rows.into_iter().find(&is_it) {
            return row;
        }
        assert!(Instant::now() < deadline, "{}: {text}", path.display());
        thread::sleep(LOOK_AGAIN);
    }
}

/// Fails unless the full file was set aside, and the oldest one is gone for it.
fn is_bounded(path: &Path) {
    let first_line = |path: &Path| {
        let mut line = String::new();
        BufReader::new(fs::File::open(path).expect("a file")).read_line(&mut line).expect("a line");
        line
    };
    assert!(fs::metadata(path).expect("a file").len() < FILE_BYTES, "{} was begun anew", path.display());
    assert!(fs::metadata(numbered(path, 1)).expect("a file").len() > FILE_BYTES, "what was full is set aside");
    for number in 1..=FILES {
        assert_eq!(first_line(&numbered(path, number)), format!("{{\"Old\":{}}}\n", number - 1), "{}", path.display());
    }
    assert!(!numbered(path, FILES + 1).exists(), "no more than {FILES} are kept");
}

#[test]
fn daemons_write_their_rows_and_keep_a_bounded_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let logs = ["events.log", "console.log", "access.log"].map(path);
    logs.iter().for_each(|log| filled(log));
    let [events, console, access] = &logs;
    let start = || {
        Daemon::start(&[
            "coordinator",
            "--data-dir",
            &text("coordinator"),
            "--api",
            "127.0.0.1:0",
            "--bootstrap-expect",
            "1",
            "--event-log",
            &text("events.log"),
        ])
    };
    let coordinator = start();
    let api = coordinator.address.as_str();
    let node = Daemon::start(&[
        "node",
        "--name",
        "node-1",
        "--coordinators",
        api,
        "--ingress",
        "127.0.0.1:0",
        "--gate",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--token-file",
        &text("coordinator/node.token"),
        "--data-dir",
        &text("node"),
        "--end-replicas",
        "--capacity",
        "cpu=8,memory=8GiB,disk=9GiB",
        "--console-log",
        &text("console.log"),
        "--access-log",
        &text("access.log"),
    ]);
    fs::write(path("talk.yml"), FILE).expect("a file");
    let verb = |args: &[&str]| run_with(args, &[("BERTH_API", api)]).good();
    verb(&["apply", "-f", &text("talk.yml")]);

    let event = row(events, |row| row["Kind"] == "replica.serving");
    assert_eq!((&event["EndpointName"], &event["DeploymentName"]), (&"talk".into(), &"blue".into()), "{event}");
    let said = row(console, |row| row["Message"] == "first words");
    assert_eq!((&said["EndpointName"], &said["DeploymentName"]), (&"talk".into(), &"blue".into()), "{said}");
    assert_eq!(said["ContainerName"], "inference-server", "{said}");
    for row in [&event, &said] {
        assert!(row["TimeGenerated"].as_str().is_some_and(|at| at.ends_with('Z')), "{row}");
    }
    verb(&["invoke", "talk", "-d", "{}"]);
    row(access, |row| row["EndpointName"] == "talk");
    logs.iter().for_each(|log| is_bounded(log));

    // Another one goes on behind the last row, and repeats none.
    drop((coordinator, node));
    let before = fs::read_to_string(events).expect("rows");
    let again = start();
    run_until(&again.address, &["endpoint", "create", "-n", "later"]);
    row(events, |row| row["EndpointName"] == "later");
    let after = fs::read_to_string(events).expect("rows");
    // The coordinator may be writing the next one.
    let after = after.rsplit_once('\n').map_or("", |(whole, _)| whole);
    assert!(after.starts_with(&before), "rows stay as they are");
    let seqs: Vec<_> =
        after.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row")["Seq"].as_u64()).collect();
    assert!(seqs.windows(2).all(|two| two[0] < two[1]), "{seqs:?}");
}

/// Runs a verb until the coordinator leads.
fn run_until(api: &str, args: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while run_with(args, &[("BERTH_API", api)]).code != 0 {
        assert!(Instant::now() < deadline, "{args:?}");
        thread::sleep(LOOK_AGAIN);
    }
}
