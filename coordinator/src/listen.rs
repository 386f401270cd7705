//! The listener over TLS: connections are handed on once keys are agreed on.
//!
//! Agreeing takes a caller's time, so it is done beside the ones that are served, by so many at once and within the deadline
//! of [`Server::accept`]. Where more come, the one that has taken longest gives way: who only opens connections keeps nobody out.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use berth_proto::tls::Server;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Callers that agree on keys at once. A fleet that comes back after an outage is through in some rounds.
const HANDSHAKES: usize = 1024;

/// Connections that wait to be taken over by the server, which does so at once.
const WAITING: usize = 64;

/// Pause after a connection could not be accepted: the host is out of something, and soon may not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection over TLS.
pub(crate) struct Secured(TlsStream<TcpStream>);

/// Accepts until nobody takes connections any more.
pub(crate) fn secured(listener: TcpListener, tls: Server) -> ReceiverStream<io::Result<Secured>> {
    let (agreed, taken) = mpsc::channel(WAITING);
    tokio::spawn(accept(listener, tls, agreed));
    ReceiverStream::new(taken)
}

async fn accept(listener: TcpListener, tls: Server, agreed: mpsc::Sender<io::Result<Secured>>) {
    let mut under_way = VecDeque::<AbortHandle>::new();
    loop {
        let next = tokio::select! {
            biased;
            () = agreed.closed() => return,
            next = listener.accept() => next,
        };
        match next {
            Ok((stream, _)) => {
                make_room(&mut under_way);
                let (tls, agreed) = (tls.clone(), agreed.clone());
                let task = tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let accepted = tokio::select! {
                        () = agreed.closed() => return,
                        accepted = tls.accept(stream) => accepted,
                    };
                    match accepted {
                        // Nobody takes it when the coordinator ends.
                        Ok((stream, _)) => drop(agreed.send(Ok(Secured(stream))).await),
                        Err(error) => tracing::debug!(%error, "a caller and this coordinator do not agree on TLS"),
                    }
                });
                under_way.push_back(task.abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ends the oldest where there is no place for one more.
fn make_room(under_way: &mut VecDeque<AbortHandle>) {
    if under_way.len() >= HANDSHAKES {
        under_way.retain(|task| !task.is_finished());
    }
    if under_way.len() >= HANDSHAKES
        && let Some(oldest) = under_way.pop_front()
    {
        oldest.abort();
    }
}

// === impl Secured ===

impl Connected for Secured {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.get_ref().0.connect_info()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_taken_longest_gives_way_and_who_is_done_has_no_place() {
        let silent: Vec<_> = (0..HANDSHAKES).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        let mut under_way: VecDeque<_> = silent.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        make_room(&mut under_way);
        assert_eq!(under_way.len(), HANDSHAKES - 1);
        let mut silent = silent.into_iter();
        let oldest = silent.next().expect("one").await;
        assert!(oldest.is_err_and(|ended| ended.is_cancelled()), "the oldest has ended");

        let next = silent.next().expect("another");
        next.abort();
        let _ = next.await;
        under_way.push_back(tokio::spawn(std::future::pending::<()>()).abort_handle());
        make_room(&mut under_way);
        assert_eq!(under_way.len(), HANDSHAKES - 1, "one was done");
        assert!(silent.all(|task| !task.is_finished()), "and nobody had to give way");
    }
}
