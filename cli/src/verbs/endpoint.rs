//! `berth endpoint …`

use std::path::Path;

use berth_client::{
    Client,
    api::{self, DeleteEndpointRequest, KeyType, PutEndpointRequest, PutMode, RegenerateKeyRequest},
};
use berth_core::{
    error::{Code, Error},
    model::{AuthMode, EndpointName, EndpointSpec},
};

use super::{Context, Deleted, confirm, get, invoke, traffic};
use crate::{
    args::{self, EndpointVerb, GetArgs, Noun},
    output::{Fault, Misused},
    view,
    yaml::{self, Document, EndpointFile, Kind, Setting},
};

pub(super) async fn run(context: &Context, verb: EndpointVerb) -> Result<(), Fault> {
    match verb {
        EndpointVerb::Create(args) => create(context, args).await,
        EndpointVerb::Show(name) => {
            let endpoint = context.client.get_endpoint(name.get()).await?;
            show(context, &endpoint)
        }
        EndpointVerb::List { watch: true } => get::run(context, GetArgs::new(Noun::Endpoints, None, true, false)).await,
        EndpointVerb::List { watch: false } => {
            let endpoints = context.client.list_endpoints().await?;
            Ok(context.out.list(&endpoints, "no endpoints yet; `berth endpoint create -f FILE` makes one")?)
        }
        EndpointVerb::Update(args) => update(context, args).await,
        EndpointVerb::Delete(args) => delete(context, args).await,
        EndpointVerb::GetCredentials(name) => credentials(context, name.get()).await,
        EndpointVerb::RegenerateKeys(args) => regenerate(context, args).await,
        EndpointVerb::Invoke(args) => invoke::run(context, args).await,
    }
}

/// Creates the endpoint a file describes, with the split and mirrors it may have.
pub async fn create_endpoint(client: &Client, file: &Path) -> Result<api::Endpoint, Error> {
    let (file, _) = load(file, &[])?;
    put(client, &file, PutMode::Create).await
}

async fn create(context: &Context, args: args::CreateEndpointArgs) -> Result<(), Fault> {
    let mut settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>().or_misused()?;
    settings.extend(args.name.as_deref().map(|name| Setting::new("name", name)));
    settings.extend(args.auth_mode.as_deref().map(|mode| Setting::new("auth_mode", mode)));
    let file = match &args.file {
        Some(path) => {
            let (file, warnings) = load(path, &settings).or_misused()?;
            context.out.warnings(&warnings);
            file
        }
        None => {
            let name = args.name.as_deref().unwrap_or_default();
            let (file, warnings) = yaml::patch_endpoint(name, EndpointSpec::default(), &settings).or_misused()?;
            context.out.warnings(&warnings);
            file
        }
    };
    let endpoint = put(&context.client, &file, PutMode::Create).await?;
    show(context, &endpoint)?;
    if file.spec.auth_mode == AuthMode::Key {
        let name = &endpoint.name;
        context.out.aside(format!("callers need a key: `berth endpoint get-credentials {name}` shows both"));
    }
    Ok(())
}

/// Loads a file that describes one endpoint.
fn load(path: &Path, settings: &[Setting]) -> Result<(EndpointFile, Vec<berth_core::error::Problem>), Error> {
    let loaded = yaml::load(path, Some(Kind::Endpoint), settings)?;
    let mut documents = loaded.documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(Document::Endpoint(file)), None) => Ok((*file, loaded.warnings)),
        _ => Err(Error::new(Code::Invalid, format!("{} does not describe one endpoint", path.display()))
            .try_("`berth apply -f` takes several documents")),
    }
}

/// Creates or changes an endpoint, then its split and mirrors where the file has some.
pub(super) async fn put(client: &Client, file: &EndpointFile, mode: PutMode) -> Result<api::Endpoint, Error> {
    put_at(client, file, mode, None).await
}

/// As [`put`], refused unless the endpoint is at this revision.
pub(super) async fn put_at(
    client: &Client,
    file: &EndpointFile,
    mode: PutMode,
    if_revision: Option<u64>,
) -> Result<api::Endpoint, Error> {
    let request = PutEndpointRequest {
        name: file.name.to_string(),
        spec: Some(berth_proto::api::endpoint_spec_message(&file.spec)),
        project: file.project.as_ref().map(ToString::to_string).unwrap_or_default(),
        mode: mode.into(),
        if_revision,
        ..Default::default()
    };
    let endpoint = client.put_endpoint(request).await?;
    if file.traffic.is_none() && file.mirror.is_none() {
        return Ok(endpoint);
    }
    let [split, mirror] = [&file.traffic, &file.mirror].map(|shares| shares.as_ref().map(traffic::plain));
    client.set_traffic(file.name.as_str(), split, mirror).await
}

async fn update(context: &Context, args: args::UpdateEndpointArgs) -> Result<(), Fault> {
    let mut settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>().or_misused()?;
    let (split, mirror) = (traffic::parse_flag(&args.traffic), traffic::parse_flag(&args.mirror_traffic));
    let (split, mirror) = (split.or_misused()?, mirror.or_misused()?);
    let mut name = args.name.get().map(str::to_owned);
    let mut last = None;
    if let Some(path) = &args.file {
        settings.extend(name.as_deref().map(|name| Setting::new("name", name)));
        let (file, warnings) = load(path, &settings).or_misused()?;
        context.out.warnings(&warnings);
        name = Some(file.name.to_string());
        last = Some(put(&context.client, &file, PutMode::Update).await?);
    }
    let name =
        name.ok_or_else(|| Error::new(Code::Invalid, "no endpoint is named").try_("--name ENDPOINT")).or_misused()?;
    if args.file.is_none() && !settings.is_empty() {
        let current = context.client.get_endpoint(&name).await?;
        let base = berth_proto::api::endpoint_spec(current.spec)?;
        let (file, warnings) = yaml::patch_endpoint(&name, base, &settings).or_misused()?;
        context.out.warnings(&warnings);
        last = Some(put(&context.client, &file, PutMode::Update).await?);
    }
    if split.is_some() || mirror.is_some() {
        last = Some(traffic::set(context, &name, split, mirror, args.strict_azure).await?);
    }
    let endpoint = last.ok_or_else(|| {
        let error = Error::new(Code::Invalid, "nothing to change is given");
        Fault::misused(error.try_("--traffic, --mirror-traffic, --set or --file"))
    })?;
    show(context, &endpoint)
}

async fn delete(context: &Context, args: args::DeleteEndpointArgs) -> Result<(), Fault> {
    let name = EndpointName::new(args.name.get())
        .map_err(|error| Error::new(Code::Invalid, error.to_string()))
        .or_misused()?;
    confirm(&context.out, &fate(context, name.as_str()).await?, args.yes)?;
    end(context, name.as_str()).await
}

/// Says what goes with an endpoint.
pub(super) async fn fate(context: &Context, name: &str) -> Result<String, Fault> {
    Ok(format!("This deletes the endpoint {name}{}.", with(&deployments_of(context, name).await?)))
}

/// Deletes an endpoint, with all its deployments.
pub(super) async fn end(context: &Context, name: &str) -> Result<(), Fault> {
    let names = deployments_of(context, name).await?;
    let with = with(&names);
    context.client.delete_endpoint(DeleteEndpointRequest { name: name.to_owned(), ..Default::default() }).await?;
    let deleted = Deleted { deleted: name.to_owned(), noun: "endpoint", with: names };
    Ok(context.out.did(&deleted, name, format!("endpoint {name} is deleted{with}"))?)
}

async fn deployments_of(context: &Context, endpoint: &str) -> Result<Vec<String>, Error> {
    Ok(context.client.list_deployments(endpoint).await?.into_iter().map(|deployment| deployment.name).collect())
}

fn with(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) }
}

async fn credentials(context: &Context, name: &str) -> Result<(), Fault> {
    let keys = context.client.list_keys(name).await?;
    print_keys(context, name, &keys)
}

async fn regenerate(context: &Context, args: args::RegenerateArgs) -> Result<(), Fault> {
    let (key_type, new, other) = match args.key_type {
        args::KeyType::Primary => (KeyType::Primary, "primary", "secondary"),
        args::KeyType::Secondary => (KeyType::Secondary, "secondary", "primary"),
    };
    let name = args.name.get();
    context.out.aside(format!("callers of {name} with the {new} key of before are refused; the {other} key stays"));
    let request = RegenerateKeyRequest { endpoint: name.to_owned(), key_type: key_type.into(), ..Default::default() };
    let keys = context.client.regenerate_key(request).await?;
    print_keys(context, name, &keys)
}

fn print_keys(context: &Context, name: &str, keys: &api::EndpointKeys) -> Result<(), Fault> {
    Ok(context.out.value(keys, name, || {
        context.out.line(format!("primary    {}\nsecondary  {}", keys.primary_key, keys.secondary_key));
    })?)
}

/// Prints one endpoint.
pub(super) fn show(context: &Context, endpoint: &api::Endpoint) -> Result<(), Fault> {
    let out = &context.out;
    Ok(out.value(endpoint, &endpoint.name, || {
        let mut lines = vec![
            format!("endpoint  {}", endpoint.name),
            format!(
                "state     {}",
                out.paint(&endpoint.provisioning_state, crate::output::state_ink(&endpoint.provisioning_state))
            ),
            format!("traffic   {}", view::shares(&endpoint.traffic)),
            format!("mirror    {}", view::shares(&endpoint.mirror_traffic)),
        ];
        lines.extend(endpoint.scoring_uris.iter().map(|uri| format!("uri       {uri}")));
        out.line(lines.join("\n"));
    })?)
}
