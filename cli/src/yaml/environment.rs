//! Azure's environment: what the code needs around it.

use std::path::Path;

use berth_core::{
    error::Code,
    model::{Environment, HttpRoute},
};

use super::{
    emit,
    fields::{Field, Fields, clip},
    finding::Findings,
    source,
    tree::{self, Value},
};

/// Reads `environment`: a mapping, or the path of an environment file.
pub(super) fn read(field: &Field<'_>, folder: &Path, findings: &mut Findings) -> Environment {
    let Some(text) = field.node.text() else { return read_inline(field, folder, findings) };
    let is_file = text.starts_with("file:") || text.ends_with(".yml") || text.ends_with(".yaml");
    if !is_file {
        let what = format!("`{}` names an environment of Azure's registry; there is none here", clip(text));
        field.refuse(findings, what, "write it inline: `environment: {conda_file: ./conda.yml}`");
        return Environment::default();
    }
    let Some((path, text)) = source::read_text(field, folder, findings) else { return Environment::default() };
    let mut inner = Findings::new(&path.display().to_string());
    let documents = tree::parse(&text, &mut inner);
    let environment = match documents.first() {
        Some(document) => read_inline(&Field::root(document), path.parent().unwrap_or(folder), &mut inner),
        None => Environment::default(),
    };
    findings.absorb(inner);
    environment
}

fn read_inline(field: &Field<'_>, folder: &Path, findings: &mut Findings) -> Environment {
    let mut fields = Fields::open(field, findings);
    let mut environment = Environment::default();
    fields.take("$schema");
    if let Some(name) = fields.take("name") {
        environment.name = name.text(findings).unwrap_or_default().to_owned();
    }
    // Kept nowhere: an inline environment is a part of its deployment, and changes with it.
    for name in ["version", "description"] {
        if let Some(field) = fields.take(name) {
            field.text(findings);
        }
    }
    if let Some(tags) = fields.take("tags") {
        tags.text_map(findings);
    }
    if let Some(image) = fields.take("image")
        && let Some(text) = image.text(findings)
    {
        image.warn(findings, "no container is started; the replica runs as a process of the node", "");
        environment.image = Some(text.to_owned());
    }
    if let Some(build) = fields.take("build") {
        build.warn(findings, "no image is built; the replica runs as a process of the node", "");
    }
    if let Some(conda) = fields.take("conda_file") {
        environment.conda = read_conda(&conda, folder, findings);
    }
    if let Some(pip) = fields.take("pip") {
        environment.pip = pip.texts(findings);
    }
    if let Some(os) = fields.take("os_type")
        && os.word(&["linux", "windows"], findings) == Some("windows")
    {
        os.refuse(findings, "Windows is not served", "os_type: linux");
    }
    if let Some(config) = fields.take("inference_config") {
        let mut routes = Fields::open(&config, findings);
        environment.liveness_route = read_route(&mut routes, "liveness_route", findings);
        environment.readiness_route = read_route(&mut routes, "readiness_route", findings);
        environment.scoring_route = read_route(&mut routes, "scoring_route", findings);
        routes.finish(findings);
    }
    fields.skip(&["id", "creation_context", "datastore"], "is read-only and ignored", findings);
    fields.finish(findings);
    environment
}

fn read_route(routes: &mut Fields<'_>, name: &'static str, findings: &mut Findings) -> Option<HttpRoute> {
    let field = routes.take(name)?;
    let mut fields = Fields::open(&field, findings);
    let path = fields.take("path").and_then(|path| {
        let text = path.text(findings)?;
        if !text.starts_with('/') {
            path.refuse(findings, format!("`{}` does not start with a slash", clip(text)), "");
        }
        Some(text.to_owned())
    });
    let port = fields.take("port").and_then(|port| port.number(1..=65_535, findings)).unwrap_or(0) as u32;
    fields.finish(findings);
    let Some(path) = path else {
        field.refuse(findings, "has no path", "give `path` and `port`");
        return None;
    };
    Some(HttpRoute { path, port })
}

/// Reads `conda_file`: the path of a file, or its content.
fn read_conda(field: &Field<'_>, folder: &Path, findings: &mut Findings) -> Option<String> {
    if field.node.entries().is_some() {
        check_conda(field, findings);
        return Some(emit::document(field.node));
    }
    let (path, text) = source::read_text(field, folder, findings)?;
    let mut inner = Findings::new(&path.display().to_string());
    let documents = tree::parse(&text, &mut inner);
    match documents.first() {
        Some(document) => check_conda(&Field::root(document), &mut inner),
        None if inner.is_clean() => inner.error(Code::Yaml, Default::default(), "", "is empty", ""),
        None => {}
    }
    findings.absorb(inner);
    Some(text)
}

/// Checks the shape of a conda file and warns of what a virtual environment cannot follow.
fn check_conda(field: &Field<'_>, findings: &mut Findings) {
    let mut fields = Fields::open(field, findings);
    for name in ["name", "prefix"] {
        fields.take(name);
    }
    fields.take("channels");
    if let Some(variables) = fields.take("variables") {
        variables.warn(findings, "variables of a conda file are not set", "use environment_variables");
    }
    let Some(dependencies) = fields.take("dependencies") else {
        return fields.finish(findings);
    };
    for item in dependencies.items(findings) {
        match &item.node.value {
            Value::Map(_) => {
                let mut inner = Fields::open(&item, findings);
                if let Some(pip) = inner.take("pip") {
                    pip.texts(findings);
                }
                inner.finish(findings);
            }
            Value::Scalar { text, .. } => check_conda_package(&item, text, findings),
            Value::List(_) => item.refuse(findings, "expected a package, found a list", ""),
        }
    }
    fields.finish(findings);
}

fn check_conda_package(item: &Field<'_>, text: &str, findings: &mut Findings) {
    let name: &str = text.rsplit("::").next().unwrap_or(text);
    let name = name.split(['=', '<', '>', '!', '~', ' ', '[']).next().unwrap_or(name);
    match name {
        "pip" | "" => {}
        "python" if text.trim() == "python" => {}
        "python" => item.warn(findings, "the node's own Python is used, whatever its version", ""),
        _ => item.warn(findings, "conda is not run; a package of this name is taken from PyPI", "list it under `pip:`"),
    }
}

/// Returns whether any document of a conda text names packages; used by tests and by messages.
#[cfg(test)]
pub(super) fn packages(node: &tree::Node) -> usize {
    node.get("dependencies").map_or(0, |list| match &list.value {
        Value::List(items) => items.len(),
        Value::Scalar { .. } | Value::Map(_) => 0,
    })
}
