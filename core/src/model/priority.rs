//! Priority: who gives way when not everybody fits.
//!
//! Each deployment says how important it is and how many of its instances are promised. When an instance of a more
//! important one fits nowhere, replicas of a less important one may make room: those beyond the promise, never one of
//! it. By default everything is promised, so nothing yields unless its owner said that it may.

use serde::{Deserialize, Serialize};

use super::{DeploymentKey, DeploymentSpec};
use crate::error::{Code, Error, Problems};

/// The highest priority.
pub const PRIORITY_MAX: u32 = 100;
/// How much higher a priority has to be before anything yields to it. Neighbouring values order who is placed first
/// and no more: without the gap, two teams that outbid each other by one would stop replicas with every step.
pub const PRIORITY_GAP: u32 = 10;

/// Places a deployment gave up, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Yielded {
    /// Who got them.
    pub to: DeploymentKey,
    /// How many are not back yet.
    pub count: u32,
}

/// Returns whether what has priority `lower` makes room for what has priority `higher`.
pub fn yields(lower: u32, higher: u32) -> bool {
    lower.saturating_add(PRIORITY_GAP) <= higher
}

// === impl DeploymentSpec ===

impl DeploymentSpec {
    /// Returns how many instances are promised: none of those is stopped for a deployment of a higher priority.
    pub fn minimum(&self) -> u64 {
        u64::from(self.min_instances.unwrap_or(self.instance_count).min(self.instance_count))
    }

    pub(super) fn check_priority(&self, problems: &mut Problems) {
        if self.priority > PRIORITY_MAX {
            problems.add_try(
                "priority",
                format!("{} is out of range", self.priority),
                format!("use 0 to {PRIORITY_MAX}; the higher is the more important"),
            );
        }
        if let Some(minimum) = self.min_instances.filter(|minimum| *minimum > self.instance_count) {
            problems.add_try(
                "min_instances",
                format!("{minimum} are promised and {} asked for", self.instance_count),
                format!("use 0 to {}, or raise `instance_count`", self.instance_count),
            );
        }
    }

    /// Refuses a number of instances below the promise.
    pub fn check_count(&self, instance_count: u32) -> Result<(), Error> {
        match self.min_instances.filter(|minimum| *minimum > instance_count) {
            Some(minimum) => {
                Err(Error::new(Code::Minimum, format!("{instance_count} instances are fewer than promised"))
                    .why(format!("`min_instances` is {minimum}"))
                    .try_("lower `min_instances` in the file of the deployment and apply it"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: the lower one, the higher one, whether the lower one makes room.
    #[test]
    fn only_a_clearly_higher_priority_is_made_room_for() {
        for (lower, higher, makes_room) in [
            (50, 50, false),
            (50, 59, false),
            (50, 60, true),
            (60, 50, false),
            (0, 10, true),
            (0, 9, false),
            (95, 100, false),
            (100, 100, false),
            (u32::MAX, 100, false),
        ] {
            assert_eq!(yields(lower, higher), makes_room, "{lower} {higher}");
        }
    }
}
