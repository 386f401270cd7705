//! The comparator: hears the answers of primaries and mirrors and judges them on a thread of its own.
//!
//! The cores that serve callers only copy bytes that pass by, within a budget of the node; reading them as JSON or tensors
//! takes as long as it takes, elsewhere. What finds no room is counted as not judged.

use std::{
    borrow::Cow,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use berth_core::{
    id::LogIndex,
    traffic::compare::{
        self, Answer, Asked, Missed, Rules, Unjudged, Verdict,
        tally::{Basis, Noted, Outcome, Pair},
    },
};
use bytes::Bytes;
use http::{HeaderValue, header, response::Parts};
use http_body::Frame;
use tokio::sync::watch;

use super::{headers, options::Limits, routes::EndpointSoft};

/// Pairs of answers that may wait for the comparator.
const JOBS_MAX: usize = 1_024;

/// Times its packed size that an answer may have when it is unpacked.
const UNPACKED_MAX: usize = 8;

/// Bytes it may have then: what is unpacked to be compared lies in no budget.
const UNPACKED_BYTES_MAX: usize = 16 << 20;

/// An answer as far as it was kept.
pub(super) struct Heard {
    status: u16,
    grpc_status: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    encoding: Option<HeaderValue>,
    json_bytes: Option<usize>,
    body: Vec<u8>,
    bytes: u64,
    checksum: u32,
    took_us: u64,
    budget: Budget,
}

/// Where an answer goes that was heard to its end.
pub(super) type HeardBy = watch::Sender<Option<Arc<Heard>>>;

/// Hears an answer while it passes.
pub(super) struct Tap {
    heard: Heard,
    checksum: crc32fast::Hasher,
    /// Bytes that are kept in any case, and at most.
    keep: (usize, usize),
    to: HeardBy,
}

/// Bytes of answers that a node keeps.
#[derive(Clone)]
pub(super) struct Budget {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// What became of a copy, for whoever asks for its request: written once, read at any time.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<AtomicU8>);

/// Judges pairs of answers.
pub(super) struct Comparator {
    jobs: mpsc::SyncSender<Job>,
    budget: Budget,
    /// Bytes kept of an answer, and of one whose tensors travel as bytes.
    keep: (usize, usize),
}

/// What a copy is about.
pub(super) struct Copy {
    pub(super) soft: Arc<EndpointSoft>,
    pub(super) rules: Arc<Rules>,
    pub(super) asked: Asked,
    pub(super) pair: Pair,
    pub(super) basis: Basis,
    pub(super) revision: LogIndex,
    pub(super) request_id: HeaderValue,
    pub(super) told: Told,
}

struct Job {
    copy: Copy,
    primary: Arc<Heard>,
    mirror: Arc<Heard>,
}

// === impl Budget ===

impl Budget {
    /// Takes room, of half of what there is for one that `is_large`: a few of those leave room for many others.
    fn take(&self, bytes: usize, is_large: bool) -> bool {
        let max = if is_large { self.max / 2 } else { self.max };
        let room = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= max);
        self.taken.fetch_update(Relaxed, Relaxed, room).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

// === impl Heard ===

impl Heard {
    pub(super) fn took_us(&self) -> u64 {
        self.took_us
    }

    fn is_whole(&self) -> bool {
        self.body.len() as u64 == self.bytes
    }

    /// Undoes the packing of a body that was kept whole. True beside it when that is not done here.
    fn unpacked(&self) -> (Cow<'_, [u8]>, bool) {
        let encoding = self.encoding.as_ref().map_or("identity", |value| value.to_str().unwrap_or("other"));
        let body = self.body.as_slice();
        let unpacked = match encoding.to_ascii_lowercase().as_str() {
            "identity" | "" => return (Cow::Borrowed(body), false),
            _ if !self.is_whole() => None,
            "gzip" | "x-gzip" => unpack(flate2::read::MultiGzDecoder::new(body), body.len()),
            "deflate" => unpack(flate2::read::ZlibDecoder::new(body), body.len()),
            _ => None,
        };
        unpacked.map_or((Cow::Borrowed(body), true), |unpacked| (Cow::Owned(unpacked), false))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.budget.give_back(self.body.len());
    }
}

fn unpack(reader: impl std::io::Read, packed: usize) -> Option<Vec<u8>> {
    /// Small answers pack well.
    const FLOOR: usize = 64 << 10;
    let max = (packed * UNPACKED_MAX).clamp(FLOOR, UNPACKED_BYTES_MAX);
    let mut unpacked = Vec::new();
    reader.take(max as u64 + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() <= max).then_some(unpacked)
}

// === impl Tap ===

impl Tap {
    /// The whole answer has passed.
    pub(super) fn whole(mut self: Box<Self>) {
        self.heard.checksum = self.checksum.finalize();
        // Nobody may wait for it any more.
        self.to.send_replace(Some(Arc::new(self.heard)));
    }

    /// Hears the next part.
    pub(super) fn hear(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.checksum.update(data);
            let heard = &mut self.heard;
            let (small, keep_max) = self.keep;
            let length = heard.body.len() + data.len();
            if heard.is_whole() && length <= keep_max && heard.budget.take(data.len(), length > small) {
                heard.body.extend_from_slice(data);
            }
            heard.bytes += data.len() as u64;
        }
        if let Some(status) = frame.trailers_ref().and_then(|trailers| trailers.get(headers::GRPC_STATUS)) {
            self.heard.grpc_status = Some(status.clone());
        }
    }
}

// === impl Told ===

/// What is told of a copy whose answer was not compared.
const ANSWERED: &str = "answered";

impl Told {
    /// Every word, by its number. Zero stands for a copy that is under way.
    fn words() -> impl Iterator<Item = &'static str> {
        let unjudged = Unjudged::ALL.into_iter().map(Unjudged::word);
        let missed = Missed::ALL.into_iter().map(Missed::word);
        ["under-way", "match", "mismatch", ANSWERED].into_iter().chain(unjudged).chain(missed)
    }

    pub(super) fn word(&self) -> &'static str {
        Self::words().nth(self.0.load(Relaxed).into()).unwrap_or("under-way")
    }

    fn tell(&self, word: &str) {
        let at = Self::words().position(|known| known == word).and_then(|at| u8::try_from(at).ok());
        self.0.store(at.unwrap_or(0), Relaxed);
    }

    pub(super) fn answered(&self) {
        self.tell(ANSWERED);
    }
}

// === impl Copy ===

impl Copy {
    /// Notes that it brought no answer.
    pub(super) fn missed(self, why: Missed) {
        self.told.tell(why.word());
        self.note(Outcome::Missed(why));
    }

    fn unjudged(self, why: Unjudged, primary: Option<&Heard>, mirror: &Heard) {
        self.answered(Verdict::Unjudged(why), primary, mirror);
    }

    fn answered(self, verdict: Verdict, primary: Option<&Heard>, mirror: &Heard) {
        self.told.tell(match &verdict {
            Verdict::Match => "match",
            Verdict::Mismatch(_) => "mismatch",
            Verdict::Unjudged(why) => why.word(),
        });
        let primary_us = primary.map(Heard::took_us);
        self.note(Outcome::Answered { verdict, primary_us, mirror_us: mirror.took_us });
    }

    fn note(self, outcome: Outcome) {
        let Self { soft, pair, basis, revision, request_id, .. } = self;
        let request_id = request_id.to_str().unwrap_or_default().to_owned();
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as u64);
        soft.verdicts().note(Noted { pair, basis, revision, request_id, at_ms, outcome });
    }
}

// === impl Comparator ===

impl Comparator {
    /// Starts the thread; it ends with the comparator.
    pub(super) fn start(limits: &Limits) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel::<Job>(JOBS_MAX);
        thread::Builder::new().name("mesh-compare".to_owned()).spawn(move || {
            for job in waiting {
                job.judge();
            }
        })?;
        let budget = Budget { taken: Arc::default(), max: limits.compare_bytes_per_node };
        Ok(Self { jobs, budget, keep: (limits.compare_bytes, limits.compare_tensor_bytes) })
    }

    /// Begins to hear the answer to what was asked, whose head took so long.
    pub(super) fn tap(&self, asked: Asked, parts: &Parts, took_us: u64, to: HeardBy) -> Box<Tap> {
        let header = |name: &http::HeaderName| parts.headers.get(name).cloned();
        let json_bytes = headers::text(&parts.headers, &headers::INFERENCE_JSON_BYTES);
        let heard = Heard {
            status: parts.status.as_u16(),
            grpc_status: header(&headers::GRPC_STATUS),
            content_type: header(&header::CONTENT_TYPE),
            encoding: header(&header::CONTENT_ENCODING),
            json_bytes: json_bytes.and_then(|length| length.parse().ok()),
            body: Vec::new(),
            bytes: 0,
            checksum: 0,
            took_us,
            budget: self.budget.clone(),
        };
        let may_be_large = asked.may_be_bytes(heard.json_bytes.is_some());
        let keep = (self.keep.0, if may_be_large { self.keep.1 } else { self.keep.0 });
        Box::new(Tap { heard, checksum: crc32fast::Hasher::new(), keep, to })
    }

    /// Has two answers compared. Without the primary's there is nothing to compare.
    pub(super) fn compare(&self, copy: Copy, primary: Option<Arc<Heard>>, mirror: Arc<Heard>) {
        let Some(primary) = primary else { return copy.unjudged(Unjudged::NoPrimary, None, &mirror) };
        if let Err(mpsc::TrySendError::Full(job) | mpsc::TrySendError::Disconnected(job)) =
            self.jobs.try_send(Job { copy, primary, mirror })
        {
            job.copy.unjudged(Unjudged::Busy, Some(&job.primary), &job.mirror);
        }
    }
}

// === impl Job ===

impl Job {
    fn judge(self) {
        let Self { copy, primary, mirror } = self;
        let (expected, got) = (primary.unpacked(), mirror.unpacked());
        let verdict = compare::judge(&copy.rules, copy.asked, &answer(&primary, &expected), &answer(&mirror, &got));
        copy.answered(verdict, Some(&primary), &mirror);
    }
}

fn answer<'a>(heard: &'a Heard, (body, encoded): &'a (Cow<'_, [u8]>, bool)) -> Answer<'a> {
    let text = |value: &'a Option<HeaderValue>| value.as_ref().and_then(|value| value.to_str().ok());
    // What was unpacked has another length and another checksum.
    let unpacked = matches!(body, Cow::Owned(_));
    Answer {
        status: heard.status,
        grpc_status: text(&heard.grpc_status),
        content_type: text(&heard.content_type).unwrap_or_default(),
        json_bytes: heard.json_bytes,
        body,
        bytes: if unpacked { body.len() as u64 } else { heard.bytes },
        checksum: if unpacked { crc32fast::hash(body) } else { heard.checksum },
        encoded: *encoded,
    }
}
