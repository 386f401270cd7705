//! The running member behind every handle: proposals and linearizable reads, here or through the leader.
//!
//! One hop at most: a member that is not the leader asks the one it believes to be, and that one answers for itself or
//! names another. What may be repeated safely is repeated here until the deadline; what may already have been carried
//! out is not, and is reported as such.

use std::{sync::Arc, time::Duration};

use berth_core::id::{LogIndex, MemberId};
use berth_proto::raft::v1 as proto;
use bytes::Bytes;
use openraft::{
    ReadPolicy,
    errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError},
};
use tokio::{
    sync::{Mutex, Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{
    error::Error,
    machine::StateMachine,
    options::{MAX_COMMAND_BYTES, RaftTimings},
    peers::{CallError, Lane, Peers},
    status::{Member, RaftStatus},
    types::{Command, Engine, Types},
};
use crate::store::{Applied, StoreFailure};

/// Proposals under way at once on one member. They wait in memory; beyond this, callers wait outside.
const PROPOSALS: usize = 1024;

/// Pause before asking again while no leader is known, unless one becomes known earlier.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

/// Time a reply needs on its way back: the leader gives up this much earlier, so that its words arrive.
const REPLY_MARGIN: Duration = Duration::from_millis(20);

/// A command that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its position in the log.
    pub index: LogIndex,
    /// What the state machine answered.
    pub reply: Vec<u8>,
}

/// A member that runs.
pub(super) struct Running {
    pub(super) id: MemberId,
    pub(super) cluster: String,
    pub(super) advertise: String,
    /// How many members this one wants to form a cluster with; 0 when it only joins.
    pub(super) expects: u32,
    pub(super) timings: RaftTimings,
    pub(super) engine: Engine,
    pub(super) machine: Arc<dyn StateMachine>,
    pub(super) peers: Peers,
    pub(super) status: watch::Sender<Arc<RaftStatus>>,
    pub(super) applied: watch::Receiver<Applied>,
    pub(super) store: watch::Receiver<Option<StoreFailure>>,
    pub(super) proposals: Semaphore,
    /// Held by the one membership change under way on this member.
    pub(super) changing: Mutex<()>,
    pub(super) stop: CancellationToken,
}

/// Why the member that was asked did not do it.
pub(super) enum NotDone {
    /// It does not lead; who does, if it knows, and anything else it has to say.
    NotLeader(Option<Member>, String),
    /// It cannot tell whether it was done.
    Unknown(String),
    /// It will not be done.
    Error(Error),
}

// === impl Running ===

impl Running {
    pub(super) fn permits() -> Semaphore {
        Semaphore::new(PROPOSALS)
    }

    pub(super) fn now(&self) -> Arc<RaftStatus> {
        self.status.borrow().clone()
    }

    /// Proposes `command` wherever the leader is.
    pub(super) async fn propose(&self, command: Bytes, deadline: Instant) -> Result<Proposed, Error> {
        if command.len() > MAX_COMMAND_BYTES {
            return Err(Error::TooLarge { bytes: command.len(), limit: MAX_COMMAND_BYTES });
        }
        let mut search = Search::new(self, deadline);
        loop {
            let outcome = match search.next().await? {
                Target::Here => self.propose_here(command.clone(), deadline).await,
                Target::There(leader) => self.propose_there(&leader, command.clone(), deadline).await,
            };
            match outcome {
                Ok(proposed) => return Ok(proposed),
                Err(NotDone::Unknown(why)) => return Err(Error::OutcomeUnknown { why }),
                Err(NotDone::Error(error)) => return Err(error),
                Err(NotDone::NotLeader(leader, why)) => search.failed(leader, why),
            }
        }
    }

    /// Proposes `command` if this member leads.
    pub(super) async fn propose_here(&self, command: Bytes, deadline: Instant) -> Result<Proposed, NotDone> {
        self.alive().map_err(NotDone::Error)?;
        let Ok(permit) = timeout_at(deadline, self.proposals.acquire()).await else {
            return Err(NotDone::Error(Error::Deadline { doing: "a place among the proposals under way".into() }));
        };
        let _permit = permit.map_err(|_| NotDone::Error(Error::Stopped { why: "it was shut down".into() }))?;
        match timeout_at(deadline, self.engine.client_write(Command(command))).await {
            Ok(Ok(written)) => Ok(Proposed { index: LogIndex(written.log_id.index), reply: written.data.0 }),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(hint)))) => Err(self.not_leader(&hint)),
            Ok(Err(RaftError::APIError(broken))) => Err(NotDone::Unknown(broken.to_string())),
            Ok(Err(RaftError::Fatal(fatal))) => Err(NotDone::Unknown(format!("the member stopped meanwhile: {fatal}"))),
            Err(_) => Err(NotDone::Unknown("the deadline passed before a majority had confirmed it".into())),
        }
    }

    async fn propose_there(&self, leader: &Member, command: Bytes, deadline: Instant) -> Result<Proposed, NotDone> {
        let message = proto::ProposeRequest { command, deadline_ms: remaining_ms(deadline) };
        let call = self.peers.member(leader.id, Lane::Calls);
        let mut client = call.map_err(|broken| NotDone::NotLeader(None, broken.words()))?;
        let reply = match timeout_at(deadline, client.propose(Request::new(message))).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(self.failed_call(leader, &status)),
            Err(_) => return Err(NotDone::Unknown("the deadline passed before the leader answered".into())),
        };
        use proto::propose_reply::Outcome;
        match reply.outcome {
            Some(Outcome::Proposed(done)) => Ok(Proposed { index: LogIndex(done.index), reply: done.reply.into() }),
            Some(Outcome::NotLeader(other)) => Err(not_leader(other)),
            Some(Outcome::Unknown(why)) => Err(NotDone::Unknown(why)),
            None => Err(NotDone::Unknown(format!("{} answered without saying what became of it", leader.address))),
        }
    }

    /// Returns once the local state contains everything committed before the call.
    pub(super) async fn read_barrier(&self, deadline: Instant) -> Result<LogIndex, Error> {
        let mut search = Search::new(self, deadline);
        let index = loop {
            let outcome = match search.next().await? {
                Target::Here => self.read_index_here(deadline).await,
                Target::There(leader) => self.read_index_there(&leader, deadline).await,
            };
            match outcome {
                Ok(index) => break index,
                Err(NotDone::Error(error)) => return Err(error),
                Err(NotDone::NotLeader(leader, why)) => search.failed(leader, why),
                // Asking again does no harm.
                Err(NotDone::Unknown(why)) => search.failed(None, why),
            }
        };
        self.wait_applied(index, deadline).await
    }

    /// Returns up to where a linearizable read must have applied, if this member leads.
    pub(super) async fn read_index_here(&self, deadline: Instant) -> Result<LogIndex, NotDone> {
        self.alive().map_err(NotDone::Error)?;
        match timeout_at(deadline, self.engine.get_read_linearizer(ReadPolicy::ReadIndex)).await {
            Ok(Ok(ready)) => Ok(LogIndex(ready.read_log_id().index())),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(hint)))) => Err(self.not_leader(&hint)),
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(broken)))) => {
                Err(NotDone::NotLeader(None, broken.to_string()))
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(NotDone::Error(Error::Stopped { why: fatal.to_string() })),
            Err(_) => Err(NotDone::NotLeader(None, "no majority confirmed in time that it still leads".into())),
        }
    }

    async fn read_index_there(&self, leader: &Member, deadline: Instant) -> Result<LogIndex, NotDone> {
        // A leader that is stuck must not use up the caller's time: asking again does no harm.
        let deadline = deadline.min(Instant::now() + self.timings.append());
        let message = proto::ReadIndexRequest { deadline_ms: remaining_ms(deadline) };
        let call = self.peers.member(leader.id, Lane::Calls);
        let mut client = call.map_err(|broken| NotDone::NotLeader(None, broken.words()))?;
        let reply = match timeout_at(deadline, client.read_index(Request::new(message))).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(self.failed_call(leader, &status)),
            Err(_) => return Err(NotDone::Unknown("the leader did not answer in time".into())),
        };
        use proto::read_index_reply::Outcome;
        match reply.outcome {
            Some(Outcome::Index(index)) => Ok(LogIndex(index)),
            Some(Outcome::NotLeader(other)) => Err(not_leader(other)),
            None => Err(NotDone::NotLeader(None, format!("{} answered without an index", leader.address))),
        }
    }

    /// Returns once the local state contains entry `index`.
    pub(super) async fn wait_applied(&self, index: LogIndex, deadline: Instant) -> Result<LogIndex, Error> {
        let mut applied = self.applied.clone();
        let mut status = self.status.subscribe();
        let reached = applied.wait_for(|applied| applied.is_some_and(|applied| applied >= index));
        tokio::select! {
            biased;
            reached = reached => match reached {
                Ok(applied) => Ok(applied.unwrap_or(index)),
                Err(_) => Err(self.stopped()),
            },
            _ = status.wait_for(|status| status.fatal.is_some()) => Err(self.stopped()),
            () = tokio::time::sleep_until(deadline) => {
                Err(Error::Deadline { doing: format!("entry {index} to be applied here") })
            }
        }
    }

    /// Refuses once the member has stopped.
    pub(super) fn alive(&self) -> Result<(), Error> {
        if self.status.borrow().fatal.is_some() || self.store.borrow().is_some() { Err(self.stopped()) } else { Ok(()) }
    }

    /// Says why the member has stopped.
    pub(super) fn stopped(&self) -> Error {
        if let Some(failure) = &*self.store.borrow() {
            return failure.clone().into();
        }
        let why = self.status.borrow().fatal.clone();
        Error::Stopped { why: why.as_deref().unwrap_or("it is shutting down").to_owned() }
    }

    pub(super) fn not_leader(&self, hint: &ForwardToLeader<Types>) -> NotDone {
        let leader = hint.leader_id.zip(hint.leader_node.as_ref()).map(|(id, peer)| Member {
            id: MemberId(id),
            address: peer.addr.clone(),
            voter: true,
        });
        let why = match &leader {
            Some(leader) if leader.id == self.id => "the leader has not heard from a majority lately",
            Some(_) => "another member leads",
            None => "no leader has been elected yet",
        };
        NotDone::NotLeader(leader.filter(|leader| leader.id != self.id), why.to_owned())
    }

    fn failed_call(&self, leader: &Member, status: &tonic::Status) -> NotDone {
        match self.peers.explain(&leader.address, status) {
            CallError::NotSent(why) => NotDone::NotLeader(None, why),
            CallError::Lost(why) => NotDone::Unknown(why),
            CallError::Refused(error) => NotDone::Error(error),
        }
    }
}

/// Where to try.
pub(super) enum Target {
    Here,
    There(Member),
}

/// Looks for the leader until the deadline.
pub(super) struct Search<'a> {
    member: &'a Running,
    status: watch::Receiver<Arc<RaftStatus>>,
    deadline: Instant,
    /// Whom the last member asked named.
    hint: Option<Member>,
    why: Option<String>,
}

// === impl Search ===

impl<'a> Search<'a> {
    pub(super) fn new(member: &'a Running, deadline: Instant) -> Self {
        Self { member, status: member.status.subscribe(), deadline, hint: None, why: None }
    }

    /// Notes that the last target did not do it.
    pub(super) fn failed(&mut self, leader: Option<Member>, why: String) {
        self.hint = leader;
        self.why = Some(why);
    }

    /// Returns where to try next; after a failure without a hint, waits for news or a moment.
    pub(super) async fn next(&mut self) -> Result<Target, Error> {
        loop {
            self.member.alive()?;
            if Instant::now() >= self.deadline {
                let why = self.why.take().unwrap_or_else(|| "none was known before the deadline".into());
                return Err(Error::NoLeader { why });
            }
            // A hint is tried at once: it comes from a member that knows better.
            if let Some(leader) = self.hint.take() {
                self.member.peers.introduce(leader.id, &leader.address);
                return Ok(if leader.id == self.member.id { Target::Here } else { Target::There(leader) });
            }
            let pause = (Instant::now() + LEADER_PAUSE).min(self.deadline);
            if self.why.is_some() {
                let _ = timeout_at(pause, self.status.changed()).await;
            }
            let status = self.status.borrow_and_update().clone();
            match &status.leader {
                Some(leader) if leader.id == self.member.id => return Ok(Target::Here),
                Some(leader) => return Ok(Target::There(leader.clone())),
                None => {
                    self.why.get_or_insert_with(|| {
                        if status.formed {
                            "no leader has been elected yet"
                        } else {
                            "this member belongs to no cluster yet"
                        }
                        .to_owned()
                    });
                }
            }
        }
    }
}

pub(super) fn not_leader(other: proto::NotLeader) -> NotDone {
    let leader = other.leader.map(|leader| Member { id: MemberId(leader.id), address: leader.address, voter: true });
    NotDone::NotLeader(leader, other.why)
}

/// Returns the time left for the other side to work.
pub(super) fn remaining_ms(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(REPLY_MARGIN);
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}
