//! Which names of a cluster fit where the cursor of a shell is. The shells ask `berth complete-names`, which answers with what
//! there is; verbs, flags and their fixed values are in the completion script itself.

use clap::{Arg, Command};

/// Names of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Endpoints,
    /// As ENDPOINT/DEPLOYMENT.
    Deployments,
    /// Both of them.
    Served,
    /// And nodes.
    Any,
    Nodes,
    Replicas,
    Contexts,
}

/// Returns which names fit behind the words of a line, the program's own name and the word at the cursor left out.
pub(crate) fn wanted(root: &Command, words: &[String]) -> Option<Names> {
    let (arg, path) = next(root, words)?;
    of_arg(arg, &path)
}

/// Returns the words of the program's own that fit behind those of a line, where no flag asks for one.
pub(crate) fn own_words(root: &Command, words: &[String]) -> Vec<String> {
    let place = next(root, words).map(|(arg, _)| arg).filter(|arg| arg.is_positional());
    let values = place.map(Arg::get_possible_values).unwrap_or_default();
    values.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name().to_owned()).collect()
}

/// Finds what the word at the cursor is for, and the verbs that lead there.
fn next<'a>(root: &'a Command, words: &[String]) -> Option<(&'a Arg, Vec<&'a str>)> {
    let (mut at, mut place) = (root, 0);
    let mut path: Vec<&str> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            let Some(flag) = flag(root, at, word) else { continue };
            let takes = flag.get_action().takes_values() && !word.contains('=');
            if takes && words.peek().is_none() {
                return Some((flag, path));
            }
            takes.then(|| words.next());
        } else if let Some(verb) = at.find_subcommand(word).filter(|_| place == 0) {
            at = verb;
            path.push(verb.get_name());
        } else {
            place += 1;
        }
    }
    let places: Vec<&Arg> = at.get_positionals().collect();
    let next = places
        .get(place)
        .or_else(|| places.last().filter(|last| last.get_num_args().is_some_and(|n| n.max_values() > 1)));
    Some((next?, path))
}

/// Finds a flag by what was typed: of the verb, or one of every verb.
pub(super) fn flag<'a>(root: &'a Command, at: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    let is_long = word.starts_with("--");
    let fits = |arg: &&Arg| match is_long {
        true => arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name)),
        false => arg.get_short().is_some_and(|short| name.len() == 1 && name.starts_with(short)),
    };
    at.get_arguments().find(fits).or_else(|| root.get_arguments().find(fits))
}

fn of_arg(arg: &Arg, path: &[&str]) -> Option<Names> {
    let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match (value, arg.get_id().as_str(), path) {
        (_, "context", _) | (_, "name", ["context", "use" | "delete"]) => Some(Names::Contexts),
        (_, "what", ["wait"]) | (_, "of", ["get" | "events" | "describe"]) | (_, "endpoint", ["status"]) => {
            Some(Names::Any)
        }
        ("ENDPOINT/DEPLOYMENT", ..) | (_, "deployment", ["scale" | "logs"]) => Some(Names::Deployments),
        ("ENDPOINT[/DEPLOYMENT]" | "ENDPOINT[/DEPLOYMENT] | request", ..) => Some(Names::Served),
        ("NODE", ..) | (_, "node", _) => Some(Names::Nodes),
        ("REPLICA", ..) | (_, "replica", _) => Some(Names::Replicas),
        ("ENDPOINT", ..) | (_, "endpoint", ["traffic" | "cost" | "alerts" | "mirror", ..]) => Some(Names::Endpoints),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_says_which_names_fit() {
        let mut root = crate::args::command();
        root.build();
        for (line, names) in [
            ("logs", Some(Names::Deployments)),
            ("logs -f", Some(Names::Deployments)),
            ("logs --tail 5", Some(Names::Deployments)),
            ("logs --tail", None),
            ("logs fraud/blue", None),
            ("logs --replica", Some(Names::Replicas)),
            ("endpoint show", Some(Names::Endpoints)),
            ("endpoint show -n", Some(Names::Endpoints)),
            ("online-endpoint delete", Some(Names::Endpoints)),
            ("deployment show", Some(Names::Deployments)),
            ("deployment list -e", Some(Names::Endpoints)),
            ("traffic", Some(Names::Endpoints)),
            ("traffic fraud", None),
            ("invoke", Some(Names::Endpoints)),
            ("scale", Some(Names::Deployments)),
            ("rollout status", Some(Names::Served)),
            ("explain", Some(Names::Served)),
            ("rollout undo --to-generation 3", Some(Names::Served)),
            ("node drain", Some(Names::Nodes)),
            ("cordon", Some(Names::Nodes)),
            ("plan --lose", Some(Names::Nodes)),
            ("plan --lose node-1 --drain", Some(Names::Nodes)),
            ("replica replace", Some(Names::Replicas)),
            ("wait", Some(Names::Any)),
            ("wait --for delete --timeout 5s", Some(Names::Any)),
            ("get replicas", Some(Names::Any)),
            ("describe", Some(Names::Any)),
            ("status", Some(Names::Any)),
            ("context use", Some(Names::Contexts)),
            ("context set", None),
            ("--context", Some(Names::Contexts)),
            ("get nodes --context", Some(Names::Contexts)),
            ("--context prod logs", Some(Names::Deployments)),
            ("get", None),
            ("fly", None),
            ("", None),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(wanted(&root, &words), names, "{line}");
        }
    }

    #[test]
    fn what_is_typed_says_which_of_the_programs_own_words_fit() {
        let mut root = crate::args::command();
        root.build();
        for (line, value) in [
            ("get", Some("nodes")),
            ("get -w", Some("nodes")),
            ("completion", Some("fish")),
            ("get nodes", None),
            ("get nodes -o", None),
            ("traffic", None),
            ("", None),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let found = own_words(&root, &words);
            assert_eq!(found.iter().any(|word| Some(word.as_str()) == value), value.is_some(), "{line}: {found:?}");
            assert_eq!(found.is_empty(), value.is_none(), "{line}: {found:?}");
        }
    }
}
