//! Header names, and which headers end at which hop.

use berth_core::traffic::{
    status::Dialect,
    timeout::{grpc_timeout, grpc_timeout_ms},
    trace::TraceContext,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Shown by one gate to another.
pub(super) const GATE_TOKEN: HeaderName = HeaderName::from_static("x-berth-gate-token");
/// The replica that is meant, in hex.
pub(super) const GATE_REPLICA: HeaderName = HeaderName::from_static("x-berth-gate-replica");
/// Whether the request may wait: `0` or `1`.
pub(super) const GATE_MAY_QUEUE: HeaderName = HeaderName::from_static("x-berth-gate-may-queue");
/// Milliseconds until nobody waits for the answer.
pub(super) const GATE_DEADLINE: HeaderName = HeaderName::from_static("x-berth-gate-deadline-ms");
/// Asks whether the gate is there and knows the token.
pub(super) const GATE_PROBE: HeaderName = HeaderName::from_static("x-berth-gate-probe");
/// How many requests the replica has, running and waiting.
pub(super) const GATE_LOAD: HeaderName = HeaderName::from_static("x-berth-gate-load");
/// How long the request waited at the gate.
pub(super) const GATE_QUEUE_MS: HeaderName = HeaderName::from_static("x-berth-gate-queue-ms");
/// Whether a slot has to stay free beside the one that is taken.
pub(super) const GATE_SPARE: HeaderName = HeaderName::from_static("x-berth-gate-spare");
/// Where the JSON of an answer ends and its tensors begin.
pub(super) const INFERENCE_JSON_BYTES: HeaderName = HeaderName::from_static("inference-header-content-length");
/// When a place at a full replica is expected to come free.
pub(super) const GATE_RETRY_MS: HeaderName = HeaderName::from_static("x-berth-gate-retry-ms");
/// The replica broke off: `body` when it may have worked on the request, `head` when no body byte was sent.
pub(super) const GATE_BROKEN: HeaderName = HeaderName::from_static("x-berth-gate-broken");
/// The request asks to change the protocol.
pub(super) const GATE_SWITCH: HeaderName = HeaderName::from_static("x-berth-gate-switch");
/// The replica agreed to.
pub(super) const GATE_SWITCHED: HeaderName = HeaderName::from_static("x-berth-gate-switched");
/// How often a process that was taken over has passed the request on.
pub(super) const GATE_PASSED: HeaderName = HeaderName::from_static("x-berth-gate-passed");
/// Why a gate did not start a request.
pub(super) const NOT_STARTED: HeaderName = HeaderName::from_static("x-berth-not-started");

/// Azure's header that picks a deployment, and that says which one answered.
pub(super) const AZURE_DEPLOYMENT: HeaderName = HeaderName::from_static("azureml-model-deployment");
/// The model's own status behind a 424.
pub(super) const AZURE_MODEL_STATUS: HeaderName = HeaderName::from_static("ms-azureml-model-error-statuscode");
/// Milliseconds from the start of the work to the head of its answer.
pub(super) const AZURE_MODEL_TIME: HeaderName = HeaderName::from_static("ms-azureml-model-time");
/// Why the model did not answer 200.
pub(super) const AZURE_REASON: HeaderName = HeaderName::from_static("ms-azureml-model-error-reason");
/// A caller's own id for its request.
pub(super) const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// Names the endpoint; on an answer, the one that a model's name led to.
pub(super) const ENDPOINT: HeaderName = HeaderName::from_static("x-berth-endpoint");
/// Whatever the caller wants kept together: requests with the same key go to the same deployment.
pub(super) const KEY: HeaderName = HeaderName::from_static("x-berth-key");
/// Names the deployment.
pub(super) const DEPLOYMENT: HeaderName = HeaderName::from_static("x-berth-deployment");
/// The replica that answered.
pub(super) const REPLICA: HeaderName = HeaderName::from_static("x-berth-replica");
/// The version of the table that routed the request.
pub(super) const TABLE: HeaderName = HeaderName::from_static("x-berth-table");
/// How long the request waited at the gate, if it did.
pub(super) const QUEUE_MS: HeaderName = HeaderName::from_static("x-berth-queue-ms");
/// How many replicas were asked, if not one.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-berth-attempts");
/// The request could not have been sent again: why what was read of its body is not at hand.
pub(super) const REPLAY: HeaderName = HeaderName::from_static("x-berth-replay");
/// A second replica was asked beside a slow one: whether this is its answer.
pub(super) const HEDGE: HeaderName = HeaderName::from_static("x-berth-hedge");
/// The code of a refusal.
pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("x-berth-error");
/// Why no replica took the request.
pub(super) const REASON: HeaderName = HeaderName::from_static("x-berth-reason");
/// When to try again, in milliseconds: OpenAI's clients prefer it to the whole seconds of `retry-after`.
pub(super) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The same for gRPC clients.
pub(super) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// Asks a replica for its load, and in which form it is wanted (ORCA).
pub(super) const LOAD_FORMAT: HeaderName = HeaderName::from_static("endpoint-load-metrics-format");
/// What it says.
pub(super) const LOAD: HeaderName = HeaderName::from_static("endpoint-load-metrics");
/// Marks a copy, for the model's eyes.
pub(super) const MIRROR: HeaderName = HeaderName::from_static("x-berth-mirror");
/// The trace of a request and the span that calls (W3C Trace Context).
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems of callers add to it.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Names one request in every log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A key as Azure's and OpenAI's clients send it.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// A key as other clients send it.
pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How long the caller waits for the answer.
pub(super) const REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");
/// How a gRPC call ended; in the head only when nothing but a status was answered.
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// How the messages of a gRPC call are packed that are, and how they may be.
pub(super) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(super) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that only gates and the ingress may write: a caller's are dropped, and so are a replica's.
const INTERNAL: [HeaderName; 16] = [
    QUEUE_MS,
    ATTEMPTS,
    GATE_TOKEN,
    GATE_REPLICA,
    GATE_MAY_QUEUE,
    GATE_SPARE,
    GATE_DEADLINE,
    GATE_PROBE,
    GATE_LOAD,
    GATE_QUEUE_MS,
    GATE_RETRY_MS,
    GATE_BROKEN,
    GATE_SWITCH,
    GATE_SWITCHED,
    GATE_PASSED,
    NOT_STARTED,
];

/// What the names of headers between gates begin with.
const GATE_PREFIX: &str = "x-berth-gate-";

/// Headers that end at each hop (RFC 9110 §7.6.1), beside those that `connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::TE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

/// Headers that the ingress answers or sets itself.
const FOR_THE_INGRESS: [HeaderName; 2] = [header::EXPECT, MIRROR];

/// Which of the headers that somebody on the way looks for a message has, found in one pass: it rarely has any, and asking its
/// map for each name by itself costs more than everything else that is done to headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    internal: bool,
    /// Something that this version does not know and a gate of a later one may.
    foreign: bool,
    hop: bool,
    ingress: bool,
    /// Something names an endpoint, a deployment or a key.
    names: bool,
    /// Something names the request.
    ids: bool,
    /// Something says how long the caller waits.
    timeouts: bool,
    /// A key as some clients send it, beside `authorization`.
    keys: bool,
    /// Where HTTP/1.1 says whom it means.
    host: bool,
    /// The caller's trace.
    traces: bool,
}

// === impl Ends ===

impl Ends {
    /// Looks at every header once.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut ends = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "te" if value == "trailers" => {}
                "te"
                | "connection"
                | "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings" => ends.hop = true,
                "expect" | "x-berth-mirror" => ends.ingress = true,
                "x-berth-not-started" | "x-berth-queue-ms" | "x-berth-attempts" => ends.internal = true,
                "x-berth-endpoint"
                | "x-berth-deployment"
                | "x-berth-key"
                | "azureml-model-deployment"
                | "seldon-model"
                | "mm-vmodel-id"
                | "x-amzn-sagemaker-target-variant" => ends.names = true,
                "x-request-id" | "x-ms-client-request-id" => ends.ids = true,
                "x-request-timeout-ms" | "grpc-timeout" => ends.timeouts = true,
                "api-key" | "x-api-key" => ends.keys = true,
                "host" => ends.host = true,
                "traceparent" | "tracestate" => ends.traces = true,
                name if name.starts_with(GATE_PREFIX) => {
                    ends.internal = true;
                    ends.foreign |= !INTERNAL.iter().any(|known| known == name);
                }
                _ => {}
            }
        }
        ends
    }

    /// Returns the first of the names that is there, as text. Only for names that a request is routed by.
    pub(super) fn named<'a>(self, headers: &'a HeaderMap, names: &[HeaderName]) -> Option<&'a str> {
        if !self.names {
            return None;
        }
        names.iter().find_map(|name| text(headers, name)).filter(|value| !value.is_empty())
    }

    /// Returns a name of the request's own, if there is one of this kind.
    pub(super) fn id<'a>(self, headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
        if self.ids { headers.get(name) } else { None }
    }

    /// Returns the trace that the caller is in, and takes away what goes with none.
    pub(super) fn trace(self, headers: &mut HeaderMap) -> Option<TraceContext> {
        if !self.traces {
            return None;
        }
        let mut contexts = headers.get_all(TRACEPARENT).iter();
        let only = contexts.next().filter(|_| contexts.next().is_none());
        let caller = only.and_then(|value| TraceContext::parse(value.as_bytes()));
        if caller.is_none() {
            headers.remove(TRACESTATE);
        }
        caller
    }

    /// Reads how long a caller waits for its answer, in milliseconds: `x-request-timeout-ms`, or `grpc-timeout` of a gRPC
    /// call; the shorter one counts.
    pub(super) fn timeout_ms(self, headers: &HeaderMap, dialect: Dialect) -> Option<u64> {
        if !self.timeouts {
            return None;
        }
        let asked = text(headers, &REQUEST_TIMEOUT_MS).and_then(|text| text.trim().parse().ok());
        let grpc = headers.get(GRPC_TIMEOUT).filter(|_| dialect == Dialect::Grpc);
        let grpc = grpc.and_then(|text| grpc_timeout_ms(text.as_bytes()));
        asked.into_iter().chain(grpc).min()
    }

    /// Takes out whom a request of HTTP/1.1 means.
    pub(super) fn take_host(self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        if self.host { headers.remove(header::HOST) } else { None }
    }

    /// Drops every header a key may be in.
    pub(super) fn strip_credentials(self, headers: &mut HeaderMap) {
        headers.remove(header::AUTHORIZATION);
        if self.keys {
            remove(headers, &[API_KEY, X_API_KEY]);
        }
    }

    /// Drops what ends at this hop, keeping `te: trailers`, without which gRPC refuses to talk.
    pub(super) fn strip_hop_by_hop(self, headers: &mut HeaderMap) {
        if self.hop {
            strip_hop_by_hop(headers);
        }
    }

    /// Drops what only gates may say.
    pub(super) fn strip_internal(self, headers: &mut HeaderMap) {
        if self.internal {
            remove(headers, &INTERNAL);
        }
        if self.foreign {
            let foreign = headers.keys().filter(|name| name.as_str().starts_with(GATE_PREFIX)).cloned();
            remove(headers, &foreign.collect::<Vec<_>>());
        }
    }

    /// Drops what of an answer would say in the mesh's name who gave it.
    pub(super) fn strip_names(self, headers: &mut HeaderMap) {
        if self.names {
            remove(headers, &[ENDPOINT, DEPLOYMENT]);
        }
    }

    /// Drops what the ingress answers or sets itself.
    pub(super) fn strip_for_the_ingress(self, headers: &mut HeaderMap) {
        if self.ingress {
            remove(headers, &FOR_THE_INGRESS);
        }
    }
}

/// What names an endpoint, the first one first: ours, Seldon's, ModelMesh's.
pub(super) const ENDPOINT_NAMES: [HeaderName; 3] =
    [ENDPOINT, HeaderName::from_static("seldon-model"), HeaderName::from_static("mm-vmodel-id")];

/// What names a deployment, the first one first: Azure's, ours, SageMaker's.
pub(super) const DEPLOYMENT_NAMES: [HeaderName; 3] =
    [AZURE_DEPLOYMENT, DEPLOYMENT, HeaderName::from_static("x-amzn-sagemaker-target-variant")];

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    names.iter().for_each(|name| {
        headers.remove(name);
    });
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Several lines are one list; there is hardly ever more than one.
    let more: Vec<_> = headers.get_all(header::CONNECTION).iter().skip(1).cloned().collect();
    for connection in headers.remove(header::CONNECTION).into_iter().chain(more) {
        let named = connection.to_str().unwrap_or_default().split(',').map(str::trim);
        for name in named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()) {
            // A caller must not be able to take away what the mesh or the message itself needs.
            let kept = name == header::HOST || name == header::CONTENT_LENGTH || name == header::TE;
            if !kept {
                headers.remove(name);
            }
        }
    }
    let trailers = headers.get_all(header::TE).iter().any(|te| {
        te.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    remove(headers, &HOP_BY_HOP);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Writes 128 drawn bits in the form of a random UUID, which is what Azure's clients expect to see.
pub(super) fn random_uuid(high: u64, low: u64) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    /// Where the digits of each byte are written, between the dashes.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    // Version 4, variant 1 (RFC 9562 §5.4).
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    let bytes = high.to_be_bytes().into_iter().chain(low.to_be_bytes());
    for (place, byte) in PLACES.into_iter().zip(bytes) {
        text[place] = DIGITS[usize::from(byte >> 4)];
        text[place + 1] = DIGITS[usize::from(byte & 0xf)];
    }
    let mut value = HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    // Not a secret, but never the same twice: in a table of compressed headers it would only push out what is.
    value.set_sensitive(true);
    value
}

/// Tells a replica how long it has.
pub(super) fn tell_timeout(headers: &mut HeaderMap, left: Timeout) {
    if !is_grpc(headers) {
        headers.insert(REQUEST_TIMEOUT_MS, left.http);
        return;
    }
    say_time_once(headers);
    headers.insert(GRPC_TIMEOUT, left.grpc);
}

/// Leaves gRPC's own word for the time that a call has: two that differ would leave it to the server which one to believe.
pub(super) fn say_time_once(headers: &mut HeaderMap) {
    if is_grpc(headers) {
        headers.remove(REQUEST_TIMEOUT_MS);
    }
}

/// Takes off what a gRPC call has waited here.
pub(super) fn shorten_grpc_timeout(headers: &mut HeaderMap, waited_ms: u64) {
    let left = headers.get(GRPC_TIMEOUT).and_then(|text| grpc_timeout_ms(text.as_bytes()));
    if let Some(left) = left.filter(|_| waited_ms > 0) {
        tell_timeout(headers, Timeout::new(left.saturating_sub(waited_ms)));
    }
}

/// Returns whether a message is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A time as each protocol writes it.
#[derive(Clone)]
pub(super) struct Timeout {
    http: HeaderValue,
    grpc: HeaderValue,
}

// === impl Timeout ===

impl Timeout {
    /// Writes a time. None is left of it where a request is begun in its last millisecond, and zero would be no time at all.
    pub(super) fn new(ms: u64) -> Self {
        let ms = ms.max(1);
        let grpc = HeaderValue::from_maybe_shared(bytes::Bytes::from(grpc_timeout(ms)));
        Self { http: ms.into(), grpc: grpc.unwrap_or_else(|_| HeaderValue::from_static("1m")) }
    }
}

/// Returns a header as text, if it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_ends_at_the_hop_is_dropped_and_te_trailers_stays() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret, host"),
            ("x-secret", "1"),
            ("host", "h"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("trailer", "x-sum"),
            ("content-type", "text/plain"),
        ]);
        Ends::of(&map).strip_hop_by_hop(&mut map);
        let kept = headers(&[("host", "h"), ("trailer", "x-sum"), ("content-type", "text/plain"), ("te", "trailers")]);
        assert_eq!(map, kept);
    }

    /// Nodes of two versions serve beside each other: what a later gate would believe, no caller gets past an earlier one.
    #[test]
    fn what_only_a_later_gate_knows_is_dropped_too() {
        let mut map = headers(&[("x-berth-gate-later", "1"), ("x-berth-gate-probe", "1"), ("x-kept", "1")]);
        Ends::of(&map).strip_internal(&mut map);
        assert_eq!(map, headers(&[("x-kept", "1")]));
    }

    #[test]
    fn what_several_lines_name_ends_at_the_hop_as_what_one_line_does() {
        let mut map = headers(&[("connection", "keep-alive"), ("x-secret", "1"), ("te", "gzip"), ("x-kept", "1")]);
        map.append(header::CONNECTION, HeaderValue::from_static("x-secret"));
        map.append(header::TE, HeaderValue::from_static("trailers"));
        Ends::of(&map).strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("x-kept", "1"), ("te", "trailers")]));
    }

    /// The pass that looks and the lists that are dropped must name the same headers.
    #[test]
    fn everything_that_is_dropped_is_looked_for() {
        let internal = Ends { internal: true, ..Ends::default() };
        let hop = Ends { hop: true, ..Ends::default() };
        let ingress = Ends { ingress: true, ..Ends::default() };
        let all =
            [(&INTERNAL[..], internal), (&HOP_BY_HOP, hop), (&[header::CONNECTION], hop), (&FOR_THE_INGRESS, ingress)];
        for (name, ends) in all.iter().flat_map(|(names, ends)| names.iter().map(move |name| (name, *ends))) {
            let mut map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("any"))]);
            assert_eq!(Ends::of(&map), ends, "{name}");
            ends.strip_internal(&mut map);
            ends.strip_hop_by_hop(&mut map);
            ends.strip_for_the_ingress(&mut map);
            assert!(map.is_empty(), "{name}");
        }
        for name in ENDPOINT_NAMES.into_iter().chain(DEPLOYMENT_NAMES).chain([KEY]) {
            let map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("any"))]);
            assert_eq!(Ends::of(&map).named(&map, std::slice::from_ref(&name)), Some("any"), "{name}");
        }
        for name in [REQUEST_ID, CLIENT_REQUEST_ID] {
            let map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("any"))]);
            assert_eq!(Ends::of(&map).id(&map, &name), map.get(&name), "{name}");
        }
        for name in [header::AUTHORIZATION, API_KEY, X_API_KEY, header::HOST] {
            let mut map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("any"))]);
            let ends = Ends::of(&map);
            ends.strip_credentials(&mut map);
            assert_eq!(ends.take_host(&mut map).is_some(), name == header::HOST, "{name}");
            assert!(map.is_empty(), "{name}");
        }
        let harmless = headers(&[("te", "trailers"), ("content-type", "text/plain")]);
        assert_eq!(Ends::of(&harmless), Ends::default());
    }

    #[test]
    fn a_drawn_id_is_a_random_uuid() {
        assert_eq!(random_uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(random_uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(random_uuid(0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn the_shorter_timeout_counts() {
        for (pairs, dialect, ms) in [
            (&[("x-request-timeout-ms", "250")][..], Dialect::Azure, Some(250)),
            (&[("grpc-timeout", "1S")], Dialect::Azure, None),
            (&[("grpc-timeout", "1S"), ("x-request-timeout-ms", "2000")], Dialect::Grpc, Some(1_000)),
            (&[("grpc-timeout", "1S"), ("x-request-timeout-ms", " 20")], Dialect::Grpc, Some(20)),
            (&[("x-request-timeout-ms", "soon")], Dialect::OpenAi, None),
            (&[("x-request-timeout-ms", "-1")], Dialect::OpenAi, None),
        ] {
            let headers = headers(pairs);
            assert_eq!(Ends::of(&headers).timeout_ms(&headers, dialect), ms, "{pairs:?}");
        }
    }
}
