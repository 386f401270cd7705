//! What a mesh is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use berth_core::{defaults::DEFAULTS, error::Error, id::NodeId, traffic::table::RouteTable};

use berth_proto::tls::TlsFiles;

use super::{peers::PeerFiles, span::SpanOptions};

/// How a mesh is set up.
#[derive(Clone, Debug)]
pub struct MeshOptions {
    /// This node: its replicas are called within the process.
    pub node: NodeId,
    /// Where callers connect; port 0 picks one.
    pub ingress: SocketAddr,
    /// Where other nodes connect; port 0 picks one.
    pub gate: SocketAddr,
    /// The domain under which a host name is an endpoint.
    pub domain: String,
    /// Threads of the data side; 0 takes one per core.
    pub cores: usize,
    /// Where the last table and the gate token are kept.
    pub data_dir: PathBuf,
    /// How the table is stored.
    pub codec: TableCodec,
    /// What a connection may take.
    pub limits: Limits,
    /// Where a line per request is written; nothing for nowhere.
    pub access_log: Option<AccessLogOptions>,
    /// The certificate callers are shown; plain HTTP when absent.
    pub tls: Option<TlsFiles>,
    /// What nodes show each other; the gate's token alone when absent.
    pub peers: Option<PeerFiles>,
    /// Where spans go; without it, a caller's trace context goes to the replica as it came.
    pub spans: Option<SpanOptions>,
    /// Whether requests are timed and recorded and their answers counted; retries and refusals are counted anyhow. On; what that costs is measured by having it off, which is no
    /// setting of a node: it could say nothing of what it serves, and who answers slowly would go unnoticed.
    pub telemetry: bool,
}

/// Where and how much of an access log is kept.
#[derive(Clone, Debug)]
pub struct AccessLogOptions {
    /// The file that is written; older ones lie beside it, numbered from 1, the newest first.
    pub path: PathBuf,
    /// Bytes after which another file is begun.
    pub max_bytes: u64,
    /// Older files that are kept.
    pub files: usize,
}

/// The stored form of the table.
#[derive(Clone, Copy, Debug)]
pub struct TableCodec {
    /// Writes it.
    pub encode: fn(&RouteTable) -> Vec<u8>,
    /// Reads it.
    pub decode: fn(&[u8]) -> Result<RouteTable, Error>,
}

/// What a connection may take, so that no caller can take a node's memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all headers of a request.
    pub header_bytes: u32,
    /// Number of headers of a request.
    pub headers: usize,
    /// Bytes of a path with its query.
    pub uri_bytes: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Connections at once per core; further ones wait in the listener's backlog.
    pub connections: usize,
    /// Copies under way at once per node; further ones are dropped and counted.
    pub mirrors: u32,
    /// Bytes of a request that one copy may be behind; one that is slower is given up and counted.
    pub copy_bytes: usize,
    /// Bytes of requests that all copies of a core may be behind.
    pub copy_bytes_per_core: usize,
    /// Bytes of an answer that are kept to compare it; a longer one is the same, has to be and is not, or is not judged.
    pub compare_bytes: usize,
    /// Bytes of one whose tensors travel as bytes, and are compared where they lie.
    pub compare_tensor_bytes: usize,
    /// Bytes of answers that a node keeps to compare them; further ones are not judged.
    pub compare_bytes_per_node: usize,
    /// Bytes kept of one request's body that may be sent again although a replica has begun it, or that is copied to mirrors.
    pub replay_bytes: usize,
    /// Bytes kept of all requests of a node in case they have to be sent again.
    pub replay_bytes_per_node: usize,
    /// How long the gate of another node that was full is believed to be, at most.
    pub believe_full: Duration,
    /// How long a caller may take to send its headers, or to send another request.
    pub header_timeout: Duration,
    /// How long a replica waits for the body of its request in all, beside what the bytes that come earn.
    pub body_patience: Duration,
    /// How long an answer, which holds a slot, waits for its caller in all, beside what the bytes that are taken earn.
    pub answer_patience: Duration,
}

// === impl MeshOptions ===

impl MeshOptions {
    /// Creates options with every default, listening on loopback.
    pub fn new(node: NodeId, data_dir: impl Into<PathBuf>, codec: TableCodec) -> Self {
        Self {
            node,
            ingress: SocketAddr::from(([127, 0, 0, 1], DEFAULTS.ingress_port)),
            gate: SocketAddr::from(([127, 0, 0, 1], DEFAULTS.gate_port)),
            domain: DEFAULTS.domain.to_owned(),
            cores: 0,
            data_dir: data_dir.into(),
            codec,
            limits: Limits::default(),
            access_log: None,
            tls: None,
            peers: None,
            spans: None,
            telemetry: true,
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Twice what common servers take, since tracing headers and tokens of several hops add up.
            header_bytes: 64 << 10,
            headers: 128,
            uri_bytes: 8 << 10,
            // Enough for a gRPC client that multiplexes everything, bounded because each stream holds a window.
            streams: 256,
            connections: 8_192,
            // Measured: a mirror whose target hangs costs its own memory only, up to this many bodies.
            mirrors: 256,
            // A body of ten megabytes may arrive at once while the mirror's connection is still being made.
            copy_bytes: 16 << 20,
            copy_bytes_per_core: 64 << 20,
            // Comparing it takes milliseconds of a thread of its own, and some megabytes as values.
            compare_bytes: 1 << 20,
            // Tensors of a batch of images, or a few pictures, fit.
            compare_tensor_bytes: 16 << 20,
            compare_bytes_per_node: 64 << 20,
            // A hundred images of 224 × 224 as floats; of four such requests, or of very many smaller ones.
            replay_bytes: 64 << 20,
            replay_bytes_per_node: 256 << 20,
            // A few round trips between hosts: each gate is asked a hundred times a second, however many are refused.
            believe_full: Duration::from_millis(10),
            // A client behind a pool of its own reuses a connection within a minute.
            header_timeout: Duration::from_secs(75),
            // A caller that has begun a request has its body, or is about to read it from a disk or a network of its own.
            body_patience: Duration::from_secs(10),
            // What nginx grants a caller that takes nothing.
            answer_patience: Duration::from_secs(60),
        }
    }
}
