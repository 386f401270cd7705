//! Starts a leadership when Raft makes this member the leader and ends it when it is deposed.

use std::{sync::Arc, time::Duration};

use berth_core::{controller::Controller, error::Error, rng::SeedTree, state::Command};
use ractor::{Actor, ActorRef};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Lead, LeadWatch,
    actor::{ControllerActor, Desk},
    inbox::Wake,
};
use crate::{
    clock::Clock,
    keys,
    machine::Machine,
    propose::{Asker, Proposer},
    raft::{RaftHandle, RaftStatus},
};

/// How often the controller sees time pass. A fifteenth of the time to suspect a node.
const TICK: Duration = Duration::from_millis(100);

/// A new leader has this long to apply what was committed before it tries again.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Pause before a leadership that could not start, or whose controller failed, is started again.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts and ends leaderships.
#[derive(Debug)]
pub(crate) struct Keeper {
    raft: RaftHandle,
    proposer: Proposer,
    clock: Clock,
    lead: watch::Sender<Option<Arc<Lead>>>,
}

/// A leadership and its actor.
struct Reign {
    lead: Arc<Lead>,
    actor: ActorRef<Wake>,
    /// Cancelled when the actor has ended, whatever the reason.
    ended: CancellationToken,
    feeder: JoinHandle<()>,
}

// === impl Keeper ===

impl Keeper {
    pub(crate) fn new(raft: RaftHandle, proposer: Proposer, clock: Clock) -> Self {
        Self { raft, proposer, clock, lead: watch::Sender::new(None) }
    }

    /// Watches the leadership of this member.
    pub(crate) fn lead(&self) -> LeadWatch {
        self.lead.subscribe()
    }

    /// Works until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut status = self.raft.watch();
        let mut reign: Option<Reign> = None;
        loop {
            let now = status.borrow_and_update().clone();
            if reign
                .as_ref()
                .is_some_and(|reign| !now.is_leader || now.term != reign.lead.term || reign.ended.is_cancelled())
                && let Some(over) = reign.take()
            {
                self.end(over).await;
            }
            let mut retry = false;
            if now.is_leader && reign.is_none() {
                match self.begin(&now, &stop).await {
                    Ok(begun) => reign = Some(begun),
                    Err(error) => {
                        tracing::info!(term = now.term.0, %error, "cannot lead yet");
                        retry = true;
                    }
                }
            }
            let failed = async {
                match &reign {
                    Some(reign) => reign.ended.cancelled().await,
                    None if retry => tokio::time::sleep(PAUSE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = status.changed() => if changed.is_err() { break },
                () = failed => tokio::time::sleep(PAUSE).await,
            }
        }
        if let Some(over) = reign.take() {
            self.end(over).await;
        }
    }

    async fn begin(&self, now: &RaftStatus, stop: &CancellationToken) -> Result<Reign, Error> {
        let deadline = Instant::now() + CATCH_UP;
        self.proposer.barrier(deadline).await?;
        let machine = self.proposer.machine().clone();
        if machine.read(|state| state.cluster_id.is_empty()) {
            let cluster_id = self.raft.cluster_id().to_owned();
            self.proposer.change(Asker::cluster("coordinator"), Command::ClusterInit { cluster_id }, deadline).await?;
        }
        let lead = Arc::new(Lead::new(now.term, stop.child_token()));
        let seed = SeedTree::from_entropy(keys::random()?);
        let controller = Controller::new(now.term, now.member_id, seed);
        let desk = Desk { controller, lead: lead.clone(), proposer: self.proposer.clone(), clock: self.clock };
        let spawned = Actor::spawn(None, ControllerActor, desk).await;
        let (actor, running) = spawned.map_err(|error| {
            Error::new(berth_core::error::Code::Internal, "the controller cannot start").why(error.to_string())
        })?;
        lead.inbox.connect(actor.clone());
        let ended = CancellationToken::new();
        tokio::spawn(tell(running, ended.clone()));
        let feeder = tokio::spawn(feed(lead.clone(), machine));
        tracing::info!(term = now.term.0, "this member leads");
        self.lead.send_replace(Some(lead.clone()));
        Ok(Reign { lead, actor, ended, feeder })
    }

    async fn end(&self, over: Reign) {
        tracing::info!(term = over.lead.term.0, "this member no longer leads");
        self.lead.send_replace(None);
        over.lead.over.cancel();
        over.actor.stop(None);
        over.ended.cancelled().await;
        over.feeder.abort();
    }
}

/// Tells when the actor has ended.
async fn tell(running: JoinHandle<()>, ended: CancellationToken) {
    if let Err(error) = running.await {
        tracing::error!(%error, "the controller failed");
    }
    ended.cancel();
}

/// Tells the controller that entries were applied and that time passed.
async fn feed(lead: Arc<Lead>, machine: Arc<Machine>) {
    let mut applied = machine.watch();
    let mut ticker = interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alarm = lead.inbox.alarm();
    lead.inbox.applied();
    loop {
        let due = *alarm.borrow_and_update();
        let rung = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = lead.over.cancelled() => return,
            () = rung => lead.inbox.tick(),
            _ = alarm.changed() => {}
            changed = applied.changed() => match changed {
                Ok(()) => lead.inbox.applied(),
                Err(_) => return,
            },
            _ = ticker.tick() => lead.inbox.tick(),
        }
    }
}
