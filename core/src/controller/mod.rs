//! The controller: what the leader does with what it hears.
//!
//! It exists on the leader alone and is soft: all it knows beyond the replicated state it hears again from the nodes
//! after a failover. It takes no hints. Whatever comes in, it compares the whole state with what should be, through
//! indexes, and asks its shell to propose the difference; nothing it does counts before the log says so.

mod behind;
mod clock;
mod devices;
mod drains;
mod effect;
mod input;
mod loans;
mod outstanding;
mod routers;

pub use clock::LogClock;
pub use effect::{Effect, Ticket};
pub use input::{Heartbeat, Input, Outcome};

pub use crate::{health::GateProbe, traffic::acks::TableAcks};

use std::collections::{BTreeSet, VecDeque};

use crate::{
    error::Error,
    health::{Finding, Health},
    id::{LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, Term},
    model::{DeploymentKey, ReplicaState},
    plan::{Report, View, plan},
    rng::SeedTree,
    schedule::Verdict,
    state::{ClusterState, Command, NodeTransition, Plan},
    time::{Instant, Millis},
};
use devices::Devices;
use outstanding::{Outstanding, Purpose};
use routers::Routers;

/// Nodes per millisecond of rest between two looks at acknowledgements. A thousand routers acknowledge one table within
/// a few milliseconds; looking a thousand times would cost more than all their requests. Small clusters never rest.
const NODES_PER_REST_MS: u64 = 40;

/// Rest after a proposal that came to nothing. Whatever refused it needs a moment; asking again at once would fill the log
/// with refusals.
const REFUSED_REST: Millis = Millis(200);

/// What the leader does with what it hears.
#[derive(Clone, Debug)]
pub struct Controller {
    term: Term,
    member: MemberId,
    seed: SeedTree,
    established: bool,
    health: Health,
    routers: Routers,
    devices: Devices,
    clock: LogClock,
    outstanding: Outstanding,
    /// Parts of the last plan that are not proposed yet.
    parts: VecDeque<Plan>,
    /// What the last look was based on; a look at the same again would find the same.
    looked: Option<Looked>,
    /// Since when something may have changed that the log does not show.
    stirred_at: Option<Instant>,
    last_plan_at: Instant,
    /// The entry of the last plan: a state older than it would be planned twice.
    planned_to: LogIndex,
    /// Nothing is proposed before this: the last proposal came to nothing.
    rests_until: Instant,
    report: Report,
    started: bool,
}

/// What a plan was based on beside the time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Looked {
    applied: LogIndex,
    acknowledged: BTreeSet<ReplicaId>,
    known: LogIndex,
    drained: BTreeSet<ReplicaId>,
    in_grace: BTreeSet<NodeId>,
}

/// Judges a deployment from the state alone: why it has fewer replicas than it should, and the nearest way out.
pub fn explain(state: &ClusterState, key: &DeploymentKey) -> Result<Verdict, Error> {
    Verdict::of(state, key)
}

// === impl Controller ===

impl Controller {
    /// Creates the controller of `member`, which leads in `term`.
    pub fn new(term: Term, member: MemberId, seed: SeedTree) -> Self {
        let seed = seed.child("controller").child(term.0.to_le_bytes()).child(member.0.to_le_bytes());
        Self {
            term,
            member,
            seed,
            established: false,
            health: Health::new(Instant::default()),
            routers: Routers::default(),
            devices: Devices::default(),
            clock: LogClock::default(),
            outstanding: Outstanding::default(),
            parts: VecDeque::new(),
            looked: None,
            stirred_at: None,
            last_plan_at: Instant::default(),
            planned_to: LogIndex(0),
            rests_until: Instant::default(),
            report: Report::default(),
            started: false,
        }
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, input: Input, state: &ClusterState, now: Instant) -> Vec<Effect> {
        if !self.started {
            self.started = true;
            self.health = Health::new(now);
        }
        self.clock.follow(state.time, now);
        self.established |= state.term == self.term;
        let mut effects = Vec::new();
        let replaced = input.speaks_for().filter(|(node, epoch)| is_replaced(state, *node, *epoch));
        self.take(input, now);
        if state.term > self.term {
            return effects;
        }
        if now < self.rests_until {
            effects.push(Effect::WakeAt(self.rests_until));
        } else if self.established {
            if let Some((node, epoch)) = replaced {
                let reason = "the node registered again since: this session speaks for nobody".to_owned();
                effects.push(Effect::CloseSession { node, epoch, reason });
            }
            self.watch_nodes(state, now, &mut effects);
            self.watch_devices(state, now, &mut effects);
            self.watch_loans(state, now, &mut effects);
            self.steer(state, now, &mut effects);
            self.sleep(state, now, &mut effects);
        } else {
            self.establish(&mut effects);
        }
        effects
    }

    /// Returns whether the log knows that this member leads: orders carry its term from then on.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Tells why nothing is replaced, while the brake holds.
    pub fn brake(&self) -> Option<String> {
        self.health.brake()
    }

    /// Returns what the last plan could not do.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Lists what the replicas of a deployment wait for beside places: which routers have not answered yet.
    pub fn waiting(&self, state: &ClusterState, key: &DeploymentKey) -> Vec<String> {
        let waiting = state.replicas_of(key).filter_map(|replica| {
            let missing = self.routers.missing(state, replica);
            let names: Vec<_> = missing
                .iter()
                .filter_map(|node| state.nodes.get(node))
                .map(|node| node.profile.name.as_str())
                .collect();
            (!names.is_empty()).then(|| {
                format!("replica {} is {}: not yet known by {}", replica.id.short(), replica.state, names.join(", "))
            })
        });
        waiting.collect()
    }

    fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Tick | Input::StateApplied => {}
            Input::SessionOpened { node, epoch } => {
                self.health.opened(node, epoch, now);
                self.routers.opened(node, epoch);
            }
            Input::SessionClosed { node, epoch } => {
                self.health.closed(node, epoch);
                self.routers.closed(node, epoch);
            }
            Input::Heartbeat(mut heartbeat) => {
                if self.health.heard(heartbeat.node, heartbeat.epoch, now) {
                    let signs = std::mem::take(&mut heartbeat.devices);
                    self.devices.heard(heartbeat.node, heartbeat.epoch, signs);
                    if self.routers.heard(heartbeat) {
                        self.stirred_at.get_or_insert(now);
                    }
                }
            }
            Input::GateProbed { node, epoch, result } => self.health.probed(node, epoch, result, now),
            Input::Proposed { ticket, outcome } => self.take_outcome(ticket, &outcome, now),
            Input::BrakeReleased => self.health.release_brake(),
        }
    }

    fn take_outcome(&mut self, ticket: Ticket, outcome: &Outcome, now: Instant) {
        let purpose = self.outstanding.finish(ticket);
        if !outcome.did_something() {
            self.rests_until = now + REFUSED_REST;
        }
        if purpose != Some(Purpose::Plan) {
            return;
        }
        match outcome {
            Outcome::Applied { index, .. } if outcome.did_something() => self.planned_to = *index,
            // A part that was refused or lost leaves a plan of which nobody knows how much took effect: plan anew.
            Outcome::Applied { .. } | Outcome::Failed(_) => {
                self.parts.clear();
                self.looked = None;
            }
        }
    }

    /// Makes itself known first: the entry that refuses every plan of an earlier leader.
    fn establish(&mut self, effects: &mut Vec<Effect>) {
        if !self.outstanding.has(Purpose::Establish) {
            let command = Command::LeaderEstablished { term: self.term, member: self.member };
            effects.push(self.outstanding.propose(Purpose::Establish, command));
        }
    }

    fn watch_nodes(&mut self, state: &ClusterState, now: Instant, effects: &mut Vec<Effect>) {
        for finding in self.health.tick(state, now) {
            match finding {
                Finding::Transition { node, epoch, to, reason } => {
                    let purpose = Purpose::Node(node);
                    if self.outstanding.has(purpose) || self.outstanding.is_full() {
                        continue;
                    }
                    let transition = NodeTransition { term: self.term, node, epoch, to, reason };
                    effects.push(self.outstanding.propose(purpose, Command::NodeTransition(transition)));
                }
                Finding::Probe { node, epoch, address } => effects.push(Effect::ProbeGate { node, epoch, address }),
                Finding::Close { node, epoch } => {
                    let reason = "the node was declared lost: it registers again".to_owned();
                    effects.push(Effect::CloseSession { node, epoch, reason });
                }
            }
        }
    }

    fn watch_devices(&mut self, state: &ClusterState, now: Instant, effects: &mut Vec<Effect>) {
        if self.outstanding.has(Purpose::Devices) || self.outstanding.is_full() {
            return;
        }
        // One at a time is enough: a node says everything again with its next heartbeat.
        for transition in self.devices.due(state, self.term, now) {
            if self.outstanding.is_full() {
                break;
            }
            effects.push(self.outstanding.propose(Purpose::Devices, Command::DeviceTransition(transition)));
        }
    }

    /// Proposes the next part of the plan under way, or looks whether a new one is due.
    fn steer(&mut self, state: &ClusterState, now: Instant, effects: &mut Vec<Effect>) {
        if self.outstanding.has(Purpose::Plan) || state.applied < self.planned_to {
            return;
        }
        if self.parts.is_empty() {
            self.look(state, now);
        }
        if let Some(part) = self.parts.pop_front() {
            effects.push(self.outstanding.propose(Purpose::Plan, Command::PlanCommit(part)));
        }
    }

    fn look(&mut self, state: &ClusterState, now: Instant) {
        let time_is_due = self.report.next_due.is_some_and(|due| due <= self.clock.read(now));
        let applied_is_new = self.looked.as_ref().is_none_or(|looked| looked.applied != state.applied);
        let in_grace = self.health.in_grace(now);
        let grace_changed = self.looked.as_ref().is_some_and(|looked| looked.in_grace != in_grace);
        let stirred = self.stirred_at.is_some() && now >= self.last_plan_at + rest(state);
        if !(applied_is_new || time_is_due || grace_changed || stirred) {
            return;
        }
        self.stirred_at = None;
        self.last_plan_at = now;
        let (acknowledged, drained) = self.routers.clear(state);
        let known = self.routers.slowest(state);
        let looked = Looked { applied: state.applied, acknowledged, known, drained, in_grace };
        if self.looked.as_ref() == Some(&looked) && !time_is_due {
            return;
        }
        let in_flight = self.routers.in_flight(state);
        let view = View {
            state,
            term: self.term,
            seed: &self.seed,
            acknowledged: &looked.acknowledged,
            known: looked.known,
            drained: &looked.drained,
            in_flight: &in_flight,
            in_grace: &looked.in_grace,
        };
        let (parts, report) = plan(&view, self.clock.read(now));
        self.parts = parts.into();
        self.report = report;
        self.looked = Some(looked);
    }

    fn sleep(&self, state: &ClusterState, now: Instant, effects: &mut Vec<Effect>) {
        let step_due = self.report.next_due.map(|due| now + due.since(self.clock.read(now)));
        let stirred_due = self.stirred_at.map(|_| now + Millis(1));
        let loan_due = self.next_loan_due(state).map(|due| now + due.since(self.clock.read(now)));
        let due = self.health.next_due(now).into_iter().chain(step_due).chain(loan_due).chain(stirred_due).min();
        effects.extend(due.map(Effect::WakeAt));
    }
}

/// Returns whether a node registered again after this epoch. Two registrations may be under way at once when a node gives
/// up waiting for the first; the one that answers it need not be the one that counts.
fn is_replaced(state: &ClusterState, node: NodeId, epoch: NodeEpoch) -> bool {
    state.nodes.get(&node).is_some_and(|known| known.epoch > epoch)
}

fn rest(state: &ClusterState) -> Millis {
    Millis(state.nodes.len() as u64 / NODES_PER_REST_MS)
}

/// Returns the replicas that wait for routers: to be offered, or to be forgotten.
fn is_waiting(state: ReplicaState) -> bool {
    matches!(state, ReplicaState::Warm | ReplicaState::Draining)
}
