//! The berth binary: verbs, the development cluster and both daemons.

mod advertise;
mod args;
mod config;
mod contexts;
pub mod demo;
mod dev;
#[cfg(test)]
mod documented;
pub mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod load;
mod metrics;
mod output;
mod process;
mod telemetry;
mod tui;
pub mod verbs;
mod view;
mod yaml;

use std::process::ExitCode;

use berth_core::error::{Code, Error};
use clap::FromArgMatches;

use args::Cli;
use output::Output;

/// Runs the program: reads the arguments, does what they say, and returns how the process ends.
pub fn main() -> ExitCode {
    let matches = args::command().try_get_matches().unwrap_or_else(|error| args::explained(error).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // The convention of no-color.org: set, and not to nothing.
    let no_color = cli.global.no_color || std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let out = Output::new(cli.global.output, cli.global.quiet, no_color).with_query(cli.global.query.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(verbs::run(cli, out.clone())),
        Err(error) => Err(Error::new(Code::Internal, "the runtime could not start").why(error.to_string()).into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => out.fault(&fault),
    }
}
