//! A connection of which only so much is read in one turn of its task.
//!
//! The library reads as long as anything is there, and some frames cost their sender next to nothing: pings, settings,
//! headers that are thrown away. Who writes them as fast as it can would keep a core from everybody else for as long as
//! what the kernel holds of it lasts.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    task::yield_now,
};

/// Bytes that are read in one turn: two frames of data of ordinary size, so that large bodies do not wait for each other
/// more than they have to, and no more than a millisecond's worth of the smallest frames.
const SHARE: usize = 32 << 10;

/// Lets others have their turns, and the loop look for what has come for them, when it has read its share.
pub(super) struct Share<S> {
    stream: S,
    /// Since it last had to wait.
    read: usize,
}

// === impl Share ===

impl<S> Share<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Share<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read >= SHARE {
            self.read = 0;
            return pin!(yield_now()).poll(cx).map(Ok);
        }
        let filled = buf.filled().len();
        let left = (SHARE - self.read) as u64;
        let polled = Pin::new(&mut (&mut self.stream).take(left)).poll_read(cx, buf);
        self.read = if polled.is_ready() { self.read + buf.filled().len() - filled } else { 0 };
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Share<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
