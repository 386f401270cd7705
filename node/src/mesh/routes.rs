//! The table as requests read it: the immutable routes with what this node remembers about them.
//!
//! Swapped as one pointer. What a router learns (tickets, budgets, load, ejections, counters) hangs on names and ids and
//! outlives the versions; routes that did not change are the same allocation in the next version.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use berth_core::{
    id::{NodeId, ReplicaId},
    model::{DeploymentName, EndpointName, ReplicaState},
    time::{Instant, Millis},
    traffic::{
        balance::{self, Failing, Latency, Load, Reported},
        budget::RetryBudget,
        compare::{
            Rules,
            tally::{Basis, Verdicts},
        },
        eject::{Ejection, Standing},
        full::{Full, LastFull, Places},
        load_report::{Asks, Heard, LoadReport},
        split::{self, Split},
        sticky,
        table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteTable},
    },
};
use bytes::Bytes;
use http::HeaderValue;

use super::metrics::{CoreStats, SharedStats};

/// One version of the table.
pub(super) struct Routes {
    pub(super) table: Arc<RouteTable>,
    pub(super) version: HeaderValue,
    endpoints: BTreeMap<EndpointName, Arc<Endpoint>>,
}

/// The routes of an endpoint.
pub(super) struct Endpoint {
    pub(super) route: Arc<EndpointRoute>,
    pub(super) name: HeaderValue,
    pub(super) soft: Arc<EndpointSoft>,
    /// In the order of the route's deployments.
    pub(super) deployments: Vec<Deployment>,
    /// How the answers of mirrors are judged.
    pub(super) rules: Arc<Rules>,
    rules_fingerprint: u64,
    split: Split,
    /// Where each share of the split points; nothing when its deployment has no routes.
    shares: Vec<Option<usize>>,
}

/// The routes of a deployment, beside its `DeploymentRoute`.
pub(super) struct Deployment {
    pub(super) name: HeaderValue,
    pub(super) stats: SharedStats,
    /// In the order of the route's replicas.
    pub(super) replicas: Vec<Replica>,
}

/// A replica as this router sees it.
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    pub(super) id_text: HeaderValue,
    pub(super) gate_address: Arc<str>,
    pub(super) is_local: bool,
    pub(super) is_serving: bool,
    pub(super) soft: Arc<ReplicaSoft>,
    pub(super) slots: u32,
}

/// What this node remembers about an endpoint.
pub(super) struct EndpointSoft {
    ticket: AtomicU64,
    mirror_ticket: AtomicU64,
    pub(super) budget: RetryBudget,
    /// When it was last called, in milliseconds of the mesh's clock; zero for never.
    pub(super) carried_ms: AtomicU64,
    pub(super) stats: SharedStats,
    verdicts: Mutex<Verdicts>,
}

/// What this node remembers about a replica.
pub(super) struct ReplicaSoft {
    /// Requests of this node's ingress that it has.
    pub(super) in_flight: AtomicU32,
    /// When it could first be chosen by the split, in milliseconds of the mesh's clock; zero until then.
    serving_ms: AtomicU64,
    is_local: bool,
    rests: AtomicBool,
    ejection: Mutex<Ejection>,
    /// Whether anything is held against it, so that nobody has to look closer at one that works.
    fails: AtomicBool,
    /// Of all cores: what one of them had to find out shall not cost the callers of the others as much again.
    failing: Mutex<Failing>,
    /// Whether its gate was full a moment ago; likewise of all cores.
    is_full: AtomicBool,
    last_full: Mutex<LastFull>,
    /// Per core, so that its lock is never contended.
    seen: Box<[Mutex<Seen>]>,
}

#[derive(Default)]
struct Seen {
    latency: Latency,
    reported: Reported,
    /// What it says of itself, and when it is asked.
    heard: Heard,
    asks: Asks,
}

/// Everything that outlives a version.
pub(super) struct Memory {
    node: NodeId,
    cores: usize,
    endpoints: BTreeMap<EndpointName, Arc<EndpointSoft>>,
    deployments: BTreeMap<(EndpointName, DeploymentName), SharedStats>,
    replicas: BTreeMap<ReplicaId, Arc<ReplicaSoft>>,
}

// === impl Routes ===

impl Routes {
    pub(super) fn new(table: RouteTable, last: Option<&Self>, memory: &mut Memory) -> Self {
        let endpoints = table.endpoints.iter().map(|(name, route)| {
            let known = last.and_then(|last| last.endpoints.get(name));
            let same = known.filter(|known| known.route.revision == route.revision && known.route == *route);
            (name.clone(), same.cloned().unwrap_or_else(|| Arc::new(Endpoint::new(route, memory))))
        });
        let endpoints = endpoints.collect();
        memory.forget(&table);
        Self { version: header(&table.version.to_string()), table: Arc::new(table), endpoints }
    }

    pub(super) fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(name)
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// Returns the gates of other nodes that own a replica.
    pub(super) fn remote_gates(&self) -> std::collections::BTreeSet<Arc<str>> {
        let replicas = self.endpoints.values().flat_map(|endpoint| &endpoint.deployments);
        let remote = replicas.flat_map(|deployment| &deployment.replicas).filter(|replica| !replica.is_local);
        remote.map(|replica| replica.gate_address.clone()).collect()
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn new(route: &Arc<EndpointRoute>, memory: &mut Memory) -> Self {
        let at = |name: &DeploymentName| route.deployments.iter().position(|deployment| deployment.name == *name);
        Self {
            name: header(route.name.as_str()),
            soft: memory.endpoint(&route.name),
            deployments: route.deployments.iter().map(|of| Deployment::new(route, of, memory)).collect(),
            rules: Arc::new(Rules::of(&route.mirror_rules)),
            rules_fingerprint: route.mirror_rules.fingerprint(),
            split: Split::of(&route.split),
            shares: route.split.iter().map(|(name, _)| at(name)).collect(),
            route: route.clone(),
        }
    }

    /// Draws the deployment of a request that names none. Returns the ticket too.
    pub(super) fn draw(&self) -> Option<(usize, u64)> {
        let ticket = self.soft.ticket.fetch_add(1, Relaxed);
        let at = self.shares.get(self.split.choose(ticket)?).copied().flatten()?;
        Some((at, ticket))
    }

    /// Finds the deployment that a caller's key belongs to.
    pub(super) fn of_key(&self, key: &[u8]) -> Option<usize> {
        self.shares.get(sticky::choose(&self.route.name, &self.route.split, key)?).copied().flatten()
    }

    /// Returns whether a request could be answered now, as far as the table says.
    pub(super) fn is_ready(&self) -> bool {
        let serves = |at: usize| self.deployments[at].replicas.iter().any(|replica| replica.is_serving);
        self.shares.iter().flatten().any(|at| serves(*at))
    }

    /// Returns whether anything has a share of the traffic.
    pub(super) fn has_traffic(&self) -> bool {
        !self.shares.is_empty()
    }

    /// Draws a ticket for the mirrors.
    pub(super) fn mirror_ticket(&self) -> u64 {
        self.soft.mirror_ticket.fetch_add(1, Relaxed)
    }

    /// Returns what the answers of two deployments are compared for.
    pub(super) fn basis(&self, mirror: usize, primary: usize) -> Basis {
        let generation = |at: usize| self.route.deployments[at].generation;
        Basis { mirror: generation(mirror), primary: generation(primary), rules: self.rules_fingerprint }
    }

    /// Returns whether a deployment answers callers that name none.
    pub(super) fn is_live(&self, at: usize) -> bool {
        self.shares.contains(&Some(at))
    }

    /// Finds a deployment.
    pub(super) fn position(&self, name: &DeploymentName) -> Option<usize> {
        self.route.deployments.iter().position(|deployment| deployment.name == *name)
    }
}

// === impl Deployment ===

impl Deployment {
    fn new(endpoint: &EndpointRoute, route: &DeploymentRoute, memory: &mut Memory) -> Self {
        let stats = memory.deployment(&endpoint.name, &route.name);
        if route.replicas.iter().any(|replica| replica.state == ReplicaState::Serving) {
            stats.present();
        }
        Self {
            name: header(route.name.as_str()),
            stats,
            replicas: route.replicas.iter().map(|replica| Replica::new(replica, memory)).collect(),
        }
    }
}

// === impl Replica ===

impl Replica {
    fn new(route: &ReplicaRoute, memory: &mut Memory) -> Self {
        let is_local = route.node == memory.node;
        Self {
            id: route.id,
            id_text: header(&route.id.to_string()),
            gate_address: route.gate_address.as_str().into(),
            is_local,
            is_serving: route.state == ReplicaState::Serving,
            soft: memory.replica(route.id, is_local),
            slots: route.slots,
        }
    }

    /// Returns what it has to do, as far as this core knows. `at_gate` is the truth of the own gate.
    pub(super) fn load(&self, core: usize, at_gate: Option<u64>, now: Instant) -> Load {
        let age = if self.is_serving { self.soft.age(now) } else { Millis(0) };
        let seen = self.soft.seen(core);
        let own = u64::from(self.soft.in_flight.load(Relaxed));
        let there = at_gate.unwrap_or_else(|| own + seen.reported.read(now));
        // What waits inside it counts twice: once as what it has, once as what it has not begun.
        let says = seen.heard.read(now);
        Load {
            outstanding: there + u64::from(says.waiting) + self.soft.held_against(now),
            capacity_milli: says.left_of(balance::capacity_milli(self.slots, age)),
            latency_us: seen.latency.read(now),
            remote: !self.is_local,
            places: self.soft.places(now),
        }
    }
}

// === impl EndpointSoft ===

impl EndpointSoft {
    /// Opens what was made of the mirrors' answers; held for as long as it takes to count one.
    pub(super) fn verdicts(&self) -> std::sync::MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ReplicaSoft ===

impl ReplicaSoft {
    fn seen(&self, core: usize) -> std::sync::MutexGuard<'_, Seen> {
        self.seen[core].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long it has been served to the split here. The first to ask starts the count.
    fn age(&self, now: Instant) -> Millis {
        let begun = self.serving_ms.load(Relaxed);
        if begun > 0 {
            return now.since(Instant::from_millis(begun));
        }
        self.serving_ms.store(now.millis(), Relaxed);
        Millis(0)
    }

    /// Notes how long an answer took, whether it says that the replica could not, and what the gate has.
    pub(super) fn answered(&self, core: usize, took_us: u64, failed: bool, reported: Option<u64>, now: Instant) {
        let own = u64::from(self.in_flight.load(Relaxed));
        let mut seen = self.seen(core);
        seen.latency.sample(took_us, now);
        if let Some(total) = reported {
            seen.reported.note(total, own, now);
        }
        drop(seen);
        if failed || self.fails.load(Relaxed) {
            self.hold_against(failed, now);
        }
        if self.rests.load(Relaxed) {
            self.ejection.lock().unwrap_or_else(PoisonError::into_inner).answered();
            self.rests.store(false, Relaxed);
        }
    }

    /// Returns whether the next request of this core shall ask for its load.
    pub(super) fn shall_tell(&self, core: usize, now: Instant) -> bool {
        self.seen(core).asks.is_due(now)
    }

    /// Notes what it said of its load with an answer to a request that asked.
    pub(super) fn told(&self, core: usize, report: Option<LoadReport>, now: Instant) {
        let mut seen = self.seen(core);
        seen.asks.answered(report.is_some(), now);
        if let Some(report) = report {
            seen.heard.note(report, now);
        }
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, Failing> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_against(&self, failed: bool, now: Instant) {
        let mut failing = self.failing();
        failing.note(failed, now);
        self.fails.store(!failing.is_clear(), Relaxed);
    }

    /// Returns how many requests its failures count as.
    fn held_against(&self, now: Instant) -> u64 {
        if self.fails.load(Relaxed) { self.failing().read(now) } else { 0 }
    }

    /// Notes that a request ran out of time after it had it for so long.
    pub(super) fn overdue(&self, core: usize, took_us: u64, now: Instant) {
        let mut seen = self.seen(core);
        let late = seen.latency.is_overdue(took_us, now);
        seen.latency.at_least(took_us, now);
        drop(seen);
        if late {
            self.hold_against(true, now);
        }
    }

    /// Notes that an answer has not come for so long, and is not waited for.
    pub(super) fn outrun(&self, core: usize, took_us: u64, now: Instant) {
        self.seen(core).latency.at_least(took_us, now);
    }

    /// Notes what a gate that refused has; it counts as load.
    pub(super) fn refused(&self, core: usize, reported: Option<u64>, now: Instant) {
        let own = u64::from(self.in_flight.load(Relaxed));
        if let Some(total) = reported {
            self.seen(core).reported.note(total, own, now);
        }
    }

    fn last_full(&self) -> std::sync::MutexGuard<'_, LastFull> {
        self.last_full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that its gate had no place, to be believed for `longest` at most.
    pub(super) fn was_full(&self, full: Full, longest: Duration, now: Instant) {
        let mut last = self.last_full();
        // What was known before another one ended is over.
        if !self.is_full.load(Relaxed) {
            *last = LastFull::default();
        }
        last.refused(full, Millis(longest.as_millis() as u64), now);
        self.is_full.store(true, Relaxed);
    }

    /// Notes that a request of this node has ended there, whose place is free now.
    pub(super) fn has_a_place(&self) {
        if self.is_full.load(Relaxed) {
            self.is_full.store(false, Relaxed);
        }
    }

    /// Returns what its gate has left.
    fn places(&self, now: Instant) -> Places {
        if !self.is_full.load(Relaxed) {
            return Places::Unknown;
        }
        let places = self.last_full().read(now);
        if places == Places::Unknown {
            self.is_full.store(false, Relaxed);
        }
        places
    }

    /// Notes that it could not take a request.
    pub(super) fn failed(&self, now: Instant) {
        self.ejection.lock().unwrap_or_else(PoisonError::into_inner).failed(now);
        self.rests.store(true, Relaxed);
    }

    /// Returns whether it rests, without granting a trial.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.rests.load(Relaxed)
            && self.ejection.lock().unwrap_or_else(PoisonError::into_inner).peek(now) == Standing::Ejected
    }

    /// Takes the trial if its rest is over; others see it as resting meanwhile.
    pub(super) fn try_trial(&self, now: Instant) {
        if self.rests.load(Relaxed) {
            self.ejection.lock().unwrap_or_else(PoisonError::into_inner).standing(now);
        }
    }
}

// === impl Memory ===

impl Memory {
    pub(super) fn new(node: NodeId, cores: usize) -> Self {
        Self { node, cores, endpoints: BTreeMap::new(), deployments: BTreeMap::new(), replicas: BTreeMap::new() }
    }

    fn endpoint(&mut self, name: &EndpointName) -> Arc<EndpointSoft> {
        let first = |purpose: &str| split::first_ticket(format!("{purpose}/{}/{name}", self.node));
        let (ticket, mirror, cores) = (first("split"), first("mirror"), self.cores);
        let soft = self.endpoints.entry(name.clone()).or_insert_with(|| {
            Arc::new(EndpointSoft {
                ticket: AtomicU64::new(ticket),
                mirror_ticket: AtomicU64::new(mirror),
                budget: RetryBudget::default(),
                carried_ms: AtomicU64::new(0),
                stats: Arc::new(CoreStats::new(cores)),
                verdicts: Mutex::default(),
            })
        });
        soft.clone()
    }

    fn deployment(&mut self, endpoint: &EndpointName, name: &DeploymentName) -> SharedStats {
        let key = (endpoint.clone(), name.clone());
        self.deployments.entry(key).or_insert_with(|| Arc::new(CoreStats::new(self.cores))).clone()
    }

    fn replica(&mut self, id: ReplicaId, is_local: bool) -> Arc<ReplicaSoft> {
        let soft = self.replicas.entry(id).or_insert_with(|| {
            Arc::new(ReplicaSoft {
                in_flight: AtomicU32::new(0),
                serving_ms: AtomicU64::new(0),
                is_local,
                rests: AtomicBool::new(false),
                ejection: Mutex::default(),
                fails: AtomicBool::new(false),
                failing: Mutex::default(),
                is_full: AtomicBool::new(false),
                last_full: Mutex::default(),
                seen: (0..self.cores).map(|_| Mutex::default()).collect(),
            })
        });
        soft.clone()
    }

    /// Forgets what the table no longer names; a replica that still has requests is remembered until it has none.
    fn forget(&mut self, table: &RouteTable) {
        self.endpoints.retain(|name, soft| {
            let Some(route) = table.endpoints.get(name) else { return false };
            soft.verdicts().retain(&route.deployments.iter().map(|deployment| &deployment.name).collect());
            true
        });
        self.deployments.retain(|(endpoint, name), _| {
            table.endpoints.get(endpoint).is_some_and(|route| route.deployment(name.as_str()).is_some())
        });
        let deployments = table.endpoints.values().flat_map(|route| &route.deployments);
        let routed: std::collections::BTreeSet<ReplicaId> =
            deployments.flat_map(|deployment| deployment.replicas.iter().map(|replica| replica.id)).collect();
        self.replicas.retain(|id, soft| routed.contains(id) || soft.in_flight.load(Relaxed) > 0);
    }

    /// Returns what the ingress has under way to replicas of other nodes.
    pub(super) fn remote_in_flight(&self) -> impl Iterator<Item = (ReplicaId, u64)> {
        let remote = self.replicas.iter().filter(|(_, soft)| !soft.is_local);
        remote.map(|(id, soft)| (*id, u64::from(soft.in_flight.load(Relaxed))))
    }
}

/// Makes a header of a name, an id or a number.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text.as_bytes()))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}
