//! What happens to a cluster under load, and when it is over.

use std::time::Duration;

use berth_cli::fleet::Fleet;
use berth_client::api::DrainNodeRequest;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep_until};

use super::Plan;
use crate::cluster::{Cluster, ENDPOINT};

/// How long one event may take to be over: an update of every instance, on a busy machine.
pub(super) const OVER_WITHIN: Duration = Duration::from_secs(180);

/// What happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another generation takes over.
    RollingUpdate,
    /// A node is emptied, and takes work again.
    Drain,
    /// Half of the instances go, and come back.
    ScaleDown,
    /// A node's process is asked to end, and starts again; its replicas run on.
    RouterRestart,
    /// A newer process of a node takes over.
    HandOver,
    /// A replica's process is killed.
    ReplicaCrash,
    /// A host dies, its agent and its replicas, and comes back when others have taken over.
    NodeKill,
    /// The leading coordinator is killed, and starts again when another one leads.
    LeaderKill,
    /// Every coordinator is killed; meanwhile one node's process restarts and another one's is killed and starts again.
    Outage,
}

// === impl Event ===

impl Event {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::RollingUpdate,
        Self::Drain,
        Self::ScaleDown,
        Self::RouterRestart,
        Self::HandOver,
        Self::ReplicaCrash,
        Self::NodeKill,
        Self::LeaderKill,
        Self::Outage,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RollingUpdate => "rolling update",
            Self::Drain => "node drain",
            Self::ScaleDown => "scale-down",
            Self::RouterRestart => "router restart",
            Self::HandOver => "binary hand-over",
            Self::ReplicaCrash => "replica crash",
            Self::NodeKill => "node kill",
            Self::LeaderKill => "leader kill",
            Self::Outage => "all coordinators dead",
        }
    }

    /// Returns whether something ends that may have requests, so that these are lost unless they may be repeated. A node
    /// that is asked to end is one of them: what another one was just sending it may look broken off.
    pub fn is_crash(self) -> bool {
        matches!(self, Self::RouterRestart | Self::ReplicaCrash | Self::NodeKill | Self::Outage)
    }

    /// Returns whether a process ends that callers are connected to.
    pub fn ends_an_ingress(self) -> bool {
        matches!(self, Self::RouterRestart | Self::NodeKill | Self::Outage)
    }

    /// Returns how often it may happen to one cluster. A node that comes back a fourth time within minutes counts as one
    /// that flaps, and takes nothing new for a while; an outage takes its whole time.
    pub(super) fn strikes_at_most(self) -> u64 {
        match self {
            Self::RouterRestart | Self::HandOver | Self::NodeKill => 10,
            Self::Outage => 2,
            _ => u64::MAX,
        }
    }

    /// Lets it happen, and waits until what it does is done.
    pub(super) async fn strike(self, plan: &Plan, cluster: &mut Cluster, turn: u64) {
        // One cluster may go through every event: each begins with another node.
        let place = Self::ALL.iter().position(|event| *event == self).unwrap_or_default();
        let victim = (place + turn as usize) % plan.nodes;
        match self {
            Self::RollingUpdate => roll(plan, cluster, turn).await,
            Self::Drain => drain(cluster, &Fleet::node_name(victim)).await,
            Self::ScaleDown => {
                for instances in [plan.instances / 2, plan.instances] {
                    plan.put(cluster, instances, 0).await;
                    plan.instances_serve(cluster, instances).await;
                }
            }
            Self::RouterRestart => restart(cluster, victim).await,
            Self::HandOver => succeed(cluster, victim).await,
            Self::ReplicaCrash => crash(cluster, turn).await,
            Self::NodeKill => {
                let pids = cluster.pids_on(&Fleet::node_name(victim)).await;
                cluster.fleet.kill_node(victim, &pids).expect("it is killed");
                let gone = Fleet::node_name(victim);
                node_is(cluster, &gone, "lost").await;
                plan.instances_serve(cluster, plan.instances).await;
                cluster.fleet.restart_node(victim).expect("it starts again");
                node_is(cluster, &gone, "ready").await;
            }
            Self::LeaderKill => {
                let leader = cluster.leader().await;
                cluster.fleet.kill_coordinator(leader).expect("it is killed");
                led(cluster).await;
                cluster.fleet.restart_coordinator(leader).expect("it starts again");
                led(cluster).await;
            }
            Self::Outage => {
                let until = Instant::now() + plan.outage;
                (0..plan.coordinators).for_each(|n| cluster.fleet.kill_coordinator(n).expect("it is killed"));
                restart(cluster, victim).await;
                let other = (victim + 1) % plan.nodes;
                cluster.fleet.kill_agent(other).expect("it is killed");
                cluster.fleet.restart_node(other).expect("it starts again");
                answers(cluster, other).await;
                // The outage is as long as it is, however soon the nodes are back.
                sleep_until(until).await;
                (0..plan.coordinators).for_each(|n| cluster.fleet.restart_coordinator(n).expect("it starts again"));
                led(cluster).await;
            }
        }
    }
}

async fn roll(plan: &Plan, cluster: &Cluster, turn: u64) {
    let generation = async || {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        replicas.iter().map(|replica| replica.generation).max().unwrap_or(0)
    };
    let before = generation().await;
    plan.put(cluster, plan.instances, turn + 1).await;
    cluster.until_within(OVER_WITHIN, "the update begins", async || generation().await > before).await;
}

async fn drain(cluster: &Cluster, node: &str) {
    let client = &cluster.client;
    let request = DrainNodeRequest { node: node.to_owned(), reason: "a test".to_owned(), ..Default::default() };
    client.drain_node(request.clone()).await.expect("it is drained");
    let empty = async || {
        let replicas = client.list_replicas(ENDPOINT, "").await;
        replicas.is_ok_and(|replicas| replicas.iter().all(|replica| replica.node != node))
    };
    cluster.until_within(OVER_WITHIN, "the node is empty", empty).await;
    client.drain_node(DrainNodeRequest { cancel: true, ..request }).await.expect("it is taken back");
}

async fn restart(cluster: &mut Cluster, node: usize) {
    cluster.fleet.stop_node(node, OVER_WITHIN).await.expect("its process ends");
    cluster.fleet.restart_node(node).expect("it starts again");
    answers(cluster, node).await;
}

/// Waits until a node's ingress takes connections.
async fn answers(cluster: &Cluster, node: usize) {
    let ingress = cluster.fleet.ingress(node);
    let listens = async || tokio::net::TcpStream::connect(ingress).await.is_ok();
    cluster.until_within(OVER_WITHIN, "its ingress listens", listens).await;
}

async fn succeed(cluster: &mut Cluster, node: usize) {
    let log = cluster.fleet.node(node).log().to_owned();
    let times = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.matches("took over from the older process").count()
    };
    let before = times();
    let mut older = cluster.fleet.succeed_node(node).expect("a newer process starts");
    cluster.until_within(OVER_WITHIN, "the newer process has taken over", async || times() > before).await;
    cluster.until_within(OVER_WITHIN, "the older process ends", async || !older.is_running()).await;
}

async fn crash(cluster: &Cluster, turn: u64) {
    let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed");
    let serving: Vec<_> = replicas.iter().filter(|replica| replica.state == "serving" && replica.pid > 1).collect();
    let victim = *serving.get(turn as usize % serving.len().max(1)).expect("some replica serves");
    kill(Pid::from_raw(victim.pid.cast_signed()), Signal::SIGKILL).expect("it is killed");
    let noticed = async || {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        let same =
            |replica: &berth_client::api::Replica| replica.replica == victim.replica && replica.pid == victim.pid;
        !replicas.is_empty() && !replicas.iter().any(same)
    };
    cluster.until_within(OVER_WITHIN, "the crash is noticed", noticed).await;
}

async fn node_is(cluster: &Cluster, node: &str, state: &str) {
    let is = async || {
        let nodes = cluster.client.list_nodes().await.unwrap_or_default();
        nodes.iter().any(|known| known.node == node && known.state == state)
    };
    cluster.until_within(OVER_WITHIN, &format!("{node} is {state}"), is).await;
}

/// Waits until every member is there and one of them leads.
async fn led(cluster: &Cluster) {
    let leads = async || {
        let members = cluster.client.list_members().await.map(|members| members.members).unwrap_or_default();
        members.iter().any(|member| member.leader)
    };
    cluster.until_within(OVER_WITHIN, "a coordinator leads", leads).await;
}
