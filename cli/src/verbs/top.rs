//! `berth top`: what is used, the fullest first.

use std::time::Duration;

use berth_client::{
    api::{Deployment, Node, Replica},
    store::Resources,
};
use berth_core::{
    error::{Code, Error},
    units::{Cores, Mib},
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
        let shares = [share(used.cpu_milli, capacity.cpu_milli), share(used.memory_mib, capacity.memory_mib)];
        shares.into_iter().max().unwrap_or(0)
    }
}

impl Listed for NodeUse {
    const COLUMNS: &'static [&'static str] =
        &["NODE", "CPU USED", "HELD", "OF", "MEMORY USED", "HELD", "OF", "REPLICAS"];
    const NARROW: usize = 8;

    fn name(&self) -> String {
        self.node.clone()
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let cores = |amount: &Resources| Cell::from(Cores(amount.cpu_milli).to_string());
        let memory = |amount: &Resources| Cell::from(Mib(amount.memory_mib).to_string());
        vec![
            self.node.as_str().into(),
            cores(&self.used),
            cores(&self.allocated),
            cores(&self.capacity),
            memory(&self.used),
            memory(&self.allocated),
            memory(&self.capacity),
            self.replicas.to_string().into(),
        ]
    }
}

// === impl DeploymentUse ===

impl DeploymentUse {
    fn of(deployment: &Deployment, replicas: &[Replica]) -> Self {
        let own = |replica: &&Replica| replica.endpoint == deployment.endpoint && replica.deployment == deployment.name;
        let own: Vec<_> = replicas.iter().filter(own).collect();
        let one = deployment.spec.as_ref().and_then(|spec| spec.resources).unwrap_or_default();
        let count = own.len() as u64;
        Self {
            endpoint: deployment.endpoint.clone(),
            deployment: deployment.name.clone(),
            replicas: count,
            allocated: Resources {
                cpu_milli: one.cpu_milli.saturating_mul(count),
                memory_mib: one.memory_mib.saturating_mul(count),
                disk_mib: one.disk_mib.saturating_mul(count),
                gpus: one.gpus.saturating_mul(count),
            },
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
