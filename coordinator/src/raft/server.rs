//! The receiving side: other members' calls, handed to consensus.

use std::{sync::Arc, time::Duration};

use berth_core::id::MemberId;
use berth_proto::raft::v1::{self as proto, raft_server::Raft};
use bytes::BytesMut;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{self, Malformed},
    error::Error,
    member::{NotDone, Running},
    membership::Change,
    status::Member,
    types::{Snapshot, Types},
};

/// Longest snapshot taken. The state is held in memory; this keeps a wrong length from asking for all of it.
const MAX_SNAPSHOT_BYTES: u64 = 1024 * 1024 * 1024;

/// Serves `berth.raft.v1.Raft` for one member.
pub struct RaftRpc {
    pub(super) member: Arc<Running>,
}

type Answer<T> = Result<Response<T>, Status>;

// === impl RaftRpc ===

#[tonic::async_trait]
impl Raft for RaftRpc {
    async fn append(&self, request: Request<proto::AppendRequest>) -> Answer<proto::AppendReply> {
        let request = request.into_inner();
        let entries: Result<Vec<_>, Malformed> = request.entries.into_iter().map(convert::to_entry).collect();
        let rpc = AppendEntriesRequest {
            vote: convert::need_vote(request.vote.as_ref()).map_err(malformed)?,
            prev_log_id: request.previous.as_ref().map(convert::to_log_id),
            entries: entries.map_err(malformed)?,
            leader_commit: request.committed.as_ref().map(convert::to_log_id),
        };
        use proto::append_reply::Outcome;
        let outcome = match self.member.engine.append_entries(rpc).await.map_err(stopped)? {
            AppendEntriesResponse::Success => Outcome::Success(proto::Accepted {}),
            AppendEntriesResponse::PartialSuccess(last) => {
                Outcome::Partial(proto::PartialSuccess { last: last.as_ref().map(convert::log_id) })
            }
            AppendEntriesResponse::Conflict => Outcome::Conflict(proto::Conflict {}),
            AppendEntriesResponse::HigherVote(vote) => Outcome::Higher(convert::vote(&vote)),
        };
        Ok(Response::new(proto::AppendReply { outcome: Some(outcome) }))
    }

    async fn vote(&self, request: Request<proto::VoteRequest>) -> Answer<proto::VoteReply> {
        let rpc = vote_request(request.get_ref())?;
        Ok(vote_reply(&self.member.engine.vote(rpc).await.map_err(stopped)?))
    }

    async fn pre_vote(&self, request: Request<proto::VoteRequest>) -> Answer<proto::VoteReply> {
        let rpc = vote_request(request.get_ref())?;
        Ok(vote_reply(&self.member.engine.pre_vote(rpc).await.map_err(stopped)?))
    }

    async fn install_snapshot(&self, request: Request<Streaming<proto::SnapshotPart>>) -> Answer<proto::SnapshotReply> {
        let mut parts = request.into_inner();
        let Some(proto::SnapshotPart { part: Some(proto::snapshot_part::Part::Header(header)) }) =
            parts.message().await?
        else {
            return Err(malformed(Malformed("a snapshot without header")));
        };
        let vote = convert::need_vote(header.vote.as_ref()).map_err(malformed)?;
        let meta = header.meta.as_ref().ok_or(Malformed("a snapshot that does not say what it covers"));
        let meta = convert::to_snapshot_meta(meta.map_err(malformed)?).map_err(malformed)?;
        if header.length > MAX_SNAPSHOT_BYTES {
            let words = format!("a snapshot of {} bytes is over the limit of {MAX_SNAPSHOT_BYTES}", header.length);
            return Err(Status::resource_exhausted(words));
        }
        // Grown by what arrives, not by what is announced.
        let mut bytes = BytesMut::new();
        while let Some(part) = parts.message().await? {
            let Some(proto::snapshot_part::Part::Chunk(chunk)) = part.part else {
                return Err(malformed(Malformed("a second snapshot header")));
            };
            if bytes.len() as u64 + chunk.len() as u64 > header.length {
                return Err(malformed(Malformed("a snapshot longer than announced")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() as u64 != header.length || crc32fast::hash(&bytes) != header.crc32 {
            return Err(malformed(Malformed("a snapshot that does not match its checksum")));
        }
        let snapshot = Snapshot { meta, snapshot: bytes.freeze() };
        let reply = self.member.engine.install_full_snapshot(vote, snapshot).await;
        let reply = reply.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
        Ok(Response::new(proto::SnapshotReply { vote: Some(convert::vote(&reply.vote)) }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<proto::TransferLeadershipRequest>,
    ) -> Answer<proto::TransferLeadershipReply> {
        let request = request.into_inner();
        let from = convert::need_vote(request.from.as_ref()).map_err(malformed)?;
        let rpc = TransferLeaderRequest::new(from, request.to, request.last.as_ref().map(convert::to_log_id));
        let answer = self.member.engine.handle_transfer_leader(rpc).await;
        let answer = answer.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
        let refused = answer.err().map(|why| why.to_string()).unwrap_or_default();
        Ok(Response::new(proto::TransferLeadershipReply { refused }))
    }

    async fn propose(&self, request: Request<proto::ProposeRequest>) -> Answer<proto::ProposeReply> {
        let request = request.into_inner();
        let outcome = self.member.propose_here(request.command, deadline(request.deadline_ms)).await;
        use proto::propose_reply::Outcome;
        let outcome = match outcome {
            Ok(done) => Outcome::Proposed(proto::Proposed { index: done.index.0, reply: done.reply.into() }),
            Err(NotDone::NotLeader(leader, why)) => Outcome::NotLeader(not_leader(leader, why)),
            Err(NotDone::Unknown(why)) => Outcome::Unknown(why),
            // Nothing was proposed, so the caller may go on looking for somebody who can.
            Err(NotDone::Error(error)) => Outcome::NotLeader(not_leader(None, error.to_string())),
        };
        Ok(Response::new(proto::ProposeReply { outcome: Some(outcome) }))
    }

    async fn read_index(&self, request: Request<proto::ReadIndexRequest>) -> Answer<proto::ReadIndexReply> {
        let outcome = self.member.read_index_here(deadline(request.get_ref().deadline_ms)).await;
        use proto::read_index_reply::Outcome;
        let outcome = match outcome {
            Ok(index) => Outcome::Index(index.0),
            Err(NotDone::NotLeader(leader, why)) => Outcome::NotLeader(not_leader(leader, why)),
            Err(NotDone::Unknown(why)) => Outcome::NotLeader(not_leader(None, why)),
            Err(NotDone::Error(error)) => Outcome::NotLeader(not_leader(None, error.to_string())),
        };
        Ok(Response::new(proto::ReadIndexReply { outcome: Some(outcome) }))
    }

    async fn identify(&self, _: Request<proto::IdentifyRequest>) -> Answer<proto::IdentifyReply> {
        let status = self.member.now();
        Ok(Response::new(proto::IdentifyReply {
            member: self.member.id.0,
            address: self.member.advertise.clone(),
            formed: status.formed,
            expects: self.member.expects,
            leader: status.leader.clone().map(to_member),
            feature_level: self.member.machine.knows_level(),
        }))
    }

    async fn change_membership(
        &self,
        request: Request<proto::ChangeMembershipRequest>,
    ) -> Answer<proto::ChangeMembershipReply> {
        let request = request.into_inner();
        let deadline = deadline(request.deadline_ms);
        let change = Change::from_message(request);
        let change = change.ok_or(Malformed("an unknown change, or one without a usable address"));
        let outcome = self.member.change_here(&change.map_err(malformed)?, deadline).await;
        use proto::change_membership_reply::Outcome;
        let outcome = match outcome {
            Ok(()) => Outcome::Done(proto::Accepted {}),
            Err(NotDone::NotLeader(leader, why)) => Outcome::NotLeader(not_leader(leader, why)),
            Err(NotDone::Unknown(why)) => Outcome::Retry(why),
            Err(NotDone::Error(Error::UnknownMember(id))) => {
                Outcome::Refused(proto::MembershipRefused { why: format!("no member {id}"), unknown_member: true })
            }
            Err(NotDone::Error(Error::Membership { why })) => {
                Outcome::Refused(proto::MembershipRefused { why, unknown_member: false })
            }
            Err(NotDone::Error(error)) => Outcome::NotLeader(not_leader(None, error.to_string())),
        };
        Ok(Response::new(proto::ChangeMembershipReply { outcome: Some(outcome) }))
    }
}

fn deadline(ms: u64) -> Instant {
    // An hour is longer than anybody waits, and keeps a huge number from overflowing the clock.
    Instant::now() + Duration::from_millis(ms.min(3_600_000))
}

fn to_member(member: Member) -> proto::Member {
    proto::Member { id: member.id.0, address: member.address }
}

fn not_leader(leader: Option<Member>, why: String) -> proto::NotLeader {
    proto::NotLeader { leader: leader.map(to_member), why }
}

fn vote_request(request: &proto::VoteRequest) -> Result<VoteRequest<Types>, Status> {
    Ok(VoteRequest {
        vote: convert::need_vote(request.vote.as_ref()).map_err(malformed)?,
        last_log_id: request.last.as_ref().map(convert::to_log_id),
        leadership_transfer: request.leadership_transfer,
    })
}

fn vote_reply(reply: &VoteResponse<Types>) -> Response<proto::VoteReply> {
    Response::new(proto::VoteReply {
        vote: Some(convert::vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(convert::log_id),
    })
}

fn malformed(broken: Malformed) -> Status {
    Status::invalid_argument(broken.to_string())
}

fn stopped(broken: openraft::errors::RaftError<Types>) -> Status {
    Status::unavailable(broken.to_string())
}

impl RaftRpc {
    /// Returns the member served.
    pub fn member_id(&self) -> MemberId {
        self.member.id
    }
}
