//! The answer: how many nodes, why not one fewer, and what they hold over time.

use std::fmt;

use berth_core::units::{Cores, Mib};
use serde::Serialize;

/// Amounts that are plotted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Whole devices.
    pub gpus: u64,
    /// Memory of devices in MiB, of nodes that list theirs.
    pub gpu_memory_mib: u64,
}

/// What is held at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Minutes from the start.
    pub minute: u64,
    /// What all nodes have.
    pub capacity: Amounts,
    /// What instances hold.
    pub used: Amounts,
    /// What is held for the reserve.
    pub reserved: Amounts,
    /// Instances.
    pub replicas: u64,
}

/// Something that has no place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// Minutes from the start.
    pub minute: u64,
    /// After which failure; empty when without any.
    pub after: String,
    /// The deployment.
    pub deployment: String,
    /// Places it has.
    pub placed: u64,
    /// Places it asks for.
    pub wanted: u64,
    /// Why, per node and dimension.
    pub verdict: String,
}

/// How many nodes are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizing {
    /// Whether everything fits, with the answer's number of nodes.
    pub fits: bool,
    /// The shape that is counted; empty when none is.
    pub shape: String,
    /// How many of it are needed; absent when even the most are too few, or none is counted.
    pub count: Option<u64>,
    /// The most that were allowed.
    pub max: Option<u64>,
    /// All nodes together.
    pub nodes: u64,
    /// What is survived.
    pub survive: String,
    /// Fleets that were tried.
    pub trials: u64,
    /// What does not fit: with one node fewer, or with the most allowed when that is too few.
    pub shortfall: Option<Shortfall>,
    /// What is held over time, with the answer's number of nodes.
    pub samples: Vec<Sample>,
}

// === impl Amounts ===

impl Amounts {
    /// Lists the dimensions: name, amount in the unit of the name, and how the amount reads.
    pub fn dimensions(&self) -> [(&'static str, u64, String); 4] {
        [
            ("cores", self.cpu_milli, Cores(self.cpu_milli).to_string()),
            ("memory", self.memory_mib, Mib(self.memory_mib).to_string()),
            ("GPUs", self.gpus, self.gpus.to_string()),
            ("GPU memory", self.gpu_memory_mib, Mib(self.gpu_memory_mib).to_string()),
        ]
    }
}

// === impl Sizing ===

impl Sizing {
    /// Returns the moment at which the scarcest dimension is fullest.
    pub fn peak(&self) -> Option<&Sample> {
        let fullness = |sample: &&Sample| {
            let pairs = sample.used.dimensions().into_iter().zip(sample.capacity.dimensions());
            pairs.map(|((_, used, _), (_, of, _))| used * 1_000 / of.max(1)).max().unwrap_or(0)
        };
        // The first of equals: that is when it began.
        self.samples.iter().rev().max_by_key(fullness)
    }
}

impl fmt::Display for Sizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.max) {
            (Some(count), _) => {
                let noun = if count == 1 { "node" } else { "nodes" };
                write!(f, "{count} {noun} {} are needed, {} in all", self.shape, self.nodes)?;
            }
            (None, Some(max)) => write!(f, "even {max} nodes {} are too few", self.shape)?,
            (None, None) if self.fits => write!(f, "the {} nodes are enough", self.nodes)?,
            (None, None) => write!(f, "the {} nodes are too few", self.nodes)?,
        }
        if self.survive != "none" {
            write!(f, ", to survive the loss of {}", self.survive)?;
        }
        if let Some(peak) = self.peak().filter(|_| self.fits) {
            write!(f, "\nfullest at {}:", clock(peak.minute))?;
            let of = peak.capacity.dimensions().into_iter();
            let parts = peak.used.dimensions().into_iter().zip(peak.reserved.dimensions()).zip(of);
            for (((name, used, shown), (_, reserved, kept)), (_, of, all)) in parts.filter(|(_, (_, of, _))| *of > 0) {
                let percent = (used + reserved) * 100 / of;
                write!(f, "\n  {name:10}  {shown} used")?;
                if reserved > 0 {
                    write!(f, " + {kept} reserved")?;
                }
                write!(f, " of {all} ({percent} %)")?;
            }
        }
        let Some(short) = &self.shortfall else { return Ok(()) };
        match self.count {
            Some(count) => write!(f, "\nwith {}", count.saturating_sub(1))?,
            None => write!(f, "\nas it is")?,
        }
        let after = if short.after.is_empty() { String::new() } else { format!(" after {}", short.after) };
        write!(f, ", at {}{after}:", clock(short.minute))?;
        short.verdict.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Writes minutes as hours and minutes.
pub(super) fn clock(minute: u64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
