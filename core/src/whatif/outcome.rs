//! What would happen, as people and programs read it.

use std::fmt;

use crate::{
    id::ReplicaId,
    model::{DeploymentKey, EndpointName, NodeName, NodeState},
    schedule::Verdict,
    state::{ClusterState, Step},
    units::Resources,
};

/// What a deployment has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Replicas that should serve.
    pub wanted: u64,
    /// Places held for them.
    pub placed: u64,
    /// Replicas that serve.
    pub ready: u64,
    /// Those of the current generation, on nodes that are not to be empty.
    pub updated: u64,
    /// Replicas it was promised, whatever is more important.
    pub minimum: u64,
    /// Places its reserve should hold.
    pub reserve: u64,
    /// Slots that are held for it.
    pub held: u64,
}

/// What becomes of a deployment's promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Never fewer than promised.
    Kept,
    /// Fewer for a while, never none.
    Dipped,
    /// It had fewer than it asks for before, and still has.
    WasShort,
    /// What runs keeps running, and what should take its place finds none.
    Stuck,
    /// It carries traffic and nobody serves for a while.
    Down,
    /// Fewer than it asks for, and no fewer than its minimum.
    Fewer,
    /// Fewer than it asks for, for good.
    Short,
    /// It is deleted.
    Gone,
}

/// What becomes of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentOutcome {
    /// Which one.
    pub key: DeploymentKey,
    /// Its share of the traffic afterwards.
    pub traffic_percent: u32,
    /// What it had.
    pub before: Counts,
    /// What it has in the end.
    pub after: Counts,
    /// The fewest that served on the way.
    pub lowest_ready: u64,
    /// What was promised on the way: what it had, or what it asks for now if that is less.
    pub promised: u64,
    /// The first round in which it had fewer; zero is the moment of the change.
    pub below_from: Option<u32>,
    /// How many rounds it had fewer; unknown when that never ends.
    pub below_rounds: Option<u32>,
    /// What becomes of its promise.
    pub fate: Fate,
    /// Reserve slots that were spent for it, each with what for.
    pub reserve_spent: Vec<String>,
    /// What it gave up and for whom: `yielded 2 to fraud/green`; empty when nothing.
    pub yielded: String,
    /// Why it has fewer than it asks for in the end.
    pub verdict: Option<Verdict>,
}

/// What becomes of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOutcome {
    /// Which one.
    pub name: EndpointName,
    /// Whether it keeps its minimum.
    pub keeps: bool,
    /// Why not; empty when it does.
    pub why: String,
}

/// What becomes of a node that is drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Which one.
    pub node: NodeName,
    /// The round in which nothing was left on it.
    pub empty_in: Option<u32>,
    /// Replicas that stay, because they fit nowhere else.
    pub left: u64,
}

/// The nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTotals {
    /// Nodes that take replicas.
    pub open: u64,
    /// What they have.
    pub capacity: Resources,
    /// What is held on them.
    pub held: Resources,
}

/// What kind of step was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenKind {
    /// A place was taken.
    Place,
    /// A replica was offered to callers.
    Serve,
    /// A replica was taken from callers.
    Drain,
    /// A replica was ended.
    Stop,
    /// A replica made room for a more important deployment.
    Yield,
    /// A place of the reserve was held.
    Hold,
    /// A place of the reserve was given back.
    Release,
}

/// A step that would be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The round.
    pub round: u32,
    /// What kind.
    pub kind: TakenKind,
    /// The deployment.
    pub key: DeploymentKey,
    /// The replica, unless the step is about the reserve. The ids of new ones are made up.
    pub replica: Option<ReplicaId>,
    /// The node.
    pub node: String,
    /// Why.
    pub reason: String,
    /// The reserve slot it spends, and what for.
    pub reserve_spent: Option<String>,
}

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Every deployment, in order of key.
    pub deployments: Vec<DeploymentOutcome>,
    /// Every endpoint, in order of name.
    pub endpoints: Vec<EndpointOutcome>,
    /// Every node that was asked to be empty.
    pub drains: Vec<DrainOutcome>,
    /// The nodes before.
    pub before: NodeTotals,
    /// The nodes afterwards.
    pub after: NodeTotals,
    /// Rounds until everything rests.
    pub rounds: u32,
    /// Steps in order; the first of very many.
    pub steps: Vec<Taken>,
    /// Steps that are not listed.
    pub steps_dropped: u64,
    /// What an operator should know beside the numbers, each a sentence.
    pub notes: Vec<String>,
}

// === impl Outcome ===

impl Outcome {
    /// Returns whether every endpoint keeps its minimum and every drain ends.
    pub fn keeps(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.keeps) && self.drains.iter().all(|drain| drain.left == 0)
    }
}

// === impl Counts ===

impl Counts {
    /// Counts a deployment; nothing of one that does not exist.
    pub fn of(state: &ClusterState, key: &DeploymentKey) -> Self {
        let Some(deployment) = state.deployments.get(key) else { return Self::default() };
        let held = state.slots_of(key).count() as u64;
        let mut counts = Self {
            wanted: deployment.desired(),
            minimum: deployment.minimum(),
            reserve: deployment.reserve(),
            held,
            ..Self::default()
        };
        for replica in state.replicas_of(key) {
            let may_stay = state.nodes.get(&replica.node).is_some_and(|node| node.drain.is_none());
            let is_current = replica.generation == deployment.generation && may_stay;
            counts.placed += u64::from(replica.is_wanted());
            counts.ready += u64::from(replica.is_ready());
            counts.updated += u64::from(replica.is_ready() && is_current);
        }
        counts
    }
}

// === impl NodeTotals ===

impl NodeTotals {
    /// Adds up the nodes that take replicas.
    pub fn of(state: &ClusterState) -> Self {
        let mut totals = Self::default();
        for node in state.nodes.values().filter(|node| node.state != NodeState::Lost && node.is_open()) {
            totals.open += 1;
            totals.capacity += node.profile.capacity;
            totals.held += state.index().held_on(node.id);
        }
        totals
    }
}

// === impl Fate ===

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 8] =
        [Self::Kept, Self::Dipped, Self::WasShort, Self::Stuck, Self::Down, Self::Fewer, Self::Short, Self::Gone];

    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Dipped => "dips",
            Self::WasShort => "was short",
            Self::Stuck => "stuck",
            Self::Down => "down",
            Self::Fewer => "fewer",
            Self::Short => "short",
            Self::Gone => "gone",
        }
    }

    /// Returns whether the endpoint keeps its minimum with it.
    pub fn keeps(self) -> bool {
        !matches!(self, Self::Down | Self::Short)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl TakenKind ===

impl TakenKind {
    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Serve => "serve",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Hold => "hold",
            Self::Yield => "yield",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for TakenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Tells a step by what is there before it is taken.
pub(super) fn taken(state: &ClusterState, round: u32, step: &Step) -> Option<Taken> {
    let named = |node| state.nodes.get(&node).map(|it| it.profile.name.to_string()).unwrap_or_default();
    let of = |kind, id: &ReplicaId, reason: &str| {
        let replica = state.replicas.get(id)?;
        let (key, node, reason) = (replica.key.clone(), named(replica.node), reason.to_owned());
        Some(Taken { round, kind, key, replica: Some(*id), node, reason, reserve_spent: None })
    };
    let of_reserve = |kind, key: &DeploymentKey, node, reason| Taken {
        round,
        kind,
        key: key.clone(),
        replica: None,
        node,
        reason,
        reserve_spent: None,
    };
    match step {
        Step::Place { replica, key, node, reason, reserve_spent, .. } => Some(Taken {
            round,
            kind: TakenKind::Place,
            key: key.clone(),
            replica: Some(*replica),
            node: named(*node),
            reason: reason.clone(),
            reserve_spent: reserve_spent.as_ref().map(ToString::to_string),
        }),
        Step::Serve { replica } => of(TakenKind::Serve, replica, ""),
        Step::Drain { replica, reason, .. } => of(TakenKind::Drain, replica, reason),
        Step::Stop { replica, reason, .. } => of(TakenKind::Stop, replica, reason),
        Step::Preempt { replica, to, .. } => {
            let priority = state.deployments.get(to).map_or(0, |deployment| deployment.spec.priority);
            of(TakenKind::Yield, replica, &format!("made room for {to} (priority {priority})"))
        }
        Step::HoldSlot { key, node, reason, .. } => {
            Some(of_reserve(TakenKind::Hold, key, named(*node), reason.clone()))
        }
        Step::ReleaseSlot { slot, cause } => {
            let slot = state.slots.get(slot)?;
            Some(of_reserve(TakenKind::Release, &slot.key, named(slot.node), cause.to_string()))
        }
        Step::NoteReserve { .. } => None,
    }
}
