//! The status of a deployment: derived from what is stored, never stored itself.

use std::fmt;

use super::ClusterState;
use crate::{
    error::Error,
    model::{Deployment, DeploymentKey, ReplicaState},
};

/// Failures in a row, on any nodes, after which a generation that never served counts as failed. Two, so that one bad
/// host does not condemn a good deployment; a failure that would repeat anywhere counts as both.
pub(super) const FAILURES_CONDEMN: u32 = 2;

/// Azure's provisioning states, as far as a deployment has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeploymentState {
    /// The first generation is on its way.
    Creating,
    /// A later generation is on its way.
    Updating,
    /// Instances are added or removed.
    Scaling,
    /// As many replicas serve as were asked for.
    Succeeded,
    /// The current generation cannot start.
    Failed,
    /// It is on its way out.
    Deleting,
}

/// How a deployment does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// In one word.
    pub state: DeploymentState,
    /// Replicas that should serve.
    pub desired: u64,
    /// Replicas that serve, of any generation.
    pub ready: u64,
    /// Replicas of the current generation that serve.
    pub updated: u64,
    /// Why it is not there yet, for people; empty when it is.
    pub reason: String,
}

// === impl DeploymentState ===

impl DeploymentState {
    /// Returns Azure's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Scaling => "Scaling",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl ClusterState ===

impl ClusterState {
    /// Derives how a deployment does.
    pub fn deployment_status(&self, key: &DeploymentKey) -> Result<DeploymentStatus, Error> {
        let deployment = self.deployment(key)?;
        let current = |replica: &&crate::model::Replica| replica.generation == deployment.generation;
        let ready = self.replicas_of(key).filter(|replica| replica.is_ready()).count() as u64;
        let updated = self.replicas_of(key).filter(current).filter(|replica| replica.is_ready()).count() as u64;
        let extra = self.replicas_of(key).filter(|replica| replica.is_wanted()).count() as u64;
        let desired = deployment.desired();
        let state = if deployment.deleting {
            DeploymentState::Deleting
        } else if updated == desired && extra == desired {
            DeploymentState::Succeeded
        } else if updated == 0 && deployment.failures >= FAILURES_CONDEMN && !deployment.generation_served() {
            DeploymentState::Failed
        } else if deployment.generation_served() {
            DeploymentState::Scaling
        } else if deployment.generation.0 > 1 {
            DeploymentState::Updating
        } else {
            DeploymentState::Creating
        };
        let reason = self.reason_of(deployment, state);
        Ok(DeploymentStatus { state, desired, ready, updated, reason })
    }

    fn runs(&self, deployment: &Deployment, generation: crate::id::Generation) -> bool {
        self.replicas_of(&deployment.key).any(|replica| replica.generation == generation && replica.is_wanted())
    }

    fn reason_of(&self, deployment: &Deployment, state: DeploymentState) -> String {
        if state == DeploymentState::Succeeded {
            return String::new();
        }
        if deployment.paused && deployment.old_specs.keys().any(|old| self.runs(deployment, *old)) {
            let generation = deployment.generation;
            return format!(
                "its rollout to generation {generation} is paused; `berth rollout resume {}`",
                deployment.key
            );
        }
        if let Some(failure) = &deployment.last_failure {
            return failure.clone();
        }
        if deployment.yielded() > 0 {
            return yielded_text(deployment);
        }
        let least = self
            .replicas_of(&deployment.key)
            .filter(|replica| replica.is_wanted() && replica.state != ReplicaState::Serving)
            .min_by_key(|replica| (replica.state, replica.id));
        least.map(|replica| replica.reason.clone()).unwrap_or_default()
    }
}

/// Says what a deployment gave up and for whom: `yielded 2 to fraud/green`.
pub(crate) fn yielded_text(deployment: &Deployment) -> String {
    let told = deployment.yielded.iter().map(|yielded| format!("{} to {}", yielded.count, yielded.to));
    format!("yielded {}", told.collect::<Vec<_>>().join(", "))
}
