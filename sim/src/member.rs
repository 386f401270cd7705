//! A coordinator: the shell around a state and, on the leader, a controller. Elections and the log are fake.

use std::collections::BTreeMap;

use berth_core::{
    agent::Assignments,
    controller::{Controller, Effect, GateProbe, Input, LogClock, Outcome},
    error::{Code, Error},
    id::{LogIndex, MemberId, NodeEpoch, Term},
    model::{Node, NodeState},
    state::{Applied, ClusterState, Command, Entry, RegisterNode, Reply},
    traffic::{change::TableChange, table::RouteTable},
};

use crate::{
    Bug,
    event::{Down, Event, Up},
    judge::warmths,
    log::{Origin, PROPOSAL_DEADLINE_MS, Proposal},
    net::Addr,
    world::World,
};

/// Milliseconds between a coordinator's ticks.
const TICK_MS: u64 = 100;
/// Milliseconds between two looks at who leads.
const ELECTION_LOOK_MS: u64 = 50;
/// Milliseconds without a leader before others stand for election.
const ELECTION_TIMEOUT_MS: u64 = 300;

/// Milliseconds without a leader after which a coordinator lets its feeds fall silent.
const LEADERLESS_FEED_MS: u64 = 2_000;

/// A coordinator.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) up: bool,
    pub(crate) boot: u64,
    pub(crate) paused_until: u64,
    pub(crate) clock_skew_ms: i64,
    /// What it stamps proposals with where its wall clock went back.
    pub(crate) log_clock: LogClock,
    pub(crate) state: ClusterState,
    pub(crate) table: RouteTable,
    pub(crate) controller: Option<Controller>,
    /// The term it believes to lead in.
    pub(crate) leads: Option<Term>,
    sessions: BTreeMap<usize, Session>,
    feeds: BTreeMap<usize, Feed>,
    beat_at: u64,
    /// When it last heard of a leader that has a majority. A member that hears of none holds an old table and must not
    /// keep its feeds alive with it.
    leader_heard_at: u64,
}

/// A node's session with its leader.
#[derive(Debug)]
struct Session {
    id: u64,
    epoch: Option<NodeEpoch>,
    sent: Option<Assignments>,
}

/// A node's feed of route tables.
#[derive(Debug)]
struct Feed {
    id: u64,
    sent: RouteTable,
}

// === impl Member ===

impl Member {
    pub(crate) fn new(id: MemberId) -> Self {
        Self {
            id,
            up: true,
            boot: 1,
            paused_until: 0,
            clock_skew_ms: 0,
            log_clock: LogClock::default(),
            state: ClusterState::new(),
            table: RouteTable::default(),
            controller: None,
            leads: None,
            sessions: BTreeMap::new(),
            feeds: BTreeMap::new(),
            beat_at: 0,
            leader_heard_at: 0,
        }
    }

    pub(crate) fn is_running(&self, now: u64) -> bool {
        self.up && now >= self.paused_until
    }

    /// Returns whether it has lately heard of a leader.
    pub(crate) fn follows(&self, now: u64) -> bool {
        now <= self.leader_heard_at + LEADERLESS_FEED_MS
    }
}

// === impl World ===

impl World {
    // --- leadership ---

    pub(crate) fn elect(&mut self) {
        self.after(ELECTION_LOOK_MS, Event::Election);
        self.depose();
        let able: Vec<usize> = (0..self.members.len())
            .filter(|at| self.members[*at].is_running(self.now) && self.has_majority(*at))
            .collect();
        let knows = |leader: usize| able.contains(&leader) && self.members[leader].leads == Some(self.log.term);
        if self.log.leader.is_some_and(knows) {
            self.log.missing_since = None;
            self.hear_leader();
            self.catch_up();
            return;
        }
        let since = *self.log.missing_since.get_or_insert(self.now);
        if self.now < since + ELECTION_TIMEOUT_MS && self.log.term > Term(0) {
            return;
        }
        let Some(winner) = self.rng.pick(&able).copied() else { return };
        // An entry its leader sent out before it was gone may have reached a majority all the same.
        let left: Vec<u64> = self.log.proposals.keys().copied().collect();
        for proposal in left {
            if self.rng.chance(500) && self.log.proposals[&proposal].term == self.log.term {
                let entry = self.log.proposals[&proposal].entry.clone();
                self.log.entries.push(entry);
            }
        }
        self.log.term = self.log.term.next();
        self.log.leader = Some(winner);
        self.log.missing_since = None;
        let term = self.log.term;
        self.note(&format!("coordinator c{} leads in term {term}", winner + 1));
        self.append(winner, self.log.entries.len());
        let seed = self.seed.child("controllers");
        let member = &mut self.members[winner];
        member.leads = Some(term);
        member.controller = Some(Controller::new(term, member.id, seed));
        member.sessions.clear();
        if self.log.entries.is_empty() {
            let init = Command::ClusterInit { cluster_id: "sim".to_owned() };
            self.propose(winner, self.entry_of(winner, None, init), Origin::Change { change: usize::MAX, tries: 0 });
        }
        self.leader_step(winner, Input::StateApplied);
        if self.has(Bug::TrustUnheard) {
            self.pretend_all_was_heard(winner);
        }
    }

    /// Ends the leadership of those who can hear of a newer term.
    fn depose(&mut self) {
        let Some(leader) = self.log.leader else { return };
        for at in 0..self.members.len() {
            let hears =
                self.net.reaches(Addr::Member(at), Addr::Member(leader)) && self.members[at].is_running(self.now);
            let is_old = self.members[at].leads.is_some_and(|term| term < self.log.term);
            if is_old && hears && self.members[leader].up {
                self.step_down(at);
            }
        }
    }

    fn step_down(&mut self, at: usize) {
        self.members[at].leads = None;
        self.members[at].controller = None;
        let sessions = std::mem::take(&mut self.members[at].sessions);
        for (node, session) in sessions {
            self.tell_node(at, node, Down::End { session: session.id });
        }
    }

    fn hear_leader(&mut self) {
        let Some(leader) = self.log.leader else { return };
        for at in 0..self.members.len() {
            if self.net.reaches(Addr::Member(at), Addr::Member(leader)) {
                self.members[at].leader_heard_at = self.now;
            }
        }
    }

    /// Sends followers what they lack.
    fn catch_up(&mut self) {
        let Some(leader) = self.log.leader else { return };
        let upto = self.log.entries.len();
        for at in 0..self.members.len() {
            if at != leader && (self.members[at].state.applied.0 as usize) < upto {
                self.send_entries(leader, at, upto);
            }
        }
    }

    fn send_entries(&mut self, leader: usize, to: usize, upto: usize) {
        if self.net.reaches(Addr::Member(leader), Addr::Member(to)) && self.members[to].up {
            let arrival = self.net.arrival(Addr::Member(leader), Addr::Member(to), self.now);
            let boot = self.members[to].boot;
            self.at(arrival, Event::Append { member: to, boot, upto });
        }
    }

    pub(crate) fn kill_member(&mut self, at: usize) {
        if !self.members[at].up {
            return;
        }
        self.note(&format!("fault: coordinator c{} dies", at + 1));
        let member = &mut self.members[at];
        (member.up, member.leads, member.controller) = (false, None, None);
        member.boot += 1;
        let sessions = std::mem::take(&mut member.sessions);
        let feeds = std::mem::take(&mut member.feeds);
        for (node, session) in sessions {
            self.tell_node(at, node, Down::End { session: session.id });
        }
        for (node, feed) in feeds {
            self.tell_node(at, node, Down::FeedEnds { feed: feed.id });
        }
    }

    /// Starts a coordinator from what its disk holds.
    pub(crate) fn start_member(&mut self, at: usize) {
        if self.members[at].up {
            return;
        }
        self.note(&format!("coordinator c{} starts", at + 1));
        let now = self.instant();
        let member = &mut self.members[at];
        member.up = true;
        member.state = ClusterState::from_snapshot(member.state.to_snapshot());
        member.table = RouteTable::of(&member.state);
        member.log_clock = LogClock::default();
        member.log_clock.follow(member.state.time, now);
    }

    // --- the log ---

    pub(crate) fn entry_of(&self, member: usize, change: Option<usize>, command: Command) -> Entry {
        let request_id = change.map(|change| self.changes.request_id(change));
        let fingerprint = change.map_or(0, |change| change as u64 + 1);
        let principal = if request_id.is_some() { "user" } else { "cluster" }.to_owned();
        let proposed_at = self.members[member].log_clock.stamp(self.wall(member), self.instant());
        Entry { proposed_at, request_id, fingerprint, principal, command }
    }

    pub(crate) fn propose(&mut self, member: usize, entry: Entry, origin: Origin) {
        let term = self.members[member].leads.unwrap_or_default();
        let boot = self.members[member].boot;
        let deadline = self.now + PROPOSAL_DEADLINE_MS;
        let proposal = self.log.propose(Proposal { member, boot, term, entry, origin, deadline });
        let at = (self.now + 2 + self.rng.below(5)).max(self.log.last_commit_at);
        self.log.last_commit_at = at;
        if self.has(Bug::AckBeforeCommit)
            && let Origin::Change { change, tries } = origin
        {
            let early = Applied { reply: Reply::Done { revision: LogIndex(0) }, events: Vec::new() };
            self.answer_change(change, tries, Some((LogIndex(0), early.reply)));
        }
        self.at(at, Event::Commit(proposal));
    }

    pub(crate) fn commit(&mut self, id: u64) {
        let Some(proposal) = self.log.proposals.get(&id) else { return };
        let (member, boot, term) = (proposal.member, proposal.boot, proposal.term);
        let is_same = self.members[member].boot == boot && self.members[member].leads == Some(term);
        let leads = is_same && self.log.leader == Some(member) && self.log.term == term;
        if leads && self.members[member].is_running(self.now) && self.has_majority(member) {
            // A leader's log keeps the order in which it took proposals, however long a majority was away.
            let until: Vec<u64> = self.log.proposals.range(..=id).map(|(id, _)| *id).collect();
            for id in until {
                let same =
                    |proposal: &Proposal| (proposal.member, proposal.boot, proposal.term) == (member, boot, term);
                if self.log.proposals.get(&id).is_some_and(same) {
                    self.commit_one(id);
                }
            }
            return;
        }
        if is_same && self.now < proposal.deadline {
            self.after(ELECTION_LOOK_MS, Event::Commit(id));
            return;
        }
        let Some(proposal) = self.log.proposals.remove(&id) else { return };
        if self.has(Bug::ForgetPlanTerm) && matches!(proposal.entry.command, Command::PlanCommit(_)) {
            self.hand_on(proposal.entry);
            return;
        }
        if is_same {
            self.finish(member, proposal.origin, Outcome::Failed(Error::new(Code::Unknown, "no majority answered")));
        }
    }

    fn commit_one(&mut self, id: u64) {
        let Some(Proposal { member, entry, origin, .. }) = self.log.proposals.remove(&id) else { return };
        self.log.entries.push(entry);
        let upto = self.log.entries.len();
        self.append(member, upto);
        let reply = self.log.applied[upto - 1].reply.clone();
        self.finish(member, origin, Outcome::Applied { index: LogIndex(upto as u64), reply });
        for other in (0..self.members.len()).filter(|other| *other != member) {
            self.send_entries(member, other, upto);
        }
        if let Some((_, action)) = self.after_entry.take_if(|(entry, _)| *entry == upto) {
            self.act(action);
        }
    }

    /// Applies entries up to `upto` at a coordinator.
    pub(crate) fn append(&mut self, at: usize, upto: usize) {
        if !self.members[at].up {
            return;
        }
        let from = self.members[at].state.applied.0 as usize;
        for index in from..upto {
            self.apply(at, index);
        }
        if from < upto {
            let member = &mut self.members[at];
            member.table = member.table.advanced_to(&member.state);
            self.leader_step(at, Input::StateApplied);
            self.push_orders(at);
            self.push_tables(at);
        }
    }

    fn apply(&mut self, at: usize, index: usize) {
        let entry = self.log.entries[index].clone();
        let is_first = self.log.applied.len() == index;
        let apart = self.members.iter().map(|member| member.clock_skew_ms.unsigned_abs()).max().unwrap_or_default();
        let apart = berth_core::time::Millis(1_000 + apart);
        let before =
            if is_first { warmths(&self.members[at].state, entry.proposed_at, apart) } else { BTreeMap::new() };
        let applied = self.apply_with_bugs(at, LogIndex(index as u64 + 1), &entry);
        let now = self.instant();
        let member = &mut self.members[at];
        member.log_clock.follow(member.state.time, now);
        if !is_first {
            self.judge_same(at, index, &applied);
            return;
        }
        self.trace.mix(&[self.now, index as u64]);
        for event in &applied.events {
            let text = event.text.clone();
            self.note(&text);
        }
        self.judge_entry(at, &before, &entry, &applied.reply);
        self.log.applied.push(applied);
    }

    /// Lets the twin of an agent that has been replaced since say again what it once said.
    pub(crate) fn zombie(&mut self, entry: Entry) {
        let Some(leader) = self.log.leader.filter(|leader| self.members[*leader].leads == Some(self.log.term)) else {
            return;
        };
        let Command::ReplicaReports { node, epoch, .. } = &entry.command else { return };
        if self.members[leader].state.nodes.get(node).is_some_and(|known| known.epoch > *epoch) {
            self.propose(leader, entry, Origin::Nobody);
        }
    }

    fn finish(&mut self, member: usize, origin: Origin, outcome: Outcome) {
        match origin {
            Origin::Nobody => {}
            Origin::Controller(ticket) => self.leader_step(member, Input::Proposed { ticket, outcome }),
            Origin::Change { change, tries } => {
                let outcome = match outcome {
                    Outcome::Applied { index, reply } => Some((index, reply)),
                    Outcome::Failed(_) => None,
                };
                self.answer_change(change, tries, outcome);
            }
            Origin::Register { node, node_boot, session } => self.registered(member, node, node_boot, session, outcome),
            Origin::Reports { node, session, upto } => {
                if let Outcome::Applied { index, .. } = outcome {
                    self.tell_node(member, node, Down::ReportsTaken { session, upto });
                    if self.rng.chance(50) {
                        let entry = self.log.entries[index.0 as usize - 1].clone();
                        let delay = self.rng.below(8_000);
                        self.after(delay, Event::Zombie(Box::new(entry)));
                    }
                }
            }
        }
    }

    // --- the controller ---

    pub(crate) fn member_tick(&mut self, at: usize) {
        self.after(TICK_MS, Event::MemberTick(at));
        if !self.members[at].is_running(self.now) {
            return;
        }
        self.leader_step(at, Input::Tick);
        if self.now >= self.members[at].beat_at {
            self.members[at].beat_at = self.now + 1_000;
            if !self.members[at].follows(self.now) {
                return;
            }
            let version = self.members[at].table.version;
            let feeds: Vec<_> = self.members[at].feeds.iter().map(|(node, feed)| (*node, feed.id)).collect();
            for (node, feed) in feeds {
                self.tell_node(at, node, Down::TableBeat { feed, version });
            }
        }
    }

    pub(crate) fn leader_step(&mut self, at: usize, input: Input) {
        let now = self.instant();
        let input = self.input_with_bugs(input);
        let shown = self.state_with_bugs(at);
        let member = &mut self.members[at];
        let Some(controller) = &mut member.controller else { return };
        let was_established = controller.is_established();
        let effects = controller.step(input, shown.as_ref().unwrap_or(&member.state), now);
        let is_established = controller.is_established();
        for effect in effects {
            self.carry_out(at, effect);
        }
        if is_established && !was_established {
            self.push_orders(at);
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Propose { ticket, mut command } => {
                self.judge_verdict(at, &command);
                self.spoil_plan(at, &mut command);
                let entry = self.entry_of(at, None, *command);
                self.propose(at, entry, Origin::Controller(ticket));
            }
            Effect::ProbeGate { node, epoch, .. } => {
                let Some(target) = self.nodes.iter().position(|known| known.id == node) else { return };
                let reaches = self.net.reaches(Addr::Member(at), Addr::Node(target)) && self.nodes[target].host_up;
                let (result, delay) = match (reaches, self.nodes[target].up) {
                    (false, _) => (GateProbe::Unreachable, 300),
                    (true, true) => (GateProbe::Answered, 2),
                    (true, false) => (GateProbe::Refused, 2),
                };
                let boot = self.members[at].boot;
                self.after(delay, Event::Probed { member: at, boot, node: target, epoch, result });
            }
            Effect::CloseSession { node, epoch, .. } => {
                let Some(target) = self.nodes.iter().position(|known| known.id == node) else { return };
                let is_meant = |session: &Session| session.epoch == Some(epoch);
                if !self.members[at].sessions.get(&target).is_some_and(is_meant) {
                    return;
                }
                if let Some(session) = self.members[at].sessions.remove(&target) {
                    self.note(&format!("c{} ends the session of n{}", at + 1, target + 1));
                    self.tell_node(at, target, Down::End { session: session.id });
                }
                self.leader_step(at, Input::SessionClosed { node, epoch });
            }
            // The tick every 100 ms comes soon enough.
            Effect::WakeAt(_) => {}
        }
    }

    pub(crate) fn probed(&mut self, at: usize, boot: u64, node: usize, epoch: NodeEpoch, result: GateProbe) {
        if self.members[at].boot == boot && self.members[at].is_running(self.now) {
            let node = self.nodes[node].id;
            self.leader_step(at, Input::GateProbed { node, epoch, result });
        }
    }

    // --- sessions ---

    pub(crate) fn tell_node(&mut self, member: usize, node: usize, message: Down) {
        let boot = self.nodes[node].boot;
        let (from, to) = (Addr::Member(member), Addr::Node(node));
        if !self.net.reaches(from, to) {
            self.net.hold(from, to, Event::ToNode { node, boot, member, message });
            return;
        }
        let is_feed = matches!(message, Down::Table { .. } | Down::TableBeat { .. });
        let slower = if is_feed { self.net.feed_delay(node) } else { 0 };
        let arrival = if slower > 0 { self.now + slower } else { self.net.arrival(from, to, self.now) };
        self.at(arrival, Event::ToNode { node, boot, member, message });
    }

    pub(crate) fn member_hears(&mut self, at: usize, boot: u64, node: usize, node_boot: u64, message: Up) {
        let member = &self.members[at];
        if !member.up || member.boot != boot {
            return;
        }
        if !member.is_running(self.now) {
            let later = self.members[at].paused_until;
            self.at(later, Event::ToMember { member: at, boot, node, node_boot, message });
            return;
        }
        match message {
            Up::Hello { session, epoch } => self.hello(at, node, node_boot, session, epoch),
            Up::Heartbeat { session, heartbeat } => {
                if self.session_is(at, node, session) {
                    self.judge.heard_at.insert(self.nodes[node].id, self.now);
                    self.tell_node(at, node, Down::Heard { session });
                    self.leader_step(at, Input::Heartbeat(heartbeat));
                } else {
                    self.tell_node(at, node, Down::End { session });
                }
            }
            Up::Reports { session, reports } => {
                let Some(upto) = reports.keys().next_back().copied() else { return };
                if self.session_is(at, node, session)
                    && let Some(epoch) = self.members[at].sessions[&node].epoch
                {
                    let reports = reports.into_values().collect();
                    let command = Command::ReplicaReports { node: self.nodes[node].id, epoch, reports };
                    let entry = self.entry_of(at, None, command);
                    self.propose(at, entry, Origin::Reports { node, session, upto });
                }
            }
            Up::Watch { feed, have } => self.watch(at, node, feed, have),
            Up::Reset { session } => {
                if self.session_is(at, node, session)
                    && let Some(ended) = self.members[at].sessions.remove(&node)
                    && let Some(epoch) = ended.epoch
                {
                    self.leader_step(at, Input::SessionClosed { node: self.nodes[node].id, epoch });
                }
            }
        }
    }

    fn session_is(&self, at: usize, node: usize, session: u64) -> bool {
        self.members[at].sessions.get(&node).is_some_and(|known| known.id == session)
    }

    fn hello(&mut self, at: usize, node: usize, node_boot: u64, session: u64, epoch: Option<NodeEpoch>) {
        let leads = self.members[at].controller.as_ref().is_some_and(Controller::is_established);
        if !leads {
            let leader = self.log.leader.filter(|leader| self.net.reaches(Addr::Member(at), Addr::Member(*leader)));
            self.tell_node(at, node, Down::Redirect { session, leader });
            return;
        }
        let id = self.nodes[node].id;
        // Whoever registers is not silent any more, before its entry is answered.
        self.judge.heard_at.insert(id, self.now);
        let said = &self.nodes[node].profile;
        let is_same = |known: &&Node| known.state != NodeState::Lost && known.profile.is_of(said);
        let known = self.members[at].state.nodes.get(&id).filter(is_same);
        let resumed = known.map(|known| known.epoch).filter(|known| Some(*known) == epoch);
        self.members[at].sessions.insert(node, Session { id: session, epoch: None, sent: None });
        match resumed {
            Some(epoch) => self.welcome(at, node, session, epoch),
            None => {
                let register = RegisterNode {
                    node: id,
                    profile: self.nodes[node].profile.clone(),
                    epoch_seen: self.nodes[node].epoch_seen(),
                    held: epoch.unwrap_or_default(),
                    takes_over: false,
                };
                let entry = self.entry_of(at, None, Command::NodeRegister(Box::new(register)));
                self.propose(at, entry, Origin::Register { node, node_boot, session });
            }
        }
    }

    fn registered(&mut self, at: usize, node: usize, _boot: u64, session: u64, outcome: Outcome) {
        if !self.session_is(at, node, session) {
            return;
        }
        match outcome {
            Outcome::Applied { reply: Reply::Registered { epoch }, .. } => self.welcome(at, node, session, epoch),
            _ => {
                self.members[at].sessions.remove(&node);
                self.tell_node(at, node, Down::End { session });
            }
        }
    }

    fn welcome(&mut self, at: usize, node: usize, session: u64, epoch: NodeEpoch) {
        if let Some(known) = self.members[at].sessions.get_mut(&node) {
            known.epoch = Some(epoch);
        }
        self.judge.heard_at.insert(self.nodes[node].id, self.now);
        let term = self.members[at].leads.unwrap_or_default();
        self.tell_node(at, node, Down::Welcome { session, epoch, term });
        self.leader_step(at, Input::SessionOpened { node: self.nodes[node].id, epoch });
        self.push_orders(at);
    }

    /// Sends every session the orders that differ from the last ones.
    fn push_orders(&mut self, at: usize) {
        let member = &self.members[at];
        if !member.controller.as_ref().is_some_and(Controller::is_established) {
            return;
        }
        let open: Vec<_> =
            member.sessions.iter().filter(|(_, session)| session.epoch.is_some()).map(|(node, _)| *node).collect();
        for node in open {
            let Some(orders) = Assignments::of(&self.members[at].state, self.nodes[node].id) else { continue };
            let Some(session) = self.members[at].sessions.get_mut(&node) else { continue };
            let is_same = |sent: &Assignments| {
                (sent.term, sent.epoch, &sent.replicas) == (orders.term, orders.epoch, &orders.replicas)
            };
            if session.epoch != Some(orders.epoch) || session.sent.as_ref().is_some_and(is_same) {
                continue;
            }
            session.sent = Some(orders.clone());
            let session = session.id;
            self.tell_node(at, node, Down::Orders { session, orders });
        }
    }

    // --- tables ---

    fn watch(&mut self, at: usize, node: usize, feed: u64, have: Option<LogIndex>) {
        let table = self.members[at].table.clone();
        self.members[at].feeds.insert(node, Feed { id: feed, sent: table.clone() });
        if have != Some(table.version) {
            self.tell_node(at, node, Down::Table { feed, change: TableChange::Full(table) });
        }
    }

    fn push_tables(&mut self, at: usize) {
        let table = self.members[at].table.clone();
        let due = self.members[at].feeds.iter_mut().filter(|(_, feed)| feed.sent.version != table.version);
        let mut messages = Vec::new();
        for (node, feed) in due {
            let change = TableChange::Delta(feed.sent.delta_to(&table));
            feed.sent = table.clone();
            messages.push((*node, Down::Table { feed: feed.id, change }));
        }
        for (node, message) in messages {
            self.tell_node(at, node, message);
        }
    }
}
