//! Waiting until something serves, or is gone, while showing how it comes along.

use std::time::Duration;

use berth_client::api::{self, Deployment, LogsRequest, Replica};
use berth_core::{
    error::{Code, Error, ErrorKind},
    model::DeploymentKey,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::Context;
use crate::{
    output::{Fault, now_ms, state_ink},
    view,
};

/// How often it is looked at. Only what is shown depends on it.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How long a deployment may lack places before it is asked why; a plan takes less.
const ASK_WHY_AFTER: Duration = Duration::from_secs(3);
/// How long a deleted deployment's requests and processes may take to end: the drain, the kill, and a little.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Lines of a log that are shown with a failure.
const LOG_LINES: u64 = 20;
/// How long a node may take to send them.
const LOG_WITHIN: Duration = Duration::from_secs(5);

/// Waits until the given generation of a deployment serves with all its instances, or cannot.
pub(super) async fn until_serving(
    context: &Context,
    deployment: &Deployment,
    within: Duration,
) -> Result<Deployment, Fault> {
    let client = &context.client;
    let (endpoint, name) = (deployment.endpoint.as_str(), deployment.name.as_str());
    let started = Instant::now();
    let mut progress = context.out.progress();
    loop {
        let current = client.get_deployment(endpoint, name).await?;
        let replicas = client.list_replicas(endpoint, name).await?;
        let is_ours = current.generation >= deployment.generation;
        match current.provisioning_state.as_str() {
            "Succeeded" if is_ours => {
                progress.clear();
                return Ok(current);
            }
            "Failed" if is_ours => {
                progress.clear();
                return Err(failure(context, &current).await);
            }
            _ => {}
        }
        let placed = replicas.iter().filter(|replica| is_wanted(replica)).count() as u64;
        let verdict = if placed < current.desired && started.elapsed() >= ASK_WHY_AFTER {
            client.explain_deployment(endpoint, name).await.ok()
        } else {
            None
        };
        progress.show(&lines(context, &current, &replicas, verdict.as_ref()));
        if started.elapsed() >= within {
            progress.clear();
            return Err(too_late(&current, &replicas, verdict, within));
        }
        sleep_until((Instant::now() + LOOK_AGAIN).min(started + within)).await;
    }
}

/// Waits until a deleted deployment has left nothing behind.
pub(super) async fn until_gone(context: &Context, key: &DeploymentKey) -> Result<(), Fault> {
    let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
    let started = Instant::now();
    let mut progress = context.out.progress();
    loop {
        match context.client.get_deployment(endpoint, name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                progress.clear();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let replicas = context.client.list_replicas(endpoint, name).await?;
        progress.show(&[(format!("{key}: {} instances are ending", replicas.len()), elapsed(started))]);
        if started.elapsed() >= GONE_WITHIN {
            progress.clear();
            let error = Error::new(Code::Timeout, format!("{key} is deleted, but its processes have not ended yet"))
                .try_(format!("look with `berth get replicas {key}`"));
            return Err(Fault::timed_out(error));
        }
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}

fn is_wanted(replica: &Replica) -> bool {
    matches!(replica.state.as_str(), "placed" | "preparing" | "starting" | "crash_looping" | "warm" | "serving")
}

/// Describes a deployment on its way: a line for it, one for each replica, and why there are not more.
fn lines(
    context: &Context,
    deployment: &Deployment,
    replicas: &[Replica],
    verdict: Option<&api::Verdict>,
) -> Vec<(String, String)> {
    let out = &context.out;
    let now_ms = now_ms();
    let head = format!(
        "{}/{}  {}  {}/{} ready",
        deployment.endpoint,
        deployment.name,
        out.paint(&deployment.provisioning_state, state_ink(&deployment.provisioning_state)),
        deployment.ready,
        deployment.desired
    );
    let mut lines = vec![(head, view::age(deployment.created_at_ms, now_ms))];
    for replica in replicas {
        let id = replica.replica.get(..8).unwrap_or(&replica.replica);
        let state = out.paint(&replica.state, state_ink(&replica.state));
        let why = replica.reason.lines().next().unwrap_or_default();
        let why = if replica.state == "serving" || why.is_empty() { String::new() } else { format!("  {why}") };
        lines.push((format!("  {id}  {}  {state}{why}", replica.node), view::age(replica.since_ms, now_ms)));
    }
    // Its first line counts what the lines above show.
    let why = verdict.map(|verdict| verdict.text.lines().skip(1)).into_iter().flatten();
    lines.extend(why.map(|line| (line.to_owned(), String::new())));
    lines
}

/// Explains why a deployment cannot start, with what its replica wrote last.
async fn failure(context: &Context, deployment: &Deployment) -> Fault {
    let name = format!("{}/{}", deployment.endpoint, deployment.name);
    let mut reason = deployment.reason.lines();
    let why = reason.next().unwrap_or_default().to_owned();
    let mut log: Vec<_> = reason.map(str::to_owned).collect();
    for prepare in [false, true] {
        if log.is_empty() {
            log = log_tail(context, deployment, prepare).await;
        }
    }
    let (code, why) = split_code(&why);
    let error = Error::new(code, format!("{name} cannot start"))
        .why(why)
        .try_(format!("`berth logs {name}` has more; mend it and `berth deployment update`, or delete it"));
    Fault::from(error).with_log(log)
}

/// Takes the code off a reason that begins with one: `E_ENVIRONMENT: …`.
fn split_code(why: &str) -> (Code, &str) {
    let parts = why.split_once(": ").and_then(|(word, rest)| Some((Code::from_word(word)?, rest)));
    parts.unwrap_or((Code::ReplicaStart, why))
}

/// Reads the end of a log, if it can be had soon.
async fn log_tail(context: &Context, deployment: &Deployment, prepare: bool) -> Vec<String> {
    let request = LogsRequest {
        endpoint: deployment.endpoint.clone(),
        deployment: deployment.name.clone(),
        tail_lines: LOG_LINES,
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
    let _ = timeout(LOG_WITHIN, read).await;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(LOG_LINES as usize)..].to_vec()
}

fn too_late(deployment: &Deployment, replicas: &[Replica], verdict: Option<api::Verdict>, within: Duration) -> Fault {
    let name = format!("{}/{}", deployment.endpoint, deployment.name);
    let why = match verdict {
        Some(verdict) if !verdict.text.is_empty() => verdict.text,
        _ => standing(deployment, replicas),
    };
    let within = berth_core::time::Millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    let what =
        format!("{name} does not serve yet after {within}: {} of {} ready", deployment.ready, deployment.desired);
    Fault::timed_out(Error::new(Code::Timeout, what).why(why).try_(format!(
        "it goes on without you; look with `berth status {}` or `berth explain {name}`",
        deployment.endpoint
    )))
}

/// Says how far a deployment has come: its own reason, and each replica that does not serve with what it does.
fn standing(deployment: &Deployment, replicas: &[Replica]) -> String {
    let waiting = replicas.iter().filter(|replica| is_wanted(replica) && replica.state != "serving");
    let mut lines: Vec<_> = waiting
        .map(|replica| {
            let id = replica.replica.get(..8).unwrap_or(&replica.replica);
            let age = view::age(replica.since_ms, now_ms());
            let why = replica.reason.lines().next().unwrap_or_default();
            format!("{id} on {} is {} for {age}: {why}", replica.node, replica.state)
        })
        .collect();
    if lines.is_empty() {
        lines.push(match deployment.reason.is_empty() {
            true => "no replica is on its way".to_owned(),
            false => deployment.reason.clone(),
        });
    }
    lines.join("\n")
}

fn elapsed(started: Instant) -> String {
    berth_core::time::Millis(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)).to_string()
}
