//! A mirror's copy of a request's body: what the caller has sent and the mirror has not taken yet.
//!
//! It grows up to a bound per copy and one for all copies of a core. A copy that needs more is given up; the caller's own
//! request never waits for it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{
    BoxError,
    replay::{Piece, Room},
};

/// The end that is written to.
pub(super) struct Tee(Rc<RefCell<Queue>>);

/// The end that is read from, as the body of a copy.
pub(super) struct Copied {
    queue: Rc<RefCell<Queue>>,
    done: bool,
}

/// Tells what became of a copy's body, also after it is gone.
#[derive(Clone)]
pub(super) struct Fate(Rc<RefCell<Queue>>);

struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    keep_max: usize,
    room: Room,
    state: State,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It needed more than it may have.
    Behind,
    /// Nothing more comes.
    Closed,
    /// Nobody reads.
    Unread,
}

// === impl Tee ===

impl Tee {
    pub(super) fn new(keep_max: usize, room: Room) -> (Self, Copied) {
        let queue = Queue { pieces: VecDeque::new(), bytes: 0, keep_max, room, state: State::Open, waker: None };
        let queue = Rc::new(RefCell::new(queue));
        (Self(queue.clone()), Copied { queue, done: false })
    }

    /// Adds a piece. False when the copy is given up.
    pub(super) fn push(&self, piece: Piece) -> bool {
        let mut queue = self.0.borrow_mut();
        if queue.state != State::Open {
            return false;
        }
        let bytes = piece.bytes();
        if queue.bytes + bytes > queue.keep_max || !queue.room.take(bytes) {
            queue.give_up(State::Behind);
            return false;
        }
        queue.bytes += bytes;
        queue.pieces.push_back(piece);
        queue.wake();
        true
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        let mut queue = self.0.borrow_mut();
        if queue.state == State::Open {
            queue.state = State::Closed;
            queue.wake();
        }
    }
}

// === impl Queue ===

impl Queue {
    fn give_up(&mut self, state: State) {
        self.state = state;
        self.pieces.clear();
        self.room.give_back(std::mem::take(&mut self.bytes));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        let bytes = piece.bytes();
        self.bytes -= bytes;
        self.room.give_back(bytes);
        Some(piece)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

// === impl Fate ===

impl Fate {
    /// Returns whether the copy was too slow.
    pub(super) fn is_behind(&self) -> bool {
        self.0.borrow().state == State::Behind
    }

    /// Returns whether all there is of the body is here, and none of it was read.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.0.borrow().pieces.back(), Some(Piece::End))
    }
}

// === impl Copied ===

impl Copied {
    pub(super) fn fate(&self) -> Fate {
        Fate(self.queue.clone())
    }
}

impl Body for Copied {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut queue = self.queue.borrow_mut();
        let frame = match (queue.pop(), queue.state) {
            (Some(Piece::Data(data)), _) => Some(Ok(Frame::data(data))),
            (Some(Piece::Trailers(trailers)), _) => Some(Ok(Frame::trailers(trailers))),
            (Some(Piece::End), _) => None,
            (None, State::Open) => {
                queue.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            (None, State::Behind) => Some(Err("the copy fell behind and was given up".into())),
            (None, State::Closed | State::Unread) => Some(Err("the caller broke off".into())),
        };
        drop(queue);
        self.done = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        if queue.state == State::Open {
            queue.give_up(State::Unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn data(bytes: usize) -> Piece {
        Piece::Data(Bytes::from(vec![0; bytes]))
    }

    #[tokio::test]
    async fn a_copy_that_is_behind_is_given_up_and_its_room_is_free_again() {
        let room = Room::new(100);
        let (tee, mut copied) = Tee::new(60, room.clone());
        assert!(tee.push(data(40)) && !copied.fate().is_whole());
        let frame = poll_fn(|cx| Pin::new(&mut copied).poll_frame(cx)).await;
        assert!(
            frame.is_some_and(|frame| frame.is_ok_and(|frame| frame.into_data().is_ok_and(|data| data.len() == 40)))
        );
        assert!(tee.push(data(60)) && !tee.push(data(1)), "sixty may be behind");
        assert!(copied.fate().is_behind());
        assert!(poll_fn(|cx| Pin::new(&mut copied).poll_frame(cx)).await.is_some_and(|frame| frame.is_err()));
        assert!(room.take(100), "everything was given back");
        room.give_back(100);
        let (tee, copied) = Tee::new(60, room.clone());
        let (other, _other) = Tee::new(90, room.clone());
        assert!(tee.push(data(50)) && !other.push(data(51)), "all copies share a hundred");
        assert!(tee.push(Piece::End) && copied.fate().is_whole());
        drop(copied);
        assert!(room.take(100) && !tee.push(data(1)), "nobody reads it");
    }
}
