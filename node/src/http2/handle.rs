//! What a request has of its stream: one half to read, one to write.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{By, Error, Reason, state::Shared};

/// What comes on a stream. When both halves are gone, so is the stream.
pub(crate) struct Receiver {
    state: Shared,
    key: usize,
}

/// What goes out on a stream.
pub(crate) struct Sender {
    state: Shared,
    key: usize,
}

/// Asks whether the peer is there, one question at a time.
pub(crate) struct Pings(pub(super) Shared);

/// Both halves of a stream.
pub(super) fn halves(state: &Shared, key: usize) -> (Receiver, Sender) {
    (Receiver { state: Rc::clone(state), key }, Sender { state: Rc::clone(state), key })
}

// === impl Receiver ===

impl Receiver {
    /// Ready with the head of an answer.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        let mut state = self.state.borrow_mut();
        let stream = state.stream(self.key);
        if let Some(answer) = stream.answer.take() {
            return Poll::Ready(Ok(answer));
        }
        if let Some(error) = stream.reset {
            return Poll::Ready(Err(error));
        }
        state.wait_to_read(self.key, cx);
        Poll::Pending
    }

    /// Ready with the next data, or with nothing at its end. What was handed out has left its window.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut state = self.state.borrow_mut();
        if let Some(data) = state.read(self.key) {
            return Poll::Ready(Some(Ok(data)));
        }
        let stream = state.stream(self.key);
        if stream.recv_ended {
            return Poll::Ready(None);
        }
        if let Some(error) = stream.reset {
            return Poll::Ready(Some(Err(error)));
        }
        state.wait_to_read(self.key, cx);
        Poll::Pending
    }

    /// Takes what came behind the data, once that has ended.
    pub(crate) fn trailers(&mut self) -> Option<HeaderMap> {
        self.state.borrow_mut().stream(self.key).take_trailers()
    }

    /// Returns whether nothing more comes, as far as is known.
    pub(crate) fn is_end(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let stream = state.stream(self.key);
        stream.recv_ended && !stream.has_data() && !stream.has_trailers()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.reader_gone(self.key);
        state.let_go(self.key);
    }
}

// === impl Sender ===

impl Sender {
    /// Ready when nothing that is sent is read any more.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let mut state = self.state.borrow_mut();
        state.see(self.key);
        let stream = state.stream(self.key);
        if let Some(error) = stream.reset {
            return Poll::Ready(error);
        }
        state.wait_to_write(self.key, cx);
        Poll::Pending
    }

    /// Sends the head of an answer.
    pub(crate) fn answer(&mut self, answer: &Response<()>, is_end: bool) -> Result<(), Error> {
        self.check()?;
        self.state.borrow_mut().send_answer(self.key, answer, is_end);
        Ok(())
    }

    /// Ready when data can be sent.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check()?;
        match self.state.borrow_mut().room(self.key, cx) {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends data, and with `is_end` the end of it. Ready when all is on its way; before that, what is left stays in `data`.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        is_end: bool,
    ) -> Poll<Result<(), Error>> {
        self.check()?;
        let mut state = self.state.borrow_mut();
        loop {
            if data.is_empty() {
                if is_end {
                    state.send_data(self.key, Bytes::new(), true);
                }
                return Poll::Ready(Ok(()));
            }
            let room = state.room(self.key, cx);
            if room == 0 {
                return Poll::Pending;
            }
            let part = data.split_to(room.min(data.len()));
            let is_last = is_end && data.is_empty();
            state.send_data(self.key, part, is_last);
            if data.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends what follows the data, and the end.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), Error> {
        self.check()?;
        self.state.borrow_mut().send_trailers(self.key, trailers);
        Ok(())
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        self.state.borrow_mut().send_reset(self.key, reason);
    }

    fn check(&self) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let stream = state.stream(self.key);
        match stream.reset {
            Some(error) => Err(error),
            // Nothing can follow an end.
            None if stream.send_ended => Err(Error::Reset(Reason::STREAM_CLOSED, By::Us)),
            None => Ok(()),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.state.borrow_mut().let_go(self.key);
    }
}

// === impl Pings ===

impl Pings {
    /// Waits for the peer's answer.
    pub(crate) async fn ping(&mut self) -> Result<(), Error> {
        self.0.borrow_mut().send_ping();
        poll_fn(|cx| self.0.borrow_mut().poll_ping(cx).map_or(Poll::Pending, Poll::Ready)).await
    }
}
