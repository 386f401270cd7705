//! What is promised of whatever comes on a connection, for fuzzing and property tests.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

use super::{OUTPUT_BYTES, Settings, client, connection, input::Come, schedule, server};

/// What a turn may add to what waits to be sent: an answer to each of the smallest frames.
const TURN_ANSWERS: usize = 4 * connection::TURN_BYTES;

pub(super) const SETTINGS: Settings = Settings {
    stream_window: 64 << 10,
    window: 128 << 10,
    head_bytes: 16 << 10,
    streams: 100,
    connect_protocol: true,
    unseen_resets: 20,
    faults: Some(100),
};

/// A stream on which some bytes have come, in pieces; it keeps what is written to it.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    written: Rc<RefCell<Vec<u8>>>,
    /// It takes nothing.
    is_full: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Pending;
        }
        let (piece, rest) = self.bytes.split_at(self.size.min(self.bytes.len()).min(buf.remaining()));
        buf.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_full {
            return Poll::Pending;
        }
        self.written.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What was written, and what became of the connection and of its requests.
#[derive(Debug, PartialEq)]
struct Seen {
    written: Vec<u8>,
    ended: Option<Result<(), super::Error>>,
    come: Vec<String>,
}

/// Behind a byte that says in which pieces and to which side: whatever comes, nothing panics, what happens does not depend on
/// the pieces, and what waits to be sent stays bounded.
pub(crate) fn frames(bytes: &[u8]) {
    thread_local! {
        // For the time a connection that failed is given; it does not pass here.
        static CLOCK: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let [choice, bytes @ ..] = bytes else { return };
    CLOCK.with(|clock| {
        let _entered = clock.enter();
        promise(*choice, bytes);
    });
}

fn promise(choice: u8, bytes: &[u8]) {
    let is_server = choice & 1 == 1;
    let size = usize::from(choice >> 1).max(1);
    let whole = seen(bytes, usize::MAX, is_server, false);
    let pieces = seen(bytes, size, is_server, false);
    assert_eq!(pieces, whole, "in pieces of {size}");
    // The same bytes as what a peer and a program do in turns.
    schedule::keeps_its_promises(is_server, size, &schedule::steps(bytes));
    // Nobody reads what it says.
    seen(bytes, size, is_server, true);
}

fn seen(bytes: &[u8], size: usize, is_server: bool, is_full: bool) -> Seen {
    let written = Rc::default();
    let stream = Pieces { bytes, size, written: Rc::clone(&written), is_full };
    let mut cx = Context::from_waker(Waker::noop());
    let mut held = Vec::new();
    let mut asked = None;
    let mut connection = match is_server {
        true => server(stream, SETTINGS),
        false => {
            let (client, connection) = client(stream, SETTINGS);
            let place = std::pin::pin!(client.place()).poll(&mut cx);
            if let Poll::Ready(Ok(place)) = place {
                let request = http::Request::get("http://replica/").body(()).expect("a request");
                asked = client.ask(place, &request, true).ok();
            }
            held.push(client);
            connection
        }
    };
    let mut come: Vec<Come> = Vec::new();
    let mut ended = None;
    // Each turn uses something, or there is nothing left.
    for _ in 0..2 * bytes.len() + 8 {
        if let Poll::Ready(how) = connection.poll(&mut cx, |request| come.push(request)) {
            ended = Some(how);
            break;
        }
        assert!(connection.unsent() <= OUTPUT_BYTES + TURN_ANSWERS, "answers pile up");
    }
    let mut told: Vec<String> = come
        .iter_mut()
        .map(|(request, recv, _)| {
            let mut data = Vec::new();
            let end = loop {
                match recv.poll_data(&mut cx) {
                    Poll::Ready(Some(Ok(part))) => data.extend_from_slice(&part),
                    other => break format!("{other:?}"),
                }
            };
            format!("{request:?} {data:?} {end} {:?}", recv.trailers())
        })
        .collect();
    if let Some((recv, _)) = &mut asked {
        told.push(format!("{:?}", recv.poll_answer(&mut cx)));
    }
    drop((connection, come, asked, held));
    Seen { written: written.take(), ended, come: told }
}
