//! `berth explain`: the verdict on a deployment, or what became of a request.

use berth_client::api::Verdict;
use berth_core::{
    error::{Code, Error},
    model::DeploymentKey,
};
use clap::ValueEnum as _;

use super::{Context, named};
use crate::{
    args::{ExplainArgs, Noun, parse_key},
    output::{Fault, Listed as _, Misused, now_ms},
    view,
};

pub(super) async fn run(context: &Context, args: ExplainArgs) -> Result<(), Fault> {
    let out = &context.out;
    let of = named(context, &args.of).await?;
    match (of.as_str(), args.id) {
        ("request", Some(id)) => {
            let report = context.client.explain_request(&id).await?;
            Ok(out.value(&report, &id, || out.line(view::request(&report, now_ms())))?)
        }
        ("request", None) => {
            let error = Error::new(Code::Invalid, "no request is named");
            Err(Fault::misused(error.try_("berth explain request ID, with the x-request-id of its answer")))
        }
        (_, Some(id)) => {
            let error = Error::new(Code::Invalid, format!("`{id}` is one word too many"));
            Err(Fault::misused(error.try_("berth explain ENDPOINT[/DEPLOYMENT], or berth explain request ID")))
        }
        // An endpoint stands for all of its deployments.
        (of, None) if !of.contains('/') => {
            let found = context.client.get_endpoint(of).await;
            let endpoint = found.map_err(|error| if is_kind(of) { not_a_field(of) } else { error.into() })?.name;
            let deployments = context.client.list_deployments(&endpoint).await?;
            if deployments.is_empty() {
                out.note(format!("{endpoint} has no deployments; `berth deployment create -f FILE` makes one"));
            }
            let mut verdicts = Vec::new();
            for found in &deployments {
                verdicts.push(context.client.explain_deployment(&endpoint, &found.name).await?);
            }
            if out.is_for_programs() {
                return Ok(out.value(&verdicts, of, || {})?);
            }
            for (at, (found, verdict)) in deployments.iter().zip(&verdicts).enumerate() {
                if at > 0 && !out.is_names() {
                    out.line("");
                }
                show(context, &parse_key(&found.name())?, verdict).await?;
            }
            Ok(())
        }
        (of, None) => {
            let key = parse_key(of).or_misused()?;
            let verdict = context.client.explain_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
            show(context, &key, &verdict).await
        }
    }
}

/// Prints the verdict on one deployment.
async fn show(context: &Context, key: &DeploymentKey, verdict: &Verdict) -> Result<(), Fault> {
    let out = &context.out;
    let standing = if out.is_for_programs() { Vec::new() } else { standing(context, key, verdict).await? };
    Ok(out.value(verdict, &key.to_string(), || {
        out.line(verdict.text.trim_end());
        standing.iter().for_each(|line| out.line(line));
    })?)
}

/// Says what a deployment's reserve does not cover or does, and nothing of where it is; none when it lacks something, which the
/// verdict tells.
pub(super) async fn risk(
    context: &Context,
    key: &DeploymentKey,
    verdict: &Verdict,
) -> Result<Option<Vec<String>>, Error> {
    if verdict.ready < verdict.desired || verdict.desired == 0 {
        return Ok(None);
    }
    let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
    let deployment = context.client.get_deployment(endpoint, name).await?;
    let replicas = context.client.list_replicas(endpoint, name).await?;
    let slots = context.client.list_slots(endpoint, name).await?;
    Ok(Some(deployment.reserve.map_or_else(Vec::new, |reserve| view::standing::risk(&reserve, &replicas, &slots))))
}

/// Returns whether a word is what kubectl explains: a kind, or a field of one.
fn is_kind(of: &str) -> bool {
    of.contains('.') || Noun::from_str(of, true).is_ok()
}

fn not_a_field(of: &str) -> Fault {
    let error = Error::new(Code::Invalid, format!("`{of}` is no deployment"));
    let error = error.why("this explains where replicas are and why, not what a file may say");
    let tried = "berth explain ENDPOINT/DEPLOYMENT; `berth init NAME --serves command` writes files to begin with, and a field that is not known is answered with the nearest";
    Fault::misused(error.try_(tried))
}

/// Says where a deployment is and what it survives, when nothing is refused and nothing is waited for.
pub(super) async fn standing(context: &Context, key: &DeploymentKey, verdict: &Verdict) -> Result<Vec<String>, Error> {
    if verdict.ready < verdict.desired || verdict.desired == 0 {
        return Ok(Vec::new());
    }
    let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
    let deployment = context.client.get_deployment(endpoint, name).await?;
    let replicas = context.client.list_replicas(endpoint, name).await?;
    let slots = context.client.list_slots(endpoint, name).await?;
    let split = context.client.get_endpoint(endpoint).await?.traffic;
    Ok(view::standing::lines(&deployment, &split, &replicas, &slots))
}
