//! Help of the daemons' settings: what the flags alone cannot say, from the table that the settings are read by.

use clap::{Command, CommandFactory};

use super::Cli;
use crate::config::{self, Shown};

/// Flags of every verb that are settings of a daemon too, where they mean this. The variables of the others are not for it.
const SHARED: &[(&str, &str, &str)] = &[
    ("api", "ADDR", "Where it listens"),
    (
        "ca",
        "FILE",
        "The authority that signed the coordinators' certificates, in PEM: who is believed at `https://` addresses",
    ),
    ("client_cert", "FILE", "The certificate that coordinators are shown, in PEM, where they ask for one"),
    ("client_key", "FILE", "That certificate's key, in PEM"),
];

/// Builds the whole program's commands, every daemon's flag with its variable and its default.
pub(crate) fn command() -> Command {
    Cli::command()
        .mut_subcommand("coordinator", |command| with_settings(command, &config::coordinator_settings()))
        .mut_subcommand("node", |command| with_settings(command, &config::node_settings()))
}

fn with_settings(command: Command, settings: &[Shown]) -> Command {
    let mut elsewhere = vec!["A flag beats a variable beats a line of --config FILE [env: BERTH_CONFIG].".to_owned()];
    for (name, value, what) in SHARED {
        for shown in settings.iter().filter(|shown| shown.name == *name) {
            let what = format!("{}{}", what[..1].to_ascii_lowercase(), &what[1..]);
            elsewhere.push(format!("--{} {value} is {what} {}.", name.replace('_', "-"), source(shown)));
        }
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
    use std::collections::BTreeSet;

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
                let shared = SHARED.iter().find(|(name, ..)| *name == shown.name);
                let help = shared.map_or_else(|| help.replace('|', "\\|"), |(.., what)| (*what).to_owned());
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

    /// Verbs that no snapshot shows, each with where it is looked at instead.
    const NOT_SHOWN: &[(&str, &str)] = &[
        ("alerts test", "needs somebody who listens: the integration test of alerts has one"),
        ("completion", "thousands of generated lines"),
        ("coordinator", "runs until it is ended: the tests of the daemons"),
        ("demo", "takes half a minute: the chaos tests run it"),
        ("dev", "runs until it is ended: every integration test starts it"),
        ("node", "runs until it is ended: the tests of the daemons"),
        ("operator raft remove-peer", "needs another coordinator: `mistakes` shows it refused"),
        ("sim cluster", "figures that change with the planner: the tests of usage read them"),
        ("sim pack", "figures that change with the planner: the tests of packing read them"),
        ("sim run", "a hash that changes with every rule: the tests of usage read it"),
        ("sim swarm", "as `sim run`"),
        ("tui", "every screen has snapshots of its own"),
    ];

    /// Verbs of which a part alone is shown, because the rest is never the same twice.
    const IN_PART: &[&str] = &["invoke", "endpoint invoke", "rollout restart", "node upgrade"];

    /// Lists the verbs that can be typed, by their first names.
    fn verbs(command: &Command, above: &str, found: &mut BTreeSet<String>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let name = format!("{above} {}", verb.get_name()).trim().to_owned();
            verbs(verb, &name, found);
            if !verb.is_subcommand_required_set() {
                found.insert(name);
            }
        }
    }

    /// Returns the verb that a line begins with.
    fn verb_of(line: &str) -> String {
        let root = command();
        let (mut at, mut name) = (&root, Vec::new());
        for word in line.split(' ') {
            let Some(verb) = at.find_subcommand(word) else { break };
            name.push(verb.get_name());
            at = verb;
        }
        name.join(" ")
    }

    #[test]
    fn what_every_verb_says_is_kept_in_a_snapshot() {
        let kept = include_str!("../../tests/it/snapshots/it__verbs__cluster.snap");
        // Names and values alone say nothing of how it looks.
        let is_whole = |line: &&str| !["--query", " -o ", " -q", "--dry-run"].iter().any(|flag| line.contains(flag));
        let lines = kept.lines().filter_map(|line| line.strip_prefix("$ berth "));
        let part: BTreeSet<_> = lines.clone().map(verb_of).collect();
        let whole: BTreeSet<_> = lines.filter(is_whole).map(verb_of).collect();
        let shown: BTreeSet<_> =
            part.into_iter().filter(|verb| whole.contains(verb) || IN_PART.contains(&verb.as_str())).collect();
        let mut all = BTreeSet::new();
        verbs(&command(), "", &mut all);
        assert!(all.len() > 70 && all.contains("operator raft list-peers") && all.contains("mirror"), "{all:?}");
        let excused: BTreeSet<_> = NOT_SHOWN.iter().map(|(verb, _)| (*verb).to_owned()).collect();
        let missing: Vec<_> = all.iter().filter(|verb| !shown.contains(*verb) && !excused.contains(*verb)).collect();
        assert!(missing.is_empty(), "add them to the session in tests/it/verbs.rs: {missing:?}");
        let stale: Vec<_> = excused.iter().filter(|verb| !all.contains(*verb) || shown.contains(*verb)).collect();
        assert!(stale.is_empty(), "no verbs, or shown after all: {stale:?}");
    }

    #[test]
    fn the_commands_are_consistent() {
        command().debug_assert();
    }
}
