//! Reports on their way to the leader: the newest per replica, kept until the leader has committed it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use berth_core::{id::ReplicaId, state::ReplicaReport};
use tokio::sync::Notify;

/// Reports of one message: a few hundred bytes each, some kilobytes with the log tail of a failure.
const BATCH_MAX: usize = 128;

/// Reports nobody has acknowledged. Bounded by the number of replicas.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
    heard: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeMap<ReplicaId, ReplicaReport>,
    sent: Option<Batch>,
    next_seq: u64,
}

/// One message of reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) seq: u64,
    pub(crate) reports: Vec<ReplicaReport>,
}

// === impl Outbox ===

impl Outbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report; it replaces an older one of the same replica.
    pub(crate) fn put(&self, report: ReplicaReport) {
        self.inner().waiting.insert(report.replica, report);
        self.changed.notify_one();
    }

    /// Waits until there may be something to send.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns what to send next; nothing while an earlier message is not acknowledged, so that reports of one replica
    /// cannot overtake each other.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut inner = self.inner();
        if inner.sent.is_some() || inner.waiting.is_empty() {
            return None;
        }
        let ids: Vec<ReplicaId> = inner.waiting.keys().take(BATCH_MAX).copied().collect();
        let reports = ids.iter().filter_map(|id| inner.waiting.remove(id)).collect();
        inner.next_seq += 1;
        let batch = Batch { seq: inner.next_seq, reports };
        inner.sent = Some(batch.clone());
        Some(batch)
    }

    /// Returns what is sent and not acknowledged, to be sent again as it is.
    pub(crate) fn unacknowledged(&self) -> Option<Batch> {
        self.inner().sent.clone()
    }

    /// Takes an acknowledgement.
    pub(crate) fn taken(&self, seq: u64) {
        let mut inner = self.inner();
        if inner.sent.as_ref().is_some_and(|batch| batch.seq == seq) {
            inner.sent = None;
            self.changed.notify_one();
            self.heard.notify_waiters();
        }
    }

    /// Waits until the leader has committed every report.
    pub(crate) async fn emptied(&self) {
        loop {
            let heard = self.heard.notified();
            if self.is_empty() {
                return;
            }
            heard.await;
        }
    }

    fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.waiting.is_empty() && inner.sent.is_none()
    }

    /// Forgets everything: a new session begins with reports of every replica.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.waiting.clear();
        inner.sent = None;
        drop(inner);
        self.heard.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use berth_core::state::Observed;

    use super::*;

    fn report(replica: u64, observed: Observed) -> ReplicaReport {
        ReplicaReport {
            replica: ReplicaId(replica),
            observed,
            reason: String::new(),
            permanent: false,
            restarts: 0,
            retry_in: berth_core::time::Millis(0),
            pid: 0,
            address: String::new(),
        }
    }

    #[test]
    fn the_newest_report_is_sent_and_none_is_lost() {
        let outbox = Outbox::default();
        outbox.put(report(1, Observed::Preparing));
        outbox.put(report(1, Observed::Starting));
        outbox.put(report(2, Observed::Warm));
        let first = outbox.take().unwrap();
        assert_eq!(first.reports, [report(1, Observed::Starting), report(2, Observed::Warm)]);
        outbox.put(report(1, Observed::Warm));
        assert_eq!(outbox.take(), None, "the first is not acknowledged");
        assert_eq!(outbox.unacknowledged(), Some(first.clone()));
        outbox.taken(first.seq + 1);
        assert_eq!(outbox.take(), None, "another message's acknowledgement");
        outbox.taken(first.seq);
        let second = outbox.take().unwrap();
        assert_eq!(second.reports, [report(1, Observed::Warm)]);
        assert!(second.seq > first.seq);
        outbox.clear();
        assert_eq!((outbox.take(), outbox.unacknowledged()), (None, None));
    }

    #[tokio::test]
    async fn the_last_word_is_waited_for() {
        let outbox = Outbox::default();
        outbox.emptied().await;
        outbox.put(report(1, Observed::Gone));
        let mut waits = std::pin::pin!(outbox.emptied());
        assert!(futures::poll!(waits.as_mut()).is_pending(), "it is not sent");
        let batch = outbox.take().unwrap();
        assert!(futures::poll!(waits.as_mut()).is_pending(), "it is not acknowledged");
        outbox.taken(batch.seq);
        waits.await;
    }
}
