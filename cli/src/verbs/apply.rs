//! `berth apply`: whatever a file describes, in the order that works.

use berth_client::api::{Deployment, Endpoint, PutMode};
use serde::Serialize;

use super::{Context, deployment, endpoint, traffic, wait};
use crate::{
    args::ApplyArgs,
    output::Fault,
    yaml::{self, Document, Setting},
};

/// What was applied, for programs.
#[derive(Serialize)]
struct Applied {
    endpoints: Vec<Endpoint>,
    deployments: Vec<Deployment>,
}

pub(super) async fn run(context: &Context, args: ApplyArgs) -> Result<(), Fault> {
    let settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let loaded = yaml::load(&args.file, None, &settings)?;
    context.out.warnings(&loaded.warnings);
    let (mut endpoints, mut deployments) = (Vec::new(), Vec::new());
    for document in loaded.documents {
        match document {
            Document::Endpoint(file) => endpoints.push(file),
            Document::Deployment(file) => deployments.push(*file),
        }
    }
    // Shares name deployments, so they come last, when what they name serves.
    let mut applied = Applied { endpoints: Vec::new(), deployments: Vec::new() };
    for file in &endpoints {
        let bare = yaml::EndpointFile { traffic: None, mirror: None, ..file.clone() };
        applied.endpoints.push(endpoint::put(&context.client, &bare, PutMode::Upsert).await?);
        context.out.done(format!("endpoint {} applied", file.name));
    }
    for file in deployments {
        let key = file.key.clone();
        applied.deployments.push(deployment::put(context, file, PutMode::Upsert).await?);
        context.out.done(format!("deployment {key} applied"));
    }
    if !args.wait.no_wait {
        for deployment in &mut applied.deployments {
            *deployment = wait::until_serving(context, deployment, args.wait.timeout).await?;
            let (name, ready) = (format!("{}/{}", deployment.endpoint, deployment.name), deployment.ready);
            context.out.done(format!("deployment {name} serves with {ready} of {}", deployment.desired));
        }
    }
    for (file, last) in endpoints.iter().zip(&mut applied.endpoints) {
        let [split, mirror] = [&file.traffic, &file.mirror].map(|shares| shares.as_ref().map(traffic::plain));
        if split.is_some() || mirror.is_some() {
            *last = context.client.set_traffic(file.name.as_str(), split, mirror).await?;
            context.out.done(format!("traffic of {} set", file.name));
        }
    }
    let names: Vec<_> = applied.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    Ok(context.out.value(&applied, &names.join("\n"), || {})?)
}
