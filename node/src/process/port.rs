//! Free loopback ports for replicas.
//!
//! A port is found by binding to port zero and letting go. Between that and the replica's own bind anybody may take it;
//! a replica that loses this race fails to start and is tried again on another port. What this table prevents is that
//! two replicas of one node are given the same.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::Mutex,
};

/// Tries until a port is found that no replica holds.
const TRIES: usize = 64;

/// Ports that replicas of this node hold.
#[derive(Debug, Default)]
pub(crate) struct Ports(Mutex<BTreeSet<u16>>);

// === impl Ports ===

impl Ports {
    /// Holds a free port.
    pub(crate) fn take(&self) -> io::Result<u16> {
        let mut held = self.held();
        for _ in 0..TRIES {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if held.insert(port) {
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free loopback port was found"))
    }

    /// Holds the port of an adopted process.
    pub(crate) fn adopt(&self, port: u16) {
        self.held().insert(port);
    }

    /// Lets a port go.
    pub(crate) fn release(&self, port: u16) {
        self.held().remove(&port);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_replicas_get_one_port() {
        let ports = Ports::default();
        let taken: BTreeSet<u16> = (0..100).map(|_| ports.take().unwrap()).collect();
        assert_eq!(taken.len(), 100);
        taken.iter().for_each(|port| ports.release(*port));
        assert!(ports.held().is_empty());
    }
}
