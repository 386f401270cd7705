//! One mesh (one hop) or two (two hops) before backends of their own, for measuring what a hop costs beside other proxies.
//!
//! `mesh_hop --hops 0 --backend A[,B…]` serves echo backends, one per address; with `--slow-ms N` each answer takes that much
//! longer, and with `--wrong-permille N` so many of a thousand have another first byte than they should. `mesh_hop --hops 1 --ingress ADDR --backend
//! A[,B…]` sends requests to `/e/echo/…` on the ingress to them as one replica each, gRPC ones over HTTP/2, with their body
//! and trailers; `--hops 2` has the gate on another node, in the same process. Whatever else an endpoint may have is off
//! unless it is asked for: `--key KEY` lets in who shows it, `--split` divides the replicas among two deployments at 90
//! and 10 percent, `--mirror ADDR` copies every request, `--access-log FILE` writes a line per request, `--cores N` has
//! more than one thread, `--tls FOLDER` speaks TLS with the `cert.pem` and `key.pem` in it. `--without-telemetry` neither times nor records a request nor counts its answer; `--traces ADDR` sends the spans of one
//! in a hundred to a collector, as a node does by default, and `mesh_hop --collector ADDR` is one that keeps nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use berth_core::{
    id::{Digest, Generation, LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{AuthMode, DeploymentKey, DeploymentName, EndpointName, MirrorRules, ReplicaState},
    time::LogTime,
    traffic::{
        change::TableChange,
        table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteRuntime, RouteTable},
    },
};
use berth_node::{
    mesh::{
        AccessLogOptions, Limits, LocalReplica, LocalState, Mesh, MeshHandle, MeshOptions, SpanOptions, TableCodec,
        TlsFiles,
    },
    telemetry,
};
use berth_proto::node::{decode_table, encode_table};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// The same as in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error>;

/// More than a load driver has under way: admission must not be what is measured.
const SLOTS: u32 = 100_000;

/// The node that callers connect to.
const ENTRY: u64 = 1;

/// Spans kept: one trace in a hundred, the default of a node.
const TRACE_SHARE: u32 = berth_core::traffic::trace::SHARE_OF / 100;

struct Flags {
    hops: u32,
    ingress: SocketAddr,
    backends: Vec<SocketAddr>,
    key: Option<String>,
    is_split: bool,
    mirror: Option<SocketAddr>,
    access_log: Option<PathBuf>,
    cores: usize,
    tls: Option<PathBuf>,
    has_telemetry: bool,
    traces: Option<SocketAddr>,
    collector: Option<SocketAddr>,
    ill: Ill,
}

/// What is wrong with a backend.
#[derive(Clone, Copy, Default)]
struct Ill {
    slow_ms: u64,
    wrong_permille: u64,
}

fn flags() -> Result<Flags, AnyError> {
    let mut flags = Flags {
        hops: 1,
        ingress: "127.0.0.1:9480".parse()?,
        backends: vec!["127.0.0.1:9500".parse()?],
        key: None,
        is_split: false,
        mirror: None,
        access_log: None,
        cores: 1,
        tls: None,
        has_telemetry: true,
        traces: None,
        collector: None,
        ill: Ill::default(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--split" {
            flags.is_split = true;
            continue;
        }
        if word == "--without-telemetry" {
            flags.has_telemetry = false;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--hops" => flags.hops = value.parse()?,
            "--ingress" => flags.ingress = value.parse()?,
            "--backend" => flags.backends = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--key" => flags.key = Some(value),
            "--mirror" => flags.mirror = Some(value.parse()?),
            "--access-log" => flags.access_log = Some(value.into()),
            "--traces" => flags.traces = Some(value.parse()?),
            "--collector" => flags.collector = Some(value.parse()?),
            "--slow-ms" => flags.ill.slow_ms = value.parse()?,
            "--wrong-permille" => flags.ill.wrong_permille = value.parse()?,
            "--cores" => flags.cores = value.parse()?,
            "--tls" => flags.tls = Some(value.into()),
            _ => return Err(format!("unknown flag {word}: the head of this file lists them").into()),
        }
    }
    if flags.is_split && flags.backends.len() < 2 {
        return Err("--split needs two backends or more".into());
    }
    Ok(flags)
}

/// Answers with the body it got; a gRPC call gets the trailers it expects.
async fn echo(
    request: Request<Incoming>,
    ill: Ill,
    number: u64,
) -> Result<Response<http_body_util::Either<Full<Bytes>, Trailed>>, Infallible> {
    let content_type = request.headers().get("content-type").cloned();
    let is_grpc = content_type.as_ref().is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if ill.slow_ms > 0 {
        tokio::time::sleep(Duration::from_millis(ill.slow_ms)).await;
    }
    // Spread evenly, and exactly as many as were asked for: behind the head of a gRPC message.
    let at = if is_grpc { 5 } else { 0 };
    let body = match is_wrong(number, ill.wrong_permille) && body.len() > at {
        true => Bytes::from([&body[..at], &[body[at] ^ 1], &body[at + 1..]].concat()),
        false => body,
    };
    let body = Full::new(body);
    let mut response = Response::new(if is_grpc {
        let trailers =
            HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        let ready: Trailers = std::future::ready(Some(Ok(trailers)));
        http_body_util::Either::Right(body.with_trailers(ready))
    } else {
        http_body_util::Either::Left(body)
    });
    if let Some(value) = content_type {
        response.headers_mut().insert("content-type", value);
    }
    Ok(response)
}

/// Returns whether the answer to request `number` is one of the wrong ones.
fn is_wrong(number: u64, permille: u64) -> bool {
    number * permille / 1_000 != (number + 1) * permille / 1_000
}

type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;
type Trailed = http_body_util::combinators::WithTrailers<Full<Bytes>, Trailers>;

async fn serve_backend(address: SocketAddr, ill: Ill) -> Result<(), AnyError> {
    let number = Arc::new(AtomicU64::new(0));
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let number = Arc::clone(&number);
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let answer = service_fn(|request| echo(request, ill, number.fetch_add(1, Ordering::Relaxed)));
            // A connection that breaks is the load driver's to report.
            let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn mesh(node: u64, ingress: SocketAddr, flags: &Flags, folder: &Path) -> Result<MeshHandle, AnyError> {
    let codec = TableCodec { encode: encode_table, decode: decode_table };
    let log = |path: &PathBuf| AccessLogOptions { path: path.clone(), max_bytes: 256 << 20, files: 1 };
    let files = |folder: &PathBuf| TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let spans = flags.traces.filter(|_| node == ENTRY).map(send_spans).transpose()?;
    let options = MeshOptions {
        ingress,
        telemetry: flags.has_telemetry,
        spans,
        gate: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: flags.cores,
        limits: Limits { streams: 1_024, ..Limits::default() },
        access_log: flags.access_log.as_ref().filter(|_| node == ENTRY).map(log),
        tls: flags.tls.as_ref().filter(|_| node == ENTRY).map(files),
        ..MeshOptions::new(NodeId(node), folder.join(node.to_string()), codec)
    };
    let mesh = Mesh::start(options, &mut Registry::default())?;
    mesh.set_gate_token("a-benchmark");
    Ok(mesh)
}

/// Sends spans from a thread of its own, with what a daemon sends them with.
fn send_spans(collector: SocketAddr) -> Result<SpanOptions, AnyError> {
    let (sink, spans) = mpsc::channel(telemetry::SPANS_WAITING_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let collector = tonic::transport::Endpoint::from_shared(format!("http://{collector}"))?;
    let speaker = telemetry::Speaker { service: "mesh_hop", instance: "bench".to_owned() };
    std::thread::spawn(move || {
        // It ends when the process does.
        runtime.block_on(async { drop(telemetry::start(&collector, speaker, String::new, spans).await) });
    });
    Ok(SpanOptions { sink, share: TRACE_SHARE })
}

/// A collector that takes everything and keeps nothing.
struct BlackHole;

#[tonic::async_trait]
impl TraceService for BlackHole {
    async fn export(
        &self,
        _: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The replicas of each deployment: one per backend, and the mirror's.
fn replicas(flags: &Flags) -> Vec<(&'static str, Vec<SocketAddr>)> {
    let backends = &flags.backends;
    let blue = if flags.is_split { backends.len() / 2 } else { backends.len() };
    let mut deployments = vec![("blue", backends[..blue].to_vec())];
    if flags.is_split {
        deployments.push(("green", backends[blue..].to_vec()));
    }
    deployments.extend(flags.mirror.map(|address| ("shadow", vec![address])));
    deployments
}

fn table(owner: u64, gate: &MeshHandle, flags: &Flags) -> Result<RouteTable, AnyError> {
    let name = EndpointName::new("echo")?;
    let (mut deployments, mut last) = (Vec::new(), 0);
    for (deployment, addresses) in replicas(flags) {
        let deployment = DeploymentName::new(deployment)?;
        let mut routes = Vec::new();
        for address in addresses {
            last += 1;
            gate.publish_local(
                ReplicaId(last),
                LocalReplica {
                    key: DeploymentKey::new(name.clone(), deployment.clone()),
                    address,
                    runtime: RouteRuntime::Command,
                    slots: SLOTS,
                    max_queue_wait_ms: 60_000,
                    state: LocalState::Open,
                },
            );
            routes.push(ReplicaRoute {
                id: ReplicaId(last),
                node: NodeId(owner),
                epoch: NodeEpoch(1),
                gate_address: gate.gate_addr().to_string(),
                state: ReplicaState::Serving,
                slots: SLOTS,
            });
        }
        deployments.push(DeploymentRoute {
            name: deployment,
            generation: Generation(1),
            runtime: RouteRuntime::Command,
            request_timeout_ms: 60_000,
            max_concurrent_requests_per_instance: SLOTS,
            max_queue_wait_ms: 60_000,
            scoring_path: "/score".into(),
            replicas: routes,
        });
    }
    let share = |name, percent| Ok::<_, AnyError>((DeploymentName::new(name)?, percent));
    let route = EndpointRoute {
        name: name.clone(),
        revision: LogIndex(1),
        auth_mode: if flags.key.is_some() { AuthMode::Key } else { AuthMode::None },
        // An endpoint has two keys, so that one can be replaced while the other is in use.
        key_hashes: flags
            .key
            .iter()
            .flat_map(|key| [Digest::of(b"another"), Digest::of(key.as_bytes())])
            .map(|hash| hash.0)
            .collect(),
        max_body_bytes: 64 << 20,
        idempotent: None,
        hedging: None,
        split: if flags.is_split { vec![share("blue", 90)?, share("green", 10)?] } else { vec![share("blue", 100)?] },
        mirror: flags.mirror.map(|_| share("shadow", 100)).transpose()?.into_iter().collect(),
        mirror_rules: MirrorRules::default(),
        created_at: LogTime::default(),
        deployments,
    };
    let endpoints = [(name, Arc::new(route))].into();
    Ok(RouteTable { cluster_id: "bench".into(), version: LogIndex(1), endpoints })
}

async fn serve_backends(addresses: &[SocketAddr], ill: Ill) -> Result<(), AnyError> {
    futures::future::try_join_all(addresses.iter().map(|address| serve_backend(*address, ill))).await.map(drop)
}

fn main() -> Result<(), AnyError> {
    let flags = flags()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(collector) = flags.collector {
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(BlackHole));
        return Ok(runtime.block_on(server.serve(collector))?);
    }
    if flags.hops == 0 {
        return runtime.block_on(serve_backends(&flags.backends, flags.ill));
    }
    let folder = tempfile::tempdir()?;
    let entry = mesh(ENTRY, flags.ingress, &flags, folder.path())?;
    let (owner, gate) = match flags.hops {
        1 => (ENTRY, entry.clone()),
        _ => (ENTRY + 1, mesh(ENTRY + 1, SocketAddr::from(([127, 0, 0, 1], 0)), &flags, folder.path())?),
    };
    entry.apply_table(TableChange::Full(table(owner, &gate, &flags)?))?;
    // It ends by itself when it is told to: a build that counts what it does writes it down then.
    let told = async { Ok(signal(SignalKind::terminate())?.recv().await) };
    runtime.block_on(told).map(drop)
}
