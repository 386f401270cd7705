//! The built-in ONNX server, as a process of its own.

use std::path::PathBuf;

use berth_core::{
    agent::ReplicaOrder,
    error::{Code, Error},
};

use super::{Host, Layout};

/// Returns the words and the folder of the process.
pub(super) fn process(
    host: &Host,
    order: &ReplicaOrder,
    layout: &Layout,
    port: u16,
) -> Result<(Vec<String>, PathBuf), Error> {
    let spec = &order.spec;
    let model = spec.model.as_ref().ok_or_else(|| Error::new(Code::Invalid, "an ONNX deployment without a model"))?;
    let path = layout.model_dir(model, spec.model_mount_path.as_deref()).join(&model.asset.name);
    let options = [
        ("--model", path.display().to_string()),
        ("--model-name", order.key.endpoint.to_string()),
        ("--host", "127.0.0.1".to_owned()),
        ("--port", port.to_string()),
        ("--workers", workers(order).to_string()),
    ];
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    Ok((host.onnx_program.iter().cloned().chain(options).collect(), layout.app()))
}

/// Workers that are of use: one per request that may come at once, but never more than cores to run them on.
pub(super) fn workers(order: &ReplicaOrder) -> u64 {
    let cores = order.spec.resources.cpu_milli.div_ceil(1_000).max(1);
    u64::from(order.spec.request_settings.max_concurrent_requests_per_instance).clamp(1, cores)
}
