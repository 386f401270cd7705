//! `berth plan`.

use std::path::PathBuf;

use clap::Args;

/// `berth plan`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
#[command(after_help = "\
With files alone the exit code says whether anything would change: 0 nothing, 1 something.
With --lose, --drain, --spike or --add it says whether every endpoint keeps its minimum: 0 yes, 1 no.
255 means that there is no answer.")]
pub(crate) struct PlanArgs {
    /// A file or a folder that `berth apply` would take; more may follow.
    #[arg(short, long, alias = "filename", group = "what")]
    pub(crate) file: Vec<PathBuf>,
    /// Lay FIELD=VALUE over every document.
    #[arg(long, value_name = "FIELD=VALUE", requires = "file")]
    pub(crate) set: Vec<String>,
    /// A node is lost with everything on it; several at the same moment.
    #[arg(long, value_name = "NODE", group = "what")]
    pub(crate) lose: Vec<String>,
    /// A node is drained.
    #[arg(long, value_name = "NODE", group = "what")]
    pub(crate) drain: Vec<String>,
    /// The demand of an endpoint, or of ENDPOINT/DEPLOYMENT, multiplies: `fraud=5x`.
    #[arg(long, value_name = "ENDPOINT=FACTOR", group = "what")]
    pub(crate) spike: Vec<String>,
    /// Nodes are added: `3xcpu=16,memory=64GiB,gpu=2x80GiB:H100,zone=a`; cards that are cut: `gpu=1x80GiB:H100/7x1g.10gb`.
    #[arg(long, value_name = "NODESPEC", group = "what")]
    pub(crate) add: Vec<String>,
    /// List every step instead of the first ones.
    #[arg(long)]
    pub(crate) steps: bool,
}
