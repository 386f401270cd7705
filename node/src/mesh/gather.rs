//! What a connection writes in one turn, gathered into few writes.
//!
//! h2 hands a DATA frame of more than some hundred bytes over by itself and flushes before the next: a system call each way
//! for every request of ordinary size. What it writes is kept here until whoever drives the connection ends the turn; large
//! writes go out at once, behind what was kept. The flush of such a stream is therefore a promise of its driver.

use std::{
    cell::{RefCell, RefMut},
    future::poll_fn,
    io::{self, IoSlice},
    iter,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait for the end of a turn at most: beyond it the peer may as well have them now.
const KEPT_MAX: usize = 32 << 10;

/// Writes of so many bytes are not copied: that would cost more than the system call it saves.
const LARGE: usize = 8 << 10;

/// Pieces of one write that need no memory of their own: what is kept, the head of a frame, its payload.
const SLICES: usize = 4;

/// A stream that keeps what is written to it until its turn ends. Its clones are the same stream.
pub(super) struct Gather<S>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: S,
    /// Nothing between turns, unless the peer does not take it: an idle connection holds no room.
    kept: Vec<u8>,
    /// How much of what is kept the stream has taken.
    sent: usize,
    /// The stream has taken what it may not have passed on: TLS does, where the peer takes no more.
    unflushed: bool,
    /// Why it can be written to no more.
    broken: Option<io::ErrorKind>,
    /// The last turn's end was put off to the next one's.
    put_off: bool,
}

// === impl Gather ===

impl<S> Clone for Gather<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> Gather<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(stream: S) -> Self {
        let (kept, sent, unflushed, broken, put_off) = (Vec::new(), 0, false, None, false);
        Self(Rc::new(RefCell::new(Inner { stream, kept, sent, unflushed, broken, put_off })))
    }

    /// Drives a connection for a turn of which the rest comes at once: what was written waits for the next turn, which
    /// follows after the tasks that this one woke. One turn is never put off behind another.
    pub(super) fn poll_begun<T>(
        &self,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.inner().put_off {
            return self.poll_driven(cx, drive);
        }
        let driven = drive(cx);
        if driven.is_pending() {
            self.inner().put_off = true;
            cx.waker().wake_by_ref();
        }
        driven
    }

    /// Drives a connection for one turn: until it waits or ends, and then sends what it has written. While that does not
    /// fit, the task is woken when it may. A stream that cannot be written to fails in the connection's next turn, which
    /// comes at once.
    pub(super) fn poll_driven<T>(
        &self,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let driven = drive(cx);
        // One that has something for its driver is driven again at once, and one that has ended was shut down.
        if driven.is_pending() {
            let mut inner = self.inner();
            inner.put_off = false;
            let was_broken = inner.broken.is_some();
            let sent = inner.poll_send(cx);
            if matches!(sent, Poll::Ready(Err(_))) && !was_broken {
                cx.waker().wake_by_ref();
            }
        }
        driven
    }

    /// Drives something that ends in a connection, which may have to speak before it is spoken to.
    pub(super) async fn drive<F: Future>(&self, until: F) -> F::Output {
        let mut until = pin!(until);
        poll_fn(|cx| self.poll_driven(cx, |cx| until.as_mut().poll(cx))).await
    }

    fn inner(&self) -> RefMut<'_, Inner<S>> {
        self.0.borrow_mut()
    }
}

// === impl Inner ===

impl<S> Inner<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Sends what is kept, to the last byte.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        let sent = ready!(self.poll_pass_on(cx));
        self.kept = Vec::new();
        self.sent = 0;
        self.broken = sent.err().map(|error| error.kind());
        Poll::Ready(self.whole())
    }

    /// Takes bytes: keeps them, or passes large ones on together with what was kept before them.
    fn poll_take(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.whole()?;
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        if bytes >= LARGE {
            return self.poll_through(cx, bufs);
        }
        if self.kept.len() + bytes > KEPT_MAX {
            ready!(self.poll_send(cx))?;
        }
        if self.kept.capacity() == 0 {
            self.kept = Vec::with_capacity(KEPT_MAX);
        }
        bufs.iter().for_each(|buf| self.kept.extend_from_slice(buf));
        Poll::Ready(Ok(bytes))
    }

    /// Writes what is kept and what comes after it, in one call where the stream can. Returns how much was taken of what
    /// comes after.
    fn poll_through(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let kept = self.kept.len() - self.sent;
            self.unflushed = true;
            let sent = {
                let before = iter::once(&self.kept[self.sent..]).filter(|kept| !kept.is_empty());
                let all: SmallVec<[IoSlice<'_>; SLICES]> =
                    before.chain(bufs.iter().map(|buf| &**buf)).map(IoSlice::new).collect();
                ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &all))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if sent < kept {
                self.sent += sent;
                continue;
            }
            self.kept = Vec::new();
            self.sent = 0;
            if sent > kept {
                return Poll::Ready(Ok(sent - kept));
            }
        }
    }

    fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.kept.len() {
            self.unflushed = true;
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.kept[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn whole(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

// === impl streams ===

impl<S> AsyncRead for Gather<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().stream).poll_read(cx, buf)
    }
}

impl<S> AsyncWrite for Gather<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_take(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner().stream.is_write_vectored()
    }

    /// Sends nothing: the turn's end does. It only tells what became of earlier turns.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.inner().whole())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, DuplexStream};

    use super::*;

    /// Turns end as often as something happens, and in each a connection has nothing to do but wait, until the other side
    /// has read so much.
    async fn driven_until_read<S>(gather: &Gather<S>, theirs: &mut DuplexStream, bytes: usize) -> Vec<u8>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut seen = vec![0; bytes];
        tokio::select! {
            () = gather.drive(std::future::pending()) => unreachable!("it waits for ever"),
            read = theirs.read_exact(&mut seen) => read.expect("all of it"),
        };
        seen
    }

    #[tokio::test]
    async fn what_a_turn_writes_goes_out_at_its_end_in_order() {
        let (ours, mut theirs) = tokio::io::duplex(4 * KEPT_MAX);
        let gather = Gather::new(ours);
        let mut writer = gather.clone();
        for word in ["head ", "body ", "trailers "] {
            writer.write_all(word.as_bytes()).await.expect("kept");
            writer.flush().await.expect("promised");
        }
        let mut none = [0; 1];
        assert!(poll!(pin!(theirs.read(&mut none))).is_pending(), "nothing before the turn ends");
        let large = vec![b'x'; LARGE];
        writer.write_all(&large).await.expect("written");
        writer.write_all(b" end").await.expect("kept");
        let expected = [b"head body trailers ", &large[..], b" end"].concat();
        assert_eq!(driven_until_read(&gather, &mut theirs, expected.len()).await, expected);
        assert_eq!(gather.inner().kept.capacity(), 0, "an idle connection holds no room");
    }

    /// However little the stream takes at once: what was kept, and then all of the pieces of a large write.
    #[tokio::test]
    async fn a_large_write_follows_what_was_kept() {
        let (ours, mut theirs) = tokio::io::duplex(5);
        let gather = Gather::new(ours);
        let (mut writer, payload) = (gather.clone(), vec![b'x'; LARGE]);
        let written = async {
            writer.write_all(b"kept ").await.expect("kept");
            let (mut left, all) = (LARGE + 5, [b"head ", &payload[..]].concat());
            while left > 0 {
                let (head, rest) = all[all.len() - left..].split_at(left.min(5));
                let taken = writer.write_vectored(&[IoSlice::new(head), IoSlice::new(rest)]).await.expect("taken");
                assert!(taken > 0);
                left -= taken;
            }
            writer.shutdown().await.expect("all of it is sent");
        };
        let mut seen = Vec::new();
        let (read, ()) = tokio::join!(theirs.read_to_end(&mut seen), written);
        read.expect("to the end");
        assert_eq!(seen, [b"kept head ", &payload[..]].concat());
    }

    /// One of two: a connection that has something for its driver is driven again before it waits.
    #[tokio::test]
    async fn a_turn_that_goes_on_sends_nothing_yet() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let gather = Gather::new(ours);
        gather.clone().write_all(b"kept").await.expect("kept");
        poll_fn(|cx| gather.poll_driven(cx, |_| Poll::Ready(()))).await;
        let mut none = [0; 1];
        assert!(poll!(pin!(theirs.read(&mut none))).is_pending());
        assert_eq!(driven_until_read(&gather, &mut theirs, 4).await, b"kept");
    }

    #[tokio::test]
    async fn a_turn_is_put_off_once() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let gather = Gather::new(ours);
        let mut words = ["head ", "body ", "more"].into_iter();
        let mut turns = Vec::new();
        let mut seen = [0; 64];
        let mut seen_in = |turns: &mut Vec<usize>, cx: &mut Context<'_>| {
            let mut buf = ReadBuf::new(&mut seen);
            let _ = Pin::new(&mut theirs).poll_read(cx, &mut buf);
            turns.push(buf.filled().len());
        };
        poll_fn(|cx| {
            let Some(word) = words.next() else { return Poll::Ready(()) };
            let _: Poll<()> = gather.poll_begun(cx, |cx| {
                assert!(Pin::new(&mut gather.clone()).poll_write(cx, word.as_bytes()).is_ready(), "kept");
                Poll::Pending
            });
            seen_in(&mut turns, cx);
            // The first and the third are followed by another turn at once; the second is woken by what it wrote.
            if turns.len() == 2 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        assert_eq!(turns, [0, 10, 0], "a head waits for its body, and the two of them for nothing");
    }

    /// What does not fit goes out as the peer takes it, without any other reason for a turn.
    #[tokio::test]
    async fn the_peer_that_reads_ends_the_wait() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let gather = Gather::new(ours);
        gather.clone().write_all(b"more than fits at once").await.expect("kept");
        assert_eq!(driven_until_read(&gather, &mut theirs, 22).await, b"more than fits at once");
    }

    /// As TLS does: it takes what it is given, and passes on what finds no room only when it is flushed.
    #[tokio::test]
    async fn a_stream_that_holds_back_is_flushed() {
        for bytes in [24, LARGE] {
            let (ours, mut theirs) = tokio::io::duplex(3);
            let gather = Gather::new(BufWriter::with_capacity(2 * LARGE, ours));
            let written = vec![b'x'; bytes];
            gather.clone().write_all(&written).await.expect("taken");
            assert_eq!(driven_until_read(&gather, &mut theirs, bytes).await, written);
        }
    }

    #[tokio::test]
    async fn a_stream_that_broke_says_so_in_the_next_turn() {
        let (ours, theirs) = tokio::io::duplex(64);
        let gather = Gather::new(ours);
        let mut writer = gather.clone();
        writer.write_all(b"kept").await.expect("kept");
        drop(theirs);
        // The turn after the one that failed is not waited for, whoever drives the connection.
        let mut turns = 0;
        let found = poll_fn(|cx| {
            turns += 1;
            gather.poll_driven(cx, |cx| match Pin::new(&mut gather.clone()).poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
                _ => Poll::Pending,
            })
        });
        assert_eq!(found.await, io::ErrorKind::BrokenPipe);
        assert_eq!(turns, 2);
        let error = writer.write_all(b"more").await.expect_err("it is broken");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_stops_the_writer() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let gather = Gather::new(ours);
        let mut writer = gather.clone();
        let word = [7; 1 << 10];
        let mut taken = 0;
        while poll!(pin!(writer.write_all(&word))).is_ready() {
            taken += word.len();
            assert!(taken <= KEPT_MAX, "bounded");
        }
        assert_eq!(taken, KEPT_MAX);
        let reader = tokio::spawn(async move {
            let mut seen = Vec::new();
            theirs.read_to_end(&mut seen).await.map(|_| seen)
        });
        writer.shutdown().await.expect("all of it is sent first");
        drop((writer, gather));
        assert_eq!(reader.await.expect("it reads").expect("to the end").len(), KEPT_MAX);
    }
}
