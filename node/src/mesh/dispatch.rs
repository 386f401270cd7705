//! One request to one deployment: which replicas are asked in which order, and when another one is tried.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use berth_core::{
    model::DeploymentKey,
    time::{Instant, Millis},
    traffic::{
        absence,
        admission::NotStarted,
        balance::{self, Drawn, Load},
        eject,
        full::Full,
        hedge::Side,
        load_report::LoadReport,
        retry::{Failure, Request as Repeat},
        search::{self, Failed, Search, Step, Turned},
        status::Refusal,
    },
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, uri};
use tokio::time::Instant as Moment;

use super::{
    body::{Download, ReqBody},
    conn::SendFailure,
    gate::{Entry, Refused},
    headers,
    hedge::Hedge,
    link::{self, GateAsk, Gated, Lane, Missed},
    mirror::Planned,
    record::{Outcome, Record, Recording, Weighed},
    replay::{Fault, Upload},
    routes::{Deployment, Endpoint, Replica, ReplicaSoft},
    tunnel::Switch,
    worker::Core,
};

/// A request's head as replicas see it.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) authority: uri::Authority,
    pub(super) path: uri::PathAndQuery,
    pub(super) headers: HeaderMap,
    /// It asks to change the protocol.
    pub(super) switches: bool,
}

/// A request on its way to a deployment.
pub(super) struct Dispatch<'a> {
    pub(super) core: &'a Rc<Core>,
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) deployment: usize,
    /// Pinned requests may use replicas that are only warm.
    pub(super) pinned: bool,
    /// When the search for a replica begins.
    pub(super) begun: Moment,
    pub(super) deadline: Instant,
    /// Until when a replica is told that it has time, if it is told.
    pub(super) told: Option<Instant>,
    pub(super) idempotent: bool,
    pub(super) head: RefCell<Head>,
    pub(super) upload: Option<&'a Upload>,
    /// Started once a gate has taken the request.
    pub(super) mirrors: RefCell<Option<Box<Planned>>>,
    /// Two attempts may write on it, each when it has something to say.
    pub(super) recording: RefCell<&'a mut Recording>,
}

/// An answer and who gave it.
pub(super) struct Answer {
    pub(super) response: Response<Download>,
    /// The position of the replica.
    pub(super) replica: usize,
    pub(super) queued_ms: u64,
    /// From the start of the work to the head of its answer.
    pub(super) model_ms: u64,
    pub(super) outstanding: Outstanding,
    /// Whether it says that the replica could not.
    pub(super) failing: bool,
    /// Who won, where a second replica was asked.
    pub(super) hedge: Option<Side>,
}

/// How one replica is asked.
pub(super) struct Asking {
    /// The position of the replica.
    pub(super) at: usize,
    /// Whether the request may take a place to wait there.
    pub(super) may_queue: bool,
    /// Whether nobody is asked after it.
    pub(super) is_last: bool,
    /// The body, where it is not the caller's own stream: this is a hedge.
    pub(super) hedge: Option<ReqBody>,
    /// Whether it is asked for its load beside.
    pub(super) load: bool,
}

/// What came of asking one replica.
pub(super) type Tried = Result<Answer, Missed>;

/// A request that a replica has, as this node's ingress counts it.
pub(super) struct Outstanding(Arc<ReplicaSoft>);

// === impl Outstanding ===

impl Outstanding {
    pub(super) fn new(soft: &Arc<ReplicaSoft>) -> Self {
        soft.in_flight.fetch_add(1, Relaxed);
        Self(soft.clone())
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        self.0.has_a_place();
    }
}

// === impl Head ===

impl Head {
    /// Builds the request of an attempt. The headers are given away when no further attempt is possible.
    pub(super) fn request(&mut self, is_last: bool, body: ReqBody) -> Box<Request<ReqBody>> {
        let mut request = Box::new(Request::new(body));
        if self.switches {
            request.extensions_mut().insert(Switch);
        }
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = if is_last { std::mem::take(&mut self.headers) } else { self.headers.clone() };
        let mut parts = uri::Parts::default();
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(self.path.clone());
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request
    }
}

// === impl Dispatch ===

impl Dispatch<'_> {
    /// Asks replicas until one answers or the search is over.
    pub(super) async fn run(&self) -> Result<Answer, Turned> {
        let endpoint = self.endpoint;
        let deployment = &endpoint.deployments[self.deployment];
        let now = self.core.shared.clock.of(self.begun);
        let Candidates { replicas, loads } = candidates(self.core, deployment, self.pinned, now);
        let (mut search, mut turn) =
            Search::open(loads, self.core.draw()).map_err(|turned| self.later(deployment, turned))?;
        let Drawn { first, other } = search.drawn();
        let weighed = |at: usize| Weighed { replica: replicas[at], load: search.load(at) };
        self.note(|record| {
            record.candidates = replicas.len();
            record.drawn = [Some(weighed(first)), other.map(weighed)];
        });
        let stats = deployment.stats.of(self.core.index);
        let mut hedge = Hedge::of(self, deployment, replicas.len());
        loop {
            let at = replicas[turn.at];
            let asking = Asking { at, may_queue: turn.may_queue, is_last: turn.is_last, hedge: None, load: false };
            let tried = match &mut hedge {
                None => self.attempt(deployment, asking).await,
                Some(hedge) => {
                    let beside = || search.beside(turn.at).map(|other| replicas[other]);
                    Box::pin(hedge.race(self, deployment, asking, beside)).await
                }
            };
            let Missed { failure, load, retry_after, queued_ms: _ } = match tried {
                Ok(answer) => {
                    deployment.stats.present();
                    return Ok(answer);
                }
                Err(missed) => missed,
            };
            if failure == Failure::NotStarted(NotStarted::Full) {
                stats.sheds.fetch_add(1, Relaxed);
            }
            let request =
                Repeat { idempotent: self.idempotent, replayable: self.upload.is_none_or(Upload::is_replayable) };
            let failed = Failed { failure, retry_after, load, request, draw: self.core.draw() };
            let grant = || {
                let granted = endpoint.soft.budget.withdraw(self.core.shared.clock.now());
                if granted {
                    stats.retries.fetch_add(1, Relaxed);
                }
                granted
            };
            match search.failed(turn.at, failed, grant) {
                Step::Ask(next) => turn = next,
                Step::Refuse(turned) => return Err(self.refusal(self.later(deployment, turned))),
            }
        }
    }

    /// Sends the request to one replica.
    pub(super) async fn attempt(&self, deployment: &Deployment, asking: Asking) -> Tried {
        let at = asking.at;
        let replica = &deployment.replicas[at];
        let core = self.core;
        let begun = Moment::now();
        let attempt = self.recording.borrow_mut().attempt(at, asking.hedge.is_some(), begun);
        replica.soft.try_trial(core.shared.clock.of(begun));
        let outstanding = Outstanding::new(&replica.soft);
        // Where the caller asks itself, the answer is the caller's too.
        let tells = replica.soft.shall_tell(core.index, core.shared.clock.of(begun));
        let callers_own = tells && self.head.borrow().headers.contains_key(headers::LOAD_FORMAT);
        let asking = Asking { load: tells && !callers_own, ..asking };
        let may_queue = asking.may_queue;
        let sent = if replica.is_local {
            self.enter(replica, asking, begun).await
        } else {
            self.forward(replica, &replica.gate_address, asking, begun).await
        };
        core.quiet.stir();
        let now = Moment::now();
        match sent {
            Ok(Gated { mut response, queued_ms, load }) => {
                if tells {
                    let report = response.headers().get(headers::LOAD);
                    let report = report.and_then(|value| LoadReport::parse(value.as_bytes()));
                    replica.soft.told(core.index, report, core.shared.clock.of(now));
                    if !callers_own {
                        response.headers_mut().remove(headers::LOAD);
                    }
                }
                let took_us = (now - begun).as_micros() as u64;
                let grpc_status = response.headers().get(headers::GRPC_STATUS).map(HeaderValue::as_bytes);
                let failed = balance::has_failed(response.status().as_u16(), grpc_status);
                replica.soft.answered(core.index, took_us, failed, load, core.shared.clock.of(now));
                let outcome = Outcome::Answered(response.status().as_u16());
                self.note(|record| record.outcome(attempt, now - begun, queued_ms, outcome));
                let model_ms = (took_us / 1_000).saturating_sub(queued_ms);
                Ok(Answer { response, replica: at, queued_ms, model_ms, outstanding, failing: failed, hedge: None })
            }
            Err(missed) => {
                let Missed { failure, load, retry_after, queued_ms } = missed;
                self.note(|record| record.outcome(attempt, now - begun, queued_ms, Outcome::Failed(failure)));
                let now = core.shared.clock.of(now);
                replica.soft.refused(core.index, load, now);
                // This one was no request of its, so its end is no news of a place.
                drop(outstanding);
                // The gate of this node can be asked at no cost.
                if failure == Failure::NotStarted(NotStarted::Full) && !replica.is_local {
                    let waiting = load.unwrap_or_default().saturating_sub(u64::from(replica.slots));
                    let no_place = may_queue && queued_ms == 0;
                    let longest = core.shared.options.limits.believe_full;
                    replica.soft.was_full(Full { no_place, waiting, retry_after }, longest, now);
                }
                // A body that broke off on the caller's side says nothing about the replica.
                let callers = self.upload.is_some_and(|upload| upload.fault().is_some());
                if failure.blames_replica() && !callers {
                    replica.soft.failed(now);
                }
                Err(missed)
            }
        }
    }

    /// Through the gate of this node, which is a call.
    async fn enter(&self, replica: &Replica, asking: Asking, begun: Moment) -> Result<Gated, Missed> {
        let missed = |failure| Missed { failure, load: None, retry_after: None, queued_ms: 0 };
        let shared = &self.core.shared;
        let gate = shared.gate.find(replica.id).ok_or(missed(Failure::NotStarted(NotStarted::Unknown)))?;
        let entry = Entry { deadline: self.deadline, may_queue: asking.may_queue, spare: false };
        let entered = gate.enter(entry).await;
        // The slots are a newer process's.
        if matches!(entered, Err(Refused { reason: NotStarted::Draining, .. }))
            && let Some(successor) = shared.successor.get()
        {
            return Box::pin(self.forward(replica, successor, asking, begun)).await;
        }
        let (slot, queued_ms) = entered.map_err(|Refused { reason, retry_after, queued_ms }| Missed {
            failure: Failure::NotStarted(reason),
            load: None,
            retry_after,
            queued_ms,
        })?;
        let mut request = self.request(asking);
        self.tell(request.headers_mut(), shared.clock.of(begun) + Millis(queued_ms));
        self.under_way();
        let response = self.core.pool.send(slot, request).await.map_err(|failure| missed(of_replica(failure)))?;
        Ok(Gated { response, queued_ms, load: None })
    }

    /// Through the gate of another node, or of another process of this one.
    async fn forward(
        &self,
        replica: &Replica,
        gate: &Arc<str>,
        asking: Asking,
        begun: Moment,
    ) -> Result<Gated, Missed> {
        let may_queue = asking.may_queue;
        let mut request = self.request(asking);
        let shared = &self.core.shared;
        // What it tells others by is the gate's own deadline.
        if headers::is_grpc(request.headers()) {
            self.tell(request.headers_mut(), shared.clock.of(begun));
        }
        let link = self.core.links.to(gate, Lane::Primary);
        let token = shared.token();
        let remaining_ms = self.deadline.since(shared.clock.now()).0;
        let ask = GateAsk { token: token.as_deref(), replica: &replica.id_text, may_queue, spare: false, remaining_ms };
        let call = link::call(&link, ask, request);
        let is_mirrored = self.mirrors.borrow().is_some();
        if is_mirrored { Box::pin(self.mirrored(call)).await } else { call.await }
    }

    /// Waits for a gate of another node, and begins the copies once it has taken the request: what nobody takes is not
    /// copied. It has when anything but a refusal comes back, or when it has let more of the body through than it would
    /// before it looked.
    async fn mirrored(&self, call: impl Future<Output = Result<Gated, Missed>>) -> Result<Gated, Missed> {
        let mut call = pin!(call);
        let sent = poll_fn(|cx| {
            let sent = call.as_mut().poll(cx);
            if sent.is_pending() && self.upload.is_some_and(Upload::shows_a_taker) {
                self.under_way();
            }
            sent
        });
        let sent = sent.await;
        let was_taken = match &sent {
            Ok(_) => true,
            Err(missed) => !matches!(missed.failure, Failure::NotStarted(_) | Failure::GateUnreachable),
        };
        if was_taken {
            self.under_way();
        }
        sent
    }

    fn request(&self, asking: Asking) -> Box<Request<ReqBody>> {
        let own = || self.upload.map_or_else(ReqBody::empty, |upload| ReqBody::attempt(upload.attempt()));
        let mut request = self.head.borrow_mut().request(asking.is_last, asking.hedge.unwrap_or_else(own));
        if asking.load {
            request.headers_mut().insert(headers::LOAD_FORMAT, HeaderValue::from_static("text"));
        }
        request
    }

    /// Tells a replica how long it has from now on.
    fn tell(&self, map: &mut HeaderMap, now: Instant) {
        if let Some(told) = self.told {
            headers::tell_timeout(map, self.core.timeout(told.since(now).0));
        }
    }

    fn under_way(&self) {
        let mirrors = self.mirrors.take();
        if let Some(mirrors) = mirrors {
            self.note(|record| record.mirrors.clone_from(&mirrors.targets));
            mirrors.start();
        }
    }

    /// Writes on the request's record.
    pub(super) fn note(&self, note: impl FnOnce(&mut Record)) {
        self.recording.borrow_mut().note(note);
    }

    /// Says when to try again to a caller whom nobody could take, where no gate has.
    fn later(&self, deployment: &Deployment, turned: Turned) -> Turned {
        if turned.refusal != Refusal::NotReady || turned.retry_after.is_some() {
            return turned;
        }
        let shared = &self.core.shared;
        let now = shared.clock.now();
        let route = &self.endpoint.route;
        let key = DeploymentKey::new(route.name.clone(), route.deployments[self.deployment].name.clone());
        let expected = shared.expected.load().get(&key).copied();
        let after = absence::retry_after(expected, deployment.stats.absent_since(now), now);
        Turned { retry_after: Some(search::spread(after, self.core.draw())), ..turned }
    }

    /// A body that broke off says more than what became of the attempts.
    fn refusal(&self, turned: Turned) -> Turned {
        match self.upload.and_then(Upload::fault) {
            Some(Fault::TooLarge) => Refusal::TooLarge.into(),
            Some(Fault::Caller) => Refusal::BadRequest.into(),
            None => turned,
        }
    }
}

/// The replicas that may be asked, with their load.
pub(super) struct Candidates {
    /// Positions in the deployment.
    pub(super) replicas: Vec<usize>,
    pub(super) loads: Vec<Load>,
}

/// Finds the replicas that may be asked: none that rests, unless more than half do.
pub(super) fn candidates(core: &Core, deployment: &Deployment, pinned: bool, now: Instant) -> Candidates {
    let allowed = |replica: &Replica| pinned || replica.is_serving;
    let all = || deployment.replicas.iter().enumerate().filter(|(_, replica)| allowed(replica));
    let ejected = all().filter(|(_, replica)| replica.soft.is_ejected(now)).count();
    let panic = ejected > 0 && eject::is_panic(ejected, all().count());
    let most = deployment.replicas.len();
    let mut found = Candidates { replicas: Vec::with_capacity(most), loads: Vec::with_capacity(most) };
    let gate = core.shared.gate.replicas();
    for (at, replica) in all().filter(|(_, replica)| ejected == 0 || panic || !replica.soft.is_ejected(now)) {
        let at_gate = || gate.get(&replica.id).map_or(0, |replica| u64::from(replica.load()));
        let at_gate = replica.is_local.then(at_gate);
        found.replicas.push(at);
        found.loads.push(replica.load(core.index, at_gate, now));
    }
    found
}

/// Tells what a failed send from the own gate means.
pub(super) fn of_replica(failure: SendFailure) -> Failure {
    match failure {
        SendFailure::Unreachable => Failure::NotStarted(NotStarted::Unreachable),
        SendFailure::Unprocessed => Failure::GateUnreachable,
        SendFailure::BeforeBody => Failure::BeforeBody,
        SendFailure::Broken => Failure::Broken,
    }
}
