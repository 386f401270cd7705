//! Verbs of other tools, done by ours.

use berth_client::api::Replica;
use berth_core::{
    error::{Code, Error, ErrorKind},
    model::DeploymentKey,
};
use clap::ValueEnum as _;

use super::{Context, confirm, deployment, endpoint, logs, named, node, replica, select};
use crate::{
    args::{
        Deletable, DeleteArgs, DeleteDeploymentArgs, DeleteEndpointArgs, DeploymentName, DeploymentVerb, DrainArgs,
        EndpointName, EndpointVerb, Habit, NodeVerb, ReplaceArgs, ReplicaVerb, parse_key, typed,
    },
    output::{Fault, Misused},
    yaml::{self, Document},
};

pub(super) async fn run(context: &Context, habit: Habit) -> Result<(), Fault> {
    match habit {
        Habit::Drain(args) => node::run(context, NodeVerb::Drain(DrainArgs { node: bare(&args.node), ..args })).await,
        Habit::Cordon { node } => node::run(context, NodeVerb::Cordon { node: bare(&node) }).await,
        Habit::Uncordon { node } => node::run(context, NodeVerb::Uncordon { node: bare(&node) }).await,
        Habit::Delete(args) => {
            let passes = args.ignore_not_found;
            passed(context, passes, delete(context, args).await)
        }
    }
}

/// Lets pass that something was not there, where that was asked for.
fn passed(context: &Context, passes: bool, done: Result<(), Fault>) -> Result<(), Fault> {
    match done {
        Err(fault) if passes && fault.error().kind() == ErrorKind::NotFound => {
            context.out.aside(fault.error().what.as_str());
            Ok(())
        }
        done => done,
    }
}

/// Takes a type off a name: `node/node-1` is `node-1`.
fn bare(name: &str) -> String {
    typed(name).map_or(name, |(_, name)| name).to_owned()
}

async fn delete(context: &Context, args: DeleteArgs) -> Result<(), Fault> {
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    if !args.file.is_empty() {
        return delete_described(context, &args).await;
    }
    if !args.only.select.is_empty() {
        return delete_selected(context, &args).await;
    }
    let (noun, name) = match args.what.as_slice() {
        [noun, name] => (noun.as_str(), name.as_str()),
        [one] => typed(one).unwrap_or((one.as_str(), "")),
        _ => ("", ""),
    };
    let kind = Deletable::from_str(noun, true).ok();
    if kind.is_some() && name.is_empty() {
        let error = Error::new(Code::Invalid, format!("`{noun}` is a kind, and no name is given"));
        return Err(Fault::misused(error.try_(format!("`berth get {noun}` lists them"))));
    }
    let Some(kind) = kind else {
        let error = Error::new(Code::Invalid, format!("`{}` is nothing that is deleted", args.what.join(" ")));
        return Err(Fault::misused(error.try_("endpoint, deployment, node or replica, and a name; or -f FILE")));
    };
    let (name, DeleteArgs { yes, no_wait, now, grace_period, .. }) = (name.to_owned(), args);
    match kind {
        Deletable::Endpoint => {
            let args = DeleteEndpointArgs { name: EndpointName::of(name), yes, no_wait };
            endpoint::run(context, EndpointVerb::Delete(args)).await
        }
        Deletable::Deployment => {
            let mut name = named(context, &format!("deploy/{name}")).await?;
            if !name.contains('/') {
                name = logs::only_deployment(context, &name, "delete deployment").await?.to_string();
            }
            let args = DeleteDeploymentArgs { name: DeploymentName::of(name), yes, no_wait };
            deployment::run(context, DeploymentVerb::Delete(args)).await
        }
        Deletable::Replica => {
            let args = ReplaceArgs { replica: name, now: now || grace_period == Some(0), yes };
            replica::run(context, ReplicaVerb::Replace(args)).await
        }
        Deletable::Node => node::run(context, NodeVerb::Forget { node: name, yes }).await,
    }
}

/// Deletes what a selector finds, and asks once for all of it.
async fn delete_selected(context: &Context, args: &DeleteArgs) -> Result<(), Fault> {
    let kind = select::kind(&args.what)?;
    let names = select::or_none(context, select::names(context, kind, &args.only).await)?;
    let now = args.now || args.grace_period == Some(0);
    let mut all = Vec::new();
    match kind {
        Deletable::Endpoint => all.extend(names.into_iter().map(Doomed::Endpoint)),
        Deletable::Deployment => {
            let keys = names.iter().map(|name| parse_key(name)).collect::<Result<Vec<_>, _>>()?;
            all.extend(keys.into_iter().map(Doomed::Deployment));
        }
        Deletable::Node => all.extend(names.into_iter().map(Doomed::Node)),
        Deletable::Replica => {
            let listed = context.client.list_replicas("", "").await?;
            let meant = listed.into_iter().filter(|replica| names.contains(&replica.replica));
            all.extend(meant.map(|replica| Doomed::Replica(Box::new(replica), now)));
        }
    }
    let mut fates = Vec::new();
    for doomed in &all {
        fates.push(doomed.fate(context).await?);
    }
    if fates.is_empty() {
        return Ok(());
    }
    confirm(&context.out, &fates.join("\n"), args.yes)?;
    // What one of them is refused for does not keep the others, and all are told before the first is waited for.
    let mut refused = None;
    let mut begun = Vec::new();
    for doomed in &all {
        match passed(context, true, doomed.end(context).await) {
            Ok(()) => begun.push(doomed),
            Err(fault) => {
                refused.replace(fault).into_iter().for_each(|before| context.out.note(before.error().to_string()));
            }
        }
    }
    for doomed in begun {
        if let Doomed::Deployment(key) = doomed {
            deployment::ended(context, key, args.no_wait).await?;
        }
    }
    refused.map_or(Ok(()), Err)
}

/// One of several things that are to go.
enum Doomed {
    Endpoint(String),
    Deployment(DeploymentKey),
    Node(String),
    /// With whether what it works on is cut.
    Replica(Box<Replica>, bool),
}

// === impl Doomed ===

impl Doomed {
    async fn fate(&self, context: &Context) -> Result<String, Fault> {
        match self {
            Self::Endpoint(name) => endpoint::fate(context, name).await,
            Self::Deployment(key) => deployment::fate(context, key).await,
            Self::Node(name) => Ok(node::fate(name)),
            Self::Replica(found, now) => Ok(replica::fate(found, *now)),
        }
    }

    async fn end(&self, context: &Context) -> Result<(), Fault> {
        match self {
            Self::Endpoint(name) => endpoint::end(context, name).await,
            Self::Deployment(key) => deployment::end(context, key).await,
            Self::Node(name) => node::end(context, name).await,
            Self::Replica(found, now) => replica::end(context, found, *now).await,
        }
    }
}

/// Deletes what files describe: endpoints with all they have, and the deployments of others.
async fn delete_described(context: &Context, args: &DeleteArgs) -> Result<(), Fault> {
    let loaded = yaml::load_all(&args.file, &[]).or_misused()?;
    let mut endpoints: Vec<String> = Vec::new();
    let mut deployments = Vec::new();
    for document in loaded.documents {
        match document {
            Document::Endpoint(file) => endpoints.push(file.name.to_string()),
            Document::Deployment(file) => deployments.push(file.key),
        }
    }
    let (yes, no_wait, passes) = (args.yes, args.no_wait, args.ignore_not_found);
    for key in deployments.iter().filter(|key| !endpoints.iter().any(|name| *name == key.endpoint.as_str())) {
        let args = DeleteDeploymentArgs { name: DeploymentName::of(key.to_string()), yes, no_wait };
        passed(context, passes, deployment::run(context, DeploymentVerb::Delete(args)).await)?;
    }
    for name in endpoints {
        let args = DeleteEndpointArgs { name: EndpointName::of(name), yes, no_wait };
        passed(context, passes, endpoint::run(context, EndpointVerb::Delete(args)).await)?;
    }
    Ok(())
}
