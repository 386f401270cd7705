//! What a mesh listens on: a listener per core and door, bound here or inherited from an older process.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::worker;

/// The listeners of a mesh. Those of one door share an address.
#[derive(Debug)]
pub struct Listening {
    /// Where callers connect.
    pub ingress: Vec<TcpListener>,
    /// Where other nodes connect; as many.
    pub gate: Vec<TcpListener>,
}

// === impl Listening ===

impl Listening {
    /// Binds a listener per core.
    pub(super) fn bind_door(address: SocketAddr, cores: usize) -> io::Result<Vec<TcpListener>> {
        worker::bind(address, cores).map(|(_, listeners)| listeners)
    }

    /// Returns every listener, those of callers first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &TcpListener> {
        self.ingress.iter().chain(&self.gate)
    }

    /// Returns the same sockets under descriptors of their own.
    pub(super) fn copy(&self) -> io::Result<Self> {
        let copy = |listeners: &[TcpListener]| listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>();
        Ok(Self { ingress: copy(&self.ingress)?, gate: copy(&self.gate)? })
    }

    /// Returns where callers and where other nodes connect.
    pub(super) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let first = |listeners: &[TcpListener]| listeners.first().ok_or(io::ErrorKind::NotFound)?.local_addr();
        Ok((first(&self.ingress)?, first(&self.gate)?))
    }
}
