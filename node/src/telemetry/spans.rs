//! Spans as OTLP has them: one for the request, and one below it for every replica that was asked.

use std::time::SystemTime;

use berth_core::traffic::status::GrpcStatus;
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{Span as Wire, Status, span::SpanKind, status::StatusCode},
};

use super::{attribute, nanos};
use crate::mesh::{AttemptSpan, Span};

/// The flag of a trace that is kept (W3C Trace Context §3.2.2.5).
const SAMPLED: u32 = 1;

/// Words a request's spans.
pub(super) fn wire(span: &Span) -> Vec<Wire> {
    let trace_id = span.entered.context.trace_id.to_be_bytes().to_vec();
    let own = span.entered.context.span_id;
    let mut attributes = vec![
        attribute("http.request.method", span.method.as_str()),
        attribute("url.path", span.path.as_str()),
        attribute("network.protocol.name", span.protocol),
        attribute("http.response.status_code", u64::from(span.status)),
        attribute("http.request.body.size", span.request_bytes),
        attribute("http.response.body.size", span.response_bytes),
        attribute("berth.request_id", span.request_id.as_str()),
        attribute("berth.end", span.end),
    ];
    let named = [
        ("berth.endpoint", span.endpoint.as_str()),
        ("berth.deployment", &span.deployment),
        ("error.type", span.refusal),
    ];
    attributes.extend(named.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| attribute(key, *value)));
    attributes.extend(span.model_status.map(|status| attribute("berth.model_status", u64::from(status))));
    if let Some(said) = span.grpc_status {
        attributes
            .extend([attribute("rpc.system", "grpc"), attribute("rpc.grpc.status_code", u64::from(said.number()))]);
    }
    let name =
        if span.endpoint.is_empty() { span.method.clone() } else { format!("{} {}", span.method, span.endpoint) };
    let blamed = span.grpc_status.is_some_and(GrpcStatus::is_servers_error);
    let failed = span.status >= 500 || blamed || span.end == "cut";
    let request = Wire {
        trace_id: trace_id.clone(),
        span_id: own.to_be_bytes().to_vec(),
        parent_span_id: span.entered.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(span.begun),
        end_time_unix_nano: nanos(span.begun + span.took),
        attributes,
        status: failed.then(|| status(span.refusal)),
        ..Wire::default()
    };
    let mut spans = vec![request];
    spans.extend(span.attempts.iter().enumerate().map(|(at, attempt)| {
        let begun = span.begun + attempt.after;
        Wire {
            trace_id: trace_id.clone(),
            // Unique within the trace as the request's own id is, and never zero.
            span_id: own.wrapping_add(at as u64 + 1).max(1).to_be_bytes().to_vec(),
            parent_span_id: own.to_be_bytes().to_vec(),
            flags: SAMPLED,
            name: "ask replica".to_owned(),
            kind: SpanKind::Client.into(),
            ..asked(attempt, begun)
        }
    }));
    spans
}

fn asked(attempt: &AttemptSpan, begun: SystemTime) -> Wire {
    let mut attributes: Vec<KeyValue> =
        vec![attribute("berth.replica", attempt.replica.as_str()), attribute("berth.queue_ms", attempt.queued_ms)];
    attributes.extend(attempt.status.map(|status| attribute("http.response.status_code", u64::from(status))));
    if !attempt.failure.is_empty() {
        attributes.push(attribute("error.type", attempt.failure.as_str()));
    }
    let failed = attempt.status.is_none_or(|status| status >= 500);
    Wire {
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(begun + attempt.took),
        attributes,
        status: failed.then(|| status(&attempt.failure)),
        ..Wire::default()
    }
}

fn status(message: &str) -> Status {
    Status { message: message.to_owned(), code: StatusCode::Error.into() }
}
