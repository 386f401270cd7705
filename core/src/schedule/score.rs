//! The score: which of the nodes that can take an instance should.

use crate::{id::NodeId, units::Resources};

/// How well a node suits; the smallest wins. Read from top to bottom: that is the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeScore {
    /// Instances of this generation already on the node: losing one host should cost as few as possible.
    pub on_node: u32,
    /// Instances of this generation in its zone.
    pub in_zone: u32,
    /// Instances of this generation in its rack.
    pub in_rack: u32,
    /// How much more of its devices the fleet's deployments could not use afterwards.
    pub stranded: i64,
    /// Whether the deployment's model has to be fetched first: gigabytes that are on another node already.
    pub fetches_model: bool,
    /// What is left on its scarcest dimension afterwards, in permille: full nodes are filled first, so that large asks
    /// still find empty ones.
    pub leftover_permille: u64,
    /// A hash of deployment and rack: equals are told apart the same way by everybody, yet not always in favour of the
    /// same rack.
    pub rack_tie: u64,
    /// The same for the node.
    pub tie: u64,
    /// The node.
    pub node: NodeId,
}

/// How well a room suits, whichever of its nodes it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomScore {
    /// See [`NodeScore::stranded`].
    pub stranded: i64,
    /// See [`NodeScore::leftover_permille`].
    pub leftover_permille: u64,
}

/// Returns what is left of the scarcest dimension after `needs` is taken, in permille of the capacity.
pub(super) fn leftover_permille(capacity: &Resources, free: &Resources, needs: &Resources) -> u64 {
    let after = free.saturating_sub(needs);
    let dimensions = [
        (after.cpu_milli, capacity.cpu_milli),
        (after.memory_mib, capacity.memory_mib),
        (after.disk_mib, capacity.disk_mib),
        (after.gpus, capacity.gpus),
    ];
    let share = |(left, of): (u64, u64)| (u128::from(left) * 1_000 / u128::from(of.max(1))) as u64;
    dimensions.into_iter().filter(|(_, of)| *of > 0).map(share).min().unwrap_or(0)
}
