//! Alerts as they are typed.

use clap::{Args, Subcommand};

/// `berth alerts`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AlertsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<AlertsVerb>,
    /// Only those of this endpoint.
    pub(crate) endpoint: Option<String>,
    /// Go on and print what changes.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// `berth alerts …`
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsVerb {
    /// Tell a receiver something harmless, and say whether it took it.
    Test {
        /// The receiver.
        receiver: String,
    },
}
