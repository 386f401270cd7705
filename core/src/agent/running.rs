//! A process that runs: coming up, warming up, answering, or no longer answering.
//!
//! Azure's `initial_delay` is a wait before the first probe. Taken literally it would make every start last at least ten
//! seconds. So readiness is asked from the start at a quick pace until it passes once, and the delay only says from when
//! a failure counts. Liveness keeps Azure's rule to the letter: it has no use before its delay is over.

use super::{Effect, ProbeKind, ProbeTarget, Process, ReplicaOrder, machine::Timing, probe::Track};
use crate::time::{Instant, Millis};

/// Time a warm-up may take beyond the readiness timeout: the first answer of a model pays for lazy loading.
const WARM_UP_TIMEOUT: Millis = Millis(30_000);
/// Time the answer to a warm-up may be late before the agent asks anew.
const WARM_UP_SLACK: Millis = Millis(5_000);

/// A process and what its probes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) process: Process,
    since: Instant,
    stage: Stage,
    /// When it must have answered its warm-up.
    start_by: Instant,
    liveness: Track,
    readiness: Track,
    /// What the last probe failed with, until one passes.
    last_failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It never answered.
    Coming,
    /// It is ready and was sent its warm-up.
    WarmingUp { overdue_at: Instant },
    /// It takes requests.
    Warm { since: Instant },
    /// It was warm and fails its readiness probe.
    Unready,
}

/// What an answer or the passing of time made of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing new.
    None,
    /// It is ready: send the warm-up.
    Ready,
    /// It takes requests, for the first time or again.
    Warm,
    /// It takes no requests for now.
    Unready(String),
    /// It still does not answer, and what its probes say.
    Silent(String),
    /// It has to be ended.
    Sick(String),
    /// It has to be ended, and never got as far as taking requests: another try would take as long and end the same.
    Hung(String),
}

// === impl Running ===

impl Running {
    /// Begins with a process that was just started, or adopted before it was warm.
    pub(super) fn coming(order: &ReplicaOrder, process: Process, timing: &Timing, now: Instant) -> Self {
        let (live, ready) = (order.spec.liveness_probe, order.spec.readiness_probe);
        // A user who gives a slow model a patient liveness probe means it: the start deadline never undercuts it.
        let patience = live.initial_delay_ms + live.period_ms * u64::from(live.failure_threshold);
        Self {
            process,
            since: now,
            stage: Stage::Coming,
            start_by: now + Millis(timing.start_deadline.0.max(patience)),
            liveness: Track::new(live, now + Millis(live.initial_delay_ms)),
            readiness: Track::new(ready, now),
            last_failure: None,
        }
    }

    /// Begins with an adopted process that took requests when the last agent ended.
    pub(super) fn adopted_warm(order: &ReplicaOrder, process: Process, timing: &Timing, now: Instant) -> Self {
        Self { stage: Stage::Warm { since: now }, ..Self::coming(order, process, timing, now) }
    }

    pub(super) fn is_warm(&self) -> bool {
        matches!(self.stage, Stage::Warm { .. })
    }

    /// Returns whether requests were ever sent to this process.
    pub(super) fn was_warm(&self) -> bool {
        matches!(self.stage, Stage::Warm { .. } | Stage::Unready)
    }

    /// Returns how long it has been taking requests.
    pub(super) fn warm_for(&self, now: Instant) -> Millis {
        match self.stage {
            Stage::Warm { since } => now.since(since),
            _ => Millis(0),
        }
    }

    /// Asks whatever is due.
    pub(super) fn ask(&mut self, order: &ReplicaOrder, attempt: u64, now: Instant, out: &mut Vec<Effect>) {
        for (kind, track) in [(ProbeKind::Liveness, &mut self.liveness), (ProbeKind::Readiness, &mut self.readiness)] {
            // While the warm-up runs, a probe would only queue up behind it.
            let is_held = kind == ProbeKind::Readiness && matches!(self.stage, Stage::WarmingUp { .. });
            if !is_held && track.ask(now) {
                out.push(Effect::Probe {
                    replica: order.replica,
                    attempt,
                    kind,
                    target: ProbeTarget::of(&order.spec, kind),
                    port: self.process.port,
                    timeout: track.timeout(),
                });
            }
        }
    }

    /// Takes the answer of a probe.
    pub(super) fn answered(
        &mut self,
        kind: ProbeKind,
        answer: &Result<(), String>,
        timing: &Timing,
        now: Instant,
    ) -> Turn {
        self.last_failure = answer.as_ref().err().map(|why| kind.last_text(why));
        match kind {
            ProbeKind::Liveness => self.liveness_answered(answer, now),
            ProbeKind::Readiness => self.readiness_answered(answer, timing, now),
        }
    }

    fn liveness_answered(&mut self, answer: &Result<(), String>, now: Instant) -> Turn {
        let period = self.liveness.period();
        if !self.liveness.answered(answer.is_ok(), true, now, period) {
            return Turn::None;
        }
        match &self.last_failure {
            // Said at the liveness probe's leisurely pace: each saying is an entry of the log.
            Some(why) if !self.liveness.fails() && self.stage == Stage::Coming => {
                Turn::Silent(format!("its process does not answer yet; {why}"))
            }
            _ if !self.liveness.fails() => Turn::None,
            _ => self.ended(ProbeKind::Liveness.failed_text(self.liveness.failures(), why_of(answer)), now),
        }
    }

    /// Ends it for `why`: with further tries, unless it spent all its time on coming up.
    fn ended(&self, why: String, now: Instant) -> Turn {
        if self.was_warm() {
            return Turn::Sick(why);
        }
        Turn::Hung(format!("not ready {} after its start: {why}", now.since(self.since)))
    }

    fn readiness_answered(&mut self, answer: &Result<(), String>, timing: &Timing, now: Instant) -> Turn {
        let quick = !self.was_warm();
        let again_in = if quick { timing.start_probe_period } else { self.readiness.period() };
        let counts = self.since + self.readiness.initial_delay() <= now;
        if !self.readiness.answered(answer.is_ok(), counts, now, again_in) {
            return Turn::None;
        }
        match self.stage {
            Stage::Coming if self.readiness.passes() => Turn::Ready,
            Stage::Warm { .. } if self.readiness.fails() => {
                self.stage = Stage::Unready;
                Turn::Unready(ProbeKind::Readiness.failed_text(self.readiness.failures(), why_of(answer)))
            }
            Stage::Unready if self.readiness.passes() => {
                self.stage = Stage::Warm { since: now };
                Turn::Warm
            }
            _ => Turn::None,
        }
    }

    /// Sends the warm-up.
    pub(super) fn warm_up(&mut self, order: &ReplicaOrder, attempt: u64, now: Instant, out: &mut Vec<Effect>) {
        let timeout = Millis(WARM_UP_TIMEOUT.0.max(self.readiness.timeout().0));
        self.stage = Stage::WarmingUp { overdue_at: now + timeout + WARM_UP_SLACK };
        out.push(Effect::WarmUp {
            replica: order.replica,
            attempt,
            target: ProbeTarget::of(&order.spec, ProbeKind::Liveness),
            port: self.process.port,
            timeout,
        });
    }

    /// Takes the answer to the warm-up.
    pub(super) fn warmed_up(&mut self, passed: bool, timing: &Timing, now: Instant) -> Turn {
        if !matches!(self.stage, Stage::WarmingUp { .. }) {
            return Turn::None;
        }
        self.readiness.restart();
        if passed {
            self.readiness.rest(now, self.readiness.period());
            self.stage = Stage::Warm { since: now };
            return Turn::Warm;
        }
        self.readiness.rest(now, timing.start_probe_period);
        self.stage = Stage::Coming;
        Turn::None
    }

    /// Looks for what is overdue.
    pub(super) fn tick(&mut self, timing: &Timing, now: Instant) -> Turn {
        if !self.was_warm() && self.start_by <= now {
            let last = self.last_failure.as_deref().unwrap_or("its warm-up was never answered");
            return self.ended(last.to_owned(), now);
        }
        if matches!(self.stage, Stage::WarmingUp { overdue_at } if overdue_at <= now) {
            return self.warmed_up(false, timing, now);
        }
        for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
            let track = if kind == ProbeKind::Liveness { &self.liveness } else { &self.readiness };
            if track.is_overdue(now) {
                let turn = self.answered(kind, &Err("the probe itself was lost".to_owned()), timing, now);
                if turn != Turn::None {
                    return turn;
                }
            }
        }
        Turn::None
    }

    pub(super) fn wake_at(&self) -> Instant {
        let probes = match self.stage {
            Stage::WarmingUp { overdue_at } => overdue_at.min(self.liveness.wake_at()),
            _ => self.liveness.wake_at().min(self.readiness.wake_at()),
        };
        if self.was_warm() { probes } else { probes.min(self.start_by) }
    }
}

fn why_of(answer: &Result<(), String>) -> &str {
    answer.as_ref().err().map_or("", String::as_str)
}
