//! `berth wait`: until something is there, does what it is for, or is gone.

use std::time::Duration;

use berth_client::api::{Deployment, Endpoint, Node, Replica};
use berth_core::{
    error::{Code, Error, ErrorKind},
    time::Millis,
};
use clap::ValueEnum as _;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{Context, by_prefix, named, rollout, select, wait};
use crate::{
    args::{Deletable, Goal, WaitForArgs, parse_key, typed},
    output::{Fault, Listed as _, Misused},
    view::is_unknown_field,
};

/// How often it is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What is waited for.
struct Awaited {
    kind: Deletable,
    /// As it was typed, or as it was found to be called.
    name: String,
}

/// What was found of it.
enum Found {
    Endpoint(Endpoint),
    Deployment(Box<Deployment>),
    Node(Node),
    Replica(Replica),
}

/// What was waited for is gone, for programs.
#[derive(Serialize)]
struct Gone<'a> {
    gone: &'a str,
    noun: &'static str,
}

pub(super) async fn run(context: &Context, args: WaitForArgs) -> Result<(), Fault> {
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    let until = Instant::now() + args.timeout;
    let all = if args.only.select.is_empty() { read(&args.what) } else { chosen(context, &args, until).await? };
    for awaited in all {
        awaited.wait(context, args.goal, until, args.timeout).await?;
    }
    Ok(())
}

/// Finds what a selector means by now; what is to be there is looked for until something is.
async fn chosen(context: &Context, args: &WaitForArgs, until: Instant) -> Result<Vec<Awaited>, Fault> {
    let kind = select::kind(&args.what)?;
    loop {
        let found = select::names(context, kind, &args.only).await;
        let waits = args.goal == Goal::There && Instant::now() < until;
        let names = match found {
            // The first that has the field may be what is waited for.
            Err(error) if waits && is_unknown_field(&error) => Vec::new(),
            found if waits => found?,
            found => select::or_none(context, found)?,
        };
        let sought = || Awaited { kind, name: format!("-l {}", args.only.select.join(",")) };
        match args.goal {
            _ if !names.is_empty() => return Ok(names.into_iter().map(|name| Awaited { kind, name }).collect()),
            Goal::There if waits => sleep_until((Instant::now() + LOOK_AGAIN).min(until)).await,
            Goal::There => return Err(sought().late(context, args.goal, args.timeout).await),
            Goal::Available => return Err(sought().absent()),
            Goal::Gone => return Ok(Vec::new()),
        }
    }
}

/// Reads `TYPE NAME...`, `TYPE/NAME...`, `ENDPOINT/DEPLOYMENT...` and `ENDPOINT...`, each of which may be what is meant.
fn read(words: &[String]) -> Vec<Awaited> {
    let kind_of = |word: &str| Deletable::from_str(word, true).ok();
    if let [first, rest @ ..] = words
        && let Some(kind) = kind_of(first).filter(|_| !rest.is_empty())
    {
        return rest.iter().map(|name| Awaited { kind, name: name.clone() }).collect();
    }
    let each = words.iter().map(|word| match typed(word).and_then(|(kind, name)| Some((kind_of(kind)?, name))) {
        Some((kind, name)) => Awaited { kind, name: name.to_owned() },
        None if word.contains('/') => Awaited { kind: Deletable::Deployment, name: word.clone() },
        None => Awaited { kind: Deletable::Endpoint, name: word.clone() },
    });
    each.collect()
}

// === impl Awaited ===

impl Awaited {
    async fn wait(mut self, context: &Context, goal: Goal, until: Instant, within: Duration) -> Result<(), Fault> {
        let mut before: Option<String> = None;
        loop {
            let found = match self.find(context).await {
                Ok(found) => Some(found),
                Err(fault) if fault.error().kind() == ErrorKind::NotFound => None,
                Err(fault) => return Err(fault),
            };
            // What was made anew under its name is not what was there.
            let made = found.as_ref().map(Found::made);
            let is_new = before.is_some() && made.is_some() && before != made;
            self.name = found.as_ref().map_or(self.name, Found::name);
            match (goal, found) {
                (Goal::Gone, None) => return self.gone(context),
                (Goal::Gone, Some(_)) if is_new => return self.gone(context),
                (Goal::There, Some(found)) => return found.tell(context, "is there"),
                (Goal::Available, Some(Found::Deployment(found))) => {
                    let left = until.saturating_duration_since(Instant::now());
                    return Ok(rollout::tell(context, &wait::until_serving(context, &found, left).await?)?);
                }
                (Goal::Available, Some(Found::Endpoint(found))) => {
                    let of = context.client.list_deployments(&found.name).await?;
                    for deployment in &of {
                        let left = until.saturating_duration_since(Instant::now());
                        rollout::tell(context, &wait::until_serving(context, deployment, left).await?)?;
                    }
                    if !of.is_empty() {
                        return Ok(());
                    }
                }
                (Goal::Available, None) => return Err(self.absent()),
                (Goal::Available, Some(found)) => match found.is_available() {
                    Ok(true) => return found.tell(context, "is available"),
                    Ok(false) => {}
                    Err(error) => return Err(error.into()),
                },
                (Goal::There, None) | (Goal::Gone, Some(_)) => {}
            }
            before = made.or(before);
            if Instant::now() >= until {
                return Err(self.late(context, goal, within).await);
            }
            sleep_until((Instant::now() + LOOK_AGAIN).min(until)).await;
        }
    }

    async fn find(&self, context: &Context) -> Result<Found, Fault> {
        let (client, name) = (&context.client, self.name.as_str());
        match self.kind {
            Deletable::Endpoint => Ok(Found::Endpoint(client.get_endpoint(&name.to_ascii_lowercase()).await?)),
            Deletable::Deployment => {
                let mut name = if name.contains('/') {
                    name.to_owned()
                } else {
                    named(context, &format!("deploy/{name}")).await?
                };
                if !name.contains('/') {
                    name = super::logs::only_deployment(context, &name, "wait deployment").await?.to_string();
                }
                let key = parse_key(&name).or_misused()?;
                Ok(Found::Deployment(Box::new(
                    client.get_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?,
                )))
            }
            Deletable::Node => {
                let node = client.list_nodes().await?.into_iter().find(|node| node.node == name);
                node.map(Found::Node).ok_or_else(|| self.absent())
            }
            Deletable::Replica => {
                let mut all = client.list_replicas("", "").await?;
                let id = by_prefix("replica", name, all.iter().map(|replica| replica.replica.as_str()))?.to_owned();
                let at = all.iter().position(|replica| replica.replica == id);
                at.map(|at| Found::Replica(all.swap_remove(at))).ok_or_else(|| self.absent())
            }
        }
    }

    fn noun(&self) -> &'static str {
        match self.kind {
            Deletable::Endpoint => "endpoint",
            Deletable::Deployment => "deployment",
            Deletable::Node => "node",
            Deletable::Replica => "replica",
        }
    }

    fn absent(&self) -> Fault {
        let (noun, name) = (self.noun(), &self.name);
        let code = match self.kind {
            Deletable::Endpoint => Code::EndpointNotFound,
            Deletable::Deployment => Code::DeploymentNotFound,
            Deletable::Node => Code::NodeNotFound,
            Deletable::Replica => Code::ReplicaNotFound,
        };
        let error = Error::new(code, format!("there is no {noun} `{name}`"));
        error.try_(format!("`berth get {noun}s` lists them; `--for=create` waits until it is there")).into()
    }

    fn gone(&self, context: &Context) -> Result<(), Fault> {
        let (noun, name) = (self.noun(), self.name.as_str());
        Ok(context.out.did(&Gone { gone: name, noun }, name, format!("{noun} {name} is gone"))?)
    }

    async fn late(&self, context: &Context, goal: Goal, within: Duration) -> Fault {
        let (noun, name) = (self.noun(), &self.name);
        let what = match goal {
            Goal::There => "is not there",
            Goal::Available => "is not available",
            Goal::Gone => "is still there",
        };
        let span = Millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let why = match self.find(context).await {
            Ok(found) => found.state(),
            Err(_) => String::new(),
        };
        let error = Error::new(Code::Timeout, format!("{noun} {name} {what} after {span}")).why(why);
        Fault::timed_out(match goal {
            Goal::There => error.try_(format!("look with `berth get {noun}s`")),
            Goal::Available | Goal::Gone => error.try_(format!("look with `berth describe {name}`")),
        })
    }
}

// === impl Found ===

impl Found {
    fn name(&self) -> String {
        match self {
            Self::Endpoint(found) => found.name(),
            Self::Deployment(found) => found.name(),
            Self::Node(found) => found.node.clone(),
            Self::Replica(found) => found.replica.clone(),
        }
    }

    /// Tells it from another of the same name.
    fn made(&self) -> String {
        match self {
            Self::Endpoint(found) => found.created_at_ms.to_string(),
            Self::Deployment(found) => found.created_at_ms.to_string(),
            Self::Node(found) => found.id.clone(),
            Self::Replica(found) => found.replica.clone(),
        }
    }

    /// Returns whether it does what it is for, or that it never will.
    fn is_available(&self) -> Result<bool, Error> {
        match self {
            Self::Node(found) => Ok(found.state == "ready"),
            Self::Replica(found) if matches!(found.state.as_str(), "failed" | "draining" | "stopped" | "lost") => {
                let id = found.replica.get(..8).unwrap_or(&found.replica);
                let what = format!("replica {id} will not serve: it is {}", found.state);
                let of = format!("{}/{}", found.endpoint, found.deployment);
                Err(Error::new(Code::ReplicaStart, what)
                    .why(found.reason.as_str())
                    .try_(format!("another takes its place: `berth wait {of}`")))
            }
            Self::Replica(found) => Ok(found.state == "serving"),
            // These are waited for by what serves of them.
            Self::Endpoint(_) | Self::Deployment(_) => Ok(true),
        }
    }

    /// Says how it is.
    fn state(&self) -> String {
        let (state, reason) = match self {
            Self::Endpoint(found) => (&found.provisioning_state, ""),
            Self::Deployment(found) => (&found.provisioning_state, found.reason.as_str()),
            Self::Node(found) => (&found.state, found.reason.as_str()),
            Self::Replica(found) => (&found.state, found.reason.as_str()),
        };
        if reason.is_empty() { format!("it is {state}") } else { format!("it is {state}: {reason}") }
    }

    fn tell(&self, context: &Context, what: &str) -> Result<(), Fault> {
        let (out, name) = (&context.out, self.name());
        Ok(match self {
            Self::Endpoint(found) => out.did(found, &name, format!("endpoint {name} {what}")),
            Self::Deployment(found) => out.did(&**found, &name, format!("deployment {name} {what}")),
            Self::Node(found) => out.did(found, &name, format!("node {name} {what}")),
            Self::Replica(found) => {
                out.did(found, &name, format!("replica {} {what}", &name.get(..8).unwrap_or(&name)))
            }
        }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_read_as_it_is_typed() {
        for (line, read_as) in [
            ("deploy/fraud", "deployment fraud"),
            ("deployment fraud/blue", "deployment fraud/blue"),
            ("fraud/blue fraud/green", "deployment fraud/blue, deployment fraud/green"),
            ("pods 1f2e 3d4c", "replica 1f2e, replica 3d4c"),
            ("node/node-1 pod/1f2e", "node node-1, replica 1f2e"),
            ("node node-1", "node node-1"),
            ("svc/fraud", "endpoint fraud"),
            ("fraud", "endpoint fraud"),
            ("node", "endpoint node"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let all: Vec<_> = read(&words).iter().map(|it| format!("{} {}", it.noun(), it.name)).collect();
            assert_eq!(all.join(", "), read_as, "{line}");
        }
    }
}
