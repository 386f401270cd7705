//! What hands type that learned another tool: verbs that mean one of ours, flags that mean nothing here, and for the rest
//! a word about where it went.
//!
//! None of it stands in the help: there, every verb has one name.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{DrainArgs, SelectArgs, complete::flag};

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
    /// What it is, and its name: ENDPOINT, ENDPOINT/DEPLOYMENT, NODE or REPLICA; or both with a slash between; with -l
    /// what it is alone.
    #[arg(value_name = "TYPE NAME", num_args = 1..=2, required_unless_present = "file")]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) only: SelectArgs,
    /// What a file describes, or the files of a folder.
    #[arg(short, long, alias = "filename", conflicts_with_all = ["what", "select"])]
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
    /// What is not there is not missed.
    #[arg(long, hide = true)]
    pub(crate) ignore_not_found: bool,
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

/// Returns whether a word may stand before a name.
pub(crate) fn is_type(word: &str) -> bool {
    TYPES.contains(&word)
}

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
    (&["ml", "az", "kubectl", "k"], "leave it out: `berth online-endpoint create -f endpoint.yml`, `berth get nodes`"),
    (
        &["model", "environment", "data", "component", "image", "registry", "feature-store", "datastore"],
        "models, code and environments are named in a deployment's file and uploaded with it: `berth apply -f FILE`",
    ),
    (
        &["workspace", "namespace", "project", "group"],
        "endpoints have a `project` in their file; `berth quota show` lists projects",
    ),
    (
        &["job", "run", "launch", "compose", "up"],
        "`berth apply -f FILE` serves what a file describes, `berth deploy` what a flag names",
    ),
    (
        &["batch-endpoint", "batch-deployment", "schedule"],
        "there are no batch jobs: send requests to an endpoint, `berth invoke ENDPOINT -f FILE`",
    ),
    (
        &["serverless-endpoint", "marketplace-subscription"],
        "an endpoint of its own answers OpenAI's calls, too: `berth deploy NAME --cmd COMMAND` with a server that speaks them",
    ),
    (
        &["ps", "info", "cluster-info", "api-resources", "inspect", "list", "ls", "show", "search"],
        "`berth status` shows the cluster, `berth get` lists, `berth describe` tells all about one thing",
    ),
    (
        &["alloc", "pod", "pods"],
        "`berth get replicas` lists them, `berth logs ENDPOINT/DEPLOYMENT` prints what they write",
    ),
    (
        &["exec", "attach", "ssh", "cp", "debug"],
        "a replica is a process of its node; `berth describe REPLICA` names both",
    ),
    (
        &["port-forward", "proxy", "expose"],
        "every node answers for every endpoint: `berth endpoint show ENDPOINT` prints the address, `berth invoke` calls it",
    ),
    (
        &["set"],
        "`berth deployment update ENDPOINT/DEPLOYMENT --set environment_variables.NAME=VALUE` sets what a program is told; there are no images: what runs is in its file, `berth apply -f FILE`",
    ),
    (
        &["patch", "replace"],
        "change the file and `berth apply -f FILE`, or `berth deployment update ENDPOINT/DEPLOYMENT --set FIELD=VALUE`; `berth edit` opens an editor",
    ),
    (&["autoscale"], "`berth scale ENDPOINT/DEPLOYMENT N` says how many instances there are"),
    (
        &["taint", "annotate", "tag"],
        "`berth label NAME KEY=VALUE` sets tags of endpoints and deployments; labels of a node are a setting of it: `berth node --labels zone=a`; `berth node cordon` keeps replicas away",
    ),
    (
        &["configure"],
        "leave it out: there are no groups and workspaces to set, and `berth context use NAME` chooses the cluster",
    ),
    (
        &["config", "login", "logout", "cluster"],
        "`berth context ls` lists the clusters you named, `berth context use NAME` chooses one, `berth context set NAME --api ADDRESS` adds one",
    ),
    (
        &["auth", "certificate", "account", "role", "ad"],
        "there are no users and roles: who reaches a coordinator may do everything, and `--client-cert` is what it may ask for",
    ),
    (
        &["restart", "rollback", "history"],
        "`berth rollout restart ENDPOINT/DEPLOYMENT` starts every replica anew, `berth replica replace REPLICA` one, `berth rollout undo ENDPOINT/DEPLOYMENT` goes back, `berth rollout history` lists",
    ),
    (
        &["stop", "kill", "rm", "down"],
        "`berth replica replace REPLICA` ends one replica, `berth deployment delete ENDPOINT/DEPLOYMENT` all of them; `berth dev kill NODE` loses a node of `berth dev`",
    ),
    (&["server", "agent"], "the daemons are `berth coordinator` and `berth node`; `berth dev` runs both"),
    (&["compute", "vm"], "`berth get nodes` lists the hosts, `berth quota show` what projects may take of them"),
    (
        &["monitor", "metrics", "stats"],
        "`berth top` shows what is used, `berth alerts` the rules; Prometheus reads `/metrics` of every process",
    ),
    (&["tail", "stream", "get-logs"], "`berth logs ENDPOINT/DEPLOYMENT -f` prints what its replicas write"),
    (&["list-keys", "keys", "get-keys"], "`berth endpoint get-credentials ENDPOINT` prints both keys"),
    (&["kustomize"], "`berth apply -f - --set FIELD=VALUE` takes what another tool prints, and lays values over it"),
    (
        &["ui", "dashboard", "portal", "studio"],
        "`berth tui` is the operator's screen, and the coordinator's address the cluster's page",
    ),
    (
        &["options", "api-versions", "plugin", "extension", "upgrade", "find", "feedback"],
        "`berth help` lists every verb, `berth version` the versions; `berth node upgrade` walks the fleet",
    ),
];

/// Flags, and words where none belongs, that mean nothing here, and what does what they mean.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &["--dry-run"],
        "`berth plan -f FILE` says what a file would change, `berth plan --drain NODE` what a drain would cost",
    ),
    (
        &["-l", "--selector", "--field-selector", "--all"],
        "name it: ENDPOINT/DEPLOYMENT, a replica or a node; `berth get replicas -l FIELD=VALUE -o name` finds names",
    ),
    (
        &["--since", "--since-time", "--timestamps"],
        "`berth logs ENDPOINT/DEPLOYMENT --since TIME --timestamps` has both, and `berth events --since TIME` has one",
    ),
    (&["--prune"], "`berth delete -f FILE` takes away what a file describes"),
    (
        &["-k", "--kustomize"],
        "`berth apply -f - --set FIELD=VALUE` takes what another tool prints, and lays values over it",
    ),
    (&["-R", "--recursive"], "name each folder: `-f one/ -f two/`"),
    (
        &["--raw"],
        "`berth doctor` looks whether all is well, `berth status` what there is; every address of a coordinator answers `/healthz`, `/metrics` and `/api/v1`",
    ),
    (&["--web"], "the address of a coordinator is the cluster's page; `berth tui` is the operator's screen"),
    (
        &["--vscode-debug"],
        "a replica is a process of its node: `berth describe REPLICA` names both, for a debugger to attach to",
    ),
    (&["--package-model"], "leave it out: the model is uploaded with its deployment"),
    (
        &["--add", "--remove", "--force-string"],
        "`--set FIELD=VALUE` sets one field; `berth apply -f FILE` makes it what the file says",
    ),
    (&["--defaults"], "`--traffic \"blue=90 green=10\"` says the whole split"),
    (&["-d", "--deployment-name"], "`berth deployment show ENDPOINT/DEPLOYMENT` shows a deployment of it"),
    (
        &["--disable-eviction", "--pod-selector", "--grace-period"],
        "`--deadline TIME` bounds how long requests may go on, and `--force` ends then what fits nowhere else",
    ),
    (&["--show-labels"], "`-o wide` shows the labels of nodes, `-o yaml` everything"),
    (&["--revision"], "`berth rollout show ENDPOINT/DEPLOYMENT N` shows one generation"),
    (&["--template"], "`--query EXPRESSION` takes JMESPath: `berth get nodes --query '[].node' -o tsv`"),
    (&["-f", "--filename"], "`berth apply -f FILE` makes it what the file says, `berth delete -f FILE` takes it away"),
    (
        &[
            "endpoint",
            "ep",
            "deployment",
            "deploy",
            "namespace",
            "ns",
            "service",
            "svc",
            "secret",
            "configmap",
            "job",
            "quota",
        ],
        "`berth deploy NAME --cmd COMMAND` serves without a file, `berth endpoint create -n NAME` makes an endpoint; there are no namespaces and secrets",
    ),
];

/// Kinds of Kubernetes and Azure that `berth get` has no list of, and where they went.
const KINDS: &[(&[&str], &str)] = &[
    (
        &["ns", "namespace", "namespaces", "workspaces"],
        "a cluster has one list of names; `berth quota show` lists projects",
    ),
    (
        &["cm", "configmap", "configmaps", "secret", "secrets"],
        "a program's values are `environment_variables` of its deployment; `berth endpoint get-credentials ENDPOINT` prints keys",
    ),
    (
        &["ing", "ingress", "ingresses", "httproutes", "gateways", "routes", "networkpolicies"],
        "every node answers for every endpoint: `berth get endpoints`, and `berth get nodes` for the addresses",
    ),
    (
        &["hpa", "pdb", "vpa"],
        "`berth scale ENDPOINT/DEPLOYMENT N` says how many instances there are; `berth get slots` lists the reserve",
    ),
    (
        &["job", "jobs", "cj", "cronjob", "cronjobs"],
        "there are no batch jobs: `berth get deployments` lists what serves",
    ),
    (
        &["pv", "pvc", "sc", "storageclasses", "persistentvolumes", "persistentvolumeclaims", "volumes"],
        "a replica's disk is part of its resources: `berth get nodes -o wide`",
    ),
    (
        &["ds", "sts", "daemonsets", "statefulsets", "daemonset", "statefulset"],
        "all that serves is a deployment: `berth get deployments`",
    ),
    (
        &["sa", "serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "users", "csr"],
        "there are no users and roles: who reaches a coordinator may do everything",
    ),
    (
        &["crd", "crds", "apiservices"],
        "`berth get --help` lists what there is; the API is described at `/openapi.json` of a coordinator",
    ),
    (
        &["resourcequota", "resourcequotas", "limits", "limitranges", "quota", "quotas"],
        "`berth quota show` lists what projects may take",
    ),
    (
        &["cs", "componentstatuses", "members", "coordinators", "leases"],
        "`berth operator raft list-peers` lists the coordinators",
    ),
    (&["contexts", "clusters"], "`berth context ls` lists the clusters you named"),
    (&["models", "environments", "code", "assets"], "they belong to deployments: `berth get deployments -o yaml`"),
    (&["alerts", "rules"], "`berth alerts` lists every rule and how it stands"),
];

/// Words of `-o` that other tools have.
const FORMATS: &[(&str, &str)] = &[
    ("jsonpath", "`--query` takes JMESPath: `berth get nodes --query '[].node' -o tsv`; `-o json` shows the fields"),
    (
        "custom-columns",
        "`--query` takes JMESPath: `berth get replicas --query '[].[replica, node]' -o tsv`; `-o json` shows the fields",
    ),
    ("go-template", "`--query` takes JMESPath: `berth get nodes --query '[].node' -o tsv`; `-o json` shows the fields"),
    ("none", "`-q` prints nothing but errors"),
    ("csv", "`-o tsv` has tabs between values; `berth cost --csv` has commas"),
    ("id", "`-o name` prints names alone"),
];

/// Says where a word or a flag of another tool went, if that is what is wrong with a line.
pub(crate) fn elsewhere(error: &clap::Error) -> Option<&'static str> {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let among = |table: &[(&[&str], &'static str)], word: &str| {
        table.iter().find(|(words, _)| words.contains(&word)).map(|(_, hint)| *hint)
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => among(ELSEWHERE, said(ContextKind::InvalidSubcommand)?),
        ErrorKind::UnknownArgument => among(FLAGS, said(ContextKind::InvalidArg)?),
        ErrorKind::InvalidValue => {
            let (of, value) = (said(ContextKind::InvalidArg)?, said(ContextKind::InvalidValue)?);
            match of.starts_with("--output") {
                true => FORMATS.iter().find(|(word, _)| value.starts_with(word)).map(|(_, hint)| *hint),
                false => value.split([',', '/']).find_map(|kind| among(KINDS, kind)),
            }
        }
        // A second value of `--set` is taken for the name.
        ErrorKind::ArgumentConflict if error.to_string().contains("--set <") => {
            Some("one field for each flag: `--set tags.a=1 --set tags.b=2`")
        }
        _ => None,
    }
}

/// Finds the words of a line that are no flags and no values of flags.
fn places(texts: &[String]) -> Vec<usize> {
    let root = super::command();
    let (mut at, mut places, mut words) = (&root, Vec::new(), texts.iter().enumerate().skip(1));
    while let Some((place, word)) = words.next() {
        if word == "--" {
            places.extend(words.map(|(place, _)| place));
            break;
        }
        if word.len() > 1 && word.starts_with('-') {
            let takes = flag(&root, at, word).is_some_and(|flag| flag.get_action().takes_values());
            if takes && !word.contains('=') {
                words.next();
            }
        } else {
            at = at.find_subcommand(word).unwrap_or(at);
            places.push(place);
        }
    }
    places
}

/// Verbs of a rollout of which kubectl takes a type and a name as two words.
const TWO_WORDS: &[&str] = &["status", "history", "restart", "pause", "resume", "undo", "show"];

/// Reads a line as hands meant it that learned kubectl: a type and a name may be two words, as in `rollout status deploy fraud`,
/// and a flag may say that it is off.
pub(crate) fn meant(mut words: Vec<OsString>) -> Vec<OsString> {
    let texts: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let is_one = |word: &String| word == "rollout" || word == "scale";
    // Few lines have anything to mend, and only for those it is looked up which flags take a value.
    let places = if texts.iter().any(is_one) { places(&texts) } else { Vec::new() };
    let word = |nth: usize| places.get(nth).map_or("", |at| texts[*at].as_str());
    let waits = word(0) == "rollout" && word(1) == "status";
    let kind = match word(0) {
        "scale" => Some(1),
        "rollout" if TWO_WORDS.contains(&word(1)) => Some(2),
        _ => None,
    };
    if let Some(nth) = kind.filter(|nth| TYPES.contains(&word(*nth)) && !word(nth + 1).is_empty()) {
        let is_count = word(0) == "scale" && word(nth + 1).parse::<u64>().is_ok();
        let says_count = places.len() > nth + 2 || texts.iter().any(|text| text.starts_with("--replicas"));
        // `scale service 4` is about an endpoint that is called so.
        if !is_count || says_count {
            let name = words.remove(places[nth + 1]);
            words[places[nth]].push("/");
            words[places[nth]].push(name);
        }
    }
    let said = words.into_iter().filter_map(|word| match word.to_str() {
        Some("--watch=false" | "-w=false") => waits.then(|| "--no-wait".into()),
        Some("--watch=true" | "-w=true") => Some("--watch".into()),
        _ => Some(word),
    });
    said.collect()
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
            "berth apply --filename=all.yml",
            "berth delete --filename all.yml",
            "berth diff --filename all.yml",
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
            "berth online-deployment get-logs -n blue -e fraud -w ws --since=1h --timestamps -f",
            "berth online-deployment update --name blue --endpoint-name fraud --set instance_count=2 -g rg",
            "berth node drain node-1 -m why --deadline 1h",
            "berth node list",
            "berth get pods -A",
            "berth get deploy -n team-a -w",
            "berth describe pod/1f2e3d4c -n team-a",
            "berth logs deploy/fraud -f",
            "berth logs -n team-a deploy/fraud --tail=20",
            "berth logs deploy/fraud --since=1h --timestamps",
            "berth wait --for=condition=available deploy/blue --timeout=60s",
            "berth wait --for=delete pod/1f2e3d4c -n team-a --timeout=-1s",
            "berth wait deployment fraud --for condition=Available=true",
            "berth logs deploy/fraud --since-time=2026-01-31T14:02:00Z --tail=-1",
            "berth logs -f --tail all -t fraud/blue",
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
            "berth get svc,deploy",
            "berth get deploy,rs,po -o wide",
            "berth get pods -l endpoint=fraud -o name",
            "berth get pods --field-selector spec.nodeName=node-1",
            "berth get pods --sort-by=.metadata.creationTimestamp --no-headers",
            "berth get pods --watch=false",
            "berth events --for deploy/blue -n default",
            "berth logs fraud/blue -c inference-server --prefix",
            "berth logs -l app=fraud -f --prefix",
            "berth delete pods -l state=failed,node!=node-1 --yes",
            "berth wait deploy -l team=risk --for=condition=Available --timeout=60s",
            "berth wait --for=delete pod --selector=endpoint=fraud",
            "berth label endpoint fraud team=risk owner-",
            "berth label --overwrite deploy/fraud tier=gold -n team-a",
            "berth label ep fraud --list",
            "berth apply -f all.yml --dry-run",
            "berth apply -f all.yml --dry-run=server --server-side",
            "berth create -f all.yml --dry-run=client -o yaml",
            "berth rollout status deploy/blue --watch=false",
            "berth top pod fraud/blue",
            "berth top node node-1",
            "berth cordon node/node-2",
            "berth delete svc fraud --ignore-not-found",
            "berth version --short",
            "berth version --client",
            "berth online-endpoint regenerate-keys -n fraud --key-type Secondary",
            "berth online-endpoint create --name fraud --auth-mode key",
        ] {
            if let Err(error) = Cli::try_parse_from(meant(line.split(' ').map(OsString::from).collect())) {
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
    fn lines_are_read_as_they_were_meant() {
        for (line, read) in [
            ("berth rollout status deploy fraud", "berth rollout status deploy/fraud"),
            (
                "berth rollout undo deployment fraud/blue --to-revision=2",
                "berth rollout undo deployment/fraud/blue --to-revision=2",
            ),
            ("berth scale --replicas=2 deploy blue", "berth scale --replicas=2 deploy/blue"),
            ("berth scale deploy fraud/blue --replicas=2", "berth scale deploy/fraud/blue --replicas=2"),
            ("berth scale fraud/blue 4", "berth scale fraud/blue 4"),
            ("berth --api deploy scale fraud/blue 4", "berth --api deploy scale fraud/blue 4"),
            ("berth scale deploy --replicas=2", "berth scale deploy --replicas=2"),
            ("berth get deploy fraud", "berth get deploy fraud"),
            ("berth --context prod rollout status deploy fraud", "berth --context prod rollout status deploy/fraud"),
            ("berth rollout --context prod status deploy fraud", "berth rollout --context prod status deploy/fraud"),
            ("berth -o json -q scale deploy fraud 2", "berth -o json -q scale deploy/fraud 2"),
            ("berth -ojson scale deploy fraud 2", "berth -ojson scale deploy/fraud 2"),
            ("berth --api=a scale -n team-a deploy fraud 2", "berth --api=a scale -n team-a deploy/fraud 2"),
            ("berth rollout undo --context service fraud", "berth rollout undo --context service fraud"),
            ("berth rollout undo --context service deploy fraud", "berth rollout undo --context service deploy/fraud"),
            ("berth rollout undo deploy --to-revision 3 fraud", "berth rollout undo deploy/fraud --to-revision 3"),
            ("berth rollout status --timeout 60s deploy fraud", "berth rollout status --timeout 60s deploy/fraud"),
            ("berth scale service 4", "berth scale service 4"),
            ("berth scale service/blue 4", "berth scale service/blue 4"),
            ("berth scale service 4 2", "berth scale service/4 2"),
            ("berth scale deploy 4 --replicas 2", "berth scale deploy/4 --replicas 2"),
            ("berth logs --replica scale deploy fraud", "berth logs --replica scale deploy fraud"),
            ("berth describe deploy rollout", "berth describe deploy rollout"),
            ("berth --context rollout status deploy fraud", "berth --context rollout status deploy fraud"),
            ("berth rollout status deploy/blue --watch=false", "berth rollout status deploy/blue --no-wait"),
            ("berth get pods --watch=false -w=true", "berth get pods --watch"),
            ("berth rollout", "berth rollout"),
            ("berth", "berth"),
        ] {
            let words = meant(line.split(' ').map(OsString::from).collect());
            assert_eq!(words.join(" ".as_ref()), read, "{line}");
        }
    }

    /// What cannot be done here is said with what can.
    #[test]
    fn words_of_other_tools_say_where_they_went() {
        for (line, part) in [
            ("berth ml online-endpoint list", "online-endpoint create"),
            ("berth az ml online-endpoint list", "leave it out"),
            ("berth model create", "uploaded with it"),
            ("berth exec -it x -- sh", "berth describe REPLICA"),
            ("berth debug x", "berth describe REPLICA"),
            ("berth port-forward svc/fraud 8080:80", "berth invoke"),
            ("berth patch deploy fraud", "--set FIELD=VALUE"),
            ("berth set image deploy/blue app=nginx", "there are no images"),
            ("berth set env deploy/blue LEVEL=debug", "--set environment_variables.NAME=VALUE"),
            ("berth get --raw /healthz", "berth doctor"),
            ("berth config get-contexts", "berth context ls"),
            ("berth auth can-i get pods", "no users and roles"),
            ("berth kustomize .", "--set FIELD=VALUE"),
            ("berth api-versions", "berth version"),
            ("berth annotate deploy/blue a=b", "berth label"),
            ("berth label pods --all a=b", "berth get replicas -l"),
            ("berth online-endpoint list-keys -n fraud", "get-credentials"),
            ("berth autoscale deploy/blue --min=1", "berth scale"),
            ("berth batch-endpoint list", "berth invoke"),
            ("berth serverless-endpoint list", "berth deploy"),
            ("berth compute list", "berth get nodes"),
            ("berth monitor metrics list", "berth top"),
            ("berth account show", "no users and roles"),
            ("berth configure --defaults group=a workspace=b", "leave it out"),
            ("berth get ns", "berth quota show"),
            ("berth get secrets", "environment_variables"),
            ("berth get ingress", "berth get endpoints"),
            ("berth get hpa", "berth scale"),
            ("berth get cronjobs", "no batch jobs"),
            ("berth get pv", "berth get nodes"),
            ("berth get sts", "berth get deployments"),
            ("berth get pods,cm", "environment_variables"),
            ("berth get crd", "/openapi.json"),
            ("berth get pods -o jsonpath={.items[*].metadata.name}", "--query '[].node'"),
            ("berth get pods -o custom-columns=NAME:.metadata.name", "[].[replica, node]"),
            ("berth get pods -o go-template={{.items}}", "JMESPath"),
            ("berth get pods --show-labels", "-o wide"),
            ("berth get pods --since=1h", "berth logs"),
            ("berth delete pods --all", "berth get replicas -l"),
            ("berth scale deploy -l app=x --replicas=2", "berth get replicas -l"),
            ("berth scale deploy --all --replicas=2", "name it"),
            ("berth scale fraud/blue 2 --dry-run", "berth plan"),
            ("berth apply -f a.yml --prune", "berth delete -f"),
            ("berth apply -k .", "--set FIELD=VALUE"),
            ("berth apply -R -f .", "-f one/"),
            ("berth create deployment web --image=nginx", "berth deploy NAME"),
            ("berth create namespace x", "no namespaces"),
            ("berth create endpoint x", "berth endpoint create -n NAME"),
            ("berth scale -f web.yml --replicas=3", "berth apply -f FILE"),
            ("berth rollout history deploy/blue --revision=1", "berth rollout show"),
            ("berth drain node-3 --disable-eviction", "--deadline TIME"),
            ("berth online-endpoint create -f e.yml --web", "berth tui"),
            ("berth online-endpoint show -n fraud -d blue", "berth deployment show"),
            ("berth online-endpoint update -n fraud --set tags.a=1 properties.b=2", "--set tags.b=2"),
            ("berth online-endpoint update -n fraud --add tags.a=b", "--set FIELD=VALUE"),
            ("berth online-endpoint update -n fraud --defaults x", "--traffic"),
            ("berth online-deployment create -f b.yml --local --vscode-debug", "debugger"),
            ("berth online-deployment create -f b.yml --package-model", "uploaded with"),
        ] {
            let words = meant(line.split(' ').map(OsString::from).collect());
            let error = Cli::try_parse_from(&words).expect_err(line);
            let hint = elsewhere(&error).unwrap_or_else(|| panic!("{line}: {error}"));
            assert!(hint.contains(part), "{line}: {hint}");
        }
        let error = Cli::try_parse_from(["berth", "statsu"]).expect_err("no verb");
        assert!(elsewhere(&error).is_none() && error.to_string().contains("status"), "{error}");
        for table in [ELSEWHERE, FLAGS, KINDS] {
            let mut words: Vec<_> = table.iter().flat_map(|(words, _)| *words).collect();
            let all = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), all, "no word is explained twice");
        }
    }

    /// A pointer that names a verb or a flag which is not there leads astray.
    #[test]
    fn what_is_pointed_to_is_there() {
        let hints = [ELSEWHERE, FLAGS, KINDS].into_iter().flatten().map(|(_, hint)| *hint);
        let mut checked = 0;
        for hint in hints.chain(FORMATS.iter().map(|(_, hint)| *hint)) {
            for line in hint.split('`').skip(1).step_by(2).filter(|line| line.starts_with("berth ")) {
                let words = line.replace("'[].node'", "[].node").replace("'[].[replica, node]'", "[].[replica,node]");
                let known = [("FIELD=VALUE", "a=b"), (" TIME", " 5m"), (" N", " 2")];
                let words = known.iter().fold(words, |words, (from, to)| words.replace(from, to));
                let mut words: Vec<_> = words.split(' ').collect();
                // A verb alone is named for what it is, without what it takes.
                let error = match Cli::try_parse_from(&words) {
                    Ok(_) => None,
                    Err(error) if error.kind() == ErrorKind::DisplayHelp => None,
                    Err(_) if words.len() <= 3 => {
                        words.push("--help");
                        Cli::try_parse_from(&words).err().filter(|error| error.kind() != ErrorKind::DisplayHelp)
                    }
                    Err(error) => Some(error),
                };
                assert!(error.is_none(), "{line}: {error:?}");
                checked += 1;
            }
        }
        assert!(checked > 30, "{checked} lines");
    }
}
