//! A node's router: the product's own table, split, balance and ejection, driven by virtual requests.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    id::{LogIndex, NodeId, ReplicaId},
    model::{DeploymentName, EndpointName, ReplicaState},
    rng::Rng,
    time::Instant,
    traffic::{
        acks::TableAcks,
        balance::Load,
        budget::RetryBudget,
        eject::{Ejection, Standing, is_panic},
        full::Places,
        mirror,
        split::{Split, first_ticket},
        table::{EndpointRoute, ReplicaRoute, RouteTable},
    },
};

/// How long after a request its endpoint counts as carried.
const CARRIED_MS: u64 = 60_000;

/// A node's router.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) table: RouteTable,
    pub(crate) acks: TableAcks,
    /// Requests on their way to each replica, from this ingress.
    pub(crate) in_flight: BTreeMap<ReplicaId, u32>,
    /// Those of them that were sent although the table had the replica no more.
    late: BTreeMap<ReplicaId, u32>,
    node: NodeId,
    carried: BTreeMap<EndpointName, u64>,
    splits: BTreeMap<EndpointName, Tickets>,
    ejections: BTreeMap<ReplicaId, Ejection>,
    budgets: BTreeMap<EndpointName, RetryBudget>,
    rng: Rng,
}

/// The tickets of an endpoint at this router, and what its current split has given.
#[derive(Debug)]
struct Tickets {
    next: u64,
    mirror_next: u64,
    shares: Vec<(DeploymentName, u32)>,
    split: Split,
    given: Vec<u64>,
}

/// What a split has given, when it is off its bound.
pub(crate) type SplitError = String;

// === impl Router ===

impl Router {
    /// Starts with the table its disk held.
    pub(crate) fn new(node: NodeId, table: RouteTable, rng: Rng) -> Self {
        let mut acks = TableAcks::default();
        acks.applied(table.version);
        Self {
            table,
            acks,
            in_flight: BTreeMap::new(),
            late: BTreeMap::new(),
            node,
            carried: BTreeMap::new(),
            splits: BTreeMap::new(),
            ejections: BTreeMap::new(),
            budgets: BTreeMap::new(),
            rng,
        }
    }

    /// Returns whether each deployment that gets a share has a replica that serves.
    pub(crate) fn can_serve(&self, endpoint: &EndpointName) -> bool {
        let Some(route) = self.table.endpoints.get(endpoint) else { return false };
        let serves = |name: &DeploymentName| serving(route, name).next().is_some();
        !route.split.is_empty() && route.split.iter().all(|(name, _)| serves(name))
    }

    /// Draws the deployment of a request and the mirrors it is copied to. `unfair` plants a bug.
    pub(crate) fn choose(
        &mut self,
        endpoint: &EndpointName,
        now: u64,
        unfair: bool,
    ) -> Option<(DeploymentName, Vec<DeploymentName>, Result<(), SplitError>)> {
        let route = self.table.endpoints.get(endpoint)?;
        self.carried.insert(endpoint.clone(), now);
        let node = self.node;
        let tickets = self.splits.entry(endpoint.clone()).or_insert_with(|| Tickets::new(node, endpoint));
        if tickets.shares != route.split {
            tickets.shares.clone_from(&route.split);
            tickets.split = Split::of(&route.split);
            tickets.given = vec![0; route.split.len()];
        }
        let at = if unfair && tickets.next.is_multiple_of(7) { 0 } else { tickets.split.choose(tickets.next)? };
        tickets.next += 1;
        tickets.given[at] += 1;
        let chosen = route.split[at].0.clone();
        let copies = mirror::targets(&route.mirror, &chosen, tickets.mirror_next).cloned().collect();
        tickets.mirror_next += 1;
        Some((chosen, copies, tickets.check(endpoint)))
    }

    /// Lists the replicas of a deployment that may be asked, with their load: none that rests, unless more than half do.
    pub(crate) fn candidates(
        &self,
        endpoint: &EndpointName,
        deployment: &DeploymentName,
        now: u64,
    ) -> (Vec<ReplicaRoute>, Vec<Load>) {
        let Some(route) = self.table.endpoints.get(endpoint) else { return Default::default() };
        let all: Vec<_> = serving(route, deployment).cloned().collect();
        let now = Instant::from_millis(now);
        let rests =
            |id: &ReplicaId| self.ejections.get(id).is_some_and(|ejection| ejection.peek(now) == Standing::Ejected);
        let ejected = all.iter().filter(|replica| rests(&replica.id)).count();
        let panics = ejected > 0 && is_panic(ejected, all.len());
        let open: Vec<_> = all.into_iter().filter(|replica| panics || !rests(&replica.id)).collect();
        let load = |replica: &ReplicaRoute| Load {
            outstanding: u64::from(self.in_flight.get(&replica.id).copied().unwrap_or(0)),
            capacity_milli: u64::from(replica.slots) * 1_000,
            latency_us: 0,
            remote: replica.node != self.node,
            // Asked anew by each request: a virtual message costs nothing.
            places: Places::Unknown,
        };
        let loads = open.iter().map(load).collect();
        (open, loads)
    }

    /// What an endpoint may spend on retries here.
    pub(crate) fn budget(&mut self, endpoint: &EndpointName) -> &RetryBudget {
        self.budgets.entry(endpoint.clone()).or_default()
    }

    /// Draws any number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Returns whether its table has a replica.
    pub(crate) fn knows(&self, endpoint: &EndpointName, replica: ReplicaId) -> bool {
        let route = self.table.endpoints.get(endpoint);
        let replicas = route.into_iter().flat_map(|route| &route.deployments).flat_map(|it| &it.replicas);
        replicas.into_iter().any(|known| known.id == replica)
    }

    pub(crate) fn sent(&mut self, replica: ReplicaId, is_late: bool) {
        *self.in_flight.entry(replica).or_default() += 1;
        if is_late {
            *self.late.entry(replica).or_default() += 1;
        }
    }

    /// Counts the requests that are on their way to a replica or there, without those that its gate will not start.
    pub(crate) fn on_the_way(&self, replica: ReplicaId) -> u32 {
        let count = |of: &BTreeMap<ReplicaId, u32>| of.get(&replica).copied().unwrap_or(0);
        count(&self.in_flight).saturating_sub(count(&self.late))
    }

    /// Notes that an attempt ended; `blamed` when it speaks against the replica.
    pub(crate) fn ended(&mut self, replica: ReplicaId, is_late: bool, blamed: bool, now: u64) {
        let counts = [Some(&mut self.in_flight), is_late.then_some(&mut self.late)];
        for counts in counts.into_iter().flatten() {
            if let Some(count) = counts.get_mut(&replica) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(&replica);
                }
            }
        }
        let ejection = self.ejections.entry(replica).or_default();
        if blamed {
            ejection.failed(Instant::from_millis(now))
        } else {
            ejection.answered()
        }
        if ejection.is_clear() {
            self.ejections.remove(&replica);
        }
    }

    pub(crate) fn carried(&self, now: u64) -> BTreeSet<EndpointName> {
        let lately = |at: &u64| now.saturating_sub(*at) < CARRIED_MS;
        self.carried.iter().filter(|(_, at)| lately(at)).map(|(name, _)| name.clone()).collect()
    }

    /// Takes a newer table. `keeps_keys` plants a bug.
    pub(crate) fn adopt(&mut self, mut table: RouteTable, keeps_keys: bool) {
        for (name, route) in table.endpoints.iter_mut().filter(|_| keeps_keys) {
            let known = self.table.endpoints.get(name).map(|known| known.key_hashes.clone());
            std::sync::Arc::make_mut(route).key_hashes.extend(known.unwrap_or_default());
        }
        self.acks.applied(table.version);
        self.table = table;
    }

    pub(crate) fn warm(&mut self, version: LogIndex) {
        self.acks.warm(version);
    }
}

// === impl Tickets ===

impl Tickets {
    fn new(node: NodeId, endpoint: &EndpointName) -> Self {
        Self {
            next: first_ticket(format!("{node}/{endpoint}")),
            mirror_next: 0,
            shares: Vec::new(),
            split: Split::default(),
            given: Vec::new(),
        }
    }

    /// Checks that each deployment got its share to within one request in any run of tickets that began anywhere: two
    /// prefixes of an order that is itself within one.
    fn check(&self, endpoint: &EndpointName) -> Result<(), SplitError> {
        let total: u64 = self.given.iter().sum();
        for ((name, percent), given) in self.shares.iter().zip(&self.given) {
            let off = (given * 100).abs_diff(total * u64::from(*percent));
            if off > 200 {
                return Err(format!("{endpoint}/{name} got {given} of {total} at {percent} %"));
            }
        }
        Ok(())
    }
}

fn serving<'a>(route: &'a EndpointRoute, name: &DeploymentName) -> impl Iterator<Item = &'a ReplicaRoute> + use<'a> {
    let deployment = route.deployment(name.as_str());
    let replicas = deployment.map(|deployment| deployment.replicas.as_slice()).unwrap_or_default();
    replicas.iter().filter(|replica| replica.state == ReplicaState::Serving)
}
