//! What a coordinator is started with.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use berth_core::{
    address,
    defaults::DEFAULTS,
    error::{Code, Error, Problems},
    state::FEATURE_LEVEL,
    time::LogTime,
};
use berth_proto::tls::{ServerFiles, Trust, TrustFiles, Watch};

use crate::{
    alert::AlertReceiver,
    clock,
    keys::ClusterKey,
    raft::{Formation, RaftTimings},
};

/// Largest asset: a model of 100 GiB, and not a disk filled by one upload.
const ASSET_MAX_BYTES: u64 = 100 << 30;

/// How long an asset nothing refers to is kept: a working day, so that what was rolled back yesterday need not be
/// uploaded again.
const ASSET_GRACE: Duration = Duration::from_secs(24 * 3_600);

/// How often a member reads one of its blobs to see whether it is whole. A thousand blobs are read within a day.
const SCRUB_INTERVAL: Duration = Duration::from_secs(60);

/// What a coordinator is started with. [`CoordinatorOptions::new`] sets every default.
#[derive(Debug)]
pub struct CoordinatorOptions {
    /// Where this member keeps its data: `raft/`, `artifacts/`, `cluster.key`, `node.token`.
    pub data_dir: PathBuf,
    /// How it comes to a cluster. Ignored once it belongs to one.
    pub formation: Formation,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A socket that is bound already; wins over `listen`.
    pub listener: Option<TcpListener>,
    /// Where others reach it, `host:port`, or `https://host:port` with `tls`; the bound address when absent.
    pub advertise: Option<String>,
    /// What it shows and whom it lets in; plain HTTP when absent.
    pub tls: Option<ServerFiles>,
    /// The authority that signed what members show, in PEM: whom this one believes when it calls one at `https://`.
    pub ca: Option<PathBuf>,
    /// Whether it may listen beyond loopback although anybody who reaches it may do everything.
    pub insecure: bool,
    /// The cluster key; `cluster.key` in `data_dir` when absent.
    pub key_file: Option<PathBuf>,
    /// Largest asset it takes, in bytes.
    pub asset_max_bytes: u64,
    /// How long an asset nothing refers to is kept.
    pub asset_grace: Duration,
    /// How often one blob is read to see whether it is whole.
    pub scrub_interval: Duration,
    /// The newest feature level this build knows; another one than its own stands for another build.
    pub feature_level: u32,
    /// What proposals are stamped with; tests set another one than the host's.
    pub wall_clock: fn() -> LogTime,
    /// Who can be told of alerts. Every member should know the same ones: the leader tells.
    pub alert_receivers: Vec<AlertReceiver>,
    /// Intervals and sizes of consensus.
    pub timings: RaftTimings,
}

// === impl CoordinatorOptions ===

impl CoordinatorOptions {
    /// Creates options with every default.
    pub fn new(data_dir: impl Into<PathBuf>, formation: Formation) -> Self {
        Self {
            data_dir: data_dir.into(),
            formation,
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULTS.api_port)),
            listener: None,
            advertise: None,
            tls: None,
            ca: None,
            insecure: false,
            key_file: None,
            asset_max_bytes: ASSET_MAX_BYTES,
            asset_grace: ASSET_GRACE,
            scrub_interval: SCRUB_INTERVAL,
            feature_level: FEATURE_LEVEL,
            wall_clock: clock::wall,
            alert_receivers: Vec::new(),
            timings: RaftTimings::default(),
        }
    }

    /// Reports everything that is wrong with them at once.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let listen = self.listener.as_ref().and_then(|bound| bound.local_addr().ok()).unwrap_or(self.listen);
        let is_mutual = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !listen.ip().is_loopback() && !is_mutual && !self.insecure {
            return Err(Error::new(Code::Insecure, format!("refusing to listen on {listen}"))
                .why("without mutual TLS whoever reaches this address may do everything")
                .try_("name `tls_cert`, `tls_key`, `ca` and `tls_client_ca`, listen on 127.0.0.1, or pass --insecure on a network you trust"));
        }
        let mut problems = Problems::default();
        let others = match &self.formation {
            Formation::Bootstrap { peers, .. } => ("peers", peers.as_slice()),
            Formation::Join { addresses } => ("join", addresses.as_slice()),
        };
        address::check_member(&mut problems, self.tls.is_some(), self.ca.is_some(), self.advertise.as_deref(), others);
        if listen.ip().is_unspecified() && self.advertise.is_none() {
            problems.add_try(
                "advertise",
                format!("{listen} is no address others can reach"),
                "name the host: HOST:PORT",
            );
        }
        if self.asset_max_bytes == 0 {
            problems.add_try("asset_max_bytes", "no asset could be uploaded", "use 1 or more");
        }
        for (field, span) in [("asset_grace", self.asset_grace), ("scrub_interval", self.scrub_interval)] {
            if span.is_zero() {
                problems.add_try(field, "is zero", "use a second or more");
            }
        }
        AlertReceiver::check(&self.alert_receivers, &mut problems);
        problems.into_result(Code::Invalid, "the coordinator's configuration")
    }

    /// Reads whom members are believed by, and what this one shows to those that ask; watched from then on.
    pub(crate) fn trust(&self) -> Result<Option<(Trust, Watch)>, Error> {
        let own = self.tls.as_ref().map(|tls| tls.own.clone());
        let files = self.ca.clone().map(|ca| TrustFiles { ca, own });
        files.map(|files| Trust::watch(&files, "to members")).transpose()
    }

    /// Reads the cluster key. Only the founder of a cluster makes one: two keys make two clusters.
    pub(crate) fn cluster_key(&self) -> Result<ClusterKey, Error> {
        let path = self.key_file.clone().unwrap_or_else(|| self.data_dir.join("cluster.key"));
        match &self.formation {
            Formation::Bootstrap { .. } => {
                fs::create_dir_all(&self.data_dir).map_err(|error| {
                    Error::new(Code::Internal, format!("cannot create {}", self.data_dir.display()))
                        .why(error.to_string())
                })?;
                ClusterKey::load_or_create(&path)
            }
            Formation::Join { .. } => ClusterKey::load(&path),
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_proto::tls::TlsFiles;

    use super::*;

    /// Each row: where it listens, whether it has TLS and asks for certificates, and what it is refused with.
    #[test]
    fn only_mutual_tls_opens_the_listener() {
        let formation = || Formation::Bootstrap { expect: 1, peers: Vec::new() };
        for (listen, tls, mutual, refused) in [
            ("127.0.0.1:0", false, false, None),
            ("127.0.0.1:0", true, false, None),
            ("10.0.0.1:0", true, true, None),
            ("10.0.0.1:0", true, false, Some(Code::Insecure)),
            ("10.0.0.1:0", false, false, Some(Code::Insecure)),
        ] {
            let mut options = CoordinatorOptions::new("/d", formation());
            options.listen = listen.parse().expect("an address");
            let client_ca = mutual.then(|| "ca".into());
            options.tls = tls.then(|| ServerFiles { own: TlsFiles { cert: "c".into(), key: "k".into() }, client_ca });
            options.ca = tls.then(|| "ca".into());
            assert_eq!(options.validate().err().map(|error| error.code), refused, "{listen} {tls} {mutual}");
        }
        let mut options = CoordinatorOptions::new("/d", Formation::Join { addresses: vec!["https://a:1".into()] });
        let error = options.validate().expect_err("nobody is believed");
        assert_eq!(error.problems[0].field, "join");
        options.ca = Some("ca".into());
        assert_eq!(options.validate(), Ok(()));
    }
}
