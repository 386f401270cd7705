//! Calls to an endpoint, through any node.
//!
//! A node that cannot be reached is left for the next one, which is always safe: nothing was sent. A call that broke
//! after it was sent is repeated only when the caller said that it is idempotent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use berth_core::{
    defaults::DEFAULTS,
    error::{Code, Error},
};
use berth_proto::tls::{self, Trust};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, client::Grpc, metadata::MetadataMap, transport::Endpoint};

use crate::{
    api,
    codec::BytesCodec,
    http1::{NotAnswered, Pool, PoolPolicy},
    options::Address,
    transport::Client,
};

/// Names the deployment that answers, past the split.
const DEPLOYMENT: HeaderName = HeaderName::from_static("azureml-model-deployment");
/// Names the endpoint, where neither path nor host do.
const ENDPOINT: HeaderName = HeaderName::from_static("x-berth-endpoint");
/// Names the replica that answered.
const REPLICA: HeaderName = HeaderName::from_static("x-berth-replica");
/// How long a call may take unless its caller says otherwise: the longest a deployment may allow, and a little.
const DEADLINE: Duration = Duration::from_millis(DEFAULTS.request_timeout_max.0 + 5_000);

/// Calls one endpoint. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct InferClient {
    endpoint: String,
    key: Option<HeaderValue>,
    deployment: Option<HeaderValue>,
    deadline: Duration,
    idempotent: bool,
    nodes: Arc<Nodes>,
}

/// An answer over HTTP, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An answer over gRPC.
#[derive(Clone, Debug)]
pub struct GrpcAnswer {
    /// The headers.
    pub metadata: MetadataMap,
    /// The message, as it was encoded.
    pub message: Bytes,
}

struct Nodes {
    pools: Vec<Pool>,
    channels: Vec<tonic::transport::Channel>,
    next: AtomicUsize,
}

/// Endpoints found through the API.
impl Client {
    /// Returns a client of an endpoint, with its key and the ingress of every node that is heard from.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let digits = client.infer("digits").await?;
    /// let answer = digits.score("[0, 1, 2]").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn infer(&self, endpoint: &str) -> Result<InferClient, Error> {
        self.infer_with(endpoint, None).await
    }

    /// Does the same where nodes speak TLS to callers.
    pub async fn infer_over_tls(&self, endpoint: &str, trust: &Trust) -> Result<InferClient, Error> {
        self.infer_with(endpoint, Some(trust)).await
    }

    async fn infer_with(&self, endpoint: &str, trust: Option<&Trust>) -> Result<InferClient, Error> {
        let found = self.get_endpoint(endpoint).await?;
        let nodes = self.list_nodes().await?;
        let heard = |node: &&api::Node| node.state != "lost" && !node.ingress_address.is_empty();
        let ingress: Vec<_> = nodes.iter().filter(heard).map(|node| node.ingress_address.as_str()).collect();
        if ingress.is_empty() {
            return Err(Error::new(Code::Unavailable, "no node is ready to take the call")
                .try_("look at `berth node ls`; start one with `berth node`"));
        }
        let keys = self.list_keys(endpoint).await?;
        Ok(InferClient::open(ingress, &found.name, trust)?.with_key(&keys.primary_key))
    }
}

// === impl InferClient ===

impl InferClient {
    /// Calls `endpoint` through any of the nodes whose ingress addresses (`HOST:PORT`) are given. Needs a runtime.
    pub fn new<A: AsRef<str>>(ingress: impl IntoIterator<Item = A>, endpoint: &str) -> Result<Self, Error> {
        Self::open(ingress, endpoint, None)
    }

    /// Does the same where nodes speak TLS to callers.
    pub fn over_tls<A: AsRef<str>>(
        ingress: impl IntoIterator<Item = A>,
        endpoint: &str,
        trust: &Trust,
    ) -> Result<Self, Error> {
        Self::open(ingress, endpoint, Some(trust))
    }

    fn open<A: AsRef<str>>(
        ingress: impl IntoIterator<Item = A>,
        endpoint: &str,
        trust: Option<&Trust>,
    ) -> Result<Self, Error> {
        let parse = |address: A| Address::parse(address.as_ref().trim(), DEFAULTS.ingress_port);
        let addresses = ingress.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(Error::new(Code::Invalid, "no node is named").try_("give at least one HOST:PORT"));
        }
        if endpoint.is_empty() || !endpoint.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::new(Code::Invalid, format!("`{endpoint}` is not an endpoint's name")));
        }
        if let Some(address) = addresses.iter().find(|address| address.is_tls() && trust.is_none()) {
            return Err(Error::new(Code::Tls, format!("{address} is called over TLS, and nobody is believed"))
                .try_("name the PEM file of the authority that signed its certificate"));
        }
        let policy = PoolPolicy::default();
        let channel = |address: &Address| {
            let scheme = if trust.is_some() { "https" } else { "http" };
            let endpoint = Endpoint::from_shared(format!("{scheme}://{}", address.as_str()))
                .map_err(|error| Error::new(Code::Invalid, "not an address").why(error.to_string()))?;
            let endpoint = endpoint.connect_timeout(policy.connect_timeout).tcp_nodelay(true);
            Ok(tls::channel(&endpoint, trust))
        };
        let channels = addresses.iter().map(channel).collect::<Result<Vec<_>, Error>>()?;
        let pool = |address| {
            let pool = Pool::new(address, policy);
            if let Some(trust) = trust { pool.over_tls(trust) } else { pool }
        };
        let pools = addresses.into_iter().map(pool).collect();
        Ok(Self {
            endpoint: endpoint.to_owned(),
            key: None,
            deployment: None,
            deadline: DEADLINE,
            idempotent: false,
            nodes: Arc::new(Nodes { pools, channels, next: AtomicUsize::new(0) }),
        })
    }

    /// Sends this key with every call.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = HeaderValue::from_str(&format!("Bearer {key}")).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        self
    }

    /// Asks this deployment, past the split.
    #[must_use]
    pub fn pinned_to(mut self, deployment: &str) -> Self {
        self.deployment = HeaderValue::from_str(deployment).ok();
        self
    }

    /// Gives up on a call after this long.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says that a call may be sent again although an earlier one may have been worked on.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Posts JSON to `/score`: Azure's contract.
    pub async fn score(&self, json: impl Into<Bytes>) -> Result<Answer, Error> {
        self.post("/score", "application/json", json).await
    }

    /// Posts an infer request of the Open Inference Protocol v2, as JSON, for a model; the endpoint's name is a model's
    /// name too.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), berth_client::Error> {
    /// let request = r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.5]}]}"#;
    /// let answer = digits.infer("digits", request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn infer(&self, model: &str, json: impl Into<Bytes>) -> Result<Answer, Error> {
        self.post(&format!("/v2/models/{model}/infer"), "application/json", json).await
    }

    /// Posts a body to a path of the endpoint.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Result<Answer, Error> {
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|_| Error::new(Code::Invalid, format!("`{content_type}` is not a content type")))?;
        self.send(Method::POST, path, HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]), body.into()).await
    }

    /// Sends any request to a path of the endpoint.
    pub async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, Error> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("/e/{}/{}", self.endpoint, path.trim_start_matches('/')))
            .body(body)
            .map_err(|error| Error::new(Code::Invalid, format!("`{path}` is not a path")).why(error.to_string()))?;
        *request.headers_mut() = headers;
        let own = [(header::AUTHORIZATION, &self.key), (DEPLOYMENT, &self.deployment)];
        for (name, value) in own {
            if let Some(value) = value {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let until = Instant::now() + self.deadline;
        let mut why = String::new();
        for pool in self.nodes.in_turn(&self.nodes.pools) {
            let failed = match timeout_at(until, pool.send(request.clone())).await {
                Ok(Ok(answer)) => {
                    let (head, body) = answer.into_parts();
                    return Ok(Answer { status: head.status, headers: head.headers, body });
                }
                Ok(Err(failed)) => failed,
                Err(_) => {
                    return Err(Error::new(Code::Timeout, format!("{} did not answer in time", pool.address())));
                }
            };
            let (not_sent, text) = match failed {
                NotAnswered::NotSent(text) => (true, text),
                NotAnswered::Broken(text) => (false, text),
            };
            if !not_sent && !self.idempotent {
                return Err(Error::new(Code::Upstream, format!("{} broke off before it answered", pool.address()))
                    .why(text)
                    .try_("send it again if that is safe; say so with `idempotent(true)`"));
            }
            why = text;
        }
        Err(Error::new(Code::Unavailable, "no node answered").why(why))
    }

    /// Calls a unary gRPC method by its path (`/package.Service/Method`), with messages as bytes.
    ///
    /// The error is the model's own status, or `Unavailable` when no node was reached.
    pub async fn unary(&self, path: &str, message: impl Into<Bytes>) -> Result<GrpcAnswer, tonic::Status> {
        let path: http::uri::PathAndQuery =
            path.parse().map_err(|_| tonic::Status::invalid_argument(format!("`{path}` is not a path")))?;
        let message = message.into();
        let mut last = tonic::Status::unavailable("no node answered");
        for channel in self.nodes.in_turn(&self.nodes.channels) {
            let mut grpc = Grpc::new(channel.clone());
            if let Err(error) = grpc.ready().await {
                last = tonic::Status::unavailable(error.to_string());
                continue;
            }
            let mut request = Request::new(message.clone());
            self.add_metadata(request.metadata_mut())?;
            request.set_timeout(self.deadline);
            match grpc.unary(request, path.clone(), BytesCodec).await {
                Ok(answer) => {
                    let (metadata, message, _) = answer.into_parts();
                    return Ok(GrpcAnswer { metadata, message });
                }
                // A connection that was never opened sent nothing.
                Err(status) if was_not_sent(&status) => last = status,
                Err(status) => return Err(status),
            }
        }
        Err(last)
    }

    fn add_metadata(&self, metadata: &mut MetadataMap) -> Result<(), tonic::Status> {
        let mut headers = std::mem::take(metadata).into_headers();
        let endpoint = HeaderValue::from_str(&self.endpoint)
            .map_err(|_| tonic::Status::invalid_argument("not an endpoint's name"))?;
        headers.insert(ENDPOINT, endpoint);
        for (name, value) in [(header::AUTHORIZATION, &self.key), (DEPLOYMENT, &self.deployment)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        *metadata = MetadataMap::from_headers(headers);
        Ok(())
    }
}

impl std::fmt::Debug for InferClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InferClient").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Returns whether the connection itself could not be opened.
fn was_not_sent(status: &tonic::Status) -> bool {
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        next = error.source();
    }
    false
}

// === impl Nodes ===

impl Nodes {
    /// Goes once through all, each time beginning with another.
    fn in_turn<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = &'a T> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % all.len();
        all[start..].iter().chain(&all[..start])
    }
}

// === impl Answer ===

impl Answer {
    /// Returns the deployment that answered.
    pub fn deployment(&self) -> Option<&str> {
        self.header(&DEPLOYMENT)
    }

    /// Returns the replica that answered.
    pub fn replica(&self) -> Option<&str> {
        self.header(&REPLICA)
    }

    /// Returns a header as text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the answer if its status is a success, else an error that says what the answer said.
    pub fn into_success(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        // What Berth answers itself says why; a model's own answer has only its status.
        let told = self.header(&HeaderName::from_static("x-berth-error")).and_then(Code::from_word);
        let code = told.unwrap_or(match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::Unauthenticated,
            StatusCode::NOT_FOUND => Code::RouteNotFound,
            StatusCode::REQUEST_TIMEOUT => Code::Timeout,
            StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
            StatusCode::SERVICE_UNAVAILABLE => Code::NotReady,
            _ => Code::Upstream,
        });
        // Enough to see what it is about.
        let body: String = String::from_utf8_lossy(&self.body).chars().take(500).collect();
        let model_status = HeaderName::from_static("ms-azureml-model-error-statuscode");
        let what = match self.header(&model_status) {
            Some(own) => format!("the model answered {own} (as {})", self.status),
            None => format!("the endpoint answered {}", self.status),
        };
        Err(Error::new(code, what).why(body.trim().to_owned()))
    }
}
