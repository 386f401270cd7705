//! What the library does not tell of the frames of a connection: how many came with nothing in them.
//!
//! A server that says its trailers late ends each answer with an empty DATA frame (Node's does). The library passes over
//! them in silence and ends a connection at the hundredth, with everything that is under way on it.

use std::{cell::Cell, rc::Rc};

use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

/// Bytes of the head of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;

/// Where in the frames the bytes are.
#[derive(Default)]
struct Reader {
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the payload at hand that are still to come.
    skip: usize,
}

/// Counts the empty frames of a connection of HTTP/2 as they come in.
pub(super) fn counting<S: AsyncRead>(stream: S, empty_frames: Rc<Cell<u32>>) -> InspectReader<S, impl FnMut(&[u8])> {
    let mut reader = Reader::default();
    InspectReader::new(stream, move |bytes| empty_frames.set(empty_frames.get() + reader.read(bytes)))
}

/// Counts the empty frames of bytes that come in pieces.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn empty_frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut reader = Reader::default();
    pieces.into_iter().map(|piece| reader.read(piece)).sum()
}

// === impl Reader ===

impl Reader {
    /// Takes the next bytes and returns how many empty DATA frames that end no stream were among them.
    fn read(&mut self, mut bytes: &[u8]) -> u32 {
        const DATA: u8 = 0;
        const END_STREAM: u8 = 1;
        let mut empty = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                let [high, middle, low, kind, flags, ..] = self.head;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.have = 0;
                empty += u32::from(kind == DATA && self.skip == 0 && flags & END_STREAM == 0);
            }
        }
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// However the bytes are cut into reads, the same frames are found.
    #[test]
    fn empty_frames_are_found_in_any_pieces() {
        let frames = [
            frame(4, 0, &[]),
            frame(0, 0, &[]),
            frame(0, 0, &[0; 300]),
            frame(0, 1, &[]),
            frame(1, 4, &[0, 0, 0, 0, 0, 0, 0, 0, 0]),
            frame(0, 0, &[]),
        ];
        let bytes = frames.concat();
        for size in 1..=bytes.len() {
            assert_eq!(empty_frames(bytes.chunks(size)), 2, "in pieces of {size}");
        }
    }
}
