//! Spread: how a deployment's instances keep apart.
//!
//! One host, one rack or one zone fails at a time. By default instances go to different nodes, then different zones, then
//! different racks, as far as there is room. A deployment may put another domain first, or insist that a domain holds no
//! more than so many of a generation; then an instance waits rather than share one.

use serde::{Deserialize, Serialize};

use crate::error::Problems;

/// What instances keep apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpreadBy {
    /// Nodes first, then zones, then racks.
    #[default]
    Node,
    /// Racks first, then nodes.
    Rack,
    /// Zones first, then racks, then nodes.
    Zone,
    /// Nothing: full nodes are filled first, whatever runs there.
    None,
}

/// How a deployment's instances keep apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spread {
    /// What they keep apart by, as far as there is room.
    pub by: SpreadBy,
    /// How many instances of a generation one of these may hold at most; any number when absent.
    pub max_per_domain: Option<u32>,
}

// === impl SpreadBy ===

impl SpreadBy {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Node, Self::Rack, Self::Zone, Self::None];

    /// Returns the word people write; the label of the domain, where it has one.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Rack => "rack",
            Self::Zone => "zone",
            Self::None => "none",
        }
    }
}

// === impl Spread ===

impl Spread {
    pub(super) fn check(&self, problems: &mut Problems) {
        match (self.by, self.max_per_domain) {
            (_, Some(0)) => {
                problems.add_try("spread.max_per_domain", "no domain could hold an instance", "use 1 or more");
            }
            (SpreadBy::None, Some(_)) => problems.add_try(
                "spread.max_per_domain",
                "there is no domain to count in",
                "spread by node, rack or zone, or leave it out",
            ),
            _ => {}
        }
    }
}
