//! `berth describe`: everything about one thing, whichever noun it is, and what happened to it last.

use berth_client::{
    Client,
    api::{Event, Replica},
};
use berth_core::error::{Code, Error, nearest};
use clap::ValueEnum as _;

use super::{Context, deployment, explain, named, node, status};
use crate::{
    args::{Noun, parse_key, typed},
    output::{Fault, Listed, Misused, Output, Table},
    view,
};

/// Events that fit below the rest.
const EVENTS: usize = 10;

/// Nouns that may stand before the name, as kubectl has them.
const NOUNS: &[&str] = &[
    "endpoint",
    "endpoints",
    "ep",
    "deployment",
    "deployments",
    "dep",
    "node",
    "nodes",
    "no",
    "replica",
    "replicas",
    "rep",
    "pods",
    "pod",
    "po",
    "service",
    "svc",
    "deploy",
    "event",
    "events",
    "ev",
];

/// Returns what `berth describe` would print without colours.
pub(crate) async fn lines(client: &Client, of: &[String]) -> Result<Vec<String>, Error> {
    let context = Context { client: client.clone(), out: Output::keeping() };
    run(&context, of).await.map_err(|fault| fault.error().clone())?;
    Ok(context.out.kept())
}

pub(super) async fn run(context: &Context, of: &[String]) -> Result<(), Fault> {
    let (noun, name) = match of {
        [name] => match typed(name) {
            Some((noun, _)) => (noun, named(context, name).await?),
            None => ("", name.to_ascii_lowercase()),
        },
        [noun, name] if NOUNS.contains(&noun.as_str()) => (noun.as_str(), name.to_ascii_lowercase()),
        _ => {
            let error = Error::new(Code::Invalid, "it is not clear what is meant");
            return Err(Fault::misused(error.try_("berth describe fraud, fraud/blue, node-1, or a replica's id")));
        }
    };
    if noun.starts_with("ev") {
        return event(context, &name).await;
    }
    if name.contains('/') {
        return one_deployment(context, &name).await;
    }
    let client = &context.client;
    // kubectl's `deploy/fraud`: the one deployment of `fraud`; an endpoint with several is shown as a whole.
    if noun.starts_with("de")
        && let [only] = client.list_deployments(&name).await.unwrap_or_default().as_slice()
    {
        return one_deployment(context, &only.name()).await;
    }
    let wants_replica = noun.starts_with("rep") || noun.starts_with("po");
    let wants_node = noun.starts_with("no");
    let nodes = client.list_nodes().await?;
    if wants_node || (noun.is_empty() && nodes.iter().any(|node| node.node == name)) {
        node::status(context, &name).await?;
        return last_events(context, |event| event.node == name).await;
    }
    let endpoints = client.list_endpoints().await?;
    if !wants_replica && endpoints.iter().any(|endpoint| endpoint.name == name) {
        status::one(context, &name).await?;
        return last_events(context, |event| event.endpoint == name).await;
    }
    let replicas = client.list_replicas("", "").await?;
    let mut found = replicas.iter().filter(|replica| replica.replica.starts_with(&name));
    if let (Some(replica), None) = (found.next(), found.next()) {
        let id = replica.replica.clone();
        context.out.value(replica, &id, || self::replica(&context.out, replica, crate::output::now_ms()))?;
        return last_events(context, |event| event.replica == id).await;
    }
    if Noun::from_str(&name, true).is_ok() {
        let error = Error::new(Code::Invalid, format!("`{name}` is a kind, and no name is given"));
        let tried = format!("`berth get {name}` lists them, `berth describe NAME` tells all about one");
        return Err(Fault::misused(error.try_(tried)));
    }
    let names = endpoints.iter().map(|it| it.name.as_str()).chain(nodes.iter().map(|it| it.node.as_str()));
    let error = Error::new(Code::EndpointNotFound, format!("no endpoint, node or replica is called `{name}`"));
    Err(match nearest(&name, names) {
        Some(near) => error.try_(format!("did you mean `{near}`?")),
        None => error.try_("`berth status` lists endpoints and nodes"),
    }
    .into())
}

/// Prints what is known of a replica.
pub(crate) fn replica(out: &Output, replica: &Replica, now_ms: u64) {
    let id = &replica.replica;
    let devices: Vec<_> = replica.devices.iter().map(|device| device.uuid.as_str()).collect();
    let lines = [
        ("replica", id.clone()),
        ("deployment", format!("{}/{}", replica.endpoint, replica.deployment)),
        ("node", replica.node.clone()),
        ("state", out.paint(&replica.state, crate::output::state_ink(&replica.state))),
        ("for", view::age(replica.since_ms, now_ms)),
        ("why", replica.reason.clone()),
        ("pid", replica.pid.to_string()),
        ("address", replica.address.clone()),
        ("generation", replica.generation.to_string()),
        ("restarts", replica.restarts.to_string()),
        ("in flight", replica.in_flight.to_string()),
        ("devices", devices.join(", ")),
    ];
    for (key, value) in lines.iter().filter(|(_, value)| !value.is_empty() && value != "0") {
        out.line(format!("{key:10} = {value}"));
    }
    out.aside(format!("\nwhat it wrote: berth logs {}/{} --replica {id}", replica.endpoint, replica.deployment));
}

async fn one_deployment(context: &Context, name: &str) -> Result<(), Fault> {
    let key = parse_key(name).or_misused()?;
    let (endpoint, deployment) = (key.endpoint.as_str(), key.deployment.as_str());
    let current = context.client.get_deployment(endpoint, deployment).await?;
    deployment::show(context, &current).await?;
    if context.out.is_for_programs() || context.out.is_names() {
        return Ok(());
    }
    let replicas = context.client.list_replicas(endpoint, deployment).await?;
    if !replicas.is_empty() {
        context.out.line(format!("\n{}", context.out.rendered(&context.out.table(&replicas))));
    }
    let slots = context.client.list_slots(endpoint, deployment).await?;
    if !slots.is_empty() {
        context.out.line(format!("\n{}", context.out.rendered(&context.out.table(&slots))));
    }
    let verdict = context.client.explain_deployment(endpoint, deployment).await?;
    // What the tables above show is not told again.
    let lines = match explain::risk(context, &key, &verdict).await? {
        Some(risk) => risk,
        None => vec![verdict.text.trim_end().to_owned()],
    };
    if !lines.is_empty() {
        context.out.line("");
        lines.iter().for_each(|line| context.out.line(line.strip_prefix("  ").unwrap_or(line)));
    }
    last_events(context, |event| event.endpoint == endpoint && event.deployment == deployment).await
}

/// Tells one event, and what happened to the same thing before.
async fn event(context: &Context, seq: &str) -> Result<(), Fault> {
    let events = context.client.events().await?;
    let Some(found) = events.iter().find(|event| event.seq.to_string() == seq) else {
        let error = Error::new(Code::Invalid, format!("no event has the number `{seq}`, or it is no longer kept"));
        return Err(error.try_("`berth get events -o wide` shows their numbers").into());
    };
    let found = found.clone();
    context.out.value(&found, seq, || {
        let at = format!("{} ({} ago)", view::iso(found.at_ms), view::age(found.at_ms, crate::output::now_ms()));
        let lines = [
            ("event", found.seq.to_string()),
            ("at", at),
            ("severity", context.out.paint(&found.severity, crate::output::state_ink(&found.severity))),
            ("kind", found.kind.clone()),
            ("endpoint", found.endpoint.clone()),
            ("deployment", found.deployment.clone()),
            ("replica", found.replica.clone()),
            ("node", found.node.clone()),
            ("index", found.index.to_string()),
        ];
        for (key, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            context.out.line(format!("{key:10} = {value}"));
        }
        context.out.line(format!("\n{}", found.text));
    })?;
    let is_same = |event: &Event| match (found.replica.as_str(), found.deployment.as_str(), found.endpoint.as_str()) {
        ("", "", "") => event.node == found.node,
        ("", "", endpoint) => event.endpoint == endpoint,
        ("", deployment, endpoint) => event.endpoint == endpoint && event.deployment == deployment,
        (replica, ..) => event.replica == replica,
    };
    last_events(context, |event| event.seq < found.seq && is_same(event)).await
}

async fn last_events(context: &Context, fits: impl Fn(&Event) -> bool) -> Result<(), Fault> {
    if context.out.is_for_programs() || context.out.is_names() {
        return Ok(());
    }
    let kept: Vec<_> = context.client.events().await?.into_iter().filter(|event| fits(event)).collect();
    let last = &kept[kept.len().saturating_sub(EVENTS)..];
    if !last.is_empty() {
        // What they are about was asked for; their text says it, too.
        let mut table = Table::new(&["AGE", "SEVERITY", "KIND", "TEXT"]);
        for event in last {
            let mut cells = event.cells(crate::output::now_ms());
            cells.truncate(Event::NARROW);
            cells.remove(3);
            table.push(cells);
        }
        context.out.line(format!("\n{}", context.out.rendered(&table)));
    }
    Ok(())
}
