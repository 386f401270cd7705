//! Answers requests for the logs of replicas.

use std::path::Path;

use berth_core::{
    error::{Code, Error},
    id::ReplicaId,
};
use berth_proto::node::v1::{LogChunk, LogRequest, LogStream};

use crate::{
    identity::io_error,
    process::logs::{CHUNK_MAX, Chunk, Log},
    runtime::Layout,
};

/// Reads what was asked for. Blocking: to be called where that is allowed.
pub(super) fn answer(home: &Path, request: &LogRequest) -> LogChunk {
    match read(home, request) {
        Ok(chunk) => LogChunk {
            request: request.request,
            data: chunk.data.into(),
            next_offset: chunk.next_offset,
            error_code: String::new(),
            error: String::new(),
        },
        Err(error) => LogChunk {
            request: request.request,
            error_code: error.code.word().to_owned(),
            error: error.to_string(),
            ..LogChunk::default()
        },
    }
}

fn read(home: &Path, request: &LogRequest) -> Result<Chunk, Error> {
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
    let chunk = match request.tail_lines {
        0 => log.read(request.offset, max_bytes),
        lines => log.tail(lines),
    };
    chunk.map_err(|error| io_error("cannot read", &path, &error))
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
            max_bytes: 0,
        };
        let tail = answer(dir.path(), &ask(2, 0));
        assert_eq!((tail.request, &tail.data[..], tail.next_offset), (9, b"b\nc\n".as_slice(), 6));
        std::fs::write(layout.output(), "a\nb\nc\nd\n").unwrap();
        assert_eq!(&answer(dir.path(), &ask(0, 6)).data[..], b"d\n");
        let prepare = LogRequest { stream: LogStream::Prepare as i32, ..ask(5, 0) };
        assert_eq!(answer(dir.path(), &prepare).error_code, "", "nothing was prepared yet: empty, not missing");
        let unknown = LogRequest { replica: 2, ..ask(1, 0) };
        assert_eq!(answer(dir.path(), &unknown).error_code, "E_REPLICA_NOT_FOUND");
    }
}
