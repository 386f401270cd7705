//! Lines that cannot be read, told as every other failure is: what, why and what to try, under a code, and as JSON where
//! the line asked for it.

use berth_core::error::{Code, Error};
use clap::{ValueEnum as _, error::ErrorKind};

use super::{command, elsewhere};
use crate::output::{Fault, Format};

/// Turns what clap says about a line into a fault; gives it back where it is no error but an answer: help, the version.
pub(crate) fn misread(error: clap::Error, words: &[String]) -> Result<Fault, clap::Error> {
    let is_answer = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_answer {
        return Err(error);
    }
    let elsewhere = elsewhere(&error);
    let is_verb = error.kind() == ErrorKind::InvalidSubcommand;
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let said = Said::of(&error.render().to_string());
    let verb = verb_of(words);
    let help = format!("`berth {verb} --help` says what it takes").replace("  ", " ");
    let what = cause.as_ref().map_or(said.what.as_str(), |cause| {
        said.what.strip_suffix(cause.as_str()).map_or(said.what.as_str(), |what| what.trim_end_matches([':', ' ']))
    });
    let why = cause.into_iter().chain(said.why).collect::<Vec<_>>().join("\n");
    // The usage of the program itself says nothing that its help does not.
    let usage = said.usage.filter(|_| !is_verb).map(|usage| format!("`{usage}`"));
    // Where something went is the whole answer; what is merely spelled alike would lead astray.
    let try_ = match elsewhere {
        Some(hint) => hint.to_owned(),
        None => said.tips.into_iter().chain(usage).chain([help]).collect::<Vec<_>>().join("; "),
    };
    Ok(Fault::misused(Error::new(Code::Invalid, what).why(why).try_(try_)))
}

/// The parts of what clap says, without its layout.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    what: String,
    /// What would be possible.
    why: Vec<String>,
    tips: Vec<String>,
    usage: Option<String>,
}

// === impl Said ===

impl Said {
    fn of(text: &str) -> Self {
        let mut said = Self::default();
        let mut paragraphs = text.split("\n\n");
        let first = paragraphs.next().unwrap_or_default();
        let mut lines = first.lines().map(str::trim).map(|line| line.strip_prefix("error: ").unwrap_or(line));
        said.what = lines.next().unwrap_or_default().to_owned();
        for line in lines {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(possible) => said.why.push(possible.to_owned()),
                // What is missing, one under the other.
                None => {
                    said.what.push(' ');
                    said.what.push_str(line);
                }
            }
        }
        for line in paragraphs.flat_map(str::lines).map(str::trim) {
            if let Some(tip) = line.strip_prefix("tip: ") {
                // Nobody means a flag as a value.
                said.tips.extend((!tip.starts_with("to pass '")).then(|| tip.to_owned()));
            } else if let Some(usage) = line.strip_prefix("Usage: ") {
                said.usage = Some(usage.to_owned());
            } else if let Some(possible) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                said.why.push(possible.to_owned());
            }
        }
        said
    }
}

/// Returns the verb of a line, as far as it is one.
fn verb_of(words: &[String]) -> String {
    let root = command();
    let (mut at, mut names) = (&root, Vec::new());
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        let Some(verb) = at.find_subcommand(word) else { break };
        names.push(verb.get_name());
        at = verb;
    }
    names.join(" ")
}

/// Returns the format that a line asked for, whether or not the rest of it can be read.
pub(crate) fn asked_format(words: &[String]) -> Format {
    let mut asked = Format::default();
    let mut words = words.iter().take_while(|word| *word != "--").peekable();
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--output").or_else(|| word.strip_prefix("-o")) {
            Some("") => words.peek().map_or("", |next| next.as_str()),
            Some(rest) => rest.trim_start_matches('='),
            None => continue,
        };
        if let Ok(format) = Format::from_str(value, true) {
            asked = format;
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches as _, Parser as _};

    use super::*;
    use crate::args::Cli;

    fn told(line: &str) -> Error {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let read = command().try_get_matches_from(["berth".to_owned()].iter().chain(&words));
        let error = read.and_then(|matches| Cli::from_arg_matches(&matches)).expect_err(line);
        misread(error, &words).unwrap_or_else(|error| panic!("{line}: {error}")).error().clone()
    }

    #[test]
    fn what_cannot_be_read_has_a_code_a_reason_and_a_way_on() {
        for (line, what, why, try_) in [
            ("fly", "unrecognized subcommand 'fly'", "", "says what it takes"),
            ("get podes", "invalid value 'podes' for '<NOUN>'", "possible values: endpoints", "'nodes'"),
            ("scale talk/blue many", "invalid value 'many' for '[INSTANCES]'", "invalid digit", "`berth scale --help`"),
            ("get nodes --query [?", "'--query <EXPRESSION>'", "no JMESPath expression", "`berth get --help`"),
            ("endpoint create -n -x-", "unexpected argument '-x' found", "", "`berth endpoint create [OPTIONS]`"),
            ("deploy talk", "not provided: <--onnx <FILE>|--script", "", "`berth deploy --help`"),
            ("traffic", "not provided: <ENDPOINT>", "", "`berth traffic <ENDPOINT>"),
            ("exec x", "unrecognized subcommand 'exec'", "", "`berth describe REPLICA`"),
            ("apply -f a -f", "a value is required for '--file <FILE>'", "", "`berth apply --help`"),
        ] {
            let error = told(line);
            assert_eq!(error.code, Code::Invalid);
            assert!(error.what.contains(what), "{line}: {error:?}");
            assert!(error.why.contains(why) && why.is_empty() == error.why.is_empty(), "{line}: {error:?}");
            assert!(error.try_.contains(try_), "{line}: {error:?}");
            assert!(!error.what.contains('\n') && !error.what.starts_with("error"), "{line}: {error:?}");
        }
    }

    #[test]
    fn help_stays_help() {
        for line in ["--help", "get -h", "--version", "operator raft"] {
            let error = Cli::try_parse_from(["berth"].into_iter().chain(line.split(' '))).expect_err(line);
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(misread(error, &words).is_err(), "{line}");
        }
    }

    #[test]
    fn the_format_is_known_although_the_line_is_not() {
        for (line, format) in [
            ("get podes -o json", Format::Json),
            ("get podes -ojson", Format::Json),
            ("get podes --output=yaml", Format::Yaml),
            ("-o tsv get podes", Format::Tsv),
            ("get podes -o", Format::Table),
            ("get podes -o pretty", Format::Table),
            ("get podes", Format::Table),
            ("get podes -- -o json", Format::Table),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(asked_format(&words), format, "{line}");
        }
    }
}
