//! The shape of nodes that do not exist: `3xcpu=16,memory=64GiB,gpu=2x80GiB:H100,zone=a`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use crate::{
    error::{Code, Error, Problem, nearest},
    id::NodeId,
    model::{NodeName, NodeProfile},
    rng::SeedTree,
    state::{ClusterState, Command, RegisterNode},
    units::{Cores, Mib, Resources, parse_cpu_milli, parse_mib},
};

use super::cards::{self, Card};

/// Nodes of one shape. More than any fleet adds at once.
const COUNT_MAX: u64 = 100_000;
/// Disk of a shape that names none: deployments seldom ask for any, and a shape that silently had none would refuse
/// those that do.
const DISK_MIB: u64 = 1 << 20;
/// What a shape may say, beside `label.NAME`.
const KEYS: [&str; 7] = ["cpu", "memory", "disk", "gpu", "zone", "rack", "name"];

/// Nodes that might be added: how many, and what each is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShape {
    /// How many.
    pub count: u64,
    /// How they are called, before a number.
    pub prefix: String,
    /// What each has.
    pub capacity: Resources,
    /// The cards of each.
    pub cards: Vec<Card>,
    /// Labels; `zone` and `rack` are failure domains.
    pub labels: BTreeMap<String, String>,
}

// === impl NodeShape ===

impl NodeShape {
    /// Returns the profile of the `nth` node of this shape.
    pub fn profile(&self, name: NodeName) -> NodeProfile {
        NodeProfile {
            labels: self.labels.clone(),
            capacity: self.capacity,
            devices: self.cards.iter().enumerate().flat_map(|(nth, card)| card.devices(&name, nth)).collect(),
            gate_address: String::new(),
            ingress_address: String::new(),
            is_virtual: true,
            version: String::new(),
            name,
        }
    }

    /// Returns the commands that register nodes of this shape under names and ids that nobody has.
    pub(super) fn registrations(&self, state: &ClusterState) -> Vec<Command> {
        let mut ids = SeedTree::new(state.nodes.len() as u64).child("what-if nodes").child(&self.prefix).rng();
        let mut commands = Vec::new();
        let names = (1..).map_while(|nth: u64| NodeName::new(&format!("{}-{nth}", self.prefix)).ok());
        for name in names.filter(|name| state.node_named(name).is_err()).take(self.count as usize) {
            let node = loop {
                let id = NodeId(ids.next_u64());
                if id != NodeId(0) && !state.nodes.contains_key(&id) {
                    break id;
                }
            };
            commands.push(Command::NodeRegister(Box::new(RegisterNode::new(node, self.profile(name)))));
        }
        commands
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let amount = |error: crate::units::ParseAmountError| error.to_string();
        match key {
            "cpu" => self.capacity.cpu_milli = parse_cpu_milli(value).map_err(amount)?,
            "memory" => self.capacity.memory_mib = parse_mib(value).map_err(amount)?,
            "disk" => self.capacity.disk_mib = parse_mib(value).map_err(amount)?,
            "gpu" => (self.capacity.gpus, self.cards) = cards::parse(value)?,
            "name" => {
                NodeName::new(&format!("{value}-1")).map_err(|error| error.to_string())?;
                value.clone_into(&mut self.prefix);
            }
            "zone" | "rack" => {
                self.labels.insert(key.to_owned(), value.to_owned());
            }
            _ => match key.strip_prefix("label.").filter(|label| !label.is_empty()) {
                Some(label) => {
                    self.labels.insert(label.to_owned(), value.to_owned());
                }
                None => {
                    return Err(match nearest(key, KEYS) {
                        Some(near) => format!("is not known; did you mean `{near}`?"),
                        None => format!("is not known; use {} or label.NAME", KEYS.join(", ")),
                    });
                }
            },
        }
        Ok(())
    }
}

impl FromStr for NodeShape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, rest) = counted(text.trim());
        let mut shape = Self {
            count: count.unwrap_or(1),
            prefix: "new".to_owned(),
            capacity: Resources { disk_mib: DISK_MIB, ..Resources::ZERO },
            cards: Vec::new(),
            labels: BTreeMap::new(),
        };
        let mut problems = Vec::new();
        let mut refuse = |field: &str, what: String| {
            problems.push(Problem { field: field.to_owned(), what, try_: String::new() });
        };
        if !(1..=COUNT_MAX).contains(&shape.count) {
            refuse("count", format!("is not 1 to {COUNT_MAX}"));
        }
        for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if let Err(what) = shape.set(key.trim(), value.trim()) {
                refuse(key.trim(), what);
            }
        }
        for (key, amount) in [("cpu", shape.capacity.cpu_milli), ("memory", shape.capacity.memory_mib)] {
            if amount == 0 && !problems.iter().any(|problem| problem.field == key) {
                let what = "is missing, or nothing".to_owned();
                problems.push(Problem { field: key.to_owned(), what, try_: String::new() });
            }
        }
        if problems.is_empty() {
            return Ok(shape);
        }
        let error = Error::new(Code::Invalid, format!("`{text}` is no node"));
        let try_ = "write `3xcpu=16,memory=64GiB,gpu=2x80GiB:H100,zone=a`";
        Err(Error { problems, ..error.try_(try_) })
    }
}

impl fmt::Display for NodeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resources { cpu_milli, memory_mib, gpus, .. } = self.capacity;
        let noun = if self.count == 1 { "node" } else { "nodes" };
        write!(f, "{} {noun} of {} cores and {}", self.count, Cores(cpu_milli), Mib(memory_mib))?;
        let (cut, whole): (Vec<_>, Vec<_>) = self.cards.iter().partition(|card| card.slices.is_some());
        let mut has = Vec::new();
        if gpus > 0 {
            let models: BTreeSet<_> = whole.iter().map(|card| card.model.as_str()).collect();
            let models = models.into_iter().collect::<Vec<_>>().join(" and ");
            has.push(format!("{gpus} {}", if models.is_empty() { "GPUs" } else { &models }));
        }
        let mut slices: BTreeMap<&str, u64> = BTreeMap::new();
        for (count, profile) in cut.iter().filter_map(|card| card.slices.as_ref()) {
            *slices.entry(profile).or_default() += count;
        }
        has.extend(slices.into_iter().map(|(profile, count)| format!("{count} × {profile}")));
        if !has.is_empty() {
            write!(f, " with {}", has.join(" and "))?;
        }
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if labels.is_empty() { Ok(()) } else { write!(f, " ({})", labels.join(", ")) }
    }
}

/// Splits `3xREST` into the number and the rest.
pub(super) fn counted(text: &str) -> (Option<u64>, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match text[digits..].strip_prefix('x') {
        Some(rest) if digits > 0 => (Some(text[..digits].parse().unwrap_or(u64::MAX)), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_as_written() {
        for (text, shown) in [
            ("cpu=16,memory=64GiB", "1 node of 16 cores and 64 GiB"),
            ("3xcpu=16,memory=64GiB,gpu=2x80GiB:H100,zone=a", "3 nodes of 16 cores and 64 GiB with 2 H100 (zone=a)"),
            ("2xcpu=8, memory=32GiB, gpu=1x24GiB:L4+1x80GiB:H100", "2 nodes of 8 cores and 32 GiB with 2 H100 and L4"),
            ("cpu=500m,memory=1GiB,gpu=4,label.team=ml", "1 node of 0.5 cores and 1 GiB with 4 GPUs (team=ml)"),
            ("cpu=8,memory=64GiB,gpu=2x80GiB:H100/2x3g.40gb", "1 node of 8 cores and 64 GiB with 4 × 3g.40gb"),
        ] {
            assert_eq!(text.parse::<NodeShape>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn everything_wrong_with_a_shape_is_said_at_once() {
        for (text, fields) in [
            ("", &["cpu", "memory"][..]),
            ("0xcpu=1,memory=1GiB", &["count"]),
            ("cpu=many,memory=1GiB,zoen=a", &["cpu", "zoen"]),
            ("cpu=1,memory=1GiB,gpu=H100", &["gpu"]),
            ("cpu=1,memory=1GiB,gpu=99x80GiB:H100", &["gpu"]),
            ("99999999999999999999xcpu=1,memory=1", &["count"]),
        ] {
            let error = text.parse::<NodeShape>().expect_err(text);
            let found: Vec<_> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
            assert_eq!(found, fields, "{text}");
        }
    }
}
