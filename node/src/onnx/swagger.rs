//! `GET /swagger.json`: what the model takes and answers, as OpenAPI.
//!
//! Azure's inference server describes a scoring script there, so whoever reads an endpoint's `openapi_uri` finds one
//! behind an ONNX file too. Shapes and types are the model's own; the address is relative, because a replica does not know
//! under which name it is called.

use serde_json::{Map, Value, json};

use super::http::VERSION;
use super::model::{Dim, Model, Port};
use super::oip::PLATFORM;
use super::tensor::Datatype;

/// Chooses the version of OpenAPI that a query asks for, as Azure's server spells them; Swagger 2 is not written.
pub(super) fn version(query: Option<&str>) -> Option<&'static str> {
    let pairs = query.unwrap_or_default().split('&');
    match pairs.filter_map(|pair| pair.strip_prefix("version=")).next_back() {
        None | Some("3.1") => Some("3.1.0"),
        // What is written here is the same in both.
        Some("3" | "3.0") => Some("3.0.3"),
        Some(_) => None,
    }
}

/// Writes the document.
pub(super) fn document(version: &str, model: &Model, name: &str) -> Value {
    let asked = |schema: Value| json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    let answered = |schema: Value| {
        json!({
            "200": { "description": "The answer", "content": { "application/json": { "schema": schema } } },
            "400": { "description": "The body does not fit the model; the answer says why" },
        })
    };
    let infer = format!("/v2/models/{name}/infer");
    json!({
        "openapi": version,
        "info": {
            "title": name,
            "version": VERSION,
            "description": format!("{PLATFORM}: Azure's scoring route and the Open Inference Protocol v2."),
        },
        "servers": [{ "url": "." }],
        "paths": {
            "/score": { "post": {
                "operationId": "score",
                "requestBody": asked(score_request(model)),
                "responses": answered(score_answer(model)),
            } },
            infer: { "post": {
                "operationId": "infer",
                "requestBody": asked(tensors("inputs", &model.inputs)),
                "responses": answered(tensors("outputs", &model.outputs)),
            } },
        },
    })
}

/// Rows under one of the keys that clients use; a model with several inputs wants them by name.
fn score_request(model: &Model) -> Value {
    let data = match &model.inputs[..] {
        [port] => nested(port),
        ports => named(ports),
    };
    json!({ "type": "object", "required": ["data"], "properties": { "data": data } })
}

fn score_answer(model: &Model) -> Value {
    json!({ "type": "object", "properties": { "predictions": {}, "outputs": named(&model.outputs) } })
}

fn named(ports: &[Port]) -> Value {
    let properties: Map<_, _> = ports.iter().map(|port| (port.name.clone(), nested(port))).collect();
    json!({ "type": "object", "properties": properties })
}

/// A tensor as lists in lists, the first dimension outermost.
fn nested(port: &Port) -> Value {
    let Some(dims) = &port.dims else { return json!({}) };
    dims.iter().rev().fold(json!({ "type": kind(port.datatype) }), |items, dim| {
        let mut list = json!({ "type": "array", "items": items });
        if let Dim::Fixed(length) = dim {
            list["minItems"] = (*length).into();
            list["maxItems"] = (*length).into();
        }
        list
    })
}

/// A list of tensors as the Open Inference Protocol writes them.
fn tensors(under: &str, ports: &[Port]) -> Value {
    let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
    let words: Vec<_> = ports.iter().map(|port| port.datatype.word()).collect();
    let tensor = json!({
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": { "type": "string", "enum": names },
            "shape": { "type": "array", "items": { "type": "integer" } },
            "datatype": { "type": "string", "enum": distinct(&words) },
            "data": { "type": "array", "items": {} },
        },
    });
    json!({ "type": "object", "required": [under], "properties": { under: { "type": "array", "items": tensor } } })
}

/// An enum lists nothing twice.
fn distinct<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words.dedup();
    words
}

fn kind(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "boolean",
        Datatype::Bytes => "string",
        Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 => "number",
        Datatype::Int8
        | Datatype::Int16
        | Datatype::Int32
        | Datatype::Int64
        | Datatype::Uint8
        | Datatype::Uint16
        | Datatype::Uint32
        | Datatype::Uint64 => "integer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_asked_for_as_azure_spells_it() {
        for (query, chosen) in [
            (None, Some("3.1.0")),
            (Some(""), Some("3.1.0")),
            (Some("version=3.1"), Some("3.1.0")),
            (Some("version=3"), Some("3.0.3")),
            (Some("a=b&version=3.0"), Some("3.0.3")),
            (Some("version=2"), None),
            (Some("version=2.0"), None),
            (Some("version=4"), None),
        ] {
            assert_eq!(version(query), chosen, "{query:?}");
        }
    }

    #[test]
    fn a_tensor_is_lists_in_lists() {
        let port = |dims: Option<Vec<Dim>>| Port { name: "x".to_owned(), datatype: Datatype::Fp32, dims };
        let number = json!({ "type": "number" });
        for (dims, schema) in [
            (None, json!({})),
            (Some(vec![]), number.clone()),
            (
                Some(vec![Dim::Free("rows".to_owned()), Dim::Fixed(4)]),
                json!({ "type": "array", "items": {
                    "type": "array", "items": number, "minItems": 4, "maxItems": 4,
                } }),
            ),
        ] {
            assert_eq!(nested(&port(dims)), schema);
        }
    }
}
