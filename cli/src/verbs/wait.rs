//! Waiting until something serves, or is gone, while showing how it comes along.

use std::time::Duration;

use berth_client::api::{Deployment, Replica};
use berth_core::{
    error::{Code, Error, ErrorKind},
    model::DeploymentKey,
};
use tokio::time::{Instant, sleep_until};

use super::{Context, why};
use crate::{
    output::{Fault, now_ms},
    view::coming,
};

/// How often it is looked at. Only what is shown depends on it.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How long a deployment may lack places before it is asked why; a plan takes less.
const ASK_WHY_AFTER: Duration = Duration::from_secs(3);
/// How long nothing may move before waiting for room is given up: longer than a node takes to register or to be found
/// lost, so that what is on its way is waited for.
const NO_ROOM_AFTER: Duration = Duration::from_secs(8);
/// How long a deleted deployment's requests and processes may take to end: the drain, the kill, and a little.
const GONE_WITHIN: Duration = Duration::from_secs(60);

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
    let mut still_since = None;
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
                return Err(why::failed(context, &current).await);
            }
            _ => {}
        }
        let moves = replicas.iter().any(|replica| replica.state != "serving") || current.retry_at_ms > now_ms();
        let placed = replicas.iter().filter(|replica| is_wanted(replica)).count() as u64;
        let is_late = started.elapsed() >= within;
        let asks = (is_late || started.elapsed() >= ASK_WHY_AFTER) && (placed < current.desired || !moves);
        let verdict = if asks { client.explain_deployment(endpoint, name).await.ok() } else { None };
        // What can be placed serves, and nodes refuse the rest: nothing more comes by waiting alone.
        match &verdict {
            Some(verdict) if !moves && !verdict.nodes.is_empty() => {
                let since: Instant = *still_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= NO_ROOM_AFTER {
                    progress.clear();
                    return Err(why::no_room(&current, verdict));
                }
            }
            _ => still_since = None,
        }
        let lines = coming::lines(&context.out, &current, &replicas, verdict.as_ref(), now_ms());
        progress.show(&lines);
        if is_late {
            progress.clear();
            // The first line counts what the error counts.
            let told = |(line, clock): coming::Ticking| format!("{}  {clock}", line.trim_start()).trim_end().to_owned();
            let lines: Vec<_> = lines.into_iter().skip(1).map(told).collect();
            return Err(why::too_late(&current, &lines, within));
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
        let current = match context.client.get_deployment(endpoint, name).await {
            Ok(current) => current,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                progress.clear();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let replicas = context.client.list_replicas(endpoint, name).await?;
        let mut lines = coming::lines(&context.out, &current, &replicas, None, now_ms());
        lines[0] = (format!("{key}  ends its replicas"), why::millis(started.elapsed()).to_string());
        progress.show(&lines);
        if started.elapsed() >= GONE_WITHIN {
            progress.clear();
            let left: Vec<_> = lines.iter().skip(1).map(|(line, _)| line.trim_start()).collect();
            let error = Error::new(Code::Timeout, format!("{key} is deleted, but its processes have not ended yet"))
                .why(left.join("\n"))
                .try_(format!("look with `berth get replicas {key}`"));
            return Err(Fault::timed_out(error));
        }
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}

fn is_wanted(replica: &Replica) -> bool {
    matches!(replica.state.as_str(), "placed" | "preparing" | "starting" | "crash_looping" | "warm" | "serving")
}
