//! What became of a request: a record that is written while it is served and closed with the last byte of its answer.
//!
//! The newest of every core are kept for whoever asks what happened to one, each becomes a line of the access log where
//! that is on, and its time goes into the deployment's histogram. A record holds positions and shared values, the few words
//! of the caller's that it tells, and nothing of a body. It is one piece of memory that is written where it is kept: what is
//! written thousands of requests before it is read again must cost no more than being written.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::traffic::{
    balance::Load,
    retry::Failure,
    search::Turned,
    status::{GrpcStatus, Refusal},
    trace::Entered,
};
use http::{HeaderMap, HeaderValue, Method, Version, header, request::Parts, uri};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{headers, mirror::Mirrored, replay::Lost, routes::Endpoint, worker::Core};

/// Records kept per core. At a thousand requests a second that is four seconds, and most who ask have the id of a
/// request that failed a moment ago; a record is some 700 bytes.
pub(super) const KEPT_PER_CORE: usize = 4_096;

/// Attempts written down one by one; more are only counted.
const ATTEMPTS_MAX: usize = 16;

/// Bytes of a request's words that need no memory of their own: an id, a usual path and a usual user agent.
const WORDS_INLINE: usize = 128;

/// One request, as the ingress that took it saw it.
pub(super) struct Record {
    pub(super) words: Words,
    pub(super) begun: Instant,
    pub(super) method: Method,
    pub(super) version: Version,
    /// Nothing when no endpoint was found.
    pub(super) routed: Option<RoutedTo>,
    /// The replica whose answer was taken, by position.
    pub(super) answered_by: Option<usize>,
    /// The two replicas that were drawn, the one to ask first at the front.
    pub(super) drawn: [Option<Weighed>; 2],
    /// How many could have been drawn.
    pub(super) candidates: usize,
    pub(super) attempts: SmallVec<[Attempted; 1]>,
    /// All of them, those beyond [`ATTEMPTS_MAX`] too.
    pub(super) attempt_count: u32,
    /// The deployments that were to get a copy, and what became of it.
    pub(super) mirrors: Vec<Mirrored>,
    /// What the caller saw; 0 until the head of the answer.
    pub(super) status: u16,
    /// The status it is counted as, which a gRPC call says otherwise than HTTP; nothing until it has.
    pub(super) counts_as: Option<u16>,
    /// What a gRPC call said at its head or its end.
    pub(super) grpc_status: Option<GrpcStatus>,
    /// The model's own, where the caller saw another one.
    pub(super) model_status: Option<u16>,
    /// Why the mesh answered itself.
    pub(super) turned: Option<Turned>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// How long the head of the answer took.
    pub(super) head: Option<Duration>,
    /// How long all of it took.
    pub(super) total: Duration,
    pub(super) end: End,
    /// Why it could not have been sent again, if that is so.
    pub(super) lost: Option<Lost>,
    /// Its own span, where spans are kept.
    pub(super) trace: Option<Entered>,
}

/// What a record tells of the caller's own words, copied: a share in them would keep alive what they were read into.
pub(super) struct Words {
    text: SmallVec<[u8; WORDS_INLINE]>,
    /// Where each but the last one ends.
    ends: [u32; 3],
}

/// Where a request was sent, and by what.
pub(super) struct RoutedTo {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) table: HeaderValue,
    /// Nothing when it was refused before a deployment was chosen.
    pub(super) chosen: Option<(usize, Choice)>,
}

/// What chose the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The caller named it.
    Pin,
    /// The caller's sticky key.
    Key,
    /// The split, with this ticket.
    Split(u64),
}

/// A replica that was looked at, with what was known of its load.
#[derive(Clone, Copy)]
pub(super) struct Weighed {
    pub(super) replica: usize,
    pub(super) load: Load,
}

/// One replica that was asked.
pub(super) struct Attempted {
    pub(super) replica: usize,
    /// It was added beside one that took long.
    pub(super) is_hedge: bool,
    /// Since the beginning of the request.
    pub(super) after: Duration,
    pub(super) took: Duration,
    pub(super) queued_ms: u64,
    pub(super) outcome: Outcome,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was under way when the request ended.
    Open,
    /// It answered with this status.
    Answered(u16),
    /// It did not.
    Failed(Failure),
    /// Another one's answer was taken, and this one is not waited for.
    Outrun,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the last byte of its answer.
    Whole,
    /// In the middle of its answer, where the caller left.
    Cut,
    /// In the middle of its answer, where the replica broke off.
    Broken,
    /// In the middle of its answer, which its caller took too slowly.
    Slow,
    /// The caller left before an answer.
    Left,
}

/// A record that is still written. It is closed when this goes away, whatever the reason.
pub(super) struct Recording {
    core: Rc<Core>,
    record: Option<Box<Record>>,
}

/// The newest records of a core.
pub(super) struct Recent(Mutex<Ring>);

struct Ring {
    #[expect(clippy::vec_box, reason = "a record is given a place without being moved")]
    records: Vec<Box<Record>>,
    /// The oldest, once there are as many as are kept.
    next: usize,
}

// === impl Words ===

impl Words {
    fn of(parts: &Parts, id: &HeaderValue, client_id: Option<&HeaderValue>) -> Self {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let path = parts.uri.path_and_query().map(uri::PathAndQuery::as_str);
        let mut text = SmallVec::new();
        let mut add = |word: &[u8]| {
            text.extend_from_slice(word);
            // The library has read no head that is longer.
            u32::try_from(text.len()).unwrap_or(u32::MAX)
        };
        let ends = [
            add(id.as_bytes()),
            add(client_id.map_or(&[], HeaderValue::as_bytes)),
            add(path.unwrap_or_default().as_bytes()),
        ];
        add(agent.unwrap_or_default().as_bytes());
        Self { text, ends }
    }

    fn word(&self, from: u32, to: Option<u32>) -> &str {
        let to = to.map_or(self.text.len(), |to| to as usize);
        let word = self.text.get(from as usize..to);
        word.and_then(|word| str::from_utf8(word).ok()).unwrap_or_default()
    }

    /// Returns the id, the mesh's or the one the caller gave.
    pub(super) fn id(&self) -> &str {
        self.word(0, Some(self.ends[0]))
    }

    /// Returns the caller's own id; empty when it has none.
    pub(super) fn client_id(&self) -> &str {
        self.word(self.ends[0], Some(self.ends[1]))
    }

    /// Returns the path with its query.
    pub(super) fn path_and_query(&self) -> &str {
        self.word(self.ends[1], Some(self.ends[2]))
    }

    /// Returns the path without its query, which may hold anything.
    pub(super) fn path(&self) -> &str {
        let whole = self.path_and_query();
        whole.split_once('?').map_or(whole, |(path, _)| path)
    }

    /// Returns what the caller says it is; empty when that is nothing, or no text.
    pub(super) fn user_agent(&self) -> &str {
        self.word(self.ends[2], None)
    }
}

// === impl Record ===

impl Record {
    pub(super) fn open(begun: Instant, parts: &Parts, id: &HeaderValue, client_id: Option<&HeaderValue>) -> Box<Self> {
        // Written in its place: made before its box, all of it would be moved.
        let place = Box::new_uninit();
        Box::write(
            place,
            Self {
                words: Words::of(parts, id, client_id),
                begun,
                method: parts.method.clone(),
                version: parts.version,
                routed: None,
                answered_by: None,
                drawn: [None, None],
                candidates: 0,
                attempts: SmallVec::new(),
                attempt_count: 0,
                mirrors: Vec::new(),
                status: 0,
                counts_as: None,
                grpc_status: None,
                model_status: None,
                turned: None,
                request_bytes: 0,
                response_bytes: 0,
                head: None,
                total: Duration::ZERO,
                end: End::Left,
                lost: None,
                trace: None,
            },
        )
    }

    /// Notes where the request goes.
    pub(super) fn route(&mut self, endpoint: &Arc<Endpoint>, table: &HeaderValue) {
        self.routed = Some(RoutedTo { endpoint: endpoint.clone(), table: table.clone(), chosen: None });
    }

    /// Notes which deployment was chosen.
    pub(super) fn choose(&mut self, at: usize, choice: Choice) {
        if let Some(routed) = &mut self.routed {
            routed.chosen = Some((at, choice));
        }
    }

    /// Notes that a replica is asked. Returns which attempt it is.
    pub(super) fn attempt(&mut self, replica: usize, is_hedge: bool, at: Instant) -> usize {
        self.attempt_count += 1;
        if self.attempts.len() < ATTEMPTS_MAX {
            let after = at - self.begun;
            let (took, queued_ms, outcome) = (Duration::ZERO, 0, Outcome::Open);
            self.attempts.push(Attempted { replica, is_hedge, after, took, queued_ms, outcome });
        }
        self.attempt_count as usize - 1
    }

    /// Notes what came of an attempt.
    pub(super) fn outcome(&mut self, attempt: usize, took: Duration, queued_ms: u64, outcome: Outcome) {
        if let Some(attempted) = self.attempts.get_mut(attempt) {
            (attempted.took, attempted.queued_ms, attempted.outcome) = (took, queued_ms, outcome);
        }
    }

    /// Notes that what is still under way is not waited for.
    pub(super) fn outrun(&mut self) {
        let since = self.begun.elapsed();
        for open in self.attempts.iter_mut().filter(|attempted| attempted.outcome == Outcome::Open) {
            open.outcome = Outcome::Outrun;
            open.took = since.saturating_sub(open.after);
        }
    }

    /// Returns which replicas have the request, and for how long.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = (usize, Duration)> {
        let since = self.begun.elapsed();
        let open = self.attempts.iter().filter(|attempted| attempted.outcome == Outcome::Open);
        open.map(move |attempted| (attempted.replica, since.saturating_sub(attempted.after)))
    }

    /// Notes why the mesh answers itself.
    pub(super) fn turn(&mut self, turned: impl Into<Turned>) {
        self.turned = Some(turned.into());
    }

    /// Returns the deployment that was chosen, by position.
    pub(super) fn deployment(&self) -> Option<(&Endpoint, usize)> {
        let routed = self.routed.as_ref()?;
        Some((&*routed.endpoint, routed.chosen?.0))
    }

    /// Says what a gRPC call is counted as whose end had to be heard. Nothing where that was said at the head.
    fn at_its_end(&self) -> Option<u16> {
        if self.counts_as.is_some() || self.head.is_none() {
            return None;
        }
        Some(match (self.grpc_status, self.end) {
            (Some(said), _) => said.http_status(),
            (None, End::Whole) => GrpcStatus::UNKNOWN.http_status(),
            (None, End::Broken) => Refusal::Upstream.http_status(false),
            (None, End::Cut | End::Slow | End::Left) => GrpcStatus::CANCELLED.http_status(),
        })
    }

    /// Returns why the mesh answered itself.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.turned.map(|turned| turned.refusal)
    }
}

// === impl Recording ===

impl Recording {
    /// Begins the record that `open` makes; none is made where nothing is recorded.
    pub(super) fn new(core: &Rc<Core>, open: impl FnOnce() -> Box<Record>) -> Self {
        Self { core: core.clone(), record: core.shared.options.telemetry.then(open) }
    }

    /// Notes that a replica is asked. Returns which attempt it is.
    pub(super) fn attempt(&mut self, replica: usize, is_hedge: bool, at: Instant) -> usize {
        self.record.as_mut().map_or(0, |record| record.attempt(replica, is_hedge, at))
    }

    /// Writes on it.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }

    /// Returns how long the last attempt waited for a slot.
    pub(super) fn queued_ms(&self) -> u64 {
        self.record.as_ref().and_then(|record| record.attempts.last()).map_or(0, |last| last.queued_ms)
    }

    /// Returns how many replicas were asked; nothing where nothing is recorded.
    pub(super) fn attempts(&self) -> Option<u32> {
        self.record.as_ref().map(|record| record.attempt_count)
    }

    /// Counts bytes of the answer.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.note(|record| record.response_bytes += bytes as u64);
    }

    /// Notes what a gRPC call says at its end.
    pub(super) fn ended_with(&mut self, trailers: &HeaderMap) {
        self.note(|record| {
            let said = trailers.get(headers::GRPC_STATUS).filter(|_| record.counts_as.is_none());
            if let Some(said) = said {
                record.grpc_status = Some(GrpcStatus::parse(said.as_bytes()));
            }
        });
    }

    /// Closes it.
    pub(super) fn close(&mut self, end: End) {
        let Some(mut record) = self.record.take() else { return };
        record.total = record.begun.elapsed();
        record.end = end;
        let shared = &self.core.shared;
        let at_its_end = record.at_its_end();
        record.counts_as = record.counts_as.or(at_its_end);
        if let Some((endpoint, at)) = record.deployment() {
            let stats = endpoint.deployments[at].stats.of(self.core.index);
            if let Some(status) = at_its_end {
                stats.answer(status);
            }
            stats.closed(&record);
        }
        if let Some(spans) = &shared.spans {
            spans.close(&record);
        }
        if let Some(log) = &shared.access_log {
            log.write(self.core.index, &record);
        }
        shared.recent[self.core.index].push(record);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let has_head = self.record.as_ref().is_some_and(|record| record.head.is_some());
        self.close(if has_head { End::Cut } else { End::Left });
    }
}

// === impl End ===

impl End {
    /// Returns the word for people and logs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Cut | Self::Broken => "cut",
            Self::Slow => "slow",
            Self::Left => "left",
        }
    }
}

// === impl Recent ===

impl Default for Recent {
    fn default() -> Self {
        Self(Mutex::new(Ring { records: Vec::with_capacity(KEPT_PER_CORE), next: 0 }))
    }
}

impl Recent {
    fn push(&self, record: Box<Record>) {
        let oldest = self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        // Freed outside the lock: it may be the last to hold an old version of its endpoint.
        drop(oldest);
    }

    /// Reads the newest record of an id, the mesh's or the caller's own.
    pub(super) fn find<T>(&self, id: &str, read: impl FnOnce(&Record) -> T) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |record: &&Record| record.words.id() == id || record.words.client_id() == id;
        kept.newest_first().find(named).filter(|_| !id.is_empty()).map(read)
    }
}

// === impl Ring ===

impl Ring {
    /// Puts a record in the place of the oldest, which it returns.
    fn push(&mut self, record: Box<Record>) -> Option<Box<Record>> {
        if self.records.len() < KEPT_PER_CORE {
            self.records.push(record);
            return None;
        }
        let oldest = std::mem::replace(&mut self.records[self.next], record);
        self.next = (self.next + 1) % KEPT_PER_CORE;
        Some(oldest)
    }

    fn newest_first(&self) -> impl Iterator<Item = &Record> {
        let (newer, older) = self.records.split_at(self.next);
        newer.iter().rev().chain(older.iter().rev()).map(|record| &**record)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn record(id: &str) -> Box<Record> {
        let (parts, ()) = Request::get("/").body(()).unwrap().into_parts();
        Record::open(Instant::now(), &parts, &id.parse().unwrap(), None)
    }

    #[test]
    fn a_record_has_the_words_of_its_caller() {
        for (uri, agent, client_id) in [
            ("/e/fraud/score?key=1", "curl/8", Some("mine")),
            ("/", "", None),
            (&*format!("/{}?q", "long".repeat(WORDS_INLINE)), "one", Some("two")),
        ] {
            let request = Request::get(uri).header("user-agent", agent).body(()).unwrap();
            let (parts, ()) = request.into_parts();
            let client = client_id.map(HeaderValue::from_static);
            let words = Record::open(Instant::now(), &parts, &"ours".parse().unwrap(), client.as_ref()).words;
            assert_eq!((words.id(), words.client_id()), ("ours", client_id.unwrap_or_default()));
            assert_eq!((words.path_and_query(), words.user_agent()), (uri, agent));
            assert_eq!(words.path(), uri.split('?').next().unwrap());
        }
        let request = Request::connect("host:1").header("user-agent", HeaderValue::from_bytes(b"\xff").unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let words = Record::open(Instant::now(), &parts, &"ours".parse().unwrap(), None).words;
        assert_eq!((words.path(), words.user_agent()), ("", ""), "neither a path nor text");
    }

    /// Those that were kept twice around: the newest of an id is found, whoever lies before it.
    #[test]
    fn the_newest_of_an_id_is_found() {
        let recent = Recent::default();
        for at in 0..2 * KEPT_PER_CORE + 3 {
            let mut record = record(if at % 2 == 0 { "even" } else { "odd" });
            record.request_bytes = at as u64;
            recent.push(record);
        }
        let last = 2 * KEPT_PER_CORE as u64 + 2;
        assert_eq!(recent.find("even", |record| record.request_bytes), Some(last));
        assert_eq!(recent.find("odd", |record| record.request_bytes), Some(last - 1));
        assert_eq!(recent.find("", |_| ()), None, "nobody has no id");
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let recent = Recent::default();
        recent.push(record("first"));
        for _ in 1..KEPT_PER_CORE {
            recent.push(record("other"));
        }
        assert!(recent.find("first", |_| ()).is_some());
        recent.push(record("last"));
        assert_eq!(recent.find("first", |_| ()), None);
        assert!(recent.find("last", |_| ()).is_some());
    }

    #[test]
    fn attempts_without_end_are_counted_and_not_kept() {
        let mut record = record("many");
        for at in 0..ATTEMPTS_MAX + 3 {
            let attempt = record.attempt(at, false, Instant::now());
            record.outcome(attempt, Duration::ZERO, 0, Outcome::Failed(Failure::Broken));
        }
        assert_eq!((record.attempts.len(), record.attempt_count as usize), (ATTEMPTS_MAX, ATTEMPTS_MAX + 3));
        assert!(record.attempts.iter().all(|attempt| attempt.outcome == Outcome::Failed(Failure::Broken)));
    }
}
