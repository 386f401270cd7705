//! `berth deployment …` and `berth scale`.

use std::{path::Path, time::Duration};

use berth_client::{
    Client, Sent,
    api::{self, DeleteDeploymentRequest, PutDeploymentRequest, PutMode, ScaleDeploymentRequest},
};
use berth_core::{
    error::{Code, Error, Problem},
    model::{AssetRef, DeploymentKey},
    units::Count,
};

use super::{
    Context, Deleted, confirm, get,
    logs::{self, Names, Past},
    named, traffic, wait,
};
use crate::{
    args::{self, DeploymentVerb, GetArgs, GetLogsArgs, Noun, Tail, WaitArgs},
    output::{Fault, Format, Misused, Output, Progress},
    view,
    yaml::{self, DeploymentFile, Document, Kind, Setting},
};

/// How often a person is shown how far an upload is.
const REDRAW: Duration = Duration::from_millis(150);

/// How many lines Azure shows of a log.
const AZURE_LINES: u64 = 50;

pub(super) async fn run(context: &Context, verb: DeploymentVerb) -> Result<(), Fault> {
    match verb {
        DeploymentVerb::Create(args) => create_or_update(context, args, PutMode::Create).await,
        DeploymentVerb::Update(args) => create_or_update(context, args, PutMode::Update).await,
        DeploymentVerb::Show(name) => {
            let key = name.key().or_misused()?;
            let deployment = context.client.get_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
            show(context, &deployment).await
        }
        DeploymentVerb::List(args) => {
            let endpoint = args.endpoint.or(args.endpoint_name).unwrap_or_default();
            if args.watch {
                return get::run(context, GetArgs::new(Noun::Deployments, Some(endpoint), true, false)).await;
            }
            let deployments = context.client.list_deployments(&endpoint).await?;
            Ok(context.out.list(&deployments, "no deployments yet; `berth deployment create -f FILE` makes one")?)
        }
        DeploymentVerb::Delete(args) => delete(context, args).await,
        DeploymentVerb::GetLogs(args) => {
            let key = args.name.key().or_misused()?;
            let GetLogsArgs { lines, shown, .. } = args;
            // All that was written since then, unless somebody bounds it.
            let tail = lines.or(shown.since.is_none().then_some(Tail::Lines(AZURE_LINES)));
            logs::print(context, &key, Past::of(tail, shown.since), &shown, Names::IfSeveral).await
        }
    }
}

/// Creates the deployment a file describes, with some of its fields overridden, and waits until it serves.
pub async fn create_deployment(
    client: &Client,
    file: &Path,
    overrides: &[(String, String)],
    within: Duration,
) -> Result<api::Deployment, Error> {
    let settings: Vec<_> = overrides.iter().map(|(field, value)| Setting::new(field, value)).collect();
    let (file, _) = load(file, &settings)?;
    let context = Context { client: client.clone(), out: Output::new(Format::Name, true, true) };
    let deployment = put(&context, file, PutMode::Create).await?;
    let served = wait::until_serving(&context, &deployment, within).await;
    served.map_err(|fault| fault.error().clone())
}

async fn create_or_update(context: &Context, args: args::PutDeploymentArgs, mode: PutMode) -> Result<(), Fault> {
    let mut settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>().or_misused()?;
    settings.extend(args.name.endpoint().map(|name| Setting::new("endpoint_name", name)));
    settings.extend(args.name.deployment().map(|name| Setting::new("name", name)));
    let (file, warnings) = match &args.file {
        Some(path) => load(path, &settings).or_misused()?,
        None if mode == PutMode::Update => patch(context, &args).await?,
        None => {
            let error = Error::new(Code::Invalid, "no file describes the deployment").try_("-f FILE");
            return Err(Fault::misused(error));
        }
    };
    context.out.warnings(&warnings);
    let deployment = put(context, file, mode).await?;
    finish(context, deployment, args.wait, args.all_traffic).await
}

/// Loads a file that describes one deployment.
fn load(path: &Path, settings: &[Setting]) -> Result<(DeploymentFile, Vec<Problem>), Error> {
    let loaded = yaml::load(path, Some(Kind::Deployment), settings)?;
    let mut documents = loaded.documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(Document::Deployment(file)), None) => Ok((*file, loaded.warnings)),
        _ => Err(Error::new(Code::Invalid, format!("{} does not describe one deployment", path.display()))
            .try_("`berth apply -f` takes several documents")),
    }
}

/// Lays `--set` over what is there.
async fn patch(context: &Context, args: &args::PutDeploymentArgs) -> Result<(DeploymentFile, Vec<Problem>), Fault> {
    if args.set.is_empty() {
        let error = Error::new(Code::Invalid, "nothing to change is given").try_("--set FIELD=VALUE or --file FILE");
        return Err(Fault::misused(error));
    }
    let key = args.name.key().or_misused()?;
    let settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>().or_misused()?;
    let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
    let current = context.client.get_deployment(endpoint, name).await?;
    let base = berth_proto::api::deployment_spec(current.spec)?;
    yaml::patch_deployment(endpoint, name, base, &settings).or_misused()
}

/// Uploads what a file refers to and creates or changes the deployment.
pub(super) async fn put(context: &Context, file: DeploymentFile, mode: PutMode) -> Result<api::Deployment, Error> {
    put_at(context, file, mode, None).await
}

/// As [`put`], refused unless the deployment is at this revision.
pub(super) async fn put_at(
    context: &Context,
    file: DeploymentFile,
    mode: PutMode,
    if_revision: Option<u64>,
) -> Result<api::Deployment, Error> {
    let client = &context.client;
    refuse_early(client, &file.key, mode).await?;
    let mut progress = context.out.progress();
    let mut uploaded = [None, None];
    for (slot, source) in uploaded.iter_mut().zip([&file.model, &file.code]) {
        if let Some(source) = source {
            *slot = Some(upload(client, &source.path, &mut progress).await?);
        }
    }
    progress.clear();
    let [model, code] = uploaded;
    let file = file.with_assets(model, code);
    let request = PutDeploymentRequest {
        endpoint: file.key.endpoint.to_string(),
        name: file.key.deployment.to_string(),
        spec: Some(berth_proto::api::deployment_spec_message(&file.spec)),
        mode: mode.into(),
        if_revision,
        ..Default::default()
    };
    client.put_deployment(request).await
}

/// Uploads a file or folder and shows how far it is.
async fn upload(client: &Client, path: &Path, progress: &mut Progress) -> Result<AssetRef, Error> {
    let sent = Sent::default();
    let what = format!("uploading {}", path.display());
    progress.show(&[(what.clone(), String::new())]);
    let mut uploading = std::pin::pin!(client.upload_watched(path, &sent));
    loop {
        match tokio::time::timeout(REDRAW, &mut uploading).await {
            Ok(uploaded) => return uploaded,
            Err(_) => {
                let bar = sent.progress().map(|(bytes, of)| view::bar(bytes, of)).unwrap_or_default();
                progress.show(&[(what.clone(), bar)]);
            }
        }
    }
}

/// Says before anything large is uploaded what would be refused after it.
async fn refuse_early(client: &Client, key: &DeploymentKey, mode: PutMode) -> Result<(), Error> {
    let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
    if mode != PutMode::Upsert {
        client.get_endpoint(endpoint).await?;
    }
    match mode {
        PutMode::Upsert => Ok(()),
        PutMode::Update => client.get_deployment(endpoint, name).await.map(drop),
        _ => match client.get_deployment(endpoint, name).await {
            Err(error) if error.code == Code::DeploymentNotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(Code::AlreadyExists, format!("deployment `{key}` already exists"))
                .try_("change it with `berth deployment update`, or pick another name")),
        },
    }
}

/// Waits, gives traffic, and prints what came of it.
async fn finish(
    context: &Context,
    deployment: api::Deployment,
    waiting: WaitArgs,
    all_traffic: bool,
) -> Result<(), Fault> {
    let mut last = deployment;
    if !waiting.no_wait {
        last = wait::until_serving(context, &last, waiting.timeout).await?;
    }
    if all_traffic {
        let split = [(last.name.clone(), 100)].into();
        context.client.set_traffic(&last.endpoint, Some(split), None).await?;
        traffic::settle(context, &last.endpoint).await;
        last = context.client.get_deployment(&last.endpoint, &last.name).await?;
    }
    show(context, &last).await
}

pub(super) async fn scale(context: &Context, args: args::ScaleArgs) -> Result<(), Fault> {
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    let mut of = named(context, &args.deployment).await?;
    if !of.contains('/') {
        of = logs::only_deployment(context, &of, "scale").await?.to_string();
    }
    let key: DeploymentKey = args::parse_key(&of).or_misused()?;
    let instances = args.instances.or(args.replicas).unwrap_or_default();
    let current = context.client.get_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
    view::advice::on_scaling(&current, instances.into()).into_iter().for_each(|said| context.out.aside(said));
    let request = ScaleDeploymentRequest {
        endpoint: key.endpoint.to_string(),
        name: key.deployment.to_string(),
        instance_count: instances,
        ..Default::default()
    };
    let deployment = context.client.scale_deployment(request).await?;
    finish(context, deployment, args.wait, false).await
}

async fn delete(context: &Context, args: args::DeleteDeploymentArgs) -> Result<(), Fault> {
    let key = args.name.key().or_misused()?;
    confirm(&context.out, &fate(context, &key).await?, args.yes)?;
    end(context, &key).await?;
    ended(context, &key, args.no_wait).await
}

/// Says what goes with a deployment.
pub(super) async fn fate(context: &Context, key: &DeploymentKey) -> Result<String, Fault> {
    let current = context.client.get_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
    Ok(format!("This deletes {key} and stops {}.", Count(current.ready, "instance")))
}

/// Deletes a deployment; its replicas end after that.
pub(super) async fn end(context: &Context, key: &DeploymentKey) -> Result<(), Fault> {
    let (endpoint, name) = (key.endpoint.to_string(), key.deployment.to_string());
    let request = DeleteDeploymentRequest { endpoint, name, ..Default::default() };
    Ok(context.client.delete_deployment(request).await.map(drop)?)
}

/// Waits until nothing is left of what was deleted, and says so.
pub(super) async fn ended(context: &Context, key: &DeploymentKey, no_wait: bool) -> Result<(), Fault> {
    if !no_wait {
        wait::until_gone(context, key).await?;
    }
    let deleted = Deleted { deleted: key.to_string(), noun: "deployment", with: Vec::new() };
    Ok(context.out.did(&deleted, &deleted.deleted, format!("deployment {key} is deleted"))?)
}

/// Prints one deployment.
pub(super) async fn show(context: &Context, deployment: &api::Deployment) -> Result<(), Fault> {
    let out = &context.out;
    let name = format!("{}/{}", deployment.endpoint, deployment.name);
    out.value(deployment, &name, || {
        let state = &deployment.provisioning_state;
        let mut lines = vec![
            format!("deployment  {name}"),
            format!("state       {}", out.paint(state, crate::output::state_ink(state))),
            format!("ready       {}", view::ready(deployment)),
        ];
        if let Some(spec) = &deployment.spec {
            let resources = spec.resources.as_ref().map(view::amount).unwrap_or_default();
            let size =
                if spec.instance_type.is_empty() { resources } else { format!("{} ({resources})", spec.instance_type) };
            lines.push(format!("size        {size}"));
        }
        if deployment.traffic_percent > 0 || deployment.mirror_percent > 0 {
            lines.push(format!(
                "traffic     {} % live, {} % mirrored",
                deployment.traffic_percent, deployment.mirror_percent
            ));
        }
        if !deployment.reason.is_empty() {
            lines.push(format!("why         {}", deployment.reason.replace('\n', "\n            ")));
        }
        out.line(lines.join("\n"));
    })?;
    let is_idle = deployment.traffic_percent == 0 && deployment.provisioning_state == "Succeeded";
    if is_idle
        && !out.is_for_programs()
        && !out.is_names()
        && let Ok(endpoint) = context.client.get_endpoint(&deployment.endpoint).await
    {
        let way = view::advice::first_share(&deployment.endpoint, &endpoint.traffic, &deployment.name);
        out.aside(format!("it has no traffic yet: {way}"));
    }
    Ok(())
}
