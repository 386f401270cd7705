//! Tables and stories of the agent, with exact effects, and a seeded walk that looks for a second process.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    id::{Generation, LogIndex, NodeEpoch, ReplicaId, Term},
    model::{DeploymentSpec, DeviceGrant, Probe, Runtime},
    rng::SeedTree,
    state::{Observed, ReplicaReport},
    time::{Instant, LogTime, Millis},
};

const R: ReplicaId = ReplicaId(7);
const PROCESS: Process = Process { pid: 100, start_ticks: 5, port: 9_000 };

/// An agent with a clock, in a session, that has been given what the tests call "the order".
struct Bench {
    agent: Agent,
    now: Instant,
    revision: u64,
    spec: DeploymentSpec,
}

fn bench() -> Bench {
    let mut bench = Bench {
        agent: Agent::new(Timing::default()),
        now: Instant::from_millis(1_000_000),
        revision: 0,
        spec: DeploymentSpec::new(Runtime::Python),
    };
    bench.give(Input::Registered { epoch: NodeEpoch(1), term: Term(1) });
    bench
}

impl Bench {
    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.agent.step(input, self.now)
    }

    /// The same, without what only goes to the disk.
    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.give(input);
        effects.retain(|effect| !matches!(effect, Effect::SaveLedger(_)));
        effects
    }

    fn after(&mut self, millis: u64) -> Vec<Effect> {
        self.now = self.now + Millis(millis);
        self.tell(Input::Tick)
    }

    fn order(&self, desired: Desired) -> Arc<ReplicaOrder> {
        Arc::new(ReplicaOrder {
            replica: R,
            key: "fraud/blue".parse().expect("a key"),
            generation: Generation(1),
            spec: self.spec.clone(),
            devices: Vec::new(),
            desired,
        })
    }

    fn orders(&mut self, desired: &[Desired]) -> Assignments {
        self.revision += 1;
        let replicas = desired.iter().map(|desired| (R, (*self.order(*desired)).clone())).collect();
        Assignments {
            term: Term(1),
            epoch: NodeEpoch(1),
            revision: LogIndex(self.revision),
            replicas,
            ..Assignments::default()
        }
    }

    fn desire(&mut self, desired: Desired) -> Vec<Effect> {
        let orders = self.orders(&[desired]);
        self.tell(Input::Assignments(orders))
    }

    /// Brings the replica to the launch numbered `attempt`.
    fn launched(&mut self) {
        self.desire(Desired::Run);
        self.tell(Input::AssetsReady { replica: R });
        self.tell(Input::EnvironmentReady { replica: R });
    }

    fn started(&mut self, attempt: u64) -> Vec<Effect> {
        self.tell(Input::Started { replica: R, attempt, process: PROCESS })
    }

    fn probed(&mut self, attempt: u64, kind: ProbeKind, ok: bool) -> Vec<Effect> {
        let answer = if ok { Ok(()) } else { Err("no".to_owned()) };
        self.tell(Input::ProbeAnswered { replica: R, attempt, kind, answer })
    }

    fn warm(&mut self, attempt: u64) -> Vec<Effect> {
        self.started(attempt);
        self.probed(attempt, ProbeKind::Readiness, true);
        self.tell(Input::WarmedUp { replica: R, attempt, answer: Ok(()) })
    }

    fn exited(&mut self, attempt: u64) -> Vec<Effect> {
        let (how, log_tail) = ("exited with code 3".to_owned(), "Traceback".to_owned());
        self.tell(Input::Exited { replica: R, attempt, how, log_tail })
    }
}

fn report(observed: Observed, reason: &str) -> ReplicaReport {
    ReplicaReport {
        replica: R,
        observed,
        reason: reason.to_owned(),
        permanent: false,
        restarts: 0,
        retry_in: Millis(0),
        pid: 0,
        address: String::new(),
    }
}

fn running(report: ReplicaReport) -> ReplicaReport {
    ReplicaReport { pid: 100, address: "127.0.0.1:9000".to_owned(), ..report }
}

fn probe(attempt: u64, kind: ProbeKind) -> Effect {
    let (target, timeout) = (ProbeTarget::Http("/".to_owned()), Millis(2_000));
    Effect::Probe { replica: R, attempt, kind, target, port: 9_000, timeout }
}

fn kill(attempt: u64, signal: Signal) -> Effect {
    Effect::Kill { replica: R, attempt, signal }
}

#[test]
fn a_life_from_order_to_nothing_left() {
    let mut b = bench();
    let order = b.order(Desired::Run);
    assert_eq!(
        b.desire(Desired::Run),
        [
            Effect::FetchAssets { order: order.clone() },
            Effect::Report(report(Observed::Preparing, "fetches its model and code")),
        ]
    );
    assert_eq!(
        b.tell(Input::AssetsReady { replica: R }),
        [
            Effect::BuildEnvironment { order: order.clone() },
            Effect::Report(report(Observed::Preparing, "builds its environment")),
        ]
    );
    assert_eq!(
        b.tell(Input::EnvironmentReady { replica: R }),
        [
            Effect::Launch { order: order.clone(), attempt: 1 },
            Effect::Report(report(Observed::Starting, "starts its process")),
        ]
    );
    assert_eq!(
        b.started(1),
        [
            probe(1, ProbeKind::Readiness),
            Effect::Report(running(report(Observed::Starting, "its process does not answer yet"))),
        ]
    );
    assert_eq!(b.probed(1, ProbeKind::Readiness, false), [], "not there yet");
    assert_eq!(b.after(199), []);
    assert_eq!(b.after(1), [probe(1, ProbeKind::Readiness)], "asked quickly until it answers");
    let (target, timeout) = (ProbeTarget::Http("/".to_owned()), Millis(30_000));
    assert_eq!(
        b.probed(1, ProbeKind::Readiness, true),
        [Effect::WarmUp { replica: R, attempt: 1, target, port: 9_000, timeout }]
    );
    assert_eq!(
        b.tell(Input::WarmedUp { replica: R, attempt: 1, answer: Ok(()) }),
        [
            Effect::Publish { order, port: 9_000, state: GateState::Open },
            Effect::Report(running(report(Observed::Warm, ""))),
        ]
    );
    let drain = Desired::Drain { deadline: LogTime::from_millis(5) };
    let order = b.order(drain);
    assert_eq!(b.desire(drain), [Effect::Publish { order, port: 9_000, state: GateState::Draining }]);
    assert_eq!(b.desire(Desired::Stop), [Effect::Withdraw { replica: R }, kill(1, Signal::Term)]);
    assert_eq!(b.after(4_999), []);
    assert_eq!(b.after(1), [kill(1, Signal::Kill)], "the grace is over");
    assert_eq!(b.exited(1), [Effect::RemoveFiles { replica: R }]);
    assert_eq!(
        b.tell(Input::FilesRemoved { replica: R, answer: Ok(()) }),
        [Effect::Report(report(Observed::Gone, "nothing of it is left"))]
    );
    assert_eq!(b.agent.wake_at(), None);
    let orders = b.orders(&[]);
    b.tell(Input::Assignments(orders));
    assert!(b.agent.reports().is_empty(), "forgotten once the leader no longer lists it");
}

#[test]
fn older_orders_are_refused() {
    let mut b = bench();
    b.revision = 10;
    b.desire(Desired::Run);
    let fresh =
        Assignments { term: Term(1), epoch: NodeEpoch(1), revision: LogIndex(b.revision), ..Assignments::default() };
    for (orders, why) in [
        (Assignments { term: Term(0), ..fresh.clone() }, "term"),
        (Assignments { epoch: NodeEpoch(0), ..fresh.clone() }, "epoch"),
        (Assignments { epoch: NodeEpoch(2), ..fresh.clone() }, "a newer epoch was never granted to this agent"),
        (Assignments { revision: LogIndex(b.revision - 1), ..fresh.clone() }, "revision"),
    ] {
        let effects = b.give(Input::Assignments(orders));
        assert!(matches!(effects.as_slice(), [Effect::Refuse { .. }]), "{why}: {effects:?}");
    }
    let effects = b.tell(Input::Assignments(fresh));
    assert_eq!(effects, [Effect::RemoveFiles { replica: R }], "the same revision may come again");
    let effects = b.give(Input::Registered { epoch: NodeEpoch(2), term: Term(0) });
    assert!(matches!(effects.as_slice(), [Effect::Refuse { .. }]), "a deposed leader's session");
}

#[test]
fn what_runs_is_stopped_only_by_newer_orders() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    assert_eq!(b.agent.fence().revision, LogIndex(1));
    let silent: Vec<Effect> = (0..5).flat_map(|_| b.after(1_000)).collect();
    assert_eq!(silent, [], "no coordinator is needed to go on");
    let orders = b.orders(&[]);
    b.tell(Input::Assignments(orders));
    let ended = b.tell(Input::GateCounted { replica: R, in_flight: 0 });
    assert_eq!(ended, [Effect::Withdraw { replica: R }, kill(1, Signal::Term)]);
}

#[test]
fn what_the_gate_still_offers_drains_before_it_stops() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    let draining = Effect::Publish { order: b.order(Desired::Stop), port: 9_000, state: GateState::Draining };
    let ask = Effect::AskGate { replica: R };
    assert_eq!(b.desire(Desired::Stop), [draining, ask.clone()], "whoever ordered it could not see its callers");
    assert_eq!(b.desire(Desired::Stop), [], "the order may come again");
    assert_eq!(b.tell(Input::GateCounted { replica: R, in_flight: 2 }), []);
    assert_eq!(b.after(99), []);
    assert_eq!(b.after(1), [ask]);
    let ended = b.tell(Input::GateCounted { replica: R, in_flight: 0 });
    assert_eq!(ended, [Effect::Withdraw { replica: R }, kill(1, Signal::Term)]);
    assert_eq!(b.exited(1), [Effect::RemoveFiles { replica: R }]);
}

#[test]
fn such_a_drain_ends_at_its_deadline_whatever_the_gate_says() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    b.desire(Desired::Stop);
    b.tell(Input::GateCounted { replica: R, in_flight: 1 });
    b.after(29_999);
    assert_eq!(b.after(1), [Effect::Withdraw { replica: R }, kill(1, Signal::Term)]);
    assert_eq!(b.tell(Input::GateCounted { replica: R, in_flight: 0 }), [], "a late answer changes nothing");
}

#[test]
fn a_replica_that_drained_by_order_stops_at_once() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    b.desire(Desired::Drain { deadline: LogTime::from_millis(1) });
    assert_eq!(b.desire(Desired::Stop), [Effect::Withdraw { replica: R }, kill(1, Signal::Term)]);
}

#[test]
fn one_that_dies_while_it_drains_is_not_started_again() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    b.desire(Desired::Stop);
    assert_eq!(b.exited(1), [Effect::Withdraw { replica: R }, Effect::RemoveFiles { replica: R }]);
}

#[test]
fn an_order_to_end_what_is_not_here_is_answered_at_once() {
    for desired in [Desired::Stop, Desired::Drain { deadline: LogTime::from_millis(1) }] {
        let mut b = bench();
        assert_eq!(b.desire(desired), [Effect::Report(report(Observed::Gone, ""))]);
        assert_eq!(b.desire(desired).len(), 1, "and again when it is asked again");
    }
}

#[test]
fn a_start_that_fails_is_tried_three_times_and_then_reported_with_its_log() {
    let mut b = bench();
    b.launched();
    for (attempt, wait) in [(1, 500), (2, 1_000)] {
        b.started(attempt);
        let waits = ReplicaReport {
            restarts: attempt as u32,
            retry_in: Millis(wait),
            ..report(Observed::Starting, &format!("exited with code 3; tried again in {}", Millis(wait)))
        };
        assert_eq!(b.exited(attempt), [Effect::Report(waits)]);
        assert_eq!(b.after(wait - 1), []);
        assert!(matches!(b.after(1)[..], [Effect::Launch { .. }, Effect::Report(_)]));
    }
    b.started(3);
    let failed = ReplicaReport { restarts: 2, ..report(Observed::Failed, "exited with code 3\nTraceback") };
    assert_eq!(b.exited(3), [Effect::Report(failed)]);
    assert_eq!(b.agent.wake_at(), None, "nothing more is tried");
    assert_eq!(b.desire(Desired::Stop), [Effect::RemoveFiles { replica: R }]);
}

#[test]
fn a_crash_after_warm_is_withdrawn_at_once_and_mended_for_ever() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    let mut waits = Vec::new();
    for attempt in 1..=9 {
        let effects = b.exited(attempt);
        assert_eq!(effects[0], Effect::Withdraw { replica: R }, "attempt {attempt}");
        assert!(
            matches!(&effects[1], Effect::Report(report) if report.observed == Observed::Starting),
            "attempt {attempt}"
        );
        let due = b.agent.wake_at().expect("it is tried again");
        waits.push(due.since(b.now).0);
        b.now = due;
        assert!(matches!(b.tell(Input::Tick)[0], Effect::Launch { .. }));
        b.warm(attempt + 1);
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    b.after(30_000);
    b.exited(10);
    assert_eq!(b.agent.wake_at(), Some(b.now + Millis(500)), "it was steady, so the wait starts again");
}

#[test]
fn a_process_that_hangs_in_its_start_is_ended_at_the_deadline() {
    let mut b = bench();
    b.spec.liveness_probe = Probe { initial_delay_ms: 700_000, ..Probe::default() };
    b.launched();
    b.started(1);
    // The liveness probe allows 700 s + 30 × 10 s: more than the start deadline, so that is what counts.
    b.now = b.now + Millis(999_999);
    b.tell(Input::Tick);
    assert!(!b.after(0).contains(&kill(1, Signal::Term)));
    assert!(b.after(1).contains(&kill(1, Signal::Term)));
    let effects = b.exited(1);
    let [Effect::Report(report)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(report.observed, Observed::Failed, "a start that took all its time is not tried twice more");
    let reason = "not ready 16m40s after its start: readiness probe: the probe itself was lost\nTraceback";
    assert_eq!(report.reason, reason);
    assert!(!report.permanent, "another host may be quicker");
}

#[test]
fn a_start_without_an_answer_fails_within_azures_probes_and_says_so() {
    let mut b = bench();
    b.launched();
    let began = b.now;
    b.started(1);
    let mut said = Vec::new();
    for _ in 0..10_000 {
        let due = b.agent.wake_at().expect("it is waited for");
        b.now = due;
        let mut effects = b.tell(Input::Tick);
        for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
            let answer = Err("connection refused".to_owned());
            effects.extend(b.tell(Input::ProbeAnswered { replica: R, attempt: 1, kind, answer }));
        }
        said.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Report(report) => Some(report.reason.clone()),
            _ => None,
        }));
        if effects.contains(&kill(1, Signal::Term)) {
            break;
        }
    }
    assert_eq!(b.now.since(began), Millis(300_000), "ten seconds of delay, then thirty questions ten seconds apart");
    assert_eq!(said[0], "its process does not answer yet; liveness probe: connection refused");
    assert_eq!(said.len(), 2, "each is an entry of the log: {said:?}");
    let effects = b.exited(1);
    let [Effect::Report(report)] = &effects[..] else { panic!("{effects:?}") };
    let reason =
        "not ready 5m00s after its start: liveness probe failed 30 times in a row: connection refused\nTraceback";
    assert_eq!((report.observed, report.reason.as_str()), (Observed::Failed, reason));
    assert_eq!(b.agent.wake_at(), None);
}

#[test]
fn a_restart_that_hangs_is_tried_for_ever() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    b.exited(1);
    b.after(500);
    b.started(2);
    b.after(600_000);
    assert!(matches!(&b.exited(2)[..], [Effect::Report(report)] if report.observed == Observed::Starting));
    assert!(b.agent.wake_at().is_some(), "nobody else might be there to replace it");
}

#[test]
fn liveness_counts_from_its_delay_and_ends_what_fails() {
    let mut b = bench();
    b.spec.liveness_probe = Probe { failure_threshold: 3, ..Probe::default() };
    b.launched();
    b.warm(1);
    assert!(!b.after(9_999).contains(&probe(1, ProbeKind::Liveness)));
    assert!(b.after(1).contains(&probe(1, ProbeKind::Liveness)));
    for failures in 1..3 {
        assert_eq!(b.probed(1, ProbeKind::Liveness, false), [], "{failures}");
        assert!(b.after(10_000).contains(&probe(1, ProbeKind::Liveness)));
    }
    let effects = b.probed(1, ProbeKind::Liveness, false);
    assert_eq!(effects[..2], [Effect::Withdraw { replica: R }, kill(1, Signal::Term)]);
    let effects = b.exited(1);
    assert!(
        matches!(&effects[..], [Effect::Report(report)]
            if report.reason.starts_with("liveness probe failed 3 times in a row: no")),
        "{effects:?}"
    );
}

#[test]
fn readiness_takes_a_replica_out_and_lets_it_back() {
    let mut b = bench();
    b.spec.readiness_probe =
        Probe { initial_delay_ms: 15_000, failure_threshold: 2, success_threshold: 2, ..Probe::default() };
    b.launched();
    b.started(1);
    assert_eq!(b.probed(1, ProbeKind::Readiness, true), [], "two successes are wanted");
    b.after(200);
    assert!(matches!(b.probed(1, ProbeKind::Readiness, true)[..], [Effect::WarmUp { .. }]));
    b.tell(Input::WarmedUp { replica: R, attempt: 1, answer: Ok(()) });
    b.after(10_000);
    assert_eq!(b.probed(1, ProbeKind::Readiness, false), [], "before its delay a failure does not count");
    for _ in 0..2 {
        b.after(10_000);
        b.tell(Input::ProbeAnswered { replica: R, attempt: 1, kind: ProbeKind::Liveness, answer: Ok(()) });
        let effects = b.probed(1, ProbeKind::Readiness, false);
        if effects.is_empty() {
            continue;
        }
        assert_eq!(effects[0], Effect::Withdraw { replica: R });
        assert!(matches!(&effects[1], Effect::Report(report) if report.observed == Observed::Starting));
    }
    b.after(10_000);
    assert_eq!(b.probed(1, ProbeKind::Readiness, true), []);
    b.after(10_000);
    let effects = b.probed(1, ProbeKind::Readiness, true);
    assert!(matches!(effects[..], [Effect::Publish { state: GateState::Open, .. }, Effect::Report(_)]));
}

#[test]
fn a_warm_up_that_fails_or_is_lost_is_asked_again() {
    let mut b = bench();
    b.launched();
    b.started(1);
    b.probed(1, ProbeKind::Readiness, true);
    assert_eq!(b.tell(Input::WarmedUp { replica: R, attempt: 1, answer: Err("500".into()) }), []);
    assert_eq!(b.after(200), [probe(1, ProbeKind::Readiness)]);
    assert!(matches!(b.probed(1, ProbeKind::Readiness, true)[..], [Effect::WarmUp { .. }]));
    let effects = b.after(35_000);
    assert!(!effects.contains(&probe(1, ProbeKind::Readiness)), "not in the same breath");
    assert!(b.after(200).contains(&probe(1, ProbeKind::Readiness)));
}

#[test]
fn faults_before_the_process_are_met_by_their_remedy() {
    for (remedy, observed, permanent, why) in [
        (Remedy::Wait, Observed::Preparing, false, "a coordinator may come back"),
        (Remedy::Retry, Observed::Preparing, false, "the first of three"),
        (Remedy::Elsewhere, Observed::Failed, false, "another node's disk may have room"),
        (Remedy::Change, Observed::Failed, true, "no node can build it"),
    ] {
        let mut b = bench();
        b.desire(Desired::Run);
        b.tell(Input::AssetsReady { replica: R });
        let fault = Fault { remedy, reason: "E_X: why\npip's words".into() };
        let effects = b.tell(Input::EnvironmentFailed { replica: R, fault });
        let [Effect::Report(report)] = &effects[..] else { panic!("{why}: {effects:?}") };
        assert_eq!((report.observed, report.permanent), (observed, permanent), "{why}");
        assert_eq!(report.reason.contains("pip's words"), observed == Observed::Failed, "{why}");
        assert_eq!(b.agent.wake_at().is_some(), observed == Observed::Preparing, "{why}");
    }
}

#[test]
fn waiting_for_a_coordinator_never_gives_up() {
    let mut b = bench();
    b.desire(Desired::Run);
    for _ in 0..50 {
        let fault = Fault { remedy: Remedy::Wait, reason: "E_UNAVAILABLE: x".into() };
        b.tell(Input::AssetsFailed { replica: R, fault });
        b.now = b.agent.wake_at().expect("it is tried again");
        assert!(matches!(b.tell(Input::Tick)[0], Effect::FetchAssets { .. }));
    }
}

#[test]
fn ending_while_a_launch_is_under_way_waits_for_its_answer() {
    let mut b = bench();
    b.launched();
    assert_eq!(b.desire(Desired::Stop), [], "there may be a process, or none");
    assert_eq!(b.started(1), [kill(1, Signal::Term)]);
    let mut b = bench();
    b.launched();
    b.desire(Desired::Stop);
    let fault = Fault { remedy: Remedy::Retry, reason: "x".into() };
    assert_eq!(b.tell(Input::StartFailed { replica: R, attempt: 1, fault }), [Effect::RemoveFiles { replica: R }]);
}

#[test]
fn a_process_nobody_asked_for_is_killed() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    assert_eq!(b.started(0), [kill(0, Signal::Kill)], "of an older launch");
    let unknown = Input::Started { replica: ReplicaId(99), attempt: 4, process: PROCESS };
    assert_eq!(b.tell(unknown), [Effect::Kill { replica: ReplicaId(99), attempt: 4, signal: Signal::Kill }]);
    assert_eq!(b.exited(0), [], "the end of an older process is old news");
}

#[test]
fn files_that_cannot_be_removed_are_tried_again() {
    let mut b = bench();
    b.desire(Desired::Run);
    b.desire(Desired::Stop);
    b.tell(Input::FilesRemoved { replica: R, answer: Err("busy".into()) });
    assert_eq!(b.after(30_000), [Effect::RemoveFiles { replica: R }]);
}

#[test]
fn a_new_session_hears_of_every_replica() {
    let mut b = bench();
    b.launched();
    b.warm(1);
    assert_eq!(
        b.tell(Input::Registered { epoch: NodeEpoch(2), term: Term(3) }),
        [Effect::Report(running(report(Observed::Warm, "")))]
    );
}

/// Each row: what was wanted, whether the process lives, whether it was warm → what a restarted agent does first.
#[test]
fn a_restarted_agent_takes_up_what_it_finds() {
    let b = bench();
    let adopted = "its agent started again and adopted it";
    let drain = Desired::Drain { deadline: LogTime::from_millis(1) };
    let adopt = |desired| Effect::Adopt { order: b.order(desired), attempt: 4, process: PROCESS };
    let publish = |desired, state| Effect::Publish { order: b.order(desired), port: 9_000, state };
    let restarts = |report: ReplicaReport| ReplicaReport { restarts: 2, ..report };
    for (desired, lives, was_warm, expected, why) in [
        (
            Desired::Run,
            true,
            true,
            vec![
                adopt(Desired::Run),
                probe(4, ProbeKind::Readiness),
                publish(Desired::Run, GateState::Open),
                Effect::Report(restarts(running(report(Observed::Warm, adopted)))),
            ],
            "it served all the while, and serves on",
        ),
        (
            Desired::Run,
            true,
            false,
            vec![
                adopt(Desired::Run),
                probe(4, ProbeKind::Readiness),
                Effect::Report(restarts(running(report(Observed::Starting, adopted)))),
            ],
            "it was still coming up",
        ),
        (
            Desired::Run,
            false,
            true,
            vec![
                Effect::FetchAssets { order: b.order(Desired::Run) },
                Effect::Report(ReplicaReport {
                    restarts: 3,
                    ..report(Observed::Preparing, "fetches its model and code")
                }),
            ],
            "it died with its host",
        ),
        (
            drain,
            true,
            true,
            vec![adopt(drain), probe(4, ProbeKind::Readiness), publish(drain, GateState::Draining)],
            "",
        ),
        (drain, false, true, vec![Effect::RemoveFiles { replica: R }], "nothing left to drain"),
        (Desired::Stop, true, true, vec![adopt(Desired::Stop), kill(4, Signal::Term)], "the end goes on"),
        (Desired::Stop, false, false, vec![Effect::RemoveFiles { replica: R }], ""),
    ] {
        let entry = LedgerEntry {
            order: b.order(desired),
            attempt: 4,
            process: lives.then_some(PROCESS),
            is_warm: was_warm,
            ever_warm: was_warm,
            restarts: 2,
        };
        let fence = Fence { term: Term(3), epoch: NodeEpoch(2), revision: LogIndex(50) };
        let mut agent = Agent::new(Timing::default());
        let mut effects =
            agent.step(Input::Recovered(Ledger { fence, replicas: vec![entry], ..Ledger::default() }), b.now);
        effects.retain(|effect| !matches!(effect, Effect::SaveLedger(_)));
        assert_eq!(effects, expected, "{desired:?} {lives} {was_warm}: {why}");
        assert_eq!(agent.fence(), fence, "old orders stay refused");
    }
}

#[test]
fn the_ledger_is_saved_when_it_changes_and_only_then() {
    let mut b = bench();
    let saves = |effects: Vec<Effect>| effects.iter().filter(|e| matches!(e, Effect::SaveLedger(_))).count();
    let orders = b.orders(&[Desired::Run]);
    assert_eq!(saves(b.give(Input::Assignments(orders.clone()))), 1);
    assert_eq!(saves(b.give(Input::Assignments(orders))), 0, "the same again");
    assert_eq!(saves(b.give(Input::AssetsReady { replica: R })), 0);
    assert_eq!(saves(b.give(Input::EnvironmentReady { replica: R })), 1, "the launch is named before it is made");
    assert_eq!(saves(b.give(Input::Started { replica: R, attempt: 1, process: PROCESS })), 1);
    assert_eq!(saves(b.give(Input::Tick)), 0);
}

/// A world that does what it is asked, late, wrongly or not at all, and counts processes.
struct World {
    agent: Agent,
    now: Instant,
    rng: crate::rng::Rng,
    orders: Assignments,
    spec: DeploymentSpec,
    /// Questions that were asked and may be answered.
    open: Vec<Effect>,
    /// Processes by replica and launch.
    alive: BTreeMap<(ReplicaId, u64), Process>,
    ledger: Ledger,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (epoch, term) = (NodeEpoch(1), Term(1));
        let mut spec = DeploymentSpec::new(Runtime::Command(vec!["x".into()]));
        spec.liveness_probe = Probe { failure_threshold: 2, ..Probe::default() };
        let mut world = Self {
            agent: Agent::new(Timing::default()),
            now: Instant::from_millis(0),
            rng: SeedTree::new(seed).child("agent-walk").rng(),
            orders: Assignments { term, epoch, revision: LogIndex(1), ..Assignments::default() },
            spec,
            open: Vec::new(),
            alive: BTreeMap::new(),
            ledger: Ledger::default(),
            trace: Vec::new(),
        };
        world.step(Input::Registered { epoch, term });
        world
    }

    fn step(&mut self, input: Input) {
        let effects = self.agent.step(input.clone(), self.now);
        self.trace.push(format!("{input:?} -> {effects:?}"));
        for effect in effects {
            match effect {
                Effect::SaveLedger(ledger) => self.ledger = ledger,
                Effect::Kill { replica, attempt, signal: Signal::Kill } => {
                    if self.alive.contains_key(&(replica, attempt)) {
                        self.exit(replica, attempt);
                    }
                }
                Effect::RemoveFiles { replica } => {
                    assert!(!self.alive.keys().any(|(id, _)| *id == replica), "files removed under a process");
                    self.open.push(Effect::RemoveFiles { replica });
                }
                Effect::Publish { .. } | Effect::Withdraw { .. } | Effect::Report(_) | Effect::Refuse { .. } => {}
                question => self.open.push(question),
            }
        }
    }

    fn exit(&mut self, replica: ReplicaId, attempt: u64) {
        self.alive.remove(&(replica, attempt));
        self.open.push(Effect::Kill { replica, attempt, signal: Signal::Term });
    }

    /// Lets one thing happen.
    fn happen(&mut self) {
        match self.rng.below(10) {
            0 => self.reorder(),
            1 => {
                self.now = self.now + Millis(self.rng.below(20_000));
                self.step(Input::Tick);
            }
            2 => {
                let all: Vec<_> = self.alive.keys().copied().collect();
                if let Some((replica, attempt)) = self.rng.pick(&all).copied() {
                    self.exit(replica, attempt);
                }
            }
            3 if self.rng.chance(100) => self.restart(),
            _ if self.open.is_empty() => {}
            _ => {
                let at = self.rng.below(self.open.len() as u64) as usize;
                let question = self.open.swap_remove(at);
                self.answer(question);
            }
        }
        let mut per_replica = BTreeMap::new();
        self.alive.keys().for_each(|(replica, _)| *per_replica.entry(*replica).or_insert(0) += 1);
        assert!(per_replica.values().all(|count| *count == 1), "two processes of one replica: {per_replica:?}");
    }

    fn reorder(&mut self) {
        let replica = ReplicaId(1 + self.rng.below(3));
        let desired = match self.rng.below(4) {
            0 => Desired::Stop,
            1 => Desired::Drain { deadline: LogTime::from_millis(1) },
            _ => Desired::Run,
        };
        if self.rng.chance(150) {
            self.orders.replicas.remove(&replica);
        } else {
            let order = ReplicaOrder {
                replica,
                key: "fraud/blue".parse().expect("a key"),
                generation: Generation(1),
                spec: self.spec.clone(),
                devices: Vec::new(),
                desired,
            };
            self.orders.replicas.insert(replica, order);
        }
        self.orders.revision = self.orders.revision.next();
        self.step(Input::Assignments(self.orders.clone()));
    }

    fn restart(&mut self) {
        self.agent = Agent::new(Timing::default());
        self.open.clear();
        let mut ledger = self.ledger.clone();
        for entry in &mut ledger.replicas {
            let key = (entry.order.replica, entry.attempt);
            entry.process = entry.process.filter(|_| self.alive.contains_key(&key));
        }
        // As the shell does: what the ledger does not name is ended.
        let named: Vec<_> = ledger
            .replicas
            .iter()
            .filter(|entry| entry.process.is_some())
            .map(|entry| (entry.order.replica, entry.attempt))
            .collect();
        self.alive.retain(|key, _| named.contains(key));
        self.step(Input::Recovered(ledger));
        let (epoch, term) = (self.orders.epoch, self.orders.term);
        self.step(Input::Registered { epoch, term });
    }

    fn answer(&mut self, question: Effect) {
        let ok = self.rng.chance(800);
        let fault = |remedy| Fault { remedy, reason: "fault".to_owned() };
        let remedy = [Remedy::Wait, Remedy::Retry, Remedy::Elsewhere, Remedy::Change][self.rng.below(4) as usize];
        let input = match question {
            Effect::FetchAssets { order } if ok => Input::AssetsReady { replica: order.replica },
            Effect::FetchAssets { order } => Input::AssetsFailed { replica: order.replica, fault: fault(remedy) },
            Effect::BuildEnvironment { order } if ok => Input::EnvironmentReady { replica: order.replica },
            Effect::BuildEnvironment { order } => {
                Input::EnvironmentFailed { replica: order.replica, fault: fault(remedy) }
            }
            Effect::Launch { order, attempt } if ok => {
                let process = Process { pid: attempt as u32, start_ticks: attempt, port: 1 };
                self.alive.insert((order.replica, attempt), process);
                Input::Started { replica: order.replica, attempt, process }
            }
            Effect::Launch { order, attempt } => {
                Input::StartFailed { replica: order.replica, attempt, fault: fault(Remedy::Retry) }
            }
            Effect::Probe { replica, attempt, kind, .. } => {
                let answer = if ok { Ok(()) } else { Err("no".to_owned()) };
                Input::ProbeAnswered { replica, attempt, kind, answer }
            }
            Effect::WarmUp { replica, attempt, .. } => Input::WarmedUp { replica, attempt, answer: Ok(()) },
            // Its end was put aside when the process died, or it still runs and takes the polite signal.
            Effect::Kill { replica, attempt, .. } => {
                self.alive.remove(&(replica, attempt));
                Input::Exited { replica, attempt, how: "ended".to_owned(), log_tail: String::new() }
            }
            Effect::RemoveFiles { replica } => {
                Input::FilesRemoved { replica, answer: if ok { Ok(()) } else { Err("busy".to_owned()) } }
            }
            _ => return,
        };
        self.step(input);
    }
}

#[test]
fn never_two_processes_of_one_replica_and_the_same_seed_takes_the_same_way() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        (0..400).for_each(|_| world.happen());
        if seed % 20 == 0 {
            let mut again = World::new(seed);
            (0..400).for_each(|_| again.happen());
            assert_eq!(world.trace, again.trace, "seed {seed}");
        }
    }
}

#[test]
fn when_faults_end_everything_settles() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.happen());
        // From here on everything asked is answered well, and the last orders say: run.
        let ids: Vec<ReplicaId> = (1..=3).map(ReplicaId).collect();
        for id in ids {
            let order = ReplicaOrder {
                replica: id,
                key: "fraud/blue".parse().expect("a key"),
                generation: Generation(1),
                spec: world.spec.clone(),
                devices: Vec::new(),
                desired: Desired::Stop,
            };
            world.orders.replicas.insert(id, order);
        }
        world.orders.revision = world.orders.revision.next();
        let orders = world.orders.clone();
        world.step(Input::Assignments(orders));
        for _ in 0..400 {
            while let Some(question) = world.open.pop() {
                world.answer(question);
            }
            world.now = world.now + Millis(10_000);
            world.step(Input::Tick);
        }
        let reports = world.agent.reports();
        assert!(world.alive.is_empty(), "seed {seed}: {:?}", world.alive);
        assert!(reports.iter().all(|report| report.observed == Observed::Gone), "seed {seed}: {reports:?}");
        assert_eq!(world.agent.wake_at(), None, "seed {seed}");
    }
}

#[test]
fn a_replica_that_may_not_run_alone_drains_and_stops_by_itself() {
    let mut b = bench();
    b.spec.disconnect.stop_on_client_after = Some(Millis(60_000));
    b.launched();
    b.warm(1);
    b.after(120_000);
    assert!(b.agent.reports().iter().any(|report| report.observed == Observed::Warm), "a coordinator is there");
    b.tell(Input::SessionEnded);
    b.after(30_000);
    b.tell(Input::SessionEnded);
    assert!(!b.after(29_999).contains(&Effect::AskGate { replica: R }), "counted from the first end");
    assert!(b.agent.wake_at().is_some_and(|at| at <= b.now + Millis(1)), "it is woken for it");
    assert!(b.after(1).contains(&Effect::AskGate { replica: R }), "its callers finish first");
    b.tell(Input::GateCounted { replica: R, in_flight: 0 });
    b.exited(1);
    b.tell(Input::FilesRemoved { replica: R, answer: Ok(()) });
    let told = b.tell(Input::Registered { epoch: NodeEpoch(1), term: Term(1) });
    assert!(matches!(&told[..], [Effect::Report(report)] if report.observed == Observed::Gone), "{told:?}");
    // The leader sent this before it heard so, and gives the place to another replica when it does.
    let told = b.desire(Desired::Run);
    assert!(matches!(&told[..], [Effect::Report(report)] if report.observed == Observed::Gone), "{told:?}");
    assert_eq!(b.agent.wake_at(), None);
}

#[test]
fn a_session_in_time_stops_nothing() {
    let mut b = bench();
    b.spec.disconnect.stop_on_client_after = Some(Millis(60_000));
    b.launched();
    b.warm(1);
    b.tell(Input::SessionEnded);
    b.after(59_000);
    b.tell(Input::Registered { epoch: NodeEpoch(1), term: Term(1) });
    assert!(!b.after(60_000).contains(&Effect::AskGate { replica: R }));
}

#[test]
fn beyond_its_share_for_long_it_is_started_again_and_its_neighbour_is_not() {
    const NEIGHBOUR: ReplicaId = ReplicaId(8);
    let mut b = bench();
    let share = vec![DeviceGrant { uuid: "GPU-1".into(), memory_mib: Some(6_144) }];
    let order = |replica| ReplicaOrder { replica, devices: share.clone(), ..(*b.order(Desired::Run)).clone() };
    let replicas = [R, NEIGHBOUR].map(|replica| (replica, order(replica))).into();
    b.tell(Input::Assignments(Assignments {
        term: Term(1),
        epoch: NodeEpoch(1),
        revision: LogIndex(1),
        replicas,
        ..Assignments::default()
    }));
    for replica in [R, NEIGHBOUR] {
        b.tell(Input::AssetsReady { replica });
        b.tell(Input::EnvironmentReady { replica });
        b.tell(Input::Started { replica, attempt: 1, process: PROCESS });
        b.tell(Input::ProbeAnswered { replica, attempt: 1, kind: ProbeKind::Readiness, answer: Ok(()) });
        b.tell(Input::WarmedUp { replica, attempt: 1, answer: Ok(()) });
    }
    let uses = |own: u64, neighbours: u64| {
        let on_card = |mib| BTreeMap::from([("GPU-1".to_owned(), mib)]);
        Input::DeviceUse(BTreeMap::from([(R, on_card(own)), (NEIGHBOUR, on_card(neighbours))]))
    };
    // Two looks are a step of its program; one below its share begins anew.
    for own in [9_320, 9_320, 6_144, 9_320, 9_320] {
        assert_eq!(b.tell(uses(own, 6_000)), []);
    }
    let ended = b.tell(uses(9_320, 6_000));
    let why = "used 9.1 GiB of its 6 GiB share of GPU memory";
    assert_eq!(
        ended,
        [Effect::Withdraw { replica: R }, kill(1, Signal::Term), Effect::Report(report(Observed::Starting, why))]
    );
    assert_eq!(b.tell(uses(9_320, 6_000)), [], "what is ending is not judged again");
    let exited = b.exited(1);
    let again = ReplicaReport {
        restarts: 1,
        retry_in: Millis(500),
        ..report(Observed::Starting, &format!("{why}; tried again in 500ms"))
    };
    assert_eq!(exited, [Effect::Report(again)]);
}
