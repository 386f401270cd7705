//! What waits for the controller, bounded whoever sends.
//!
//! An actor's mailbox has no bound, so nothing of size is put there: the mailbox holds at most one wake-up, and what is
//! to be looked at lies here. Of heartbeats only the newest per node counts; "entries were applied" and "time passed"
//! are flags; answers to the controller's own effects are bounded by those effects; the rest needs a permit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, OnceLock, PoisonError},
};

use berth_core::{
    controller::{Heartbeat, Input},
    error::{Code, Error},
    id::{LogIndex, NodeId},
    model::DeploymentKey,
};
use ractor::ActorRef;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    time::{Instant, timeout_at},
};

/// Sessions opening and closing plus questions that may wait at once. A leader that is behind by more makes its callers
/// wait instead.
const WAITING_MAX: usize = 1_024;

/// Tells the actor that something lies in the inbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wake;

/// What waits for the controller.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    room: Semaphore,
    actor: OnceLock<ActorRef<Wake>>,
    /// When the controller wants to be woken at the latest.
    alarm: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(Item, Paid)>,
    heartbeats: BTreeMap<NodeId, Heartbeat>,
    applied: bool,
    tick: bool,
    /// Whether a wake-up is on its way.
    woken: bool,
}

/// Whether an item took a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paid {
    Yes,
    No,
}

/// One thing to look at.
#[derive(Debug)]
pub(super) enum Item {
    /// Something the leader heard.
    Input(Input),
    /// What does a deployment wait for?
    Waiting(DeploymentKey, oneshot::Sender<Vec<String>>),
    /// What does a node that is to be empty wait for?
    DrainWaits(NodeId, oneshot::Sender<Vec<String>>),
    /// Which routers have not taken a version of the table?
    RoutersBehind(LogIndex, oneshot::Sender<Vec<String>>),
}

/// Everything that lay there.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) items: Vec<Item>,
    pub(super) heartbeats: Vec<Heartbeat>,
    pub(super) applied: bool,
    pub(super) tick: bool,
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::new(Queue::default()),
            room: Semaphore::new(WAITING_MAX),
            actor: OnceLock::new(),
            alarm: watch::Sender::new(None),
        }
    }

    /// Connects the actor that empties it.
    pub(super) fn connect(&self, actor: ActorRef<Wake>) {
        if self.actor.set(actor).is_ok() {
            self.with(|_| {});
        }
    }

    /// Tells that a session opened or closed. Waits for room.
    pub(crate) async fn session(&self, input: Input) {
        // The semaphore is never closed: an error cannot happen, and if it did the item would only be unpaid.
        let paid = self.room.acquire().await.map_or(Paid::No, |permit| {
            permit.forget();
            Paid::Yes
        });
        self.with(|queue| queue.items.push_back((Item::Input(input), paid)));
    }

    /// Takes the newest heartbeat of a node; an older one that was not looked at yet is replaced.
    pub(crate) fn heartbeat(&self, heartbeat: Heartbeat) {
        self.with(|queue| {
            queue.heartbeats.insert(heartbeat.node, heartbeat);
        });
    }

    /// Answers an effect of the controller, which bounds how many there are.
    pub(super) fn answer(&self, input: Input) {
        self.with(|queue| queue.items.push_back((Item::Input(input), Paid::No)));
    }

    /// Tells that entries were applied.
    pub(super) fn applied(&self) {
        self.with(|queue| queue.applied = true);
    }

    /// Tells that time passed.
    pub(super) fn tick(&self) {
        self.alarm.send_modify(|alarm| *alarm = alarm.filter(|due| *due > Instant::now()));
        self.with(|queue| queue.tick = true);
    }

    /// Asks for a tick at `due`, if none is asked for earlier.
    pub(super) fn wake_at(&self, due: Instant) {
        self.alarm.send_if_modified(|alarm| {
            let sooner = alarm.is_none_or(|known| due < known);
            if sooner {
                *alarm = Some(due);
            }
            sooner
        });
    }

    /// Watches when a tick is wanted.
    pub(super) fn alarm(&self) -> watch::Receiver<Option<Instant>> {
        self.alarm.subscribe()
    }

    /// Asks what a deployment waits for.
    pub(crate) async fn waiting(&self, key: DeploymentKey, deadline: Instant) -> Result<Vec<String>, Error> {
        self.ask(deadline, |answer| Item::Waiting(key, answer)).await
    }

    /// Asks what a node that is to be empty waits for.
    pub(crate) async fn drain_waits(&self, node: NodeId, deadline: Instant) -> Result<Vec<String>, Error> {
        self.ask(deadline, |answer| Item::DrainWaits(node, answer)).await
    }

    /// Asks which routers have not taken a version of the table.
    pub(crate) async fn routers_behind(&self, version: LogIndex, deadline: Instant) -> Result<Vec<String>, Error> {
        self.ask(deadline, |answer| Item::RoutersBehind(version, answer)).await
    }

    async fn ask<T>(&self, deadline: Instant, item: impl FnOnce(oneshot::Sender<T>) -> Item) -> Result<T, Error> {
        let late = || Error::new(Code::Timeout, "the controller did not answer in time");
        let permit = timeout_at(deadline, self.room.acquire()).await.map_err(|_| late())?;
        let paid = permit.map_or(Paid::No, |permit| {
            permit.forget();
            Paid::Yes
        });
        let (answer, answered) = oneshot::channel();
        self.with(|queue| queue.items.push_back((item(answer), paid)));
        let answered = timeout_at(deadline, answered).await.map_err(|_| late())?;
        answered.map_err(|_| Error::new(Code::NoLeader, "this member stopped leading"))
    }

    /// Takes everything out.
    pub(super) fn drain(&self) -> Drained {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.woken = false;
        let (mut items, mut paid) = (Vec::with_capacity(queue.items.len()), 0);
        for (item, payment) in queue.items.drain(..) {
            items.push(item);
            paid += usize::from(payment == Paid::Yes);
        }
        self.room.add_permits(paid);
        Drained {
            items,
            heartbeats: std::mem::take(&mut queue.heartbeats).into_values().collect(),
            applied: std::mem::take(&mut queue.applied),
            tick: std::mem::take(&mut queue.tick),
        }
    }

    /// Puts something in and wakes the actor, unless it is woken already.
    fn with(&self, put: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut queue);
        if let Some(actor) = self.actor.get()
            && !queue.woken
        {
            // An actor that has stopped needs nothing more; its keeper starts another with its own inbox.
            queue.woken = actor.cast(Wake).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_core::id::NodeEpoch;

    #[tokio::test]
    async fn only_the_newest_heartbeat_of_a_node_waits() {
        let inbox = Inbox::new();
        for epoch in 1..=3 {
            inbox.heartbeat(Heartbeat { node: NodeId(7), epoch: NodeEpoch(epoch), ..Heartbeat::default() });
        }
        inbox.applied();
        inbox.applied();
        let drained = inbox.drain();
        assert_eq!(drained.heartbeats.iter().map(|beat| beat.epoch.0).collect::<Vec<_>>(), [3]);
        assert!(drained.applied && !drained.tick);
        assert!(inbox.drain().heartbeats.is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_is_behind_makes_sessions_wait() {
        let inbox = Inbox::new();
        let opened = || Input::SessionOpened { node: NodeId(1), epoch: NodeEpoch(1) };
        for _ in 0..WAITING_MAX {
            inbox.session(opened()).await;
        }
        let mut full = std::pin::pin!(inbox.session(opened()));
        assert!(futures::poll!(full.as_mut()).is_pending());
        assert_eq!(inbox.drain().items.len(), WAITING_MAX);
        full.await;
        assert_eq!(inbox.drain().items.len(), 1);
        assert_eq!(inbox.room.available_permits(), WAITING_MAX);
    }
}
