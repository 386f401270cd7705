//! Copies of requests: sent after a gate has taken the primary, once it is answered or has had a head start, and when its
//! core has nothing else to do; answered to nobody, waited for by nobody.
//!
//! What comes back is compared with what the caller got, once both are whole.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use berth_core::{
    time::Millis,
    traffic::{
        balance,
        compare::{Asked, Missed, tally::Pair},
        retry::Failure,
    },
};
use http::{HeaderValue, Response};
use tokio::sync::watch;

use super::{
    body::{Download, ReqBody},
    dispatch::{self, Head, Outstanding},
    gate::Entry,
    headers,
    link::{self, GateAsk, Gated, Lane},
    replay::Upload,
    routes::Endpoint,
    tee::Fate,
    verdict::{Copy, Heard, Told},
    worker::Core,
};

/// How long a request goes ahead of its copies where it is not answered before: longer than what is in memory takes, shorter
/// than anybody who looks at a mirror would notice.
const HEAD_START: Duration = Duration::from_millis(2);

/// Copies that were drawn and not begun yet.
pub(super) struct Planned {
    pub(super) core: Rc<Core>,
    pub(super) endpoint: Arc<Endpoint>,
    /// The position of the deployment that answers the caller.
    pub(super) primary: usize,
    /// What the caller gets, once it is whole.
    pub(super) answer: watch::Receiver<Option<Arc<Heard>>>,
    pub(super) targets: Vec<Mirrored>,
    pub(super) asked: Asked,
    pub(super) request_id: HeaderValue,
    pub(super) head: Head,
    pub(super) upload: Option<Upload>,
}

/// A deployment that gets a copy.
#[derive(Clone)]
pub(super) struct Mirrored {
    /// Its position.
    pub(super) at: usize,
    /// What became of it.
    pub(super) told: Told,
}

/// One of the copies that may be under way at once on a node.
struct Permit(Arc<AtomicU32>);

/// One copy that has its place among those of the node and its body, and is sent when its core is quiet.
pub(super) struct Due {
    sending: Sending,
    permit: Permit,
    copy: Copy,
}

/// One copy on its way.
struct Sending {
    core: Rc<Core>,
    endpoint: Arc<Endpoint>,
    at: usize,
    head: Head,
    body: ReqBody,
    /// Why its body ended early, if it did.
    fate: Option<Fate>,
    upload: Option<Upload>,
    asked: Asked,
    answer: watch::Receiver<Option<Arc<Heard>>>,
}

// === impl Permit ===

impl Permit {
    fn take(count: &Arc<AtomicU32>, max: u32) -> Option<Self> {
        let taken = count.fetch_update(Relaxed, Relaxed, |taken| (taken < max).then_some(taken + 1));
        taken.is_ok().then(|| Self(count.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

// === impl Planned ===

impl Planned {
    /// Gives every copy its place. Never waits: what finds no room is counted and forgotten.
    pub(super) fn start(self) {
        for mirrored in &self.targets {
            self.begin(mirrored);
        }
    }

    fn begin(&self, Mirrored { at, told }: &Mirrored) {
        let Self { core, endpoint, .. } = self;
        let shared = &core.shared;
        let limits = &shared.options.limits;
        let stats = endpoint.deployments[*at].stats.clone();
        let copy = self.copy(*at, told.clone());
        let permit = Permit::take(&shared.mirrors, limits.mirrors);
        let body = match &self.upload {
            Some(upload) => upload.tee(limits.copy_bytes, &core.copy_room).map(|copied| {
                let fate = copied.fate();
                (ReqBody::copied(copied), Some(fate))
            }),
            None => Some((ReqBody::empty(), None)),
        };
        let (permit, (body, fate)) = match (permit, body) {
            (Some(permit), Some(body)) => (permit, body),
            (permit, _) => {
                stats.of(core.index).mirror_dropped.fetch_add(1, Relaxed);
                return copy.missed(if permit.is_none() { Missed::Budget } else { Missed::Behind });
            }
        };
        let (core, endpoint, head) = (core.clone(), endpoint.clone(), self.head.clone());
        let (upload, answer) = (self.upload.clone(), self.answer.clone());
        let core_of = core.clone();
        let sending = Sending { core, endpoint, at: *at, head, body, fate, upload, asked: self.asked, answer };
        core_of.quiet.push(Due { sending, permit, copy });
    }

    fn copy(&self, at: usize, told: Told) -> Copy {
        let endpoint = &self.endpoint;
        let name = |at: usize| endpoint.route.deployments[at].name.clone();
        Copy {
            soft: endpoint.soft.clone(),
            rules: endpoint.rules.clone(),
            asked: self.asked,
            pair: Pair { mirror: name(at), primary: name(self.primary) },
            basis: endpoint.basis(at, self.primary),
            revision: endpoint.route.revision,
            request_id: self.request_id.clone(),
            told,
        }
    }
}

/// Waits until the caller has its whole answer; nothing when it never got one. It ends with the caller's request.
async fn whole(mut answer: watch::Receiver<Option<Arc<Heard>>>) -> Option<Arc<Heard>> {
    let heard = answer.wait_for(Option::is_some).await.ok()?;
    heard.clone()
}

/// Waits until a request is answered, or for its head start. What is heard of the answer ends with it, at the latest.
async fn answered_or_ahead(answer: &mut watch::Receiver<Option<Arc<Heard>>>) {
    let _ = tokio::time::timeout(HEAD_START, answer.wait_for(Option::is_some)).await;
}

// === impl Due ===

impl Due {
    /// Waits until the caller has the answer, or its request a head start. A body that still comes is copied as it comes:
    /// what waits takes room.
    pub(super) async fn let_ahead(&mut self) {
        if self.sending.fate.as_ref().is_none_or(Fate::is_whole) {
            answered_or_ahead(&mut self.sending.answer).await;
        }
    }

    /// Sends the copy, and has what comes back compared.
    pub(super) async fn send(self) {
        let Self { sending, permit, copy } = self;
        let (core, endpoint, answer) = (sending.core.clone(), sending.endpoint.clone(), sending.answer.clone());
        let counted = endpoint.deployments[sending.at].stats.of(core.index);
        let outcome = Box::pin(sending.send()).await;
        drop(permit);
        match outcome {
            Ok((status, heard)) => {
                counted.mirrored.fetch_add(1, Relaxed);
                counted.mirror_answer(status);
                copy.told.answered();
                if let Some(heard) = heard.filter(|_| endpoint.route.mirror_rules.compare) {
                    let primary = whole(answer).await;
                    core.shared.comparator.compare(copy, primary, heard);
                }
            }
            Err(why) => {
                counted.mirror_dropped.fetch_add(1, Relaxed);
                copy.missed(why);
            }
        }
    }
}

// === impl Sending ===

impl Sending {
    /// Sends the copy and reads its answer to the end. Returns the status, and what was heard of it.
    async fn send(mut self) -> Result<(u16, Option<Arc<Heard>>), Missed> {
        let fate = self.fate.clone();
        let upload = self.upload.take();
        let sent = self.exchange().await;
        sent.map_err(|why| match why {
            Missed::Broken if fate.is_some_and(|fate| fate.is_behind()) => Missed::Behind,
            Missed::Broken if upload.is_some_and(|upload| upload.fault().is_some()) => Missed::Cut,
            why => why,
        })
    }

    async fn exchange(self) -> Result<(u16, Option<Arc<Heard>>), Missed> {
        let Self { core, endpoint, at, mut head, body, asked: what, answer, .. } = self;
        let timeout_ms = endpoint.route.deployments[at].request_timeout_ms;
        let shared = &core.shared;
        let begun = tokio::time::Instant::now();
        let deadline = shared.clock.of(begun) + Millis(timeout_ms);
        head.headers.insert(headers::MIRROR, HeaderValue::from_static("1"));
        headers::say_time_once(&mut head.headers);
        let request = head.request(true, body);
        let asked = tokio::time::timeout_at(shared.clock.timer(deadline), ask(&core, &endpoint, at, request, deadline));
        let (response, outstanding) = asked.await.map_err(|_| Missed::Timeout)??;
        let (parts, body) = response.into_parts();
        let took_us = begun.elapsed().as_micros() as u64;
        let (to, heard) = watch::channel(None);
        let tap = shared.comparator.tap(what, &parts, took_us, to);
        let patience = Duration::from_millis(timeout_ms);
        // A stream goes on for as long as the caller's does, and as much longer as a request may take.
        let too_long = async {
            whole(answer).await;
            tokio::time::sleep(patience).await;
        };
        let read = body.counted(outstanding, Some(patience)).tapped(tap).discard();
        let is_whole = tokio::select! {
            is_whole = read => is_whole,
            () = too_long => return Err(Missed::Timeout),
        };
        if !is_whole {
            return Err(Missed::Broken);
        }
        let heard = heard.borrow().clone();
        Ok((parts.status.as_u16(), heard))
    }
}

/// Asks one replica. A copy never takes a place in the queue from a request somebody waits for, and of a deployment that
/// answers callers too it leaves one slot free for them.
async fn ask(
    core: &Rc<Core>,
    endpoint: &Endpoint,
    at: usize,
    mut request: Box<http::Request<ReqBody>>,
    deadline: berth_core::time::Instant,
) -> Result<(Response<Download>, Outstanding), Missed> {
    let (shared, deployment) = (&core.shared, &endpoint.deployments[at]);
    let candidates = dispatch::candidates(core, deployment, true, shared.clock.now());
    let drawn = balance::draw(&candidates.loads, core.draw()).ok_or(Missed::NoReplica)?;
    let replica = &deployment.replicas[candidates.replicas[drawn.first]];
    let outstanding = Outstanding::new(&replica.soft);
    let spare = endpoint.is_live(at);
    let successor = shared.successor.get().filter(|_| replica.is_local);
    if replica.is_local && successor.is_none() {
        let gate = shared.gate.find(replica.id).ok_or(Missed::NoReplica)?;
        let entered = gate.enter(Entry { deadline, may_queue: false, spare }).await;
        let (slot, _) = entered.map_err(|_| Missed::Refused)?;
        if !headers::is_grpc(request.headers()) {
            let left = core.timeout(deadline.since(shared.clock.now()).0);
            headers::tell_timeout(request.headers_mut(), left);
        }
        let response = core.copies.send(slot, request).await.map_err(|_| Missed::Broken)?;
        return Ok((response, outstanding));
    }
    let token = shared.token();
    let remaining_ms = deadline.since(shared.clock.now()).0;
    let ask = GateAsk { token: token.as_deref(), replica: &replica.id_text, may_queue: false, spare, remaining_ms };
    let address = successor.unwrap_or(&replica.gate_address);
    let called = link::call(&core.links.to(address, Lane::Mirror), ask, request).await;
    let Gated { response, .. } = called.map_err(|missed| match missed.failure {
        Failure::NotStarted(_) => Missed::Refused,
        Failure::GateUnreachable | Failure::BeforeBody | Failure::Broken => Missed::Broken,
    })?;
    Ok((response, outstanding))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_copy_lets_its_request_ahead_until_it_is_answered_and_never_for_long() {
        let waited = async |mut answer: watch::Receiver<Option<Arc<Heard>>>| {
            let since = Instant::now();
            answered_or_ahead(&mut answer).await;
            since.elapsed()
        };
        let (silent, answer) = watch::channel(None);
        assert_eq!(waited(answer.clone()).await, HEAD_START, "nobody answers");
        let soon = async {
            tokio::time::sleep(HEAD_START / 2).await;
            drop(silent);
        };
        let (waited, ()) = tokio::join!(waited(answer), soon);
        assert_eq!(waited, HEAD_START / 2, "it is over");
    }
}
