//! The model of the process tests: answers every request with its own body, over HTTP/1.1 and HTTP/2.
//!
//! A gRPC request (any method) is echoed message by message with an OK status in the trailers, so that an unmodified
//! grpcio client can call it; `ModelInfer` is answered with the id and the bytes of its input, as a model would. A body that
//! begins with `sleep:` and milliseconds, and goes on with a space or not at all, is answered that much later, which is how a
//! test keeps a request in flight. The process id in `x-model-pid` tells which process answered, `x-model-devices` which GPUs it
//! may use. It counts what it starts, and what it starts after the time in [`DEADLINE`], and says so under [`COUNTS`]; under
//! [`MOST`], how many it ever worked on at once. What is sent to [`TURN`] makes it worse from then on: `slow` and milliseconds,
//! or `failing`. Whose work was taken away before it was done, and when, it says under [`LEFT`]. Asked as OpenAI's clients ask
//! for a stream ([`CHAT`]), it says as many tokens, an event each, as it was told at [`TOKENS`]: who asks has the pace in hand.
//! With `START_MS` it begins to listen that many milliseconds after its start, as a model that loads does. With `WRONG` it
//! answers one of a hundred requests with something else: which, their numbers say ([`is_wrong`]).

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, sync::watch};

use crate::protocol::{MODEL_INFER, echo_of};

type Body = BoxBody<Bytes, hyper::Error>;

/// The header that says until when an answer is wanted, in milliseconds since 1970.
pub const DEADLINE: &str = "x-wanted-until-ms";

/// Where this model says how many requests it started, and how many of them too late.
pub const COUNTS: &str = "/model-counts";

/// Where this model says whose work was taken from it, and when: ids of requests with microseconds since 1970.
pub const LEFT: &str = "/model-left";

/// How many of these it remembers.
const LEFT_MAX: usize = 1_000;

/// Where this model says how many requests it ever worked on at once.
pub const MOST: &str = "/model-most";

/// Where this model is told how it shall be from now on.
pub const TURN: &str = "/model-turn";

/// Where this model is asked for a stream of events.
pub const CHAT: &str = "/v1/chat/completions";

/// Where this model is told how many tokens every stream of events shall have by now, or [`LAST`].
pub const TOKENS: &str = "/model-tokens";

/// The word that ends streams of events.
pub const LAST: &str = "last";

/// The event after which nothing comes.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// How many tokens streams shall have, and whether that is all.
type Said = (u64, bool);

/// What was started, and how the model is.
#[derive(Debug, Default)]
struct Counts {
    tokens: watch::Sender<Said>,
    started: AtomicU64,
    too_late: AtomicU64,
    slow_ms: AtomicU64,
    failing: AtomicBool,
    running: AtomicU64,
    most: AtomicU64,
    left: Mutex<VecDeque<(String, u128)>>,
}

/// A request that is worked on.
struct Running(Arc<Counts>);

/// The work for a request that says its id: taken away unless it is done.
struct Work {
    counts: Arc<Counts>,
    id: Option<String>,
}

/// Serves on `$PORT` until killed.
pub fn main() -> ExitCode {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else { return ExitCode::from(2) };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let start_ms = std::env::var("START_MS").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let serving = async {
        tokio::time::sleep(Duration::from_millis(start_ms)).await;
        serve(SocketAddr::from(([127, 0, 0, 1], port))).await
    };
    match runtime.block_on(serving) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve(address: SocketAddr) -> std::io::Result<Infallible> {
    let listener = TcpListener::bind(address).await?;
    let counts = Arc::new(Counts::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&counts)));
            // A connection that breaks is the caller's business.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

// === impl Counts ===

impl Counts {
    fn count(&self, request: &Request<Incoming>) {
        self.started.fetch_add(1, Ordering::Relaxed);
        let until = request.headers().get(DEADLINE).and_then(|value| value.to_str().ok()?.parse::<u128>().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if until.is_some_and(|until| until < now) {
            self.too_late.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn say_left(&self) -> String {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().map(|(id, at)| format!("{id} {at}\n")).collect()
    }

    /// Takes what is said; anything unknown makes it well again.
    fn turn(&self, word: &[u8]) {
        let word = std::str::from_utf8(word).unwrap_or_default();
        let slow_ms = word.strip_prefix("slow ").and_then(|ms| ms.parse().ok()).unwrap_or(0);
        self.slow_ms.store(slow_ms, Ordering::Relaxed);
        self.failing.store(word == "failing", Ordering::Relaxed);
    }

    /// Lets streams of events go on.
    fn tell(&self, word: &[u8]) {
        let word = std::str::from_utf8(word).unwrap_or_default();
        let count = word.parse::<u64>().ok();
        self.tokens.send_modify(|(tokens, last)| {
            *tokens = count.unwrap_or(*tokens);
            *last = word == LAST;
        });
    }

    fn say(&self) -> String {
        format!("{} {}", self.started.load(Ordering::Relaxed), self.too_late.load(Ordering::Relaxed))
    }
}

// === impl Work ===

impl Work {
    fn begin(request: &Request<Incoming>, counts: &Arc<Counts>) -> Self {
        let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Self { counts: Arc::clone(counts), id }
    }

    fn done(mut self) {
        self.id = None;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let mut left = self.counts.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() == LEFT_MAX {
            left.pop_front();
        }
        left.push_back((id, at));
    }
}

// === impl Running ===

impl Running {
    fn begin(counts: &Arc<Counts>) -> Self {
        let running = counts.running.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most.fetch_max(running, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer(request: Request<Incoming>, counts: Arc<Counts>) -> Result<Response<Body>, hyper::Error> {
    if request.uri().path() == COUNTS {
        return Ok(Response::new(Full::new(Bytes::from(counts.say())).map_err(|never| match never {}).boxed()));
    }
    if request.uri().path() == LEFT {
        return Ok(Response::new(Full::new(Bytes::from(counts.say_left())).map_err(|never| match never {}).boxed()));
    }
    if request.uri().path() == MOST {
        let most = counts.most.load(Ordering::Relaxed).to_string();
        return Ok(Response::new(Full::new(Bytes::from(most)).map_err(|never| match never {}).boxed()));
    }
    if request.uri().path() == TURN {
        counts.turn(&request.into_body().collect().await?.to_bytes());
        return Ok(Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed()));
    }
    if request.uri().path() == TOKENS {
        counts.tell(&request.into_body().collect().await?.to_bytes());
        return Ok(Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed()));
    }
    counts.count(&request);
    let running = Running::begin(&counts);
    if request.uri().path() == CHAT {
        let asked = request.into_body().collect().await?.to_bytes();
        let events = BodyExt::boxed(StreamBody::new(events(asked, counts.tokens.subscribe(), running)));
        let mut response = Response::new(events);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        return Ok(response);
    }
    if counts.failing.load(Ordering::Relaxed) {
        let mut failed = Response::new(Full::new(Bytes::from("failing")).map_err(|never| match never {}).boxed());
        *failed.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(failed);
    }
    let work = Work::begin(&request, &counts);
    tokio::time::sleep(Duration::from_millis(counts.slow_ms.load(Ordering::Relaxed))).await;
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let grpc = kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let mut response = match grpc {
        true if request.uri().path() == MODEL_INFER => Response::new(infer_echo(request.into_body()).await?),
        true => Response::new(grpc_echo(request.into_body(), running)),
        false => Response::new(plain_echo(request.into_body()).await?),
    };
    work.done();
    response.headers_mut().insert("x-model-pid", HeaderValue::from(std::process::id()));
    let devices = std::env::var("CUDA_VISIBLE_DEVICES").ok().and_then(|devices| HeaderValue::from_str(&devices).ok());
    if let Some(devices) = devices {
        response.headers_mut().insert("x-model-devices", devices);
    }
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// Tells whether request `number` of a load is answered wrong: one of a hundred, each time by the other of two routers.
pub fn is_wrong(number: u64) -> bool {
    number % 100 == 37 + number / 100 % 2
}

async fn plain_echo(body: Incoming) -> Result<Body, hyper::Error> {
    let bytes = body.collect().await?.to_bytes();
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let number = text.strip_prefix("request ").and_then(|number| number.parse().ok());
    if std::env::var_os("WRONG").is_some() && number.is_some_and(is_wrong) {
        return Ok(Full::new(Bytes::from("wrong")).map_err(|never| match never {}).boxed());
    }
    take_time(&bytes).await;
    Ok(Full::new(bytes).map_err(|never| match never {}).boxed())
}

/// Answers a call with what it carries, and with `INVALID_ARGUMENT` where that is nothing.
async fn infer_echo(body: Incoming) -> Result<Body, hyper::Error> {
    let answer = echo_of(body.collect().await?.to_bytes());
    let status = if answer.is_some() { "0" } else { "3" };
    let (text, said) = answer.unwrap_or_default();
    take_time(&text).await;
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(status))]);
    let frames = [Ok(Frame::data(said)), Ok(Frame::trailers(trailers))];
    Ok(BodyExt::boxed(StreamBody::new(futures::stream::iter(frames))))
}

/// Takes as long as it is told to.
async fn take_time(text: &[u8]) {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let wait_ms = text.strip_prefix("sleep:").and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(wait_ms) = wait_ms {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

/// Says one token after the other, each with what was asked, as far as it is told; then that these were all.
fn events(
    asked: Bytes,
    tokens: watch::Receiver<Said>,
    running: Running,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send + Sync {
    futures::stream::unfold(Some((0, tokens)), move |state| {
        let (asked, _until_it_ends) = (asked.clone(), &running);
        async move {
            let (said, mut tokens) = state?;
            let (count, _) = *tokens.wait_for(|(count, last)| *count > said || *last).await.ok()?;
            let asked = String::from_utf8_lossy(&asked);
            let (event, next) = match count > said {
                true => (token(said + 1, &asked), Some((said + 1, tokens))),
                false => (DONE.to_owned(), None),
            };
            Some((Ok(Frame::data(Bytes::from(event))), next))
        }
    })
}

/// Writes a token's event.
pub(crate) fn token(number: u64, asked: &str) -> String {
    format!("data: {number} {asked}\n\n")
}

/// Sends every frame back as it comes, then an OK status.
fn grpc_echo(body: Incoming, running: Running) -> Body {
    let frames = futures_stream(body, running);
    BodyExt::boxed(StreamBody::new(frames))
}

fn futures_stream(
    body: Incoming,
    running: Running,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send + Sync {
    futures::stream::unfold(Some((body, running)), |state| async {
        let (mut body, running) = state?;
        loop {
            return match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some((Ok(Frame::data(data)), Some((body, running)))),
                    // A caller's trailers are not part of the answer.
                    Err(_) => continue,
                },
                Some(Err(error)) => Some((Err(error), None)),
                None => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    Some((Ok(Frame::trailers(trailers)), None))
                }
            };
        }
    })
}
