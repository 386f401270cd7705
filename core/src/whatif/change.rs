//! Hypothetical changes, and the entries they stand for.

use std::{fmt, str::FromStr};

use super::NodeShape;
use crate::{
    defaults::DEFAULTS,
    error::{Code, Error, nearest},
    model::{
        Deployment, DeploymentKey, DeploymentSpec, DrainBy, EndpointKeys, EndpointName, EndpointSpec, NodeName,
        NodeState, ProjectName, SealedKey, Traffic,
    },
    state::{ClusterState, Command, DrainWish, NodeTransition, PutMode},
    time::Millis,
};

/// How long the requests of a node that is drained may go on. Nothing waits for it here: routers answer at once.
const DRAIN_WITHIN: Millis = Millis::from_secs(300);
/// The largest factor of a spike, in thousandths: a thousandfold. More is a slip of the hand.
const FACTOR_PERMILLE_MAX: u64 = 1_000_000;

/// Something that might happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An endpoint is created or changed.
    PutEndpoint {
        /// Its name.
        name: EndpointName,
        /// What it is like.
        spec: EndpointSpec,
        /// Whose it is; absent leaves it where it is.
        project: Option<ProjectName>,
    },
    /// A split, or mirrors, are set.
    SetTraffic {
        /// The endpoint.
        endpoint: EndpointName,
        /// The whole new split.
        split: Option<Traffic>,
        /// The whole new set of mirrors.
        mirror: Option<Traffic>,
    },
    /// A deployment is created or changed. Assets nobody holds count as uploaded.
    PutDeployment {
        /// Its endpoint and name.
        key: DeploymentKey,
        /// What it is like.
        spec: Box<DeploymentSpec>,
    },
    /// A deployment gets another number of instances.
    Scale {
        /// The deployment.
        key: DeploymentKey,
        /// How many.
        instance_count: u32,
    },
    /// A deployment is deleted.
    Delete {
        /// The deployment.
        key: DeploymentKey,
    },
    /// Demand multiplies: each deployment it reaches needs `ceil(instances × factor)` instances.
    Spike {
        /// Whose demand.
        target: SpikeTarget,
        /// By what, in thousandths.
        factor_permille: u64,
    },
    /// Nodes are added.
    Add(NodeShape),
    /// A node is emptied, without force.
    Drain(NodeName),
    /// A node is lost, with everything on it.
    Lose(NodeName),
}

/// Whose demand multiplies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpikeTarget {
    /// Every deployment of the endpoint that carries traffic; all of them where none does.
    Endpoint(EndpointName),
    /// One deployment.
    Deployment(DeploymentKey),
}

// === impl Change ===

impl Change {
    /// Reads a spike: `fraud=5x`, `fraud/blue=1.5x`.
    pub fn spike(text: &str) -> Result<Self, Error> {
        let refuse = |why: String| {
            Error::new(Code::Invalid, format!("`{text}` is no spike")).why(why).try_("write `ENDPOINT=5x`")
        };
        let (target, factor) = text.split_once('=').ok_or_else(|| refuse("it has no `=`".to_owned()))?;
        let target = target.trim().parse().map_err(refuse)?;
        let digits = factor.trim().trim_end_matches(['x', 'X', '×']);
        // A core has a thousand parts, and so has a factor.
        let factor_permille = crate::units::parse_cpu_milli(digits)
            .ok()
            .filter(|permille| (1_000..=FACTOR_PERMILLE_MAX).contains(permille) && !digits.ends_with('m'))
            .ok_or_else(|| refuse(format!("`{factor}` is no factor from 1x to 1000x")))?;
        Ok(Self::Spike { target, factor_permille })
    }

    /// Returns the commands it stands for, in order, as the state is now.
    pub(super) fn commands(&self, state: &ClusterState) -> Result<Vec<Command>, Error> {
        match self {
            Self::PutEndpoint { name, spec, project } => {
                let keys = state.endpoints.get(name).map_or_else(no_keys, |endpoint| endpoint.keys.clone());
                let (mode, if_revision) = (PutMode::Upsert, None);
                let (name, spec, project) = (name.clone(), spec.clone(), project.clone());
                Ok(vec![Command::EndpointPut { name, spec, project, keys, mode, if_revision }])
            }
            Self::SetTraffic { endpoint, split, mirror } => Ok(vec![Command::TrafficSet {
                endpoint: endpoint.clone(),
                split: split.clone(),
                mirror: mirror.clone(),
                strict_azure: false,
                if_revision: None,
            }]),
            Self::PutDeployment { key, spec } => {
                let missing = spec.assets().filter(|asset| !state.assets.contains_key(&asset.digest));
                let mut commands: Vec<_> = missing
                    .map(|asset| Command::AssetCommit {
                        digest: asset.digest,
                        size_bytes: asset.size_bytes,
                        holders: Vec::new(),
                    })
                    .collect();
                let (mode, if_revision) = (PutMode::Upsert, None);
                commands.push(Command::DeploymentPut { key: key.clone(), spec: spec.clone(), mode, if_revision });
                Ok(commands)
            }
            Self::Scale { key, instance_count } => Ok(vec![scale(key, *instance_count)]),
            Self::Delete { key } => Ok(vec![Command::DeploymentDelete { key: key.clone(), if_revision: None }]),
            Self::Spike { target, factor_permille } => {
                let deployments = target.deployments(state)?;
                Ok(deployments.into_iter().map(|it| scale(&it.key, spiked(it, *factor_permille))).collect())
            }
            Self::Add(shape) => Ok(shape.registrations(state)),
            Self::Drain(name) => {
                named(state, name)?;
                let wish = DrainWish {
                    within: DRAIN_WITHIN,
                    reason: "what if".to_owned(),
                    force: false,
                    by: DrainBy::Operator,
                };
                Ok(vec![Command::NodeDrain { name: name.clone(), wish: Some(wish) }])
            }
            Self::Lose(name) => {
                let node = named(state, name)?;
                Ok(vec![Command::NodeTransition(NodeTransition {
                    term: state.term,
                    node: node.id,
                    epoch: node.epoch,
                    to: NodeState::Lost,
                    reason: "what if".to_owned(),
                })])
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutEndpoint { name, .. } => write!(f, "put endpoint {name}"),
            Self::SetTraffic { endpoint, .. } => write!(f, "set the traffic of {endpoint}"),
            Self::PutDeployment { key, spec } => write!(f, "put {key}, {} instances", spec.instance_count),
            Self::Scale { key, instance_count } => write!(f, "scale {key} to {instance_count}"),
            Self::Delete { key } => write!(f, "delete {key}"),
            Self::Spike { target, factor_permille } => {
                write!(f, "spike {target}={}x", crate::units::Cores(*factor_permille))
            }
            Self::Add(shape) => write!(f, "add {shape}"),
            Self::Drain(node) => write!(f, "drain {node}"),
            Self::Lose(node) => write!(f, "lose {node}"),
        }
    }
}

// === impl SpikeTarget ===

impl SpikeTarget {
    fn deployments<'a>(&self, state: &'a ClusterState) -> Result<Vec<&'a Deployment>, Error> {
        match self {
            Self::Deployment(key) => Ok(vec![state.deployment(key)?]),
            Self::Endpoint(name) => {
                let traffic = &state.endpoint(name)?.traffic;
                let live = state.deployments_of(name).filter(|it| !it.deleting);
                let reached = |it: &&Deployment| traffic.total() == 0 || traffic.percent(&it.key.deployment) > 0;
                Ok(live.filter(reached).collect())
            }
        }
    }
}

impl FromStr for SpikeTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            return text.parse().map(Self::Deployment).map_err(|_| format!("`{text}` is no ENDPOINT/DEPLOYMENT"));
        }
        EndpointName::new(text).map(Self::Endpoint).map_err(|error| error.to_string())
    }
}

impl fmt::Display for SpikeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(name) => name.fmt(f),
            Self::Deployment(key) => key.fmt(f),
        }
    }
}

/// Returns how many instances a deployment needs when its demand multiplies.
fn spiked(deployment: &Deployment, factor_permille: u64) -> u32 {
    let needed = (u64::from(deployment.spec.instance_count) * factor_permille).div_ceil(1_000);
    u32::try_from(needed).unwrap_or(u32::MAX).min(DEFAULTS.instance_count_max)
}

fn scale(key: &DeploymentKey, instance_count: u32) -> Command {
    Command::DeploymentScale { key: key.clone(), instance_count, if_revision: None }
}

/// Finds a node, or names the nearest one.
fn named<'a>(state: &'a ClusterState, name: &NodeName) -> Result<&'a crate::model::Node, Error> {
    state.node_named(name).map_err(|error| {
        let names = state.nodes.values().map(|node| node.profile.name.as_str());
        match nearest(name.as_str(), names) {
            Some(near) => error.try_(format!("did you mean `{near}`?")),
            None => error,
        }
    })
}

/// Keys that open nothing: the copy of the state answers no request.
fn no_keys() -> EndpointKeys {
    let none = || SealedKey { cluster_key_id: 0, nonce: Vec::new(), ciphertext: Vec::new(), hash: [0; 32] };
    EndpointKeys { primary: none(), secondary: none() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_are_read_as_written() {
        for (text, shown) in [
            ("fraud=5x", Some("spike fraud=5x")),
            ("fraud=2.5x", Some("spike fraud=2.5x")),
            ("fraud/blue=3", Some("spike fraud/blue=3x")),
            ("fraud=0.5x", None),
            ("fraud=2000x", None),
            ("fraud=500m", None),
            ("fraud=x", None),
            ("fraud", None),
            ("=5x", None),
        ] {
            assert_eq!(Change::spike(text).ok().map(|change| change.to_string()).as_deref(), shown, "{text}");
        }
    }
}
