//! What a node is told at start. One source for every default.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use berth_core::{
    address,
    agent::Timing,
    defaults::DEFAULTS,
    error::{Code, Error, Problems},
    model::NodeName,
};
use berth_proto::tls::TrustFiles;

use crate::{
    capacity::CapacityOverride,
    mesh::{PeerFiles, TlsFiles},
};

/// Bytes a log file of a replica may reach before it is rotated: some hours of a talkative model.
const LOG_MAX_BYTES: u64 = 16 << 20;
/// Rotated files that are kept beside the current one.
const LOG_FILES: usize = 3;
/// Bytes of assets nothing refers to that are kept for the next deployment.
const CACHE_MAX_BYTES: u64 = 20 << 30;
/// How long streams may go on in a process that was succeeded: longer than answers of a model take.
const FINISH_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Variables of the agent's own environment that its children may see. An allow-list: the agent's variables may hold
/// secrets, and a replica runs somebody else's code.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "CUDA_HOME",
    "PYENV_ROOT",
    "PYENV_VERSION",
];
/// Families of such variables.
const INHERITED_PREFIXES: &[&str] = &["LC_", "PIP_", "NVIDIA_", "OMP_", "MKL_"];

/// Text that must never be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How to run a node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name in the cluster.
    pub name: NodeName,
    /// Everything it keeps.
    pub data_dir: PathBuf,
    /// Coordinators, `host:port`, or `https://host:port` where they speak TLS; any members will do.
    pub coordinators: Vec<String>,
    /// Whose certificates are believed of coordinators at `https://`, and what they are shown.
    pub trust: Option<TrustFiles>,
    /// What it shows to coordinators.
    pub token: Secret,
    /// Where callers reach it.
    pub ingress: SocketAddr,
    /// Where other nodes reach it.
    pub gate: SocketAddr,
    /// The host under which others reach it; the bound addresses when absent.
    pub advertise: Option<String>,
    /// Whether it may listen beyond loopback without TLS.
    pub insecure: bool,
    /// Domain under which a host name is an endpoint name.
    pub domain: String,
    /// Threads of the data side; zero takes one per core.
    pub mesh_cores: usize,
    /// The file that gets a line per request; none when absent.
    pub access_log: Option<PathBuf>,
    /// The file that gets a row per line that a replica writes; none when absent.
    pub console_log: Option<PathBuf>,
    /// The certificate callers are shown; plain HTTP when absent.
    pub tls: Option<TlsFiles>,
    /// What nodes show each other at their gates; the cluster's token alone when absent.
    pub peers: Option<PeerFiles>,
    /// Where spans of requests go; nowhere when absent.
    pub spans: Option<crate::mesh::SpanOptions>,
    /// What it declares instead of what is measured.
    pub capacity: Option<CapacityOverride>,
    /// Free labels; `zone` and `rack` are failure domains.
    pub labels: BTreeMap<String, String>,
    /// Whether its capacity is declared generously for development.
    pub is_virtual: bool,
    /// The `berth` program, run again for ONNX replicas.
    pub executable: PathBuf,
    /// Its words before the options of the ONNX server.
    pub onnx_command: Vec<String>,
    /// The Python that makes virtual environments.
    pub python: PathBuf,
    /// Where virtual environments lie; may be shared by the nodes of one host. Its own folder when absent.
    pub env_dir: Option<PathBuf>,
    /// Further words for every `pip install`.
    pub pip_args: Vec<String>,
    /// The variables every child starts from.
    pub base_env: BTreeMap<String, String>,
    /// Whether replicas are killed by the kernel when this process dies; development only.
    pub die_with_parent: bool,
    /// Whether replicas are ended at shutdown; a daemon leaves them running and adopts them again.
    pub stop_replicas_on_shutdown: bool,
    /// Whether it takes over from the process that runs on the same folder, if there is one.
    pub take_over: bool,
    /// How long what it has under way may go on after another process took over.
    pub finish_within: Duration,
    /// How long its replicas may take to be handed over when it is asked to end; not at all when absent.
    pub drain_on_stop: Option<Duration>,
    /// The NVML library, when it is not where the loader looks.
    pub nvml_library: Option<PathBuf>,
    /// How patient it is with its replicas.
    pub timing: Timing,
    /// Bytes a log file may reach before it is rotated.
    pub log_max_bytes: u64,
    /// Rotated log files that are kept.
    pub log_files: usize,
    /// Bytes of unused assets that are kept.
    pub cache_max_bytes: u64,
}

// === impl Secret ===

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

// === impl NodeOptions ===

impl NodeOptions {
    /// Creates options with every default.
    pub fn new(name: NodeName, data_dir: impl Into<PathBuf>, coordinators: Vec<String>, token: Secret) -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            name,
            data_dir: data_dir.into(),
            coordinators,
            trust: None,
            token,
            ingress: loopback(DEFAULTS.ingress_port),
            gate: loopback(DEFAULTS.gate_port),
            advertise: None,
            insecure: false,
            domain: DEFAULTS.domain.to_owned(),
            mesh_cores: 0,
            access_log: None,
            console_log: None,
            tls: None,
            peers: None,
            spans: None,
            capacity: None,
            labels: BTreeMap::new(),
            is_virtual: false,
            executable: PathBuf::from("berth"),
            onnx_command: vec!["serve-onnx".to_owned()],
            python: PathBuf::from("python3"),
            env_dir: None,
            pip_args: Vec::new(),
            base_env: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
            die_with_parent: false,
            stop_replicas_on_shutdown: false,
            take_over: false,
            finish_within: FINISH_WITHIN,
            drain_on_stop: None,
            nvml_library: None,
            timing: Timing::default(),
            log_max_bytes: LOG_MAX_BYTES,
            log_files: LOG_FILES,
            cache_max_bytes: CACHE_MAX_BYTES,
        }
    }

    /// Picks from a process's variables those its children may see.
    pub fn inheritable(vars: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
        vars.filter(|(name, _)| {
            INHERITED.contains(&name.as_str()) || INHERITED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect()
    }

    /// Checks every rule and reports all that are broken.
    pub fn validate(&self) -> Result<(), Error> {
        for (what, address, is_safe) in
            [("ingress", self.ingress, self.tls.is_some()), ("gate", self.gate, self.peers.is_some())]
        {
            if !address.ip().is_loopback() && !is_safe && !self.insecure {
                return Err(Error::new(Code::Insecure, format!("the {what} would listen on {address} without TLS"))
                    .why("anybody who reaches that address could read and send requests")
                    .try_(match what {
                        "ingress" => {
                            "listen on 127.0.0.1, name `tls_cert` and `tls_key`, or accept the risk with `--insecure`"
                        }
                        _ => {
                            "listen on 127.0.0.1, name `peer_cert`, `peer_key` and `peer_ca`, or accept the risk with `--insecure`"
                        }
                    }));
            }
        }
        let mut problems = Problems::default();
        if self.coordinators.is_empty() {
            problems.add_try("coordinators", "none is named", "name at least one `host:port`");
        }
        for address in self.coordinators.iter().filter(|address| !is_host_port(address)) {
            problems.add_try("coordinators", format!("`{address}` is not an address"), "use `host:port`");
        }
        if self.trust.is_none()
            && let Some(address) = self.coordinators.iter().find(|address| address::is_tls(address))
        {
            let what = format!("`{address}` is called over TLS, and nobody is believed");
            problems.add_try("ca", what, "name the authority that signed the coordinators' certificates");
        }
        if self.gate.ip().is_unspecified() && self.advertise.is_none() {
            problems.add_try(
                "advertise",
                "others cannot be told to connect to every address there is",
                "name the host others reach this node by",
            );
        }
        if self.log_max_bytes < 4_096 {
            problems.add_try("log_max_bytes", "too small to hold a stack trace", "use at least 4096");
        }
        for name in self.labels.keys().filter(|name| name.is_empty() || name.len() > 63) {
            problems.add(format!("labels.{name}"), "a label's name has 1 to 63 characters");
        }
        problems.into_result(Code::Invalid, "the node's configuration")
    }
}

fn is_host_port(address: &str) -> bool {
    let authority = address::authority(address).parse::<http::uri::Authority>().ok();
    authority.is_some_and(|authority| {
        let names = !authority.host().is_empty() && !authority.as_str().contains('@');
        names && authority.port_u16().is_some_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> NodeOptions {
        NodeOptions::new("n1".parse().unwrap(), "/d", vec!["c:1".into()], Secret::new("hush"))
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert!(!format!("{:?}", options()).contains("hush"));
    }

    #[test]
    fn a_node_listens_beyond_loopback_only_when_told_twice() {
        let open = NodeOptions { gate: "0.0.0.0:0".parse().unwrap(), ..options() };
        assert_eq!(open.validate().unwrap_err().code, Code::Insecure);
        let tls = TlsFiles { cert: "c".into(), key: "k".into() };
        let secured = NodeOptions { ingress: "0.0.0.0:0".parse().unwrap(), tls: Some(tls), ..options() };
        assert_eq!(secured.validate(), Ok(()));
        let accepted = NodeOptions { insecure: true, ..open };
        assert_eq!(accepted.validate().unwrap_err().problems[0].field, "advertise");
        let named = NodeOptions { advertise: Some("10.0.0.1".into()), ..accepted };
        assert_eq!(named.validate(), Ok(()));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let bad = NodeOptions {
            coordinators: ["c", ":1", "HTTPS://c:1", "http://c:1"].map(Into::into).into(),
            log_max_bytes: 1,
            ..options()
        };
        assert_eq!(bad.validate().unwrap_err().problems.len(), 5);
        let secured = NodeOptions { coordinators: vec!["https://c:1".into(), "https://:1".into()], ..options() };
        let fields: Vec<_> = secured.validate().unwrap_err().problems.into_iter().map(|it| it.field).collect();
        assert_eq!(fields, ["coordinators", "ca"]);
        let trust = TrustFiles { ca: "ca".into(), own: None };
        let believing = NodeOptions { coordinators: vec!["https://c:1".into()], trust: Some(trust), ..options() };
        assert_eq!(believing.validate(), Ok(()));
    }

    #[test]
    fn children_see_no_secrets_of_the_agent() {
        let vars = [("PATH", "/bin"), ("LC_ALL", "C"), ("BERTH_TOKEN", "x"), ("AWS_SECRET_ACCESS_KEY", "y")];
        let kept = NodeOptions::inheritable(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["LC_ALL", "PATH"]);
    }
}
