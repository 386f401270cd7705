//! `berth cost`.

use clap::{Args, ValueEnum};

/// `berth cost`.
#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Only this endpoint.
    pub(crate) endpoint: Option<String>,
    /// A line per deployment, or per endpoint.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) by: By,
    /// What a core costs an hour.
    #[arg(long, value_name = "PRICE", env = "BERTH_PRICE_CORE_HOUR")]
    pub(crate) core_hour: Option<String>,
    /// What a GiB of memory costs an hour.
    #[arg(long, value_name = "PRICE", env = "BERTH_PRICE_GIB_HOUR")]
    pub(crate) gib_hour: Option<String>,
    /// What a GPU costs an hour.
    #[arg(long, value_name = "PRICE", env = "BERTH_PRICE_GPU_HOUR")]
    pub(crate) gpu_hour: Option<String>,
    /// Print it as CSV, every column.
    #[arg(long)]
    pub(crate) csv: bool,
    /// Show it again every two seconds.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// What a line of the bill is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// A deployment.
    #[default]
    Deployment,
    /// An endpoint.
    Endpoint,
}
