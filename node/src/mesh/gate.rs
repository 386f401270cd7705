//! The gate: the only way to a replica, on the replica's own node.
//!
//! It holds the slots and the waiters of each replica, shared by all cores of the node. The decision is
//! [`Admission`]'s; here are the lock around it (held for a few comparisons, never across an await), the wake-up of
//! waiters on other cores, and what must happen when a holder goes away at any point.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use berth_core::{
    id::ReplicaId,
    model::DeploymentKey,
    time::{Instant, Millis},
    traffic::{
        admission::{Admission, Answer, Ask, NotStarted, Phase, Waiter, Woken},
        mirror,
        table::RouteRuntime,
    },
};
use http::StatusCode;
use tokio::sync::{Notify, oneshot};

use super::{
    clock::Clock,
    metrics::{CLASSES, class},
};

/// A replica of this node as its agent publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReplica {
    /// Its endpoint and deployment.
    pub key: DeploymentKey,
    /// Where its process listens.
    pub address: SocketAddr,
    /// What serves it.
    pub runtime: RouteRuntime,
    /// How many requests it works on at once.
    pub slots: u32,
    /// How long a request may wait for a slot.
    pub max_queue_wait_ms: u64,
    /// Whether it takes requests.
    pub state: LocalState,
}

/// Whether a replica of this node takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalState {
    /// Not yet.
    Starting,
    /// Yes.
    Open,
    /// Only those it has accepted.
    Draining,
    /// No, and those that wait are refused.
    Closed,
}

/// All replicas of this node.
pub(super) struct Gate {
    replicas: ArcSwap<BTreeMap<ReplicaId, Arc<GateReplica>>>,
    /// Slots that an older process of this node still holds, also of replicas that come to this gate later.
    elsewhere: Mutex<BTreeMap<ReplicaId, u32>>,
    /// Told when a replica that drains has a slot less.
    freed: Arc<Notify>,
    clock: Clock,
}

/// One replica of this node.
pub(super) struct GateReplica {
    pub(super) id: ReplicaId,
    local: ArcSwap<LocalReplica>,
    inner: Mutex<Inner>,
    /// What runs, here and in an older process, and what waits here; readable without the lock.
    load: AtomicU32,
    freed: Arc<Notify>,
    clock: Clock,
}

struct Inner {
    admission: Admission,
    waiters: BTreeMap<Waiter, oneshot::Sender<Result<(), NotStarted>>>,
    answered: Answered,
}

/// What a replica was asked at its gate and has ended: copies and hedges too, which no caller's numbers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// By the class of what it answered, in the order of [`CLASSES`]; the last are those that it did not answer.
    pub(super) by_class: [u64; CLASSES.len()],
    /// How long all of them held a slot.
    pub(super) held_ms: u64,
}

/// A slot of a replica; it is freed when this goes away.
pub(super) struct Slot {
    replica: Arc<GateReplica>,
    since: Instant,
    /// What the replica answered; 0 until it does.
    status: u16,
}

/// A request that was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: NotStarted,
    /// When a full replica is expected to have a place again.
    pub(super) retry_after: Option<Millis>,
    /// How long it waited in vain.
    pub(super) queued_ms: u64,
}

/// What a request asks of the gate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) deadline: Instant,
    pub(super) may_queue: bool,
    /// A slot has to stay free beside the one that is taken.
    pub(super) spare: bool,
}

// === impl LocalState ===

impl LocalState {
    fn phase(self) -> Phase {
        match self {
            Self::Starting => Phase::Starting,
            Self::Open => Phase::Open,
            Self::Draining => Phase::Draining,
            Self::Closed => Phase::Closed,
        }
    }
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(clock: Clock) -> Self {
        Self { replicas: ArcSwap::default(), elsewhere: Mutex::default(), freed: Arc::default(), clock }
    }

    /// Publishes a replica, or what changed about it.
    pub(super) fn publish(&self, id: ReplicaId, local: LocalReplica) {
        if let Some(known) = self.find(id) {
            return known.update(local);
        }
        let elsewhere = self.elsewhere();
        let taken = elsewhere.get(&id).copied().unwrap_or(0);
        let replica = Arc::new(GateReplica::new(id, local, taken, self.freed.clone(), self.clock));
        self.replicas.rcu(|replicas| {
            let mut next = BTreeMap::clone(replicas);
            next.insert(id, replica.clone());
            next
        });
    }

    /// Forgets a replica; who waits is refused, who runs may end.
    pub(super) fn withdraw(&self, id: ReplicaId) {
        let Some(known) = self.find(id) else { return };
        self.replicas.rcu(|replicas| {
            let mut next = BTreeMap::clone(replicas);
            next.remove(&id);
            next
        });
        known.close();
    }

    pub(super) fn find(&self, id: ReplicaId) -> Option<Arc<GateReplica>> {
        self.replicas.load().get(&id).cloned()
    }

    /// Returns all replicas as they are now.
    pub(super) fn replicas(&self) -> arc_swap::Guard<Arc<BTreeMap<ReplicaId, Arc<GateReplica>>>> {
        self.replicas.load()
    }

    /// Returns what a replica has of this process, running and waiting.
    pub(super) fn in_flight(&self, id: ReplicaId) -> u64 {
        self.replicas.load().get(&id).map_or(0, |replica| replica.in_flight())
    }

    /// Returns what every replica has answered.
    pub(super) fn answered(&self) -> Vec<(ReplicaId, DeploymentKey, Answered)> {
        let replicas = self.replicas.load();
        let answered = |replica: &GateReplica| replica.with(|inner, _| inner.answered);
        replicas.iter().map(|(id, replica)| (*id, replica.local.load().key.clone(), answered(replica))).collect()
    }

    /// Returns every replica with what it has of this process.
    pub(super) fn loads(&self) -> Vec<(ReplicaId, DeploymentKey, u64)> {
        let replicas = self.replicas.load();
        let load = |(id, replica): (&ReplicaId, &Arc<GateReplica>)| {
            (*id, replica.local.load().key.clone(), replica.in_flight())
        };
        replicas.iter().map(load).collect()
    }
}

impl Gate {
    /// Sets which slots an older process of this node still holds.
    pub(super) fn set_elsewhere(&self, taken: BTreeMap<ReplicaId, u32>) {
        let mut elsewhere = self.elsewhere();
        *elsewhere = taken;
        for (id, replica) in self.replicas.load().iter() {
            replica.set_elsewhere(elsewhere.get(id).copied().unwrap_or(0));
        }
    }

    /// Starts nothing any more but what waits: the slots are a newer process's once they are free.
    pub(super) fn yield_slots(&self) {
        self.replicas.load().values().for_each(|replica| replica.yield_slots());
    }

    /// Returns the slots of every replica that are taken, here or by a process that is older still.
    pub(super) fn taken(&self) -> Vec<(ReplicaId, u32)> {
        let mut taken = self.elsewhere().clone();
        for (id, replica) in self.replicas.load().iter() {
            taken.insert(*id, replica.with(|inner, _| inner.admission.taken()));
        }
        taken.into_iter().collect()
    }

    /// Waits until a replica that drains has a slot less than when this was last waited for.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn elsewhere(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, u32>> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many requests wait at every replica.
    pub(super) fn waiting(&self) -> Vec<(ReplicaId, DeploymentKey, u32)> {
        let replicas = self.replicas.load();
        let waiting = |replica: &GateReplica| replica.with(|inner, _| inner.admission.waiting());
        replicas.iter().map(|(id, replica)| (*id, replica.local.load().key.clone(), waiting(replica))).collect()
    }
}

// === impl GateReplica ===

impl GateReplica {
    fn new(id: ReplicaId, local: LocalReplica, elsewhere: u32, freed: Arc<Notify>, clock: Clock) -> Self {
        let mut admission = Admission::new(local.slots, local.state.phase());
        // Nobody waits yet who could be started.
        let _ = admission.set_elsewhere(elsewhere, clock.now());
        Self {
            id,
            local: ArcSwap::from_pointee(local),
            load: AtomicU32::new(admission.load()),
            inner: Mutex::new(Inner { admission, waiters: BTreeMap::new(), answered: Answered::default() }),
            freed,
            clock,
        }
    }

    pub(super) fn local(&self) -> arc_swap::Guard<Arc<LocalReplica>> {
        self.local.load()
    }

    /// Returns what it has to do: for picking it does not matter which process sent it.
    pub(super) fn load(&self) -> u32 {
        self.load.load(Relaxed)
    }

    fn in_flight(&self) -> u64 {
        u64::from(self.with(|inner, _| inner.admission.in_flight()))
    }

    fn set_elsewhere(&self, taken: u32) {
        self.with(|inner, now| {
            let woken = inner.admission.set_elsewhere(taken, now);
            inner.wake(woken);
            if inner.admission.phase() == Phase::Draining {
                self.freed.notify_one();
            }
        });
    }

    fn yield_slots(&self) {
        self.with(|inner, _| {
            if inner.admission.phase() != Phase::Closed {
                let woken = inner.admission.set_phase(Phase::Draining);
                inner.wake(woken);
            }
        });
    }

    fn update(&self, local: LocalReplica) {
        let (slots, phase) = (local.slots, local.state.phase());
        self.local.store(Arc::new(local));
        self.with(|inner, now| {
            let woken = inner.admission.set_slots(slots, now);
            inner.wake(woken);
            let woken = inner.admission.set_phase(phase);
            inner.wake(woken);
        });
    }

    fn close(&self) {
        self.with(|inner, _| {
            let woken = inner.admission.set_phase(Phase::Closed);
            inner.wake(woken);
        });
    }

    /// Gets a slot, at once or after waiting, or says why not. Returns it with the milliseconds it took.
    pub(super) async fn enter(self: &Arc<Self>, entry: Entry) -> Result<(Slot, u64), Refused> {
        let max_wait = Millis(self.local.load().max_queue_wait_ms);
        let slots = self.local.load().slots;
        let asked = self.with(|inner, now| {
            if entry.spare && !mirror::leaves_room(slots, inner.admission.taken()) {
                return Err(inner.refused(NotStarted::Full, now, now));
            }
            let ask = Ask { now, deadline: entry.deadline, max_wait, may_queue: entry.may_queue };
            match inner.admission.ask(ask) {
                Answer::Start => Ok(Err(now)),
                Answer::Refused(reason) => Err(inner.refused(reason, now, now)),
                Answer::Wait { waiter, until, otherwise } => {
                    let (sender, receiver) = oneshot::channel();
                    inner.waiters.insert(waiter, sender);
                    Ok(Ok((waiter, until, otherwise, receiver, now)))
                }
            }
        })?;
        let (waiter, until, otherwise, woken, since) = match asked {
            Ok(waits) => waits,
            Err(now) => return Ok((Slot::new(self, now), 0)),
        };
        // Leaves the list whatever happens to this future.
        let mut place = Place { replica: self, waiter: Some(waiter), woken };
        match Box::pin(tokio::time::timeout_at(self.clock.timer(until), &mut place.woken)).await {
            Ok(outcome) => {
                place.waiter = None;
                outcome.unwrap_or(Err(NotStarted::Draining)).map_err(|reason| self.refused(reason, since))?;
                let now = self.clock.now();
                Ok((Slot::new(self, now), now.since(since).0))
            }
            Err(_) => Err(self.refused(otherwise, since)),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let now = self.clock.now();
        // A panic in between would leave counts, not memory, in doubt; refusing every later request is worse.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut inner, now);
        self.load.store(inner.admission.load(), Relaxed);
        result
    }

    fn refused(&self, reason: NotStarted, since: Instant) -> Refused {
        self.with(|inner, now| inner.refused(reason, since, now))
    }

    /// Frees a slot; with what became of its request, where one was sent.
    fn release(&self, ended: Option<(Instant, u16)>) {
        self.with(|inner, now| {
            if let Some((since, status)) = ended {
                inner.answered.by_class[class(status)] += 1;
                inner.answered.held_ms += now.since(since).0;
            }
            let woken = inner.admission.release(now);
            inner.wake(woken);
            if inner.admission.phase() == Phase::Draining {
                self.freed.notify_one();
            }
        });
    }
}

// === impl Inner ===

impl Inner {
    fn refused(&self, reason: NotStarted, since: Instant, now: Instant) -> Refused {
        let retry_after = (reason == NotStarted::Full).then(|| self.admission.retry_after(now));
        Refused { reason, retry_after, queued_ms: now.since(since).0 }
    }

    /// Tells waiters what became of them. One whose future has just gone finds out on its own: its place releases.
    fn wake(&mut self, woken: Woken) {
        for waiter in woken.start {
            if let Some(sender) = self.waiters.remove(&waiter) {
                let _ = sender.send(Ok(()));
            }
        }
        for (waiter, reason) in woken.refuse {
            if let Some(sender) = self.waiters.remove(&waiter) {
                let _ = sender.send(Err(reason));
            }
        }
    }
}

/// A place in the list, given up when its future goes away.
struct Place<'a> {
    replica: &'a Arc<GateReplica>,
    /// Nothing once the outcome was taken.
    waiter: Option<Waiter>,
    woken: oneshot::Receiver<Result<(), NotStarted>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let listed = self.replica.with(|inner, _| {
            inner.waiters.remove(&waiter);
            inner.admission.leave(waiter)
        });
        // It was started in the same moment, which is settled since outcomes are sent under the lock: the slot goes to
        // the next one.
        if !listed && matches!(self.woken.try_recv(), Ok(Ok(()))) {
            self.replica.release(None);
        }
    }
}

// === impl Slot ===

impl Slot {
    fn new(replica: &Arc<GateReplica>, since: Instant) -> Self {
        Self { replica: replica.clone(), since, status: 0 }
    }

    /// Notes what the replica answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    pub(super) fn replica(&self) -> &Arc<GateReplica> {
        &self.replica
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.replica.release(Some((self.since, self.status)));
    }
}

/// How long a connection to a replica may take: it is on this host, so more means that its backlog is full.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
