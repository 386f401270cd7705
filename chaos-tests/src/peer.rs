//! Other balancers before model servers of their own, for the minute in which one of these goes bad.
//!
//! What a peer is told is read from `docs/benchmarks/balance.md`, so that what is shown there is what is measured.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{balance::Victim, cluster::WITHIN};

/// Peers and their configurations: the name of a row, and the block of the page.
const PEERS: [(&str, &str, &str); 4] = [
    ("haproxy leastconn", "haproxy", "haproxy-leastconn.cfg"),
    ("haproxy random(2)", "haproxy", "haproxy-random.cfg"),
    ("nginx least_conn", "nginx", "nginx-least-conn.conf"),
    ("nginx random two", "nginx", "nginx-random-two.conf"),
];

/// The page with the configurations.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks/balance.md");

/// A balancer and what it balances. All of it ends when this is dropped.
pub struct Peer {
    name: &'static str,
    ingress: SocketAddr,
    addresses: Vec<SocketAddr>,
    processes: Vec<Child>,
    // Last, so that the processes are gone before their folder.
    _dir: TempDir,
}

// === impl Peer ===

impl Peer {
    /// Lists every peer that is installed.
    pub fn installed() -> impl Iterator<Item = &'static str> {
        let is_there = |program: &str| {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            let mut folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
            folders.any(|folder| folder.join(program).exists())
        };
        PEERS.into_iter().filter(move |(_, program, _)| is_there(program)).map(|(name, ..)| name)
    }

    /// Starts one, before this many model servers of the binary under test.
    pub fn start(name: &'static str, berth: &str, models: u32) -> Self {
        let (_, program, block) = PEERS.into_iter().find(|(known, ..)| *known == name).expect("a peer");
        let dir = tempfile::tempdir().expect("a temporary folder");
        // nginx works as nobody.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it may be entered");
        let addresses = free(models as usize + 1);
        let (ingress, addresses) = addresses.split_first().expect("one at least");
        let mut peer =
            Self { name, ingress: *ingress, addresses: addresses.to_vec(), processes: Vec::new(), _dir: dir };
        for address in addresses {
            let mut model = Command::new(berth);
            peer.spawn(model.arg("echo-model").env("PORT", address.port().to_string()));
        }
        let config = peer._dir.path().join(block);
        fs::write(&config, peer.configured(block)).expect("its configuration is written");
        let mut proxy = Command::new(program);
        match program {
            "haproxy" => proxy.args(["-db", "-f"]).arg(&config),
            _ => proxy.arg("-p").arg(peer._dir.path()).arg("-c").arg(&config),
        };
        peer.spawn(&mut proxy);
        peer.addresses.iter().chain([&peer.ingress]).for_each(listens);
        peer
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns where it listens.
    pub fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// Returns the model server that goes bad.
    pub(crate) fn victim(&self) -> Victim {
        let pid = Pid::from_raw(i32::try_from(self.processes[0].id()).expect("a process id"));
        Victim { pid, address: self.addresses[0].into() }
    }

    fn spawn(&mut self, command: &mut Command) {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.processes.push(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// Fills a block of the page in: where it listens, its folder, and the line with `BACKEND` once for each server.
    fn configured(&self, block: &str) -> String {
        let page = fs::read_to_string(PAGE).expect(PAGE);
        let text = block_of(&page, block).unwrap_or_else(|| panic!("{PAGE} has no `{block}`"));
        let mut made = String::new();
        for line in text.lines() {
            let line = line.replace("PORT", &self.ingress.port().to_string());
            let line = line.replace("FOLDER", &self._dir.path().display().to_string());
            match line.contains("BACKEND") {
                true => self.addresses.iter().enumerate().for_each(|(place, address)| {
                    made += &line.replace("BACKEND", &address.to_string()).replace("NAME", &format!("model{place}"));
                    made.push('\n');
                }),
                false => made += &format!("{line}\n"),
            }
        }
        made
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The proxy comes last. It has a child that does the work and ends with it, when it is asked to.
        if let Some(mut proxy) = self.processes.pop() {
            let _ = kill(Pid::from_raw(proxy.id().cast_signed()), Signal::SIGTERM);
            let _ = proxy.wait();
        }
        for model in &mut self.processes {
            let _ = model.kill();
            let _ = model.wait();
        }
    }
}

/// Returns the text of a block that a page shows below its name.
fn block_of<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("`{name}`:\n\n```"))?;
    let (_, rest) = rest.split_once('\n')?;
    Some(rest.split_once("\n```")?.0)
}

/// Returns addresses that nobody listens on. Programs that take only a number cannot be handed a socket, so another one may
/// come first: then the measurement ends with words.
fn free(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("it is bound")).collect()
}

fn listens(address: &SocketAddr) {
    let until = Instant::now() + WITHIN;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "nothing listens on {address}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_configured_on_the_page() {
        let page = fs::read_to_string(PAGE).expect(PAGE);
        for (name, _, block) in PEERS {
            let text = block_of(&page, block).unwrap_or_else(|| panic!("no configuration of {name}"));
            assert!(
                text.contains("PORT") && text.lines().filter(|line| line.contains("BACKEND")).count() == 1,
                "{text}"
            );
        }
    }
}
