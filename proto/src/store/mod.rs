//! Stored bytes: entries, replies and snapshots behind a version header.
//!
//! The header is two bytes: a mark, so that foreign bytes are told apart from damaged ones, and the data version. A
//! reader refuses a newer version than its own and never guesses. What changed when is in `proto/CHANGELOG.md`; old bytes
//! are kept in `proto/tests/golden/`.

mod alert;
mod command;
mod model;
mod quota;
mod reply;
mod reserve;
mod snapshot;

/// Version 1.
#[expect(missing_docs, clippy::large_enum_variant, reason = "generated; the .proto files hold the words")]
pub mod v1 {
    tonic::include_proto!("berth.store.v1");
}

use berth_core::{
    error::{Code, Error},
    state::{Entry, Reply, Snapshot},
};
use prost::Message;

use crate::convert::{Wire, damaged};

/// The first byte of everything stored: `b` for Berth, with the high bit that no text begins with.
const MARK: u8 = b'b' | 0x80;

/// The data version this build writes, and the newest it reads.
pub const DATA_VERSION: u8 = 1;

pub(crate) use model::key;

/// Writes a message behind the version header.
pub fn encode_versioned(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + message.encoded_len());
    bytes.extend([MARK, DATA_VERSION]);
    // A Vec grows, so this cannot fail.
    let _ = message.encode(&mut bytes);
    bytes
}

/// Reads a message behind the version header.
pub fn decode_versioned<M: Message + Default>(bytes: &[u8]) -> Result<M, Error> {
    match bytes {
        [MARK, DATA_VERSION, rest @ ..] => M::decode(rest).map_err(|error| damaged(error.to_string())),
        [MARK, version, ..] => {
            Err(Error::new(Code::StoreVersion, format!("stored bytes are of data version {version}"))
                .why(format!("this build reads up to version {DATA_VERSION}"))
                .try_("start the version of Berth that wrote them, or a newer one"))
        }
        _ => Err(damaged("the version header is missing")),
    }
}

/// Writes an entry of the log.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode_versioned(&v1::Entry::wire(entry))
}

/// Reads an entry of the log.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, Error> {
    decode_versioned::<v1::Entry>(bytes)?.core()
}

/// Writes the answer to an entry.
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    encode_versioned(&v1::Reply::wire(reply))
}

/// Reads the answer to an entry.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, Error> {
    decode_versioned::<v1::Reply>(bytes)?.core()
}

/// Writes the whole state.
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    encode_versioned(&v1::Snapshot::wire(snapshot))
}

/// Reads the whole state.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, Error> {
    decode_versioned::<v1::Snapshot>(bytes)?.core()
}
