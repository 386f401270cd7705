//! One node's watch of the route table.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    traffic::{absence::Expected, change::TableChange},
};
use berth_proto::node::{
    change_to_wire, heartbeat_to_wire,
    v1::{TableUpdate, WatchTableRequest},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::feed::{Feed, Published};
use crate::raft::{RaftHandle, RaftStatus};

/// Time between heartbeats. A node turns to another member after three of them.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Updates on their way to one node. What it has not read yet is not built either: it gets the newest next.
const ON_THE_WAY: usize = 1;

/// What one watcher was sent last.
struct Watcher {
    sent: Option<Published>,
    expected: watch::Receiver<Arc<Vec<Expected>>>,
    out: mpsc::Sender<Result<TableUpdate, Status>>,
}

/// Serves one watch until the node goes away or `stop`.
pub(crate) fn watch_table(
    feed: &Feed,
    raft: &RaftHandle,
    request: &WatchTableRequest,
    stop: CancellationToken,
) -> Result<mpsc::Receiver<Result<TableUpdate, Status>>, Error> {
    if !request.cluster_id.is_empty() && request.cluster_id != raft.cluster_id() {
        return Err(Error::new(Code::ForeignCluster, "the node belongs to another cluster").why(format!(
            "it follows the table of {}, this is {}",
            request.cluster_id,
            raft.cluster_id()
        )));
    }
    let (out, updates) = mpsc::channel(ON_THE_WAY);
    let (newest, expected, status) = (feed.watch(), feed.watch_expected(), raft.watch());
    let held = (request.version, request.digest.clone());
    tokio::spawn(async move {
        let watcher = Watcher { sent: None, expected, out };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watcher.serve(newest, status, held) => {}
        }
    });
    Ok(updates)
}

// === impl Watcher ===

impl Watcher {
    async fn serve(
        mut self,
        mut newest: watch::Receiver<Published>,
        status: watch::Receiver<Arc<RaftStatus>>,
        held: (u64, Vec<u8>),
    ) {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = newest.borrow_and_update().clone();
            if let Some(update) = self.next_update(&now, &held) {
                if self.out.send(Ok(change_to_wire(&update))).await.is_err() {
                    return;
                }
                self.sent = Some(now);
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                _ = beat.tick() => if !self.heartbeat(&status).await { return },
                () = self.out.closed() => return,
            }
        }
    }

    /// Returns what brings the node up to `now`, or nothing when it is there.
    fn next_update(&mut self, now: &Published, held: &(u64, Vec<u8>)) -> Option<TableChange> {
        // A member that has applied less than the node has seen waits until it has caught up: tables never step back.
        if now.table.cluster_id.is_empty() || now.table.version.0 < held.0 {
            return None;
        }
        match &self.sent {
            Some(sent) if sent.digest == now.digest => None,
            Some(sent) => Some(TableChange::Delta(sent.table.delta_to(&now.table))),
            None if now.table.version.0 == held.0 && now.digest.0[..] == held.1[..] => {
                self.sent = Some(now.clone());
                None
            }
            None => Some(TableChange::Full((*now.table).clone())),
        }
    }

    /// Returns whether the node still listens.
    async fn heartbeat(&self, status: &watch::Receiver<Arc<RaftStatus>>) -> bool {
        let cut_off = status.borrow().leader.is_none();
        let Some(sent) = self.sent.as_ref().filter(|_| !cut_off) else {
            return !self.out.is_closed();
        };
        let beat = heartbeat_to_wire(sent.table.version, sent.digest, &self.expected.borrow());
        self.out.send(Ok(beat)).await.is_ok()
    }
}
