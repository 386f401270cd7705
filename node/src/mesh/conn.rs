//! Connections: TCP with a deadline, and one shared HTTP/2 connection that is made once however many ask for it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use http::{Request, Response};
use http_body::Body as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use super::{
    body::ReqBody,
    frames::counting,
    gather::Gather,
    keeper::Keeper,
    peers::Peers,
    pump::Pump,
    wire::{AbortOnDrop, Received, Wire},
};

/// Window of one stream. What a stream's receiver has not read yet is held here, so it bounds memory per request.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;

/// Window of a connection between gates: sixty-four streams may be stuck in the middle of a body before others feel it.
pub(super) const LINK_WINDOW: u32 = 64 * STREAM_WINDOW;

/// What is taken from a body before the peer has made room; with the window, less than what is kept for a retry.
pub(super) const SEND_BUFFER: usize = 128 << 10;

/// How long a peer that could not be connected is left alone: its requests go elsewhere at once instead of each
/// waiting for the same time-out.
const REST: Duration = Duration::from_millis(200);

/// Streams a peer is taken to allow until it says how many.
const UNTOLD_STREAMS: usize = 100;

/// Streams a connection to a model's server is used for while each may yet end, or has ended, with an empty frame: the
/// library ends a connection at its hundredth, see [`counting`].
const STREAMS_AND_EMPTY_FRAMES: u32 = 96;

/// Streams that were given up and are remembered for a second, so that what still arrives for them is dropped in silence.
const RESETS_KEPT: usize = 1_024;

/// Bytes of headers an answer may have.
const HEADER_BYTES: u32 = 64 << 10;

/// Between gates a ping each second finds a dead host.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_WITHIN: Duration = Duration::from_secs(2);

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
    /// Not towards a model's server, which may take them for an attack.
    pings: bool,
    /// What the connection is wrapped in, between nodes.
    peers: Option<Peers>,
    live: RefCell<Option<Live>>,
    serial: Cell<u64>,
    connecting: tokio::sync::Mutex<()>,
    rests_until: Cell<Option<Instant>>,
}

/// A connection that was alive when it was last used.
#[derive(Clone)]
struct Live {
    sender: SendRequest<Bytes>,
    /// Tells it from the one that follows it.
    serial: u64,
    carried: Rc<Carried>,
}

/// What a connection carries.
#[derive(Debug, Default)]
pub(super) struct Carried {
    open: Cell<u32>,
    empty_frames: Rc<Cell<u32>>,
    /// A head was handed over whose body follows as soon as its stream is open.
    head_alone: Cell<bool>,
}

/// One stream of a connection, counted while it is open.
pub(super) struct Stream(Rc<Carried>);

/// A request whose head is on its way.
struct Sending {
    response: ResponseFuture,
    /// The body, as long as there is any.
    pump: Option<Pump<ReqBody>>,
    taken: Rc<Cell<bool>>,
    whole: bool,
    stream: Stream,
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
            peers: None,
            live: RefCell::default(),
            serial: Cell::new(0),
            connecting: tokio::sync::Mutex::new(()),
            rests_until: Cell::new(None),
        }
    }

    /// Wraps connections to come.
    pub(super) fn within(self, peers: Option<Peers>) -> Self {
        Self { peers, ..self }
    }

    /// Sends a request. A connection that has ended is replaced before anything is sent.
    pub(super) async fn send(&self, request: Box<Request<ReqBody>>) -> Result<Response<Wire>, SendFailure> {
        let live = match poll_fn(|cx| Poll::Ready(self.usable(cx))).await {
            Some(live) => live,
            None => Box::pin(self.connected()).await?,
        };
        let mut sending = self.begin(live, *request)?;
        let answer = poll_fn(|cx| sending.poll(cx)).await?;
        Ok(sending.follow(answer))
    }

    /// Puts the head of a request on its way.
    fn begin(&self, mut live: Live, request: Request<ReqBody>) -> Result<Sending, SendFailure> {
        let (parts, body) = request.into_parts();
        let (taken, whole) = (body.taken(), body.is_end_stream());
        match live.sender.send_request(Request::from_parts(parts, ()), whole) {
            Ok((response, stream)) => {
                let pump = (!whole).then(|| Pump::new(body, stream, Reason::CANCEL));
                if pump.is_some() {
                    live.carried.head_alone.set(true);
                }
                Ok(Sending { response, pump, taken, whole, stream: Stream::of(&live.carried) })
            }
            Err(error) => {
                tracing::debug!(address = %self.address, %error, "a connection takes no more requests");
                self.forget(&live);
                Err(SendFailure::Unprocessed)
            }
        }
    }

    /// Connects, unless somebody else has just done so.
    async fn connected(&self) -> Result<Live, SendFailure> {
        let _turn = self.connecting.lock().await;
        if let Some(live) = poll_fn(|cx| Poll::Ready(self.usable(cx))).await {
            return Ok(live);
        }
        if self.rests_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(SendFailure::Unreachable);
        }
        match self.handshake().await {
            Ok((sender, carried)) => {
                self.rests_until.set(None);
                self.serial.set(self.serial.get() + 1);
                let live = Live { sender, serial: self.serial.get(), carried };
                self.live.replace(Some(live.clone()));
                Ok(live)
            }
            Err(error) => {
                tracing::debug!(address = %self.address, %error, "could not connect");
                self.rests_until.set(Some(Instant::now() + REST));
                Err(SendFailure::Unreachable)
            }
        }
    }

    /// Returns the connection if it takes requests.
    fn usable(&self, cx: &mut Context<'_>) -> Option<Live> {
        let mut live = self.live.borrow().clone()?;
        // Between gates no empty frame is passed on.
        if !self.pings && live.carried.is_full() {
            self.forget(&live);
            return None;
        }
        // An error when the connection has ended, goes away, or has used up its stream ids. A sender that has sent nothing
        // yet is never asked to wait.
        if let Poll::Ready(Err(_)) = live.sender.poll_ready(cx) {
            self.forget(&live);
            return None;
        }
        Some(live)
    }

    fn forget(&self, gone: &Live) {
        self.live.borrow_mut().take_if(|live| live.serial == gone.serial);
    }

    async fn handshake(&self) -> Result<(SendRequest<Bytes>, Rc<Carried>), super::BoxError> {
        let stream = connect(&self.address, self.connect_timeout).await?;
        match &self.peers {
            None => self.begin_http2(stream).await,
            Some(peers) => self.begin_http2(peers.connect(stream).await?).await,
        }
    }

    async fn begin_http2<S>(&self, stream: S) -> Result<(SendRequest<Bytes>, Rc<Carried>), super::BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let carried = Rc::<Carried>::default();
        let stream = Gather::new(counting(stream, Rc::clone(&carried.empty_frames)));
        let gather = stream.clone();
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(UNTOLD_STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(LINK_WINDOW)
            .max_header_list_size(HEADER_BYTES)
            .max_send_buffer_size(SEND_BUFFER)
            // Answers to callers that have left go on arriving; none of them is worth the other callers' requests.
            .max_concurrent_reset_streams(RESETS_KEPT)
            .max_local_error_reset_streams(None);
        let (sender, mut connection) = gather.drive(builder.handshake::<_, Bytes>(stream)).await?;
        let mut keeper = match self.pings {
            true => {
                let mut pings = connection.ping_pong();
                if let Some(pings) = &mut pings {
                    answered(&mut connection, &gather, pings, self.connect_timeout).await?;
                }
                Keeper::spawn(pings, PING_EVERY, PING_WITHIN)
            }
            false => Keeper::idle(),
        };
        let heads = Rc::clone(&carried);
        tokio::task::spawn_local(async move {
            let ended = poll_fn(|cx| {
                // The library opens a stream in one turn and takes its body in the next: one write for both.
                let drive = |cx: &mut Context<'_>| Pin::new(&mut connection).poll(cx);
                let turn = match heads.head_alone.take() {
                    true => gather.poll_begun(cx, drive),
                    false => gather.poll_driven(cx, drive),
                };
                match turn {
                    Poll::Pending => keeper.poll_lost(cx).map(|()| None),
                    Poll::Ready(ended) => Poll::Ready(ended.err()),
                }
            });
            if let Some(error) = ended.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok((sender, carried))
    }
}

/// Waits until the other node itself has spoken on a connection. Its kernel takes connections for a process that is about
/// to end or that stands still, and a request sent on one could not be proven not to have been started.
async fn answered<S>(
    connection: &mut Connection<Gather<S>, Bytes>,
    gather: &Gather<S>,
    pings: &mut PingPong,
    within: Duration,
) -> Result<(), super::BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The ping first, so that it is part of the turn.
    let mut pong = pin!(tokio::time::timeout(within, pings.ping(Ping::opaque())));
    let heard = poll_fn(|cx| match pong.as_mut().poll(cx) {
        Poll::Ready(pong) => Poll::Ready(Ok(pong)),
        Poll::Pending => gather.poll_driven(cx, |cx| Pin::new(&mut *connection).poll(cx)).map(Err),
    });
    match heard.await {
        Ok(pong) => Ok(pong?.map(drop)?),
        Err(ended) => ended.map_err(Into::into).and(Err("it ended before the peer spoke".into())),
    }
}

// === impl Carried ===

impl Carried {
    /// Returns whether one stream more could be one too many.
    fn is_full(&self) -> bool {
        self.open.get() + self.empty_frames.get() >= STREAMS_AND_EMPTY_FRAMES
    }
}

// === impl Stream ===

impl Stream {
    fn of(carried: &Rc<Carried>) -> Self {
        carried.open.set(carried.open.get() + 1);
        Self(Rc::clone(carried))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

// === impl Sending ===

impl Sending {
    /// Ready with the head of the answer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, SendFailure>> {
        // The body first: the answer to a short one is then all there is to wait for. Why it ended early, if it did, the
        // answer or its lack will say.
        if self.pump.as_mut().is_some_and(|pump| pump.poll(cx).is_ready()) {
            self.pump = None;
        }
        let answer = Pin::new(&mut self.response).poll(cx);
        answer.map_err(|error| classify_h2(&error, self.taken.get(), self.whole))
    }

    /// Wraps the answer. When the request is not over, it is a conversation: the caller goes on talking while it hears.
    fn follow(self, answer: Response<RecvStream>) -> Response<Wire> {
        let opposite = self.pump.map(|mut pump| {
            let task = tokio::task::spawn_local(async move {
                let _ = poll_fn(|cx| pump.poll(cx)).await;
            });
            AbortOnDrop(task.abort_handle())
        });
        let (parts, stream) = answer.into_parts();
        let body = Wire::Http2(Received::new(stream, &parts.headers, opposite).counted(self.stream));
        Response::from_parts(parts, body)
    }
}

/// Tells what an error of HTTP/2 proves about the request. `whole` says that it had no body.
fn classify_h2(error: &h2::Error, taken: bool, whole: bool) -> SendFailure {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // A connection that goes away in order names the last stream it looked at; this one came later.
    let away = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    match (refused || away, !taken && !whole) {
        (true, _) => SendFailure::Unprocessed,
        (false, true) => SendFailure::BeforeBody,
        (false, false) => SendFailure::Broken,
    }
}

/// Tells what an error of HTTP/1.1 proves about the request. `whole` says that it had no body.
pub(super) fn classify_http1(error: &hyper::Error, taken: bool, whole: bool) -> SendFailure {
    if !taken && !whole && !error.is_parse() { SendFailure::BeforeBody } else { SendFailure::Broken }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use tokio::{runtime::LocalOptions, task::yield_now};
    use tokio_util::io::InspectWriter;

    use super::*;
    use crate::mesh::{
        replay::{Piece, Room},
        tee::Tee,
    };

    const BYTES: usize = 1 << 10;

    fn request() -> Box<Request<ReqBody>> {
        let (tee, body) = Tee::new(BYTES, Room::new(BYTES));
        assert!(tee.push(Piece::Data(Bytes::from_static(b"tensors"))) && tee.push(Piece::End), "there is room");
        let request = Request::builder().method(Method::POST).uri("http://replica/infer").body(ReqBody::copied(body));
        Box::new(request.expect("a request"))
    }

    async fn serve(stream: tokio::io::DuplexStream) {
        let mut connection = h2::server::handshake(stream).await.expect("a client");
        while let Some(asked) = connection.accept().await {
            let (request, mut respond) = asked.expect("a request");
            tokio::task::spawn_local(async move {
                let mut body = request.into_body();
                while body.data().await.is_some() {}
                respond.send_response(Response::new(()), true).expect("the client waits");
            });
        }
    }

    #[test]
    fn a_request_with_a_body_that_is_there_is_one_write() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::task::spawn_local(serve(theirs));
            let writes = Rc::new(Cell::new(0));
            let count = Rc::clone(&writes);
            let link = Rc::new(H2Link::new("replica", Duration::from_secs(5), false));
            let counted = InspectWriter::new(ours, move |_: &[u8]| count.set(count.get() + 1));
            let (sender, carried) = link.begin_http2(counted).await.expect("a server");
            link.live.replace(Some(Live { sender, serial: 1, carried }));
            for round in 0..5 {
                let before = writes.get();
                // In a task, as every request is.
                let link = Rc::clone(&link);
                let answer = tokio::task::spawn_local(async move { link.send(request()).await.map(drop) }).await;
                answer.expect("no panic").expect("an answer");
                // What the two sides agree on, which comes with the first.
                if round == 0 {
                    for _ in 0..100 {
                        yield_now().await;
                    }
                } else {
                    assert_eq!(writes.get() - before, 1, "in round {round}");
                }
            }
        });
    }
}
