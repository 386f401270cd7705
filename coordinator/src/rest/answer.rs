//! Answers: messages as JSON, refusals as their `ErrorDetail`, streams as one line per message.

use std::convert::Infallible;

use axum::{body::Body, http::StatusCode, response::Response};
use berth_core::error::{Code, Error};
use berth_proto::status::{error_detail, from_status, http_status};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};
use tonic::Status;

/// Bytes before every gRPC message: a flag and the length.
pub(super) const FRAME_HEAD: usize = 5;

/// Writes a refusal.
pub(super) fn refused(error: &Error) -> Response {
    let status = StatusCode::from_u16(http_status(error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    super::json(status, refusal(error).to_string())
}

fn refusal(error: &Error) -> Value {
    let detail = error_detail(error);
    let problems: Vec<_> = detail
        .problems
        .iter()
        .map(|problem| json!({ "field": problem.field, "what": problem.what, "try": problem.r#try }))
        .collect();
    json!({
        "code": detail.code, "what": detail.what, "why": detail.why, "try": detail.r#try, "problems": problems,
    })
}

/// Writes the one message of a unary answer.
pub(super) async fn unary(output: MessageDescriptor, body: Body) -> Result<Response, Error> {
    let collected = body.collect().await.map_err(broken)?;
    if let Some(status) = collected.trailers().and_then(Status::from_header_map)
        && status.code() != tonic::Code::Ok
    {
        return Err(from_status(&status));
    }
    let mut bytes = BytesMut::from(&collected.to_bytes()[..]);
    let message = take(&mut bytes).ok_or_else(|| Error::new(Code::Internal, "the answer holds no message"))?;
    Ok(super::json(StatusCode::OK, text(output, message)?))
}

/// What is left of a stream of answers.
struct Lines {
    output: MessageDescriptor,
    body: Body,
    bytes: BytesMut,
    ended: bool,
}

/// Writes a stream of messages, a line each. What ends it early is the last line, under `error`.
pub(super) fn lines(output: MessageDescriptor, body: Body) -> impl Stream<Item = Result<String, Infallible>> {
    let lines = Lines { output, body, bytes: BytesMut::new(), ended: false };
    stream::unfold(lines, |mut lines| async move {
        if lines.ended {
            return None;
        }
        let line = lines.next().await?;
        let line = line.unwrap_or_else(|error| {
            lines.ended = true;
            json!({ "error": refusal(&error) }).to_string()
        });
        Some((Ok(format!("{line}\n")), lines))
    })
}

// === impl Lines ===

impl Lines {
    async fn next(&mut self) -> Option<Result<String, Error>> {
        loop {
            if let Some(message) = take(&mut self.bytes) {
                return Some(text(self.output.clone(), message));
            }
            match self.body.frame().await? {
                Err(error) => return Some(Err(broken(error))),
                Ok(frame) => match frame.into_data() {
                    Ok(data) => self.bytes.extend_from_slice(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok()?;
                        let status = Status::from_header_map(&trailers)?;
                        self.ended = true;
                        return (status.code() != tonic::Code::Ok).then(|| Err(from_status(&status)));
                    }
                },
            }
        }
    }
}

/// Takes the next whole message off a stream of frames.
pub(super) fn take(bytes: &mut BytesMut) -> Option<Bytes> {
    let head: [u8; FRAME_HEAD] = *bytes.first_chunk()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if bytes.len() < FRAME_HEAD + length {
        return None;
    }
    bytes.advance(FRAME_HEAD);
    Some(bytes.split_to(length).freeze())
}

/// Writes a message by the standard mapping, with the names of the protos and numbers as numbers.
pub(super) fn text(output: MessageDescriptor, message: Bytes) -> Result<String, Error> {
    let wrong =
        |error: &dyn std::fmt::Display| Error::new(Code::Internal, "the answer has no JSON").why(error.to_string());
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false).skip_default_fields(false);
    let message = DynamicMessage::decode(output, message).map_err(|error| wrong(&error))?;
    let value =
        message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| wrong(&error))?;
    Ok(value.to_string())
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, "the answer broke off").why(error.to_string())
}
