//! What is sent on a connection, as far as windows and room allow.

use std::task::Context;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::{Fault, ID_MAX, State};
use crate::http2::{
    By, Error, OUTPUT_BYTES, Reason,
    encode::Encoder,
    frame::{CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES, HEAD_BYTES, HEADERS, frame, reset},
    stream::{Stream, remember, wake},
};

impl State {
    /// Of a client: opens a stream. An error if there can be no more on this connection.
    pub(in crate::http2) fn open(
        &mut self,
        request: &Request<()>,
        is_end: bool,
        place: OwnedSemaphorePermit,
    ) -> Result<usize, Error> {
        if let Some(error) = self.ended {
            return Err(error);
        }
        if self.output.is_broken() {
            return Err(Error::Io(std::io::ErrorKind::BrokenPipe));
        }
        if self.is_leaving || self.next_id > ID_MAX {
            return Err(Error::Away(Reason::NO_ERROR, By::Peer));
        }
        let mut stream = Stream::new(self.next_id, self.settings.stream_window, self.peer_window);
        self.next_id += 2;
        stream.is_head = *request.method() == http::Method::HEAD;
        stream.place = Some(place);
        stream.is_seen = true;
        let id = stream.id;
        let key = self.insert(stream);
        self.head(id, is_end, |encoder, into| encoder.request(request, into));
        if is_end {
            self.streams[key].send_ended = true;
        }
        Ok(key)
    }

    /// Writes a head, in as many frames as it takes.
    fn head(&mut self, id: u32, is_end: bool, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let encoder = &mut self.encoder;
        self.output.write(|into| {
            let start = into.len();
            frame(into, 0, HEADERS, 0, id);
            write(encoder, into);
            let bytes = into.len() - start - HEAD_BYTES;
            let ends = if is_end { END_STREAM } else { 0 };
            if bytes <= FRAME_BYTES {
                let [_, high, middle, low] = (bytes as u32).to_be_bytes();
                into[start..start + 5].copy_from_slice(&[high, middle, low, HEADERS, ends | END_HEADERS]);
                return;
            }
            let block = into.split_off(start + HEAD_BYTES);
            into.truncate(start);
            let mut parts = block.chunks(FRAME_BYTES).peekable();
            let mut kind = (HEADERS, ends);
            while let Some(part) = parts.next() {
                let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
                frame(into, part.len(), kind.0, kind.1 | last, id);
                into.extend_from_slice(part);
                kind = (CONTINUATION, 0);
            }
        });
        self.call_driver();
    }

    /// Ends a stream.
    pub(in crate::http2) fn reset(&mut self, id: u32, reason: Reason) {
        self.output.write(|into| reset(into, id, reason));
        self.call_driver();
    }

    /// Refuses a stream that there is no room for, or that broke the rules.
    pub(in crate::http2) fn refuse(&mut self, id: u32, reason: Reason) {
        self.output.answer(|into| reset(into, id, reason));
        self.call_driver();
    }

    /// Answers a request whose head is too large, without a stream.
    pub(in crate::http2) fn refuse_head(&mut self, id: u32, is_end: bool) {
        // 431, without an index: it may be said without end, and is bounded as such.
        const TOO_LARGE: &[u8] = &[0x08, 3, b'4', b'3', b'1'];
        self.output.answer(|into| {
            frame(into, TOO_LARGE.len(), HEADERS, END_HEADERS | END_STREAM, id);
            into.extend_from_slice(TOO_LARGE);
            if !is_end {
                reset(into, id, Reason::NO_ERROR);
            }
        });
        self.call_driver();
    }

    /// Ends a stream for what its peer did. Too many of these end the connection.
    pub(in crate::http2) fn fault(&mut self, id: u32, reason: Reason) -> Result<(), Fault> {
        self.refuse(id, reason);
        if let Some(key) = self.ids.get(&id).copied() {
            self.close(key, Some(Error::Reset(reason, By::Us)));
        }
        self.faults += 1;
        match self.settings.faults {
            Some(most) if self.faults > most => Err(Fault::Connection(Reason::ENHANCE_YOUR_CALM)),
            _ => Ok(()),
        }
    }

    /// Wakes as many of those who wait as there is room for. Those behind them are looked at in the next turn: who was woken
    /// may have nothing to send any more.
    pub(in crate::http2) fn wake_waiting(&mut self, cx: &Context<'_>) {
        let room = OUTPUT_BYTES.saturating_sub(self.output.len()).min(self.send_window.max(0) as usize);
        for _ in 0..room.div_ceil(FRAME_BYTES) {
            let Some((key, _)) = self.waiting.pop_front() else { return };
            let stream = &mut self.streams[key];
            stream.is_waiting = false;
            wake(&mut stream.writer);
        }
        if room > 0 && !self.waiting.is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    pub(in crate::http2) fn wait_to_write(&mut self, key: usize, cx: &Context<'_>) {
        remember(&mut self.streams[key].writer, cx);
    }

    /// How much data a stream may send. Where it is none, the stream waits its turn.
    pub(in crate::http2) fn room(&mut self, key: usize, cx: &Context<'_>) -> usize {
        // A whole frame or none: what is left of the room would make small ones.
        let room = if self.output.len() < OUTPUT_BYTES { FRAME_BYTES } else { 0 };
        let stream = &mut self.streams[key];
        let window = stream.send_window.min(self.send_window).max(0);
        let allowed = room.min(window as usize);
        if allowed == 0 {
            remember(&mut stream.writer, cx);
            if stream.send_window > 0 && !stream.is_waiting {
                stream.is_waiting = true;
                self.waiting.push_back((key, stream.id));
            }
        }
        allowed
    }

    /// Writes a frame of data that there is room for.
    pub(in crate::http2) fn send_data(&mut self, key: usize, data: Bytes, is_end: bool) {
        let stream = &mut self.streams[key];
        stream.send_window -= data.len() as i64;
        self.send_window -= data.len() as i64;
        let flags = if is_end { END_STREAM } else { 0 };
        self.output.write(|into| frame(into, data.len(), DATA, flags, stream.id));
        self.output.payload(data);
        self.call_driver();
        if is_end {
            self.send_over(key);
        }
    }

    pub(in crate::http2) fn send_answer(&mut self, key: usize, answer: &Response<()>, is_end: bool) {
        let id = self.streams[key].id;
        self.head(id, is_end, |encoder, into| encoder.response(answer, into));
        if is_end {
            self.send_over(key);
        }
    }

    pub(in crate::http2) fn send_trailers(&mut self, key: usize, trailers: &HeaderMap) {
        let id = self.streams[key].id;
        // An empty block says the end as well, but some readers take it for none.
        match trailers.is_empty() {
            true => self.output.write(|into| frame(into, 0, DATA, END_STREAM, id)),
            false => self.head(id, true, |encoder, into| encoder.trailers(trailers, into)),
        }
        self.call_driver();
        self.send_over(key);
    }

    pub(in crate::http2) fn send_reset(&mut self, key: usize, reason: Reason) {
        let stream = &self.streams[key];
        if stream.is_open {
            let id = stream.id;
            self.reset(id, reason);
            self.close(key, Some(Error::Reset(reason, By::Us)));
        }
    }

    fn send_over(&mut self, key: usize) {
        self.streams[key].send_ended = true;
        self.close_if_over(key);
    }
}
