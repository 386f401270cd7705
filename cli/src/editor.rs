//! The editor a person has chosen, and what may be edited of an endpoint or a deployment.

use std::io::{self, Read as _, Write as _};

use berth_client::{
    Client,
    api::{PlanRequest, PutDeploymentRequest, PutEndpointRequest},
};
use berth_core::error::{Code, Error, Problem};
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

/// The largest text that is taken back from an editor.
const EDITED_BYTES_MAX: u64 = 1 << 20;

/// What came back, and the file it is in: whoever cannot use it leaves it there, for what was typed not to be lost.
pub(crate) struct Edited {
    pub(crate) text: String,
    pub(crate) file: NamedTempFile,
}

/// What a person edits: the text, and what it was made of.
pub(crate) struct Draft {
    pub(crate) text: String,
    of: Wanted,
}

/// What is to become of what was edited, unless somebody else changed it meanwhile.
pub(crate) enum Wanted {
    Endpoint(Box<PutEndpointRequest>),
    Deployment(Box<PutDeploymentRequest>),
}

// === impl Wanted ===

impl Wanted {
    /// Asks what it would change.
    pub(crate) fn plan(&self) -> PlanRequest {
        let mut ask = PlanRequest::default();
        match self {
            Self::Endpoint(request) => ask.endpoints.push((**request).clone()),
            Self::Deployment(request) => ask.deployments.push((**request).clone()),
        }
        ask
    }
}

// === impl Draft ===

impl Draft {
    /// Writes down what may be changed of an endpoint.
    pub(crate) async fn of_endpoint(client: &Client, name: &str) -> Result<Self, Error> {
        let found = client.get_endpoint(name).await?;
        let text = crate::output::as_yaml(&found.spec)?;
        let request = PutEndpointRequest { name: found.name, if_revision: Some(found.revision), ..Default::default() };
        Ok(Self { text, of: Wanted::Endpoint(Box::new(request)) })
    }

    /// Writes down what may be changed of a deployment.
    pub(crate) async fn of_deployment(client: &Client, endpoint: &str, name: &str) -> Result<Self, Error> {
        let found = client.get_deployment(endpoint, name).await?;
        let text = crate::output::as_yaml(&found.spec)?;
        let request = PutDeploymentRequest {
            endpoint: found.endpoint,
            name: found.name,
            if_revision: Some(found.revision),
            ..Default::default()
        };
        Ok(Self { text, of: Wanted::Deployment(Box::new(request)) })
    }

    /// Reads what it became.
    pub(crate) fn edited(self, text: &str) -> Result<Wanted, Error> {
        let value = crate::yaml::json(text)?;
        Ok(match self.of {
            Wanted::Endpoint(mut request) => {
                request.spec = Some(fitted(value)?);
                Wanted::Endpoint(request)
            }
            Wanted::Deployment(mut request) => {
                request.spec = Some(fitted(value)?);
                Wanted::Deployment(request)
            }
        })
    }
}

/// Reads a specification, or says which of its fields cannot be read.
fn fitted<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let unfit = Error::new(Code::Invalid, "what was edited does not fit");
        let (field, what) = (error.path().to_string(), told(&error.inner().to_string()));
        if field == "." {
            return unfit.why(what);
        }
        Error { problems: vec![Problem { field, what, try_: String::new() }], ..unfit }
    })
}

/// Turns what the reader of JSON says about a type into words of a file.
fn told(said: &str) -> String {
    const WORDS: &[(&[&str], &str)] = &[
        (&["u8", "u16", "u32", "u64", "i32", "i64"], "a whole number"),
        (&["f32", "f64"], "a number"),
        (&["a boolean"], "true or false"),
        (&["a string"], "text"),
        (&["a sequence"], "a list"),
        (&["a map"], "a mapping"),
    ];
    let typed = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    let Some((found, expected)) = typed.and_then(|said| said.split_once(", expected ")) else {
        return said.to_owned();
    };
    let expected = match WORDS.iter().find(|(words, _)| words.contains(&expected)) {
        Some((_, plain)) => plain,
        None if expected.starts_with("struct ") => "a mapping",
        None => expected,
    };
    let found = match found.split_once(' ').unwrap_or((found, "")) {
        ("string", text) => text.to_owned(),
        ("map", _) => "a mapping".to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("null", _) => "nothing".to_owned(),
        _ => found.to_owned(),
    };
    format!("expected {expected}, found {found}")
}

/// Writes a text down for an editor.
pub(crate) fn written(text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("berth-").suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file)
}

/// Lets a person edit a file, and reads what it holds then.
pub(crate) async fn edited(file: NamedTempFile) -> io::Result<Edited> {
    // The variable may hold arguments, so a shell reads it, as git does.
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let command = format!("{} \"$1\"", editor.as_deref().unwrap_or("vi"));
    let status = tokio::process::Command::new("sh").args(["-c", &command, "sh"]).arg(file.path()).status().await?;
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    // Editors replace the file rather than write into it.
    let mut text = String::new();
    std::fs::File::open(file.path())?.take(EDITED_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Edited { text, file })
}

#[cfg(test)]
mod tests {
    use berth_client::store::DeploymentSpec;

    use super::*;

    #[test]
    fn a_value_of_another_type_is_told_with_its_field() {
        for (text, field, what) in [
            ("priority: high", "priority", "expected a whole number, found \"high\""),
            ("priority: -1", "priority", "expected a whole number, found integer `-1`"),
            ("instance_count: {min: 2}", "instance_count", "expected a whole number, found a mapping"),
            ("resources: {cpu_milli: [1]}", "resources.cpu_milli", "expected a whole number, found a list"),
            ("resources: all", "resources", "expected a mapping, found \"all\""),
            ("environment_variables: {LEVEL: 3}", "environment_variables.LEVEL", "expected text, found integer `3`"),
        ] {
            let read = fitted::<DeploymentSpec>(crate::yaml::json(text).expect("YAML"));
            let problems = read.expect_err(text).problems;
            let told: Vec<_> = problems.iter().map(|problem| (problem.field.as_str(), problem.what.as_str())).collect();
            assert_eq!(told, [(field, what)], "{text}");
        }
        let whole = fitted::<DeploymentSpec>(serde_json::json!("all")).expect_err("no mapping");
        assert_eq!((whole.why.as_str(), whole.problems.len()), ("expected a mapping, found \"all\"", 0));
    }
}
