//! The beginning of a packed gRPC message, unpacked as far as it may name its model. The message itself passes as it came.

use std::{
    borrow::Cow,
    io::{self, Read as _},
};

use berth_core::traffic::{
    packing::{Packing, packing},
    pin::PEEK_MAX_BYTES,
};

/// Bytes of a call that are looked at, packed or not.
pub(super) const FIRST_MAX_BYTES: usize = PEEK_MAX_BYTES + 16;

/// Bytes in front of a gRPC message: a flag and a length.
const PREFIX: usize = 5;

/// Returns the beginning of a call as if nothing in it were packed. `named` is how its call says that its messages are.
pub(super) fn beginning<'a>(first: &'a [u8], named: Option<&[u8]>) -> Cow<'a, [u8]> {
    let Some((&[flag, ref length @ ..], message)) = first.split_first_chunk::<PREFIX>() else {
        return Cow::Borrowed(first);
    };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let message = &message[..message.len().min(length)];
    let mut out = vec![0; PREFIX];
    match packing(flag, named) {
        // What is cut off or broken ends early.
        Ok(packing @ (Packing::Gzip | Packing::Deflate)) => drop(unpack(packing, message, PEEK_MAX_BYTES, &mut out)),
        Ok(Packing::None) | Err(_) => return Cow::Borrowed(first),
    }
    // How long it is in all is not known before its end, and no matter beyond what is looked at.
    let is_all = message.len() == length || first.len() >= FIRST_MAX_BYTES;
    let length = if is_all { (out.len() - PREFIX) as u32 } else { u32::MAX };
    out[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Cow::Owned(out)
}

/// Unpacks a message, but no more than `most` bytes of it. Before a fault, what came before it is there.
pub(super) fn unpack(packing: Packing, message: &[u8], most: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let most = most as u64;
    match packing {
        Packing::None => message.take(most).read_to_end(out),
        Packing::Gzip => flate2::bufread::GzDecoder::new(message).take(most).read_to_end(out),
        Packing::Deflate => flate2::bufread::ZlibDecoder::new(message).take(most).read_to_end(out),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use berth_core::traffic::pin::{Peek, peek_model};
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use proptest::prelude::*;

    use super::*;

    const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[1], &(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    fn gzip(message: &[u8], level: u32) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::new(level));
        out.write_all(message).expect("in memory");
        framed(&out.finish().expect("in memory"))
    }

    fn zlib(message: &[u8]) -> Vec<u8> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
        out.write_all(message).expect("in memory");
        framed(&out.finish().expect("in memory"))
    }

    /// `fraud`, version `green`, and a tensor of so many bytes.
    fn message(tensor: usize) -> Vec<u8> {
        let length = [0x80 | tensor as u8 & 0x7f, 0x80 | (tensor >> 7) as u8 & 0x7f, (tensor >> 14) as u8 & 0x7f];
        let noise = (0..tensor as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
        b"\x0a\x05fraud\x12\x05green\x3a".iter().copied().chain(length).chain(noise).collect()
    }

    #[test]
    fn a_packed_message_names_its_model() {
        let found = Peek::Done { model: Some("fraud"), version: Some("green") };
        let nothing = Peek::Done { model: None, version: None };
        for (first, named, expected, why) in [
            (gzip(&message(0), 6), Some(&b"gzip"[..]), found, "packed"),
            (gzip(&message(0), 0), Some(b"gzip"), found, "stored"),
            (
                gzip(&message(100_000), 0)[..FIRST_MAX_BYTES].to_vec(),
                Some(b"gzip"),
                found,
                "the beginning of a large one",
            ),
            (zlib(&message(0)), Some(b"deflate"), found, "packed otherwise"),
            (gzip(&message(0), 6), Some(b"zstd"), nothing, "not known here"),
            (gzip(&message(0), 6), None, nothing, "it does not say how"),
            (framed(b"no such thing"), Some(b"gzip"), nothing, "not what it says"),
            (framed(b""), Some(b"gzip"), nothing, "nothing"),
            (gzip(&message(0), 6)[..7].to_vec(), Some(b"gzip"), Peek::More, "not here yet"),
            (vec![1, 0], Some(b"gzip"), Peek::More, "nor its length"),
        ] {
            assert_eq!(peek_model(INFER, &beginning(&first, named)), expected, "{why}");
        }
    }

    #[test]
    fn no_more_is_unpacked_than_is_looked_at() {
        let bomb = gzip(&vec![7; 3_000_000], 9);
        assert_eq!(beginning(&bomb, Some(b"gzip")).len(), PREFIX + PEEK_MAX_BYTES);
    }

    proptest! {
        /// However much of it has come, a call says what it says in the end, or that more of it is needed.
        #[test]
        fn what_is_said_does_not_depend_on_the_pieces(tensor in 0..9_000_usize, level in 0..9_u32) {
            let packed = gzip(&message(tensor), level);
            let whole = Peek::Done { model: Some("fraud"), version: Some("green") };
            for cut in 0..packed.len().min(FIRST_MAX_BYTES) {
                let said = beginning(&packed[..cut], Some(b"gzip"));
                let said = peek_model(INFER, &said);
                prop_assert!(said == Peek::More || said == whole, "{said:?} after {cut} bytes");
            }
            let end = packed.len().min(FIRST_MAX_BYTES);
            let said = beginning(&packed[..end], Some(b"gzip"));
            prop_assert_eq!(peek_model(INFER, &said), whole);
        }

        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for named in ["gzip", "deflate"] {
                let _ = beginning(&framed(&bytes), Some(named.as_bytes()));
                let _ = beginning(&bytes, Some(named.as_bytes()));
            }
        }
    }
}
