//! What a member is started with, and the one place its timings come from.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use berth_core::{address, error::Problem};
use berth_proto::tls::{self, Trust};
use tonic::transport::{Channel, Endpoint};

use super::error::Error;

/// Longest command. A plan is at most 256 KiB and larger ones come in several entries; four times that leaves room
/// without letting one entry hold up heartbeats.
pub const MAX_COMMAND_BYTES: usize = 1024 * 1024;

/// The timings a member runs with unless told otherwise.
pub const DEFAULTS: RaftTimings = RaftTimings {
    // Three heartbeats fit into the shortest election timeout: two may be lost or late before anybody stands up.
    heartbeat_ms: 100,
    // A crashed leader is replaced in well under a second, while a fsync of 100 ms on a busy disk deposes nobody.
    election_min_ms: 300,
    election_max_ms: 600,
    // An append waits for the follower's disk. A disk that takes longer than this is not keeping up anyway.
    append_ms: 2_000,
    connect_ms: 500,
    // Tens of megabytes over a slow link, with the fsyncs of the receiver.
    snapshot_transfer_ms: 60_000,
    // Around a megabyte of log at typical sizes: replay at start stays under a second.
    snapshot_after_entries: 5_000,
    // A follower that was away for a short while catches up from the log instead of a whole snapshot.
    keep_entries: 1_000,
    // How often a member that belongs to no cluster yet asks around.
    form_retry_ms: 200,
};

/// Intervals and sizes of consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftTimings {
    /// Between two signs of life of the leader.
    pub heartbeat_ms: u64,
    /// A follower that hears nothing stands for election after a random time from here…
    pub election_min_ms: u64,
    /// …to here.
    pub election_max_ms: u64,
    /// Deadline of sending entries to one follower.
    pub append_ms: u64,
    /// Deadline of opening a connection.
    pub connect_ms: u64,
    /// Deadline of sending one snapshot.
    pub snapshot_transfer_ms: u64,
    /// A snapshot is taken after so many entries.
    pub snapshot_after_entries: u64,
    /// Entries kept in the log behind a snapshot.
    pub keep_entries: u64,
    /// Pause between two attempts to form or join a cluster.
    pub form_retry_ms: u64,
}

/// How a member without a cluster comes to one. A member that belongs to a cluster ignores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formation {
    /// Forms a cluster with others that are started alike. Exactly one cluster comes of it, whoever is restarted
    /// meanwhile.
    Bootstrap {
        /// How many members form it.
        expect: usize,
        /// Their addresses; whether this member's own is among them does not matter.
        peers: Vec<String>,
    },
    /// Asks a member of a running cluster to be taken in.
    Join {
        /// Members to ask, in turn.
        addresses: Vec<String>,
    },
}

/// The secret members show one another, derived from the cluster key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RaftToken(Arc<str>);

/// Opens connections to other members. Tests and simulated networks put their own here.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn(&Endpoint) -> Channel + Send + Sync>);

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct RaftOptions {
    /// Where this member keeps its data; the store is the directory `raft` in it.
    pub data_dir: PathBuf,
    /// The cluster this member belongs to.
    pub cluster_id: String,
    /// Secrets: the first is shown, every one is accepted, so that the key can be exchanged member by member.
    pub tokens: Vec<RaftToken>,
    /// Where other members reach this one, `host:port` or `https://host:port`. May change between starts.
    pub advertise: String,
    /// How a member without a cluster comes to one.
    pub formation: Formation,
    /// Intervals and sizes.
    pub timings: RaftTimings,
    /// Opens connections.
    pub dialer: Dialer,
}

// === impl RaftOptions ===

impl RaftOptions {
    /// Creates options with default timings.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        cluster_id: impl Into<String>,
        tokens: Vec<RaftToken>,
        advertise: impl Into<String>,
        formation: Formation,
    ) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster_id: cluster_id.into(),
            tokens,
            advertise: advertise.into(),
            formation,
            timings: DEFAULTS,
            dialer: Dialer::default(),
        }
    }

    /// Reports everything that is wrong with them at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut problem = |field: &str, what: String, try_: &str| {
            problems.push(Problem { field: field.into(), what, try_: try_.into() });
        };
        let id = &self.cluster_id;
        if id.is_empty() || id.len() > 64 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            problem("cluster_id", format!("{id:?} is not an id"), "1 to 64 letters, digits, dots, dashes, underscores");
        }
        if self.tokens.is_empty() {
            problem("tokens", "there is no cluster key".into(), "create or copy cluster.key");
        }
        if self.tokens.iter().any(|token| token.0.is_empty() || !token.0.chars().all(|c| c.is_ascii_graphic())) {
            problem("tokens", "a token is empty or not printable ASCII".into(), "derive it from the key as hex");
        }
        for (field, address) in self.addresses() {
            if endpoint(address).is_none() {
                problem(field, format!("{address:?} is not an address"), "host:port");
            }
        }
        match &self.formation {
            Formation::Bootstrap { expect: 0, .. } => problem("expect", "a cluster of no members".into(), "1, 3 or 5"),
            Formation::Bootstrap { expect, peers } => {
                let all: BTreeSet<&str> = peers.iter().map(String::as_str).chain([self.advertise.as_str()]).collect();
                // One more is allowed: this member may be listed under another name of its own.
                if !(*expect..=expect + 1).contains(&all.len()) {
                    let what = format!("{} addresses for {expect} members", all.len());
                    problem("peers", what, "name the address of every member, and of nobody else");
                }
            }
            Formation::Join { addresses } if addresses.is_empty() => {
                problem("join", "nobody to join".into(), "the address of any member");
            }
            Formation::Join { .. } => {}
        }
        let RaftTimings { heartbeat_ms, election_min_ms, election_max_ms, .. } = self.timings;
        if heartbeat_ms == 0 || election_min_ms <= heartbeat_ms || election_max_ms <= election_min_ms {
            problem(
                "timings",
                format!("heartbeat {heartbeat_ms} ms, election {election_min_ms} to {election_max_ms} ms"),
                "0 < heartbeat < shortest election timeout < longest",
            );
        }
        if self.timings.snapshot_after_entries == 0 {
            problem("timings", "a snapshot after every entry".into(), "1000 or more");
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Options { problems }) }
    }

    fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let (field, others) = match &self.formation {
            Formation::Bootstrap { peers, .. } => ("peers", peers),
            Formation::Join { addresses } => ("join", addresses),
        };
        [("advertise", self.advertise.as_str())]
            .into_iter()
            .chain(others.iter().map(move |other| (field, other.as_str())))
    }
}

// === impl RaftTimings ===

impl Default for RaftTimings {
    fn default() -> Self {
        DEFAULTS
    }
}

impl RaftTimings {
    pub(super) fn append(&self) -> Duration {
        Duration::from_millis(self.append_ms)
    }

    pub(super) fn form_retry(&self) -> Duration {
        Duration::from_millis(self.form_retry_ms)
    }
}

// === impl RaftToken ===

impl RaftToken {
    /// Wraps a secret of printable ASCII.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into().into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RaftToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RaftToken(…)")
    }
}

// === impl Dialer ===

impl Dialer {
    /// Opens connections with `dial`.
    pub fn new(dial: impl Fn(&Endpoint) -> Channel + Send + Sync + 'static) -> Self {
        Self(Arc::new(dial))
    }

    /// Opens connections as addresses say, over TLS to whom `trust` believes.
    pub fn believing(trust: Option<Trust>) -> Self {
        Self::new(move |endpoint| tls::channel(endpoint, trust.as_ref()))
    }

    pub(super) fn dial(&self, endpoint: &Endpoint) -> Channel {
        self.0(endpoint)
    }
}

impl Default for Dialer {
    fn default() -> Self {
        Self::believing(None)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

/// Returns the endpoint of `host:port` or `https://host:port`, or `None` if it is neither.
pub(super) fn endpoint(address: &str) -> Option<Endpoint> {
    let authority: http::uri::Authority = address::authority(address).parse().ok()?;
    let port = authority.port_u16().filter(|port| *port != 0);
    if port.is_none() || authority.host().is_empty() || address.contains('@') {
        return None;
    }
    Endpoint::from_shared(address::url(address)).ok()
}
