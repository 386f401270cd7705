//! Nodes: hosts that hold replicas.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Device, DeviceCondition, DeviceGrant, DeviceState, NodeName, Settings};
use crate::{
    id::{LogIndex, NodeEpoch, NodeId},
    time::{LogTime, Millis},
    units::Resources,
};

/// What the cluster makes of a node's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is heard from.
    Ready,
    /// It was silent for a while: nothing new is placed there, traffic goes on.
    Suspect,
    /// It was silent for too long: its replicas are replaced.
    Lost,
}

/// The wish that a node be empty. It says nothing about whether the node is heard from, and stays until it is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDrain {
    /// Why, for people.
    pub reason: String,
    /// When it was asked for.
    pub started_at: LogTime,
    /// From when on requests that still run are cut.
    pub deadline: LogTime,
    /// Whether replicas without a replacement go at the deadline too.
    pub force: bool,
    /// Who asked.
    pub by: DrainBy,
    /// When nothing was left on the node.
    pub finished_at: Option<LogTime>,
    /// Replicas that left.
    pub moved: u64,
    /// Requests that were cut.
    pub cut_requests: u64,
}

/// Who wants a node empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainBy {
    /// An operator, for a reason of theirs.
    Operator,
    /// The node's own agent, which ends: the wish ends when it is back.
    Agent,
    /// A walk over the fleet that upgrades its agents and withdraws the wish itself.
    Upgrade,
}

/// What a node says about itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProfile {
    /// Its name.
    pub name: NodeName,
    /// Free labels; `zone` and `rack` are failure domains.
    pub labels: BTreeMap<String, String>,
    /// What it has.
    pub capacity: Resources,
    /// Its GPUs.
    pub devices: Vec<Device>,
    /// Where other nodes reach its gate.
    pub gate_address: String,
    /// Where callers reach its ingress.
    pub ingress_address: String,
    /// Whether its capacity is declared generously for development rather than measured.
    pub is_virtual: bool,
    /// The version of its agent.
    pub version: String,
}

/// A node as the cluster holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// How often it registered.
    pub epoch: NodeEpoch,
    /// What it said about itself.
    pub profile: NodeProfile,
    /// What the cluster makes of its silence.
    pub state: NodeState,
    /// Whether an operator keeps new replicas away.
    pub cordoned: bool,
    /// Set while it is to be empty.
    pub drain: Option<NodeDrain>,
    /// Whether it came back with less than its replicas hold: some of them have yet to move.
    pub overfull: bool,
    /// How often in a row it came back from silence or under a new epoch.
    pub returns: u32,
    /// When it last did.
    pub returned_at: LogTime,
    /// Cards that are not, or were not long ago, as they should be, by UUID.
    pub devices: BTreeMap<String, DeviceCondition>,
    /// Why it is in its state, for people.
    pub reason: String,
    /// When it entered its state.
    pub since: LogTime,
    /// The entry that last changed it.
    pub revision: LogIndex,
}

// === impl DrainBy ===

impl DrainBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Agent, Self::Upgrade];

    /// The word people and programs read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Agent => "agent",
            Self::Upgrade => "upgrade",
        }
    }
}

// === impl NodeState ===

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Suspect, Self::Lost];

    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl Node ===

impl Node {
    /// Returns whether new replicas may be placed here.
    pub fn is_schedulable(&self) -> bool {
        self.state == NodeState::Ready && self.is_open() && !self.overfull
    }

    /// Returns what one of its labels says; nothing where it has none of that name.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.profile.labels.get(name).map(String::as_str)
    }

    /// Returns whether no operator keeps new replicas away.
    pub fn is_open(&self) -> bool {
        !self.cordoned && self.drain.is_none()
    }

    /// Counts that it came back at `now`.
    pub(crate) fn count_return(&mut self, settings: &Settings, now: LogTime) {
        let is_row = self.returns > 0 && now.since(self.returned_at) <= settings.returns_window;
        self.returns = if is_row { self.returns.saturating_add(1) } else { 1 };
        self.returned_at = now;
    }

    /// Returns how long it must be heard without a break before anything new is placed on it: nothing for one that
    /// comes and goes as nodes do, ever more for one that flaps. What serves there stays.
    pub fn hold(&self, settings: &Settings) -> Millis {
        match u64::from(self.returns).checked_sub(settings.returns_free + 1) {
            Some(doublings) => Millis(settings.return_hold.0 << doublings.min(16)).min(settings.return_hold_max),
            None => Millis(0),
        }
    }

    /// Returns what an operator wants of it, in a word: `cordoned`, `draining`, `drained`.
    pub fn wish(&self) -> Option<&'static str> {
        match &self.drain {
            Some(drain) if drain.finished_at.is_some() => Some("drained"),
            Some(_) => Some("draining"),
            None => self.cordoned.then_some("cordoned"),
        }
    }
}

impl Node {
    /// Returns what the cluster makes of the card of a device.
    pub fn condition(&self, device: &Device) -> Option<&DeviceCondition> {
        self.devices.get(device.card()).filter(|condition| condition.state != DeviceState::Healthy)
    }

    /// Returns the condition for which a replica with these devices has to leave, if there is one.
    pub fn condemned(&self, grants: &[DeviceGrant]) -> Option<&DeviceCondition> {
        if self.devices.is_empty() {
            return None;
        }
        let held = grants.iter().filter_map(|grant| self.profile.devices.iter().find(|d| d.uuid == grant.uuid));
        held.filter_map(|device| self.condition(device)).find(|condition| condition.state.is_condemned())
    }

    /// Lets every device take new work unless its card is in no state for it.
    pub(crate) fn mark_devices(&mut self) {
        for device in &mut self.profile.devices {
            let condition = self.devices.get(device.card());
            device.healthy = condition.is_none_or(|condition| condition.state == DeviceState::Healthy);
        }
    }
}
