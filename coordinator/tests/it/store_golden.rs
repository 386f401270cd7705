//! Golden bytes: every stored form as the first release wrote it.
//!
//! A file here never changes. A new form gets a new file beside the old ones, and the old ones must still be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::{Path, PathBuf},
};

use berth_coordinator::{
    raft::{
        convert,
        types::{Command, Entry, LeaderId, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote},
    },
    store,
};
use berth_proto::raft::v1 as proto;
use openraft::EntryPayload;
use prost::Message;

const LEADER: u64 = 0x0123_4567_89ab_cdef;

fn position(index: u64) -> LogId {
    LogId::new(LeaderId { term: 3, node_id: LEADER }, index)
}

fn membership() -> Membership {
    let members = BTreeMap::from([
        (LEADER, Peer::new("10.0.0.1:7400")),
        (2, Peer::new("10.0.0.2:7400")),
        (9, Peer::new("[fd00::9]:7400")),
    ]);
    Membership::new(vec![BTreeSet::from([LEADER, 2]), BTreeSet::from([LEADER, 9])], members).unwrap()
}

fn entry(index: u64, payload: EntryPayload<Command, u64, Peer>) -> Entry {
    Entry { log_id: position(index), payload }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"))
}

/// Checks that `message` is stored as the golden file says, and that the file reads back as `message`.
fn check<M: Message + Default + PartialEq + Debug>(name: &str, message: &M) {
    let file = golden(name);
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|broken| panic!("{name}: {broken}; it would hold {}", hex::encode(store::encode(message))));
    let bytes = hex::decode(text.split_whitespace().collect::<String>()).unwrap();
    assert_eq!(hex::encode(store::encode(message)), hex::encode(&bytes), "{name} is stored differently now");
    assert_eq!(&store::decode::<M>(&bytes).unwrap(), message, "{name} is read differently now");
}

fn snapshot_meta() -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(position(900)),
        last_membership: StoredMembership::new(Some(position(17)), membership()),
    }
}

#[test]
fn entries() {
    for (name, entry) in [
        ("v1_entry_blank", entry(1, EntryPayload::Blank)),
        ("v1_entry_command", entry(300, EntryPayload::Normal(Command(b"\x00scale\xff".to_vec().into())))),
        ("v1_entry_membership", entry(u64::from(u32::MAX) + 1, EntryPayload::Membership(membership()))),
    ] {
        let message = convert::entry(&entry);
        check(name, &message);
        assert_eq!(convert::to_entry(message), Ok(entry));
    }
}

#[test]
fn votes() {
    for (name, committed) in [("v1_vote", false), ("v1_vote_committed", true)] {
        let vote = Vote { leader_id: LeaderId { term: 3, node_id: LEADER }, committed };
        let message = convert::vote(&vote);
        check(name, &message);
        assert_eq!(convert::to_vote(&message), vote);
    }
}

#[test]
fn positions_and_identity() {
    check("v1_position", &proto::StoredPosition { id: Some(convert::log_id(&position(42))) });
    check("v1_identity", &proto::StoreIdentity { member: LEADER, cluster: "prod-eu.1".into() });
}

#[test]
fn snapshots() {
    let message = proto::StoredSnapshot {
        generation: 4,
        length: 1_000_000,
        crc32: 0xdead_beef,
        meta: Some(convert::snapshot_meta(&snapshot_meta())),
    };
    check("v1_snapshot", &message);
    assert_eq!(convert::to_snapshot_meta(&message.meta.unwrap()), Ok(snapshot_meta()));
    let empty = SnapshotMeta::default();
    check(
        "v1_snapshot_empty",
        &proto::StoredSnapshot { meta: Some(convert::snapshot_meta(&empty)), ..Default::default() },
    );
    assert_eq!(convert::to_snapshot_meta(&convert::snapshot_meta(&empty)), Ok(empty));
}

#[test]
fn messages_that_lack_something_are_refused() {
    let no_position = proto::Entry { id: None, ..convert::entry(&entry(1, EntryPayload::Blank)) };
    assert!(convert::to_entry(no_position).is_err());
    let no_payload = proto::Entry { payload: None, ..convert::entry(&entry(1, EntryPayload::Blank)) };
    assert!(convert::to_entry(no_payload).is_err());
    let stranger = proto::Membership {
        voter_sets: vec![proto::VoterSet { members: vec![1, 2] }],
        members: vec![proto::Member { id: 1, address: "a:1".into() }],
    };
    assert!(convert::to_membership(&stranger).is_err());
    assert!(convert::need_vote(None).is_err());
}
