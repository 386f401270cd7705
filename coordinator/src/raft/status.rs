//! What a member knows of itself and the cluster, for whoever redirects, displays or waits.

use std::sync::Arc;

use berth_core::id::{LogIndex, MemberId, Term};
use openraft::{RaftMetrics, ServerState, errors::Fatal};

use super::types::Types;

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Where it is reached.
    pub address: String,
    /// Whether it counts towards a majority. A learner only follows.
    pub voter: bool,
}

/// A member's view at one moment. Indexes are zero until there is something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// This member.
    pub member_id: MemberId,
    /// The newest term it has seen.
    pub term: Term,
    /// Who leads, as far as it knows.
    pub leader: Option<Member>,
    /// Whether it leads itself. Elected, not caught up: act on it only after a read barrier.
    pub is_leader: bool,
    /// The last entry in its log.
    pub last_log: LogIndex,
    /// The last entry its state contains.
    pub last_applied: LogIndex,
    /// The last entry its snapshot covers.
    pub snapshot: LogIndex,
    /// The last entry dropped from its log.
    pub purged: LogIndex,
    /// Everybody, by id.
    pub members: Vec<Member>,
    /// Whether it belongs to a cluster.
    pub formed: bool,
    /// Set once it has stopped, in plain words.
    pub fatal: Option<Arc<str>>,
}

// === impl RaftStatus ===

impl RaftStatus {
    pub(super) fn new(metrics: &RaftMetrics<Types>) -> Self {
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members: Vec<Member> = membership
            .nodes()
            .map(|(id, peer)| Member { id: MemberId(*id), address: peer.addr.clone(), voter: voters.contains(id) })
            .collect();
        let leader = metrics.current_leader.and_then(|id| members.iter().find(|member| member.id.0 == id)).cloned();
        let index = |index: Option<u64>| LogIndex(index.unwrap_or_default());
        let fatal = match &metrics.running_state {
            Ok(()) => None,
            Err(Fatal::Stopped) => Some("it was shut down".into()),
            Err(broken) => Some(broken.to_string().into()),
        };
        Self {
            member_id: MemberId(metrics.id),
            term: Term(metrics.current_term),
            is_leader: metrics.state == ServerState::Leader && fatal.is_none(),
            leader,
            last_log: index(metrics.last_log_index),
            last_applied: index(metrics.last_applied.map(|id| id.index)),
            snapshot: index(metrics.snapshot.map(|id| id.index)),
            purged: index(metrics.purged.map(|id| id.index)),
            formed: !voters.is_empty(),
            members,
            fatal,
        }
    }

    /// Returns the member with `id`.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Returns this member's own entry.
    pub fn own(&self) -> Option<&Member> {
        self.member(self.member_id)
    }
}
