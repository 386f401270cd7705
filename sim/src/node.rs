//! A node: the shell around an agent and a router. Processes, disks and gates' connections are fake.

use std::{collections::BTreeMap, sync::Arc};

use berth_core::{
    agent::{self, Agent, Effect, GateState, Input, Ledger, Process, ReplicaOrder, Signal, Timing},
    controller::Heartbeat,
    health::inventory,
    id::{NodeEpoch, NodeId, ReplicaId, Term},
    model::{DeviceGrant, NodeProfile},
    rng::{Rng, SeedTree},
    state::ReplicaReport,
    traffic::{
        admission::{Admission, NotStarted, Phase, Waiter},
        change::TableChange,
        table::RouteTable,
    },
    units::Resources,
};

use crate::{
    Bug,
    event::{Attempt, Down, Event, Up, not_started},
    gpu::{Gpus, Layout},
    net::Addr,
    request::LIVE_FEED_MS,
    router::Router,
    world::World,
};

/// Milliseconds between heartbeats.
const BEAT_MS: u64 = 500;
/// Milliseconds between two looks at a node's connections.
pub(crate) const DIAL_MS: u64 = 250;
/// Milliseconds of silence after which a node looks for another coordinator.
pub(crate) const SILENCE_MS: u64 = 3_000;
/// Time of a prefetch. Nothing waits for one, so chance is not spent on it.
const PREFETCH_MS: u64 = 150;
/// The variable by which a test deployment's processes are told to exit.
pub(crate) const EXIT_VARIABLE: &str = "SIM_EXIT";

/// A node.
#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    pub(crate) profile: NodeProfile,
    /// Whether its agent and router run.
    pub(crate) up: bool,
    /// Whether its host answers at all.
    pub(crate) host_up: bool,
    /// Counts the lives of its agent.
    pub(crate) boot: u64,
    pub(crate) started_at: u64,
    /// When something last went wrong with it.
    pub(crate) disturbed_at: Option<u64>,
    pub(crate) router: Router,
    /// The table its disk holds.
    pub(crate) saved_table: RouteTable,
    pub(crate) processes: BTreeMap<u32, FakeProcess>,
    pub(crate) gpus: Gpus,
    pub(crate) gates: BTreeMap<ReplicaId, Gate>,
    /// The newest term a leader ever showed it.
    max_term: Term,
    agent: Agent,
    ledger: Ledger,
    epoch: Option<NodeEpoch>,
    session: Option<Session>,
    feed: Option<Feed>,
    /// When a feed of a coordinator with a leader last said anything.
    pub(crate) fed_at: u64,
    /// Since when it has been live without a gap.
    pub(crate) fed_since: u64,
    /// When a leader in session last said anything, or the agent began.
    pub(crate) led_at: u64,
    /// The orders it took last, as they were given.
    pub(crate) orders: BTreeMap<ReplicaId, ReplicaOrder>,
    reports: BTreeMap<u64, ReplicaReport>,
    next_report: u64,
    next_id: u64,
    next_pid: u32,
    wake_at: Option<u64>,
    rng: Rng,
}

/// A process of a replica.
#[derive(Clone, Debug)]
pub(crate) struct FakeProcess {
    pub(crate) replica: ReplicaId,
    /// What it may use up.
    pub(crate) resources: Resources,
    /// The devices it was given.
    pub(crate) devices: Vec<DeviceGrant>,
    attempt: u64,
    port: u16,
    pub(crate) ready_at: u64,
    /// Whether its end was already told to the agent, which is the bug that keeps it.
    forgotten: bool,
    /// Whether the agent began to end it: its gate takes nothing new, or it was told to end.
    pub(crate) is_leaving: bool,
}

/// The gate of one replica.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) admission: Admission,
    pub(crate) waiting: BTreeMap<Waiter, Attempt>,
    pub(crate) running: Vec<Attempt>,
    port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u64,
    member: usize,
    is_open: bool,
    heard_at: u64,
}

/// A feed of route tables.
#[derive(Clone, Copy, Debug)]
struct Feed {
    id: u64,
    member: usize,
    heard_at: u64,
}

// === impl SimNode ===

impl SimNode {
    pub(crate) fn new(at: usize, seed: &SeedTree) -> Self {
        let id = NodeId(at as u64 + 1);
        let seed = seed.child("node").child((at as u64).to_le_bytes());
        let name = format!("n{}", at + 1);
        let zone = ["a", "b", "c"][at % 3];
        let profile = NodeProfile {
            name: name.parse().expect("a host name"),
            labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
            capacity: Resources { cpu_milli: 4_000, memory_mib: 4_096, disk_mib: 10_000, gpus: 0 },
            devices: Vec::new(),
            gate_address: format!("{name}:7481"),
            ingress_address: format!("{name}:7480"),
            is_virtual: false,
            version: "sim".to_owned(),
        };
        Self {
            id,
            profile,
            up: false,
            host_up: true,
            boot: 0,
            started_at: 0,
            disturbed_at: None,
            router: Router::new(id, RouteTable::default(), seed.child("router").rng()),
            saved_table: RouteTable::default(),
            processes: BTreeMap::new(),
            gpus: Gpus::default(),
            gates: BTreeMap::new(),
            max_term: Term(0),
            agent: Agent::new(Timing::default()),
            ledger: Ledger::default(),
            epoch: None,
            session: None,
            feed: None,
            fed_at: 0,
            fed_since: 0,
            led_at: 0,
            orders: BTreeMap::new(),
            reports: BTreeMap::new(),
            next_report: 0,
            next_id: 0,
            next_pid: 100,
            wake_at: None,
            rng: seed.child("draws").rng(),
        }
    }

    /// Puts it into a rack.
    pub(crate) fn stand_in(&mut self, rack: usize) {
        self.profile.labels.insert("rack".to_owned(), format!("r{}", rack + 1));
    }

    /// Puts GPUs into it, whose driver may still be on its way.
    pub(crate) fn fit_gpus(&mut self, layout: Layout, late: bool) {
        self.gpus = Gpus::of(self.profile.name.as_str(), layout);
        self.gpus.hangs = late;
        self.find_gpus();
    }

    /// Takes into its profile what follows from what its driver answers; says whether that is new.
    fn find_gpus(&mut self) -> bool {
        let devices = inventory(&self.profile.devices, &self.gpus.answer());
        let is_new = devices != self.profile.devices;
        self.profile.devices = devices;
        let whole = self.profile.devices.iter().filter(|device| device.mig_profile.is_none());
        self.profile.capacity.gpus = whole.count() as u64;
        is_new
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        // Unique across the lives of the agent, as a random stream id is.
        self.boot * 1_000_000 + self.next_id
    }

    /// Returns the highest epoch its agent ever held, which its disk knows.
    pub(crate) fn epoch_seen(&self) -> NodeEpoch {
        self.agent.fence().epoch
    }

    fn process_of(&self, replica: ReplicaId, attempt: u64) -> Option<u32> {
        let same =
            |process: &FakeProcess| process.replica == replica && process.attempt == attempt && !process.forgotten;
        self.processes.iter().find(|(_, process)| same(process)).map(|(pid, _)| *pid)
    }

    /// Returns whether its session is this one, open or not.
    pub(crate) fn tries(&self, session: u64) -> bool {
        self.session.is_some_and(|known| known.id == session)
    }

    /// Returns whether the process behind a gate is there and answers.
    pub(crate) fn answers(&self, replica: ReplicaId, now: u64) -> bool {
        let Some(gate) = self.gates.get(&replica) else { return false };
        self.processes.values().any(|process| process.port == gate.port && process.ready_at <= now)
    }
}

// === impl World ===

impl World {
    // --- lives ---

    pub(crate) fn start_node(&mut self, at: usize) {
        let now = self.now;
        if self.nodes[at].up {
            return;
        }
        self.note(&format!("node n{} starts", at + 1));
        let (forgets, forgets_gpus) = (self.has(Bug::ForgetLedger), self.has(Bug::ForgetGpus));
        let instant = self.instant();
        let node = &mut self.nodes[at];
        (node.up, node.host_up, node.started_at, node.led_at) = (true, true, now, now);
        node.boot += 1;
        if forgets_gpus {
            node.profile.devices.clear();
        }
        node.gpus.begin(&node.profile.devices, instant);
        node.find_gpus();
        node.agent = Agent::new(Timing::default());
        (node.epoch, node.session, node.feed, node.wake_at) = (None, None, None, None);
        node.reports.clear();
        node.gates.clear();
        let seed = self.seed.child("router").child((at as u64).to_le_bytes()).child(node.boot.to_le_bytes());
        node.router = Router::new(node.id, node.saved_table.clone(), seed.rng());
        let mut ledger = if forgets { Ledger::default() } else { node.ledger.clone() };
        for entry in &mut ledger.replicas {
            let alive = entry.process.is_some_and(|process| node.processes.contains_key(&process.pid));
            if !alive {
                entry.process = None;
            }
        }
        let boot = node.boot;
        self.agent_step(at, Input::Recovered(ledger));
        self.after(1, Event::Dial { node: at, boot });
        self.after(BEAT_MS, Event::Beat { node: at, boot });
    }

    /// Ends the agent and its router; the replicas' processes live on.
    pub(crate) fn kill_agent(&mut self, at: usize) {
        if !self.nodes[at].up {
            return;
        }
        self.disturb(at);
        self.lose_requests_of(at);
        let (session, host_up) = (self.nodes[at].session, self.nodes[at].host_up);
        let node = &mut self.nodes[at];
        node.up = false;
        node.boot += 1;
        node.gates.clear();
        // The kernel closes a dead process's connections; a dead host's stay open at the other end.
        if let Some(session) = session.filter(|_| host_up) {
            self.tell_member(at, session.member, Up::Reset { session: session.id });
        }
    }

    pub(crate) fn kill_processes(&mut self, at: usize) {
        let pids: Vec<u32> = self.nodes[at].processes.keys().copied().collect();
        for pid in pids {
            self.process_ends(at, pid, "killed");
        }
    }

    pub(crate) fn disturb(&mut self, at: usize) {
        self.nodes[at].disturbed_at = Some(self.now);
    }

    // --- connections ---

    fn tell_member(&mut self, node: usize, member: usize, message: Up) {
        let (from, to) = (Addr::Node(node), Addr::Member(member));
        let (boot, node_boot) = (self.members[member].boot, self.nodes[node].boot);
        let event = Event::ToMember { member, boot, node, node_boot, message };
        if self.net.reaches(from, to) {
            let arrival = self.net.arrival(from, to, self.now);
            self.at(arrival, event);
        } else {
            self.net.hold(from, to, event);
        }
    }

    /// Looks after the session and the feed: whoever was silent for too long is given up.
    pub(crate) fn dial(&mut self, at: usize, boot: u64) {
        if self.nodes[at].boot != boot || !self.nodes[at].up {
            return;
        }
        self.after(DIAL_MS, Event::Dial { node: at, boot });
        let (now, runs_on) = (self.now, self.has(Bug::RunAlone));
        if self.nodes[at].session.is_none_or(|session| !session.is_open || now > session.heard_at + SILENCE_MS)
            && !runs_on
        {
            self.agent_step(at, Input::SessionEnded);
        }
        self.judge_alone(at);
        if self.nodes[at].session.is_none_or(|session| now > session.heard_at + SILENCE_MS) {
            let count = self.members.len() as u64;
            let member = self.nodes[at].rng.below(count) as usize;
            self.open_session(at, member);
        }
        if self.nodes[at].feed.is_none_or(|feed| now > feed.heard_at + SILENCE_MS) {
            let count = self.members.len() as u64;
            let member = self.nodes[at].rng.below(count) as usize;
            self.open_feed(at, member, true);
        }
    }

    /// Breaks the connection of a node's session; both ends notice.
    pub(crate) fn reset_session(&mut self, at: usize) {
        if let Some(session) = self.nodes[at].session.take() {
            self.tell_member(at, session.member, Up::Reset { session: session.id });
        }
    }

    fn open_session(&mut self, at: usize, member: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let id = node.fresh_id();
        node.session = Some(Session { id, member, is_open: false, heard_at: now });
        let epoch = node.epoch;
        if self.members[member].up {
            self.tell_member(at, member, Up::Hello { session: id, epoch });
        } else {
            self.nodes[at].session = None;
        }
    }

    fn open_feed(&mut self, at: usize, member: usize, keep: bool) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let id = node.fresh_id();
        node.feed = Some(Feed { id, member, heard_at: now });
        let have = keep.then_some(node.router.table.version);
        if self.members[member].up {
            self.tell_member(at, member, Up::Watch { feed: id, have });
        } else {
            self.nodes[at].feed = None;
        }
    }

    pub(crate) fn beat(&mut self, at: usize, boot: u64) {
        if self.nodes[at].boot != boot || !self.nodes[at].up {
            return;
        }
        self.after(BEAT_MS, Event::Beat { node: at, boot });
        let now = self.instant();
        self.nodes[at].gpus.look(now);
        if self.nodes[at].find_gpus() {
            self.note(&format!("n{} says anew what it has", at + 1));
            self.reset_session(at);
        }
        self.tell(at, boot);
    }

    /// Tells the leader how the node is.
    pub(crate) fn tell(&mut self, at: usize, boot: u64) {
        if self.nodes[at].boot != boot || !self.nodes[at].up {
            return;
        }
        let (now, instant) = (self.now, self.instant());
        let devices = self.nodes[at].gpus.signs(instant);
        let node = &self.nodes[at];
        let (Some(session), Some(epoch)) = (node.session.filter(|session| session.is_open), node.epoch) else { return };
        let acks = node.router.acks;
        let mut in_flight = node.router.in_flight.clone();
        for (replica, gate) in &node.gates {
            *in_flight.entry(*replica).or_default() += gate.admission.in_flight();
        }
        in_flight.retain(|_, count| *count > 0);
        let heartbeat = Heartbeat { node: node.id, epoch, acks, in_flight, carried: node.router.carried(now), devices };
        self.tell_member(at, session.member, Up::Heartbeat { session: session.id, heartbeat });
        self.send_reports(at);
    }

    fn send_reports(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(session) = node.session.filter(|session| session.is_open) else { return };
        if !node.reports.is_empty() {
            let reports = node.reports.clone();
            self.tell_member(at, session.member, Up::Reports { session: session.id, reports });
        }
    }

    pub(crate) fn node_hears(&mut self, at: usize, boot: u64, member: usize, message: Down) {
        if self.nodes[at].boot != boot || !self.nodes[at].up {
            return;
        }
        match message {
            Down::Table { feed, change } => self.take_table(at, feed, change),
            Down::TableBeat { feed, version } => self.take_table_beat(at, feed, version),
            Down::FeedEnds { feed } => {
                if self.nodes[at].feed.is_some_and(|known| known.id == feed) {
                    self.nodes[at].feed = None;
                }
            }
            Down::Redirect { session, .. }
            | Down::Welcome { session, .. }
            | Down::Orders { session, .. }
            | Down::Heard { session }
            | Down::ReportsTaken { session, .. }
            | Down::End { session } => {
                if self.nodes[at].session.is_some_and(|known| known.id == session && known.member == member) {
                    self.session_hears(at, message);
                }
            }
        }
    }

    fn session_hears(&mut self, at: usize, message: Down) {
        let now = self.now;
        let node = &mut self.nodes[at];
        if let Some(session) = &mut node.session {
            session.heard_at = now;
            node.led_at = if session.is_open { now } else { node.led_at };
        }
        match message {
            Down::Redirect { leader, .. } => {
                self.nodes[at].session = None;
                if let Some(leader) = leader {
                    self.open_session(at, leader);
                }
            }
            Down::Welcome { epoch, term, .. } => {
                let before = self.nodes[at].max_term;
                let accepted = self.take_orders(at, term, |term| Input::Registered { epoch, term });
                if !accepted {
                    self.nodes[at].session = None;
                    return;
                }
                self.judge_term(at, before, term);
                self.note(&format!("n{} is in session with term {term}, epoch {epoch}", at + 1));
                let node = &mut self.nodes[at];
                node.epoch = Some(epoch);
                node.led_at = now;
                if let Some(session) = &mut node.session {
                    session.is_open = true;
                }
                self.send_reports(at);
            }
            Down::Orders { orders, .. } => {
                let before = self.nodes[at].max_term;
                let term = orders.term;
                // What was ordered before the agent acts on it: what it ends then, it ends by order.
                let known = std::mem::replace(&mut self.nodes[at].orders, orders.replicas.clone());
                let orders = self.orders_with_bugs(orders);
                let accepted =
                    self.take_orders(at, term, |term| Input::Assignments(agent::Assignments { term, ..orders }));
                if !accepted {
                    self.nodes[at].orders = known;
                }
                if accepted {
                    self.judge_term(at, before, term);
                }
            }
            Down::ReportsTaken { upto, .. } => self.nodes[at].reports.retain(|seq, _| *seq > upto),
            Down::End { .. } => self.nodes[at].session = None,
            Down::Heard { .. } | Down::Table { .. } | Down::TableBeat { .. } | Down::FeedEnds { .. } => {}
        }
    }

    /// Gives the agent something of a leader; returns whether it was taken.
    fn take_orders(&mut self, at: usize, term: Term, input: impl FnOnce(Term) -> Input) -> bool {
        let known = self.nodes[at].max_term;
        let shown = if self.has(Bug::ForgetTermFence) { term.max(known) } else { term };
        let accepted = !self.agent_step(at, input(shown));
        if !accepted {
            self.note(&format!("n{} refuses a leader of term {term}: it knows term {known}", at + 1));
        }
        if accepted {
            self.nodes[at].max_term = known.max(term);
        }
        accepted
    }

    fn judge_term(&mut self, at: usize, known: Term, term: Term) {
        if term < known {
            let what = format!("n{} obeyed a leader of term {term} although it knows term {known}", at + 1);
            self.judge.broken("PL04", what, self.now);
        }
    }

    // --- tables ---

    fn take_table(&mut self, at: usize, feed: u64, change: TableChange) {
        let now = self.now;
        let Some(known) = &mut self.nodes[at].feed else { return };
        if known.id != feed {
            return;
        }
        known.heard_at = now;
        let member = known.member;
        self.note_fed(at, member);
        let before = self.nodes[at].router.table.version;
        let base = match &change {
            TableChange::Full(_) if self.has(Bug::TableGoesBack) => RouteTable::default(),
            _ => self.nodes[at].router.table.clone(),
        };
        match base.apply(change) {
            Ok(table) => {
                let version = table.version;
                if version < before {
                    self.judge.broken("TR10", format!("the table of n{} went from {before} to {version}", at + 1), now);
                }
                let keeps_keys = self.has(Bug::KeepKeys);
                self.nodes[at].router.adopt(table, keeps_keys);
                let boot = self.nodes[at].boot;
                let (warm, saved) = (1 + self.nodes[at].rng.below(8), 5 + self.nodes[at].rng.below(300));
                self.after(warm, Event::RouterWarm { node: at, boot, version });
                // A step of a rollout waits for this, so it does not wait for the next heartbeat.
                self.after(1, Event::Tell { node: at, boot });
                self.after(saved, Event::TableSaved { node: at, boot });
            }
            // A feed of a coordinator that is behind: it catches up, or falls silent and is left.
            Err(berth_core::traffic::change::Resync::Older { .. }) => {}
            Err(_) => self.open_feed(at, member, false),
        }
    }

    /// Notes that a feed is live: of a coordinator that follows a leader. One that has just started shows what it has.
    fn note_fed(&mut self, at: usize, member: usize) {
        if self.members[member].follows(self.now) {
            let node = &mut self.nodes[at];
            if node.fed_at + LIVE_FEED_MS < self.now {
                node.fed_since = self.now;
            }
            node.fed_at = self.now;
        }
    }

    fn take_table_beat(&mut self, at: usize, feed: u64, version: berth_core::id::LogIndex) {
        let now = self.now;
        let Some(known) = &mut self.nodes[at].feed else { return };
        if known.id != feed {
            return;
        }
        known.heard_at = now;
        let member = known.member;
        self.note_fed(at, member);
        if version > self.nodes[at].router.table.version {
            self.open_feed(at, member, false);
        }
    }

    // --- the agent ---

    pub(crate) fn wake_agent(&mut self, at: usize, boot: u64) {
        let node = &mut self.nodes[at];
        if node.boot == boot && node.up {
            node.wake_at = None;
            self.agent_step(at, Input::Tick);
        }
    }

    /// Steps the agent; returns whether it refused.
    pub(crate) fn agent_step(&mut self, at: usize, input: Input) -> bool {
        let now = self.instant();
        let effects = self.nodes[at].agent.step(input, now);
        let mut refused = false;
        for effect in effects {
            refused |= matches!(effect, Effect::Refuse { .. });
            self.carry_out_on(at, effect);
        }
        let wake = self.nodes[at].agent.wake_at().map(|wake| wake.millis().max(self.now + 1));
        if let Some(wake) = wake
            && self.nodes[at].wake_at.is_none_or(|known| wake < known)
        {
            self.nodes[at].wake_at = Some(wake);
            let boot = self.nodes[at].boot;
            self.at(wake, Event::Wake { node: at, boot });
        }
        refused
    }

    fn agent_later(&mut self, at: usize, delay_ms: u64, input: Input) {
        let boot = self.nodes[at].boot;
        self.after(delay_ms, Event::Agent { node: at, boot, input: Box::new(input) });
    }

    fn carry_out_on(&mut self, at: usize, effect: Effect) {
        let boot = self.nodes[at].boot;
        match effect {
            Effect::FetchAssets { order } => {
                let delay = 5 + self.nodes[at].rng.below(200);
                self.agent_later(at, delay, Input::AssetsReady { replica: order.replica });
            }
            Effect::BuildEnvironment { order } => {
                let delay = 5 + self.nodes[at].rng.below(100);
                self.agent_later(at, delay, Input::EnvironmentReady { replica: order.replica });
            }
            Effect::Launch { order, attempt } => {
                let delay = 3 + self.nodes[at].rng.below(20);
                self.after(delay, Event::Launched { node: at, boot, order, attempt });
            }
            Effect::Adopt { order, attempt, process } => {
                if !self.nodes[at].processes.contains_key(&process.pid) {
                    let how = "exited while nobody watched".to_owned();
                    let input = Input::Exited { replica: order.replica, attempt, how, log_tail: String::new() };
                    self.agent_later(at, 1, input);
                }
            }
            Effect::Probe { replica, attempt, kind, port, .. } => {
                let answer = self.ask_process(at, port);
                self.agent_later(at, 2, Input::ProbeAnswered { replica, attempt, kind, answer });
            }
            Effect::WarmUp { replica, attempt, port, .. } => {
                let answer = self.ask_process(at, port);
                self.agent_later(at, 10, Input::WarmedUp { replica, attempt, answer });
            }
            Effect::Kill { replica, attempt, signal } => self.kill_process(at, replica, attempt, signal),
            Effect::Publish { order, port, state } => self.publish(at, &order, port, state),
            Effect::Withdraw { replica } => self.withdraw(at, replica),
            Effect::AskGate { replica } => {
                let gate = self.nodes[at].gates.get(&replica);
                let in_flight = gate.map_or(0, |gate| u64::from(gate.admission.in_flight()));
                self.agent_later(at, 1, Input::GateCounted { replica, in_flight });
            }
            Effect::Report(report) => {
                let node = &mut self.nodes[at];
                node.reports.retain(|_, known| known.replica != report.replica);
                node.next_report += 1;
                node.reports.insert(node.next_report, report);
                self.send_reports(at);
            }
            Effect::RemoveFiles { replica } => {
                self.agent_later(at, 5, Input::FilesRemoved { replica, answer: Ok(()) });
            }
            Effect::Prefetch { order } => {
                let (key, generation) = (order.key.clone(), order.generation);
                self.agent_later(at, PREFETCH_MS, Input::Prefetched { key, generation, answer: Ok(()) });
            }
            // An answer to what was cancelled is dropped by the agent; what was reported nobody asks for here.
            Effect::CancelPrefetch { .. } | Effect::ReportPrefetches(_) => {}
            Effect::SaveLedger(ledger) => self.nodes[at].ledger = ledger,
            Effect::Refuse { .. } => {}
        }
    }

    // --- processes ---

    fn ask_process(&self, at: usize, port: u16) -> Result<(), String> {
        let found = self.nodes[at].processes.values().find(|process| process.port == port);
        match found {
            Some(process) if process.ready_at <= self.now => Ok(()),
            Some(_) => Err("connection refused: it still starts".to_owned()),
            None => Err("connection refused".to_owned()),
        }
    }

    pub(crate) fn launched(&mut self, at: usize, boot: u64, order: &Arc<ReplicaOrder>, attempt: u64) {
        // A launch goes on while its agent dies; what it made is then found by nobody and ends by itself.
        if self.nodes[at].boot != boot || !self.nodes[at].up {
            return;
        }
        let now = self.now;
        let node = &mut self.nodes[at];
        node.next_pid += 1;
        let (pid, port) = (node.next_pid, 20_000 + (node.next_pid % 40_000) as u16);
        let ready_at = now + 50 + node.rng.below(900);
        let resources = order.spec.resources;
        let devices = order.devices.clone();
        let finds_its_card = node.gpus.has(&devices);
        let process = FakeProcess {
            replica: order.replica,
            resources,
            devices,
            attempt,
            port,
            ready_at,
            forgotten: false,
            is_leaving: false,
        };
        node.processes.insert(pid, process);
        self.judge_launch(at, order.replica);
        let process = Process { pid, start_ticks: now, port };
        self.agent_step(at, Input::Started { replica: order.replica, attempt, process });
        if order.spec.environment_variables.contains_key(EXIT_VARIABLE) {
            self.after(30, Event::ProcessEnds { node: at, pid, how: "exited with code 3" });
        } else if !finds_its_card {
            self.after(30, Event::ProcessEnds { node: at, pid, how: "found no CUDA device" });
        }
    }

    /// Insists that a replica runs once, and that what runs on a host fits there.
    fn judge_launch(&mut self, at: usize, replica: ReplicaId) {
        let copies = self.nodes.iter().flat_map(|node| node.processes.values());
        let copies = copies.filter(|process| process.replica == replica).count();
        let node = &self.nodes[at];
        let held = node.processes.values().fold(Resources::ZERO, |sum, process| sum + process.resources);
        let has = node.profile.capacity;
        // One that came back with less than it had runs more than fits until it has said so and the rest has moved.
        let on_devices = node.processes.values().flat_map(|process| &process.devices);
        let too_much = node.gpus.exceeded_by(on_devices).map(|what| format!("n{} {what}", at + 1));
        let known = self.truth().nodes.get(&node.id);
        let shrank = known.is_none_or(|known| known.overfull || known.profile.capacity != has);
        let recut = known.is_none_or(|known| known.overfull || !node.gpus.are(&known.profile.devices));
        if copies > 1 {
            let what = format!("n{} starts replica {}, of which {copies} run now", at + 1, replica.short());
            self.judge.broken("RE04", what, self.now);
        }
        if let Some(what) = too_much.filter(|_| !recut) {
            self.judge.broken("PL05", what, self.now);
        }
        let held = Resources { gpus: 0, ..held };
        if !held.fits(&has) && !shrank {
            let processes = node.processes.values().map(|process| process.replica.short().to_string());
            let replicas = processes.collect::<Vec<_>>().join(", ");
            self.judge.broken("PL05", format!("n{} runs {held} ({replicas}) and has {has}", at + 1), self.now);
        }
    }

    fn kill_process(&mut self, at: usize, replica: ReplicaId, attempt: u64, signal: Signal) {
        let Some(pid) = self.nodes[at].process_of(replica, attempt) else { return };
        if signal == Signal::Term {
            self.judge_end_of(at, pid);
        }
        if self.has(Bug::KeepProcesses) || self.has(Bug::FreeTooEarly) {
            if self.has(Bug::FreeTooEarly) {
                self.after(5_000, Event::ProcessEnds { node: at, pid, how: "killed" });
            }
            if let Some(process) = self.nodes[at].processes.get_mut(&pid) {
                process.forgotten = true;
            }
            let input = Input::Exited { replica, attempt, how: "killed".to_owned(), log_tail: String::new() };
            self.agent_later(at, 2, input);
            return;
        }
        let stubborn = signal == Signal::Term && self.nodes[at].rng.chance(100);
        if !stubborn {
            let delay = if signal == Signal::Term { 5 + self.nodes[at].rng.below(60) } else { 1 };
            self.after(delay, Event::ProcessEnds { node: at, pid, how: "killed" });
        }
    }

    pub(crate) fn process_ends(&mut self, at: usize, pid: u32, how: &'static str) {
        let Some(process) = self.nodes[at].processes.remove(&pid) else { return };
        let replica = process.replica;
        let running = match self.nodes[at].gates.get_mut(&replica) {
            Some(gate) if gate.port == process.port => std::mem::take(&mut gate.running),
            _ => Vec::new(),
        };
        for attempt in running {
            self.break_off(at, attempt);
        }
        if self.nodes[at].up {
            let (attempt, how) = (process.attempt, how.to_owned());
            self.agent_later(at, 1, Input::Exited { replica, attempt, how, log_tail: String::new() });
        }
    }

    // --- gates ---

    fn publish(&mut self, at: usize, order: &ReplicaOrder, port: u16, state: GateState) {
        let slots = order.spec.request_settings.max_concurrent_requests_per_instance;
        let phase = match state {
            GateState::Open => Phase::Open,
            GateState::Draining => Phase::Draining,
        };
        let fresh =
            || Gate { admission: Admission::new(slots, phase), waiting: BTreeMap::new(), running: Vec::new(), port };
        if state == GateState::Draining {
            let behind = self.nodes[at].processes.iter().find(|(_, process)| process.port == port).map(|(pid, _)| *pid);
            behind.into_iter().for_each(|pid| self.judge_end_of(at, pid));
        }
        let gate = self.nodes[at].gates.entry(order.replica).or_insert_with(fresh);
        if gate.port != port {
            *gate = fresh();
        }
        let woken = gate.admission.set_phase(phase);
        self.wake(at, order.replica, woken);
    }

    fn withdraw(&mut self, at: usize, replica: ReplicaId) {
        let Some(gate) = self.nodes[at].gates.remove(&replica) else { return };
        for attempt in gate.waiting.into_values() {
            self.answer(at, attempt, not_started(NotStarted::Unknown));
        }
        for attempt in gate.running {
            self.break_off(at, attempt);
        }
    }
}
