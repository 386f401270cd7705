//! Addresses for processes that must know each other's before they start.
//!
//! They are found by binding them, and are free again until the daemons bind them themselves. What the kernel hands out
//! for port 0 it may hand out to any connection in that moment, so these lie below the range it draws from.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

/// Linux draws from here upwards unless it is told otherwise.
const EPHEMERAL_FROM: u16 = 32_768;

/// What needs a privilege, and the well-known ports of most services, lie below.
const LOWEST: u16 = 10_000;

/// Finds `count` free loopback addresses.
pub(super) fn free(count: usize) -> io::Result<Vec<SocketAddr>> {
    let ports = ports(ephemeral_from());
    let start = getrandom::u32().map_err(io::Error::from)? as usize;
    let mut listeners = Vec::with_capacity(count);
    for step in 0..ports.len() {
        if listeners.len() == count {
            break;
        }
        let port = ports.start + ((start + step) % ports.len()) as u16;
        // One that is taken is passed over.
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    if listeners.len() < count {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("of ports {ports:?}, too few are free")));
    }
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Returns the ports to choose from. A host that hands out nearly all of them leaves no choice.
fn ports(ephemeral_from: u16) -> Range<u16> {
    if ephemeral_from > LOWEST + 1_000 { LOWEST..ephemeral_from } else { LOWEST..u16::MAX }
}

fn ephemeral_from() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|from| from.parse().ok()).unwrap_or(EPHEMERAL_FROM)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_differ_and_no_connection_takes_one_meanwhile() {
        let addresses = free(20).unwrap();
        let ports: BTreeSet<_> = addresses.iter().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| self::ports(ephemeral_from()).contains(port)), "{ports:?}");
        for address in addresses {
            TcpListener::bind(address).expect("it is free again");
        }
    }

    #[test]
    fn a_host_that_hands_out_nearly_everything_still_gets_some() {
        assert_eq!(ports(32_768), 10_000..32_768);
        assert_eq!(ports(1_024), 10_000..65_535);
    }
}
