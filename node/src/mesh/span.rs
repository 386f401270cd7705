//! Spans: what a record says of a request, for whoever collects traces.
//!
//! A span is made from the record of a request when that is closed, so tracing adds nothing to the path of a request but
//! one header. Spans are handed over without waiting; what finds no room is lost and counted.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use berth_core::traffic::{status::GrpcStatus, trace::Entered};
use http::HeaderValue;
use tokio::sync::mpsc;

use super::{
    access_log::protocol,
    record::{Outcome, Record},
    report,
};

/// Where spans go.
#[derive(Clone, Debug)]
pub struct SpanOptions {
    /// Takes them; bounded, and never waited for.
    pub sink: mpsc::Sender<Span>,
    /// How many of [`berth_core::traffic::trace::SHARE_OF`] traces that begin here are kept.
    pub share: u32,
}

/// One request, as its ingress saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace, the span and its parent.
    pub entered: Entered,
    /// When the request's head was read.
    pub begun: SystemTime,
    /// To the last byte of the answer.
    pub took: Duration,
    /// The request's id, as in every log.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The path without its query, which may hold anything.
    pub path: String,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'static str,
    /// The endpoint; empty when none was found.
    pub endpoint: String,
    /// The deployment; empty when none was chosen.
    pub deployment: String,
    /// What the caller saw; 0 when it left before.
    pub status: u16,
    /// The model's own status, where that was another one.
    pub model_status: Option<u16>,
    /// How a gRPC call went.
    pub grpc_status: Option<GrpcStatus>,
    /// The code of the refusal, when the mesh answered itself.
    pub refusal: &'static str,
    /// `whole`, `cut` or `left`.
    pub end: &'static str,
    /// Bytes of the bodies.
    pub request_bytes: u64,
    /// Bytes of the bodies.
    pub response_bytes: u64,
    /// Every replica that was asked, as far as they were written down.
    pub attempts: Vec<AttemptSpan>,
}

/// One replica that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptSpan {
    /// The replica.
    pub replica: String,
    /// Since the beginning of the request.
    pub after: Duration,
    /// Until the head of its answer, or until it failed.
    pub took: Duration,
    /// How long it waited at the gate.
    pub queued_ms: u64,
    /// What it answered; nothing when it did not.
    pub status: Option<u16>,
    /// Why it did not; empty when it did.
    pub failure: String,
}

/// Hands spans over.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) options: SpanOptions,
    lost: AtomicU64,
}

// === impl Spans ===

impl Spans {
    pub(super) fn new(options: SpanOptions) -> Self {
        Self { options, lost: AtomicU64::new(0) }
    }

    /// Hands the span of a record over, if it is one that is kept.
    pub(super) fn close(&self, record: &Record) {
        let Some(entered) = record.trace.filter(|entered| entered.context.sampled) else { return };
        // Nothing is built for a collector that does not keep up.
        let Ok(place) = self.options.sink.try_reserve() else {
            self.lost.fetch_add(1, Relaxed);
            return;
        };
        place.send(span(record, entered, SystemTime::now()));
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn span(record: &Record, entered: Entered, now: SystemTime) -> Span {
    let chosen = record.deployment();
    let endpoint = record.routed.as_ref().map(|routed| text(&routed.endpoint.name)).unwrap_or_default();
    let deployment = chosen.map(|(endpoint, at)| text(&endpoint.deployments[at].name)).unwrap_or_default();
    let replica = |at: usize| {
        let replica = chosen.and_then(|(endpoint, of)| endpoint.deployments[of].replicas.get(at));
        replica.map(|replica| text(&replica.id_text)).unwrap_or_default()
    };
    let attempts = record.attempts.iter().map(|attempt| {
        let (status, failure) = match attempt.outcome {
            Outcome::Answered(status) => (Some(status), String::new()),
            Outcome::Failed(failure) => (None, report::word(failure).to_owned()),
            Outcome::Open => (None, "open".to_owned()),
            Outcome::Outrun => (None, "outrun".to_owned()),
        };
        AttemptSpan {
            replica: replica(attempt.replica),
            after: attempt.after,
            took: if attempt.outcome == Outcome::Open {
                record.total.saturating_sub(attempt.after)
            } else {
                attempt.took
            },
            queued_ms: attempt.queued_ms,
            status,
            failure,
        }
    });
    Span {
        entered,
        begun: now.checked_sub(record.total).unwrap_or(now),
        took: record.total,
        request_id: record.words.id().to_owned(),
        method: record.method.to_string(),
        path: record.words.path().to_owned(),
        protocol: protocol(record.version),
        endpoint,
        deployment,
        status: record.status,
        model_status: record.model_status,
        grpc_status: record.grpc_status,
        refusal: record.refusal().map(|refusal| refusal.code().word()).unwrap_or_default(),
        end: record.end.word(),
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
        attempts: attempts.collect(),
    }
}

fn text(value: &HeaderValue) -> String {
    value.to_str().unwrap_or_default().to_owned()
}
