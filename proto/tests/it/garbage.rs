//! Bytes that no build wrote: each is refused by its kind, and none brings a reader down.

use berth_core::error::{Code, Error};
use berth_proto::{node, store};
use proptest::{prelude::*, sample::Index};

use crate::{any, samples};

/// Reads `bytes` as each stored form; what comes back is the refusal, if any.
fn read_all(bytes: &[u8]) -> [Option<Error>; 4] {
    [
        store::decode_entry(bytes).err(),
        store::decode_reply(bytes).err(),
        store::decode_snapshot(bytes).err(),
        node::decode_table(bytes).err(),
    ]
}

fn written() -> Vec<Vec<u8>> {
    let entries = samples::entries().into_iter().map(|(_, entry)| store::encode_entry(&entry));
    let replies = samples::replies().into_iter().map(|(_, reply)| store::encode_reply(&reply));
    let rest = [store::encode_snapshot(&samples::snapshot()), node::encode_table(&samples::table())];
    entries.chain(replies).chain(rest).collect()
}

fn header() -> Vec<u8> {
    store::encode_entry(&samples::entries()[0].1)[..2].to_vec()
}

#[test]
fn a_newer_version_is_named() {
    for bytes in written() {
        for version in [store::DATA_VERSION + 1, u8::MAX] {
            let newer = [&bytes[..1], &[version], &bytes[2..]].concat();
            for refusal in read_all(&newer) {
                assert_eq!(refusal.map(|error| error.code), Some(Code::StoreVersion));
            }
        }
    }
}

#[test]
fn foreign_bytes_are_damaged() {
    for bytes in [&b""[..], b"{", b"{\"version\":1}", b"\0\0\0\0", &header()[..1]] {
        for refusal in read_all(bytes) {
            assert_eq!(refusal.map(|error| error.code), Some(Code::StoreDamaged), "{bytes:?}");
        }
    }
}

#[test]
fn a_message_without_its_content_is_damaged() {
    let [entry, reply, ..] = read_all(&header());
    assert_eq!(entry.map(|error| error.code), Some(Code::StoreDamaged), "an entry without a command");
    assert_eq!(reply.map(|error| error.code), Some(Code::StoreDamaged), "a reply that answers nothing");
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let behind_header = [header(), bytes.clone()].concat();
        for refusal in read_all(&bytes).into_iter().chain(read_all(&behind_header)).flatten() {
            prop_assert!(matches!(refusal.code, Code::StoreDamaged | Code::StoreVersion), "{refusal}");
        }
    }

    #[test]
    fn damage_is_refused_or_read(
        form in any::<Index>(),
        at in any::<Index>(),
        bit in 0..8_u32,
        keep in any::<Index>(),
    ) {
        let mut bytes = form.get(&written()).clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let torn = &bytes[..keep.index(bytes.len())];
        for refusal in read_all(&bytes).into_iter().chain(read_all(torn)).flatten() {
            prop_assert!(matches!(refusal.code, Code::StoreDamaged | Code::StoreVersion), "{refusal}");
        }
    }

    #[test]
    fn a_torn_snapshot_is_never_taken_for_a_whole_one(snapshot in any::snapshot(), keep in any::<Index>()) {
        let bytes = store::encode_snapshot(&snapshot);
        let torn = &bytes[..keep.index(bytes.len())];
        prop_assert_ne!(store::decode_snapshot(torn), Ok(snapshot));
    }
}
