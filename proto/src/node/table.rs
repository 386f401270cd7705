//! Route tables, to and from the wire and a node's disk.

use std::sync::Arc;

use berth_core::{
    error::Error,
    id::{Digest, Generation, LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{DeploymentName, EndpointName},
    time::{LogTime, Millis},
    traffic::{
        absence::{EXPECTED_MAX, Expected},
        change::{TableChange, TableDelta},
        table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteRuntime, RouteTable},
    },
};

use super::v1;
use crate::{
    convert::{Wire, all, bytes32, damaged, digest, enum_wire, name, need, wires},
    store::{self, key},
};

enum_wire!(RouteRuntime, v1::RouteRuntime, Python, Onnx, Command);

/// What a table feed sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableMessage {
    /// A change of the table.
    Change(TableChange),
    /// A sign of life with the version and digest the receiver should have.
    Heartbeat {
        /// The sender's version.
        version: LogIndex,
        /// Its digest.
        digest: Digest,
        /// Deployments that nobody serves, and when somebody may.
        expected: Vec<Expected>,
    },
}

/// Writes a table for a node's disk.
pub fn encode_table(table: &RouteTable) -> Vec<u8> {
    store::encode_versioned(&table_to_wire(table))
}

/// Reads a table from a node's disk.
pub fn decode_table(bytes: &[u8]) -> Result<RouteTable, Error> {
    table_from_wire(store::decode_versioned(bytes)?)
}

/// Writes a table.
pub fn table_to_wire(table: &RouteTable) -> v1::RouteTable {
    v1::RouteTable {
        cluster_id: table.cluster_id.clone(),
        version: table.version.0,
        endpoints: table.endpoints.values().map(|route| Wire::wire(&**route)).collect(),
    }
}

/// Reads a table.
pub fn table_from_wire(wire: v1::RouteTable) -> Result<RouteTable, Error> {
    let routes: Vec<EndpointRoute> = all(wire.endpoints)?;
    Ok(RouteTable {
        cluster_id: wire.cluster_id,
        version: LogIndex(wire.version),
        endpoints: routes.into_iter().map(|route| (route.name.clone(), Arc::new(route))).collect(),
    })
}

/// Writes a change of the table.
pub fn change_to_wire(change: &TableChange) -> v1::TableUpdate {
    use v1::table_update::Update;
    let update = match change {
        TableChange::Full(table) => {
            let digest = table.digest().0.to_vec();
            Update::Full(v1::TableFull { table: Some(table_to_wire(table)), digest })
        }
        TableChange::Delta(delta) => Update::Delta(v1::TableDelta {
            applies_to: delta.applies_to.0,
            results_in: delta.results_in.0,
            changed: delta.changed.iter().map(|route| Wire::wire(&**route)).collect(),
            removed: delta.removed.iter().map(ToString::to_string).collect(),
            digest: delta.digest.0.to_vec(),
        }),
    };
    v1::TableUpdate { update: Some(update) }
}

/// Writes a feed's sign of life.
pub fn heartbeat_to_wire(version: LogIndex, digest: Digest, expected: &[Expected]) -> v1::TableUpdate {
    let heartbeat = v1::TableHeartbeat { version: version.0, digest: digest.0.to_vec(), expected: wires(expected) };
    v1::TableUpdate { update: Some(v1::table_update::Update::Heartbeat(heartbeat)) }
}

/// Reads what a table feed sent.
pub fn change_from_wire(wire: v1::TableUpdate) -> Result<TableMessage, Error> {
    use v1::table_update::Update;
    Ok(match need(wire.update, "update")? {
        Update::Full(full) => {
            let table = table_from_wire(need(full.table, "table")?)?;
            if table.digest() != digest(&full.digest)? {
                return Err(damaged("the table does not match its digest"));
            }
            TableMessage::Change(TableChange::Full(table))
        }
        Update::Delta(delta) => {
            let changed: Vec<EndpointRoute> = all(delta.changed)?;
            let removed = delta.removed.iter().map(|text| name::<EndpointName>(text));
            TableMessage::Change(TableChange::Delta(TableDelta {
                applies_to: LogIndex(delta.applies_to),
                results_in: LogIndex(delta.results_in),
                changed: changed.into_iter().map(Arc::new).collect(),
                removed: removed.collect::<Result<_, _>>()?,
                digest: digest(&delta.digest)?,
            }))
        }
        Update::Heartbeat(heartbeat) => {
            let told = heartbeat.expected.into_iter().take(EXPECTED_MAX);
            TableMessage::Heartbeat {
                version: LogIndex(heartbeat.version),
                digest: digest(&heartbeat.digest)?,
                expected: told.map(Wire::core).collect::<Result<_, _>>()?,
            }
        }
    })
}

impl Wire<Expected> for v1::Expected {
    fn wire(value: &Expected) -> Self {
        Self {
            endpoint: value.key.endpoint.to_string(),
            deployment: value.key.deployment.to_string(),
            within_ms: value.within.0,
        }
    }

    fn core(self) -> Result<Expected, Error> {
        Ok(Expected { within: Millis(self.within_ms), key: key(&self.endpoint, &self.deployment)? })
    }
}

type Shares = Vec<(DeploymentName, u32)>;

impl Wire<(DeploymentName, u32)> for v1::Share {
    fn wire((name, percent): &(DeploymentName, u32)) -> Self {
        Self { deployment: name.to_string(), percent: *percent }
    }

    fn core(self) -> Result<(DeploymentName, u32), Error> {
        Ok((name(&self.deployment)?, self.percent))
    }
}

impl Wire<EndpointRoute> for v1::EndpointRoute {
    fn wire(value: &EndpointRoute) -> Self {
        Self {
            name: value.name.to_string(),
            revision: value.revision.0,
            auth_mode: i32::wire(&value.auth_mode),
            key_hashes: value.key_hashes.iter().map(|hash| hash.to_vec()).collect(),
            max_body_bytes: value.max_body_bytes,
            idempotent: value.idempotent,
            split: wires(&value.split),
            mirror: wires(&value.mirror),
            mirror_rules: Some(Wire::wire(&value.mirror_rules)),
            hedging: value.hedging.as_ref().map(Wire::wire),
            created_at_ms: value.created_at.millis(),
            deployments: wires(&value.deployments),
        }
    }

    fn core(self) -> Result<EndpointRoute, Error> {
        let hashes = self.key_hashes.iter().map(|hash| bytes32(hash, "key_hashes"));
        let (split, mirror): (Shares, Shares) = (all(self.split)?, all(self.mirror)?);
        Ok(EndpointRoute {
            name: name(&self.name)?,
            revision: LogIndex(self.revision),
            auth_mode: self.auth_mode.core()?,
            key_hashes: hashes.collect::<Result<_, _>>()?,
            max_body_bytes: self.max_body_bytes,
            idempotent: self.idempotent,
            split,
            mirror,
            mirror_rules: self.mirror_rules.unwrap_or_default().core()?,
            hedging: self.hedging.map(Wire::core).transpose()?,
            created_at: LogTime::from_millis(self.created_at_ms),
            deployments: all(self.deployments)?,
        })
    }
}

impl Wire<DeploymentRoute> for v1::DeploymentRoute {
    fn wire(value: &DeploymentRoute) -> Self {
        Self {
            name: value.name.to_string(),
            generation: value.generation.0,
            runtime: i32::wire(&value.runtime),
            request_timeout_ms: value.request_timeout_ms,
            max_concurrent_requests_per_instance: value.max_concurrent_requests_per_instance,
            max_queue_wait_ms: value.max_queue_wait_ms,
            scoring_path: value.scoring_path.clone(),
            replicas: wires(&value.replicas),
        }
    }

    fn core(self) -> Result<DeploymentRoute, Error> {
        Ok(DeploymentRoute {
            name: name(&self.name)?,
            generation: Generation(self.generation),
            runtime: self.runtime.core()?,
            request_timeout_ms: self.request_timeout_ms,
            max_concurrent_requests_per_instance: self.max_concurrent_requests_per_instance,
            max_queue_wait_ms: self.max_queue_wait_ms,
            scoring_path: self.scoring_path,
            replicas: all(self.replicas)?,
        })
    }
}

impl Wire<ReplicaRoute> for v1::ReplicaRoute {
    fn wire(value: &ReplicaRoute) -> Self {
        Self {
            id: value.id.0,
            node: value.node.0,
            epoch: value.epoch.0,
            gate_address: value.gate_address.clone(),
            state: i32::wire(&value.state),
            slots: value.slots,
        }
    }

    fn core(self) -> Result<ReplicaRoute, Error> {
        Ok(ReplicaRoute {
            id: ReplicaId(self.id),
            node: NodeId(self.node),
            epoch: NodeEpoch(self.epoch),
            gate_address: self.gate_address,
            state: self.state.core()?,
            slots: self.slots,
        })
    }
}
