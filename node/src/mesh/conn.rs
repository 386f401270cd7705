//! Connections: TCP with a deadline, and shared HTTP/2 connections: one as long as its peer takes all streams on one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::select_all;
use http::{Request, Response};
use http_body::Body as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use super::{
    BoxError,
    body::ReqBody,
    keeper::Keeper,
    peers::Peers,
    pump::Pump,
    wire::{AbortOnDrop, Received, Wire},
};
use crate::http2::{self, By, Client, Connection, Error, Place, Reason, Receiver, Settings};

/// Window of one stream. What a stream's receiver has not read yet is held here, so it bounds memory per request.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;

/// Window of a connection between gates: sixty-four streams may be stuck in the middle of a body before others feel it.
pub(super) const LINK_WINDOW: u32 = 64 * STREAM_WINDOW;

/// How long a peer that could not be connected is left alone: its requests go elsewhere at once instead of each
/// waiting for the same time-out.
const REST: Duration = Duration::from_millis(200);

/// Streams a peer is taken to allow until it says how many.
const UNTOLD_STREAMS: u32 = 100;

/// Connections to one address. There is a second one only when the peer takes no more streams on the first.
const CONNECTIONS_MAX: usize = 64;

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

/// The HTTP/2 connections to one address, made when first needed and again when they end.
pub(super) struct H2Link {
    address: String,
    connect_timeout: Duration,
    /// Not towards a model's server, which may take them for an attack.
    pings: bool,
    /// What the connection is wrapped in, between nodes.
    peers: Option<Peers>,
    live: RefCell<Vec<Live>>,
    serial: Cell<u64>,
    connecting: tokio::sync::Mutex<()>,
    rests_until: Cell<Option<Instant>>,
}

/// A connection that was alive when it was last used.
#[derive(Clone)]
struct Live {
    client: Client,
    /// Tells it from the one that follows it.
    serial: u64,
}

/// A request whose head is on its way.
struct Sending {
    answer: Receiver,
    /// The body, as long as there is any.
    pump: Option<Pump<ReqBody>>,
    taken: Rc<Cell<bool>>,
    whole: bool,
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
        let (live, place) = match self.free() {
            Some(found) => found,
            None => Box::pin(self.found()).await?,
        };
        let mut sending = self.begin(&live, place, *request)?;
        let answer = poll_fn(|cx| sending.poll(cx)).await?;
        Ok(sending.follow(answer))
    }

    /// Puts the head of a request on its way.
    fn begin(&self, live: &Live, place: Place, request: Request<ReqBody>) -> Result<Sending, SendFailure> {
        let (parts, body) = request.into_parts();
        let (taken, whole) = (body.taken(), body.is_end_stream());
        match live.client.ask(place, &Request::from_parts(parts, ()), whole) {
            Ok((answer, stream)) => {
                let pump = (!whole).then(|| Pump::new(body, stream, Reason::CANCEL));
                Ok(Sending { answer, pump, taken, whole })
            }
            Err(error) => Err(self.gone(live, error)),
        }
    }

    /// Takes a place on the first connection that has one.
    fn free(&self) -> Option<(Live, Place)> {
        let mut live = self.live.borrow_mut();
        live.retain(|one| one.client.is_usable());
        live.iter().find_map(|one| Some((one.clone(), one.client.try_place()?)))
    }

    /// Takes a place that somebody else has just made, or on a connection more, or else the first that becomes free.
    async fn found(&self) -> Result<(Live, Place), SendFailure> {
        let turn = self.connecting.lock().await;
        if let Some(found) = self.free() {
            return Ok(found);
        }
        let count = self.live.borrow().len();
        if count < CONNECTIONS_MAX {
            match self.connected().await {
                // The peer may have said that it takes nothing yet.
                Ok(()) => {}
                Err(failure) if count == 0 => return Err(failure),
                Err(_) => {}
            }
        }
        drop(turn);
        let live = self.live.borrow().clone();
        let places = live.into_iter().map(|live| {
            Box::pin(async move {
                let place = live.client.place().await;
                (live, place)
            })
        });
        let ((live, place), ..) = select_all(places).await;
        match place {
            Ok(place) => Ok((live, place)),
            Err(error) => Err(self.gone(&live, error)),
        }
    }

    /// Makes a connection more.
    async fn connected(&self) -> Result<(), SendFailure> {
        if self.rests_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(SendFailure::Unreachable);
        }
        match self.handshake().await {
            Ok(client) => {
                self.rests_until.set(None);
                self.serial.set(self.serial.get() + 1);
                self.live.borrow_mut().push(Live { client, serial: self.serial.get() });
                Ok(())
            }
            Err(error) => {
                tracing::debug!(address = %self.address, %error, "could not connect");
                self.rests_until.set(Some(Instant::now() + REST));
                Err(SendFailure::Unreachable)
            }
        }
    }

    /// A connection took a request no more, which was not sent.
    fn gone(&self, gone: &Live, error: Error) -> SendFailure {
        tracing::debug!(address = %self.address, %error, "a connection takes no more requests");
        self.live.borrow_mut().retain(|live| live.serial != gone.serial);
        SendFailure::Unprocessed
    }

    /// Closes what nothing is under way on, but for the first, which waits for the next request.
    pub(super) fn trim(&self) {
        let mut at = 0;
        self.live.borrow_mut().retain(|live| {
            at += 1;
            at == 1 || !live.client.is_idle()
        });
    }

    async fn handshake(&self) -> Result<Client, BoxError> {
        let stream = connect(&self.address, self.connect_timeout).await?;
        match &self.peers {
            None => self.begin_http2(stream).await,
            Some(peers) => self.begin_http2(peers.connect(stream).await?).await,
        }
    }

    async fn begin_http2<S>(&self, stream: S) -> Result<Client, BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let settings = Settings {
            stream_window: STREAM_WINDOW,
            window: LINK_WINDOW,
            head_bytes: HEADER_BYTES,
            streams: UNTOLD_STREAMS,
            connect_protocol: false,
            // Answers that break the rules end their requests; none of them is worth the other callers'.
            unseen_resets: u32::MAX,
            faults: None,
        };
        let (client, mut connection) = http2::client(stream, settings);
        // How many streams the peer takes, before any is sent.
        tokio::time::timeout(self.connect_timeout, connection.introduced()).await??;
        let mut keeper = match self.pings {
            true => {
                answered(&mut connection, self.connect_timeout).await?;
                Keeper::spawn(connection.pings(), PING_EVERY, PING_WITHIN)
            }
            false => Keeper::idle(),
        };
        tokio::task::spawn_local(async move {
            let ended = poll_fn(|cx| match connection.poll(cx, drop) {
                Poll::Pending => keeper.poll_lost(cx).map(|()| None),
                Poll::Ready(ended) => Poll::Ready(ended.err()),
            });
            if let Some(error) = ended.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(client)
    }
}

/// Waits until the other node itself has spoken on a connection. Its kernel takes connections for a process that is about
/// to end or that stands still, and a request sent on one could not be proven not to have been started.
async fn answered<S>(connection: &mut Connection<S>, within: Duration) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = connection.pings();
    let mut pong = pin!(tokio::time::timeout(within, pings.ping()));
    poll_fn(|cx| match pong.as_mut().poll(cx) {
        Poll::Ready(Ok(pong)) => Poll::Ready(pong.map_err(Into::into)),
        Poll::Ready(Err(late)) => Poll::Ready(Err(late.into())),
        Poll::Pending => match connection.poll(cx, drop) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) => Poll::Ready(Err("it ended before the peer spoke".into())),
            Poll::Pending => Poll::Pending,
        },
    })
    .await
}

// === impl Sending ===

impl Sending {
    /// Ready with the head of the answer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, SendFailure>> {
        // The body first: the answer to a short one is then all there is to wait for. Why it ended early, if it did, the
        // answer or its lack will say.
        if self.pump.as_mut().is_some_and(|pump| pump.poll(cx).is_ready()) {
            self.pump = None;
        }
        let answer = self.answer.poll_answer(cx);
        answer.map_err(|error| classify_http2(error, self.taken.get(), self.whole))
    }

    /// Wraps the answer. When the request is not over, it is a conversation: the caller goes on talking while it hears.
    fn follow(self, answer: Response<()>) -> Response<Wire> {
        let opposite = self.pump.map(|mut pump| {
            let task = tokio::task::spawn_local(async move {
                let _ = poll_fn(|cx| pump.poll(cx)).await;
            });
            AbortOnDrop(task.abort_handle())
        });
        let body = Wire::Http2(Received::new(self.answer, answer.headers(), opposite));
        answer.map(|()| body)
    }
}

/// Tells what an error of HTTP/2 proves about the request. `whole` says that it had no body.
fn classify_http2(error: Error, taken: bool, whole: bool) -> SendFailure {
    match error {
        // A connection that goes away, for whatever reason, names the last stream it looked at; this one came later
        // (RFC 9113 §6.8).
        Error::Reset(Reason::REFUSED_STREAM, By::Peer) | Error::Away(_, By::Peer) => SendFailure::Unprocessed,
        _ if !taken && !whole => SendFailure::BeforeBody,
        _ => SendFailure::Broken,
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
            let client = link.begin_http2(counted).await.expect("a server");
            link.live.replace(vec![Live { client, serial: 1 }]);
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

    /// Takes requests over connections that allow two streams each, and answers none before so many have come. Tells how many
    /// connections it has.
    async fn serve_by_twos(listener: tokio::net::TcpListener, all: usize, open: Rc<Cell<usize>>) {
        let (come, whole) = (Rc::new(Cell::new(0)), Rc::new(tokio::sync::Notify::new()));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (come, whole, open) = (Rc::clone(&come), Rc::clone(&whole), Rc::clone(&open));
            tokio::task::spawn_local(async move {
                open.set(open.get() + 1);
                let mut connection: h2::server::Connection<_, Bytes> =
                    h2::server::Builder::new().max_concurrent_streams(2).handshake(stream).await.expect("a client");
                while let Some(asked) = connection.accept().await {
                    let (_, mut respond) = asked.expect("a request");
                    let (come, whole) = (Rc::clone(&come), Rc::clone(&whole));
                    tokio::task::spawn_local(async move {
                        come.set(come.get() + 1);
                        if come.get() < all {
                            whole.notified().await;
                        }
                        whole.notify_waiters();
                        respond.send_response(Response::new(()), true).expect("the client waits");
                    });
                }
                open.set(open.get() - 1);
            });
        }
    }

    #[test]
    fn streams_that_the_peer_does_not_take_on_one_connection_go_over_another() {
        const ALL: usize = 7;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("its address").to_string();
            let open = Rc::new(Cell::new(0));
            tokio::task::spawn_local(serve_by_twos(listener, ALL, Rc::clone(&open)));
            let link = Rc::new(H2Link::new(address, Duration::from_secs(5), false));
            let send = || {
                let link = Rc::clone(&link);
                tokio::task::spawn_local(async move { link.send(request()).await.map(drop) })
            };
            let sent: Vec<_> = (0..ALL).map(|_| send()).collect();
            for one in sent {
                let answer = tokio::time::timeout(Duration::from_secs(30), one).await.expect("none waits for another");
                answer.expect("no panic").expect("an answer");
            }
            assert_eq!((open.get(), link.live.borrow().len()), (4, 4), "two on each");
            link.trim();
            assert_eq!(link.live.borrow().len(), 1, "nothing is under way");
            while open.get() > 1 {
                yield_now().await;
            }
            send().await.expect("no panic").expect("the one that stays answers");
        });
    }
}
