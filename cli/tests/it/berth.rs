//! Runs the binary, and a development cluster behind it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a cluster may take to come up or go down on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Fails where a tool is said to be there: whoever installed it wants its tests to run, not to be skipped.
pub(crate) fn not_required(tool: &str) {
    let required = std::env::var("BERTH_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split_whitespace().any(|name| name == tool), "{tool} is required and cannot be run");
}

/// What a verb printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A development cluster in a process of its own.
pub(crate) struct Dev {
    child: Child,
    pub(crate) api: String,
    pub(crate) ingress: String,
    /// Where the first node's metrics are read; nothing unless they were asked for.
    pub(crate) metrics: String,
}

/// Runs a verb without a cluster; variables of the caller that change the answer are taken away.
pub(crate) fn run(args: &[&str]) -> Ran {
    run_with(args, &[])
}

/// Runs a verb with variables.
pub(crate) fn run_with(args: &[&str], vars: &[(&str, &str)]) -> Ran {
    run_at(Path::new("."), args, vars)
}

/// Runs a verb in a folder, with variables.
pub(crate) fn run_at(folder: &Path, args: &[&str], vars: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.current_dir(folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_")) {
        command.env_remove(name);
    }
    let output: Output =
        command.args(args).envs(vars.iter().copied()).stdin(Stdio::null()).output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

// === impl Ran ===

impl Ran {
    /// Fails the test unless the verb ended well.
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// Reads what was printed as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

// === impl Dev ===

impl Dev {
    /// Starts a cluster and waits for its line.
    pub(crate) fn start(data_dir: &Path, more: &[&str]) -> Self {
        Self::start_with(data_dir, more, &[])
    }

    /// The same with variables.
    pub(crate) fn start_with(data_dir: &Path, more: &[&str], vars: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .envs(vars.iter().copied())
            .args(["dev", "--data-dir"])
            .arg(data_dir)
            .args(["--api", "127.0.0.1:0", "--ingress", "127.0.0.1:0", "--log", "error", "--quiet"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stdout = child.stdout.take().expect("a pipe");
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            if BufReader::new(stdout).read_line(&mut line).is_ok() {
                let _ = send.send(line);
            }
        });
        let mut dev = Self { child, api: String::new(), ingress: String::new(), metrics: String::new() };
        let line = receive.recv_timeout(PATIENCE).expect("a line within the deadline");
        let value = |key: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(key));
            found.unwrap_or_else(|| panic!("`{line}` has no {key}")).to_owned()
        };
        (dev.api, dev.ingress) = (value("api="), value("ingress="));
        if line.contains(" metrics=") {
            dev.metrics = value("metrics=");
        }
        assert!(line.starts_with("ready: "), "{line}");
        dev
    }

    /// Runs a verb against this cluster.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run_with(args, &[("BERTH_API", &self.api)])
    }

    /// Asks it to end and returns its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns whether a process is there.
pub(crate) fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}
