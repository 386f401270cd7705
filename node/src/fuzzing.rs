//! What is promised of the readers of other programs' bytes, as functions over any bytes; see `berth_core::fuzzing`.

use crate::mesh::empty_frames;

/// Bytes of the head of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;

/// A connection's frames, behind a byte that says in which pieces they come: what is found does not depend on the pieces,
/// and is what one finds who has all of it at hand.
pub fn frames(bytes: &[u8]) {
    let [size, bytes @ ..] = bytes else { return };
    let whole = empty_frames([bytes]);
    let pieces = empty_frames(bytes.chunks(usize::from(*size).max(1)));
    assert_eq!(pieces, whole, "in pieces of {size}");
    let (mut rest, mut empty) = (bytes, 0);
    while let Some((head, payload)) = rest.split_first_chunk::<HEAD>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (is_data, ends) = (head[3] == 0, head[4] & 1 == 1);
        empty += u32::from(is_data && !ends && length == 0);
        rest = payload.get(length..).unwrap_or_default();
    }
    assert_eq!(whole, empty, "seen as a whole");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// Frames with short payloads, the last of them cut anywhere.
        #[test]
        fn empty_frames_are_found_however_they_come(
            size: u8,
            sent in prop::collection::vec((0..3_u8, any::<u8>(), 0..40_usize), 0..12),
            cut in 0..12_usize,
        ) {
            let mut bytes = vec![size];
            for (kind, flags, length) in sent {
                // Half of them are empty.
                let length = length.saturating_sub(20);
                bytes.extend([0, 0, length as u8, kind, flags, 0, 0, 0, 1]);
                bytes.extend(std::iter::repeat_n(0, length));
            }
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            super::frames(&bytes);
        }

        #[test]
        fn whatever_comes_is_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::frames(&bytes);
        }
    }
}
