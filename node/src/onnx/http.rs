//! The HTTP half of the ONNX server: limits, answers, and the hand-over to worker threads.

use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use super::model::{Model, panic_text};
use super::route::{Call, Route};
use super::{oip, score, swagger};

/// The version every model answers to: an `.onnx` file has no versions of its own.
pub(super) const VERSION: &str = "1";

/// What the server calls itself.
pub(super) const NAME: &str = "berth-onnx";

/// Splits JSON from binary data, in requests and responses.
const JSON_LENGTH: &str = "inference-header-content-length";

/// Azure's own limit of a managed endpoint's request time: nothing waits longer for a worker or for its body.
const WAIT_LIMIT: Duration = Duration::from_secs(180);

/// What every request of one server shares.
pub(super) struct Shared {
    model: Model,
    name: String,
    max_body_bytes: usize,
    workers: Arc<Semaphore>,
    /// Workers and waiting requests together.
    admitted: Semaphore,
    draining: AtomicBool,
}

/// A request that cannot be answered, as the caller sees it.
struct Refusal {
    status: StatusCode,
    why: String,
}

/// How a body is compressed.
#[derive(Clone, Copy)]
enum Encoding {
    Identity,
    Gzip,
    /// By the standard a zlib stream.
    Deflate,
}

type Answer = Response<Full<Bytes>>;

// === impl Shared ===

impl Shared {
    pub(super) fn new(model: Model, name: String, max_body_bytes: usize, workers: usize, max_waiting: usize) -> Self {
        Self {
            model,
            name,
            max_body_bytes,
            workers: Arc::new(Semaphore::new(workers)),
            admitted: Semaphore::new(workers.saturating_add(max_waiting).min(Semaphore::MAX_PERMITS)),
            draining: AtomicBool::new(false),
        }
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Admits and runs one inference of a gRPC call. What `work` refuses is the caller's fault where it is `Ok`, the
    /// model's where it is `Err`.
    pub(super) async fn infer<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Model) -> Result<T, Result<String, String>> + Send + 'static,
    ) -> Result<T, tonic::Status> {
        let admitted = self.admitted.try_acquire().map_err(|_| Refusal::unavailable("too many requests are waiting"));
        let _admitted = admitted.map_err(Refusal::into_status)?;
        let judged = |shared: &Self| {
            work(&shared.model).map_err(|why| match why {
                Ok(why) => Refusal::bad(why),
                Err(why) => Refusal::failed(why),
            })
        };
        self.on_worker(judged).await.map_err(Refusal::into_status)
    }

    /// Answers any request over HTTP.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match Route::of(request.method(), request.uri().path()) {
            Route::Probe => reply(StatusCode::OK, "text/html; charset=utf-8", "Healthy"),
            Route::Live => json(&serde_json::json!({ "live": true })),
            Route::Ready => self.ready(&serde_json::json!({ "ready": true })),
            Route::ModelReady { name } => self.ready(&serde_json::json!({ "name": name, "ready": true })),
            Route::Server => json(&serde_json::json!({
                "name": NAME,
                "version": env!("CARGO_PKG_VERSION"),
                "extensions": ["binary_tensor_data"],
            })),
            Route::Models => json(&serde_json::json!({ "models": [self.name] })),
            Route::Metadata { name, version } => {
                json(&oip::metadata(&self.model, &name, version.as_deref().unwrap_or(VERSION)))
            }
            Route::Swagger => match swagger::version(request.uri().query()) {
                Some(version) => json(&swagger::document(version, &self.model, &self.name)),
                None => {
                    let why = "no such version of swagger.json: ask for 3, 3.0 or 3.1".to_owned();
                    Refusal { status: StatusCode::NOT_FOUND, why }.into_answer()
                }
            },
            Route::Call(call) => self.call(call, request).await.unwrap_or_else(Refusal::into_answer),
            Route::WrongMethod(allowed) => {
                let why = format!("{} is not allowed here: use {allowed}", request.method());
                let mut answer = Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why }.into_answer();
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                answer
            }
            Route::Nothing => {
                let why = format!("no route {}: this server has /v2/…, /score and /swagger.json", request.uri().path());
                Refusal { status: StatusCode::NOT_FOUND, why }.into_answer()
            }
        }
    }

    /// A draining server says so to probes while it finishes what it has.
    fn ready(&self, body: &serde_json::Value) -> Answer {
        if self.is_draining() {
            return Refusal::unavailable("the server is shutting down").into_answer();
        }
        json(body)
    }

    async fn call(self: Arc<Self>, call: Call, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let (head, body) = request.into_parts();
        let json_length = header_number(&head.headers, JSON_LENGTH)?;
        let encoding = Encoding::of(&head.headers)?;
        let _admitted =
            self.admitted.try_acquire().map_err(|_| Refusal::unavailable("too many requests are waiting"))?;
        let body = self.body(&head.headers, body).await?;
        self.on_worker(move |shared| shared.work(&call, encoding, json_length, &body)).await
    }

    /// Runs what takes processor time on a thread that may take its time.
    async fn on_worker<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let worker = self.worker().await?;
        // The permit goes with the work: this future is dropped when the caller leaves, the thread is not.
        let shared = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let answer = catch_unwind(AssertUnwindSafe(|| work(&shared)));
            drop(worker);
            answer
        });
        match work.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(Refusal::failed(panic_text(&*panic).to_owned())),
            Err(_) => Err(Refusal::unavailable("the server is shutting down")),
        }
    }

    async fn body(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Refusal> {
        let limit = self.max_body_bytes;
        if header_number(headers, CONTENT_LENGTH.as_str())?.is_some_and(|length| length > limit) {
            return Err(Refusal::too_large(limit));
        }
        match tokio::time::timeout(WAIT_LIMIT, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(Refusal::too_large(limit)),
            Ok(Err(cause)) => Err(Refusal::bad(format!("the body broke off: {cause}"))),
            Err(_) => {
                let why = format!("the body did not arrive within {} s", WAIT_LIMIT.as_secs());
                Err(Refusal { status: StatusCode::REQUEST_TIMEOUT, why })
            }
        }
    }

    async fn worker(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        match tokio::time::timeout(WAIT_LIMIT, Arc::clone(&self.workers).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Refusal::unavailable("no worker became free in time")),
        }
    }

    /// Everything that takes processor time: decompression, parsing, the model, rendering.
    fn work(
        &self,
        call: &Call,
        encoding: Encoding,
        json_length: Option<usize>,
        body: &Bytes,
    ) -> Result<Answer, Refusal> {
        let body = encoding.expand(body, self.max_body_bytes)?;
        match call {
            Call::Infer { name, version } => {
                let (inputs, wanted) = oip::read(&self.model, &body, json_length).map_err(Refusal::bad)?;
                let results = self.model.run(inputs).map_err(Refusal::failed)?;
                let called = (name.as_str(), version.as_deref().unwrap_or(VERSION));
                let rendered = oip::render(&self.model, called, &wanted, &results).map_err(Refusal::failed)?;
                let Some(length) = rendered.json_length else {
                    return Ok(reply(StatusCode::OK, "application/json", rendered.body));
                };
                let mut answer = reply(StatusCode::OK, "application/octet-stream", rendered.body);
                answer.headers_mut().insert(JSON_LENGTH, HeaderValue::from(length));
                Ok(answer)
            }
            Call::Score => {
                let inputs = score::read(&self.model, &body).map_err(Refusal::bad)?;
                let results = self.model.run(inputs).map_err(Refusal::failed)?;
                let rendered = score::render(&self.model, &results).map_err(Refusal::failed)?;
                Ok(reply(StatusCode::OK, "application/json", rendered))
            }
        }
    }
}

// === impl Encoding ===

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip" | b"x-gzip") => Ok(Self::Gzip),
            Some(b"deflate") => Ok(Self::Deflate),
            Some(other) => {
                let why = format!(
                    "Content-Encoding {} is not supported: use gzip, deflate or none",
                    String::from_utf8_lossy(other)
                );
                Err(Refusal { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, why })
            }
        }
    }

    /// Undoes the compression; `limit` holds for the result too, so a small body cannot grow without end.
    fn expand(self, body: &Bytes, limit: usize) -> Result<Bytes, Refusal> {
        let mut out = Vec::new();
        let past_limit = limit as u64 + 1;
        let read = match self {
            Self::Identity => return Ok(body.clone()),
            Self::Gzip => flate2::read::MultiGzDecoder::new(&body[..]).take(past_limit).read_to_end(&mut out),
            Self::Deflate => flate2::read::ZlibDecoder::new(&body[..]).take(past_limit).read_to_end(&mut out),
        };
        match read {
            Ok(length) if length > limit => Err(Refusal::too_large(limit)),
            Ok(_) => Ok(out.into()),
            Err(cause) => Err(Refusal::bad(format!("the compressed body cannot be read: {cause}"))),
        }
    }
}

// === impl Refusal ===

impl Refusal {
    fn bad(why: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, why }
    }

    fn failed(why: String) -> Self {
        error!(%why, "inference failed");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, why: format!("the model failed on this input: {why}") }
    }

    fn unavailable(why: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, why: why.to_owned() }
    }

    fn too_large(limit: usize) -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, why: format!("the body is over the limit of {limit} bytes") }
    }

    fn into_status(self) -> tonic::Status {
        let code = match self.status {
            StatusCode::BAD_REQUEST => tonic::Code::InvalidArgument,
            StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
            _ => tonic::Code::Internal,
        };
        tonic::Status::new(code, self.why)
    }

    fn into_answer(self) -> Answer {
        let body = serde_json::json!({ "error": self.why }).to_string();
        reply(self.status, "application/json", body)
    }
}

fn header_number(headers: &HeaderMap, name: &str) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| Refusal::bad(format!("{name} is not a number of bytes")))
}

fn json(body: &serde_json::Value) -> Answer {
    reply(StatusCode::OK, "application/json", body.to_string())
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
