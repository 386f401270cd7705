//! What a connection and its streams are at: the part that the driver and the handles share.

mod receiving;
mod sending;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

use bytes::BytesMut;
use foldhash::fast::FixedState;
use slab::Slab;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    By, Error, Reason, Settings,
    encode::Encoder,
    frame::{GOAWAY, SETTINGS, frame, ping, window_update},
    output::Output,
    stream::{Stream, remember, wake},
};

/// A window before anything was said.
const FIRST_WINDOW: u32 = 65_535;
const WINDOW_MAX: i64 = i32::MAX as i64;

/// Beyond it there are no streams.
const ID_MAX: u32 = i32::MAX as u32;

/// What a ping says that asks whether the peer has seen that this is the end.
const GOODBYE: [u8; 8] = *b"goodbye!";
const ALIVE: [u8; 8] = *b"alive?!?";

/// Streams a peer may allow at most; it does not matter beyond.
const STREAMS_MAX: u32 = 1 << 20;

/// Answered streams that may still bring the rest of their request; the oldest is told to stop.
const UNFINISHED_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// What a frame did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Connection(Reason),
    Stream(u32, Reason),
}

/// Where a side is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    Not,
    /// We said that this is the end, and wait until that was heard.
    Said,
    /// It was heard: what was sent before that has come.
    Heard,
    /// Nothing beyond this stream is looked at.
    Final,
}

pub(super) type Shared = Rc<RefCell<State>>;

/// A connection.
pub(super) struct State {
    pub(super) role: Role,
    pub(super) settings: Settings,
    pub(super) output: Output,
    pub(super) encoder: Encoder,
    streams: Slab<Stream>,
    ids: HashMap<u32, usize, FixedState>,
    /// The next stream that we open.
    next_id: u32,
    /// The last stream that the peer opened.
    last_id: u32,
    peer_window: u32,
    send_window: i64,
    recv_window: i64,
    unreported: u32,
    /// Streams that wait for the connection's window or for room.
    waiting: VecDeque<(usize, u32)>,
    /// Of a client: places for streams, how many there are, and how many of them are to go.
    pub(super) places: Arc<Semaphore>,
    places_told: u32,
    places_owed: u32,
    /// Handles that open streams.
    pub(super) openers: u32,
    /// Of a server: streams whose answer is out and whose request still comes, with the room that their peer has left.
    unfinished: VecDeque<(u32, i64)>,
    unseen_resets: u32,
    faults: u32,
    pub(super) goodbye: Goodbye,
    /// The peer has said what it allows.
    pub(super) is_introduced: bool,
    /// The peer goes away.
    pub(super) is_leaving: bool,
    pub(super) ended: Option<Error>,
    pub(super) ping: Option<Ping>,
    /// Drives the connection.
    driver: Option<Waker>,
    /// It is being driven, or was woken.
    is_driven: bool,
}

/// A ping that waits for its answer.
#[derive(Default)]
pub(super) struct Ping {
    pub(super) is_answered: bool,
    pub(super) waker: Option<Waker>,
}

// === impl State ===

impl State {
    pub(super) fn new(role: Role, settings: Settings) -> Self {
        let mut state = Self {
            role,
            settings,
            output: Output::default(),
            encoder: Encoder::default(),
            streams: Slab::new(),
            ids: HashMap::default(),
            next_id: 1,
            last_id: 0,
            peer_window: FIRST_WINDOW,
            send_window: FIRST_WINDOW.into(),
            recv_window: settings.window.into(),
            unreported: 0,
            waiting: VecDeque::new(),
            unfinished: VecDeque::new(),
            places: Arc::new(Semaphore::new(settings.streams as usize)),
            places_told: settings.streams,
            places_owed: 0,
            openers: 0,
            unseen_resets: 0,
            faults: 0,
            goodbye: Goodbye::Not,
            is_introduced: false,
            is_leaving: false,
            ended: None,
            ping: None,
            driver: None,
            is_driven: false,
        };
        state.introduce();
        state
    }

    /// Says what the peer is allowed.
    fn introduce(&mut self) {
        let Settings { stream_window, window, head_bytes, streams, connect_protocol, .. } = self.settings;
        let told: &[(u16, u32)] = match self.role {
            Role::Client => &[(2, 0), (4, stream_window), (6, head_bytes)],
            Role::Server if connect_protocol => &[(3, streams), (4, stream_window), (6, head_bytes), (8, 1)],
            Role::Server => &[(3, streams), (4, stream_window), (6, head_bytes)],
        };
        let is_client = self.role == Role::Client;
        self.output.write(|into| {
            if is_client {
                into.extend_from_slice(super::connection::PREFACE);
            }
            frame(into, told.len() * 6, SETTINGS, 0, 0);
            for (name, value) in told {
                into.extend_from_slice(&name.to_be_bytes());
                into.extend_from_slice(&value.to_be_bytes());
            }
            if let Some(more) = window.checked_sub(FIRST_WINDOW).filter(|more| *more > 0) {
                window_update(into, 0, more);
            }
        });
    }

    // --- the driver ---

    pub(super) fn begin_turn(&mut self, cx: &Context<'_>) {
        self.is_driven = true;
        remember(&mut self.driver, cx);
    }

    pub(super) fn end_turn(&mut self) {
        self.is_driven = false;
    }

    /// Lets the driver send what was written.
    fn call_driver(&mut self) {
        if !self.is_driven {
            self.is_driven = true;
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
    }

    /// Takes a place away where the peer has fewer than it had; else returns it.
    pub(super) fn pay(&mut self, place: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        if self.places_owed == 0 {
            return Some(place);
        }
        self.places_owed -= 1;
        place.forget();
        None
    }

    /// Keeps a new stream.
    fn insert(&mut self, stream: Stream) -> usize {
        let id = stream.id;
        let key = self.streams.insert(stream);
        self.ids.insert(id, key);
        key
    }

    /// Asserts that what is kept of streams is what their program, which holds so many, still wants of them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn tally(&self, held: usize) {
        let streams = || self.streams.iter().map(|(_, stream)| stream);
        assert_eq!(self.streams.len(), held, "streams are kept as long as somebody holds them");
        if self.ended.is_some() {
            return;
        }
        assert_eq!(self.ids.len(), streams().filter(|stream| stream.is_open).count(), "those that are open are found");
        assert_eq!(
            self.waiting.len(),
            streams().filter(|stream| stream.is_open && stream.is_waiting).count(),
            "who waits is on the list"
        );
        let unread = |stream: &Stream| stream.first.iter().chain(&stream.more).map(BytesMut::len).sum::<usize>();
        assert!(streams().all(|stream| unread(stream) <= self.settings.stream_window as usize), "a stream's window");
        assert!(streams().map(unread).sum::<usize>() <= self.settings.window as usize, "the connection's window");
        let unseen =
            streams().filter(|stream| !stream.is_seen && matches!(stream.reset, Some(Error::Reset(_, By::Peer))));
        assert_eq!(self.unseen_resets as usize, unseen.count(), "resets that nobody has looked at");
        if self.role == Role::Client {
            let taken = streams().filter(|stream| stream.place.is_some()).count();
            let places = self.places.available_permits() + taken;
            assert_eq!(places, (self.places_told + self.places_owed) as usize, "places are the peer's to give");
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Ends everything.
    pub(super) fn end(&mut self, error: Error) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(error);
        self.places.close();
        for (_, stream) in &mut self.streams {
            // What has come whole stays whole.
            if stream.reset.is_none() {
                stream.reset = Some(error);
            }
            stream.is_open = false;
            stream.place = None;
            wake(&mut stream.reader);
            wake(&mut stream.writer);
        }
        self.ids.clear();
        self.waiting.clear();
        if let Some(ping) = &mut self.ping {
            wake(&mut ping.waker);
        }
        self.call_driver();
    }

    /// Ends everything for what the peer did.
    pub(super) fn fail(&mut self, reason: Reason) {
        let last = self.last_id;
        self.go_away(last, reason);
        self.end(Error::Away(reason, By::Us));
    }

    fn go_away(&mut self, last: u32, reason: Reason) {
        self.output.write(|into| {
            frame(into, 8, GOAWAY, 0, 0);
            into.extend_from_slice(&last.to_be_bytes());
            into.extend_from_slice(&reason.0.to_be_bytes());
        });
    }

    /// Says that this is the end, and asks whether that was heard.
    pub(super) fn say_goodbye(&mut self) {
        if self.goodbye == Goodbye::Not && self.ended.is_none() {
            self.goodbye = Goodbye::Said;
            self.go_away(ID_MAX, Reason::NO_ERROR);
            self.output.write(|into| ping(into, 0, GOODBYE));
            self.call_driver();
        }
    }

    /// Takes nothing more.
    pub(super) fn say_last(&mut self) {
        self.goodbye = Goodbye::Final;
        self.go_away(self.last_id, Reason::NO_ERROR);
    }

    // --- the ends of streams ---

    fn close_if_over(&mut self, key: usize) {
        let stream = &self.streams[key];
        if stream.recv_ended && stream.send_ended {
            self.close(key, None);
        }
    }

    /// Ends a stream; nothing more comes or goes.
    fn close(&mut self, key: usize, reset: Option<Error>) {
        let stream = &mut self.streams[key];
        let was_open = std::mem::replace(&mut stream.is_open, false);
        if stream.reset.is_none() {
            stream.reset = reset;
        }
        wake(&mut stream.reader);
        wake(&mut stream.writer);
        if was_open {
            let (id, is_waiting, place) = (stream.id, stream.is_waiting, stream.place.take());
            self.ids.remove(&id);
            if is_waiting {
                self.waiting.retain(|(_, waiting)| *waiting != id);
            }
            if let Some(place) = place {
                drop(self.pay(place));
            }
        }
    }

    /// One of a stream's handles is gone.
    pub(super) fn let_go(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        stream.handles -= 1;
        if stream.handles > 0 {
            return;
        }
        if stream.is_open {
            let (id, window) = (stream.id, stream.recv_window);
            match self.role == Role::Server && stream.send_ended {
                true => self.linger(id, window),
                false => self.reset(id, Reason::CANCEL),
            }
            self.close(key, None);
        }
        self.see(key);
        self.streams.remove(key);
        // The last one may be what the driver waits for.
        if self.streams.is_empty() {
            self.call_driver();
        }
    }

    /// A server that has said all does not want the rest (RFC 9113 §8.1), and says so when the peer has no room left to send
    /// any: a client that is told while it sends may take the answer for lost (curl before 8), and most have little left.
    fn linger(&mut self, id: u32, window: i64) {
        self.unfinished.push_back((id, window));
        if self.unfinished.len() > UNFINISHED_MAX
            && let Some((oldest, _)) = self.unfinished.pop_front()
        {
            self.reset(oldest, Reason::NO_ERROR);
        }
    }

    /// Takes note of what came on a stream that is over; `bytes` is nothing where its peer ended it.
    pub(super) fn came_late(&mut self, id: u32, bytes: Option<usize>) {
        let Some(at) = self.unfinished.iter().position(|(unfinished, _)| *unfinished == id) else { return };
        match bytes {
            Some(bytes) if self.unfinished[at].1 > bytes as i64 => self.unfinished[at].1 -= bytes as i64,
            Some(_) => {
                self.unfinished.remove(at);
                self.reset(id, Reason::NO_ERROR);
            }
            None => {
                self.unfinished.remove(at);
            }
        }
    }

    pub(super) fn opener_gone(&mut self) {
        self.openers -= 1;
        if self.openers == 0 {
            self.call_driver();
        }
    }

    /// Nobody reads it any more.
    pub(super) fn reader_gone(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        stream.reader_is_gone = true;
        let unread = stream.first.iter().chain(&stream.more).map(BytesMut::len).sum();
        stream.first = None;
        stream.more.clear();
        self.report(unread);
    }
}
