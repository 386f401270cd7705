//! What drives a connection: reads what has come, and sends what has become ready.

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{
    By, Error, Pings, Reason, Settings,
    frame::{FRAME_BYTES, HEAD_BYTES},
    input::{Come, Input},
    state::{Goodbye, Role, Shared, State},
};

/// What a client says first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read in one turn: two frames of data, so that large bodies do not wait for each other more than they have
/// to, and no more than a millisecond's worth of the smallest frames.
pub(super) const TURN_BYTES: usize = 32 << 10;

/// Requests that are begun in one turn: each of them is a task that comes before those of other connections.
const TURN_REQUESTS: u32 = 128;

/// Answers to what a peer asks without reading them: beyond it, the peer is read no further. What our own side sends is not
/// counted, or two that both have much to say would wait for each other.
pub(super) const UNREAD_BYTES: usize = 128 << 10;

/// How long a connection that failed may take to send what it has, or to bring what is under way.
const END_WITHIN: Duration = Duration::from_secs(1);

/// How long streams are still taken after the peer has heard that this is the end: it may have had some under way to the
/// connection that it had not yet given an id.
const LAST_CALL: Duration = Duration::from_millis(250);

thread_local! {
    /// Where connections read into, one after the other.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection, to be polled until it ends.
pub(crate) struct Connection<S> {
    stream: S,
    state: Shared,
    input: Input,
    /// What was read and not yet used: part of a frame, or what is left for the next turn.
    rest: Vec<u8>,
    /// Where the preface is expected, and how much of it has come.
    preface: usize,
    /// It takes nothing, so it is not read.
    is_held: bool,
    #[cfg(test)]
    used_ever: usize,
    last_call: Option<Pin<Box<Sleep>>>,
    /// When its end has taken too long.
    late: Option<Pin<Box<Sleep>>>,
}

/// Takes a connection on a stream.
pub(crate) fn server<S>(stream: S, settings: Settings) -> Connection<S> {
    let state = Rc::new(RefCell::new(State::new(Role::Server, settings)));
    let mut connection = Connection::new(stream, state);
    connection.preface = PREFACE.len();
    connection
}

// === impl Connection ===

impl<S> Connection<S> {
    pub(super) fn new(stream: S, state: Shared) -> Self {
        Self {
            stream,
            state,
            input: Input::default(),
            rest: Vec::new(),
            preface: 0,
            is_held: false,
            #[cfg(test)]
            used_ever: 0,
            last_call: None,
            late: None,
        }
    }

    pub(crate) fn pings(&self) -> Pings {
        Pings(Rc::clone(&self.state))
    }

    /// Bytes that were used since the beginning.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used_ever
    }

    /// Bytes that wait to be sent.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn unsent(&self) -> usize {
        self.state.borrow().output.len()
    }

    /// Asserts that what is kept of streams is what their program, which holds so many, still wants of them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn tally(&self, held: usize) {
        self.state.borrow().tally(held);
    }

    /// Lets the connection end with its streams.
    pub(crate) fn say_goodbye(&self) {
        self.state.borrow_mut().say_goodbye();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Drives the connection for a turn. Requests that have come are handed to `start`. Ready when the connection is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, mut start: impl FnMut(Come)) -> Poll<Result<(), Error>> {
        self.state.borrow_mut().begin_turn(cx);
        let turn = self.poll_turn(cx, &mut start);
        self.state.borrow_mut().end_turn();
        turn
    }

    /// Drives the connection until the peer has begun.
    pub(crate) async fn begun(&mut self, mut start: impl FnMut(Come)) -> Result<(), Error> {
        poll_fn(|cx| match self.poll(cx, &mut start) {
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending if self.preface == 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Drives the connection of a client until the peer has said what it allows. An end before that is an error.
    pub(crate) async fn introduced(&mut self) -> Result<(), Error> {
        poll_fn(|cx| match self.poll(cx, drop) {
            Poll::Ready(ended) => Poll::Ready(ended.and(Err(Error::Io(io::ErrorKind::UnexpectedEof)))),
            Poll::Pending if self.state.borrow().is_introduced => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, start: &mut impl FnMut(Come)) -> Poll<Result<(), Error>> {
        let mut room = ROOM.take();
        let read = self.read_all(cx, &mut room, start);
        ROOM.set(room);
        match read {
            Ok(()) => {}
            Err(Some(reason)) => self.state.borrow_mut().fail(reason),
            Err(None) => self.state.borrow_mut().end(Error::Io(io::ErrorKind::UnexpectedEof)),
        }
        self.poll_last_call(cx);
        let mut state = self.state.borrow_mut();
        // A caller that goes away only says that it takes no promises; one that has nothing under way is told the end.
        if state.role == Role::Server && state.is_leaving && state.is_idle() && state.goodbye != Goodbye::Final {
            state.say_last();
        }
        let was_idle = state.is_idle();
        match state.output.poll_send(&mut self.stream, cx) {
            // What has come is read first: whole answers, and which requests were not looked at.
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a connection takes nothing more");
                cx.waker().wake_by_ref();
            }
            // It may be read on.
            Poll::Ready(Ok(())) if self.is_held => cx.waker().wake_by_ref(),
            _ => {}
        }
        state.wake_waiting(cx);
        let is_sent = state.output.is_empty();
        match state.ended {
            // A peer that leaves with nothing under way leaves in order.
            Some(Error::Io(io::ErrorKind::UnexpectedEof)) if was_idle => Poll::Ready(Ok(())),
            Some(error @ Error::Away(_, By::Us)) if !is_sent => {
                drop(state);
                self.poll_late(cx).map(|()| Err(error))
            }
            Some(error) => Poll::Ready(Err(error)),
            None if state.output.is_broken() => {
                drop(state);
                ready!(self.poll_late(cx));
                let error = Error::Io(io::ErrorKind::BrokenPipe);
                self.state.borrow_mut().end(error);
                Poll::Ready(Err(error))
            }
            None if is_over(&state) && is_sent => {
                // A peer that is gone already needs no end.
                let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                state.end(Error::Io(io::ErrorKind::NotConnected));
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }

    /// Ready when the end has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(END_WITHIN))).as_mut().poll(cx)
    }

    /// Reads what has come, to its end or to that of the turn. Fails with what the peer did wrong, or with its end.
    fn read_all(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut Vec<u8>,
        start: &mut impl FnMut(Come),
    ) -> Result<(), Option<Reason>> {
        room.resize(HEAD_BYTES + FRAME_BYTES + TURN_BYTES, 0);
        // What the last turn left comes first: less than a frame, or what was too much for one turn.
        let mut filled = self.rest.len();
        room[..filled].copy_from_slice(&self.rest);
        self.rest.clear();
        let (mut used, mut read, mut requests) = (0, 0, 0);
        loop {
            used += self.use_up(&room[used..filled], &mut requests, start).map_err(Some)?;
            if self.state.borrow().ended.is_some() {
                return Ok(());
            }
            if read >= TURN_BYTES || requests >= TURN_REQUESTS {
                // Others have their turns, and the loop looks for what has come for them.
                cx.waker().wake_by_ref();
                break;
            }
            self.is_held = self.state.borrow().output.answers() >= UNREAD_BYTES;
            if self.is_held {
                break;
            }
            room.copy_within(used..filled, 0);
            filled -= used;
            used = 0;
            let mut buf = ReadBuf::new(&mut room[..filled + TURN_BYTES - read]);
            buf.advance(filled);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if buf.filled().len() == filled => return Err(None),
                Poll::Ready(Ok(())) => {
                    read += buf.filled().len() - filled;
                    filled = buf.filled().len();
                }
                Poll::Ready(Err(error)) => {
                    self.state.borrow_mut().end(Error::Io(error.kind()));
                    return Ok(());
                }
            }
        }
        self.rest.extend_from_slice(&room[used..filled]);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        Ok(())
    }

    /// Uses what has come, and says how much of it.
    fn use_up(&mut self, bytes: &[u8], requests: &mut u32, start: &mut impl FnMut(Come)) -> Result<usize, Reason> {
        let mut used = 0;
        if self.preface > 0 {
            let expected = &PREFACE[PREFACE.len() - self.preface..];
            let come = expected.len().min(bytes.len());
            if bytes[..come] != expected[..come] {
                return Err(Reason::PROTOCOL_ERROR);
            }
            self.preface -= come;
            used = come;
        }
        while self.preface == 0 && *requests < TURN_REQUESTS {
            let Some((taken, come)) = self.input.next(&bytes[used..], &self.state)? else { break };
            used += taken;
            if let Some(come) = come {
                *requests += 1;
                start(come);
            }
        }
        #[cfg(test)]
        {
            self.used_ever += used;
        }
        Ok(used)
    }

    /// Takes no more streams when the peer has had time to hear that.
    fn poll_last_call(&mut self, cx: &mut Context<'_>) {
        if self.state.borrow().goodbye != Goodbye::Heard {
            return;
        }
        let last_call = self.last_call.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_CALL)));
        if last_call.as_mut().poll(cx).is_ready() {
            self.last_call = None;
            self.state.borrow_mut().say_last();
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.state.borrow_mut().end(Error::Io(io::ErrorKind::ConnectionAborted));
    }
}

/// Returns whether nothing is left to do.
fn is_over(state: &State) -> bool {
    let is_last = match state.role {
        Role::Client => state.is_leaving || state.openers == 0,
        Role::Server => state.is_leaving || state.goodbye == Goodbye::Final,
    };
    is_last && state.is_idle()
}
