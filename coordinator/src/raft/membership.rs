//! Who belongs to the cluster, and who leads it: changes made by the leader, asked for from anywhere.
//!
//! Every change is idempotent, so a lost answer is asked for again. A member joins as a learner and becomes a voter once
//! it has caught up: a voter without the log would only raise the majority. If it comes from the address of a member
//! with another id, that one has lost its store and cannot come back, and the newcomer takes its place in the same step.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{address, id::MemberId};
use berth_proto::raft::v1 as proto;
use openraft::{
    ChangeMembers, RaftMetrics, ServerState,
    async_runtime::watch::WatchReceiver as _,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::time::{Instant, timeout_at};
use tonic::Request;

use super::{
    error::Error,
    member::{NotDone, Running, Search, Target, not_leader, remaining_ms},
    peers::Lane,
    status::Member,
    types::{Peer, Types},
};

/// Entries a learner may be behind when it becomes a voter: what arrives while it catches up with the rest.
const PROMOTE_LAG: u64 = 64;

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Join(MemberId, String),
    AddLearner(MemberId, String),
    Promote(MemberId),
    Remove(MemberId),
    Readdress(MemberId, String),
    Lead(MemberId),
}

enum NotChanged {
    /// Ask again.
    Later(String),
    Not(NotDone),
}

impl From<NotDone> for NotChanged {
    fn from(not: NotDone) -> Self {
        Self::Not(not)
    }
}

impl From<Error> for NotChanged {
    fn from(error: Error) -> Self {
        Self::Not(NotDone::Error(error))
    }
}

// === impl Running ===

impl Running {
    /// Makes `change` wherever the leader is.
    pub(super) async fn change(&self, change: &Change, deadline: Instant) -> Result<(), Error> {
        let mut search = Search::new(self, deadline);
        let mut asked_before = false;
        loop {
            let target = match search.next().await {
                Err(Error::NoLeader { why }) if asked_before => {
                    return Err(Error::Deadline { doing: format!("the membership to change: {why}") });
                }
                target => target?,
            };
            let outcome = match target {
                Target::Here => self.change_here(change, deadline).await,
                Target::There(leader) => self.change_there(&leader, change, deadline).await,
            };
            match outcome {
                Ok(()) => return Ok(()),
                // The answer to an earlier attempt was lost, and that attempt removed it.
                Err(NotDone::Error(Error::UnknownMember(_))) if asked_before && matches!(change, Change::Remove(_)) => {
                    return Ok(());
                }
                Err(NotDone::Error(error)) => return Err(error),
                Err(NotDone::NotLeader(leader, why)) => search.failed(leader, why),
                Err(NotDone::Unknown(why)) => {
                    asked_before = true;
                    search.failed(None, why);
                }
            }
        }
    }

    /// Makes `change` if this member leads; `NotDone::Unknown` asks to be called again.
    pub(super) async fn change_here(&self, change: &Change, deadline: Instant) -> Result<(), NotDone> {
        self.alive().map_err(NotDone::Error)?;
        let made = timeout_at(deadline, async {
            let _turn = self.changing.lock().await;
            self.make(change).await
        });
        match made.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotChanged::Later(why))) => Err(NotDone::Unknown(why)),
            Ok(Err(NotChanged::Not(not))) => Err(not),
            Err(_) => Err(NotDone::Unknown("the deadline passed before a majority had confirmed it".into())),
        }
    }

    async fn change_there(&self, leader: &Member, change: &Change, deadline: Instant) -> Result<(), NotDone> {
        let call = self.peers.member(leader.id, Lane::Calls);
        let client = call.map_err(|broken| NotDone::NotLeader(None, broken.words()))?;
        self.ask(client, &leader.address, change, deadline).await
    }

    /// Asks whoever answers at `address` to make `change`.
    pub(super) async fn change_at(&self, address: &str, change: &Change, deadline: Instant) -> Result<(), NotDone> {
        let client = self.peers.address(address).map_err(|broken| NotDone::NotLeader(None, broken.words()))?;
        self.ask(client, address, change, deadline).await
    }

    async fn ask(
        &self,
        mut client: super::peers::Client,
        address: &str,
        change: &Change,
        deadline: Instant,
    ) -> Result<(), NotDone> {
        let message = change.to_message(remaining_ms(deadline));
        let reply = match timeout_at(deadline, client.change_membership(Request::new(message))).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => {
                return Err(match self.peers.explain(address, &status) {
                    super::peers::CallError::NotSent(why) => NotDone::NotLeader(None, why),
                    super::peers::CallError::Lost(why) => NotDone::Unknown(why),
                    super::peers::CallError::Refused(error) => NotDone::Error(error),
                });
            }
            Err(_) => return Err(NotDone::Unknown(format!("{address} did not answer in time"))),
        };
        use proto::change_membership_reply::Outcome;
        match reply.outcome {
            Some(Outcome::Done(_)) => Ok(()),
            Some(Outcome::NotLeader(other)) => Err(not_leader(other)),
            Some(Outcome::Retry(why)) => Err(NotDone::Unknown(why)),
            Some(Outcome::Refused(refused)) if refused.unknown_member => {
                Err(NotDone::Error(Error::UnknownMember(change.subject())))
            }
            Some(Outcome::Refused(refused)) => Err(NotDone::Error(Error::Membership { why: refused.why })),
            None => Err(NotDone::Unknown(format!("{address} answered without an outcome"))),
        }
    }

    async fn make(&self, change: &Change) -> Result<(), NotChanged> {
        let metrics = self.engine.metrics().borrow_watched().clone();
        if metrics.state != ServerState::Leader {
            let leader = self.now().leader.clone().filter(|leader| leader.id != self.id);
            return Err(NotDone::NotLeader(leader, "another member leads".into()).into());
        }
        let view = View::new(&metrics);
        match change {
            Change::Join(id, address) => self.take_in(&view, *id, address).await,
            Change::AddLearner(id, address) => match view.members.get(id) {
                Some(_) => self.readdress(&view, *id, address).await,
                None => self.add(*id, address).await,
            },
            Change::Readdress(id, address) => self.readdress(&view, *id, address).await,
            Change::Promote(id) => self.promote(&view, *id).await,
            Change::Remove(id) => {
                if !view.members.contains_key(id) {
                    return Err(Error::UnknownMember(*id).into());
                }
                let gone = BTreeSet::from([id.0]);
                if !view.voters.contains(id) {
                    return self.write(ChangeMembers::RemoveNodes(gone)).await;
                }
                if view.voters.len() == 1 {
                    return Err(Error::Membership { why: format!("{id} is the last voter") }.into());
                }
                self.write(ChangeMembers::RemoveVoters(gone)).await
            }
            Change::Lead(id) => self.hand_over(&view, *id).await,
        }
    }

    async fn take_in(&self, view: &View, id: MemberId, address: &str) -> Result<(), NotChanged> {
        if view.members.contains_key(&id) {
            self.readdress(view, id, address).await?;
            return self.promote(view, id).await;
        }
        if !address::takes_in(&self.advertise, address) {
            return Err(Error::Membership { why: format!("{id} speaks no TLS at {address}, this cluster does") }.into());
        }
        // It must be there: a wrong address would make a member that nobody reaches.
        match self.identify(address).await {
            Ok(found) if found.member == id.0 && found.feature_level < self.machine.demands_level() => {
                let why = format!(
                    "the build of {id} knows feature level {}, the cluster is at {}: start a newer one",
                    found.feature_level,
                    self.machine.demands_level()
                );
                return Err(Error::Membership { why }.into());
            }
            Ok(found) if found.member == id.0 => {}
            Ok(found) => {
                let found = MemberId(found.member);
                return Err(NotChanged::Later(format!("member {found} answers at {address}, not {id}")));
            }
            Err(why) => return Err(NotChanged::Later(format!("the leader cannot reach {id} at {address}: {why}"))),
        }
        self.add(id, address).await?;
        Err(NotChanged::Later(format!("{id} catches up")))
    }

    /// Asks who answers at `address`.
    pub(super) async fn identify(&self, address: &str) -> Result<proto::IdentifyReply, String> {
        let mut client = self.peers.address(address).map_err(|broken| broken.words())?;
        let deadline = Instant::now() + self.timings.append();
        match timeout_at(deadline, client.identify(Request::new(proto::IdentifyRequest {}))).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(self.peers.explain(address, &status).words()),
            Err(_) => Err("no answer in time".into()),
        }
    }

    async fn add(&self, id: MemberId, address: &str) -> Result<(), NotChanged> {
        tracing::info!(member = %id, address, "taking in a member as learner");
        self.write(ChangeMembers::AddNodes(BTreeMap::from([(id.0, Peer::new(address))]))).await
    }

    async fn readdress(&self, view: &View, id: MemberId, address: &str) -> Result<(), NotChanged> {
        match view.members.get(&id) {
            None => Err(Error::UnknownMember(id).into()),
            Some(known) if known == address => Ok(()),
            // Safe although an address may have belonged to somebody else: calls name the member they are meant for.
            Some(known) => {
                tracing::info!(member = %id, from = known, to = address, "a member moves");
                self.write(ChangeMembers::SetNodes(BTreeMap::from([(id.0, Peer::new(address))]))).await
            }
        }
    }

    async fn promote(&self, view: &View, id: MemberId) -> Result<(), NotChanged> {
        let Some(address) = view.members.get(&id) else {
            return Err(Error::UnknownMember(id).into());
        };
        if view.voters.contains(&id) {
            return Ok(());
        }
        if !view.has_caught_up(id) {
            return Err(NotChanged::Later(format!("{id} catches up")));
        }
        let lost: BTreeSet<u64> =
            view.voters.iter().filter(|other| view.members.get(other) == Some(address)).map(|other| other.0).collect();
        let promote = ChangeMembers::AddVoterIds(BTreeSet::from([id.0]));
        if lost.is_empty() {
            tracing::info!(member = %id, "a learner becomes a voter");
            return self.write(promote).await;
        }
        tracing::info!(member = %id, address, "a member whose store was lost is replaced by its successor");
        self.write(ChangeMembers::Batch(vec![promote, ChangeMembers::RemoveVoters(lost)])).await
    }

    async fn hand_over(&self, view: &View, to: MemberId) -> Result<(), NotChanged> {
        if to == self.id {
            return Ok(());
        }
        if !view.members.contains_key(&to) {
            return Err(Error::UnknownMember(to).into());
        }
        if !view.voters.contains(&to) {
            return Err(Error::Membership { why: format!("{to} is no voter") }.into());
        }
        let mut status = self.status.subscribe();
        let stopped = |fatal: openraft::errors::Fatal<Types>| Error::Stopped { why: fatal.to_string() };
        self.engine.trigger().transfer_leader(to.0).await.map_err(stopped)?;
        let taken = status.wait_for(|status| status.leader.as_ref().is_some_and(|leader| leader.id == to));
        let limit = std::time::Duration::from_millis(self.timings.election_max_ms) * 2;
        match tokio::time::timeout(limit, taken).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.stopped().into()),
            Err(_) => Err(NotChanged::Later(format!("{to} has not taken over"))),
        }
    }

    async fn write(&self, change: ChangeMembers<u64, Peer>) -> Result<(), NotChanged> {
        let Err(broken) = self.engine.change_membership(change, false).await else {
            return Ok(());
        };
        let broken = match broken {
            RaftError::APIError(broken) => broken,
            RaftError::Fatal(fatal) => return Err(Error::Stopped { why: fatal.to_string() }.into()),
        };
        Err(match broken {
            ClientWriteError::ForwardToLeader(hint) => self.not_leader(&hint).into(),
            ClientWriteError::ChangeMembershipError(
                why @ (ChangeMembershipError::EmptyMembership(_) | ChangeMembershipError::LearnerNotFound(_)),
            ) => Error::Membership { why: why.to_string() }.into(),
            later => NotChanged::Later(later.to_string()),
        })
    }

    /// Completes a change that an earlier leader left half done: until then two majorities must agree to everything.
    pub(super) async fn finish_joint_change(&self) {
        let Ok(_turn) = self.changing.try_lock() else {
            return;
        };
        let metrics = self.engine.metrics().borrow_watched().clone();
        let half_done = metrics.membership_config.get_joint_config().len() > 1;
        if metrics.state != ServerState::Leader || !half_done {
            return;
        }
        let limit = self.timings.append();
        let done = tokio::time::timeout(limit, self.write(ChangeMembers::AddVoterIds(BTreeSet::new()))).await;
        tracing::info!(done = matches!(done, Ok(Ok(()))), "completed the membership change of an earlier leader");
    }

    /// Returns the voter that is best placed to lead next.
    pub(super) fn successor(&self) -> Option<MemberId> {
        let metrics = self.engine.metrics().borrow_watched().clone();
        let view = View::new(&metrics);
        let others = view.voters.iter().copied().filter(|id| *id != self.id);
        others.filter(|id| view.has_caught_up(*id)).max_by_key(|id| view.matched.get(id).copied())
    }
}

// === impl Change ===

impl Change {
    fn subject(&self) -> MemberId {
        match self {
            Self::Join(id, _) | Self::AddLearner(id, _) | Self::Readdress(id, _) => *id,
            Self::Promote(id) | Self::Remove(id) | Self::Lead(id) => *id,
        }
    }

    fn to_message(&self, deadline_ms: u64) -> proto::ChangeMembershipRequest {
        use proto::change_membership_request::Change as Message;
        let member = |id: &MemberId, address: &String| proto::Member { id: id.0, address: address.clone() };
        let change = match self {
            Self::Join(id, address) => Message::Join(member(id, address)),
            Self::AddLearner(id, address) => Message::AddLearner(member(id, address)),
            Self::Promote(id) => Message::Promote(id.0),
            Self::Remove(id) => Message::Remove(id.0),
            Self::Readdress(id, address) => Message::Readdress(member(id, address)),
            Self::Lead(id) => Message::Lead(id.0),
        };
        proto::ChangeMembershipRequest { change: Some(change), deadline_ms }
    }

    /// Decodes a change; `None` if it is of no known kind or names no usable address.
    pub(super) fn from_message(message: proto::ChangeMembershipRequest) -> Option<Self> {
        use proto::change_membership_request::Change as Message;
        let placed = |member: proto::Member| {
            super::options::endpoint(&member.address).map(|_| (MemberId(member.id), member.address))
        };
        Some(match message.change? {
            Message::Join(member) => placed(member).map(|(id, address)| Self::Join(id, address))?,
            Message::AddLearner(member) => placed(member).map(|(id, address)| Self::AddLearner(id, address))?,
            Message::Readdress(member) => placed(member).map(|(id, address)| Self::Readdress(id, address))?,
            Message::Promote(id) => Self::Promote(MemberId(id)),
            Message::Remove(id) => Self::Remove(MemberId(id)),
            Message::Lead(id) => Self::Lead(MemberId(id)),
        })
    }
}

/// The membership as the leader sees it, with how far everybody has come.
struct View {
    members: BTreeMap<MemberId, String>,
    voters: BTreeSet<MemberId>,
    matched: BTreeMap<MemberId, u64>,
    last: u64,
}

// === impl View ===

impl View {
    fn new(metrics: &RaftMetrics<Types>) -> Self {
        let membership = metrics.membership_config.membership();
        let matched = metrics.replication.iter().flatten();
        Self {
            members: membership.nodes().map(|(id, peer)| (MemberId(*id), peer.addr.clone())).collect(),
            voters: membership.voter_ids().map(MemberId).collect(),
            matched: matched.filter_map(|(id, log)| log.map(|log| (MemberId(*id), log.index))).collect(),
            last: metrics.last_log_index.unwrap_or_default(),
        }
    }

    fn has_caught_up(&self, id: MemberId) -> bool {
        self.matched.get(&id).is_some_and(|matched| matched + PROMOTE_LAG >= self.last)
    }
}
