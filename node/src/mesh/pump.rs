//! Sends a body into an HTTP/2 stream, no faster than its receiver takes it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use tokio::time::Sleep;

use super::BoxError;

/// A body on its way into a stream.
pub(super) struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
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
    pub(super) fn new(body: B, stream: SendStream<Bytes>, broken: Reason) -> Self {
        Self { body, stream, broken, patience: None, timer: None }
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
            // A byte of room lets the body be asked; what it gives is held by the stream until the window takes it.
            self.stream.reserve_capacity(1);
            if self.stream.capacity() == 0 {
                let Poll::Ready(capacity) = self.stream.poll_capacity(cx) else {
                    ready!(self.poll_impatient(cx));
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Stopped));
                };
                self.timer = None;
                match capacity {
                    Some(Ok(0)) => continue,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(Stopped)),
                }
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // A receiver that has gone must not be found out with the next frame only.
                    let reset = self.stream.poll_reset(cx);
                    return if reset.is_ready() { Poll::Ready(Err(Stopped)) } else { Poll::Pending };
                }
            };
            let sent = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let end = self.body.is_end_stream();
                        if data.is_empty() && !end {
                            continue;
                        }
                        let sent = self.stream.send_data(data, end);
                        if sent.is_ok() && !end {
                            continue;
                        }
                        sent
                    }
                    Err(frame) => {
                        // Trailers need no window, and what was asked for goes back.
                        self.stream.reserve_capacity(0);
                        self.stream.send_trailers(frame.into_trailers().unwrap_or_default())
                    }
                },
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body broke off");
                    self.stream.send_reset(self.broken);
                    return Poll::Ready(Err(Stopped));
                }
                None => self.stream.send_data(Bytes::new(), true),
            };
            return Poll::Ready(sent.map_err(|_| Stopped));
        }
    }
}
