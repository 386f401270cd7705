//! A caller that has to take what there is for it, sooner or later.
//!
//! Who reads nothing, or next to nothing, holds the slot of a replica for as long as its answer lasts, and an answer may have
//! no end.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use berth_core::{time::Millis, traffic::download::Patience};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// The wait for a caller, as long as there is one.
pub(super) struct Waiting {
    patience: Patience,
    since: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Fails a write whose receiver takes too little for too long.
pub(super) struct Patient<S> {
    stream: S,
    most: Duration,
    waiting: Waiting,
    reader: Arc<Reader>,
}

/// What a connection that carries one answer after the other knows of who reads them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// An answer has begun of which nothing has waited yet.
    begins: AtomicBool,
    is_slow: AtomicBool,
}

/// Why such a write fails.
#[derive(Debug, thiserror::Error)]
#[error("the caller takes its answer too slowly")]
pub(super) struct TooSlow;

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience: Patience::new(millis(patience)), since: None }
    }

    /// Waits on. Ready when that was too long.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = Duration::from_millis(self.patience.left().0);
        let begin = || {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + left)))
        };
        self.since.get_or_insert_with(begin).1.as_mut().poll(cx)
    }

    /// Ends the wait, if there is one, with so many bytes taken.
    pub(super) fn took(&mut self, bytes: usize) {
        if let Some((since, _)) = self.since.take() {
            self.patience.waited(millis(since.elapsed()));
        }
        self.patience.took(bytes as u64);
    }
}

fn millis(duration: Duration) -> Millis {
    Millis(duration.as_millis() as u64)
}

// === impl Reader ===

impl Reader {
    /// Notes that an answer begins.
    pub(super) fn begin(&self) {
        self.begins.store(true, Relaxed);
    }

    /// Returns whether it was given up.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow.load(Relaxed)
    }
}

// === impl TooSlow ===

impl TooSlow {
    /// Returns whether this is why a write failed.
    pub(super) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

// === impl Patient ===

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration, reader: Arc<Reader>) -> Self {
        Self { stream, most: patience, waiting: Waiting::new(patience), reader }
    }

    /// Passes on what a write came to, unless it has come to too little.
    fn bounded(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.reader.begins.load(Relaxed) {
            self.reader.begins.store(false, Relaxed);
            self.waiting = Waiting::new(self.most);
        }
        if let Poll::Ready(written) = written {
            self.waiting.took(*written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        ready!(self.waiting.poll_over(cx));
        self.reader.is_slow.store(true, Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Writes without end to a caller that takes so many bytes each `every`; returns when it was given up.
    async fn given_up_after(bytes: usize, every: Duration) -> Option<Duration> {
        let (ours, mut theirs) = tokio::io::duplex(bytes);
        let begun = Instant::now();
        let reads = tokio::spawn(async move {
            let mut part = vec![0; bytes];
            loop {
                tokio::time::sleep(every).await;
                theirs.read_exact(&mut part).await.expect("there is more");
            }
        });
        let reader = Arc::new(Reader::default());
        let mut patient = Patient::new(ours, MINUTE, reader.clone());
        let written = tokio::time::timeout(60 * MINUTE, async { while patient.write_all(&[7; 512]).await.is_ok() {} });
        let is_over = written.await.is_ok();
        reads.abort();
        assert_eq!(reader.is_slow(), is_over);
        is_over.then(|| begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_given_up() {
        let second = Duration::from_secs(1);
        for (bytes, every, most) in
            [(1, MINUTE - second, MINUTE + second), (1, second, MINUTE + second), (120, second, 2 * MINUTE + second)]
        {
            let after = given_up_after(bytes, every).await.expect("it is given up");
            assert!((MINUTE..=most).contains(&after), "{bytes} bytes each {every:?}: {after:?}");
        }
        assert_eq!(given_up_after(240, second).await, None, "as slow as may be");
        assert_eq!(given_up_after(64 << 10, MINUTE - second).await, None, "much, and seldom");
    }

    /// However long nothing is there to be taken.
    #[tokio::test(start_paused = true)]
    async fn who_takes_what_there_is_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut patient = Patient::new(ours, MINUTE, Arc::default());
        for word in 0..10 {
            tokio::time::sleep(2 * MINUTE).await;
            patient.write_all(&[word]).await.expect("it listens");
            assert_eq!(theirs.read_u8().await.expect("a word"), word);
        }
    }

    /// What the last one of a connection used up is not the next one's.
    #[tokio::test(start_paused = true)]
    async fn each_answer_has_a_patience_of_its_own() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let reader = Arc::new(Reader::default());
        let mut patient = Patient::new(ours, MINUTE, reader.clone());
        let reads = tokio::spawn(async move {
            loop {
                tokio::time::sleep(MINUTE / 2 + Duration::from_secs(1)).await;
                theirs.read_u8().await.expect("a byte");
            }
        });
        for _ in 0..10 {
            reader.begin();
            patient.write_all(&[7]).await.expect("it is waited for");
        }
        patient.write_all(&[7; 2]).await.expect_err("it was given up");
        assert!(reader.is_slow());
        reads.abort();
    }
}
