//! The workload: what users and misfortune do in a seed.

use std::collections::BTreeMap;

use berth_core::{
    id::{LogIndex, RequestId},
    model::{
        AuthMode, DeploymentKey, DeploymentSpec, DrainBy, EndpointKeys, EndpointName, EndpointSpec, RequestSettings,
        Runtime, SealedKey, Spread, SpreadBy, Traffic,
    },
    rng::Rng,
    state::{Command, DrainWish, PutMode, Reply},
    time::Millis,
    units::Resources,
};

use crate::{
    Bug,
    action::{Action, Behaviour},
    apart,
    event::{Event, Up},
    gpu,
    log::Origin,
    net::Addr,
    node::EXIT_VARIABLE,
    quota,
    world::World,
};

/// Milliseconds after which a client asks again, with the same request id.
const ASK_AGAIN_MS: u64 = 2_500;
/// Tries after which a client gives up; far more than an election takes.
const TRIES_MAX: u32 = 60;
/// Versions from here on say how important they are: random ones nearly always do.
const RANKED_FROM: u32 = 100;
/// Endpoints of a random workload.
pub(crate) const ENDPOINTS: [&str; 2] = ["fraud", "churn"];
/// Deployments of each.
const DEPLOYMENTS: [&str; 2] = ["blue", "green"];

/// What users asked for.
#[derive(Debug)]
pub(crate) struct Changes {
    asked: Vec<Change>,
    rng: Rng,
}

#[derive(Debug)]
struct Change {
    command: Command,
    answer: Option<Reply>,
    given_up: bool,
}

// === impl Changes ===

impl Changes {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { asked: Vec::new(), rng }
    }

    pub(crate) fn request_id(&self, change: usize) -> RequestId {
        RequestId(format!("change-{change}"))
    }

    /// Returns what was answered to a change.
    pub(crate) fn answer(&self, change: usize) -> Option<&Reply> {
        self.asked[change].answer.as_ref()
    }

    /// Returns whether every change was answered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.asked.iter().all(|change| change.answer.is_some() || change.given_up)
    }
}

/// Fills a seed's queue: changes and requests all along, faults in three seeds of four, and the end.
pub(crate) fn schedule(world: &mut World) {
    let mut rng = world.seed.child("workload").rng();
    let faulty = world.options.faults.unwrap_or_else(|| rng.chance(750));
    let ends = 3_000 + world.options.seconds * 1_000;
    for (nth, name) in ENDPOINTS.into_iter().enumerate() {
        let endpoint: EndpointName = name.parse().expect("a valid name");
        let at = 1_000 + nth as u64 * 300;
        let key = DeploymentKey::new(endpoint.clone(), DEPLOYMENTS[0].parse().expect("a valid name"));
        world.at(at, Event::Do(Action::Change(Box::new(endpoint_put(&endpoint)))));
        let count = 1 + rng.below(3) as u32;
        world.at(
            at + 100,
            Event::Do(Action::Deploy { key: key.clone(), count, version: 0, behaviour: Behaviour::Good }),
        );
        let split = Traffic::all_to(key.deployment);
        world.at(at + 200, Event::Do(Action::Split { endpoint: endpoint.clone(), split }));
        let load = Action::Load { endpoint, gap_ms: 30 + rng.below(120), until_ms: ends };
        world.at(at + 1_000, Event::Do(load));
    }
    let mut at = 3_000;
    while at < ends {
        world.at(at, Event::Do(Action::RandomChange));
        at += 300 + rng.below(3_000);
    }
    let mut rotates = world.seed.child("keys").rng();
    let mut at = 4_000;
    while at < ends {
        world.at(at, Event::Do(Action::RotateKey));
        at += 2_000 + rotates.below(12_000);
    }
    world.at(2_000, Event::Look);
    let mut at = 5_000;
    while faulty && at < ends {
        world.at(at, Event::Do(Action::RandomFault));
        at += 500 + rng.below(6_000);
    }
    gpu::schedule(world, ends, faulty);
    quota::schedule(world, ends);
    apart::schedule(world, ends, faulty);
    world.at(ends, Event::Do(Action::Settle));
}

pub(crate) fn endpoint_put(name: &EndpointName) -> Command {
    let key = |tag| SealedKey { cluster_key_id: 1, nonce: vec![0; 12], ciphertext: vec![tag], hash: [tag; 32] };
    Command::EndpointPut {
        project: None,
        name: name.clone(),
        spec: EndpointSpec { auth_mode: AuthMode::Key, ..EndpointSpec::default() },
        keys: EndpointKeys { primary: key(1), secondary: key(2) },
        mode: PutMode::Upsert,
        if_revision: None,
    }
}

pub(crate) fn deployment_put(key: &DeploymentKey, count: u32, version: u32, behaviour: Behaviour) -> Command {
    let mut spec = DeploymentSpec::new(Runtime::Command(vec!["serve".to_owned()]));
    spec.instance_count = count;
    // Now and then a deployment forgoes its reserve, or takes it up again.
    spec.reserve = version % 7 != 3;
    spec.resources = Resources { cpu_milli: 1_000, memory_mib: 1_024, disk_mib: 0, gpus: 0 };
    spec.request_settings = RequestSettings { max_concurrent_requests_per_instance: 4, ..RequestSettings::default() };
    // Random changes say what is promised and how important it is; what a story says stays at the defaults.
    if version >= RANKED_FROM {
        spec.priority = version % 11 * 10;
        spec.min_instances = Some((version / 11 % 4).min(count));
        if version.is_multiple_of(5) {
            spec.spread = Spread { by: SpreadBy::Node, max_per_domain: Some(1) };
        }
    }
    spec.environment_variables = BTreeMap::from([("VERSION".to_owned(), version.to_string())]);
    if behaviour == Behaviour::ExitsAtStart {
        spec.environment_variables.insert(EXIT_VARIABLE.to_owned(), "3".to_owned());
    }
    Command::DeploymentPut { key: key.clone(), spec: Box::new(spec), mode: PutMode::Upsert, if_revision: None }
}

/// The wish that a node be empty, and its withdrawal.
#[cfg(test)]
pub(crate) fn drain(node: &str, within_ms: u64) -> Action {
    let wish = DrainWish { within: Millis(within_ms), reason: String::new(), force: false, by: DrainBy::Operator };
    Action::Change(Box::new(Command::NodeDrain { name: node.parse().expect("a host name"), wish: Some(wish) }))
}

#[cfg(test)]
pub(crate) fn cancel_drain(node: &str) -> Action {
    Action::Change(Box::new(Command::NodeDrain { name: node.parse().expect("a host name"), wish: None }))
}

/// Draws how a node is to become empty: with time for every request, or with next to none.
fn wish(rng: &mut Rng) -> DrainWish {
    let within = Millis([200, 5_000, 60_000][rng.below(3) as usize]);
    let force = rng.chance(150);
    let by = match rng.below(10) {
        0 | 1 => DrainBy::Agent,
        2 => DrainBy::Upgrade,
        _ => DrainBy::Operator,
    };
    DrainWish { within, reason: String::new(), force, by }
}

// === impl World ===

impl World {
    // --- changes ---

    /// Asks for a change, and returns its number.
    pub(crate) fn change(&mut self, command: Command) -> usize {
        self.changes.asked.push(Change { command, answer: None, given_up: false });
        let change = self.changes.asked.len() - 1;
        self.ask_change(change, 0);
        change
    }

    /// Sends a change to some coordinator, which hands it to the leader it knows.
    pub(crate) fn ask_change(&mut self, change: usize, tries: u32) {
        let asked = &self.changes.asked[change];
        if asked.answer.is_some() || asked.given_up {
            return;
        }
        if tries >= TRIES_MAX {
            self.changes.asked[change].given_up = true;
            return;
        }
        self.after(ASK_AGAIN_MS, Event::Change { change, tries: tries + 1 });
        self.send_change(change, tries);
    }

    fn send_change(&mut self, change: usize, tries: u32) {
        let count = self.members.len() as u64;
        let asked = self.changes.rng.below(count) as usize;
        let believes = |at: usize| self.members[at].leads.is_some();
        let leader = if believes(asked) { Some(asked) } else { self.log.leader };
        let Some(leader) = leader else { return };
        let runs = |at: usize| self.members[at].is_running(self.now);
        if !runs(asked)
            || !runs(leader)
            || !self.net.reaches(Addr::Member(asked), Addr::Member(leader))
            || !believes(leader)
        {
            return;
        }
        let command = self.changes.asked[change].command.clone();
        let entry = self.entry_of(leader, Some(change), command);
        self.propose(leader, entry, Origin::Change { change, tries });
    }

    pub(crate) fn answer_change(&mut self, change: usize, tries: u32, outcome: Option<(LogIndex, Reply)>) {
        if change != usize::MAX {
            self.after(3, Event::ChangeAnswered { change, tries, outcome });
        }
    }

    pub(crate) fn change_answered(&mut self, change: usize, tries: u32, outcome: Option<(LogIndex, Reply)>) {
        let Some((_, reply)) = outcome else { return };
        let request_id = self.changes.request_id(change);
        if let Some(answer) = &self.changes.asked[change].answer {
            if *answer != reply && !self.has(Bug::AckBeforeCommit) {
                let what = format!("{request_id} was answered {answer:?} and then {reply:?}");
                self.judge.broken("WR02", what, self.now);
            }
            return;
        }
        self.judge.acknowledged.insert(request_id);
        self.changes.asked[change].answer = Some(reply);
        // A client whose connection broke just then asks again although it was answered.
        if self.changes.rng.chance(100) {
            self.send_change(change, tries);
        }
    }

    // --- actions ---

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::RandomChange => self.random_change(),
            Action::Change(command) => drop(self.change(*command)),
            Action::RotateKey => self.rotate_key(),
            Action::RandomFault => self.random_fault(),
            Action::Deploy { key, count, version, behaviour } => {
                self.change(deployment_put(&key, count, version, behaviour));
            }
            Action::DeployOnGpu { key, count, version, gpu } => {
                let command = deployment_put(&key, count, version, Behaviour::Good);
                self.change(gpu::deployment_with(command, &gpu));
            }
            Action::RandomQuotaChange => self.random_quota_change(),
            Action::RandomGpuChange => self.random_gpu_change(),
            Action::RandomGpuFault => self.random_gpu_fault(),
            Action::RandomPolicy => self.random_policy(),
            Action::Policy { key, disconnect } => self.set_policy(&key, disconnect),
            Action::Part { node, until_ms } => self.part(node, until_ms),
            Action::Xid(node, card, xid) => self.xid(node, card, xid),
            Action::MendCard(node, card) => self.mend_card(node, card),
            Action::ResizeCard(node, card, gib) => self.resize_card(node, card, gib),
            Action::HangDriver(node, hangs) => self.hang_driver(node, hangs),
            Action::Split { endpoint, split } => {
                self.change(Command::TrafficSet {
                    endpoint,
                    split: Some(split),
                    mirror: None,
                    strict_azure: false,
                    if_revision: None,
                });
            }
            Action::Mirror { endpoint, mirror } => {
                self.change(Command::TrafficSet {
                    endpoint,
                    split: None,
                    mirror: Some(mirror),
                    strict_azure: false,
                    if_revision: None,
                });
            }
            Action::Load { endpoint, gap_ms, until_ms } => self.start_load(endpoint, gap_ms, until_ms),
            Action::KillAgent(node) => {
                self.note(&format!("fault: the agent of n{} dies", node + 1));
                self.kill_agent(node);
            }
            Action::KillNode(node) => {
                self.note(&format!("fault: n{} dies with its replicas", node + 1));
                self.kill_agent(node);
                self.kill_processes(node);
            }
            Action::KillHost(node) => {
                self.note(&format!("fault: the host of n{} is gone", node + 1));
                self.nodes[node].host_up = false;
                self.kill_agent(node);
                self.kill_processes(node);
            }
            Action::StartNode(node) => self.start_node(node),
            Action::CrashProcess(node) => {
                if let Some(pid) = self.nodes[node].processes.keys().next().copied() {
                    self.note(&format!("fault: a process of n{} dies", node + 1));
                    self.disturb(node);
                    self.process_ends(node, pid, "killed by signal 9");
                }
            }
            Action::Cut(a, b) => self.cut(a, b),
            Action::Isolate(addr) => self.isolate(addr),
            Action::Secede(member) => {
                self.note(&format!("fault: c{} reaches no other coordinator", member + 1));
                let others = (0..self.members.len()).filter(|other| *other != member);
                others.for_each(|other| self.net.cut(Addr::Member(member), Addr::Member(other)));
            }
            Action::ResetSession(node) => self.reset_session(node),
            Action::Heal => self.heal(),
            Action::Shrink(node, cores) => self.nodes[node].profile.capacity.cpu_milli = cores * 1_000,
            Action::Resize(node, cores) => self.shrink(node, cores),
            Action::CutOff(nodes) => self.cut_off(&nodes),
            Action::Blackout(percent) => self.blackout(percent),
            Action::KillRack(rack) => self.kill_rack(&rack),
            Action::StartRack(rack) => self.start_rack(&rack),
            Action::Flap { node, half_ms, until_ms } => self.flap(node, half_ms, until_ms),
            Action::SlowFeed(node, millis) => {
                self.note(&format!("the tables of n{} take {millis} ms", node + 1));
                self.net.slow_feed(node, millis);
            }
            Action::KillMember(member) => self.kill_member(member),
            Action::KillLeader(millis) => {
                if let Some(leader) = self.log.leader {
                    self.kill_member(leader);
                    self.after(millis, Event::Do(Action::StartMember(leader)));
                }
            }
            Action::KillAndStart(node, millis) => {
                self.act(Action::KillAgent(node));
                self.after(millis, Event::Do(Action::StartNode(node)));
            }
            Action::Upgrade(holder) => self.begin_walk(&holder),
            Action::StartMember(member) => self.start_member(member),
            Action::PauseMember(member, millis) => {
                self.note(&format!("fault: coordinator c{} stands still for {millis} ms", member + 1));
                self.members[member].paused_until = self.now + millis;
            }
            Action::StepClock(member, millis) => {
                self.note(&format!("fault: the clock of c{} jumps by {millis} ms", member + 1));
                self.members[member].clock_skew_ms += millis;
            }
            Action::Settle => self.settle(),
            Action::Expect(line) => self.expect(line),
        }
    }

    fn settle(&mut self) {
        let began = match self.settles_at {
            Some(began) => began,
            None => {
                self.note("every fault is mended");
                self.apart.clear();
                self.heal();
                self.mend_gpus();
                self.end_walks();
                (0..self.members.len()).for_each(|member| self.start_member(member));
                (0..self.nodes.len()).for_each(|node| self.start_node(node));
                self.now
            }
        };
        self.look_for_rest(began);
    }

    fn cut(&mut self, a: Addr, b: Addr) {
        self.note(&format!("fault: {a} and {b} no longer reach each other"));
        for addr in [a, b] {
            if let Addr::Node(node) = addr {
                self.disturb(node);
            }
        }
        self.net.cut(a, b);
    }

    fn isolate(&mut self, addr: Addr) {
        let members = (0..self.members.len()).map(Addr::Member);
        let nodes = (0..self.nodes.len()).map(Addr::Node);
        let others: Vec<_> = members.chain(nodes).filter(|other| *other != addr).collect();
        self.note(&format!("fault: {addr} is cut off"));
        if let Addr::Node(node) = addr {
            self.disturb(node);
        }
        others.into_iter().for_each(|other| self.net.cut(addr, other));
    }

    /// Cuts a node off from the coordinators and lets it back, over and over; its callers notice nothing of it.
    fn flap(&mut self, node: usize, half_ms: u64, until_ms: u64) {
        let is_cut = (0..self.members.len()).any(|at| !self.net.reaches(Addr::Node(node), Addr::Member(at)));
        if is_cut {
            self.heal_quietly();
        } else if self.now < until_ms {
            self.disturb(node);
            (0..self.members.len()).for_each(|at| self.net.cut(Addr::Node(node), Addr::Member(at)));
        }
        if is_cut || self.now < until_ms {
            self.after(half_ms, Event::Do(Action::Flap { node, half_ms, until_ms }));
        }
    }

    fn heal(&mut self) {
        self.note("the network is whole");
        self.heal_quietly();
    }

    fn heal_quietly(&mut self) {
        // What a cut broke may show for a while after it is healed.
        for at in 0..self.nodes.len() {
            let was_cut = (0..self.nodes.len()).any(|other| !self.net.reaches(Addr::Node(at), Addr::Node(other)));
            if was_cut {
                self.disturb(at);
            }
        }
        let held = self.net.heal();
        self.part_again();
        for ((from, to), events) in held {
            // A connection that never came up is given up with the try.
            let is_given_up = |event: &Event| match event {
                Event::ToMember { node, message: Up::Hello { session, .. }, .. } => !self.nodes[*node].tries(*session),
                _ => false,
            };
            let events: Vec<_> = events.into_iter().filter(|event| !is_given_up(event)).collect();
            for event in events {
                let arrival = self.net.arrival(from, to, self.now);
                self.at(arrival, event);
            }
        }
    }

    fn random_change(&mut self) {
        let mut rng = self.changes.rng.clone();
        let endpoint: EndpointName = ENDPOINTS[rng.below(2) as usize].parse().expect("a valid name");
        let name = |at: usize| DEPLOYMENTS[at].parse().expect("a valid name");
        let (blue, green) =
            (DeploymentKey::new(endpoint.clone(), name(0)), DeploymentKey::new(endpoint.clone(), name(1)));
        let key = if rng.chance(600) { blue.clone() } else { green.clone() };
        let truth = self.truth();
        let exists = |key: &DeploymentKey| truth.deployments.get(key).is_some_and(|deployment| !deployment.deleting);
        let (has_endpoint, has_both) = (truth.endpoints.contains_key(&endpoint), exists(&blue) && exists(&green));
        let version = rng.below(1_000) as u32;
        let count = 1 + rng.below(4) as u32;
        let behaviour = if rng.chance(80) { Behaviour::ExitsAtStart } else { Behaviour::Good };
        let share = [0, 1, 10, 50, 90, 100][rng.below(6) as usize];
        let shares = |share: u32| Traffic::from_iter([(name(0), 100 - share), (name(1), share)]);
        let action = match rng.below(100) {
            _ if !has_endpoint => Action::Change(Box::new(endpoint_put(&endpoint))),
            0..25 => Action::Deploy { key, count, version, behaviour },
            25..45 => {
                Action::Change(Box::new(Command::DeploymentScale { key, instance_count: count, if_revision: None }))
            }
            45..70 if has_both => Action::Split { endpoint, split: shares(share) },
            70..80 if has_both => Action::Mirror { endpoint, mirror: Traffic::from_iter([(name(1), share)]) },
            80..88 => Action::Change(Box::new(Command::DeploymentDelete { key: green, if_revision: None })),
            88..91 => Action::Change(Box::new(Command::EndpointDelete { name: endpoint, if_revision: None })),
            91..95 => {
                let node = &self.nodes[rng.below(self.nodes.len() as u64) as usize];
                let name = node.profile.name.clone();
                Action::Change(Box::new(match rng.below(4) {
                    0 => Command::NodeDrain { name, wish: Some(wish(&mut rng)) },
                    1 => Command::NodeDrain { name, wish: None },
                    _ => Command::NodeCordon { name, cordoned: rng.chance(300) },
                }))
            }
            _ if exists(&blue) && !exists(&green) => Action::Split { endpoint, split: Traffic::all_to(name(0)) },
            _ => Action::Deploy { key: blue, count, version: 0, behaviour: Behaviour::Good },
        };
        self.changes.rng = rng;
        self.act(action);
    }

    fn random_fault(&mut self) {
        let mut rng = self.rng.clone();
        let node = rng.below(self.nodes.len() as u64) as usize;
        let member = rng.below(self.members.len() as u64) as usize;
        let other = rng.below(self.nodes.len() as u64) as usize;
        let soon = 200 + rng.below(1_500);
        let later = 2_000 + rng.below(9_000);
        let (fault, mended) = match rng.below(122) {
            0..12 => (Action::KillAndStart(node, soon), None),
            12..22 => (Action::KillNode(node), Some((later, Action::StartNode(node)))),
            22..30 => (Action::KillHost(node), Some((later, Action::StartNode(node)))),
            30..42 => (Action::CrashProcess(node), None),
            42..48 => (Action::Isolate(Addr::Node(node)), Some((later, Action::Heal))),
            48..52 if node != other => (Action::Cut(Addr::Node(node), Addr::Node(other)), Some((later, Action::Heal))),
            52..58 => (Action::Isolate(Addr::Member(member)), Some((later, Action::Heal))),
            58..68 => {
                // A leader that most have left, and nodes that come and go between it and the next one.
                for at in [node, other] {
                    self.after(soon, Event::Do(Action::ResetSession(at)));
                    self.after(later * 2 / 3, Event::Do(Action::ResetSession(at)));
                }
                (Action::Secede(self.log.leader.unwrap_or(member)), Some((later, Action::Heal)))
            }
            68..82 => (Action::KillMember(member), Some((later, Action::StartMember(member)))),
            82..88 => (Action::PauseMember(member, soon + 600), None),
            88..92 => (Action::StepClock(member, if rng.chance(500) { -5_000 } else { 700 }), None),
            92..95 => (Action::ResetSession(node), None),
            100..106 => {
                let nodes = (0..self.nodes.len()).filter(|_| rng.chance(600)).collect();
                (Action::CutOff(nodes), Some((later, Action::Heal)))
            }
            106..110 => {
                let rack = self.nodes[node].profile.labels.get("rack").cloned().unwrap_or_default();
                (Action::KillRack(rack.clone()), Some((later, Action::StartRack(rack))))
            }
            110..114 => (Action::Resize(node, 1 + rng.below(3)), Some((later, Action::Resize(node, 4)))),
            118..122 => {
                // Two start together: one of them is told to wait.
                self.act(Action::Upgrade(format!("alice at {}", self.now)));
                (Action::Upgrade(format!("bob at {}", self.now)), None)
            }
            114..118 => (Action::Flap { node, half_ms: 2_000, until_ms: self.now + 2 * later }, None),
            _ => (Action::SlowFeed(node, soon), Some((later, Action::Heal))),
        };
        self.rng = rng;
        self.act(fault);
        if let Some((delay, action)) = mended {
            self.after(delay, Event::Do(action));
        }
    }
}
