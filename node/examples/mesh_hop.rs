//! An echo backend behind one mesh (one hop) or two (two hops), for measuring what a hop costs beside other proxies.
//!
//! `mesh_hop --hops 1 --ingress 127.0.0.1:9480 --backend 127.0.0.1:9500 [--cores 1]` serves until it is ended. Requests
//! to `/e/echo/…` on the ingress reach the backend, gRPC ones over HTTP/2, with their body and trailers; `--hops 0` runs
//! the backend alone. The meshes run in the process's own threads `mesh-*`, the backend in `backend-*`, so that CPU can
//! be told apart per thread.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use berth_core::{
    id::{Generation, LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{AuthMode, DeploymentKey, DeploymentName, EndpointName, MirrorRules, ReplicaState},
    traffic::{
        change::TableChange,
        table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteRuntime, RouteTable},
    },
};
use berth_node::mesh::{Limits, LocalReplica, LocalState, Mesh, MeshHandle, MeshOptions, TableCodec};
use berth_proto::node::{decode_table, encode_table};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// The same as in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error>;

/// More than a load driver has under way: admission must not be what is measured.
const SLOTS: u32 = 100_000;

const REPLICA: ReplicaId = ReplicaId(1);

struct Flags {
    hops: u32,
    ingress: SocketAddr,
    backend: SocketAddr,
    cores: usize,
}

fn flags() -> Result<Flags, AnyError> {
    let mut flags = Flags { hops: 1, ingress: "127.0.0.1:9480".parse()?, backend: "127.0.0.1:9500".parse()?, cores: 1 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--hops" => flags.hops = value.parse()?,
            "--ingress" => flags.ingress = value.parse()?,
            "--backend" => flags.backend = value.parse()?,
            "--cores" => flags.cores = value.parse()?,
            _ => return Err(format!("unknown flag {word}: use --hops, --ingress, --backend, --cores").into()),
        }
    }
    Ok(flags)
}

/// Answers with the body it got; a gRPC call gets the trailers it expects.
async fn echo(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::Either<Full<Bytes>, Trailed>>, Infallible> {
    let content_type = request.headers().get("content-type").cloned();
    let is_grpc = content_type.as_ref().is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
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

type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;
type Trailed = http_body_util::combinators::WithTrailers<Full<Bytes>, Trailers>;

async fn serve_backend(address: SocketAddr) -> Result<(), AnyError> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // A connection that breaks is the load driver's to report.
            let _ = builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await;
        });
    }
}

fn mesh(node: u64, ingress: SocketAddr, cores: usize, folder: &std::path::Path) -> Result<MeshHandle, AnyError> {
    let codec = TableCodec { encode: encode_table, decode: decode_table };
    let options = MeshOptions {
        ingress,
        gate: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores,
        limits: Limits { streams: 1_024, ..Limits::default() },
        ..MeshOptions::new(NodeId(node), folder.join(node.to_string()), codec)
    };
    let mesh = Mesh::start(options, &mut Registry::default())?;
    mesh.set_gate_token("a-benchmark");
    Ok(mesh)
}

fn table(owner: u64, gate: SocketAddr) -> Result<RouteTable, AnyError> {
    let name = EndpointName::new("echo")?;
    let replica = ReplicaRoute {
        id: REPLICA,
        node: NodeId(owner),
        epoch: NodeEpoch(1),
        gate_address: gate.to_string(),
        state: ReplicaState::Serving,
        slots: SLOTS,
    };
    let deployment = DeploymentRoute {
        name: DeploymentName::new("blue")?,
        generation: Generation(1),
        runtime: RouteRuntime::Command,
        request_timeout_ms: 60_000,
        max_concurrent_requests_per_instance: SLOTS,
        max_queue_wait_ms: 60_000,
        scoring_path: "/score".into(),
        replicas: vec![replica],
    };
    let route = EndpointRoute {
        name: name.clone(),
        revision: LogIndex(1),
        auth_mode: AuthMode::None,
        key_hashes: Vec::new(),
        max_body_bytes: 64 << 20,
        idempotent: None,
        hedging: None,
        split: vec![(DeploymentName::new("blue")?, 100)],
        mirror: Vec::new(),
        mirror_rules: MirrorRules::default(),
        deployments: vec![deployment],
    };
    let endpoints = [(name, Arc::new(route))].into();
    Ok(RouteTable { cluster_id: "bench".into(), version: LogIndex(1), endpoints })
}

fn main() -> Result<(), AnyError> {
    let flags = flags()?;
    let folder = tempfile::tempdir()?;
    let mut meshes = Vec::new();
    if flags.hops > 0 {
        let entry = mesh(1, flags.ingress, flags.cores, folder.path())?;
        let (owner, gate) = if flags.hops == 1 {
            (1, entry.clone())
        } else {
            (2, mesh(2, SocketAddr::from(([127, 0, 0, 1], 0)), flags.cores, folder.path())?)
        };
        gate.publish_local(
            REPLICA,
            LocalReplica {
                key: DeploymentKey::new(EndpointName::new("echo")?, DeploymentName::new("blue")?),
                address: flags.backend,
                runtime: RouteRuntime::Command,
                slots: SLOTS,
                max_queue_wait_ms: 60_000,
                state: LocalState::Open,
            },
        );
        entry.apply_table(TableChange::Full(table(owner, gate.gate_addr())?))?;
        meshes.extend([entry, gate]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(flags.cores)
        .thread_name("backend")
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve_backend(flags.backend));
    drop(meshes);
    served
}
