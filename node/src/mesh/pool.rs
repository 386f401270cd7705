//! Connections from a gate to its replicas, per core, and what hangs on one request's work.
//!
//! HTTP/1.1 connections are kept and used again; gRPC goes over HTTP/2, on one connection as long as that takes all of it. A `python` replica gets a
//! connection per request: an idle one blocks the single synchronous worker of azureml-inference-server-http, and since
//! that worker cannot be cancelled, its answer is read to the end even when the caller has left, with the slot held.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration};

use berth_core::{id::ReplicaId, traffic::table::RouteRuntime};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header, uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use super::{
    body::{Download, ReqBody},
    conn::{self, H2Link, SendFailure, classify_http1},
    gate::{CONNECT_TIMEOUT, GateReplica, Slot},
    headers::{self, Ends},
    tunnel::{self, Switch, Tunnel},
    wire::Wire,
};

/// How long an unused connection is kept. Shorter than what common servers grant an idle one (gunicorn 2 s, others 5 s),
/// so that a request does not meet a connection that is just being closed.
const IDLE_MAX: Duration = Duration::from_millis(1_500);

/// Unused connections kept per replica and core.
const IDLE_PER_REPLICA: usize = 64;

/// Headers a model's server may send; more is no answer.
const HEADERS_MAX: usize = 256;

/// The connections of one core.
#[derive(Default)]
pub(super) struct Pool {
    replicas: RefCell<BTreeMap<ReplicaId, Conns>>,
    orphans: RefCell<Vec<(Wire, WorkHold)>>,
    orphaned: Notify,
}

struct Conns {
    address: SocketAddr,
    idle: Vec<Conn>,
    h2: Option<Rc<H2Link>>,
}

/// An HTTP/1.1 connection; it is closed when this goes away.
struct Conn {
    sender: http1::SendRequest<ReqBody>,
    task: AbortHandle,
    since: Instant,
}

/// What ends when the work on a request ends.
pub(super) struct WorkHold {
    slot: Slot,
    /// Nothing over HTTP/2, where a stream ends on its own.
    http1: Option<Box<Http1Hold>>,
}

struct Http1Hold {
    conn: Conn,
    end: Http1End,
}

/// What becomes of a connection of HTTP/1.1.
enum Http1End {
    /// It goes back there when its answer ended in order; a caller that leaves closes it, which ends the work.
    Kept(Rc<Pool>, SocketAddr),
    /// It serves one request, whose work nobody can end: who left has its answer read.
    Once(Rc<Pool>),
}

// === impl Conn ===

impl Drop for Conn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl WorkHold ===

impl WorkHold {
    /// The answer is over; a connection that ended in order is used again.
    pub(super) fn end(self, whole: bool) {
        let Some(http1) = self.http1.filter(|_| whole) else { return };
        let Http1Hold { mut conn, end } = *http1;
        if let Http1End::Kept(pool, address) = end {
            conn.since = Instant::now();
            pool.put(self.slot.replica().id, address, conn);
        }
    }

    /// The caller left in the middle of the answer.
    pub(super) fn abandon(self, answer: Wire) {
        let reader = self.http1.as_ref().and_then(|http1| match &http1.end {
            Http1End::Once(reader) => Some(reader.clone()),
            Http1End::Kept(..) => None,
        });
        if let Some(pool) = reader {
            pool.orphans.borrow_mut().push((answer, self));
            pool.orphaned.notify_one();
        }
    }
}

// === impl Pool ===

impl Pool {
    /// Sends a request to the replica whose slot is held. Nothing in its head belongs to an earlier hop.
    pub(super) async fn send(
        self: &Rc<Self>,
        slot: Slot,
        mut request: Box<Request<ReqBody>>,
    ) -> Result<Response<Download>, SendFailure> {
        let (address, runtime) = {
            let local = slot.replica().local();
            (local.address, local.runtime)
        };
        if headers::is_grpc(request.headers()) {
            let link = self.h2(slot.replica(), address);
            let answer = link.send(request).await?;
            return Ok(finish(answer, WorkHold { slot, http1: None }));
        }
        to_origin_form(&mut request);
        if request.extensions_mut().remove::<Switch>().is_some() {
            return Box::pin(self.clone().switch(slot, address, *request, runtime)).await;
        }
        if runtime != RouteRuntime::Python {
            return Box::pin(self.clone().send_h1(slot, address, *request, true)).await;
        }
        // The worker goes on whatever happens to the caller, and so does the task that holds its slot.
        let pool = self.clone();
        let work = tokio::task::spawn_local(async move { pool.send_h1(slot, address, *request, false).await });
        work.await.unwrap_or(Err(SendFailure::Broken))
    }

    /// Asks a replica to change the protocol, on a connection of its own.
    async fn switch(
        self: Rc<Self>,
        slot: Slot,
        address: SocketAddr,
        request: Request<ReqBody>,
        runtime: RouteRuntime,
    ) -> Result<Response<Download>, SendFailure> {
        let (mut parts, caller) = request.into_parts();
        tunnel::agree(&mut parts.headers);
        let mut conn = open(address).await?;
        let asked = conn.sender.send_request(Request::from_parts(parts, ReqBody::empty())).await;
        let mut answer = asked.map_err(|error| classify_http1(&error, false, false))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            // An answer as any other: who leaves ends it, where it can be ended.
            let is_endless = runtime == RouteRuntime::Python;
            let end = if is_endless { Http1End::Once(self) } else { Http1End::Kept(self, address) };
            let http1 = Some(Box::new(Http1Hold { conn, end }));
            return Ok(finish(answer.map(Wire::Http1), WorkHold { slot, http1 }));
        }
        let replica = hyper::upgrade::on(&mut answer).await.map_err(|_| SendFailure::BeforeBody)?;
        let tunnel = Wire::Tunnel(Box::new(Tunnel::to_replica(replica, caller)));
        Ok(finish(answer.map(|_| tunnel), WorkHold { slot, http1: None }))
    }

    async fn send_h1(
        self: Rc<Self>,
        slot: Slot,
        address: SocketAddr,
        mut request: Request<ReqBody>,
        keep: bool,
    ) -> Result<Response<Download>, SendFailure> {
        let (taken, empty) = (request.body().taken(), request.body().is_empty());
        if !keep {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        loop {
            let pooled = keep.then(|| self.take(slot.replica().id, address)).flatten();
            let fresh = pooled.is_none();
            let mut conn = match pooled {
                Some(conn) => conn,
                None => open(address).await?,
            };
            let mut error = match conn.sender.try_send_request(request).await {
                // Nobody asked it to: what follows would be no HTTP.
                Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => return Err(SendFailure::Broken),
                Ok(answer) => {
                    let end = if keep { Http1End::Kept(self, address) } else { Http1End::Once(self) };
                    let http1 = Some(Box::new(Http1Hold { conn, end }));
                    return Ok(finish(answer.map(Wire::Http1), WorkHold { slot, http1 }));
                }
                Err(error) => error,
            };
            match error.take_message() {
                // A pooled connection had ended: nothing was sent, and another one is tried.
                Some(unsent) if !fresh => request = unsent,
                Some(_) => return Err(SendFailure::Unreachable),
                None => return Err(classify_http1(&error.into_error(), taken.get(), empty)),
            }
        }
    }

    fn h2(&self, replica: &GateReplica, address: SocketAddr) -> Rc<H2Link> {
        let mut replicas = self.replicas.borrow_mut();
        let conns = Conns::at(&mut replicas, replica.id, address);
        let link = || Rc::new(H2Link::new(address.to_string(), CONNECT_TIMEOUT, false));
        conns.h2.get_or_insert_with(link).clone()
    }

    fn take(&self, id: ReplicaId, address: SocketAddr) -> Option<Conn> {
        let mut replicas = self.replicas.borrow_mut();
        let conns = Conns::at(&mut replicas, id, address);
        while let Some(conn) = conns.idle.pop() {
            let usable = conn.sender.is_ready() && conn.since.elapsed() < IDLE_MAX;
            if usable {
                return Some(conn);
            }
        }
        None
    }

    fn put(&self, id: ReplicaId, address: SocketAddr, conn: Conn) {
        let mut replicas = self.replicas.borrow_mut();
        let conns = Conns::at(&mut replicas, id, address);
        if conns.idle.len() < IDLE_PER_REPLICA {
            conns.idle.push(conn);
        }
    }

    /// Closes what was not used for a while, and everything of replicas that are gone.
    pub(super) fn sweep(&self, lives: impl Fn(ReplicaId) -> bool) {
        self.replicas.borrow_mut().retain(|id, conns| {
            conns.idle.retain(|conn| conn.since.elapsed() < IDLE_MAX && !conn.sender.is_closed());
            conns.h2.iter().for_each(|link| link.trim());
            lives(*id)
        });
    }

    /// Reads the answers nobody waits for, so that their slots are freed when the work ends.
    pub(super) async fn read_orphans(self: Rc<Self>) {
        loop {
            self.orphaned.notified().await;
            for (answer, hold) in self.orphans.take() {
                tokio::task::spawn_local(Download::of_work(answer, hold).discard());
            }
        }
    }
}

impl Conns {
    /// Finds the connections of a replica; those to an older process of it are closed.
    fn at(replicas: &mut BTreeMap<ReplicaId, Self>, id: ReplicaId, address: SocketAddr) -> &mut Self {
        let conns = replicas.entry(id).or_insert_with(|| Self { address, idle: Vec::new(), h2: None });
        if conns.address != address {
            *conns = Self { address, idle: Vec::new(), h2: None };
        }
        conns
    }
}

async fn open(address: SocketAddr) -> Result<Conn, SendFailure> {
    let opened = async {
        let stream = conn::connect(&address.to_string(), CONNECT_TIMEOUT).await?;
        let (sender, connection) =
            http1::Builder::new().max_headers(HEADERS_MAX).handshake::<_, ReqBody>(TokioIo::new(stream)).await?;
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a replica's connection ended");
            }
        });
        Ok::<_, super::BoxError>(Conn { sender, task: task.abort_handle(), since: Instant::now() })
    };
    opened.await.map_err(|error| {
        tracing::debug!(%address, %error, "could not connect to a replica");
        SendFailure::Unreachable
    })
}

fn finish(answer: Response<Wire>, mut hold: WorkHold) -> Response<Download> {
    hold.slot.answered(answer.status());
    let mut answer = answer.map(|body| Download::of_work(body, hold));
    // Each hop speaks a version of its own: passed on, an older one would end the caller's connection.
    *answer.version_mut() = http::Version::HTTP_11;
    let map = answer.headers_mut();
    let ends = Ends::of(map);
    ends.strip_hop_by_hop(map);
    ends.strip_internal(map);
    ends.strip_names(map);
    answer
}

/// Rewrites `http://host/path` to `/path` with a Host header, as an HTTP/1.1 server expects it.
fn to_origin_form<B>(request: &mut Request<B>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = http::Version::HTTP_11;
}
