//! Between openraft's types and the messages of `berth.raft.v1`, for the wire and the disk alike.
//!
//! Decoding is strict: a field that must be there and is not makes the whole message refused.

use std::collections::{BTreeMap, BTreeSet};

use berth_proto::raft::v1 as proto;
use openraft::EntryPayload;

use super::types::{Command, Entry, LeaderId, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote};

/// A message that lacks something or contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub &'static str);

/// Encodes a log position.
pub fn log_id(id: &LogId) -> proto::LogId {
    proto::LogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

/// Decodes a log position.
pub fn to_log_id(id: &proto::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: id.leader }, id.index)
}

/// Encodes a vote.
pub fn vote(vote: &Vote) -> proto::Vote {
    proto::Vote { term: vote.leader_id.term, member: vote.leader_id.node_id, committed: vote.committed }
}

/// Decodes a vote.
pub fn to_vote(vote: &proto::Vote) -> Vote {
    Vote { leader_id: LeaderId { term: vote.term, node_id: vote.member }, committed: vote.committed }
}

/// Decodes a vote that must be there.
pub fn need_vote(found: Option<&proto::Vote>) -> Result<Vote, Malformed> {
    found.map(to_vote).ok_or(Malformed("no vote"))
}

/// Encodes a membership.
pub fn membership(membership: &Membership) -> proto::Membership {
    proto::Membership {
        voter_sets: membership
            .get_joint_config()
            .iter()
            .map(|voters| proto::VoterSet { members: voters.iter().copied().collect() })
            .collect(),
        members: membership.nodes().map(|(id, peer)| proto::Member { id: *id, address: peer.addr.clone() }).collect(),
    }
}

/// Decodes a membership.
pub fn to_membership(membership: &proto::Membership) -> Result<Membership, Malformed> {
    let voter_sets: Vec<BTreeSet<u64>> =
        membership.voter_sets.iter().map(|set| set.members.iter().copied().collect()).collect();
    let members: BTreeMap<u64, Peer> =
        membership.members.iter().map(|member| (member.id, Peer::new(&member.address))).collect();
    if voter_sets.is_empty() {
        // Only the membership of a member that belongs to no cluster has no voters, and it has no members either.
        return if members.is_empty() { Ok(Membership::default()) } else { Err(Malformed("members without voters")) };
    }
    Membership::new(voter_sets, members).map_err(|_| Malformed("a voter set is empty or names an unknown member"))
}

/// Encodes a log entry.
pub fn entry(entry: &Entry) -> proto::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => proto::entry::Payload::Blank(proto::Blank {}),
        EntryPayload::Normal(command) => proto::entry::Payload::Command(command.0.clone()),
        EntryPayload::Membership(change) => proto::entry::Payload::Membership(membership(change)),
    };
    proto::Entry { id: Some(log_id(&entry.log_id)), payload: Some(payload) }
}

/// Decodes a log entry.
pub fn to_entry(entry: proto::Entry) -> Result<Entry, Malformed> {
    let payload = match entry.payload.ok_or(Malformed("an entry without payload"))? {
        proto::entry::Payload::Blank(proto::Blank {}) => EntryPayload::Blank,
        proto::entry::Payload::Command(command) => EntryPayload::Normal(Command(command)),
        proto::entry::Payload::Membership(change) => EntryPayload::Membership(to_membership(&change)?),
    };
    Ok(Entry { log_id: to_log_id(&entry.id.ok_or(Malformed("an entry without position"))?), payload })
}

/// Encodes what a snapshot covers.
pub fn snapshot_meta(meta: &SnapshotMeta) -> proto::SnapshotMeta {
    proto::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(log_id),
        membership_id: meta.last_membership.log_id().as_ref().map(log_id),
        membership: Some(membership(meta.last_membership.membership())),
    }
}

/// Decodes what a snapshot covers.
pub fn to_snapshot_meta(meta: &proto::SnapshotMeta) -> Result<SnapshotMeta, Malformed> {
    let members = meta.membership.as_ref().ok_or(Malformed("a snapshot without membership"))?;
    Ok(SnapshotMeta {
        last_log_id: meta.last.as_ref().map(to_log_id),
        last_membership: StoredMembership::new(meta.membership_id.as_ref().map(to_log_id), to_membership(members)?),
    })
}
