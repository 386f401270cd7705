//! Compiles the .proto files without a `protoc` binary.

use prost::Message as _;

/// Every file is named: a stray one is not part of the contract.
const FILES: &[&str] = &[
    "proto/berth/api/v1/alert.proto",
    "proto/berth/api/v1/api.proto",
    "proto/berth/api/v1/board.proto",
    "proto/berth/api/v1/mirror.proto",
    "proto/berth/api/v1/plan.proto",
    "proto/berth/api/v1/request.proto",
    "proto/berth/api/v1/quota.proto",
    "proto/berth/node/v1/node.proto",
    "proto/berth/peer/v1/peer.proto",
    "proto/berth/raft/v1/log.proto",
    "proto/berth/raft/v1/raft.proto",
    "proto/berth/store/v1/command.proto",
    "proto/berth/store/v1/model.proto",
    "proto/berth/store/v1/snapshot.proto",
    "proto/inference/v2.proto",
];

/// Fields printed as words rather than numbers, with the module that knows the words.
const WORDS: &[(&str, &str)] = &[
    ("berth.store.v1.EndpointSpec.auth_mode", "auth_mode"),
    ("berth.store.v1.AssetRef.kind", "asset_kind"),
    ("berth.store.v1.Model.model_type", "model_type"),
    ("berth.store.v1.Disconnect.reconcile", "reconcile"),
    ("berth.store.v1.Spread.by", "spread_by"),
    ("berth.store.v1.AlertRule.severity", "alert_severity"),
];

/// What is printed and has no default value: enums and oneofs.
const ENUMS: &[&str] = &["PutMode", "KeyType", "Runtime.runtime", "GpuAsk.ask", "Hedging.after"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // What describes the messages to programs that learn them at run time, comments included.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    let mut config = tonic_prost_build::configure()
        // Commands and snapshot chunks are handed on, not read: no copy on the way.
        .bytes(".berth.raft.v1")
        .bytes(".berth.node.v1.AssetChunk")
        .bytes(".berth.node.v1.LogChunk")
        .bytes(".berth.api.v1.UploadAssetRequest")
        .bytes(".berth.api.v1.LogLines")
        .bytes(".berth.api.v1.SnapshotChunk")
        .bytes(".inference")
        // Rare and large, among the small messages that a session carries all the time.
        .boxed(".berth.node.v1.FromNode.message.request_found")
        // A map in order of its keys has one encoding, and prints the same every time.
        .btree_map(".");
    // `-o json` prints the API's own messages, and what they share with the store. Keys and secrets are not among them.
    for message in printed(&descriptors) {
        config = config
            .type_attribute(&message, "#[derive(serde::Serialize, serde::Deserialize)]")
            .type_attribute(&message, "#[serde(rename_all = \"snake_case\")]");
        // A reader of JSON that an older version wrote fills in what that one did not know.
        if !ENUMS.iter().any(|name| message.ends_with(name)) {
            config = config.type_attribute(&message, "#[serde(default)]");
        }
    }
    for (field, module) in WORDS {
        config = config.field_attribute(field, format!("#[serde(with = \"crate::words::{module}\")]"));
    }
    config = config.field_attribute("berth.store.v1.AssetRef.digest", "#[serde(with = \"crate::words::hex\")]");
    config.compile_fds(descriptors)?;
    Ok(())
}

/// Lists the messages and enums that have a JSON form.
fn printed(descriptors: &prost_types::FileDescriptorSet) -> Vec<String> {
    const API_WITHOUT_JSON: &[&str] = &["UploadAssetRequest", "LogLines", "SnapshotChunk"];
    const SHARED: &[&str] = &[
        "Resources",
        "EndpointSpec",
        "MirrorRules",
        "Hedging",
        "Hedging.after",
        "AlertRule",
        "AssetRef",
        "Model",
        "Code",
        "HttpRoute",
        "Environment",
        "Runtime",
        "PythonRuntime",
        "OnnxRuntime",
        "CommandRuntime",
        "GpuAsk",
        "WholeGpus",
        "GpuMemory",
        "MigSlices",
        "RequestSettings",
        "Probe",
        "DeploymentSpec",
        "Disconnect",
        "Yielded",
        "LabelRule",
        "Spread",
        "Settings",
        "SettingsChange",
        "Device",
        "DeviceGrant",
        "Runtime.runtime",
        "GpuAsk.ask",
    ];
    let api = descriptors.file.iter().filter(|file| file.package() == "berth.api.v1").flat_map(|file| {
        let messages = file.message_type.iter().map(|message| message.name().to_owned());
        messages.chain(file.enum_type.iter().map(|enumeration| enumeration.name().to_owned()))
    });
    let api = api.filter(|name| !API_WITHOUT_JSON.contains(&name.as_str()));
    let shared = SHARED.iter().map(|name| format!("berth.store.v1.{name}"));
    let measured = ["DeviceSample", "DeviceProcess", "PrepareProgress"].map(|name| format!("berth.node.v1.{name}"));
    api.map(|name| format!("berth.api.v1.{name}")).chain(shared).chain(measured).collect()
}
