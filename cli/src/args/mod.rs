//! What can be typed: every verb with its flags, Azure's spellings beside Berth's own.

mod alerts;
mod cluster;
mod complete;
mod cost;
mod daemon;
mod deployment;
mod endpoint;
mod habits;
mod help;
mod misread;
mod past;
mod plan;
mod quota;
mod rollout;
mod start;
mod wait;

pub(crate) use alerts::{AlertsArgs, AlertsVerb};
pub(crate) use cluster::{
    AutopilotVerb, DRAIN_DEADLINE, DrainArgs, NodeVerb, OperatorVerb, RaftVerb, RestoreArgs, ServeOnnxArgs,
    SettingsArgs, SettingsVerb, SimArgs, SimClusterArgs, SimPackArgs, SimVerb, SnapshotVerb, UpgradeArgs,
};
pub(crate) use complete::{Names, own_words, wanted};
pub(crate) use cost::{By, CostArgs};
pub(crate) use daemon::{CoordinatorArgs, DemoArgs, DevArgs, DevVerb, DoctorArgs, NodeArgs, tls_files};
pub(crate) use deployment::{
    DeleteDeploymentArgs, DeploymentCommand, DeploymentName, DeploymentVerb, GetLogsArgs, LogsArgs, PutDeploymentArgs,
    ShownArgs, parse_key,
};
pub(crate) use endpoint::{
    CreateEndpointArgs, DeleteEndpointArgs, EndpointCommand, EndpointName, EndpointVerb, InvokeArgs, KeyType,
    RegenerateArgs, UpdateEndpointArgs,
};
use habits::elsewhere;
pub(crate) use habits::{AzureScope, Deletable, DeleteArgs, Habit, KubectlScope, is_type, meant, typed};
pub(crate) use help::command;
pub(crate) use misread::{asked_format, misread};
pub(crate) use past::{Since, Tail};
use past::{parse_since, parse_tail};
pub(crate) use plan::PlanArgs;
pub(crate) use quota::{QuotaVerb, SetQuotaArgs};
pub(crate) use rollout::{ReplaceArgs, ReplicaVerb, RolloutVerb, ShowRolloutArgs, UndoArgs};
pub(crate) use start::{AllOrNone, DeployArgs, DescribeArgs, InitArgs, JoinArgs, Serves, Ttl};
pub(crate) use wait::{Goal, WaitForArgs};

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use clap::{
    Arg, Args, Command, Parser, Subcommand, ValueEnum,
    builder::{EnumValueParser, PossibleValue, TypedValueParser},
};

use crate::output::{Format, Query};

/// Stable inference endpoints on plain Linux hosts.
#[derive(Debug, Parser)]
#[command(name = "berth", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Start with `berth dev`; see `berth help VERB` for more. Exit codes: 0 done, 1 failed, 2 misused, 3 timed out."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Coordinators to talk to: HOST:PORT, or https://HOST:PORT where they speak TLS, several with commas [env: BERTH_API]
    /// [default: 127.0.0.1:7400].
    // The variable is read where a client is made: a daemon must not take it for the address to listen on.
    #[arg(long, global = true, value_name = "ADDR", help_heading = "Global options")]
    pub(crate) api: Option<String>,
    /// The cluster of `berth dev` on this machine, whatever BERTH_API and the context say.
    #[arg(long, global = true, conflicts_with_all = ["api", "context"], help_heading = "Global options")]
    pub(crate) local: bool,
    /// Who signed the certificates of coordinators at https:// addresses, in PEM [env: BERTH_CA].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) ca: Option<String>,
    /// The certificate that coordinators are shown, in PEM, where they ask for one [env: BERTH_CLIENT_CERT].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) client_cert: Option<String>,
    /// That certificate's key, in PEM [env: BERTH_CLIENT_KEY].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) client_key: Option<String>,
    /// How to print answers.
    #[arg(short, long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    pub(crate) output: Format,
    /// Print only what this JMESPath expression names of an answer: `--query "[?state=='ready'].node" -o tsv`.
    #[arg(long, global = true, value_name = "EXPRESSION", help_heading = "Global options")]
    pub(crate) query: Option<Query>,
    /// The context whose cluster is meant; see `berth context`.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) context: Option<String>,
    /// Print nothing but answers and errors.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Print without colours; the variable NO_COLOR does the same.
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_color: bool,
    /// Azure's `--verbose`: say which cluster is asked, and how long it took.
    #[arg(long, global = true, hide = true)]
    pub(crate) verbose: bool,
    /// Azure's `--debug`: say what the client does, too.
    #[arg(long, global = true, hide = true)]
    pub(crate) debug: bool,
    /// Azure's `--only-show-errors`: warnings and remarks are left out, as with `--quiet`.
    #[arg(long, global = true, hide = true)]
    pub(crate) only_show_errors: bool,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a whole cluster in this process.
    Dev(Box<DevArgs>),
    /// Run a coordinator.
    Coordinator(Box<CoordinatorArgs>),
    /// Run a node agent, or look after nodes (`node ls`, `node cordon NODE`).
    Node(Box<NodeCommand>),
    /// Look at this host: what a node or a coordinator would find here, and what would stop it.
    Doctor(DoctorArgs),
    /// Show the main job from nothing to a report.
    Demo(DemoArgs),
    /// Serve a model, a script or a program without writing a file: `berth deploy hello --onnx model.onnx` writes hello.yml
    /// and applies it.
    Deploy(Box<DeployArgs>),
    /// Make a folder to begin in: an endpoint, a deployment, and what it serves.
    Init(InitArgs),
    /// Create or change what a file describes: endpoints and deployments, in one or several documents.
    #[command(alias = "create")]
    Apply(ApplyArgs),
    /// Say what would happen: what a file would change, or what becomes of every endpoint when nodes are lost, drained or
    /// added, or when the load grows. Nothing is changed.
    #[command(alias = "diff")]
    Plan(PlanArgs),
    /// Work with endpoints.
    #[command(visible_alias = "online-endpoint")]
    Endpoint(Box<EndpointCommand>),
    /// Work with deployments.
    #[command(visible_alias = "online-deployment")]
    Deployment(Box<DeploymentCommand>),
    /// Split an endpoint's traffic: `berth traffic fraud blue=90 green=10`.
    Traffic(TrafficArgs),
    /// Copy a share of an endpoint's traffic: `berth mirror fraud green=10`; `berth mirror report fraud` compares the answers.
    Mirror(MirrorArgs),
    /// Change an endpoint or a deployment in $EDITOR, as it is now; what would change is shown before it is done.
    Edit(EditArgs),
    /// Set and remove tags of an endpoint or a deployment: `berth label fraud team=risk owner-`.
    Label(LabelArgs),
    /// Change how many instances a deployment has: `berth scale fraud/blue 4`.
    Scale(ScaleArgs),
    /// Follow a deployment's rollout, pause it, go on, go back to an earlier generation, or restart every replica.
    #[command(subcommand)]
    Rollout(RolloutVerb),
    /// Wait until something serves, is ready, is there or is gone: `berth wait fraud/blue --for=available`.
    Wait(WaitForArgs),
    /// End one replica that misbehaves; another takes its place.
    #[command(subcommand)]
    Replica(ReplicaVerb),
    /// Call an endpoint.
    Invoke(InvokeArgs),
    /// Show how the cluster, or an endpoint, is doing.
    Status(StatusArgs),
    /// List endpoints, deployments, replicas, slots, nodes, rollouts or events.
    Get(GetArgs),
    /// Show everything about one endpoint, deployment, replica or node, with what happened to it last.
    Describe(DescribeArgs),
    /// Print what a deployment's replicas wrote.
    Logs(LogsArgs),
    /// Say why a deployment's replicas are where they are, or nowhere.
    Explain(ExplainArgs),
    /// Open the operator's screen; `--once SCREEN` prints it instead.
    Tui(TuiArgs),
    /// Show what happened, oldest first; `-f` goes on with what happens.
    Events(EventsArgs),
    /// Show every alert rule and how it stands; those that fire come first.
    Alerts(AlertsArgs),
    /// Show what is used on every node, or by every deployment.
    Top(TopArgs),
    /// Show what every deployment holds, what that costs an hour, and how much of it is idle.
    Cost(CostArgs),
    /// Show and set what projects may take, and lend for a while.
    #[command(subcommand)]
    Quota(QuotaVerb),
    /// Look after the cluster itself.
    #[command(subcommand)]
    Operator(OperatorVerb),
    /// Run the simulator.
    #[command(subcommand)]
    Sim(SimVerb),
    /// Name clusters and choose between them.
    Context(ContextCommand),
    /// Explain an error code: `berth error E_NO_CAPACITY`.
    Error(ErrorArgs),
    /// Print a completion script: `source <(berth completion bash)`.
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one per verb, into a folder.
    Man {
        /// The folder; made when it is missing.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the versions of this program and of the cluster.
    Version(VersionArgs),
    /// Print the names that fit behind the words of a line; what completion scripts ask.
    #[command(hide = true)]
    CompleteNames {
        /// Print the program's own words that fit there, too: for a shell whose script does not know them.
        #[arg(long)]
        values: bool,
        /// The words before the cursor.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Serve one ONNX file; what nodes run as a replica.
    #[command(hide = true)]
    ServeOnnx(ServeOnnxArgs),
    #[command(flatten)]
    Habit(Habit),
}

/// `berth version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Accepted for kubectl's sake.
    #[arg(long, hide = true)]
    pub(crate) short: bool,
    /// Of this program alone.
    #[arg(long)]
    pub(crate) client: bool,
}

/// `berth node`, with a verb or as the daemon.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeCommand {
    #[command(subcommand)]
    pub(crate) verb: Option<NodeVerb>,
    #[command(flatten)]
    pub(crate) daemon: NodeArgs,
}

/// How long to wait for what was asked for.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WaitArgs {
    /// Return at once instead of waiting until it serves.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait: `90s`, `15m`.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_span)]
    pub(crate) timeout: Duration,
}

/// `berth apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A file, `-` for stdin, or a folder for every YAML file in it; more may follow. Relative paths in a file start at its
    /// folder.
    #[arg(short, long, alias = "filename", required = true)]
    pub(crate) file: Vec<PathBuf>,
    /// Lay FIELD=VALUE over every document.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
    /// Refuse if anything the file describes has changed since `berth plan -f` printed this number.
    #[arg(long, value_name = "N")]
    pub(crate) check_index: Option<u64>,
    /// Refuse mirrors that Azure would: several, more than 50 %, or one that has live traffic.
    #[arg(long)]
    pub(crate) strict_azure: bool,
    /// Do not ask. On a terminal the plan is shown first; elsewhere nobody is asked.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) trial: TrialArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `berth edit`.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// An ENDPOINT or an ENDPOINT/DEPLOYMENT.
    #[arg(value_name = "ENDPOINT[/DEPLOYMENT]", num_args = 1..=2, required = true)]
    pub(crate) of: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
    /// Do not ask. On a terminal the plan is shown first; elsewhere nobody is asked.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `berth label`.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// An ENDPOINT or an ENDPOINT/DEPLOYMENT.
    #[arg(value_name = "ENDPOINT[/DEPLOYMENT]")]
    pub(crate) of: String,
    /// KEY=VALUE sets a tag, KEY- removes one. None: show them.
    #[arg(value_name = "KEY=VALUE|KEY-")]
    pub(crate) changes: Vec<String>,
    /// Replace values that are there already.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Accepted for kubectl's sake: what there is then is always shown.
    #[arg(long, hide = true)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
}

/// What of `kubectl apply` is understood.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TrialArgs {
    /// Only say what would change, as `berth plan -f` does.
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "server", hide_possible_values = true)]
    pub(crate) dry_run: Option<DryRun>,
    /// Accepted for kubectl's sake: the coordinators decide.
    #[arg(long, hide = true)]
    pub(crate) server_side: bool,
    /// Accepted for kubectl's sake.
    #[arg(long, hide = true)]
    pub(crate) force_conflicts: bool,
    /// Accepted for kubectl's sake: every change is an event.
    #[arg(long, hide = true)]
    pub(crate) record: bool,
}

/// Where kubectl tries a file out; here the cluster is always asked, and nothing is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// The same as `server`.
    Client,
    /// Ask the cluster.
    Server,
    /// Do it.
    None,
}

/// `berth events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only those of an ENDPOINT, an ENDPOINT/DEPLOYMENT or a node.
    #[arg(value_name = "OF")]
    pub(crate) of: Option<String>,
    /// The same, as kubectl has it.
    #[arg(long = "for", hide = true, value_name = "OF", conflicts_with = "of")]
    pub(crate) about: Option<String>,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
    /// Go on with what happens.
    #[arg(short, long, visible_alias = "watch", short_alias = 'w')]
    pub(crate) follow: bool,
    /// Only what happened since: `15m`, `1h30m`, or a time as `2026-01-31T14:02:00Z` or `14:02` (UTC).
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_since)]
    pub(crate) since: Option<Since>,
    /// Print rows of Azure's AmlOnlineEndpointEventLog: a line of JSON each.
    #[arg(long)]
    pub(crate) table: bool,
}

/// `berth top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// What to show.
    #[arg(value_enum, default_value_t)]
    pub(crate) what: TopNoun,
    /// Only this node, or those of ENDPOINT or ENDPOINT/DEPLOYMENT.
    #[arg(value_name = "OF")]
    pub(crate) of: Option<String>,
    /// Show it again every two seconds.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// What `berth top` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopNoun {
    /// What each node uses of what it has, the fullest first.
    #[default]
    #[value(aliases = ["node", "no"])]
    Nodes,
    /// What each deployment holds and works on, the busiest first.
    #[value(aliases = ["deployment", "dep", "deploy", "pods", "pod", "po"])]
    Deployments,
}

/// `berth context`.
#[derive(Debug, Args)]
pub(crate) struct ContextCommand {
    #[command(subcommand)]
    pub(crate) verb: Option<ContextVerb>,
}

/// What can be done with contexts; listing them is the default.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// List the contexts; the one in use has a star.
    #[command(visible_alias = "list")]
    Ls,
    /// Use a context from now on.
    Use {
        /// Its name.
        name: String,
    },
    /// Add a context for the coordinators of --api, or change one; --ca, --client-cert and --client-key go with it.
    Set {
        /// Its name.
        name: String,
    },
    /// Remove a context.
    Delete {
        /// Its name.
        name: String,
    },
}

/// `berth error`.
#[derive(Debug, Args)]
pub(crate) struct ErrorArgs {
    /// The code; all are listed without one.
    pub(crate) code: Option<String>,
}

/// `berth tui`.
#[derive(Debug, Args)]
pub(crate) struct TuiArgs {
    /// The screen to begin with: dashboard, endpoints, nodes, events, tree, …
    #[arg(value_name = "SCREEN")]
    pub(crate) screen: Option<String>,
    /// Print a screen as text and end.
    #[arg(long, value_name = "SCREEN", conflicts_with = "screen")]
    pub(crate) once: Option<String>,
    /// Columns and rows of a screen that is printed: 40x8 to 400x1000.
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "100x30", value_parser = parse_size)]
    pub(crate) size: (u16, u16),
    /// Refuse every change.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Take clicks and the wheel; the terminal's own selection of text then needs a modifier such as shift.
    #[arg(long)]
    pub(crate) mouse: bool,
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let expected = "expected COLUMNSxROWS from 40x8 to 400x1000, such as 80x24";
    let (columns, rows) = text.split_once('x').ok_or(expected)?;
    let (columns, rows) = (columns.parse().map_err(|_| expected)?, rows.parse().map_err(|_| expected)?);
    let fits = (40..=400).contains(&columns) && (8..=1_000).contains(&rows);
    if fits { Ok((columns, rows)) } else { Err(expected.to_owned()) }
}

/// `berth mirror`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct MirrorArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<MirrorVerb>,
    #[command(flatten)]
    pub(crate) set: Option<TrafficArgs>,
}

/// `berth mirror …`
#[derive(Debug, Subcommand)]
pub(crate) enum MirrorVerb {
    /// Tell how the mirrors' answers compare with those that callers got.
    Report(MirrorReportArgs),
}

/// `berth mirror report`.
#[derive(Debug, Args)]
pub(crate) struct MirrorReportArgs {
    /// The endpoint.
    pub(crate) endpoint: String,
}

/// `berth traffic` and `berth mirror`.
#[derive(Debug, Args)]
pub(crate) struct TrafficArgs {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// DEPLOYMENT=PERCENT; replaces all shares. None: show them. `none` takes all away.
    #[arg(value_name = "DEPLOYMENT=PERCENT")]
    pub(crate) shares: Vec<String>,
    /// Refuse what Azure would: several mirrors, more than 50 %, or a mirror that has live traffic.
    #[arg(long)]
    pub(crate) strict_azure: bool,
}

/// `berth scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
    /// ENDPOINT/DEPLOYMENT, or an ENDPOINT that has one deployment.
    pub(crate) deployment: String,
    /// How many instances.
    #[arg(required_unless_present = "replicas", value_name = "INSTANCES")]
    pub(crate) instances: Option<u32>,
    /// The same, as kubectl has it.
    #[arg(long, hide = true, conflicts_with = "instances")]
    pub(crate) replicas: Option<u32>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `berth status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// An endpoint, or what `berth describe` takes; the whole cluster when absent.
    pub(crate) endpoint: Option<String>,
    /// Show it again whenever something happens.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// `berth explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A deployment, an endpoint for all of its deployments, or `request` with the ID of one.
    #[arg(value_name = "ENDPOINT[/DEPLOYMENT] | request")]
    pub(crate) of: String,
    /// The `x-request-id` of the answer, or the caller's own `x-ms-client-request-id`.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
}

/// `berth get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to list, several with commas; or one thing, as in `deploy/blue` and `node/n1`.
    #[arg(value_parser = NounOrThing)]
    pub(crate) noun: Asked,
    /// Only those of ENDPOINT or ENDPOINT/DEPLOYMENT; or one replica, by its id or the beginning of it.
    pub(crate) of: Option<String>,
    /// Go on and print what changes.
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) narrow: NarrowArgs,
    /// Print events as rows of Azure's table.
    #[arg(skip)]
    pub(crate) table: bool,
    /// Leave out events before this time.
    #[arg(skip)]
    pub(crate) since_ms: u64,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
}

/// Which items are meant, as kubectl has it: by what they say.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SelectArgs {
    /// Only items whose FIELD is VALUE, as `-o json` names them; several with commas, `!=` for all others.
    #[arg(short = 'l', long = "selector", alias = "field-selector", value_name = "FIELD=VALUE", value_delimiter = ',')]
    pub(crate) select: Vec<String>,
}

/// Which items of a list are shown, in which order, as kubectl has it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NarrowArgs {
    #[command(flatten)]
    pub(crate) only: SelectArgs,
    /// In order of a field that `-o json` shows.
    #[arg(long, value_name = "FIELD")]
    pub(crate) sort_by: Option<String>,
    /// Without the line of headings.
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Whether an empty line stands before the list: others came before it.
    #[arg(skip)]
    pub(crate) apart: bool,
}

// === impl GetArgs ===

impl GetArgs {
    /// What another verb lists.
    pub(crate) fn new(noun: Noun, of: Option<String>, watch: bool, table: bool) -> Self {
        let (noun, narrow) = (Asked { noun, also: Vec::new(), thing: None }, NarrowArgs::default());
        Self { noun, of, watch, narrow, table, since_ms: 0, scope: KubectlScope::default() }
    }
}

/// What `berth get` is asked for: all of a noun, or one thing by its name.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) noun: Noun,
    /// Others that stand behind commas.
    pub(crate) also: Vec<Noun>,
    /// What stands behind a slash: `blue` of `deploy/blue`.
    pub(crate) thing: Option<String>,
}

/// Reads a noun, and a name behind a slash.
#[derive(Clone, Copy, Debug)]
struct NounOrThing;

// === impl NounOrThing ===

impl TypedValueParser for NounOrThing {
    type Value = Asked;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Asked, clap::Error> {
        let text = value.to_str().unwrap_or_default();
        let (word, thing) = match text.split_once('/') {
            Some((word, thing)) if !thing.is_empty() => (OsStr::new(word), Some(thing.to_ascii_lowercase())),
            _ => (value, None),
        };
        let read = |word: &OsStr| EnumValueParser::<Noun>::new().parse_ref(command, arg, word);
        let several = word.to_str().filter(|_| thing.is_none()).unwrap_or_default();
        let Some((first, rest)) = several.split_once(',') else {
            return Ok(Asked { noun: read(word)?, also: Vec::new(), thing });
        };
        let also = rest.split(',').map(|word| read(OsStr::new(word))).collect::<Result<_, _>>()?;
        Ok(Asked { noun: read(OsStr::new(first))?, also, thing })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Noun::value_variants().iter().filter_map(ValueEnum::to_possible_value)))
    }
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Noun {
    /// Endpoints.
    #[value(aliases = ["endpoint", "ep", "online-endpoints", "online-endpoint", "services", "service", "svc"])]
    Endpoints,
    /// Deployments.
    #[value(aliases = ["deployment", "dep", "deploy", "online-deployments", "online-deployment"])]
    Deployments,
    /// Replicas.
    #[value(aliases = ["replica", "rep", "pods", "pod", "po", "instances"])]
    Replicas,
    /// Places held in reserve, and whether an instance would find everything there.
    #[value(aliases = ["slot", "reserve"])]
    Slots,
    /// Nodes.
    #[value(aliases = ["node", "no"])]
    Nodes,
    /// Rollouts: how far each deployment is on its way to its newest generation.
    #[value(aliases = ["rollout", "ro", "rs", "replicasets"])]
    Rollouts,
    /// Events.
    #[value(aliases = ["event", "ev"])]
    Events,
    /// Endpoints, deployments, replicas and nodes.
    All,
}

/// Reads `90s`, `15m`, `2h`, `3d`, `500ms` or plain seconds.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale_ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err("write a time such as `90s`, `15m` or `2h`".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a time such as `90s`, `15m` or `2h`".to_owned())?;
    // A week: longer is a slip of the hand.
    match number.checked_mul(scale_ms) {
        Some(ms) if ms <= 7 * 24 * 3_600_000 => Ok(Duration::from_millis(ms)),
        _ => Err("longer than a week".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_written() {
        for (text, ms) in [
            ("90s", Some(90_000)),
            ("15m", Some(900_000)),
            ("7", Some(7_000)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("3d", Some(259_200_000)),
            ("9d", None),
            ("1w", None),
            ("m", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(parse_span(text).ok(), ms.map(Duration::from_millis), "{text}");
        }
    }

    /// Splits a line of a shell into words, up to where another command begins.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), c) => word.get_or_insert_default().push(c),
                (None, '\'' | '"') => {
                    word.get_or_insert_default();
                    quote = Some(c);
                }
                (None, '#') if word.is_none() => break,
                (None, '|' | '&' | ';' | '>' | '<' | ')') => break,
                (None, ' ') => words.extend(word.take()),
                (None, c) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    /// Every command that a block of the documentation shows can be typed.
    #[test]
    fn the_documentation_shows_verbs_and_flags_that_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut pages = vec![root.join("README.md"), root.join("examples/digits/README.md")];
        for folder in ["docs", "docs/errors"] {
            let listed = std::fs::read_dir(root.join(folder)).expect("a folder");
            pages.extend(listed.map(|entry| entry.expect("an entry").path()));
        }
        let (mut checked, mut wrong) = (0, Vec::new());
        for page in pages.iter().filter(|page| page.extension().is_some_and(|end| end == "md")) {
            // A line that goes on below is one.
            let text = std::fs::read_to_string(page).expect("a page").replace("\\\n", " ");
            let mut is_inside = false;
            for line in text.lines() {
                if line.starts_with("```") {
                    is_inside = !is_inside;
                    continue;
                }
                let command = line.split_once("$ ").map_or(line, |(_, rest)| rest);
                // What a container runs, behind the name of its image or its own.
                let inner = ["docker run ", "docker exec "].iter().any(|begin| command.starts_with(begin));
                let inner = inner.then(|| command.rfind(" berth ")).flatten();
                let command = inner.map_or(command, |at| &command[at + 1..]);
                if !is_inside || !command.starts_with("berth ") || command.contains('…') {
                    continue;
                }
                let words = words(command);
                // The first line of a screen begins with the program's name, too.
                if words.get(1).is_some_and(|word| word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit())) {
                    continue;
                }
                checked += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    wrong.push(format!("{}: {command}\n  {error}", page.display()));
                }
            }
        }
        assert!(checked > 80, "{checked} commands");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn azures_spellings_are_understood() {
        for line in [
            "berth online-endpoint create --name fraud -f e.yml --set auth_mode=key",
            "berth endpoint create -n fraud",
            "berth endpoint update -n fraud --traffic blue=90",
            "berth endpoint update --name fraud --mirror-traffic green=10",
            "berth endpoint invoke --name fraud --request-file r.json --deployment-name blue",
            "berth endpoint delete --name fraud --yes --no-wait",
            "berth endpoint regenerate-keys -n fraud --key-type primary",
            "berth deployment create --name blue --endpoint-name fraud -f b.yml --all-traffic",
            "berth deployment create --name blue --endpoint fraud -f b.yml --all-traffic",
            "berth deployment get-logs -n blue -e fraud --lines 50",
            "berth deployment update -n blue -e fraud --set instance_count=2",
            "berth deployment delete fraud/blue -y",
            "berth deployment list --endpoint-name fraud",
            "berth get rep fraud/blue -o json",
            "berth get ev -w",
            "berth node ls",
            "berth node --name n1 --coordinators 127.0.0.1:7400",
            "berth node --pip-args --no-index,--find-links,/wheels",
            "berth dev --coordinators 3 --nodes 3 --api 127.0.0.1:0 --ingress 127.0.0.1:0 --fresh",
            "berth coordinator --api 127.0.0.1:7400 --bootstrap-expect 3 --peers a:1,b:2",
            "berth operator raft list-peers",
            "berth operator snapshot save /tmp/x",
            "berth logs fraud/blue -f --tail 10",
            "berth sim cluster day.yml --svg day.svg",
            "berth plan -f a.yml -f b.yml --set instance_count=2",
            "berth plan --lose node-1 --lose node-2 --spike fraud=5x --add 2xcpu=8,memory=32GiB --drain node-3 --steps",
            "berth apply -f a.yml --check-index 42",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }
}
