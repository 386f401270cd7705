//! `/endpoints/NAME/swagger.json`: how one endpoint is called, as OpenAPI.
//!
//! What a model takes is known to its replica alone, which may describe it itself (`openapi_uri`). This is what holds for
//! every endpoint whatever serves it: where it is, which routes, keys and headers callers use, and which statuses they must
//! expect. It is asked of the API like anybody's question, so it shows nothing that the API would not.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use berth_core::error::{Code, Error};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};

use super::{call, routes::Routes};

/// Largest answer of the API that is read: an endpoint with all of its deployments.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Describes an endpoint.
pub(super) async fn describe(
    routes: &Routes,
    services: &Router,
    endpoint: &str,
    headers: &HeaderMap,
) -> Result<Value, Error> {
    // A name that no endpoint can have is not handed on as a query.
    if !endpoint.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err(Error::new(Code::EndpointNotFound, format!("there is no endpoint `{endpoint}`")));
    }
    let found = ask(routes, services, "/api/v1/endpoints/get", &format!("name={endpoint}"), headers).await?;
    let of = format!("endpoint={endpoint}");
    let listed = ask(routes, services, "/api/v1/deployments/list", &of, headers).await?;
    let deployments = listed["deployments"].as_array().into_iter().flatten();
    let names: Vec<_> = deployments.filter_map(|deployment| deployment["name"].as_str()).collect();
    Ok(document(&found, &names))
}

async fn ask(routes: &Routes, services: &Router, path: &str, query: &str, headers: &HeaderMap) -> Result<Value, Error> {
    let unread =
        |error: &dyn std::fmt::Display| Error::new(Code::Internal, "the API cannot be asked").why(error.to_string());
    let route = routes.find(path).ok_or_else(|| unread(&path))?;
    let mut request = Request::get(format!("{path}?{query}")).body(Body::empty()).map_err(|error| unread(&error))?;
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
    }
    let answer = call::call(route, services.clone(), request).await?;
    let read = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = read.map_err(|error| unread(&error))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| unread(&error))
}

/// Writes the document of an endpoint, as the API shows it, and its deployments.
fn document(endpoint: &Value, deployments: &[&str]) -> Value {
    let name = endpoint["name"].as_str().unwrap_or_default();
    let is_keyed = endpoint["spec"]["auth_mode"] == "AUTH_MODE_KEY";
    let uris = endpoint["scoring_uris"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let servers: Vec<_> = uris.map(|uri| json!({ "url": uri.strip_suffix("/score").unwrap_or(uri) })).collect();
    let mut components = json!({
        "parameters": { "deployment": {
            "name": "azureml-model-deployment",
            "in": "header",
            "required": false,
            "description": "The deployment that shall answer; without it the traffic's shares decide.",
            "schema": if deployments.is_empty() { json!({ "type": "string" }) } else { json!({ "type": "string", "enum": deployments }) },
        } },
    });
    let mut described = json!({
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": endpoint["revision"].to_string(),
            "description": "What holds for every caller, whatever serves the endpoint. What the model itself takes and \
                            answers is described by its server, where it does so, at `swagger.json` below each of the servers.",
        },
        "paths": {
            "/score": { "post": operation("score", "Azure's scoring route: any body that the model reads.", AZURE) },
            format!("/v2/models/{name}/infer"): {
                "post": operation("infer", "The Open Inference Protocol v2, where the model's server speaks it.", OPEN),
            },
        },
    });
    if !servers.is_empty() {
        described["servers"] = servers.into();
    }
    if is_keyed {
        components["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer" } });
        described["security"] = json!([{ "key": [] }]);
    }
    described["components"] = components;
    described
}

/// Statuses of Azure's scoring route that are not the model's own.
const AZURE: &[(&str, &str)] = &[
    ("200", "The model's answer"),
    ("401", "The key is missing or wrong"),
    ("404", "No deployment gets traffic, or the one named is not there"),
    ("408", "The model did not answer in the deployment's time"),
    ("413", "The body is larger than the endpoint takes"),
    ("424", "The model answered an error; its status is in `ms-azureml-model-error-statuscode`"),
    ("429", "Too many requests wait; `retry-after` says when to come again"),
    ("503", "No replica serves at the moment; `retry-after` says when to come again"),
];

/// The same of routes whose status is passed through.
const OPEN: &[(&str, &str)] = &[
    ("200", "The model's answer"),
    ("401", "The key is missing or wrong"),
    ("404", "The model's server has no such route, or no deployment gets traffic"),
    ("408", "The model did not answer in the deployment's time"),
    ("413", "The body is larger than the endpoint takes"),
    ("429", "Too many requests wait; `retry-after` says when to come again"),
    ("502", "The model broke off"),
    ("503", "No replica serves at the moment; `retry-after` says when to come again"),
];

fn operation(id: &str, description: &str, statuses: &[(&str, &str)]) -> Value {
    let any = json!({ "application/json": { "schema": {} } });
    let responses: Map<_, _> = statuses
        .iter()
        .map(|(status, meaning)| {
            let mut response = json!({ "description": meaning });
            if *status == "200" {
                response["content"] = any.clone();
            }
            ((*status).to_owned(), response)
        })
        .collect();
    json!({
        "operationId": id,
        "description": description,
        "parameters": [{ "$ref": "#/components/parameters/deployment" }],
        "requestBody": { "required": true, "content": any },
        "responses": responses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_asked_for_where_the_endpoint_asks_for_one() {
        let endpoint = |mode: &str| {
            json!({
                "name": "fraud", "revision": 7, "spec": { "auth_mode": mode },
                "scoring_uris": ["http://a:7480/e/fraud/score", "http://b:7480/e/fraud/score"],
            })
        };
        let keyed = document(&endpoint("AUTH_MODE_KEY"), &["blue", "green"]);
        assert_eq!(keyed["servers"], json!([{ "url": "http://a:7480/e/fraud" }, { "url": "http://b:7480/e/fraud" }]));
        assert_eq!(keyed["security"], json!([{ "key": [] }]));
        assert_eq!(keyed["components"]["securitySchemes"]["key"]["scheme"], "bearer");
        assert_eq!(keyed["components"]["parameters"]["deployment"]["schema"]["enum"], json!(["blue", "green"]));
        assert!(keyed["paths"]["/v2/models/fraud/infer"]["post"].is_object());
        let open = document(&endpoint("AUTH_MODE_NONE"), &[]);
        assert!(open["security"].is_null() && open["components"]["securitySchemes"].is_null());
        assert!(open["components"]["parameters"]["deployment"]["schema"]["enum"].is_null(), "an enum lists something");
    }
}
