//! A node on a temporary folder, and the small things tests need around it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use berth_core::{
    model::{AssetKind, DeploymentSpec, Probe, Runtime},
    time::Millis,
};
use berth_node::{NodeHandle, NodeOptions, NodeService, Secret};
use tokio::{sync::oneshot, task::JoinHandle};

use super::coordinator::Coordinator;

/// A running node.
pub(super) struct Bench {
    pub(super) handle: NodeHandle,
    shutdown: Option<oneshot::Sender<()>>,
    run: JoinHandle<Result<(), berth_core::error::Error>>,
}

/// Options for a node in `dir`, patient with nothing.
pub(super) fn options(dir: &Path, coordinators: &[&Coordinator]) -> NodeOptions {
    let addresses = coordinators.iter().map(|coordinator| coordinator.address.to_string()).collect();
    let mut options = NodeOptions::new("n1".parse().unwrap(), dir.join("node"), addresses, Secret::new("token"));
    options.ingress = "127.0.0.1:0".parse().unwrap();
    options.gate = "127.0.0.1:0".parse().unwrap();
    options.mesh_cores = 1;
    options.base_env = NodeOptions::inheritable(std::env::vars());
    options.timing.restart_backoff = Millis(50);
    options.timing.kill_grace = Millis(500);
    options.timing.start_probe_period = Millis(50);
    options.stop_replicas_on_shutdown = true;
    options.die_with_parent = true;
    options
}

pub(super) async fn start(options: NodeOptions) -> Bench {
    start_with(options, |_| {}).await
}

/// Starts a node that is told something before it runs.
pub(super) async fn start_with(options: NodeOptions, tell: impl FnOnce(&NodeHandle)) -> Bench {
    let service = NodeService::open(options).await.unwrap();
    let handle = service.handle();
    tell(&handle);
    let (shutdown, told) = oneshot::channel();
    let run = tokio::spawn(service.run(async move { drop(told.await) }));
    Bench { handle, shutdown: Some(shutdown), run }
}

impl Bench {
    /// Shuts the node down as an operator does.
    pub(super) async fn stop(mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
        (&mut self.run).await.unwrap().unwrap();
    }

    pub(super) fn is_running(&self) -> bool {
        !self.run.is_finished()
    }

    /// Waits until the node ends by itself.
    pub(super) async fn ended(self) {
        tokio::time::timeout(super::coordinator::PATIENCE, self.run).await.expect("in time").unwrap().unwrap();
        drop(self.shutdown);
    }

    /// Makes the agent fail until the node gives up, and returns what it then says.
    pub(super) async fn fail_for_good(mut self) -> berth_core::error::Error {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
        let ended = loop {
            tokio::select! {
                ended = &mut self.run => break ended,
                _ = pace.tick() => self.handle.fail_agent(),
            }
        };
        drop(self.shutdown);
        ended.unwrap().unwrap_err()
    }

    /// Ends the agent as a crash does: at once, without a word to anybody, its replicas left alone.
    pub(super) async fn crash(self) {
        self.run.abort();
        drop(self.run.await);
        drop(self.shutdown);
    }
}

/// A deployment of a program.
pub(super) fn command(argv: &[&str]) -> DeploymentSpec {
    let mut spec = DeploymentSpec::new(Runtime::Command(argv.iter().map(|word| (*word).to_owned()).collect()));
    spec.liveness_probe = Probe { initial_delay_ms: 200, period_ms: 200, ..Probe::default() };
    spec
}

/// A server that answers every request with the variables and files named, as a folder to upload.
pub(super) const SERVER: &str = r#"
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// A deployment of that server.
pub(super) fn server() -> DeploymentSpec {
    command(&["python3", "-c", SERVER, "$PORT"])
}

/// Asks a replica's own port.
pub(super) fn get(address: &str) -> serde_json::Value {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// An archive of a folder with these files.
pub(super) fn folder(files: &[(&str, &str)]) -> (AssetKind, Vec<u8>) {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    (AssetKind::Folder, builder.into_inner().unwrap())
}

/// Whether a process runs; one that ended and was not waited for does not.
pub(super) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(super) fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Writes a wheel with these files and returns the folder it lies in: pip installs it without any index.
pub(super) fn wheel(dir: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    const MAKE: &str = r#"
import json, sys, zipfile
path, name, files = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
info = f"{name}-1.0.dist-info"
files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
with zipfile.ZipFile(f"{path}/{name}-1.0-py3-none-any.whl", "w") as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
"#;
    let wheels = dir.join("wheels");
    std::fs::create_dir_all(&wheels).unwrap();
    let files: std::collections::BTreeMap<_, _> = files.iter().copied().collect();
    let files = serde_json::to_string(&files).unwrap();
    let made = Command::new("python3").args(["-c", MAKE, wheels.to_str().unwrap(), name, &files]).status().unwrap();
    assert!(made.success());
    wheels
}

/// Whether somebody listens on loopback.
pub(super) fn is_free(address: &str) -> bool {
    TcpListener::bind(address).is_ok()
}

/// Ends whatever a test left running for replicas below its folder: a test that fails must not leave servers behind.
pub(super) struct Sweeper(pub(super) PathBuf);

impl Drop for Sweeper {
    fn drop(&mut self) {
        let mark = format!("BERTH_REPLICA_ROOT={}", self.0.display());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let marked = environ.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes()));
            if let Some(pid) = entry.file_name().to_str().filter(|_| marked) {
                drop(Command::new("kill").args(["-9", pid]).status());
            }
        }
    }
}
