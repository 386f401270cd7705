//! Azure ML's YAML files as Berth's objects.
//!
//! Files load as they are: what Berth does not do yet is a warning that names the field, what nobody knows is an error
//! with the nearest right name, and all of it is reported at once, with lines. The parser is told apart from the
//! meaning: `tree` knows YAML and nothing of endpoints, the rest knows endpoints and nothing of YAML.

mod alerts;
mod amount;
mod argv;
mod cluster;
mod conda;
mod deployment;
mod endpoint;
mod environment;
mod fields;
mod finding;
mod hedging;
mod json;
mod label;
mod mirror;
mod set;
mod source;
mod tree;

#[cfg(test)]
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use cluster::load_cluster;
pub(crate) use deployment::DeploymentFile;
pub(crate) use endpoint::EndpointFile;
pub(crate) use json::json;
pub(crate) use set::Setting;

use std::path::{Path, PathBuf};

use berth_core::{
    error::{Code, Error, Problem, nearest},
    model::{DeploymentSpec, EndpointSpec},
};

use finding::Findings;
use tree::Node;

/// One document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// An endpoint.
    Endpoint(Box<EndpointFile>),
    /// A deployment.
    Deployment(Box<DeploymentFile>),
}

/// Which noun a document describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An endpoint.
    Endpoint,
    /// A deployment.
    Deployment,
}

/// What a file says, and what of it is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Every document, in the order of the file.
    pub(crate) documents: Vec<Document>,
    /// What is understood and not done.
    pub(crate) warnings: Vec<Problem>,
    /// Files of a folder that describe neither: what environments are made of.
    pub(crate) left_out: Vec<PathBuf>,
}

/// The schemas that describe what we serve, by the last part of their address.
const SCHEMAS: &[(&str, Kind)] = &[
    ("managedOnlineEndpoint", Kind::Endpoint),
    ("kubernetesOnlineEndpoint", Kind::Endpoint),
    ("managedOnlineDeployment", Kind::Deployment),
    ("kubernetesOnlineDeployment", Kind::Deployment),
];

/// Fields that only a deployment has.
const DEPLOYMENT_FIELDS: &[&str] = &[
    "endpoint_name",
    "model",
    "code_configuration",
    "environment",
    "instance_type",
    "instance_count",
    "replicas",
    "request_settings",
    "command",
    "resources",
    "environment_variables",
    "liveness_probe",
    "readiness_probe",
    "constraints",
    "reserve",
    "disconnect",
];

/// Fields that only an endpoint has.
const ENDPOINT_FIELDS: &[&str] =
    &["auth_mode", "traffic", "mirror_traffic", "mirror_settings", "public_network_access", "max_body_mib", "hedging"];

/// Loads a file. `expected` is what the verb is about, if it is about one noun; `settings` are laid over each document.
pub(crate) fn load(path: &Path, expected: Option<Kind>, settings: &[Setting]) -> Result<Loaded, Error> {
    let text = source::read_bounded(path).map_err(|error| {
        Error::new(Code::PathMissing, format!("`{}` cannot be read", path.display()))
            .why(error.to_string())
            .try_("give the path of a YAML file")
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parse(&text, &path.display().to_string(), folder, expected, settings)
}

/// Loads files, and of each folder every YAML file in it by name. All problems of all of them are told at once.
pub(crate) fn load_all(paths: &[PathBuf], settings: &[Setting]) -> Result<Loaded, Error> {
    let mut all = Loaded { documents: Vec::new(), warnings: Vec::new(), left_out: Vec::new() };
    let mut failed: Option<Error> = None;
    for path in paths {
        let files = if path.is_dir() { files_of(path, &mut all.left_out)? } else { vec![path.clone()] };
        for file in files {
            match load(&file, None, settings) {
                Ok(loaded) => {
                    all.documents.extend(loaded.documents);
                    all.warnings.extend(loaded.warnings);
                }
                // One that has no list of problems is about the file as a whole, and comes first.
                Err(error) if error.problems.is_empty() => return Err(error),
                Err(error) => {
                    failed = Some(match failed.take() {
                        None => error,
                        Some(mut before) => {
                            before.problems.extend(error.problems);
                            before.what = format!("the files have {} problems", before.problems.len());
                            before
                        }
                    });
                }
            }
        }
    }
    failed.map_or(Ok(all), Err)
}

/// Lists the YAML files of a folder that may describe something. What conda reads lies beside them in every sample.
fn files_of(folder: &Path, left_out: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let unread = |error: std::io::Error| {
        Error::new(Code::PathMissing, format!("`{}` cannot be read", folder.display())).why(error.to_string())
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.is_file() && path.extension().is_some_and(|end| end == "yml" || end == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    let is_conda = |path: &PathBuf| {
        let text = source::read_bounded(path).unwrap_or_default();
        text.lines().any(|line| line.starts_with("dependencies:"))
    };
    let (conda, files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_conda);
    left_out.extend(conda);
    if files.is_empty() {
        let error =
            Error::new(Code::PathMissing, format!("`{}` has no YAML file that describes anything", folder.display()));
        return Err(error.try_("name a file, or a folder with files that end in .yml or .yaml"));
    }
    Ok(files)
}

/// Reads the text of a file called `name` whose relative paths start at `folder`.
pub(crate) fn parse(
    text: &str,
    name: &str,
    folder: &Path,
    expected: Option<Kind>,
    settings: &[Setting],
) -> Result<Loaded, Error> {
    let mut findings = Findings::new(name);
    let nodes = tree::parse(text, &mut findings);
    let mut documents = Vec::new();
    let mut written = 0;
    let nodes: Vec<_> = nodes.into_iter().filter(|node| !node.is_null()).collect();
    let (is_one, mut unused) = (nodes.len() <= 1, settings.to_vec());
    for mut node in nodes {
        written += 1;
        if node.entries().is_none() {
            let what = format!("expected a mapping, found {}", node.noun());
            let printed = "`berth get -o yaml` prints answers, which are no files; `berth edit` changes what is there";
            findings.error(Code::Yaml, node.place, "", what, if node.noun() == "a list" { printed } else { "" });
            continue;
        }
        if is_manifest(&node) {
            let try_ =
                "`berth init NAME --serves command` writes the files this one would be: an endpoint and a deployment";
            findings.error(Code::Invalid, node.place, "apiVersion", "this describes an object of Kubernetes", try_);
            continue;
        }
        // Of several documents, a setting is for those that have such a field.
        let fits: Vec<_> = settings.iter().filter(|setting| is_one || is_for(setting, &node)).collect();
        unused.retain(|setting| !fits.contains(&setting));
        fits.into_iter().for_each(|setting| setting.apply(&mut node));
        let Some(kind) = kind_of(&node, expected, &mut findings) else { continue };
        documents.extend(match kind {
            Kind::Endpoint => endpoint::read(&node, None, &mut findings).map(Box::new).map(Document::Endpoint),
            Kind::Deployment => {
                let context = deployment::Context { folder, base: None };
                deployment::read(&node, context, &mut findings).map(Box::new).map(Document::Deployment)
            }
        });
    }
    for setting in unused.iter().filter(|_| written > 0) {
        let what = "no document of this file is of the kind that has it";
        findings.error(Code::UnknownField, Default::default(), &setting.field(), what, "");
    }
    if written == 0 && findings.is_clean() {
        findings.error(Code::Yaml, Default::default(), "", "holds no document", "");
    }
    Ok(Loaded { documents, warnings: findings.into_result()?, left_out: Vec::new() })
}

/// Returns whether a document is one of Kubernetes: every field of it would be unknown here, and none of them the mistake.
fn is_manifest(node: &Node) -> bool {
    let has = |name: &str| node.entries().is_some_and(|entries| entries.iter().any(|entry| entry.key == name));
    has("apiVersion") && has("kind")
}

/// Returns whether a document may have what is set, as far as one kind alone has it.
fn is_for(setting: &Setting, node: &Node) -> bool {
    let has = |fields: &[&str]| node.entries().is_some_and(|e| e.iter().any(|e| fields.contains(&e.key.as_str())));
    let is_deployment = has(DEPLOYMENT_FIELDS);
    match setting.first() {
        first if DEPLOYMENT_FIELDS.contains(&first) => is_deployment,
        first if ENDPOINT_FIELDS.contains(&first) => !is_deployment,
        _ => true,
    }
}

/// Lays settings over a deployment that exists.
pub(crate) fn patch_deployment(
    endpoint: &str,
    name: &str,
    base: DeploymentSpec,
    settings: &[Setting],
) -> Result<(DeploymentFile, Vec<Problem>), Error> {
    let mut findings = Findings::new("--set");
    let node = patched(settings, &[("endpoint_name", endpoint), ("name", name)]);
    let context = deployment::Context { folder: Path::new("."), base: Some(base) };
    let file = deployment::read(&node, context, &mut findings);
    let warnings = findings.into_result()?;
    let file = file.ok_or_else(|| Error::new(Code::Internal, "a deployment without problems was not read"))?;
    Ok((file, warnings))
}

/// Lays settings over an endpoint that exists.
pub(crate) fn patch_endpoint(
    name: &str,
    base: EndpointSpec,
    settings: &[Setting],
) -> Result<(EndpointFile, Vec<Problem>), Error> {
    let mut findings = Findings::new("--set");
    let file = endpoint::read(&patched(settings, &[("name", name)]), Some(base), &mut findings);
    let warnings = findings.into_result()?;
    let file = file.ok_or_else(|| Error::new(Code::Internal, "an endpoint without problems was not read"))?;
    Ok((file, warnings))
}

fn patched(settings: &[Setting], names: &[(&str, &str)]) -> Node {
    let mut node = Node::empty();
    settings.iter().for_each(|setting| setting.apply(&mut node));
    names.iter().for_each(|(field, name)| Setting::new(field, name).apply(&mut node));
    node
}

/// Tells an endpoint from a deployment, by the schema it names or by its fields.
fn kind_of(node: &Node, expected: Option<Kind>, findings: &mut Findings) -> Option<Kind> {
    let by_schema = match node.get("$schema").and_then(Node::text) {
        Some(schema) => Some(kind_of_schema(schema, node, findings)?),
        None => None,
    };
    let has = |fields: &[&str]| fields.iter().any(|field| node.get(field).is_some());
    let by_fields = if has(DEPLOYMENT_FIELDS) {
        Some(Kind::Deployment)
    } else if has(ENDPOINT_FIELDS) {
        Some(Kind::Endpoint)
    } else {
        None
    };
    let found = by_schema.flatten().or(by_fields);
    match (found, expected) {
        (Some(found), Some(expected)) if found != expected => {
            let (is, verb) = match found {
                Kind::Endpoint => ("this is an endpoint, not a deployment", "berth endpoint create -f"),
                Kind::Deployment => ("this is a deployment, not an endpoint", "berth deployment create -f"),
            };
            findings.error(Code::Invalid, node.place, "", is, format!("`{verb}`, or `berth apply -f` for either"));
            None
        }
        (found, expected) => Some(found.or(expected).unwrap_or(Kind::Endpoint)),
    }
}

/// Returns `None` after a refusal, `Some(None)` when the schema says nothing we know.
fn kind_of_schema(schema: &str, node: &Node, findings: &mut Findings) -> Option<Option<Kind>> {
    let last = schema.rsplit('/').next().unwrap_or(schema);
    let word = last.split('.').next().unwrap_or(last);
    if let Some((_, kind)) = SCHEMAS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Some(Some(*kind));
    }
    const OTHERS: &[&str] = &[
        "batchEndpoint",
        "batchDeployment",
        "modelBatchDeployment",
        "pipelineComponentBatchDeployment",
        "serverlessEndpoint",
        "amlCompute",
        "model",
        "environment",
        "data",
        "commandJob",
        "pipelineJob",
    ];
    if OTHERS.iter().any(|name| name.eq_ignore_ascii_case(word)) {
        let what = format!("`{word}` is not served yet");
        findings.error(
            Code::Invalid,
            node.place_of("$schema"),
            "$schema",
            what,
            "online endpoints and deployments are",
        );
        return None;
    }
    if let Some(near) = nearest(word, SCHEMAS.iter().map(|(name, _)| *name)) {
        findings.warn(node.place_of("$schema"), "$schema", format!("unknown schema `{word}`"), format!("`{near}`"));
    }
    Some(None)
}
