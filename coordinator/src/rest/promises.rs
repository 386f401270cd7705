//! What is promised of the mapping between JSON and messages, over any bytes; see [`crate::fuzzing`].

use std::sync::LazyLock;

use axum::http;
use berth_core::error::{Code, Error};
use bytes::BytesMut;
use prost::Message as _;
use prost_reflect::DynamicMessage;

use super::{
    answer::{self, FRAME_HEAD},
    call,
    routes::{Route, Routes},
};

static ROUTES: LazyLock<Routes> = LazyLock::new(|| Routes::read().expect("the protos are read"));

/// Returns where a route lies among all.
#[cfg(test)]
pub(crate) fn place(path: &str) -> Option<usize> {
    ROUTES.iter().position(|route| route.path == path)
}

/// A request to one of the methods, as a query or as JSON.
pub(crate) fn request(method: usize, is_query: bool, bytes: &[u8]) {
    let Some(route) = ROUTES.iter().nth(method % ROUTES.iter().count()) else { return };
    match read(route, is_query, bytes) {
        None => {}
        Some(Ok(message)) => is_the_same_again(route, &message),
        Some(Err(error)) => {
            assert_eq!(error.code, Code::Invalid, "{error}");
            assert!(!error.what.is_empty() && (!error.why.is_empty() || !error.problems.is_empty()), "{error:?}");
        }
    }
}

/// Nothing where the bytes are no query that a request can have.
fn read(route: &Route, is_query: bool, bytes: &[u8]) -> Option<Result<DynamicMessage, Error>> {
    let input = route.method.input();
    if !is_query {
        return Some(call::parse(bytes).and_then(|value| call::message_of(input, value)));
    }
    let uri = [&b"/?"[..], bytes].concat();
    let (parts, ()) = http::Request::get(uri.as_slice()).body(()).ok()?.into_parts();
    Some(call::query(&parts, &input).and_then(|fields| call::message_of(input, fields.into())))
}

fn is_the_same_again(route: &Route, message: &DynamicMessage) {
    let input = route.method.input();
    let text = |message: &DynamicMessage| {
        answer::text(input.clone(), message.encode_to_vec().into()).expect("what is read is written")
    };
    let written = text(message);
    let again = call::parse(written.as_bytes()).and_then(|value| call::message_of(input.clone(), value));
    let again = again.unwrap_or_else(|error| panic!("{}: {written}: {error:?}", route.path));
    assert_eq!(text(&again), written, "{}", route.path);
}

/// A stream of answers in pieces of a size.
pub(crate) fn frames(size: usize, bytes: &[u8]) {
    let mut held = BytesMut::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        held.extend_from_slice(piece);
        found.extend(std::iter::from_fn(|| answer::take(&mut held)));
    }
    let mut rest = bytes;
    for message in &found {
        let (head, behind) = rest.split_first_chunk::<FRAME_HEAD>().expect("a head before every message");
        assert_eq!(u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize, message.len());
        rest = behind.strip_prefix(&message[..]).expect("the message behind its head");
    }
    let whole = rest.first_chunk::<FRAME_HEAD>().is_some_and(|head| {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        rest.len() - FRAME_HEAD >= length
    });
    assert!(!whole && held == rest, "a whole message is left, or bytes are lost");
}
