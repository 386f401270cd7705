//! The artifact store: the bytes of models and code on the coordinators' disks, addressed by their SHA-256.
//!
//! The log holds digests only. The member that receives an upload stores it, hands it to the others and proposes
//! [`AssetCommit`](berth_core::state::Command::AssetCommit) once a majority has it on disk; whatever a member lacks or
//! finds damaged it fetches from another, in the background.

mod replicate;
mod serve;
mod store;
mod tend;

use std::{sync::Arc, time::Duration};

use berth_core::error::{Code, Error};
use berth_proto::peer::v1::peer_client::PeerClient;
use tokio::sync::{Semaphore, watch};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

pub(crate) use serve::Reading;
pub(crate) use store::BlobStore;

use crate::{auth::MemberPass, machine::Machine, peers::Peers, propose::Proposer, raft::RaftHandle};

/// Bytes in one message: large enough that the call costs little, small enough to share a connection.
const CHUNK_BYTES: usize = 256 << 10;

/// Uploads and repairs taken at once. Each occupies a thread that writes and hashes.
const WRITES_MAX: usize = 8;

/// Assets read at once, for nodes and members together.
const READS_MAX: usize = 64;

/// A transfer in which nothing moves for so long is given up.
const STALL: Duration = Duration::from_secs(30);

/// How the store is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Largest asset taken.
    pub(crate) max_bytes: u64,
    /// How long an asset nothing refers to is kept.
    pub(crate) grace: Duration,
    /// How often a member looks for what it lacks, and reads one blob to see whether it is still whole.
    pub(crate) scrub_interval: Duration,
}

/// The artifact store of this member.
#[derive(Debug)]
pub(crate) struct Artifacts {
    store: Arc<BlobStore>,
    settings: Settings,
    machine: Arc<Machine>,
    raft: RaftHandle,
    proposer: Proposer,
    peers: Peers,
    pass: MemberPass,
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    /// Whether this member once held every asset of the cluster. Before that it counts towards no majority.
    caught_up: watch::Sender<bool>,
    /// Bumped when something is missing, so that it is fetched now rather than at the next round.
    lacking: watch::Sender<u64>,
}

// === impl Artifacts ===

impl Artifacts {
    pub(crate) fn new(
        store: BlobStore,
        settings: Settings,
        machine: Arc<Machine>,
        raft: RaftHandle,
        proposer: Proposer,
        peers: Peers,
        pass: MemberPass,
    ) -> Self {
        let caught_up = watch::Sender::new(store.is_caught_up());
        Self {
            store: Arc::new(store),
            settings,
            machine,
            raft,
            proposer,
            peers,
            pass,
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            caught_up,
            lacking: watch::Sender::new(0),
        }
    }

    /// Connects to the store of the member at `address`.
    fn peer(&self, address: &str) -> Result<PeerClient<InterceptedService<Channel, MemberPass>>, Error> {
        Ok(PeerClient::with_interceptor(self.peers.channel(address)?, self.pass.clone()))
    }
}

fn busy() -> Error {
    Error::new(Code::TooManyRequests, "too many assets are being transferred").try_("wait a moment")
}

fn stalled(what: &str) -> Error {
    Error::new(Code::Timeout, format!("{what} stalled")).why(format!("nothing moved for {} s", STALL.as_secs()))
}
