//! What is promised of bytes from a disk or a peer, each as one function over any bytes; see `berth_core::fuzzing`.

use berth_core::{
    error::Error,
    traffic::{change::TableChange, split::Split, sticky, table::RouteTable},
};
use prost::Message as _;

use crate::{
    node::{TableMessage, change_from_wire, change_to_wire, decode_table, encode_table, v1},
    store,
};

/// The two bytes before every stored message: a mark and the data version.
const HEADER: usize = 2;

/// Stored bytes: what can be read is written so that it reads the same again.
pub fn stored(bytes: &[u8]) {
    again(bytes, store::encode_entry, store::decode_entry);
    again(bytes, store::encode_reply, store::decode_reply);
    again(bytes, store::encode_snapshot, store::decode_snapshot);
    again(bytes, encode_table, decode_table);
    // A fuzzer finds the header at once and a test of chance never does.
    let header = encode_table(&RouteTable::default());
    if let Some(header) = header.get(..HEADER).filter(|header| !bytes.starts_with(header)) {
        stored(&[header, bytes].concat());
    }
}

fn again<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    encode: fn(&T) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<T, Error>,
) {
    if let Ok(read) = decode(bytes) {
        assert_eq!(decode(&encode(&read)).as_ref(), Ok(&read));
    }
}

/// A feed of a route table, as messages that each begin with their length in one byte: whatever comes, a router never
/// goes back, and what it holds is what the sender says it holds.
pub fn feed(bytes: &[u8]) {
    let mut held = RouteTable::default();
    let mut rest = bytes;
    while let [length, after @ ..] = rest {
        let (message, tail) = after.split_at(usize::from(*length).min(after.len()));
        rest = tail;
        let Ok(update) = v1::TableUpdate::decode(message) else { continue };
        let Ok(message) = change_from_wire(update) else { continue };
        match message {
            TableMessage::Change(change) => {
                held = taken(held, change);
                drawn(&held);
            }
            TableMessage::Heartbeat { version, digest, .. } => {
                let fits = held.hears(version, digest).is_ok();
                assert!(!fits || version < held.version || held.digest() == digest, "a lost change is not noticed");
            }
        }
    }
}

/// Whatever shares a table holds, a router may draw by them.
fn drawn(table: &RouteTable) {
    for route in table.endpoints.values() {
        let split = Split::of(&route.split);
        for ticket in [0, 99, u64::MAX] {
            assert!(split.choose(ticket).is_none_or(|at| at < route.split.len()), "a share that is not there");
        }
        assert!(sticky::choose(&route.name, &route.split, b"key").is_none_or(|at| at < route.split.len()));
    }
}

fn taken(held: RouteTable, change: TableChange) -> RouteTable {
    let again = change_from_wire(change_to_wire(&change));
    assert!(matches!(&again, Ok(TableMessage::Change(same)) if *same == change), "{again:?}");
    let said = match &change {
        TableChange::Full(table) => table.digest(),
        TableChange::Delta(delta) => delta.digest,
    };
    match held.apply(change) {
        Ok(next) => {
            assert!(next.version >= held.version || held.cluster_id.is_empty(), "a table went back");
            assert_eq!(next.digest(), said);
            next
        }
        Err(_) => held,
    }
}

#[cfg(test)]
mod tests {
    use berth_core::{id::LogIndex, traffic::change::TableDelta};
    use proptest::prelude::*;

    use super::*;

    /// Changes that nearly fit, with a byte of some of them flipped.
    fn changes() -> impl Strategy<Value = Vec<u8>> {
        let change = (0_u64..4, 0_u64..4, any::<bool>(), prop::option::of((any::<prop::sample::Index>(), any::<u8>())));
        let message = change.prop_map(|(from, to, is_full, flip)| {
            let table = RouteTable { cluster_id: "c".into(), version: LogIndex(to), ..RouteTable::default() };
            let digest = table.digest();
            let change = if is_full {
                TableChange::Full(table)
            } else {
                let (applies_to, results_in) = (LogIndex(from), LogIndex(to));
                TableChange::Delta(TableDelta {
                    applies_to,
                    results_in,
                    changed: Vec::new(),
                    removed: Vec::new(),
                    digest,
                })
            };
            let mut bytes = change_to_wire(&change).encode_to_vec();
            if let Some((at, by)) = flip {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            bytes.insert(0, bytes.len() as u8);
            bytes
        });
        prop::collection::vec(message, 0..8).prop_map(|messages| messages.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn stored_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            stored(&bytes);
        }

        #[test]
        fn a_feed_never_leads_back(bytes in changes()) {
            feed(&bytes);
        }
    }
}
