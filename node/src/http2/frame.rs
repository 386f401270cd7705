//! Frames: their kinds, their flags, and how their heads are written (RFC 9113 §4, §6).

/// Kinds of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 0x20;

/// Bytes of the head of a frame (RFC 9113 §4.1).
pub(super) const HEAD_BYTES: usize = 9;

/// Payload of a frame, without being told otherwise. More is never sent, and never allowed.
pub(super) const FRAME_BYTES: usize = 16 << 10;

/// Writes the head of a frame.
pub(super) fn frame(into: &mut Vec<u8>, length: usize, kind: u8, flags: u8, id: u32) {
    let [_, high, middle, low] = (length as u32).to_be_bytes();
    let [a, b, c, d] = id.to_be_bytes();
    into.extend_from_slice(&[high, middle, low, kind, flags, a, b, c, d]);
}
