//! What is promised of a connection whose peer and whose program do what they like, in whatever order: for fuzzing and
//! property tests.
//!
//! Its peer sends any bytes and takes what it likes; its program answers, asks, reads and lets go. After each step, what the
//! connection has said so far is judged by a reader of its own, which knows of windows and streams only what the frames of
//! both sides say.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Client, Connection, OUTPUT_BYTES, Reason, Receiver, Sender, client,
    connection::{PREFACE, TURN_BYTES, UNREAD_BYTES},
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES, GOAWAY, HEAD_BYTES, HEADERS, RST_STREAM,
        SETTINGS, WINDOW_UPDATE,
    },
    promises, server,
};

/// What happens next. `at` is any number: it names one of the streams that the program has.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The peer sends these.
    Come(Vec<u8>),
    /// The peer takes so many more.
    Take(usize),
    /// Of a client: a request begins.
    Ask { is_end: bool },
    /// Of a server: the head of an answer.
    Answer { at: u8, is_end: bool },
    /// A part of a body.
    Send { at: u8, bytes: u16, is_end: bool },
    /// What follows a body.
    Trail { at: u8 },
    /// The program reads what has come.
    Read { at: u8 },
    /// It wants nothing more of what comes.
    Deafen { at: u8 },
    /// It sends nothing more.
    Mute { at: u8 },
    /// It gives up.
    Reset { at: u8 },
    /// Of a server: it ends with its streams.
    Goodbye,
}

/// What a step may write at most beside data and answers: a head, a reset, room.
const STEP_BYTES: usize = 200;

/// How often a connection is driven after a step: more than it takes to use whatever has come.
const TURNS: usize = 12;

/// Reads steps out of any bytes.
pub(crate) fn steps(mut bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while let [kind, at, more, rest @ ..] = bytes {
        let (at, is_end) = (*at, more & 1 == 1);
        bytes = rest;
        steps.push(match kind % 12 {
            0..2 => {
                let (come, rest) = rest.split_at(usize::from(*more).min(rest.len()));
                bytes = rest;
                Step::Come(come.to_vec())
            }
            2 => Step::Take(usize::from(*more) << 8),
            3 => Step::Ask { is_end },
            4 => Step::Answer { at, is_end },
            5 => Step::Send { at, bytes: u16::from(*more) << 8, is_end },
            6 => Step::Trail { at },
            7 => Step::Read { at },
            8 => Step::Deafen { at },
            9 => Step::Mute { at },
            10 => Step::Reset { at },
            _ => Step::Goodbye,
        });
    }
    steps
}

/// The peer of a connection, byte by byte.
#[derive(Default)]
struct Wire {
    /// What it has sent, and how much of that was read.
    come: Vec<u8>,
    read: usize,
    /// In pieces of so many bytes.
    size: usize,
    /// What it takes, and has taken.
    room: usize,
    written: Vec<u8>,
}

struct End(Rc<RefCell<Wire>>);

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        let read = wire.read;
        let piece = wire.size.min(wire.come.len() - read).min(buf.remaining());
        if piece == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&wire.come[read..read + piece]);
        wire.read += piece;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        let taken = buf.len().min(wire.room);
        if taken == 0 {
            return Poll::Pending;
        }
        wire.room -= taken;
        wire.written.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A stream as the program has it.
struct Held {
    receiver: Option<Receiver>,
    sender: Option<Sender>,
    has_head: bool,
}

// === impl Held ===

impl Held {
    /// Does what the program does next with this stream; returns what it saw.
    fn act(&mut self, step: &Step, is_client: bool, cx: &mut Context<'_>) -> Option<String> {
        let begun = self.sender.as_mut().filter(|_| self.has_head);
        match step {
            Step::Answer { is_end, .. } => {
                let sender = self.sender.as_mut().filter(|_| !self.has_head)?;
                self.has_head = sender.answer(&Response::new(()), *is_end).is_ok();
            }
            Step::Send { bytes, is_end, .. } => {
                let mut data = Bytes::from(vec![7; usize::from(*bytes)]);
                let sent = begun?.poll_send(cx, &mut data, *is_end);
                return Some(format!("{sent:?} {}", data.len()));
            }
            Step::Trail { .. } => {
                let trailers = HeaderMap::from_iter([(header::AGE, HeaderValue::from_static("7"))]);
                let sent = begun?.trailers(&trailers);
                return Some(format!("{sent:?}"));
            }
            Step::Read { .. } => {
                let receiver = self.receiver.as_mut()?;
                let answer = is_client.then(|| receiver.poll_answer(cx));
                let data = receiver.poll_data(cx);
                let end = receiver.is_end();
                return Some(format!("{answer:?} {data:?} {end} {:?}", receiver.trailers()));
            }
            Step::Deafen { .. } => self.receiver = None,
            Step::Mute { .. } => self.sender = None,
            Step::Reset { .. } => self.sender.as_mut()?.reset(Reason::CANCEL),
            Step::Come(_) | Step::Take(_) | Step::Ask { .. } | Step::Goodbye => {}
        }
        None
    }
}

/// What both sides have said, as far as it was read.
struct Judge {
    is_server: bool,
    /// How much of what came, and of what was written, was judged.
    come: usize,
    written: usize,
    /// What a new stream of ours may send, and the changes of that which we have not acknowledged yet.
    first: i64,
    told: VecDeque<Option<i64>>,
    /// What may be sent and what may come on the connection.
    send: i64,
    room: i64,
    lines: BTreeMap<u32, Line>,
    /// The stream whose head goes on.
    head: Option<u32>,
    last: u32,
}

/// A stream as the frames of both sides tell it.
struct Line {
    send: i64,
    room: i64,
    has_head: bool,
    is_over: bool,
}

// === impl Judge ===

impl Judge {
    fn new(is_server: bool) -> Self {
        let window = 65_535;
        Self {
            is_server,
            come: if is_server { PREFACE.len() } else { 0 },
            written: if is_server { 0 } else { PREFACE.len() },
            first: window,
            told: VecDeque::new(),
            send: window,
            room: window,
            lines: BTreeMap::new(),
            head: None,
            last: u32::MAX,
        }
    }

    fn line(&mut self, id: u32) -> &mut Line {
        let line =
            Line { send: self.first, room: promises::SETTINGS.stream_window.into(), has_head: false, is_over: false };
        self.lines.entry(id).or_insert(line)
    }

    /// Reads what has come, which may be more than what was used: it then grants more than it should, and never less.
    fn hear(&mut self, come: &[u8]) {
        while let Some((kind, flags, id, payload)) = next(come, &mut self.come) {
            let number = |at: usize| {
                payload.get(at..at + 4).map(|part| u32::from_be_bytes([part[0], part[1], part[2], part[3]]))
            };
            match kind {
                HEADERS if self.is_server => drop(self.line(id)),
                DATA => {
                    self.room -= payload.len() as i64;
                    self.line(id).room -= payload.len() as i64;
                }
                SETTINGS if flags & ACK == 0 => {
                    let told = payload.chunks_exact(6).filter(|told| told[..2] == [0, 4]);
                    let mut told = told.map(|told| i64::from(u32::from_be_bytes([told[2], told[3], told[4], told[5]])));
                    self.told.push_back(told.next_back());
                }
                WINDOW_UPDATE => {
                    let more = i64::from(number(0).unwrap_or(0) & 0x7fff_ffff);
                    match id {
                        0 => self.send += more,
                        id => self.line(id).send += more,
                    }
                }
                _ => {}
            }
        }
    }

    /// Judges what was written.
    fn judge(&mut self, written: &[u8]) {
        while let Some((kind, flags, id, payload)) = next(written, &mut self.written) {
            assert!(payload.len() <= FRAME_BYTES, "no frame is longer than anybody takes");
            assert_eq!(self.head.is_some(), kind == CONTINUATION, "nothing comes between the parts of a head");
            match kind {
                HEADERS | CONTINUATION => {
                    assert!(self.head.is_none_or(|head| head == id), "a head is of one stream");
                    let line = self.line(id);
                    assert!(!line.is_over, "nothing follows the end of {id}");
                    line.has_head = true;
                    // The end is in the first part, and holds from the last one on.
                    let ends = kind == HEADERS && flags & END_STREAM != 0;
                    line.is_over = ends && flags & END_HEADERS != 0;
                    self.head = (flags & END_HEADERS == 0).then_some(id);
                }
                DATA => {
                    let bytes = payload.len() as i64;
                    self.send -= bytes;
                    assert!(bytes == 0 || self.send >= 0, "the connection's window is kept");
                    let line = self.line(id);
                    assert!(line.has_head && !line.is_over, "data of {id} comes between its head and its end");
                    line.send -= bytes;
                    assert!(bytes == 0 || line.send >= 0, "the window of {id} is kept");
                    line.is_over = flags & END_STREAM != 0;
                }
                RST_STREAM => self.line(id).is_over = true,
                SETTINGS if flags & ACK != 0 => {
                    let told = self.told.pop_front().expect("it acknowledges what was told");
                    if let Some(window) = told {
                        self.lines.values_mut().for_each(|line| line.send += window - self.first);
                        self.first = window;
                    }
                }
                WINDOW_UPDATE => {
                    let more = u32::from_be_bytes(payload.try_into().expect("four bytes"));
                    assert!(more > 0, "no room is none to speak of");
                    let (room, most) = match id {
                        0 => (&mut self.room, promises::SETTINGS.window),
                        id => (&mut self.line(id).room, promises::SETTINGS.stream_window),
                    };
                    *room += i64::from(more);
                    assert!(*room <= i64::from(most), "{id} may bring no more than it was allowed");
                }
                GOAWAY => {
                    let last = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
                    assert!(last <= self.last, "what was given up is not taken up again");
                    self.last = last;
                }
                _ => {}
            }
        }
    }
}

/// Takes a whole frame out of what is there.
fn next<'a>(all: &'a [u8], at: &mut usize) -> Option<(u8, u8, u32, &'a [u8])> {
    let (head, rest) = all.get(*at..)?.split_first_chunk::<HEAD_BYTES>()?;
    let [high, middle, low, kind, flags, id @ ..] = *head;
    let payload = rest.get(..u32::from_be_bytes([0, high, middle, low]) as usize)?;
    *at += HEAD_BYTES + payload.len();
    Some((kind, flags, u32::from_be_bytes(id) & 0x7fff_ffff, payload))
}

/// A connection with its program and its peer.
struct Run {
    wire: Rc<RefCell<Wire>>,
    connection: Option<Connection<End>>,
    client: Option<Client>,
    held: Vec<Held>,
    judge: Judge,
    /// What the program saw.
    seen: Vec<String>,
    steps: usize,
}

// === impl Run ===

impl Run {
    fn new(is_server: bool, size: usize) -> Self {
        let wire = Rc::new(RefCell::new(Wire { size, ..Wire::default() }));
        let end = End(Rc::clone(&wire));
        let (client, connection) = match is_server {
            true => (None, server(end, promises::SETTINGS)),
            false => {
                let (client, connection) = client(end, promises::SETTINGS);
                (Some(client), connection)
            }
        };
        let judge = Judge::new(is_server);
        Self { wire, connection: Some(connection), client, held: Vec::new(), judge, seen: Vec::new(), steps: 0 }
    }

    fn step(&mut self, step: &Step) {
        let mut cx = Context::from_waker(Waker::noop());
        self.steps += 1;
        match step {
            Step::Come(bytes) => self.wire.borrow_mut().come.extend_from_slice(bytes),
            Step::Take(bytes) => self.wire.borrow_mut().room += bytes,
            Step::Ask { is_end } => self.ask(&mut cx, *is_end),
            Step::Goodbye => {
                if let Some(connection) = self.connection.as_ref().filter(|_| self.client.is_none()) {
                    connection.say_goodbye();
                }
            }
            Step::Answer { at, .. }
            | Step::Send { at, .. }
            | Step::Trail { at }
            | Step::Read { at }
            | Step::Deafen { at }
            | Step::Mute { at }
            | Step::Reset { at } => {
                let at = usize::from(*at) % self.held.len().max(1);
                if let Some(held) = self.held.get_mut(at) {
                    self.seen.extend(held.act(step, self.client.is_some(), &mut cx));
                }
            }
        }
        self.held.retain(|held| held.receiver.is_some() || held.sender.is_some());
        self.drive(&mut cx);
        self.judge();
    }

    fn ask(&mut self, cx: &mut Context<'_>, is_end: bool) {
        let Some(client) = &self.client else { return };
        let Poll::Ready(Ok(place)) = pin!(client.place()).poll(cx) else { return };
        let request = Request::post("http://replica/").body(()).expect("a request");
        if let Ok((receiver, sender)) = client.ask(place, &request, is_end) {
            self.held.push(Held { receiver: Some(receiver), sender: Some(sender), has_head: true });
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURNS {
            let Some(connection) = &mut self.connection else { return };
            let (held, seen) = (&mut self.held, &mut self.seen);
            let ended = connection.poll(cx, |(request, receiver, sender)| {
                seen.push(format!("{request:?}"));
                held.push(Held { receiver: Some(receiver), sender: Some(sender), has_head: false });
            });
            if let Poll::Ready(ended) = ended {
                self.seen.push(format!("{ended:?}"));
                self.connection = None;
            }
        }
    }

    fn judge(&mut self) {
        let wire = self.wire.borrow();
        self.judge.hear(&wire.come[..wire.read]);
        self.judge.judge(&wire.written);
        let Some(connection) = &self.connection else { return };
        let most = OUTPUT_BYTES + FRAME_BYTES + UNREAD_BYTES + 4 * TURN_BYTES + self.steps * STEP_BYTES;
        assert!(connection.unsent() <= most, "what waits to be sent piles up: {}", connection.unsent());
        connection.tally(self.held.len());
    }
}

/// Whatever happens, in whatever order: nothing panics, no window is exceeded and none is made larger than it was, what waits is
/// bounded, no stream outlives its program's interest in it, and none of it depends on the pieces in which bytes come.
pub(crate) fn keeps_its_promises(is_server: bool, size: usize, steps: &[Step]) {
    let [whole, pieces] = [usize::MAX, size.max(1)].map(|size| {
        let mut run = Run::new(is_server, size);
        steps.iter().for_each(|step| run.step(step));
        // At last the peer takes everything, and the program wants nothing.
        run.step(&Step::Take(usize::MAX >> 1));
        run.held.clear();
        run.step(&Step::Take(0));
        let wire = run.wire.take();
        if run.connection.is_some() {
            assert_eq!(run.judge.written, wire.written.len(), "every frame is whole");
        }
        (wire.written, run.seen)
    });
    assert_eq!(pieces, whole, "in pieces of {size}");
}
