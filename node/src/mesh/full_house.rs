//! Callers for whose connections a core has no place: told so in their own protocol, instead of waiting for a word.
//!
//! Nothing is kept of them but a task that writes some bytes and reads what is under way, a few at once. Over TLS the agreement
//! on keys would cost more than a request: those are closed.

use std::{rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::worker::{Core, speaks_http2};

/// Callers that are told at once, per core; the others wait in the backlog for one of them to be done.
pub(super) const AT_ONCE: usize = 64;

/// How long one of them may take, to say what it speaks and to read its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// This node's capacity, and not the caller's share: so 503 and not 429.
const HTTP1: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nx-berth-error: E_NOT_READY\r\nx-berth-reason: \
    connections\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Empty SETTINGS, and a GOAWAY that no stream was looked at: all of them may be sent elsewhere (RFC 9113 §6.8).
const HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
const _: () = assert!(HTTP2.len() == 9 + 17, "two heads, and eight bytes of GOAWAY");

/// Tells a caller that there is no place, and closes.
pub(super) fn refuse(core: Rc<Core>, mut stream: TcpStream) {
    if core.shared.tls.is_some() {
        return;
    }
    core.refusing.set(core.refusing.get() + 1);
    tokio::task::spawn_local(async move {
        let told = async {
            let word = if speaks_http2(&stream).await? { HTTP2 } else { HTTP1 };
            stream.write_all(word).await?;
            stream.shutdown().await?;
            // What is unread when a socket is closed takes the answer with it.
            let mut rest = [0; 4 << 10];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let _ = tokio::time::timeout(PATIENCE, told).await;
        core.refusing.set(core.refusing.get() - 1);
        core.closed.notify_one();
    });
}
