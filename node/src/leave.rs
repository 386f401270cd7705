//! Leaving: a node that is asked to end hands its replicas over first.
//!
//! It asks with its heartbeats that it be emptied, and goes on as before: others are placed, routers learn of it, and its
//! replicas end one by one as the leader orders. That is bounded: a host that goes down does not wait for ever, and a
//! node whose coordinators are gone has nobody to hand over to.

use std::time::Duration;

use berth_core::agent::Ledger;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::session::SessionStatus;

/// How long no session may be open before there is nobody to hand over to: an election and a few tries to connect.
const NOBODY: Duration = Duration::from_secs(5);

/// Until when a node wants to be empty, once it does.
pub(crate) type Leaving = watch::Receiver<Option<Instant>>;

/// Waits until nothing is left here, and no longer than `within`.
pub(crate) async fn hand_over(
    leaving: &watch::Sender<Option<Instant>>,
    mut ledger: watch::Receiver<Ledger>,
    session: watch::Receiver<SessionStatus>,
    within: Duration,
) {
    if ledger.borrow().replicas.is_empty() {
        return;
    }
    let deadline = Instant::now() + within;
    leaving.send_replace(Some(deadline));
    tracing::info!(replicas = ledger.borrow().replicas.len(), ?within, "hands its replicas over before it ends");
    tokio::select! {
        empty = ledger.wait_for(|ledger| ledger.replicas.is_empty()) => {
            if empty.is_ok() {
                tracing::info!("handed everything over");
            }
        }
        () = sleep_until(deadline) => tracing::warn!("the time to hand over is up: some replicas are still here"),
        () = nobody(session) => tracing::warn!("no coordinator answers: there is nobody to hand over to"),
    }
}

/// Completes once no session was open for a while.
async fn nobody(mut session: watch::Receiver<SessionStatus>) {
    let is_open = |status: &SessionStatus| matches!(status, SessionStatus::Open { .. });
    loop {
        if session.wait_for(|status| !is_open(status)).await.is_err() {
            return;
        }
        match timeout(NOBODY, session.wait_for(is_open)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_core::{
        agent::{Desired, LedgerEntry, ReplicaOrder},
        id::{Generation, NodeEpoch, ReplicaId, Term},
        model::{DeploymentSpec, Runtime},
    };

    use super::*;

    fn held() -> Ledger {
        let order = ReplicaOrder {
            replica: ReplicaId(1),
            key: "fraud/blue".parse().expect("a key"),
            generation: Generation(1),
            spec: DeploymentSpec::new(Runtime::Python),
            devices: Vec::new(),
            desired: Desired::Run,
        };
        let entry = LedgerEntry {
            order: Arc::new(order),
            attempt: 1,
            process: None,
            is_warm: true,
            ever_warm: true,
            restarts: 0,
        };
        Ledger { replicas: vec![entry], ..Ledger::default() }
    }

    fn open() -> SessionStatus {
        SessionStatus::Open { leader: "a:7400".to_owned(), epoch: NodeEpoch(1), term: Term(1) }
    }

    fn alone() -> SessionStatus {
        SessionStatus::Connecting { why: "nobody answers".to_owned() }
    }

    /// Runs a hand-over of a minute under paused time and returns how many seconds it took.
    async fn seconds(status: SessionStatus, events: impl AsyncFnOnce(&watch::Sender<Ledger>)) -> u64 {
        let (leaving, ledger) = (watch::Sender::new(None), watch::Sender::new(held()));
        let status = watch::Sender::new(status);
        let began = Instant::now();
        let waits = hand_over(&leaving, ledger.subscribe(), status.subscribe(), Duration::from_secs(60));
        let events = async {
            events(&ledger).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = waits => {}
            () = events => {}
        }
        assert!(leaving.borrow().is_some(), "it asked");
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nothing_is_left_or_nobody_takes_it_or_time_is_up() {
        let empty = async |ledger: &watch::Sender<Ledger>| {
            sleep_until(Instant::now() + Duration::from_secs(20)).await;
            ledger.send_replace(Ledger::default());
        };
        assert_eq!(seconds(open(), empty).await, 20);
        assert_eq!(seconds(open(), async |_| {}).await, 60);
        assert_eq!(seconds(alone(), async |_| {}).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_with_nothing_on_it_just_ends() {
        let (leaving, ledger) = (watch::Sender::new(None), watch::Sender::new(Ledger::default()));
        let status = watch::Sender::new(open());
        hand_over(&leaving, ledger.subscribe(), status.subscribe(), Duration::from_secs(60)).await;
        assert!(leaving.borrow().is_none());
    }
}
