//! The reserve: places held beyond what was asked for, and what may use them up.
//!
//! A slot is capacity on a named node that nobody else gets. It is there for the hour in which something of its own
//! deployment has to move: a new generation, a node that is emptied, a node that is gone. Whatever takes it says so in
//! its record, and the slot comes back afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DeploymentKey, DeploymentSpec, Device, DeviceGrant, DrainBy, GpuAsk, Node, NodeName};
use crate::{
    id::{Generation, LogIndex, NodeId, SlotId},
    time::LogTime,
    units::Resources,
};

/// A place held for a deployment beyond its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveSlot {
    /// Its id, never used again.
    pub id: SlotId,
    /// The deployment that may use it.
    pub key: DeploymentKey,
    /// The node that holds it.
    pub node: NodeId,
    /// What it holds there.
    pub resources: Resources,
    /// The devices it holds there.
    pub devices: Vec<DeviceGrant>,
    /// How far it is from the replicas it covers, for people.
    pub reason: String,
    /// When it was held.
    pub since: LogTime,
    /// The entry that held it.
    pub revision: LogIndex,
}

/// What a slot may be used up for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpendCause {
    /// A new generation takes over.
    RollingUpdate {
        /// The generation.
        generation: Generation,
    },
    /// A node was lost, or came back with less than it had.
    Recovery {
        /// Its name.
        node: NodeName,
    },
    /// A node is being emptied.
    Drain {
        /// Its name.
        node: NodeName,
    },
    /// A node is being emptied because its agent changes.
    AgentUpgrade {
        /// Its name.
        node: NodeName,
    },
}

/// A slot that was used up, and what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReserveSpend {
    /// The slot.
    pub slot: SlotId,
    /// What for.
    pub cause: SpendCause,
}

/// Why a slot is given up without being used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// The deployment holds fewer places now, or none at all.
    NotNeeded,
    /// An instance asks for something else than the slot holds.
    OtherSize,
    /// Its node takes nothing new, or no longer has what is held on it.
    NodeUnfit,
    /// Another one is held instead, further from the replicas it covers.
    Moved,
    /// An instance of a deployment with a higher priority fits nowhere else.
    Yielded {
        /// That deployment.
        to: DeploymentKey,
    },
}

/// Returns how many places beyond `instances` a reserve holds: `ceil(1.2 n) - n`.
pub fn reserve_of(instances: u64) -> u64 {
    instances.div_ceil(5)
}

// === impl ReserveSlot ===

impl ReserveSlot {
    /// Returns whether an instance of `spec` could take this place on its node: the amount and the devices that are held
    /// are those it asks for, and the node's labels say what they have to.
    pub fn suits(&self, spec: &DeploymentSpec, node: &Node) -> bool {
        let is_allowed = || spec.constraints.iter().all(|(name, rule)| rule.allows(node.label(name)));
        self.resources == spec.resources && is_allowed() && self.devices_suit(&spec.gpu, &node.profile.devices)
    }

    fn devices_suit(&self, ask: &GpuAsk, devices: &[Device]) -> bool {
        let of = |grant: &DeviceGrant| devices.iter().find(|device| device.uuid == grant.uuid);
        let all = |count: u32, is_one: &dyn Fn(&DeviceGrant, &Device) -> bool| {
            let is_one = |grant: &DeviceGrant| of(grant).is_some_and(|device| is_one(grant, device));
            self.devices.len() as u64 == u64::from(count) && self.devices.iter().all(is_one)
        };
        let is_model = |model: &Option<String>, device: &Device| {
            device.mig_profile.is_none() && model.as_ref().is_none_or(|model| device.is_model(model))
        };
        match ask {
            GpuAsk::None => self.devices.is_empty(),
            // A node that lists no devices but declares whole GPUs is believed.
            GpuAsk::Whole { .. } if devices.is_empty() => self.devices.is_empty(),
            GpuAsk::Whole { count, model, memory_mib_min } => all(*count, &|grant, device| {
                grant.memory_mib.is_none() && is_model(model, device) && device.memory_mib >= *memory_mib_min
            }),
            GpuAsk::Memory { mib, model } => {
                all(1, &|grant, device| grant.memory_mib == Some(*mib) && is_model(model, device))
            }
            GpuAsk::Mig { count, profile } => {
                all(*count, &|_, device| device.mig_profile.as_deref() == Some(profile.as_str()))
            }
        }
    }
}

// === impl SpendCause ===

impl SpendCause {
    /// Returns for what a slot is used up when `node` is being emptied by somebody.
    pub fn of_drain(by: DrainBy, node: NodeName) -> Self {
        match by {
            // An agent that asks for it itself is about to be started anew.
            DrainBy::Agent | DrainBy::Upgrade => Self::AgentUpgrade { node },
            DrainBy::Operator => Self::Drain { node },
        }
    }

    /// Returns the node whose replica is replaced, when it is one.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::RollingUpdate { .. } => None,
            Self::Recovery { node } | Self::Drain { node } | Self::AgentUpgrade { node } => Some(node),
        }
    }
}

impl fmt::Display for SpendCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RollingUpdate { generation } => write!(f, "rolling update to generation {generation}"),
            Self::Recovery { node } => write!(f, "recovery of {node}"),
            Self::Drain { node } => write!(f, "drain of {node}"),
            Self::AgentUpgrade { node } => write!(f, "agent upgrade of {node}"),
        }
    }
}

impl fmt::Display for ReserveSpend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, slot {}", self.cause, self.slot.short())
    }
}

// === impl ReleaseCause ===

impl fmt::Display for ReleaseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("fewer are needed"),
            Self::OtherSize => f.write_str("an instance asks for something else now"),
            Self::NodeUnfit => f.write_str("its node takes nothing new"),
            Self::Moved => f.write_str("held further from what it covers"),
            Self::Yielded { to } => write!(f, "{to} has a higher priority and fits nowhere else"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Azure's worked values: 1 → ×2, 4 → ×5, 5 → ×6, 10 → ×12.
    #[test]
    fn a_fifth_is_held_rounded_up() {
        for (instances, places) in [(0, 0), (1, 2), (2, 3), (4, 5), (5, 6), (6, 8), (10, 12), (11, 14), (100, 120)] {
            assert_eq!(instances + reserve_of(instances), places, "{instances}");
        }
    }
}
