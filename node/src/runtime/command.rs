//! Any program that listens on `$PORT`, run without a shell.

use std::path::PathBuf;

use berth_core::model::DeploymentSpec;

use super::Layout;

/// Returns the words and the folder of the process.
///
/// There is no shell to expand variables, and many servers take their port only as a word, so the port is put in where
/// it is written as `{port}`, `${PORT}` or `$PORT`; the folder of the model likewise.
pub(super) fn process(argv: &[String], spec: &DeploymentSpec, layout: &Layout, port: u16) -> (Vec<String>, PathBuf) {
    let model = spec.model.as_ref().map(|model| layout.model_dir(model, spec.model_mount_path.as_deref()));
    let model = model.map(|path| path.display().to_string()).unwrap_or_default();
    let argv = argv.iter().map(|word| substitute(word, &port.to_string(), &model)).collect();
    (argv, layout.code_of(spec))
}

fn substitute(word: &str, port: &str, model_dir: &str) -> String {
    let mut out = word.to_owned();
    for (name, value) in
        [("{port}", port), ("${PORT}", port), ("${AZUREML_MODEL_DIR}", model_dir), ("$AZUREML_MODEL_DIR", model_dir)]
    {
        out = out.replace(name, value);
    }
    bare(&out, "$PORT", port)
}

/// Replaces `$PORT` but not the start of `$PORTAL`.
fn bare(text: &str, name: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let after = &rest[at + name.len()..];
        let goes_on = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(&rest[..at]);
        out.push_str(if goes_on { name } else { value });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_put_in_however_it_is_written() {
        for (word, expected) in [
            ("--port=$PORT", "--port=81"),
            ("0.0.0.0:${PORT}", "0.0.0.0:81"),
            ("{port}", "81"),
            ("$PORTAL", "$PORTAL"),
            ("$PORT$PORT", "8181"),
            ("$AZUREML_MODEL_DIR/x", "/m/x"),
            ("plain", "plain"),
        ] {
            assert_eq!(substitute(word, "81", "/m"), expected, "{word}");
        }
    }
}
