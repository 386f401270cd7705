//! The judge of a whole run: what no single state shows. It knows the truth on every node and believes nobody.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    id::{LogIndex, NodeId, ReplicaId, RequestId},
    invariant::{Violation, Witness, check},
    model::{Deployment, DeploymentKey, NodeState, Replica, ReplicaState},
    state::{ClusterState, Command, Entry, ONE_AT_A_TIME, Plan, Reply, Step},
    time::Millis,
};

use crate::{invariants, node::SimNode, report::Finding, world::World};

/// Milliseconds a node must have been up, and a feed alive, before what its router has acknowledged is compared with
/// the truth: a process that just started may hold an older table than its predecessor acknowledged.
const SETTLED_MS: u64 = 10_000;

/// The judge of a whole run.
#[derive(Debug)]
pub(crate) struct Judge {
    witness: Witness,
    pub(crate) found: Vec<Finding>,
    /// Changes that were acknowledged to their clients.
    pub(crate) acknowledged: BTreeSet<RequestId>,
    /// Replica ids whose record is gone, for the bug that uses them again.
    pub(crate) gone: Vec<ReplicaId>,
    /// How often each request's work was started.
    pub(crate) starts: BTreeMap<u64, u32>,
    /// Replicas that were stopped because the time an operator gave their node had passed: their requests are cut.
    pub(crate) cut: BTreeSet<ReplicaId>,
    /// Deployments whose only replica that served made room for the next generation, as the one that an update without
    /// room may leave out: since when, and until when nobody served.
    pub(crate) vacant: BTreeMap<DeploymentKey, (u64, Option<u64>)>,
    /// When a leader last heard each node.
    pub(crate) heard_at: BTreeMap<NodeId, u64>,
}

// === impl Judge ===

impl Judge {
    pub(crate) fn new() -> Self {
        Self {
            witness: Witness::of(&ClusterState::new()),
            found: Vec::new(),
            acknowledged: BTreeSet::new(),
            gone: Vec::new(),
            starts: BTreeMap::new(),
            cut: BTreeSet::new(),
            vacant: BTreeMap::new(),
            heard_at: BTreeMap::new(),
        }
    }

    pub(crate) fn broken(&mut self, id: &str, what: impl Into<String>, now: u64) {
        debug_assert!(invariants::is_listed(id), "{id} is in no list");
        self.found.push(Finding { id: id.to_owned(), what: what.into(), at_ms: now });
    }

    fn broken_all(&mut self, violations: Vec<Violation>, now: u64) {
        for violation in violations {
            self.broken(violation.id, violation.what, now);
        }
    }
}

// === impl World ===

impl World {
    /// Judges an entry at the first member that applies it.
    pub(crate) fn judge_entry(
        &mut self,
        member: usize,
        before: &BTreeMap<ReplicaId, Warmth>,
        entry: &Entry,
        reply: &Reply,
    ) {
        let now = self.now;
        let state = &self.members[member].state;
        let (mut cut, mut vacant) = (Vec::new(), Vec::new());
        self.promises.note_keys(state, now);
        let mut violations = self.judge.witness.check_step(state, entry, reply);
        violations.extend(check(state));
        let gone = before.keys().filter(|id| !state.replicas.contains_key(id)).copied();
        let gone: Vec<_> = gone.collect();
        self.judge.gone.extend(gone);
        if let (Command::PlanCommit(plan), Reply::Planned { outcomes }) = (&entry.command, reply) {
            for (step, outcome) in plan.steps.iter().zip(outcomes) {
                if outcome.is_ok() {
                    violations.extend(self.judge_step(member, before, plan, step));
                    cut.extend(self.cut_by(member, step));
                    vacant.extend(self.vacated_by(member, step));
                }
            }
        }
        self.judge.cut.extend(cut);
        for (key, serves) in vacant {
            if !serves {
                self.judge.vacant.insert(key, (now, None));
            } else if let Some((_, until)) = self.judge.vacant.get_mut(&key) {
                *until = until.or(Some(now));
            }
        }
        if !matches!(reply, Reply::Refused(_)) {
            self.judge_walk(member, entry);
            self.judge_device(member, entry);
        }
        self.judge.broken_all(violations, now);
    }

    /// Returns the deployment whose last replica that served a step ends to make room for its update, or of which one
    /// serves now.
    fn vacated_by(&self, member: usize, step: &Step) -> Option<(DeploymentKey, bool)> {
        let state = &self.members[member].state;
        let (replica, serves) = match step {
            Step::Serve { replica } => (replica, true),
            Step::Drain { replica, reason, .. } if reason == ONE_AT_A_TIME => (replica, false),
            _ => return None,
        };
        let key = &state.replicas.get(replica)?.key;
        (serves || !state.replicas_of(key).any(Replica::is_ready)).then(|| (key.clone(), serves))
    }

    /// Returns the replica a step stops because the time an operator gave its node has passed, or ends by force then.
    fn cut_by(&self, member: usize, step: &Step) -> Option<ReplicaId> {
        let (replica, needs_force) = match step {
            Step::Stop { replica, .. } => (replica, false),
            Step::Drain { replica, .. } => (replica, true),
            _ => return None,
        };
        let state = &self.members[member].state;
        let drain = state.nodes.get(&state.replicas.get(replica)?.node)?.drain.as_ref()?;
        (drain.deadline <= state.time && (drain.force || !needs_force)).then_some(*replica)
    }

    /// Compares what a step relied on with what every router really holds.
    fn judge_step(
        &self,
        member: usize,
        before: &BTreeMap<ReplicaId, Warmth>,
        plan: &Plan,
        step: &Step,
    ) -> Option<Violation> {
        let (replica, serves) = match step {
            Step::Place { replaces: Some(replaced), .. } => {
                return self.judge_patience(member, before.get(replaced), plan, step);
            }
            Step::Serve { replica } => (replica, true),
            Step::Stop { replica, .. } => (replica, false),
            // One that promises none may be left with none.
            Step::Preempt { replica, .. } => {
                let state = &self.members[member].state;
                let of = state.replicas.get(replica).and_then(|replica| state.deployments.get(&replica.key));
                // What has just crashed answers nobody, whoever still sends to it.
                let answered = before.get(replica).is_some_and(|warmth| warmth.state == ReplicaState::Serving);
                if !answered || of.is_none_or(|deployment| deployment.minimum() == 0) {
                    return None;
                }
                return self.judge_drain(member, plan, *replica);
            }
            Step::Drain { replica, reason, .. } if reason != ONE_AT_A_TIME => {
                return self.judge_drain(member, plan, *replica);
            }
            _ => return None,
        };
        let warmth = before.get(replica)?;
        if !serves && (warmth.state != ReplicaState::Draining || warmth.lost || warmth.deadline_passed) {
            return None;
        }
        for node in self.settled_nodes(member, plan) {
            let name = &node.profile.name;
            if node.router.acks.applied < warmth.needs {
                let id = if serves { "AC01" } else { "AC02" };
                let what = format!(
                    "replica {} went on although {name} routes by {} and not {}",
                    replica.short(),
                    node.router.acks.applied,
                    warmth.needs
                );
                return Some(Violation::new(id, what));
            }
            let in_flight = node.router.on_the_way(*replica);
            if !serves && in_flight > 0 {
                let what = format!("replica {} was stopped with {in_flight} requests of {name}", replica.short());
                return Some(Violation::new("AC02", what));
            }
        }
        None
    }

    /// Insists that whoever is taken over from leaves nobody without a replica to send to.
    fn judge_drain(&self, member: usize, plan: &Plan, replica: ReplicaId) -> Option<Violation> {
        let state = &self.members[member].state;
        let replica_is = state.replicas.get(&replica)?;
        let key = &replica_is.key;
        let drain = state.nodes.get(&replica_is.node).and_then(|node| node.drain.as_ref());
        // Whoever forces a drain wants its replicas gone by then, whoever still sends to them.
        if drain.is_some_and(|drain| drain.force && drain.deadline <= state.time) {
            return None;
        }
        // Nobody is better off with a replica on a broken card.
        if state.nodes.get(&replica_is.node).is_some_and(|node| node.condemned(&replica_is.devices).is_some()) {
            return None;
        }
        // One that promises none may be left with none, whether its place or the rest of a rollout is given up.
        let may_have_none = |deployment: &Deployment| deployment.desired() == 0 || gave_up_all(state, deployment);
        if state.deployments.get(key).is_none_or(may_have_none) {
            return None;
        }
        let serves = |id: &ReplicaId| state.replicas.get(id).is_some_and(berth_core::model::Replica::is_ready);
        for node in self.settled_nodes(member, plan) {
            let route = node.router.table.endpoints.get(&key.endpoint);
            let Some(route) = route.and_then(|route| route.deployment(key.deployment.as_str())) else { continue };
            let sends_to = || route.replicas.iter().filter(|replica| replica.state == ReplicaState::Serving);
            if sends_to().any(|known| known.id == replica) && !sends_to().any(|known| serves(&known.id)) {
                let what = format!("{} has nobody for {key} but replica {}", node.profile.name, replica.short());
                return Some(Violation::new("AC03", what));
            }
        }
        None
    }

    /// Lists the nodes whose routers must hold what they have acknowledged: up for a while, and known to the plan.
    fn settled_nodes<'a>(&'a self, member: usize, plan: &'a Plan) -> impl Iterator<Item = &'a SimNode> {
        let state = &self.members[member].state;
        self.nodes.iter().filter(move |node| {
            let known = state.nodes.get(&node.id).filter(|known| known.state != NodeState::Lost);
            let is_known = known.is_some_and(|known| known.revision <= plan.based_on);
            node.up && self.now >= node.started_at + SETTLED_MS && is_known
        })
    }

    /// Insists that every member got the same from the same entry.
    pub(crate) fn judge_same(&mut self, member: usize, index: usize, applied: &berth_core::state::Applied) {
        if self.log.applied[index] != *applied {
            let what = format!("coordinator c{} got another answer from entry {}", member + 1, index + 1);
            self.judge.broken("WR05", what, self.now);
        }
    }

    /// Judges the end of a run: everything is mended, everyone has had time.
    pub(crate) fn judge_end(&mut self) {
        let now = self.now;
        let mut broken: Vec<(&str, String)> = Vec::new();
        let length = LogIndex(self.log.entries.len() as u64);
        let truth = self.truth();
        for (at, member) in self.members.iter().enumerate() {
            if member.state.applied != length {
                broken.push((
                    "WR05",
                    format!("coordinator c{} is at entry {} of {length}", at + 1, member.state.applied),
                ));
            } else if member.state != *truth {
                broken.push(("WR05", format!("coordinator c{} holds another state at entry {length}", at + 1)));
            }
            if ClusterState::from_snapshot(member.state.to_snapshot()) != member.state {
                broken.push(("WR05", format!("a snapshot of coordinator c{} is not its state", at + 1)));
            }
        }
        let logged: BTreeSet<_> = self.log.entries.iter().filter_map(|entry| entry.request_id.as_ref()).collect();
        for request in self.judge.acknowledged.iter().filter(|request| !logged.contains(request)) {
            broken.push(("WR06", format!("request {request} was acknowledged and is not in the log")));
        }
        broken.extend(self.unrest());
        self.judge_watch();
        for (id, what) in broken {
            self.judge.broken(id, what, now);
        }
    }
}

/// Returns whether a deployment that promises none has made room for a more important one, with all it had. What it gave
/// up may be back on its books in the same plan, on its way to serving somewhere else.
pub(crate) fn gave_up_all(state: &ClusterState, deployment: &Deployment) -> bool {
    let makes_room = || state.replicas_of(&deployment.key).any(|replica| replica.made_room_for.is_some());
    deployment.minimum() == 0 && (deployment.yielded() > 0 || makes_room())
}

/// What a replica was before an entry, as far as a step relies on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warmth {
    pub(crate) state: ReplicaState,
    pub(crate) lost: bool,
    pub(crate) deadline_passed: bool,
    /// The table version that shows it.
    pub(crate) needs: LogIndex,
}

/// Reads that of every replica. `apart` is how far the clocks of coordinators are apart.
pub(crate) fn warmths(
    state: &ClusterState,
    at: berth_core::time::LogTime,
    apart: Millis,
) -> BTreeMap<ReplicaId, Warmth> {
    let of = |replica: &berth_core::model::Replica| Warmth {
        state: replica.state,
        lost: replica.lost,
        // The log's time follows the fastest clock, and stands still while a leader's is behind it.
        deadline_passed: replica.drain_deadline <= at.max(state.time) + apart,
        needs: match state.deployments.get(&replica.key) {
            Some(deployment) if deployment.deleting => deployment.revision.min(replica.revision),
            _ => replica.revision,
        },
    };
    state.replicas.values().map(|replica| (replica.id, of(replica))).collect()
}
