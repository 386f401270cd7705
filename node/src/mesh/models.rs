//! Which models there are, as the clients of each protocol ask: an endpoint is a model, a deployment one of its versions.

use std::borrow::Cow;

use berth_core::traffic::{
    packing::{Packing, Unread, packing},
    pin::Catalogue,
    readiness::{self, Said},
    status::{Dialect, Refusal},
    table::{EndpointRoute, RouteRuntime},
};
use berth_proto::inference::v2::ModelReadyResponse;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Limited};
use prost::Message as _;
use serde_json::json;

use super::{
    answer::{JSON, body, message, refuse},
    body::OutBody,
    headers, packed,
    routes::{Endpoint, Routes},
};

/// `inference.RepositoryIndexResponse`, the same bytes in every dialect that has it.
#[derive(Clone, PartialEq, prost::Message)]
struct RepositoryIndexResponse {
    #[prost(message, repeated, tag = "1")]
    models: Vec<ModelIndex>,
}

/// `inference.RepositoryIndexRequest`, as far as it is heard: there is one repository, whatever it is called.
#[derive(Clone, PartialEq, prost::Message)]
struct RepositoryIndexRequest {
    #[prost(bool, tag = "2")]
    ready: bool,
}

/// A version of a model and where it stands.
#[derive(Clone, PartialEq, prost::Message)]
struct ModelIndex {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, tag = "3")]
    state: String,
    #[prost(string, tag = "4")]
    reason: String,
}

/// Triton's word for a version that answers.
const READY: &str = "READY";

/// Lists an endpoint's deployments as Triton lists versions: a version that is asked for is a pin.
fn index(endpoint: &Endpoint) -> Vec<ModelIndex> {
    let name = endpoint.route.name.as_str();
    let row = |version: &str, ready: bool, reason: &str| ModelIndex {
        name: name.to_owned(),
        version: version.to_owned(),
        state: if ready { READY } else { "UNAVAILABLE" }.to_owned(),
        reason: if ready { String::new() } else { reason.to_owned() },
    };
    if endpoint.deployments.is_empty() {
        return vec![row("", false, "it has no deployment")];
    }
    let deployments = endpoint.route.deployments.iter().zip(&endpoint.deployments);
    let rows = deployments.map(|(route, deployment)| {
        row(route.name.as_str(), deployment.replicas.iter().any(|replica| replica.is_serving), "no replica serves")
    });
    rows.collect()
}

/// What a message may be when it is unpacked: a name and a flag.
const UNPACKED_MAX: usize = 64 << 10;

/// Reads from the body of a request for the index whether only what is ready is asked for. `packed` is how its messages are.
pub(super) fn asks_for_ready(which: Catalogue<'_>, body: &[u8], packed: Option<&[u8]>) -> Result<bool, Unread> {
    let ready = match which {
        Catalogue::All | Catalogue::One(_) => Some(false),
        Catalogue::Index if body.is_empty() => Some(false),
        Catalogue::Index => serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|asked| {
            let ready = asked.as_object()?.get("ready");
            ready.map_or(Some(false), serde_json::Value::as_bool)
        }),
        Catalogue::GrpcIndex => return RepositoryIndexRequest::read(body, packed).map(|asked| asked.ready),
    };
    ready.ok_or(Unread::Broken)
}

impl RepositoryIndexRequest {
    /// Reads the first message of a call.
    fn read(body: &[u8], packed: Option<&[u8]>) -> Result<Self, Unread> {
        // A flag, which says whether it is packed, and a length.
        let (prefix, message) = body.split_at_checked(5).ok_or(Unread::Broken)?;
        let unpacked = match packing(prefix[0], packed)? {
            Packing::None => Ok(Cow::Borrowed(message)),
            packing => {
                let mut all = Vec::new();
                packed::unpack(packing, message, UNPACKED_MAX, &mut all).map(|_| Cow::Owned(all))
            }
        };
        unpacked.ok().and_then(|message| Self::decode(&*message).ok()).ok_or(Unread::Broken)
    }
}

/// Lists what of Triton's extensions is to be had behind this router, as far as it knows: what it answers itself, and what
/// the built-in server takes, where one serves that the caller's key opens. Of other servers it knows nothing.
pub(super) fn extensions(routes: &Routes, opens: impl Fn(&EndpointRoute) -> bool) -> Vec<&'static str> {
    let serves_onnx = |endpoint: &Endpoint| {
        let deployments = endpoint.route.deployments.iter().zip(&endpoint.deployments);
        let mut onnx = deployments.filter(|(route, _)| route.runtime == RouteRuntime::Onnx);
        onnx.any(|(_, deployment)| deployment.replicas.iter().any(|replica| replica.is_serving))
    };
    let onnx = routes.endpoints().any(|endpoint| opens(&endpoint.route) && serves_onnx(endpoint));
    onnx.then_some("binary_tensor_data").into_iter().chain(["model_repository"]).collect()
}

/// Bytes of an answer that are looked at to learn whether a server knows what it was asked.
const UNKNOWN_MAX: usize = 16 << 10;

/// Passes on what a server answered to who asks whether its model is ready; nothing where it does not know the question,
/// as servers of other protocols do not. One of the Open Inference Protocol that lacks the model says so in words.
pub(super) async fn known(dialect: Dialect, response: Response<OutBody>) -> Option<Response<OutBody>> {
    let (parts, body) = response.into_parts();
    let grpc_status = parts.headers.get(headers::GRPC_STATUS).map(HeaderValue::as_bytes);
    match readiness::said(dialect, parts.status.as_u16(), grpc_status) {
        Said::Known => return Some(Response::from_parts(parts, body)),
        Said::Unknown => return None,
        Said::InWords => {}
    }
    let said = Limited::new(body, UNKNOWN_MAX).collect().await.ok()?.to_bytes();
    let json = serde_json::from_slice::<serde_json::Value>(&said).ok()?;
    json.get("error")?.is_string().then(|| Response::from_parts(parts, OutBody::text(said)))
}

/// Says whether a model is ready, by the table.
pub(super) fn ready(dialect: Dialect, name: &str, ready: bool) -> Response<OutBody> {
    match dialect {
        Dialect::Grpc => message(&ModelReadyResponse { ready }),
        _ => body(if ready { 200 } else { 503 }, JSON, json!({ "name": name, "ready": ready }).to_string()),
    }
}

/// Lists the endpoints a caller's key opens, so that OpenAI's clients and KServe's each find what they look for: both
/// pass over fields they do not know.
pub(super) fn catalogue(
    which: Catalogue<'_>,
    only_ready: bool,
    routes: &Routes,
    opens: impl Fn(&EndpointRoute) -> bool,
) -> Response<OutBody> {
    let model = |endpoint: &Endpoint| {
        let name = endpoint.route.name.as_str();
        json!({
            "id": name, "object": "model", "created": endpoint.route.created_at.millis() / 1_000, "owned_by": "berth", "name": name, "ready": endpoint.is_ready(),
        })
    };
    let open = || routes.endpoints().filter(|endpoint| opens(&endpoint.route));
    let rows = || open().flat_map(|endpoint| index(endpoint)).filter(|row| !only_ready || row.state == READY);
    match which {
        Catalogue::All => {
            let names: Vec<_> = open().map(|endpoint| endpoint.route.name.as_str()).collect();
            let data: Vec<_> = open().map(|endpoint| model(endpoint)).collect();
            body(200, JSON, json!({ "object": "list", "data": data, "models": names }).to_string())
        }
        // One that is closed to the caller is not told from one that is not there.
        Catalogue::One(name) => match routes.endpoint(name).filter(|endpoint| opens(&endpoint.route)) {
            Some(endpoint) => body(200, JSON, model(endpoint).to_string()),
            None => refuse(Dialect::OpenAi, false, Refusal::EndpointNotFound),
        },
        Catalogue::Index => {
            let row = |row: ModelIndex| json!({ "name": row.name, "version": row.version, "state": row.state, "reason": row.reason });
            let rows: Vec<_> = rows().map(row).collect();
            body(200, JSON, serde_json::Value::from(rows).to_string())
        }
        Catalogue::GrpcIndex => message(&RepositoryIndexResponse { models: rows().collect() }),
    }
}
