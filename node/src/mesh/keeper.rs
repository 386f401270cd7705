//! Keeps watch over an HTTP/2 connection: pings find a peer that is gone without a word.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::http2::Pings;

/// Watches one connection, in a task of its own so that a busy connection does not look at timers with each frame.
pub(super) struct Keeper(Option<JoinHandle<()>>);

// === impl Keeper ===

impl Keeper {
    /// Pings `every` so often; the peer is lost when a ping is not answered `within`.
    pub(super) fn spawn(pings: Pings, every: Duration, within: Duration) -> Self {
        Self(Some(tokio::task::spawn_local(watch(pings, every, within))))
    }

    /// Watches nothing: the peer may take pings for an attack.
    pub(super) fn idle() -> Self {
        Self(None)
    }

    /// Ready when the peer is lost.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |task| Pin::new(task).poll(cx).map(|_| ()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

async fn watch(mut pings: Pings, every: Duration, within: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !matches!(tokio::time::timeout(within, pings.ping()).await, Ok(Ok(()))) {
            return;
        }
    }
}
