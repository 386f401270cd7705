//! What a node is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_core::{address, error::Error, join::CaHash, model::NodeName};
use berth_node::{
    capacity::CapacityOverride,
    mesh::{PeerFiles, TlsFiles},
};
use berth_proto::tls::TrustFiles;

use super::{
    DEFAULT_LOG, Layer, LogConfig, Schema, parse, parse_bool, parse_bytes, parse_collector, parse_list, parse_listen,
    parse_trace_share, read_layers,
};

/// Every setting of a node.
pub(super) const NODE: Schema = Schema {
    section: "node",
    prefix: "BERTH_NODE_",
    names: &[
        ("name", ""),
        ("data_dir", "/var/lib/berth/node"),
        ("coordinators", "127.0.0.1:7400"),
        ("ca", ""),
        ("ca_hash", ""),
        ("client_cert", ""),
        ("client_key", ""),
        ("token_file", ""),
        ("ingress", "127.0.0.1:7480"),
        ("gate", "127.0.0.1:7481"),
        ("metrics", ""),
        ("advertise", ""),
        ("domain", "localhost"),
        ("capacity", ""),
        ("labels", ""),
        ("mesh_cores", ""),
        ("access_log", ""),
        ("console_log", ""),
        ("tls_cert", ""),
        ("tls_key", ""),
        ("peer_cert", ""),
        ("peer_key", ""),
        ("peer_ca", ""),
        ("otlp", ""),
        ("trace_percent", "1"),
        ("nvml_lib", ""),
        ("python", "python3"),
        ("pip_args", ""),
        ("cache_max", ""),
        ("env_dir", ""),
        ("drain_on_stop", ""),
        ("end_replicas", "false"),
        ("take_over", "false"),
        ("insecure", "false"),
        ("log_format", "text"),
        ("log", DEFAULT_LOG),
    ],
};

/// A node's settings, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct NodeConfig {
    /// Its name.
    pub(crate) name: NodeName,
    /// Where its data is kept.
    pub(crate) data_dir: PathBuf,
    /// Coordinators.
    pub(crate) coordinators: Vec<String>,
    /// Whose certificates are believed of coordinators, and what they are shown.
    pub(crate) trust: Option<TrustFiles>,
    /// What the authority of the coordinators hashes to, where its file has yet to be asked for.
    pub(crate) ca_hash: Option<CaHash>,
    /// The file with the node token.
    pub(crate) token_file: PathBuf,
    /// Where callers reach it.
    pub(crate) ingress: SocketAddr,
    /// Where other nodes reach it.
    pub(crate) gate: SocketAddr,
    /// Where its metrics are read; nowhere when absent.
    pub(crate) metrics: Option<SocketAddr>,
    /// The host by which others reach it.
    pub(crate) advertise: Option<String>,
    /// The domain under which a host name is an endpoint's name.
    pub(crate) domain: String,
    /// What it has, instead of what is measured.
    pub(crate) capacity: Option<CapacityOverride>,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Threads of the request path.
    pub(crate) mesh_cores: Option<usize>,
    /// The file that gets a line per request.
    pub(crate) access_log: Option<PathBuf>,
    /// The file that gets a row per line that a replica writes.
    pub(crate) console_log: Option<PathBuf>,
    /// The certificate callers are shown, and its key.
    pub(crate) tls: Option<TlsFiles>,
    /// What nodes show each other.
    pub(crate) peers: Option<PeerFiles>,
    /// Where traces and metrics are sent.
    pub(crate) otlp: Option<tonic::transport::Endpoint>,
    /// How many of a hundred thousand traces that begin here are kept.
    pub(crate) trace_share: u32,
    /// The NVML library.
    pub(crate) nvml_lib: Option<PathBuf>,
    /// The Python that environments are built with.
    pub(crate) python: PathBuf,
    /// Arguments for `pip install`.
    pub(crate) pip_args: Vec<String>,
    /// The largest model cache.
    pub(crate) cache_max_bytes: Option<u64>,
    /// Where Python environments are kept; below the data directory when absent.
    pub(crate) env_dir: Option<PathBuf>,
    /// How long its replicas may take to be handed over when it is asked to end.
    pub(crate) drain_on_stop: Option<Duration>,
    /// Whether it ends its replicas when it ends.
    pub(crate) end_replicas: bool,
    /// Whether it takes over from the process that runs.
    pub(crate) take_over: bool,
    /// Whether it may listen beyond loopback.
    pub(crate) insecure: bool,
    /// How it logs.
    pub(crate) log: LogConfig,
}

/// Reads a node's settings from all sources.
pub(crate) fn node(flags: Layer, file: Option<&Path>) -> Result<NodeConfig, Error> {
    read(read_layers(NODE, flags, file)?, &host_name)
}

pub(super) fn read(mut from: super::Reader, host_name: &dyn Fn() -> Option<NodeName>) -> Result<NodeConfig, Error> {
    let name = match from.text("name") {
        Some(_) => from.optional("name", parse::<NodeName>),
        None => {
            let name = host_name();
            if name.is_none() {
                from.problems.add_try("--name", "this host has no name that fits", "--name NAME");
            }
            name
        }
    };
    let data_dir = from.required("data_dir", "", |text| Ok(PathBuf::from(text)));
    let coordinators = from.required("coordinators", "", parse_list);
    let token_file = from.required(
        "token_file",
        "copy `node.token` from a coordinator's data directory and name the copy",
        |text| Ok(PathBuf::from(text)),
    );
    let ingress = from.required("ingress", "", parse_listen);
    let gate = from.required("gate", "", parse_listen);
    let metrics = from.optional("metrics", parse_listen);
    let advertise = from.optional("advertise", |text| Ok(text.to_owned()));
    let domain = from.required("domain", "", |text| Ok(text.to_owned()));
    let capacity = from.optional("capacity", parse::<CapacityOverride>);
    let labels = from.optional("labels", parse_labels).unwrap_or_default();
    let mesh_cores = from.optional("mesh_cores", parse::<usize>);
    let tls = from.certificate(["tls_cert", "tls_key"]);
    let ca = from.optional("ca", |text| Ok(PathBuf::from(text)));
    let own = from.certificate(["client_cert", "client_key"]);
    let ca_hash = from.optional("ca_hash", parse::<CaHash>);
    if ca.is_none() && ca_hash.is_none() && own.is_some() {
        from.problems.add_try("--ca", "is missing beside the certificate for coordinators", "--ca FILE");
    }
    if ca_hash.is_some() && !coordinators.iter().flatten().any(|one| address::is_tls(one)) {
        let what = "no coordinator is called over TLS, so none has an authority to ask for";
        from.problems.add_try("--ca-hash", what, "write --coordinators https://HOST:PORT");
    }
    // One that is asked for is kept where the node keeps what is its own.
    let asked_for = ca_hash.as_ref().and(data_dir.as_ref()).map(|dir| dir.join("ca.pem"));
    let ca = ca.or(asked_for);
    let trust = ca.map(|ca| TrustFiles { ca, own });
    let peers = ["peer_cert", "peer_key", "peer_ca"].map(|name| from.optional(name, |text| Ok(PathBuf::from(text))));
    let peers = match peers {
        [Some(cert), Some(key), Some(ca)] => Some(PeerFiles { own: TlsFiles { cert, key }, ca }),
        [None, None, None] => None,
        _ => {
            let what = "a certificate, its key and its authority go together";
            from.problems.add_try("peer_cert", what, "name `peer_cert`, `peer_key` and `peer_ca`");
            None
        }
    };
    let access_log = from.optional("access_log", |text| Ok(PathBuf::from(text)));
    let console_log = from.optional("console_log", |text| Ok(PathBuf::from(text)));
    let otlp = from.optional("otlp", parse_collector);
    let trace_share = from.required("trace_percent", "", parse_trace_share);
    let nvml_lib = from.optional("nvml_lib", |text| Ok(PathBuf::from(text)));
    let python = from.required("python", "", |text| Ok(PathBuf::from(text)));
    let pip_args = from.optional("pip_args", parse_list).unwrap_or_default();
    let cache_max_bytes = from.optional("cache_max", parse_bytes);
    let env_dir = from.optional("env_dir", |text| Ok(PathBuf::from(text)));
    let drain_on_stop = from.optional("drain_on_stop", crate::args::parse_span);
    let end_replicas = from.required("end_replicas", "", parse_bool);
    let take_over = from.required("take_over", "", parse_bool);
    let insecure = from.required("insecure", "", parse_bool);
    let log = from.log();
    from.finish()?;
    let unread = || Error::new(berth_core::error::Code::Internal, "a setting without problems was not read");
    Ok(NodeConfig {
        name: name.ok_or_else(unread)?,
        data_dir: data_dir.ok_or_else(unread)?,
        coordinators: coordinators.ok_or_else(unread)?,
        trust,
        ca_hash,
        token_file: token_file.ok_or_else(unread)?,
        ingress: ingress.ok_or_else(unread)?,
        gate: gate.ok_or_else(unread)?,
        metrics,
        advertise,
        domain: domain.ok_or_else(unread)?,
        capacity,
        labels,
        mesh_cores,
        access_log,
        console_log,
        tls,
        peers,
        otlp,
        trace_share: trace_share.ok_or_else(unread)?,
        nvml_lib,
        python: python.ok_or_else(unread)?,
        pip_args,
        cache_max_bytes,
        env_dir,
        drain_on_stop,
        end_replicas: end_replicas.ok_or_else(unread)?,
        take_over: take_over.ok_or_else(unread)?,
        insecure: insecure.ok_or_else(unread)?,
        log,
    })
}

/// Reads `zone=a,rack=12`.
pub(super) fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |item: String| match item.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("`{item}` is not LABEL=VALUE")),
    };
    parse_list(text)?.into_iter().map(pair).collect()
}

/// Returns the host's name, when it can be a node's.
fn host_name() -> Option<NodeName> {
    NodeName::new(std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim()).ok()
}
