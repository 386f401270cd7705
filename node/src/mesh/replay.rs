//! The request's body: read once from the caller, given to one attempt at a time, and copied to mirrors on the way.
//!
//! Frames are kept while they may have to be sent again, up to a bound per request and per node; beyond it the request
//! cannot be retried, and its answer says so. The first few of each are kept whatever others keep: a small request can
//! always be sent again. Mirrors get what they have room for and are given up when they are slow: nothing here ever
//! waits for a mirror.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    BoxError,
    tee::{Copied, Tee},
    wire::Wire,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// Bytes of each request that take nothing of the room of all. A stream's window holds sixteen times as many.
const ALWAYS_KEPT: usize = 16 << 10;

/// Bytes of a body that may be on their way before the other node's gate has looked at its request: a stream's window, what
/// waits for it, and the last frame. Kept of each request as long as it may be sent again, and more is never on its way to a
/// gate that refuses.
pub(super) const BEFORE_A_TAKER: usize = 1 << 20;

/// One frame of a body, in a form that can be given out more than once.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The body is whole: without it, a copy is not taken for complete.
    End,
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is over the endpoint's limit.
    TooLarge,
    /// The caller broke off.
    Caller,
}

/// Why a request cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// More was read than is kept of one.
    TooLarge,
    /// The node had no room left.
    NoRoom,
}

/// Bytes that may still be kept; shared by the requests of a core, or of all cores.
#[derive(Clone, Debug)]
pub(super) struct Room(Rc<Left>);

/// What is left of a room. Each core counts its shares in it by itself, so that a request without need of it touches nothing
/// that another core does.
#[derive(Clone, Debug)]
pub(super) struct Left(Arc<AtomicUsize>);

/// A request's body as the ingress holds it.
#[derive(Clone)]
pub(super) struct Upload(Rc<RefCell<Source>>);

struct Source {
    wire: Option<Wire>,
    limit: u64,
    seen: u64,
    kept: VecDeque<Piece>,
    kept_bytes: usize,
    /// How many of these are of the room of all.
    borrowed: usize,
    lost: Option<Lost>,
    keep_max: usize,
    room: Room,
    /// Whether frames are kept; once a frame was let go, no further attempt can be made.
    keeping: bool,
    /// What is read now is kept whatever room there is: nobody has taken it yet.
    must_keep: bool,
    /// Something is kept for which there was no room.
    is_overdrawn: bool,
    whole: bool,
    cursor: usize,
    given: u64,
    total: Option<u64>,
    owner: u32,
    tees: Vec<Tee>,
    fault: Option<Fault>,
    ended: bool,
    /// Since when the caller is waited for, and for how long it was before.
    waits_since: Option<Instant>,
    waited: Duration,
}

/// How far somebody has come who looks at a body before any attempt.
#[derive(Debug, Default)]
pub(super) struct Place {
    piece: usize,
    offset: usize,
}

/// The body of one attempt. An older attempt gets an error as soon as a newer one exists.
pub(super) struct Attempt {
    source: Rc<RefCell<Source>>,
    number: u32,
}

// === impl Piece ===

impl Piece {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) | Self::End => 0,
        }
    }
}

// === impl Lost ===

impl Lost {
    /// Returns the word for the caller.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::NoRoom => "no-room",
        }
    }
}

// === impl Room ===

impl Room {
    /// Makes a room of its own.
    pub(super) fn new(bytes: usize) -> Self {
        Self::of(Left::new(bytes))
    }

    /// Makes a core's share in a room.
    pub(super) fn of(left: Left) -> Self {
        Self(Rc::new(left))
    }

    pub(super) fn take(&self, bytes: usize) -> bool {
        bytes == 0 || self.0.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.0.0.fetch_add(bytes, Relaxed);
        }
    }
}

// === impl Left ===

impl Left {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }
}

// === impl Upload ===

impl Upload {
    pub(super) fn new(wire: Wire, limit: u64, room: Room) -> Self {
        let total = wire.size_hint().exact();
        Self(Rc::new(RefCell::new(Source {
            wire: Some(wire),
            limit,
            seen: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            borrowed: 0,
            lost: None,
            keep_max: BEFORE_A_TAKER,
            room,
            keeping: true,
            must_keep: false,
            is_overdrawn: false,
            whole: true,
            cursor: 0,
            given: 0,
            total,
            owner: 0,
            tees: Vec::new(),
            fault: None,
            ended: false,
            waits_since: None,
            waited: Duration::ZERO,
        })))
    }

    /// Sets the limit, once the endpoint is known.
    pub(super) fn set_limit(&self, limit: u64) {
        let mut source = self.0.borrow_mut();
        source.limit = limit;
        if source.seen > limit {
            source.fail(Fault::TooLarge);
        }
    }

    /// Keeps up to so much from here on, once it is known that it may be of use.
    pub(super) fn keep(&self, keep_max: usize) {
        let mut source = self.0.borrow_mut();
        source.keep_max = source.keep_max.max(keep_max);
    }

    /// Begins an attempt; earlier ones get nothing more.
    pub(super) fn attempt(&self) -> Attempt {
        let mut source = self.0.borrow_mut();
        source.owner += 1;
        source.cursor = 0;
        source.given = 0;
        Attempt { source: self.0.clone(), number: source.owner }
    }

    /// Returns whether another attempt would get the whole body.
    pub(super) fn is_replayable(&self) -> bool {
        let source = self.0.borrow();
        source.whole && source.fault.is_none()
    }

    /// Returns why no other attempt could have had the whole body, if that is so.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.0.borrow().lost
    }

    /// Lets go of what was kept: there will be no further attempt.
    pub(super) fn settle(&self) {
        self.0.borrow_mut().let_go();
    }

    /// Returns whether the attempt under way has been given more than a gate takes of a request that it has not let in.
    pub(super) fn shows_a_taker(&self) -> bool {
        self.0.borrow().given > BEFORE_A_TAKER as u64
    }

    /// Returns for how long a replica has waited for this body in all.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let source = self.0.borrow();
        source.waited + source.waits_since.map_or(Duration::ZERO, |since| now - since)
    }

    /// Returns whether the caller is waited for now.
    pub(super) fn is_waited_for(&self) -> bool {
        self.0.borrow().waits_since.is_some()
    }

    /// Returns how many bytes came so far.
    pub(super) fn seen(&self) -> u64 {
        self.0.borrow().seen
    }

    /// Returns why the body ended early, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.borrow().fault
    }

    /// Copies everything that is read from now on, and what was read before; nothing when that is no longer at hand, or
    /// more than `keep_max` bytes or the room of all copies.
    pub(super) fn tee(&self, keep_max: usize, room: &Room) -> Option<Copied> {
        let (tee, copied) = Tee::new(keep_max, room.clone());
        let mut source = self.0.borrow_mut();
        let mut early = source.kept.iter().cloned().chain(source.ended.then_some(Piece::End));
        let fits = source.whole && source.fault.is_none() && early.all(|piece| tee.push(piece));
        if fits && !source.ended {
            source.tees.push(tee);
        }
        fits.then_some(copied)
    }

    /// Returns the whole body once more, to be sent beside the attempt under way; nothing unless all of it has come, is
    /// still at hand, and finds room among the copies.
    pub(super) fn again(&self, keep_max: usize, room: &Room) -> Option<Copied> {
        let is_whole = {
            let source = self.0.borrow();
            source.ended && source.fault.is_none()
        };
        is_whole.then(|| self.tee(keep_max, room)).flatten()
    }

    /// Reads one more frame into what is kept, to look at it before any attempt. False at the end of the body.
    pub(super) async fn read_ahead(&self) -> Result<bool, Fault> {
        std::future::poll_fn(|cx| {
            let mut source = self.0.borrow_mut();
            source.must_keep = true;
            let read = source.poll_wire(cx);
            source.must_keep = false;
            match ready!(read) {
                Ok(more) => Poll::Ready(Ok(more.is_some())),
                Err(fault) => Poll::Ready(Err(fault)),
            }
        })
        .await
    }

    /// Returns whether there was room for all that was read ahead. Where there was not, no more should be.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.0.borrow().is_overdrawn
    }

    /// Shows what was read ahead from a place on, as far as it is taken.
    pub(super) fn show(&self, place: &mut Place, mut take: impl FnMut(&[u8]) -> usize) {
        let source = self.0.borrow();
        while let Some(piece) = source.kept.get(place.piece) {
            if let Piece::Data(data) = piece {
                place.offset += take(&data[place.offset..]);
                if place.offset < data.len() {
                    return;
                }
            }
            *place = Place { piece: place.piece + 1, offset: 0 };
        }
    }

    /// Returns the first bytes that were read ahead, at most `max`.
    pub(super) fn head(&self, max: usize) -> Vec<u8> {
        let mut head = Vec::new();
        for piece in &self.0.borrow().kept {
            if let Piece::Data(data) = piece {
                let room = max - head.len();
                head.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        head
    }
}

// === impl Source ===

impl Source {
    fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.wire = None;
        // Without the final piece no copy is complete.
        self.tees.clear();
        self.let_go();
    }

    fn let_go(&mut self) {
        self.keeping = false;
        // What the attempt under way has not taken yet is still its to take.
        while self.cursor > 0 && self.kept.pop_front().is_some() {
            self.cursor -= 1;
            self.whole = false;
        }
        if self.kept.is_empty() {
            self.kept_bytes = 0;
            self.room.give_back(std::mem::take(&mut self.borrowed));
        }
    }

    /// Takes the next frame off the wire, copies it to the mirrors and keeps it if there is room.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Fault>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(fault));
        }
        let Some(wire) = self.wire.as_mut().filter(|_| !self.ended) else { return Poll::Ready(Ok(None)) };
        let read = match Pin::new(wire).poll_frame(cx) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                self.waits_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            }
        };
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
        let piece = match read {
            None => {
                self.finish();
                return Poll::Ready(Ok(None));
            }
            Some(Err(_)) => {
                self.fail(Fault::Caller);
                return Poll::Ready(Err(Fault::Caller));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Piece::Data(data),
                Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
            },
        };
        if let Piece::Data(data) = &piece {
            self.seen += data.len() as u64;
            if self.seen > self.limit {
                self.fail(Fault::TooLarge);
                return Poll::Ready(Err(Fault::TooLarge));
            }
        }
        self.copy(&piece);
        self.keep(&piece);
        // Nobody asks again after the last byte of a declared length, and the copies must not wait for that.
        if self.wire.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
        Poll::Ready(Ok(Some(piece)))
    }

    fn finish(&mut self) {
        self.ended = true;
        self.copy(&Piece::End);
        self.tees.clear();
    }

    fn copy(&mut self, piece: &Piece) {
        self.tees.retain(|tee| tee.push(piece.clone()));
    }

    fn keep(&mut self, piece: &Piece) {
        let bytes = piece.bytes();
        let all = self.kept_bytes + bytes;
        let is_small = all <= self.keep_max;
        let needed = all.saturating_sub(ALWAYS_KEPT).saturating_sub(self.borrowed);
        let fits = self.keeping && is_small && self.room.take(needed);
        if fits {
            self.kept_bytes = all;
            self.borrowed += needed;
        } else if self.keeping && !self.must_keep {
            self.lost = Some(if is_small { Lost::NoRoom } else { Lost::TooLarge });
        }
        self.is_overdrawn |= !fits && self.must_keep;
        if fits || self.must_keep {
            self.kept.push_back(piece.clone());
        } else {
            self.whole = false;
            self.let_go();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.room.give_back(self.borrowed);
    }
}

// === impl Attempt ===

impl Attempt {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, BoxError>> {
        let mut source = self.source.borrow_mut();
        if source.owner != self.number {
            return Poll::Ready(Err("another attempt has taken over".into()));
        }
        if let Some(piece) = source.kept.get(source.cursor).cloned() {
            source.cursor += 1;
            if !source.keeping {
                source.let_go();
            }
            return Poll::Ready(Ok(Some(piece)));
        }
        let piece = match ready!(source.poll_wire(cx)) {
            Ok(piece) => piece,
            Err(Fault::TooLarge) => return Poll::Ready(Err("the body is over the limit".into())),
            Err(Fault::Caller) => return Poll::Ready(Err("the caller broke off".into())),
        };
        if piece.is_some() && source.keeping {
            source.cursor += 1;
        }
        Poll::Ready(Ok(piece))
    }
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match ready!(self.poll_piece(cx)) {
            Ok(Some(Piece::Data(data))) => {
                self.source.borrow_mut().given += data.len() as u64;
                Some(Ok(Frame::data(data)))
            }
            Ok(Some(Piece::Trailers(trailers))) => Some(Ok(Frame::trailers(trailers))),
            Ok(Some(Piece::End) | None) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.borrow();
        let read = source.ended || source.wire.as_ref().is_some_and(Body::is_end_stream);
        source.fault.is_none() && source.owner == self.number && read && source.cursor >= source.kept.len()
    }

    fn size_hint(&self) -> SizeHint {
        let source = self.source.borrow();
        source.total.map_or_else(SizeHint::default, |total| SizeHint::with_exact(total.saturating_sub(source.given)))
    }
}
