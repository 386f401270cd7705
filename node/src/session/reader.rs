//! Answers requests for the logs of replicas.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use berth_core::{
    error::{Code, Error},
    id::ReplicaId,
};
use berth_proto::node::v1::{LogChunk, LogRequest, LogStream, LogTime};

use crate::{
    identity::io_error,
    process::logs::{CHUNK_MAX, Log},
    runtime::Layout,
};

/// Reads what was asked for. Blocking: to be called where that is allowed.
pub(super) fn answer(home: &Path, request: &LogRequest) -> LogChunk {
    match read(home, request) {
        Ok(chunk) => LogChunk { request: request.request, ..chunk },
        Err(error) => LogChunk {
            request: request.request,
            error_code: error.code.word().to_owned(),
            error: error.to_string(),
            ..LogChunk::default()
        },
    }
}

fn read(home: &Path, request: &LogRequest) -> Result<LogChunk, Error> {
    let layout = Layout::new(home, ReplicaId(request.replica));
    let path = match LogStream::try_from(request.stream) {
        Ok(LogStream::Prepare) => layout.prepare(),
        Ok(LogStream::Output | LogStream::Unspecified) => layout.output(),
        Err(_) => return Err(Error::new(Code::Invalid, format!("there is no log stream {}", request.stream))),
    };
    if path.parent().is_none_or(|folder| !folder.exists()) {
        return Err(Error::new(
            Code::ReplicaNotFound,
            format!("this node has no log of replica {:016x}", request.replica),
        ));
    }
    let log = Log::new(path.clone());
    let max_bytes = if request.max_bytes == 0 { CHUNK_MAX } else { request.max_bytes };
    let read = || {
        let from = match since(request) {
            Some(at_ms) => log.since(at_ms)?,
            None => request.offset,
        };
        let chunk = match request.tail_lines {
            0 => log.read(from, max_bytes)?,
            lines => log.tail(lines, from)?,
        };
        let begin = chunk.next_offset - chunk.data.len() as u64;
        // What was read is shown where only its times cannot be told.
        let times = log.times(begin, chunk.next_offset).unwrap_or_default();
        let times = times.iter().map(|mark| LogTime { until: mark.until, at_ms: mark.at_ms }).collect();
        let (data, next_offset, end_offset) = (chunk.data.into(), chunk.next_offset, log.end()?);
        Ok(LogChunk { data, next_offset, end_offset, times, ..LogChunk::default() })
    };
    read().map_err(|error| io_error("cannot read", &path, &error))
}

/// Returns since when the lines are wanted. A span is counted by this node's clock, which the lines have their times from.
fn since(request: &LogRequest) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match (request.since_ms, request.within_ms) {
        (0, 0) => None,
        (0, within) => Some((now.as_millis() as u64).saturating_sub(within)),
        (at_ms, _) => Some(at_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_by_its_end_and_then_onwards() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), ReplicaId(1));
        layout.create().unwrap();
        std::fs::write(layout.output(), "a\nb\nc\n").unwrap();
        let ask = |tail_lines, offset| LogRequest {
            request: 9,
            replica: 1,
            stream: LogStream::Output as i32,
            tail_lines,
            offset,
            ..LogRequest::default()
        };
        let tail = answer(dir.path(), &ask(2, 0));
        assert_eq!((tail.request, &tail.data[..], tail.next_offset), (9, b"b\nc\n".as_slice(), 6));
        std::fs::write(layout.output(), "a\nb\nc\nd\n").unwrap();
        let next = answer(dir.path(), &ask(0, 6));
        assert_eq!((&next.data[..], next.end_offset), (b"d\n".as_slice(), 8));
        assert_eq!(next.times.iter().map(|time| time.until).collect::<Vec<_>>(), [2]);
        let hour = LogRequest { within_ms: 3_600_000, ..ask(0, 0) };
        assert_eq!(&answer(dir.path(), &hour).data[..], b"a\nb\nc\nd\n");
        assert_eq!(&answer(dir.path(), &LogRequest { tail_lines: 1, ..hour }).data[..], b"d\n");
        assert_eq!(&answer(dir.path(), &LogRequest { within_ms: u64::MAX, ..ask(0, 0) }).data.len(), &8);
        let ahead = LogRequest { since_ms: next.times[0].at_ms + 1, ..ask(0, 0) };
        assert_eq!(answer(dir.path(), &ahead).data.len(), 0);
        let prepare = LogRequest { stream: LogStream::Prepare as i32, ..ask(5, 0) };
        assert_eq!(answer(dir.path(), &prepare).error_code, "", "nothing was prepared yet: empty, not missing");
        let unknown = LogRequest { replica: 2, ..ask(1, 0) };
        assert_eq!(answer(dir.path(), &unknown).error_code, "E_REPLICA_NOT_FOUND");
    }
}
