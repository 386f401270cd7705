//! `berth plan`: what would happen.

use berth_client::{
    Packed,
    api::{self, PlanReport, PlanRequest, PutDeploymentRequest, PutEndpointRequest, SetTrafficRequest},
};

use super::{Context, traffic};
use crate::{
    args::PlanArgs,
    output::{Fault, Misused, NO_ANSWER},
    view,
    yaml::{self, DeploymentFile, Document, EndpointFile, Setting},
};

pub(super) async fn run(context: &Context, args: PlanArgs) -> Result<(), Fault> {
    plan(context, args).await.map_err(|fault| fault.with_exit(NO_ANSWER))
}

async fn plan(context: &Context, args: PlanArgs) -> Result<(), Fault> {
    let files_alone = [&args.lose, &args.drain, &args.spike, &args.add].into_iter().all(Vec::is_empty);
    let mut request = PlanRequest {
        lose: args.lose.clone(),
        drain: args.drain.clone(),
        spike: args.spike.clone(),
        add: args.add.clone(),
        ..PlanRequest::default()
    };
    let settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>().or_misused()?;
    if !args.file.is_empty() {
        let loaded = yaml::load_all(&args.file, &settings).or_misused()?;
        context.out.warnings(&loaded.warnings);
        add_documents(&mut request, &loaded.documents).await?;
    }
    let report = context.client.plan(request).await?;
    let changes = changes(&report);
    let name = if files_alone { changed_names(&report) } else { losers(&report) };
    context.out.value(&report, &name, || view::plan(&context.out, &report, &args))?;
    let is_yes = if files_alone { !changes } else { report.keeps_minimum };
    if is_yes { Ok(()) } else { Err(Fault::answered(1)) }
}

/// Says what documents would change.
pub(super) async fn of_documents(context: &Context, documents: &[Document]) -> Result<PlanReport, Fault> {
    let mut request = PlanRequest::default();
    add_documents(&mut request, documents).await?;
    Ok(context.client.plan(request).await?)
}

/// Returns whether anything would change.
pub(super) fn changes(report: &PlanReport) -> bool {
    report.changes.iter().any(|change| change.action != "none")
}

/// Shows a person what documents would change.
pub(super) fn show_files(context: &Context, report: &PlanReport) {
    view::plan_of_files(&context.out, report);
}

async fn add_documents(request: &mut PlanRequest, documents: &[Document]) -> Result<(), Fault> {
    for document in documents {
        match document {
            Document::Endpoint(file) => add_endpoint(request, file),
            Document::Deployment(file) => add_deployment(request, (**file).clone()).await?,
        }
    }
    Ok(())
}

fn add_endpoint(request: &mut PlanRequest, file: &EndpointFile) {
    request.endpoints.push(PutEndpointRequest {
        name: file.name.to_string(),
        spec: Some(berth_proto::api::endpoint_spec_message(&file.spec)),
        project: file.project.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..Default::default()
    });
    if file.traffic.is_some() || file.mirror.is_some() {
        let shares =
            |shares: &Option<_>| shares.as_ref().map(|shares| api::TrafficMap { percent: traffic::plain(shares) });
        request.traffic.push(SetTrafficRequest {
            endpoint: file.name.to_string(),
            split: shares(&file.traffic),
            mirror: shares(&file.mirror),
            ..Default::default()
        });
    }
}

/// Adds a deployment under the digests of what it would upload; nothing is sent.
async fn add_deployment(request: &mut PlanRequest, file: DeploymentFile) -> Result<(), Fault> {
    let mut assets = [None, None];
    for (slot, source) in assets.iter_mut().zip([&file.model, &file.code]) {
        if let Some(source) = source {
            *slot = Some(Packed::of(&source.path).await?.asset);
        }
    }
    let [model, code] = assets;
    let file = file.with_assets(model, code);
    request.deployments.push(PutDeploymentRequest {
        endpoint: file.key.endpoint.to_string(),
        name: file.key.deployment.to_string(),
        spec: Some(berth_proto::api::deployment_spec_message(&file.spec)),
        ..Default::default()
    });
    Ok(())
}

pub(super) fn changed_names(report: &PlanReport) -> String {
    let changed = report.changes.iter().filter(|change| change.action != "none");
    changed.map(|change| change.name.as_str()).collect::<Vec<_>>().join("\n")
}

/// Lists the endpoints that do not keep their minimum.
fn losers(report: &PlanReport) -> String {
    let losers = report.endpoints.iter().filter(|endpoint| !endpoint.keeps_minimum);
    losers.map(|endpoint| endpoint.endpoint.as_str()).collect::<Vec<_>>().join("\n")
}
