//! What is asked: shapes, deployments, load over time, the failure to survive.

use std::{collections::BTreeSet, fmt, str::FromStr};

use berth_core::{
    defaults::DEFAULTS,
    model::{DeploymentKey, DeploymentSpec},
    whatif::NodeShape,
};

/// A fleet and its load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Kinds of nodes; at most one of them is counted by the answer.
    pub shapes: Vec<Shape>,
    /// What runs on them.
    pub workloads: Vec<Workload>,
    /// Which failure every instance must find a place again after.
    pub survive: Survive,
}

/// A kind of node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What each node has; its own count is not used.
    pub node: NodeShape,
    /// How many there are.
    pub count: Count,
    /// Racks that the nodes are dealt to in turn; none when zero.
    pub racks: u64,
    /// Zones that the nodes, or their racks, are dealt to in turn; none when zero.
    pub zones: u64,
}

/// How many nodes of a shape there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As many as this.
    Fixed(u64),
    /// As few as will do, at most this many.
    Auto {
        /// The most.
        max: u64,
    },
}

/// A deployment and its load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its endpoint and name.
    pub key: DeploymentKey,
    /// What one instance asks for, and whether a reserve is held.
    pub spec: DeploymentSpec,
    /// How many instances, when.
    pub load: Load,
}

/// How many instances a deployment needs over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Always as many.
    Instances(u32),
    /// As many as the requests need.
    Requests {
        /// Requests per second in thousandths, from a minute on, in order of time.
        points: Vec<(u64, u64)>,
        /// Requests per second that one instance answers, in thousandths.
        per_instance_milli: u64,
        /// Instances that are kept when nobody asks.
        instances_min: u32,
    },
}

/// The failure that must be survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survive {
    /// None.
    #[default]
    Nothing,
    /// The loss of any one node.
    Node,
    /// The loss of any one rack.
    Rack,
    /// The loss of any one zone.
    Zone,
}

// === impl Description ===

impl Description {
    /// Returns the shape that the answer counts.
    pub fn auto(&self) -> Option<(&Shape, u64)> {
        self.shapes.iter().find_map(|shape| match shape.count {
            Count::Auto { max } => Some((shape, max)),
            Count::Fixed(_) => None,
        })
    }

    /// Lists the minutes at which some load changes, in order; the first is zero.
    pub fn minutes(&self) -> Vec<u64> {
        let points = self.workloads.iter().flat_map(|workload| match &workload.load {
            Load::Instances(_) => &[][..],
            Load::Requests { points, .. } => points,
        });
        let minutes: BTreeSet<u64> = points.map(|(minute, _)| *minute).chain([0]).collect();
        minutes.into_iter().collect()
    }
}

// === impl Load ===

impl Load {
    /// Returns how many instances are needed at a minute. What was asked last holds until something else is.
    pub fn instances_at(&self, minute: u64) -> u32 {
        match self {
            Self::Instances(count) => *count,
            Self::Requests { points, per_instance_milli, instances_min } => {
                let asked = points.iter().rev().find(|(from, _)| *from <= minute).map_or(0, |(_, asked)| *asked);
                let needed = asked.div_ceil((*per_instance_milli).max(1));
                u32::try_from(needed).unwrap_or(u32::MAX).max(*instances_min).min(DEFAULTS.instance_count_max)
            }
        }
    }
}

// === impl Survive ===

impl Survive {
    /// Every failure.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Node, Self::Rack, Self::Zone];

    /// Returns how it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Node => "1 node",
            Self::Rack => "1 rack",
            Self::Zone => "1 zone",
        }
    }
}

impl fmt::Display for Survive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Survive {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|survive| survive.word().eq_ignore_ascii_case(text.trim())).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_follow_the_load() {
        let points = vec![(0, 10_000), (60, 45_000), (120, 0)];
        let load = Load::Requests { points, per_instance_milli: 20_000, instances_min: 1 };
        for (minute, instances, why) in [
            (0, 1, "half of one is one"),
            (59, 1, "what was asked last holds"),
            (60, 3, "45 by 20 each is three"),
            (500, 1, "one is kept when nobody asks"),
        ] {
            assert_eq!(load.instances_at(minute), instances, "{why}");
        }
    }
}
