//! The access log: a line of JSON per request, in the words of Azure's `AmlOnlineEndpointTrafficLog`.
//!
//! Lines are handed to one thread that writes them; requests never wait for it. What it cannot take is lost and counted.
//! The file is rotated by size, so that a disk is never filled.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};
use http::{HeaderValue, StatusCode, Version};
use serde::Serialize;

use super::{
    options::AccessLogOptions,
    record::{Attempted, End, Record},
};

/// Lines on their way to the disk.
const WAITING_MAX: usize = 8_192;

/// Bytes handed to the disk at once.
const BATCH_BYTES: usize = 64 << 10;

/// Azure cuts a user agent here.
const USER_AGENT_MAX: usize = 70;

/// Takes lines.
pub(super) struct AccessLog {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

/// A line. The first names are Azure's; those behind `Replica` are ours. What has no counterpart here is there and empty, or
/// zero, so that a query that names it does not fail.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    time_generated: String,
    method: &'a str,
    path: &'a str,
    subscription_id: &'static str,
    #[serde(rename = "AzureMLWorkspaceId")]
    workspace_id: &'static str,
    #[serde(rename = "AzureMLWorkspaceName")]
    workspace_name: &'static str,
    endpoint_name: &'a str,
    deployment_name: &'a str,
    protocol: &'static str,
    response_code: u16,
    response_code_reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_status_reason: Option<&'static str>,
    request_payload_size: u64,
    response_payload_size: u64,
    user_agent: &'a str,
    #[serde(rename = "XRequestId")]
    request_id: &'a str,
    #[serde(rename = "XMSClientRequestId")]
    client_request_id: &'a str,
    total_duration_ms: f64,
    request_duration_ms: f64,
    response_duration_ms: f64,
    /// Nothing here slows a body down.
    request_throttling_delay_ms: u32,
    response_throttling_delay_ms: u32,
    replica: &'a str,
    attempts: u32,
    queue_ms: u64,
    table_version: &'a str,
    end: &'static str,
}

// === impl AccessLog ===

impl AccessLog {
    pub(super) fn open(options: &AccessLogOptions) -> io::Result<Self> {
        if let Some(folder) = options.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Found out now, not by the first request.
        std::fs::OpenOptions::new().create(true).append(true).open(&options.path)?;
        let file = rotated(&options.path, options.max_bytes, options.files);
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let losses = lost.clone();
        thread::Builder::new().name("mesh-access-log".into()).spawn(move || write(file, &waiting, &losses))?;
        Ok(Self { lines, lost })
    }

    /// Writes a record down.
    pub(super) fn write(&self, record: &Record) {
        let line = serde_json::to_string(&line(record, SystemTime::now()));
        let taken = line.ok().is_some_and(|line| self.lines.try_send(line).is_ok());
        if !taken {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Returns how many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn rotated(path: &Path, max_bytes: u64, files: usize) -> FileRotate<AppendCount> {
    let limit = ContentLimit::BytesSurpassed(usize::try_from(max_bytes).unwrap_or(usize::MAX));
    FileRotate::new(path, AppendCount::new(files), limit, Compression::None, None)
}

/// Writes until nobody hands in lines any more.
fn write(mut file: FileRotate<AppendCount>, waiting: &Receiver<String>, lost: &AtomicU64) {
    let mut well = true;
    while let Ok(first) = waiting.recv() {
        let (mut batch, mut lines) = (first + "\n", 1);
        while batch.len() < BATCH_BYTES
            && let Ok(line) = waiting.try_recv()
        {
            batch.push_str(&line);
            batch.push('\n');
            lines += 1;
        }
        match file.write_all(batch.as_bytes()).and_then(|()| file.flush()) {
            Ok(()) => well = true,
            Err(error) => {
                lost.fetch_add(lines, Relaxed);
                // Once, not per line: the disk that is full may hold this process's own log too.
                if std::mem::take(&mut well) {
                    tracing::warn!(%error, "the access log cannot be written");
                }
            }
        }
    }
}

fn line(record: &Record, now: SystemTime) -> Line<'_> {
    let begun = now.checked_sub(record.total).unwrap_or(now);
    let head = record.head.unwrap_or(record.total);
    let (endpoint, deployment) = match (&record.routed, record.deployment()) {
        (_, Some((endpoint, at))) => (text(Some(&endpoint.name)), text(Some(&endpoint.deployments[at].name))),
        (Some(routed), None) => (text(Some(&routed.endpoint.name)), ""),
        (None, None) => ("", ""),
    };
    let answered = |attempt: &&Attempted| record.answered_by == Some(attempt.replica);
    let last = record.attempts.iter().rev().find(answered).or(record.attempts.last());
    let replica = record.deployment().zip(last).and_then(|((endpoint, at), last)| {
        let replica = endpoint.deployments[at].replicas.get(last.replica)?;
        Some(text(Some(&replica.id_text)))
    });
    let agent = record.words.user_agent();
    let reason = record.refusal().map(|refusal| refusal.code().word());
    Line {
        time_generated: DateTime::<Utc>::from(begun).to_rfc3339_opts(SecondsFormat::Millis, true),
        method: record.method.as_str(),
        path: record.words.path(),
        subscription_id: "",
        workspace_id: "",
        workspace_name: "",
        endpoint_name: endpoint,
        deployment_name: deployment,
        protocol: protocol(record.version),
        response_code: record.status,
        response_code_reason: reason.unwrap_or_else(|| phrase(record.status)),
        model_status_code: record.model_status,
        model_status_reason: record.model_status.map(phrase),
        request_payload_size: record.request_bytes,
        response_payload_size: record.response_bytes,
        user_agent: agent.get(..USER_AGENT_MAX).unwrap_or(agent),
        request_id: record.words.id(),
        client_request_id: record.words.client_id(),
        total_duration_ms: ms(record.total),
        request_duration_ms: ms(head),
        response_duration_ms: ms(record.total.saturating_sub(head)),
        request_throttling_delay_ms: 0,
        response_throttling_delay_ms: 0,
        replica: replica.unwrap_or_default(),
        attempts: record.attempt_count,
        queue_ms: last.map_or(0, |last| last.queued_ms),
        table_version: record.routed.as_ref().map_or("", |routed| text(Some(&routed.table))),
        end: match record.end {
            End::Whole => "whole",
            End::Cut => "cut",
            End::Left => "left",
        },
    }
}

/// Reads a header as text; nothing when it is none.
fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// Names a version of the protocol as access logs do.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Milliseconds with the microseconds behind the point.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}
