//! `berth quota …`.

use std::time::Duration;

use clap::{Args, Subcommand};

/// What can be done with quotas.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaVerb {
    /// Show what projects take and may take, the pool, and what is lent out of it.
    Show {
        /// One project; all when absent.
        project: Option<String>,
        /// Show it again whenever something happens.
        #[arg(short, long)]
        watch: bool,
    },
    /// Set limits: `berth quota set team-a cpu=40 H100=8`. What is below the present use stops growth and touches nothing
    /// that runs.
    Set(SetQuotaArgs),
    /// Lend out of the pool for a while: `berth quota lend team-a H100=2 --for 24h`. It returns by itself.
    Lend {
        /// The project.
        project: String,
        /// How much of what.
        #[arg(value_name = "FAMILY=AMOUNT")]
        amount: String,
        /// For how long: 1m to 7d.
        #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = super::parse_span)]
        within: Duration,
    },
    /// Return a loan before its time.
    Return {
        /// Its id, or the beginning of it.
        loan: String,
    },
}

/// `berth quota set`.
#[derive(Debug, Args)]
pub(crate) struct SetQuotaArgs {
    /// The project, then FAMILY=AMOUNT…; with --pool amounts alone. Cores for `cpu` and Azure's families of CPU sizes,
    /// devices for `gpu`, a model such as `H100` and Azure's families of GPU sizes.
    #[arg(required = true, value_name = "PROJECT FAMILY=AMOUNT")]
    pub(crate) words: Vec<String>,
    /// Set what the cluster may lend instead.
    #[arg(long, conflicts_with = "unlimited")]
    pub(crate) pool: bool,
    /// Take the limit of a family away.
    #[arg(long, value_name = "FAMILY")]
    pub(crate) unlimited: Vec<String>,
}
