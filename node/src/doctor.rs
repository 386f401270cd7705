//! The doctor: what a node would find on this host, in plain sentences, before anything is started.

mod coordinator;

pub use coordinator::CoordinatorTls;

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use berth_core::{
    defaults::DEFAULTS,
    error::Error,
    join::{JoinToken, is_lasting},
    time::{LogTime, Millis},
    units::{Cores, Mib},
};
use berth_proto::tls::is_read_by_others;
use serde::Serialize;

use crate::{
    capacity,
    gpu::GpuMonitor,
    mesh::{PeerFiles, TlsFiles},
};

/// How long the driver may take to answer; a node allows it twice as much.
const GPUS_WITHIN: Duration = Duration::from_secs(10);
/// The oldest Python that environments are built with: what the servers of scoring scripts ask for.
const PYTHON_LEAST: (u64, u64) = (3, 9);
/// Lets a Python tell its version and what it lacks to build an environment, in words that every Python since 2 reads. A
/// distribution may take `ensurepip` out, without which `venv` makes nothing that has a pip.
const PYTHON_TELLS: &str = "\
import sys
lacks = []
for name in ('venv', 'ensurepip'):
    try:
        __import__(name)
    except ImportError:
        lacks.append(name)
print(' '.join(['%d.%d.%d' % sys.version_info[:3]] + lacks))
";
/// How long a program may take to tell its version.
const VERSION_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const VERSION_STEP: Duration = Duration::from_millis(10);
/// Room below which a model of any size does not fit, and below which logs and environments soon do not.
const DISK_LOW_MIB: u64 = 10 << 10;
const DISK_FULL_MIB: u64 = 1 << 10;
/// A clock that may be off by more is seen in ages and deadlines.
const CLOCK_OFF_MS: u64 = 500;
/// The page that has a part for everything that is looked at.
const PAGE: &str = "docs/doctor.md";
/// Where engines listen.
const ENGINES: [(&str, &str); 2] = [("Docker", "/var/run/docker.sock"), ("Podman", "/run/podman/podman.sock")];
/// Where a Podman without root listens, below the user's own folder.
const ROOTLESS: &str = "podman/podman.sock";

/// What to look at.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// Where a node would keep its data.
    pub data_dir: PathBuf,
    /// The Python that environments would be built with.
    pub python: PathBuf,
    /// The NVML library, when it is not where the loader looks.
    pub nvml_library: Option<PathBuf>,
    /// The certificate that callers would be shown.
    pub tls: Option<TlsFiles>,
    /// The certificate of a coordinator here.
    pub coordinator: Option<CoordinatorTls>,
    /// What other nodes would be shown.
    pub peers: Option<PeerFiles>,
    /// What a node would show to coordinators.
    pub token: Option<PathBuf>,
    /// Where its daemons would listen, each with what it is for.
    pub ports: Vec<(&'static str, SocketAddr)>,
}

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something will not work.
    Bad,
}

/// One sentence about this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `gpu`, `disk`.
    pub about: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What would help; empty where nothing has to.
    pub try_: String,
    /// The part of the documentation that says more.
    pub docs: String,
}

/// Looks at everything. Blocks, for some seconds when the driver is sick.
pub fn examine(options: &DoctorOptions) -> Vec<Finding> {
    let mut findings = vec![gpus(options.nvml_library.as_deref()), limits(&options.data_dir), python(&options.python)];
    findings.push(disk(&options.data_dir));
    findings.extend(options.tls.as_ref().map(tls));
    findings.extend(options.coordinator.as_ref().map(coordinator::coordinator));
    findings.extend(options.peers.as_ref().map(peers));
    findings.extend(options.token.as_deref().map(|path| token(path, wall())));
    findings.extend([clock(), engine()]);
    findings.extend(options.ports.iter().map(|(what, address)| port(what, *address)));
    findings
}

/// Where daemons listen that are told nothing else.
pub fn usual_ports() -> Vec<(&'static str, SocketAddr)> {
    let ports = [
        ("coordinators", DEFAULTS.api_port),
        ("ingress", DEFAULTS.ingress_port),
        ("gate", DEFAULTS.gate_port),
        ("metrics", DEFAULTS.metrics_port),
    ];
    ports.map(|(what, number)| (what, SocketAddr::from((Ipv4Addr::LOCALHOST, number)))).into()
}

fn finding(about: &'static str, verdict: Verdict, text: String, try_: &str) -> Finding {
    Finding { about, verdict, text, try_: try_.to_owned(), docs: format!("{PAGE}#{about}") }
}

/// Whether callers could be shown the certificate, and nobody else may read its key.
fn tls(files: &TlsFiles) -> Finding {
    let good = format!("the certificate {} fits its key", files.cert.display());
    certificate("tls", files.check(), good, &files.key)
}

/// Whether other nodes would believe this one, and nobody else may read its key.
fn peers(files: &PeerFiles) -> Finding {
    let good = format!("the certificate {} is one that other nodes believe", files.own.cert.display());
    certificate("peers", files.check(), good, &files.own.key)
}

/// Whether what a node would show is a token, and until when it holds.
fn token(path: &Path, now: LogTime) -> Finding {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let text = format!("{} cannot be read: {error}", path.display());
            return finding(
                "token",
                Verdict::Bad,
                text,
                "`berth node join-command`, where a coordinator runs, prints a line with one",
            );
        }
    };
    let text = text.trim();
    let Some(join) = JoinToken::parse(text) else {
        if is_lasting(text) {
            return finding("token", Verdict::Good, format!("{} is a lasting node token", path.display()), "");
        }
        let said = format!("{} holds neither a join token nor a lasting one", path.display());
        return finding("token", Verdict::Bad, said, "copy it whole, or print a new line: `berth node join-command`");
    };
    let minutes = |ms: u64| Millis(ms).0.div_ceil(60_000);
    match join.judge(now) {
        Ok(()) => {
            let left = minutes(join.until.millis().saturating_sub(now.millis()));
            finding("token", Verdict::Good, format!("{} lets a node join for {left} min more", path.display()), "")
        }
        Err(late) => {
            let text = format!(
                "{} ran out {} min ago; a node that joined with it goes on",
                path.display(),
                minutes(late.ago.0)
            );
            finding("token", Verdict::Note, text, "for a new node: `berth node join-command` where a coordinator runs")
        }
    }
}

fn wall() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn certificate(about: &'static str, checked: Result<(), Error>, good: String, key: &Path) -> Finding {
    match checked {
        Err(error) => finding(about, Verdict::Bad, format!("{}: {}", error.what, error.why), &error.try_),
        Ok(()) if is_read_by_others(key) => {
            let text = format!("{good}; others on this host may read its key");
            finding(about, Verdict::Note, text, &format!("chmod 600 {}", key.display()))
        }
        Ok(()) => finding(about, Verdict::Good, good, ""),
    }
}

fn gpus(library: Option<&Path>) -> Finding {
    let found = match GpuMonitor::start(library, Vec::new()) {
        Ok(monitor) => monitor.found(GPUS_WITHIN),
        Err(error) => return finding("gpu", Verdict::Bad, format!("no thread could be started: {error}"), ""),
    };
    if !found.sick.is_empty() {
        let sound = format!("{} GPUs answer and {} do not", found.devices.len(), found.sick.len());
        return finding(
            "gpu",
            Verdict::Bad,
            format!("{sound}: {}", found.sick.join("; ")),
            "`nvidia-smi` and the kernel's log say more",
        );
    }
    match (&found.why_none, found.devices.first()) {
        (None, Some(first)) => {
            let mut texts: Vec<String> = Vec::new();
            for device in &found.devices {
                let profile =
                    device.mig_profile.as_ref().map(|profile| format!(" slice {profile}")).unwrap_or_default();
                texts.push(format!("{}{profile} with {}", device.model, Mib(device.memory_mib)));
            }
            let simulated = if first.simulated { ", simulated" } else { "" };
            finding("gpu", Verdict::Good, format!("{} (driver {}{simulated})", texts.join(", "), first.driver), "")
        }
        (why, _) => {
            let why = why.clone().unwrap_or_else(|| "the driver lists none".to_owned());
            match found.is_broken {
                true => finding(
                    "gpu",
                    Verdict::Bad,
                    format!("there is a GPU driver and no GPU: {why}"),
                    "`nvidia-smi` says more",
                ),
                false => finding("gpu", Verdict::Note, format!("this is a CPU host: {why}"), ""),
            }
        }
    }
}

fn limits(data_dir: &Path) -> Finding {
    let (host, allowed) = capacity::host_and_allowed(data_dir);
    let has = format!("{} cores and {}", Cores(allowed.cpu_milli), Mib(allowed.memory_mib));
    let version = capacity::cgroup_version();
    if (host.cpu_milli, host.memory_mib) == (allowed.cpu_milli, allowed.memory_mib) {
        let text = match version {
            Some(version) => format!("no cgroup (version {version}) bounds the {has} of this host"),
            None => format!("no cgroup is there to bound the {has} of this host"),
        };
        return finding("limits", Verdict::Good, text, "");
    }
    let version = version.map(|version| format!(" (version {version})")).unwrap_or_default();
    let all = format!("{} cores and {}", Cores(host.cpu_milli), Mib(host.memory_mib));
    finding("limits", Verdict::Note, format!("cgroups{version} leave {has} of the host's {all}"), "")
}

fn python(program: &Path) -> Finding {
    let shown = program.display();
    let cannot = |why: String, try_: &str| {
        let text = format!("{why}: scoring scripts cannot be served here, ONNX models and programs can");
        finding("python", Verdict::Note, text, try_)
    };
    let told = match answer_of(program, &["-c", PYTHON_TELLS]) {
        Ok(told) => told,
        Err(why) => {
            return cannot(
                format!("`{shown}` does not run ({why})"),
                "install Python 3.9 or later with its `venv`, or name another one",
            );
        }
    };
    let mut words = told.split_whitespace();
    let version = words.next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < PYTHON_LEAST {
        let (major, minor) = PYTHON_LEAST;
        let why = format!("`{shown}` is Python {version}, older than {major}.{minor}");
        return cannot(why, "install a later one, or name it with --python");
    }
    let missing: Vec<_> = words.map(|module| format!("`{module}`")).collect();
    if !missing.is_empty() {
        let why = format!("Python {version} has no {}, so it builds no environment", missing.join(" and no "));
        return cannot(why, "on Debian and Ubuntu: apt install python3-venv");
    }
    finding("python", Verdict::Good, format!("Python {version} builds the environments"), "")
}

/// Asks a program for a line, within bounds.
fn answer_of(program: &Path, args: &[&str]) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let until = Instant::now() + VERSION_WITHIN;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if Instant::now() < until => thread::sleep(VERSION_STEP),
            Ok(None) => {
                // It is gone or it is not: nothing more can be done about it.
                drop(child.kill());
                drop(child.wait());
                return Err(format!("no answer within {} s", VERSION_WITHIN.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn disk(data_dir: &Path) -> Finding {
    // The folder need not be there yet; what it would lie on is.
    let Some(folder) = data_dir.ancestors().find(|folder| folder.is_dir()) else {
        return finding("disk", Verdict::Bad, format!("no part of {} is there", data_dir.display()), "");
    };
    let shown = data_dir.display();
    if let Err(error) = tempfile::tempfile_in(folder) {
        let try_ = "run as another user, or choose another `--data-dir`";
        return finding("disk", Verdict::Bad, format!("{shown} cannot be written: {error}"), try_);
    }
    let free_mib = match nix::sys::statvfs::statvfs(folder) {
        Ok(stat) => (stat.blocks_available() * stat.fragment_size()) >> 20,
        Err(error) => return finding("disk", Verdict::Note, format!("the disk of {shown} tells nothing: {error}"), ""),
    };
    let verdict = match free_mib {
        free if free < DISK_FULL_MIB => Verdict::Bad,
        free if free < DISK_LOW_MIB => Verdict::Note,
        _ => Verdict::Good,
    };
    let try_ = if verdict == Verdict::Good { "" } else { "models, environments and logs need more" };
    finding("disk", verdict, format!("{} free for {shown}", Mib(free_mib)), try_)
}

/// Asks the kernel whether something keeps the clock right. Who leads stamps every change, so a clock that is off shows in
/// every age and deadline that people read.
fn clock() -> Finding {
    let try_ = "run chrony, ntpd or systemd-timesyncd";
    match clock_state() {
        Ok(ClockState { synchronised: true, error_ms }) if error_ms < CLOCK_OFF_MS => {
            finding("clock", Verdict::Good, format!("the clock is kept right, within {error_ms} ms"), "")
        }
        Ok(ClockState { synchronised: true, error_ms }) => {
            finding("clock", Verdict::Note, format!("the clock is kept, but may be {error_ms} ms off"), try_)
        }
        Ok(ClockState { synchronised: false, .. }) => {
            let text = "nothing keeps this host's clock right; requests do not mind, ages and deadlines do".to_owned();
            finding("clock", Verdict::Note, text, try_)
        }
        Err(why) => {
            finding("clock", Verdict::Note, format!("the kernel does not tell how the clock is kept: {why}"), "")
        }
    }
}

/// What the kernel knows of its clock.
struct ClockState {
    synchronised: bool,
    error_ms: u64,
}

#[expect(unsafe_code, reason = "adjtimex has no safe face here; it is asked for nothing but a reading")]
fn clock_state() -> Result<ClockState, String> {
    // SAFETY: all zeroes is a value of this plain C struct, and no mode bit asks for a change.
    let mut state: nix::libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the struct outlives the call, which writes nothing beyond it.
    let answer = unsafe { nix::libc::adjtimex(&raw mut state) };
    if answer < 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    let error_ms = u64::try_from(state.maxerror).unwrap_or(u64::MAX) / 1_000;
    Ok(ClockState { synchronised: answer != nix::libc::TIME_ERROR, error_ms })
}

/// Says which container engine answers. None is needed: replicas are processes.
fn engine() -> Finding {
    let mut sick = None;
    let own =
        std::env::var_os("XDG_RUNTIME_DIR").map(|folder| ("Podman without root", Path::new(&folder).join(ROOTLESS)));
    for (name, socket) in ENGINES.map(|(name, socket)| (name, PathBuf::from(socket))).into_iter().chain(own) {
        if !socket.exists() {
            continue;
        }
        let connected = UnixStream::connect(&socket);
        let socket = socket.display();
        match connected {
            Ok(_) => {
                return finding(
                    "engine",
                    Verdict::Good,
                    format!("{name} answers at {socket}; replicas are processes and do not need it"),
                    "",
                );
            }
            Err(error) => {
                sick = Some(format!(
                    "{name} is there and does not answer at {socket} ({error}); replicas are processes and do not need it"
                ))
            }
        }
    }
    let none = || "there is no container engine; replicas are processes and need none".to_owned();
    finding("engine", Verdict::Good, sick.unwrap_or_else(none), "")
}

fn port(what: &str, address: SocketAddr) -> Finding {
    if address.port() == 0 {
        return finding("ports", Verdict::Good, format!("any free port will do ({what})"), "");
    }
    let shown = match address.ip() == Ipv4Addr::LOCALHOST {
        true => address.port().to_string(),
        false => address.to_string(),
    };
    match TcpListener::bind(address) {
        Ok(_) => finding("ports", Verdict::Good, format!("{shown} is free ({what})"), ""),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let text = format!("something listens on {shown} already ({what}); it may be Berth itself");
            finding("ports", Verdict::Note, text, "")
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let text = format!("{shown} is no address of this host ({what})");
            finding("ports", Verdict::Bad, text, "`ip addr` lists what it has; 0.0.0.0 means all of them")
        }
        Err(error) => finding("ports", Verdict::Bad, format!("{shown} cannot be listened on ({what}): {error}"), ""),
    }
}

#[cfg(test)]
mod tests {
    use berth_proto::tls::{Audience, ServerFiles};

    use super::*;
    use crate::gpu::fake::FakeHost;

    /// Whatever is found, the page has a part about it, and no part is about nothing.
    #[test]
    fn every_finding_names_its_part_of_the_page() {
        let path = Path::new("/nowhere");
        let files = || TlsFiles { cert: path.into(), key: path.into() };
        let coordinator = CoordinatorTls {
            files: ServerFiles { own: files(), client_ca: None },
            audience: Audience { ca: path.into(), host: "localhost".to_owned() },
            listens: ([127, 0, 0, 1], 0).into(),
        };
        let findings = examine(&DoctorOptions {
            data_dir: path.into(),
            python: path.into(),
            nvml_library: Some(path.into()),
            tls: Some(files()),
            coordinator: Some(coordinator),
            peers: Some(PeerFiles { own: files(), ca: path.into() }),
            token: Some(path.into()),
            ports: usual_ports(),
        });
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE)).unwrap();
        let mut parts: Vec<_> =
            page.lines().filter_map(|line| line.strip_prefix("## ")).map(|part| format!("{PAGE}#{part}")).collect();
        let mut named: Vec<_> = findings.into_iter().map(|found| found.docs).collect();
        parts.sort();
        named.sort();
        named.dedup();
        assert_eq!(named, parts);
    }

    #[test]
    fn a_token_is_told_with_how_long_it_lets_a_node_join() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.token");
        let at = |minutes: u64| LogTime::from_millis(minutes * 60_000);
        let join = JoinToken { until: at(90), nonce: "0123456789abcdef".into(), proof: "ab".into() };
        for (text, now, verdict, part) in [
            (join.to_string(), at(30), Verdict::Good, "for 60 min more"),
            (format!("{join}\n"), at(100), Verdict::Note, "ran out 10 min ago"),
            ("ab".repeat(32), at(100), Verdict::Good, "a lasting node token"),
            (String::new(), at(30), Verdict::Bad, "neither a join token nor a lasting one"),
            (join.to_string()[..20].to_owned(), at(30), Verdict::Bad, "neither a join token nor a lasting one"),
            (format!("0123456789abcdef {}", "ab".repeat(32)), at(30), Verdict::Bad, "neither a join token"),
        ] {
            fs::write(&path, text).unwrap();
            let found = token(&path, now);
            assert!(found.verdict == verdict && found.text.contains(part), "{found:?}");
        }
        assert_eq!(token(&dir.path().join("none"), at(1)).verdict, Verdict::Bad);
    }

    #[test]
    fn a_gpu_driver_that_is_there_and_does_not_work_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        for (script, verdict, text) in [
            (
                "[driver]\nversion = 1 simulated\n[device G]\nname = NVIDIA H100\nmemory_mib = 81920\n",
                Verdict::Good,
                "H100 with 80 GiB",
            ),
            ("[driver]\nfails = 9\n", Verdict::Bad, "not loaded"),
            ("[driver]\nversion = 1\n", Verdict::Note, "lists no GPU"),
            (
                "[driver]\nversion = 1\n[device G]\nname = NVIDIA H100\nmemory_mib = 81920\n[device S]\nfails = 999\n",
                Verdict::Bad,
                "1 GPUs answer and 1 do not: ",
            ),
        ] {
            let host = FakeHost::install(dir.path(), script).unwrap();
            let found = gpus(Some(&host.library()));
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.text.contains(text), "{found:?}");
        }
        let none = gpus(Some(Path::new("/nowhere/libnvidia-ml.so")));
        assert_eq!(none.verdict, Verdict::Note, "a CPU host is well: {none:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_is_bad_and_a_missing_program_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(disk(&tempfile::tempdir().unwrap().path().join("a/b")).about, "disk");
        assert_eq!(disk(&file.path().join("below-a-file")).verdict, disk(file.path().parent().unwrap()).verdict);
        assert_eq!(python(Path::new("/nowhere/python")).verdict, Verdict::Note);
        assert!(answer_of(Path::new("/bin/false"), &[]).is_err());
    }

    #[test]
    fn a_python_that_cannot_build_an_environment_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (says, verdict, part) in [
            ("3.11.2", Verdict::Good, "Python 3.11.2 builds the environments"),
            ("3.11.2 ensurepip", Verdict::Note, "has no `ensurepip`"),
            ("3.10.1 venv ensurepip", Verdict::Note, "has no `venv` and no `ensurepip`"),
            ("3.8.19", Verdict::Note, "older than 3.9"),
            ("2.7.18 venv ensurepip", Verdict::Note, "older than 3.9"),
        ] {
            let program = dir.path().join(says.replace(' ', "-"));
            std::fs::write(&program, format!("#!/bin/sh\necho {says}\n")).unwrap();
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let found = python(&program);
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.text.contains(part), "{found:?}");
            assert_eq!(found.try_.is_empty(), verdict == Verdict::Good, "{found:?}");
        }
        let real = answer_of(Path::new("python3"), &["-c", PYTHON_TELLS]);
        assert!(real.as_ref().map_or(true, |told| told.starts_with(|c: char| c.is_ascii_digit())), "{real:?}");
    }

    #[test]
    fn neither_a_clock_nor_an_engine_keeps_a_node_from_starting() {
        for found in [clock(), engine()] {
            assert!(found.verdict < Verdict::Bad && !found.text.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_port_in_use_is_worth_knowing() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(port("gate", address).verdict, Verdict::Note);
        assert_eq!(port("gate", ([127, 0, 0, 1], 0).into()).verdict, Verdict::Good);
        // TEST-NET-1: nobody's.
        let foreign = port("gate", ([192, 0, 2, 1], 7_481).into());
        assert_eq!(foreign.verdict, Verdict::Bad);
        assert!(foreign.text.starts_with("192.0.2.1:7481 is no address of this host"), "{foreign:?}");
    }

    #[test]
    fn the_version_of_cgroups_is_told() {
        let found = limits(Path::new("/tmp"));
        let told =
            capacity::cgroup_version().is_none_or(|version| found.text.contains(&format!("(version {version})")));
        assert!(told, "{found:?}");
    }
}
