//! Proposing: a command is stamped once, replicated, and answered from the state it made.
//!
//! A command whose outcome is unknown is proposed again, the very same bytes, when it carries a request id: the reply
//! table then gives the first answer instead of a second effect. Without a request id nobody may try twice.

use std::sync::{Arc, Mutex, PoisonError};

use berth_core::{
    controller::LogClock,
    error::Error,
    id::{LogIndex, RequestId},
    state::{Command, Entry, Reply},
    time::LogTime,
};
use berth_proto::store;
use bytes::Bytes;
use tokio::time::{Duration, Instant};

use crate::{
    clock::Clock,
    machine::{Machine, unexpected},
    raft::RaftHandle,
};

/// Pause before a command of unknown outcome is proposed again: a new leader is elected in a few of these.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Proposes commands.
#[derive(Clone, Debug)]
pub(crate) struct Proposer {
    raft: RaftHandle,
    machine: Arc<Machine>,
    wall: fn() -> LogTime,
    clock: Clock,
    /// What proposals are stamped with where the wall clock went back.
    log_clock: Arc<Mutex<LogClock>>,
}

/// Who asks for a command, and as which request.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) principal: String,
    pub(crate) request_id: Option<RequestId>,
    pub(crate) fingerprint: u64,
}

/// What became of a command, here and in the log.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) index: LogIndex,
    pub(crate) reply: Reply,
}

// === impl Asker ===

impl Asker {
    /// The cluster itself: nobody retries its commands, whoever proposed them decides anew.
    pub(crate) fn cluster(part: &str) -> Self {
        Self { principal: part.to_owned(), request_id: None, fingerprint: 0 }
    }
}

// === impl Proposer ===

impl Proposer {
    pub(crate) fn new(raft: RaftHandle, machine: Arc<Machine>, wall: fn() -> LogTime, clock: Clock) -> Self {
        Self { raft, machine, wall, clock, log_clock: Arc::default() }
    }

    fn stamp(&self) -> LogTime {
        let now = self.clock.monotonic();
        let mut log_clock = self.log_clock.lock().unwrap_or_else(PoisonError::into_inner);
        log_clock.follow(self.machine.read(|state| state.time), now);
        log_clock.stamp((self.wall)(), now)
    }

    /// Proposes a command and waits until this member has applied it, so that its caller reads its own write here.
    /// A refusal by the state is an answer, not an error.
    pub(crate) async fn propose(&self, asker: Asker, command: Command, deadline: Instant) -> Result<Done, Error> {
        // Before it is in anybody's log: a member that does not know it would have to stop.
        command.check_level(self.machine.read(|state| state.feature_level))?;
        let again = asker.request_id.is_some();
        let entry = Entry {
            proposed_at: self.stamp(),
            request_id: asker.request_id,
            fingerprint: asker.fingerprint,
            principal: asker.principal,
            command,
        };
        let bytes = Bytes::from(store::encode_entry(&entry));
        let proposed = loop {
            match self.raft.propose(bytes.clone(), deadline).await {
                Ok(proposed) => break proposed,
                Err(error) if again && error.may_have_been_applied() && Instant::now() + RETRY_PAUSE < deadline => {
                    tracing::debug!(%error, "the outcome of a command is unknown, proposing it again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let reply = store::decode_reply(&proposed.reply)?;
        self.raft.wait_applied(proposed.index, deadline).await?;
        Ok(Done { index: proposed.index, reply })
    }

    /// Proposes a command that changes an object; returns the object's revision.
    pub(crate) async fn change(&self, asker: Asker, command: Command, deadline: Instant) -> Result<LogIndex, Error> {
        match self.propose(asker, command, deadline).await?.reply {
            Reply::Done { revision } => Ok(revision),
            Reply::Refused(error) => Err(error),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns once this member has applied everything that was committed before the call.
    pub(crate) async fn barrier(&self, deadline: Instant) -> Result<LogIndex, Error> {
        Ok(self.raft.read_barrier(deadline).await?)
    }

    pub(crate) fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }
}
