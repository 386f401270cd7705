//! Where to find a cluster, and how long to try.

use std::{fmt, str::FromStr, time::Duration};

use berth_core::{
    address,
    defaults::DEFAULTS,
    error::{Code, Error},
};
use berth_proto::tls::Trust;

/// A host and port: `127.0.0.1:7400`, or `https://c1.example:7400` where TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    authority: String,
    is_tls: bool,
}

/// How a [`Client`](crate::Client) finds and uses a cluster.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Coordinators, in the order they are tried.
    pub addresses: Vec<Address>,
    /// How long a call may take, with all its attempts.
    pub deadline: Duration,
    /// How long one attempt may take before another member is asked.
    pub attempt_timeout: Duration,
    /// How long a member may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long a call goes on while no member at all can be reached. As long as any other by default; a person at a
    /// terminal wants to know sooner.
    pub unreachable: Duration,
    /// Attempts of one call, the first included.
    pub attempts_max: u32,
    /// Whose certificates are believed of coordinators whose addresses begin with `https://`, and what they are shown.
    pub trust: Option<Trust>,
}

// === impl Address ===

impl Address {
    /// Reads `host:port` or `host` (then with `default_port`), either behind `https://` for TLS or behind `http://`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Error::new(Code::Invalid, format!("`{text}` is not an address")).why(why).try_("write HOST:PORT")
        };
        let is_tls = address::is_tls(text);
        let bare = address::authority(text);
        let bare = bare.strip_prefix("http://").filter(|_| !is_tls).unwrap_or(bare).trim_end_matches('/');
        let authority: http::uri::Authority = bare.parse().map_err(|_| refuse("it has no host"))?;
        if authority.host().is_empty() || bare.contains('@') {
            return Err(refuse("it has no host"));
        }
        let authority = match authority.port() {
            Some(port) if port.as_u16() != 0 => bare.to_owned(),
            Some(_) => return Err(refuse("port 0 cannot be called")),
            None if bare.ends_with(':') => return Err(refuse("it has no port")),
            None if authority.host().len() < bare.len() => return Err(refuse("its port is no number up to 65535")),
            None => format!("{bare}:{default_port}"),
        };
        Ok(Self { authority, is_tls })
    }

    /// Returns whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns `host:port`.
    pub fn as_str(&self) -> &str {
        &self.authority
    }

    /// Returns it with its scheme.
    pub(crate) fn url(&self) -> String {
        address::url(&self.to_string())
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { authority: address.to_string(), is_tls: false }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { address::HTTPS } else { "" };
        f.pad(&format!("{scheme}{}", self.authority))
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, DEFAULTS.api_port)
    }
}

// === impl ClientOptions ===

impl ClientOptions {
    /// Sets every default for the given coordinators.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        let addresses =
            addresses.into_iter().map(|address| address.as_ref().trim().parse()).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(Error::new(Code::Invalid, "no coordinator is named").try_("give at least one HOST:PORT"));
        }
        Ok(Self {
            addresses,
            // Three elections and a slow disk.
            deadline: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            unreachable: Duration::from_secs(15),
            // With the back-off below, what fits into the deadline.
            attempts_max: 20,
            trust: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("127.0.0.1:7400", Some("127.0.0.1:7400")),
            ("http://node-1:80/", Some("node-1:80")),
            ("node-1", Some("node-1:7400")),
            ("[::1]:7400", Some("[::1]:7400")),
            ("[::1]", Some("[::1]:7400")),
            ("https://node-1", Some("https://node-1:7400")),
            ("https://node-1:7443/", Some("https://node-1:7443")),
            ("https://[::1]:1", Some("https://[::1]:1")),
            ("https://http://node-1", None),
            ("https://", None),
            ("node-1:0", None),
            ("node-1:", None),
            ("node-1:http", None),
            ("node-1:74000", None),
            ("node 1", None),
            ("user@node-1:80", None),
            ("", None),
        ] {
            let found = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert!(ClientOptions::new(Vec::<String>::new()).is_err());
    }
}
