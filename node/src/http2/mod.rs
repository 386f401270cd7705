//! HTTP/2 for the mesh (RFC 9113, RFC 7541): both sides of a connection, for one thread.
//!
//! A connection is driven by one task, [`Connection`], and used by those of its requests through [`Receiver`] and [`Sender`].
//! What they send is written into the connection's output at once, as far as windows and room allow, and goes out at the end of the
//! connection's next turn: one write for all that became ready together. Nothing is queued but bytes. Nothing is locked,
//! since all of it lives on one core.
//!
//! What is bounded, and by what: bytes that were not read yet by the windows, bytes that are not sent yet by
//! [`OUTPUT_BYTES`] and one head per stream, streams by [`Settings::streams`], heads by [`Settings::head_bytes`], work in one
//! turn by [`connection::TURN_BYTES`]. A peer that takes nothing is read no further, so that answers to pings and settings do not pile up.

mod client;
mod connection;
mod decode;
mod encode;
mod field;
mod frame;
mod handle;
mod head;
mod huffman;
mod input;
mod output;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod promises;
#[cfg(any(test, feature = "fuzzing"))]
mod schedule;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::io;

use bytes::Bytes;

pub(crate) use client::{Client, Place, client};
pub(crate) use connection::{Connection, server};
pub(crate) use handle::{Pings, Receiver, Sender};

/// Bytes that wait to be sent, beyond which no data is taken from anyone.
pub(crate) const OUTPUT_BYTES: usize = 128 << 10;

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) u32);

impl Reason {
    pub(crate) const NO_ERROR: Self = Self(0);
    pub(crate) const PROTOCOL_ERROR: Self = Self(1);
    pub(crate) const INTERNAL_ERROR: Self = Self(2);
    pub(crate) const FLOW_CONTROL_ERROR: Self = Self(3);
    pub(crate) const STREAM_CLOSED: Self = Self(5);
    pub(crate) const FRAME_SIZE_ERROR: Self = Self(6);
    pub(crate) const REFUSED_STREAM: Self = Self(7);
    pub(crate) const CANCEL: Self = Self(8);
    pub(crate) const COMPRESSION_ERROR: Self = Self(9);
    pub(crate) const ENHANCE_YOUR_CALM: Self = Self(11);
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Us,
    Peer,
}

/// What became of a stream or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The stream alone ended.
    #[error("the stream was reset by {1:?}: {0:?}")]
    Reset(Reason, By),
    /// The connection ends, and this stream was not looked at any more.
    #[error("the connection goes away by {1:?}: {0:?}")]
    Away(Reason, By),
    /// The connection is gone.
    #[error("the connection ended: {0}")]
    Io(io::ErrorKind),
}

/// What a stream is to become after an extended CONNECT (RFC 8441).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol(Bytes);

impl Protocol {
    fn read(text: Bytes) -> Option<Self> {
        text.is_ascii().then_some(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What one side of a connection allows the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Window of each stream.
    pub(crate) stream_window: u32,
    /// Window of the connection.
    pub(crate) window: u32,
    /// What a head may weigh.
    pub(crate) head_bytes: u32,
    /// Streams at once. Of a client, what it takes its peer to allow until it is told.
    pub(crate) streams: u32,
    /// WebSockets may be asked for.
    pub(crate) connect_protocol: bool,
    /// Streams that were opened and reset before anybody looked at them, at once.
    pub(crate) unseen_resets: u32,
    /// Streams that broke the rules, over the connection's life.
    pub(crate) faults: Option<u32>,
}
