//! Prints how fast entries are applied and plans are made, on fleets of a thousand and ten thousand nodes.
//!
//! Run it with `cargo run --release -p berth-core --example apply_plan_rates`. Each figure is the median of several
//! rounds; state and plan are the product's own, the entries are what a cluster of that size would log.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    time::Instant,
};

use berth_core::{
    id::{LogIndex, MemberId, NodeId, ReplicaId, Term},
    model::{AuthMode, DeploymentSpec, EndpointKeys, EndpointSpec, NodeProfile, ReplicaState, Runtime, SealedKey},
    plan::{View, plan},
    rng::SeedTree,
    state::{ClusterState, Command, Entry, Observed, Plan, PutMode, RegisterNode, ReplicaReport},
    time::{LogTime, Millis},
    units::Resources,
};

/// Rounds per figure; the median is printed.
const ROUNDS: usize = 5;
/// Replicas per node of the fleet.
const PER_NODE: u64 = 10;

/// A cluster and the clock of its entries.
struct Cluster {
    state: ClusterState,
    entries: u64,
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "nodes   replicas  apply/s (reports)  place all, ms  steps/s   idle plan, ms  one lost node, ms")?;
    for nodes in [1_000, 10_000] {
        writeln!(out, "{}", measure(nodes))?;
    }
    Ok(())
}

fn measure(nodes: u64) -> String {
    let fleet = Cluster::of(nodes);
    let place_ms = median(|| timed(|| fleet.plan().len()));
    let plans = fleet.plan();
    let steps: usize = plans.iter().map(|plan| plan.steps.len()).sum();
    let mut placed = Cluster { state: fleet.state.clone(), entries: fleet.entries };
    plans.into_iter().for_each(|plan| placed.apply(Command::PlanCommit(plan)));
    let reports = placed.reports();
    let count = reports.len() as u64;
    let apply_us = median(|| {
        let mut cluster = Cluster { state: placed.state.clone(), entries: placed.entries };
        let commands = reports.clone();
        timed(|| commands.into_iter().for_each(|command| cluster.apply(command)))
    });
    reports.into_iter().for_each(|command| placed.apply(command));
    placed.serve_all();
    assert!(placed.plan().is_empty(), "a fleet at rest has nothing to plan");
    let idle_us = median(|| timed(|| placed.plan().len()));
    placed.lose(NodeId(1));
    let lost_us = median(|| timed(|| placed.plan().len()));
    format!(
        "{nodes:<7} {steps:<9} {:<18} {:<14} {:<9} {:<14} {}",
        count * 1_000_000 / apply_us.max(1),
        show_ms(place_ms),
        steps as u64 * 1_000_000 / place_ms.max(1),
        show_ms(idle_us),
        show_ms(lost_us),
    )
}

fn show_ms(micros: u64) -> String {
    format!("{}.{:01}", micros / 1_000, micros % 1_000 / 100)
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock; nothing is decided on it")]
fn timed<T>(work: impl FnOnce() -> T) -> u64 {
    let began = Instant::now();
    std::hint::black_box(work());
    began.elapsed().as_micros() as u64
}

fn median(mut round: impl FnMut() -> u64) -> u64 {
    let mut times: Vec<u64> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

// === impl Cluster ===

impl Cluster {
    /// Registers nodes and asks for [`PER_NODE`] replicas for each, as deployments of fifty.
    fn of(nodes: u64) -> Self {
        let mut cluster = Self { state: ClusterState::new(), entries: 0 };
        cluster.apply(Command::ClusterInit { cluster_id: "rates".to_owned() });
        cluster.apply(Command::LeaderEstablished { term: Term(1), member: MemberId(1) });
        for node in 1..=nodes {
            let register = RegisterNode::new(NodeId(node), profile(node));
            cluster.apply(Command::NodeRegister(Box::new(register)));
        }
        for endpoint in 0..nodes * PER_NODE / 500 {
            cluster.endpoint(endpoint);
        }
        cluster
    }

    fn endpoint(&mut self, nth: u64) {
        let key = |tag| SealedKey { cluster_key_id: 1, nonce: vec![0; 12], ciphertext: vec![tag], hash: [tag; 32] };
        let name: berth_core::model::EndpointName = format!("endpoint-{nth}").parse().expect("a valid name");
        self.apply(Command::EndpointPut {
            project: None,
            name: name.clone(),
            spec: EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() },
            keys: EndpointKeys { primary: key(1), secondary: key(2) },
            mode: PutMode::Create,
            if_revision: None,
        });
        for deployment in 0..10 {
            let mut spec = DeploymentSpec::new(Runtime::Command(vec!["serve".to_owned()]));
            spec.instance_count = 50;
            spec.resources = Resources { cpu_milli: 1_000, memory_mib: 1_024, disk_mib: 0, gpus: 0 };
            let key = format!("{name}/blue-{deployment}").parse().expect("a valid key");
            self.apply(Command::DeploymentPut { key, spec: Box::new(spec), mode: PutMode::Create, if_revision: None });
        }
    }

    fn apply(&mut self, command: Command) {
        self.entries += 1;
        let entry = Entry {
            proposed_at: LogTime::from_millis(1_000_000 + self.entries),
            request_id: None,
            fingerprint: 0,
            principal: "rates".to_owned(),
            command,
        };
        self.state.apply(LogIndex(self.entries), &entry);
    }

    fn plan(&self) -> Vec<Plan> {
        let warm = self.state.replicas.values().filter(|replica| replica.state == ReplicaState::Warm);
        let acknowledged: BTreeSet<ReplicaId> = warm.map(|replica| replica.id).collect();
        let view = View {
            state: &self.state,
            term: self.state.term,
            seed: &SeedTree::new(1),
            acknowledged: &acknowledged,
            known: self.state.applied,
            drained: &BTreeSet::new(),
            in_flight: &BTreeMap::new(),
            in_grace: &BTreeSet::new(),
        };
        plan(&view, self.state.time).0
    }

    /// Returns the reports by which every replica gets to `Warm`, one entry each, as a slow roll-in would log them.
    fn reports(&self) -> Vec<Command> {
        let of = |replica: &berth_core::model::Replica| Command::ReplicaReports {
            node: replica.node,
            epoch: self.state.nodes[&replica.node].epoch,
            reports: vec![ReplicaReport {
                replica: replica.id,
                observed: Observed::Warm,
                reason: String::new(),
                permanent: false,
                restarts: 0,
                retry_in: Millis(0),
                pid: 1,
                address: String::new(),
            }],
        };
        self.state.replicas.values().map(of).collect()
    }

    fn serve_all(&mut self) {
        self.plan().into_iter().for_each(|plan| self.apply(Command::PlanCommit(plan)));
    }

    fn lose(&mut self, node: NodeId) {
        let (term, epoch) = (self.state.term, self.state.nodes[&node].epoch);
        let to = berth_core::model::NodeState::Lost;
        let reason = "silent".to_owned();
        self.apply(Command::NodeTransition(berth_core::state::NodeTransition { term, node, epoch, to, reason }));
    }
}

fn profile(node: u64) -> NodeProfile {
    NodeProfile {
        name: format!("n{node}").parse().expect("a valid name"),
        labels: BTreeMap::from([
            ("zone".to_owned(), format!("z{}", node % 3)),
            ("rack".to_owned(), format!("r{}", node % 40)),
        ]),
        capacity: Resources { cpu_milli: 16_000, memory_mib: 65_536, disk_mib: 100_000, gpus: 0 },
        devices: Vec::new(),
        gate_address: format!("10.0.{}.{}:7481", node / 250, node % 250),
        ingress_address: String::new(),
        is_virtual: false,
        version: "rates".to_owned(),
    }
}
