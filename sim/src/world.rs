//! The world: one virtual clock, one queue of events, and everything they happen to.

use std::collections::BTreeMap;

use berth_core::{
    id::MemberId,
    rng::{Rng, SeedTree},
    state::ClusterState,
    time::{Instant, LogTime},
};

use crate::{
    Bug, Options, Report,
    action::Action,
    event::Event,
    judge::Judge,
    log::Log,
    member::Member,
    net::{Addr, Net},
    node::SimNode,
    promises::Promises,
    report::Tally,
    request::Requests,
    story::Expectation,
    trace::Trace,
    walk::Walk,
    workload::Changes,
};

/// The wall clock at the start of every run: some day, the same for all seeds.
const WALL_START_MS: u64 = 1_800_000_000_000;
/// Milliseconds a run may take to come to rest after the last fault is mended: a back-off of half a minute, a drain of
/// half a minute and some elections.
const REST_MS: u64 = 150_000;
/// Milliseconds between two looks whether it has.
const REST_LOOK_MS: u64 = 1_000;

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: u64,
    pub(crate) seed: SeedTree,
    pub(crate) net: Net,
    pub(crate) log: Log,
    pub(crate) members: Vec<Member>,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) requests: Requests,
    pub(crate) changes: Changes,
    pub(crate) judge: Judge,
    pub(crate) promises: Promises,
    pub(crate) trace: Trace,
    /// Draws that belong to nobody else: elections and losses.
    pub(crate) rng: Rng,
    /// Draws of what uses GPUs and what breaks about them.
    pub(crate) gpu_rng: Rng,
    /// Draws of limits and loans.
    pub(crate) quota_rng: Rng,
    /// Draws of what deployments want of nodes that are cut off, and of who is.
    pub(crate) apart_rng: Rng,
    /// Nodes that are to be cut off from the coordinators, and until when.
    pub(crate) apart: BTreeMap<usize, u64>,
    /// When the changes and faults end.
    pub(crate) settles_at: Option<u64>,
    pub(crate) tally: Tally,
    /// Operators who upgrade the fleet.
    pub(crate) walks: Vec<Walk>,
    /// What happens right after the entry at some length of the log.
    pub(crate) after_entry: Option<(usize, Action)>,
    /// What a story expects, by the order of its lines.
    pub(crate) expectations: Vec<Expectation>,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    events: u64,
    done: bool,
}

/// Returns what a right wall clock shows at a simulated moment.
pub(crate) fn wall_of(now: u64) -> LogTime {
    LogTime::from_millis(WALL_START_MS + now)
}

// === impl World ===

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let seed = SeedTree::new(options.seed);
        let mut shape = seed.child("shape").rng();
        let members = if options.members > 0 { options.members } else { [1, 3, 3, 3, 5][shape.below(5) as usize] };
        let nodes = if options.nodes > 0 { options.nodes } else { 2 + shape.below(5) as usize };
        let mut world = Self {
            options: *options,
            now: 0,
            net: Net::new(seed.child("net").rng()),
            log: Log::default(),
            members: (0..members).map(|at| Member::new(MemberId(at as u64 + 1))).collect(),
            nodes: (0..nodes).map(|at| SimNode::new(at, &seed)).collect(),
            requests: Requests::new(seed.child("requests").rng()),
            changes: Changes::new(seed.child("changes").rng()),
            judge: Judge::new(),
            promises: Promises::new(seed.child("promises").rng()),
            trace: Trace::new(options.whole_trace),
            rng: seed.child("world").rng(),
            gpu_rng: seed.child("gpus").rng(),
            quota_rng: seed.child("quotas").rng(),
            apart_rng: seed.child("apart").rng(),
            apart: BTreeMap::new(),
            settles_at: None,
            tally: Tally::default(),
            walks: Vec::new(),
            after_entry: None,
            expectations: Vec::new(),
            queue: BTreeMap::new(),
            queued: 0,
            events: 0,
            done: false,
            seed,
        };
        // Stories and what-ifs name their hosts; those of a seed stand in racks of two.
        if options.nodes == 0 {
            world.nodes.iter_mut().enumerate().for_each(|(at, node)| node.stand_in(at / 2));
        }
        world.after(0, Event::Election);
        for member in 0..members {
            world.after(member as u64 * 7, Event::MemberTick(member));
        }
        for node in 0..nodes {
            world.after(10 + node as u64 * 13, Event::Do(Action::StartNode(node)));
        }
        world
    }

    /// Runs until the end, the first broken invariant, or the asked number of events.
    pub(crate) fn run(&mut self) {
        while !self.done && self.judge.found.is_empty() {
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now = at;
            self.events += 1;
            if self.options.steps.is_some_and(|steps| self.events > steps) {
                break;
            }
            self.happen(event);
        }
    }

    /// Runs until a moment, to look at what is there then.
    pub(crate) fn run_until(&mut self, moment: u64) {
        while self.judge.found.is_empty() && self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= moment) {
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now = at;
            self.happen(event);
        }
        self.now = moment;
    }

    pub(crate) fn into_report(self) -> Report {
        Report {
            seed: self.options.seed,
            bug: self.options.bug,
            trace_hash: self.trace.hash(),
            violations: self.judge.found,
            requests: self.tally,
            entries: self.log.entries.len() as u64,
            terms: self.log.term.0,
            events: self.events,
            simulated_ms: self.now,
            trace: self.trace.lines().cloned().collect(),
        }
    }

    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now + delay_ms, event);
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    pub(crate) fn instant(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    /// Returns what a coordinator's wall clock shows.
    pub(crate) fn wall(&self, member: usize) -> LogTime {
        LogTime::from_millis((WALL_START_MS + self.now).saturating_add_signed(self.members[member].clock_skew_ms))
    }

    /// Returns whether a bug is planted; never in a release build.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        cfg!(debug_assertions) && self.options.bug == Some(bug)
    }

    pub(crate) fn note(&mut self, line: &str) {
        self.trace.note(self.now, line);
    }

    /// Returns the state of whoever has applied the most.
    pub(crate) fn truth(&self) -> &ClusterState {
        let newest = self.members.iter().max_by_key(|member| member.state.applied);
        &newest.unwrap_or(&self.members[0]).state
    }

    pub(crate) fn leader_or_first(&self) -> usize {
        self.log.leader.unwrap_or(0)
    }

    /// Returns whether a coordinator reaches most of them, itself included.
    pub(crate) fn has_majority(&self, member: usize) -> bool {
        let reached = (0..self.members.len()).filter(|other| {
            self.members[*other].is_running(self.now) && self.net.reaches(Addr::Member(member), Addr::Member(*other))
        });
        reached.count() * 2 > self.members.len()
    }

    /// Counts the entries that were committed before a moment.
    #[cfg(test)]
    pub(crate) fn entries_before(&self, moment: u64) -> usize {
        let moment = wall_of(moment);
        self.log.entries.iter().take_while(|entry| entry.proposed_at < moment).count()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Election => self.elect(),
            Event::MemberTick(member) => self.member_tick(member),
            Event::Commit(proposal) => self.commit(proposal),
            Event::Append { member, boot, upto } => {
                if self.members[member].boot == boot {
                    self.append(member, upto);
                }
            }
            Event::Probed { member, boot, node, epoch, result } => self.probed(member, boot, node, epoch, result),
            Event::ToMember { member, boot, node, node_boot, message } => {
                self.member_hears(member, boot, node, node_boot, message);
            }
            Event::ToNode { node, boot, member, message } => self.node_hears(node, boot, member, message),
            Event::Beat { node, boot } => self.beat(node, boot),
            Event::Tell { node, boot } => self.tell(node, boot),
            Event::Dial { node, boot } => self.dial(node, boot),
            Event::Wake { node, boot } => self.wake_agent(node, boot),
            Event::Agent { node, boot, input } => {
                if self.nodes[node].boot == boot && self.nodes[node].up {
                    self.agent_step(node, *input);
                }
            }
            Event::Launched { node, boot, order, attempt } => self.launched(node, boot, &order, attempt),
            Event::ProcessEnds { node, pid, how } => self.process_ends(node, pid, how),
            Event::RouterWarm { node, boot, version } => {
                if self.nodes[node].boot == boot {
                    self.nodes[node].router.warm(version);
                    self.tell(node, boot);
                }
            }
            Event::TableSaved { node, boot } => {
                if self.nodes[node].boot == boot {
                    self.nodes[node].saved_table = self.nodes[node].router.table.clone();
                }
            }
            Event::Arrive { stream } => self.arrive(stream),
            Event::GateAsk(attempt) => self.gate_ask(attempt),
            Event::WaitEnds { node, boot, replica, waiter, otherwise } => {
                self.wait_ends(node, boot, replica, waiter, otherwise);
            }
            Event::WorkDone { node, boot, attempt } => self.work_done(node, boot, attempt),
            Event::Answered { attempt, result } => self.answered(attempt, result),
            Event::Do(action) => self.act(action),
            Event::Look => self.look(),
            Event::Walk(nth) => self.walk_on(nth),
            Event::Zombie(entry) => self.zombie(*entry),
            Event::Change { change, tries } => self.ask_change(change, tries),
            Event::ChangeAnswered { change, tries, outcome } => self.change_answered(change, tries, outcome),
        }
    }

    /// Looks whether everything has come to rest, and ends the run when it has or should have.
    pub(crate) fn look_for_rest(&mut self, began: u64) {
        let is_quiet = self.unrest().is_empty() && self.changes.is_quiet() && self.requests.is_quiet();
        if !is_quiet && self.now < began + REST_MS {
            self.settles_at = Some(began);
            self.after(REST_LOOK_MS, Event::Do(Action::Settle));
            return;
        }
        self.judge_end();
        self.done = true;
    }
}
