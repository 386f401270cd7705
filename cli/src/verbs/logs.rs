//! `berth logs`: what replicas wrote, each line whole and with its replica when there are several.

use std::{borrow::Cow, collections::BTreeMap};

use berth_client::api::{Event, LogsRequest};
use berth_core::{
    error::{Code, Error},
    id::ReplicaId,
    model::DeploymentKey,
    written::{Mark, time_of},
};
use futures::future::try_join_all;
use serde::Serialize;

use super::{Context, by_prefix, named, select};
use crate::{
    args::{LogsArgs, SelectArgs, ShownArgs, Since, Tail, parse_key},
    output::{Fault, Ink, Listed, Misused, now_ms},
    view::{ConsoleRow, age, iso},
};

/// Digits from which on a word without a slash is a replica's id.
const ID_MIN: usize = 4;

/// Logs that are followed at once: each is a stream of its own.
const FOLLOWED_MAX: usize = 32;

/// A line longer than this is printed in parts.
const LINE_BYTES_MAX: usize = 64 << 10;

/// How much of a log's past is printed, as the API has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    tail_lines: u64,
    since_ms: u64,
    within_ms: u64,
}

// === impl Past ===

impl Past {
    /// Says it as the API has it, where nothing is what nobody asked for.
    pub(super) fn of(tail: Option<Tail>, since: Option<Since>) -> Self {
        let (since_ms, within_ms) = match since {
            Some(Since::At(at_ms)) => (at_ms.max(1), 0),
            Some(Since::Within(span)) => (0, u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)),
            None => (0, 0),
        };
        match tail {
            // Nothing of what is there: what is followed goes on from its end.
            Some(Tail::Lines(0)) => Self { tail_lines: 0, since_ms: u64::MAX, within_ms: 0 },
            Some(Tail::Lines(tail_lines)) => Self { tail_lines, since_ms, within_ms },
            Some(Tail::All) if since.is_none() => Self { within_ms: u64::MAX, ..Self::default() },
            Some(Tail::All) | None => Self { tail_lines: 0, since_ms, within_ms },
        }
    }

    /// Returns whether what was written may be older than what is printed.
    fn leaves_out(self) -> bool {
        self.since_ms > 0 || !matches!(self.within_ms, 0 | u64::MAX)
    }
}

pub(super) async fn run(context: &Context, args: LogsArgs) -> Result<(), Fault> {
    let LogsArgs { tail, mut shown, only, prefix, .. } = args;
    let past = Past::of(tail, shown.since);
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    let Some(of) = args.deployment else { return print_selected(context, past, &shown, &only).await };
    let of = named(context, &of).await?;
    let of = of.as_str();
    let key = if of.len() >= ID_MIN && of.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let replicas = context.client.list_replicas("", "").await?;
        let id = by_prefix("replica", of, replicas.iter().map(|found| found.replica.as_str()))?;
        let found = replicas.iter().find(|found| found.replica == id);
        let name = found.map(|found| format!("{}/{}", found.endpoint, found.deployment)).unwrap_or_default();
        shown.replica = Some(id.to_owned());
        parse_key(&name)?
    } else if of.contains('/') {
        parse_key(of).or_misused()?
    } else {
        only_deployment(context, of, "logs").await?
    };
    print(context, &key, past, &shown, if prefix { Names::Replica } else { Names::IfSeveral }).await
}

/// Prints the logs of all that a selector finds: one after the other, or each line as it is written.
async fn print_selected(context: &Context, past: Past, shown: &ShownArgs, only: &SelectArgs) -> Result<(), Fault> {
    if shown.replica.is_some() {
        let error = Error::new(Code::Invalid, "`--replica` and `-l` are given together");
        return Err(Fault::misused(error.try_("`-l replica=ID` finds a replica, too")));
    }
    let found = select::or_none(context, select::logged(context, only).await)?;
    if shown.follow && found.len() > FOLLOWED_MAX {
        let error = Error::new(Code::Limit, format!("`-l` finds {} logs to follow", found.len()));
        let error = error.why(format!("{FOLLOWED_MAX} are followed at once"));
        return Err(error.try_("a narrower selector, or leave out `-f`").into());
    }
    let each = found.into_iter().map(|(key, replica)| {
        let shown = ShownArgs { replica, ..shown.clone() };
        async move { print(context, &key, past, &shown, Names::Deployment).await }
    });
    if shown.follow {
        return try_join_all(each).await.map(drop);
    }
    for one in each {
        one.await?;
    }
    Ok(())
}

/// Finds the one deployment of an endpoint: with several, which is meant is for a person to say.
pub(super) async fn only_deployment(context: &Context, of: &str, verb: &str) -> Result<DeploymentKey, Fault> {
    let endpoint = context.client.get_endpoint(&of.to_ascii_lowercase()).await?.name;
    let found = context.client.list_deployments(&endpoint).await?;
    let names: Vec<String> = found.iter().map(Listed::name).collect();
    match names.as_slice() {
        [only] => Ok(parse_key(only)?),
        [] => Err(Error::new(Code::DeploymentNotFound, format!("endpoint `{endpoint}` has no deployments"))
            .try_("`berth deployment create -f FILE` makes one")
            .into()),
        several => Err(Fault::misused(
            Error::new(Code::Invalid, format!("`{endpoint}` has {} deployments", several.len()))
                .try_(format!("one of `berth {verb} {}`", several.join(&format!("`, `berth {verb} ")))),
        )),
    }
}

/// Prints the logs of a deployment's replicas, or of one. When there is none, the log of the one that failed last is
/// what is asked for.
pub(super) async fn print(
    context: &Context,
    key: &DeploymentKey,
    past: Past,
    shown: &ShownArgs,
    names: Names,
) -> Result<(), Fault> {
    let ShownArgs { follow, previous, table, timestamps, .. } = *shown;
    let prepare = shown.is_of_preparing();
    let Past { tail_lines, since_ms, within_ms } = past;
    let (endpoint, deployment) = (key.endpoint.to_string(), key.deployment.to_string());
    let replicas = context.client.list_replicas(&endpoint, &deployment).await?;
    let current = context.client.get_deployment(&endpoint, &deployment).await?;
    let last = Some(current.last_failed_replica.as_str()).filter(|id| !id.is_empty());
    let ids = replicas.iter().map(|found| found.replica.as_str()).chain(last);
    let replica = match shown.replica.as_deref() {
        // A whole id may be of one that has ended.
        Some(id) if id.parse::<ReplicaId>().is_ok() => id.to_owned(),
        Some(prefix) => by_prefix("replica", prefix, ids)?.to_owned(),
        None => String::new(),
    };
    let is_over = previous || replicas.is_empty();
    if let Some(id) = last.filter(|_| is_over) {
        let id = id.get(..8).unwrap_or(id);
        context.out.aside(format!("replica {id} on {}, which failed last:", current.last_failed_node));
    }
    let ended = if is_over && last.is_none() && replica.is_empty() { ended_last(context, key).await? } else { None };
    ended.iter().for_each(|line| context.out.aside(line));
    let names = match names {
        Names::IfSeveral if replica.is_empty() && replicas.len() > 1 && !previous => Names::Replica,
        names => names,
    };
    let look = if table { Look::Rows } else { Look::Text { names, timestamps } };
    let request =
        LogsRequest { endpoint, deployment, replica, tail_lines, follow, prepare, previous, since_ms, within_ms };
    let some = stream(context, request.clone(), look).await?;
    if !some && !follow {
        // A replica whose environment cannot be built writes nothing by itself.
        let prepared = !prepare && stream(context, LogsRequest { prepare: true, ..request }, look).await?;
        context.out.aside(match (prepared, replicas.is_empty() && last.is_none() && ended.is_none()) {
            (true, _) => "nothing was written but this, while it was prepared",
            _ if past.leaves_out() => "nothing was written since then; `--tail 20` shows what was last",
            (false, true) => "there is no replica, and the kept events tell of none that ended",
            (false, false) => "nothing was written",
        });
    }
    Ok(())
}

/// Says which replica ended last, when and why, as far as the kept events tell.
async fn ended_last(context: &Context, key: &DeploymentKey) -> Result<Option<String>, Fault> {
    let events = context.client.events().await?;
    Ok(ending(&events, key, now_ms()))
}

fn ending(events: &[Event], key: &DeploymentKey, now_ms: u64) -> Option<String> {
    let own = |event: &&Event| event.endpoint == key.endpoint.as_str() && event.deployment == key.deployment.as_str();
    let gone = events.iter().rev().filter(own).find(|event| event.kind == "replica.gone")?;
    let whys = ["replica.failed", "replica.stopped", "replica.draining"];
    // The first reason is the one that led to the others: what drains is stopped for having drained.
    let why = events.iter().find(|event| event.replica == gone.replica && whys.contains(&event.kind.as_str()));
    let reason = why.and_then(|event| event.text.split_once(": ")).map_or(String::new(), |(_, why)| format!(": {why}"));
    let id = gone.replica.get(..8).unwrap_or(&gone.replica);
    Some(format!("replica {id} on {} ended {} ago{reason}", gone.node, age(gone.at_ms, now_ms)))
}

/// Prints what a call answers and returns whether it was anything.
async fn stream(context: &Context, request: LogsRequest, look: Look) -> Result<bool, Fault> {
    let mut stream = context.client.logs(request.clone()).await?;
    // What has no end yet, and when it was written.
    let mut open: BTreeMap<String, (Vec<u8>, Option<u64>)> = BTreeMap::new();
    let mut nodes: BTreeMap<String, String> = BTreeMap::new();
    let of = format!("{}/{}", request.endpoint, request.deployment);
    let mut some = false;
    while let Some(chunk) = stream.next().await? {
        some |= !chunk.data.is_empty();
        if !nodes.contains_key(&chunk.replica) {
            nodes.insert(chunk.replica.clone(), chunk.node.clone());
        }
        let times: Vec<Mark> = chunk.times.iter().map(|time| Mark { until: time.until, at_ms: time.at_ms }).collect();
        let (rest, last_ms) = open.entry(chunk.replica.clone()).or_default();
        // Where a line ends in this chunk: it may have begun in the one before.
        let mut ends = -(rest.len() as i64);
        rest.extend_from_slice(&chunk.data);
        *last_ms = time_of(&times, (chunk.data.len() as u64).saturating_sub(1)).or(*last_ms);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n').or(over_long(rest)) {
            let line: Vec<u8> = rest.drain(..=end).collect();
            ends += line.len() as i64;
            let at_ms = time_of(&times, u64::try_from(ends - 1).unwrap_or(0));
            show(context, &request, &Line::new(&of, &chunk.replica, &chunk.node, at_ms, &line), look)?;
        }
    }
    for (replica, (rest, at_ms)) in open.iter().filter(|(_, (rest, _))| !rest.is_empty()) {
        let node = nodes.get(replica).map_or("", String::as_str);
        show(context, &request, &Line::new(&of, replica, node, *at_ms, rest), look)?;
    }
    Ok(some)
}

/// Returns where a line without an end is cut.
fn over_long(line: &[u8]) -> Option<usize> {
    (line.len() > LINE_BYTES_MAX).then_some(LINE_BYTES_MAX - 1)
}

/// A line of a log, for programs.
#[derive(Serialize)]
struct Line<'a> {
    deployment: &'a str,
    replica: &'a str,
    node: &'a str,
    /// Absent from a node that keeps no times.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    line: Cow<'a, str>,
}

/// How lines are printed.
#[derive(Clone, Copy)]
enum Look {
    Text { names: Names, timestamps: bool },
    Rows,
}

/// What a line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// With its replica, where there are several.
    IfSeveral,
    /// With its replica.
    Replica,
    /// With its deployment and replica.
    Deployment,
}

// === impl Line ===

impl<'a> Line<'a> {
    fn new(deployment: &'a str, replica: &'a str, node: &'a str, at_ms: Option<u64>, line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Self { deployment, replica, node, at_ms, line: String::from_utf8_lossy(line) }
    }
}

fn show(context: &Context, of: &LogsRequest, line: &Line<'_>, look: Look) -> Result<(), Error> {
    let Line { deployment, replica, node, at_ms, line: text } = line;
    let (names, timestamps) = match look {
        Look::Text { names, timestamps } => (names, timestamps),
        Look::Rows => {
            let (endpoint, name) = (&of.endpoint, &of.deployment);
            return context.out.json_line(&ConsoleRow::of(endpoint, name, replica, *at_ms, text, of.prepare));
        }
    };
    if context.out.is_for_programs() {
        return context.out.json_line(line);
    }
    let mut before = Vec::new();
    if names == Names::Deployment {
        before.push((*deployment).to_owned());
    }
    if names != Names::IfSeveral {
        before.push(replica.get(..8).unwrap_or(replica).to_owned());
        before.extend((!node.is_empty()).then(|| (*node).to_owned()));
    }
    if timestamps {
        before.push(at_ms.map_or_else(|| "-".to_owned(), iso));
    }
    match before.join(" ").as_str() {
        "" => context.out.line(text),
        before => context.out.line(format!("{} {text}", context.out.paint(before, Ink::Grey))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_past_is_asked_for_as_it_was_typed() {
        let lines = |lines| Some(Tail::Lines(lines));
        let (within, at) = (Some(Since::Within(Duration::from_secs(60))), Some(Since::At(7)));
        for (tail, since, expected) in [
            (None, None, (0, 0, 0)),
            (lines(20), None, (20, 0, 0)),
            (lines(0), None, (0, u64::MAX, 0)),
            (lines(0), within, (0, u64::MAX, 0)),
            (Some(Tail::All), None, (0, 0, u64::MAX)),
            (None, within, (0, 0, 60_000)),
            (Some(Tail::All), at, (0, 7, 0)),
            (lines(5), at, (5, 7, 0)),
            (None, Some(Since::Within(Duration::ZERO)), (0, 0, 1)),
        ] {
            let Past { tail_lines, since_ms, within_ms } = Past::of(tail, since);
            assert_eq!((tail_lines, since_ms, within_ms), expected, "{tail:?} {since:?}");
        }
    }

    #[test]
    fn who_ended_last_is_told_with_when_and_why() {
        let event = |at_ms, kind: &str, replica: &str, text: &str| Event {
            at_ms,
            kind: kind.to_owned(),
            endpoint: "fraud".to_owned(),
            deployment: "blue".to_owned(),
            replica: replica.to_owned(),
            node: "node-1".to_owned(),
            text: text.to_owned(),
            ..Event::default()
        };
        let events = [
            event(
                1_000,
                "replica.serving",
                "1f2e3d4c5b6a7988",
                "replica 1f2e3d4c of fraud/blue is serving: every router knows it",
            ),
            event(
                2_000,
                "replica.draining",
                "1f2e3d4c5b6a7988",
                "replica 1f2e3d4c of fraud/blue is draining: scaled down to 0",
            ),
            event(3_000, "replica.stopped", "1f2e3d4c5b6a7988", "replica 1f2e3d4c of fraud/blue is stopped: drained"),
            event(4_000, "replica.gone", "1f2e3d4c5b6a7988", "nothing of replica 1f2e3d4c of fraud/blue is left"),
        ];
        let key = |text: &str| text.parse::<DeploymentKey>().expect("a key");
        let told = "replica 1f2e3d4c on node-1 ended 5s ago: scaled down to 0";
        assert_eq!(ending(&events, &key("fraud/blue"), 9_000).as_deref(), Some(told));
        assert_eq!(ending(&events[..3], &key("fraud/blue"), 9_000), None, "it has not ended yet");
        assert_eq!(ending(&events, &key("fraud/green"), 9_000), None, "another's");
        assert_eq!(
            ending(&events[3..], &key("fraud/blue"), 9_000).as_deref(),
            Some("replica 1f2e3d4c on node-1 ended 5s ago")
        );
    }
}
