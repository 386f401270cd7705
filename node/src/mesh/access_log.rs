//! The access log: a line of JSON per request, in the words of Azure's `AmlOnlineEndpointTrafficLog`.
//!
//! Each core writes its lines into a buffer of its own, and one thread takes all buffers to the disk together, a tenth of a
//! second after the first line: waking a thread for a line costs more than the line. Requests never wait for it; what finds
//! no room is lost and counted. Lines of one core are in the order in which their requests ended, those of two cores are
//! not. The file is rotated by size, so that a disk is never filled.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use berth_core::{model::AuthMode, traffic::status::GrpcStatus};
use chrono::{DateTime, Utc};
use http::{HeaderValue, StatusCode, Version};
use serde::Serialize;

use super::{
    options::AccessLogOptions,
    record::{Attempted, Record},
    replay::Lost,
};
use crate::process::RowFile;

/// Bytes of lines that wait on one core; beyond it lines are lost. At 20 000 requests a second, a third of one.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// From so many bytes on the thread is woken before its time.
const URGENT_BYTES: usize = 512 << 10;

/// How long lines wait for others. Whoever reads the file as it grows does not notice.
const GATHER: Duration = Duration::from_millis(100);

/// Bytes handed to the disk at once.
const BATCH_BYTES: usize = 64 << 10;

/// How long the end waits for the last lines: a disk that takes none must not keep a process.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Azure cuts a user agent here.
const USER_AGENT_MAX: usize = 70;

/// Takes lines.
pub(super) struct AccessLog(Arc<Waiting>);

/// Lines on their way to the disk.
struct Waiting {
    cores: Box<[Mutex<Buffer>]>,
    wants: Mutex<Wants>,
    woken: Condvar,
    lost: AtomicU64,
}

/// What one core has written.
#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    stamp: Stamp,
}

/// What the thread is wanted for.
#[derive(Default)]
struct Wants {
    /// There are lines.
    some: bool,
    /// There are many.
    urgent: bool,
    /// There will be no more.
    closed: bool,
    /// All of them were taken.
    done: bool,
}

/// The time of day as text. Most of it stays for a second.
#[derive(Default)]
struct Stamp {
    second: u64,
    text: String,
}

/// A line. The first names are Azure's; those behind `Replica` are ours. What has no counterpart here is there and empty, or
/// zero, so that a query that names it does not fail.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    time_generated: &'a str,
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
    model_status_code: u16,
    model_status_reason: &'static str,
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
    auth_type: &'static str,
    /// A key names nobody.
    identity_data: &'static str,
    replica: &'a str,
    attempts: u32,
    queue_ms: u64,
    table_version: &'a str,
    end: &'static str,
    /// Empty where it could have been sent again.
    replay: &'static str,
    /// Nothing where the answer is no gRPC call's.
    grpc_status: Option<u8>,
}

// === impl AccessLog ===

impl AccessLog {
    pub(super) fn open(options: &AccessLogOptions, cores: usize) -> io::Result<Self> {
        let file = RowFile::open(&options.path, options.max_bytes, options.files)?;
        let batch = usize::try_from(options.max_bytes).unwrap_or(BATCH_BYTES).min(BATCH_BYTES);
        let waiting = Arc::new(Waiting {
            cores: (0..cores).map(|_| Mutex::default()).collect(),
            wants: Mutex::default(),
            woken: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let taken = waiting.clone();
        thread::Builder::new().name("mesh-access-log".into()).spawn(move || taken.write_all(file, batch))?;
        Ok(Self(waiting))
    }

    /// Writes a record down.
    pub(super) fn write(&self, core: usize, record: &Record) {
        let taken = {
            let mut buffer = self.0.buffer(core);
            let before = buffer.lines.len();
            buffer.add(record, SystemTime::now()).then(|| (before, buffer.lines.len()))
        };
        match taken {
            None => {
                self.0.lost.fetch_add(1, Relaxed);
            }
            Some((before, after)) => {
                let urgent = before < URGENT_BYTES && after >= URGENT_BYTES;
                if before == 0 || urgent {
                    self.0.want(|wants| (wants.some, wants.urgent) = (true, wants.urgent || urgent));
                }
            }
        }
    }

    /// Returns how many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }

    /// Waits until the last lines are written, but not for ever. Nothing is written behind them.
    pub(super) fn close(&self) {
        self.0.want(|wants| wants.closed = true);
        let ended = self.0.woken.wait_timeout_while(self.0.wants(), LAST_LINES, |wants| !wants.done);
        if ended.is_ok_and(|(_, late)| late.timed_out()) {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.0.want(|wants| wants.closed = true);
    }
}

// === impl Waiting ===

impl Waiting {
    fn buffer(&self, core: usize) -> MutexGuard<'_, Buffer> {
        self.cores[core].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, change: impl FnOnce(&mut Wants)) {
        change(&mut self.wants());
        self.woken.notify_all();
    }

    /// Waits until lines should be taken. False when these are the last.
    fn gather(&self) -> bool {
        let wait = |wants| self.woken.wait_while(wants, |wants: &mut Wants| !wants.some && !wants.closed);
        let wants = wait(self.wants()).unwrap_or_else(PoisonError::into_inner);
        let gathered = self.woken.wait_timeout_while(wants, GATHER, |wants| !wants.urgent && !wants.closed);
        let mut wants = gathered.unwrap_or_else(PoisonError::into_inner).0;
        // Before the buffers are looked at: a line behind that says so again.
        (wants.some, wants.urgent) = (false, false);
        !wants.closed
    }

    /// Takes lines to the disk until there will be no more.
    fn write_all(&self, mut file: impl io::Write, batch: usize) {
        let (mut well, mut goes_on, mut lines) = (true, true, Vec::new());
        while goes_on {
            goes_on = self.gather();
            for core in 0..self.cores.len() {
                // What was written last time is where the core writes next.
                std::mem::swap(&mut self.buffer(core).lines, &mut lines);
                let lost = batches(&lines, batch).map(|batch| {
                    let written = file.write_all(batch).and_then(|()| file.flush());
                    // Once, not per line: the disk that is full may hold this process's own log too.
                    if let Err(error) = &written
                        && well
                    {
                        tracing::warn!(%error, "the access log cannot be written");
                    }
                    well = written.is_ok();
                    if well { 0 } else { batch.iter().filter(|byte| **byte == b'\n').count() as u64 }
                });
                self.lost.fetch_add(lost.sum(), Relaxed);
                lines.clear();
            }
        }
        self.want(|wants| wants.done = true);
    }
}

/// Divides lines into pieces of whole ones, of so many bytes at most unless one line has more.
fn batches(mut lines: &[u8], bytes: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let within = lines.get(..bytes).unwrap_or(lines);
        let end = within.iter().rposition(|byte| *byte == b'\n');
        let end = end.or_else(|| lines.iter().position(|byte| *byte == b'\n'))?;
        let (batch, rest) = lines.split_at(end + 1);
        lines = rest;
        Some(batch)
    })
}

// === impl Buffer ===

impl Buffer {
    /// Adds a line; false when there is no room for it.
    fn add(&mut self, record: &Record, now: SystemTime) -> bool {
        if self.lines.len() >= WAITING_BYTES_MAX {
            return false;
        }
        let before = self.lines.len();
        let begun = now.checked_sub(record.total).unwrap_or(now);
        let is_whole = serde_json::to_writer(&mut self.lines, &line(record, self.stamp.of(begun))).is_ok();
        match is_whole {
            true => self.lines.push(b'\n'),
            false => self.lines.truncate(before),
        }
        is_whole
    }
}

// === impl Stamp ===

impl Stamp {
    /// Writes a time of day as RFC 3339 has it, with milliseconds.
    fn of(&mut self, at: SystemTime) -> &str {
        const MILLIS: usize = "2026-11-22T01:33:54.".len();
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.text.is_empty() || since.as_secs() != self.second {
            self.second = since.as_secs();
            self.text = DateTime::<Utc>::from(at).format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        self.text.truncate(MILLIS);
        let ms = since.subsec_millis();
        let digit = |of: u32| char::from(b'0' + (ms / of % 10) as u8);
        self.text.extend([digit(100), digit(10), digit(1), 'Z']);
        &self.text
    }
}

fn line<'a>(record: &'a Record, time_generated: &'a str) -> Line<'a> {
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
    // Callers see the model's own status wherever theirs is no other one.
    let model_status = record.model_status.or(record.answered_by.map(|_| record.status));
    let reason = record.refusal().map(|refusal| refusal.code().word());
    Line {
        time_generated,
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
        model_status_code: model_status.unwrap_or_default(),
        model_status_reason: model_status.map(phrase).unwrap_or_default(),
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
        auth_type: match &record.routed {
            Some(routed) if routed.endpoint.route.auth_mode == AuthMode::Key => "Key",
            _ => "",
        },
        identity_data: "",
        replica: replica.unwrap_or_default(),
        attempts: record.attempt_count,
        queue_ms: last.map_or(0, |last| last.queued_ms),
        table_version: record.routed.as_ref().map_or("", |routed| text(Some(&routed.table))),
        end: record.end.word(),
        replay: record.lost.map_or("", Lost::word),
        grpc_status: record.grpc_status.map(GrpcStatus::number),
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

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However far apart two times are, each is written as a library writes it.
        #[test]
        fn a_time_is_written_as_the_standard_has_it(times in prop::collection::vec(0..4_102_444_800_000_u64, 1..4), near: u16) {
            let mut stamp = Stamp::default();
            for ms in times.iter().flat_map(|ms| [*ms, ms + u64::from(near)]) {
                let at = UNIX_EPOCH + Duration::from_millis(ms);
                let expected = DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true);
                prop_assert_eq!(stamp.of(at), expected);
            }
        }

        /// Pieces of whole lines, all of them, none longer than it may be unless it is one line.
        #[test]
        fn batches_are_whole_lines(lines in prop::collection::vec("[a-z]{0,9}\n", 0..20), bytes in 1..40_usize) {
            let all = lines.concat();
            let found: Vec<_> = batches(all.as_bytes(), bytes).collect();
            prop_assert_eq!(found.concat(), all.as_bytes());
            for batch in found {
                let count = batch.iter().filter(|byte| **byte == b'\n').count();
                prop_assert!(batch.ends_with(b"\n") && (batch.len() <= bytes || count == 1));
            }
        }
    }

    /// A disk that is full.
    struct Full;

    impl io::Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_disk_does_not_take_is_counted() {
        let waiting = Waiting {
            cores: (0..2).map(|_| Mutex::default()).collect(),
            wants: Mutex::new(Wants { closed: true, ..Wants::default() }),
            woken: Condvar::new(),
            lost: AtomicU64::new(0),
        };
        waiting.buffer(0).lines.extend(b"one\ntwo\n");
        waiting.buffer(1).lines.extend(b"three\n");
        waiting.write_all(Full, 5);
        assert_eq!(waiting.lost.load(Relaxed), 3);
        assert!(waiting.wants().done && waiting.buffer(0).lines.is_empty());
    }
}
