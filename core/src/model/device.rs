//! Devices: GPUs as the node reports them, as the cluster trusts them, and as replicas hold them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{id::NodeEpoch, time::LogTime};

/// One GPU of a node, or one MIG slice of a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The UUID of the card this slice is cut from; absent for a whole card.
    pub card: Option<String>,
    /// The version of the driver that serves it; empty where none was asked.
    pub driver: String,
    /// Whether a library only pretends that it is there.
    pub simulated: bool,
}

impl Device {
    /// Returns whether it is of the model that is asked for: `H100` is any whose name has that word, `A10` no `A100`.
    pub fn is_model(&self, asked: &str) -> bool {
        is_model(&self.model, asked)
    }
}

/// Returns whether the words of `asked` stand in a model's name, one after the other, however they are written and joined:
/// `RTX4090` and `rtx-4090` are `RTX 4090`.
pub(crate) fn is_model(name: &str, asked: &str) -> bool {
    fn words(text: &str) -> Vec<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect()
    }
    let (name, asked) = (words(name), words(asked).concat());
    let starts_with = |from: usize| {
        let mut rest = asked.as_str();
        name[from..].iter().any(|word| {
            let is_next = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            rest = if is_next { &rest[word.len()..] } else { "-" };
            rest.is_empty()
        })
    };
    !asked.is_empty() && (0..name.len()).any(starts_with)
}

/// A device, or a share of its memory, held by a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// The UUID of the device.
    pub uuid: String,
    /// The share in MiB; the whole device when absent.
    pub memory_mib: Option<u64>,
}

/// What the cluster makes of a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It works.
    #[default]
    Healthy,
    /// Nothing was heard of it for a while: no new work, and what runs on it goes on.
    Unknown,
    /// It had a fault: emptied, and watched until it was quiet for long enough.
    Probation,
    /// It had too many faults: emptied, and out for a day.
    Failed,
}

/// A card that is not, or was not long ago, as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCondition {
    /// What the cluster makes of it.
    pub state: DeviceState,
    /// Why, for people: `XID 79: fell off the bus`.
    pub reason: String,
    /// When it entered its state.
    pub since: LogTime,
    /// Faults in a row, each before a day without one had passed.
    pub strikes: u32,
    /// The node's epoch in which `faults` was counted.
    pub epoch: NodeEpoch,
    /// How many faults the node had counted then: a higher count is another fault.
    pub faults: u64,
}

// === impl Device ===

impl Device {
    /// Returns the UUID of the card: its own, or that of the card it is a slice of. A fault is a card's.
    pub fn card(&self) -> &str {
        self.card.as_deref().unwrap_or(&self.uuid)
    }
}

// === impl DeviceState ===

impl DeviceState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Unknown, Self::Probation, Self::Failed];

    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Probation => "probation",
            Self::Failed => "failed",
        }
    }

    /// Returns whether what runs on it has to leave.
    pub fn is_condemned(self) -> bool {
        matches!(self, Self::Probation | Self::Failed)
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::is_model;

    #[test]
    fn a_model_is_meant_by_whole_words_however_they_are_joined() {
        for (name, asked, is) in [
            ("H100", "H100", true),
            ("NVIDIA A100-SXM4-80GB", "a100", true),
            ("NVIDIA A100-SXM4-80GB", "A10", false),
            ("A10", "A100", false),
            ("RTX-4090", "RTX4090", true),
            ("RTX-4090", "rtx-4090", true),
            ("RTX-4090", "RTX", true),
            ("RTX-4090", "RTX-4080", false),
            ("RTX-A6000", "A6000", true),
            ("RTX-6000-Ada", "RTX-6000", true),
            ("Quadro-RTX-8000", "RTX8000", true),
            ("Quadro-RTX-8000", "Quadro-8000", false),
            ("H100", "", false),
        ] {
            assert_eq!(is_model(name, asked), is, "{asked} of {name}");
        }
    }
}
