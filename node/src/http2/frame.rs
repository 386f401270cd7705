//! Frames: their kinds, their flags, and how their heads are written (RFC 9113 §4, §6).

use super::Reason;

/// Kinds of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITIES: u8 = 2;
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

/// Bytes of a stream's priority (RFC 9113 §6.3), alone or before a head.
pub(super) const PRIORITY_BYTES: usize = 5;

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

pub(super) fn ping(into: &mut Vec<u8>, flags: u8, word: [u8; 8]) {
    frame(into, word.len(), PING, flags, 0);
    into.extend_from_slice(&word);
}

pub(super) fn reset(into: &mut Vec<u8>, id: u32, reason: Reason) {
    frame(into, 4, RST_STREAM, 0, id);
    into.extend_from_slice(&reason.0.to_be_bytes());
}

/// Gives room, for 0 that of the connection.
pub(super) fn window_update(into: &mut Vec<u8>, id: u32, more: u32) {
    frame(into, 4, WINDOW_UPDATE, 0, id);
    into.extend_from_slice(&more.to_be_bytes());
}
