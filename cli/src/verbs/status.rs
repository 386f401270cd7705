//! `berth status`: how things stand, in one screen.

use berth_client::api::{ClusterInfo, Deployment, Endpoint, Node, Replica};
use berth_core::{error::Code, units::Count};
use serde::Serialize;

use super::{Context, describe, watch};
use crate::{
    args::StatusArgs,
    output::{Fault, Ink, now_ms, state_ink},
    view::{self, coming},
};

/// Lines of a failure's log that fit on one screen with the rest.
const REASON_LINES: usize = 12;

/// The whole cluster, for programs.
#[derive(Serialize)]
struct Whole {
    cluster: ClusterInfo,
    endpoints: Vec<Endpoint>,
    nodes: Vec<Node>,
}

/// One endpoint, for programs.
#[derive(Serialize)]
struct One {
    endpoint: Endpoint,
    deployments: Vec<Deployment>,
    replicas: Vec<Replica>,
}

pub(super) async fn run(context: &Context, args: StatusArgs) -> Result<(), Fault> {
    let show = async || match &args.endpoint {
        Some(name) if name.contains('/') => describe::run(context, std::slice::from_ref(name)).await,
        Some(name) => match one(context, name).await {
            // Whatever else it may be has a page, too; where it is nothing, that one says what is meant perhaps.
            Err(fault) if fault.error().code == Code::EndpointNotFound => {
                describe::run(context, std::slice::from_ref(name)).await
            }
            shown => shown,
        },
        None => whole(context).await,
    };
    if args.watch { watch::on_events(context, show).await } else { show().await }
}

async fn whole(context: &Context) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let cluster = client.cluster_info().await?;
    let (endpoints, nodes) = (client.list_endpoints().await?, client.list_nodes().await?);
    let all = Whole { cluster, endpoints, nodes };
    let name = all.cluster.cluster_id.clone();
    Ok(out.value(&all, &name, || {
        let info = &all.cluster;
        let ready = all.nodes.iter().filter(|node| node.state == "ready").count();
        let counts =
            [Count(info.endpoints, "endpoint"), Count(info.deployments, "deployment"), Count(info.replicas, "replica")];
        out.line(header(&[
            ("cluster", info.cluster_id.clone()),
            ("version", info.version.clone()),
            ("leader", format!("{} (term {})", info.leader_address, info.term)),
            ("nodes", format!("{ready} of {} ready", all.nodes.len())),
            ("serves", counts.map(|count| count.to_string()).join(", ")),
            ("reserve", reserve_line(&info.not_covered)),
        ]));
        for warning in &info.warnings {
            out.line(format!("{} {warning}", out.paint("warning:", Ink::Yellow)));
        }
        if !all.endpoints.is_empty() {
            out.line(format!("\n{}", out.rendered(&out.table(&all.endpoints))));
        }
        if !all.nodes.is_empty() {
            out.line(format!("\n{}", out.rendered(&out.table(&all.nodes))));
        }
    })?)
}

pub(super) async fn one(context: &Context, name: &str) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let endpoint = client.get_endpoint(name).await?;
    let deployments = client.list_deployments(&endpoint.name).await?;
    let replicas = client.list_replicas(&endpoint.name, "").await?;
    let all = One { endpoint, deployments, replicas };
    Ok(out.value(&all, name, || {
        let endpoint = &all.endpoint;
        let state = out.paint(&endpoint.provisioning_state, state_ink(&endpoint.provisioning_state));
        let mut head = vec![
            ("endpoint", endpoint.name.clone()),
            ("state", state),
            ("traffic", view::shares(&endpoint.traffic)),
            ("mirror", view::shares(&endpoint.mirror_traffic)),
        ];
        if !endpoint.firing.is_empty() {
            head.push(("alerts", out.paint(&format!("{} firing", endpoint.firing.join(", ")), Ink::Red)));
        }
        head.extend(endpoint.scoring_uris.iter().map(|uri| ("uri", uri.clone())));
        out.line(header(&head));
        if !all.deployments.is_empty() {
            out.line(format!("\n{}", out.rendered(&out.table(&all.deployments))));
        }
        for deployment in all.deployments.iter().filter(|deployment| !deployment.reason.is_empty()) {
            let mut lines = deployment.reason.lines();
            let first = lines.next().unwrap_or_default();
            let next = coming::next_try(deployment, now_ms()).map(|(_, next)| format!("; {next}")).unwrap_or_default();
            out.line(format!("  {}: {first}{next}", deployment.name));
            // The end of a log says what happened; all of it is a verb of its own.
            let tail: Vec<_> = lines.collect();
            let from = tail.len().saturating_sub(REASON_LINES);
            tail[from..].iter().for_each(|line| out.line(format!("    {line}")));
        }
        for deployment in &all.deployments {
            reserve_lines(deployment).into_iter().for_each(|line| out.line(line));
        }
        if !all.replicas.is_empty() {
            out.line(format!("\n{}", out.rendered(&out.table(&all.replicas))));
        }
        if all.deployments.is_empty() {
            out.aside("no deployments yet; `berth deployment create -f FILE --all-traffic` makes one");
        } else {
            out.warnings(view::advice::without_traffic(endpoint, &all.deployments).as_slice());
        }
    })?)
}

/// Says whether the loss of any single node fits in the reserve, and else which ones do not.
fn reserve_line(not_covered: &[String]) -> String {
    match not_covered {
        [] => "any single node's loss fits".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first}; {} more do not fit", rest.len()),
    }
}

/// Says what is short of a deployment's reserve, and which node's loss it would not cover.
fn reserve_lines(deployment: &Deployment) -> Vec<String> {
    let Some(reserve) = &deployment.reserve else { return Vec::new() };
    let mut lines = Vec::new();
    if reserve.short_since_ms > 0 {
        lines.push(format!("  {}: ReserveShort: {}", deployment.name, reserve.arithmetic));
    }
    if !reserve.not_covered.is_empty() {
        let nodes = reserve.not_covered.join(", ");
        lines.push(format!("  {}: its reserve does not cover the loss of {nodes}", deployment.name));
        if !reserve.not_covered_try.is_empty() {
            lines.push(format!("    try: {}", reserve.not_covered_try));
        }
    }
    lines
}

/// Writes `key = value` lines, the signs under one another.
fn header(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    pairs.iter().map(|(key, value)| format!("{key:width$} = {value}")).collect::<Vec<_>>().join("\n")
}
