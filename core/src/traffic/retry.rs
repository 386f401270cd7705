//! Retries: which failures prove that nothing was done, and which requests may be done twice.

use super::{admission::NotStarted, status::Dialect, table::EndpointRoute};

/// How an attempt at one replica ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its gate did not start it.
    NotStarted(NotStarted),
    /// Its gate could not be connected, or did not process the stream (REFUSED_STREAM, GOAWAY).
    GateUnreachable,
    /// The connection ended before any byte of the body was sent.
    BeforeBody,
    /// The connection ended later: the replica may have done the work.
    Broken,
}

/// What a router does after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask another replica; nothing was started, so it costs no budget.
    Search,
    /// Try another replica if the budget allows it.
    Retry,
    /// Answer with what is known.
    Stop,
}

/// What decides about a retry beside the failure.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Whether doing it twice is the same as doing it once.
    pub idempotent: bool,
    /// Whether all of the body that was read is still at hand.
    pub replayable: bool,
}

// === impl Failure ===

impl Failure {
    /// Returns what to do next.
    pub fn next(self, request: Request) -> Next {
        if !request.replayable {
            return Next::Stop;
        }
        match self {
            Self::NotStarted(NotStarted::Expired) => Next::Stop,
            // Decided on the headers, by a gate that knows: cheap, and a planned drain must not depend on a budget. Each
            // candidate is asked a bounded number of times.
            Self::NotStarted(_) => Next::Search,
            Self::GateUnreachable | Self::BeforeBody => Next::Retry,
            Self::Broken if request.idempotent => Next::Retry,
            Self::Broken => Next::Stop,
        }
    }

    /// Returns whether it speaks against the replica, so that it should rest.
    pub fn blames_replica(self) -> bool {
        match self {
            Self::NotStarted(NotStarted::Full | NotStarted::Expired) => false,
            Self::NotStarted(_) | Self::GateUnreachable | Self::BeforeBody | Self::Broken => true,
        }
    }
}

/// Returns whether a request may be done twice: what the endpoint says, or else what its protocol promises.
pub fn is_idempotent(endpoint: &EndpointRoute, dialect: Dialect, method: &str, path: &str) -> bool {
    if let Some(said) = endpoint.idempotent {
        return said;
    }
    match dialect {
        Dialect::Grpc => {
            let call = path.strip_prefix("/inference.GRPCInferenceService/");
            call.is_some_and(|call| {
                matches!(call, "ModelInfer" | "ModelReady" | "ModelMetadata" | "ModelConfig" | "ModelStatistics")
            })
        }
        _ if matches!(method, "GET" | "HEAD" | "OPTIONS") => true,
        Dialect::Inference => path.ends_with("/infer"),
        Dialect::OpenAi => path.ends_with("/embeddings"),
        Dialect::Azure => path.ends_with(":predict"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::LogIndex,
        model::{AuthMode, EndpointName, MirrorRules},
        time::LogTime,
    };

    #[test]
    fn only_what_was_not_done_or_may_be_done_twice_is_repeated() {
        let request = |idempotent, replayable| Request { idempotent, replayable };
        for (failure, asked, next, why) in [
            (Failure::NotStarted(NotStarted::Full), request(false, true), Next::Search, "a search, not a retry"),
            (Failure::NotStarted(NotStarted::Draining), request(false, true), Next::Search, "typed: nothing was done"),
            (Failure::NotStarted(NotStarted::Expired), request(true, true), Next::Stop, "nobody waits any more"),
            (Failure::GateUnreachable, request(false, true), Next::Retry, "it never arrived"),
            (Failure::BeforeBody, request(false, true), Next::Retry, "nothing to work on arrived"),
            (Failure::Broken, request(false, true), Next::Stop, "it may have been done"),
            (Failure::Broken, request(true, true), Next::Retry, "doing it twice is fine"),
            (Failure::Broken, request(true, false), Next::Stop, "the body is gone"),
            (Failure::NotStarted(NotStarted::Full), request(true, false), Next::Stop, "the body is gone"),
        ] {
            assert_eq!(failure.next(asked), next, "{why}");
        }
    }

    #[test]
    fn protocols_promise_what_may_be_repeated() {
        let endpoint = |idempotent| EndpointRoute {
            name: EndpointName::new("fraud").expect("a valid name"),
            revision: LogIndex(1),
            auth_mode: AuthMode::None,
            key_hashes: Vec::new(),
            max_body_bytes: 1,
            idempotent,
            hedging: None,
            split: Vec::new(),
            mirror: Vec::new(),
            mirror_rules: MirrorRules::default(),
            created_at: LogTime::default(),
            deployments: Vec::new(),
        };
        for (said, dialect, method, path, may) in [
            (None, Dialect::Azure, "POST", "/score", false),
            (Some(true), Dialect::Azure, "POST", "/score", true),
            (None, Dialect::Azure, "GET", "/swagger.json", true),
            (None, Dialect::Inference, "POST", "/v2/models/fraud/infer", true),
            (None, Dialect::Inference, "POST", "/v2/models/fraud/generate_stream", false),
            (Some(false), Dialect::Inference, "POST", "/v2/models/fraud/infer", false),
            (None, Dialect::OpenAi, "POST", "/v1/embeddings", true),
            (None, Dialect::OpenAi, "POST", "/v1/chat/completions", false),
            (None, Dialect::Azure, "POST", "/v1/models/half:predict", true),
            (None, Dialect::Grpc, "POST", "/inference.GRPCInferenceService/ModelInfer", true),
            (None, Dialect::Grpc, "POST", "/inference.GRPCInferenceService/ModelStreamInfer", false),
            (None, Dialect::Grpc, "POST", "/echo.Echo/Say", false),
        ] {
            assert_eq!(is_idempotent(&endpoint(said), dialect, method, path), may, "{method} {path} {said:?}");
        }
    }
}
