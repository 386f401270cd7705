//! Events: everything that can happen at a moment of the virtual clock.

use std::collections::BTreeMap;

use berth_core::{
    agent::{self, Assignments},
    controller::{GateProbe, Heartbeat},
    id::{LogIndex, NodeEpoch, ReplicaId, Term},
    state::{Entry, ReplicaReport, Reply},
    traffic::{
        admission::{NotStarted, Waiter},
        change::TableChange,
        retry::Failure,
    },
};

use crate::action::Action;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// Whoever leads is looked at.
    Election,
    /// A coordinator's clock ticks.
    MemberTick(usize),
    /// A proposal is held by a majority, if there is one.
    Commit(u64),
    /// Entries reach a follower.
    Append { member: usize, boot: u64, upto: usize },
    /// A probe of a gate came back to a leader.
    Probed { member: usize, boot: u64, node: usize, epoch: NodeEpoch, result: GateProbe },
    /// A message reaches a coordinator.
    ToMember { member: usize, boot: u64, node: usize, node_boot: u64, message: Up },
    /// A message reaches a node.
    ToNode { node: usize, boot: u64, member: usize, message: Down },
    /// A node's heartbeat is due.
    Beat { node: usize, boot: u64 },
    /// A node has something to tell that waits for no heartbeat.
    Tell { node: usize, boot: u64 },
    /// A node looks after its connections.
    Dial { node: usize, boot: u64 },
    /// An agent asked to be woken.
    Wake { node: usize, boot: u64 },
    /// Something an agent asked for is done.
    Agent { node: usize, boot: u64, input: Box<agent::Input> },
    /// A launch is done.
    Launched { node: usize, boot: u64, order: std::sync::Arc<agent::ReplicaOrder>, attempt: u64 },
    /// A process ends.
    ProcessEnds { node: usize, pid: u32, how: &'static str },
    /// A router's connections to the gates of a version are up.
    RouterWarm { node: usize, boot: u64, version: LogIndex },
    /// A router's table is on its disk.
    TableSaved { node: usize, boot: u64 },
    /// A request arrives at some ingress.
    Arrive { stream: usize },
    /// A request reaches a gate.
    GateAsk(Attempt),
    /// A request has waited long enough.
    WaitEnds { node: usize, boot: u64, replica: ReplicaId, waiter: Waiter, otherwise: NotStarted },
    /// A replica is done with a request.
    WorkDone { node: usize, boot: u64, attempt: Attempt },
    /// What became of an attempt reaches its ingress.
    Answered { attempt: Attempt, result: Result<(), Failure> },
    /// Something someone does.
    Do(Action),
    /// Whoever watches events reads on.
    Look,
    /// Whoever upgrades the fleet looks how far it is.
    Walk(usize),
    /// An agent that was replaced while it slept wakes up and reports.
    Zombie(Box<Entry>),
    /// A change reaches a coordinator, or its time to answer is over.
    Change { change: usize, tries: u32 },
    /// The answer to a change reaches its client.
    ChangeAnswered { change: usize, tries: u32, outcome: Option<(LogIndex, Reply)> },
}

/// What a node says to a coordinator.
#[derive(Debug)]
pub(crate) enum Up {
    Hello {
        session: u64,
        epoch: Option<NodeEpoch>,
    },
    Heartbeat {
        session: u64,
        heartbeat: Heartbeat,
    },
    Reports {
        session: u64,
        reports: BTreeMap<u64, ReplicaReport>,
    },
    Watch {
        feed: u64,
        have: Option<LogIndex>,
    },
    /// The connection of a dead process was reset.
    Reset {
        session: u64,
    },
}

/// What a coordinator says to a node.
#[derive(Debug)]
pub(crate) enum Down {
    Redirect { session: u64, leader: Option<usize> },
    Welcome { session: u64, epoch: NodeEpoch, term: Term },
    Orders { session: u64, orders: Assignments },
    Heard { session: u64 },
    ReportsTaken { session: u64, upto: u64 },
    End { session: u64 },
    Table { feed: u64, change: TableChange },
    TableBeat { feed: u64, version: LogIndex },
    FeedEnds { feed: u64 },
}

/// One attempt of a request at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attempt {
    pub(crate) request: u64,
    pub(crate) nth: u32,
    pub(crate) ingress: usize,
    pub(crate) ingress_boot: u64,
    pub(crate) gate: usize,
    pub(crate) replica: ReplicaId,
    pub(crate) may_queue: bool,
    pub(crate) is_mirror: bool,
    /// Whether its ingress knew by then that nobody sends to the replica any more: its gate will not start it.
    pub(crate) is_late: bool,
}

/// Why a gate did not start an attempt.
pub(crate) fn not_started(why: NotStarted) -> Result<(), Failure> {
    Err(Failure::NotStarted(why))
}
