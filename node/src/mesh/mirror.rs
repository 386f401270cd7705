//! Copies of requests: sent after the primary is under way, answered to nobody, waited for by nobody.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use berth_core::{time::Millis, traffic::balance};
use http::HeaderValue;

use super::{
    body::ReqBody,
    dispatch::{self, Head, Outstanding},
    gate::Entry,
    headers,
    link::{self, GateAsk, Gated, Lane},
    replay::Upload,
    routes::Endpoint,
    worker::Core,
};

/// Copies that were drawn and not begun yet.
pub(super) struct Planned {
    pub(super) core: Rc<Core>,
    pub(super) endpoint: Arc<Endpoint>,
    /// Positions of the deployments that get one.
    pub(super) targets: Vec<usize>,
    pub(super) head: Head,
    pub(super) upload: Option<Upload>,
}

/// One of the copies that may be under way at once on a node.
struct Permit(Arc<AtomicU32>);

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
    /// Begins the copies. Never waits: what finds no room is counted and forgotten.
    pub(super) fn start(self) {
        for at in &self.targets {
            let stats = self.endpoint.deployments[*at].stats.clone();
            let shared = &self.core.shared;
            let permit = Permit::take(&shared.mirrors, shared.options.limits.mirrors);
            let body = match &self.upload {
                Some(upload) => upload.tee().map(ReqBody::copied),
                None => Some(ReqBody::empty()),
            };
            let (Some(permit), Some(body)) = (permit, body) else {
                stats.of(self.core.index).mirror_dropped.fetch_add(1, Relaxed);
                continue;
            };
            let (core, endpoint, head, at) = (self.core.clone(), self.endpoint.clone(), self.head.clone(), *at);
            tokio::task::spawn_local(async move {
                let status = copy(&core, &endpoint, at, head, body).await;
                let stats = stats.of(core.index);
                match status {
                    Some(status) => {
                        stats.mirrored.fetch_add(1, Relaxed);
                        stats.mirror_answer(status);
                    }
                    None => {
                        stats.mirror_dropped.fetch_add(1, Relaxed);
                    }
                }
                drop(permit);
            });
        }
    }
}

/// Sends one copy and reads its answer to the end, within the deployment's own time limit. Returns the status.
async fn copy(core: &Rc<Core>, endpoint: &Arc<Endpoint>, at: usize, mut head: Head, body: ReqBody) -> Option<u16> {
    let route = &endpoint.route.deployments[at];
    let deployment = &endpoint.deployments[at];
    let shared = &core.shared;
    let deadline = shared.clock.now() + Millis(route.request_timeout_ms);
    let candidates = dispatch::candidates(core, deployment, true);
    let drawn = balance::draw(&candidates.loads, core.draw())?;
    let replica = &deployment.replicas[candidates.replicas[drawn.first]];
    head.headers.insert(headers::MIRROR, HeaderValue::from_static("1"));
    let request = head.request(true, body);
    let exchange = async {
        let outstanding = Outstanding::new(&replica.soft);
        let response = if replica.is_local {
            // A copy never takes a place in the queue from a request somebody waits for.
            let entry = Entry { deadline, may_queue: false };
            let (slot, _) = shared.gate.find(replica.id)?.enter(entry).await.ok()?;
            core.pool.send(slot, request).await.ok()?
        } else {
            let token = shared.token();
            let remaining_ms = deadline.since(shared.clock.now()).0;
            let ask = GateAsk { token: token.as_deref(), replica: &replica.id_text, may_queue: false, remaining_ms };
            let Gated { response, .. } =
                link::call(&core.links.to(&replica.gate_address, Lane::Mirror), ask, request).await.ok()?;
            response
        };
        let (parts, body) = response.into_parts();
        body.counted(outstanding, None).discard().await.then(|| parts.status.as_u16())
    };
    tokio::time::timeout_at(shared.clock.timer(deadline), exchange).await.ok().flatten()
}
