//! What a connection has to send, in order.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use smallvec::SmallVec;
use tokio::io::AsyncWrite;

/// Payloads of so many bytes are not copied.
const LARGE: usize = 4 << 10;

/// What goes before a payload is copied up to so many bytes.
const SMALL: usize = 1 << 10;

/// Pieces of one write.
const PIECES: usize = 16;

/// Room of a connection that has something to send; it is handed to the next one that has, still warm.
const SPARE_BYTES: usize = 32 << 10;
const SPARES: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Frames that wait to be sent.
#[derive(Default)]
pub(super) struct Output {
    /// What comes before `last`.
    pieces: VecDeque<Bytes>,
    /// What is written to.
    last: Vec<u8>,
    /// How much of the first piece, or of `last` where there is no other, was sent.
    sent: usize,
    bytes: usize,
    /// How much of it answers what the peer may ask without end.
    answers: usize,
    /// The stream can be written to no more, and what is written goes nowhere.
    is_broken: bool,
    /// The stream has taken what it may not have passed on, as TLS does.
    is_unflushed: bool,
}

// === impl Output ===

impl Output {
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0 && !self.is_unflushed
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Bytes of answers that wait.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    /// Lets frames be written that the peer asked for, and may ask for without end.
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes;
        self.write(write);
        self.answers += self.bytes - before;
    }

    /// Lets frames be written.
    pub(super) fn write<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.last.capacity() == 0 {
            self.last = SPARE.take_one();
        }
        let before = self.last.len();
        let written = write(&mut self.last);
        self.bytes += self.last.len() - before;
        written
    }

    /// Adds a payload.
    pub(super) fn payload(&mut self, payload: Bytes) {
        if payload.len() < LARGE {
            return self.write(|last| last.extend_from_slice(&payload));
        }
        if self.last.len() > self.sent_of_last() {
            let sent = self.sent_of_last();
            let piece = match self.last.len() {
                // The head of a frame, most often: the room stays.
                ..=SMALL => {
                    let piece = Bytes::copy_from_slice(&self.last[sent..]);
                    self.last.clear();
                    piece
                }
                _ => Bytes::from(std::mem::take(&mut self.last)).slice(sent..),
            };
            if self.pieces.is_empty() {
                self.sent = 0;
            }
            self.pieces.push_back(piece);
        }
        self.bytes += payload.len();
        self.pieces.push_back(payload);
    }

    fn sent_of_last(&self) -> usize {
        if self.pieces.is_empty() { self.sent } else { 0 }
    }

    /// Sends all of it. Fails once; after that, nothing more is kept.
    pub(super) fn poll_send(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let sent = match self.is_broken {
            true => Poll::Ready(Ok(())),
            false => self.poll_write(stream, cx),
        };
        self.is_broken |= matches!(sent, Poll::Ready(Err(_)));
        if self.is_broken {
            self.pieces.clear();
            self.last.clear();
            (self.bytes, self.sent, self.is_unflushed) = (0, 0, false);
        }
        self.answers = self.answers.min(self.bytes);
        sent
    }

    fn poll_write(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(stream);
        while self.bytes > 0 {
            self.is_unflushed = true;
            let sent = if self.pieces.is_empty() {
                ready!(stream.as_mut().poll_write(cx, &self.last[self.sent..]))?
            } else {
                let pieces = self.pieces.iter().map(|piece| &piece[..]).chain([&self.last[..]]);
                let pieces: SmallVec<[IoSlice<'_>; PIECES]> = pieces.take(PIECES).map(IoSlice::new).collect();
                ready!(stream.as_mut().poll_write_vectored(cx, &pieces))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(sent);
        }
        if self.is_unflushed {
            ready!(stream.poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while let Some(first) = self.pieces.front_mut() {
            if sent < first.len() {
                return first.advance(sent);
            }
            sent -= first.len();
            self.pieces.pop_front();
        }
        self.sent += sent;
        if self.bytes == 0 {
            self.sent = 0;
            SPARE.give_back(std::mem::take(&mut self.last));
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        SPARE.give_back(std::mem::take(&mut self.last));
    }
}

/// A stock of rooms.
trait Stock {
    fn take_one(&'static self) -> Vec<u8>;
    fn give_back(&'static self, room: Vec<u8>);
}

impl Stock for std::thread::LocalKey<RefCell<Vec<Vec<u8>>>> {
    fn take_one(&'static self) -> Vec<u8> {
        self.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SPARE_BYTES))
    }

    fn give_back(&'static self, mut room: Vec<u8>) {
        if (SPARE_BYTES..=2 * SPARE_BYTES).contains(&room.capacity()) {
            room.clear();
            // Nobody has anything to send any more when the thread ends.
            let _ = self.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARES {
                    spare.push(room);
                }
            });
        }
    }
}
