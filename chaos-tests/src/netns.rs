//! Network namespaces: hosts of a test's own, so that a partition is a real one.
//!
//! A [`Bridge`] joins any number of [`Host`]s by veth pairs; a host is cut off by taking its link down, which loses
//! packets silently, as a broken switch does, rather than refusing them. Needs root and `ip`; [`permitted`] says why not.

use std::{
    io,
    net::Ipv4Addr,
    process::{Command, Output},
};

/// A network of the test's own.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    subnet: u8,
    hosts: u8,
}

/// A host in it.
#[derive(Debug)]
pub struct Host {
    namespace: String,
    link: String,
    address: Ipv4Addr,
}

/// Returns why namespaces cannot be made here, if so.
pub fn permitted() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("network namespaces need root".to_owned());
    }
    let probe = format!("bp{}", std::process::id());
    let made = ip(&["netns", "add", &probe]);
    let _ = ip(&["netns", "del", &probe]);
    made.map_err(|error| format!("network namespaces cannot be made here: {error}"))
}

fn ip(args: &[&str]) -> io::Result<()> {
    let Output { status, stderr, .. } = Command::new("ip").args(args).output()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&stderr).trim()))),
    }
}

// === impl Bridge ===

impl Bridge {
    /// Makes a bridge in this namespace, with the address `10.77.SUBNET.1`.
    pub fn new(subnet: u8) -> io::Result<Self> {
        let name = format!("bb{}", std::process::id() % 100_000 * 10 + u32::from(subnet) % 10);
        let bridge = Self { name, subnet, hosts: 1 };
        ip(&["link", "add", &bridge.name, "type", "bridge"])?;
        ip(&["addr", "add", &format!("10.77.{subnet}.1/24"), "dev", &bridge.name])?;
        ip(&["link", "set", &bridge.name, "up"])?;
        Ok(bridge)
    }

    /// Returns the address of this end.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, 1)
    }

    /// Adds a host.
    pub fn host(&mut self) -> io::Result<Host> {
        self.hosts += 1;
        let n = self.hosts;
        let host = Host {
            namespace: format!("{}n{n}", self.name),
            link: format!("{}v{n}", self.name),
            address: Ipv4Addr::new(10, 77, self.subnet, n),
        };
        ip(&["netns", "add", &host.namespace])?;
        let inner = "eth0";
        ip(&["link", "add", &host.link, "type", "veth", "peer", "name", inner, "netns", &host.namespace])?;
        ip(&["link", "set", &host.link, "master", &self.name, "up"])?;
        ip(&["-n", &host.namespace, "addr", "add", &format!("{}/24", host.address), "dev", inner])?;
        ip(&["-n", &host.namespace, "link", "set", inner, "up"])?;
        ip(&["-n", &host.namespace, "link", "set", "lo", "up"])?;
        Ok(host)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.name]);
    }
}

// === impl Host ===

impl Host {
    /// Returns its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns the words that run a program on this host: put them before its own.
    pub fn prefix(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace].map(str::to_owned).to_vec()
    }

    /// Cuts it off: packets both ways are lost without a word.
    pub fn cut(&self) -> io::Result<()> {
        ip(&["link", "set", &self.link, "down"])
    }

    /// Joins it again.
    pub fn join(&self) -> io::Result<()> {
        ip(&["link", "set", &self.link, "up"])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.namespace]);
        let _ = ip(&["link", "del", &self.link]);
    }
}
