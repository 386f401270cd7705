//! An open-loop load driver that counts by request id.
//!
//! Open-loop: request `n` is due at `start + n / rate` whether or not earlier ones were answered, and its latency counts
//! from that moment; a driver that waits for answers hides every stall of what it measures. By id: each request carries
//! its own `x-request-id` and an answer counts once, so "none lost, none twice" is a fact rather than a difference of
//! totals.

mod report;

pub use berth_client::http1::NotAnswered;
use report::Again;
pub use report::{Answer, LoadReport, Outcome};

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use berth_client::{
    Address,
    http1::{Pool, PoolPolicy},
};
use futures::future::BoxFuture;
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Bytes,
    header::{HeaderName, HeaderValue},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep_until, timeout_at},
};

/// The header that names a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Connections of the driver: many requests are under way at once, and a host that does not accept soon is passed over.
const POLICY: PoolPolicy =
    PoolPolicy { connect_timeout: Duration::from_secs(1), idle_max: 256, body_bytes_max: 64 << 20 };

/// What to send, where, and how fast.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Ingress addresses; a request goes to them in turn, and to the next one when one cannot be reached.
    pub targets: Vec<SocketAddr>,
    /// Path and query.
    pub path: String,
    /// Headers of every request.
    pub headers: HeaderMap,
    /// Bodies; request `n` carries body `n` modulo their number.
    pub bodies: Arc<[Bytes]>,
    /// The number of the first request: a later phase goes on where an earlier one ended.
    pub first: u64,
    /// How many requests.
    pub total: u64,
    /// How many are due per second.
    pub rate_per_second: u64,
    /// How long a request may take from the moment it is due.
    pub timeout: Duration,
    /// A header that says until when an answer is wanted, in milliseconds since 1970: for a model that counts what it
    /// starts too late.
    pub deadline_header: Option<HeaderName>,
    /// Requests that may be unanswered at once; beyond it a due request is counted as not sent, never delayed.
    pub in_flight_max: usize,
    /// Whether a request whose connection broke may be sent to another target.
    pub idempotent: bool,
    /// Whether a request that is refused with a time to come back comes back then, as long as it has time.
    pub patient: bool,
    /// Makes request ids of different runs differ.
    pub run: String,
}

/// Drives the load and returns what became of every request, in order of number.
///
/// The whole run takes at most `total / rate + timeout`.
pub async fn run(options: LoadOptions) -> LoadReport {
    run_until(options, || true).await
}

/// Carries requests to one target, in the words of one protocol, and brings the answers back in those of the driver.
pub trait Carrier: Send + Sync {
    /// Sends a request; says of one that has no answer whether it may be sent elsewhere.
    fn carry(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, NotAnswered>>;
}

impl Carrier for Pool {
    fn carry(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, NotAnswered>> {
        Box::pin(self.send(request))
    }
}

/// Drives the load for `total` requests and then for as long as it is not `enough`, which is asked before each.
pub async fn run_until(options: LoadOptions, enough: impl Fn() -> bool + Send) -> LoadReport {
    let carriers = vec![over_http1(&options.targets)];
    run_over(options, carriers, enough).await
}

/// Speaks HTTP/1.1 with these targets.
pub fn over_http1(targets: &[SocketAddr]) -> Vec<Box<dyn Carrier>> {
    let carrier = |target: &SocketAddr| Box::new(Pool::new(Address::from(*target), POLICY)) as Box<dyn Carrier>;
    targets.iter().map(carrier).collect()
}

/// Drives the load over several protocols, each of which has a carrier to every target: request `n` goes over protocol `n`
/// modulo their number.
pub async fn run_over(
    options: LoadOptions,
    carriers: Vec<Vec<Box<dyn Carrier>>>,
    enough: impl Fn() -> bool + Send,
) -> LoadReport {
    let start = Instant::now();
    let permits = Arc::new(Semaphore::new(options.in_flight_max));
    let shared = Arc::new(Shared { carriers, options });
    // Every request sends exactly one outcome, so a channel of the in-flight bound can never block for long.
    let (outcomes, mut arrived) = mpsc::channel(shared.options.in_flight_max.max(1));
    let collector = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(outcome) = arrived.recv().await {
            all.push(outcome);
        }
        all
    });
    for n in 0.. {
        if n >= shared.options.total && enough() {
            break;
        }
        let due = start + interval(n, shared.options.rate_per_second);
        sleep_until(due).await;
        let number = shared.options.first + n;
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            let _ = outcomes.send(Outcome::not_sent(number)).await;
            continue;
        };
        let (shared, outcomes) = (Arc::clone(&shared), outcomes.clone());
        tokio::spawn(async move {
            let outcome = shared.one(number, due).await;
            let _ = outcomes.send(outcome).await;
            drop(permit);
        });
    }
    drop(outcomes);
    let mut all = collector.await.unwrap_or_default();
    all.sort_by_key(|outcome| outcome.number);
    LoadReport { outcomes: all, elapsed: start.elapsed() }
}

/// Returns when request `n` is due, exactly, for any rate.
fn interval(n: u64, rate_per_second: u64) -> Duration {
    let nanos = u128::from(n) * 1_000_000_000 / u128::from(rate_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

struct Shared {
    options: LoadOptions,
    carriers: Vec<Vec<Box<dyn Carrier>>>,
}

// === impl Shared ===

impl Shared {
    async fn one(&self, number: u64, due: Instant) -> Outcome {
        let deadline = due + self.options.timeout;
        let id = format!("{}-{number}", self.options.run);
        let mut again = Again::default();
        let (carriers, first) = self.carriers_of(number);
        let (mut turn, mut unreached) = (0, 0);
        while unreached < carriers.len() {
            let carrier = &carriers[((first + turn) % carriers.len() as u64) as usize];
            turn += 1;
            unreached += 1;
            match timeout_at(deadline, carrier.carry(self.request(number, &id, deadline))).await {
                Err(_) => return Outcome::timed_out(number, again, due.elapsed()),
                Ok(Ok(answer)) => {
                    let answer = Answer::from(answer);
                    let back = answer.back_in().map(|wait| Instant::now() + wait);
                    let Some(back) = back.filter(|back| self.options.patient && *back < deadline) else {
                        return Outcome::answered(number, again, due.elapsed(), &id, answer);
                    };
                    sleep_until(back).await;
                    unreached = 0;
                }
                Ok(Err(NotAnswered::NotSent(why))) => again.why = why,
                Ok(Err(NotAnswered::Broken(why))) if self.options.idempotent => {
                    again.broken += 1;
                    again.why = why;
                }
                Ok(Err(NotAnswered::Broken(why))) => return Outcome::failed(number, again, due.elapsed(), why),
            }
            again.retries += 1;
        }
        let why = if again.retries == 0 { "no target".to_owned() } else { again.why.clone() };
        Outcome::failed(number, again, due.elapsed(), why)
    }

    /// Returns the carriers of a request's protocol, and which of them it goes to first: each protocol goes to every target
    /// in turn.
    fn carriers_of(&self, number: u64) -> (&[Box<dyn Carrier>], u64) {
        let protocols = self.carriers.len().max(1) as u64;
        let carriers = self.carriers.get((number % protocols) as usize).map_or(&[][..], Vec::as_slice);
        (carriers, number / protocols)
    }

    fn request(&self, number: u64, id: &str, deadline: Instant) -> Request<Bytes> {
        let bodies = &self.options.bodies;
        let body = match bodies.len() as u64 {
            0 => Bytes::new(),
            len => bodies[(number % len) as usize].clone(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.options.path.parse().unwrap_or_default();
        *request.headers_mut() = self.options.headers.clone();
        if let Ok(id) = HeaderValue::from_str(id) {
            request.headers_mut().insert(REQUEST_ID, id);
        }
        if let Some(name) = &self.options.deadline_header {
            let until = SystemTime::now() + deadline.saturating_duration_since(Instant::now());
            let until_ms = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            request.headers_mut().insert(name, HeaderValue::from(u64::try_from(until_ms).unwrap_or(u64::MAX)));
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Carrier for Nobody {
        fn carry(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, NotAnswered>> {
            Box::pin(async { Err(NotAnswered::NotSent("nobody".to_owned())) })
        }
    }

    #[test]
    fn every_protocol_goes_to_every_target_in_turn() {
        let options = LoadOptions {
            targets: Vec::new(),
            path: "/".to_owned(),
            headers: HeaderMap::new(),
            bodies: Arc::new([]),
            first: 0,
            total: 0,
            rate_per_second: 1,
            timeout: Duration::from_secs(1),
            deadline_header: None,
            in_flight_max: 1,
            idempotent: false,
            patient: false,
            run: String::new(),
        };
        let of = |protocols: usize, targets: usize| {
            let carriers = |_| (0..targets).map(|_| Box::new(Nobody) as Box<dyn Carrier>).collect();
            let shared = Shared { carriers: (0..protocols).map(carriers).collect(), options: options.clone() };
            (0..9).map(|number| shared.carriers_of(number).1 % targets as u64).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 3), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(of(3, 3), [0, 0, 0, 1, 1, 1, 2, 2, 2], "three protocols and three targets: nine ways");
    }

    #[test]
    fn requests_are_due_on_an_exact_grid() {
        assert_eq!(interval(0, 3), Duration::ZERO);
        assert_eq!(interval(3, 3), Duration::from_secs(1));
        assert_eq!(interval(300_000_000, 3), Duration::from_secs(100_000_000));
        assert_eq!(interval(5, 0), Duration::from_secs(5));
    }
}
