//! What the Python SDK shares with this reader: a table made from our defaults, and files that both must read alike.
//!
//! `BLESS=1` writes both files anew after an intended change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use berth_client::Packed;
use berth_core::{
    defaults::DEFAULTS,
    model::{DeploymentSpec, Disconnect, EndpointSpec, Runtime, Traffic, instance_type, instance_types},
};
use berth_proto::{
    api::{deployment_spec_message, endpoint_spec_message},
    store::v1,
};
use prost::Message;
use serde_json::{Map, Value, json};

use super::{DeploymentFile, Document, EndpointFile, load};

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").join("sdk/python")
}

fn hex(message: &impl Message) -> Value {
    Value::String(hex::encode(message.encode_to_vec()))
}

/// Compares a file of the SDK with what it should be.
fn holds(path: &Path, expected: &Value) {
    let text = format!("{}\n", serde_json::to_string_pretty(expected).expect("JSON"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, &text).expect("the file is written");
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{} is not what it should be; run this test with BLESS=1 and look at it", path.display());
}

#[test]
fn the_sdks_table_holds_our_defaults() {
    let spec = DeploymentSpec::new(Runtime::Python);
    let sizes: Map<_, _> = instance_types()
        .map(|name| {
            let size = instance_type(&name).expect("a known size");
            let row = v1::DeploymentSpec {
                resources: deployment_spec_message(&DeploymentSpec { resources: size.resources(), ..spec.clone() })
                    .resources,
                gpu: deployment_spec_message(&DeploymentSpec { gpu: size.gpu_ask(), ..spec.clone() }).gpu,
                reserve: size.reserve,
                ..Default::default()
            };
            (name, hex(&row))
        })
        .collect();
    let gone = DeploymentSpec { disconnect: Disconnect::default(), ..spec.clone() };
    let table = json!({
        "deployment_spec": hex(&deployment_spec_message(&spec)),
        "disconnect": hex(&deployment_spec_message(&gone).disconnect.unwrap_or_default()),
        "endpoint_spec": hex(&endpoint_spec_message(&EndpointSpec::default())),
        "instance_count_max": DEFAULTS.instance_count_max,
        "instance_types": sizes,
    });
    holds(&sdk().join("src/berth/_tables.json"), &table);
}

#[test]
fn the_sdk_is_held_to_the_files_as_we_read_them() {
    let folder = sdk().join("tests/files");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the files")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.ends_with(".yml") && name != "environment.yml")
        .collect();
    names.sort();
    let expected: Map<_, _> = names.into_iter().map(|name| (name.clone(), read(&folder.join(&name)))).collect();
    assert!(expected.len() >= 9, "the files are there");
    holds(&folder.join("expected.json"), &Value::Object(expected));
}

/// Returns what a file means, or the fields it is refused for.
fn read(path: &Path) -> Value {
    match load(path, None, &[]) {
        Ok(loaded) => {
            let documents: Vec<_> = loaded
                .documents
                .into_iter()
                .map(|document| match document {
                    Document::Endpoint(file) => endpoint(&file),
                    Document::Deployment(file) => deployment(*file),
                })
                .collect();
            let warned: Vec<_> = loaded.warnings.iter().map(|problem| field(&problem.field)).collect();
            json!({ "documents": documents, "warned": warned })
        }
        Err(error) => {
            let mut fields: Vec<_> = error.problems.iter().map(|problem| field(&problem.field)).collect();
            fields.sort();
            json!({ "refused": fields, "code": error.code.word() })
        }
    }
}

/// Takes the file away: `file.yml:3:1 model.path` is `3 model.path`.
fn field(located: &str) -> String {
    let (place, path) = located.split_once(' ').unwrap_or((located, ""));
    let line = place.rsplit(':').nth(1).filter(|line| line.parse::<u64>().is_ok()).unwrap_or("0");
    format!("{line} {path}").trim_end().to_owned()
}

fn endpoint(file: &EndpointFile) -> Value {
    let shares = |traffic: &Option<Traffic>| {
        traffic.as_ref().map(|traffic| {
            traffic.0.iter().map(|(name, percent)| (name.to_string(), json!(percent))).collect::<Map<_, _>>()
        })
    };
    json!({
        "endpoint": file.name.to_string(),
        "project": file.project.as_ref().map(ToString::to_string),
        "spec": hex(&endpoint_spec_message(&file.spec)),
        "traffic": shares(&file.traffic),
        "mirror": shares(&file.mirror),
    })
}

fn deployment(file: DeploymentFile) -> Value {
    let packed = |source: &Option<super::source::Source>| {
        source.as_ref().map(|source| Packed::read(&source.path).expect("it is there").asset)
    };
    let (model, code) = (packed(&file.model), packed(&file.code));
    let file = file.with_assets(model, code);
    json!({
        "endpoint": file.key.endpoint.to_string(),
        "deployment": file.key.deployment.to_string(),
        "spec": hex(&deployment_spec_message(&file.spec)),
    })
}
