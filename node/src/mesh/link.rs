//! From an ingress to the gate of another node: what is asked, and what the answer means.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use berth_core::{
    id::ReplicaId,
    time::Millis,
    traffic::{admission::NotStarted, retry::Failure},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::{
    body::{Download, ReqBody},
    conn::{H2Link, SendFailure},
    headers::{self, Ends},
    peers::Peers,
    tunnel::Switch,
};

/// How long another node's gate may take to accept: beyond it the host is gone or in trouble.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Which requests share a connection: copies have their own, so that a stuck mirror holds no window of the primary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Primary,
    Mirror,
}

/// The connections of one core to other gates.
pub(super) struct Links {
    links: RefCell<LinkMap>,
    peers: Option<Peers>,
}

type LinkMap = BTreeMap<(Arc<str>, Lane), Rc<H2Link>>;

/// An answer with what its gate said beside it.
pub(super) struct Gated {
    pub(super) response: Response<Download>,
    pub(super) queued_ms: u64,
    /// What the replica has, running and waiting.
    pub(super) load: Option<u64>,
}

/// A request that got no answer, with what its gate said beside it.
#[derive(Clone, Copy)]
pub(super) struct Missed {
    pub(super) failure: Failure,
    pub(super) load: Option<u64>,
    /// When a full replica is expected to have a place again.
    pub(super) retry_after: Option<Millis>,
    /// How long it waited in vain.
    pub(super) queued_ms: u64,
}

/// What a gate is asked beside the request itself.
pub(super) struct GateAsk<'a> {
    pub(super) token: Option<&'a HeaderValue>,
    pub(super) replica: &'a HeaderValue,
    pub(super) may_queue: bool,
    /// A copy for a deployment that answers callers too.
    pub(super) spare: bool,
    pub(super) remaining_ms: u64,
}

// === impl Links ===

impl Links {
    pub(super) fn new(peers: Option<Peers>) -> Self {
        Self { links: RefCell::default(), peers }
    }

    /// Returns the link to a gate.
    pub(super) fn to(&self, address: &Arc<str>, lane: Lane) -> Rc<H2Link> {
        let mut links = self.links.borrow_mut();
        let link = || Rc::new(H2Link::new(&**address, CONNECT_TIMEOUT, true).within(self.peers.clone()));
        links.entry((address.clone(), lane)).or_insert_with(link).clone()
    }

    /// Lets go of the links to gates that no route names, and of connections beyond what is needed; what runs on them ends on its own.
    pub(super) fn retain(&self, named: impl Fn(&str) -> bool) {
        let mut links = self.links.borrow_mut();
        links.retain(|(address, _), _| named(address));
        links.values().for_each(|link| link.trim());
    }
}

/// Sends a request through the gate of another node.
pub(super) async fn call(link: &H2Link, ask: GateAsk<'_>, mut request: Box<Request<ReqBody>>) -> Result<Gated, Missed> {
    let map = request.headers_mut();
    if let Some(token) = ask.token {
        map.insert(headers::GATE_TOKEN, token.clone());
    }
    map.insert(headers::GATE_REPLICA, ask.replica.clone());
    map.insert(headers::GATE_MAY_QUEUE, HeaderValue::from_static(if ask.may_queue { "1" } else { "0" }));
    if ask.spare {
        map.insert(headers::GATE_SPARE, HeaderValue::from_static("1"));
    }
    map.insert(headers::GATE_DEADLINE, ask.remaining_ms.into());
    if request.extensions().get::<Switch>().is_some() {
        request.headers_mut().insert(headers::GATE_SWITCH, HeaderValue::from_static("1"));
    }
    let mut response = link.send(request).await.map_err(|failure| Missed {
        failure: match failure {
            SendFailure::Unreachable | SendFailure::Unprocessed => Failure::GateUnreachable,
            SendFailure::BeforeBody => Failure::BeforeBody,
            SendFailure::Broken => Failure::Broken,
        },
        load: None,
        retry_after: None,
        queued_ms: 0,
    })?;
    let load = number(response.headers(), &headers::GATE_LOAD);
    let queued_ms = number(response.headers(), &headers::GATE_QUEUE_MS).unwrap_or(0);
    if let Some(failure) = failure(response.status(), response.headers()) {
        let retry_after = number(response.headers(), &headers::GATE_RETRY_MS).map(Millis);
        return Err(Missed { failure, load, retry_after, queued_ms });
    }
    if response.headers().contains_key(headers::GATE_SWITCHED) {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    let map = response.headers_mut();
    Ends::of(map).strip_internal(map);
    Ok(Gated { response: response.map(Download::of_gate), queued_ms, load })
}

/// Asks a gate whether it is there and takes this node's token.
pub(super) async fn probe(link: &H2Link, token: Option<&HeaderValue>, host: &str) -> bool {
    let mut request = Request::builder().uri(format!("http://{host}/")).header(headers::GATE_PROBE, "1");
    if let Some(token) = token {
        request = request.header(headers::GATE_TOKEN, token);
    }
    let Ok(request) = request.body(ReqBody::empty()) else { return false };
    matches!(link.send(Box::new(request)).await, Ok(response) if response.status() == StatusCode::NO_CONTENT)
}

/// Tells what a gate's own answer says; nothing when the answer is the replica's.
pub(super) fn failure(status: StatusCode, map: &HeaderMap) -> Option<Failure> {
    if let Some(reason) = map.get(headers::NOT_STARTED) {
        // A gate of a later version may know reasons this one does not: not started is what matters.
        return Some(Failure::NotStarted(NotStarted::from_word(reason.as_bytes()).unwrap_or(NotStarted::Unknown)));
    }
    let broken = map.get(headers::GATE_BROKEN).filter(|_| status == StatusCode::BAD_GATEWAY)?;
    Some(if broken == "head" { Failure::BeforeBody } else { Failure::Broken })
}

pub(super) fn number(map: &HeaderMap, name: &http::HeaderName) -> Option<u64> {
    headers::text(map, name)?.parse().ok()
}

/// What a gate reads of a request from another node.
pub(super) struct GateEntry {
    pub(super) replica: ReplicaId,
    pub(super) may_queue: bool,
    pub(super) spare: bool,
    pub(super) remaining_ms: u64,
    pub(super) switches: bool,
}

// === impl GateEntry ===

impl GateEntry {
    /// Reads the headers [`call`] writes.
    pub(super) fn read(map: &HeaderMap) -> Option<Self> {
        Some(Self {
            replica: headers::text(map, &headers::GATE_REPLICA)?.parse().ok()?,
            may_queue: map.get(headers::GATE_MAY_QUEUE).is_some_and(|value| value == "1"),
            spare: map.contains_key(headers::GATE_SPARE),
            remaining_ms: number(map, &headers::GATE_DEADLINE)?,
            switches: map.contains_key(headers::GATE_SWITCH),
        })
    }
}
