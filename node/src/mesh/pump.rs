//! Sends a body into an HTTP/2 stream, no faster than its receiver takes it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;

use super::{BoxError, patient::Waiting};
use crate::http2::{Reason, Sender};

/// A body on its way into a stream.
pub(super) struct Pump<B> {
    body: B,
    stream: Sender,
    /// What was taken from the body and has not gone yet, and whether it is the last.
    taken: Option<(Bytes, bool)>,
    /// What the receiver is told when the body breaks off.
    broken: Reason,
    /// How long the receiver is waited for, where that has an end.
    waiting: Option<Waiting>,
}

/// Why a stream ended before its body did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It was reset, its connection is gone, or the body broke off.
    Broken,
    /// Its receiver took too little for too long.
    Slow,
}

// === impl Pump ===

impl<B> Pump<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    pub(super) fn new(body: B, stream: Sender, broken: Reason) -> Self {
        Self { body, stream, taken: None, broken, waiting: None }
    }

    /// Gives up on a receiver that takes too little, for which the body waits for so long.
    pub(super) fn patient_for(mut self, patience: Duration) -> Self {
        self.waiting = Some(Waiting::new(patience));
        self
    }

    /// Returns what is left of the body.
    pub(super) fn into_body(self) -> B {
        self.body
    }

    /// Sends what there is. Ready at the end of the body.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            // The body is asked when there is room for a byte of what it gives.
            let (sent, bytes) = match &mut self.taken {
                Some((data, is_end)) => {
                    let left = data.len();
                    let sent = self.stream.poll_send(cx, data, *is_end);
                    (sent, left - data.len())
                }
                None => (self.stream.poll_room(cx), 0),
            };
            if let Some(waiting) = self.waiting.as_mut().filter(|_| sent.is_ready() || bytes > 0) {
                waiting.took(bytes);
            }
            let Poll::Ready(sent) = sent else {
                let Some(waiting) = &mut self.waiting else { return Poll::Pending };
                ready!(waiting.poll_over(cx));
                self.stream.reset(Reason::CANCEL);
                return Poll::Ready(Err(Stopped::Slow));
            };
            sent.map_err(|_| Stopped::Broken)?;
            if self.taken.take().is_some_and(|(_, is_end)| is_end) {
                return Poll::Ready(Ok(()));
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // A receiver that has gone must not be found out with the next frame only.
                    let reset = self.stream.poll_reset(cx);
                    return if reset.is_ready() { Poll::Ready(Err(Stopped::Broken)) } else { Poll::Pending };
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.taken = Some((data, self.body.is_end_stream())),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(self.stream.trailers(&trailers).map_err(|_| Stopped::Broken));
                    }
                },
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body broke off");
                    self.stream.reset(self.broken);
                    return Poll::Ready(Err(Stopped::Broken));
                }
                None => self.taken = Some((Bytes::new(), true)),
            }
        }
    }
}
