//! Orders and reports, to and from the wire.

use berth_core::{
    agent::order::{Assignments, Desired, ReplicaOrder},
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
    }
}

/// Reads a node's orders.
pub fn assignments_from_wire(wire: v1::Assignments) -> Result<Assignments, Error> {
    let orders: Vec<ReplicaOrder> = all(wire.replicas)?;
    Ok(Assignments {
        term: Term(wire.term),
        epoch: NodeEpoch(wire.epoch),
        revision: LogIndex(wire.revision),
        replicas: orders.into_iter().map(|order| (order.replica, order)).collect(),
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
