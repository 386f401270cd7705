//! Orders and reports, to and from the wire.

use berth_core::{
    agent::{
        PrefetchOrder, PrefetchReport, PrefetchState,
        order::{Assignments, Desired, ReplicaOrder},
    },
    error::Error,
    id::{Generation, LogIndex, NodeEpoch, ReplicaId, Term},
    model::NodeProfile,
    state::ReplicaReport,
    time::LogTime,
    traffic::acks::TableAcks,
};

use super::v1;
use crate::{
    convert::{Wire, all, damaged, need, wires},
    store,
};

/// Writes a node's orders.
pub fn assignments_to_wire(value: &Assignments) -> v1::Assignments {
    v1::Assignments {
        term: value.term.0,
        epoch: value.epoch.0,
        revision: value.revision.0,
        replicas: wires(value.replicas.values()),
        prefetches: wires(value.prefetches.values()),
    }
}

/// Reads a node's orders.
pub fn assignments_from_wire(wire: v1::Assignments) -> Result<Assignments, Error> {
    let orders: Vec<ReplicaOrder> = all(wire.replicas)?;
    let prefetches: Vec<PrefetchOrder> = all(wire.prefetches)?;
    Ok(Assignments {
        term: Term(wire.term),
        epoch: NodeEpoch(wire.epoch),
        revision: LogIndex(wire.revision),
        replicas: orders.into_iter().map(|order| (order.replica, order)).collect(),
        prefetches: prefetches.into_iter().map(|order| (order.key.clone(), order)).collect(),
    })
}

/// Writes what became of a replica.
pub fn report_to_wire(value: &ReplicaReport) -> store::v1::ReplicaReport {
    Wire::wire(value)
}

/// Reads what became of a replica.
pub fn report_from_wire(wire: store::v1::ReplicaReport) -> Result<ReplicaReport, Error> {
    wire.core()
}

/// Writes how far a prefetch is, without what is counted of it.
pub fn prefetch_to_wire(value: &PrefetchReport) -> v1::PrefetchReport {
    let state = match value.state {
        PrefetchState::Waiting => v1::PrefetchState::Waiting,
        PrefetchState::Fetching => v1::PrefetchState::Fetching,
        PrefetchState::Cached => v1::PrefetchState::Cached,
    };
    v1::PrefetchReport {
        endpoint: value.key.endpoint.to_string(),
        deployment: value.key.deployment.to_string(),
        generation: value.generation.0,
        state: state.into(),
        reason: value.reason.clone(),
        progress: None,
    }
}

/// Reads how far a prefetch is.
pub fn prefetch_from_wire(wire: v1::PrefetchReport) -> Result<PrefetchReport, Error> {
    let state = match v1::PrefetchState::try_from(wire.state) {
        Ok(v1::PrefetchState::Waiting) => PrefetchState::Waiting,
        Ok(v1::PrefetchState::Fetching) => PrefetchState::Fetching,
        Ok(v1::PrefetchState::Cached) => PrefetchState::Cached,
        Ok(v1::PrefetchState::Unspecified) | Err(_) => {
            return Err(damaged(format!("{} is no state of a prefetch", wire.state)));
        }
    };
    Ok(PrefetchReport {
        key: store::key(&wire.endpoint, &wire.deployment)?,
        generation: Generation(wire.generation),
        state,
        reason: wire.reason,
    })
}

/// Writes what a node says about itself.
pub fn profile_to_wire(value: &NodeProfile) -> store::v1::NodeProfile {
    Wire::wire(value)
}

/// Reads what a node says about itself.
pub fn profile_from_wire(wire: store::v1::NodeProfile) -> Result<NodeProfile, Error> {
    wire.core()
}

/// Writes a router's acknowledgements.
pub fn acks_to_wire(value: TableAcks) -> v1::TableAcks {
    v1::TableAcks { received: value.received.0, applied: value.applied.0, warm: value.warm.0 }
}

/// Reads a router's acknowledgements.
pub fn acks_from_wire(wire: &v1::TableAcks) -> TableAcks {
    TableAcks { received: LogIndex(wire.received), applied: LogIndex(wire.applied), warm: LogIndex(wire.warm) }
}

impl Wire<ReplicaOrder> for v1::ReplicaOrder {
    fn wire(value: &ReplicaOrder) -> Self {
        let (desired, drain_deadline_ms) = match value.desired {
            Desired::Run => (v1::Desired::Run, 0),
            Desired::Drain { deadline } => (v1::Desired::Drain, deadline.millis()),
            Desired::Stop => (v1::Desired::Stop, 0),
        };
        Self {
            replica: value.replica.0,
            endpoint: value.key.endpoint.to_string(),
            deployment: value.key.deployment.to_string(),
            generation: value.generation.0,
            spec: Some(Wire::wire(&value.spec)),
            devices: wires(&value.devices),
            desired: desired as i32,
            drain_deadline_ms,
        }
    }

    fn core(self) -> Result<ReplicaOrder, Error> {
        let desired = match v1::Desired::try_from(self.desired) {
            Ok(v1::Desired::Run) => Desired::Run,
            Ok(v1::Desired::Drain) => Desired::Drain { deadline: LogTime::from_millis(self.drain_deadline_ms) },
            Ok(v1::Desired::Stop) => Desired::Stop,
            Ok(v1::Desired::Unspecified) | Err(_) => return Err(damaged(format!("{} is no order", self.desired))),
        };
        Ok(ReplicaOrder {
            replica: ReplicaId(self.replica),
            key: store::key(&self.endpoint, &self.deployment)?,
            generation: Generation(self.generation),
            spec: need(self.spec, "spec")?.core()?,
            devices: all(self.devices)?,
            desired,
        })
    }
}

impl Wire<PrefetchOrder> for v1::PrefetchOrder {
    fn wire(value: &PrefetchOrder) -> Self {
        Self {
            endpoint: value.key.endpoint.to_string(),
            deployment: value.key.deployment.to_string(),
            generation: value.generation.0,
            spec: Some(Wire::wire(&value.spec)),
        }
    }

    fn core(self) -> Result<PrefetchOrder, Error> {
        Ok(PrefetchOrder {
            key: store::key(&self.endpoint, &self.deployment)?,
            generation: Generation(self.generation),
            spec: need(self.spec, "spec")?.core()?,
        })
    }
}
