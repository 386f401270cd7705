//! `berth node upgrade`: walks the fleet, one node at a time, inside what the fleet can spare.
//!
//! The hook runs here, not on the node: whoever upgrades a fleet already has a way onto its hosts, and an agent that ran
//! commands for a coordinator would be another one. The walk holds a replicated lock, renewed at every step. What it did
//! is in the cluster, not in this process: run again, it goes on with the nodes that are not done.

use std::{process::Stdio, time::Duration};

use berth_client::api::{DrainNodeRequest, LockUpgradeRequest, Node};
use berth_core::error::{Code, Error, nearest};
use tokio::{
    process::Command,
    time::{Instant, sleep_until, timeout},
};

use super::{Context, drain};
use crate::{args::UpgradeArgs, output::Fault};

/// How often it is looked whether a node is back.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// What the lock outlasts a step by: a slow answer must not cost it.
const SLACK: Duration = Duration::from_secs(60);

pub(super) async fn run(context: &Context, args: UpgradeArgs) -> Result<(), Fault> {
    let out = &context.out;
    let nodes = chosen(&args, context.client.list_nodes().await?)?;
    if args.dry_run || nodes.is_empty() {
        for node in &nodes {
            out.line(format!("{}  {} replicas, version {}", node.node, node.replicas, node.version));
        }
        out.done(format!("{} nodes are to be upgraded", nodes.len()));
        return Ok(());
    }
    let holder = holder();
    lock(context, &holder, &args, args.steal).await?;
    let walked = walk(context, &args, &holder, &nodes).await;
    // A walk that fails gives the lock back too: what it left is drained, and a next walk goes on with it.
    let request = LockUpgradeRequest { holder, ..Default::default() };
    let given_back = context.client.lock_upgrade(request).await;
    walked?;
    given_back?;
    out.done(format!("{} nodes are upgraded", nodes.len()));
    Ok(())
}

/// Picks the nodes to walk, those that are drained already first: an earlier walk left them.
fn chosen(args: &UpgradeArgs, mut nodes: Vec<Node>) -> Result<Vec<Node>, Error> {
    if !args.all {
        let mut named = Vec::new();
        for name in &args.nodes {
            let Some(node) = nodes.iter().find(|node| node.node == *name) else {
                let near = nearest(name, nodes.iter().map(|node| node.node.as_str()));
                let try_ = near.map_or_else(|| "`berth node ls` lists them".to_owned(), |near| format!("`{near}`"));
                return Err(Error::new(Code::NodeNotFound, format!("there is no node `{name}`")).try_(try_));
            };
            named.push(node.clone());
        }
        nodes = named;
    }
    nodes.retain(|node| args.to.as_ref().is_none_or(|version| node.version != *version));
    if let Some(lost) = nodes.iter().find(|node| node.state == "lost") {
        return Err(Error::new(Code::Transition, format!("{} is lost and cannot be upgraded", lost.node))
            .try_("bring it back, forget it, or name the nodes to upgrade"));
    }
    nodes.sort_by_key(|node| node.drain.is_none());
    Ok(nodes)
}

async fn walk(context: &Context, args: &UpgradeArgs, holder: &str, nodes: &[Node]) -> Result<(), Fault> {
    let out = &context.out;
    for (at, node) in nodes.iter().enumerate() {
        let name = &node.node;
        lock(context, holder, args, false).await?;
        let within_ms = u64::try_from(args.deadline.as_millis()).unwrap_or(u64::MAX);
        let reason = format!("upgrade by {holder}");
        let request = DrainNodeRequest { node: name.clone(), within_ms, reason, ..Default::default() };
        context.client.drain_node(request).await?;
        drain::until_empty(context, name, args.deadline).await?;
        out.note(format!("{name} is empty ({} of {})", at + 1, nodes.len()));
        lock(context, holder, args, false).await?;
        match &args.hook {
            Some(hook) => run_hook(hook, node, args.back_within).await?,
            None => out.note(format!("upgrade {name} and start its agent again")),
        }
        let back = until_back(context, node, args).await?;
        // What an operator cordoned before stays so; only this walk's wish is withdrawn.
        let request = DrainNodeRequest { node: name.clone(), cancel: true, ..Default::default() };
        context.client.drain_node(request).await?;
        out.note(format!("{name} is back with version {}", back.version));
    }
    Ok(())
}

/// Takes or renews the lock for as long as the next step may take.
async fn lock(context: &Context, holder: &str, args: &UpgradeArgs, steal: bool) -> Result<(), Error> {
    let span = args.deadline.max(args.back_within) * 2 + SLACK;
    let within_ms = Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let request = LockUpgradeRequest { holder: holder.to_owned(), within_ms, steal, ..Default::default() };
    context.client.lock_upgrade(request).await.map(drop)
}

async fn run_hook(hook: &str, node: &Node, within: Duration) -> Result<(), Error> {
    let failed = |why: String| {
        Error::new(Code::Invalid, format!("the hook failed for {}", node.node))
            .why(why)
            .try_("the node stays drained; mend the hook and run this again, or `berth node uncordon` it")
    };
    let child = Command::new("sh")
        .arg("-c")
        .arg(hook)
        .env("BERTH_NODE", &node.node)
        .env("BERTH_NODE_GATE", &node.gate_address)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    match timeout(within, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(status.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("it did not end within {within:?}"))),
    }
}

/// Waits until a node registered again under another epoch.
async fn until_back(context: &Context, before: &Node, args: &UpgradeArgs) -> Result<Node, Fault> {
    let give_up_at = Instant::now() + args.back_within;
    let mut progress = context.out.progress();
    loop {
        let nodes = context.client.list_nodes().await?;
        let now = nodes.into_iter().find(|node| node.node == before.node);
        let is_new = |node: &Node| {
            let is_wanted = args.to.as_ref().is_none_or(|version| node.version == *version);
            node.epoch > before.epoch && node.state != "lost" && is_wanted
        };
        if let Some(node) = now.clone().filter(is_new) {
            progress.clear();
            return Ok(node);
        }
        let state = now.map_or_else(|| "gone".to_owned(), |node| format!("{}, version {}", node.state, node.version));
        progress.show(&[(format!("{}  waits for its agent to come back: {state}", before.node), String::new())]);
        if Instant::now() >= give_up_at {
            progress.clear();
            let error = Error::new(Code::Timeout, format!("{} did not come back", before.node))
                .why(format!("it is {state}"))
                .try_("it stays drained; look at its agent and run this again");
            return Err(Fault::timed_out(error));
        }
        sleep_until((Instant::now() + LOOK_AGAIN).min(give_up_at)).await;
    }
}

/// Names this walk: who and where, and which of several.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    format!("{user}@{} ({})", host.trim(), std::process::id())
}
