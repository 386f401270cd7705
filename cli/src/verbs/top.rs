//! `berth top`: what is used, the fullest first.

use std::{ops::Add, time::Duration};

use berth_client::{
    api::{Deployment, Node, Replica},
    store::Resources,
};
use berth_core::{
    error::{Code, Error},
    units::{self, Cores, Mib},
};
use serde::Serialize;

use super::{Context, watch};
use crate::{
    args::{TopArgs, TopNoun},
    output::{Cell, Fault, Listed},
    view,
};

/// How often a screen that is watched is drawn: what nodes use comes with every heartbeat, which is faster than anybody
/// reads.
const AGAIN: Duration = Duration::from_secs(2);

/// What a node uses.
#[derive(Serialize)]
struct NodeUse {
    node: String,
    capacity: Resources,
    allocated: Resources,
    used: Resources,
    replicas: u64,
    /// What was measured of its cards; absent where it has none, or nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    cards: Option<CardUse>,
    /// The cards as people read them.
    #[serde(skip)]
    given: Cell,
}

/// What the cards of a node do, those taken together that say so.
#[derive(Serialize)]
struct CardUse {
    /// The average over them; absent where none says.
    #[serde(skip_serializing_if = "Option::is_none")]
    utilization_percent: Option<u32>,
    used_mib: u64,
    memory_mib: u64,
}

/// What a deployment holds and works on.
#[derive(Serialize)]
struct DeploymentUse {
    endpoint: String,
    deployment: String,
    replicas: u64,
    allocated: Resources,
    in_flight: u64,
    restarts: u64,
}

pub(super) async fn run(context: &Context, args: TopArgs) -> Result<(), Fault> {
    let of = args.of.as_deref().unwrap_or_default().to_ascii_lowercase();
    let show = async || show(context, args.what, &of).await;
    if args.watch { watch::every(context, AGAIN, show).await } else { show().await }
}

async fn show(context: &Context, what: TopNoun, of: &str) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    match what {
        TopNoun::Nodes => {
            let mut rows: Vec<_> = client.list_nodes().await?.into_iter().map(NodeUse::of).collect();
            rows.retain(|row| of.is_empty() || row.node == of);
            if rows.is_empty() && !of.is_empty() {
                let error = Error::new(Code::NodeNotFound, format!("there is no node `{of}`"));
                return Err(error.try_("`berth get nodes` lists them").into());
            }
            rows.sort_by_key(|row| std::cmp::Reverse(row.fullest()));
            out.list(&rows, "no nodes yet; `berth node` starts one")?;
        }
        TopNoun::Deployments => {
            let (deployments, replicas) = tokio::try_join!(client.list_deployments(""), client.list_replicas("", ""))?;
            let mut rows: Vec<_> = deployments.iter().map(|it| DeploymentUse::of(it, &replicas)).collect();
            rows.retain(|row| of.is_empty() || row.endpoint == of || row.name() == of);
            if rows.is_empty() && !of.is_empty() {
                let error = Error::new(Code::DeploymentNotFound, format!("there is no deployment of `{of}`"));
                return Err(error
                    .try_("`berth get deployments` lists them; `berth describe REPLICA` has one replica")
                    .into());
            }
            rows.sort_by_key(|row| std::cmp::Reverse(row.in_flight));
            out.list(&rows, "no deployments; `berth deployment create -f FILE` makes one")?;
        }
    }
    Ok(())
}

// === impl NodeUse ===

impl NodeUse {
    fn of(node: Node) -> Self {
        Self {
            cards: CardUse::of(&node),
            given: view::gpu::summary(&node),
            node: node.node,
            capacity: node.capacity.unwrap_or_default(),
            allocated: node.allocated.unwrap_or_default(),
            used: node.used.unwrap_or_default(),
            replicas: node.replicas,
        }
    }

    /// Returns the share, in thousandths, of what is used most.
    fn fullest(&self) -> u64 {
        let share = |used: u64, capacity: u64| used.saturating_mul(1_000).checked_div(capacity).unwrap_or(0);
        let (used, capacity) = (&self.used, &self.capacity);
        let cards = self.cards.as_ref().map_or([0, 0], |cards| {
            let busy = cards.utilization_percent.unwrap_or(0);
            [u64::from(busy) * 10, share(cards.used_mib, cards.memory_mib)]
        });
        let shares = [share(used.cpu_milli, capacity.cpu_milli), share(used.memory_mib, capacity.memory_mib)];
        shares.into_iter().chain(cards).max().unwrap_or(0)
    }
}

// === impl CardUse ===

impl CardUse {
    fn of(node: &Node) -> Option<Self> {
        // What a lost node said last is no news of its cards.
        let known = node.gpus.iter().filter(|gpu| view::gpu::word(node, gpu) != "not heard");
        let known: Vec<_> = known.filter_map(|gpu| Some((gpu, gpu.sample.as_ref()?))).collect();
        if known.is_empty() {
            return None;
        }
        let busy: Vec<_> = known.iter().filter_map(|(_, sample)| sample.utilization_percent).map(u64::from).collect();
        let average = busy.iter().sum::<u64>().checked_div(busy.len() as u64);
        Some(Self {
            utilization_percent: average.and_then(|percent| u32::try_from(percent).ok()),
            used_mib: known.iter().map(|(_, sample)| sample.used_mib).sum(),
            memory_mib: known.iter().map(|(gpu, _)| gpu.memory_mib).sum(),
        })
    }
}

impl Listed for NodeUse {
    const COLUMNS: &'static [&'static str] =
        &["NODE", "CPU USED", "HELD", "OF", "MEMORY USED", "HELD", "OF", "REPLICAS", "GPU", "GPU BUSY", "GPU MEMORY"];
    const NARROW: usize = 11;

    fn name(&self) -> String {
        self.node.clone()
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let cores = |amount: &Resources| Cell::from(Cores(amount.cpu_milli).to_string());
        let memory = |amount: &Resources| Cell::from(Mib(amount.memory_mib).to_string());
        let told = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
        vec![
            self.node.as_str().into(),
            cores(&self.used),
            cores(&self.allocated),
            cores(&self.capacity),
            memory(&self.used),
            memory(&self.allocated),
            memory(&self.capacity),
            self.replicas.to_string().into(),
            self.given.clone(),
            told(self.cards.as_ref().and_then(|cards| cards.utilization_percent).map(|percent| format!("{percent} %"))),
            told(self.cards.as_ref().map(|cards| format!("{}/{}", Mib(cards.used_mib), Mib(cards.memory_mib)))),
        ]
    }
}

// === impl DeploymentUse ===

impl DeploymentUse {
    fn of(deployment: &Deployment, replicas: &[Replica]) -> Self {
        let own = |replica: &&Replica| replica.endpoint == deployment.endpoint && replica.deployment == deployment.name;
        let own: Vec<_> = replicas.iter().filter(own).filter(|replica| view::holds(replica)).collect();
        // Replicas of an older generation hold what that one asked for.
        let held = own.iter().map(|replica| units::Resources::from(replica.resources.unwrap_or_default()));
        Self {
            endpoint: deployment.endpoint.clone(),
            deployment: deployment.name.clone(),
            replicas: own.len() as u64,
            allocated: held.fold(units::Resources::ZERO, Add::add).into(),
            in_flight: own.iter().map(|replica| replica.in_flight).sum(),
            restarts: own.iter().map(|replica| u64::from(replica.restarts)).sum(),
        }
    }
}

impl Listed for DeploymentUse {
    const COLUMNS: &'static [&'static str] = &["DEPLOYMENT", "IN FLIGHT", "REPLICAS", "HELD", "RESTARTS"];
    const NARROW: usize = 5;

    fn name(&self) -> String {
        format!("{}/{}", self.endpoint, self.deployment)
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![
            self.name().into(),
            self.in_flight.to_string().into(),
            self.replicas.to_string().into(),
            view::amount(&self.allocated).into(),
            self.restarts.to_string().into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use berth_client::api::Gpu;
    use berth_proto::node::v1::DeviceSample;

    use super::*;

    /// What the replicas of a deployment hold is added up, of every kind; those that hold nothing any more are not counted.
    #[test]
    fn a_deployment_holds_what_its_replicas_hold() {
        let replica = |deployment: &str, state: &str, cpu_milli| Replica {
            endpoint: "e".into(),
            deployment: deployment.into(),
            state: state.into(),
            resources: Some(Resources { cpu_milli, memory_mib: 2, disk_mib: 3, gpus: 1 }),
            ..Replica::default()
        };
        let replicas = [
            replica("blue", "serving", 500),
            replica("blue", "draining", u64::MAX),
            replica("blue", "stopped", 1),
            replica("green", "serving", 1),
        ];
        let blue = Deployment { endpoint: "e".into(), name: "blue".into(), ..Deployment::default() };
        let held = DeploymentUse::of(&blue, &replicas).allocated;
        assert_eq!(held, Resources { cpu_milli: u64::MAX, memory_mib: 4, disk_mib: 6, gpus: 2 });
    }

    /// Cards are told as they are: given, busy, full; and nothing is made up where nobody measured.
    #[test]
    fn a_node_with_cards_tells_what_they_do() {
        let card = |used_mib, utilization_percent| Gpu {
            memory_mib: 81_920,
            state: "healthy".into(),
            sample: Some(DeviceSample { used_mib, utilization_percent, ..DeviceSample::default() }),
            ..Gpu::default()
        };
        let silent = Gpu { memory_mib: 81_920, state: "healthy".into(), ..Gpu::default() };
        let resources = |gpus| Some(Resources { gpus, ..Resources::default() });
        let node = |state: &str, gpus: Vec<Gpu>| Node {
            node: "n".into(),
            state: state.into(),
            capacity: resources(gpus.len() as u64),
            allocated: resources(gpus.len().min(1) as u64),
            gpus,
            ..Node::default()
        };
        let pair = || vec![card(40_960, Some(90)), card(0, Some(11))];
        for (node, shown, fullest, why) in [
            (node("ready", Vec::new()), ["-", "-", "-"], 0, "a node without cards"),
            (node("ready", pair()), ["1/2", "50 %", "40 GiB/160 GiB"], 500, "an average, and a sum"),
            (node("ready", vec![card(8_192, None)]), ["1/1", "-", "8 GiB/80 GiB"], 100, "a driver that does not say"),
            (node("ready", vec![silent]), ["1/1", "-", "-"], 0, "nothing was measured"),
            (node("lost", pair()), ["1/2", "-", "-"], 0, "what a lost node said last is no news"),
        ] {
            let used = NodeUse::of(node);
            let cells = used.cells(0);
            let told: Vec<_> = cells[8..].iter().map(Cell::text).collect();
            assert_eq!((told.as_slice(), used.fullest()), (&shown[..], fullest), "{why}");
            assert_eq!(cells.len(), NodeUse::COLUMNS.len());
        }
    }
}
