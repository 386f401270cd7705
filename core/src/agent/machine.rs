//! The machine: orders, events and time in, effects out.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Assignments, Effect, Fence, Input, Ledger, ReplicaOrder, Signal,
    life::{Cx, Life},
    prefetch::Prefetches,
};
use crate::{
    defaults::DEFAULTS,
    id::ReplicaId,
    state::ReplicaReport,
    time::{Instant, Millis},
};

/// Pace of the readiness probe until a process answers for the first time. An idle loopback request costs some tens of
/// microseconds, and a fifth of a second is below what a person notices in a deployment.
const START_PROBE_PERIOD: Millis = Millis(200);

/// How patient an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time from launch to the first answered warm-up. A deployment whose liveness probe allows more gets more.
    pub start_deadline: Millis,
    /// Starts that may fail in a row before a replica that was never warm has failed.
    pub start_attempts: u32,
    /// First wait before a process is started again; doubles.
    pub restart_backoff: Millis,
    /// Longest such wait. Whoever stayed warm this long starts again at the first.
    pub restart_backoff_max: Millis,
    /// Time between the polite and the forced end of a process.
    pub kill_grace: Millis,
    /// Pace of the readiness probe until a process answers for the first time.
    pub start_probe_period: Millis,
}

/// Everything a node decides about its replicas.
#[derive(Clone, Debug)]
pub struct Agent {
    timing: Timing,
    fence: Fence,
    replicas: BTreeMap<ReplicaId, Life>,
    prefetches: Prefetches,
    saved: Ledger,
    /// Since when no coordinator is heard.
    alone_since: Option<Instant>,
}

// === impl Timing ===

impl Default for Timing {
    fn default() -> Self {
        Self {
            start_deadline: DEFAULTS.start_deadline,
            start_attempts: DEFAULTS.start_attempts,
            restart_backoff: DEFAULTS.restart_backoff,
            restart_backoff_max: DEFAULTS.restart_backoff_max,
            kill_grace: DEFAULTS.kill_grace,
            start_probe_period: START_PROBE_PERIOD,
        }
    }
}

// === impl Agent ===

impl Agent {
    /// Creates an agent that knows of nothing.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            fence: Fence::default(),
            replicas: BTreeMap::new(),
            prefetches: Prefetches::default(),
            saved: Ledger::default(),
            alone_since: None,
        }
    }

    /// Takes an input and returns what to do, in this order.
    pub fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        self.take(input, now, &mut out);
        let replicas_prepare = self.replicas.values().any(Life::prepares);
        self.prefetches.work(replicas_prepare, now, &mut out);
        let ledger = self.ledger();
        if ledger != self.saved {
            self.saved.clone_from(&ledger);
            out.push(Effect::SaveLedger(ledger));
        }
        out
    }

    /// Returns when to step with [`Input::Tick`] at the latest.
    pub fn wake_at(&self) -> Option<Instant> {
        let alone = self.alone_since;
        let stops =
            alone.into_iter().flat_map(|since| self.replicas.values().filter_map(move |life| life.stops_at(since)));
        self.replicas.values().filter_map(Life::wake_at).chain(stops).chain(self.prefetches.wake_at()).min()
    }

    /// Returns the newest orders that were taken.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Returns what a leader should know of each replica.
    pub fn reports(&self) -> Vec<ReplicaReport> {
        self.replicas.values().filter_map(Life::report).collect()
    }

    fn take(&mut self, input: Input, now: Instant, out: &mut Vec<Effect>) {
        let mut cx = Cx { timing: &self.timing, now, out };
        match input {
            Input::Recovered(ledger) => {
                self.alone_since = Some(now);
                self.fence = ledger.fence;
                let prefetches = ledger.prefetches.into_iter().map(|order| (order.key.clone(), order));
                self.prefetches.obey(prefetches.collect(), cx.out);
                for entry in ledger.replicas {
                    self.replicas.insert(entry.order.replica, Life::recovered(entry, &mut cx));
                }
            }
            Input::SessionEnded => {
                self.alone_since.get_or_insert(now);
            }
            Input::Registered { epoch, term } => match self.fence.register(epoch, term) {
                Ok(()) => {
                    self.alone_since = None;
                    self.replicas.values_mut().for_each(|life| life.say_again(&mut cx));
                }
                Err(why) => cx.out.push(Effect::Refuse { why }),
            },
            Input::Assignments(orders) => match self.fence.take(&orders) {
                Ok(()) => {
                    let prefetches = orders.prefetches.iter();
                    let prefetches = prefetches.map(|(key, order)| (key.clone(), Arc::new(order.clone()))).collect();
                    // Replicas first: the slot that one of them took is not among the orders any more.
                    Self::obey(&mut self.replicas, &self.prefetches, orders, &mut cx);
                    self.prefetches.obey(prefetches, cx.out);
                }
                Err(why) => cx.out.push(Effect::Refuse { why }),
            },
            Input::Tick => {
                for life in self.replicas.values_mut() {
                    if self.alone_since.is_some_and(|since| life.stops_at(since).is_some_and(|at| at <= now)) {
                        tracing::info!(replica = %life.id(), "stops: no coordinator was heard for as long as it may run alone");
                        life.unlisted(&mut cx);
                    }
                    life.tick(&mut cx);
                }
            }
            Input::DeviceUse(used) => {
                for (replica, life) in &mut self.replicas {
                    life.used_devices(used.get(replica), &mut cx);
                }
            }
            Input::Prefetched { key, generation, answer } => self.prefetches.done(&key, generation, answer, &mut cx),
            Input::AssetsReady { replica } => self.of(replica, out, now, |life, cx| life.assets(Ok(()), cx)),
            Input::AssetsFailed { replica, fault } => {
                self.of(replica, out, now, |life, cx| life.assets(Err(fault), cx));
            }
            Input::EnvironmentReady { replica } => {
                self.of(replica, out, now, |life, cx| life.environment(Ok(()), cx));
            }
            Input::EnvironmentFailed { replica, fault } => {
                self.of(replica, out, now, |life, cx| life.environment(Err(fault), cx));
            }
            // Nobody waits for it: of a replica that is not known, no process may run.
            Input::Started { replica, attempt, .. } if !self.replicas.contains_key(&replica) => {
                cx.out.push(Effect::Kill { replica, attempt, signal: Signal::Kill });
            }
            Input::Started { replica, attempt, process } => {
                self.of(replica, out, now, |life, cx| life.started(attempt, Ok(process), cx));
            }
            Input::StartFailed { replica, attempt, fault } => {
                self.of(replica, out, now, |life, cx| life.started(attempt, Err(fault), cx));
            }
            Input::Exited { replica, attempt, how, log_tail } => {
                self.of(replica, out, now, |life, cx| life.exited(attempt, &how, &log_tail, cx));
            }
            Input::ProbeAnswered { replica, attempt, kind, answer } => {
                self.of(replica, out, now, |life, cx| life.probed(attempt, kind, &answer, cx));
            }
            Input::WarmedUp { replica, attempt, answer } => {
                self.of(replica, out, now, |life, cx| life.warmed_up(attempt, &answer, cx));
            }
            Input::GateCounted { replica, in_flight } => {
                self.of(replica, out, now, |life, cx| life.gate_counted(in_flight, cx));
            }
            Input::FilesRemoved { replica, answer } => {
                self.of(replica, out, now, |life, cx| life.files_removed(answer, cx));
            }
        }
    }

    /// Lets one replica take its input. News of one that is not known any more is dropped.
    fn of(
        &mut self,
        replica: ReplicaId,
        out: &mut Vec<Effect>,
        now: Instant,
        take: impl FnOnce(&mut Life, &mut Cx<'_>),
    ) {
        if let Some(life) = self.replicas.get_mut(&replica) {
            take(life, &mut Cx { timing: &self.timing, now, out });
        }
    }

    /// Brings every replica in line with the full set of orders.
    fn obey(replicas: &mut BTreeMap<ReplicaId, Life>, prefetches: &Prefetches, orders: Assignments, cx: &mut Cx<'_>) {
        replicas.retain(|id, life| !life.is_gone() || orders.replicas.contains_key(id));
        for (id, life) in replicas.iter_mut().filter(|(id, _)| !orders.replicas.contains_key(id)) {
            tracing::debug!(replica = %id, "no longer listed");
            life.unlisted(cx);
        }
        for (id, order) in orders.replicas {
            let order: Arc<ReplicaOrder> = Arc::new(order);
            match replicas.get_mut(&id) {
                Some(life) => life.reorder(order, cx),
                None => {
                    let is_cached = prefetches.has(&order.key, order.generation);
                    replicas.insert(id, Life::ordered(order, is_cached, cx));
                }
            }
        }
    }

    fn ledger(&self) -> Ledger {
        Ledger {
            fence: self.fence,
            replicas: self.replicas.values().filter_map(Life::entry).collect(),
            prefetches: self.prefetches.orders(),
        }
    }
}
