//! Verbs about nodes, the cluster, and the simulator.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use berth_core::schedule::pack::Policy;
use clap::{Args, Subcommand};

/// How long requests may go on at a node that is drained, where nobody says otherwise.
pub(crate) const DRAIN_DEADLINE: &str = "5m";

/// `berth node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List nodes.
    #[command(visible_alias = "list")]
    Ls {
        /// Go on and print what changes.
        #[arg(short, long)]
        watch: bool,
    },
    /// Show a node and what runs on it.
    Status {
        /// The node.
        node: String,
    },
    /// Keep new replicas away from a node.
    Cordon {
        /// The node.
        node: String,
    },
    /// Let new replicas come to a node again.
    Uncordon {
        /// The node.
        node: String,
    },
    /// Empty a node: others take over from its replicas first, then each finishes its requests and ends.
    Drain(DrainArgs),
    /// Walk the fleet: drain a node, have it upgraded, wait until it is back, go on with the next.
    Upgrade(UpgradeArgs),
    /// Print the one line that makes another machine a node of this cluster.
    JoinCommand(super::JoinArgs),
    /// Forget a node that is lost for good.
    Forget {
        /// The node.
        node: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// `berth node upgrade …`
#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The nodes, in this order.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) nodes: Vec<String>,
    /// Every node, in order of name.
    #[arg(long)]
    pub(crate) all: bool,
    /// What upgrades an empty node: a shell command, run here with BERTH_NODE and BERTH_NODE_GATE set. Without one, a
    /// person restarts the agent.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) hook: Option<String>,
    /// Pass over nodes whose agent already has this version.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<String>,
    /// How long requests may go on before they are cut.
    #[arg(long, value_name = "TIME", default_value = DRAIN_DEADLINE, value_parser = super::parse_span)]
    pub(crate) deadline: Duration,
    /// How long a node may take to come back.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::parse_span)]
    pub(crate) back_within: Duration,
    /// Take the lock from somebody who no longer walks.
    #[arg(long)]
    pub(crate) steal: bool,
    /// Only say what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `berth node drain …`
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The node.
    pub(crate) node: String,
    /// How long requests may go on before they are cut.
    #[arg(long, alias = "timeout", value_name = "TIME", default_value = DRAIN_DEADLINE, value_parser = super::parse_span)]
    pub(crate) deadline: Duration,
    /// Accepted for kubectl's sake: there are no daemon sets and no volumes.
    #[arg(long, hide = true)]
    pub(crate) ignore_daemonsets: bool,
    /// Accepted for kubectl's sake.
    #[arg(long, hide = true)]
    pub(crate) delete_emptydir_data: bool,
    /// Why, for those who look later.
    #[arg(short = 'm', long = "message", default_value = "", hide_default_value = true)]
    pub(crate) why: String,
    /// At the deadline, end also replicas that fit nowhere else.
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not wait until it is empty.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Withdraw the drain; the node takes replicas again.
    #[arg(long, conflicts_with_all = ["deadline", "why", "force", "no_wait"])]
    pub(crate) cancel: bool,
}

/// `berth operator …`
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorVerb {
    /// Look after the coordinators.
    #[command(subcommand)]
    Raft(RaftVerb),
    /// Keep copies of the state.
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Say how well the coordinators are, and how many of them may be lost.
    #[command(subcommand)]
    Autopilot(AutopilotVerb),
    /// Run every invariant over the state.
    Check,
    /// Look at what holds for the whole cluster, or change it.
    #[command(subcommand)]
    Settings(SettingsVerb),
}

/// `berth operator autopilot …`
#[derive(Debug, Subcommand)]
pub(crate) enum AutopilotVerb {
    /// Ask every coordinator whether it answers, and in which term it is.
    Health,
}

/// `berth operator settings …`
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsVerb {
    /// Show every setting and its default.
    Show,
    /// Change settings; what is not named stays.
    Set(Box<SettingsArgs>),
}

/// `berth operator settings set`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct SettingsArgs {
    /// Silence after which a node gets no new replicas.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) suspect_after: Option<Duration>,
    /// Silence after which a node's replicas are replaced.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) lost_after: Option<Duration>,
    /// How long a crashed agent has to come back before its replicas are replaced.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) restart_grace: Option<Duration>,
    /// Share of nodes that may fall silent together before the coordinator suspects itself.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) brake_percent: Option<u64>,
    /// Nodes that may always fall silent together.
    #[arg(long, value_name = "COUNT")]
    pub(crate) brake_floor: Option<u64>,
    /// Within what time they count as falling silent together.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) brake_window: Option<Duration>,
    /// Returns of a node in a row after which it is no longer taken at its word.
    #[arg(long, value_name = "COUNT")]
    pub(crate) returns_free: Option<u64>,
    /// Time without a return after which the earlier ones are forgotten.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) returns_window: Option<Duration>,
    /// How long a node that returned too often must be heard before anything new is placed on it; doubles with each.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) return_hold: Option<Duration>,
    /// The longest such wait.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) return_hold_max: Option<Duration>,
    /// How long a GPU's driver may not answer before nothing new is placed on it.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) device_silent: Option<Duration>,
    /// How long a GPU must pass its self-test after a first fault; each fault in a row quadruples it.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) device_probation: Option<Duration>,
    /// Faults in a row after which a GPU has failed.
    #[arg(long, value_name = "COUNT")]
    pub(crate) device_strikes_max: Option<u64>,
    /// How long a failed GPU stays out, and how long without a fault makes the next one a first one.
    #[arg(long, value_name = "TIME", value_parser = super::parse_span)]
    pub(crate) device_failed: Option<Duration>,
    /// Go back to the defaults with everything that is not named.
    #[arg(long)]
    pub(crate) reset: bool,
}

/// `berth operator raft …`
#[derive(Debug, Subcommand)]
pub(crate) enum RaftVerb {
    /// List the coordinators.
    ListPeers,
    /// Hand leadership over.
    TransferLeadership {
        /// The coordinator's id, or the beginning of it; any other voter when absent.
        #[arg(long)]
        id: Option<String>,
    },
    /// Add a coordinator that runs and waits to join.
    AddPeer {
        /// Its id.
        #[arg(long)]
        id: String,
        /// Its address.
        #[arg(long)]
        address: String,
    },
    /// Remove a coordinator for good.
    RemovePeer {
        /// Its id, or the beginning of it.
        #[arg(long)]
        id: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// `berth operator snapshot …`
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotVerb {
    /// Write the whole state to a file.
    Save {
        /// The file; it must not exist yet.
        file: PathBuf,
    },
    /// Say what a saved state holds, without any cluster.
    Inspect {
        /// A file that `save` wrote.
        file: PathBuf,
    },
    /// Make a coordinator's data directory of a saved state: for a cluster that has lost all of its coordinators for good.
    Restore(RestoreArgs),
}

/// `berth operator snapshot restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A file that `save` wrote.
    pub(crate) file: PathBuf,
    /// The data directory to make; it may hold `cluster.key` and `artifacts/` of a lost member, and no `raft/`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The cluster key that the lost coordinators had; `cluster.key` in the data directory when absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_key: Option<PathBuf>,
    /// Where the coordinator will be reached.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7400")]
    pub(crate) advertise: String,
    /// Do not ask whether the lost coordinators are lost for good.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `berth sim …`
#[derive(Debug, Subcommand)]
pub(crate) enum SimVerb {
    /// Run one seed.
    Run(SimRunArgs),
    /// Run many seeds until one breaks an invariant.
    Swarm(SimSwarmArgs),
    /// Pack a trace of work with GPUs onto its hosts by a policy, and print how much of the devices it hands out.
    Pack(SimPackArgs),
    /// Say how many nodes a described fleet and load need, and why not one fewer. Exit codes: 0 it fits, 1 it does not, 255
    /// no answer.
    Cluster(SimClusterArgs),
}

/// `berth sim cluster`.
#[derive(Debug, Args)]
pub(crate) struct SimClusterArgs {
    /// The description; `examples/sim` has some.
    pub(crate) file: PathBuf,
    /// Draw what is used, reserved and free over time into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// What any simulation takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SimArgs {
    /// Coordinators; drawn from the seed when absent.
    #[arg(long)]
    pub(crate) members: Option<usize>,
    /// Nodes; drawn from the seed when absent.
    #[arg(long)]
    pub(crate) nodes: Option<usize>,
    /// Simulated seconds of changes and faults.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Whether faults happen; drawn from the seed when absent.
    #[arg(long)]
    pub(crate) faults: Option<bool>,
    /// A bug to plant, to see it caught.
    #[arg(long)]
    pub(crate) bug: Option<String>,
}

/// `berth sim pack`.
#[derive(Debug, Args)]
pub(crate) struct SimPackArgs {
    /// Hosts as CSV: cpu_milli, memory_mib, gpu, model.
    #[arg(long, value_name = "CSV")]
    pub(crate) nodes: PathBuf,
    /// Work as CSV: cpu_milli, memory_mib, num_gpu, gpu_milli, gpu_spec.
    #[arg(long, value_name = "CSV")]
    pub(crate) pods: PathBuf,
    /// random, best-fit, fgd (Weng et al., USENIX ATC 2023) or berth.
    #[arg(long, default_value_t, value_parser = parse_policy)]
    pub(crate) policy: Policy,
    /// The seed of the order in which work arrives, and of ties.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// How much arrives, against all devices: 0.1 to 10.
    #[arg(long, default_value = "1.3", value_parser = parse_permille)]
    pub(crate) inflate: u64,
}

fn parse_policy(text: &str) -> Result<Policy, String> {
    let words: Vec<_> = Policy::ALL.iter().map(|policy| policy.word()).collect();
    text.parse().map_err(|()| format!("the policies are {}", words.join(", ")))
}

/// Reads a factor such as `1.3` into thousandths.
fn parse_permille(text: &str) -> Result<u64, String> {
    let expected = "expected a factor from 0.1 to 10, such as 1.3";
    // A factor and a number of cores are written alike; `m` means something of cores alone.
    let permille = berth_core::units::parse_cpu_milli(text).ok().filter(|_| !text.ends_with('m')).ok_or(expected)?;
    if (100..=10_000).contains(&permille) { Ok(permille) } else { Err(expected.to_owned()) }
}

/// `berth sim run`.
#[derive(Debug, Args)]
pub(crate) struct SimRunArgs {
    /// The seed.
    #[arg(long)]
    pub(crate) seed: u64,
    /// Stop after this many events.
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    #[command(flatten)]
    pub(crate) sim: SimArgs,
}

/// `berth sim swarm`.
#[derive(Debug, Args)]
pub(crate) struct SimSwarmArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    pub(crate) seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    pub(crate) first: u64,
    #[command(flatten)]
    pub(crate) sim: SimArgs,
}

/// `berth serve-onnx`.
#[derive(Debug, Args)]
pub(crate) struct ServeOnnxArgs {
    /// The model.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// The name it is listed under.
    #[arg(long)]
    pub(crate) model_name: String,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Where to listen.
    #[arg(long)]
    pub(crate) port: u16,
    /// Inferences at one time.
    #[arg(long)]
    pub(crate) workers: Option<usize>,
}
