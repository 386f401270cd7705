//! What a daemon tells a collector: spans of requests and the numbers of `/metrics`, as OTLP over gRPC.
//!
//! Both are made elsewhere, spans from the records of requests and numbers by the registry of the daemon, so that there is
//! one source for each. This module only words them as OTLP has it. A collector that is slow or gone costs what does not fit
//! into a bounded queue, and nothing else: no request waits for it.

mod metrics;
mod spans;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::transport::{Channel, Endpoint};

use crate::mesh::Span;

/// Spans on their way to the collector: four seconds of two thousand requests, some MiB.
pub const SPANS_WAITING_MAX: usize = 8_192;
/// Spans in one message; the default of every collector takes several times as many bytes.
const BATCH_MAX: usize = 512;
/// How long a span may wait for company.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How often numbers are sent; what most collectors scrape with.
const METRICS_EVERY: Duration = Duration::from_secs(15);
/// How long a collector may take.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);

/// Who is speaking: the names are OpenTelemetry's.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// `berth-node`, `berth-coordinator`.
    pub service: &'static str,
    /// The node's name, or the coordinator's id.
    pub instance: String,
}

/// Sends until it is aborted. `text` reads the numbers as `/metrics` shows them.
pub fn start(
    collector: &Endpoint,
    speaker: Speaker,
    text: impl Fn() -> String + Send + 'static,
    spans: mpsc::Receiver<Span>,
) -> JoinHandle<()> {
    // Connects when there is something to say, and again when the collector was away.
    let channel = collector.clone().connect_timeout(EXPORT_WITHIN).connect_lazy();
    tokio::spawn(Exporter { channel, speaker, told: true, began: SystemTime::now() }.run(text, spans))
}

struct Exporter {
    channel: Channel,
    speaker: Speaker,
    /// Whether the collector took what it was sent last; a change is worth a line.
    told: bool,
    began: SystemTime,
}

// === impl Exporter ===

impl Exporter {
    async fn run(mut self, text: impl Fn() -> String + Send, mut spans: mpsc::Receiver<Span>) {
        let mut tick = interval(METRICS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                count = spans.recv_many(&mut batch, BATCH_MAX), if !spans.is_closed() || !spans.is_empty() => {
                    if count > 0 {
                        self.gather(&mut batch, &mut spans).await;
                        self.send_spans(std::mem::take(&mut batch)).await;
                    }
                }
                _ = tick.tick() => self.send_metrics(&text()).await,
            }
        }
    }

    /// Waits a moment for more spans: a message for each would be most of its own cost.
    async fn gather(&self, batch: &mut Vec<Span>, spans: &mut mpsc::Receiver<Span>) {
        let more = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if spans.recv_many(batch, room).await == 0 {
                    break;
                }
            }
        };
        // Whether it is full or time is up is the same.
        let _ = timeout(BATCH_WAIT, more).await;
    }

    async fn send_spans(&mut self, batch: Vec<Span>) {
        let count = batch.len();
        let scope = ScopeSpans {
            scope: Some(scope()),
            spans: batch.iter().flat_map(spans::wire).collect(),
            ..ScopeSpans::default()
        };
        let resource =
            ResourceSpans { resource: Some(self.resource()), scope_spans: vec![scope], ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
        let mut client = TraceServiceClient::new(self.channel.clone());
        let sent = timeout(EXPORT_WITHIN, client.export(request)).await;
        self.note(sent.map(|answer| answer.map(drop)), "spans", count);
    }

    async fn send_metrics(&mut self, text: &str) {
        let metrics = metrics::wire(text, nanos(self.began), nanos(SystemTime::now()));
        let count = metrics.len();
        let scope = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
        let resource = ResourceMetrics {
            resource: Some(self.resource()),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
        let mut client = MetricsServiceClient::new(self.channel.clone());
        let sent = timeout(EXPORT_WITHIN, client.export(request)).await;
        self.note(sent.map(|answer| answer.map(drop)), "metrics", count);
    }

    fn note(
        &mut self,
        sent: Result<Result<(), tonic::Status>, tokio::time::error::Elapsed>,
        what: &'static str,
        count: usize,
    ) {
        let error = match sent {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(status.message().to_owned()),
            Err(_) => Some(format!("no answer within {} s", EXPORT_WITHIN.as_secs())),
        };
        match (&error, self.told) {
            (Some(error), true) => tracing::warn!(%error, what, lost = count, "the collector takes nothing"),
            (Some(error), false) => tracing::debug!(%error, what, lost = count, "the collector takes nothing"),
            (None, false) => tracing::info!(what, "the collector takes everything again"),
            (None, true) => {}
        }
        self.told = error.is_none();
    }

    fn resource(&self) -> Resource {
        let attributes = vec![
            attribute("service.name", self.speaker.service),
            attribute("service.instance.id", self.speaker.instance.as_str()),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ];
        Resource { attributes, ..Resource::default() }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "berth".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A value as OTLP has it.
trait IntoValue {
    fn into_value(self) -> any_value::Value;
}

impl IntoValue for &str {
    fn into_value(self) -> any_value::Value {
        any_value::Value::StringValue(self.to_owned())
    }
}

impl IntoValue for u64 {
    fn into_value(self) -> any_value::Value {
        any_value::Value::IntValue(i64::try_from(self).unwrap_or(i64::MAX))
    }
}

fn attribute(key: &str, value: impl IntoValue) -> KeyValue {
    let value = AnyValue { value: Some(value.into_value()) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
