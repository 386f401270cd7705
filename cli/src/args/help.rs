//! Help of the daemons' settings: what the flags alone cannot say, from the table that the settings are read by.

use clap::{Command, CommandFactory};

use super::Cli;
use crate::config::{self, Shown};

/// Builds the whole program's commands, every daemon's flag with its variable and its default.
pub(crate) fn command() -> Command {
    Cli::command()
        .mut_subcommand("coordinator", |command| with_settings(command, &config::coordinator_settings()))
        .mut_subcommand("node", |command| with_settings(command, &config::node_settings()))
}

fn with_settings(command: Command, settings: &[Shown]) -> Command {
    let mut elsewhere = vec!["A flag beats a variable beats a line of --config FILE [env: BERTH_CONFIG].".to_owned()];
    // `--api` is a flag of every verb, and means something else to the others.
    for shown in settings.iter().filter(|shown| shown.name == "api") {
        elsewhere.push(format!("--api ADDR is where it listens {}.", source(shown)));
    }
    let command = command.mut_args(|arg| {
        let Some(shown) = settings.iter().find(|shown| arg.get_id() == shown.name) else { return arg };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{} {}", help.trim_end_matches('.'), source(shown)))
    });
    command.after_help(elsewhere.join(" "))
}

/// Writes it as clap writes what it knows itself.
fn source(shown: &Shown) -> String {
    let default = if shown.default.is_empty() { String::new() } else { format!(" [default: {}]", shown.default) };
    format!("[env: {}]{default}", shown.variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_every_setting_of_a_daemon_with_its_variable_and_its_default() {
        for (verb, settings) in [("coordinator", config::coordinator_settings()), ("node", config::node_settings())] {
            let mut command = command();
            command.build();
            let found = command.find_subcommand_mut(verb).expect("a verb");
            let help = found.render_long_help().to_string();
            // Long lines are wrapped.
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            for shown in settings {
                assert!(help.contains(&format!("--{}", shown.name.replace('_', "-"))), "{verb} {shown:?} in {help}");
                assert!(help.contains(&source(&shown)), "{verb} {shown:?} in {help}");
            }
        }
    }

    /// Writes the page of every setting from the table that they are read by and the help of their flags.
    fn reference() -> String {
        let mut page = String::from(
            "# Configuration\n\nA flag beats a variable beats a line of the file (`--config FILE` or `BERTH_CONFIG`) beats the \
             default. A name that nobody\nknows is refused, and all problems are told at once. `config.example.toml` shows the \
             file. This page is made from the program.\n",
        );
        let settings = [("coordinator", config::coordinator_settings()), ("node", config::node_settings())];
        for (daemon, settings) in settings {
            page.push_str(&format!("\n## [{daemon}]\n\n| setting | variable | default | |\n|---|---|---|---|\n"));
            let command = Cli::command();
            let command = command.find_subcommand(daemon).expect("a verb");
            for shown in settings {
                let arg = command.get_arguments().find(|arg| arg.get_id() == shown.name);
                let help = arg.and_then(|arg| arg.get_help()).map(ToString::to_string).unwrap_or_default();
                let help = if shown.name == "api" { "Where it listens".to_owned() } else { help.replace('|', "\\|") };
                let default = if shown.default.is_empty() { String::new() } else { format!("`{}`", shown.default) };
                page.push_str(&format!(
                    "| `{}` | `{}` | {default} | {} |\n",
                    shown.name,
                    shown.variable,
                    help.trim_end_matches('.')
                ));
            }
        }
        page
    }

    #[test]
    fn the_reference_is_made_from_the_settings() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        if std::env::var_os("BERTH_UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference()).expect("a page");
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == reference(),
            "docs/configuration.md is old: BERTH_UPDATE_DOCS=1 cargo test -p berth-cli reference"
        );
    }

    #[test]
    fn the_commands_are_consistent() {
        command().debug_assert();
    }
}
