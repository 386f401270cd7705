//! Where to find a cluster, and how long to try.

use std::{fmt, str::FromStr, time::Duration};

use berth_core::{
    defaults::DEFAULTS,
    error::{Code, Error},
};

/// A host and port, without a scheme: `127.0.0.1:7400`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

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
}

// === impl Address ===

impl Address {
    /// Reads `host:port`, `host` (then with `default_port`), or either behind `http://`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Error::new(Code::Invalid, format!("`{text}` is not an address")).why(why).try_("write HOST:PORT")
        };
        if text.starts_with("https://") {
            return Err(refuse(
                "coordinators are spoken to without TLS, and an ingress with TLS is named without `https://`, beside the file of whom to believe",
            ));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let authority: http::uri::Authority = bare.parse().map_err(|_| refuse("it has no host"))?;
        if authority.host().is_empty() || bare.contains('@') {
            return Err(refuse("it has no host"));
        }
        match authority.port() {
            Some(port) if port.as_u16() != 0 => Ok(Self(bare.to_owned())),
            Some(_) => Err(refuse("port 0 cannot be called")),
            None if bare.ends_with(':') => Err(refuse("it has no port")),
            None => Ok(Self(format!("{bare}:{default_port}"))),
        }
    }

    /// Returns the host, as a certificate names it.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.as_str(), |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Returns `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
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
            ("https://node-1", None),
            ("node-1:0", None),
            ("node-1:", None),
            ("node 1", None),
            ("user@node-1:80", None),
            ("", None),
        ] {
            let found = text.parse::<Address>().ok().map(|address| address.0);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert!(ClientOptions::new(Vec::<String>::new()).is_err());
    }
}
