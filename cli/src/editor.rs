//! The editor a person has chosen, and what may be edited of an endpoint or a deployment.

use std::io::{self, Read as _, Write as _};

use berth_client::{
    Client,
    api::{PlanRequest, PutDeploymentRequest, PutEndpointRequest},
};
use berth_core::error::{Code, Error};
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
        let unfit =
            |error: serde_json::Error| Error::new(Code::Invalid, "what was edited does not fit").why(error.to_string());
        Ok(match self.of {
            Wanted::Endpoint(mut request) => {
                request.spec = Some(serde_json::from_value(value).map_err(unfit)?);
                Wanted::Endpoint(request)
            }
            Wanted::Deployment(mut request) => {
                request.spec = Some(serde_json::from_value(value).map_err(unfit)?);
                Wanted::Deployment(request)
            }
        })
    }
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
