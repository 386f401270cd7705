//! The gate's listener: requests from the ingress of other nodes.

use std::{rc::Rc, sync::Arc};

use berth_core::{
    time::Millis,
    traffic::{admission::NotStarted, passing},
};
use http::{HeaderValue, Request, Response, StatusCode};

use super::{
    auth,
    body::{Download, OutBody, ReqBody},
    conn::SendFailure,
    gate::Entry,
    headers::{self, Ends},
    link::{self, GateEntry, Lane},
    tunnel::Switch,
    wire::Wire,
    worker::Core,
};

/// Answers one request. Whether it starts is decided on its headers, before a byte of its body is read.
pub(super) async fn handle(core: Rc<Core>, mut request: Request<Wire>) -> Response<OutBody> {
    if !is_of_this_cluster(&core, &request) {
        return not_started(StatusCode::UNAUTHORIZED, NotStarted::Token, None);
    }
    if request.headers().contains_key(headers::GATE_PROBE) {
        return empty(StatusCode::NO_CONTENT);
    }
    if let Some(successor) = core.shared.successor.get() {
        return pass_on(&core, successor, request).await;
    }
    let Some(entry) = GateEntry::read(request.headers()) else { return empty(StatusCode::BAD_REQUEST) };
    let map = request.headers_mut();
    let is_copy = map.contains_key(headers::MIRROR);
    let left = map.get(headers::GATE_DEADLINE).cloned();
    let ends = Ends::of(map);
    ends.strip_internal(map);
    ends.strip_hop_by_hop(map);
    let shared = &core.shared;
    let Some(replica) = shared.gate.find(entry.replica) else {
        return not_started(StatusCode::SERVICE_UNAVAILABLE, NotStarted::Unknown, None);
    };
    let deadline = shared.clock.now() + Millis(entry.remaining_ms);
    let (slot, queued_ms) =
        match replica.enter(Entry { deadline, may_queue: entry.may_queue, spare: entry.spare }).await {
            Ok(entered) => entered,
            Err(refused) => {
                let mut response = not_started(StatusCode::SERVICE_UNAVAILABLE, refused.reason, Some(replica.load()));
                response.headers_mut().insert(headers::GATE_QUEUE_MS, refused.queued_ms.into());
                if let Some(after) = refused.retry_after {
                    response.headers_mut().insert(headers::GATE_RETRY_MS, after.0.into());
                }
                return response;
            }
        };
    if entry.switches {
        request.extensions_mut().insert(Switch);
    } else if headers::is_grpc(request.headers()) {
        headers::shorten_grpc_timeout(request.headers_mut(), queued_ms);
    } else if let Some(all) = left {
        let left = if queued_ms == 0 { all } else { entry.remaining_ms.saturating_sub(queued_ms).max(1).into() };
        request.headers_mut().insert(headers::REQUEST_TIMEOUT_MS, left);
    }
    let pool = if is_copy { &core.copies } else { &core.pool };
    let sent = pool.send(slot, Box::new(request.map(ReqBody::wire))).await;
    let mut response = match sent {
        Ok(response) => response.map(OutBody::Download),
        Err(SendFailure::Unreachable | SendFailure::Unprocessed) => {
            return not_started(StatusCode::SERVICE_UNAVAILABLE, NotStarted::Unreachable, Some(replica.load()));
        }
        Err(SendFailure::BeforeBody) => broken("head"),
        Err(SendFailure::Broken) => broken("body"),
    };
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        // Between gates it is a stream as any other.
        *response.status_mut() = StatusCode::OK;
    }
    let map = response.headers_mut();
    if switched {
        map.insert(headers::GATE_SWITCHED, HeaderValue::from_static("1"));
    }
    map.insert(headers::GATE_QUEUE_MS, queued_ms.into());
    map.insert(headers::GATE_LOAD, replica.load().into());
    response
}

/// Lets the gate of a newer process of this node decide, on a request whose caller did not know of it yet.
async fn pass_on(core: &Rc<Core>, successor: &Arc<str>, mut request: Request<Wire>) -> Response<OutBody> {
    let passed = link::number(request.headers(), &headers::GATE_PASSED).unwrap_or(0);
    let Some(passed) = passing::hop(passed) else {
        tracing::warn!(%successor, "a request went round among the processes of this node");
        return not_started(StatusCode::SERVICE_UNAVAILABLE, NotStarted::Draining, None);
    };
    request.headers_mut().insert(headers::GATE_PASSED, passed.into());
    let lane = if request.headers().contains_key(headers::MIRROR) { Lane::Mirror } else { Lane::Primary };
    let link = core.links.to(successor, lane);
    match link.send(Box::new(request.map(ReqBody::wire))).await {
        Ok(response) => response.map(|wire| OutBody::Download(Download::of_gate(wire))),
        Err(SendFailure::Unreachable | SendFailure::Unprocessed) => {
            not_started(StatusCode::SERVICE_UNAVAILABLE, NotStarted::Unreachable, None)
        }
        Err(SendFailure::BeforeBody) => broken("head"),
        Err(SendFailure::Broken) => broken("body"),
    }
}

fn is_of_this_cluster(core: &Core, request: &Request<Wire>) -> bool {
    let (Some(shown), Some(token)) = (request.headers().get(headers::GATE_TOKEN), core.shared.token()) else {
        return false;
    };
    auth::same_secret(shown.as_bytes(), token.as_bytes())
}

fn empty(status: StatusCode) -> Response<OutBody> {
    let mut response = Response::new(OutBody::Full(None));
    *response.status_mut() = status;
    response
}

fn not_started(status: StatusCode, reason: NotStarted, load: Option<u32>) -> Response<OutBody> {
    let mut response = empty(status);
    response.headers_mut().insert(headers::NOT_STARTED, HeaderValue::from_static(reason.word()));
    if let Some(load) = load {
        response.headers_mut().insert(headers::GATE_LOAD, load.into());
    }
    response
}

fn broken(since: &'static str) -> Response<OutBody> {
    let mut response = empty(StatusCode::BAD_GATEWAY);
    response.headers_mut().insert(headers::GATE_BROKEN, HeaderValue::from_static(since));
    response
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use berth_core::id::NodeId;
    use berth_proto::node::{decode_table, encode_table};
    use prometheus_client::registry::Registry;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };

    use crate::mesh::{Mesh, MeshHandle, MeshOptions, TableCodec};

    fn mesh(folder: &tempfile::TempDir) -> MeshHandle {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let codec = TableCodec { encode: encode_table, decode: decode_table };
        let options =
            MeshOptions { ingress: any, gate: any, cores: 1, ..MeshOptions::new(NodeId(1), folder.path(), codec) };
        let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
        mesh.set_gate_token("token");
        mesh
    }

    /// A core that was busy while its process was taken over goes on taking connections, those of its own process as well.
    #[tokio::test]
    async fn a_request_that_goes_round_is_refused() {
        let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
        let [own, one, other] = folders.each_ref().map(mesh);
        own.pass_on_to(own.gate_addr());
        one.pass_on_to(other.gate_addr());
        other.pass_on_to(one.gate_addr());
        for (asked, why) in [(&own, "to itself"), (&one, "to one that passes it back")] {
            let mut stream = TcpStream::connect(asked.gate_addr()).await.expect("a connection");
            let request = "POST http://gate/score HTTP/1.1\r\nhost: gate\r\nx-berth-gate-token: token\r\n\
                           x-berth-gate-replica: 1\r\nx-berth-gate-deadline-ms: 60000\r\ncontent-length: 1\r\n\r\nx";
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let read = timeout(Duration::from_secs(30), stream.read_buf(&mut answer)).await;
                assert_ne!(read.expect("in time").expect("read"), 0, "{why}");
            }
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 503"), "{why}: {answer}");
            assert!(answer.contains("x-berth-not-started: draining"), "{why}: {answer}");
        }
    }
}
