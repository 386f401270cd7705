//! Azure's online deployment file, and what Berth adds to it.

use std::path::Path;

use berth_core::{
    error::Code,
    model::{
        AssetKind, AssetRef, Code as CodeFolder, DeploymentKey, DeploymentName, DeploymentSpec, Disconnect,
        EndpointName, Model, ModelType, PRIORITY_MAX, Probe, Reconcile, RequestSettings, Runtime, Spread, SpreadBy,
    },
    time::Millis,
};

use super::{
    amount, argv, environment,
    fields::{Field, Fields, clip},
    finding::Findings,
    label::read_label_rules,
    source::{self, Source},
    tree::{Node, Value},
};

const NO_AUTOSCALING: &str = "autoscaling is not done yet";

/// What a deployment file says. The references of what is to be uploaded have no digest yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeploymentFile {
    /// Its endpoint and name.
    pub(crate) key: DeploymentKey,
    /// What it is like.
    pub(crate) spec: DeploymentSpec,
    /// The model to upload.
    pub(crate) model: Option<Source>,
    /// The code to upload.
    pub(crate) code: Option<Source>,
}

/// Where a document lies and what it builds on.
pub(super) struct Context<'a> {
    /// The folder that relative paths start from.
    pub(super) folder: &'a Path,
    /// What stays where the document is silent.
    pub(super) base: Option<DeploymentSpec>,
}

// === impl DeploymentFile ===

impl DeploymentFile {
    /// Fills in what was uploaded.
    pub(crate) fn with_assets(mut self, model: Option<AssetRef>, code: Option<AssetRef>) -> Self {
        if let (Some(slot), Some(asset)) = (&mut self.spec.model, model) {
            slot.asset = asset;
        }
        if let (Some(slot), Some(asset)) = (&mut self.spec.code, code) {
            slot.asset = asset;
        }
        self
    }
}

/// Reads a deployment.
pub(super) fn read(document: &Node, context: Context<'_>, findings: &mut Findings) -> Option<DeploymentFile> {
    let root = Field::root(document);
    let mut fields = Fields::open(&root, findings);
    fields.take("$schema");
    let name = read_name(&mut fields, document, "name", DeploymentName::new, findings);
    let endpoint = read_name(&mut fields, document, "endpoint_name", EndpointName::new, findings);
    let is_new = context.base.is_none();
    // The runtime of a new deployment is found out below, from what it brings.
    let mut spec = context.base.unwrap_or_else(|| DeploymentSpec::new(Runtime::Python));
    if let Some(field) = fields.take("description") {
        spec.description = field.text(findings).unwrap_or_default().to_owned();
    }
    if let Some(field) = fields.take("tags") {
        spec.tags.extend(field.text_map(findings));
    }
    let model = fields.take("model").and_then(|field| read_model(&field, context.folder, &mut spec, findings));
    if let Some(field) = fields.take("model_mount_path") {
        spec.model_mount_path = read_mount(&field, findings);
    }
    let code =
        fields.take("code_configuration").and_then(|field| read_code(&field, context.folder, &mut spec, findings));
    if let Some(field) = fields.take("environment") {
        spec.environment = environment::read(&field, context.folder, findings);
    }
    if let Some(field) = fields.take("environment_variables") {
        spec.environment_variables.extend(read_variables(&field, findings));
    }
    read_size(&mut fields, &mut spec, findings);
    read_serving(&mut fields, &mut spec, findings);
    let command = fields.take("command").map(|field| argv::read(&field, findings));
    choose_runtime(document, &mut spec, command, is_new, model.as_ref(), findings);
    read_unsupported(&mut fields, findings);
    fields.finish(findings);
    if findings.is_clean() {
        check(document, &spec, findings);
    }
    Some(DeploymentFile { key: DeploymentKey::new(endpoint?, name?), spec, model, code })
}

fn read_name<T>(
    fields: &mut Fields<'_>,
    document: &Node,
    field_name: &'static str,
    parse: impl Fn(&str) -> Result<T, berth_core::model::NameError>,
    findings: &mut Findings,
) -> Option<T> {
    let Some(field) = fields.take(field_name) else {
        let flag = if field_name == "name" { "--name" } else { "--endpoint-name" };
        findings.error(Code::Invalid, document.place, field_name, "is missing", format!("give it here or with {flag}"));
        return None;
    };
    match parse(field.text(findings)?) {
        Ok(name) => Some(name),
        Err(error) => {
            field.refuse(findings, error.to_string(), "");
            None
        }
    }
}

fn read_model(field: &Field<'_>, folder: &Path, spec: &mut DeploymentSpec, findings: &mut Findings) -> Option<Source> {
    let (mut name, mut version, mut model_type) = (None, None, ModelType::CustomModel);
    let source = if field.node.text().is_some() {
        source::find(field, folder, findings)
    } else {
        let mut fields = Fields::open(field, findings);
        fields.take("$schema");
        name = fields.take("name").and_then(|field| field.text(findings)).map(str::to_owned);
        version = fields.take("version").and_then(|field| field.text(findings)).map(str::to_owned);
        if let Some(field) = fields.take("type") {
            model_type = match field.word(&["custom_model", "mlflow_model", "triton_model"], findings) {
                Some("mlflow_model") => ModelType::MlflowModel,
                Some("triton_model") => ModelType::TritonModel,
                _ => ModelType::CustomModel,
            };
        }
        let path = fields.take("path");
        for name in ["description", "stage", "flavors", "tags", "properties", "datastore"] {
            // Kept nowhere: an inline model is a part of its deployment, and changes with it.
            fields.take(name);
        }
        fields.skip(&["id", "creation_context", "job_name"], "is read-only and ignored", findings);
        fields.finish(findings);
        match path {
            Some(path) => source::find(&path, folder, findings),
            None => {
                field.refuse(findings, "has no path", "give `path`: a file or folder relative to this file");
                None
            }
        }
    };
    let source = source?;
    let asset = source.pending();
    let name = name.unwrap_or_else(|| asset.name.clone());
    spec.model = Some(Model { name, version: version.unwrap_or_else(|| "1".to_owned()), model_type, asset });
    Some(source)
}

fn read_mount(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.text(findings)?;
    if !text.starts_with('/') || text.split('/').any(|part| part == "..") {
        field.refuse(
            findings,
            format!("`{}` is not an absolute path", clip(text)),
            "start it with a slash, without `..`",
        );
    }
    Some(text.to_owned())
}

fn read_code(field: &Field<'_>, folder: &Path, spec: &mut DeploymentSpec, findings: &mut Findings) -> Option<Source> {
    let mut fields = Fields::open(field, findings);
    let code = fields.take("code");
    let script = fields.take("scoring_script");
    fields.finish(findings);
    let Some(code) = code else {
        field.refuse(findings, "has no code", "give `code`: the folder that holds the scoring script");
        return None;
    };
    let source = source::find(&code, folder, findings)?;
    if source.kind == AssetKind::File {
        code.refuse(findings, format!("`{}` is a file", source.path.display()), "name the folder that holds it");
        return None;
    }
    let mut scoring_script = String::new();
    if let Some(script) = script
        && let Some(text) = script.text(findings)
    {
        let path = source.path.join(text);
        if !path.is_file() {
            let what = format!("`{}` does not exist", path.display());
            findings.error(Code::PathMissing, script.place(), &script.path, what, "it is relative to `code`");
        }
        text.clone_into(&mut scoring_script);
    }
    spec.code = Some(CodeFolder { asset: source.pending(), scoring_script });
    Some(source)
}

fn read_variables(field: &Field<'_>, findings: &mut Findings) -> std::collections::BTreeMap<String, String> {
    let variables = field.text_map(findings);
    for (name, value) in &variables {
        if value.contains("${{") {
            let place = field.node.place_of(name);
            let path = format!("{}.{name}", field.path);
            findings.warn(place, &path, "secrets are not looked up; the process gets this text as it is", "");
        }
    }
    variables
}

fn read_size(fields: &mut Fields<'_>, spec: &mut DeploymentSpec, findings: &mut Findings) {
    let instance_type = fields.take("instance_type");
    let resources = fields.take("resources");
    if let Some(field) = &instance_type {
        amount::read_instance_type(field, spec, findings);
    }
    if let Some(field) = &resources {
        if instance_type.is_none() {
            spec.instance_type.clear();
        }
        amount::read_resources(field, spec, findings);
    }
    let counted = fields.take("instance_count");
    if let Some(field) = &counted
        && let Some(count) = field.number(0..=u64::from(berth_core::defaults::DEFAULTS.instance_count_max), findings)
    {
        spec.instance_count = count as u32;
    }
    if let Some(field) = fields.take("replicas") {
        if counted.is_some() {
            field.refuse(findings, "`instance_count` is given, too", "give one of them");
        } else {
            read_replicas(&field, spec, findings);
        }
    }
    if let Some(field) = fields.take("min_instances")
        && let Some(count) = field.number(0..=u64::from(berth_core::defaults::DEFAULTS.instance_count_max), findings)
    {
        spec.min_instances = Some(count as u32);
    }
    if let Some(field) = fields.take("priority")
        && let Some(priority) = field.number(0..=u64::from(PRIORITY_MAX), findings)
    {
        spec.priority = priority as u32;
    }
    if let Some(field) = fields.take("constraints") {
        spec.constraints.extend(read_label_rules(&field, findings));
    }
    if let Some(field) = fields.take("spread") {
        spec.spread = read_spread(&field, spec.spread, findings);
    }
    if let Some(field) = fields.take("reserve")
        && let Some(reserve) = field.flag(findings)
    {
        spec.reserve = reserve;
    }
}

/// Reads `spread: zone`, or the same with how many a domain may hold.
fn read_spread(field: &Field<'_>, base: Spread, findings: &mut Findings) -> Spread {
    let by = |field: &Field<'_>, findings: &mut Findings| {
        let word = field.word(&SpreadBy::ALL.map(SpreadBy::word), findings)?;
        SpreadBy::ALL.into_iter().find(|by| by.word() == word)
    };
    if field.node.text().is_some() {
        return by(field, findings).map_or(base, |by| Spread { by, max_per_domain: None });
    }
    let mut fields = Fields::open(field, findings);
    let mut spread = base;
    if let Some(field) = fields.take("by") {
        spread.by = by(&field, findings).unwrap_or(base.by);
    }
    if let Some(field) = fields.take("max_per_domain")
        && let Some(max) = field.number(1..=u64::from(u32::MAX), findings)
    {
        spread.max_per_domain = Some(max as u32);
    }
    fields.finish(findings);
    spread
}

fn read_serving(fields: &mut Fields<'_>, spec: &mut DeploymentSpec, findings: &mut Findings) {
    if let Some(field) = fields.take("request_settings") {
        spec.request_settings = read_requests(&field, spec.request_settings, findings);
    }
    if let Some(field) = fields.take("liveness_probe") {
        spec.liveness_probe = read_probe(&field, spec.liveness_probe, findings);
    }
    if let Some(field) = fields.take("readiness_probe") {
        spec.readiness_probe = read_probe(&field, spec.readiness_probe, findings);
    }
    if let Some(field) = fields.take("disconnect") {
        spec.disconnect = read_disconnect(&field, spec.disconnect, findings);
    }
}

/// Reads what becomes of it on a node that cannot be reached; spans as `90s` or `10m`.
fn read_disconnect(field: &Field<'_>, base: Disconnect, findings: &mut Findings) -> Disconnect {
    let mut fields = Fields::open(field, findings);
    let mut disconnect = base;
    if let Some(field) = fields.take("lost_after") {
        disconnect.lost_after = read_span(&field, findings);
    }
    if let Some(field) = fields.take("replace")
        && let Some(replace) = field.flag(findings)
    {
        disconnect.replace = replace;
    }
    if let Some(field) = fields.take("stop_on_client_after") {
        disconnect.stop_on_client_after = read_span(&field, findings);
    }
    if let Some(field) = fields.take("reconcile")
        && let Some(word) = field.word(&Reconcile::ALL.map(Reconcile::word), findings)
    {
        let found = Reconcile::ALL.into_iter().find(|reconcile| reconcile.word() == word);
        disconnect.reconcile = found.unwrap_or_default();
    }
    fields.finish(findings);
    disconnect
}

fn read_span(field: &Field<'_>, findings: &mut Findings) -> Option<Millis> {
    let text = field.text(findings)?;
    match crate::args::parse_span(text) {
        Ok(span) => Some(Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))),
        Err(try_) => {
            field.refuse(findings, format!("`{}` is not a time", clip(text)), try_);
            None
        }
    }
}

fn read_requests(field: &Field<'_>, base: RequestSettings, findings: &mut Findings) -> RequestSettings {
    let mut fields = Fields::open(field, findings);
    let mut read = |name, base: u64| match fields.take(name) {
        Some(field) => field.number(0..=u64::from(u32::MAX), findings).unwrap_or(base),
        None => base,
    };
    let settings = RequestSettings {
        request_timeout_ms: read("request_timeout_ms", base.request_timeout_ms),
        max_concurrent_requests_per_instance: read(
            "max_concurrent_requests_per_instance",
            u64::from(base.max_concurrent_requests_per_instance),
        ) as u32,
        max_queue_wait_ms: base.max_queue_wait_ms,
    };
    if let Some(field) = fields.take("max_queue_wait_ms")
        && field.number(0..=u64::from(u32::MAX), findings).is_some()
    {
        let what = "is ignored, as Azure does: a request waits while its deadline and twice the concurrency allow";
        field.warn(findings, what, "");
    }
    fields.finish(findings);
    settings
}

/// Azure counts a probe's times in whole seconds.
fn read_probe(field: &Field<'_>, base: Probe, findings: &mut Findings) -> Probe {
    let mut fields = Fields::open(field, findings);
    let mut read = |name, base: u64, scale: u64| match fields.take(name) {
        Some(field) => field.number(1..=1_000_000, findings).map_or(base, |number| number * scale),
        None => base,
    };
    let probe = Probe {
        initial_delay_ms: read("initial_delay", base.initial_delay_ms, 1_000),
        period_ms: read("period", base.period_ms, 1_000),
        timeout_ms: read("timeout", base.timeout_ms, 1_000),
        success_threshold: read("success_threshold", u64::from(base.success_threshold), 1) as u32,
        failure_threshold: read("failure_threshold", u64::from(base.failure_threshold), 1) as u32,
    };
    fields.finish(findings);
    probe
}

/// Finds out what serves the model: a command that is written out, a scoring script, or a lone `.onnx` file.
fn choose_runtime(
    document: &Node,
    spec: &mut DeploymentSpec,
    command: Option<Vec<String>>,
    is_new: bool,
    model: Option<&Source>,
    findings: &mut Findings,
) {
    if let Some(argv) = command {
        spec.runtime = Runtime::Command(argv);
        return;
    }
    let says_nothing = ["model", "code_configuration"].iter().all(|name| document.get(name).is_none());
    if !is_new && says_nothing {
        return;
    }
    let script = spec.code.as_ref().is_some_and(|code| !code.scoring_script.is_empty());
    let is_onnx =
        |asset: &AssetRef| asset.kind == AssetKind::File && asset.name.to_ascii_lowercase().ends_with(".onnx");
    if script {
        spec.runtime = Runtime::Python;
    } else if spec.model.as_ref().is_some_and(|model| is_onnx(&model.asset)) {
        spec.runtime = Runtime::Onnx;
    } else if findings.is_clean() {
        refuse_runtime(document, spec, model, findings);
    }
}

/// Says why nothing here can serve, and what would.
fn refuse_runtime(document: &Node, spec: &DeploymentSpec, model: Option<&Source>, findings: &mut Findings) {
    let mut refuse = |field: &str, what: &str, try_: String| {
        findings.error(Code::Invalid, document.place_of(field), field, what, try_);
    };
    if spec.code.is_some() {
        let try_ = "name the file in the code folder that has `init` and `run`, or give `command`".to_owned();
        return refuse("code_configuration.scoring_script", "is missing", try_);
    }
    match spec.model.as_ref().map(|model| model.model_type) {
        Some(ModelType::MlflowModel) => {
            let try_ = "add `code_configuration` with a scoring script that loads it".to_owned();
            return refuse("model.type", "MLflow models are not served without code yet", try_);
        }
        Some(ModelType::TritonModel) => {
            let try_ = "start a Triton you have with `command`, or give one `.onnx` file as the model".to_owned();
            return refuse("model.type", "Triton repositories are not served without a command yet", try_);
        }
        Some(ModelType::CustomModel) | None => {}
    }
    if spec.environment.image.is_some() {
        let try_ = "give `command`: what the image would run, listening on $PORT".to_owned();
        return refuse("environment.image", "an image alone cannot be served; replicas are processes", try_);
    }
    let onnx = model.filter(|source| source.kind == AssetKind::Folder).and_then(|source| onnx_inside(&source.path));
    let try_ = match onnx {
        Some(name) => format!("point `model.path` at the file `{name}` itself"),
        None => "add `code_configuration`, a `command`, or a model that is one `.onnx` file".to_owned(),
    };
    refuse("", "nothing here says what serves the model", try_);
}

fn onnx_inside(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().take(1_000);
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.into_iter().find(|name| name.to_ascii_lowercase().ends_with(".onnx"))
}

/// Lets the model's own rules judge, at the lines that broke them.
fn check(document: &Node, spec: &DeploymentSpec, findings: &mut Findings) {
    let Err(error) = spec.validate() else { return };
    for problem in error.problems {
        findings.error(error.code, document.place_of(&problem.field), &problem.field, problem.what, problem.try_);
    }
}

/// Reads how many, or `1..4`, as others write it.
fn read_replicas(field: &Field<'_>, spec: &mut DeploymentSpec, findings: &mut Findings) {
    let most = u64::from(berth_core::defaults::DEFAULTS.instance_count_max);
    let Some(text) = field.text(findings) else { return };
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|count| *count <= most);
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => {
            spec.instance_count = from as u32;
            if from < to {
                field.warn(findings, format!("{NO_AUTOSCALING}; {from} run"), "berth scale EP/DEP N");
            }
        }
        _ => field.refuse(
            findings,
            format!("`{}` is no number from 0 to {most}, and no range of two", clip(text)),
            "2, or 1..4",
        ),
    }
}

fn read_unsupported(fields: &mut Fields<'_>, findings: &mut Findings) {
    if let Some(field) = fields.take("type") {
        field.word(&["managed", "kubernetes"], findings);
    }
    if let Some(field) = fields.take("scale_settings") {
        let kind = field.node.get("type").and_then(Node::text).unwrap_or("default");
        if !kind.eq_ignore_ascii_case("default") {
            field.warn(findings, format!("{NO_AUTOSCALING}; instance_count stays what it is"), "berth scale EP/DEP N");
        }
    }
    for (name, what) in [
        ("app_insights_enabled", "nothing is sent to Application Insights"),
        ("package_model", "packages are not built; the model is uploaded as it is"),
        ("with_package", "packages are not built; the model is uploaded as it is"),
        ("private_network_connection", "private networks are not done yet"),
    ] {
        if let Some(field) = fields.take(name)
            && field.flag(findings) == Some(true)
        {
            field.warn(findings, what, "");
        }
    }
    if let Some(field) = fields.take("egress_public_network_access")
        && field.word(&["enabled", "disabled"], findings) == Some("disabled")
    {
        field.warn(findings, "a replica's way out is not closed yet", "");
    }
    if let Some(field) = fields.take("data_collector") {
        if matches!(field.node.value, Value::Map(_)) {
            field.warn(findings, "requests and answers are not collected yet", "");
        } else {
            field.refuse(findings, format!("expected a mapping, found {}", field.node.noun()), "");
        }
    }
    if let Some(field) = fields.take("properties") {
        field.text_map(findings);
        field.warn(findings, "properties are not kept", "use tags");
    }
    fields.skip(&["id", "kind", "location", "provisioning_state"], "is read-only and ignored", findings);
}
