//! The newest route table of this member, derived as entries are applied.

use std::sync::Arc;

use berth_core::{
    id::Digest,
    traffic::{absence::Expected, table::RouteTable},
};
use tokio::{
    sync::watch,
    time::{Duration, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{clock, machine::Machine};

/// How often it is told anew who is expected: as often as the feed gives a sign of life.
const EXPECT: Duration = Duration::from_secs(1);

/// A table with its digest, which every watcher sends along.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) table: Arc<RouteTable>,
    pub(crate) digest: Digest,
}

/// The newest table.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    newest: watch::Sender<Published>,
    /// Deployments that nobody serves, and when somebody may.
    expected: watch::Sender<Arc<Vec<Expected>>>,
}

// === impl Published ===

impl Published {
    fn new(table: RouteTable) -> Self {
        let digest = table.digest();
        Self { table: Arc::new(table), digest }
    }
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new() -> Self {
        Self { newest: watch::Sender::new(Published::new(RouteTable::default())), expected: watch::Sender::default() }
    }

    /// Watches the newest table.
    pub(crate) fn watch(&self) -> watch::Receiver<Published> {
        self.newest.subscribe()
    }

    /// Returns the newest table.
    pub(crate) fn newest(&self) -> Published {
        self.newest.borrow().clone()
    }

    /// Watches who is expected.
    pub(crate) fn watch_expected(&self) -> watch::Receiver<Arc<Vec<Expected>>> {
        self.expected.subscribe()
    }

    /// Guesses anew who is expected, once for all watchers.
    fn expect(&self, machine: &Machine) {
        let expected = machine.read(|state| Expected::of(state, clock::wall().max(state.time)));
        self.expected.send_replace(Arc::new(expected));
    }

    /// Brings the table up to the state, building only what changed.
    fn refresh(&self, machine: &Machine) {
        let known = self.newest();
        let next = machine.read(|state| {
            let same = state.routes.version() == known.table.version && state.cluster_id == known.table.cluster_id;
            (!same).then(|| known.table.advanced_to(state))
        });
        if let Some(table) = next {
            self.newest.send_replace(Published::new(table));
        }
    }
}

/// Follows the state until `stop`.
pub(crate) async fn follow(feed: Feed, machine: Arc<Machine>, stop: CancellationToken) {
    let mut applied = machine.watch();
    let mut expect = interval(EXPECT);
    expect.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        applied.mark_unchanged();
        feed.refresh(&machine);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            _ = expect.tick() => feed.expect(&machine),
        }
    }
}
