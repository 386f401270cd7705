//! What a coordinator is told.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use berth_coordinator::{AlertReceiver, raft::Formation};
use berth_core::error::Error;
use berth_proto::tls::ServerFiles;

use super::{
    DEFAULT_LOG, Layer, LogConfig, Schema, parse, parse_bool, parse_bytes, parse_collector, parse_list, parse_listen,
    read_layers,
};

/// Every setting of a coordinator.
pub(super) const COORDINATOR: Schema = Schema {
    section: "coordinator",
    prefix: "BERTH_COORDINATOR_",
    names: &[
        ("data_dir", "/var/lib/berth/coordinator"),
        ("api", "127.0.0.1:7400"),
        ("advertise", ""),
        ("tls_cert", ""),
        ("tls_key", ""),
        ("tls_client_ca", ""),
        ("ca", ""),
        ("bootstrap_expect", ""),
        ("peers", ""),
        ("join", ""),
        ("cluster_key", ""),
        ("asset_max", ""),
        ("alert_webhooks", ""),
        ("alert_programs", ""),
        ("event_log", ""),
        ("otlp", ""),
        ("insecure", "false"),
        ("log_format", "text"),
        ("log", DEFAULT_LOG),
    ],
};

/// A coordinator's settings, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct CoordinatorConfig {
    /// Where its data is kept.
    pub(crate) data_dir: PathBuf,
    /// Where it listens.
    pub(crate) api: SocketAddr,
    /// Where others reach it.
    pub(crate) advertise: Option<String>,
    /// What it shows and whom it lets in.
    pub(crate) tls: Option<ServerFiles>,
    /// Whose certificates are believed of other members.
    pub(crate) ca: Option<PathBuf>,
    /// How it comes to a cluster.
    pub(crate) formation: Formation,
    /// The cluster key.
    pub(crate) cluster_key: Option<PathBuf>,
    /// The largest asset.
    pub(crate) asset_max_bytes: Option<u64>,
    /// Who is told of alerts.
    pub(crate) alert_receivers: Vec<AlertReceiver>,
    /// The file that gets a row per event.
    pub(crate) event_log: Option<PathBuf>,
    /// Where metrics are sent.
    pub(crate) otlp: Option<tonic::transport::Endpoint>,
    /// Whether it may listen beyond loopback.
    pub(crate) insecure: bool,
    /// How it logs.
    pub(crate) log: LogConfig,
}

/// Reads a coordinator's settings from all sources.
pub(crate) fn coordinator(flags: Layer, file: Option<&Path>) -> Result<CoordinatorConfig, Error> {
    read(read_layers(COORDINATOR, flags, file)?)
}

pub(super) fn read(mut from: super::Reader) -> Result<CoordinatorConfig, Error> {
    let data_dir = from.required("data_dir", "", |text| Ok(PathBuf::from(text)));
    let api = from.required("api", "", parse_listen);
    let advertise = from.optional("advertise", |text| Ok(text.to_owned()));
    let own = from.certificate(["tls_cert", "tls_key"]);
    let client_ca = from.optional("tls_client_ca", |text| Ok(PathBuf::from(text)));
    if client_ca.is_some() && from.text("tls_cert").is_none() {
        let what = "who asks callers for a certificate shows one";
        from.problems.add_try("--tls-client-ca", what, "name `tls_cert` and `tls_key`");
    }
    let tls = own.map(|own| ServerFiles { own, client_ca });
    let ca = from.optional("ca", |text| Ok(PathBuf::from(text)));
    let formation = read_formation(&mut from);
    let cluster_key = from.optional("cluster_key", |text| Ok(PathBuf::from(text)));
    let asset_max_bytes = from.optional("asset_max", parse_bytes);
    let webhooks = from.optional("alert_webhooks", |text| receivers(text, AlertReceiver::webhook));
    let programs = from.optional("alert_programs", |text| receivers(text, AlertReceiver::exec));
    let event_log = from.optional("event_log", |text| Ok(PathBuf::from(text)));
    let otlp = from.optional("otlp", parse_collector);
    let insecure = from.required("insecure", "", parse_bool);
    let log = from.log();
    from.finish()?;
    // Every `None` above has left a problem behind, so the defaults below are never seen.
    let unread = || Error::new(berth_core::error::Code::Internal, "a setting without problems was not read");
    Ok(CoordinatorConfig {
        data_dir: data_dir.ok_or_else(unread)?,
        api: api.ok_or_else(unread)?,
        advertise,
        tls,
        ca,
        formation: formation.ok_or_else(unread)?,
        cluster_key,
        asset_max_bytes,
        alert_receivers: [webhooks, programs].into_iter().flatten().flatten().collect(),
        event_log,
        otlp,
        insecure: insecure.ok_or_else(unread)?,
        log,
    })
}

/// Reads receivers with commas.
fn receivers(text: &str, read: impl Fn(&str) -> Result<AlertReceiver, String>) -> Result<Vec<AlertReceiver>, String> {
    parse_list(text)?.iter().map(|item| read(item)).collect()
}

fn read_formation(from: &mut super::Reader) -> Option<Formation> {
    let expect = from.optional("bootstrap_expect", parse::<usize>);
    let peers = from.optional("peers", parse_list);
    let join = from.optional("join", parse_list);
    let given = |name: &str| from.text(name).is_some();
    match (given("bootstrap_expect"), given("join")) {
        (true, true) => {
            from.problems.add_try("--join", "cannot go with --bootstrap-expect", "keep one of them");
            None
        }
        (false, false) => {
            from.problems.add_try(
                "--bootstrap-expect",
                "is missing",
                "--bootstrap-expect 1 makes a new cluster of one, --join ADDR joins one that is there",
            );
            None
        }
        (false, true) => join.map(|addresses| Formation::Join { addresses }),
        (true, false) => {
            let expect = expect?;
            if !matches!(expect, 1 | 3 | 5) {
                from.problems.add_try(
                    "--bootstrap-expect",
                    format!("{expect} members cannot form a cluster"),
                    "use 1, 3 or 5",
                );
                return None;
            }
            if expect > 1 && peers.as_ref().is_none_or(|peers| peers.len() + 1 < expect) {
                let what = format!("{expect} members need one another's addresses");
                from.problems.add_try("--peers", what, "name them all: --peers HOST:PORT,HOST:PORT,…");
                return None;
            }
            Some(Formation::Bootstrap { expect, peers: peers.unwrap_or_default() })
        }
    }
}
