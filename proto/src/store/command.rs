//! Entries and commands, to and from their stored form.

use berth_core::{
    error::Error,
    id::{Generation, LoanId, LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, RequestId, SlotId, Term},
    state::{Command, DeviceTransition, DrainWish, Entry, NodeTransition, Plan, PutMode, RegisterNode, Step},
    time::{LogTime, Millis},
};

use super::{
    model::key,
    quota::{family, limits_core, limits_wire},
    reserve::{release_core, release_wire},
    v1,
};
use crate::convert::{Wire, all, digest, enum_wire, name, need, wires};

enum_wire!(PutMode, v1::PutMode, Upsert, Create, Update);

impl Wire<Entry> for v1::Entry {
    fn wire(value: &Entry) -> Self {
        Self {
            proposed_at_ms: value.proposed_at.millis(),
            request_id: value.request_id.as_ref().map(|id| id.0.clone()),
            fingerprint: value.fingerprint,
            principal: value.principal.clone(),
            command: Some(Wire::wire(&value.command)),
        }
    }

    fn core(self) -> Result<Entry, Error> {
        Ok(Entry {
            proposed_at: LogTime::from_millis(self.proposed_at_ms),
            request_id: self.request_id.map(RequestId),
            fingerprint: self.fingerprint,
            principal: self.principal,
            command: need(self.command, "command")?.core()?,
        })
    }
}

impl Wire<Command> for v1::Command {
    fn wire(value: &Command) -> Self {
        use v1::command::Command as C;
        let command = match value {
            Command::ClusterInit { cluster_id } => C::ClusterInit(v1::ClusterInit { cluster_id: cluster_id.clone() }),
            Command::LeaderEstablished { term, member } => {
                C::LeaderEstablished(v1::LeaderEstablished { term: term.0, member: member.0 })
            }
            Command::FeatureLevelRaise { level } => C::FeatureLevelRaise(v1::FeatureLevelRaise { level: *level }),
            Command::EndpointPut { name, spec, project, keys, mode, if_revision } => C::EndpointPut(v1::EndpointPut {
                name: name.to_string(),
                project: project.as_ref().map(ToString::to_string),
                spec: Some(Wire::wire(spec)),
                keys: Some(Wire::wire(keys)),
                mode: i32::wire(mode),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::EndpointKeysPut { name, keys, if_revision } => C::EndpointKeysPut(v1::EndpointKeysPut {
                name: name.to_string(),
                keys: Some(Wire::wire(keys)),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::EndpointDelete { name, if_revision } => C::EndpointDelete(v1::EndpointDelete {
                name: name.to_string(),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::TrafficSet { endpoint, split, mirror, strict_azure, if_revision } => {
                C::TrafficSet(v1::TrafficSet {
                    endpoint: endpoint.to_string(),
                    split: split.as_ref().map(Wire::wire),
                    mirror: mirror.as_ref().map(Wire::wire),
                    strict_azure: *strict_azure,
                    if_revision: if_revision.map(|revision| revision.0),
                })
            }
            Command::DeploymentPut { key, spec, mode, if_revision } => C::DeploymentPut(v1::DeploymentPut {
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                spec: Some(Wire::wire(&**spec)),
                mode: i32::wire(mode),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::DeploymentScale { key, instance_count, if_revision } => C::DeploymentScale(v1::DeploymentScale {
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                instance_count: *instance_count,
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::DeploymentPause { key, paused, if_revision } => C::PauseDeployment(v1::PauseDeployment {
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                paused: *paused,
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::DeploymentRestart { key, if_revision } => C::RestartDeployment(v1::RestartDeployment {
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::ReplicaReplace { replica, within } => {
                C::ReplaceReplica(v1::ReplaceReplica { replica: replica.0, within_ms: within.map(|within| within.0) })
            }
            Command::DeploymentDelete { key, if_revision } => C::DeploymentDelete(v1::DeploymentDelete {
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::NodeRegister(register) => C::NodeRegister(v1::NodeRegister {
                node: register.node.0,
                profile: Some(Wire::wire(&register.profile)),
                epoch_seen: register.epoch_seen.0,
                held: register.held.0,
                takes_over: register.takes_over,
            }),
            Command::NodeTransition(transition) => C::NodeTransition(v1::NodeTransition {
                term: transition.term.0,
                node: transition.node.0,
                epoch: transition.epoch.0,
                to: i32::wire(&transition.to),
                reason: transition.reason.clone(),
            }),
            Command::DeviceTransition(transition) => C::DeviceTransition(v1::DeviceTransition {
                term: transition.term.0,
                node: transition.node.0,
                epoch: transition.epoch.0,
                card: transition.card.clone(),
                to: transition.to.as_ref().map_or(0, i32::wire),
                reason: transition.reason.clone(),
                faults: transition.faults,
            }),
            Command::NodeCordon { name, cordoned } => {
                C::NodeCordon(v1::NodeCordon { name: name.to_string(), cordoned: *cordoned })
            }
            Command::NodeDrain { name, wish } => {
                C::DrainNode(v1::DrainNode { name: name.to_string(), wish: wish.as_ref().map(Wire::wire) })
            }
            Command::UpgradeLock { holder, within, steal } => C::LockUpgrade(v1::LockUpgrade {
                holder: holder.clone(),
                within_ms: within.map(|within| within.0),
                steal: *steal,
            }),
            Command::QuotaSet { project, limits, if_revision } => {
                let (limits_milli, unlimited) = limits_wire(limits);
                let if_revision = if_revision.map(|revision| revision.0);
                C::QuotaSet(v1::QuotaSet { project: project.to_string(), limits_milli, unlimited, if_revision })
            }
            Command::PoolSet { amounts, if_revision } => {
                let (amounts_milli, none) = limits_wire(amounts);
                C::PoolSet(v1::PoolSet { amounts_milli, none, if_revision: if_revision.map(|revision| revision.0) })
            }
            Command::QuotaLend { loan, project, family, milli, within } => C::QuotaLend(v1::QuotaLend {
                loan: loan.0,
                project: project.to_string(),
                family: family.to_string(),
                milli: *milli,
                within_ms: within.0,
            }),
            Command::QuotaReturn { loan } => C::QuotaReturn(v1::QuotaReturn { loan: loan.0 }),
            Command::AlertsChange { term, changes } => {
                C::AlertsChange(v1::AlertsChange { term: term.0, changes: wires(changes) })
            }
            Command::AlertsTold { term, told } => C::AlertsTold(v1::AlertsTold { term: term.0, told: wires(told) }),
            Command::LoansExpire { term, loans } => {
                C::LoansExpire(v1::LoansExpire { term: term.0, loans: loans.iter().map(|loan| loan.0).collect() })
            }
            Command::SettingsSet { change, if_revision } => C::SettingsSet(v1::SettingsSet {
                change: Some(Wire::wire(change)),
                if_revision: if_revision.map(|revision| revision.0),
            }),
            Command::NodeForget { name } => C::NodeForget(v1::NodeForget { name: name.to_string() }),
            Command::ReplicaReports { node, epoch, reports } => {
                C::ReplicaReports(v1::ReplicaReports { node: node.0, epoch: epoch.0, reports: wires(reports) })
            }
            Command::PlanCommit(plan) => C::PlanCommit(Wire::wire(plan)),
            Command::AssetCommit { digest, size_bytes, holders } => C::AssetCommit(v1::AssetCommit {
                digest: digest.0.to_vec(),
                size_bytes: *size_bytes,
                holders: holders.iter().map(|member| member.0).collect(),
            }),
            Command::AssetExpire { digests } => {
                C::AssetExpire(v1::AssetExpire { digests: digests.iter().map(|digest| digest.0.to_vec()).collect() })
            }
        };
        Self { command: Some(command) }
    }

    fn core(self) -> Result<Command, Error> {
        use v1::command::Command as C;
        Ok(match need(self.command, "command")? {
            C::ClusterInit(c) => Command::ClusterInit { cluster_id: c.cluster_id },
            C::LeaderEstablished(c) => Command::LeaderEstablished { term: Term(c.term), member: MemberId(c.member) },
            C::FeatureLevelRaise(c) => Command::FeatureLevelRaise { level: c.level },
            C::EndpointPut(c) => Command::EndpointPut {
                name: name(&c.name)?,
                project: c.project.as_deref().map(name).transpose()?,
                spec: need(c.spec, "spec")?.core()?,
                keys: need(c.keys, "keys")?.core()?,
                mode: c.mode.core()?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::EndpointKeysPut(c) => Command::EndpointKeysPut {
                name: name(&c.name)?,
                keys: need(c.keys, "keys")?.core()?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::EndpointDelete(c) => {
                Command::EndpointDelete { name: name(&c.name)?, if_revision: c.if_revision.map(LogIndex) }
            }
            C::TrafficSet(c) => Command::TrafficSet {
                endpoint: name(&c.endpoint)?,
                split: c.split.map(Wire::core).transpose()?,
                mirror: c.mirror.map(Wire::core).transpose()?,
                strict_azure: c.strict_azure,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::DeploymentPut(c) => Command::DeploymentPut {
                key: key(&c.endpoint, &c.deployment)?,
                spec: Box::new(need(c.spec, "spec")?.core()?),
                mode: c.mode.core()?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::DeploymentScale(c) => Command::DeploymentScale {
                key: key(&c.endpoint, &c.deployment)?,
                instance_count: c.instance_count,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::DeploymentDelete(c) => Command::DeploymentDelete {
                key: key(&c.endpoint, &c.deployment)?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::NodeRegister(c) => Command::NodeRegister(Box::new(RegisterNode {
                node: NodeId(c.node),
                profile: need(c.profile, "profile")?.core()?,
                epoch_seen: NodeEpoch(c.epoch_seen),
                held: NodeEpoch(c.held),
                takes_over: c.takes_over,
            })),
            C::NodeTransition(c) => Command::NodeTransition(NodeTransition {
                term: Term(c.term),
                node: NodeId(c.node),
                epoch: NodeEpoch(c.epoch),
                to: c.to.core()?,
                reason: c.reason,
            }),
            C::DeviceTransition(c) => Command::DeviceTransition(DeviceTransition {
                term: Term(c.term),
                node: NodeId(c.node),
                epoch: NodeEpoch(c.epoch),
                card: c.card,
                to: if c.to == 0 { None } else { Some(c.to.core()?) },
                reason: c.reason,
                faults: c.faults,
            }),
            C::NodeCordon(c) => Command::NodeCordon { name: name(&c.name)?, cordoned: c.cordoned },
            C::DrainNode(c) => Command::NodeDrain { name: name(&c.name)?, wish: c.wish.map(Wire::core).transpose()? },
            C::LockUpgrade(c) => {
                Command::UpgradeLock { holder: c.holder, within: c.within_ms.map(Millis), steal: c.steal }
            }
            C::QuotaSet(c) => Command::QuotaSet {
                project: name(&c.project)?,
                limits: limits_core(c.limits_milli, c.unlimited)?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::PoolSet(c) => Command::PoolSet {
                amounts: limits_core(c.amounts_milli, c.none)?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::QuotaLend(c) => Command::QuotaLend {
                loan: LoanId(c.loan),
                project: name(&c.project)?,
                family: family(&c.family)?,
                milli: c.milli,
                within: Millis(c.within_ms),
            },
            C::QuotaReturn(c) => Command::QuotaReturn { loan: LoanId(c.loan) },
            C::PauseDeployment(c) => Command::DeploymentPause {
                key: key(&c.endpoint, &c.deployment)?,
                paused: c.paused,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::RestartDeployment(c) => Command::DeploymentRestart {
                key: key(&c.endpoint, &c.deployment)?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::ReplaceReplica(c) => {
                Command::ReplicaReplace { replica: ReplicaId(c.replica), within: c.within_ms.map(Millis) }
            }
            C::AlertsChange(c) => Command::AlertsChange { term: Term(c.term), changes: all(c.changes)? },
            C::AlertsTold(c) => Command::AlertsTold { term: Term(c.term), told: all(c.told)? },
            C::LoansExpire(c) => {
                Command::LoansExpire { term: Term(c.term), loans: c.loans.into_iter().map(LoanId).collect() }
            }
            C::SettingsSet(c) => Command::SettingsSet {
                change: need(c.change, "change")?.core()?,
                if_revision: c.if_revision.map(LogIndex),
            },
            C::NodeForget(c) => Command::NodeForget { name: name(&c.name)? },
            C::ReplicaReports(c) => {
                Command::ReplicaReports { node: NodeId(c.node), epoch: NodeEpoch(c.epoch), reports: all(c.reports)? }
            }
            C::PlanCommit(plan) => Command::PlanCommit(plan.core()?),
            C::AssetCommit(c) => Command::AssetCommit {
                digest: digest(&c.digest)?,
                size_bytes: c.size_bytes,
                holders: c.holders.into_iter().map(MemberId).collect(),
            },
            C::AssetExpire(c) => {
                let digests = c.digests.iter().map(|bytes| digest(bytes));
                Command::AssetExpire { digests: digests.collect::<Result<_, _>>()? }
            }
        })
    }
}

impl Wire<DrainWish> for v1::DrainWish {
    fn wire(value: &DrainWish) -> Self {
        let by = i32::wire(&value.by);
        Self { within_ms: value.within.0, reason: value.reason.clone(), force: value.force, by }
    }

    fn core(self) -> Result<DrainWish, Error> {
        let by = self.by.core()?;
        Ok(DrainWish { within: Millis(self.within_ms), reason: self.reason, force: self.force, by })
    }
}

impl Wire<Plan> for v1::Plan {
    fn wire(value: &Plan) -> Self {
        Self {
            term: value.term.0,
            based_on: value.based_on.0,
            part: value.part,
            parts: value.parts,
            steps: wires(&value.steps),
        }
    }

    fn core(self) -> Result<Plan, Error> {
        Ok(Plan {
            term: Term(self.term),
            based_on: LogIndex(self.based_on),
            part: self.part,
            parts: self.parts,
            steps: all(self.steps)?,
        })
    }
}

impl Wire<Step> for v1::Step {
    fn wire(value: &Step) -> Self {
        use v1::step::Step as S;
        let step = match value {
            Step::Place { replica, key, generation, node, devices, replaces, reserve_spent, reason } => {
                S::Place(v1::Place {
                    replica: replica.0,
                    endpoint: key.endpoint.to_string(),
                    deployment: key.deployment.to_string(),
                    generation: generation.0,
                    node: node.0,
                    devices: wires(devices),
                    replaces: replaces.map(|id| id.0),
                    reserve_spent: reserve_spent.as_ref().map(Wire::wire),
                    reason: reason.clone(),
                })
            }
            Step::Serve { replica } => S::Serve(v1::Serve { replica: replica.0 }),
            Step::Drain { replica, deadline, reason } => {
                S::Drain(v1::Drain { replica: replica.0, deadline_ms: deadline.millis(), reason: reason.clone() })
            }
            Step::Preempt { replica, to, deadline } => {
                S::Preempt(v1::Preempt { replica: replica.0, to: Some(Wire::wire(to)), deadline_ms: deadline.millis() })
            }
            Step::Stop { replica, cut, reason } => {
                S::Stop(v1::Stop { replica: replica.0, reason: reason.clone(), cut: *cut })
            }
            Step::HoldSlot { slot, key, node, devices, reason } => S::HoldSlot(v1::HoldSlot {
                slot: slot.0,
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                node: node.0,
                devices: wires(devices),
                reason: reason.clone(),
            }),
            Step::ReleaseSlot { slot, cause } => S::ReleaseSlot(release_wire(*slot, cause)),
            Step::NoteReserve { key, short, reason } => S::NoteReserve(v1::NoteReserve {
                endpoint: key.endpoint.to_string(),
                deployment: key.deployment.to_string(),
                short: *short,
                reason: reason.clone(),
            }),
        };
        Self { step: Some(step) }
    }

    fn core(self) -> Result<Step, Error> {
        use v1::step::Step as S;
        Ok(match need(self.step, "step")? {
            S::Place(s) => Step::Place {
                replica: ReplicaId(s.replica),
                key: key(&s.endpoint, &s.deployment)?,
                generation: Generation(s.generation),
                node: NodeId(s.node),
                devices: all(s.devices)?,
                replaces: s.replaces.map(ReplicaId),
                reserve_spent: s.reserve_spent.map(Wire::core).transpose()?,
                reason: s.reason,
            },
            S::Serve(s) => Step::Serve { replica: ReplicaId(s.replica) },
            S::Drain(s) => Step::Drain {
                replica: ReplicaId(s.replica),
                deadline: LogTime::from_millis(s.deadline_ms),
                reason: s.reason,
            },
            S::Preempt(s) => Step::Preempt {
                replica: ReplicaId(s.replica),
                to: need(s.to, "to")?.core()?,
                deadline: LogTime::from_millis(s.deadline_ms),
            },
            S::Stop(s) => Step::Stop { replica: ReplicaId(s.replica), cut: s.cut, reason: s.reason },
            S::HoldSlot(s) => Step::HoldSlot {
                slot: SlotId(s.slot),
                key: key(&s.endpoint, &s.deployment)?,
                node: NodeId(s.node),
                devices: all(s.devices)?,
                reason: s.reason,
            },
            S::ReleaseSlot(s) => {
                let (slot, cause) = release_core(s)?;
                Step::ReleaseSlot { slot, cause }
            }
            S::NoteReserve(s) => {
                Step::NoteReserve { key: key(&s.endpoint, &s.deployment)?, short: s.short, reason: s.reason }
            }
        })
    }
}
