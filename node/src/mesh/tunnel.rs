//! Connections that change their protocol: once a WebSocket is agreed on, both sides speak as they like until one ends.
//!
//! Each direction travels as a body does, so that everything that hangs on a body hangs on these: the slot is held and the
//! request is counted until the conversation is over. Between gates it is a stream of HTTP/2 like any other. Only
//! `websocket` is taken: to switch to anything a caller names would let it speak to a replica past the mesh (`h2c`).

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use http_body::{Body, Frame};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, ReadHalf},
    sync::oneshot,
};

use super::{
    BoxError,
    body::{OutBody, ReqBody},
    patient::TooSlow,
    wire::{AbortOnDrop, Wire},
    worker::{Core, Counted, Door},
};
use crate::http2::Protocol;

const WEBSOCKET: &str = "websocket";

/// Bytes read at once.
const READ: usize = 16 << 10;

/// How long a connection may take to change hands after both sides agreed: it only has to send what was agreed.
const SWITCH_WITHIN: Duration = Duration::from_secs(10);

/// How long a replica may speak on after its caller has ended: time to answer a close, not to hold a slot for nobody.
const LINGER: Duration = Duration::from_secs(5);

/// Marks a request that asks to change the protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch;

/// How a caller asked, and what its connection needs.
pub(super) enum Asked {
    /// By `upgrade`, over HTTP/1.1: the connection itself changes.
    Upgrade(OnUpgrade, oneshot::Sender<Half>),
    /// By an extended CONNECT, over HTTP/2 (RFC 8441): the stream goes on.
    Connect,
}

type Half = ReadHalf<TokioIo<Upgraded>>;

/// One direction of a conversation.
pub(super) struct Tunnel {
    from: Source,
    buffer: BytesMut,
    /// The other direction, and when it has been over for long enough.
    opposite: Option<(AbortOnDrop, oneshot::Receiver<()>)>,
}

enum Source {
    /// Nothing was agreed on yet.
    Waiting(oneshot::Receiver<Half>),
    Reading(Half),
    Ended,
}

// === impl Asked ===

impl Asked {
    /// Takes out of a request's head what asks for a WebSocket. Returns it with the body that is to come, if that is not
    /// the request's own.
    pub(super) fn of(parts: &mut Parts, draw: impl Fn() -> u64) -> Option<(Self, Option<Wire>)> {
        if parts.method == Method::CONNECT {
            let protocol = parts.extensions.get::<Protocol>()?;
            if !protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) {
                return None;
            }
            // The replica is asked over HTTP/1.1, where the handshake has a key.
            parts.method = Method::GET;
            if !parts.headers.contains_key(header::SEC_WEBSOCKET_KEY) {
                parts.headers.insert(header::SEC_WEBSOCKET_KEY, key(draw(), draw()));
            }
            return Some((Self::Connect, None));
        }
        let names = |name, token: &str| {
            let value = parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
        };
        let is_empty = || {
            !parts.headers.contains_key(header::CONTENT_LENGTH)
                && !parts.headers.contains_key(header::TRANSFER_ENCODING)
        };
        let asks = parts.method == Method::GET
            && parts.version == Version::HTTP_11
            && is_empty()
            && names(header::UPGRADE, WEBSOCKET)
            && names(header::CONNECTION, "upgrade");
        let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| asks)?;
        let (sender, receiver) = oneshot::channel();
        let body = Wire::Tunnel(Box::new(Tunnel::new(Source::Waiting(receiver), None)));
        Some((Self::Upgrade(upgrade, sender), Some(body)))
    }

    /// Joins the caller to the replica that agreed. An answer that does not agree stays as it is.
    pub(super) fn join(self, core: &Rc<Core>, mut response: Response<OutBody>) -> Response<OutBody> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        match self {
            Self::Connect => {
                *response.status_mut() = StatusCode::OK;
                response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
                response
            }
            Self::Upgrade(upgrade, sender) => {
                agree(response.headers_mut());
                let (parts, mut body) = response.into_parts();
                let counted = Counted::new(core.clone(), Door::Ingress);
                tokio::task::spawn_local(async move {
                    let _counted = counted;
                    let Ok(Ok(caller)) = tokio::time::timeout(SWITCH_WITHIN, upgrade).await else { return };
                    let (read, write) = tokio::io::split(TokioIo::new(caller));
                    // Nobody reads it any more when the replica has ended meanwhile, which the body then says.
                    let _ = sender.send(read);
                    if pour(&mut body, write).await.is_err_and(|error| TooSlow::is_in(&error)) {
                        body.give_up();
                    }
                });
                Response::from_parts(parts, OutBody::Full(None))
            }
        }
    }
}

// === impl Tunnel ===

impl Tunnel {
    fn new(from: Source, opposite: Option<(AbortOnDrop, oneshot::Receiver<()>)>) -> Self {
        Self { from, buffer: BytesMut::new(), opposite }
    }

    /// Joins a replica that agreed to what its caller sends; what it says itself is the tunnel.
    pub(super) fn to_replica(replica: Upgraded, mut caller: ReqBody) -> Self {
        let (read, write) = tokio::io::split(TokioIo::new(replica));
        let (sender, over) = oneshot::channel();
        let task = tokio::task::spawn_local(async move {
            if pour(&mut caller, write).await.is_ok_and(|in_order| in_order) {
                tokio::time::sleep(LINGER).await;
            }
            // Nobody waits for it when the replica has ended first.
            let _ = sender.send(());
        });
        Self::new(Source::Reading(read), Some((AbortOnDrop(task.abort_handle()), over)))
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.from, Source::Ended)
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match &mut self.from {
                Source::Waiting(receiver) => {
                    // What was not agreed on has nothing to say.
                    self.from = ready!(Pin::new(receiver).poll(cx)).map_or(Source::Ended, Source::Reading);
                }
                Source::Reading(half) => {
                    self.buffer.reserve(READ);
                    return match tokio_util::io::poll_read_buf(Pin::new(half), cx, &mut self.buffer) {
                        Poll::Ready(Ok(0)) => {
                            self.from = Source::Ended;
                            Poll::Ready(None)
                        }
                        Poll::Ready(Ok(_)) => Poll::Ready(Some(Ok(Frame::data(self.buffer.split().freeze())))),
                        Poll::Ready(Err(error)) => {
                            self.from = Source::Ended;
                            Poll::Ready(Some(Err(error.into())))
                        }
                        Poll::Pending => {
                            let Some((_, over)) = &mut self.opposite else { return Poll::Pending };
                            let _ = ready!(Pin::new(over).poll(cx));
                            self.from = Source::Ended;
                            Poll::Ready(Some(Err("the caller has left".into())))
                        }
                    };
                }
                Source::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// Writes what a side says to the other, as it comes. Returns whether that ended in order.
async fn pour<B>(body: &mut B, mut write: impl AsyncWrite + Unpin) -> io::Result<bool>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                let Ok(mut data) = frame.into_data() else { continue };
                write.write_all_buf(&mut data).await?;
                write.flush().await?;
            }
            Some(Err(_)) => return Ok(false),
            // The other side reads an end; it may still have something to say.
            None => return write.shutdown().await.map(|()| true),
        }
    }
}

/// Writes what both heads of the handshake say.
pub(super) fn agree(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
}

/// Writes drawn bits as sixteen bytes in base 64. Hexadecimal digits are digits of that, too; the last one of twenty-two
/// holds two bits.
fn key(high: u64, low: u64) -> HeaderValue {
    let text = format!("{high:016x}{low:016x}");
    HeaderValue::from_str(&format!("{}w==", &text[..21])).unwrap_or_else(|_| HeaderValue::from_static(""))
}
