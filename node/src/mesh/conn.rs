//! Connections: TCP with a deadline, and one shared HTTP/2 connection that is made once however many ask for it.

use std::{
    cell::{Cell, RefCell},
    error::Error as _,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::Instant};

use super::{body::ReqBody, exec::LocalExec};

/// Window of one stream. What a stream's receiver has not read yet is held here, so it bounds memory per request.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;

/// Window of a connection between gates: sixty-four streams may be stuck in the middle of a body before others feel it.
pub(super) const LINK_WINDOW: u32 = 64 * STREAM_WINDOW;

/// What is taken from a body before the peer has made room; with the window, less than what is kept for a retry.
pub(super) const SEND_BUFFER: usize = 128 << 10;

/// How long a peer that could not be connected is left alone: its requests go elsewhere at once instead of each
/// waiting for the same time-out.
const REST: Duration = Duration::from_millis(200);

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendFailure {
    /// No connection, or it ended before anything was sent.
    Unreachable,
    /// The peer says it did not look at the request (REFUSED_STREAM, GOAWAY).
    Unprocessed,
    /// The connection ended before a byte of the body was taken.
    BeforeBody,
    /// The connection ended later, or the peer answered outside the protocol.
    Broken,
}

/// An HTTP/2 connection to one address, made when first needed and again when it ends.
pub(super) struct H2Link {
    address: String,
    connect_timeout: Duration,
    /// Between gates a ping each second finds a dead host; a model's server may take pings for an attack.
    pings: bool,
    sender: RefCell<Option<http2::SendRequest<ReqBody>>>,
    connecting: tokio::sync::Mutex<()>,
    rests_until: Cell<Option<Instant>>,
}

/// Connects, without delay for small writes.
pub(super) async fn connect(address: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl H2Link ===

impl H2Link {
    pub(super) fn new(address: impl Into<String>, connect_timeout: Duration, pings: bool) -> Self {
        Self {
            address: address.into(),
            connect_timeout,
            pings,
            sender: RefCell::default(),
            connecting: tokio::sync::Mutex::new(()),
            rests_until: Cell::new(None),
        }
    }

    /// Sends a request. When nothing of it was sent on a connection that had just ended, a new one is tried once.
    pub(super) async fn send(&self, mut request: Request<ReqBody>) -> Result<Response<Incoming>, SendFailure> {
        let (taken, empty) = (request.body().taken(), request.body().is_empty());
        for _ in 0..2 {
            let mut sender = self.sender().await?;
            let mut error: TrySendError<_> = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            self.forget_closed();
            let Some(unsent) = error.take_message() else {
                return Err(classify(&error.into_error(), taken.get(), empty));
            };
            request = unsent;
        }
        Err(SendFailure::Unreachable)
    }

    /// Connects if there is no connection.
    pub(super) async fn sender(&self) -> Result<http2::SendRequest<ReqBody>, SendFailure> {
        if let Some(sender) = self.live() {
            return Ok(sender);
        }
        let _turn = self.connecting.lock().await;
        if let Some(sender) = self.live() {
            return Ok(sender);
        }
        if self.rests_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(SendFailure::Unreachable);
        }
        match self.handshake().await {
            Ok(sender) => {
                self.rests_until.set(None);
                self.sender.replace(Some(sender.clone()));
                Ok(sender)
            }
            Err(error) => {
                tracing::debug!(address = %self.address, %error, "could not connect");
                self.rests_until.set(Some(Instant::now() + REST));
                Err(SendFailure::Unreachable)
            }
        }
    }

    fn live(&self) -> Option<http2::SendRequest<ReqBody>> {
        self.sender.borrow().as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    fn forget_closed(&self) {
        self.sender.borrow_mut().take_if(|sender| sender.is_closed());
    }

    async fn handshake(&self) -> Result<http2::SendRequest<ReqBody>, super::BoxError> {
        let stream = connect(&self.address, self.connect_timeout).await?;
        let mut builder = http2::Builder::new(LocalExec);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(LINK_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        if self.pings {
            builder
                .keep_alive_interval(Duration::from_secs(1))
                .keep_alive_timeout(Duration::from_secs(2))
                .keep_alive_while_idle(true);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(sender)
    }
}

/// Tells what an error proves about the request.
pub(super) fn classify(error: &hyper::Error, taken: bool, empty: bool) -> SendFailure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            // A connection that goes away in order names the last stream it looked at; this one came later.
            let away = h2.is_go_away() && h2.is_remote() && h2.reason() == Some(h2::Reason::NO_ERROR);
            if refused || away {
                return SendFailure::Unprocessed;
            }
        }
        source = cause.source();
    }
    if !taken && !empty && !error.is_parse() { SendFailure::BeforeBody } else { SendFailure::Broken }
}
