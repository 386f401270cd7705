//! `berth node ls|status|cordon|uncordon|drain|join-command|forget`.

use berth_client::api::{Node, Replica};
use berth_core::error::{Code, Error, nearest};
use serde::Serialize;

use super::{Context, Deleted, confirm, drain, get, join, upgrade};
use crate::{
    args::{GetArgs, NodeVerb, Noun},
    output::{Fault, state_ink},
    view,
};

/// A node and what runs on it, for programs.
#[derive(Serialize)]
struct One {
    node: Node,
    replicas: Vec<Replica>,
}

pub(super) async fn run(context: &Context, verb: NodeVerb) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    match verb {
        NodeVerb::Ls { watch: true } => get::run(context, GetArgs::new(Noun::Nodes, None, true, false)).await,
        NodeVerb::Ls { watch: false } => {
            Ok(out.list(&client.list_nodes().await?, "no nodes yet; `berth node` starts one")?)
        }
        NodeVerb::Status { node } => status(context, &node).await,
        NodeVerb::Cordon { node } => {
            let node = client.cordon_node(&node, true).await?;
            Ok(out.value(&node, &node.node, || {
                out.done(format!("{} takes no new replicas; those it has stay", node.node))
            })?)
        }
        NodeVerb::Uncordon { node } => {
            let node = client.cordon_node(&node, false).await?;
            Ok(out.value(&node, &node.node, || out.done(format!("{} takes replicas again", node.node)))?)
        }
        NodeVerb::Drain(args) => drain::run(context, args).await,
        NodeVerb::Upgrade(args) => upgrade::run(context, args).await,
        NodeVerb::JoinCommand(args) => join::run(context, args).await,
        NodeVerb::Forget { node, yes } => {
            confirm(out, &fate(&node), yes)?;
            end(context, &node).await
        }
    }
}

/// Says what goes with a node.
pub(super) fn fate(node: &str) -> String {
    format!("This forgets {node}; should it come back, it registers anew.")
}

/// Forgets a node that is lost for good.
pub(super) async fn end(context: &Context, node: &str) -> Result<(), Fault> {
    context.client.forget_node(node).await?;
    let deleted = Deleted { deleted: node.to_owned(), noun: "node", with: Vec::new() };
    Ok(context.out.did(&deleted, node, format!("{node} is forgotten"))?)
}

pub(super) async fn status(context: &Context, name: &str) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let nodes = client.list_nodes().await?;
    let Some(node) = nodes.iter().find(|node| node.node == name).cloned() else {
        let near = nearest(name, nodes.iter().map(|node| node.node.as_str()));
        let try_ = near.map_or_else(|| "`berth node ls` lists them".to_owned(), |near| format!("`{near}`"));
        return Err(Error::new(Code::NodeNotFound, format!("there is no node `{name}`")).try_(try_).into());
    };
    let mut replicas = client.list_replicas("", "").await?;
    replicas.retain(|replica| replica.node == name);
    let one = One { node, replicas };
    Ok(out.value(&one, name, || {
        let node = &one.node;
        let mut state = out.paint(&node.state, state_ink(&node.state));
        if let Some(wish) = view::wish(node) {
            state.push_str(&format!(", {wish}"));
        }
        let part = |amount: &Option<_>| amount.as_ref().map(view::amount).unwrap_or_default();
        let measured = if node.is_virtual { " (declared for development, not measured)" } else { "" };
        let lines = [
            format!("node      = {} ({})", node.node, node.id),
            format!("state     = {state} for {}", view::age(node.since_ms, crate::output::now_ms())),
            format!("why       = {}", node.reason),
            format!("capacity  = {}{measured}", part(&node.capacity)),
            format!("allocated = {}", part(&node.allocated)),
            format!("ingress   = {}", node.ingress_address),
            format!("gate      = {}", node.gate_address),
            format!("epoch     = {}", node.epoch),
            format!("version   = {}", node.version),
        ];
        out.line(lines.into_iter().filter(|line| !line.ends_with("= ")).collect::<Vec<_>>().join("\n"));
        if let Some(drain) = &node.drain {
            out.line(drain::described(drain));
        }
        if !node.gpus.is_empty() {
            let table = view::gpu::table(&node.gpus, crate::output::now_ms());
            let driver = node.gpus.first().map_or("", |gpu| gpu.driver.as_str());
            out.line(format!("\n{}\ndriver {driver}", out.rendered(&table)));
        }
        if !one.replicas.is_empty() {
            out.line(format!("\n{}", out.rendered(&out.table(&one.replicas))));
        }
    })?)
}
