//! The header every stored value begins with: which version of the form, and how long the message is.
//!
//! The length makes a value that lost its tail unreadable instead of shorter; prost alone would take a prefix that ends
//! between two fields for a whole message.

use prost::Message;

/// Version of the stored forms. Raised when old code must not read new bytes; added fields do not need it.
const FORM_VERSION: u8 = 1;

/// Bytes before the message: the version and the length.
const HEADER_BYTES: usize = 1 + 4;

/// Stored bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header, or than the header says.
    #[error("{found} bytes are there where {expected} were stored")]
    Length {
        /// What the header promises.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Written by newer code.
    #[error("stored form {found} is newer than {FORM_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Not the message it should be.
    #[error("not a {name}: {why}")]
    Message {
        /// The message expected.
        name: &'static str,
        /// What the decoder said.
        why: String,
    },
}

/// Encodes `message` behind its header.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + length);
    bytes.push(FORM_VERSION);
    bytes.extend_from_slice(&u32::try_from(length).expect("commands are bounded far below 4 GiB").to_be_bytes());
    message.encode(&mut bytes).expect("a Vec grows");
    bytes
}

/// Decodes what [`encode`] made.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, FrameError> {
    let Some((header, message)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(FrameError::Length { expected: HEADER_BYTES, found: bytes.len() });
    };
    if header[0] != FORM_VERSION {
        return Err(FrameError::Version { found: header[0] });
    }
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if message.len() != length {
        return Err(FrameError::Length { expected: HEADER_BYTES + length, found: bytes.len() });
    }
    M::decode(message)
        .map_err(|broken| FrameError::Message { name: std::any::type_name::<M>(), why: broken.to_string() })
}

#[cfg(test)]
mod tests {
    use berth_proto::raft::v1::StoredPosition;

    use super::*;

    #[test]
    fn a_frame_reads_back_only_whole() {
        let message = StoredPosition { id: Some(berth_proto::raft::v1::LogId { term: 3, leader: 7, index: 300 }) };
        let bytes = encode(&message);
        assert_eq!(decode::<StoredPosition>(&bytes), Ok(message));
        for length in 0..bytes.len() {
            assert!(decode::<StoredPosition>(&bytes[..length]).is_err(), "a prefix of {length} bytes is refused");
        }
        let newer: Vec<u8> = [2].into_iter().chain(bytes[1..].iter().copied()).collect();
        assert_eq!(decode::<StoredPosition>(&newer), Err(FrameError::Version { found: 2 }));
    }
}
