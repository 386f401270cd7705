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

use crate::session::{Outbox, SessionStatus};

/// How long no session may be open before there is nobody to hand over to: an election and a few tries to connect.
const NOBODY: Duration = Duration::from_secs(5);

/// Until when a node wants to be empty, once it does.
pub(crate) type Leaving = watch::Receiver<Option<Instant>>;

/// How a hand-over ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nothing is left here.
    Empty,
    /// Some replicas are still here.
    TimeIsUp,
    /// There is no coordinator to hand over to.
    Nobody,
}

/// Waits until nothing is left here, and no longer than `within`.
pub(crate) async fn hand_over(
    leaving: &watch::Sender<Option<Instant>>,
    ledger: watch::Receiver<Ledger>,
    outbox: &Outbox,
    session: watch::Receiver<SessionStatus>,
    within: Duration,
) {
    match until_empty(leaving, ledger, outbox, session, within, NOBODY).await {
        Ended::Empty => tracing::info!("nothing is left here"),
        Ended::TimeIsUp => tracing::warn!("the time to hand over is up: some replicas are still here"),
        Ended::Nobody => tracing::warn!("no coordinator answers: there is nobody to hand over to"),
    }
}

async fn until_empty(
    leaving: &watch::Sender<Option<Instant>>,
    mut ledger: watch::Receiver<Ledger>,
    outbox: &Outbox,
    session: watch::Receiver<SessionStatus>,
    within: Duration,
    nobody_after: Duration,
) -> Ended {
    if ledger.borrow().replicas.is_empty() {
        return Ended::Empty;
    }
    let deadline = Instant::now() + within;
    leaving.send_replace(Some(deadline));
    tracing::info!(replicas = ledger.borrow().replicas.len(), ?within, "hands its replicas over before it ends");
    let emptied = async {
        // The keeper of the ledger ends with the node alone.
        let _ = ledger.wait_for(|ledger| ledger.replicas.is_empty()).await;
        // Who ends without a last word leaves a replica behind in the records, lost until the node is back.
        outbox.emptied().await;
    };
    tokio::select! {
        () = emptied => Ended::Empty,
        () = sleep_until(deadline) => Ended::TimeIsUp,
        () = nobody(session, nobody_after) => Ended::Nobody,
    }
}

/// Completes once no session was open for a while.
async fn nobody(mut session: watch::Receiver<SessionStatus>, after: Duration) {
    let is_open = |status: &SessionStatus| matches!(status, SessionStatus::Open { .. });
    loop {
        if session.wait_for(|status| !is_open(status)).await.is_err() {
            return;
        }
        match timeout(after, session.wait_for(is_open)).await {
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

    /// Each row: what is on the node and what becomes of it, its session, how patient it is, how it ends.
    #[tokio::test]
    async fn it_ends_when_nothing_is_left_or_nobody_takes_it_or_time_is_up() {
        let (soon, never) = (Duration::from_millis(1), Duration::from_secs(3_600));
        for (is_emptied, status, within, nobody_after, ended) in [
            (true, open(), never, never, Ended::Empty),
            (true, alone(), never, never, Ended::Empty),
            (false, open(), soon, never, Ended::TimeIsUp),
            (false, open(), soon, soon, Ended::TimeIsUp),
            (false, alone(), never, soon, Ended::Nobody),
        ] {
            let leaving: watch::Sender<Option<Instant>> = watch::Sender::new(None);
            let outbox = Outbox::default();
            let (ledger, status) = (watch::Sender::new(held()), watch::Sender::new(status));
            let waits = until_empty(&leaving, ledger.subscribe(), &outbox, status.subscribe(), within, nobody_after);
            let empties = async {
                leaving.subscribe().wait_for(Option::is_some).await.expect("it asks");
                if is_emptied {
                    ledger.send_replace(Ledger::default());
                }
            };
            let (got, ()) = tokio::join!(waits, empties);
            assert_eq!(got, ended, "{is_emptied} {status:?} {within:?} {nobody_after:?}");
        }
    }

    #[tokio::test]
    async fn a_node_with_nothing_on_it_just_ends() {
        let leaving: watch::Sender<Option<Instant>> = watch::Sender::new(None);
        let (ledger, status) = (watch::Sender::new(Ledger::default()), watch::Sender::new(open()));
        let (never, outbox) = (Duration::from_secs(3_600), Outbox::default());
        assert_eq!(
            until_empty(&leaving, ledger.subscribe(), &outbox, status.subscribe(), never, never).await,
            Ended::Empty
        );
        assert!(leaving.borrow().is_none(), "and asks for nothing");
    }
}
