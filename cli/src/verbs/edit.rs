//! `berth edit`: what may be changed of an endpoint or a deployment, as it is now, in an editor.

use std::io::{self, IsTerminal as _};

use berth_core::{
    error::{Code, Error},
    model::DeploymentKey,
};

use super::{Context, confirm, deployment, logs, named, plan, wait};
use crate::{
    args::{EditArgs, parse_key, typed},
    editor::{self, Draft, Wanted},
    output::{Fault, Misused},
};

pub(super) async fn run(context: &Context, args: EditArgs) -> Result<(), Fault> {
    let out = &context.out;
    args.scope.note().into_iter().for_each(|note| out.aside(note));
    let draft = draft(context, &args.of.join("/")).await?;
    let failed = |error: io::Error| {
        let error = Error::new(Code::Invalid, "the editor failed").why(error.to_string());
        error.try_("set EDITOR to one that is here, or `berth deployment update ENDPOINT/DEPLOYMENT --set FIELD=VALUE`")
    };
    let written = editor::written(&draft.text).map_err(failed)?;
    let edited = editor::edited(written).await.map_err(failed)?;
    if edited.text == draft.text {
        out.done("nothing was changed");
        return Ok(());
    }
    let done = change(context, draft, &edited.text, &args).await;
    // Whoever typed for ten minutes does not type it again.
    if done.is_err()
        && let Ok((_, path)) = edited.file.keep()
    {
        out.aside(format!("what was typed is in {}", path.display()));
    }
    done
}

/// What has fields that a person may change.
pub(super) enum Target {
    Endpoint(String),
    Deployment(DeploymentKey),
}

/// Finds what a verb is to change. kubectl's `deploy/fraud` is the one deployment of `fraud`.
pub(super) async fn target(context: &Context, of: &str, verb: &str) -> Result<Target, Fault> {
    let word = typed(of).map_or("", |(word, _)| word);
    if word.starts_with("no") || word.starts_with("po") || word.starts_with("r") {
        let error = Error::new(Code::Invalid, format!("`berth {verb}` is for endpoints and deployments"));
        let error = error.why("labels and sizes are settings of a node, and a replica is what its deployment says");
        let tried = format!("berth {verb} ENDPOINT, or berth {verb} ENDPOINT/DEPLOYMENT");
        let node = "; a node says its labels when it starts: `berth node --labels zone=a`";
        let node = if word.starts_with("no") { node } else { "" };
        return Err(Fault::misused(error.try_(format!("{tried}{node}"))));
    }
    let name = named(context, of).await?;
    if !name.contains('/') && !word.starts_with("de") {
        return Ok(Target::Endpoint(name));
    }
    Ok(Target::Deployment(match name.contains('/') {
        true => parse_key(&name).or_misused()?,
        false => logs::only_deployment(context, &name, verb).await?,
    }))
}

/// Finds what is meant and writes it down.
async fn draft(context: &Context, of: &str) -> Result<Draft, Fault> {
    let client = &context.client;
    Ok(match target(context, of, "edit").await? {
        Target::Endpoint(name) => Draft::of_endpoint(client, &name).await?,
        Target::Deployment(key) => Draft::of_deployment(client, key.endpoint.as_str(), key.deployment.as_str()).await?,
    })
}

/// Does what was typed, once a person who can be asked has seen what it means.
async fn change(context: &Context, draft: Draft, text: &str, args: &EditArgs) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let wanted = draft.edited(text)?;
    let report = client.plan(wanted.plan()).await?;
    if !plan::changes(&report) {
        out.done("nothing would change");
        return Ok(());
    }
    if !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal() {
        plan::show_files(context, &report);
        confirm(out, "This is what would be done.", false)?;
    }
    match wanted {
        Wanted::Endpoint(request) => {
            let endpoint = client.put_endpoint(*request).await?;
            let said = format!("endpoint {} changed", endpoint.name);
            Ok(out.did(&endpoint, &endpoint.name, said)?)
        }
        Wanted::Deployment(request) => {
            let mut changed = client.put_deployment(*request).await?;
            if !args.wait.no_wait {
                changed = wait::until_serving(context, &changed, args.wait.timeout).await?;
            }
            deployment::show(context, &changed).await
        }
    }
}
