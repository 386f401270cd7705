//! A body as it comes off a connection, of either version of HTTP.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::{BoxError, conn::Stream, tunnel::Tunnel};

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
    stream: RecvStream,
    data_ended: bool,
    /// Whether nothing more comes, as far as was known with the last frame: asking the stream takes the lock of its
    /// connection.
    ended: bool,
    /// What the head says is still to come.
    left: Option<u64>,
    /// Sends the other direction of the same stream; it ends when nobody reads this one any more.
    _opposite: Option<AbortOnDrop>,
    /// Counts it as one that is open.
    _stream_of: Option<Stream>,
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
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap, opposite: Option<AbortOnDrop>) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let ended = stream.is_end_stream();
        Self { stream, data_ended: false, ended, left, _opposite: opposite, _stream_of: None }
    }

    /// Counts it as a stream of its connection for as long as it is read.
    pub(super) fn counted(self, stream: Stream) -> Self {
        Self { _stream_of: Some(stream), ..self }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.poll_next(cx));
        self.ended = frame.is_none() || self.stream.is_end_stream();
        Poll::Ready(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // An answer that is whole before its request is may stop the request without an error (RFC 9113 §8.1).
        let end = |error: h2::Error| match error.reason() {
            Some(Reason::NO_ERROR) => None,
            _ => Some(Err(error.into())),
        };
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only when the stream has ended meanwhile, which the next frame says.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(end(error)),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => end(error),
        })
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
