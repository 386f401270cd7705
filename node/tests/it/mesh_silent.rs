//! Another node that falls silent: its kernel takes bytes, and nobody answers. Pings find it, and requests go elsewhere.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use berth_core::id::{NodeId, ReplicaId};
use berth_node::mesh::LocalState;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use crate::{
    mesh_abuse::HEADERS,
    mesh_support::{
        Deployed, Node, Placed, attempts, backend, body_of, call, echo, endpoint, full, header, node, one_core, post,
        simple, until, within,
    },
};

/// What connections that nobody answers on were sent.
type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Counts the requests among what a connection was sent.
fn requests(sent: &[u8]) -> usize {
    const PREFACE: usize = 24;
    let (mut at, mut requests) = (PREFACE, 0);
    while let Some(head) = sent.get(at..at + 9) {
        requests += usize::from(head[3] == HEADERS);
        at += 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    }
    requests
}

/// Takes what comes, for good.
fn mute(mut stream: TcpStream, sent: &Sent) {
    let at = {
        let mut sent = sent.lock().expect("no panic");
        sent.push(Vec::new());
        sent.len() - 1
    };
    let sent = sent.clone();
    tokio::spawn(async move {
        let mut part = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            sent.lock().expect("no panic")[at].extend_from_slice(&part[..read]);
        }
    });
}

/// `fraud` with replica 1 behind a gate of node 3, and replica 2, at `well`, of `owner`.
fn route(entry: &Node, owner: &Node, version: u64, silent: SocketAddr, well: Option<SocketAddr>) {
    let ids = if well.is_some() { 1..=2 } else { 1..=1 };
    let replicas = ids.map(|id| Placed { node: owner, id, address: silent }).collect();
    let deployed = Deployed { slots: 1, replicas, ..Deployed::one("blue", owner, 1, silent) };
    let mut blue = deployed.publish("fraud");
    if let Some(address) = well {
        let well = Placed { node: owner, id: 2, address };
        owner.mesh.publish_local(ReplicaId(2), deployed.local("fraud", &well, LocalState::Open));
    }
    blue.replicas[0].node = NodeId(3);
    blue.replicas[0].gate_address = silent.to_string();
    let route = endpoint("fraud", &[("blue", 100)], vec![blue]);
    entry.mesh.apply_table(full(version, vec![route])).expect("a table");
}

#[tokio::test]
async fn a_node_that_takes_bytes_and_never_speaks_is_sent_no_request() {
    let (n1, n2) = (one_core(), node(2));
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let sent = Sent::default();
    let taken = sent.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = silent.accept().await {
            mute(stream, &taken);
        }
    });
    route(&n1, &n2, 1, address, Some(echo("well").await));
    for turn in 0..40 {
        // What must not be done twice.
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"well:body"[..]), "request {turn}");
    }
    let sent = sent.lock().expect("no panic");
    assert!(!sent.is_empty(), "it was connected to");
    assert!(sent.iter().all(|sent| requests(sent) == 0), "nothing was asked there");
}

/// A gate that answers one request, takes some more with their bodies, tells of them, and says nothing from then on; nor
/// does it to whoever connects later.
async fn falls_silent(takes: usize, sent: &Sent) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (seen, told) = mpsc::unbounded_channel();
    let sent = sent.clone();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a router");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let mut taken = Vec::new();
        while taken.len() < takes {
            let (request, mut respond) = connection.accept().await.expect("a request").expect("a request");
            // What routers ask to have a connection before callers come is answered, too.
            if ["/first", "/"].contains(&request.uri().path()) {
                respond.send_response(Response::new(()), true).expect("the router waits");
                continue;
            }
            let path = request.uri().path().to_owned();
            taken.push((request.into_body(), respond, path));
        }
        for (body, ..) in &mut taken {
            loop {
                tokio::select! {
                    part = body.data() => if part.is_none() { break },
                    _ = connection.accept() => {}
                }
            }
        }
        for (.., path) in &taken {
            let _ = seen.send(path.clone());
        }
        // Nobody looks at the connection any more, which stays open.
        while let Ok((stream, _)) = listener.accept().await {
            mute(stream, &sent);
        }
        drop((connection, taken));
    });
    (address, told)
}

fn calling(node: &Node, request: http::Request<http_body_util::Full<bytes::Bytes>>) -> Calling {
    let address = node.mesh.ingress_addr();
    tokio::spawn(async move { call(address, request).await })
}

type Calling = JoinHandle<(http::response::Parts, bytes::Bytes)>;

#[tokio::test]
async fn a_conversation_that_falls_silent_ends_and_what_may_be_repeated_goes_elsewhere() {
    let (n1, n2) = (one_core(), node(2));
    let sent = Sent::default();
    let (silent, mut told) = falls_silent(3, &sent).await;
    route(&n1, &n2, 1, silent, None);
    let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/first", "")).await;
    assert_eq!(parts.status, 200, "it was well");

    // The other replica is busy, with a request that this router knows nothing of.
    let (permits, came) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (go_on, arrived) = (permits.clone(), came.clone());
    let well = backend(move |request| {
        let (go_on, arrived) = (go_on.clone(), arrived.clone());
        async move {
            let _ = request.into_body().collect().await;
            arrived.add_permits(1);
            go_on.acquire().await.expect("open").forget();
            Response::new(body_of("well"))
        }
    })
    .await;
    route(&n1, &n2, 2, silent, Some(well));
    let only = Deployed { slots: 1, ..Deployed::one("blue", &n2, 2, well) };
    simple(&n2, &only);
    let busy = calling(&n2, post("/e/fraud/score", "busy"));
    within(came.acquire()).await.expect("open").forget();

    let once = calling(&n1, post("/e/fraud/score", "body"));
    let again = calling(&n1, post("/e/fraud/v2/models/m/infer", "body"));
    let get = http::Request::get("/e/fraud/any").header("host", "any").body(http_body_util::Full::default());
    let bare = calling(&n1, get.expect("a request"));
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(within(told.recv()).await.expect("a request"));
    }
    paths.sort();
    assert_eq!(paths, ["/any", "/score", "/v2/models/m/infer"], "all three are under way there");
    permits.add_permits(1_000);
    assert_eq!(within(busy).await.expect("a task").0.status, 200);

    // Nobody can tell whether it was done, and it must not be done twice.
    let (parts, _) = within(once).await.expect("a task");
    let told_of = (parts.status.as_u16(), header(&parts, "ms-azureml-model-error-statuscode"));
    assert_eq!(told_of, (424, "502"));
    for repeated in [again, bare] {
        let (parts, body) = within(repeated).await.expect("a task");
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"well"[..]));
        assert!(attempts(&parts) > 1, "it was asked elsewhere");
    }
    for turn in 0..20 {
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"well"[..]), "request {turn} after it");
    }
    // Where there is nobody else it is called again, on another connection, and is sent nothing before it speaks.
    route(&n1, &n2, 3, silent, None);
    let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")).await;
    assert_eq!(parts.status, 503);
    until(|| !sent.lock().expect("no panic").is_empty()).await;
    assert!(sent.lock().expect("no panic").iter().all(|sent| requests(sent) == 0), "nothing was asked there");
}
