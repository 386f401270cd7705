//! `berth replica replace`: one replica that misbehaves goes, another comes in its place.

use std::time::Duration;

use berth_client::api::Replica;
use berth_core::units::Count;

use super::{Context, by_prefix, confirm};
use crate::{
    args::{ReplaceArgs, ReplicaVerb},
    output::Fault,
    view::short_id,
};

pub(super) async fn run(context: &Context, verb: ReplicaVerb) -> Result<(), Fault> {
    match verb {
        ReplicaVerb::Replace(args) => replace(context, args).await,
    }
}

async fn replace(context: &Context, args: ReplaceArgs) -> Result<(), Fault> {
    let replicas = context.client.list_replicas("", "").await?;
    let id = by_prefix("replica", &args.replica, replicas.iter().map(|replica| replica.replica.as_str()))?.to_owned();
    let Some(found) = replicas.iter().find(|replica| replica.replica == id) else { return Ok(()) };
    confirm(&context.out, &fate(found, args.now), args.yes)?;
    end(context, found, args.now).await
}

/// Says what goes with a replica.
pub(super) fn fate(found: &Replica, now: bool) -> String {
    let busy = Count(found.in_flight, "request");
    let fate = match (found.in_flight, now) {
        (0, _) => String::new(),
        (_, true) => format!(", and {busy} under way with it"),
        (_, false) => format!(" once {busy} under way came to an end"),
    };
    let Replica { replica, endpoint, deployment, node, .. } = found;
    format!("Replica {} of {endpoint}/{deployment} on {node} ends{fate}.", short_id(replica))
}

/// Ends a replica; another takes its place.
pub(super) async fn end(context: &Context, found: &Replica, now: bool) -> Result<(), Fault> {
    let id = found.replica.as_str();
    let (of, short) = (format!("{}/{}", found.endpoint, found.deployment), short_id(id));
    let answer = context.client.replace_replica(id, now.then_some(Duration::ZERO)).await?;
    Ok(context.out.value(&answer, id, || {
        context.out.done(format!("replica {short} of {of} goes; `berth get replicas {of} -w` shows what comes"));
    })?)
}
