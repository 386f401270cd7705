//! What each verb does.

mod alerts;
mod apply;
mod awaited;
pub(crate) mod cluster;
mod context;
pub(crate) mod cost;
mod daemon;
mod deploy;
mod deployment;
pub(crate) mod describe;
mod doctor;
mod drain;
mod edit;
mod endpoint;
mod error;
mod explain;
mod get;
mod habits;
mod health;
mod init;
mod invoke;
mod join;
mod label;
mod logs;
mod names;
mod node;
mod operator;
mod plan;
mod quota;
mod replica;
pub(crate) mod rollout;
mod select;
mod settings;
mod shell;
mod sim;
mod size;
mod snapshot;
mod status;
mod top;
pub(crate) mod traffic;
mod upgrade;
mod version;
mod wait;
mod watch;
mod why;

pub use deployment::create_deployment;
pub use endpoint::create_endpoint;

use std::{
    io::{self, BufRead, IsTerminal, Write},
    time::Duration,
};

use berth_client::Client;
use berth_core::error::{Code, Error};

use crate::{
    args::{Cli, GetArgs, Noun, OperatorVerb, SnapshotVerb, Verb, typed},
    config::LogConfig,
    output::{Fault, Misused, Output, now_ms},
    process,
};

use cluster::Meant;

/// How long a person waits to hear that nothing answers: longer than a restart of a coordinator takes to bind.
const UNREACHABLE: Duration = Duration::from_secs(2);

/// What `--debug` lets the client say.
const CLIENT_LOG: &str = "berth_client=debug,warn";

/// What every verb that talks to a cluster is given.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) out: Output,
}

/// What a verb took away, for programs.
#[derive(serde::Serialize)]
struct Deleted {
    /// Its name, as other verbs take it.
    deleted: String,
    noun: &'static str,
    /// What went with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    with: Vec<String>,
}

/// Runs a verb.
pub(crate) async fn run(cli: Cli, out: Output) -> Result<(), Fault> {
    let global = cli.global;
    match cli.verb {
        Verb::Dev(args) => return crate::dev::run(*args, global.api.as_deref(), out).await,
        Verb::Coordinator(args) => return daemon::coordinator(&args, global).await,
        Verb::Node(command) if command.verb.is_none() => return daemon::node(&command.daemon, global).await,
        Verb::Doctor(args) => return doctor::run(args, &out).await,
        Verb::Demo(args) => return daemon::demo(args, out).await,
        Verb::Sim(verb) => return sim::run(verb, out).await,
        Verb::ServeOnnx(args) => return daemon::serve_onnx(args).await,
        Verb::Context(command) => return context::run(command, &global, &out),
        Verb::Init(args) => return init::run(&args, &out),
        Verb::Error(args) => return error::run(args, &out),
        Verb::CompleteNames { values, words } => {
            names::run(&global, &words, values, &out).await;
            return Ok(());
        }
        Verb::Completion { shell } => return shell::completion(shell, &out),
        Verb::Man { dir } => return shell::man(&dir, &out),
        Verb::Operator(OperatorVerb::Snapshot(SnapshotVerb::Inspect { file })) => {
            return snapshot::inspect(&file, &out);
        }
        Verb::Operator(OperatorVerb::Snapshot(SnapshotVerb::Restore(args))) => return snapshot::restore(args, &out),
        _ => {}
    }
    if global.debug && !matches!(cli.verb, Verb::Tui(_)) {
        process::log(&LogConfig { filter: CLIENT_LOG.to_owned(), json: false })?;
    }
    let Meant { context: cluster, from } = cluster::meant(&global).or_misused()?;
    let context = Context { client: cluster::client(&cluster).or_misused()?, out };
    let out = context.out.clone();
    let begun = std::time::Instant::now();
    let done = ask(context, cli.verb).await;
    if global.verbose || global.debug {
        out.aside(format!("asked {} ({from}), {} ms", cluster.api, begun.elapsed().as_millis()));
    }
    done
}

/// Runs a verb that talks to a cluster.
async fn ask(context: Context, verb: Verb) -> Result<(), Fault> {
    match verb {
        Verb::Deploy(args) => deploy::run(&context, *args).await,
        Verb::Apply(args) => apply::run(&context, args).await,
        Verb::Plan(args) => plan::run(&context, args).await,
        Verb::Edit(args) => edit::run(&context, args).await,
        Verb::Label(args) => label::run(&context, args).await,
        Verb::Alerts(args) => alerts::run(&context, args).await,
        Verb::Endpoint(command) => {
            command.scope.note().into_iter().for_each(|note| context.out.aside(note));
            endpoint::run(&context, command.verb).await
        }
        Verb::Deployment(command) => {
            command.scope.note().into_iter().for_each(|note| context.out.aside(note));
            deployment::run(&context, command.verb).await
        }
        Verb::Habit(habit) => habits::run(&context, habit).await,
        Verb::Traffic(args) => traffic::run(&context, args, traffic::What::Split).await,
        Verb::Mirror(args) => traffic::mirror(&context, args).await,
        Verb::Wait(args) => awaited::run(&context, args).await,
        Verb::Rollout(verb) => rollout::run(&context, verb).await,
        Verb::Replica(verb) => replica::run(&context, verb).await,
        Verb::Scale(args) => deployment::scale(&context, args).await,
        Verb::Invoke(args) => invoke::run(&context, args).await,
        Verb::Status(args) => status::run(&context, args).await,
        Verb::Get(args) => get::run(&context, args).await,
        Verb::Describe(args) => {
            args.scope.note().into_iter().for_each(|note| context.out.aside(note));
            describe::run(&context, &args.of).await
        }
        Verb::Events(args) => {
            args.scope.note().into_iter().for_each(|note| context.out.aside(note));
            let about = match args.about {
                Some(about) => Some(about_named(&context, &about).await?),
                None => args.of,
            };
            let since_ms = args.since.map_or(0, |since| since.at_ms(now_ms()));
            let asked = GetArgs { since_ms, ..GetArgs::new(Noun::Events, about, args.follow, args.table) };
            get::run(&context, asked).await
        }
        Verb::Cost(args) => cost::run(&context, args).await,
        Verb::Top(args) => top::run(&context, args).await,
        Verb::Logs(args) => logs::run(&context, args).await,
        Verb::Explain(args) => explain::run(&context, args).await,
        Verb::Quota(verb) => quota::run(&context, verb).await,
        Verb::Operator(OperatorVerb::Check) => operator::check(&context).await,
        Verb::Operator(verb) => operator::run(&context, verb).await,
        Verb::Tui(args) => crate::tui::run(context.client, context.out, args).await,
        Verb::Version(args) => version::run(&context, args.client).await,
        Verb::Node(command) => match command.verb {
            Some(verb) => node::run(&context, verb).await,
            None => Ok(()),
        },
        Verb::Init(_) => Ok(()),
        Verb::Dev(_) | Verb::Doctor(_) | Verb::Coordinator(_) | Verb::Demo(_) | Verb::Sim(_) | Verb::ServeOnnx(_) => {
            Ok(())
        }
        Verb::Context(_) | Verb::Error(_) | Verb::Completion { .. } | Verb::Man { .. } => Ok(()),
        Verb::CompleteNames { .. } => Ok(()),
    }
}

/// Says what is about to be destroyed, and asks. Without a person to ask, `--yes` is the answer that counts.
fn confirm(out: &Output, what: &str, yes: bool) -> Result<(), Fault> {
    if yes {
        out.aside(what);
        return Ok(());
    }
    let refused = |what: &str| Error::new(Code::Unconfirmed, what).try_("add --yes to do it without being asked");
    if !io::stdin().is_terminal() {
        let error = refused("nobody is there to be asked").why(what.trim_end_matches('.'));
        return Err(Fault::misused(error));
    }
    let mut err = io::stderr().lock();
    let _ = write!(err, "{what} Go on? [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| refused(&error.to_string()))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(Code::Unconfirmed, "not confirmed; nothing was changed").into()),
    }
}

/// What a replica is called; kubectl's replica set is a deployment here.
const REPLICAS: &[&str] = &["po", "pod", "pods", "rep", "replica", "replicas"];

/// Finds what events are about that `--for pod/1f2e3d4c` names: those of a replica are its deployment's.
async fn about_named(context: &Context, of: &str) -> Result<String, Fault> {
    let name = named(context, of).await?;
    let is_replica = typed(of).is_some_and(|(word, name)| REPLICAS.contains(&word) && !name.contains('/'));
    if !is_replica {
        return Ok(name);
    }
    let all = context.client.list_replicas("", "").await?;
    let id = by_prefix("replica", &name, all.iter().map(|found| found.replica.as_str()))?;
    let found = all.iter().find(|found| found.replica == id);
    Ok(found.map_or(name.clone(), |found| format!("{}/{}", found.endpoint, found.deployment)))
}

/// Finds what `deploy/fraud` means, for hands that learned kubectl: the name without its type, and the one deployment that a
/// bare name of one stands for. An endpoint that is called like a type is itself; every other name is as it was.
async fn named(context: &Context, of: &str) -> Result<String, Fault> {
    let of = of.to_ascii_lowercase();
    let Some((word, name)) = typed(&of) else { return Ok(of) };
    let is_one = word.starts_with("de") && !name.contains('/');
    let endpoints = context.client.list_endpoints().await?;
    if endpoints.iter().any(|endpoint| endpoint.name == word) && !name.contains('/') {
        return Ok(of);
    }
    if !is_one || endpoints.iter().any(|endpoint| endpoint.name == name) {
        return Ok(name.to_owned());
    }
    let all = context.client.list_deployments("").await?;
    let found: Vec<_> =
        all.iter().filter(|it| it.name == name).map(|it| format!("{}/{}", it.endpoint, it.name)).collect();
    match found.as_slice() {
        [] => Ok(name.to_owned()),
        [only] => Ok(only.clone()),
        several => {
            let error = Error::new(Code::Invalid, format!("{} deployments are called `{name}`", several.len()));
            Err(Fault::misused(error.try_(format!("name its endpoint: {}", several.join(", ")))))
        }
    }
}

/// Finds the one candidate an id or its beginning means.
fn by_prefix<'a>(noun: &str, prefix: &str, ids: impl Iterator<Item = &'a str>) -> Result<&'a str, Error> {
    let mut found = ids.filter(|id| id.starts_with(&prefix.to_ascii_lowercase()));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => {
            let (code, list) = match noun {
                "replica" => (Code::ReplicaNotFound, "berth get replicas"),
                _ => (Code::MemberNotFound, "berth operator raft list-peers"),
            };
            let error = Error::new(code, format!("no {noun} has an id that starts with `{prefix}`"));
            Err(error.try_(format!("`{list}` lists them")))
        }
        (Some(_), Some(_)) => {
            Err(Error::new(Code::Invalid, format!("several {noun}s have ids that start with `{prefix}`"))
                .try_("add digits"))
        }
    }
}
