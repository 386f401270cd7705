//! Verbs about endpoints.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::AzureScope;

/// `berth endpoint …`, where Azure's flags of a workspace mean nothing.
#[derive(Debug, Args)]
pub(crate) struct EndpointCommand {
    #[command(flatten)]
    pub(crate) scope: AzureScope,
    #[command(subcommand)]
    pub(crate) verb: EndpointVerb,
}

/// `berth endpoint …`
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointVerb {
    /// Create an endpoint.
    Create(CreateEndpointArgs),
    /// Show an endpoint.
    Show(EndpointName),
    /// List endpoints.
    List {
        /// Go on and print what changes; `-w` is Azure's workspace here.
        #[arg(long)]
        watch: bool,
    },
    /// Change an endpoint: its spec, its split, its mirrors.
    Update(UpdateEndpointArgs),
    /// Delete an endpoint with all its deployments.
    Delete(DeleteEndpointArgs),
    /// Print both keys.
    GetCredentials(EndpointName),
    /// Replace a key.
    RegenerateKeys(RegenerateArgs),
    /// Call an endpoint.
    Invoke(InvokeArgs),
}

/// An endpoint, named by place or by flag.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct EndpointName {
    /// The endpoint.
    #[arg(value_name = "ENDPOINT")]
    name: Option<String>,
    /// The endpoint.
    #[arg(short, long = "name", value_name = "ENDPOINT")]
    name_flag: Option<String>,
}

/// `berth endpoint create`.
#[derive(Debug, Args)]
pub(crate) struct CreateEndpointArgs {
    /// The file that describes it.
    #[arg(short, long)]
    pub(crate) file: Option<PathBuf>,
    /// Its name, whatever the file says.
    #[arg(short, long, required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// Lay FIELD=VALUE over the file.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Azure's way to say `--set auth_mode=MODE`.
    #[arg(long, hide = true, value_name = "MODE")]
    pub(crate) auth_mode: Option<String>,
    /// Accepted for Azure's sake; an endpoint is there at once.
    #[arg(long, hide = true)]
    pub(crate) no_wait: bool,
}

/// `berth endpoint update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateEndpointArgs {
    #[command(flatten)]
    pub(crate) name: OptionalEndpointName,
    /// The file that describes it anew.
    #[arg(short, long)]
    pub(crate) file: Option<PathBuf>,
    /// Change one field: FIELD=VALUE.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// The whole split: "blue=90 green=10".
    #[arg(long, value_name = "SHARES", num_args = 1..)]
    pub(crate) traffic: Vec<String>,
    /// All mirrors: "green=10".
    #[arg(long, value_name = "SHARES", num_args = 1..)]
    pub(crate) mirror_traffic: Vec<String>,
    /// Refuse mirrors that Azure would: several, more than 50 %, or one that has live traffic.
    #[arg(long)]
    pub(crate) strict_azure: bool,
    /// Accepted for Azure's sake; a change is there at once.
    #[arg(long, hide = true)]
    pub(crate) no_wait: bool,
}

/// An endpoint that a file may name instead.
#[derive(Clone, Debug, Args)]
pub(crate) struct OptionalEndpointName {
    /// The endpoint.
    #[arg(value_name = "ENDPOINT")]
    name: Option<String>,
    /// The endpoint.
    #[arg(short, long = "name", value_name = "ENDPOINT", conflicts_with = "name")]
    name_flag: Option<String>,
}

/// `berth endpoint delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteEndpointArgs {
    #[command(flatten)]
    pub(crate) name: EndpointName,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Accepted for Azure's sake.
    #[arg(long, hide = true)]
    pub(crate) no_wait: bool,
}

/// `berth endpoint regenerate-keys`.
#[derive(Debug, Args)]
pub(crate) struct RegenerateArgs {
    #[command(flatten)]
    pub(crate) name: EndpointName,
    /// Which of the two.
    #[arg(long, value_enum, ignore_case = true, default_value_t)]
    pub(crate) key_type: KeyType,
    /// Accepted for Azure's sake.
    #[arg(long, hide = true)]
    pub(crate) no_wait: bool,
}

/// One of the two keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyType {
    /// The first one.
    #[default]
    Primary,
    /// The second one.
    Secondary,
}

/// `berth invoke` and `berth endpoint invoke`.
#[derive(Debug, Args)]
pub(crate) struct InvokeArgs {
    #[command(flatten)]
    pub(crate) name: EndpointName,
    /// The request's body; `-` reads stdin.
    #[arg(short = 'f', long = "request-file", visible_alias = "file", visible_short_alias = 'r', value_name = "FILE")]
    pub(crate) request_file: Option<PathBuf>,
    /// The request's body itself. Beside a file of a request it names a deployment, as in Azure.
    #[arg(short, long)]
    pub(crate) data: Option<String>,
    /// Ask this deployment, past the split.
    #[arg(long, visible_alias = "deployment-name", value_name = "DEPLOYMENT")]
    pub(crate) deployment: Option<String>,
    /// The path below the endpoint.
    #[arg(long, default_value = "/score")]
    pub(crate) path: String,
    /// The body's type.
    #[arg(long, default_value = "application/json")]
    pub(crate) content_type: String,
    /// The node to call, as HOST:PORT; any that is ready when absent.
    #[arg(long, value_name = "ADDR")]
    pub(crate) ingress: Option<String>,
    /// The certificate of who signed the nodes' own, in PEM; for nodes that speak TLS to callers.
    #[arg(long, value_name = "FILE")]
    pub(crate) ingress_ca: Option<PathBuf>,
}

// === impl EndpointName ===

impl EndpointName {
    pub(crate) fn of(name: String) -> Self {
        Self { name: Some(name), name_flag: None }
    }

    /// Returns the name, wherever it stood.
    pub(crate) fn get(&self) -> &str {
        // One of them is there, or clap would have refused.
        self.name.as_deref().or(self.name_flag.as_deref()).unwrap_or_default()
    }
}

// === impl OptionalEndpointName ===

impl OptionalEndpointName {
    /// Returns the name, if there is one.
    pub(crate) fn get(&self) -> Option<&str> {
        self.name.as_deref().or(self.name_flag.as_deref())
    }
}
