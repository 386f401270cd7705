//! Connections to other members, for everything but consensus, which keeps its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::{
    address,
    error::{Code, Error},
};
use berth_proto::tls::{self, Trust};
use tonic::transport::{Channel, Endpoint};

/// Opening a connection takes no longer: a member that is down is named at once.
const CONNECT: Duration = Duration::from_secs(1);

/// A partition drops packets silently; only pings notice.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Connections kept. Members are few; more addresses than this only come from changes of membership.
const KEPT_MAX: usize = 32;

/// Connections to other members by address.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    /// Who is believed at addresses with TLS.
    trust: Option<Trust>,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

// === impl Peers ===

impl Peers {
    pub(crate) fn new(trust: Option<Trust>) -> Self {
        Self { trust, channels: Arc::default() }
    }

    /// Returns a connection to the member at `address`; it is opened when first used.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(address::url(address)).map_err(|error| {
            Error::new(Code::Unavailable, format!("`{address}` is not the address of a member")).why(error.to_string())
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let channel = tls::channel(&endpoint, self.trust.as_ref());
        if channels.len() == KEPT_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
