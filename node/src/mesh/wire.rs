//! A body as it comes off a connection, of either version of HTTP.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::{BoxError, tunnel::Tunnel};
use crate::http2::Receiver;

/// A body on the wire.
pub(super) enum Wire {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(Received),
    /// Over a connection that has changed its protocol.
    Tunnel(Box<Tunnel>),
}

/// A body of HTTP/2. What was handed out has left its window, so the peer may send as much again.
pub(super) struct Received {
    stream: Receiver,
    /// Whether nothing more comes, as far as was known with the last frame.
    ended: bool,
    /// What the head says is still to come.
    left: Option<u64>,
    /// Sends the other direction of the same stream; it ends when nobody reads this one any more.
    _opposite: Option<AbortOnDrop>,
}

/// A task that ends with whatever holds this.
pub(super) struct AbortOnDrop(pub(super) AbortHandle);

// === impl AbortOnDrop ===

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Received ===

impl Received {
    pub(super) fn new(stream: Receiver, headers: &HeaderMap, opposite: Option<AbortOnDrop>) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let ended = stream.is_end();
        Self { stream, ended, left, _opposite: opposite }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => self.stream.trailers().map(|trailers| Ok(Frame::trailers(trailers))),
        };
        self.ended = frame.is_none() || self.stream.is_end();
        Poll::Ready(frame)
    }
}

// === impl Wire ===

impl Body for Wire {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::Http2(body) => body.poll_frame(cx),
            Self::Tunnel(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.ended,
            Self::Tunnel(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) if body.ended => SizeHint::with_exact(0),
            Self::Http2(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Tunnel(_) => SizeHint::default(),
        }
    }
}
