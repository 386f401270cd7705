//! The walk: the best node without an instance of the deployment or its model, however many nodes there are.
//!
//! While one deployment is placed, such nodes do not change: a place taken makes its node one with an instance. So rooms
//! are ranked once, and each zone is walked once per level (the number of instances its least used racks have), from
//! the best rank to the worst and around the rings of racks and nodes, passing over racks above the level. What is
//! passed over is never looked at again on that level, so a place costs about a look-up, and the fleet is never listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::{
    problem::Layers,
    score::{NodeScore, RoomScore},
};
use crate::{
    id::NodeId,
    state::rooms::{Domain, Room, RoomId, Rooms, Stand},
};

/// Nodes without an instance and without the model, in order.
pub(super) struct Walk<'f> {
    seed: u64,
    /// Nodes of the layer below that have changed since.
    above: &'f Rooms,
    ranks: Vec<Rank<'f>>,
    zones: BTreeMap<Domain, Zone<'f>>,
}

/// Rooms that suit equally well.
struct Rank<'f> {
    score: RoomScore,
    rooms: Vec<Ranked<'f>>,
}

struct Ranked<'f> {
    id: RoomId,
    room: &'f Room,
    /// Whether nodes in it may have changed.
    is_below: bool,
}

/// A zone and where the walk through it is.
struct Zone<'f> {
    name: Domain,
    /// Instances in it.
    count: u32,
    /// All of its racks that take something new.
    all: &'f BTreeMap<Domain, u32>,
    /// Instances in racks that have any.
    counts: BTreeMap<Domain, u32>,
    /// How many racks there are in which a node may be left, by their instances, where they have any.
    open: BTreeMap<u32, u32>,
    /// Racks with instances in which no node is left.
    shut: BTreeSet<Domain>,
    /// How many racks without instances there are in which a node may be left.
    open_empty: usize,
    level: u32,
    at: usize,
    /// Ranks before this have no node left in the zone.
    first: usize,
    /// Whether the rank at hand has racks above the level.
    is_above: bool,
    /// Per room of the rank at hand: the next rack's distance along the ring; none when it is around.
    racks: Vec<Option<u64>>,
    /// Per room and rack: how far along the ring its nodes are known to be taken.
    taken: BTreeMap<(usize, usize, Domain), u64>,
    /// The best node, as long as it is.
    best: Option<Option<(RoomScore, RoomId, Stand)>>,
}

/// Which nodes the walk passes over.
pub(super) trait Passed {
    /// Returns whether a node has an instance or the model, or is dealt with elsewhere.
    fn is_passed(&self, node: NodeId) -> bool;
}

// === impl Walk ===

impl<'f> Walk<'f> {
    /// Begins a walk. `rate` tells how a room suits; none where an instance does not fit.
    pub(super) fn new(
        layers: &'f Layers<'_>,
        seed: u64,
        mut rate: impl FnMut(RoomId, &Room, bool) -> Option<RoomScore>,
    ) -> Self {
        let below = layers.below.into_iter().flat_map(|rooms| rooms.iter()).map(|(id, room)| Ranked {
            id,
            room,
            is_below: true,
        });
        let above = layers.above.iter().map(|(id, room)| Ranked { id, room, is_below: false });
        let mut rated: Vec<(RoomScore, Ranked<'f>)> = below
            .chain(above)
            .filter_map(|ranked| Some((rate(ranked.id, ranked.room, ranked.is_below)?, ranked)))
            .collect();
        rated.sort_by_key(|(score, _)| *score);
        let mut ranks: Vec<Rank<'f>> = Vec::new();
        for (score, room) in rated {
            match ranks.last_mut() {
                Some(rank) if rank.score == score => rank.rooms.push(room),
                _ => ranks.push(Rank { score, rooms: vec![room] }),
            }
        }
        let zones = layers.below.unwrap_or(&layers.above).zones();
        let zones = zones.iter().map(|(name, racks)| (*name, Zone::of(*name, racks))).collect();
        Self { seed, above: &layers.above, ranks, zones }
    }

    /// Counts instances in a zone and rack.
    pub(super) fn count(&mut self, zone: Domain, rack: Domain, instances: u32) {
        if let Some(zone) = self.zones.get_mut(&zone) {
            zone.add(rack, instances);
        }
    }

    /// Forgets the best node of a zone: it is taken.
    pub(super) fn taken(&mut self, zone: Domain) {
        if let Some(zone) = self.zones.get_mut(&zone) {
            zone.best = None;
        }
    }

    /// Returns the best node.
    pub(super) fn best(&mut self, passed: &impl Passed) -> Option<(NodeScore, Stand, RoomId)> {
        let (seed, above, ranks) = (self.seed, self.above, &self.ranks);
        let is_passed = |stand: &Stand, is_below| passed.is_passed(stand.node) || (is_below && above.has(stand.node));
        let bests = self.zones.values_mut().filter_map(|zone| {
            if zone.best.is_none() {
                zone.best = Some(zone.find(ranks, seed, is_passed));
            }
            let (room, id, stand) = zone.best??;
            let score = NodeScore {
                on_node: 0,
                in_zone: zone.count,
                in_rack: zone.counts.get(&stand.rack).copied().unwrap_or(0),
                stranded: room.stranded,
                fetches_model: true,
                leftover_permille: room.leftover_permille,
                rack_tie: stand.rack.wrapping_sub(seed),
                tie: stand.ring.wrapping_sub(seed),
                node: stand.node,
            };
            Some((score, stand, id))
        });
        bests.min_by_key(|(score, ..)| *score)
    }
}

// === impl Zone ===

impl<'f> Zone<'f> {
    fn of(name: Domain, all: &'f BTreeMap<Domain, u32>) -> Self {
        Self {
            name,
            count: 0,
            all,
            counts: BTreeMap::new(),
            open: BTreeMap::new(),
            shut: BTreeSet::new(),
            open_empty: all.len(),
            level: 0,
            at: 0,
            first: 0,
            is_above: false,
            racks: Vec::new(),
            taken: BTreeMap::new(),
            best: None,
        }
    }

    fn add(&mut self, rack: Domain, instances: u32) {
        self.count += instances;
        self.best = None;
        let count = self.counts.entry(rack).or_default();
        let before = std::mem::replace(count, *count + instances);
        let after = *count;
        if before == 0 {
            let was_open = self.open_empty > 0 && self.all.contains_key(&rack);
            if !was_open {
                self.shut.insert(rack);
                return;
            }
            self.open_empty -= 1;
        } else if self.shut.contains(&rack) {
            return;
        } else if let Some(racks) = self.open.get_mut(&before) {
            *racks -= 1;
            if *racks == 0 {
                self.open.remove(&before);
            }
        }
        *self.open.entry(after).or_default() += 1;
    }

    /// Finds the best node: the first of the best rank in a rack on the lowest level.
    fn find(
        &mut self,
        ranks: &[Rank<'_>],
        seed: u64,
        is_passed: impl Fn(&Stand, bool) -> bool,
    ) -> Option<(RoomScore, RoomId, Stand)> {
        loop {
            if !self.is_on_level() {
                self.level = *self.open.keys().next()?;
                self.go_to(self.first);
            }
            while let Some(rank) = ranks.get(self.at) {
                let found = (0..rank.rooms.len()).filter_map(|nth| {
                    let ranked = &rank.rooms[nth];
                    let passed = |stand: &Stand| is_passed(stand, ranked.is_below);
                    Some((self.next_of(nth, ranked.room, seed, passed)?, ranked.id))
                });
                let key = |stand: &Stand| (stand.rack.wrapping_sub(seed), stand.ring.wrapping_sub(seed), stand.node);
                if let Some((best, id)) = found.min_by_key(|(stand, _)| key(stand)) {
                    return Some((rank.score, id, best));
                }
                if self.at == self.first && !self.is_above {
                    self.first += 1;
                }
                self.go_to(self.at + 1);
            }
            self.shut_level();
        }
    }

    /// Returns whether there are racks on the level in which a node may be left.
    fn is_on_level(&self) -> bool {
        if self.level == 0 { self.open_empty > 0 } else { self.open.contains_key(&self.level) }
    }

    /// Takes note that no node is left in the racks on the level.
    fn shut_level(&mut self) {
        self.open.remove(&self.level);
        if self.level == 0 {
            self.open_empty = 0;
        }
        let (level, counts) = (self.level, &self.counts);
        self.shut.extend(counts.iter().filter(|(_, count)| **count <= level).map(|(rack, _)| *rack));
    }

    fn go_to(&mut self, rank: usize) {
        self.at = rank;
        self.is_above = false;
        self.racks.clear();
    }

    /// Finds the first node of one room of the rank at hand in a rack on the level.
    fn next_of(&mut self, nth: usize, room: &Room, seed: u64, is_passed: impl Fn(&Stand) -> bool) -> Option<Stand> {
        self.racks.resize(self.racks.len().max(nth + 1), Some(0));
        while let Some(from) = self.racks[nth] {
            let Some(rack) = next_rack(&room.nodes, self.name, seed, from) else {
                self.racks[nth] = None;
                break;
            };
            let distance = rack.wrapping_sub(seed);
            self.racks[nth] = Some(distance);
            if self.counts.get(&rack).copied().unwrap_or(0) > self.level {
                self.is_above = true;
            } else {
                let taken = self.taken.entry((self.at, nth, rack)).or_default();
                if let Some(stand) = next_node(&room.nodes, self.name, rack, seed, *taken, &is_passed) {
                    *taken = stand.ring.wrapping_sub(seed);
                    return Some(stand);
                }
                *taken = u64::MAX;
            }
            self.racks[nth] = distance.checked_add(1);
        }
        None
    }
}

/// Finds the next rack of a zone along the ring that begins at `seed`, at least `from` away.
fn next_rack(nodes: &BTreeSet<Stand>, zone: Domain, seed: u64, from: u64) -> Option<Domain> {
    let first = |rack: Domain| Stand { zone, rack, ring: 0, node: NodeId(0) };
    let begin = seed.wrapping_add(from);
    let in_zone = |stand: &&Stand| stand.zone == zone;
    let ahead = nodes.range(first(begin)..).next().filter(in_zone).map(|stand| stand.rack);
    if begin >= seed {
        // Up to the end of the numbers, and then around.
        let around = || nodes.range((Included(first(0)), Excluded(first(seed)))).next().map(|stand| stand.rack);
        return ahead.or_else(around);
    }
    ahead.filter(|rack| *rack < seed)
}

/// Finds the next node of a rack along the ring that begins at `seed`, at least `from` away, that is not passed over.
fn next_node(
    nodes: &BTreeSet<Stand>,
    zone: Domain,
    rack: Domain,
    seed: u64,
    from: u64,
    is_passed: impl Fn(&Stand) -> bool,
) -> Option<Stand> {
    let first = |ring: u64| Stand { zone, rack, ring, node: NodeId(0) };
    let begin = seed.wrapping_add(from);
    let in_rack = |stand: &&Stand| (stand.zone, stand.rack) == (zone, rack);
    let ahead = nodes.range((Included(first(begin)), Unbounded)).take_while(in_rack);
    if begin >= seed {
        let around = nodes.range((Included(first(0)), Excluded(first(seed))));
        return ahead.chain(around).find(|stand| !is_passed(stand)).copied();
    }
    ahead.take_while(|stand| stand.ring < seed).find(|stand| !is_passed(stand)).copied()
}
