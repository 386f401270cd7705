//! How soon a replica hears that a caller has left.
//!
//! A caller sends a request that is at work for long, waits until the model has begun, and goes: it closes its connection
//! (HTTP/1.1) or resets its stream (HTTP/2, gRPC). The model notes when its work is taken from it. Both are on one host and
//! read one clock, so the difference is the whole way: ingress, gate of another node, replica.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use berth_client::{
    Address,
    http1::{Pool, PoolPolicy},
};
use berth_core::model::{AuthMode, EndpointSpec};
use hyper::{
    Request,
    body::Bytes,
    header::{CONTENT_TYPE, HOST, TE},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    cluster::{Cluster, ENDPOINT, WITHIN},
    echo::{COUNTS, LEFT},
    protocol::{MODEL_INFER, Protocol, call},
};

/// How long a request is at work unless its caller leaves.
const WORK_MS: u64 = 30_000;

/// What is promised of it.
pub const LAW: Duration = Duration::from_millis(100);

/// What became of the callers of one protocol who left.
#[derive(Clone, Debug)]
pub struct Leavers {
    protocol: Protocol,
    hops: usize,
    /// From the leaving to the hearing, sorted.
    took: Vec<Duration>,
}

/// A replica that is asked when it was left.
struct Model {
    pool: Pool,
}

// === impl Model ===

impl Model {
    async fn says(&self, path: &str) -> String {
        let request = Request::get(path).body(Bytes::new()).expect("a request");
        let answer = timeout(WITHIN, self.pool.send(request)).await.expect("in time").expect("the replica answers");
        String::from_utf8_lossy(answer.body()).into_owned()
    }

    /// Returns how many requests it has begun.
    async fn begun(&self) -> u64 {
        let said = self.says(COUNTS).await;
        said.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Returns when the work of a request was taken from it, in microseconds since 1970.
    async fn left(&self, id: &str) -> Option<u64> {
        let said = self.says(LEFT).await;
        said.lines().find_map(|line| line.strip_prefix(id)?.strip_prefix(' ')?.parse().ok())
    }
}

// === impl Leavers ===

impl Leavers {
    /// Lets callers of a protocol leave one after the other, through the ingress of the replica's own node or of another.
    pub async fn measure(cluster: &Cluster, protocol: Protocol, hops: usize, callers: usize) -> Self {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed");
        let replica = replicas.iter().find(|replica| replica.state == "serving").expect("it serves");
        let nodes = cluster.client.list_nodes().await.expect("the nodes are listed");
        let near = nodes.iter().find(|node| (node.node == replica.node) == (hops == 1)).expect("a node of that kind");
        let ingress = near.ingress_address.parse().expect("where it listens");
        let address: Address = replica.address.parse().expect("where it listens");
        let model = Model { pool: Pool::new(address, PoolPolicy::default()) };
        let mut took = Vec::new();
        for number in 0..callers {
            took.push(one(&model, ingress, protocol, &format!("{}-{hops}-{number}", protocol.name())).await);
        }
        took.sort_unstable();
        Self { protocol, hops, took }
    }

    /// Returns what `permille` of a thousand took at most.
    pub fn within(&self, permille: usize) -> Duration {
        self.took[(self.took.len() * permille / 1_000).min(self.took.len() - 1)]
    }

    /// The heading above rows.
    pub fn heading() -> String {
        let columns = format!("{:<10} {:>5} {:>8}", "protocol", "hops", "leavers");
        format!("{columns} {:>8} {:>8} {:>8} {:>15}", "p50 ms", "p99 ms", "max ms", "within 100 ms")
    }
}

impl fmt::Display for Leavers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, hops, took } = self;
        write!(f, "{:<10} {hops:>5} {:>8}", protocol.title(), took.len())?;
        for permille in [500, 990, 1_000] {
            let micros = self.within(permille).as_micros();
            write!(f, " {:>8}", format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10))?;
        }
        let lawful = took.iter().filter(|took| **took <= LAW).count();
        write!(f, " {:>8} of {:>3}", lawful, took.len())
    }
}

/// Starts a cluster of two nodes with one replica.
pub async fn start(berth: &str) -> Cluster {
    let cluster = Cluster::start(berth, 1, 2).await;
    let spec = EndpointSpec { auth_mode: AuthMode::None, idempotent: Some(false), ..EndpointSpec::default() };
    cluster.put_endpoint(ENDPOINT, &spec).await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 1;
    spec.request_settings.request_timeout_ms = 2 * WORK_MS;
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
    cluster
}

/// Asks, waits until the model has begun, leaves, and returns how long it took until the model heard of it.
async fn one(model: &Model, ingress: SocketAddr, protocol: Protocol, id: &str) -> Duration {
    let before = model.begun().await;
    let body = Bytes::from(format!("sleep:{WORK_MS} {id}"));
    let begins = async {
        while model.begun().await == before {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let left_at = match protocol {
        Protocol::Http1 => {
            let mut stream = TcpStream::connect(ingress).await.expect("a connection");
            let head = format!(
                "POST /e/{ENDPOINT}/anything HTTP/1.1\r\nhost: {ingress}\r\nx-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("it is sent");
            timeout(WITHIN, begins).await.expect("the model begins in time");
            drop(stream);
            now()
        }
        Protocol::Http2 | Protocol::Grpc => {
            let stream = TcpStream::connect(ingress).await.expect("a connection");
            let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            let mut sender = sender.ready().await.expect("it takes requests");
            let (head, body) = request(protocol, ingress, id, body).into_parts();
            let (answer, mut upload) =
                sender.send_request(Request::from_parts(head, ()), false).expect("a stream is opened");
            upload.send_data(body, true).expect("it is sent");
            timeout(WITHIN, begins).await.expect("the model begins in time");
            // The last that holds a stream lets it be reset; the connection stays.
            drop((answer, upload));
            now()
        }
    };
    let until = Instant::now() + WITHIN;
    loop {
        if let Some(heard_at) = model.left(id).await {
            return Duration::from_micros(heard_at.saturating_sub(left_at));
        }
        assert!(Instant::now() < until, "the model never hears that {id} has left");
        sleep(Duration::from_millis(5)).await;
    }
}

fn request(protocol: Protocol, ingress: SocketAddr, id: &str, body: Bytes) -> Request<Bytes> {
    let plain = Request::post(format!("http://{ingress}/e/{ENDPOINT}/anything")).header("x-request-id", id);
    let plain = plain.body(body).expect("a request");
    if protocol != Protocol::Grpc {
        return plain;
    }
    let mut asked = call(plain, id);
    *asked.uri_mut() = format!("http://{ingress}{MODEL_INFER}").parse().expect("an address");
    for (name, value) in [(CONTENT_TYPE, "application/grpc"), (TE, "trailers")] {
        asked.headers_mut().insert(name, value.parse().expect("a value"));
    }
    asked.headers_mut().remove(HOST);
    asked
}

/// Reads the clock of the host as the model does.
fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}
