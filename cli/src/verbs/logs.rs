//! `berth logs`: what replicas wrote, each line whole and with its replica when there are several.

use std::collections::BTreeMap;

use berth_client::api::LogsRequest;
use berth_core::model::DeploymentKey;

use super::{Context, by_prefix};
use crate::{
    args::{LogsArgs, parse_key},
    output::{Fault, Ink},
};

/// A line longer than this is printed in parts.
const LINE_BYTES_MAX: usize = 64 << 10;

pub(super) async fn run(context: &Context, args: LogsArgs) -> Result<(), Fault> {
    let key = parse_key(&args.deployment)?;
    print(context, &key, args.replica.as_deref(), args.tail, args.follow, args.prepare).await
}

/// Prints the logs of a deployment's replicas, or of one.
pub(super) async fn print(
    context: &Context,
    key: &DeploymentKey,
    replica: Option<&str>,
    tail_lines: u64,
    follow: bool,
    prepare: bool,
) -> Result<(), Fault> {
    let (endpoint, deployment) = (key.endpoint.to_string(), key.deployment.to_string());
    let replicas = context.client.list_replicas(&endpoint, &deployment).await?;
    let replica = match replica {
        Some(prefix) => by_prefix("replica", prefix, replicas.iter().map(|found| found.replica.as_str()))?.to_owned(),
        None => String::new(),
    };
    let with_names = replica.is_empty() && replicas.len() > 1;
    let request = LogsRequest { endpoint, deployment, replica, tail_lines, follow, prepare };
    let mut stream = context.client.logs(request).await?;
    let mut open: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(chunk) = stream.next().await? {
        let rest = open.entry(chunk.replica.clone()).or_default();
        rest.extend_from_slice(&chunk.data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n').or(over_long(rest)) {
            let line: Vec<u8> = rest.drain(..=end).collect();
            show(context, &chunk.replica, &chunk.node, &line, with_names);
        }
    }
    for (replica, rest) in open.iter().filter(|(_, rest)| !rest.is_empty()) {
        show(context, replica, "", rest, with_names);
    }
    Ok(())
}

/// Returns where a line without an end is cut.
fn over_long(line: &[u8]) -> Option<usize> {
    (line.len() > LINE_BYTES_MAX).then_some(LINE_BYTES_MAX - 1)
}

fn show(context: &Context, replica: &str, node: &str, line: &[u8], with_names: bool) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    if !with_names {
        return context.out.line(text);
    }
    let id = replica.get(..8).unwrap_or(replica);
    let name = if node.is_empty() { id.to_owned() } else { format!("{id} {node}") };
    context.out.line(format!("{} {text}", context.out.paint(&name, Ink::Grey)));
}
