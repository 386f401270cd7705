//! Azure's online endpoint file.

use berth_core::{
    error::Code,
    model::{AuthMode, DeploymentName, EndpointName, EndpointSpec, ProjectName, Traffic},
};

use super::{
    alerts,
    fields::{Field, Fields, clip},
    finding::Findings,
    hedging, mirror,
    tree::Node,
};

/// What an endpoint file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointFile {
    /// Its name.
    pub(crate) name: EndpointName,
    /// What it is like.
    pub(crate) spec: EndpointSpec,
    /// Whose it is, when the file says so.
    pub(crate) project: Option<ProjectName>,
    /// The split, when the file has one.
    pub(crate) traffic: Option<Traffic>,
    /// The mirrors, when the file has some.
    pub(crate) mirror: Option<Traffic>,
}

/// Reads an endpoint; `base` holds what stays where the file is silent.
pub(super) fn read(document: &Node, base: Option<EndpointSpec>, findings: &mut Findings) -> Option<EndpointFile> {
    let root = Field::root(document);
    let mut fields = Fields::open(&root, findings);
    let mut spec = base.unwrap_or_default();
    fields.take("$schema");
    let name = read_name(&mut fields, document, findings);
    if let Some(field) = fields.take("description") {
        spec.description = field.text(findings).unwrap_or_default().to_owned();
    }
    if let Some(field) = fields.take("tags") {
        spec.tags.extend(field.text_map(findings));
    }
    let project = fields.take("project").and_then(|field| read_project(&field, findings));
    read_auth(&mut fields, &mut spec, findings);
    if let Some(field) = fields.take("max_body_mib") {
        spec.max_body_bytes = field.number(1..=2_048, findings).unwrap_or(1) << 20;
    }
    if let Some(field) = fields.take("idempotent") {
        spec.idempotent = field.flag(findings);
    }
    if let Some(field) = fields.take("hedging") {
        hedging::read(&field, &mut spec.hedging, findings);
    }
    if let Some(field) = fields.take("mirror_settings") {
        mirror::read(&field, &mut spec.mirror_rules, findings);
    }
    if let Some(field) = fields.take("alerts") {
        spec.alerts = alerts::read(&field, findings);
    }
    let traffic = fields.take("traffic").map(|field| read_traffic(&field, true, findings));
    let mirrors = fields.take("mirror_traffic").map(|field| read_traffic(&field, false, findings));
    read_unsupported(&mut fields, findings);
    fields.finish(findings);
    if let Err(error) = spec.validate() {
        for problem in error.problems {
            findings.error(error.code, document.place_of(&problem.field), &problem.field, problem.what, problem.try_);
        }
    }
    Some(EndpointFile { name: name?, spec, project, traffic, mirror: mirrors })
}

fn read_name(fields: &mut Fields<'_>, document: &Node, findings: &mut Findings) -> Option<EndpointName> {
    let Some(field) = fields.take("name") else {
        findings.error(Code::Invalid, document.place, "name", "is missing", "name the endpoint, here or with --name");
        return None;
    };
    match EndpointName::new(field.text(findings)?) {
        Ok(name) => Some(name),
        Err(error) => {
            field.refuse(findings, error.to_string(), "");
            None
        }
    }
}

fn read_project(field: &Field<'_>, findings: &mut Findings) -> Option<ProjectName> {
    match ProjectName::new(field.text(findings)?) {
        Ok(name) => Some(name),
        Err(error) => {
            field.refuse(findings, error.to_string(), "");
            None
        }
    }
}

fn read_auth(fields: &mut Fields<'_>, spec: &mut EndpointSpec, findings: &mut Findings) {
    let Some(field) = fields.take("auth_mode") else { return };
    match field.word(&["key", "none", "aml_token", "aad_token"], findings) {
        Some("none") => spec.auth_mode = AuthMode::None,
        Some("aml_token" | "aad_token") => {
            spec.auth_mode = AuthMode::Key;
            field.warn(findings, "tokens are not issued yet; the endpoint takes keys", "auth_mode: key");
        }
        Some(_) => spec.auth_mode = AuthMode::Key,
        None => {}
    }
}

/// Reads percent per deployment.
pub(super) fn read_traffic(field: &Field<'_>, is_split: bool, findings: &mut Findings) -> Traffic {
    let mut shares = Vec::new();
    for (name, share) in field.pairs(findings) {
        let percent = share.number(0..=100, findings);
        match DeploymentName::new(name) {
            Ok(name) => shares.extend(percent.map(|percent| (name, percent as u32))),
            Err(error) => share.refuse(findings, error.to_string(), ""),
        }
    }
    let traffic: Traffic = shares.into_iter().collect();
    let total = traffic.total();
    if is_split && total != 0 && total != 100 {
        let what = format!("the shares total {total}");
        findings.error(Code::Traffic, field.place(), &field.path, what, "make them total 0 or 100");
    }
    traffic
}

fn read_unsupported(fields: &mut Fields<'_>, findings: &mut Findings) {
    if let Some(field) = fields.take("public_network_access")
        && field.word(&["enabled", "disabled"], findings) == Some("disabled")
    {
        field.warn(findings, "private access is not done yet; who reaches the ingress port reaches the endpoint", "");
    }
    if let Some(field) = fields.take("identity") {
        field.warn(findings, "identities are not done yet; replicas run as the node's user", "");
    }
    if let Some(field) = fields.take("compute") {
        let target = clip(field.text(findings).unwrap_or_default());
        field.warn(findings, format!("`{target}` is not used; Berth's own nodes serve the endpoint"), "");
    }
    if let Some(field) = fields.take("properties") {
        field.text_map(findings);
        field.warn(findings, "properties are not kept", "use tags");
    }
    let read_only = ["id", "kind", "location", "provisioning_state", "scoring_uri", "openapi_uri"];
    fields.skip(&read_only, "is read-only and ignored", findings);
}
