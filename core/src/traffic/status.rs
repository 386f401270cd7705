//! Answers of the mesh itself: which status a refusal has, in which dialect, and when a model's own status is wrapped.
//!
//! The route says which client is at the other end. On Azure's scoring routes every answer of the model but 200 is 424
//! with the model's own code in a header; Open Inference Protocol, OpenAI and gRPC clients read the model's status
//! themselves, so it passes through.

use super::admission::NotStarted;
use crate::error::Code;

/// The protocol a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Azure's routes, and whatever no other protocol claims.
    Azure,
    /// Open Inference Protocol v2 over HTTP.
    Inference,
    /// OpenAI's routes.
    OpenAi,
    /// gRPC of any service.
    Grpc,
}

/// Why the mesh answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No or a wrong key.
    Unauthorised,
    /// Nothing in the request names an endpoint there is.
    EndpointNotFound,
    /// The endpoint has no such deployment.
    DeploymentNotFound,
    /// No deployment has a share of the traffic, and none was asked for.
    NoTraffic,
    /// The deadline passed.
    Timeout,
    /// The caller took too long to send the body, while a replica waited for it.
    SlowBody,
    /// The body is over the endpoint's limit.
    TooLarge,
    /// The body names its model further behind than it is kept for that.
    ModelTooFar,
    /// Every replica has all it may take.
    TooManyRequests,
    /// No replica is able to take it.
    NotReady,
    /// The replica took it and broke off, or answered outside its protocol.
    Upstream,
    /// The caller broke off or sent what is no request.
    BadRequest,
    /// The path is longer than the mesh takes.
    UriTooLong,
    /// A gRPC call to a deployment whose server speaks HTTP/1.1 only.
    NoGrpc,
}

/// How the status of a model's answer reaches the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status the caller sees.
    pub status: u16,
    /// The model's own, when it is not the one that is seen.
    pub model_status: Option<u16>,
}

/// How a gRPC call went, as its server says it (`google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(u8);

/// The name of every gRPC status and the HTTP status that `google/rpc/code.proto` documents for it, by number.
const GRPC_STATUSES: [(&str, u16); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

/// The longest request id of a caller that is kept.
const REQUEST_ID_MAX: usize = 64;

// === impl Dialect ===

impl Dialect {
    /// Tells the dialect from the path (without `/e/{endpoint}`) and the content type.
    pub fn of(path: &str, content_type: Option<&[u8]>) -> Self {
        if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
            return Self::Grpc;
        }
        if path == "/v2" || path.starts_with("/v2/") {
            return Self::Inference;
        }
        match path.strip_prefix("/v1") {
            Some(rest) if is_open_ai(rest) => Self::OpenAi,
            _ if path.starts_with("/openai/") => Self::OpenAi,
            _ => Self::Azure,
        }
    }
}

/// Returns whether a path is one of OpenAI's calls, without its `/v1`.
pub fn is_open_ai(path: &str) -> bool {
    const CALLS: [&str; 9] = [
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/responses",
        "/rerank",
        "/audio/",
        "/images/",
        "/files",
        "/batches",
    ];
    CALLS.iter().any(|call| path.starts_with(call))
}

// === impl GrpcStatus ===

impl GrpcStatus {
    /// The caller gave the call up.
    pub const CANCELLED: Self = Self(1);

    /// What clients take a call for that ended without a status, or with one that is none.
    pub const UNKNOWN: Self = Self(2);

    /// Reads the value of `grpc-status`.
    pub fn parse(value: &[u8]) -> Self {
        let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        number.map_or(Self::UNKNOWN, Self::of)
    }

    /// Returns the status of a number.
    pub fn of(number: u8) -> Self {
        if usize::from(number) < GRPC_STATUSES.len() { Self(number) } else { Self::UNKNOWN }
    }

    /// Returns its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Returns its name.
    pub fn word(self) -> &'static str {
        GRPC_STATUSES[usize::from(self.0)].0
    }

    /// Returns the HTTP status it stands for: what a call is counted as beside answers over HTTP.
    pub fn http_status(self) -> u16 {
        GRPC_STATUSES[usize::from(self.0)].1
    }

    /// Returns whether OpenTelemetry calls it an error of the server.
    pub fn is_servers_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12..=15)
    }
}

/// Returns whether an answer of this content type is a gRPC call's, which says at its end how it went. gRPC-Web's says so in
/// its body.
pub fn says_at_its_end(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

// === impl Refusal ===

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 14] = [
        Self::Unauthorised,
        Self::EndpointNotFound,
        Self::DeploymentNotFound,
        Self::NoTraffic,
        Self::Timeout,
        Self::SlowBody,
        Self::TooLarge,
        Self::ModelTooFar,
        Self::TooManyRequests,
        Self::NotReady,
        Self::Upstream,
        Self::BadRequest,
        Self::UriTooLong,
        Self::NoGrpc,
    ];

    /// Returns what to answer when every replica was asked and none started the request, and which reason decided. A full
    /// one decides: there the request may succeed in a moment, and 429 is what Azure's clients back off on.
    pub fn of_not_started(reasons: impl IntoIterator<Item = NotStarted>) -> (Self, Option<NotStarted>) {
        let mut decided = (Self::NotReady, None);
        for reason in reasons {
            match reason {
                NotStarted::Full => return (Self::TooManyRequests, Some(reason)),
                NotStarted::Expired => decided = (Self::Timeout, Some(reason)),
                _ if decided.1.is_none() => decided.1 = Some(reason),
                _ => {}
            }
        }
        decided
    }

    /// Returns the HTTP status. `azure_scoring` says whether Azure's law of 424 holds on the route.
    pub fn http_status(self, azure_scoring: bool) -> u16 {
        match self {
            Self::Unauthorised => 401,
            Self::EndpointNotFound | Self::DeploymentNotFound | Self::NoTraffic => 404,
            Self::Timeout | Self::SlowBody => 408,
            Self::TooLarge | Self::ModelTooFar => 413,
            Self::TooManyRequests => 429,
            Self::NotReady => 503,
            Self::Upstream if azure_scoring => 424,
            Self::Upstream => 502,
            Self::BadRequest => 400,
            Self::UriTooLong => 414,
            Self::NoGrpc => 501,
        }
    }

    /// Returns the gRPC status.
    pub fn grpc_status(self) -> u8 {
        match self {
            Self::BadRequest | Self::UriTooLong => 3,
            Self::Timeout | Self::SlowBody => 4,
            Self::EndpointNotFound | Self::DeploymentNotFound | Self::NoTraffic => 5,
            Self::TooManyRequests | Self::TooLarge | Self::ModelTooFar => 8,
            Self::NoGrpc => 12,
            Self::NotReady | Self::Upstream => 14,
            Self::Unauthorised => 16,
        }
    }

    /// Returns Azure's word for `ms-azureml-model-error-reason`, where it has one.
    pub fn azure_reason(self) -> Option<&'static str> {
        match self {
            Self::TooManyRequests => Some("too_many_pending_request"),
            Self::NotReady => Some("model_not_ready"),
            Self::Upstream => Some("model_error"),
            _ => None,
        }
    }

    /// Returns the stable code.
    pub fn code(self) -> Code {
        match self {
            Self::Unauthorised => Code::Unauthenticated,
            Self::EndpointNotFound => Code::EndpointNotFound,
            Self::DeploymentNotFound => Code::DeploymentNotFound,
            Self::NoTraffic | Self::NotReady => Code::NotReady,
            Self::Timeout | Self::SlowBody => Code::Timeout,
            Self::TooLarge | Self::ModelTooFar => Code::TooLarge,
            Self::TooManyRequests => Code::TooManyRequests,
            Self::Upstream => Code::Upstream,
            Self::BadRequest | Self::UriTooLong => Code::Invalid,
            Self::NoGrpc => Code::RouteNotFound,
        }
    }

    /// Returns one line for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Unauthorised => "no valid key: send one as `Authorization: Bearer` or `api-key`",
            Self::EndpointNotFound => "no such endpoint: name it as /e/{endpoint}/, x-berth-endpoint or host name",
            Self::DeploymentNotFound => "the endpoint has no such deployment",
            Self::NoTraffic => "no deployment of the endpoint has traffic, and the request names none",
            Self::Timeout => "upstream request timeout",
            Self::SlowBody => "the body came too slowly",
            Self::TooLarge => "payload too large",
            Self::ModelTooFar => {
                "`model` comes too late in the body: name the endpoint in the path, /e/NAME/v1/..., or `model` first"
            }
            Self::TooManyRequests => "too many pending requests",
            Self::NotReady => "no replica is ready",
            Self::Upstream => "the replica broke off without an answer",
            Self::BadRequest => "the request could not be read",
            Self::UriTooLong => "the path is too long",
            Self::NoGrpc => "the deployment's server speaks HTTP only, not gRPC",
        }
    }
}

/// Maps the status of a model's answer. `azure_scoring` says whether Azure's law of 424 holds on the route.
pub fn answered(azure_scoring: bool, status: u16) -> Answered {
    // 101 is the start of a conversation, not an answer.
    if azure_scoring && status != 200 && status != 101 {
        Answered { status: 424, model_status: Some(status) }
    } else {
        Answered { status, model_status: None }
    }
}

/// Returns whether Azure's law of 424 holds: on `/score` and on the deployment's own scoring path.
pub fn is_azure_scoring(dialect: Dialect, path: &str, scoring_path: &str) -> bool {
    dialect == Dialect::Azure && (path == "/score" || path == scoring_path)
}

/// Returns whether a caller's request id is kept: short, and nothing in it that a log or header could trip over.
pub fn keeps_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_tell_their_dialect() {
        for (path, content_type, dialect) in [
            ("/score", "application/json", Dialect::Azure),
            ("/", "", Dialect::Azure),
            ("/v1/models/half:predict", "", Dialect::Azure),
            ("/v2", "", Dialect::Inference),
            ("/v2/models/fraud/infer", "application/json", Dialect::Inference),
            ("/v20/x", "", Dialect::Azure),
            ("/v1/chat/completions", "application/json", Dialect::OpenAi),
            ("/openai/v1/models", "", Dialect::OpenAi),
            ("/echo.Echo/Say", "application/grpc+proto", Dialect::Grpc),
            ("/v2/models/fraud/infer", "application/grpc", Dialect::Grpc),
        ] {
            assert_eq!(Dialect::of(path, Some(content_type.as_bytes())), dialect, "{path} {content_type}");
        }
    }

    #[test]
    fn a_grpc_status_counts_as_what_http_has_for_it() {
        // By google/rpc/code.proto; the last column is OpenTelemetry's of what a server is to blame for.
        for (value, number, word, status, servers) in [
            ("0", 0, "OK", 200, false),
            ("1", 1, "CANCELLED", 499, false),
            ("2", 2, "UNKNOWN", 500, true),
            ("3", 3, "INVALID_ARGUMENT", 400, false),
            ("4", 4, "DEADLINE_EXCEEDED", 504, true),
            ("5", 5, "NOT_FOUND", 404, false),
            ("6", 6, "ALREADY_EXISTS", 409, false),
            ("7", 7, "PERMISSION_DENIED", 403, false),
            ("8", 8, "RESOURCE_EXHAUSTED", 429, false),
            ("9", 9, "FAILED_PRECONDITION", 400, false),
            ("10", 10, "ABORTED", 409, false),
            ("11", 11, "OUT_OF_RANGE", 400, false),
            ("12", 12, "UNIMPLEMENTED", 501, true),
            ("13", 13, "INTERNAL", 500, true),
            ("14", 14, "UNAVAILABLE", 503, true),
            ("15", 15, "DATA_LOSS", 500, true),
            ("16", 16, "UNAUTHENTICATED", 401, false),
            ("17", 2, "UNKNOWN", 500, true),
            ("256", 2, "UNKNOWN", 500, true),
            ("", 2, "UNKNOWN", 500, true),
            ("OK", 2, "UNKNOWN", 500, true),
        ] {
            let read = GrpcStatus::parse(value.as_bytes());
            assert_eq!((read.number(), read.word(), read.http_status()), (number, word, status), "{value:?}");
            assert_eq!(read.is_servers_error(), servers, "{value:?}");
        }
        assert_eq!((GrpcStatus::CANCELLED.word(), GrpcStatus::UNKNOWN.word()), ("CANCELLED", "UNKNOWN"));
    }

    #[test]
    fn only_grpc_itself_says_at_its_end_how_it_went() {
        for (content_type, says) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(says_at_its_end(content_type.as_bytes()), says, "{content_type}");
        }
    }

    #[test]
    fn azure_wraps_every_answer_but_200() {
        for (path, dialect, status, seen) in [
            ("/score", Dialect::Azure, 200, Answered { status: 200, model_status: None }),
            ("/score", Dialect::Azure, 101, Answered { status: 101, model_status: None }),
            ("/score", Dialect::Azure, 201, Answered { status: 424, model_status: Some(201) }),
            ("/score", Dialect::Azure, 500, Answered { status: 424, model_status: Some(500) }),
            ("/predict", Dialect::Azure, 400, Answered { status: 424, model_status: Some(400) }),
            ("/swagger.json", Dialect::Azure, 404, Answered { status: 404, model_status: None }),
            ("/score", Dialect::Grpc, 500, Answered { status: 500, model_status: None }),
            ("/v2/models/fraud/infer", Dialect::Inference, 400, Answered { status: 400, model_status: None }),
        ] {
            let scoring = is_azure_scoring(dialect, path, "/predict");
            assert_eq!(answered(scoring, status), seen, "{path} {dialect:?} {status}");
        }
    }

    #[test]
    fn a_full_replica_decides_what_the_caller_hears() {
        use NotStarted as N;
        for (reasons, refusal, reason) in [
            (vec![], Refusal::NotReady, None),
            (vec![N::Unreachable, N::Full, N::Draining], Refusal::TooManyRequests, Some(N::Full)),
            (vec![N::Draining, N::Expired, N::Starting], Refusal::Timeout, Some(N::Expired)),
            (vec![N::Starting, N::Unknown], Refusal::NotReady, Some(N::Starting)),
        ] {
            assert_eq!(Refusal::of_not_started(reasons.clone()), (refusal, reason), "{reasons:?}");
        }
    }

    #[test]
    fn refusals_have_azures_status() {
        let statuses: Vec<_> = Refusal::ALL.into_iter().map(|refusal| refusal.http_status(true)).collect();
        assert_eq!(statuses, [401, 404, 404, 404, 408, 408, 413, 413, 429, 503, 424, 400, 414, 501]);
        assert_eq!(Refusal::Upstream.http_status(false), 502, "where the model's status passes through");
    }

    #[test]
    fn request_ids_are_kept_when_harmless() {
        for (id, kept) in [("a-B_9", true), ("", false), ("a b", false), ("ä", false), ("a\r\nb", false)] {
            assert_eq!(keeps_request_id(id.as_bytes()), kept, "{id:?}");
        }
        assert!(keeps_request_id(&[b'a'; 64]));
        assert!(!keeps_request_id(&[b'a'; 65]));
    }
}
