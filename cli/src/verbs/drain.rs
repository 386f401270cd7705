//! `berth node drain`: asks for an empty node and shows how it becomes one.
//!
//! The drain belongs to the cluster, not to this process: whoever interrupts the waiting interrupts nothing else.

use std::time::Duration;

use berth_client::api::{DrainNodeRequest, Node, NodeDrain};
use berth_core::{
    error::{Code, Error},
    time::Millis,
    units::Count,
};
use tokio::time::{Instant, sleep_until};

use super::Context;
use crate::{
    args::DrainArgs,
    output::{Fault, now_ms},
    view,
};

/// How often it is looked at. Only what is shown depends on it.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Time beyond the deadline for what was cut to end: the kill, and a little.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

pub(super) async fn run(context: &Context, args: DrainArgs) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let within_ms = u64::try_from(args.deadline.as_millis()).unwrap_or(u64::MAX);
    let request = DrainNodeRequest {
        node: args.node.clone(),
        within_ms,
        reason: args.why,
        force: args.force,
        cancel: args.cancel,
        ..Default::default()
    };
    if !args.cancel {
        let replicas = client.list_replicas("", "").await?;
        let here = replicas.iter().filter(|replica| replica.node == args.node);
        out.aside(view::advice::on_draining(&args.node, here));
    }
    let node = client.drain_node(request).await?;
    if args.cancel {
        return Ok(out.value(&node, &node.node, || {
            out.done(format!("{} need not be empty any more: what still runs there stays", node.node));
        })?);
    }
    if args.no_wait {
        return Ok(out.value(&node, &node.node, || {
            out.done(format!("{} becomes empty; look with `berth node status {}`", node.node, node.node));
        })?);
    }
    let node = until_empty(context, &args.node, args.deadline).await?;
    Ok(out.value(&node, &node.node, || out.done(format!("{} is empty: {}", node.node, ended(&node))))?)
}

/// Waits until nothing is left on a node, and shows what is.
pub(super) async fn until_empty(context: &Context, name: &str, within: Duration) -> Result<Node, Fault> {
    let give_up_at = Instant::now() + within + ENDS_WITHIN;
    let mut progress = context.out.progress();
    loop {
        let nodes = context.client.list_nodes().await?;
        let Some(node) = nodes.into_iter().find(|node| node.node == name) else {
            progress.clear();
            return Err(Error::new(Code::NodeNotFound, format!("node `{name}` is gone")).into());
        };
        let Some(drain) = node.drain.clone() else {
            progress.clear();
            return Err(Error::new(Code::Transition, format!("the drain of {name} was withdrawn"))
                .why("somebody else let replicas come again")
                .into());
        };
        if drain.finished_at_ms > 0 {
            progress.clear();
            return Ok(node);
        }
        progress.show(&lines(&node, &drain));
        if Instant::now() >= give_up_at {
            progress.clear();
            return Err(too_late(&node, &drain));
        }
        sleep_until((Instant::now() + LOOK_AGAIN).min(give_up_at)).await;
    }
}

/// Describes a drain under way or done, for `berth node status`.
pub(super) fn described(drain: &NodeDrain) -> String {
    let now = now_ms();
    let why = if drain.reason.is_empty() { String::new() } else { format!(": {}", drain.reason) };
    if drain.finished_at_ms > 0 {
        let took = Millis(drain.finished_at_ms.saturating_sub(drain.started_at_ms));
        let cut = requests(drain.cut_requests);
        return format!("drained   = in {took}, {} left, {cut}{why}", Count(drain.moved, "replica"));
    }
    let left = Millis(drain.deadline_ms.saturating_sub(now));
    let mut lines = vec![format!("draining  = for {}, cuts in {left}{why}", view::age(drain.started_at_ms, now))];
    lines.extend(drain.waits_for.iter().map(|wait| format!("  {}", wait.replace('\n', "\n    "))));
    lines.join("\n")
}

fn lines(node: &Node, drain: &NodeDrain) -> Vec<(String, String)> {
    let left = Millis(drain.deadline_ms.saturating_sub(now_ms()));
    let head = format!("{}  draining  {} left here, {} gone", node.node, node.replicas, drain.moved);
    let mut lines = vec![(head, format!("cuts in {left}"))];
    for wait in &drain.waits_for {
        lines.extend(wait.lines().map(|line| (format!("  {line}"), String::new())));
    }
    lines
}

fn ended(node: &Node) -> String {
    let Some(drain) = &node.drain else { return String::new() };
    let took = Millis(drain.finished_at_ms.saturating_sub(drain.started_at_ms));
    format!("{} left within {took}, {}", Count(drain.moved, "replica"), requests(drain.cut_requests))
}

fn requests(cut: u64) -> String {
    match cut {
        0 => "no request was cut".to_owned(),
        1 => "1 request was cut".to_owned(),
        cut => format!("{cut} requests were cut"),
    }
}

fn too_late(node: &Node, drain: &NodeDrain) -> Fault {
    let name = &node.node;
    let what = format!("{name} is not empty yet: {} left", Count(node.replicas, "replica"));
    Fault::timed_out(Error::new(Code::Timeout, what).why(drain.waits_for.join("\n")).try_(format!(
        "it goes on without you: add room elsewhere, `berth node drain {name} --force` to give up what fits nowhere, or `--cancel`"
    )))
}
