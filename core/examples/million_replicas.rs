//! Places a thousand deployments of a thousand replicas with GPU shares through plan and apply, and prints what it took.
//!
//! `cargo run --release -p berth-core --example million_replicas -- [NODES …]`; without sizes 1,000, 10,000 and 100,000
//! nodes, ten replicas a node. Every entry is one that a cluster of that size would log; a sample of nodes is counted anew
//! from the replicas, and then every invariant is checked on the end state. Bytes are those the allocator was asked for.
//!
//! All of it runs on one thread, and seconds are those the thread was on a processor: on a busy machine the rest is
//! waiting, and says nothing. The last column is what a clock on the wall showed for plan, apply and sample.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use berth_core::{
    id::{LogIndex, MemberId, NodeId, Term},
    model::{AuthMode, DeploymentSpec, Device, EndpointKeys, EndpointSpec, GpuAsk, NodeProfile, Runtime, SealedKey},
    plan::{View, plan},
    rng::SeedTree,
    state::{ClusterState, Command, Entry, Plan, PutMode, RegisterNode},
    time::LogTime,
    units::Resources,
};

/// Replicas per node, on the average.
const PER_NODE: u64 = 10;
/// Replicas per deployment.
const INSTANCES: u64 = 1_000;
/// Shares of a device that deployments ask for, in MiB, one after the other.
const SHARES_MIB: [u64; 5] = [6_000, 10_000, 16_000, 20_000, 40_000];
/// Nodes whose replicas are counted again.
const SAMPLE: usize = 1_000;

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A cluster and the clock of its entries.
struct Cluster {
    state: ClusterState,
    entries: u64,
}

fn main() -> std::io::Result<()> {
    let sizes: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000] } else { sizes };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "nodes   replicas  plan, s  apply, s  sample, s  together, s  placed/s  applied/s  bytes/replica  bytes/node  all invariants, s  wall, s"
    )?;
    for nodes in sizes {
        writeln!(out, "{}", measure(nodes))?;
    }
    Ok(())
}

fn measure(nodes: u64) -> String {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut cluster = Cluster::of(nodes);
    let empty = ALLOCATED.load(Ordering::Relaxed);
    let (plans, plan) = timed(|| cluster.plan());
    let ((), apply) = timed(|| plans.into_iter().for_each(|plan| cluster.apply(Command::PlanCommit(plan))));
    let full = ALLOCATED.load(Ordering::Relaxed);
    let replicas = cluster.state.replicas.len() as u64;
    let ((), sample) = timed(|| cluster.sample());
    let ((), check) = timed(|| cluster.check());
    let seconds = |micros: u64| format!("{}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000);
    let together = plan.on_cpu_us + apply.on_cpu_us + sample.on_cpu_us;
    let rate = |micros: u64| replicas * 1_000_000 / micros.max(1);
    format!(
        "{nodes:<7} {replicas:<9} {:<8} {:<9} {:<10} {:<12} {:<9} {:<10} {:<14} {:<11} {:<18} {}",
        seconds(plan.on_cpu_us),
        seconds(apply.on_cpu_us),
        seconds(sample.on_cpu_us),
        seconds(together),
        rate(plan.on_cpu_us),
        rate(apply.on_cpu_us),
        (full - empty) as u64 / replicas.max(1),
        (empty - before) as u64 / nodes,
        seconds(check.on_cpu_us),
        seconds(plan.wall_us + apply.wall_us + sample.wall_us),
    )
}

/// What some work took, in microseconds.
struct Took {
    on_cpu_us: u64,
    wall_us: u64,
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock; nothing is decided on it")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (began, on_cpu) = (Instant::now(), on_cpu_us());
    let done = work();
    let wall_us = began.elapsed().as_micros() as u64;
    let on_cpu_us = on_cpu.zip(on_cpu_us()).map_or(wall_us, |(before, after)| after - before);
    (done, Took { on_cpu_us, wall_us })
}

/// Returns how long this thread has been on a processor, where the kernel says.
fn on_cpu_us() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? / 1_000)
}

// === impl Counting ===

#[expect(unsafe_code, reason = "an allocator is an unsafe trait; every call goes on to the system's as it came")]
// SAFETY: the system allocator keeps the promises; counting beside it changes neither pointers nor layouts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Registers nodes of eight devices in racks of forty, and asks for [`PER_NODE`] replicas for each.
    fn of(nodes: u64) -> Self {
        let mut cluster = Self { state: ClusterState::new(), entries: 0 };
        cluster.apply(Command::ClusterInit { cluster_id: "rates".to_owned() });
        cluster.apply(Command::LeaderEstablished { term: Term(1), member: MemberId(1) });
        for node in 1..=nodes {
            let register = RegisterNode::new(NodeId(node), profile(node));
            cluster.apply(Command::NodeRegister(Box::new(register)));
        }
        for nth in 0..nodes * PER_NODE / INSTANCES {
            cluster.deploy(nth);
        }
        cluster
    }

    fn deploy(&mut self, nth: u64) {
        let key = |tag| SealedKey { cluster_key_id: 1, nonce: vec![0; 12], ciphertext: vec![tag], hash: [tag; 32] };
        let name: berth_core::model::EndpointName = format!("endpoint-{nth}").parse().expect("a valid name");
        self.apply(Command::EndpointPut {
            name: name.clone(),
            spec: EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() },
            project: None,
            keys: EndpointKeys { primary: key(1), secondary: key(2) },
            mode: PutMode::Create,
            if_revision: None,
        });
        let mut spec = DeploymentSpec::new(Runtime::Command(vec!["serve".to_owned()]));
        spec.instance_count = INSTANCES as u32;
        // The reserve is a matter of its own: here a million places are a million replicas.
        spec.reserve = false;
        spec.resources = Resources { cpu_milli: 1_000 + 500 * (nth % 4), memory_mib: 4_096, disk_mib: 0, gpus: 0 };
        spec.gpu = GpuAsk::Memory { mib: SHARES_MIB[nth as usize % SHARES_MIB.len()], model: None };
        let key = format!("{name}/blue").parse().expect("a valid key");
        self.apply(Command::DeploymentPut { key, spec: Box::new(spec), mode: PutMode::Create, if_revision: None });
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
        let view = View {
            state: &self.state,
            term: self.state.term,
            seed: &SeedTree::new(1),
            acknowledged: &BTreeSet::new(),
            known: self.state.applied,
            drained: &BTreeSet::new(),
            in_flight: &BTreeMap::new(),
            in_grace: &BTreeSet::new(),
        };
        plan(&view, self.state.time).0
    }

    /// Judges the state by every invariant.
    fn check(&self) {
        let found = berth_core::invariant::check(&self.state);
        assert!(found.is_empty(), "{:?}", found.first());
    }

    /// Counts a sample of nodes again, and every deployment.
    fn sample(&self) {
        let step = self.state.nodes.len().div_ceil(SAMPLE);
        for node in self.state.nodes.values().step_by(step) {
            let mut shares: BTreeMap<&str, u64> = BTreeMap::new();
            for grant in self.state.replicas_on(node.id).flat_map(|replica| &replica.devices) {
                *shares.entry(&grant.uuid).or_default() += grant.memory_mib.unwrap_or(u64::MAX);
            }
            let has = |uuid: &str| node.profile.devices.iter().find(|device| device.uuid == uuid);
            let fits = |(uuid, held): (&&str, &u64)| has(uuid).is_some_and(|device| *held <= device.memory_mib);
            assert!(shares.iter().all(fits), "{} gives more than it has", node.profile.name);
        }
        let missing = self
            .state
            .deployments
            .values()
            .filter(|deployment| self.state.replicas_of(&deployment.key).count() as u64 != deployment.desired());
        assert_eq!(missing.count(), 0, "deployments without their replicas");
    }
}

fn profile(node: u64) -> NodeProfile {
    let device = |nth| Device {
        uuid: format!("GPU-{node:08x}-{nth:04x}-0000-0000-000000000000"),
        model: "H100".to_owned(),
        memory_mib: 81_920,
        healthy: true,
        ..Device::default()
    };
    NodeProfile {
        name: format!("n{node}").parse().expect("a valid name"),
        labels: BTreeMap::from([
            ("zone".to_owned(), format!("z{}", node % 3)),
            ("rack".to_owned(), format!("r{}", node / 120)),
        ]),
        capacity: Resources { cpu_milli: 64_000, memory_mib: 262_144, disk_mib: 1_000_000, gpus: 8 },
        devices: (0..8).map(device).collect(),
        gate_address: format!("10.{}.{}.{}:7481", node >> 16, node >> 8 & 255, node & 255),
        ingress_address: String::new(),
        is_virtual: false,
        version: "rates".to_owned(),
    }
}
