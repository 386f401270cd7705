//! What a node has with its coordinators: a session with the leader, and the route table from any member.

mod client;
mod members;
mod outbox;
mod reader;
mod served;
mod table;

use std::time::Duration;

use berth_core::id::{NodeEpoch, Term};

pub(crate) use client::{SessionOptions, keep_session};
pub(crate) use members::{Members, transport_error};
pub(crate) use outbox::Outbox;
pub(crate) use table::keep_table;

/// How long any one message may take before the other side counts as gone.
pub(crate) const MESSAGE_DEADLINE: Duration = Duration::from_secs(5);
/// First wait after a member that was no use; doubles up to the longest.
const BACKOFF: Duration = Duration::from_millis(100);
/// Longest such wait. A node counts as lost after seconds of silence, so it never waits as long as that.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Where a node's session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// None is open; the node goes on with its last orders.
    Connecting {
        /// Why the last one ended, or none was opened.
        why: String,
    },
    /// It is open.
    Open {
        /// The coordinator.
        leader: String,
        /// The node's epoch.
        epoch: NodeEpoch,
        /// The leader's term.
        term: Term,
    },
    /// The cluster does not take this node; it asks again, since an operator may mend it.
    Refused {
        /// The code of the error.
        code: String,
        /// What, why and what to try.
        text: String,
    },
}

/// A wait that grows, with chance in it, so that nodes cut off together do not come back in step.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    rng: berth_core::rng::Rng,
}

// === impl Backoff ===

impl Backoff {
    fn new(seed: &berth_core::rng::SeedTree) -> Self {
        Self { next: BACKOFF, rng: seed.rng() }
    }

    fn reset(&mut self) {
        self.next = BACKOFF;
    }

    /// Returns between half and the whole of the present wait, and doubles it.
    fn take(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(BACKOFF_MAX);
        let half_micros = whole.as_micros() as u64 / 2;
        Duration::from_micros(half_micros + self.rng.below(half_micros.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use berth_core::rng::SeedTree;

    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new(&SeedTree::new(1));
        let waits: Vec<Duration> = (0..20).map(|_| backoff.take()).collect();
        assert!(waits[0] >= BACKOFF / 2 && waits[0] <= BACKOFF);
        assert!(waits[10..].iter().all(|wait| *wait >= BACKOFF_MAX / 2 && *wait <= BACKOFF_MAX));
        assert_ne!(waits[10], waits[11]);
        backoff.reset();
        assert!(backoff.take() <= BACKOFF);
    }
}
