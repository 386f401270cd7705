//! Replicas: one instance of one generation of a deployment, on one node.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DeploymentKey, DeviceGrant, ReserveSpend};
use crate::{
    id::{Generation, LogIndex, NodeId, ReplicaId},
    time::LogTime,
    units::Resources,
};

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// A place is held on a node.
    Placed,
    /// The node fetches assets and builds the environment.
    Preparing,
    /// The process runs and does not answer yet.
    Starting,
    /// It answered its warm-up; pinned and mirrored calls may use it.
    Warm,
    /// The split may pick it.
    Serving,
    /// It finishes what it has and gets nothing new.
    Draining,
    /// It is to be gone; the place is held until the node confirms.
    Stopped,
    /// It could not start or keep running; the place is held until the node confirms it is gone.
    Failed,
}

/// Restarts from which on a replica that waits for the next one is in a loop: once is bad luck, twice a pattern.
const RESTARTS_LOOP: u32 = 3;

/// A replica as the cluster holds it. Its record goes when its node confirms that nothing of it is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its id, never used again.
    pub id: ReplicaId,
    /// Its endpoint and deployment.
    pub key: DeploymentKey,
    /// The generation of the spec it runs.
    pub generation: Generation,
    /// The node that holds its place.
    pub node: NodeId,
    /// What it holds there.
    pub resources: Resources,
    /// The devices it holds there.
    pub devices: Vec<DeviceGrant>,
    /// The replica it was placed for, when that one was lost or its node is being emptied.
    pub replaces: Option<ReplicaId>,
    /// The reserve slot whose place it took, and what for.
    pub reserve_spent: Option<ReserveSpend>,
    /// The more important deployment it ends for.
    pub made_room_for: Option<DeploymentKey>,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// Why it is there, for people: `placed for instance 2 of 2`, `init() raised: …`.
    pub reason: String,
    /// Whether its node is lost: nothing is known of it until the node returns.
    pub lost: bool,
    /// How often its process was started again.
    pub restarts: u32,
    /// When it is tried again; zero while nothing is waited for.
    pub retry_at: LogTime,
    /// The process id on its node; zero when there is none.
    pub pid: u32,
    /// The address its process listens on, for people; only its own node's gate connects to it.
    pub address: String,
    /// When it was placed.
    pub placed_at: LogTime,
    /// When it entered its state.
    pub since: LogTime,
    /// When its drain ends, finished or not.
    pub drain_deadline: LogTime,
    /// The entry that last changed its state; a route table of this version or newer shows it.
    pub revision: LogIndex,
}

// === impl ReplicaState ===

impl ReplicaState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Placed,
        Self::Preparing,
        Self::Starting,
        Self::Warm,
        Self::Serving,
        Self::Draining,
        Self::Stopped,
        Self::Failed,
    ];

    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Preparing => "preparing",
            Self::Starting => "starting",
            Self::Warm => "warm",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Returns whether it is on its way to serving, or there.
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::Placed | Self::Preparing | Self::Starting | Self::Warm | Self::Serving)
    }

    /// Returns whether a life may go from `self` to `next`.
    ///
    /// Forward along the list; back to `Preparing` or `Starting` when a process is started again; to `Draining`,
    /// `Stopped` or `Failed` from wherever that makes sense.
    pub fn may_become(self, next: Self) -> bool {
        use ReplicaState as S;
        match next {
            S::Placed => false,
            S::Preparing => matches!(self, S::Placed | S::Starting | S::Warm | S::Serving),
            S::Starting => matches!(self, S::Placed | S::Preparing | S::Warm | S::Serving),
            S::Warm => matches!(self, S::Placed | S::Preparing | S::Starting | S::Serving),
            S::Serving => self == S::Warm,
            S::Draining => matches!(self, S::Warm | S::Serving),
            S::Stopped => !matches!(self, S::Stopped),
            S::Failed => self.is_wanted(),
        }
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for ReplicaState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.word() == word).ok_or(())
    }
}

// === impl Replica ===

impl Replica {
    /// Returns whether the split may pick it now.
    pub fn is_ready(&self) -> bool {
        self.state == ReplicaState::Serving && !self.lost
    }

    /// Returns whether its process ends again and again, and waits before it is started once more.
    pub fn is_crash_looping(&self) -> bool {
        self.restarts >= RESTARTS_LOOP && self.retry_at > LogTime::default() && !self.lost
    }

    /// Returns the word people and programs read: its state, or what makes that state misleading.
    pub fn word(&self) -> &'static str {
        match self.state {
            _ if self.lost => "lost",
            ReplicaState::Preparing | ReplicaState::Starting if self.is_crash_looping() => "crash_looping",
            state => state.word(),
        }
    }

    /// Returns whether it counts towards its deployment's instances.
    pub fn is_wanted(&self) -> bool {
        self.state.is_wanted() && !self.lost
    }
}
