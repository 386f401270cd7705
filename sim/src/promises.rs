//! What callers and watchers are promised, held against what happened: keys that are revoked open nothing, retries stay
//! within their budget, nothing begins that nobody waits for, and a watch has neither gaps nor repeats.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_core::{
    id::Digest,
    model::{EndpointKeys, EndpointName, SealedKey},
    rng::Rng,
    state::{ClusterState, Command, Event as Happening},
};

use crate::{Bug, event::Event, workload::ENDPOINTS, world::World};

/// Milliseconds after which a revoked key opens nothing at a router whose feed is live: a coordinator without a leader
/// lets its feeds fall silent after two seconds, a router misses a feed after three.
const REVOKED_MS: u64 = 6_000;
/// Milliseconds a feed must have been heard within, and a router have run, to count as live.
const LIVE_MS: u64 = 3_000;
const SETTLED_MS: u64 = 10_000;
/// The bound on retries, in the words of the product: a fifth of the first attempts of ten seconds, and three a second.
const WINDOW_SECS: u64 = 10;
const SHARE_PERCENT: u64 = 20;
const FLOOR: u64 = 30;
/// Milliseconds between two looks of the watcher, at least and at most.
const LOOK_MS: (u64, u64) = (100, 900);
/// Events the watcher remembers, to see that every coordinator tells the same.
const REMEMBERED: usize = 512;

/// What is known of the promises so far.
#[derive(Debug)]
pub(crate) struct Promises {
    /// The keys that open each endpoint.
    valid: BTreeMap<EndpointName, BTreeSet<[u8; 32]>>,
    revoked: BTreeMap<(EndpointName, [u8; 32]), u64>,
    rotations: u64,
    /// By ingress, its boot and endpoint.
    spent: BTreeMap<(usize, u64, EndpointName), Spent>,
    watcher: Watcher,
    rng: Rng,
}

/// The seconds at which an endpoint's requests came to an ingress, and at which it sent one again.
#[derive(Debug, Default)]
struct Spent {
    first: VecDeque<u64>,
    again: VecDeque<u64>,
}

/// Somebody who watches events, at whichever coordinator answers.
#[derive(Debug, Default)]
struct Watcher {
    member: Option<usize>,
    next: u64,
    seen: BTreeMap<u64, Happening>,
}

// === impl Promises ===

impl Promises {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            valid: BTreeMap::new(),
            revoked: BTreeMap::new(),
            rotations: 0,
            spent: BTreeMap::new(),
            watcher: Watcher::default(),
            rng,
        }
    }

    /// Notes which keys an entry made and which it took away.
    pub(crate) fn note_keys(&mut self, state: &ClusterState, now: u64) {
        for endpoint in state.endpoints.values() {
            let keys = BTreeSet::from([endpoint.keys.primary.hash, endpoint.keys.secondary.hash]);
            self.revoked.retain(|(name, key), _| *name != endpoint.name || !keys.contains(key));
            let before = self.valid.insert(endpoint.name.clone(), keys.clone()).unwrap_or_default();
            for key in before.difference(&keys) {
                self.revoked.insert((endpoint.name.clone(), *key), now);
            }
        }
    }

    /// Draws how many milliseconds a caller waits: now and then one is in a hurry.
    pub(crate) fn patience(&mut self, most: u64) -> u64 {
        if self.rng.chance(200) { 100 + self.rng.below(900) } else { most }
    }

    /// Notes a request that came to an ingress.
    pub(crate) fn first(&mut self, ingress: usize, boot: u64, endpoint: &EndpointName, now: u64) {
        self.spent.entry((ingress, boot, endpoint.clone())).or_default().first.push_back(now / 1_000);
    }

    /// Notes a request that is sent again at the cost of the budget, and returns how that breaks it.
    pub(crate) fn again(&mut self, ingress: usize, boot: u64, endpoint: &EndpointName, now: u64) -> Option<String> {
        let second = now / 1_000;
        let spent = self.spent.entry((ingress, boot, endpoint.clone())).or_default();
        spent.again.push_back(second);
        for times in [&mut spent.first, &mut spent.again] {
            let old = times.iter().take_while(|at| **at + WINDOW_SECS <= second).count();
            times.drain(..old);
        }
        let (first, again) = (spent.first.len() as u64, spent.again.len() as u64);
        let most = first * SHARE_PERCENT / 100 + FLOOR;
        (again > most).then(|| format!("n{} sent {again} requests to {endpoint} again, of {first}", ingress + 1))
    }
}

// === impl World ===

impl World {
    // --- keys ---

    /// Gives an endpoint a new key in place of one of its two, as whoever rotates them does.
    pub(crate) fn rotate_key(&mut self) {
        let rng = &mut self.promises.rng;
        let name: EndpointName = ENDPOINTS[rng.below(2) as usize].parse().expect("a valid name");
        let of_primary = rng.chance(500);
        let Some(endpoint) = self.truth().endpoints.get(&name) else { return };
        let keys = endpoint.keys.clone();
        self.promises.rotations += 1;
        let hash = Digest::of(&self.promises.rotations.to_be_bytes()).0;
        let fresh = SealedKey { hash, ..keys.primary.clone() };
        let keys = match of_primary {
            true => EndpointKeys { primary: fresh, ..keys },
            false => EndpointKeys { secondary: fresh, ..keys },
        };
        self.change(Command::EndpointKeysPut { name, keys, if_revision: None });
    }

    /// Insists that a router whose feed is live opens an endpoint to no key that was revoked a while ago.
    pub(crate) fn judge_keys(&mut self, ingress: usize, endpoint: &EndpointName) {
        let (node, now) = (&self.nodes[ingress], self.now);
        let is_live =
            node.fed_at + LIVE_MS >= now && now >= node.started_at + SETTLED_MS && self.net.feed_delay(ingress) == 0;
        let Some(route) = node.router.table.endpoints.get(endpoint).filter(|_| is_live) else { return };
        let since = |key: &[u8; 32]| self.promises.revoked.get(&(endpoint.clone(), *key)).copied();
        let open = route.key_hashes.iter().filter_map(since).find(|since| since + REVOKED_MS < now);
        if let Some(since) = open {
            let what = format!("n{} opens {endpoint} to a key revoked {} ms ago", ingress + 1, now - since);
            self.judge.broken("SE01", what, now);
        }
    }

    // --- watches ---

    /// Lets the watcher ask some coordinator for what happened since it last asked.
    pub(crate) fn look(&mut self) {
        let (least, most) = LOOK_MS;
        let pause = least + self.promises.rng.below(most - least);
        self.after(pause, Event::Look);
        let member = self.promises.rng.below(self.members.len() as u64) as usize;
        if self.members[member].is_running(self.now) {
            self.watch_events(member);
        }
    }

    /// Reads on at a coordinator, as a watch does that is resumed there.
    pub(crate) fn watch_events(&mut self, member: usize) {
        let skips = self.has(Bug::SkipEvents);
        let Watcher { member: before, next, seen } = &mut self.promises.watcher;
        let moved = before.replace(member) != Some(member);
        let events = &self.members[member].state.events;
        let oldest = events.iter().next().map_or(0, |event| event.seq);
        if *next < oldest {
            // What is dropped is told as such: the watcher begins anew.
            *next = oldest;
        }
        let from = if skips && moved { *next + 1 } else { *next };
        let mut broken = None;
        for event in events.from(from) {
            let known = seen.insert(event.seq, event.clone());
            if event.seq != *next {
                broken = Some(format!("event {} follows {next} in a watch", event.seq));
            } else if known.is_some_and(|known| known != *event) {
                broken = Some(format!("c{} tells event {} otherwise", member + 1, event.seq));
            }
            *next = event.seq + 1;
        }
        while seen.len() > REMEMBERED {
            seen.pop_first();
        }
        if let Some(what) = broken {
            self.judge.broken("WA01", what, self.now);
        }
    }

    /// Insists that the watcher has heard of everything in the end, from every coordinator alike.
    pub(crate) fn judge_watch(&mut self) {
        for member in 0..self.members.len() {
            let state = &self.members[member].state;
            let seen = &self.promises.watcher.seen;
            let other = state.events.iter().find(|event| seen.get(&event.seq).is_some_and(|known| known != *event));
            if let Some(event) = other {
                let what = format!("c{} tells event {} otherwise", member + 1, event.seq);
                self.judge.broken("WA01", what, self.now);
            }
            self.watch_events(member);
            let (told, all) = (self.promises.watcher.next, self.members[member].state.events.next_seq());
            if told != all {
                let what = format!("a watch ends at event {told}, c{} has {all}", member + 1);
                self.judge.broken("WA01", what, self.now);
            }
        }
    }
}
