//! The rehearsal: the replicated machine and the planner, played against nodes and routers that do what they are told.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Taken, outcome::taken};
use crate::{
    error::{Code, Error},
    health::Brake,
    id::{NodeId, ReplicaId},
    model::{DeploymentKey, Node, NodeState, Replica, ReplicaState},
    plan::{View, plan},
    rng::SeedTree,
    state::{ClusterState, Command, Entry, EventLog, Observed, Plan, ReplicaReport, Reply, ReplyTable},
    time::{Instant, LogTime, Millis},
};

/// How much a rehearsal may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rounds of planning until everything rests.
    pub rounds: u32,
    /// Steps that are kept; further ones are counted.
    pub steps_kept: usize,
}

/// A copy of the state that changes are tried on.
///
/// A *round* is one plan, committed step by step, and what nodes and routers then do about it at once.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    state: ClusterState,
    now: LogTime,
    seed: SeedTree,
    bounds: Bounds,
    round: u32,
    steps: Vec<Taken>,
    steps_dropped: u64,
    notes: Vec<String>,
}

// === impl Bounds ===

impl Default for Bounds {
    /// A rolling update of ten thousand instances takes fewer than a hundred rounds; one instance at a time on a full
    /// fleet, five each.
    fn default() -> Self {
        Self { rounds: 5_000, steps_kept: 10_000 }
    }
}

// === impl Rehearsal ===

impl Rehearsal {
    /// Copies a state. The seed gives ids and ties, so the same question has the same answer.
    pub fn of(state: &ClusterState, bounds: Bounds) -> Self {
        // What happened and who asked for it says nothing about what will be.
        let mut copy = state.clone();
        (copy.events, copy.replies) = (EventLog::default(), ReplyTable::default());
        let seed = SeedTree::new(state.applied.0).child("what if");
        let (steps, notes) = (Vec::new(), Vec::new());
        Self { now: copy.time, state: copy, seed, bounds, round: 0, steps, steps_dropped: 0, notes }
    }

    /// Returns the state as it would be.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Returns the steps taken so far, in order; the first of very many.
    pub fn steps(&self) -> &[Taken] {
        &self.steps
    }

    /// Returns how many steps were taken and not kept.
    pub fn steps_dropped(&self) -> u64 {
        self.steps_dropped
    }

    /// Returns what an operator should know beside the numbers.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns how many rounds it took so far.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Forgets steps, notes and rounds: what comes next is counted from here.
    pub fn start_anew(&mut self) {
        (self.round, self.steps_dropped) = (0, 0);
        self.steps.clear();
        self.notes.clear();
    }

    /// Applies changes, all at one moment. A change that is refused ends it with the refusal.
    pub fn change(&mut self, changes: &[Change]) -> Result<(), Error> {
        self.note_brake(changes);
        for change in changes {
            for command in change.commands(&self.state)? {
                if let Reply::Refused(error) = self.apply(command) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Plans and lets everybody act until nothing moves; `look` sees the state after every round.
    pub fn settle(&mut self, mut look: impl FnMut(u32, &ClusterState)) -> Result<(), Error> {
        for _ in 0..self.bounds.rounds {
            let (planned, next_due) = self.plan();
            let acted = self.nodes_act();
            if planned || acted {
                self.round += 1;
                look(self.round, &self.state);
                continue;
            }
            // Nothing is left to do but to wait for a back-off or a deadline.
            match next_due.filter(|due| *due > self.now) {
                Some(due) => self.now = due,
                None => return Ok(()),
            }
        }
        Err(Error::new(Code::Limit, "what would happen takes too long to tell")
            .why(format!("after {} rounds of planning the cluster has not come to rest", self.bounds.rounds))
            .try_("ask for less at once"))
    }

    /// Counts the replicas of a deployment that serve.
    pub fn ready(&self, key: &DeploymentKey) -> u64 {
        self.state.replicas_of(key).filter(|replica| replica.is_ready()).count() as u64
    }

    /// Plans once and commits; returns whether there was anything to do, and when something is due by time alone.
    fn plan(&mut self) -> (bool, Option<LogTime>) {
        let of = |state: ReplicaState| -> BTreeSet<ReplicaId> {
            let those = self.state.replicas.values().filter(|replica| replica.state == state && !replica.lost);
            those.map(|replica| replica.id).collect()
        };
        let (acknowledged, drained) = (of(ReplicaState::Warm), of(ReplicaState::Draining));
        let view = View {
            state: &self.state,
            term: self.state.term,
            seed: &self.seed,
            acknowledged: &acknowledged,
            known: self.state.applied,
            drained: &drained,
            in_flight: &BTreeMap::new(),
            in_grace: &BTreeSet::new(),
        };
        let (parts, report) = plan(&view, self.now);
        let mut took_any = false;
        for part in parts {
            took_any |= self.commit(part);
        }
        (took_any, report.next_due)
    }

    /// Commits one part of a plan and keeps the steps that took effect.
    fn commit(&mut self, part: Plan) -> bool {
        let round = self.round + 1;
        // A step that ends something is told by what was there before it.
        let told: Vec<_> = part.steps.iter().map(|step| taken(&self.state, round, step)).collect();
        let Reply::Planned { outcomes } = self.apply(Command::PlanCommit(part)) else { return false };
        let mut took_any = false;
        for (step, _) in told.into_iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok()) {
            took_any = true;
            match self.steps.len() < self.bounds.steps_kept {
                true => self.steps.extend(step),
                false => self.steps_dropped += 1,
            }
        }
        took_any
    }

    /// Lets every node that is heard from do what its replicas' states ask for.
    fn nodes_act(&mut self) -> bool {
        let mut due: BTreeMap<NodeId, Vec<ReplicaReport>> = BTreeMap::new();
        for replica in self.state.replicas.values().filter(|replica| !replica.lost) {
            due.entry(replica.node).or_default().extend(next_report(replica));
        }
        let mut acted = false;
        for (node, reports) in due.into_iter().filter(|(_, reports)| !reports.is_empty()) {
            let Some(Node { epoch, .. }) = self.state.nodes.get(&node) else { continue };
            let command = Command::ReplicaReports { node, epoch: *epoch, reports };
            acted |= !matches!(self.apply(command), Reply::Refused(_));
        }
        acted
    }

    fn apply(&mut self, command: Command) -> Reply {
        let entry =
            Entry { proposed_at: self.now, request_id: None, fingerprint: 0, principal: "what if".to_owned(), command };
        let index = self.state.applied.next();
        self.state.apply(index, &entry).reply
    }

    /// Says when a real leader would hold back, because so many nodes at once look like its own fault.
    fn note_brake(&mut self, changes: &[Change]) {
        let lost = changes.iter().filter_map(|change| match change {
            Change::Lose(name) => self.state.node_named(name).ok().map(|node| node.id),
            _ => None,
        });
        let silent: BTreeSet<_> = lost.collect();
        let heard = self.state.nodes.values().filter(|node| node.state != NodeState::Lost).count() as u64;
        let mut brake = Brake::default();
        brake.update(silent, 0, heard, Instant::default());
        self.notes.extend(brake.reason().map(|reason| {
            format!("the brake would hold: {reason}, or until an operator releases it; told here is what follows then")
        }));
    }
}

/// Returns what a replica's node would say next: what is placed starts at once, what is told to stop is gone.
fn next_report(replica: &Replica) -> Option<ReplicaReport> {
    let observed = match replica.state {
        ReplicaState::Placed | ReplicaState::Preparing | ReplicaState::Starting => Observed::Warm,
        ReplicaState::Stopped | ReplicaState::Failed => Observed::Gone,
        ReplicaState::Warm | ReplicaState::Serving | ReplicaState::Draining => return None,
    };
    Some(ReplicaReport {
        replica: replica.id,
        observed,
        reason: String::new(),
        permanent: false,
        restarts: replica.restarts,
        retry_in: Millis(0),
        pid: 0,
        address: String::new(),
    })
}
