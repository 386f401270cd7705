//! One request: JSON or a query as the method's message, through the services, and back.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Query, Request},
    http::{self, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use berth_core::error::{Code, Error, Problem};
use berth_proto::status::from_status;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use prost::Message as _;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    Value as Reflected,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tonic::Status;
use tower::ServiceExt as _;

use super::{
    answer::{self, FRAME_HEAD},
    routes::Route,
};

/// Largest body of JSON: a spec with a long list of requirements fits many times.
const BODY_BYTES_MAX: usize = 8 << 20;
/// How long a body of JSON may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an upload in one message.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Under this header a retry of the same change is applied once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What of a request the services see.
const HANDED_ON: &[&str] = &["authorization", "grpc-timeout"];

/// Answers one request.
pub(super) async fn call(route: &Route, services: Router, request: Request) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let body = if route.is_upload() {
        upload(route, &parts, body)?
    } else {
        let mut message = match parts.method {
            Method::GET => message_of(route.method.input(), Value::Object(query(&parts, &route.method.input())?))?,
            _ => posted(route.method.input(), &parts, body).await?,
        };
        name_change(&mut message, &parts)?;
        Body::from(framed(&message.encode_to_vec()))
    };
    let mut inner = http::Request::post(route.grpc_path())
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
        .header(header::TE, HeaderValue::from_static("trailers"))
        .body(body)
        .map_err(|error| Error::new(Code::Internal, "the request cannot be handed on").why(error.to_string()))?;
    for name in HANDED_ON {
        if let Some(value) = parts.headers.get(*name) {
            inner.headers_mut().insert(*name, value.clone());
        }
    }
    let Ok(response) = services.oneshot(inner).await;
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() != tonic::Code::Ok
    {
        return Err(from_status(&status));
    }
    let output = route.method.output();
    if !route.method.is_server_streaming() {
        return answer::unary(output, response.into_body()).await;
    }
    let lines = Body::from_stream(answer::lines(output, response.into_body()));
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, lines).into_response())
}

/// Reads a body of JSON. The media type is demanded because a page of another site cannot send it unasked.
async fn posted(input: MessageDescriptor, parts: &Parts, body: Body) -> Result<DynamicMessage, Error> {
    demand(parts, "application/json")?;
    let read = timeout(BODY_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let read = read.map_err(|_| Error::new(Code::Timeout, "the body did not arrive in time"))?;
    let bytes = read.map_err(|error| Error::new(Code::TooLarge, "the body cannot be read").why(error.to_string()))?;
    message_of(input, parse(&bytes.to_bytes())?)
}

/// Reads a body; an empty one asks for nothing.
pub(super) fn parse(body: &[u8]) -> Result<Value, Error> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body)
        .map_err(|error| Error::new(Code::Invalid, "the body is no JSON").why(error.to_string()))
}

fn demand(parts: &Parts, wanted: &str) -> Result<(), Error> {
    let found = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = found.split(';').next().unwrap_or_default().trim();
    if bare.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let what = format!("the body is `{bare}`, not `{wanted}`");
    Err(Error::new(Code::Invalid, what).try_(format!("send `content-type: {wanted}`")))
}

pub(super) fn message_of(input: MessageDescriptor, value: Value) -> Result<DynamicMessage, Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(input.clone(), value, &options).map_err(|error| {
        let what = format!("this is no {}", input.name());
        Error::new(Code::Invalid, what).why(error.to_string()).try_("`/openapi.json` describes it")
    })
}

/// Reads a query as the fields of a message; a repeated field is named more than once.
pub(super) fn query(parts: &Parts, input: &MessageDescriptor) -> Result<Map<String, Value>, Error> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|error| Error::new(Code::Invalid, "the query cannot be read").why(error.to_string()))?;
    let (mut fields, mut problems) = (Map::new(), Vec::new());
    for (name, text) in pairs {
        let Some(field) = input.get_field_by_name(&name) else {
            let near = berth_core::error::nearest(
                &name,
                input.fields().map(|field| field.name().to_owned()).collect::<Vec<_>>().iter().map(String::as_str),
            )
            .map(|near| format!("`{near}`"));
            problems.push(Problem { field: name, what: "unknown field".to_owned(), try_: near.unwrap_or_default() });
            continue;
        };
        match value_of(&field, &text) {
            Some(value) if field.is_list() => {
                let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut().into_iter().for_each(|list| list.push(value.clone()));
            }
            Some(value) => drop(fields.insert(name, value)),
            None => {
                let what = format!("`{}` is not what it takes", text.chars().take(60).collect::<String>());
                problems.push(Problem { field: name, what, try_: String::new() });
            }
        }
    }
    if problems.is_empty() {
        return Ok(fields);
    }
    Err(Error { problems, ..Error::new(Code::Invalid, "the query has problems") })
}

fn value_of(field: &FieldDescriptor, text: &str) -> Option<Value> {
    match field.kind() {
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            text.parse::<i64>().ok().map(Value::from)
        }
        Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => text.parse::<u64>().ok().map(Value::from),
        Kind::Float | Kind::Double => text.parse::<f64>().ok().map(Value::from),
        Kind::String | Kind::Bytes | Kind::Enum(_) => Some(Value::from(text)),
        Kind::Message(_) => None,
    }
}

/// Names a change that its caller did not name. Only a named one can be sent again without being done twice.
fn name_change(message: &mut DynamicMessage, parts: &Parts) -> Result<(), Error> {
    let Some(field) = message.descriptor().get_field_by_name("request_id") else { return Ok(()) };
    if message.has_field(&field) {
        return Ok(());
    }
    let key = parts.headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let id = match key {
        Some(key) => key,
        None => {
            let mut bytes = [0; 16];
            SystemRandom::new()
                .fill(&mut bytes)
                .map_err(|_| Error::new(Code::Internal, "the host has no randomness to name the change by"))?;
            hex::encode(bytes)
        }
    };
    message.set_field(&field, Reflected::String(id));
    Ok(())
}

/// Streams an upload: the query is the header, the body its bytes.
fn upload(route: &Route, parts: &Parts, body: Body) -> Result<Body, Error> {
    demand(parts, "application/octet-stream")?;
    let input = route.method.input();
    let (head, data) = input
        .get_field_by_name("header")
        .zip(input.get_field_by_name("data"))
        .ok_or_else(|| Error::new(Code::Internal, "this stream is no upload"))?;
    let Kind::Message(of_head) = head.kind() else {
        return Err(Error::new(Code::Internal, "this stream is no upload"));
    };
    let fields = query(parts, &of_head)?;
    let mut first = DynamicMessage::new(input.clone());
    first.set_field(&head, Reflected::Message(message_of(of_head, Value::Object(fields))?));
    let chunks = body.into_data_stream().flat_map(move |piece| {
        let messages = match piece {
            Ok(mut piece) => {
                let mut messages = Vec::new();
                while !piece.is_empty() {
                    let chunk = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
                    let mut message = DynamicMessage::new(input.clone());
                    message.set_field(&data, Reflected::Bytes(chunk));
                    messages.push(Ok(framed(&message.encode_to_vec())));
                }
                messages
            }
            Err(error) => vec![Err(error)],
        };
        stream::iter(messages)
    });
    let first = framed(&first.encode_to_vec());
    Ok(Body::from_stream(stream::iter([Ok(first)]).chain(chunks)))
}

/// Puts gRPC's head before a message.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}
