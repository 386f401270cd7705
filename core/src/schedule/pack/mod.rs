//! Packing: one piece of work after another onto hosts, by a named policy.
//!
//! Hosts with the same room are alike: each room is judged once per kind of ask and remembered, and a place taken moves
//! one host from one room to another. Where a policy leaves a tie, hosts are drawn; the published ones give it
//! to the first host of the list, as their authors do.

mod policy;

pub use policy::Policy;

use std::collections::{BTreeMap, BTreeSet};

use super::fragment::{DEVICE, Kind, Room, fragment, stranded};
use crate::rng::Rng;
use policy::Verdict;

/// What one piece of work asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Devices.
    pub devices: u32,
    /// What it takes of each, in thousandths; a whole one with several.
    pub share: u32,
    /// The models it runs on, a bit each; all when zero.
    pub models: u64,
}

/// What is free on a host, memory included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRoom {
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The rest.
    pub room: Room,
}

/// Where a piece of work went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The host, by its place in the list given at first.
    pub host: usize,
    /// What was left of each device it got, before.
    pub shares: Vec<u32>,
}

/// Hosts being filled.
#[derive(Clone, Debug)]
pub struct Packer {
    policy: Policy,
    kinds: Vec<Kind>,
    rooms: Vec<Group>,
    by_room: BTreeMap<HostRoom, usize>,
    by_work: BTreeMap<Work, usize>,
    /// What is known of each work in each room.
    known: Vec<Vec<Option<Verdict>>>,
}

/// Hosts with the same room.
#[derive(Clone, Debug)]
struct Group {
    room: HostRoom,
    hosts: BTreeSet<usize>,
    /// The policy's measure of the room.
    measure: u64,
}

// === impl Packer ===

impl Packer {
    /// Begins with these hosts. `kinds` is the work that is expected, for the policies that look ahead.
    pub fn new(policy: Policy, hosts: Vec<HostRoom>, kinds: Vec<Kind>) -> Self {
        let mut packer = Self {
            policy,
            kinds,
            rooms: Vec::new(),
            by_room: BTreeMap::new(),
            by_work: BTreeMap::new(),
            known: Vec::new(),
        };
        for (host, room) in hosts.into_iter().enumerate() {
            let at = packer.room(room);
            packer.rooms[at].hosts.insert(host);
        }
        packer
    }

    /// Takes a place for a piece of work; nothing when it fits nowhere.
    pub fn place(&mut self, work: &Work, rng: &mut Rng) -> Option<Packed> {
        let nth = self.work(work);
        let mut best: Option<i64> = None;
        let mut ties: Vec<usize> = Vec::new();
        for at in 0..self.rooms.len() {
            if self.rooms[at].hosts.is_empty() {
                continue;
            }
            let Verdict::Fits { score, .. } = self.verdict(nth, at, work) else { continue };
            if best.is_none_or(|best| score > best) {
                best = Some(score);
                ties.clear();
            }
            if best == Some(score) {
                ties.push(at);
            }
        }
        let (at, host) = self.untie(&ties, rng)?;
        let Verdict::Fits { device, .. } = self.verdict(nth, at, work) else { return None };
        self.rooms[at].hosts.remove(&host);
        let (after, shares) =
            taken(self.policy, &self.rooms[at].room, work, device.or_draw(&self.rooms[at].room, work, rng));
        let to = self.room(after);
        self.rooms[to].hosts.insert(host);
        Some(Packed { host, shares })
    }

    /// Chooses among the hosts of equal rooms, and says in which room it is.
    fn untie(&self, ties: &[usize], rng: &mut Rng) -> Option<(usize, usize)> {
        let hosts = |at: &usize| &self.rooms[*at].hosts;
        if matches!(self.policy, Policy::BestFit | Policy::Fgd) {
            return ties.iter().filter_map(|at| Some((*at, *hosts(at).first()?))).min_by_key(|(_, host)| *host);
        }
        let mut nth = rng.below(ties.iter().map(|at| hosts(at).len() as u64).sum()) as usize;
        for at in ties {
            match hosts(at).iter().nth(nth) {
                Some(host) => return Some((*at, *host)),
                None => nth -= hosts(at).len(),
            }
        }
        None
    }

    /// Returns what is left of all devices together, in thousandths.
    pub fn free(&self) -> u64 {
        self.rooms.iter().map(|group| group.room.room.free() * group.hosts.len() as u64).sum()
    }

    fn room(&mut self, room: HostRoom) -> usize {
        if let Some(at) = self.by_room.get(&room) {
            return *at;
        }
        let measure = measure(self.policy, &room.room, &self.kinds);
        let at = self.rooms.len();
        self.by_room.insert(room.clone(), at);
        self.rooms.push(Group { room, hosts: BTreeSet::new(), measure });
        at
    }

    fn work(&mut self, work: &Work) -> usize {
        if let Some(nth) = self.by_work.get(work) {
            return *nth;
        }
        let nth = self.known.len();
        self.by_work.insert(work.clone(), nth);
        self.known.push(Vec::new());
        nth
    }

    fn verdict(&mut self, nth: usize, at: usize, work: &Work) -> Verdict {
        let known = &mut self.known[nth];
        if known.len() <= at {
            known.resize(self.rooms.len(), None);
        }
        if let Some(verdict) = known[at] {
            return verdict;
        }
        let group = &self.rooms[at];
        let verdict = policy::judge(self.policy, &group.room, group.measure, work, &self.kinds);
        self.known[nth][at] = Some(verdict);
        verdict
    }
}

fn measure(policy: Policy, room: &Room, kinds: &[Kind]) -> u64 {
    match policy {
        Policy::Random | Policy::BestFit => 0,
        Policy::Fgd => fragment(room, kinds),
        Policy::Berth => stranded(room, kinds),
    }
}

/// Returns the room after a piece of work took its place, and what its devices had left before. A share comes from the
/// device at `device`.
fn taken(policy: Policy, before: &HostRoom, work: &Work, device: usize) -> (HostRoom, Vec<u32>) {
    let mut after = before.clone();
    after.memory_mib = after.memory_mib.saturating_sub(work.memory_mib);
    after.room.cpu_milli = after.room.cpu_milli.saturating_sub(work.cpu_milli);
    let mut shares = Vec::new();
    if work.is_share() {
        if let Some(left) = after.room.shares.get_mut(device) {
            shares.push(*left);
            *left = left.saturating_sub(work.share);
        }
    } else {
        let whole = after.room.shares.iter_mut().filter(|left| **left >= DEVICE).take(work.devices as usize);
        for left in whole {
            shares.push(*left);
            *left = 0;
        }
    }
    // Devices with the same left are the same to every policy but the published one, which takes the first of equals.
    if policy != Policy::Fgd {
        after.room.shares.sort_unstable();
    }
    (after, shares)
}

// === impl Work ===

impl Work {
    fn is_share(&self) -> bool {
        self.devices == 1 && self.share < DEVICE
    }

    /// Returns whether it fits into a room.
    pub fn fits(&self, host: &HostRoom) -> bool {
        let room = &host.room;
        if self.cpu_milli > room.cpu_milli || self.memory_mib > host.memory_mib {
            return false;
        }
        let has_model = self.devices == 0 || self.models == 0 || self.models & room.model != 0;
        let least = if self.is_share() { self.share } else { DEVICE };
        has_model && room.shares.iter().filter(|left| **left >= least).count() >= self.devices as usize
    }

    /// Returns the kind of work it is.
    pub fn kind(&self, weight: u64) -> Kind {
        let Self { cpu_milli, devices, share, models, .. } = *self;
        Kind { cpu_milli, devices, share, models, weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeedTree;

    fn host(cpu_milli: u64, shares: &[u32]) -> HostRoom {
        HostRoom { memory_mib: 1_000, room: Room { model: 1, cpu_milli, shares: shares.to_vec() } }
    }

    fn work(cpu_milli: u64, devices: u32, share: u32) -> Work {
        Work { cpu_milli, memory_mib: 1, devices, share, models: 0 }
    }

    fn packer(policy: Policy, hosts: &[HostRoom], kinds: &[Work]) -> Packer {
        Packer::new(policy, hosts.to_vec(), kinds.iter().map(|work| work.kind(1)).collect())
    }

    #[test]
    fn nothing_is_given_twice_and_nothing_is_left_that_fits() {
        for policy in Policy::ALL {
            let asks = [work(1_000, 1, 600), work(1_000, 1, 300), work(2_000, 2, 1_000), work(500, 0, 0)];
            let mut packer = packer(policy, &vec![host(16_000, &[1_000; 4]); 5], &asks);
            let mut rng = SeedTree::new(1).rng();
            let mut taken = 0;
            for nth in 0..200 {
                let work = &asks[nth % asks.len()];
                let could = packer.rooms.iter().any(|group| !group.hosts.is_empty() && work.fits(&group.room));
                let placed = packer.place(work, &mut rng);
                assert_eq!(placed.is_some(), could, "{policy}: {work:?}");
                taken += placed.map_or(0, |_| u64::from(work.devices * work.share));
                assert_eq!(packer.free() + taken, 20_000, "{policy}: what was taken is gone, and no more");
            }
        }
    }

    #[test]
    fn a_share_goes_where_it_strands_least() {
        // 400 left fits the other kind exactly; 300 left would fit nobody.
        let asks = [work(0, 1, 600), work(0, 1, 400)];
        let hosts = [host(1_000, &[900]), host(1_000, &[1_000; 4])];
        for policy in [Policy::Fgd, Policy::Berth] {
            let placed = packer(policy, &hosts, &asks).place(&asks[0], &mut SeedTree::new(2).rng());
            assert_eq!(placed.map(|packed| packed.host), Some(1), "{policy}");
        }
        let placed = packer(Policy::BestFit, &hosts, &asks).place(&asks[0], &mut SeedTree::new(2).rng());
        assert_eq!(placed.map(|packed| packed.host), Some(0), "best fit looks at the rest alone");
    }

    #[test]
    fn the_same_seed_gives_the_same_places() {
        let asks = [work(100, 1, 300), work(100, 1, 700)];
        let run = |seed| {
            let mut packer = packer(Policy::Random, &vec![host(16_000, &[1_000; 2]); 8], &asks);
            let mut rng = SeedTree::new(seed).rng();
            (0..12).map(|nth| packer.place(&asks[nth % 2], &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
