//! Replicas as their nodes report them.

use super::{ClusterState, Context, EventSubject, Reply, Severity, node::stale_epoch};
use crate::{
    error::{Code, Error},
    id::{NodeEpoch, NodeId, ReplicaId},
    model::{FailedReplica, Replica, ReplicaState},
    state::{Observed, ReplicaReport, event::GONE, status::FAILURES_CONDEMN},
    time::{LogTime, Millis},
};

/// First wait after a replica that could not start; doubles with every further failure.
const RETRY_BASE: Millis = Millis::from_secs(2);
/// Longest wait: a deployment that was mended elsewhere comes back within five minutes without anyone's help.
const RETRY_MAX: Millis = Millis::from_secs(300);
/// Bytes of a failure's text that are kept: the end of a stack trace, not a log.
const FAILURE_BYTES_MAX: usize = 4_096;

impl ClusterState {
    pub(super) fn replica_reports(
        &mut self,
        cx: &mut Context,
        node: NodeId,
        epoch: NodeEpoch,
        reports: &[ReplicaReport],
    ) -> Result<Reply, Error> {
        let Some(current) = self.nodes.get(&node).map(|node| node.epoch) else {
            return Err(Error::new(Code::NodeNotFound, format!("node {node} does not exist")));
        };
        if epoch != current {
            return Err(stale_epoch(epoch, current));
        }
        for report in reports {
            self.replica_report(cx, node, report);
        }
        cx.done()
    }

    /// Ends a replica because an operator wants it gone: a process that hangs in a way no probe sees. The planner finds one
    /// missing and places another; the place itself comes back when the node says that nothing is left.
    pub(super) fn replica_replace(
        &mut self,
        cx: &mut Context,
        id: ReplicaId,
        within: Option<Millis>,
    ) -> Result<Reply, Error> {
        let Some(replica) = self.replicas.get(&id) else {
            return Err(Error::new(Code::ReplicaNotFound, format!("replica {} does not exist", id.short()))
                .try_("`berth get replicas` lists those there are"));
        };
        if replica.lost {
            return Err(Error::new(Code::Transition, format!("replica {} is out of reach", id.short()))
                .why("its node is lost; another was placed for it already"));
        }
        if !replica.is_wanted() {
            return Err(Error::new(Code::Transition, format!("replica {} is {} already", id.short(), replica.state))
                .why(replica.reason.lines().next().unwrap_or_default()));
        }
        let allowed =
            self.deployments.get(&replica.key).and_then(|it| Some(it.spec_of(replica.generation)?.drain_within()));
        let within = within.or(allowed).unwrap_or_default();
        let reason = "an operator replaces it";
        match replica.state {
            ReplicaState::Warm | ReplicaState::Serving => {
                self.advance(cx, id, ReplicaState::Draining, reason, Some(cx.now + within))?;
            }
            _ => self.advance(cx, id, ReplicaState::Stopped, reason, None)?,
        }
        cx.done()
    }

    /// Takes one report. What does not fit the replica's life is old news and is dropped.
    fn replica_report(&mut self, cx: &mut Context, node: NodeId, report: &ReplicaReport) {
        let known = self.replicas.get(&report.replica).filter(|replica| replica.node == node);
        let Some(state) = known.map(|replica| replica.state) else {
            return;
        };
        let next = match report.observed {
            Observed::Gone => {
                self.replica_gone(cx, report);
                return;
            }
            Observed::Preparing => ReplicaState::Preparing,
            Observed::Starting => ReplicaState::Starting,
            // A serving replica that answers its probes is warm too; that is no step back.
            Observed::Warm if state == ReplicaState::Serving => ReplicaState::Serving,
            Observed::Warm => ReplicaState::Warm,
            Observed::Failed => ReplicaState::Failed,
        };
        if state != next && !state.may_become(next) {
            return;
        }
        self.replica_update(cx, report, next);
        if state != next {
            self.replica_entered(cx, report, state, next);
        }
    }

    fn replica_update(&mut self, cx: &mut Context, report: &ReplicaReport, next: ReplicaState) {
        let Some(replica) = self.replicas.get_mut(&report.replica) else {
            return;
        };
        let was_looping = replica.is_crash_looping();
        replica.restarts = report.restarts;
        replica.retry_at = match report.retry_in {
            Millis(0) => LogTime::default(),
            wait => cx.now + wait,
        };
        replica.pid = report.pid;
        replica.address.clone_from(&report.address);
        replica.reason = clipped(&report.reason);
        if replica.state != next {
            replica.state = next;
            replica.since = cx.now;
            replica.revision = cx.index;
        }
        if replica.is_crash_looping() && !was_looping {
            let first = report.reason.lines().next().unwrap_or_default();
            let (id, key, restarts) = (replica.id.short(), &replica.key, replica.restarts);
            let text = format!("replica {id} of {key} ends again and again, {restarts} restarts so far: {first}");
            cx.event(Severity::Warning, "replica.crash_looping", about(replica), text);
        }
    }

    fn replica_entered(&mut self, cx: &mut Context, report: &ReplicaReport, from: ReplicaState, to: ReplicaState) {
        let Some(replica) = self.replicas.get(&report.replica) else {
            return;
        };
        let (key, subject) = (replica.key.clone(), about(replica));
        let was_routed = matches!(from, ReplicaState::Warm | ReplicaState::Serving);
        // A process that was started again had everything at hand: that says nothing of a new place.
        let first_start = to == ReplicaState::Warm && !was_routed && replica.restarts == 0;
        let took = first_start.then(|| cx.now.since(replica.placed_at));
        if was_routed || to == ReplicaState::Warm {
            self.touch_routes(cx, &key.endpoint);
        }
        if let Some(deployment) = self.deployments.get_mut(&key) {
            deployment.started_in = took.or(deployment.started_in);
        }
        let severity = match to {
            ReplicaState::Failed => Severity::Error,
            _ if was_routed => Severity::Warning,
            _ => Severity::Info,
        };
        let text = match report.reason.lines().next() {
            Some(reason) => format!("replica {} of {key} is {to}: {reason}", report.replica.short()),
            None => format!("replica {} of {key} is {to}", report.replica.short()),
        };
        cx.event(severity, &format!("replica.{to}"), subject, text);
        if to == ReplicaState::Failed {
            self.deployment_failed(cx, report);
        }
    }

    /// Counts a failure of the current generation, or of the one that stands in for it, and sets when the next try is due.
    fn deployment_failed(&mut self, cx: &Context, report: &ReplicaReport) {
        let Some(replica) = self.replicas.get(&report.replica) else {
            return;
        };
        let Some(deployment) = self.deployments.get_mut(&replica.key) else {
            return;
        };
        if deployment.stand_in() == Some(replica.generation) {
            deployment.stand_in_failures = deployment.stand_in_failures.saturating_add(1);
            deployment.stand_in_retry_at = cx.now + back_off(deployment.stand_in_failures);
        }
        if replica.generation != deployment.generation {
            return;
        }
        let weight = if report.permanent { FAILURES_CONDEMN } else { 1 };
        deployment.failures = deployment.failures.saturating_add(weight);
        deployment.last_failure = Some(clipped(&report.reason));
        deployment.last_failed = Some(FailedReplica { replica: replica.id, node: replica.node });
        deployment.retry_at = cx.now + back_off(deployment.failures);
    }

    fn replica_gone(&mut self, cx: &mut Context, report: &ReplicaReport) {
        let Some(replica) = self.replicas.get(&report.replica) else {
            return;
        };
        let unexpected = replica.state.is_wanted();
        let (subject, key) = (about(replica), replica.key.clone());
        let severity = if unexpected { Severity::Warning } else { Severity::Info };
        cx.event(severity, GONE, subject, format!("nothing of replica {} of {key} is left", report.replica.short()));
        let node = replica.node;
        self.remove_replica(cx, report.replica);
        self.relieve_node(cx, node);
        self.finish_node_drain(cx, node);
    }

    /// Removes a replica's record and gives its place back.
    pub(super) fn remove_replica(&mut self, cx: &mut Context, id: ReplicaId) {
        let Some(replica) = self.replicas.remove(&id) else {
            return;
        };
        self.index.remove_replica(&replica, self.nodes.get(&replica.node));
        self.return_to_reserve(cx, &replica);
        if matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving) {
            self.touch_routes(cx, &replica.key.endpoint);
        }
        self.finish_delete(cx, &replica.key);
    }
}

pub(super) fn about(replica: &Replica) -> EventSubject {
    EventSubject {
        endpoint: Some(replica.key.endpoint.clone()),
        deployment: Some(replica.key.clone()),
        replica: Some(replica.id),
        node: Some(replica.node),
        node_name: None,
    }
}

/// Returns how long to wait after so many failures in a row.
fn back_off(failures: u32) -> Millis {
    let doublings = failures.saturating_sub(1).min(10);
    Millis((RETRY_BASE.0 << doublings).min(RETRY_MAX.0))
}

/// Keeps the end of a long text: that is where a stack trace says what happened.
fn clipped(text: &str) -> String {
    let start = text.len().saturating_sub(FAILURE_BYTES_MAX);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[start..].to_owned()
}
