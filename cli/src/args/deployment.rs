//! Verbs about deployments.

use std::path::PathBuf;

use berth_core::{
    error::{Code, Error},
    model::DeploymentKey,
};
use clap::{Args, Subcommand};

use super::{AzureScope, KubectlScope, SelectArgs, Since, Tail, WaitArgs, parse_since, parse_tail};

/// `berth deployment …`, where Azure's flags of a workspace mean nothing.
#[derive(Debug, Args)]
pub(crate) struct DeploymentCommand {
    #[command(flatten)]
    pub(crate) scope: AzureScope,
    #[command(subcommand)]
    pub(crate) verb: DeploymentVerb,
}

/// `berth deployment …`
#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentVerb {
    /// Create a deployment and wait until it serves.
    Create(PutDeploymentArgs),
    /// Show a deployment.
    Show(DeploymentName),
    /// List deployments.
    List(ListDeploymentsArgs),
    /// Change a deployment and wait until it serves.
    Update(PutDeploymentArgs),
    /// Delete a deployment that carries no traffic.
    Delete(DeleteDeploymentArgs),
    /// Print what its replicas wrote.
    GetLogs(GetLogsArgs),
}

/// A deployment: `ENDPOINT/DEPLOYMENT`, or by Azure's two flags.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeploymentName {
    /// ENDPOINT/DEPLOYMENT.
    #[arg(value_name = "ENDPOINT/DEPLOYMENT", conflicts_with_all = ["name", "endpoint_name"])]
    key: Option<String>,
    /// The deployment.
    #[arg(short, long, value_name = "DEPLOYMENT")]
    name: Option<String>,
    /// Its endpoint.
    #[arg(short, long, alias = "endpoint", value_name = "ENDPOINT")]
    endpoint_name: Option<String>,
}

/// `berth deployment create` and `update`.
#[derive(Debug, Args)]
pub(crate) struct PutDeploymentArgs {
    #[command(flatten)]
    pub(crate) name: DeploymentName,
    /// The file that describes it; relative paths in it start at its folder.
    #[arg(short, long)]
    pub(crate) file: Option<PathBuf>,
    /// Give it all of the endpoint's traffic once it serves.
    #[arg(long)]
    pub(crate) all_traffic: bool,
    /// Change one field: FIELD=VALUE.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Accepted for Azure's sake.
    #[arg(long, hide = true)]
    pub(crate) skip_script_validation: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `berth deployment list`.
#[derive(Debug, Args)]
pub(crate) struct ListDeploymentsArgs {
    /// Only those of this endpoint.
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<String>,
    /// Only those of this endpoint.
    #[arg(short, long, value_name = "ENDPOINT", conflicts_with = "endpoint")]
    pub(crate) endpoint_name: Option<String>,
    /// Go on and print what changes; `-w` is Azure's workspace here.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `berth deployment delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteDeploymentArgs {
    #[command(flatten)]
    pub(crate) name: DeploymentName,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Return at once instead of waiting until its processes are gone.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `berth deployment get-logs`.
#[derive(Debug, Args)]
pub(crate) struct GetLogsArgs {
    #[command(flatten)]
    pub(crate) name: DeploymentName,
    /// How many of the last lines of each replica, or `all`; 50, or with --since all.
    #[arg(short, long, visible_alias = "tail", allow_hyphen_values = true, value_name = "LINES", value_parser = parse_tail)]
    pub(crate) lines: Option<Tail>,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
}

/// `berth logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
    /// ENDPOINT/DEPLOYMENT, an ENDPOINT that has one deployment, or a replica by its id or the beginning of it.
    #[arg(required_unless_present = "select", conflicts_with = "select")]
    pub(crate) deployment: Option<String>,
    #[command(flatten)]
    pub(crate) only: SelectArgs,
    /// How many of the last lines of each replica, or `all`; 100, or with --since all.
    #[arg(long, visible_alias = "lines", allow_hyphen_values = true, value_name = "LINES", value_parser = parse_tail)]
    pub(crate) tail: Option<Tail>,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
    /// Accepted for kubectl's sake: a replica is one process.
    #[arg(long, hide = true)]
    pub(crate) all_containers: bool,
    /// Begin each line with its replica, even where there is one; lines of several do anyway.
    #[arg(long)]
    pub(crate) prefix: bool,
}

/// What of a log is shown and how, whichever verb is asked.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShownArgs {
    /// Go on as more is written.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what was written since: `15m`, `1h30m`, or a time as `2026-01-31T14:02:00Z` or `14:02` (UTC).
    #[arg(long, alias = "since-time", value_name = "DURATION|TIME", value_parser = parse_since)]
    pub(crate) since: Option<Since>,
    /// Begin each line with when it was written, by the clock of its node.
    #[arg(short = 't', long)]
    pub(crate) timestamps: bool,
    /// Only this replica, by its id or the beginning of it.
    #[arg(long)]
    pub(crate) replica: Option<String>,
    /// What building the environment wrote.
    #[arg(long)]
    pub(crate) prepare: bool,
    /// The replica that failed last, or else ended last, instead of those there are.
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Print rows of Azure's AmlOnlineEndpointConsoleLog: a line of JSON each.
    #[arg(long)]
    pub(crate) table: bool,
    /// Azure's containers: `storage-initializer` is what building the environment wrote.
    #[arg(short, long, hide = true)]
    pub(crate) container: Option<String>,
}

// === impl ShownArgs ===

impl ShownArgs {
    /// Returns whether what building the environment wrote is asked for, in whichever words.
    pub(crate) fn is_of_preparing(&self) -> bool {
        self.prepare || self.container.as_deref() == Some("storage-initializer")
    }
}

// === impl DeploymentName ===

impl DeploymentName {
    pub(crate) fn of(key: String) -> Self {
        Self { key: Some(key), name: None, endpoint_name: None }
    }

    /// Returns the endpoint, if it was named.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        match &self.key {
            Some(key) => key.split_once('/').map(|(endpoint, _)| endpoint),
            None => self.endpoint_name.as_deref(),
        }
    }

    /// Returns the deployment, if it was named.
    pub(crate) fn deployment(&self) -> Option<&str> {
        match &self.key {
            Some(key) => Some(key.split_once('/').map_or(key.as_str(), |(_, deployment)| deployment)),
            None => self.name.as_deref(),
        }
    }

    /// Returns both names, which a verb about one deployment needs.
    pub(crate) fn key(&self) -> Result<DeploymentKey, Error> {
        let both = self.endpoint().zip(self.deployment());
        let (endpoint, deployment) = both.ok_or_else(|| {
            Error::new(Code::Invalid, "it is not clear which deployment is meant")
                .try_("write ENDPOINT/DEPLOYMENT, or --name DEPLOYMENT --endpoint-name ENDPOINT")
        })?;
        parse_key(&format!("{endpoint}/{deployment}"))
    }
}

/// Reads `ENDPOINT/DEPLOYMENT`.
pub(crate) fn parse_key(text: &str) -> Result<DeploymentKey, Error> {
    text.parse().map_err(|error: berth_core::model::NameError| {
        Error::new(Code::Invalid, error.to_string()).try_("write ENDPOINT/DEPLOYMENT, such as `fraud/blue`")
    })
}
