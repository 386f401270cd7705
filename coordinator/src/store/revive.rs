//! Writes a store that begins with a state somebody saved: a snapshot, a log without entries behind it, and a vote, so that
//! the member stands for election above every term there was.

use std::{collections::BTreeSet, io, sync::Arc};

use berth_core::{id::MemberId, state::ClusterState};

use super::{log, sled::Durable, snapshot::SnapshotStore};
use crate::raft::types::{LeaderId, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote};

/// Fills a store that holds nothing but its identity. Blocks; all of it is durable when it returns.
pub fn revive_log(
    durable: Durable,
    member: MemberId,
    advertise: &str,
    state: &ClusterState,
    snapshot: &[u8],
) -> io::Result<()> {
    let durable = Arc::new(durable);
    let leader = LeaderId { term: state.term.0, node_id: member.0 };
    let id = LogId::new(leader, state.applied.0);
    let members = [(member.0, Peer::new(advertise))].into_iter().collect::<std::collections::BTreeMap<_, _>>();
    let voters: Vec<BTreeSet<u64>> = vec![[member.0].into()];
    let membership = Membership::new(voters, members).map_err(|error| io::Error::other(error.to_string()))?;
    let meta = SnapshotMeta { last_log_id: Some(id), last_membership: StoredMembership::new(Some(id), membership) };
    SnapshotStore::open(durable.clone())?.write(&meta, snapshot)?;
    log::begin_after(&durable, &id, &Vote { leader_id: leader, committed: false })?;
    durable.sync()
}
