//! Sends a body into an HTTP/2 stream, no faster than its receiver takes it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use tokio::time::Sleep;

use super::BoxError;
use crate::http2::{Reason, Sender};

/// A body on its way into a stream.
pub(super) struct Pump<B> {
    body: B,
    stream: Sender,
    /// What was taken from the body and has not gone yet, and whether it is the last.
    taken: Option<(Bytes, bool)>,
    /// What the receiver is told when the body breaks off.
    broken: Reason,
    /// How long the receiver may take nothing.
    patience: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The stream ended before the body did: it was reset, its connection is gone, or the body broke off.
#[derive(Debug)]
pub(super) struct Stopped;

// === impl Pump ===

impl<B> Pump<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    pub(super) fn new(body: B, stream: Sender, broken: Reason) -> Self {
        Self { body, stream, taken: None, broken, patience: None, timer: None }
    }

    /// Gives up on a receiver that takes nothing for so long.
    pub(super) fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Returns ready once the receiver has taken nothing for too long.
    fn poll_impatient(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.patience else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        timer.as_mut().poll(cx)
    }

    /// Sends what there is. Ready at the end of the body.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            // The body is asked when there is room for a byte of what it gives.
            let sent = match &mut self.taken {
                Some((data, is_end)) => {
                    let left = data.len();
                    let sent = self.stream.poll_send(cx, data, *is_end);
                    if data.len() < left {
                        self.timer = None;
                    }
                    sent
                }
                None => self.stream.poll_room(cx),
            };
            let Poll::Ready(sent) = sent else {
                ready!(self.poll_impatient(cx));
                self.stream.reset(Reason::CANCEL);
                return Poll::Ready(Err(Stopped));
            };
            self.timer = None;
            sent.map_err(|_| Stopped)?;
            if self.taken.take().is_some_and(|(_, is_end)| is_end) {
                return Poll::Ready(Ok(()));
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // A receiver that has gone must not be found out with the next frame only.
                    let reset = self.stream.poll_reset(cx);
                    return if reset.is_ready() { Poll::Ready(Err(Stopped)) } else { Poll::Pending };
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.taken = Some((data, self.body.is_end_stream())),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(self.stream.trailers(&trailers).map_err(|_| Stopped));
                    }
                },
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body broke off");
                    self.stream.reset(self.broken);
                    return Poll::Ready(Err(Stopped));
                }
                None => self.taken = Some((Bytes::new(), true)),
            }
        }
    }
}
