//! The sending side of consensus: openraft's calls as gRPC, each with a deadline of its own.

use std::{future::Future, time::Duration};

use berth_core::id::MemberId;
use berth_proto::raft::v1 as proto;
use bytes::Bytes;
use futures::stream;
use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tonic::{Response, Status};

use super::{
    convert,
    options::RaftTimings,
    peers::{CallError, Client, Lane, Peers},
    types::{Peer, Snapshot, Types, Vote},
};

/// Snapshot bytes per message: far below the message limit, large enough that framing costs nothing.
const CHUNK_BYTES: usize = 512 * 1024;

type Failure = RPCError<Types>;

/// Makes connections for openraft.
pub(super) struct Network {
    pub(super) id: MemberId,
    pub(super) peers: Peers,
    pub(super) timings: RaftTimings,
}

/// One kind of traffic to one member.
pub(super) struct Connection {
    id: MemberId,
    target: MemberId,
    lane: Lane,
    peers: Peers,
    timings: RaftTimings,
}

// === impl Network ===

impl Network {
    fn connection(&self, target: u64, peer: &Peer, lane: Lane) -> Connection {
        let target = MemberId(target);
        self.peers.introduce(target, &peer.addr);
        Connection { id: self.id, target, lane, peers: self.peers.clone(), timings: self.timings.clone() }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Connection {
        self.connection(target, peer, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Connection {
        self.connection(target, peer, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, peer: &Peer) -> Connection {
        self.connection(target, peer, Lane::Bulk)
    }
}

// === impl Connection ===

impl Connection {
    /// Makes one call that must be answered within `limit`.
    async fn call<T, F>(
        &self,
        action: RPCTypes,
        lane: Lane,
        limit: Duration,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.peers.member(self.target, lane).map_err(unreachable)?;
        match tokio::time::timeout(limit, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => match self.peers.explain(&self.target.to_string(), &status) {
                CallError::Lost(why) => Err(Failure::Network(NetworkError::from_string(why))),
                broken => Err(unreachable(broken)),
            },
            Err(_) => Err(Failure::Timeout(Timeout { action, id: self.id.0, target: self.target.0, timeout: limit })),
        }
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Failure> {
        // openraft offers one heartbeat interval for either. A sign of life is worth nothing later than that; entries
        // wait for the follower's disk.
        let limit = if self.lane == Lane::Control { option.hard_ttl() } else { self.timings.append() };
        let request = proto::AppendRequest {
            vote: Some(convert::vote(&rpc.vote)),
            previous: rpc.prev_log_id.as_ref().map(convert::log_id),
            entries: rpc.entries.iter().map(convert::entry).collect(),
            committed: rpc.leader_commit.as_ref().map(convert::log_id),
        };
        let reply = self
            .call(RPCTypes::AppendEntries, self.lane, limit, |mut client| async move { client.append(request).await })
            .await?;
        use proto::append_reply::Outcome;
        Ok(match reply.outcome.ok_or_else(|| malformed("an append without outcome"))? {
            Outcome::Success(_) => AppendEntriesResponse::Success,
            Outcome::Partial(partial) => {
                AppendEntriesResponse::PartialSuccess(partial.last.as_ref().map(convert::to_log_id))
            }
            Outcome::Conflict(_) => AppendEntriesResponse::Conflict,
            Outcome::Higher(vote) => AppendEntriesResponse::HigherVote(convert::to_vote(&vote)),
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, Failure> {
        let request = vote_request(&rpc);
        let reply =
            self.call(RPCTypes::Vote, Lane::Control, option.hard_ttl(), |mut client| async move {
                client.vote(request).await
            })
            .await?;
        vote_response(&reply)
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, Failure> {
        let request = vote_request(&rpc);
        let reply = self
            .call(RPCTypes::Vote, Lane::Control, option.hard_ttl(), |mut client| async move {
                client.pre_vote(request).await
            })
            .await?;
        vote_response(&reply)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let header = proto::SnapshotHeader {
            vote: Some(convert::vote(&vote)),
            meta: Some(convert::snapshot_meta(&snapshot.meta)),
            length: snapshot.snapshot.len() as u64,
            crc32: crc32fast::hash(&snapshot.snapshot),
        };
        let bytes = snapshot.snapshot;
        let header = proto::snapshot_part::Part::Header(header);
        let chunks = (0..bytes.len()).step_by(CHUNK_BYTES).map(move |start| {
            proto::snapshot_part::Part::Chunk(bytes.slice(start..bytes.len().min(start + CHUNK_BYTES)))
        });
        let parts = [header].into_iter().chain(chunks).map(|part| proto::SnapshotPart { part: Some(part) });
        let send = self.call(RPCTypes::InstallSnapshot, Lane::Bulk, option.hard_ttl(), |mut client| async move {
            client.install_snapshot(stream::iter(parts)).await
        });
        let reply = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            reply = send => reply?,
        };
        let vote = convert::need_vote(reply.vote.as_ref()).map_err(|broken| malformed(broken.0))?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, Failure> {
        let request = proto::TransferLeadershipRequest {
            from: Some(convert::vote(rpc.from_leader())),
            to: *rpc.to_node_id(),
            last: rpc.last_log_id().map(convert::log_id),
        };
        let reply = self
            .call(RPCTypes::TransferLeader, Lane::Control, option.hard_ttl(), |mut client| async move {
                client.transfer_leadership(request).await
            })
            .await?;
        if reply.refused.is_empty() {
            return Ok(Ok(()));
        }
        tracing::debug!(target_member = %self.target, why = reply.refused, "leadership was not taken over");
        Ok(Err(TransferLeaderError::LogNotFlushed { expected: rpc.last_log_id().copied(), actual: None }))
    }
}

fn unreachable(broken: CallError) -> Failure {
    Failure::Unreachable(Unreachable::from_string(broken.words()))
}

fn malformed(what: &'static str) -> Failure {
    Failure::Network(NetworkError::from_string(what))
}

fn vote_request(rpc: &VoteRequest<Types>) -> proto::VoteRequest {
    proto::VoteRequest {
        vote: Some(convert::vote(&rpc.vote)),
        last: rpc.last_log_id.as_ref().map(convert::log_id),
        leadership_transfer: rpc.leadership_transfer,
    }
}

fn vote_response(reply: &proto::VoteReply) -> Result<VoteResponse<Types>, Failure> {
    let vote = convert::need_vote(reply.vote.as_ref()).map_err(|broken| malformed(broken.0))?;
    Ok(VoteResponse { vote, vote_granted: reply.granted, last_log_id: reply.last.as_ref().map(convert::to_log_id) })
}
