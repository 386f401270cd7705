//! What the mesh tests share: nodes, fake replicas that answer when told to, tables, and a plain client.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use berth_core::{
    id::{Generation, LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{AuthMode, DeploymentKey, DeploymentName, EndpointName, MirrorRules, ReplicaState},
    time::LogTime,
    traffic::{
        change::TableChange,
        table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteRuntime, RouteTable},
    },
};
use berth_node::mesh::{DeploymentCounters, LocalReplica, LocalState, Mesh, MeshHandle, MeshOptions, TableCodec};
use berth_proto::node::{decode_table, encode_table};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// Nothing here takes near as long; a test that waits longer has failed.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const TOKEN: &str = "a-secret-of-gates";

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// A node with nothing but its mesh.
pub(crate) struct Node {
    pub(crate) mesh: MeshHandle,
    pub(crate) id: NodeId,
    pub(crate) dir: TempDir,
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("this ends in time")
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn node(id: u64) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let mesh = start(id, &dir);
    mesh.set_gate_token(TOKEN);
    Node { mesh, id: NodeId(id), dir }
}

/// Node 1 with one core: its requests share one connection to another node, and look at its replicas one after the other.
pub(crate) fn one_core() -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.cores = 1;
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    Node { mesh, id: NodeId(1), dir }
}

pub(crate) fn start(id: u64, dir: &TempDir) -> MeshHandle {
    Mesh::start(options(id, dir), &mut Registry::default()).expect("a mesh")
}

pub(crate) fn options(id: u64, dir: &TempDir) -> MeshOptions {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let codec = TableCodec { encode: encode_table, decode: decode_table };
    MeshOptions { ingress: any, gate: any, cores: 2, ..MeshOptions::new(NodeId(id), dir.path(), codec) }
}

/// A replica as a test places it.
pub(crate) struct Placed<'a> {
    pub(crate) node: &'a Node,
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
}

/// A deployment as a test describes it.
pub(crate) struct Deployed<'a> {
    pub(crate) name: &'static str,
    pub(crate) runtime: RouteRuntime,
    pub(crate) slots: u32,
    pub(crate) timeout_ms: u64,
    pub(crate) queue_ms: u64,
    pub(crate) state: ReplicaState,
    pub(crate) replicas: Vec<Placed<'a>>,
}

impl<'a> Deployed<'a> {
    /// A deployment with one replica on `node`.
    pub(crate) fn one(name: &'static str, node: &'a Node, id: u64, address: SocketAddr) -> Self {
        Self {
            name,
            runtime: RouteRuntime::Command,
            slots: 8,
            timeout_ms: 20_000,
            queue_ms: 20_000,
            state: ReplicaState::Serving,
            replicas: vec![Placed { node, id, address }],
        }
    }

    /// Publishes the replicas at their gates and returns the routes.
    pub(crate) fn publish(&self, endpoint: &str) -> DeploymentRoute {
        for placed in &self.replicas {
            placed.node.mesh.publish_local(ReplicaId(placed.id), self.local(endpoint, placed, LocalState::Open));
        }
        DeploymentRoute {
            name: DeploymentName::new(self.name).expect("a name"),
            generation: Generation(1),
            runtime: self.runtime,
            request_timeout_ms: self.timeout_ms,
            max_concurrent_requests_per_instance: self.slots,
            max_queue_wait_ms: self.queue_ms,
            scoring_path: "/score".into(),
            replicas: self
                .replicas
                .iter()
                .map(|placed| ReplicaRoute {
                    id: ReplicaId(placed.id),
                    node: placed.node.id,
                    epoch: NodeEpoch(1),
                    gate_address: placed.node.mesh.gate_addr().to_string(),
                    state: self.state,
                    slots: self.slots,
                })
                .collect(),
        }
    }

    pub(crate) fn local(&self, endpoint: &str, placed: &Placed<'_>, state: LocalState) -> LocalReplica {
        let key = DeploymentKey::new(
            EndpointName::new(endpoint).expect("a name"),
            DeploymentName::new(self.name).expect("a name"),
        );
        LocalReplica {
            key,
            address: placed.address,
            runtime: self.runtime,
            slots: self.slots,
            max_queue_wait_ms: self.queue_ms,
            state,
        }
    }
}

pub(crate) fn endpoint(name: &str, split: &[(&str, u32)], deployments: Vec<DeploymentRoute>) -> EndpointRoute {
    EndpointRoute {
        name: EndpointName::new(name).expect("a name"),
        revision: LogIndex(1),
        auth_mode: AuthMode::None,
        key_hashes: Vec::new(),
        max_body_bytes: 1 << 20,
        idempotent: None,
        hedging: None,
        split: shares(split),
        mirror: Vec::new(),
        mirror_rules: MirrorRules::default(),
        created_at: LogTime::from_millis(1_790_000_000_999),
        deployments,
    }
}

pub(crate) fn shares(shares: &[(&str, u32)]) -> Vec<(DeploymentName, u32)> {
    shares.iter().map(|(name, percent)| (DeploymentName::new(name).expect("a name"), *percent)).collect()
}

pub(crate) fn table(version: u64, endpoints: Vec<EndpointRoute>) -> RouteTable {
    let revised = |route| EndpointRoute { revision: LogIndex(version), ..route };
    let endpoints = endpoints.into_iter().map(revised).map(|route| (route.name.clone(), Arc::new(route)));
    RouteTable { cluster_id: "test".into(), version: LogIndex(version), endpoints: endpoints.collect() }
}

pub(crate) fn full(version: u64, endpoints: Vec<EndpointRoute>) -> TableChange {
    TableChange::Full(table(version, endpoints))
}

/// One endpoint `fraud` with one deployment `blue` that gets everything.
pub(crate) fn simple(node: &Node, deployed: &Deployed<'_>) {
    let route = endpoint("fraud", &[(deployed.name, 100)], vec![deployed.publish("fraud")]);
    node.mesh.apply_table(full(1, vec![route])).expect("a table");
}

/// Serves HTTP/1.1 and HTTP/2 as a model's server would. Ends with the test's runtime.
pub(crate) async fn backend<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, std::convert::Infallible>(answered.await) }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A replica that answers with `text` and what it was asked.
pub(crate) async fn echo(text: &'static str) -> SocketAddr {
    backend(move |request: Request<Incoming>| async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let mut response = Response::new(body_of([text.as_bytes(), b":", &body].concat()));
        response
            .headers_mut()
            .insert("seen-uri", parts.uri.path_and_query().expect("a path").as_str().parse().expect("a value"));
        // What a replica may not say in the mesh's name.
        for name in ["x-berth-attempts", "x-berth-queue-ms", "x-berth-endpoint", "x-berth-deployment"] {
            response.headers_mut().insert(name, "7".parse().expect("a value"));
        }
        for name in ["authorization", "api-key", "x-berth-gate-token", "x-request-id", "host", "te", "connection"] {
            if let Some(value) = parts.headers.get(name) {
                let seen = http::HeaderName::try_from(format!("seen-{name}")).expect("a name");
                response.headers_mut().insert(seen, value.clone());
            }
        }
        response
    })
    .await
}

pub(crate) fn body_of(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

pub(crate) fn post(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(path).header("host", "any").body(Full::new(Bytes::from_static(body.as_bytes()))).expect("a request")
}

/// Sends one request on a connection of its own.
pub(crate) async fn call(address: SocketAddr, request: Request<Full<Bytes>>) -> (Parts, Bytes) {
    within(async {
        let response = open(address, request).await;
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.expect("a body").to_bytes())
    })
    .await
}

/// Sends one request and returns with the head of the answer.
pub(crate) async fn open(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("an answer")
}

pub(crate) fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

/// Returns how many replicas were asked, which an answer says where it was not one.
pub(crate) fn attempts(parts: &Parts) -> u64 {
    let said = header(parts, "x-berth-attempts");
    if said.is_empty() { 1 } else { said.parse().expect("a number") }
}

pub(crate) fn counters(node: &Node, deployment: &str) -> DeploymentCounters {
    let key = (EndpointName::new("fraud").expect("a name"), Some(DeploymentName::new(deployment).expect("a name")));
    node.mesh.counters().deployments.get(&key).cloned().unwrap_or_default()
}
