//! `berth wait`: what is waited for, in kubectl's words.

use std::time::Duration;

use clap::Args;

use super::{KubectlScope, SelectArgs, parse_span};

/// `berth wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitForArgs {
    /// ENDPOINT/DEPLOYMENT, ENDPOINT for all of its deployments, or what it is and its name: `node/node-1`, `replica 1f2e3d4c`;
    /// with -l what it is alone: `deployments`.
    #[arg(required = true, value_name = "TYPE/NAME")]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) only: SelectArgs,
    /// `available` (or `ready`; kubectl's `condition=Available` is the same), `create` or `delete`.
    #[arg(long = "for", value_name = "WORD", default_value = "available", value_parser = parse_goal)]
    pub(crate) goal: Goal,
    /// How long to wait: `90s`, `15m`; `0` looks once, less than that waits for a week.
    #[arg(long, value_name = "TIME", default_value = "15m", allow_hyphen_values = true, value_parser = parse_patience)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// That it is there.
    There,
    /// That it does what it is for: a deployment serves with all its instances, a node is ready.
    Available,
    /// That it is gone.
    Gone,
}

const GOALS: &str = "wait for `available`, `create` or `delete`";

fn parse_goal(text: &str) -> Result<Goal, String> {
    let word = text.to_ascii_lowercase();
    let condition = word.strip_prefix("condition=").unwrap_or(&word);
    match condition.strip_suffix("=true").unwrap_or(condition) {
        "available" | "ready" | "serving" | "succeeded" => Ok(Goal::Available),
        "delete" | "deleted" if condition == word => Ok(Goal::Gone),
        "create" | "created" if condition == word => Ok(Goal::There),
        _ if word.starts_with("jsonpath") => {
            Err(format!("{GOALS}; `berth get NOUN --query EXPRESSION -o tsv` prints a field, and `-w` what changes"))
        }
        other if other.ends_with("=false") => Err(format!("{GOALS}; `berth get NOUN -w` prints what changes")),
        _ => Err(GOALS.to_owned()),
    }
}

/// Reads `--timeout`; kubectl's `-1s` is a week there, too.
fn parse_patience(text: &str) -> Result<Duration, String> {
    let span = parse_span(text.strip_prefix('-').unwrap_or(text))?;
    Ok(if text.starts_with('-') { Duration::from_secs(7 * 24 * 3_600) } else { span })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_kubectl_writes_them() {
        for (text, goal) in [
            ("condition=Available", Ok(Goal::Available)),
            ("condition=available=true", Ok(Goal::Available)),
            ("condition=Ready", Ok(Goal::Available)),
            ("serving", Ok(Goal::Available)),
            ("delete", Ok(Goal::Gone)),
            ("create", Ok(Goal::There)),
            ("condition=delete", Err("`create` or `delete`")),
            ("condition=Ready=false", Err("`berth get NOUN -w`")),
            ("jsonpath={.status.phase}=Running", Err("--query EXPRESSION")),
            ("condition=Progressing", Err("`available`")),
            ("", Err("`available`")),
        ] {
            match (parse_goal(text), goal) {
                (Ok(read), Ok(goal)) => assert_eq!(read, goal, "{text}"),
                (Err(said), Err(part)) => assert!(said.contains(part), "{text}: {said}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
        for (text, secs) in
            [("90s", Some(90)), ("0", Some(0)), ("-1s", Some(604_800)), ("-1", Some(604_800)), ("x", None)]
        {
            assert_eq!(parse_patience(text).ok().map(|span| span.as_secs()), secs, "{text}");
        }
    }
}
