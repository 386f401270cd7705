//! The newest route table of this member, derived as entries are applied.

use std::sync::Arc;

use berth_core::{id::Digest, traffic::table::RouteTable};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::machine::Machine;

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
        Self { newest: watch::Sender::new(Published::new(RouteTable::default())) }
    }

    /// Watches the newest table.
    pub(crate) fn watch(&self) -> watch::Receiver<Published> {
        self.newest.subscribe()
    }

    /// Returns the newest table.
    pub(crate) fn newest(&self) -> Published {
        self.newest.borrow().clone()
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
    loop {
        applied.mark_unchanged();
        feed.refresh(&machine);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}
