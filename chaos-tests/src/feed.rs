//! A faulty wire between nodes and a coordinator: everything passes as it is, but the feed of the route table to one node
//! may come late, not at all, with a change lost, or with one damaged.
//!
//! It is a proxy of HTTP/2 that knows one path. Messages are changed as bytes, behind the back of both ends.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    client::conn::http2::SendRequest,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

type Body = BoxBody<Bytes, hyper::Error>;

/// The path that is known.
const FEED: &str = "/berth.node.v1.Node/WatchTable";

/// Bytes before a gRPC message: a flag and a length.
const PREFIX: usize = 5;

/// The first byte of a message that holds a delta: field 2, of a length.
const DELTA: u8 = (2 << 3) | 2;

/// Messages on their way. A feed sends one a second and one per change.
const ON_THE_WAY: usize = 256;

/// How much later than the one before it a message may come: a feed that is silent for three seconds is left.
const RAMP: Duration = Duration::from_secs(1);

/// What is wrong with the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every message comes so much later, a second more with each until it is as much.
    Late(Duration),
    /// Nothing comes.
    Stalled,
    /// The next change is lost.
    Lost,
    /// One bit of the next change is another one.
    Damaged,
}

/// The wire; it ends with the runtime of its test.
#[derive(Clone, Debug)]
pub struct FaultyFeed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    coordinator: OnceLock<SocketAddr>,
    victim: OnceLock<u64>,
    fault: watch::Sender<Fault>,
    /// Messages that were lost, damaged, held back or late by all that was asked for.
    done: AtomicU64,
}

// === impl FaultyFeed ===

impl FaultyFeed {
    /// Listens.
    pub async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let inner = Arc::new(Inner {
            address: listener.local_addr()?,
            coordinator: OnceLock::new(),
            victim: OnceLock::new(),
            fault: watch::Sender::new(Fault::None),
            done: AtomicU64::new(0),
        });
        let wire = inner.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(wire.clone(), stream));
            }
        });
        Ok(Self(inner))
    }

    /// Returns where nodes find it.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Connects it with a coordinator.
    pub fn lead_to(&self, coordinator: SocketAddr) {
        let _ = self.0.coordinator.set(coordinator);
    }

    /// Says whose feed is faulty.
    pub fn spoil(&self, node: u64) {
        let _ = self.0.victim.set(node);
    }

    /// Says what is wrong from now on, and begins to count.
    pub fn set(&self, fault: Fault) {
        self.0.done.store(0, SeqCst);
        self.0.fault.send_replace(fault);
    }

    /// Counts the messages that met the fault.
    pub fn done(&self) -> u64 {
        self.0.done.load(SeqCst)
    }
}

/// Serves one connection of a node with one of the coordinator's.
async fn serve(wire: Arc<Inner>, stream: TcpStream) {
    let Some(coordinator) = wire.coordinator.get() else { return };
    let Ok(upstream) = TcpStream::connect(coordinator).await else { return };
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(upstream));
    let Ok((sender, connection)) = handshake.await else { return };
    let connection = tokio::spawn(connection);
    let service = service_fn(move |request| pass(wire.clone(), sender.clone(), request));
    // A connection that breaks is what both ends are made for.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    connection.abort();
}

async fn pass(
    wire: Arc<Inner>,
    mut sender: SendRequest<Body>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    if request.uri().path() != FEED {
        return Ok(sender.send_request(request.map(BodyExt::boxed)).await?.map(BodyExt::boxed));
    }
    let (head, body) = request.into_parts();
    let asked = body.collect().await?.to_bytes();
    let node = asks_for(&asked);
    let body = Full::new(asked).map_err(|never| match never {}).boxed();
    let answer = sender.send_request(Request::from_parts(head, body)).await?;
    Ok(answer.map(|body| feed_of(wire, node, body)))
}

/// Finds the node that asks: field 2 of the message, behind the cluster's id.
fn asks_for(message: &[u8]) -> Option<u64> {
    let mut rest = message.get(PREFIX..)?;
    if let [0x0a, length, after @ ..] = rest {
        rest = after.get(usize::from(*length)..)?;
    }
    let [0x10, number @ ..] = rest else { return None };
    let mut node = 0_u64;
    for (at, byte) in number.iter().enumerate().take(10) {
        node |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some(node);
        }
    }
    None
}

fn feed_of(wire: Arc<Inner>, node: Option<u64>, body: Incoming) -> Body {
    let (read, messages) = mpsc::channel(ON_THE_WAY);
    let (out, frames) = mpsc::channel(1);
    tokio::spawn(take_apart(body, read));
    tokio::spawn(spoil(wire, node, messages, out));
    let frames = stream::unfold(frames, async |mut frames: mpsc::Receiver<Frame<Bytes>>| {
        frames.recv().await.map(|frame| (Ok(frame), frames))
    });
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

/// Cuts a body into messages, with the moment each came.
async fn take_apart(mut body: Incoming, read: mpsc::Sender<(Instant, Frame<Bytes>)>) {
    let mut buffer = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                let _ = read.send((Instant::now(), trailers)).await;
                continue;
            }
        };
        buffer.extend_from_slice(&data);
        while let Some(length) = whole(&buffer) {
            let rest = buffer.split_off(length);
            let message = Bytes::from(std::mem::replace(&mut buffer, rest));
            if read.send((Instant::now(), Frame::data(message))).await.is_err() {
                return;
            }
        }
    }
}

fn whole(buffer: &[u8]) -> Option<usize> {
    let [_, a, b, c, d, ..] = buffer else { return None };
    let length = PREFIX + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    (buffer.len() >= length).then_some(length)
}

/// Hands messages on as the fault has it.
async fn spoil(
    wire: Arc<Inner>,
    node: Option<u64>,
    mut messages: mpsc::Receiver<(Instant, Frame<Bytes>)>,
    out: mpsc::Sender<Frame<Bytes>>,
) {
    let mut fault = wire.fault.subscribe();
    let mut lag = Duration::ZERO;
    while let Some((came, mut frame)) = messages.recv().await {
        // The victim is named when its feed has long been open.
        let is_victim = node.is_some() && wire.victim.get().copied() == node;
        let now = if is_victim { *fault.borrow_and_update() } else { Fault::None };
        let is_delta = frame.data_ref().is_some_and(|data| data.get(PREFIX) == Some(&DELTA));
        match now {
            Fault::None => lag = Duration::ZERO,
            Fault::Late(by) => {
                lag = by.min(lag + RAMP);
                wire.done.fetch_add(u64::from(lag == by), SeqCst);
                sleep_until(came + lag).await;
            }
            Fault::Stalled => {
                wire.done.fetch_add(1, SeqCst);
                tokio::select! {
                    _ = fault.wait_for(|fault| *fault != Fault::Stalled) => {}
                    () = out.closed() => return,
                }
            }
            Fault::Lost | Fault::Damaged if !is_delta => {}
            Fault::Lost => {
                wire.met();
                continue;
            }
            Fault::Damaged => {
                wire.met();
                frame = damaged(frame);
            }
        }
        if out.send(frame).await.is_err() {
            return;
        }
    }
}

/// Turns a bit in the last byte: that is the digest of the table that should come out.
fn damaged(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.map_data(|data| {
        let mut bytes = data.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        Bytes::from(bytes)
    })
}

// === impl Inner ===

impl Inner {
    /// Counts what happens once.
    fn met(&self) {
        self.done.fetch_add(1, SeqCst);
        self.fault.send_replace(Fault::None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asking_node_is_found() {
        let message = |body: &[u8]| [&[0, 0, 0, 0, body.len() as u8], body].concat();
        for (body, node) in [
            (&b"\x0a\x01c\x10\x2a"[..], Some(42)),
            (b"\x10\x96\x01\x18\x07", Some(150)),
            (b"\x0a\x01c\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(u64::MAX)),
            (b"\x0a\x01c", None),
            (b"\x0a\x09c", None),
            (b"\x10\x80", None),
            (b"", None),
        ] {
            assert_eq!(asks_for(&message(body)), node, "{body:?}");
        }
    }

    #[test]
    fn messages_are_whole_when_all_of_them_came() {
        for (bytes, length) in [
            (&b""[..], None),
            (b"\0\0\0\0", None),
            (b"\0\0\0\0\0", Some(5)),
            (b"\0\0\0\0\x02a", None),
            (b"\0\0\0\0\x02abc", Some(7)),
        ] {
            assert_eq!(whole(bytes), length, "{bytes:?}");
        }
    }
}
