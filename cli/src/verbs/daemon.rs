//! The daemons, the demo, and the ONNX server: verbs that are a process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use berth_client::{Client, ClientOptions};
use berth_coordinator::{CoordinatorOptions, CoordinatorService};
use berth_core::{
    address,
    error::{Code, Error},
};
use berth_node::{
    NodeOptions, NodeService, Secret,
    mesh::SpanOptions,
    onnx::OnnxOptions,
    telemetry::{self, Speaker},
};
use berth_proto::tls::{Trust, TrustFiles};
use tokio::sync::mpsc;

use crate::{
    advertise::advertised,
    args::{CoordinatorArgs, DemoArgs, GlobalArgs, NodeArgs, ServeOnnxArgs},
    authority, config,
    demo::{self, DemoOptions},
    event_log,
    output::{Fault, Misused, Output},
    process,
};

/// `berth coordinator`.
pub(super) async fn coordinator(args: &CoordinatorArgs, global: GlobalArgs) -> Result<(), Fault> {
    let layer = args.layer().with("api", global.api).with("ca", global.ca);
    let config = config::coordinator(layer, args.config.as_deref()).or_misused()?;
    process::log(&config.log)?;
    let mut options = CoordinatorOptions::new(config.data_dir, config.formation);
    options.listen = config.api;
    options.advertise = config.advertise;
    options.tls.clone_from(&config.tls);
    options.ca.clone_from(&config.ca);
    options.insecure = config.insecure;
    options.key_file = config.cluster_key;
    options.alert_receivers = config.alert_receivers;
    if let Some(bytes) = config.asset_max_bytes {
        options.asset_max_bytes = bytes;
    }
    let service = CoordinatorService::open(options).await?;
    let stop = process::asked_to_stop()?;
    if let Some(collector) = &config.otlp {
        let handle = service.handle();
        let speaker = Speaker { service: "berth-coordinator", instance: handle.api_addr().to_string() };
        telemetry::start(collector, speaker, move || handle.metrics_text(), mpsc::channel(1).1);
    }
    let own = config.tls.map(|tls| tls.own);
    let files = config.ca.map(|ca| TrustFiles { ca, own });
    let trust = files.filter(|_| config.event_log.is_some()).map(|files| Trust::watch(&files, "to itself"));
    let (trust, _watch) = trust.transpose()?.unzip();
    if let Some(path) = config.event_log {
        let shown = path.display().to_string();
        let handle = service.handle();
        // Its certificate is for the name that others call it by.
        let address = match address::is_tls(handle.advertise()) {
            true => handle.advertise().to_owned(),
            false => reached(handle.api_addr()),
        };
        let own = Client::new(ClientOptions { trust, ..ClientOptions::new([address])? });
        event_log::start(path, own).map_err(|error| {
            Error::new(Code::PathMissing, format!("the event log `{shown}` cannot be written"))
                .why(error.to_string())
                .try_("name a file this user may write as `event_log`")
        })?;
    }
    tracing::info!(address = %service.handle().api_addr(), "coordinator listens");
    Ok(service.run(stop).await?)
}

/// Where this host reaches what listens at an address.
fn reached(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    SocketAddr::new(host, address.port()).to_string()
}

/// `berth node` without a verb.
pub(super) async fn node(args: &NodeArgs, global: GlobalArgs) -> Result<(), Fault> {
    let layer = args.layer().with("ca", global.ca);
    let layer = layer.with("client_cert", global.client_cert).with("client_key", global.client_key);
    let config = config::node(layer, args.config.as_deref()).or_misused()?;
    process::log(&config.log)?;
    let token = read_token(&config.token_file).or_misused()?;
    // Before anything is shown to anybody.
    if let (Some(hash), Some(trust)) = (&config.ca_hash, &config.trust) {
        authority::asked_for(hash, trust, &config.coordinators).await?;
    }
    let advertise = advertised(config.advertise, &config.coordinators)?;
    let mut options = NodeOptions::new(config.name, config.data_dir, config.coordinators, token);
    options.ingress = config.ingress;
    options.gate = config.gate;
    options.advertise = advertise;
    options.insecure = config.insecure;
    options.domain = config.domain;
    options.capacity = config.capacity;
    options.labels = config.labels;
    options.nvml_library = config.nvml_lib;
    options.python = config.python;
    options.pip_args = config.pip_args;
    options.executable = process::this_binary()?;
    options.base_env = NodeOptions::inheritable(std::env::vars());
    if let Some(cores) = config.mesh_cores {
        options.mesh_cores = cores;
    }
    options.access_log = config.access_log;
    options.console_log = config.console_log;
    options.tls = config.tls;
    options.peers = config.peers;
    options.trust = config.trust;
    let (sink, spans) = mpsc::channel(telemetry::SPANS_WAITING_MAX);
    if config.otlp.is_some() {
        options.spans = Some(SpanOptions { sink, share: config.trace_share });
    }
    options.env_dir = config.env_dir;
    options.drain_on_stop = config.drain_on_stop;
    options.take_over = config.take_over;
    options.stop_replicas_on_shutdown = config.end_replicas;
    if let Some(bytes) = config.cache_max_bytes {
        options.cache_max_bytes = bytes;
    }
    let service = NodeService::open(options).await?;
    let stop = process::asked_to_stop()?;
    let handle = service.handle();
    if let Some(address) = config.metrics {
        crate::metrics::serve(address, config.insecure, handle.clone()).await?;
    }
    if let Some(collector) = &config.otlp {
        let speaker = Speaker { service: "berth-node", instance: handle.name().to_string() };
        let of = handle.clone();
        telemetry::start(collector, speaker, move || of.metrics_text(), spans);
    }
    tracing::info!(ingress = %handle.ingress_addr(), gate = %handle.gate_addr(), "node listens");
    Ok(service.run(stop).await?)
}

fn read_token(path: &Path) -> Result<Secret, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Code::PathMissing, format!("the node token `{}` cannot be read", path.display()))
            .why(error.to_string())
            .try_("copy `node.token` from a coordinator's data directory")
    })?;
    match text.trim() {
        "" => Err(Error::new(Code::Invalid, format!("the node token `{}` is empty", path.display()))),
        token => Ok(Secret::new(token)),
    }
}

/// `berth demo`.
pub(super) async fn demo(args: DemoArgs, out: Output) -> Result<(), Fault> {
    let options = DemoOptions {
        berth: process::this_binary()?,
        dir: args.dir,
        rate_per_second: args.rate,
        deploy_within: args.timeout,
    };
    let report = demo::run(options, |line| out.note(line)).await.map_err(|error| {
        let mut why = String::new();
        let mut next = std::error::Error::source(&error);
        while let Some(cause) = next {
            why = cause.to_string();
            next = cause.source();
        }
        Error::new(Code::Internal, error.to_string()).why(why)
    })?;
    Ok(out.value(&report, "demo", || out.line(report.to_string()))?)
}

/// `berth serve-onnx`.
pub(super) async fn serve_onnx(args: ServeOnnxArgs) -> Result<(), Fault> {
    let mut options = OnnxOptions::new(args.model, args.model_name, SocketAddr::new(args.host, args.port));
    if let Some(workers) = args.workers {
        options.workers = workers;
    }
    let stop = process::asked_to_stop()?;
    Ok(berth_node::onnx::serve(options, stop).await?)
}
