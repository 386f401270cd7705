//! Raises the cluster's feature level once every member runs a build that knows a newer one.

use std::time::Duration;

use berth_core::state::{Command, level_to_raise_to};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    controller::LeadWatch,
    propose::{Asker, Proposer},
    raft::{RaftHandle, StateMachine as _},
};

/// How often the leader of a cluster below its own level asks. An upgrade takes minutes.
const LOOK: Duration = Duration::from_secs(2);

/// Writing the new level into the log.
const WRITE: Duration = Duration::from_secs(5);

/// Works on the leader until `stop`.
pub(crate) async fn raise(raft: RaftHandle, proposer: Proposer, lead: LeadWatch, stop: CancellationToken) {
    let mut rounds = interval(LOOK);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let machine = proposer.machine();
        let level = machine.demands_level();
        if lead.borrow().is_none() || level >= machine.knows_level() {
            continue;
        }
        // Who joins later is measured against the new level when it is taken in.
        let Some(level) = level_to_raise_to(level, raft.known_levels().await.into_values()) else { continue };
        let command = Command::FeatureLevelRaise { level };
        match proposer.change(Asker::cluster("coordinator"), command, Instant::now() + WRITE).await {
            Ok(_) => tracing::info!(level, "every member knows this feature level now"),
            Err(error) => tracing::info!(level, %error, "the feature level cannot be raised yet"),
        }
    }
}
