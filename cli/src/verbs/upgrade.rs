//! `berth node upgrade`: walks the fleet, one node at a time, inside what the fleet can spare.
//!
//! The hook runs here, not on the node: whoever upgrades a fleet already has a way onto its hosts, and an agent that ran
//! commands for a coordinator would be another one. The walk holds a replicated lock, renewed at every step. What it did
//! is in the cluster, not in this process: run again, it goes on with the nodes that are not done.

use std::{process::Stdio, time::Duration};

use berth_client::api::{DrainNodeRequest, LockUpgradeRequest, Node, PlanRequest};
use berth_core::{
    error::{Code, Error, nearest},
    model::DrainBy,
    units::Count,
};
use serde::Serialize;
use tokio::{
    process::Command,
    time::{Instant, sleep_until, timeout},
};

use super::{Context, drain};
use crate::{
    args::UpgradeArgs,
    output::{Cell, Fault, Ink, Listed},
    process,
};

/// How often it is looked whether a node is back.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// What a program that was interrupted exits with, as a shell counts it.
const INTERRUPTED: u8 = 130;
/// What the lock outlasts a step by: a slow answer must not cost it.
const SLACK: Duration = Duration::from_secs(60);

pub(super) async fn run(context: &Context, args: UpgradeArgs) -> Result<(), Fault> {
    let out = &context.out;
    let nodes = chosen(context, &args, context.client.list_nodes().await?)?;
    let count = Count(nodes.len() as u64, "node");
    if nodes.is_empty() && !args.dry_run {
        return Ok(out.did(&Walked::default(), "", "no node is to be upgraded")?);
    }
    if args.dry_run {
        return rehearse(context, &nodes).await;
    }
    let holder = holder();
    let stop = process::asked_to_stop()?;
    lock(context, &holder, &args, args.steal).await?;
    let walked = tokio::select! {
        walked = walk(context, &args, &holder, &nodes) => walked,
        () = stop => {
            out.note("interrupted: the node it was at stays drained, and the lock is given back");
            out.note("run this again to go on, or `berth node drain NODE --cancel` to let replicas come back");
            Err(Fault::answered(INTERRUPTED))
        }
    };
    // A walk that fails gives the lock back too: what it left is drained, and a next walk goes on with it.
    let request = LockUpgradeRequest { holder, ..Default::default() };
    let given_back = context.client.lock_upgrade(request).await;
    let walked = walked?;
    given_back?;
    let names: Vec<_> = walked.upgraded.iter().map(|node| node.node.as_str()).collect();
    Ok(out.did(&walked, &names.join("\n"), format!("{count} upgraded"))?)
}

/// What a walk did, for programs.
#[derive(Default, Serialize)]
struct Walked {
    upgraded: Vec<Upgraded>,
}

/// A node that is back.
#[derive(Serialize)]
struct Upgraded {
    node: String,
    version: String,
}

/// What emptying one node would mean.
#[derive(Serialize)]
struct Rehearsed {
    node: String,
    version: String,
    replicas: u64,
    /// `fits`, `costs` or `never ends`.
    drain: &'static str,
    why: String,
}

impl Listed for Rehearsed {
    const COLUMNS: &'static [&'static str] = &["NODE", "VERSION", "REPLICAS", "DRAIN", "WHY"];
    const NARROW: usize = 5;

    fn name(&self) -> String {
        self.node.clone()
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![
            self.node.as_str().into(),
            self.version.as_str().into(),
            self.replicas.to_string().into(),
            Cell::inked(self.drain, if self.drain == FITS { Ink::Green } else { Ink::Red }),
            self.why.as_str().into(),
        ]
    }
}

/// Says of every node whether the others can stand in for it, by the planner itself; exit code 1 when one cannot be
/// emptied.
async fn rehearse(context: &Context, nodes: &[Node]) -> Result<(), Fault> {
    let mut rows = Vec::new();
    let mut all_fit = true;
    for node in nodes {
        let Outlook { word: drain, why } = outlook(context, &node.node).await?;
        all_fit &= drain == FITS;
        let (node, version, replicas) = (node.node.clone(), node.version.clone(), node.replicas);
        rows.push(Rehearsed { node, version, replicas, drain, why });
    }
    context.out.list(&rows, "no node is to be upgraded")?;
    context.out.done(format!("{} would be upgraded, one after another", Count(nodes.len() as u64, "node")));
    if all_fit { Ok(()) } else { Err(Fault::answered(1)) }
}

const FITS: &str = "fits";
const COSTS: &str = "costs";
const NEVER_ENDS: &str = "never ends";

/// What the planner says of emptying one node now.
struct Outlook {
    /// One of the three words above.
    word: &'static str,
    why: String,
}

async fn outlook(context: &Context, node: &str) -> Result<Outlook, Error> {
    let question = PlanRequest { drain: vec![node.to_owned()], ..Default::default() };
    let report = context.client.plan(question).await?;
    let ends = report.drains.iter().all(|drain| drain.empty_in.is_some());
    let losers = report.endpoints.iter().filter(|endpoint| !endpoint.keeps_minimum);
    let whys: Vec<_> = losers.map(|endpoint| format!("{}: {}", endpoint.endpoint, endpoint.why)).collect();
    Ok(match (report.keeps_minimum, ends) {
        (true, _) => Outlook { word: FITS, why: String::new() },
        (false, true) => Outlook { word: COSTS, why: whys.join("; ") },
        (false, false) => {
            let left: u64 = report.drains.iter().map(|drain| drain.replicas_left).sum();
            let fit = if left == 1 { "fits" } else { "fit" };
            let nowhere = format!("{} {fit} nowhere else", Count(left, "replica"));
            Outlook { word: NEVER_ENDS, why: [vec![nowhere], whys].concat().join("; ") }
        }
    })
}

/// Refuses to begin with a node that would not get empty: the fleet may have changed since the walk began, and a drain
/// that hangs helps nobody.
async fn ask_first(context: &Context, node: &str) -> Result<(), Error> {
    let Outlook { word, why } = outlook(context, node).await?;
    match word {
        NEVER_ENDS => Err(Error::new(Code::NoCapacity, format!("{node} would not get empty")).why(why).try_(format!(
            "add a node or ask for less, see `berth plan --drain {node}`, then run this again to go on"
        ))),
        COSTS => {
            context.out.note(format!("emptying {node} costs: {why}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Picks the nodes to walk, those that are drained already first: an earlier walk left them.
fn chosen(context: &Context, args: &UpgradeArgs, mut nodes: Vec<Node>) -> Result<Vec<Node>, Error> {
    if args.all {
        nodes.retain(|node| {
            // Somebody else wants it empty, and would not like it to be let go.
            let theirs = node.drain.as_ref().filter(|drain| drain.by != DrainBy::Upgrade.word());
            if let Some(drain) = theirs {
                let why = if drain.reason.is_empty() { String::new() } else { format!(": {}", drain.reason) };
                context.out.note(format!("{} is passed over: it is drained{why}; name it to upgrade it", node.node));
            }
            theirs.is_none()
        });
    } else {
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

async fn walk(context: &Context, args: &UpgradeArgs, holder: &str, nodes: &[Node]) -> Result<Walked, Fault> {
    let out = &context.out;
    let mut walked = Walked::default();
    for (at, node) in nodes.iter().enumerate() {
        let name = &node.node;
        lock(context, holder, args, false).await?;
        // What an earlier walk left on its way goes on.
        if node.drain.is_none() {
            ask_first(context, name).await?;
        }
        let within_ms = u64::try_from(args.deadline.as_millis()).unwrap_or(u64::MAX);
        let reason = format!("upgrade by {holder}");
        let request = DrainNodeRequest { node: name.clone(), within_ms, reason, upgrade: true, ..Default::default() };
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
        walked.upgraded.push(Upgraded { node: name.clone(), version: back.version });
    }
    Ok(walked)
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
        Error::new(Code::Invalid, format!("the hook failed for {}", node.node)).why(why).try_(format!(
            "{0} stays drained: mend the hook and run this again to go on with it, or `berth node drain {0} --cancel`",
            node.node
        ))
    };
    let child = Command::new("sh")
        .arg("-c")
        .arg(hook)
        .env("BERTH_NODE", &node.node)
        .env("BERTH_NODE_GATE", &node.gate_address)
        .stdin(Stdio::null())
        // What this verb prints is for whoever runs it in a script.
        .stdout(std::io::stderr())
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
