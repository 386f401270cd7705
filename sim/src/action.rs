//! Actions: what users do, and what goes wrong.

use berth_core::{
    model::{DeploymentKey, Disconnect, EndpointName, GpuAsk, Traffic},
    state::Command,
};

use crate::net::Addr;

/// How the processes of a deployment behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// They start and answer.
    #[default]
    Good,
    /// They exit while they start.
    ExitsAtStart,
}

/// Something someone does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A user asks for a change that fits what there is.
    RandomChange,
    /// A user asks for this change.
    Change(Box<Command>),
    /// A user gives an endpoint a new key.
    RotateKey,
    /// Something goes wrong and is mended later.
    RandomFault,
    /// Creates or changes a deployment.
    Deploy { key: DeploymentKey, count: u32, version: u32, behaviour: Behaviour },
    /// Creates or changes a deployment that asks for GPUs.
    DeployOnGpu { key: DeploymentKey, count: u32, version: u32, gpu: GpuAsk },
    /// A user sets a limit or the pool, lends, or gives back.
    RandomQuotaChange,
    /// A user asks for something with GPUs.
    RandomGpuChange,
    /// Something goes wrong with a GPU.
    RandomGpuFault,
    /// A user says what some deployment wants of nodes that cannot be reached.
    RandomPolicy,
    /// A user says it of this one.
    Policy { key: DeploymentKey, disconnect: Disconnect },
    /// A node loses the coordinators until then, whatever else is mended meanwhile.
    Part { node: usize, until_ms: u64 },
    /// The driver of a node reports an XID of its nth card.
    Xid(usize, usize, u32),
    /// A card that was lost is found again.
    MendCard(usize, usize),
    /// A card has this many GiB from now on: who partitions a host gave some of it to somebody else.
    ResizeCard(usize, usize, u64),
    /// A node's driver answers nothing, or answers again.
    HangDriver(usize, bool),
    /// Sets a split.
    Split { endpoint: EndpointName, split: Traffic },
    /// Sets the mirrors.
    Mirror { endpoint: EndpointName, mirror: Traffic },
    /// Starts a stream of requests, in milliseconds between two.
    Load { endpoint: EndpointName, gap_ms: u64, until_ms: u64 },
    /// A node's agent process dies; its replicas live on.
    KillAgent(usize),
    /// A node's agent process and all its replicas die; the host answers.
    KillNode(usize),
    /// A host dies with everything on it, and answers nothing.
    KillHost(usize),
    /// A host and its agent start.
    StartNode(usize),
    /// One process of a node dies.
    CrashProcess(usize),
    /// Two parties no longer reach each other.
    Cut(Addr, Addr),
    /// A node is cut off from all others.
    Isolate(Addr),
    /// A coordinator reaches every node and no other coordinator.
    Secede(usize),
    /// The connection of a node's session breaks.
    ResetSession(usize),
    /// A node loses the coordinators and finds them again, over and over.
    Flap { node: usize, half_ms: u64, until_ms: u64 },
    /// A host has this many cores when its agent next registers.
    Shrink(usize, u64),
    /// The same, and its agent starts again at once.
    Resize(usize, u64),
    /// Nodes lose the coordinators together.
    CutOff(Vec<usize>),
    /// This many percent of the hosts lose power together, the first ones.
    Blackout(u64),
    /// Every host of a rack loses power.
    KillRack(String),
    /// Every host of a rack is started.
    StartRack(String),
    /// Everyone reaches everyone.
    Heal,
    /// The tables of a node's feed take longer.
    SlowFeed(usize, u64),
    /// A coordinator dies.
    KillMember(usize),
    /// The leader dies and starts again after some milliseconds.
    KillLeader(u64),
    /// A node's agent dies and starts again after some milliseconds.
    KillAndStart(usize, u64),
    /// An operator begins to upgrade the fleet, under this name.
    Upgrade(String),
    /// A coordinator starts.
    StartMember(usize),
    /// A coordinator stands still.
    PauseMember(usize, u64),
    /// A coordinator's wall clock jumps.
    StepClock(usize, i64),
    /// Every fault is mended and nothing new begins.
    Settle,
    /// A line of a story that is checked when its time comes.
    Expect(usize),
}
