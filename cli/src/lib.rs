//! The berth binary: verbs, the development cluster and both daemons.

mod advertise;
mod args;
mod authority;
mod config;
mod contexts;
pub mod demo;
mod dev;
#[cfg(test)]
mod documented;
mod editor;
mod event_log;
pub mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod load;
mod metrics;
mod output;
mod process;
mod tui;
pub mod verbs;
mod view;
mod yaml;

use std::process::ExitCode;

use berth_core::error::{Code, Error};
use clap::{FromArgMatches, parser::ValueSource};

use args::Cli;
use output::Output;

/// Says why a line cannot be read as any other failure is told, in the format that the line asked for.
fn misread(error: clap::Error) -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match args::misread(error, &words) {
        Ok(fault) => Output::new(args::asked_format(&words), false, output::declines_color()).fault(&fault),
        // Help and the version are answers.
        Err(answer) => answer.exit(),
    }
}

/// Runs the program: reads the arguments, does what they say, and returns how the process ends.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let read = args::command().try_get_matches_from(args::meant(words));
    let read = read.and_then(|matches| {
        let is_asked = matches.value_source("output") == Some(ValueSource::CommandLine);
        Ok((Cli::from_arg_matches(&matches)?, is_asked))
    });
    let (cli, is_asked) = match read {
        Ok(read) => read,
        Err(error) => return misread(error),
    };
    let no_color = cli.global.no_color || output::declines_color();
    let out = Output::new(cli.global.output, cli.global.quiet || cli.global.only_show_errors, no_color)
        .with_query(cli.global.query.clone(), is_asked);
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
