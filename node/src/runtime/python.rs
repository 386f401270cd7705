//! Azure's scoring scripts under Azure's own server, unmodified.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use berth_core::{
    agent::ReplicaOrder,
    error::{Code, Error},
};

use super::{Layout, onnx::workers};

/// Starts the server on loopback. It has no option for its address and would listen on every one, where anybody could
/// pass by the gate and its keys.
const START: &str = "import azureml_inference_server_http.constants as c; c.DEFAULT_HOST = '127.0.0.1'; \
                     from azureml_inference_server_http.amlserver import run; run()";

/// Returns the words and the folder of the process.
pub(super) fn process(
    order: &ReplicaOrder,
    layout: &Layout,
    environment: &Path,
    port: u16,
    env: &mut BTreeMap<String, String>,
) -> Result<(Vec<String>, PathBuf), Error> {
    let code = order.spec.code.as_ref();
    let code = code.ok_or_else(|| Error::new(Code::Invalid, "a Python deployment without a scoring script"))?;
    let script = layout.code(&code.asset.name).join(&code.scoring_script);
    // Azure's rule: the root is the script's own folder, however deep it lies in the code.
    let root = script.parent().map_or_else(|| layout.code(&code.asset.name), Path::to_owned);
    env.insert("AML_APP_ROOT".to_owned(), root.display().to_string());
    if let Some(name) = script.file_name() {
        env.insert("AZUREML_ENTRY_SCRIPT".to_owned(), name.display().to_string());
    }
    // A script without a model still finds the variable, as in Azure's images.
    env.entry("AZUREML_MODEL_DIR".to_owned())
        .or_insert_with(|| layout.app().join("azureml-models").display().to_string());
    env.insert("WORKER_COUNT".to_owned(), workers(order).to_string());
    // Newer servers open a control socket below it, by default one for all of a user's servers.
    env.insert("XDG_RUNTIME_DIR".to_owned(), layout.tmp().display().to_string());
    let argv = [
        environment.join("bin/python").display().to_string(),
        "-c".to_owned(),
        START.to_owned(),
        "--entry_script".to_owned(),
        script.display().to_string(),
        "--port".to_owned(),
        port.to_string(),
    ];
    Ok((argv.into(), root))
}
