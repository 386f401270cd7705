//! Devices: GPUs as the node reports them and as replicas hold them.

use serde::{Deserialize, Serialize};

/// One GPU of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// The UUID the driver gives it.
    pub uuid: String,
    /// The model, as asked for: `H100`, `A10`.
    pub model: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The MIG profile, when this is a slice.
    pub mig_profile: Option<String>,
    /// Whether it takes new work.
    pub healthy: bool,
}

/// A device, or a share of its memory, held by a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// The UUID of the device.
    pub uuid: String,
    /// The share in MiB; the whole device when absent.
    pub memory_mib: Option<u64>,
}
