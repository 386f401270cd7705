//! What one entry may change: the state before it against the state after it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Violation,
    quota::{self, Sums},
};
use crate::{
    id::{LogIndex, NodeId, ReplicaId, RequestId, SlotId, Term},
    model::{
        Deployment, DeploymentKey, DeviceState, Endpoint, EndpointName, Node, Quotas, Replica, ReplicaState,
        ReserveSlot,
    },
    state::{ClusterState, Command, Entry, ONE_AT_A_TIME, Reply, Step},
    time::LogTime,
    traffic::table::RouteTable,
};

/// Every invariant that takes the state before a change as well.
pub(super) const OF_A_HISTORY: &[&str] = &[
    "LI01", "NO01", "NO02", "PL03", "PL11", "PL12", "PL13", "QU02", "RE02", "RE06", "RO01", "RS01", "RS03", "TR03",
    "WR01", "WR02", "WR03",
];

/// Remembers a state, and what was ever seen in it, to judge the next entry.
#[derive(Clone, Debug)]
pub struct Witness {
    applied: LogIndex,
    time: LogTime,
    term: Term,
    endpoints: BTreeMap<EndpointName, Endpoint>,
    pub(super) deployments: BTreeMap<DeploymentKey, Deployment>,
    pub(super) replicas: BTreeMap<ReplicaId, Replica>,
    pub(super) slots: BTreeMap<SlotId, ReserveSlot>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) taken: Sums,
    quotas: Quotas,
    table: RouteTable,
    /// Every replica id there ever was, and the node it was on.
    seen: BTreeMap<ReplicaId, NodeId>,
    /// Every answer there ever was: the state keeps only the latest.
    answers: BTreeMap<RequestId, (u64, Reply)>,
}

// === impl Witness ===

impl Witness {
    /// Remembers `state`.
    pub fn of(state: &ClusterState) -> Self {
        Self {
            applied: state.applied,
            time: state.time,
            term: state.term,
            endpoints: state.endpoints.clone(),
            deployments: state.deployments.clone(),
            replicas: state.replicas.clone(),
            slots: state.slots.clone(),
            nodes: state.nodes.clone(),
            taken: quota::sums(state),
            quotas: state.quotas.clone(),
            table: RouteTable::of(state),
            seen: state.replicas.values().map(|replica| (replica.id, replica.node)).collect(),
            answers: BTreeMap::new(),
        }
    }

    /// Takes note of log positions up to `index` that hold nothing for the state: a log has entries of its own, such as
    /// a change of its members.
    pub fn skip_to(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// Judges what `entry` did, remembers the state it left, and lists what is broken.
    pub fn check_step(&mut self, after: &ClusterState, entry: &Entry, reply: &Reply) -> Vec<Violation> {
        let mut found = Vec::new();
        self.order(after, &mut found);
        self.answers(after, entry, reply, &mut found);
        self.fences(after, entry, reply, &mut found);
        self.lives(after, &mut found);
        self.promise(after, entry, &mut found);
        self.copies(after, entry, &mut found);
        self.preemption(after, entry, &mut found);
        self.spread(after, &mut found);
        self.reserve(after, entry, &mut found);
        self.growth(after, &mut found);
        self.routes(after, &mut found);
        self.follow(after);
        debug_assert!(found.iter().all(|broken| OF_A_HISTORY.contains(&broken.id)), "{found:?}");
        found
    }

    fn order(&self, after: &ClusterState, found: &mut Vec<Violation>) {
        if after.applied != self.applied.next() {
            found.push(Violation::new("WR01", format!("entry {} follows {}", after.applied, self.applied)));
        }
        if after.time < self.time || after.term < self.term {
            found.push(Violation::new("WR01", format!("time or term went back at entry {}", after.applied)));
        }
        for node in after.nodes.values() {
            if self.nodes.get(&node.id).is_some_and(|before| before.epoch > node.epoch) {
                found
                    .push(Violation::new("NO01", format!("the epoch of {} fell to {}", node.profile.name, node.epoch)));
            }
        }
    }

    fn answers(&mut self, after: &ClusterState, entry: &Entry, reply: &Reply, found: &mut Vec<Violation>) {
        if matches!(reply, Reply::Refused(_)) && !self.is_unchanged(after) {
            found.push(Violation::new("WR03", format!("entry {} was refused and changed something", after.applied)));
        }
        let Some(request_id) = &entry.request_id else { return };
        match self.answers.get(request_id) {
            Some((fingerprint, answer)) => {
                let is_same = *fingerprint == entry.fingerprint;
                if !self.is_unchanged(after) || (is_same && answer != reply) {
                    let text = format!("request {request_id} was applied again at entry {}", after.applied);
                    found.push(Violation::new("WR02", text));
                }
            }
            None => {
                self.answers.insert(request_id.clone(), (entry.fingerprint, reply.clone()));
            }
        }
    }

    fn fences(&self, after: &ClusterState, entry: &Entry, reply: &Reply, found: &mut Vec<Violation>) {
        let refused = matches!(reply, Reply::Refused(_)) && self.is_unchanged(after);
        match &entry.command {
            Command::PlanCommit(plan) if plan.term != self.term && !refused => {
                let text = format!("a plan of term {} took effect in term {}", plan.term, self.term);
                found.push(Violation::new("PL03", text));
            }
            Command::ReplicaReports { node, epoch, .. } => {
                let is_current = self.nodes.get(node).is_some_and(|node| node.epoch == *epoch);
                if !is_current && !refused {
                    found.push(Violation::new("NO02", format!("reports of epoch {epoch} of {node} took effect")));
                }
            }
            _ => {}
        }
    }

    fn lives(&self, after: &ClusterState, found: &mut Vec<Violation>) {
        for replica in after.replicas.values() {
            match self.replicas.get(&replica.id) {
                Some(before) if before.node != replica.node => {
                    found.push(Violation::new("RE02", format!("replica {} moved", replica.id)));
                }
                Some(before) if !is_a_life(before.state, replica.state) => {
                    let text = format!("replica {} went from {} to {}", replica.id, before.state, replica.state);
                    found.push(Violation::new("LI01", text));
                }
                None if self.seen.contains_key(&replica.id) => {
                    found.push(Violation::new("RE02", format!("replica id {} is used again", replica.id)));
                }
                Some(_) | None => {}
            }
        }
    }

    /// Counts ready replicas around a plan: it may only end those that are not needed.
    fn promise(&self, after: &ClusterState, entry: &Entry, found: &mut Vec<Violation>) {
        let Command::PlanCommit(plan) = &entry.command else { return };
        let ended = plan.steps.iter().filter_map(|step| match step {
            Step::Drain { replica, reason, .. } => Some((replica, reason.as_str())),
            Step::Stop { replica, reason, .. } => Some((replica, reason.as_str())),
            Step::Preempt { replica, .. } => Some((replica, "")),
            _ => None,
        });
        let mut allowed: BTreeMap<&DeploymentKey, (u64, u64)> = BTreeMap::new();
        for (replica, reason) in ended {
            if let Some(replica) = self.replicas.get(replica) {
                let (allowance, forced) = allowed.entry(&replica.key).or_default();
                *allowance = (*allowance).max(u64::from(reason == ONE_AT_A_TIME));
                // An operator who forces a drain wants its replicas gone by then, promised or not.
                let drain = self.nodes.get(&replica.node).and_then(|node| node.drain.as_ref());
                if drain.is_some_and(|drain| drain.force && after.time >= drain.deadline) {
                    *forced += 1;
                }
                // What made room is judged by the minimum.
                let made_room = |state: &ClusterState| {
                    state.replicas.get(&replica.id).is_some_and(|after| after.made_room_for.is_some())
                };
                if replica.made_room_for.is_none() && made_room(after) {
                    *forced += 1;
                }
                // A device that had a fault keeps no promise.
                if self.nodes.get(&replica.node).is_some_and(|node| holds_condemned(node, replica)) {
                    *forced += 1;
                }
            }
        }
        for (key, (allowance, forced)) in allowed {
            let ready = |replicas: &BTreeMap<ReplicaId, Replica>| {
                replicas.values().filter(|replica| replica.key == *key && serves(replica)).count() as u64
            };
            let (before, now) = (ready(&self.replicas), ready(&after.replicas));
            let desired = after.deployments.get(key).filter(|deployment| !deployment.deleting);
            let desired = desired.map_or(0, |deployment| {
                let yielded = |deployment: &Deployment| deployment.yielded.iter().map(|yielded| yielded.count).sum();
                // What is given back in the same plan was not there to be kept.
                let before: u32 = self.deployments.get(key).map_or(0, yielded);
                u64::from(deployment.spec.instance_count.saturating_sub(before.max(yielded(deployment))))
            });
            // Only who holds no reserve may be one short of what it asked for.
            let holds = after.deployments.get(key).is_some_and(|deployment| deployment.spec.reserve);
            let allowance = if holds { 0 } else { allowance };
            if now + forced < before && now + forced + allowance < desired {
                let text = format!("a plan took {key} from {before} to {now} ready of {desired}");
                found.push(Violation::new("RO01", text));
            }
        }
    }

    fn routes(&self, after: &ClusterState, found: &mut Vec<Violation>) {
        let table = RouteTable::of(after);
        if table.version < self.table.version {
            found.push(Violation::new(
                "TR03",
                format!("the table went from {} to {}", self.table.version, table.version),
            ));
        }
        let names: BTreeSet<_> = table.endpoints.keys().chain(self.table.endpoints.keys()).collect();
        for name in names {
            let (before, now) = (self.table.endpoints.get(name), table.endpoints.get(name));
            let shows = |route: &crate::traffic::table::EndpointRoute| {
                let mut route = route.clone();
                route.revision = LogIndex(0);
                route
            };
            let changed = before.map(|route| shows(route)) != now.map(|route| shows(route));
            let is_newer = now.map_or(table.version, |route| route.revision) == after.applied;
            if changed && !is_newer {
                let text = format!("the routes of {name} changed at entry {} under an old revision", after.applied);
                found.push(Violation::new("TR03", text));
            }
        }
    }

    fn is_unchanged(&self, after: &ClusterState) -> bool {
        self.endpoints == after.endpoints
            && self.deployments == after.deployments
            && self.replicas == after.replicas
            && self.slots == after.slots
            && self.nodes == after.nodes
            && self.quotas == after.quotas
    }

    fn follow(&mut self, after: &ClusterState) {
        let seen = std::mem::take(&mut self.seen);
        let answers = std::mem::take(&mut self.answers);
        *self = Self::of(after);
        self.seen.extend(seen);
        self.answers = answers;
    }
}

fn serves(replica: &Replica) -> bool {
    replica.state == ReplicaState::Serving && !replica.lost
}

/// Returns whether a life may go from one state to another, written down apart from the rule that the state uses.
fn is_a_life(from: ReplicaState, to: ReplicaState) -> bool {
    use ReplicaState::{Draining, Failed, Placed, Preparing, Serving, Starting, Stopped, Warm};
    match (from, to) {
        _ if from == to => true,
        (Placed, Draining | Serving) | (Preparing | Starting, Placed | Draining | Serving) => false,
        (Placed | Preparing | Starting, _) => true,
        (Warm | Serving, Placed) => false,
        (Warm | Serving, _) => true,
        (Draining | Failed, Stopped) => true,
        (Draining | Failed | Stopped, _) => false,
    }
}

/// Returns whether a replica holds a device whose card had a fault, from the plain records.
pub(super) fn holds_condemned(node: &Node, replica: &Replica) -> bool {
    let held = |uuid: &str| replica.devices.iter().any(|grant| grant.uuid == uuid);
    node.profile.devices.iter().filter(|device| held(&device.uuid)).any(|device| {
        let card = device.card.as_ref().unwrap_or(&device.uuid);
        let state = node.devices.get(card).map(|condition| condition.state);
        matches!(state, Some(DeviceState::Probation | DeviceState::Failed))
    })
}
