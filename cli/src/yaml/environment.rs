//! Azure's environment: what the code needs around it.

use std::path::Path;

use berth_core::{
    error::Code,
    model::{Environment, HttpRoute},
};

use super::{
    conda::{self, Conda},
    fields::{Field, Fields, clip},
    finding::Findings,
    source, tree,
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
        let conda = read_conda(&conda, folder, findings);
        (environment.python, environment.pip) = (conda.python, conda.requirements);
    }
    if let Some(python) = fields.take("python") {
        environment.python = python.text(findings).map(str::to_owned);
    }
    if let Some(pip) = fields.take("pip") {
        environment.pip.extend(pip.texts(findings));
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
fn read_conda(field: &Field<'_>, folder: &Path, findings: &mut Findings) -> Conda {
    if field.node.entries().is_some() {
        return conda::read(field, findings);
    }
    let Some((path, text)) = source::read_text(field, folder, findings) else { return Conda::default() };
    let mut inner = Findings::new(&path.display().to_string());
    let documents = tree::parse(&text, &mut inner);
    let conda = documents.first().map(|document| conda::read(&Field::root(document), &mut inner));
    if conda.is_none() && inner.is_clean() {
        inner.error(Code::Yaml, Default::default(), "", "is empty", "it needs `dependencies:`, a list of packages");
    }
    findings.absorb(inner);
    conda.unwrap_or_default()
}
