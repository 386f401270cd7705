//! Commands: everything that can change the state, as stamped by whoever proposes it.

use std::collections::BTreeMap;

use crate::{
    error::Error,
    id::{Digest, Generation, LoanId, LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, RequestId, SlotId, Term},
    model::{
        AlertKey, AlertRule, AlertState, DeploymentKey, DeploymentSpec, DeviceGrant, DeviceState, DrainBy,
        EndpointKeys, EndpointName, EndpointSpec, Family, NodeName, NodeProfile, NodeState, ProjectName, ReleaseCause,
        ReserveSpend, SettingsChange, Traffic,
    },
    time::{LogTime, Millis},
};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The proposer's clock.
    pub proposed_at: LogTime,
    /// Names the request across retries; absent for what the cluster does by itself.
    pub request_id: Option<RequestId>,
    /// A fingerprint of the request as the caller sent it, to catch an id used twice for different things.
    pub fingerprint: u64,
    /// Who asked.
    pub principal: String,
    /// What to do.
    pub command: Command,
}

/// Whether a put may create, replace, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Creates or replaces.
    #[default]
    Upsert,
    /// Refuses an existing name.
    Create,
    /// Refuses a missing name.
    Update,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first entry of a cluster: names it. Ignored later.
    ClusterInit {
        /// The cluster's id.
        cluster_id: String,
    },
    /// A new leader made itself known; plans of older terms are refused from here on.
    LeaderEstablished {
        /// Its term.
        term: Term,
        /// The member.
        member: MemberId,
    },
    /// Every member is known to understand this level.
    FeatureLevelRaise {
        /// The level.
        level: u32,
    },
    /// Creates or changes an endpoint.
    EndpointPut {
        /// Its name.
        name: EndpointName,
        /// What the user says about it.
        spec: EndpointSpec,
        /// Whose it is; absent leaves it where it is, and a new one with the default project.
        project: Option<ProjectName>,
        /// Fresh keys, used when this creates the endpoint.
        keys: EndpointKeys,
        /// Whether it may create or replace.
        mode: PutMode,
        /// Refuse unless the endpoint is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Replaces keys of an endpoint.
    EndpointKeysPut {
        /// The endpoint.
        name: EndpointName,
        /// Both keys as they shall be.
        keys: EndpointKeys,
        /// Refuse unless the endpoint is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Deletes an endpoint with all its deployments.
    EndpointDelete {
        /// Its name.
        name: EndpointName,
        /// Refuse unless the endpoint is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Sets the split, the mirrors, or both; what is absent stays.
    TrafficSet {
        /// The endpoint.
        endpoint: EndpointName,
        /// The whole new split.
        split: Option<Traffic>,
        /// The whole new set of mirrors.
        mirror: Option<Traffic>,
        /// Refuse what Azure would refuse.
        strict_azure: bool,
        /// Refuse unless the endpoint is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Creates or changes a deployment.
    DeploymentPut {
        /// Its endpoint and name.
        key: DeploymentKey,
        /// What the user says about it.
        spec: Box<DeploymentSpec>,
        /// Whether it may create or replace.
        mode: PutMode,
        /// Refuse unless the deployment is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Changes the number of instances.
    DeploymentScale {
        /// The deployment.
        key: DeploymentKey,
        /// How many instances.
        instance_count: u32,
        /// Refuse unless the deployment is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Deletes a deployment.
    DeploymentDelete {
        /// The deployment.
        key: DeploymentKey,
        /// Refuse unless the deployment is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// An operator pauses a deployment's rollout, or goes on with it.
    DeploymentPause {
        /// The deployment.
        key: DeploymentKey,
        /// Whether replicas of earlier generations stay.
        paused: bool,
        /// Refuse unless the deployment is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// An operator wants every replica of a deployment started anew: the spec stays, the generation is a new one.
    DeploymentRestart {
        /// The deployment.
        key: DeploymentKey,
        /// Refuse unless the deployment is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// An operator wants one replica gone; its deployment gets another in its place.
    ReplicaReplace {
        /// The replica.
        replica: ReplicaId,
        /// How long its requests may go on; as long as its deployment lets them when absent.
        within: Option<Millis>,
    },
    /// A node's agent opened a session.
    NodeRegister(Box<RegisterNode>),
    /// The leader's view of a node changed.
    NodeTransition(NodeTransition),
    /// The leader's view of a card changed, or there is something to note about it.
    DeviceTransition(DeviceTransition),
    /// An operator keeps new replicas away from a node, or lets them back.
    NodeCordon {
        /// The node.
        name: NodeName,
        /// Whether to keep them away.
        cordoned: bool,
    },
    /// A node is to be empty, or no longer.
    NodeDrain {
        /// The node.
        name: NodeName,
        /// What is wished; nothing withdraws the wish.
        wish: Option<DrainWish>,
    },
    /// Takes, renews or gives back the lock under which the fleet is upgraded.
    UpgradeLock {
        /// Who.
        holder: String,
        /// For how long; nothing gives it back.
        within: Option<Millis>,
        /// Whether to take it from somebody who holds it.
        steal: bool,
    },
    /// Sets limits of a project; families that are not named stay as they are.
    QuotaSet {
        /// The project.
        project: ProjectName,
        /// Limits in thousandths; nothing makes a family unlimited.
        limits: BTreeMap<Family, Option<u64>>,
        /// Refuse unless the project's quota is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Sets what the cluster may lend; families that are not named stay as they are.
    PoolSet {
        /// Amounts in thousandths; nothing lends none.
        amounts: BTreeMap<Family, Option<u64>>,
        /// Refuse unless the pool is at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Raises a project's limit out of the pool for a while.
    QuotaLend {
        /// A fresh id.
        loan: LoanId,
        /// Who gets it.
        project: ProjectName,
        /// Of what.
        family: Family,
        /// How much, in thousandths.
        milli: u64,
        /// For how long.
        within: Millis,
    },
    /// Returns a loan before its time.
    QuotaReturn {
        /// The loan.
        loan: LoanId,
    },
    /// The time of loans is over.
    LoansExpire {
        /// The leader's term.
        term: Term,
        /// The loans; those that are not due stay.
        loans: Vec<LoanId>,
    },
    /// Changes what an operator may set for the whole cluster.
    SettingsSet {
        /// What changes.
        change: SettingsChange,
        /// Refuse unless the settings are at this revision.
        if_revision: Option<LogIndex>,
    },
    /// Removes a lost node for good.
    NodeForget {
        /// The node.
        name: NodeName,
    },
    /// A node tells what became of its replicas.
    ReplicaReports {
        /// The node.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
        /// What became of them.
        reports: Vec<ReplicaReport>,
    },
    /// A part of a plan.
    PlanCommit(Plan),
    /// Alerts began to fire, or are over.
    AlertsChange {
        /// The leader's term.
        term: Term,
        /// What changed.
        changes: Vec<AlertChange>,
    },
    /// Receivers were told of alerts.
    AlertsTold {
        /// The leader's term.
        term: Term,
        /// Of which.
        told: Vec<AlertTold>,
    },
    /// A majority of members holds an asset.
    AssetCommit {
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// Its bytes.
        size_bytes: u64,
        /// The members that hold it.
        holders: Vec<MemberId>,
    },
    /// Assets nothing refers to are forgotten.
    AssetExpire {
        /// Their digests.
        digests: Vec<Digest>,
    },
}

/// How a node is to become empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainWish {
    /// How long requests may go on.
    pub within: Millis,
    /// Why, for people.
    pub reason: String,
    /// Whether replicas without a replacement go at the deadline too.
    pub force: bool,
    /// Who asks.
    pub by: DrainBy,
}

/// A node's agent opened a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterNode {
    /// The id the agent keeps on its disk.
    pub node: NodeId,
    /// What it says about itself.
    pub profile: NodeProfile,
    /// The highest epoch its agent ever held. A node that was forgotten begins above it, or what its former life was told
    /// would count again.
    pub epoch_seen: NodeEpoch,
    /// The epoch this very process holds, and keeps when it only has other things to say of itself; zero before its first
    /// welcome.
    pub held: NodeEpoch,
    /// Whether it took over, as planned, from another process of the node that ran: nobody was away.
    pub takes_over: bool,
}

/// The leader's view of a node changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTransition {
    /// The leader's term.
    pub term: Term,
    /// The node.
    pub node: NodeId,
    /// The epoch it was seen in; an older one is refused.
    pub epoch: NodeEpoch,
    /// What it is now.
    pub to: NodeState,
    /// Why, for people.
    pub reason: String,
}

/// The leader's view of a card changed, or there is something to note about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTransition {
    /// The leader's term.
    pub term: Term,
    /// The node.
    pub node: NodeId,
    /// The epoch it was seen in; an older one is refused.
    pub epoch: NodeEpoch,
    /// The card's UUID.
    pub card: String,
    /// What it is now; absent when something is only to be told.
    pub to: Option<DeviceState>,
    /// Why, for people.
    pub reason: String,
    /// How many faults its node had counted.
    pub faults: u64,
}

/// An alert that began to fire or is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertChange {
    /// Which.
    pub key: AlertKey,
    /// The rule it was judged by.
    pub rule: AlertRule,
    /// What it is now.
    pub to: AlertState,
    /// What was measured.
    pub value: Option<u64>,
    /// One sentence for people.
    pub text: String,
}

/// An alert that everybody was told of who is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertTold {
    /// Which.
    pub key: AlertKey,
    /// The change that was told.
    pub revision: LogIndex,
    /// Receivers that did not take it, each with why.
    pub given_up: Vec<String>,
}

/// What a node saw of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observed {
    /// Assets are fetched and the environment is built.
    Preparing,
    /// The process runs and does not answer yet; also after a crash.
    Starting,
    /// It answered its warm-up.
    Warm,
    /// It cannot start.
    Failed,
    /// Nothing of it is left on the node.
    Gone,
}

/// What became of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    /// The replica.
    pub replica: ReplicaId,
    /// What the node saw.
    pub observed: Observed,
    /// Why, for people; for a failure with the tail of its log.
    pub reason: String,
    /// Whether starting it again anywhere would end the same way.
    pub permanent: bool,
    /// How often its process was started again.
    pub restarts: u32,
    /// In how long it is tried again; zero while nothing is waited for.
    pub retry_in: Millis,
    /// The process id; zero when there is none.
    pub pid: u32,
    /// The address its process listens on.
    pub address: String,
}

/// A plan as a value: what it was based on and what to do. A large plan is several entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The planning leader's term.
    pub term: Term,
    /// The state it was based on.
    pub based_on: LogIndex,
    /// Which part this is, from zero.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// What to do, judged again one by one when applied.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Holds a place on a node and starts a replica there.
    Place {
        /// A fresh id.
        replica: ReplicaId,
        /// Its deployment.
        key: DeploymentKey,
        /// The generation it shall run.
        generation: Generation,
        /// Where.
        node: NodeId,
        /// The devices it gets.
        devices: Vec<DeviceGrant>,
        /// The replica it is placed for, when that one was lost or its node is being emptied.
        replaces: Option<ReplicaId>,
        /// The reserve slot it spends, and what for: its place is given back and taken in one step.
        reserve_spent: Option<ReserveSpend>,
        /// Why, for people.
        reason: String,
    },
    /// Lets the split pick a warm replica.
    Serve {
        /// The replica.
        replica: ReplicaId,
    },
    /// Takes a replica out of the split and lets it finish.
    Drain {
        /// The replica.
        replica: ReplicaId,
        /// When it ends, finished or not.
        deadline: LogTime,
        /// Why, for people.
        reason: String,
    },
    /// Ends a replica to make room for a more important deployment: what callers may use drains first.
    Preempt {
        /// The replica.
        replica: ReplicaId,
        /// Who needs its place.
        to: DeploymentKey,
        /// When its drain ends, finished or not.
        deadline: LogTime,
    },
    /// Ends a replica.
    Stop {
        /// The replica.
        replica: ReplicaId,
        /// Requests that are cut with it.
        cut: u64,
        /// Why, for people.
        reason: String,
    },
    /// Holds a place of a deployment's reserve.
    HoldSlot {
        /// A fresh id.
        slot: SlotId,
        /// The deployment.
        key: DeploymentKey,
        /// Where.
        node: NodeId,
        /// The devices it holds.
        devices: Vec<DeviceGrant>,
        /// How far it is from the replicas it covers, for people.
        reason: String,
    },
    /// Gives a place of the reserve back to everybody.
    ReleaseSlot {
        /// The slot.
        slot: SlotId,
        /// Why.
        cause: ReleaseCause,
    },
    /// Records that no node has room for all of a deployment's reserve, or that one has again.
    NoteReserve {
        /// The deployment.
        key: DeploymentKey,
        /// Whether it is short.
        short: bool,
        /// The arithmetic, for people.
        reason: String,
    },
}

/// What became of a step.
pub type StepOutcome = Result<(), Error>;

// === impl RegisterNode ===

impl RegisterNode {
    /// Registers a node by a process that holds nothing yet.
    pub fn new(node: NodeId, profile: NodeProfile) -> Self {
        Self { node, profile, epoch_seen: NodeEpoch(0), held: NodeEpoch(0), takes_over: false }
    }
}
