//! Connections to the other members: by id through the latest known membership, or by address before there is one.
//!
//! A connection is looked up for every call, so a member that moves is reached at its new address by whoever was talking
//! to the old one. Each member gets several connections: a snapshot or a long append must not hold up a heartbeat.

use std::{
    collections::BTreeMap,
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::{error::Code, id::MemberId};
use berth_proto::{raft::v1::raft_client::RaftClient, status::from_status, tls::fault};
use tonic::{
    ConnectError, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{
    credentials::Credentials,
    error::Error,
    options::{Dialer, RaftTimings, endpoint},
    types::Membership,
};

/// Longest message either side takes. Appends are cut near one mebibyte, but a single command may be as long again.
pub(super) const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Two pings fit into the append deadline: a connection whose packets vanish is given up about when the call is.
const KEEPALIVE: Duration = Duration::from_secs(1);

pub(super) type Client = RaftClient<InterceptedService<Channel, Credentials>>;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Heartbeats and votes.
    Control,
    /// Log entries.
    Log,
    /// Snapshots.
    Bulk,
    /// Calls of members on behalf of their own callers.
    Calls,
}

/// Where everybody is and how to get there.
#[derive(Clone)]
pub(super) struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: String,
    credentials: Credentials,
    dialer: Dialer,
    connect: Duration,
    book: Mutex<BTreeMap<MemberId, Known>>,
}

struct Known {
    address: String,
    lanes: BTreeMap<Lane, Channel>,
}

/// How a call failed.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// It never reached the member it was meant for.
    NotSent(String),
    /// It may have been carried out.
    Lost(String),
    /// The other side will not have it, now or later.
    Refused(Error),
}

// === impl Peers ===

impl Peers {
    pub(super) fn new(cluster: &str, credentials: Credentials, dialer: Dialer, timings: &RaftTimings) -> Self {
        let connect = Duration::from_millis(timings.connect_ms);
        let shared =
            Shared { cluster: cluster.to_owned(), credentials, dialer, connect, book: Mutex::new(BTreeMap::new()) };
        Self { shared: Arc::new(shared) }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, BTreeMap<MemberId, Known>> {
        // Nothing under this lock leaves the book half changed.
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where a member is, unless the membership has already said so.
    pub(super) fn introduce(&self, member: MemberId, address: &str) {
        self.book().entry(member).or_insert_with(|| Known { address: address.to_owned(), lanes: BTreeMap::new() });
    }

    /// Takes over the addresses of `membership`; connections to old ones are dropped.
    pub(super) fn update(&self, membership: &Membership) {
        let mut book = self.book();
        let members: BTreeMap<MemberId, &str> =
            membership.nodes().map(|(id, peer)| (MemberId(*id), peer.addr.as_str())).collect();
        book.retain(|id, known| members.get(id) == Some(&known.address.as_str()));
        for (id, address) in members {
            book.entry(id).or_insert_with(|| Known { address: address.to_owned(), lanes: BTreeMap::new() });
        }
    }

    /// Returns a client for `member`.
    pub(super) fn member(&self, member: MemberId, lane: Lane) -> Result<Client, CallError> {
        let mut book = self.book();
        let known =
            book.get_mut(&member).ok_or_else(|| CallError::NotSent(format!("no address of member {member}")))?;
        let channel = match known.lanes.get(&lane) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.dial(&known.address)?;
                known.lanes.insert(lane, channel.clone());
                channel
            }
        };
        Ok(client(channel, self.shared.credentials.meant_for(member)))
    }

    /// Returns a client for whoever answers at `address`.
    pub(super) fn address(&self, address: &str) -> Result<Client, CallError> {
        Ok(client(self.dial(address)?, self.shared.credentials.clone()))
    }

    fn dial(&self, address: &str) -> Result<Channel, CallError> {
        let endpoint: Endpoint =
            endpoint(address).ok_or_else(|| CallError::NotSent(format!("{address:?} is not an address")))?;
        Ok(self.shared.dialer.dial(
            &endpoint
                .connect_timeout(self.shared.connect)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE)
                .keep_alive_while_idle(true),
        ))
    }

    /// Tells what a failed call at `address` means.
    pub(super) fn explain(&self, address: &str, status: &Status) -> CallError {
        let plain = from_status(status);
        match plain.code {
            Code::ClusterKey => return CallError::Refused(Error::ClusterKey { address: address.to_owned() }),
            Code::ForeignCluster => {
                let cluster = self.shared.cluster.clone();
                return CallError::Refused(Error::ForeignCluster { address: address.to_owned(), cluster });
            }
            Code::MemberNotFound => return CallError::NotSent(plain.what),
            _ => {}
        }
        let mut source = status.source();
        while let Some(cause) = source {
            if cause.is::<ConnectError>() {
                return CallError::NotSent(match fault(cause) {
                    Some(fault) if fault.why.is_empty() => fault.what,
                    Some(fault) => format!("{}: {}", fault.what, fault.why),
                    None => format!("{address}: {cause}"),
                });
            }
            source = cause.source();
        }
        CallError::Lost(format!("{address}: {}", status.message()))
    }
}

// === impl CallError ===

impl CallError {
    pub(super) fn words(&self) -> String {
        match self {
            Self::NotSent(why) | Self::Lost(why) => why.clone(),
            Self::Refused(error) => error.to_string(),
        }
    }
}

fn client(channel: Channel, credentials: Credentials) -> Client {
    RaftClient::with_interceptor(channel, credentials)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
