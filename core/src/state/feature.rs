//! Feature levels: a command that older builds do not know waits until every member runs one that does.
//!
//! The cluster's level is part of the state. Members tell which level their build knows, the leader raises the
//! cluster's to the lowest of them, and from then on no older build may join or come back.

use super::Command;
use crate::error::{Code, Error};

/// The newest feature level this build knows.
pub const FEATURE_LEVEL: u32 = 1;

// === impl Command ===

impl Command {
    /// Returns the first feature level with this command. A new command gets the next level here, and
    /// [`FEATURE_LEVEL`] goes up with it.
    pub fn level(&self) -> u32 {
        match self {
            Self::ClusterInit { .. }
            | Self::LeaderEstablished { .. }
            | Self::FeatureLevelRaise { .. }
            | Self::EndpointPut { .. }
            | Self::EndpointKeysPut { .. }
            | Self::EndpointDelete { .. }
            | Self::TrafficSet { .. }
            | Self::DeploymentPut { .. }
            | Self::DeploymentScale { .. }
            | Self::DeploymentDelete { .. }
            | Self::DeploymentPause { .. }
            | Self::DeploymentRestart { .. }
            | Self::ReplicaReplace { .. }
            | Self::NodeRegister(_)
            | Self::NodeTransition(_)
            | Self::DeviceTransition(_)
            | Self::NodeCordon { .. }
            | Self::NodeDrain { .. }
            | Self::SettingsSet { .. }
            | Self::UpgradeLock { .. }
            | Self::QuotaSet { .. }
            | Self::PoolSet { .. }
            | Self::QuotaLend { .. }
            | Self::QuotaReturn { .. }
            | Self::LoansExpire { .. }
            | Self::NodeForget { .. }
            | Self::ReplicaReports { .. }
            | Self::PlanCommit(_)
            | Self::AlertsChange { .. }
            | Self::AlertsTold { .. }
            | Self::AssetCommit { .. }
            | Self::AssetExpire { .. } => 1,
        }
    }

    /// Refuses a command that some member may not know yet.
    pub fn check_level(&self, cluster_level: u32) -> Result<(), Error> {
        let level = self.level();
        if level <= cluster_level {
            return Ok(());
        }
        Err(Error::new(Code::FeatureLevel, "not every coordinator understands this yet")
            .why(format!("it needs feature level {level}, the cluster is at {cluster_level}"))
            .try_("finish the upgrade of the coordinators; `berth operator raft list-peers` lists them"))
    }
}

/// Returns the level to raise the cluster to, if any: the lowest that its members know. A member that did not answer may
/// be of any age.
pub fn level_to_raise_to(cluster_level: u32, known: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
    let known: Option<Vec<u32>> = known.into_iter().collect();
    known?.into_iter().min().filter(|lowest| *lowest > cluster_level)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: the cluster's level, what each member knows, the level to raise to.
    #[test]
    fn the_lowest_member_decides() {
        for (cluster, known, raise) in [
            (1, &[Some(2), Some(2), Some(2)][..], Some(2)),
            (1, &[Some(2), Some(1), Some(2)], None),
            (1, &[Some(4), Some(2), Some(3)], Some(2)),
            (1, &[Some(2), None, Some(2)], None),
            (2, &[Some(2), Some(2)], None),
            (2, &[Some(1), Some(2)], None),
            (1, &[], None),
        ] {
            assert_eq!(level_to_raise_to(cluster, known.iter().copied()), raise, "{cluster} {known:?}");
        }
    }

    #[test]
    fn a_command_waits_for_its_level() {
        let command = Command::AssetExpire { digests: Vec::new() };
        assert!(command.level() <= FEATURE_LEVEL);
        assert!(command.check_level(command.level()).is_ok());
        let error = command.check_level(command.level() - 1).expect_err("refused");
        assert_eq!(error.code, Code::FeatureLevel);
    }
}
