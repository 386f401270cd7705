//! `berth apply`: whatever a file describes, in the order that works.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal as _},
};

use berth_client::api::{Deployment, Endpoint, PutMode};
use berth_core::error::{Code, Error, ErrorKind, Problem};
use serde::Serialize;

use super::{Context, confirm, deployment, endpoint, plan, traffic, wait};
use crate::{
    args::{ApplyArgs, DryRun},
    output::{Fault, Misused},
    view::advice,
    yaml::{self, DeploymentFile, Document, EndpointFile, Setting},
};

/// What was applied, for programs.
#[derive(Serialize)]
struct Applied {
    endpoints: Vec<Endpoint>,
    deployments: Vec<Deployment>,
}

pub(super) async fn run(context: &Context, args: ApplyArgs) -> Result<(), Fault> {
    documents(context, args, true).await
}

/// As `berth apply`, but for the split and the mirrors: those stay as they are.
pub(super) async fn without_traffic(context: &Context, args: ApplyArgs) -> Result<(), Fault> {
    documents(context, args, false).await
}

async fn documents(context: &Context, args: ApplyArgs, with_traffic: bool) -> Result<(), Fault> {
    let settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>().or_misused()?;
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    let loaded = yaml::load_all(&args.file, &settings).or_misused()?;
    loaded.left_out.iter().for_each(|path| context.out.aside(format!("{} is a conda file: left out", path.display())));
    context.out.warnings(&loaded.warnings);
    if args.trial.dry_run.is_some_and(|run| run != DryRun::None) {
        return tried(context, &loaded.documents).await;
    }
    let asked = asks(&args, io::stdin().is_terminal() && io::stderr().is_terminal());
    let agreed = if asked && !context.out.is_for_programs() { agree(context, &loaded.documents).await? } else { None };
    let (mut endpoints, mut deployments) = (Vec::new(), Vec::new());
    for document in loaded.documents {
        match document {
            Document::Endpoint(file) => endpoints.push(*file),
            Document::Deployment(file) => deployments.push(*file),
        }
    }
    let revisions = match args.check_index.or(agreed) {
        Some(index) => Some(unchanged_since(context, index, &endpoints, &deployments).await?),
        None => None,
    };
    let at = |name: String| revisions.as_ref().map(|known| known.get(&name).copied().unwrap_or(0));
    // Shares name deployments, so they come last, when what they name serves.
    let mut applied = Applied { endpoints: Vec::new(), deployments: Vec::new() };
    for file in &endpoints {
        let bare = yaml::EndpointFile { traffic: None, mirror: None, ..file.clone() };
        let at = at(file.name.to_string());
        applied.endpoints.push(endpoint::put_at(&context.client, &bare, PutMode::Upsert, at).await?);
        context.out.done(format!("endpoint {} applied", file.name));
    }
    for file in deployments {
        let key = file.key.clone();
        let at = at(key.to_string());
        applied.deployments.push(deployment::put_at(context, file, PutMode::Upsert, at).await?);
        context.out.done(format!("deployment {key} applied"));
    }
    if !args.wait.no_wait {
        for deployment in &mut applied.deployments {
            *deployment = wait::until_serving(context, deployment, args.wait.timeout).await?;
            let (name, ready) = (format!("{}/{}", deployment.endpoint, deployment.name), deployment.ready);
            context.out.done(format!("deployment {name} serves with {ready} of {}", deployment.desired));
        }
    }
    for (file, last) in endpoints.iter().zip(&mut applied.endpoints).filter(|_| with_traffic) {
        let [split, mirror] = [&file.traffic, &file.mirror].map(|shares| shares.as_ref().map(traffic::plain));
        if split.is_some() || mirror.is_some() {
            *last = traffic::set(context, file.name.as_str(), split, mirror, args.strict_azure).await?;
            context.out.done(format!("traffic of {} set", file.name));
        }
    }
    if with_traffic && !context.out.is_for_programs() {
        idle(context, &applied).await;
    }
    let names: Vec<_> = applied.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    Ok(context.out.value(&applied, &names.join("\n"), || {})?)
}

/// Says what would change, as `berth plan -f` does. That something would is no failure here.
async fn tried(context: &Context, documents: &[Document]) -> Result<(), Fault> {
    let report = plan::of_documents(context, documents).await?;
    context.out.value(&report, &plan::changed_names(&report), || {
        plan::show_files(context, &report);
        context.out.aside(format!(
            "nothing was changed; `--check-index {}` applies what was shown, or refuses",
            report.check_index
        ));
    })?;
    Ok(())
}

/// Says which of the endpoints that were touched give requests to nobody: nothing else would, until a caller gets 404. What was
/// applied is applied, also where that cannot be asked.
async fn idle(context: &Context, applied: &Applied) {
    let of_deployments = applied.deployments.iter().map(|deployment| &deployment.endpoint);
    let touched: BTreeSet<_> = applied.endpoints.iter().map(|endpoint| &endpoint.name).chain(of_deployments).collect();
    for name in touched {
        let Ok(endpoint) = context.client.get_endpoint(name).await else { continue };
        let Ok(deployments) = context.client.list_deployments(name).await else { continue };
        context.out.warnings(advice::without_traffic(&endpoint, &deployments).as_slice());
    }
}

/// Returns whether a person is to agree first: there is one, who has neither said so nor seen the plan.
fn asks(args: &ApplyArgs, is_terminal: bool) -> bool {
    is_terminal && !args.yes && args.check_index.is_none()
}

/// Shows what would change and asks. Returns the index the answer holds for: nobody agreed to what changes later.
async fn agree(context: &Context, documents: &[Document]) -> Result<Option<u64>, Fault> {
    let report = plan::of_documents(context, documents).await?;
    if !plan::changes(&report) {
        return Ok(None);
    }
    plan::show_files(context, &report);
    confirm(&context.out, "This is what would be done.", false)?;
    Ok(Some(report.check_index))
}

/// Returns the revision of everything the files describe, unless some of it changed after `index`.
async fn unchanged_since(
    context: &Context,
    index: u64,
    endpoints: &[EndpointFile],
    deployments: &[DeploymentFile],
) -> Result<BTreeMap<String, u64>, Error> {
    let mut found = BTreeMap::new();
    for file in endpoints {
        let endpoint = context.client.get_endpoint(file.name.as_str()).await.map(|endpoint| endpoint.revision);
        found.extend(known(endpoint)?.map(|revision| (file.name.to_string(), revision)));
    }
    for file in deployments {
        let (endpoint, name) = (file.key.endpoint.as_str(), file.key.deployment.as_str());
        let deployment = context.client.get_deployment(endpoint, name).await.map(|deployment| deployment.revision);
        found.extend(known(deployment)?.map(|revision| (file.key.to_string(), revision)));
    }
    let moved = found.iter().filter(|(_, revision)| **revision > index);
    let problems: Vec<_> = moved
        .map(|(name, revision)| Problem {
            field: name.clone(),
            what: format!("is at revision {revision}, after {index}"),
            try_: String::new(),
        })
        .collect();
    if problems.is_empty() {
        return Ok(found);
    }
    let error = Error::new(Code::Revision, "the cluster is not what the plan was made for");
    Err(Error { problems, ..error.try_("plan again: `berth plan -f FILE`") })
}

/// Tells what does not exist from what cannot be asked.
fn known(revision: Result<u64, Error>) -> Result<Option<u64>, Error> {
    match revision {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::args::{KubectlScope, TrialArgs, WaitArgs};

    #[test]
    fn a_person_is_asked_who_has_not_seen_the_plan() {
        let args = |yes, check_index| ApplyArgs {
            file: vec!["all.yml".into()],
            scope: KubectlScope::default(),
            set: Vec::new(),
            check_index,
            strict_azure: false,
            yes,
            trial: TrialArgs::default(),
            wait: WaitArgs { no_wait: true, timeout: Duration::ZERO },
        };
        for (yes, check_index, is_terminal, asked, why) in [
            (false, None, true, true, "a person sees the plan first"),
            (true, None, true, false, "who says so is not asked"),
            (false, Some(7), true, false, "who names an index has seen the plan"),
            (false, None, false, false, "a script cannot answer"),
        ] {
            assert_eq!(asks(&args(yes, check_index), is_terminal), asked, "{why}");
        }
    }
}
