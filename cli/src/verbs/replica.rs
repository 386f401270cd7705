//! `berth replica replace`: one replica that misbehaves goes, another comes in its place.

use std::time::Duration;

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
    let (of, short) = (format!("{}/{}", found.endpoint, found.deployment), short_id(&id));
    let busy = Count(found.in_flight, "request");
    let fate = match (found.in_flight, args.now) {
        (0, _) => String::new(),
        (_, true) => format!(", and {busy} under way with it"),
        (_, false) => format!(" once {busy} under way came to an end"),
    };
    let what = format!("Replica {short} of {of} on {} ends{fate}.", found.node);
    confirm(&context.out, &what, args.yes)?;
    let answer = context.client.replace_replica(&id, args.now.then_some(Duration::ZERO)).await?;
    Ok(context.out.value(&answer, &id, || {
        context.out.done(format!("replica {short} of {of} goes; `berth get replicas {of} -w` shows what comes"));
    })?)
}
