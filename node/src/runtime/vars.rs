//! The variables of a replica's process.

use std::{collections::BTreeMap, path::Path};

use berth_core::agent::ReplicaOrder;

use super::{Host, Layout};
use crate::{capacity::visible_name, process::MARK};

/// The variables that hold before the deployment's own are laid over them.
pub(super) fn common(
    host: &Host,
    order: &ReplicaOrder,
    layout: &Layout,
    environment: Option<&Path>,
    port: u16,
) -> BTreeMap<String, String> {
    let spec = &order.spec;
    let mut env = host.base_env.clone();
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("BERTH_ENDPOINT", order.key.endpoint.to_string());
    set("BERTH_DEPLOYMENT", order.key.deployment.to_string());
    set("BERTH_REPLICA", order.replica.to_string());
    set("AML_APP_ROOT", layout.code_of(spec).display().to_string());
    set("TMPDIR", layout.tmp().display().to_string());
    set("PORT", port.to_string());
    // Its log is for people who wait for it, so nothing may sit in a buffer.
    set("PYTHONUNBUFFERED", "1".to_owned());
    if let Some(model) = &spec.model {
        set("AZUREML_MODEL_DIR", layout.model_dir(model, spec.model_mount_path.as_deref()).display().to_string());
    }
    if let Some(environment) = environment {
        let path = host.base_env.get("PATH").map_or("/usr/bin:/bin", String::as_str);
        set("PATH", format!("{}:{path}", environment.join("bin").display()));
        set("VIRTUAL_ENV", environment.display().to_string());
        // What a user installed for himself on this host is not part of the environment.
        set("PYTHONNOUSERSITE", "1".to_owned());
    }
    env
}

/// Lays the deployment's own variables over them, and then what must be true whatever it says.
pub(super) fn finish(order: &ReplicaOrder, layout: &Layout, port: u16, env: &mut BTreeMap<String, String>) {
    env.extend(order.spec.environment_variables.clone());
    let devices: Vec<&str> = order.devices.iter().map(|device| visible_name(&device.uuid)).collect();
    // Empty hides every device: what was not granted is somebody else's.
    env.insert("CUDA_VISIBLE_DEVICES".to_owned(), devices.join(","));
    // What a program that would take a whole device by itself has to keep to.
    match order.devices.iter().filter_map(|device| device.memory_mib).min() {
        Some(mib) => env.insert("BERTH_GPU_MEMORY_MIB".to_owned(), mib.to_string()),
        None => env.remove("BERTH_GPU_MEMORY_MIB"),
    };
    env.insert("PORT".to_owned(), port.to_string());
    env.insert(MARK.to_owned(), layout.root().display().to_string());
}
