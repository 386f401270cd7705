//! Which models there are, as the clients of each protocol ask: an endpoint is a model, a deployment one of its versions.

use berth_core::traffic::{
    pin::Catalogue,
    status::{Dialect, Refusal},
    table::EndpointRoute,
};
use http::Response;
use serde_json::json;

use super::{
    answer::{JSON, body, message, refuse},
    body::OutBody,
    routes::{Endpoint, Routes},
};

/// `inference.RepositoryIndexResponse`, the same bytes in every dialect that has it.
#[derive(Clone, PartialEq, prost::Message)]
struct RepositoryIndexResponse {
    #[prost(message, repeated, tag = "1")]
    models: Vec<ModelIndex>,
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

/// Lists an endpoint's deployments as Triton lists versions: a version that is asked for is a pin.
fn index(endpoint: &Endpoint) -> Vec<ModelIndex> {
    let name = endpoint.route.name.as_str();
    let row = |version: &str, ready: bool, reason: &str| ModelIndex {
        name: name.to_owned(),
        version: version.to_owned(),
        state: if ready { "READY" } else { "UNAVAILABLE" }.to_owned(),
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

/// Lists the endpoints a caller's key opens, so that OpenAI's clients and KServe's each find what they look for: both
/// pass over fields they do not know.
pub(super) fn catalogue(
    which: Catalogue<'_>,
    routes: &Routes,
    opens: impl Fn(&EndpointRoute) -> bool,
) -> Response<OutBody> {
    let model = |endpoint: &Endpoint| {
        let name = endpoint.route.name.as_str();
        json!({
            "id": name, "object": "model", "created": 0, "owned_by": "berth", "name": name, "ready": endpoint.is_ready(),
        })
    };
    let open = || routes.endpoints().filter(|endpoint| opens(&endpoint.route));
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
            let rows: Vec<_> = open().flat_map(|endpoint| index(endpoint)).map(row).collect();
            body(200, JSON, serde_json::Value::from(rows).to_string())
        }
        Catalogue::GrpcIndex => {
            let models = open().flat_map(|endpoint| index(endpoint)).collect();
            message(&RepositoryIndexResponse { models })
        }
    }
}
