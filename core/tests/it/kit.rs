//! Fixtures that read like sentences: a cluster of plain records, ideal nodes, and routers that answer at once.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    error::Error,
    id::{LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, RequestId, Term},
    invariant::{Witness, check},
    model::{
        AuthMode, DeploymentKey, DeploymentSpec, DrainBy, EndpointKeys, EndpointName, EndpointSpec, NodeProfile,
        NodeState, Replica, ReplicaState, Runtime, SealedKey, Traffic,
    },
    plan::{Report, View, plan},
    rng::SeedTree,
    state::{
        ClusterState, Command, DrainWish, Entry, NodeTransition, Observed, Plan, PutMode, RegisterNode, ReplicaReport,
        Reply, Step,
    },
    time::{Instant, LogTime, Millis},
    units::Resources,
};

/// What a test node has unless it says otherwise: four places of [`spec`].
pub(crate) const NODE: Resources = Resources { cpu_milli: 4_000, memory_mib: 4_096, disk_mib: 10_000, gpus: 0 };
/// What a test instance asks for.
pub(crate) const INSTANCE: Resources = Resources { cpu_milli: 1_000, memory_mib: 1_024, disk_mib: 0, gpus: 0 };

/// A state with every entry judged as it is applied.
pub(crate) struct Cluster {
    pub(crate) state: ClusterState,
    pub(crate) seed: SeedTree,
    /// What the clock of the next entry shows.
    pub(crate) now: LogTime,
    /// Replicas that ideal nodes leave alone.
    pub(crate) stuck: BTreeSet<ReplicaId>,
    witness: Witness,
}

pub(crate) fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

pub(crate) fn key(text: &str) -> DeploymentKey {
    text.parse().expect("a valid key")
}

pub(crate) fn spec(instance_count: u32) -> DeploymentSpec {
    let runtime = Runtime::Command(vec!["serve".to_owned()]);
    DeploymentSpec { instance_count, resources: INSTANCE, reserve: false, ..DeploymentSpec::new(runtime) }
}

/// The same with a reserve.
pub(crate) fn reserved(instance_count: u32) -> DeploymentSpec {
    DeploymentSpec { reserve: true, ..spec(instance_count) }
}

pub(crate) fn profile(name: &str) -> NodeProfile {
    NodeProfile {
        name: name.parse().expect("a valid name"),
        labels: BTreeMap::new(),
        capacity: NODE,
        devices: Vec::new(),
        gate_address: format!("{name}:7481"),
        ingress_address: format!("{name}:7480"),
        is_virtual: false,
        version: "test".to_owned(),
    }
}

pub(crate) fn keys() -> EndpointKeys {
    let key = |tag| SealedKey { cluster_key_id: 1, nonce: vec![0; 12], ciphertext: vec![tag], hash: [tag; 32] };
    EndpointKeys { primary: key(1), secondary: key(2) }
}

// === impl Cluster ===

impl Cluster {
    /// Starts a cluster of `nodes` nodes called n1, n2, …, led in term 1.
    pub(crate) fn of(nodes: u64) -> Self {
        let mut cluster = Self::empty();
        for node in 1..=nodes {
            cluster.node(node, profile(&format!("n{node}")));
        }
        cluster
    }

    pub(crate) fn empty() -> Self {
        let state = ClusterState::new();
        let witness = Witness::of(&state);
        let (seed, now) = (SeedTree::new(1), LogTime::from_millis(1_000_000));
        let mut cluster = Self { state, seed, now, stuck: BTreeSet::new(), witness };
        cluster.must(Command::ClusterInit { cluster_id: "test".to_owned() });
        cluster.must(Command::LeaderEstablished { term: Term(1), member: MemberId(1) });
        cluster
    }

    pub(crate) fn node(&mut self, id: u64, profile: NodeProfile) {
        self.must(Command::NodeRegister(Box::new(RegisterNode::new(NodeId(id), profile))));
    }

    /// Applies a command and judges what it did.
    pub(crate) fn apply(&mut self, command: Command) -> Reply {
        self.apply_as(None, command)
    }

    pub(crate) fn apply_as(&mut self, request_id: Option<&str>, command: Command) -> Reply {
        let entry = Entry {
            proposed_at: self.now,
            request_id: request_id.map(|id| RequestId(id.to_owned())),
            fingerprint: 7,
            principal: "test".to_owned(),
            command,
        };
        let applied = self.state.apply(self.state.applied.next(), &entry);
        let mut broken = self.witness.check_step(&self.state, &entry, &applied.reply);
        broken.extend(check(&self.state));
        assert!(broken.is_empty(), "after {entry:?}: {broken:?}");
        applied.reply
    }

    pub(crate) fn must(&mut self, command: Command) -> LogIndex {
        match self.apply(command.clone()) {
            Reply::Refused(error) => panic!("{command:?} was refused: {error}"),
            _ => self.state.applied,
        }
    }

    /// Applies a command that is to be refused, and returns why it was.
    pub(crate) fn refused(&mut self, command: Command) -> Error {
        match self.apply(command.clone()) {
            Reply::Refused(error) => error,
            reply => panic!("{command:?} was not refused: {reply:?}"),
        }
    }

    pub(crate) fn endpoint(&mut self, name: &str) {
        let name: EndpointName = name.parse().expect("a valid name");
        let spec = EndpointSpec { auth_mode: AuthMode::None, ..EndpointSpec::default() };
        self.must(Command::EndpointPut {
            name,
            spec,
            project: None,
            keys: keys(),
            mode: PutMode::Upsert,
            if_revision: None,
        });
    }

    pub(crate) fn deploy(&mut self, name: &str, spec: DeploymentSpec) {
        let key = key(name);
        if !self.state.endpoints.contains_key(&key.endpoint) {
            self.endpoint(key.endpoint.as_str());
        }
        self.must(Command::DeploymentPut { key, spec: Box::new(spec), mode: PutMode::Upsert, if_revision: None });
    }

    /// Gives a deployment all the traffic of its endpoint.
    pub(crate) fn traffic(&mut self, name: &str) {
        let key = key(name);
        let split = Some(Traffic::all_to(key.deployment));
        self.must(Command::TrafficSet {
            endpoint: key.endpoint,
            split,
            mirror: None,
            strict_azure: false,
            if_revision: None,
        });
    }

    pub(crate) fn scale(&mut self, name: &str, instance_count: u32) {
        self.must(Command::DeploymentScale { key: key(name), instance_count, if_revision: None });
    }

    pub(crate) fn transition(&mut self, node: u64, to: NodeState) {
        let node = NodeId(node);
        let epoch = self.state.nodes[&node].epoch;
        let (term, reason) = (self.state.term, "test".to_owned());
        self.must(Command::NodeTransition(NodeTransition { term, node, epoch, to, reason }));
    }

    /// Wishes a node empty within a minute.
    pub(crate) fn drain(&mut self, node: u64, force: bool) {
        let wish =
            DrainWish { within: Millis::from_secs(60), reason: "reboot".to_owned(), force, by: DrainBy::Operator };
        self.wish(node, Some(wish));
    }

    pub(crate) fn drain_ends(&mut self, node: u64) {
        self.wish(node, None);
    }

    pub(crate) fn wish(&mut self, node: u64, wish: Option<DrainWish>) {
        let name = self.state.nodes[&NodeId(node)].profile.name.clone();
        self.must(Command::NodeDrain { name, wish });
    }

    pub(crate) fn report(&mut self, replica: ReplicaId, observed: Observed) {
        let node = self.state.replicas[&replica].node;
        let epoch = self.state.nodes[&node].epoch;
        self.report_as(node, epoch, replica, observed);
    }

    pub(crate) fn report_as(
        &mut self,
        node: NodeId,
        epoch: NodeEpoch,
        replica: ReplicaId,
        observed: Observed,
    ) -> Reply {
        let reason = if observed == Observed::Failed { "init() raised" } else { "" }.to_owned();
        let report = ReplicaReport {
            replica,
            observed,
            reason,
            permanent: false,
            restarts: 0,
            retry_in: Millis(0),
            pid: 1,
            address: String::new(),
        };
        self.apply(Command::ReplicaReports { node, epoch, reports: vec![report] })
    }

    pub(crate) fn replicas(&self, name: &str) -> Vec<&Replica> {
        self.state.replicas_of(&key(name)).collect()
    }

    pub(crate) fn ready(&self, name: &str) -> usize {
        self.replicas(name).iter().filter(|replica| replica.is_ready()).count()
    }

    pub(crate) fn in_state(&self, name: &str, state: ReplicaState) -> Vec<ReplicaId> {
        self.replicas(name).iter().filter(|replica| replica.state == state).map(|replica| replica.id).collect()
    }

    /// Plans with routers that have acknowledged everything.
    pub(crate) fn plan(&self) -> (Vec<Step>, Report) {
        let all = |state: ReplicaState| {
            let those = self.state.replicas.values().filter(|replica| replica.state == state);
            those.map(|replica| replica.id).collect::<BTreeSet<_>>()
        };
        self.plan_knowing(self.state.applied, &all(ReplicaState::Warm), &all(ReplicaState::Draining))
    }

    /// Plans with routers that route by the newest table and have said no more than this.
    pub(crate) fn plan_with(
        &self,
        acknowledged: &BTreeSet<ReplicaId>,
        drained: &BTreeSet<ReplicaId>,
    ) -> (Vec<Step>, Report) {
        self.plan_knowing(self.state.applied, acknowledged, drained)
    }

    pub(crate) fn plan_knowing(
        &self,
        known: LogIndex,
        acknowledged: &BTreeSet<ReplicaId>,
        drained: &BTreeSet<ReplicaId>,
    ) -> (Vec<Step>, Report) {
        let in_grace = &BTreeSet::new();
        let view = View {
            state: &self.state,
            term: self.state.term,
            seed: &self.seed,
            acknowledged,
            known,
            drained,
            in_flight: &BTreeMap::new(),
            in_grace,
        };
        let (parts, report) = plan(&view, self.now);
        (parts.into_iter().flat_map(|part| part.steps).collect(), report)
    }

    /// Commits steps and insists that every one of them is taken.
    pub(crate) fn commit(&mut self, steps: Vec<Step>) {
        let plan = Plan { term: self.state.term, based_on: self.state.applied, part: 0, parts: 1, steps };
        match self.apply(Command::PlanCommit(plan)) {
            Reply::Planned { outcomes } => assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// Lets ideal nodes do what their replicas' states ask for: one step of each life.
    pub(crate) fn nodes_act(&mut self) -> bool {
        let mut due = Vec::new();
        let acting = self.state.replicas.values().filter(|replica| !replica.lost && !self.stuck.contains(&replica.id));
        due.extend(acting.filter_map(|replica| Some((replica.id, next_report(replica.state)?))));
        for (replica, observed) in &due {
            self.report(*replica, *observed);
        }
        !due.is_empty()
    }

    /// Plans and lets nodes act until nothing moves; fails when that takes too long.
    pub(crate) fn settle(&mut self) {
        for _ in 0..500 {
            let ((steps, _), known) = (self.plan(), self.state.applied);
            let planned = !steps.is_empty();
            if planned {
                self.commit(steps);
            }
            let (again, _) = self.plan_knowing(known, &BTreeSet::new(), &BTreeSet::new());
            assert!(again.is_empty() || !planned, "planning the planned state gives more: {again:?}");
            if !self.nodes_act() && !planned {
                return;
            }
        }
        panic!("no rest after 500 rounds: {:?}", self.state.replicas);
    }
}

fn next_report(state: ReplicaState) -> Option<Observed> {
    match state {
        ReplicaState::Placed | ReplicaState::Preparing => Some(Observed::Starting),
        ReplicaState::Starting => Some(Observed::Warm),
        ReplicaState::Stopped | ReplicaState::Failed => Some(Observed::Gone),
        ReplicaState::Warm | ReplicaState::Serving | ReplicaState::Draining => None,
    }
}
