//! `berth complete-names`: what a shell offers where the name of something in a cluster fits. Bounded in time and in number, and
//! silent about what goes wrong: a person at a prompt asked nothing.

use std::time::Duration;

use berth_client::{Client, Error};
use tokio::time::timeout;

use super::cluster;
use crate::{
    args::{self, GlobalArgs, Names},
    contexts::Contexts,
    output::{Listed as _, Output},
    view::short_id,
};

/// A prompt that waits longer is worse than one without names.
const WITHIN: Duration = Duration::from_millis(800);
/// Nobody reads more.
const NAMES_MAX: usize = 500;

pub(super) async fn run(global: &GlobalArgs, words: &[String], with_values: bool, out: &Output) {
    let mut root = args::command();
    root.build();
    if with_values {
        args::own_words(&root, words).iter().for_each(|value| out.line(value));
    }
    let Some(names) = args::wanted(&root, words) else { return };
    // The line is not whole yet: what it says of the cluster is found, whatever else stands in it.
    let after = |flag: &str| words.iter().skip_while(|word| *word != flag).nth(1).cloned();
    let global = GlobalArgs {
        api: after("--api").or_else(|| global.api.clone()),
        context: after("--context").or_else(|| global.context.clone()),
        ca: after("--ca").or_else(|| global.ca.clone()),
        client_cert: after("--client-cert").or_else(|| global.client_cert.clone()),
        client_key: after("--client-key").or_else(|| global.client_key.clone()),
        local: global.local || words.iter().any(|word| word == "--local"),
        ..global.clone()
    };
    let found = timeout(WITHIN, find(&global, names)).await;
    for name in found.ok().and_then(Result::ok).unwrap_or_default().into_iter().take(NAMES_MAX) {
        out.line(name);
    }
}

async fn find(global: &GlobalArgs, names: Names) -> Result<Vec<String>, Error> {
    if names == Names::Contexts {
        return Ok(Contexts::load()?.contexts.into_keys().collect());
    }
    let client: Client = cluster::client(&cluster::meant(global)?.context)?;
    let mut found = Vec::new();
    if matches!(names, Names::Endpoints | Names::Served | Names::Any) {
        found.extend(client.list_endpoints().await?.iter().map(|it| it.name.clone()));
    }
    if matches!(names, Names::Deployments | Names::Served | Names::Any) {
        found.extend(client.list_deployments("").await?.iter().map(|it| it.name()));
    }
    if matches!(names, Names::Nodes | Names::Any) {
        found.extend(client.list_nodes().await?.iter().map(|it| it.node.clone()));
    }
    if names == Names::Replicas {
        found.extend(client.list_replicas("", "").await?.iter().map(|it| short_id(&it.replica).to_owned()));
    }
    Ok(found)
}
