//! Why waiting ended without what was waited for, always with the reason as it is now.

use std::time::Duration;

use berth_client::api::{Deployment, LogsRequest, Verdict};
use berth_core::{
    error::{Code, Error},
    time::Millis,
};
use tokio::time::timeout;

use super::Context;
use crate::output::Fault;

/// Lines of a log that are shown with a failure.
const LOG_LINES: u64 = 20;
/// How long a node may take to send them.
const LOG_WITHIN: Duration = Duration::from_secs(5);

/// Explains why a deployment cannot start, with what its replica wrote last.
pub(super) async fn failed(context: &Context, deployment: &Deployment) -> Fault {
    let name = name(deployment);
    let mut reason = deployment.reason.lines();
    let why = reason.next().unwrap_or_default().to_owned();
    let mut log: Vec<_> = reason.map(str::to_owned).collect();
    for prepare in [false, true] {
        if log.is_empty() {
            log = log_tail(context, deployment, prepare, LOG_LINES, LOG_WITHIN).await;
        }
    }
    let (code, why) = split_code(&why);
    let error = Error::new(code, format!("{name} cannot start")).why(why).try_(format!(
        "mend it and `berth deployment update -f FILE`; `berth logs {name}{}` has more",
        match code {
            Code::Environment => " --prepare",
            // The generation before goes on serving: its log is not what is looked for.
            _ if deployment.ready > 0 => " --previous",
            _ => "",
        }
    ));
    Fault::from(error).with_log(log)
}

/// Explains that what could be placed serves, and that no node takes the rest.
pub(super) fn no_room(deployment: &Deployment, verdict: &Verdict) -> Fault {
    let (name, ready, desired) = (name(deployment), deployment.ready, deployment.desired);
    let what = match ready {
        0 => format!("no node takes {name}"),
        ready => format!("{name} serves with {ready} of {desired}: no node takes the rest"),
    };
    let settle = match ready {
        0 => format!("`berth deployment delete {name}`"),
        ready => format!("`berth scale {name} {ready}`"),
    };
    let try_ =
        format!("what is missing stays asked for and comes as soon as it fits; to settle for what there is: {settle}");
    Error::new(Code::NoCapacity, what).why(verdict.text.clone()).try_(try_).into()
}

/// Explains what is still missing when the time is up. `lines` say how things stand.
pub(super) fn too_late(deployment: &Deployment, lines: &[String], within: Duration) -> Fault {
    let (name, ready, desired) = (name(deployment), deployment.ready, deployment.desired);
    let what = format!("{name} does not serve yet after {}: {ready} of {desired} ready", millis(within));
    let why = match (lines.is_empty(), deployment.reason.is_empty()) {
        (false, _) => lines.join("\n"),
        (true, false) => deployment.reason.clone(),
        (true, true) => "no replica is on its way".to_owned(),
    };
    Fault::timed_out(
        Error::new(Code::Timeout, what)
            .why(why)
            .try_(format!("it goes on without you; look with `berth explain {name}` or `berth logs {name}`")),
    )
}

/// Reads the end of a log, as far as it can be had in time.
pub(super) async fn log_tail(
    context: &Context,
    deployment: &Deployment,
    prepare: bool,
    tail_lines: u64,
    within: Duration,
) -> Vec<String> {
    let request = LogsRequest {
        endpoint: deployment.endpoint.clone(),
        deployment: deployment.name.clone(),
        tail_lines,
        prepare,
        ..Default::default()
    };
    let mut bytes = Vec::new();
    let read = async {
        let Ok(mut stream) = context.client.logs(request).await else { return };
        while let Ok(Some(lines)) = stream.next().await {
            bytes.extend_from_slice(&lines.data);
        }
    };
    // Whatever came in time is shown.
    let _ = timeout(within, read).await;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let wanted = usize::try_from(tail_lines).unwrap_or(usize::MAX);
    lines[lines.len().saturating_sub(wanted)..].to_vec()
}

pub(super) fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn name(deployment: &Deployment) -> String {
    format!("{}/{}", deployment.endpoint, deployment.name)
}

/// Takes the code off a reason that begins with one: `E_ENVIRONMENT: …`.
fn split_code(why: &str) -> (Code, &str) {
    let parts = why.split_once(": ").and_then(|(word, rest)| Some((Code::from_word(word)?, rest)));
    parts.unwrap_or((Code::ReplicaStart, why))
}
