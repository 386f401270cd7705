//! What became of a request: a record that is written while it is served and closed with the last byte of its answer.
//!
//! The newest of every core are kept for whoever asks what happened to one, each becomes a line of the access log where
//! that is on, and its time goes into the deployment's histogram. A record holds positions and shared values, never
//! copies of names, and nothing of a body: keeping one costs a fraction of a microsecond.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::traffic::{balance::Load, retry::Failure, search::Turned, status::Refusal, trace::Entered};
use http::{HeaderValue, Method, Version, header, request::Parts, uri};
use tokio::time::Instant;

use super::{mirror::Mirrored, routes::Endpoint, worker::Core};

/// Records kept per core. At a thousand requests a second that is four seconds, and most who ask have the id of a
/// request that failed a moment ago; a record is some 600 bytes.
pub(super) const KEPT_PER_CORE: usize = 4_096;

/// Attempts written down one by one; more are only counted.
const ATTEMPTS_MAX: usize = 16;

/// One request, as the ingress that took it saw it.
pub(super) struct Record {
    pub(super) id: HeaderValue,
    pub(super) client_id: Option<HeaderValue>,
    pub(super) begun: Instant,
    pub(super) method: Method,
    pub(super) path: Option<uri::PathAndQuery>,
    pub(super) version: Version,
    pub(super) user_agent: Option<HeaderValue>,
    /// Nothing when no endpoint was found.
    pub(super) routed: Option<RoutedTo>,
    /// The replica whose answer was taken, by position.
    pub(super) answered_by: Option<usize>,
    /// The two replicas that were drawn, the one to ask first at the front.
    pub(super) drawn: [Option<Weighed>; 2],
    /// How many could have been drawn.
    pub(super) candidates: usize,
    pub(super) attempts: Vec<Attempted>,
    /// All of them, those beyond [`ATTEMPTS_MAX`] too.
    pub(super) attempt_count: u32,
    /// The deployments that were to get a copy, and what became of it.
    pub(super) mirrors: Vec<Mirrored>,
    /// What the caller saw; 0 until the head of the answer.
    pub(super) status: u16,
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
    /// Its own span, where spans are kept.
    pub(super) trace: Option<Entered>,
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
    /// In the middle of its answer: the replica broke off or the caller left.
    Cut,
    /// The caller left before an answer.
    Left,
}

/// A record that is still written. It is closed when this goes away, whatever the reason.
pub(super) struct Recording {
    core: Rc<Core>,
    record: Option<Box<Record>>,
}

/// The newest records of a core.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<Box<Record>>>);

// === impl Record ===

impl Record {
    pub(super) fn open(begun: Instant, parts: &Parts, id: &HeaderValue, client_id: Option<&HeaderValue>) -> Box<Self> {
        Box::new(Self {
            id: id.clone(),
            client_id: client_id.cloned(),
            begun,
            method: parts.method.clone(),
            path: parts.uri.path_and_query().cloned(),
            version: parts.version,
            user_agent: parts.headers.get(header::USER_AGENT).cloned(),
            routed: None,
            answered_by: None,
            drawn: [None, None],
            candidates: 0,
            attempts: Vec::new(),
            attempt_count: 0,
            mirrors: Vec::new(),
            status: 0,
            model_status: None,
            turned: None,
            request_bytes: 0,
            response_bytes: 0,
            head: None,
            total: Duration::ZERO,
            end: End::Left,
            trace: None,
        })
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

    /// Returns why the mesh answered itself.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.turned.map(|turned| turned.refusal)
    }
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(core: &Rc<Core>, record: Box<Record>) -> Self {
        Self { core: core.clone(), record: Some(record) }
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

    /// Returns how many replicas were asked.
    pub(super) fn attempts(&self) -> u32 {
        self.record.as_ref().map_or(0, |record| record.attempt_count)
    }

    /// Counts bytes of the answer.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.note(|record| record.response_bytes += bytes as u64);
    }

    /// Closes it.
    pub(super) fn close(&mut self, end: End) {
        let Some(mut record) = self.record.take() else { return };
        record.total = record.begun.elapsed();
        record.end = end;
        let shared = &self.core.shared;
        if let Some((endpoint, at)) = record.deployment() {
            endpoint.deployments[at].stats.of(self.core.index).closed(&record);
        }
        if let Some(spans) = &shared.spans {
            spans.close(&record);
        }
        if let Some(log) = &shared.access_log {
            log.write(&record);
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

// === impl Recent ===

impl Recent {
    fn push(&self, record: Box<Record>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if kept.len() == KEPT_PER_CORE { kept.pop_front() } else { None };
        kept.push_back(record);
        drop(kept);
        // Freed outside the lock: it may be the last to hold an old version of its endpoint.
        drop(oldest);
    }

    /// Reads the newest record of an id, the mesh's or the caller's own.
    pub(super) fn find<T>(&self, id: &[u8], read: impl FnOnce(&Record) -> T) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |record: &&Record| {
            record.id.as_bytes() == id || record.client_id.as_ref().is_some_and(|own| own.as_bytes() == id)
        };
        kept.iter().rev().map(|record| &**record).find(named).map(read)
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
    fn the_oldest_is_forgotten() {
        let recent = Recent::default();
        recent.push(record("first"));
        for _ in 1..KEPT_PER_CORE {
            recent.push(record("other"));
        }
        assert!(recent.find(b"first", |_| ()).is_some());
        recent.push(record("last"));
        assert_eq!(recent.find(b"first", |_| ()), None);
        assert!(recent.find(b"last", |_| ()).is_some());
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
