//! The bodies that travel: a request's towards a replica, an answer's back to the caller.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{
    BoxError,
    dispatch::Outstanding,
    patient::Reader,
    pool::WorkHold,
    record::{End, Recording},
    replay::Attempt,
    tee::Copied,
    verdict::Tap,
    wire::Wire,
};

/// A request's body on its way to a replica.
pub(super) struct ReqBody {
    kind: ReqKind,
    /// Whether any byte of it was taken: what tells a request that cannot have been worked on.
    taken: Rc<Cell<bool>>,
}

enum ReqKind {
    Empty,
    Wire(Wire),
    Attempt(Attempt),
    Copied(Copied),
}

/// An answer's body on its way back. Whatever has to end with it hangs on it.
pub(super) struct Download {
    inner: Option<Wire>,
    /// The slot and the connection, on the replica's node.
    work: Option<WorkHold>,
    /// What the ingress counts.
    outstanding: Option<Outstanding>,
    /// What the ingress writes down.
    recording: Option<Recording>,
    /// What the comparator hears of the answer.
    tap: Option<Box<Tap>>,
    /// How long the replica may be silent in the middle of the answer.
    stall: Option<Duration>,
    /// Who reads it, where the connection knows that and not the stream.
    reader: Option<Arc<Reader>>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The body of whatever a listener answers.
pub(super) enum OutBody {
    /// Berth's own words.
    Full(Option<Bytes>),
    /// Berth's own message with trailers, for gRPC.
    Message(Option<Bytes>, Option<http::HeaderMap>),
    /// A replica's answer.
    Download(Download),
}

// === impl ReqBody ===

impl ReqBody {
    pub(super) fn empty() -> Self {
        Self::new(ReqKind::Empty)
    }

    pub(super) fn wire(body: Wire) -> Self {
        Self::new(if body.is_end_stream() { ReqKind::Empty } else { ReqKind::Wire(body) })
    }

    pub(super) fn attempt(body: Attempt) -> Self {
        Self::new(ReqKind::Attempt(body))
    }

    pub(super) fn copied(body: Copied) -> Self {
        Self::new(ReqKind::Copied(body))
    }

    fn new(kind: ReqKind) -> Self {
        Self { kind, taken: Rc::new(Cell::new(false)) }
    }

    /// Returns a flag that turns true with the first byte taken.
    pub(super) fn taken(&self) -> Rc<Cell<bool>> {
        self.taken.clone()
    }

    /// Returns whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.kind, ReqKind::Empty)
    }
}

impl Body for ReqBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.kind {
            ReqKind::Empty => None,
            ReqKind::Wire(body) => ready!(Pin::new(body).poll_frame(cx)),
            ReqKind::Attempt(body) => ready!(Pin::new(body).poll_frame(cx)),
            ReqKind::Copied(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        if matches!(frame, Some(Ok(_))) {
            self.taken.set(true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            ReqKind::Empty => true,
            ReqKind::Wire(body) => body.is_end_stream(),
            ReqKind::Attempt(body) => body.is_end_stream(),
            ReqKind::Copied(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            ReqKind::Empty => SizeHint::with_exact(0),
            ReqKind::Wire(body) => body.size_hint(),
            ReqKind::Attempt(body) => body.size_hint(),
            ReqKind::Copied(body) => body.size_hint(),
        }
    }
}

// === impl Download ===

impl Download {
    /// Wraps an answer whose work ends with it.
    pub(super) fn of_work(inner: Wire, work: WorkHold) -> Self {
        let mut answer = Self::of_gate(inner);
        answer.work = Some(work);
        answer.settled()
    }

    /// Wraps an answer that came from another gate.
    pub(super) fn of_gate(inner: Wire) -> Self {
        Self {
            inner: Some(inner),
            work: None,
            outstanding: None,
            recording: None,
            tap: None,
            stall: None,
            reader: None,
            timer: None,
        }
    }

    /// Counts the request as under way until the answer ends; `stall` bounds the replica's silence.
    pub(super) fn counted(mut self, outstanding: Outstanding, stall: Option<Duration>) -> Self {
        self.outstanding = Some(outstanding);
        self.stall = stall;
        self.settled()
    }

    /// Lets a record end with the answer.
    pub(super) fn recorded(&mut self, mut recording: Recording) {
        match self.inner.as_ref().is_none_or(Body::is_end_stream) {
            true => recording.close(End::Whole),
            false => self.recording = Some(recording),
        }
    }

    /// Lets the comparator hear the answer on its way.
    pub(super) fn tapped(mut self, tap: Box<Tap>) -> Self {
        match self.inner.as_ref().is_none_or(Body::is_end_stream) {
            true => tap.whole(),
            false => self.tap = Some(tap),
        }
        self
    }

    /// Reads the answer to its end and forgets it.
    pub(super) async fn discard(mut self) -> bool {
        loop {
            match std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    }

    /// Ends an answer that its caller takes too slowly.
    fn give_up(&mut self) {
        if let Some(mut recording) = self.recording.take() {
            recording.close(End::Slow);
        }
    }

    fn settled(mut self) -> Self {
        if self.inner.as_ref().is_some_and(Body::is_end_stream) {
            self.end(true);
        }
        self
    }

    fn end(&mut self, whole: bool) {
        self.timer = None;
        if let Some(work) = self.work.take() {
            work.end(whole);
        }
        self.outstanding = None;
        if let Some(tap) = self.tap.take().filter(|_| whole) {
            tap.whole();
        }
        if let Some(mut recording) = self.recording.take() {
            recording.close(if whole { End::Whole } else { End::Broken });
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        let frame = match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let Some(stall) = this.stall else { return Poll::Pending };
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
                ready!(timer.as_mut().poll(cx));
                this.inner = None;
                this.end(false);
                return Poll::Ready(Some(Err("the replica stopped in the middle of its answer".into())));
            }
        };
        this.timer = None;
        match &frame {
            Some(Ok(frame)) => {
                match (&mut this.recording, frame.data_ref()) {
                    (Some(recording), Some(data)) => recording.sent(data.len()),
                    (Some(recording), None) => {
                        frame.trailers_ref().into_iter().for_each(|all| recording.ended_with(all))
                    }
                    (None, _) => {}
                }
                if let Some(tap) = &mut this.tap {
                    tap.hear(frame);
                }
                if this.inner.as_ref().is_some_and(Body::is_end_stream) {
                    this.end(true);
                }
            }
            Some(Err(_)) => this.end(false),
            None => this.end(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Download {
    /// The caller left in the middle of the answer: what can be cancelled ends with the connection, what cannot is read
    /// to its end by the core, with its slot.
    fn drop(&mut self) {
        if self.reader.as_ref().is_some_and(|reader| reader.is_slow()) {
            self.give_up();
        }
        if let (Some(inner), Some(work)) = (self.inner.take(), self.work.take()) {
            work.abandon(inner);
        }
    }
}

// === impl OutBody ===

impl OutBody {
    /// Wraps Berth's own words.
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::Full(Some(text.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }

    /// Lets it end as the connection says.
    pub(super) fn read_by(&mut self, reader: &Arc<Reader>) {
        reader.begin();
        if let Self::Download(body) = self {
            body.reader = Some(reader.clone());
        }
    }

    /// Ends what its caller takes too slowly.
    pub(super) fn give_up(mut self) {
        if let Self::Download(body) = &mut self {
            body.give_up();
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Message(bytes, trailers) => {
                let data = bytes.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Self::Download(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Message(bytes, trailers) => bytes.is_none() && trailers.is_none(),
            Self::Download(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Message(..) => SizeHint::default(),
            Self::Download(body) => body.size_hint(),
        }
    }
}
