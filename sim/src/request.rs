//! Requests: virtual callers, counted by id, through ingress, gate and replica.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    id::ReplicaId,
    model::{DeploymentName, EndpointName, NodeState},
    rng::Rng,
    time::{Instant, Millis},
    traffic::{
        admission::{Answer, Ask, NotStarted, Waiter, Woken},
        retry::{Failure, Next, Request as Retryable},
        search::{Attempt as Turn, Failed, Search, Step, Turned},
        status::Refusal,
        table::ReplicaRoute,
    },
};

use crate::{
    Bug,
    event::{Attempt, Event, not_started},
    judge::gave_up_all,
    net::Addr,
    world::{World, wall_of},
};

/// Milliseconds a caller waits; some wait less.
const DEADLINE_MS: u64 = 5_000;
/// Milliseconds a connection attempt to a host that does not answer takes.
const CONNECT_TIMEOUT_MS: u64 = 300;
/// Milliseconds before a failed request in which a fault excuses it: a lost node is off every table well within that.
const EXCUSE_MS: u64 = 15_000;
/// Milliseconds a table feed may be silent and count as live.
pub(crate) const LIVE_FEED_MS: u64 = 3_000;
/// Milliseconds in which a feed that came to life again has brought what was missed.
const CATCH_UP_MS: u64 = 200;
/// How far the wall clocks of coordinators may be apart, stepped ones included.
const CLOCKS_APART_MS: u64 = 6_000;

/// How a request ends that found every slot and every place to wait taken: told to its caller, lost by nobody.
const SHED: &str = "no slot in time";

/// All requests and the streams they come from.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) streams: Vec<Stream>,
    open: BTreeMap<u64, Open>,
    next: u64,
    rng: Rng,
}

/// A stream of requests to an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) endpoint: EndpointName,
    pub(crate) gap_ms: u64,
    pub(crate) until_ms: u64,
}

/// A request that is not answered yet.
#[derive(Clone, Debug)]
struct Open {
    endpoint: EndpointName,
    deployment: DeploymentName,
    ingress: usize,
    ingress_boot: u64,
    began: u64,
    /// When its caller is gone.
    deadline: u64,
    /// The candidates, as its search counts them.
    replicas: Vec<ReplicaRoute>,
    search: Search,
    /// Whom it asks now.
    turn: Turn,
    attempts: u32,
    asked: BTreeSet<ReplicaId>,
    is_mirror: bool,
    /// The request that a copy was made of.
    copy_of: Option<u64>,
    /// Nodes it was sent to.
    touched: BTreeSet<usize>,
}

// === impl Requests ===

impl Requests {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { streams: Vec::new(), open: BTreeMap::new(), next: 0, rng }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }
}

// === impl World ===

impl World {
    pub(crate) fn start_load(&mut self, endpoint: EndpointName, gap_ms: u64, until_ms: u64) {
        self.requests.streams.push(Stream { endpoint, gap_ms, until_ms });
        let stream = self.requests.streams.len() - 1;
        self.after(gap_ms, Event::Arrive { stream });
    }

    pub(crate) fn arrive(&mut self, stream: usize) {
        let Stream { endpoint, gap_ms, until_ms } = self.requests.streams[stream].clone();
        if self.now >= until_ms {
            return;
        }
        self.after(gap_ms, Event::Arrive { stream });
        let ups: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].up).collect();
        let Some(ingress) = self.requests.rng.pick(&ups).copied() else { return };
        if !self.nodes[ingress].router.can_serve(&endpoint) {
            return;
        }
        let (now, unfair) = (self.now, self.has(Bug::UnfairSplit));
        let Some((deployment, copies, fair)) = self.nodes[ingress].router.choose(&endpoint, now, unfair) else {
            return;
        };
        if let Err(what) = fair {
            self.judge.broken("TR11", format!("at n{}: {what}", ingress + 1), now);
        }
        self.tally.accepted += 1;
        self.judge_keys(ingress, &endpoint);
        let boot = self.nodes[ingress].boot;
        self.promises.first(ingress, boot, &endpoint, now);
        self.nodes[ingress].router.budget(&endpoint).deposit(Instant::from_millis(now));
        let primary = self.begin(endpoint.clone(), deployment, ingress, None);
        for copy in copies {
            self.tally.mirrored += 1;
            self.begin(endpoint.clone(), copy, ingress, Some(primary));
        }
    }

    fn begin(
        &mut self,
        endpoint: EndpointName,
        deployment: DeploymentName,
        ingress: usize,
        copy_of: Option<u64>,
    ) -> u64 {
        let patience = self.promises.patience(DEADLINE_MS);
        self.requests.next += 1;
        let id = self.requests.next;
        let router = &mut self.nodes[ingress].router;
        let (replicas, loads) = router.candidates(&endpoint, &deployment, self.now);
        // Its caller looked for a replica that serves a moment ago; a copy finds none and is forgotten.
        let Ok((search, first)) = Search::open(loads, router.draw()) else {
            assert!(copy_of.is_some(), "{endpoint}/{deployment} has nobody at n{}", ingress + 1);
            return id;
        };
        // A copy asks one replica and never takes a place in the queue from a request somebody waits for.
        let turn = Turn { may_queue: first.may_queue && copy_of.is_none(), ..first };
        let open = Open {
            endpoint,
            deployment,
            ingress,
            ingress_boot: self.nodes[ingress].boot,
            began: self.now,
            deadline: self.now + patience,
            replicas,
            search,
            turn,
            attempts: 0,
            asked: BTreeSet::new(),
            is_mirror: copy_of.is_some(),
            copy_of,
            touched: BTreeSet::from([ingress]),
        };
        self.requests.open.insert(id, open);
        self.ask(id);
        id
    }

    /// Sends a request to the replica whose turn it is.
    fn ask(&mut self, id: u64) {
        let Some(open) = self.requests.open.get_mut(&id) else { return };
        let replica = open.replicas[open.turn.at].clone();
        let Some(gate) = self.nodes.iter().position(|node| node.id == replica.node) else { return };
        open.attempts += 1;
        open.asked.insert(replica.id);
        open.touched.insert(gate);
        // What a request found when it began may be gone from the table when it is sent again.
        let is_late = !self.nodes[open.ingress].router.knows(&open.endpoint, replica.id);
        let attempt = Attempt {
            request: id,
            nth: open.attempts,
            ingress: open.ingress,
            ingress_boot: open.ingress_boot,
            gate,
            replica: replica.id,
            may_queue: open.turn.may_queue,
            is_mirror: open.is_mirror,
            is_late,
        };
        self.nodes[attempt.ingress].router.sent(replica.id, is_late);
        self.send(attempt);
    }

    fn send(&mut self, attempt: Attempt) {
        let (from, to) = (Addr::Node(attempt.ingress), Addr::Node(attempt.gate));
        let reaches = self.net.reaches(from, to) && self.nodes[attempt.gate].host_up;
        if !reaches {
            let result = Err(Failure::GateUnreachable);
            self.after(CONNECT_TIMEOUT_MS, Event::Answered { attempt, result });
            return;
        }
        let arrival = self.net.loose_arrival(from, to, self.now);
        self.at(arrival, Event::GateAsk(attempt));
    }

    pub(crate) fn gate_ask(&mut self, attempt: Attempt) {
        let (at, now) = (attempt.gate, self.now);
        if !self.nodes[at].up {
            self.answer(at, attempt, Err(Failure::GateUnreachable));
            return;
        }
        let (answers, instant) = (self.nodes[at].answers(attempt.replica, now), Instant::from_millis(now));
        let careless = self.has(Bug::StartExpired);
        let Some(gate) = self.nodes[at].gates.get_mut(&attempt.replica) else {
            self.answer(at, attempt, not_started(NotStarted::Unknown));
            return;
        };
        let told = self.requests.open.get(&attempt.request).map_or(now, |open| open.deadline);
        let deadline = if careless { now + DEADLINE_MS } else { told };
        let ask = Ask {
            now: instant,
            deadline: Instant::from_millis(deadline),
            max_wait: Millis(DEADLINE_MS),
            may_queue: attempt.may_queue,
        };
        match gate.admission.ask(ask) {
            Answer::Start if answers => self.work(attempt),
            Answer::Start => {
                let woken = gate.admission.release(instant);
                self.wake(at, attempt.replica, woken);
                self.answer(at, attempt, not_started(NotStarted::Unreachable));
            }
            Answer::Wait { waiter, until, otherwise } => {
                gate.waiting.insert(waiter, attempt);
                let boot = self.nodes[at].boot;
                let replica = attempt.replica;
                self.at(until.millis(), Event::WaitEnds { node: at, boot, replica, waiter, otherwise });
            }
            Answer::Refused(why) => self.answer(at, attempt, not_started(why)),
        }
    }

    /// Starts the work of an attempt that holds a slot.
    fn work(&mut self, attempt: Attempt) {
        let at = attempt.gate;
        if let Some(gate) = self.nodes[at].gates.get_mut(&attempt.replica) {
            gate.running.push(attempt);
        }
        if !attempt.is_mirror {
            let starts = self.judge.starts.entry(attempt.request).or_default();
            *starts += 1;
            if *starts > 1 {
                let what = format!("request {} is not idempotent and was started {starts} times", attempt.request);
                self.judge.broken("TR12", what, self.now);
            }
            let late = self.requests.open.get(&attempt.request).filter(|open| self.now >= open.deadline);
            if let Some(open) = late {
                let what = format!("request {} began {} ms late", attempt.request, self.now - open.deadline);
                self.judge.broken("TR14", what, self.now);
            }
        }
        let rng = &mut self.requests.rng;
        let takes = if rng.chance(30) { 500 + rng.below(2_500) } else { 5 + rng.below(40) };
        let boot = self.nodes[at].boot;
        self.after(takes, Event::WorkDone { node: at, boot, attempt });
    }

    pub(crate) fn work_done(&mut self, at: usize, boot: u64, attempt: Attempt) {
        let instant = self.instant();
        if self.nodes[at].boot != boot {
            return;
        }
        let Some(gate) = self.nodes[at].gates.get_mut(&attempt.replica) else { return };
        let Some(place) = gate.running.iter().position(|running| *running == attempt) else { return };
        gate.running.swap_remove(place);
        let woken = gate.admission.release(instant);
        self.wake(at, attempt.replica, woken);
        self.answer(at, attempt, Ok(()));
    }

    /// Starts those a freed slot was handed to.
    pub(crate) fn wake(&mut self, at: usize, replica: ReplicaId, woken: Woken) {
        for waiter in woken.start {
            let Some(gate) = self.nodes[at].gates.get_mut(&replica) else { return };
            if let Some(attempt) = gate.waiting.remove(&waiter) {
                self.work(attempt);
            }
        }
        for (waiter, why) in woken.refuse {
            let Some(gate) = self.nodes[at].gates.get_mut(&replica) else { return };
            if let Some(attempt) = gate.waiting.remove(&waiter) {
                self.answer(at, attempt, not_started(why));
            }
        }
    }

    pub(crate) fn wait_ends(
        &mut self,
        at: usize,
        boot: u64,
        replica: ReplicaId,
        waiter: Waiter,
        otherwise: NotStarted,
    ) {
        if self.nodes[at].boot != boot {
            return;
        }
        let Some(gate) = self.nodes[at].gates.get_mut(&replica) else { return };
        if let Some(attempt) = gate.waiting.remove(&waiter)
            && gate.admission.leave(waiter)
        {
            self.answer(at, attempt, not_started(otherwise));
        }
    }

    /// Ends an attempt whose replica died under it.
    pub(crate) fn break_off(&mut self, at: usize, attempt: Attempt) {
        if let Some(gate) = self.nodes[at].gates.get_mut(&attempt.replica) {
            let woken = gate.admission.release(Instant::from_millis(self.now));
            self.wake(at, attempt.replica, woken);
        }
        self.answer(at, attempt, Err(Failure::Broken));
    }

    pub(crate) fn answer(&mut self, at: usize, attempt: Attempt, result: Result<(), Failure>) {
        let (from, to) = (Addr::Node(at), Addr::Node(attempt.ingress));
        // A connection that is cut under a running request looks broken to the ingress once its pings fail.
        let (result, delay) = if self.net.reaches(from, to) { (result, 0) } else { (Err(Failure::Broken), 1_000) };
        let arrival = self.net.loose_arrival(from, to, self.now) + delay;
        self.at(arrival, Event::Answered { attempt, result });
    }

    pub(crate) fn answered(&mut self, attempt: Attempt, result: Result<(), Failure>) {
        let (ingress, now) = (attempt.ingress, self.now);
        if self.nodes[ingress].boot == attempt.ingress_boot {
            let blamed = result.err().is_some_and(Failure::blames_replica);
            self.nodes[ingress].router.ended(attempt.replica, attempt.is_late, blamed, now);
        }
        let id = attempt.request;
        if !self.requests.open.contains_key(&id) {
            return;
        }
        let Err(failure) = result else {
            self.give(id, attempt);
            return;
        };
        let request = Retryable { idempotent: self.has(Bug::RetryUnsafe), replayable: true };
        let draw = self.nodes[ingress].router.draw();
        let stubborn = self.has(Bug::RetryForever) && failure == Failure::GateUnreachable;
        let is_elsewhere = matches!(failure, Failure::NotStarted(NotStarted::Draining | NotStarted::Unknown));
        let gives_up = self.has(Bug::GiveUpAtOnce) && is_elsewhere;
        let Some(open) = self.requests.open.get_mut(&id) else { return };
        let failed = Failed { failure, retry_after: None, load: None, request, draw };
        let budget = self.nodes[ingress].router.budget(&open.endpoint);
        let step = match open.search.failed(open.turn.at, failed, || budget.withdraw(Instant::from_millis(now))) {
            _ if stubborn => Step::Ask(open.turn),
            step => step,
        };
        match step {
            _ if open.is_mirror => self.end(id, Err("the mirror is busy")),
            _ if gives_up => self.end(id, Err("the first replica would not start")),
            // Whoever hurries takes it on itself.
            _ if now >= open.deadline && open.deadline < open.began + DEADLINE_MS => self.end(id, Err(SHED)),
            _ if now >= open.deadline => self.end(id, Err("no answer in time")),
            Step::Ask(turn) => {
                open.turn = turn;
                if failure.next(request) == Next::Retry {
                    let (boot, endpoint) = (open.ingress_boot, open.endpoint.clone());
                    if let Some(what) = self.promises.again(ingress, boot, &endpoint, now) {
                        self.judge.broken("TR15", what, now);
                    }
                }
                self.ask(id);
            }
            Step::Refuse(Turned { refusal: Refusal::TooManyRequests, .. }) => self.end(id, Err(SHED)),
            Step::Refuse(Turned { reason: Some(NotStarted::Expired), .. }) => self.end(id, Err(SHED)),
            Step::Refuse(turned) => self.end(id, Err(turned.refusal.what())),
        }
    }

    /// Gives an answer to whoever asked for it. A copy's is nobody's.
    fn give(&mut self, id: u64, attempt: Attempt) {
        let primary = self.requests.open.get(&id).and_then(|open| open.copy_of);
        let to = primary.filter(|_| self.has(Bug::MirrorAnswers)).unwrap_or(id);
        if let Some(open) = self.requests.open.get(&to)
            && !open.replicas.iter().any(|replica| replica.id == attempt.replica)
        {
            let what = format!(
                "request {to} to {} was answered by {}, which it was not sent to",
                open.deployment, attempt.replica
            );
            self.judge.broken("TR16", what, self.now);
        }
        self.end(to, Ok(()));
        if to != id {
            self.end(id, Ok(()));
        }
    }

    /// Ends every request whose ingress or gate just died.
    pub(crate) fn lose_requests_of(&mut self, at: usize) {
        let gates = std::mem::take(&mut self.nodes[at].gates);
        for gate in gates.into_values() {
            for attempt in gate.running.into_iter().chain(gate.waiting.into_values()) {
                self.answer(at, attempt, Err(Failure::Broken));
            }
        }
        let lost: Vec<u64> =
            self.requests.open.iter().filter(|(_, open)| open.ingress == at).map(|(id, _)| *id).collect();
        for id in lost {
            self.end(id, Err("its ingress died"));
        }
    }

    fn end(&mut self, id: u64, result: Result<(), &'static str>) {
        let Some(open) = self.requests.open.remove(&id) else { return };
        self.judge.starts.remove(&id);
        self.trace.mix(&[self.now, id, u64::from(result.is_ok())]);
        if open.is_mirror {
            return;
        }
        let Err(why) = result else {
            self.tally.answered += 1;
            return;
        };
        if why == SHED {
            self.tally.shed += 1;
        } else if self.is_excused(&open) {
            self.tally.failed_by_fault += 1;
        } else {
            self.tally.lost += 1;
            let what = format!(
                "request {id} to {}/{} at n{} was lost after {} ms and {} attempts: {why}",
                open.endpoint,
                open.deployment,
                open.ingress + 1,
                self.now - open.began,
                open.attempts
            );
            self.judge.broken("TR13", what, self.now);
        }
    }

    /// Returns whether a fault explains a failed request: at its ingress, at a node it was sent to or its replicas live
    /// on, or at the feed by which its ingress would have known better. Coordinators excuse nothing. Whoever deletes what
    /// a request was for fails it, and so does an operator who gives a node less time to be empty than it takes, and who
    /// promises none of a deployment that makes room for a more important one. So does an update of the only instance
    /// where there is no room for another: it may leave out one.
    fn is_excused(&self, open: &Open) -> bool {
        let since = open.began.saturating_sub(EXCUSE_MS);
        let disturbed = |at: &usize| self.nodes[*at].disturbed_at.is_some_and(|when| when >= since);
        // It may have come to life again a moment before the request began, or after, or have died since.
        let ingress = &self.nodes[open.ingress];
        let feed_is_live = ingress.fed_at + LIVE_FEED_MS >= open.began.max(self.now.saturating_sub(DEADLINE_MS))
            && ingress.fed_since + CATCH_UP_MS <= open.began
            // Nobody waits for the word of a router whose node is lost.
            && self.truth().nodes.get(&ingress.id).is_none_or(|node| node.state != NodeState::Lost);
        let key = berth_core::model::DeploymentKey::new(open.endpoint.clone(), open.deployment.clone());
        let began = wall_of(open.began.saturating_sub(CLOCKS_APART_MS));
        let is_there = |deployment: &berth_core::model::Deployment| {
            let may_be_gone = deployment.deleting || gave_up_all(self.truth(), deployment);
            !may_be_gone && deployment.generation_served() && deployment.created_at < began
        };
        if !self.truth().deployments.get(&key).is_some_and(is_there) {
            return true;
        }
        let hosts = self
            .truth()
            .replicas_of(&key)
            .filter_map(|replica| self.nodes.iter().position(|node| node.id == replica.node));
        let left = self.truth().replicas_of(&key).map(|replica| &replica.id);
        let was_vacant = |(since, until): &(u64, Option<u64>)| {
            self.now >= *since && until.is_none_or(|until| open.began <= until + CATCH_UP_MS)
        };
        if self.judge.vacant.get(&key).is_some_and(was_vacant) {
            return true;
        }
        let is_cut = open.asked.iter().chain(left).any(|replica| self.judge.cut.contains(replica));
        is_cut || open.touched.iter().any(disturbed) || hosts.into_iter().any(|at| disturbed(&at)) || !feed_is_live
    }
}
