//! Help that the flags alone cannot give: of the daemons' settings, from the table that they are read by, and without the flags
//! of every verb where they mean nothing.

use clap::{Arg, Command, CommandFactory};

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

/// Flags of every verb that say which cluster is meant.
const CONNECTION: &[&str] = &["api", "local", "ca", "client_cert", "client_key", "context"];

/// A verb by its words, and flags with what they say there.
type Told = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// Verbs that ask no cluster, with the flags of [`CONNECTION`] that mean something there all the same, and what.
const ASK_NOBODY: &[Told] = &[
    (&["dev"], &[("api", "Where the coordinators are reached; of several, the first [default: 127.0.0.1:7400]")]),
    (&["dev", "kill"], &[]),
    (&["dev", "start"], &[]),
    (&["coordinator"], &[]),
    (&["doctor"], &[]),
    (&["demo"], &[]),
    (&["init"], &[]),
    (&["sim"], &[]),
    (&["error"], &[]),
    (&["completion"], &[]),
    (&["man"], &[]),
    (&["operator", "snapshot", "inspect"], &[]),
    (&["operator", "snapshot", "restore"], &[]),
];

/// Builds the whole program's commands, every daemon's flag with its variable and its default.
pub(crate) fn command() -> Command {
    let root = Cli::command();
    let connection: Vec<Arg> =
        root.get_arguments().filter(|arg| CONNECTION.contains(&arg.get_id().as_str())).cloned().collect();
    let root = ASK_NOBODY.iter().fold(root, |root, (path, kept)| {
        at(root, path, &|command| {
            command.args(connection.iter().map(|arg| {
                let own = kept.iter().find(|(name, _)| arg.get_id() == name);
                own.map_or_else(|| arg.clone().hide(true), |(_, help)| arg.clone().help(*help))
            }))
        })
    });
    root.mut_subcommand("coordinator", |command| with_settings(command, &config::coordinator_settings()))
        .mut_subcommand("node", |command| with_settings(command, &config::node_settings()))
}

/// Changes the verb at the end of a path. An argument that it has itself is not laid over it by those above.
fn at(command: Command, path: &[&'static str], change: &dyn Fn(Command) -> Command) -> Command {
    match path {
        [] => change(command),
        [first, rest @ ..] => command.mut_subcommand(first, |verb| at(verb, rest, change)),
    }
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

    /// Writes a flag as help lists it.
    fn said(flag: &str) -> String {
        format!("  --{}{}", flag.replace('_', "-"), if flag == "local" { "\n" } else { " <" })
    }

    /// A verb that asks a cluster says how it is found, and one that asks none does not.
    #[test]
    fn only_verbs_that_ask_a_cluster_say_how_it_is_found() {
        let mut root = command();
        root.build();
        let mut all = BTreeSet::new();
        verbs(&root, "", &mut all);
        let help = |verb: &str| {
            let found = verb.split(' ').fold(&root, |at, word| at.find_subcommand(word).expect("a verb"));
            found.clone().render_long_help().to_string()
        };
        let told = |verb: &&String| CONNECTION.iter().any(|flag| help(verb).contains(&said(flag)));
        let silent: Vec<_> = all.iter().filter(|verb| !told(verb)).map(String::as_str).collect();
        let expected = "completion, coordinator, demo, dev kill, dev start, doctor, error, init, man, \
                        operator snapshot inspect, operator snapshot restore, sim cluster, sim pack, sim run, sim swarm";
        assert_eq!(silent.join(", "), expected);
        let of_dev = help("dev");
        assert!(of_dev.contains("Where the coordinators are reached") && !of_dev.contains("BERTH_API"), "{of_dev}");
        assert!(!CONNECTION[1..].iter().any(|flag| of_dev.contains(&said(flag))), "{of_dev}");
        for verb in all.iter().filter(|verb| told(verb) && *verb != "dev") {
            assert!(CONNECTION.iter().all(|flag| help(verb).contains(&said(flag))), "{verb}");
        }
        // They are taken there as everywhere else.
        for line in ["berth init shop --api a:1", "berth sim run --seed 1 --local", "berth --api 127.0.0.1:0 dev"] {
            let matches = command().try_get_matches_from(line.split(' ')).expect(line);
            let read = <Cli as clap::FromArgMatches>::from_arg_matches(&matches).expect(line).global;
            assert!(read.local || read.api.is_some(), "{line}: {read:?}");
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
