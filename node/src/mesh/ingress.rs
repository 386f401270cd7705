//! The ingress: what happens to a caller's request, from its head to its answer.
//!
//! In this order: find the endpoint, check the key, choose the deployment, check the size, draw the mirrors, dispatch,
//! and dress the answer. One version of the table is read, once; everything after works on that endpoint's routes.

use std::{
    borrow::Cow,
    cell::RefCell,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use berth_core::{
    time::{Instant, Millis},
    traffic::{
        compare::Asked,
        json::{Peeked, Scanner},
        mirror,
        packing::Unread,
        pin::{self, Catalogue, Hints, PEEK_MAX_BYTES, Peek, Pin, Target},
        retry,
        status::{self, Dialect, GrpcStatus, Refusal},
        table::{EndpointRoute, RouteRuntime},
        timeout,
        trace::{self, Entered},
        upload,
    },
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts, uri};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use tokio::sync::watch;

use super::{
    answer, auth,
    body::OutBody,
    dispatch::{Answer, Dispatch, Head},
    headers::{self, Ends},
    hedge,
    metrics::{CoreStats, Stats},
    mirror::{Mirrored, Planned},
    models, packed,
    record::{Choice, End, Record, Recording},
    replay::{Fault, Place, Upload},
    routes::Endpoint,
    tunnel,
    verdict::{HeardBy, Told},
    wire::Wire,
    worker::Core,
};

/// How long a caller may take until its first gRPC message shows where it wants to go.
const PEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// Azure cuts a caller's own request id here.
const CLIENT_REQUEST_ID_MAX: usize = 40;

/// A request whose endpoint is known.
struct Routed {
    endpoint: Arc<Endpoint>,
    table: HeaderValue,
    /// What the replica sees.
    path: uri::PathAndQuery,
    /// It sees its own scoring path instead.
    scores: bool,
    /// No name of an endpoint led there, but a model's.
    by_model: bool,
    pin: Pin,
    dialect: Dialect,
    /// Who asks, as the body says.
    user: Option<String>,
    /// It asks whether the model is ready.
    asks_ready: bool,
}

/// Counts a caller that leaves before its answer begins.
struct Abandonable<'a>(Option<&'a Stats>);

// === impl Abandonable ===

impl Drop for Abandonable<'_> {
    fn drop(&mut self) {
        if let Some(stats) = self.0.take() {
            stats.abandoned.fetch_add(1, Relaxed);
        }
    }
}

/// A request as it came.
struct Call {
    begun: Instant,
    recording: Recording,
    parts: Parts,
    ends: Ends,
    upload: Option<Upload>,
    id: HeaderValue,
    client_id: Option<HeaderValue>,
    /// It asks to change the protocol.
    asked: Option<tunnel::Asked>,
}

// === impl Call ===

impl Call {
    fn new(core: &Rc<Core>, request: Request<Wire>) -> Self {
        let begun = tokio::time::Instant::now();
        let (mut parts, body) = request.into_parts();
        let (asked, body) = match tunnel::Asked::of(&mut parts, || core.draw()) {
            Some((asked, instead)) => (Some(asked), instead.unwrap_or(body)),
            None => (None, body),
        };
        let ends = Ends::of(&parts.headers);
        ends.strip_internal(&mut parts.headers);
        let id = request_id(core, ends.id(&parts.headers, &headers::REQUEST_ID));
        let client_id = ends.id(&parts.headers, &headers::CLIENT_REQUEST_ID).and_then(client_request_id);
        let mut recording = Recording::new(core, || Record::open(begun, &parts, &id, client_id.as_ref()));
        let trace = core.shared.spans.as_ref().map(|spans| enter(core, ends, &mut parts.headers, spans.options.share));
        recording.note(|record| record.trace = trace);
        let begun = core.shared.clock.of(begun);
        Self { begun, recording, parts, ends, upload: taken_up(core, body), id, client_id, asked }
    }
}

/// Answers one request.
pub(super) async fn handle(core: Rc<Core>, request: Request<Wire>) -> Response<OutBody> {
    let mut call = Call::new(&core, request);
    let mut response = answer(&core, &mut call).await;
    let map = response.headers_mut();
    map.insert(headers::REQUEST_ID, call.id);
    if let Some(client_id) = call.client_id {
        map.insert(headers::CLIENT_REQUEST_ID, client_id);
    }
    record(call.recording, call.upload.as_ref(), &mut response);
    match call.asked {
        Some(asked) => asked.join(&core, response),
        None => response,
    }
}

/// Lets the record end with the answer.
fn record(mut recording: Recording, upload: Option<&Upload>, response: &mut Response<OutBody>) {
    let status = response.status().as_u16();
    recording.note(|record| {
        record.status = status;
        record.head = Some(record.begun.elapsed());
        record.request_bytes = upload.map_or(0, Upload::seen);
    });
    match response.body_mut() {
        OutBody::Download(body) => body.recorded(recording),
        OutBody::Full(text) => {
            recording.note(|record| record.response_bytes = text.as_ref().map_or(0, |text| text.len() as u64));
            recording.close(End::Whole);
        }
        OutBody::Message(..) => recording.close(End::Whole),
    }
}

async fn answer(core: &Rc<Core>, call: &mut Call) -> Response<OutBody> {
    let routed = match route(core, call).await {
        Ok(routed) => routed,
        Err(Ok(own)) => return own,
        Err(Err(refusal)) => {
            let content_type = call.parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            let dialect = Dialect::of(call.parts.uri.path(), content_type);
            call.recording.note(|record| record.turn(refusal));
            let response = answer::refuse(dialect, false, refusal);
            count(core, &core.shared.unrouted, dialect, &mut call.recording, &response);
            return response;
        }
    };
    let endpoint = &routed.endpoint;
    call.recording.note(|record| record.route(endpoint, &routed.table));
    endpoint.soft.carried_ms.store(call.begun.millis(), Relaxed);
    match admit(&routed, call) {
        Ok((at, choice)) => {
            call.recording.note(|record| record.choose(at, choice));
            let response = match routed.asks_ready {
                true => Box::pin(ready(core, &routed, at, call)).await,
                false => serve(core, &routed, at, call).await,
            };
            count(core, &endpoint.deployments[at].stats, routed.dialect, &mut call.recording, &response);
            response
        }
        Err(refusal) => {
            call.recording.note(|record| record.turn(refusal));
            let scoring = status::is_azure_scoring(routed.dialect, routed.path.path(), "/score");
            let mut response = answer::refuse(routed.dialect, scoring, refusal);
            count(core, &endpoint.soft.stats, routed.dialect, &mut call.recording, &response);
            dress(&mut response, &routed, None);
            response
        }
    }
}

/// Counts an answer. A gRPC call whose status is still to come is counted with its record.
fn count(core: &Core, stats: &CoreStats, dialect: Dialect, recording: &mut Recording, response: &Response<OutBody>) {
    let (counts_as, grpc_status) = match dialect {
        Dialect::Grpc => of_grpc(response),
        _ => (Some(response.status().as_u16()), None),
    };
    recording.note(|record| (record.counts_as, record.grpc_status) = (counts_as, grpc_status));
    if let Some(status) = counts_as {
        core.count(stats, status);
    }
}

/// Tells what the answer to a gRPC call counts as, unless its end has to be heard first, and the status its head has.
fn of_grpc(response: &Response<OutBody>) -> (Option<u16>, Option<GrpcStatus>) {
    let status = response.status().as_u16();
    let at_head = response.headers().get(headers::GRPC_STATUS).map(|value| GrpcStatus::parse(value.as_bytes()));
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        return (Some(refusal.http_status(false)), at_head);
    }
    let content_type = response.headers().get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let is_grpc = status == 200 && status::says_at_its_end(content_type);
    match (response.body(), at_head) {
        (OutBody::Download(_), None) if is_grpc => (None, None),
        (_, Some(said)) if status == 200 => (Some(said.http_status()), at_head),
        _ => (Some(status), at_head),
    }
}

/// Says whether a model is ready: as its server does, or, where that knows no such question, as the table does.
async fn ready(core: &Rc<Core>, routed: &Routed, at: usize, call: &mut Call) -> Response<OutBody> {
    let endpoint = &routed.endpoint;
    if endpoint.route.deployments[at].runtime != RouteRuntime::Python {
        let answered = serve(core, routed, at, call).await;
        if let Some(known) = models::known(routed.dialect, answered).await {
            return known;
        }
    }
    let pinned = routed.pin != Pin::None;
    let ready = endpoint.deployments[at].replicas.iter().any(|replica| pinned || replica.is_serving);
    let mut response = models::ready(routed.dialect, endpoint.route.name.as_str(), ready);
    dress(&mut response, routed, Some(at));
    response
}

/// Dispatches an admitted request to its deployment.
async fn serve(core: &Rc<Core>, routed: &Routed, at: usize, call: &mut Call) -> Response<OutBody> {
    let endpoint = &routed.endpoint;
    let (route, deployment) = (&endpoint.route.deployments[at], &endpoint.deployments[at]);
    let stats = deployment.stats.of(core.index);
    let timeout_ms = call.ends.timeout_ms(&call.parts.headers, routed.dialect);
    let deadline = call.begun + Millis(timeout_ms.unwrap_or(u64::MAX).min(route.request_timeout_ms));
    let method = call.parts.method.as_str();
    let own_path = uri::PathAndQuery::try_from(&*route.scoring_path).ok().filter(|_| routed.scores);
    let path = own_path.unwrap_or_else(|| routed.path.clone());
    let idempotent = retry::is_idempotent(&endpoint.route, routed.dialect, method, path.path());
    let scoring = status::is_azure_scoring(routed.dialect, path.path(), &route.scoring_path);
    let told_ms =
        timeout::told_ms(routed.dialect, path.path(), call.asked.is_some(), timeout_ms, route.request_timeout_ms);
    let head = head(call, routed, path);
    endpoint.soft.budget.deposit(call.begun);
    let mirrors = draw_mirrors(core, routed, at, &head, call);
    let (mirrors, primary) = mirrors.unzip();
    if let Some(upload) = call.upload.as_ref().filter(|_| idempotent || mirrors.is_some()) {
        upload.keep(core.shared.options.limits.replay_bytes);
    }
    let dispatched = tokio::time::Instant::now();
    let dispatch = Dispatch {
        core,
        endpoint,
        deployment: at,
        pinned: routed.pin != Pin::None,
        begun: dispatched,
        deadline,
        told: told_ms.map(|ms| call.begun + Millis(ms)),
        idempotent,
        head: RefCell::new(head),
        upload: call.upload.as_ref(),
        mirrors: RefCell::new(mirrors),
        recording: RefCell::new(&mut call.recording),
    };
    let mut leaving = Abandonable(Some(stats));
    let outcome = {
        // Where it is: the state of a dispatch is kilobytes, and the timer would move it.
        let run = pin!(dispatch.run());
        // Streams and conversations may be silent for as long as they like.
        let streams = routed.dialect == Dialect::Grpc && !timeout::has_one_answer(routed.path.path());
        let talks = streams || call.asked.is_some();
        in_time(core, deadline, call.upload.as_ref().filter(|_| !talks), run).await
    };
    leaving.0 = None;
    // Who had nothing to work on yet is not late.
    let late = outcome.is_err() && !call.upload.as_ref().is_some_and(Upload::is_waited_for);
    if late {
        call.recording.note(|record| {
            for (replica, waited) in record.waited_for() {
                deployment.replicas[replica].soft.overdue(
                    core.index,
                    waited.as_micros() as u64,
                    core.shared.clock.now(),
                );
            }
        });
    }
    if let Some(upload) = &call.upload {
        upload.settle();
    }
    let (mut response, replica, queued_ms) = match outcome.unwrap_or_else(|refusal| Err(refusal.into())) {
        Ok(Answer { response, replica, queued_ms, model_ms, outstanding, failing: _, hedge }) => {
            call.recording.note(|record| record.answered_by = Some(replica));
            // A stream may be silent for as long as it likes; anything else that stops half way is broken.
            let talks = is_stream(response.headers()) || response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
            let stall = (!talks).then(|| Duration::from_millis(route.request_timeout_ms));
            let (parts, mut body) = response.into_parts();
            body = body.counted(outstanding, stall);
            if let Some((asked, to)) = primary.filter(|_| endpoint.route.mirror_rules.compare) {
                let took_us = dispatched.elapsed().as_micros() as u64;
                body = body.tapped(core.shared.comparator.tap(asked, &parts, took_us, to));
            }
            let mut response = Response::from_parts(parts, OutBody::Download(body));
            if scoring {
                response.headers_mut().insert(headers::AZURE_MODEL_TIME, model_ms.into());
            }
            if let Some(model_status) = azure(scoring, &mut response) {
                call.recording.note(|record| record.model_status = Some(model_status));
            }
            if let Some(side) = hedge {
                response.headers_mut().insert(headers::HEDGE, hedge::word(side));
            }
            (response, Some(replica), queued_ms)
        }
        Err(turned) => {
            call.recording.note(|record| record.turn(turned));
            (answer::refuse(routed.dialect, scoring, turned), None, call.recording.queued_ms())
        }
    };
    let attempts = call.recording.attempts();
    let map = response.headers_mut();
    // What nearly every answer would say is said by silence: each header costs both sides.
    if queued_ms > 0 {
        map.insert(headers::QUEUE_MS, queued_ms.into());
    }
    if let Some(attempts) = attempts.filter(|attempts| *attempts != 1) {
        map.insert(headers::ATTEMPTS, attempts.into());
    }
    if let Some(lost) = call.upload.as_ref().and_then(Upload::lost) {
        map.insert(headers::REPLAY, HeaderValue::from_static(lost.word()));
        call.recording.note(|record| record.lost = Some(lost));
    }
    if let Some(replica) = replica {
        map.insert(headers::REPLICA, deployment.replicas[replica].id_text.clone());
    }
    dress(&mut response, routed, Some(at));
    response
}

/// Waits for the outcome of a dispatch until its deadline, or until its caller has been waited for too long. There is one
/// timer at a time, and a body that has come by then costs nothing.
async fn in_time<T>(
    core: &Core,
    deadline: Instant,
    upload: Option<&Upload>,
    mut run: impl Future<Output = T> + Unpin,
) -> Result<T, Refusal> {
    let patience = Millis(core.shared.options.limits.body_patience.as_millis() as u64);
    let mut look_at = upload.map_or(deadline, |_| core.shared.clock.now() + patience);
    loop {
        let until = core.shared.clock.timer(look_at.min(deadline));
        if let Ok(outcome) = tokio::time::timeout_at(until, &mut run).await {
            return Ok(outcome);
        }
        let now = tokio::time::Instant::now();
        let (Some(upload), true) = (upload, core.shared.clock.of(now) < deadline) else { return Err(Refusal::Timeout) };
        let waited = Millis(upload.waited(now).as_millis() as u64);
        let left = upload::left(waited, upload.seen(), patience).ok_or(Refusal::SlowBody)?;
        look_at = core.shared.clock.of(now) + left;
    }
}

/// Says who answered.
fn dress(response: &mut Response<OutBody>, routed: &Routed, at: Option<usize>) {
    let map = response.headers_mut();
    map.insert(headers::TABLE, routed.table.clone());
    // Who named it knows.
    if routed.by_model {
        map.insert(headers::ENDPOINT, routed.endpoint.name.clone());
    }
    if let Some(deployment) = at.map(|at| &routed.endpoint.deployments[at]) {
        map.insert(headers::AZURE_DEPLOYMENT, deployment.name.clone());
    }
}

/// Wraps the model's status as Azure does, on Azure's routes. Returns what it was.
fn azure(scoring: bool, response: &mut Response<OutBody>) -> Option<u16> {
    let seen = status::answered(scoring, response.status().as_u16());
    let model_status = seen.model_status?;
    if let Ok(status) = http::StatusCode::from_u16(seen.status) {
        *response.status_mut() = status;
        // The replica's words belong to its own status.
        response.extensions_mut().remove::<ReasonPhrase>();
    }
    let map = response.headers_mut();
    map.insert(headers::AZURE_MODEL_STATUS, model_status.into());
    map.insert(headers::AZURE_REASON, HeaderValue::from_static("model_error"));
    Some(model_status)
}

/// Opens the span of a request and tells the replica of it. State without a context means nothing (W3C Trace Context
/// §3.3), and more than one context is none.
fn enter(core: &Core, ends: Ends, map: &mut HeaderMap, share: u32) -> Entered {
    let entered = trace::enter(ends.trace(map), [core.draw(), core.draw(), core.draw()], share);
    if let Ok(mut value) = HeaderValue::from_bytes(&entered.context.text()) {
        // As with a request's id: never the same twice.
        value.set_sensitive(true);
        map.insert(headers::TRACEPARENT, value);
    }
    entered
}

fn taken_up(core: &Core, body: Wire) -> Option<Upload> {
    (!body.is_end_stream()).then(|| Upload::new(body, u64::MAX, core.room.clone()))
}

/// Finds the endpoint, or an answer of this router's own, or why there is neither.
async fn route(core: &Core, call: &Call) -> Result<Routed, Result<Response<OutBody>, Refusal>> {
    let Call { parts, upload, ends, .. } = call;
    let limits = &core.shared.options.limits;
    let path_and_query = parts.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    if path_and_query.len() > limits.uri_bytes {
        return Err(Err(Refusal::UriTooLong));
    }
    if parts.method == Method::CONNECT {
        return Err(Err(Refusal::BadRequest));
    }
    let path = parts.uri.path();
    let text = |name: http::HeaderName| headers::text(&parts.headers, &name);
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_grpc = content_type.is_some_and(|value| value.starts_with(b"application/grpc"));
    let first = match upload {
        Some(upload) if is_grpc && pin::names_model(path) => {
            let encoding = parts.headers.get(headers::GRPC_ENCODING).map(HeaderValue::as_bytes);
            let wants_more = |first: &[u8]| pin::peek_model(path, &packed::beginning(first, encoding)) == Peek::More;
            let first = read_ahead(upload, packed::FIRST_MAX_BYTES, wants_more).await.map_err(Err)?;
            match packed::beginning(&first, encoding) {
                Cow::Owned(unpacked) => unpacked,
                Cow::Borrowed(_) => first,
            }
        }
        _ => Vec::new(),
    };
    let (model, version) = match pin::peek_model(path, &first) {
        Peek::Done { model, version } => (model, version),
        Peek::More => (None, None),
    };
    let hints = Hints {
        path,
        host: parts.uri.host().or_else(|| text(header::HOST)),
        endpoint: ends.named(&parts.headers, &headers::ENDPOINT_NAMES),
        deployment: ends.named(&parts.headers, &headers::DEPLOYMENT_NAMES),
        model,
        version,
    };
    let peeked = body_model(core, call, &hints).await.map_err(Err)?;
    let hints = Hints { model: hints.model.or(peeked.as_ref().and_then(|body| body.model.as_deref())), ..hints };
    let domain = &core.shared.options.domain;
    let asks = Catalogue::of(parts.method.as_str(), path).filter(|_| !hints.is_named(domain));
    let only_ready = match (asks, upload) {
        (Some(asks), Some(upload)) => {
            let packed = parts.headers.get(headers::GRPC_ENCODING).map(HeaderValue::as_bytes);
            Box::pin(asks_for_ready(asks, upload, packed)).await?
        }
        _ => false,
    };
    let routes = core.shared.routes.load();
    let opens = |route: &EndpointRoute| auth::is_authorised(route, &parts.headers);
    if let Some(catalogue) = asks {
        return Err(Ok(models::catalogue(catalogue, only_ready, &routes, opens)));
    }
    let Some(target) = Target::of(&hints, domain, &routes.table) else {
        let own = answer::own(path, core.shared.is_ready(), || models::extensions(&routes, opens));
        return Err(own.ok_or(Refusal::EndpointNotFound));
    };
    let endpoint = routes.endpoint(&target.endpoint).ok_or(Err(Refusal::EndpointNotFound))?.clone();
    let pin = target.pin(&endpoint.route);
    let path = if target.path.len() == path.len() && target.under.is_empty() {
        parts.uri.path_and_query().cloned()
    } else {
        // The rest of the path with its query, as it came.
        let kept = path.strip_suffix(target.path).map_or(path.len(), str::len);
        let rest = path_and_query.get(kept..).unwrap_or_default();
        let rest = match (target.under, rest.starts_with('/')) {
            ("", true) => Bytes::copy_from_slice(rest.as_bytes()),
            (under, true) => format!("{under}{rest}").into(),
            (under, false) => format!("{under}/{rest}").into(),
        };
        uri::PathAndQuery::from_maybe_shared(rest).ok()
    };
    let path = path.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    let dialect = Dialect::of(path.path(), content_type);
    let asks_ready = pin::asks_whether_ready(parts.method.as_str(), path.path());
    let (table, scores, by_model) = (routes.version.clone(), target.scores, target.by_model);
    let user = match peeked {
        Some(body) => body.user,
        None if dialect == Dialect::OpenAi && pin == Pin::None => body_user(call, &endpoint).await,
        None => None,
    };
    Ok(Routed { endpoint, table, path, scores, by_model, pin, dialect, user, asks_ready })
}

/// Reads what a request for an index says, which is little.
async fn asks_for_ready(
    which: Catalogue<'_>,
    upload: &Upload,
    packed: Option<&[u8]>,
) -> Result<bool, Result<Response<OutBody>, Refusal>> {
    let all = read_ahead(upload, PEEK_MAX_BYTES, |_| true).await.map_err(Err)?;
    if all.len() >= PEEK_MAX_BYTES {
        return Err(Err(Refusal::TooLarge));
    }
    models::asks_for_ready(which, &all, packed).map_err(|unread| match unread {
        Unread::Packed => Ok(answer::packed()),
        Unread::Broken => Err(Refusal::BadRequest),
    })
}

/// Reads an OpenAI body as far as it names model and user, where nothing else names the endpoint; they stay in the body.
async fn body_model(core: &Core, call: &Call, hints: &Hints<'_>) -> Result<Option<Peeked>, Refusal> {
    let content_type = call.parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let upload = call.upload.as_ref().filter(|_| Dialect::of(hints.path, content_type) == Dialect::OpenAi);
    let Some(upload) = upload.filter(|_| is_json(content_type) && !hints.is_named(&core.shared.options.domain)) else {
        return Ok(None);
    };
    let (mut scanner, mut place) = (Scanner::default(), Place::default());
    scan(upload, &mut scanner, &mut place).await?;
    if scanner.is_cut_off() && !hints.has_model_in_path() {
        Box::pin(scan_on(core, call, upload, &mut scanner, &mut place)).await?;
    }
    Ok(Some(scanner.into_peeked()))
}

/// Reads the beginning of a body as far as it is looked at for whoever sends it.
async fn scan(upload: &Upload, scanner: &mut Scanner, place: &mut Place) -> Result<(), Refusal> {
    let read = async {
        loop {
            upload.show(place, |bytes| scanner.feed(bytes));
            if !scanner.wants_more() || !upload.read_ahead().await? {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PEEK_TIMEOUT, read).await.map_err(|_| Refusal::Timeout)?.map_err(broken)
}

/// Reads on for the model of a caller whose key opens something: as far as any of that takes a body, and as long as there is
/// room to keep it until a replica is found.
async fn scan_on(
    core: &Core,
    call: &Call,
    upload: &Upload,
    scanner: &mut Scanner,
    place: &mut Place,
) -> Result<(), Refusal> {
    let (max_bytes, deadline) = {
        let routes = core.shared.routes.load();
        let mut open =
            routes.endpoints().filter(|endpoint| auth::is_authorised(&endpoint.route, &call.parts.headers)).peekable();
        if open.peek().is_none() {
            let is_locked = routes.endpoints().next().is_some();
            return Err(if is_locked { Refusal::Unauthorised } else { Refusal::EndpointNotFound });
        }
        open.fold((0, call.begun), |(max_bytes, deadline), endpoint| {
            let limits = endpoint.route.deployments.iter().map(|deployment| deployment.request_timeout_ms);
            let timeout = Millis(limits.max().unwrap_or_default());
            (endpoint.route.max_body_bytes.max(max_bytes), deadline.max(call.begun + timeout))
        })
    };
    upload.set_limit(max_bytes);
    let limits = &core.shared.options.limits;
    let (patience, deadline) = (Millis(limits.body_patience.as_millis() as u64), core.shared.clock.timer(deadline));
    scanner.look_as_far_as(limits.replay_bytes);
    upload.keep(limits.replay_bytes);
    loop {
        upload.show(place, |bytes| scanner.feed(bytes));
        if !scanner.wants_more() {
            break;
        }
        if upload.is_overdrawn() {
            return Err(Refusal::ModelTooFar);
        }
        let now = tokio::time::Instant::now();
        let waited = Millis(upload.waited(now).as_millis() as u64);
        let left = upload::left(waited, upload.seen(), patience).ok_or(Refusal::SlowBody)?;
        let until = deadline.min(core.shared.clock.timer(core.shared.clock.of(now) + left));
        match tokio::time::timeout_at(until, upload.read_ahead()).await {
            Ok(read) => {
                if !read.map_err(broken)? {
                    break;
                }
            }
            Err(_) if until >= deadline => return Err(Refusal::Timeout),
            Err(_) => {}
        }
    }
    if scanner.is_cut_off() { Err(Refusal::ModelTooFar) } else { Ok(()) }
}

/// Reads the user out of an OpenAI body where that decides who answers; it stays in the body.
async fn body_user(call: &Call, endpoint: &Endpoint) -> Option<String> {
    let Call { parts, upload, ends, .. } = call;
    let upload = upload.as_ref().filter(|_| endpoint.route.split.len() > 1)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let has_key = ends.named(&parts.headers, &[headers::KEY]).is_some();
    // Nothing is kept for a stranger.
    if has_key || !is_json(content_type) || !auth::is_authorised(&endpoint.route, &parts.headers) {
        return None;
    }
    // Who does not say it in time is drawn like who does not say it. What else is wrong with the body shows when it is sent.
    let mut scanner = Scanner::default();
    scan(upload, &mut scanner, &mut Place::default()).await.ok()?;
    scanner.into_peeked().user
}

fn is_json(content_type: Option<&[u8]>) -> bool {
    content_type.is_none_or(|value| value.starts_with(b"application/json"))
}

/// Reads the beginning of a body as long as more of it is wanted; it stays in the body.
async fn read_ahead(upload: &Upload, max: usize, wants_more: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Refusal> {
    let read = async {
        loop {
            let first = upload.head(max);
            if first.len() >= max || !wants_more(&first) || !upload.read_ahead().await? {
                return Ok(first);
            }
        }
    };
    match tokio::time::timeout(PEEK_TIMEOUT, read).await {
        Ok(read) => read.map_err(broken),
        Err(_) => Err(Refusal::Timeout),
    }
}

/// Says why a body could not be looked at.
fn broken(fault: Fault) -> Refusal {
    match fault {
        Fault::TooLarge => Refusal::TooLarge,
        Fault::Caller => Refusal::BadRequest,
    }
}

/// Checks key, pin or split, and size. Returns the position of the deployment and what chose it.
fn admit(routed: &Routed, call: &Call) -> Result<(usize, Choice), Refusal> {
    let Call { parts, upload, ends, .. } = call;
    let endpoint = &routed.endpoint;
    if !auth::is_authorised(&endpoint.route, &parts.headers) {
        return Err(Refusal::Unauthorised);
    }
    let limit = endpoint.route.max_body_bytes;
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limit) {
        return Err(Refusal::TooLarge);
    }
    if let Some(upload) = upload {
        // A conversation has no size.
        upload.set_limit(if call.asked.is_some() { u64::MAX } else { limit });
    }
    let (at, choice) = match routed.pin {
        Pin::To(at) => (at, Choice::Pin),
        Pin::Missing => return Err(Refusal::DeploymentNotFound),
        Pin::None if !endpoint.has_traffic() => return Err(Refusal::NoTraffic),
        Pin::None => {
            let key = ends.named(&parts.headers, &[headers::KEY]);
            let key = key.or_else(|| routed.user.as_deref().filter(|user| !user.is_empty()));
            let chosen = match key {
                Some(key) => endpoint.of_key(key.as_bytes()).map(|at| (at, Choice::Key)),
                None => endpoint.draw().map(|(at, ticket)| (at, Choice::Split(ticket))),
            };
            chosen.ok_or(Refusal::NotReady)?
        }
    };
    let speaks_grpc = endpoint.route.deployments[at].runtime != RouteRuntime::Python;
    if routed.dialect == Dialect::Grpc && !speaks_grpc && !routed.asks_ready {
        return Err(Refusal::NoGrpc);
    }
    Ok((at, choice))
}

/// Takes the head as replicas shall see it.
fn head(call: &mut Call, routed: &Routed, path: uri::PathAndQuery) -> Head {
    let Call { parts, ends, id, asked, .. } = call;
    let mut map = std::mem::take(&mut parts.headers);
    let host = ends.take_host(&mut map);
    let authority = parts.uri.authority().cloned().or_else(|| uri::Authority::try_from(host?.as_bytes()).ok());
    ends.strip_hop_by_hop(&mut map);
    ends.strip_for_the_ingress(&mut map);
    if !routed.endpoint.route.key_hashes.is_empty() {
        ends.strip_credentials(&mut map);
    }
    map.insert(headers::REQUEST_ID, id.clone());
    Head {
        method: parts.method.clone(),
        authority: authority.unwrap_or_else(|| uri::Authority::from_static("localhost")),
        path,
        headers: map,
        switches: asked.is_some(),
    }
}

/// Draws the mirrors of a request whose deployment is known. Returns beside them where its own answer is to be heard.
fn draw_mirrors(
    core: &Rc<Core>,
    routed: &Routed,
    at: usize,
    head: &Head,
    call: &Call,
) -> Option<(Box<Planned>, (Asked, HeardBy))> {
    let endpoint = &routed.endpoint;
    let route = &endpoint.route;
    // A copy of a conversation would have to answer what nobody said to it.
    if head.switches || !mirror::may_copy(&route.mirror, &route.mirror_rules, routed.pin != Pin::None) {
        return None;
    }
    let primary = &route.deployments[at].name;
    let drawn = mirror::targets(&route.mirror, primary, endpoint.mirror_ticket());
    let positions = drawn.filter_map(|name| endpoint.position(name));
    let targets: Vec<_> = positions.map(|at| Mirrored { at, told: Told::default() }).collect();
    if targets.is_empty() {
        return None;
    }
    let (heard, answer) = watch::channel(None);
    let asked = Asked::of(routed.dialect, head.path.path());
    let planned = Planned {
        core: core.clone(),
        endpoint: endpoint.clone(),
        primary: at,
        answer,
        targets,
        asked,
        request_id: call.id.clone(),
        head: head.clone(),
        upload: call.upload.clone(),
    };
    Some((Box::new(planned), (asked, heard)))
}

/// Returns whether an answer may be silent between its parts.
fn is_stream(map: &HeaderMap) -> bool {
    map.get(header::CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().starts_with(b"text/event-stream") || value.as_bytes().starts_with(b"application/grpc")
    })
}

/// Keeps a harmless request id of the caller's, or mints one.
fn request_id(core: &Core, own: Option<&HeaderValue>) -> HeaderValue {
    match own {
        Some(id) if status::keeps_request_id(id.as_bytes()) => id.clone(),
        _ => {
            let (high, low) = (core.draw(), core.draw());
            headers::random_uuid(high, low)
        }
    }
}

/// Returns the caller's own id for its request as Azure echoes it.
fn client_request_id(own: &HeaderValue) -> Option<HeaderValue> {
    let id = own.as_bytes();
    let id = &id[..id.len().min(CLIENT_REQUEST_ID_MAX)];
    status::keeps_request_id(id).then(|| HeaderValue::from_bytes(id).ok()).flatten()
}
