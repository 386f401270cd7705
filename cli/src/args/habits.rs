//! What hands type that learned another tool: verbs that mean one of ours, flags that mean nothing here, and for the rest
//! a word about where it went.
//!
//! None of it stands in the help: there, every verb has one name.

use std::path::PathBuf;

use clap::{
    Args, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::DrainArgs;

/// Verbs of kubectl that mean one of ours.
#[derive(Debug, Subcommand)]
pub(crate) enum Habit {
    /// Empty a node: `berth node drain`.
    #[command(hide = true)]
    Drain(DrainArgs),
    /// Keep new replicas away from a node: `berth node cordon`.
    #[command(hide = true)]
    Cordon {
        /// The node.
        node: String,
    },
    /// Let new replicas come to a node again: `berth node uncordon`.
    #[command(hide = true)]
    Uncordon {
        /// The node.
        node: String,
    },
    /// Delete one thing: `berth endpoint delete`, `berth deployment delete`, `berth node forget`, `berth replica replace`.
    #[command(hide = true)]
    Delete(DeleteArgs),
}

/// `berth delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// What it is, and its name: ENDPOINT, ENDPOINT/DEPLOYMENT, NODE or REPLICA; or both with a slash between.
    #[arg(value_name = "TYPE NAME", num_args = 1..=2, required_unless_present = "file")]
    pub(crate) what: Vec<String>,
    /// What a file describes, or the files of a folder.
    #[arg(short, long, conflicts_with = "what")]
    pub(crate) file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Return at once instead of waiting until it is gone.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Cut what a replica works on.
    #[arg(long, alias = "force")]
    pub(crate) now: bool,
    /// kubectl's grace: zero means `--now`, more is what the deployment's drain says.
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub(crate) grace_period: Option<u64>,
}

/// What `berth delete` deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deletable {
    /// An endpoint.
    #[value(aliases = ["endpoints", "ep", "svc", "service", "online-endpoint"])]
    Endpoint,
    /// A deployment.
    #[value(aliases = ["deployments", "dep", "deploy", "online-deployment"])]
    Deployment,
    /// A node that is lost for good.
    #[value(aliases = ["nodes", "no"])]
    Node,
    /// A replica; another takes its place.
    #[value(aliases = ["replicas", "rep", "pod", "pods", "po"])]
    Replica,
}

/// Where something is in Kubernetes: understood, and left out.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KubectlScope {
    #[arg(short, long, hide = true, value_name = "NAME")]
    namespace: Option<String>,
    #[arg(short = 'A', long, hide = true)]
    all_namespaces: bool,
}

/// Words of kubectl that may stand before a name with a slash between, as in `deploy/fraud`.
const TYPES: &[&str] = &[
    "deploy",
    "deployment",
    "deployments",
    "dep",
    "endpoint",
    "endpoints",
    "ep",
    "svc",
    "service",
    "services",
    "node",
    "nodes",
    "no",
    "pod",
    "pods",
    "po",
    "replica",
    "replicas",
    "rep",
    "rs",
    "replicaset",
];

/// Takes a word of kubectl off a name: the word, and the name behind it.
pub(crate) fn typed(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(word, name)| TYPES.contains(word) && !name.is_empty())
}

/// Where something is in Azure: understood, and left out.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AzureScope {
    #[arg(short = 'g', long, global = true, hide = true)]
    resource_group: Option<String>,
    #[arg(short = 'w', long, global = true, hide = true)]
    workspace_name: Option<String>,
    #[arg(long, global = true, hide = true)]
    subscription: Option<String>,
}

// === impl KubectlScope ===

impl KubectlScope {
    /// Says what is left out, if anything is.
    pub(crate) fn note(&self) -> Option<&'static str> {
        (self.namespace.is_some() || self.all_namespaces).then_some(
            "there are no namespaces: a cluster has one list of names, and a `project` in an endpoint's file says whose it is",
        )
    }
}

// === impl AzureScope ===

impl AzureScope {
    /// Says what is left out, if anything is.
    pub(crate) fn note(&self) -> Option<&'static str> {
        let any = [&self.resource_group, &self.workspace_name, &self.subscription].iter().any(|it| it.is_some());
        any.then_some(
            "subscriptions, resource groups and workspaces are left out: `--context` says which cluster is meant",
        )
    }
}

/// Words that are no verb here, and what does what they mean.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["ml", "az"], "leave it out: `berth online-endpoint create -f endpoint.yml`"),
    (
        &["model", "environment", "data", "component", "image"],
        "models, code and environments are named in a deployment's file and uploaded with it: `berth apply -f FILE`",
    ),
    (
        &["workspace", "namespace", "project"],
        "endpoints have a `project` in their file; `berth quota show` lists projects",
    ),
    (
        &["job", "run", "launch", "compose", "up"],
        "`berth apply -f FILE` serves what a file describes, `berth deploy` what a flag names",
    ),
    (
        &["ps", "info", "cluster-info", "api-resources", "inspect"],
        "`berth status` shows the cluster, `berth get` lists, `berth describe` tells all about one thing",
    ),
    (
        &["alloc", "pod", "pods"],
        "`berth get replicas` lists them, `berth logs ENDPOINT/DEPLOYMENT` prints what they write",
    ),
    (&["exec", "attach", "ssh", "cp"], "a replica is a process of its node; `berth describe REPLICA` names both"),
    (
        &["port-forward", "proxy", "expose"],
        "every node answers for every endpoint: `berth endpoint show ENDPOINT` prints the address, `berth invoke` calls it",
    ),
    (
        &["edit", "patch", "set", "replace"],
        "change the file and `berth apply -f FILE`, or `berth deployment update ENDPOINT/DEPLOYMENT --set FIELD=VALUE`; in `berth tui` it is `e`",
    ),
    (&["autoscale"], "`berth scale ENDPOINT/DEPLOYMENT N` says how many instances there are"),
    (
        &["label", "taint", "annotate"],
        "labels are a setting of the node: `berth node --labels zone=a`; `berth node cordon` keeps replicas away",
    ),
    (
        &["config", "login", "cluster"],
        "`berth context set NAME --api ADDRESS` names a cluster, `berth context use NAME` chooses it",
    ),
    (
        &["restart", "rollback"],
        "`berth rollout restart ENDPOINT/DEPLOYMENT` starts every replica anew, `berth rollout undo ENDPOINT/DEPLOYMENT` goes back",
    ),
    (&["wait"], "verbs wait until what they did serves; `berth status ENDPOINT -w` goes on looking"),
    (
        &["stop", "kill", "rm", "down"],
        "`berth replica replace REPLICA` ends one replica, `berth deployment delete ENDPOINT/DEPLOYMENT` all of them; `berth dev kill NODE` loses a node of `berth dev`",
    ),
    (&["server", "agent"], "the daemons are `berth coordinator` and `berth node`; `berth dev` runs both"),
];

/// Adds to an error about an unknown verb where the word went.
pub(crate) fn explained(mut error: clap::Error) -> clap::Error {
    let word = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => word.clone(),
        _ => return error,
    };
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(words, _)| words.contains(&word.as_str())) {
        // What is merely spelled alike would lead astray.
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*hint).into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    /// What people type who know kubectl, Azure ML, Nomad or docker.
    #[test]
    fn a_usual_day_of_others_can_be_typed() {
        for line in [
            "berth get pods",
            "berth get po fraud/blue -o wide",
            "berth get deploy",
            "berth get deploy/blue",
            "berth get node/node-1 -o yaml",
            "berth get pod/1f2e3d4c -w",
            "berth get rs/fraud/blue",
            "berth get svc -w",
            "berth get nodes node-1 -o yaml",
            "berth describe pod 1f2e3d4c",
            "berth describe svc fraud",
            "berth describe deploy fraud/blue",
            "berth logs fraud/blue -f --tail=50",
            "berth logs 1f2e3d4c -p",
            "berth scale fraud/blue --replicas=4",
            "berth scale --replicas 4 fraud/blue",
            "berth create -f all.yml",
            "berth diff -f all.yml",
            "berth delete deployment fraud/blue --yes",
            "berth delete ep fraud",
            "berth delete pod 1f2e3d4c --force --grace-period=0",
            "berth rollout restart fraud/blue",
            "berth cordon node-1",
            "berth uncordon node-1",
            "berth drain node-1 --ignore-daemonsets --delete-emptydir-data --timeout 10m",
            "berth top pods",
            "berth top no",
            "berth online-endpoint list -g rg -w ws -o table",
            "berth online-endpoint -g rg -w ws create -f e.yml --no-wait",
            "berth online-endpoint show -n fraud --subscription s --query traffic -o jsonc",
            "berth online-endpoint invoke -n fraud -r sample.json -d blue",
            "berth online-deployment create -n blue -e fraud -f b.yml --all-traffic -w ws",
            "berth online-deployment get-logs -n blue -e fraud --container storage-initializer --lines 100",
            "berth online-deployment update --name blue --endpoint-name fraud --set instance_count=2 -g rg",
            "berth node drain node-1 -m why --deadline 1h",
            "berth node list",
            "berth get pods -A",
            "berth get deploy -n team-a -w",
            "berth describe pod/1f2e3d4c -n team-a",
            "berth logs deploy/fraud -f",
            "berth logs -n team-a deploy/fraud --tail=20",
            "berth rollout status deploy/fraud --timeout=90s",
            "berth rollout undo deployment/fraud --to-revision=3",
            "berth rollout history deploy/fraud -n team-a",
            "berth scale deploy/fraud --replicas=2",
            "berth delete -f all.yml",
            "berth delete -f serving/ -f more.yml --yes",
            "berth delete deploy/fraud --yes",
            "berth apply -f serving/",
            "berth apply -f endpoint.yml -f blue.yml",
            "berth apply -f - --yes",
            "berth get nodes -w",
            "berth node ls -w",
            "berth online-endpoint list -g rg -w ws --only-show-errors",
            "berth online-deployment create -f b.yml --verbose --debug",
            "berth rollout history fraud -w",
            "berth quota show -w",
            "berth cost -w",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn a_type_before_a_name_is_told_from_an_endpoint() {
        for (text, read) in [
            ("deploy/fraud", Some(("deploy", "fraud"))),
            ("deploy/fraud/blue", Some(("deploy", "fraud/blue"))),
            ("pod/1f2e3d4c", Some(("pod", "1f2e3d4c"))),
            ("fraud/blue", None),
            ("fraud", None),
            ("deploy/", None),
        ] {
            assert_eq!(typed(text), read, "{text}");
        }
    }

    #[test]
    fn words_of_other_tools_say_where_they_went() {
        for (line, part) in [
            ("berth ml online-endpoint list", "online-endpoint create"),
            ("berth model create", "uploaded with it"),
            ("berth exec x", "berth describe REPLICA"),
            ("berth port-forward x", "berth invoke"),
            ("berth edit fraud", "--set FIELD=VALUE"),
        ] {
            let error = explained(Cli::try_parse_from(line.split(' ')).expect_err(line));
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
        let error = explained(Cli::try_parse_from(["berth", "statsu"]).expect_err("no verb"));
        assert!(error.to_string().contains("status"), "{error}");
        let mut words: Vec<_> = ELSEWHERE.iter().flat_map(|(words, _)| *words).collect();
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all, "no word is explained twice");
    }
}
