//! Berth's own answers, in the dialect of the route.

use berth_core::{
    time::Millis,
    traffic::{
        admission::NotStarted,
        packing::ACCEPTED,
        search::Turned,
        status::{Dialect, Refusal},
    },
};
use berth_proto::inference::v2::{ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{body::OutBody, headers};

/// How long a refused caller should wait where no gate has said: a replica that starts or moves is a matter of moments.
const RETRY_AFTER: Millis = Millis(1_000);

/// What the mesh says it is, to who asks no endpoint.
const NAME: &str = "berth";
const VERSION: &str = env!("CARGO_PKG_VERSION");

const NO_SETTINGS: &str = "how a server traces and logs is its own: name the endpoint, or the model for its tracing";

const NO_WATCH: &str = "a router says how it is when it is asked: name the endpoint whose replica tells of changes";

const NO_SHARED_MEMORY: &str = "memory is shared on one host only: name the endpoint whose replica is on yours";

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// `grpc.health.v1.HealthCheckResponse`: 1 serves, 2 does not.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Writes a refusal. `azure_scoring` says whether Azure's law of 424 holds on the route.
pub(super) fn refuse(dialect: Dialect, azure_scoring: bool, turned: impl Into<Turned>) -> Response<OutBody> {
    let Turned { refusal, reason, retry_after } = turned.into();
    let status = refusal.http_status(azure_scoring);
    let mut response = match dialect {
        Dialect::Grpc => {
            let mut response = grpc(refusal.grpc_status(), refusal.what());
            // Its own words for several refusals are the same.
            response.extensions_mut().insert(refusal);
            response
        }
        Dialect::Inference => body(status, JSON, json!({ "error": refusal.what() }).to_string()),
        Dialect::OpenAi => body(status, JSON, open_ai(refusal, status)),
        // Azure's gateway answers an overload with an empty text.
        Dialect::Azure if refusal == Refusal::TooManyRequests => body(status, TEXT, ""),
        Dialect::Azure => body(status, TEXT, refusal.what()),
    };
    let map = response.headers_mut();
    map.insert(headers::ERROR_CODE, HeaderValue::from_static(refusal.code().word()));
    if dialect == Dialect::Azure
        && let Some(reason) = refusal.azure_reason()
    {
        map.insert(headers::AZURE_REASON, HeaderValue::from_static(reason));
        if status == 424 {
            // What a gateway says of a server that broke off.
            map.insert(headers::AZURE_MODEL_STATUS, HeaderValue::from_static("502"));
        }
    }
    match refusal {
        Refusal::TooManyRequests | Refusal::NotReady => {
            let after = retry_after.unwrap_or(RETRY_AFTER).0;
            map.insert(header::RETRY_AFTER, after.div_ceil(1_000).into());
            match dialect {
                Dialect::Grpc => map.insert(headers::GRPC_PUSHBACK, after.into()),
                Dialect::OpenAi => map.insert(headers::RETRY_AFTER_MS, after.into()),
                Dialect::Azure | Dialect::Inference => None,
            };
            map.insert(headers::REASON, HeaderValue::from_static(reason.map_or("no-replica", NotStarted::word)));
        }
        Refusal::Timeout => {
            if let Some(reason) = reason {
                map.insert(headers::REASON, HeaderValue::from_static(reason.word()));
            }
        }
        Refusal::Unauthorised => {
            map.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

fn open_ai(refusal: Refusal, status: u16) -> String {
    let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
    let (message, code) = (refusal.what(), refusal.code().word());
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string()
}

pub(super) fn body(status: u16, content_type: HeaderValue, text: impl Into<Bytes>) -> Response<OutBody> {
    let mut response = Response::new(OutBody::text(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Writes a status without a message: headers only, as gRPC wants it.
fn grpc(status: u8, message: &str) -> Response<OutBody> {
    let mut response = Response::new(OutBody::Full(None));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response.headers_mut().insert("grpc-status", u32::from(status).into());
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(message)) {
        response.headers_mut().insert("grpc-message", message);
    }
    response
}

/// Says how a message that the mesh reads itself may be packed.
pub(super) fn packed() -> Response<OutBody> {
    let mut response = grpc(12, "the message is packed in a way that is not known here");
    response.headers_mut().insert(headers::GRPC_ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
    response
}

/// Encodes as gRPC does: printable ASCII but `%` as it is.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Returns whether a call is about memory that a client and its server share, which only works on one host.
fn shares_memory(path: &str) -> bool {
    let call = path.strip_prefix("/inference.GRPCInferenceService/").or_else(|| path.strip_prefix("/v2/"));
    let call = call.unwrap_or_default();
    ["SystemSharedMemory", "CudaSharedMemory", "systemsharedmemory", "cudasharedmemory"]
        .iter()
        .any(|family| call.starts_with(family))
}

/// Returns whether a call is about how a server traces or logs.
fn sets_up_a_server(path: &str) -> bool {
    let grpc = path.strip_prefix("/inference.GRPCInferenceService/");
    grpc.is_some_and(|call| matches!(call, "TraceSetting" | "LogSettings"))
        || matches!(path, "/v2/trace/setting" | "/v2/logging")
}

/// Answers what concerns no endpoint: whether this router lives and is ready, and what it is. Nothing for other paths.
pub(super) fn own(path: &str, is_ready: bool, extensions: impl Fn() -> Vec<&'static str>) -> Option<Response<OutBody>> {
    let ready = if is_ready { 200 } else { 503 };
    Some(match path {
        // KServe's client reads the body, Triton's the status.
        "/v2/health/live" => body(200, JSON, json!({ "live": true }).to_string()),
        "/v2/health/ready" => body(ready, JSON, json!({ "ready": is_ready }).to_string()),
        // SageMaker asks a server this; of an endpoint it is for the replica.
        "/ping" => body(ready, TEXT, ""),
        "/v2" | "/v2/" => {
            let metadata = json!({ "name": NAME, "version": VERSION, "extensions": extensions() });
            body(200, JSON, metadata.to_string())
        }
        "/inference.GRPCInferenceService/ServerLive" => message(&ServerLiveResponse { live: true }),
        "/inference.GRPCInferenceService/ServerReady" => message(&ServerReadyResponse { ready: is_ready }),
        "/inference.GRPCInferenceService/ServerMetadata" => {
            let extensions = extensions().into_iter().map(str::to_owned).collect();
            message(&ServerMetadataResponse { name: NAME.to_owned(), version: VERSION.to_owned(), extensions })
        }
        "/grpc.health.v1.Health/Check" => message(&HealthCheckResponse { status: if is_ready { 1 } else { 2 } }),
        // Clients take who cannot be watched for one that serves, and one that knows no such service for none.
        "/grpc.health.v1.Health/Watch" => grpc(12, NO_WATCH),
        _ if shares_memory(path) => unsupported(path, NO_SHARED_MEMORY),
        _ if sets_up_a_server(path) => unsupported(path, NO_SETTINGS),
        _ => return None,
    })
}

fn unsupported(path: &str, why: &str) -> Response<OutBody> {
    match path.starts_with("/v2/") {
        true => body(501, JSON, json!({ "error": why }).to_string()),
        false => grpc(12, why),
    }
}

/// A gRPC message with an OK status behind it.
pub(super) fn message(message: &impl prost::Message) -> Response<OutBody> {
    let mut bytes = Vec::with_capacity(message.encoded_len() + 5);
    bytes.push(0);
    bytes.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(OutBody::Message(Some(bytes.into()), Some(trailers)));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50% ä\n"), "50%25 %C3%A4%0A");
    }

    #[test]
    fn who_is_refused_hears_when_and_why_in_the_words_of_the_client() {
        let turned = Turned {
            refusal: Refusal::TooManyRequests,
            reason: Some(NotStarted::Full),
            retry_after: Some(Millis(1_200)),
        };
        for (dialect, name) in [(Dialect::Grpc, "grpc-retry-pushback-ms"), (Dialect::OpenAi, "retry-after-ms")] {
            let response = refuse(dialect, false, turned);
            assert_eq!(response.headers()[name], "1200");
        }
        let response = refuse(Dialect::Azure, true, turned);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["x-berth-reason"], "full");
        let response = refuse(Dialect::Inference, false, Refusal::NotReady);
        assert_eq!(
            (&response.headers()["retry-after"], &response.headers()["x-berth-reason"]),
            (&HeaderValue::from_static("1"), &HeaderValue::from_static("no-replica"),)
        );
    }

    #[test]
    fn every_refusal_can_be_said_in_every_dialect() {
        for refusal in Refusal::ALL {
            for dialect in [Dialect::Azure, Dialect::Inference, Dialect::OpenAi] {
                let response = refuse(dialect, false, refusal);
                assert_eq!(response.status().as_u16(), refusal.http_status(false));
                assert_eq!(response.headers()[headers::ERROR_CODE], refusal.code().word());
            }
            let response = refuse(Dialect::Grpc, false, refusal);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], refusal.grpc_status().to_string());
        }
    }
}
