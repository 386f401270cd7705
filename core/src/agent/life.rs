//! The life of one replica on its node, from its order to its last file.
//!
//! What the gate and the leader are told is not sent from the many places where something changes, but derived from
//! where the life stands after every step: so no path can forget to withdraw a replica whose process is gone.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Desired, Effect, Fault, GateState, LedgerEntry, ProbeKind, Process, Remedy, ReplicaOrder, Signal,
    machine::Timing,
    running::{Running, Turn},
    share, words,
};
use crate::{
    defaults::DEFAULTS,
    id::ReplicaId,
    state::{Observed, ReplicaReport},
    time::{Instant, Millis},
};

/// Pace of the question whether the gate still has requests for a replica that leaves: what a person would not notice at
/// the end of a node's absence, and a look-up in memory.
const GATE_ASK_PERIOD: Millis = Millis(100);
/// Doublings after which the longest wait is surely reached; keeps the shift in range.
const MAX_DOUBLINGS: u32 = 16;

/// What a step may look at, and where it leaves its effects.
pub(super) struct Cx<'a> {
    pub(super) timing: &'a Timing,
    pub(super) now: Instant,
    pub(super) out: &'a mut Vec<Effect>,
}

/// A replica of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    order: Arc<ReplicaOrder>,
    phase: Phase,
    /// Names the last launch; an answer to an older one is old news.
    attempt: u64,
    /// Starts that failed in a row; judged only until the replica was warm once.
    failed_starts: u32,
    /// Waits in a row: each doubles the next.
    waits: u32,
    restarts: u32,
    ever_warm: bool,
    /// Why it stands where it stands, for people.
    reason: String,
    permanent: bool,
    /// Looks in a row at which it used more device memory than its share.
    over_share: u32,
    /// Whether a reserve slot had everything ready for it.
    is_cached: bool,
    at_gate: Option<(u16, GateState)>,
    said: Option<ReplicaReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Fetching,
    Building,
    Waiting {
        until: Instant,
        wait: Millis,
        then: Work,
    },
    Launching,
    Running(Box<Running>),
    /// It is to end, and nobody had it drained: its node was out of reach when that was decided, and its callers here
    /// may still use it. It takes nothing new and ends once the gate has nothing of it, or at the deadline.
    Leaving {
        process: Process,
        until: Instant,
        /// When the gate is asked; absent while it has yet to answer.
        ask_at: Option<Instant>,
    },
    /// Its process was told to end.
    Ending {
        process: Process,
        kill_at: Instant,
        why: Option<Fault>,
    },
    Removing {
        retry_at: Option<Instant>,
    },
    /// It cannot start; its files stay until the leader has it stopped.
    Failed,
    /// Nothing is left. Kept until the leader no longer lists it, so that it can be said again.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Fetch,
    Build,
    Launch,
}

// === impl Life ===

impl Life {
    fn new(order: Arc<ReplicaOrder>, phase: Phase) -> Self {
        Self {
            order,
            phase,
            attempt: 0,
            failed_starts: 0,
            waits: 0,
            restarts: 0,
            ever_warm: false,
            reason: String::new(),
            permanent: false,
            over_share: 0,
            is_cached: false,
            at_gate: None,
            said: None,
        }
    }

    /// Begins a replica that was just ordered. One that is to end, and of which this node knows nothing, is gone.
    pub(super) fn ordered(order: Arc<ReplicaOrder>, is_cached: bool, cx: &mut Cx<'_>) -> Self {
        let mut life = Self { is_cached, ..Self::new(order, Phase::Gone) };
        if life.order.desired == Desired::Run {
            life.work(Work::Fetch, cx);
        }
        life.sync(cx);
        life
    }

    /// Takes up a replica of an earlier agent.
    pub(super) fn recovered(entry: LedgerEntry, cx: &mut Cx<'_>) -> Self {
        let LedgerEntry { order, attempt, process, is_warm, ever_warm, restarts } = entry;
        let mut life = Self { attempt, restarts, ever_warm, ..Self::new(order, Phase::Gone) };
        match process {
            Some(process) => {
                cx.out.push(Effect::Adopt { order: Arc::clone(&life.order), attempt, process });
                let begin = if is_warm { Running::adopted_warm } else { Running::coming };
                life.phase = Phase::Running(Box::new(begin(&life.order, process, cx.timing, cx.now)));
                "its agent started again and adopted it".clone_into(&mut life.reason);
                life.obey(cx);
                life.ask(cx);
            }
            None if life.order.desired == Desired::Run => {
                life.restarts += u32::from(attempt > 0);
                life.work(Work::Fetch, cx);
            }
            None => life.remove(cx),
        }
        life.sync(cx);
        life
    }

    pub(super) fn entry(&self) -> Option<LedgerEntry> {
        let (process, is_warm) = match &self.phase {
            Phase::Running(running) => (Some(running.process), running.is_warm()),
            Phase::Leaving { process, .. } | Phase::Ending { process, .. } => (Some(*process), false),
            Phase::Gone => return None,
            _ => (None, false),
        };
        Some(LedgerEntry {
            order: Arc::clone(&self.order),
            attempt: self.attempt,
            process,
            is_warm,
            ever_warm: self.ever_warm,
            restarts: self.restarts,
        })
    }

    pub(super) fn id(&self) -> ReplicaId {
        self.order.replica
    }

    /// Returns whether it waits for its assets or its environment.
    pub(super) fn prepares(&self) -> bool {
        matches!(self.phase, Phase::Fetching | Phase::Building)
    }

    /// Returns when it stops by itself if no coordinator was heard since `alone_since`.
    pub(super) fn stops_at(&self, alone_since: Instant) -> Option<Instant> {
        let after = self.order.spec.disconnect.stop_on_client_after?;
        (self.order.desired != Desired::Stop).then(|| alone_since + after)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Says again how it stands, to a leader that may not know.
    pub(super) fn say_again(&mut self, cx: &mut Cx<'_>) {
        self.said = None;
        self.sync(cx);
    }

    /// Takes a newer order.
    pub(super) fn reorder(&mut self, order: Arc<ReplicaOrder>, cx: &mut Cx<'_>) {
        self.order = order;
        if self.is_gone() {
            // A leader that asks again about what is gone did not hear it. It stays gone even if it is to run: once that is
            // heard its place is somebody else's, and whoever replaces it is another replica.
            self.said = None;
        } else {
            self.obey(cx);
        }
        self.sync(cx);
    }

    /// Takes being left out of newer orders: the same as an order to stop.
    pub(super) fn unlisted(&mut self, cx: &mut Cx<'_>) {
        if self.order.desired != Desired::Stop {
            let order = ReplicaOrder { desired: Desired::Stop, ..(*self.order).clone() };
            self.reorder(Arc::new(order), cx);
        }
    }

    /// Brings the phase in line with what is desired.
    fn obey(&mut self, cx: &mut Cx<'_>) {
        match self.order.desired {
            Desired::Run if self.is_gone() => self.work(Work::Fetch, cx),
            Desired::Run => {}
            // What takes requests may finish them; what never did has nothing to finish.
            Desired::Drain { .. } if matches!(&self.phase, Phase::Running(running) if running.was_warm()) => {}
            Desired::Stop if matches!(self.phase, Phase::Leaving { .. }) => {}
            Desired::Stop if matches!(self.at_gate, Some((_, GateState::Open))) => self.leave(cx),
            Desired::Drain { .. } | Desired::Stop => self.end(None, cx),
        }
    }

    /// Drains by itself before it ends: an order to stop what the gate still offers was given by somebody who could not
    /// see that it is used.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        let Phase::Running(running) = &self.phase else {
            self.end(None, cx);
            return;
        };
        let until = cx.now + self.order.spec.drain_within();
        self.phase = Phase::Leaving { process: running.process, until, ask_at: None };
        self.sync_gate(cx);
        cx.out.push(Effect::AskGate { replica: self.order.replica });
    }

    /// Takes how many requests the gate still has for it.
    pub(super) fn gate_counted(&mut self, in_flight: u64, cx: &mut Cx<'_>) {
        let Phase::Leaving { ask_at, .. } = &mut self.phase else {
            return;
        };
        *ask_at = Some(cx.now + GATE_ASK_PERIOD);
        if in_flight == 0 {
            self.end(None, cx);
        }
        self.sync(cx);
    }

    /// Ends whatever there is of it: to be removed if it is no longer wanted, to be started again if it is.
    fn end(&mut self, why: Option<Fault>, cx: &mut Cx<'_>) {
        match &self.phase {
            Phase::Running(running) => {
                let process = running.process;
                if running.warm_for(cx.now) >= cx.timing.restart_backoff_max {
                    self.waits = 0;
                }
                if let Some(why) = &why {
                    self.reason.clone_from(&why.reason);
                }
                self.terminate(process, why, cx);
            }
            Phase::Leaving { process, .. } => self.terminate(*process, why, cx),
            Phase::Fetching | Phase::Building | Phase::Waiting { .. } | Phase::Failed => self.remove(cx),
            // The launch answers first: only then is there something to kill, or nothing.
            Phase::Launching | Phase::Ending { .. } | Phase::Removing { .. } | Phase::Gone => {}
        }
    }

    fn terminate(&mut self, process: Process, why: Option<Fault>, cx: &mut Cx<'_>) {
        self.phase = Phase::Ending { process, kill_at: cx.now + cx.timing.kill_grace, why };
        self.sync_gate(cx);
        self.kill(Signal::Term, cx);
    }

    fn kill(&self, signal: Signal, cx: &mut Cx<'_>) {
        cx.out.push(Effect::Kill { replica: self.order.replica, attempt: self.attempt, signal });
    }

    fn remove(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Removing { retry_at: None };
        self.sync_gate(cx);
        cx.out.push(Effect::RemoveFiles { replica: self.order.replica });
    }

    fn work(&mut self, work: Work, cx: &mut Cx<'_>) {
        let order = Arc::clone(&self.order);
        let (phase, reason, effect) = match work {
            Work::Fetch => {
                let from_cache = "takes its model and code from the cache, where its slot had them";
                let reason = if self.is_cached { from_cache } else { "fetches its model and code" };
                (Phase::Fetching, reason, Effect::FetchAssets { order })
            }
            Work::Build => (Phase::Building, "builds its environment", Effect::BuildEnvironment { order }),
            Work::Launch => {
                self.attempt += 1;
                (Phase::Launching, "starts its process", Effect::Launch { order, attempt: self.attempt })
            }
        };
        self.phase = phase;
        reason.clone_into(&mut self.reason);
        cx.out.push(effect);
    }

    pub(super) fn assets(&mut self, answer: Result<(), Fault>, cx: &mut Cx<'_>) {
        if self.phase == Phase::Fetching {
            match answer {
                Ok(()) => self.work(Work::Build, cx),
                Err(fault) => self.fault(Work::Fetch, fault, cx),
            }
            self.sync(cx);
        }
    }

    pub(super) fn environment(&mut self, answer: Result<(), Fault>, cx: &mut Cx<'_>) {
        if self.phase == Phase::Building {
            match answer {
                Ok(()) => self.work(Work::Launch, cx),
                Err(fault) => self.fault(Work::Build, fault, cx),
            }
            self.sync(cx);
        }
    }

    pub(super) fn started(&mut self, attempt: u64, answer: Result<Process, Fault>, cx: &mut Cx<'_>) {
        let is_awaited = self.phase == Phase::Launching && attempt == self.attempt;
        match answer {
            Ok(process) if is_awaited => {
                self.phase = Phase::Running(Box::new(Running::coming(&self.order, process, cx.timing, cx.now)));
                "its process does not answer yet".clone_into(&mut self.reason);
                self.obey(cx);
                self.ask(cx);
            }
            // A launch of an agent that failed in between. Two processes of one replica are never right.
            Ok(_) => {
                cx.out.push(Effect::Kill { replica: self.order.replica, attempt, signal: Signal::Kill });
            }
            Err(_) if is_awaited && self.order.desired != Desired::Run => self.remove(cx),
            Err(fault) if is_awaited => self.fault(Work::Launch, fault, cx),
            Err(_) => {}
        }
        self.sync(cx);
    }

    /// Takes that no process of its group is left.
    pub(super) fn exited(&mut self, attempt: u64, how: &str, log_tail: &str, cx: &mut Cx<'_>) {
        if attempt != self.attempt {
            return;
        }
        let why = match &mut self.phase {
            Phase::Running(running) => {
                if running.warm_for(cx.now) >= cx.timing.restart_backoff_max {
                    self.waits = 0;
                }
                None
            }
            Phase::Ending { why, .. } => why.take(),
            Phase::Launching | Phase::Leaving { .. } => None,
            _ => return,
        };
        if self.order.desired != Desired::Run {
            self.remove(cx);
        } else {
            let mut fault = why.unwrap_or_else(|| {
                let reason = match words::exception(log_tail) {
                    Some(exception) => format!("{how}: {exception}"),
                    None => how.to_owned(),
                };
                Fault { remedy: Remedy::Retry, reason }
            });
            if !self.ever_warm && !log_tail.is_empty() {
                fault.reason = format!("{}\n{log_tail}", fault.reason);
            }
            self.fault(Work::Launch, fault, cx);
        }
        self.sync(cx);
    }

    /// Waits and tries again, or gives up. What was warm once is never given up: nobody else might be there to replace
    /// it.
    fn fault(&mut self, work: Work, fault: Fault, cx: &mut Cx<'_>) {
        let Fault { remedy, reason } = fault;
        self.failed_starts += u32::from(remedy == Remedy::Retry);
        let gives_up = match remedy {
            Remedy::Wait => false,
            Remedy::Retry => self.failed_starts >= cx.timing.start_attempts,
            Remedy::Elsewhere | Remedy::Change => true,
        };
        if gives_up && !self.ever_warm {
            self.permanent = remedy == Remedy::Change;
            self.reason = reason;
            self.phase = Phase::Failed;
            return;
        }
        self.restarts += u32::from(work == Work::Launch);
        let wait =
            Millis((cx.timing.restart_backoff.0 << self.waits.min(MAX_DOUBLINGS)).min(cx.timing.restart_backoff_max.0));
        self.waits = self.waits.saturating_add(1);
        let first = reason.lines().next().unwrap_or_default();
        self.reason = format!("{first}; tried again in {wait}");
        self.phase = Phase::Waiting { until: cx.now + wait, wait, then: work };
    }

    pub(super) fn probed(&mut self, attempt: u64, kind: ProbeKind, answer: &Result<(), String>, cx: &mut Cx<'_>) {
        if attempt == self.attempt
            && let Phase::Running(running) = &mut self.phase
        {
            let turn = running.answered(kind, answer, cx.timing, cx.now);
            self.turn(turn, cx);
        }
    }

    pub(super) fn warmed_up(&mut self, attempt: u64, answer: &Result<(), String>, cx: &mut Cx<'_>) {
        if attempt == self.attempt
            && let Phase::Running(running) = &mut self.phase
        {
            let turn = running.warmed_up(answer.is_ok(), cx.timing, cx.now);
            self.turn(turn, cx);
        }
    }

    fn turn(&mut self, turn: Turn, cx: &mut Cx<'_>) {
        match turn {
            Turn::None => {}
            Turn::Ready => {
                if let Phase::Running(running) = &mut self.phase {
                    running.warm_up(&self.order, self.attempt, cx.now, cx.out);
                }
            }
            Turn::Warm => {
                self.ever_warm = true;
                self.failed_starts = 0;
                self.reason.clear();
            }
            Turn::Unready(why) | Turn::Silent(why) => self.reason = why,
            Turn::Sick(reason) => self.end(Some(Fault { remedy: Remedy::Retry, reason }), cx),
            Turn::Hung(reason) => self.end(Some(Fault { remedy: Remedy::Elsewhere, reason }), cx),
        }
        self.sync(cx);
    }

    /// Takes what it uses of the cards. Beyond its share for several looks in a row, it is started again: whoever shares
    /// the card with it has no other protection.
    pub(super) fn used_devices(&mut self, used: Option<&BTreeMap<String, u64>>, cx: &mut Cx<'_>) {
        let is_running = matches!(self.phase, Phase::Running(_));
        let excess = used.filter(|_| is_running).and_then(|used| share::exceeded(&self.order.devices, used));
        let Some(excess) = excess else {
            self.over_share = 0;
            return;
        };
        self.over_share += 1;
        if self.over_share >= DEFAULTS.device_share_grace {
            self.over_share = 0;
            self.end(Some(Fault { remedy: Remedy::Retry, reason: excess.to_string() }), cx);
            self.sync(cx);
        }
    }

    pub(super) fn files_removed(&mut self, answer: Result<(), String>, cx: &mut Cx<'_>) {
        if !matches!(self.phase, Phase::Removing { retry_at: None }) {
            return;
        }
        match answer {
            Ok(()) => {
                self.phase = Phase::Gone;
                "nothing of it is left".clone_into(&mut self.reason);
                self.obey(cx);
            }
            Err(why) => {
                self.reason = why;
                self.phase = Phase::Removing { retry_at: Some(cx.now + cx.timing.restart_backoff_max) };
            }
        }
        self.sync(cx);
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, cx: &mut Cx<'_>) {
        match &mut self.phase {
            Phase::Waiting { until, then, .. } if *until <= cx.now => {
                let then = *then;
                self.work(then, cx);
            }
            Phase::Running(running) => {
                let turn = running.tick(cx.timing, cx.now);
                self.turn(turn, cx);
                self.ask(cx);
                return;
            }
            Phase::Leaving { until, .. } if *until <= cx.now => self.end(None, cx),
            Phase::Leaving { ask_at, .. } if ask_at.is_some_and(|at| at <= cx.now) => {
                *ask_at = None;
                cx.out.push(Effect::AskGate { replica: self.order.replica });
            }
            Phase::Ending { kill_at, .. } if *kill_at <= cx.now => {
                *kill_at = cx.now + cx.timing.kill_grace;
                self.kill(Signal::Kill, cx);
            }
            Phase::Removing { retry_at: Some(at) } if *at <= cx.now => self.remove(cx),
            _ => return,
        }
        self.sync(cx);
    }

    fn ask(&mut self, cx: &mut Cx<'_>) {
        if let Phase::Running(running) = &mut self.phase {
            running.ask(&self.order, self.attempt, cx.now, cx.out);
        }
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Running(running) => Some(running.wake_at()),
            Phase::Leaving { until, ask_at, .. } => Some(ask_at.map_or(*until, |at| at.min(*until))),
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Removing { retry_at } => *retry_at,
            Phase::Fetching | Phase::Building | Phase::Launching | Phase::Failed | Phase::Gone => None,
        }
    }

    /// Tells the gate and the leader what is new to them.
    fn sync(&mut self, cx: &mut Cx<'_>) {
        self.sync_gate(cx);
        let Some(report) = self.report() else {
            return;
        };
        if self.said.as_ref() != Some(&report) {
            self.said = Some(report.clone());
            cx.out.push(Effect::Report(report));
        }
    }

    fn sync_gate(&mut self, cx: &mut Cx<'_>) {
        let due = match (&self.phase, self.order.desired) {
            (Phase::Running(running), Desired::Run) if running.is_warm() => {
                Some((running.process.port, GateState::Open))
            }
            (Phase::Running(running), Desired::Drain { .. }) if running.was_warm() => {
                Some((running.process.port, GateState::Draining))
            }
            (Phase::Leaving { process, .. }, _) => Some((process.port, GateState::Draining)),
            _ => None,
        };
        if self.at_gate == due {
            return;
        }
        self.at_gate = due;
        cx.out.push(match due {
            Some((port, state)) => Effect::Publish { order: Arc::clone(&self.order), port, state },
            None => Effect::Withdraw { replica: self.order.replica },
        });
    }

    /// Returns what the leader should know. On its way out there is nothing to say until it is gone.
    pub(super) fn report(&self) -> Option<ReplicaReport> {
        let observed = match &self.phase {
            Phase::Gone => Observed::Gone,
            _ if self.order.desired != Desired::Run => return None,
            Phase::Removing { .. } => return None,
            Phase::Fetching | Phase::Building => Observed::Preparing,
            Phase::Waiting { then: Work::Fetch | Work::Build, .. } => Observed::Preparing,
            Phase::Running(running) if running.is_warm() => Observed::Warm,
            Phase::Waiting { .. }
            | Phase::Launching
            | Phase::Running(_)
            | Phase::Leaving { .. }
            | Phase::Ending { .. } => Observed::Starting,
            Phase::Failed => Observed::Failed,
        };
        let process = match &self.phase {
            Phase::Running(running) => Some(running.process),
            _ => None,
        };
        Some(ReplicaReport {
            replica: self.order.replica,
            observed,
            reason: self.reason.clone(),
            permanent: self.permanent,
            restarts: self.restarts,
            retry_in: match &self.phase {
                Phase::Waiting { wait, .. } => *wait,
                _ => Millis(0),
            },
            pid: process.map_or(0, |process| process.pid),
            address: process.map(|process| format!("127.0.0.1:{}", process.port)).unwrap_or_default(),
        })
    }
}
