//! `advertise = auto`: the address of this host on the way to its coordinators.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use berth_core::{
    address,
    error::{Code, Error},
};

/// What a node's `advertise` is when it is to be found out.
const AUTO: &str = "auto";

/// Returns the host by which others reach a node: what was set, or, for `auto`, the address this host has towards the first
/// coordinator there is a way to. Nothing is sent.
pub(crate) fn advertised(set: Option<String>, coordinators: &[String]) -> Result<Option<String>, Error> {
    if set.as_deref() != Some(AUTO) {
        return Ok(set);
    }
    let found = coordinators
        .iter()
        .map(|address| address::authority(address))
        .filter_map(|to| to.to_socket_addrs().ok())
        .flatten()
        .find_map(towards);
    let host = found.ok_or_else(|| {
        Error::new(Code::Invalid, "`advertise = auto` finds no address of this host")
            .why(format!("it has no way to any of {}", coordinators.join(", ")))
            .try_("name the host by which the other nodes reach this one with `--advertise HOST`")
    })?;
    Ok(Some(match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }))
}

/// Returns the address the kernel would send from. Connecting a datagram socket chooses it and sends nothing.
fn towards(coordinator: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if coordinator.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(coordinator).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|own| !own.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_address_towards_a_coordinator_and_anything_else_is_as_set() {
        let list = |addresses: &[&str]| addresses.iter().map(|address| (*address).to_owned()).collect::<Vec<_>>();
        let coordinators = list(&["no such host:1", "https://127.0.0.1:7400"]);
        assert_eq!(advertised(None, &coordinators).unwrap(), None);
        assert_eq!(advertised(Some("a.example".into()), &coordinators).unwrap().as_deref(), Some("a.example"));
        assert_eq!(advertised(Some(AUTO.into()), &coordinators).unwrap().as_deref(), Some("127.0.0.1"));
        let error = advertised(Some(AUTO.into()), &list(&["no such host:1"])).unwrap_err();
        assert!(error.try_.contains("--advertise HOST"), "{error}");
    }
}
