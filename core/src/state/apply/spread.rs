//! Spread, judged again: a domain takes no more of a generation than its deployment allows.

use super::ClusterState;
use crate::{
    error::{Code, Error},
    id::{Generation, NodeId},
    model::{DeploymentKey, SpreadBy},
};

impl ClusterState {
    /// Refuses a place in a domain that holds as many instances of the generation as it may.
    pub(super) fn check_spread(&self, key: &DeploymentKey, generation: Generation, node: NodeId) -> Result<(), Error> {
        let spec = self.deployments.get(key).and_then(|deployment| deployment.spec_of(generation));
        let Some(spread) = spec.map(|spec| spec.spread) else { return Ok(()) };
        let Some(max) = spread.max_per_domain else { return Ok(()) };
        let Some(here) = self.domain(spread.by, node) else {
            return Err(Error::new(
                Code::NoCapacity,
                format!("node `{}` has no {}", self.name_of(node), spread.by.word()),
            )
            .why(format!("`{key}` has at most {max} instances in each")));
        };
        let counts = |at: NodeId| self.domain(spread.by, at).as_ref() == Some(&here);
        let same = self.replicas_of(key).filter(|replica| {
            replica.is_wanted() && !replica.lost && replica.generation == generation && counts(replica.node)
        });
        match same.count() as u64 {
            held if held < u64::from(max) => Ok(()),
            held => Err(Error::new(
                Code::NoCapacity,
                format!("the {} of node `{}` is full", spread.by.word(), self.name_of(node)),
            )
            .why(format!("it holds {held} of at most {max} instances of `{key}`"))),
        }
    }

    /// Names the domain of a node; nothing where it has no such label.
    fn domain(&self, by: SpreadBy, node: NodeId) -> Option<(String, String)> {
        let node = self.nodes.get(&node)?;
        let label = |name: &str| node.profile.labels.get(name).cloned().unwrap_or_default();
        match by {
            SpreadBy::Zone => Some((label("zone"), String::new())).filter(|(zone, _)| !zone.is_empty()),
            SpreadBy::Rack => Some((label("zone"), label("rack"))).filter(|(_, rack)| !rack.is_empty()),
            SpreadBy::Node | SpreadBy::None => Some((node.profile.name.to_string(), String::new())),
        }
    }
}
