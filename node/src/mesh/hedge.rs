//! A hedge: a second replica is asked when the first one takes long, and whoever is not needed is let go.
//!
//! Letting go is dropping: the stream to the other gate is reset, or the connection to the replica closed, in the same
//! turn of the core that takes the winner's answer.

use std::{pin::pin, sync::atomic::Ordering::Relaxed, time::Duration};

use berth_core::traffic::hedge::{self, Ended, Side};
use futures::future::{Either, select};
use http::HeaderValue;
use tokio::time::Instant;

use super::{
    body::ReqBody,
    dispatch::{Asking, Dispatch, Tried},
    routes::Deployment,
};

/// When a request is hedged, if it is.
pub(super) struct Hedge {
    at: Instant,
    /// Nothing once it was sent, or could not be: there is one per request.
    budget_percent: Option<u32>,
}

// === impl Hedge ===

impl Hedge {
    /// Tells when a request is hedged that begins now; nothing where hedges are off, or nobody else could be asked.
    pub(super) fn of(dispatch: &Dispatch<'_>, deployment: &Deployment, candidates: usize) -> Option<Self> {
        let hedging = dispatch.endpoint.route.hedging.as_ref()?;
        // A conversation cannot be held twice.
        if candidates < 2 || !dispatch.idempotent || dispatch.head.borrow().switches {
            return None;
        }
        let now = dispatch.core.shared.clock.now();
        let delay = hedge::delay_us(hedging, &deployment.stats.recent, now);
        // Where the percentile is not known yet, what this request takes still counts towards it.
        let budget_percent = delay.map(|_| hedging.budget_percent);
        let at = Instant::now() + Duration::from_micros(delay.unwrap_or_default());
        Some(Self { at, budget_percent })
    }

    /// Asks one replica, and another one beside it when that takes too long. `beside` tells whom.
    pub(super) async fn race(
        &mut self,
        dispatch: &Dispatch<'_>,
        deployment: &Deployment,
        asking: Asking,
        beside: impl FnOnce() -> Option<usize>,
    ) -> Tried {
        let (begun, at) = (Instant::now(), asking.at);
        let mut first = pin!(dispatch.attempt(deployment, asking));
        if self.budget_percent.is_some()
            && let Ok(tried) = tokio::time::timeout_at(self.at, first.as_mut()).await
        {
            took(dispatch, deployment, begun, &tried);
            return tried;
        }
        let Some(asking) = self.ask(dispatch, beside) else {
            let tried = first.await;
            took(dispatch, deployment, begun, &tried);
            return tried;
        };
        let stats = deployment.stats.of(dispatch.core.index);
        stats.hedges.fetch_add(1, Relaxed);
        let (beside, second_begun) = (asking.at, Instant::now());
        let second = pin!(dispatch.attempt(deployment, asking));
        let (side, tried) = settle(first, second).await;
        let (loser, since) = match side {
            Side::First => (beside, second_begun),
            Side::Hedge => (at, begun),
        };
        let waited_us = since.elapsed().as_micros() as u64;
        let now = dispatch.core.shared.clock.now();
        deployment.replicas[loser].soft.outrun(dispatch.core.index, waited_us, now);
        dispatch.note(|record| record.outrun());
        took(dispatch, deployment, begun, &tried);
        if side == Side::Hedge && tried.is_ok() {
            stats.hedges_won.fetch_add(1, Relaxed);
        }
        tried.map(|answer| super::dispatch::Answer { hedge: Some(side), ..answer })
    }

    /// Decides about the hedge, now that its time has come.
    fn ask(&mut self, dispatch: &Dispatch<'_>, beside: impl FnOnce() -> Option<usize>) -> Option<Asking> {
        let percent = self.budget_percent.take()?;
        let at = beside()?;
        let core = dispatch.core;
        let body = match dispatch.upload {
            Some(upload) => {
                let body = upload.again(core.shared.options.limits.copy_bytes, &core.copy_room)?;
                ReqBody::copied(body)
            }
            None => ReqBody::empty(),
        };
        let granted = dispatch.endpoint.soft.budget.withdraw_hedge(percent, core.shared.clock.now());
        granted.then_some(Asking { at, may_queue: false, is_last: false, hedge: Some(body), load: false })
    }
}

/// Names what became of a hedge, for the caller.
pub(super) fn word(side: Side) -> HeaderValue {
    HeaderValue::from_static(match side {
        Side::First => "lost",
        Side::Hedge => "won",
    })
}

/// Waits until it is known whose end counts; the other attempt, if still under way, ends here.
async fn settle<F, S>(first: F, second: S) -> (Side, Tried)
where
    F: Future<Output = Tried> + Unpin,
    S: Future<Output = Tried> + Unpin,
{
    let (one, other) = match select(first, second).await {
        Either::Left((one, second)) => match hedge::heard(Some(ended(&one)), None) {
            Some(side) => return (side, one),
            None => (one, second.await),
        },
        Either::Right((other, first)) => match hedge::heard(None, Some(ended(&other))) {
            Some(side) => return (side, other),
            None => (first.await, other),
        },
    };
    match hedge::heard(Some(ended(&one)), Some(ended(&other))) {
        Some(Side::Hedge) => (Side::Hedge, other),
        Some(Side::First) | None => (Side::First, one),
    }
}

fn ended(tried: &Tried) -> Ended {
    match tried {
        Ok(answer) if answer.failing => Ended::Failing,
        Ok(_) => Ended::Answered,
        Err(_) => Ended::Missed,
    }
}

/// Counts how long the first replica took, or has taken so far, towards the percentile that hedges go by.
fn took(dispatch: &Dispatch<'_>, deployment: &Deployment, begun: Instant, tried: &Tried) {
    if tried.is_ok() {
        let took_us = begun.elapsed().as_micros() as u64;
        deployment.stats.recent.note(took_us, dispatch.core.shared.clock.now());
    }
}
