//! What became of every request, and the figures people ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hyper::{Response, body::Bytes};

use super::REQUEST_ID;

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Which deployment answered; empty when nobody said.
    pub deployment: String,
    /// Which replica answered; empty when nobody said.
    pub replica: String,
    /// The request id the answer carries.
    pub request_id: String,
    /// Which law refused it; empty when none did.
    pub reason: String,
    /// When it may be sent again, as the answer says; empty when it does not.
    pub retry_after: String,
    /// How many replicas were asked.
    pub attempts: u32,
    /// The body.
    pub body: Bytes,
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            status: response.status().as_u16(),
            deployment: header("azureml-model-deployment"),
            replica: header("x-berth-replica"),
            request_id: header(REQUEST_ID.as_str()),
            reason: header("x-berth-reason"),
            retry_after: header("retry-after"),
            attempts: header("x-berth-attempts").parse().unwrap_or(1),
            body: response.into_body(),
        }
    }
}

impl Answer {
    /// Returns when a refused request may come back; nothing for any other answer.
    pub(super) fn back_in(&self) -> Option<Duration> {
        let is_refused = matches!(self.status, 429 | 503);
        is_refused.then(|| self.retry_after.parse().ok().map(|secs: u64| Duration::from_secs(secs.max(1)))).flatten()
    }
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its number.
    pub number: u64,
    /// How often it was sent again: to another target, or when it was told to come back.
    pub retries: u32,
    /// How many of these had been sent when their connection broke, so that they may have been worked on twice.
    pub broken: u32,
    /// Why it was sent again the last time; empty when it was not.
    pub why_again: String,
    /// From the moment it was due.
    pub latency: Duration,
    /// The answer, or why there is none.
    pub result: Result<Answer, String>,
    /// Whether the driver itself had no room for it.
    pub not_sent: bool,
    /// Whether its caller waited no longer.
    pub timed_out: bool,
}

/// How often a request was sent again.
#[derive(Clone, Debug, Default)]
pub(super) struct Again {
    pub(super) retries: u32,
    pub(super) broken: u32,
    pub(super) why: String,
}

/// What became of all of them.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// In order of number.
    pub outcomes: Vec<Outcome>,
    /// From the first to the last.
    pub elapsed: Duration,
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn not_sent(number: u64) -> Self {
        let why = "the driver had no room".to_owned();
        Self { not_sent: true, ..Self::failed(number, Again::default(), Duration::ZERO, why) }
    }

    pub(super) fn failed(number: u64, again: Again, latency: Duration, why: String) -> Self {
        Self::new(number, again, latency, Err(why))
    }

    pub(super) fn timed_out(number: u64, again: Again, latency: Duration) -> Self {
        Self { timed_out: true, ..Self::failed(number, again, latency, "no answer in time".to_owned()) }
    }

    pub(super) fn answered(number: u64, again: Again, latency: Duration, id: &str, answer: Answer) -> Self {
        let result = match answer.request_id == id || answer.request_id.is_empty() {
            true => Ok(answer),
            false => Err(format!("the answer to `{id}` carries the id `{}`", answer.request_id)),
        };
        Self::new(number, again, latency, result)
    }

    fn new(number: u64, again: Again, latency: Duration, result: Result<Answer, String>) -> Self {
        let Again { retries, broken, why } = again;
        Self { number, retries, broken, why_again: why, latency, result, not_sent: false, timed_out: false }
    }

    /// Returns whether it was answered with 200.
    pub fn is_ok(&self) -> bool {
        self.result.as_ref().is_ok_and(|answer| answer.status == 200)
    }
}

// === impl LoadReport ===

impl LoadReport {
    /// Counts answers with 200.
    pub fn ok(&self) -> u64 {
        self.outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64
    }

    /// Counts what was sent and has no answer with 200.
    pub fn failed(&self) -> u64 {
        self.outcomes.iter().filter(|outcome| !outcome.is_ok()).count() as u64
    }

    /// Lists every failure with its reason, for people.
    pub fn failures(&self) -> impl Iterator<Item = (u64, String)> {
        self.outcomes.iter().filter(|outcome| !outcome.is_ok()).map(|outcome| {
            let why = match &outcome.result {
                Ok(answer) => {
                    let body: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
                    format!("status {}: {body}", answer.status)
                }
                Err(why) => why.clone(),
            };
            (outcome.number, why)
        })
    }

    /// Counts good answers per deployment.
    pub fn by_deployment(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for answer in self.outcomes.iter().filter(|outcome| outcome.is_ok()).filter_map(|o| o.result.as_ref().ok()) {
            *counts.entry(answer.deployment.as_str()).or_default() += 1;
        }
        counts
    }

    /// Returns whether every request of the run has exactly one outcome.
    pub fn is_complete(&self, first: u64, total: u64) -> bool {
        let numbers: BTreeSet<u64> = self.outcomes.iter().map(|outcome| outcome.number).collect();
        self.outcomes.len() as u64 == total && numbers.into_iter().eq(first..first + total)
    }

    /// Returns the latency that `permille` of a thousand answered requests did not exceed.
    pub fn latency(&self, permille: usize) -> Duration {
        let mut all: Vec<_> = self.outcomes.iter().filter(|o| o.result.is_ok()).map(|o| o.latency).collect();
        all.sort_unstable();
        let at = (all.len() * permille / 1_000).min(all.len().saturating_sub(1));
        all.get(at).copied().unwrap_or_default()
    }
}
