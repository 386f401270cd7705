//! The daemons, the development cluster and the demo.
//!
//! A daemon's flags are texts here: they are read together with variables and the configuration file, so that every
//! problem of all three is told at once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use berth_coordinator::AlertReceiver;
use berth_node::mesh::TlsFiles;

use super::parse_span;
use crate::config::Layer;

/// `berth dev`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArgs {
    /// What is wanted of a cluster that runs.
    #[command(subcommand)]
    pub(crate) verb: Option<DevVerb>,
    /// How many coordinators: 1, 3 or 5.
    #[arg(long, default_value_t = 1)]
    pub(crate) coordinators: usize,
    /// How many nodes.
    #[arg(long, default_value_t = 2)]
    pub(crate) nodes: usize,
    /// Where everything is kept; `~/.local/state/berth/dev` when absent.
    #[arg(long, env = "BERTH_DEV_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where callers reach the first node; the others take free ports.
    #[arg(long, default_value = "127.0.0.1:7480")]
    pub(crate) ingress: SocketAddr,
    /// The certificate that callers of every node are shown, in PEM; plain HTTP when absent.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let every node pretend to have GPUs: `2x80GiB:H100`, several groups with commas, slices as `1x80GiB:H100/7x1g.10gb`.
    #[arg(long, value_name = "GPUS")]
    pub(crate) fake_gpus: Option<String>,
    /// Forget what an earlier run left in the data directory.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// The Python that environments are built with.
    #[arg(long, env = "BERTH_DEV_PYTHON", default_value = "python3")]
    pub(crate) python: PathBuf,
    /// Arguments for every `pip install`, with commas.
    #[arg(long, env = "BERTH_PIP_ARGS", value_name = "ARGS", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) pip_args: Vec<String>,
    /// Where the first node's metrics are read (`/metrics`); the others take free ports. 127.0.0.1:7482 when absent and the
    /// ingress is where it usually is.
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// The collector that gets traces, all of them, and metrics as OTLP over gRPC: `http://127.0.0.1:4317`.
    #[arg(long, value_name = "URL", value_parser = crate::config::parse_collector)]
    pub(crate) otlp: Option<tonic::transport::Endpoint>,
    /// What to log to stderr: error, warn, info, debug, or a filter.
    #[arg(long, env = "BERTH_LOG", default_value = "warn,openraft=error")]
    pub(crate) log: String,
    /// Who is told of alerts by a POST of JSON in Alertmanager's shape; may be given several times.
    #[arg(long, value_name = "NAME=URL", value_parser = AlertReceiver::webhook)]
    pub(crate) alert_webhook: Vec<AlertReceiver>,
    /// Who is told of alerts by a program that reads the same JSON; may be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = AlertReceiver::exec)]
    pub(crate) alert_program: Vec<AlertReceiver>,
    /// Allow listening beyond loopback although there is no TLS.
    #[arg(long)]
    pub(crate) insecure: bool,
}

// === impl DevArgs ===

impl DevArgs {
    /// Lists everybody who is told of alerts.
    pub(crate) fn alert_receivers(&self) -> Vec<AlertReceiver> {
        self.alert_webhook.iter().chain(&self.alert_program).cloned().collect()
    }
}

/// `berth dev …`
#[derive(Debug, Subcommand)]
pub(crate) enum DevVerb {
    /// Lose a node of the development cluster: its agent and its replicas end at once, as with its host.
    Kill(DevNodeArgs),
    /// Start a node that was killed again, on its data.
    Start(DevNodeArgs),
}

/// A node of a development cluster.
#[derive(Debug, Args)]
pub(crate) struct DevNodeArgs {
    /// The node.
    pub(crate) node: String,
    /// Where the cluster keeps everything; `~/.local/state/berth/dev` when absent.
    #[arg(long, env = "BERTH_DEV_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `berth doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Where a node would keep its data.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/berth")]
    pub(crate) data_dir: PathBuf,
    /// The Python that environments would be built with.
    #[arg(long, default_value = "python3")]
    pub(crate) python: PathBuf,
    /// The NVML library, when it is not where the loader looks.
    #[arg(long, value_name = "FILE")]
    pub(crate) nvml_lib: Option<PathBuf>,
    /// What a node would show to coordinators: says whether it lets one join, and for how long.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The certificate that callers would be shown, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The certificate that other nodes would be shown, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["peer_key", "peer_ca"])]
    pub(crate) peer_cert: Option<PathBuf>,
    /// That certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "peer_cert")]
    pub(crate) peer_key: Option<PathBuf>,
    /// The authority that signs the certificates of nodes, in PEM.
    #[arg(long, value_name = "FILE", requires = "peer_cert")]
    pub(crate) peer_ca: Option<PathBuf>,
    /// The configuration file of the daemons that would run here: it is looked at where they would listen.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where a node would be reached by callers, when that is not what the file or the default says.
    #[arg(long, value_name = "ADDR")]
    pub(crate) ingress: Option<String>,
    /// Where a node would be reached by other nodes.
    #[arg(long, value_name = "ADDR")]
    pub(crate) gate: Option<String>,
    /// Where a node's metrics would be read.
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<String>,
}

/// Pairs a certificate with its key, or says which of the two is missing.
pub(crate) fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, &'static str> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err("--tls-key"),
        (None, Some(_)) => Err("--tls-cert"),
    }
}

/// `berth demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where everything is put; a temporary folder when absent.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Images sent per second.
    #[arg(long, default_value_t = 20)]
    pub(crate) rate: u64,
    /// How long a deployment may take to serve; the first one builds a Python environment.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_span)]
    pub(crate) timeout: Duration,
}

macro_rules! daemon_args {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag:meta])* $field:ident: $value:literal,)* } bools { $($(#[$switch_doc:meta])* $switch:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Args)]
        pub(crate) struct $name {
            /// A TOML file with any of these settings.
            #[arg(long, value_name = "FILE")]
            pub(crate) config: Option<PathBuf>,
            $($(#[$flag])* #[arg(long, value_name = $value)] $field: Option<String>,)*
            $($(#[$switch_doc])* #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")] $switch: Option<String>,)*
        }

        impl $name {
            /// Returns what was given as flags.
            pub(crate) fn layer(&self) -> Layer {
                let given = [
                    $((stringify!($field), self.$field.clone()),)*
                    $((stringify!($switch), self.$switch.clone()),)*
                ];
                Layer::flags(given.into_iter().filter_map(|(name, text)| Some((name, text?))))
            }
        }
    };
}

daemon_args! {
    /// `berth coordinator`.
    CoordinatorArgs {
        /// Where its data is kept.
        data_dir: "DIR",
        /// Where others reach it, when that is not where it listens; https://HOST:PORT with `tls_cert`.
        advertise: "HOST:PORT",
        /// The certificate that callers are shown, in PEM with those that lead to its issuer; plain HTTP when absent. It is for
        /// the host of `advertise`, and other members are shown it too.
        tls_cert: "FILE",
        /// The certificate's key, in PEM.
        tls_key: "FILE",
        /// The authority of callers, in PEM: only who has a certificate of it reaches this coordinator; anybody when absent.
        tls_client_ca: "FILE",
        /// Forms a cluster with this many members in all.
        bootstrap_expect: "N",
        /// Addresses of all members that form the cluster, with commas.
        peers: "ADDRS",
        /// Joins the cluster of these members, with commas.
        join: "ADDRS",
        /// The cluster key; the first member of a new cluster makes it.
        cluster_key: "FILE",
        /// The file that gets a row of JSON per event of the cluster, rotated by size; none when absent.
        event_log: "FILE",
        /// The collector that gets metrics as OTLP over gRPC: `http://127.0.0.1:4317`; none when absent.
        otlp: "URL",
        /// The largest asset that may be uploaded.
        asset_max: "SIZE",
        /// Who is told of alerts by a POST of JSON in Alertmanager's shape: `pager=https://…`, with commas; the same on every
        /// coordinator.
        alert_webhooks: "NAME=URL",
        /// Who is told of alerts by a program that reads the same JSON: `ops=/usr/local/bin/tell`, with commas.
        alert_programs: "NAME=FILE",
        /// How log lines look: text or json.
        log_format: "FORMAT",
        /// What to log: error, warn, info, debug, or a filter.
        log: "LEVEL",
    }
    bools {
        /// Allows listening beyond loopback without mutual TLS.
        insecure,
    }
}

daemon_args! {
    /// `berth node`.
    NodeArgs {
        /// Its name; the host's name when absent.
        name: "NAME",
        /// Where its data is kept.
        data_dir: "DIR",
        /// Coordinators, with commas; https://HOST:PORT where they speak TLS.
        coordinators: "ADDRS",
        /// What the coordinators' authority hashes to, as `berth node join-command` prints it: where its file is not there it is
        /// asked for, and believed only if it fits.
        ca_hash: "sha256:HEX",
        /// A file with the node token, which every coordinator keeps in its data directory.
        token_file: "FILE",
        /// Where callers reach it.
        ingress: "ADDR",
        /// Where other nodes reach it.
        gate: "ADDR",
        /// Where its metrics are read (`/metrics`, `/healthz`); nowhere when absent.
        metrics: "ADDR",
        /// The host by which others reach it, when that is not where it listens; `auto` is its address towards the
        /// coordinators.
        advertise: "HOST",
        /// The domain under which a host name is an endpoint's name.
        domain: "DOMAIN",
        /// What it has, instead of what is measured: `cpu=8,memory=32GiB,disk=100GiB,gpu=1`.
        capacity: "AMOUNTS",
        /// Labels: `zone=a,rack=12`.
        labels: "LABELS",
        /// Threads of the request path; as many as there are cores when absent.
        mesh_cores: "N",
        /// The file that gets a line of JSON per request, rotated by size; none when absent.
        access_log: "FILE",
        /// The file that gets a row of JSON per line that a replica writes, with its time, rotated by size; none when absent.
        console_log: "FILE",
        /// The certificate that callers are shown, in PEM with those that lead to its issuer; plain HTTP when absent.
        tls_cert: "FILE",
        /// The certificate's key, in PEM.
        tls_key: "FILE",
        /// The certificate that other nodes are shown, in PEM, for `node.berth`; gates speak plain HTTP/2 when absent.
        peer_cert: "FILE",
        /// That certificate's key, in PEM.
        peer_key: "FILE",
        /// The authority that signs the certificates of nodes, in PEM; only they reach a gate.
        peer_ca: "FILE",
        /// The collector that gets traces and metrics as OTLP over gRPC: `http://127.0.0.1:4317`; none when absent.
        otlp: "URL",
        /// How many percent of the traces that begin here are kept; callers that sample decide for their own.
        trace_percent: "PERCENT",
        /// The NVML library, when it is not where the loader looks.
        nvml_lib: "FILE",
        /// The Python that environments are built with.
        python: "PROGRAM",
        /// Arguments for every `pip install`, with commas.
        #[arg(allow_hyphen_values = true)]
        pip_args: "ARGS",
        /// The largest model cache.
        cache_max: "SIZE",
        /// Where Python environments are kept; nodes of one host may share it.
        env_dir: "DIR",
        /// When asked to end, first hand the replicas over to other nodes, for as long as this at most: `2m`.
        drain_on_stop: "TIME",
        /// How log lines look: text or json.
        log_format: "FORMAT",
        /// What to log: error, warn, info, debug, or a filter.
        log: "LEVEL",
    }
    bools {
        /// Ends its replicas when it ends; they outlive it otherwise, and it adopts them when it is back.
        end_replicas,
        /// Takes over from the process that runs on the same data directory, if there is one: its listening sockets and
        /// its replicas, without a request lost. That one ends what it has under way and then itself.
        take_over,
        /// Allows listening beyond loopback although there is no TLS.
        insecure,
    }
}
