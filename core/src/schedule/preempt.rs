//! Pre-emption: whose places would do, where an instance fits nowhere.
//!
//! What may yield is given with a budget per deployment: so many replicas, so many that serve, so many slots. The search
//! looks at each node by itself, because places on two nodes are of no use to one instance. Slots of the reserve come
//! before replicas, since nothing runs in them. Then as few replicas as possible, the least important ones, those that
//! do not serve before those that do, and among equals the set that leaves the least over.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Ask, Fleet, Placement, problem::Slot, score::leftover_permille};
use crate::{
    id::{NodeId, ReplicaId},
    model::{DeviceGrant, Replica, ReplicaState, ReserveSlot, yields},
    state::ClusterState,
    units::Resources,
};

/// Replicas of one node among which every pair is tried. Beyond, the search for more than one victim goes by size.
const PAIRS_MAX: usize = 48;

/// What one deployment may give up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Its priority.
    pub(crate) priority: u32,
    /// Replicas beyond its minimum.
    pub(crate) replicas: u64,
    /// Replicas that serve beyond its minimum; absent when fewer serve than that.
    pub(crate) ready: Option<u64>,
    /// Slots of its reserve.
    pub(crate) slots: u64,
}

/// How far a search may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Slots of reserves alone: nothing that runs is touched.
    Slots,
    /// Replicas too.
    Replicas,
}

/// Everything that may yield.
#[derive(Clone, Debug, Default)]
pub(crate) struct Yielders<'a> {
    budgets: Vec<Budget>,
    by_node: BTreeMap<NodeId, Vec<Candidate<'a>>>,
}

/// Something that may yield.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    budget: usize,
    priority: u32,
    what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Replica(&'a Replica),
    Slot(&'a ReserveSlot),
}

/// A place for one instance, and what has to go first.
#[derive(Clone, Debug)]
pub(crate) struct Room<'a> {
    /// Where.
    pub(crate) node: NodeId,
    /// The devices the instance would get.
    pub(crate) devices: Vec<DeviceGrant>,
    /// The replicas that make room.
    pub(crate) replicas: Vec<&'a Replica>,
    /// The slots that make room.
    pub(crate) slots: Vec<&'a ReserveSlot>,
}

/// What a room costs; the smallest is taken. Read from top to bottom: that is the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Replicas that end.
    replicas: usize,
    /// Their priorities, the highest first.
    priorities: Vec<u32>,
    /// How many of them serve.
    serving: usize,
    /// Slots that are given up.
    slots: usize,
    /// What is left over on the scarcest dimension afterwards.
    leftover_permille: u64,
    /// What was placed last ends first: it has done the least.
    age: Reverse<Vec<u64>>,
    /// The node.
    node: NodeId,
    /// Its replicas.
    ids: Vec<ReplicaId>,
}

// === impl Yielders ===

impl<'a> Yielders<'a> {
    /// Adds what one deployment may give up.
    pub(crate) fn add(
        &mut self,
        budget: Budget,
        replicas: impl IntoIterator<Item = &'a Replica>,
        slots: impl IntoIterator<Item = &'a ReserveSlot>,
    ) {
        let at = self.budgets.len();
        let of = |what| Candidate { budget: at, priority: budget.priority, what };
        if budget.replicas > 0 {
            for replica in replicas {
                self.by_node.entry(replica.node).or_default().push(of(What::Replica(replica)));
            }
        }
        if budget.slots > 0 {
            for slot in slots {
                self.by_node.entry(slot.node).or_default().push(of(What::Slot(slot)));
            }
        }
        self.budgets.push(budget);
    }

    /// Returns whether anything yields to `priority`.
    pub(crate) fn has_any_for(&self, priority: u32) -> bool {
        let some = |budget: &Budget| budget.replicas > 0 || budget.slots > 0;
        self.budgets.iter().any(|budget| some(budget) && yields(budget.priority, priority))
    }

    /// Finds the cheapest room for one instance, for what has `priority`.
    pub(crate) fn room(&self, fleet: &Fleet<'_>, ask: &Ask<'_>, priority: u32, reach: Reach) -> Option<Room<'a>> {
        let on_node = fleet.instances(ask);
        let rooms = self.by_node.iter().filter_map(|(node, candidates)| {
            let slot = fleet.slots.get(node)?;
            if !fleet.may_hold_more(ask, &slot, &on_node) {
                return None;
            }
            let willing = candidates.iter().filter(|it| yields(it.priority, priority));
            let reached = willing.filter(|it| reach == Reach::Replicas || matches!(it.what, What::Slot(_)));
            self.room_on(&slot, ask, reached.copied().collect())
        });
        rooms.min_by(|(cost, _), (other, _)| cost.cmp(other)).map(|(_, room)| room)
    }

    /// Takes note that a room is taken.
    pub(crate) fn take(&mut self, room: &Room<'a>) {
        let Some(candidates) = self.by_node.get_mut(&room.node) else { return };
        for candidate in candidates.iter().filter(|it| it.is_of(room)) {
            let budget = &mut self.budgets[candidate.budget];
            match candidate.what {
                What::Slot(_) => budget.slots = budget.slots.saturating_sub(1),
                What::Replica(replica) => {
                    budget.replicas = budget.replicas.saturating_sub(1);
                    if replica.is_ready() {
                        budget.ready = budget.ready.map(|ready| ready.saturating_sub(1));
                    }
                }
            }
        }
        candidates.retain(|it| !it.is_of(room));
    }

    fn room_on(&self, slot: &Slot<'_>, ask: &Ask<'_>, mut all: Vec<Candidate<'a>>) -> Option<(Cost, Room<'a>)> {
        slot.after(&all).accepts(ask)?;
        all.sort_by_key(Candidate::order);
        let mut base = Vec::new();
        for candidate in all.iter().filter(|it| matches!(it.what, What::Slot(_))) {
            base.push(*candidate);
            if !self.can_afford(&base) {
                base.pop();
            }
        }
        let replicas: Vec<_> = all.iter().filter(|it| matches!(it.what, What::Replica(_))).copied().collect();
        let fits = |set: &[Candidate<'a>]| self.can_afford(set) && slot.after(set).accepts(ask).is_some();
        if fits(&base) {
            return self.priced(slot, ask, base);
        }
        let with = |more: &[Candidate<'a>]| [&base[..], more].concat();
        let cheapest = |sets: Vec<Vec<Candidate<'a>>>| {
            let priced = sets.into_iter().filter(|set| fits(set)).filter_map(|set| self.priced(slot, ask, set));
            priced.min_by(|(cost, _), (other, _)| cost.cmp(other))
        };
        if let Some(found) = cheapest(replicas.iter().map(|one| with(&[*one])).collect()) {
            return Some(found);
        }
        let some = &replicas[..replicas.len().min(PAIRS_MAX)];
        let pairs =
            some.iter().enumerate().flat_map(|(at, one)| some[at + 1..].iter().map(move |other| [*one, *other]));
        if let Some(found) = cheapest(pairs.map(|pair| with(&pair)).collect()) {
            return Some(found);
        }
        let mut by_size = replicas.clone();
        by_size.sort_by_key(|it| (Reverse(it.share_of(&ask.resources)), it.order()));
        cheapest([by_size, replicas].into_iter().filter_map(|order| self.gather(slot, ask, &base, &order)).collect())
    }

    /// Takes candidates in order until the instance fits, and leaves out again what turned out needless.
    fn gather(
        &self,
        slot: &Slot<'_>,
        ask: &Ask<'_>,
        base: &[Candidate<'a>],
        order: &[Candidate<'a>],
    ) -> Option<Vec<Candidate<'a>>> {
        let mut set = base.to_vec();
        for candidate in order {
            set.push(*candidate);
            if !self.can_afford(&set) {
                set.pop();
            } else if slot.after(&set).accepts(ask).is_some() {
                return Some(set);
            }
        }
        None
    }

    /// Leaves out what is needless, the most important first, and says what the rest costs.
    fn priced(&self, slot: &Slot<'_>, ask: &Ask<'_>, mut set: Vec<Candidate<'a>>) -> Option<(Cost, Room<'a>)> {
        set.sort_by_key(|it| (Reverse(matches!(it.what, What::Replica(_))), Reverse(it.order())));
        let mut at = 0;
        while at < set.len() {
            let left_out = set.remove(at);
            if slot.after(&set).accepts(ask).is_none() {
                set.insert(at, left_out);
                at += 1;
            }
        }
        let after = slot.after(&set);
        let devices = after.accepts(ask)?;
        let mut room = Room { node: slot.node.id, devices, replicas: Vec::new(), slots: Vec::new() };
        let mut priorities = Vec::new();
        for candidate in &set {
            match candidate.what {
                What::Slot(slot) => room.slots.push(slot),
                What::Replica(replica) => {
                    room.replicas.push(replica);
                    priorities.push(candidate.priority);
                }
            }
        }
        priorities.sort_by_key(|priority| Reverse(*priority));
        let mut ages: Vec<u64> = room.replicas.iter().map(|replica| replica.placed_at.millis()).collect();
        ages.sort_unstable();
        let cost = Cost {
            replicas: room.replicas.len(),
            priorities,
            serving: room.replicas.iter().filter(|replica| replica.is_ready()).count(),
            slots: room.slots.len(),
            leftover_permille: leftover_permille(&slot.node.profile.capacity, &after.free, &ask.resources),
            age: Reverse(ages),
            node: slot.node.id,
            ids: room.replicas.iter().map(|replica| replica.id).collect(),
        };
        Some((cost, room))
    }

    /// Returns whether every deployment can give up what `set` has of it.
    fn can_afford(&self, set: &[Candidate<'a>]) -> bool {
        let mut spent: BTreeMap<usize, (u64, u64, u64)> = BTreeMap::new();
        set.iter().all(|candidate| {
            let budget = &self.budgets[candidate.budget];
            let (replicas, ready, slots) = spent.entry(candidate.budget).or_default();
            match candidate.what {
                What::Slot(_) => *slots += 1,
                What::Replica(replica) => {
                    *replicas += 1;
                    *ready += u64::from(replica.is_ready());
                    // Some router may send to nobody else than a warm one.
                    let is_routed = matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving);
                    if is_routed && budget.ready.is_none_or(|left| *ready > left) {
                        return false;
                    }
                }
            }
            *replicas <= budget.replicas && *slots <= budget.slots
        })
    }
}

// === impl Room ===

impl Room<'_> {
    /// Returns the name of its node.
    pub(crate) fn name<'s>(&self, state: &'s ClusterState) -> &'s str {
        state.nodes.get(&self.node).map_or("?", |node| node.profile.name.as_str())
    }
}

// === impl Candidate ===

impl Candidate<'_> {
    /// Which one to give up first, within its node: slots by their age, replicas by what they are worth.
    fn order(&self) -> (u32, bool, Reverse<u64>, u64) {
        match self.what {
            What::Slot(slot) => (self.priority, false, Reverse(slot.since.millis()), slot.id.0),
            What::Replica(replica) => {
                (self.priority, replica.is_ready(), Reverse(replica.placed_at.millis()), replica.id.0)
            }
        }
    }

    /// Tells how much of an ask it would free, in permille of each dimension together.
    fn share_of(&self, needs: &Resources) -> u64 {
        let held = match self.what {
            What::Slot(slot) => slot.resources,
            What::Replica(replica) => replica.resources,
        };
        let share = |held: u64, needs: u64| (held.min(needs) * 1_000).checked_div(needs).unwrap_or(0);
        share(held.cpu_milli, needs.cpu_milli)
            + share(held.memory_mib, needs.memory_mib)
            + share(held.disk_mib, needs.disk_mib)
            + share(held.gpus, needs.gpus)
    }

    fn is_of(&self, room: &Room<'_>) -> bool {
        match self.what {
            What::Slot(slot) => room.slots.iter().any(|taken| taken.id == slot.id),
            What::Replica(replica) => room.replicas.iter().any(|taken| taken.id == replica.id),
        }
    }
}

// === impl Slot ===

impl<'a> Slot<'a> {
    /// Returns the node as it is once all of these are gone.
    fn after(&self, gone: &[Candidate<'_>]) -> Self {
        let mut after = self.clone();
        for candidate in gone {
            match candidate.what {
                What::Slot(slot) => after.give(&slot.resources, &slot.devices),
                What::Replica(replica) => after.give(&replica.resources, &replica.devices),
            }
        }
        after
    }

    fn give(&mut self, resources: &Resources, devices: &[DeviceGrant]) {
        self.free += *resources;
        devices.iter().for_each(|grant| self.release(grant));
    }
}

// === impl Fleet ===

impl Fleet<'_> {
    /// Takes a room as if everything in it were gone.
    pub(crate) fn take_room(&mut self, ask: &Ask<'_>, room: &Room<'_>) {
        room.replicas.iter().for_each(|replica| self.vacate(replica));
        room.slots.iter().for_each(|slot| self.give_back(slot));
        self.take(room.node, ask, &room.devices);
    }

    /// Takes what there is of a place.
    pub(crate) fn take_up(&mut self, ask: &Ask<'_>, place: &Placement) {
        self.take(place.node, ask, &place.devices);
    }

    /// Gives a replica's place back as if it were gone.
    pub(crate) fn vacate(&mut self, replica: &Replica) {
        if let Some(slot) = self.slots.get_mut(&replica.node) {
            slot.give(&replica.resources, &replica.devices);
        }
    }
}
