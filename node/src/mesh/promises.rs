//! What is promised of the readers of what callers and other gates say in headers, over any bytes; see [`crate::fuzzing`].

use berth_core::traffic::{status::Dialect, timeout::grpc_timeout_ms};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    headers::{self, Ends},
    link::{self, GateEntry},
};

/// A head, line by line: what ends here does not go on, no wait becomes longer, and only a gate's word is one.
pub(crate) fn head(bytes: &[u8]) {
    let head = read(bytes);
    let ends = Ends::of(&head);
    for dialect in [Dialect::Azure, Dialect::Grpc] {
        let says = head.contains_key("x-request-timeout-ms") || head.contains_key("grpc-timeout");
        assert!(ends.timeout_ms(&head, dialect).is_none() || says, "a wait that nobody asked for");
    }
    if let Some(entry) = GateEntry::read(&head) {
        assert!(head.contains_key(headers::GATE_REPLICA) && head.contains_key(headers::GATE_DEADLINE));
        assert_eq!(entry.replica.to_string().parse().ok(), Some(entry.replica));
    }
    for status in [StatusCode::OK, StatusCode::BAD_GATEWAY] {
        let says = head.contains_key(headers::NOT_STARTED) || head.contains_key(headers::GATE_BROKEN);
        assert!(link::failure(status, &head).is_none() || says, "a failure that no gate told of");
    }
    stripped(&head, ends);
    shortened(&head);
}

fn stripped(head: &HeaderMap, ends: Ends) {
    let mut left = head.clone();
    ends.strip_internal(&mut left);
    ends.strip_hop_by_hop(&mut left);
    ends.strip_for_the_ingress(&mut left);
    ends.strip_credentials(&mut left);
    let internal = |name: &HeaderName| name.as_str().starts_with("x-berth-gate-") || *name == headers::NOT_STARTED;
    assert!(!left.keys().any(internal), "only gates may say so: {left:?}");
    let listed =
        head.get_all(header::CONNECTION).iter().flat_map(|value| value.to_str().unwrap_or_default().split(','));
    for name in listed.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()) {
        let kept = [header::HOST, header::CONTENT_LENGTH, header::TE].contains(&name);
        assert!(kept || !left.contains_key(&name), "`{name}` ends at this hop");
    }
    for name in [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING, header::EXPECT, header::AUTHORIZATION]
    {
        assert!(!left.contains_key(&name), "`{name}` goes on");
    }
    assert!(left.get(header::TE).is_none_or(|te| te == "trailers"), "{:?}", left.get(header::TE));
    // Again there is nothing to take away.
    let mut again = left.clone();
    Ends::of(&left).strip_hop_by_hop(&mut again);
    Ends::of(&left).strip_internal(&mut again);
    assert_eq!(again, left);
}

fn shortened(head: &HeaderMap) {
    let left = |head: &HeaderMap| grpc_timeout_ms(head.get("grpc-timeout")?.as_bytes());
    let Some(before) = left(head).filter(|_| headers::is_grpc(head)) else { return };
    for waited_ms in [0, 1, before / 2, before, u64::MAX] {
        let mut told = head.clone();
        headers::shorten_grpc_timeout(&mut told, waited_ms);
        let after = left(&told).expect("it is told how long it has");
        assert!(after <= before.max(1) && after <= before.saturating_sub(waited_ms).max(1), "{before} → {after}");
    }
}

/// Reads lines of `name: value`; what is no header is left out.
fn read(bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|byte| *byte == b'\n').take(64);
    let pair = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line[..at].trim_ascii()).ok()?;
        Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    };
    let mut head = HeaderMap::new();
    lines.filter_map(pair).for_each(|(name, value)| {
        head.append(name, value);
    });
    head
}
