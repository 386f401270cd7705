//! Lies: what a planted bug tells a machine, or does to what one said. Without a bug everything here is the plain truth.

use std::borrow::Cow;

use berth_core::{
    agent::Assignments,
    controller::{Heartbeat, Input, TableAcks},
    id::{LogIndex, SlotId},
    model::{
        Deployment, DeploymentKey, DeploymentSpec, Disconnect, Reconcile, ReleaseCause, Replica, ReplicaState,
        ReserveSlot, ReserveSpend, SpendCause, Spread, SpreadBy,
    },
    state::{Applied, ClusterState, Command, Entry, ONE_AT_A_TIME, Plan, Reply, RouteRevisions, Step},
    time::{LogTime, Millis},
};

use crate::{Bug, log::Origin, world::World};

/// How long requests may go on at what is retired too early: longer than any takes.
const RETIRED_WITHIN: Millis = Millis::from_secs(30);

// === impl World ===

impl World {
    /// Tells a new leader that every router follows, before any of them said so.
    pub(crate) fn pretend_all_was_heard(&mut self, leader: usize) {
        let nodes: Vec<_> = self.members[leader].state.nodes.values().map(|node| (node.id, node.epoch)).collect();
        let everything = LogIndex(u64::MAX);
        let acks = TableAcks { received: everything, applied: everything, warm: everything };
        for (node, epoch) in nodes {
            self.leader_step(leader, Input::SessionOpened { node, epoch });
            let heartbeat = Heartbeat { node, epoch, acks, ..Heartbeat::default() };
            self.leader_step(leader, Input::Heartbeat(heartbeat));
        }
    }

    pub(crate) fn input_with_bugs(&self, mut input: Input) -> Input {
        if let Input::Heartbeat(heartbeat) = &mut input {
            if self.has(Bug::ServeWithoutAcks) {
                let everything = LogIndex(u64::MAX);
                heartbeat.acks = TableAcks { received: everything, applied: everything, warm: everything };
            }
            if self.has(Bug::StopWithRequests) {
                heartbeat.in_flight.clear();
            }
        }
        input
    }

    /// Returns the state a leader is shown instead of its own.
    pub(crate) fn state_with_bugs(&self, at: usize) -> Option<ClusterState> {
        let (bug, mut state) = match self.options.bug.filter(|bug| self.has(*bug))? {
            bug @ (Bug::SkipCapacity
            | Bug::OversellDevices
            | Bug::IgnoreBrake
            | Bug::TakePromised
            | Bug::TakeFromEquals
            | Bug::IgnoreSpread
            | Bug::WaitForNobody
            | Bug::ReplaceAll
            | Bug::KeepTheOther) => (bug, self.members[at].state.clone()),
            _ => return None,
        };
        match bug {
            Bug::SkipCapacity => stretch(&mut state, 100, 1),
            Bug::OversellDevices => stretch_devices(&mut state, 4, 1),
            Bug::IgnoreBrake => (state.settings.brake_percent, state.settings.brake_floor) = (100, u64::MAX),
            Bug::WaitForNobody | Bug::ReplaceAll | Bug::KeepTheOther => {
                let policies = state.deployments.values_mut().map(|deployment| &mut deployment.spec.disconnect);
                policies.for_each(|policy| twist(bug, policy));
            }
            bug => drop(mislead(&mut state, bug)),
        }
        Some(state)
    }

    /// Changes orders on their way to an agent.
    pub(crate) fn orders_with_bugs(&self, mut orders: Assignments) -> Assignments {
        if self.has(Bug::EndAlone) {
            let policies = orders.replicas.values_mut().map(|order| &mut order.spec.disconnect);
            policies.for_each(|policy| policy.stop_on_client_after = Some(Millis(1)));
        }
        orders
    }

    /// Changes what a leader is about to propose.
    pub(crate) fn spoil_plan(&mut self, at: usize, command: &mut Command) {
        let Command::PlanCommit(plan) = command else { return };
        if self.has(Bug::ReuseReplicaId) {
            for step in &mut plan.steps {
                if let Step::Place { replica, .. } = step
                    && let Some(used) = self.judge.gone.pop()
                {
                    *replica = used;
                }
            }
        }
        if self.has(Bug::NeverRestore) {
            plan.steps.retain(|step| !matches!(step, Step::HoldSlot { .. }) || self.now < 10_000);
        }
        if self.has(Bug::BreakPromise) {
            retire_all(&self.members[at].state, plan);
        }
        if self.has(Bug::HandOverBlindly) {
            retire_with_first_sign(&self.members[at].state, plan);
        }
        if self.has(Bug::MistakeSize) {
            let slot = self.members[at].state.slots.keys().next().copied();
            plan.steps.extend(slot.map(|slot| Step::ReleaseSlot { slot, cause: ReleaseCause::OtherSize }));
        }
    }

    /// Lets whoever leads now go on with what another one planned.
    pub(crate) fn hand_on(&mut self, entry: Entry) {
        if let Some(leader) = self.log.leader.filter(|leader| self.members[*leader].leads == Some(self.log.term)) {
            self.propose(leader, entry, Origin::Nobody);
        }
    }

    pub(crate) fn apply_with_bugs(&mut self, at: usize, index: LogIndex, entry: &Entry) -> Applied {
        let Some(bug) = self.options.bug.filter(|bug| self.has(*bug)) else {
            return self.members[at].state.apply(index, entry);
        };
        let is_follower = at == 1 && self.log.leader != Some(1);
        let state = &mut self.members[at].state;
        let entry = spoil_entry(bug, state, index, entry, is_follower);
        match bug {
            Bug::SkipCapacity if matches!(entry.command, Command::PlanCommit(_)) => {
                stretch(state, 100, 1);
                let applied = state.apply(index, &entry);
                stretch(state, 1, 100);
                applied
            }
            Bug::OversellDevices if matches!(entry.command, Command::PlanCommit(_)) => {
                stretch_devices(state, 4, 1);
                let applied = state.apply(index, &entry);
                stretch_devices(state, 1, 4);
                applied
            }
            Bug::TakePromised | Bug::TakeFromEquals | Bug::IgnoreSpread
                if matches!(entry.command, Command::PlanCommit(_)) =>
            {
                let truth = mislead(state, bug);
                let applied = state.apply(index, &entry);
                set_right(state, &truth);
                applied
            }
            Bug::BreakPromise if matches!(entry.command, Command::PlanCommit(_)) => {
                let counts: Vec<u32> = state.deployments.values().map(|it| it.spec.instance_count).collect();
                state.deployments.values_mut().for_each(|it| it.spec.instance_count = 0);
                let applied = state.apply(index, &entry);
                state.deployments.values_mut().zip(counts).for_each(|(it, count)| it.spec.instance_count = count);
                applied
            }
            Bug::IgnoreQuota
                if matches!(entry.command, Command::DeploymentPut { .. } | Command::DeploymentScale { .. }) =>
            {
                let limits = std::mem::take(&mut state.quotas.projects);
                let applied = state.apply(index, &entry);
                state.quotas.projects = limits;
                applied
            }
            Bug::LendTooMuch if matches!(entry.command, Command::QuotaLend { .. }) => {
                let pool = state.quotas.pool.clone();
                state.quotas.pool.values_mut().for_each(|milli| *milli = milli.saturating_mul(100));
                let applied = state.apply(index, &entry);
                state.quotas.pool = pool;
                applied
            }
            Bug::ForgetSums => {
                let applied = state.apply(index, &entry);
                if let Command::DeploymentScale { key, instance_count, .. } = &entry.command
                    && let Some(deployment) = state.deployments.get_mut(key)
                {
                    deployment.spec.instance_count = *instance_count + 1;
                }
                applied
            }
            _ => {
                let before = Before { slots: state.slots.values().cloned().collect(), routes: state.routes.clone() };
                let applied = state.apply(index, &entry);
                if matches!(applied.reply, Reply::Refused(_)) == (bug == Bug::RefuseByHalf) {
                    spoil_state(bug, state, &entry, before);
                }
                applied
            }
        }
    }
}

/// Changes an entry on its way into a state.
fn spoil_entry<'a>(
    bug: Bug,
    state: &ClusterState,
    index: LogIndex,
    entry: &'a Entry,
    is_follower: bool,
) -> Cow<'a, Entry> {
    let mut entry = Cow::Borrowed(entry);
    match bug {
        Bug::DoubleApply => entry.to_mut().request_id = None,
        Bug::SkipEntry if is_follower && index.0.is_multiple_of(40) => {
            entry.to_mut().command = Command::ClusterInit { cluster_id: "sim".to_owned() };
        }
        Bug::ForgetEpochFence => {
            if let Command::ReplicaReports { node, epoch, .. } = &mut entry.to_mut().command
                && let Some(known) = state.nodes.get(node)
            {
                *epoch = known.epoch;
            }
        }
        Bug::TwoWalks => {
            if let Command::UpgradeLock { steal, .. } = &mut entry.to_mut().command {
                *steal = true;
            }
        }
        Bug::ForgetPlanTerm => {
            if let Command::PlanCommit(plan) = &mut entry.to_mut().command {
                plan.term = state.term;
            }
        }
        _ => {}
    }
    entry
}

/// What there was before an entry, as far as a bug goes back to it.
struct Before {
    slots: Vec<ReserveSlot>,
    routes: RouteRevisions,
}

/// Changes what an entry left; the same way at every coordinator.
fn spoil_state(bug: Bug, state: &mut ClusterState, entry: &Entry, before: Before) {
    let Before { slots, routes } = before;
    match (bug, &entry.command) {
        (Bug::MistakeUpgrades | Bug::BookAsUpdate | Bug::SpendUnrecorded, Command::PlanCommit(plan)) => {
            let placed = plan.steps.iter().filter_map(|step| match step {
                Step::Place { replica, .. } => Some(*replica),
                _ => None,
            });
            placed.for_each(|id| {
                if let Some(replica) = state.replicas.get_mut(&id) {
                    replica.reserve_spent =
                        replica.reserve_spent.take().and_then(|spend| booked_by(bug, replica, spend));
                }
            });
        }
        (Bug::MistakeSize, Command::PlanCommit(plan)) => plan.steps.iter().for_each(|step| {
            if let Step::ReleaseSlot { slot, cause: ReleaseCause::OtherSize } = step {
                state.slots.remove(slot);
            }
        }),
        (Bug::Resurrect, Command::ReplicaReports { node, .. }) => {
            let drains = |it: &&mut Replica| it.node == *node && it.state == ReplicaState::Draining;
            state.replicas.values_mut().filter(drains).for_each(|replica| replica.state = ReplicaState::Warm);
        }
        (Bug::ShareNames, Command::NodeRegister(_)) => {
            let name = state.nodes.values().next().map(|node| node.profile.name.clone());
            let last = state.nodes.values_mut().next_back();
            if let (Some(name), Some(node)) = (name, last) {
                node.profile.name = name;
            }
        }
        (Bug::HalveSplits, Command::TrafficSet { endpoint, .. }) => {
            if let Some(endpoint) = state.endpoints.get_mut(endpoint) {
                endpoint.traffic.0.values_mut().for_each(|percent| *percent /= 2);
            }
        }
        (Bug::TakeForLost, Command::ReplicaReports { node, .. }) => {
            let answers = |it: &&mut Replica| it.node == *node && it.is_ready();
            state.replicas.values_mut().filter(answers).for_each(|replica| replica.lost = true);
        }
        (Bug::KeepVersion, Command::TrafficSet { .. }) => state.routes = routes,
        (Bug::OutliveEndpoint, Command::EndpointDelete { name, .. }) => {
            let of_it = |it: &&mut Deployment| it.key.endpoint == *name;
            state.deployments.values_mut().filter(of_it).for_each(|deployment| deployment.deleting = false);
        }
        (Bug::StepBack, Command::NodeRegister(_)) => state.time = LogTime::default(),
        (Bug::RefuseByHalf, _) => {
            if let Some(node) = state.nodes.values_mut().next() {
                node.cordoned = !node.cordoned;
            }
        }
        (Bug::RunAhead, Command::NodeRegister(register)) => {
            if let Some(node) = state.nodes.get_mut(&register.node) {
                node.revision = LogIndex(state.applied.0 + 1);
            }
        }
        (Bug::ForgetLookUp, Command::NodeRegister(register)) => {
            if let Some(node) = state.nodes.get_mut(&register.node) {
                node.profile.name = "another".parse().expect("a host name");
            }
            return;
        }
        (Bug::ForgetOldSpecs, Command::DeploymentPut { key, .. }) => {
            if let Some(deployment) = state.deployments.get_mut(key) {
                deployment.old_specs.clear();
            }
        }
        (Bug::ForgetLost, Command::NodeTransition(transition)) => {
            let on_node = |lost: &&mut berth_core::model::Replica| lost.node == transition.node && lost.lost;
            if let Some(replica) = state.replicas.values_mut().find(on_node) {
                replica.lost = false;
            }
        }
        (Bug::TrustBroken, Command::DeviceTransition(transition)) => {
            if let Some(node) = state.nodes.get_mut(&transition.node) {
                node.profile.devices.iter_mut().for_each(|device| device.healthy = true);
            }
        }
        (Bug::RaidReserve, Command::PlanCommit(plan)) => raid(state, plan),
        (Bug::KeepSlots, Command::DeploymentDelete { .. } | Command::EndpointDelete { .. }) => {
            let gone: Vec<_> = slots.into_iter().filter(|slot| !state.slots.contains_key(&slot.id)).collect();
            state.slots.extend(gone.into_iter().map(|slot| (slot.id, slot)));
        }
        (Bug::HoardSlots, Command::PlanCommit(_)) => {
            let is_new = |slot: &&ReserveSlot| !slots.iter().any(|known| known.id == slot.id);
            let new: Vec<_> = state.slots.values().filter(is_new).cloned().collect();
            let twins = new.into_iter().map(|slot| ReserveSlot { id: SlotId(slot.id.0 ^ 1), ..slot });
            state.slots.extend(twins.map(|slot| (slot.id, slot)));
        }
        _ => return,
    }
    *state = ClusterState::from_snapshot(state.to_snapshot());
}

/// Returns what is booked for a place that was taken from the reserve.
fn booked_by(bug: Bug, replica: &Replica, spend: ReserveSpend) -> Option<ReserveSpend> {
    let cause = match (bug, spend.cause) {
        (Bug::SpendUnrecorded, _) => return None,
        (Bug::BookAsUpdate, _) => SpendCause::RollingUpdate { generation: replica.generation },
        (_, SpendCause::Drain { node }) => SpendCause::AgentUpgrade { node },
        (_, SpendCause::AgentUpgrade { node }) => SpendCause::Drain { node },
        (_, cause) => cause,
    };
    Some(ReserveSpend { cause, ..spend })
}

/// Turns what a deployment wants of nodes that cannot be reached into something else.
fn twist(bug: Bug, policy: &mut Disconnect) {
    match bug {
        Bug::WaitForNobody => policy.lost_after = None,
        Bug::ReplaceAll => policy.replace = true,
        _ => {
            policy.reconcile = match policy.reconcile {
                Reconcile::KeepOriginal => Reconcile::KeepReplacement,
                Reconcile::KeepReplacement | Reconcile::KeepServing => Reconcile::KeepOriginal,
            }
        }
    }
}

/// Takes a slot of somebody else for each instance that was placed beside one.
fn raid(state: &mut ClusterState, plan: &Plan) {
    for step in &plan.steps {
        let Step::Place { replica, key, node, reserve_spent: None, .. } = step else { continue };
        if !state.replicas.contains_key(replica) {
            continue;
        }
        let other = state.slots.values().find(|slot| slot.node == *node && slot.key != *key).map(|slot| slot.id);
        if let Some(other) = other {
            state.slots.remove(&other);
        }
    }
}

/// Adds to each drain of a plan those of all others of its deployment.
fn retire_all(state: &ClusterState, plan: &mut Plan) {
    let drained = plan.steps.iter().find_map(|step| match step {
        Step::Drain { replica, deadline, reason } if reason != ONE_AT_A_TIME => Some((*replica, *deadline)),
        _ => None,
    });
    let Some((first, deadline)) = drained else { return };
    let Some(key) = state.replicas.get(&first).map(|replica| replica.key.clone()) else { return };
    let is_taken = |id| plan.steps.iter().any(|step| matches!(step, Step::Drain { replica, .. } if *replica == id));
    let others: Vec<_> = ready_of(state, &key).filter(|id| !is_taken(*id)).collect();
    let reason = "the first of them goes".to_owned();
    plan.steps.extend(others.into_iter().map(|replica| Step::Drain { replica, deadline, reason: reason.clone() }));
}

/// Lets whatever begins to serve take over at once, before any router knows of it.
fn retire_with_first_sign(state: &ClusterState, plan: &mut Plan) {
    let served: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Serve { replica } => state.replicas.get(replica),
            _ => None,
        })
        .collect();
    for new in served {
        let old = ready_of(state, &new.key).next();
        let reason = "another serves".to_owned();
        plan.steps.extend(old.map(|replica| Step::Drain { replica, deadline: state.time + RETIRED_WITHIN, reason }));
    }
}

fn ready_of<'a>(
    state: &'a ClusterState,
    key: &DeploymentKey,
) -> impl Iterator<Item = berth_core::id::ReplicaId> + use<'a> {
    state
        .replicas_of(key)
        .filter(|replica| replica.is_ready())
        .map(|replica| replica.id)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Multiplies what every node has, for the bug that ignores it.
fn stretch(state: &mut ClusterState, by: u64, of: u64) {
    for node in state.nodes.values_mut() {
        let has = &mut node.profile.capacity;
        for amount in [&mut has.cpu_milli, &mut has.memory_mib, &mut has.disk_mib, &mut has.gpus] {
            *amount = *amount * by / of;
        }
    }
    *state = ClusterState::from_snapshot(state.to_snapshot());
    state.reindex();
}

/// Multiplies the memory of every device, for the bug that ignores it.
fn stretch_devices(state: &mut ClusterState, by: u64, of: u64) {
    let devices = state.nodes.values_mut().flat_map(|node| &mut node.profile.devices);
    devices.for_each(|device| device.memory_mib = device.memory_mib * by / of);
    // What is looked up must believe it too.
    *state = ClusterState::from_snapshot(state.to_snapshot());
}

/// What deployments really say about their importance, their minimum and their spread.
type Truth = Vec<(DeploymentKey, u32, Option<u32>, Spread)>;

/// Lies to a state about what is promised, who is important or what keeps apart, and returns the truth.
fn mislead(state: &mut ClusterState, bug: Bug) -> Truth {
    let mut truth = Truth::new();
    for (nth, deployment) in state.deployments.values_mut().enumerate() {
        let DeploymentSpec { priority, min_instances, spread, .. } = deployment.spec;
        truth.push((deployment.key.clone(), priority, min_instances, spread));
        match bug {
            Bug::TakePromised => deployment.spec.min_instances = Some(0),
            Bug::IgnoreSpread => deployment.spec.spread = Spread { by: SpreadBy::None, max_per_domain: None },
            _ => deployment.spec.priority = if nth % 2 == 0 { 100 } else { 0 },
        }
    }
    truth
}

fn set_right(state: &mut ClusterState, truth: &Truth) {
    for (key, priority, min_instances, spread) in truth {
        if let Some(deployment) = state.deployments.get_mut(key) {
            let spec = &mut deployment.spec;
            (spec.priority, spec.min_instances, spec.spread) = (*priority, *min_instances, *spread);
        }
    }
}
