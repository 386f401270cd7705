//! Keys: compared by hash, in constant time, against every key of the endpoint.

use berth_core::{id::Digest, model::AuthMode, traffic::table::EndpointRoute};
use http::{HeaderMap, header};
use subtle::{Choice, ConstantTimeEq as _};

use super::headers::{API_KEY, X_API_KEY};

/// Returns whether the request may call the endpoint.
pub(super) fn is_authorised(route: &EndpointRoute, headers: &HeaderMap) -> bool {
    if route.auth_mode == AuthMode::None {
        return true;
    }
    credential(headers).is_some_and(|key| matches_any(key, &route.key_hashes))
}

/// Finds the key in any of the headers clients use for it.
fn credential(headers: &HeaderMap) -> Option<&[u8]> {
    const BEARER: &[u8] = b"bearer ";
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| key.trim_ascii())
    });
    bearer
        .or_else(|| headers.get(API_KEY).or_else(|| headers.get(X_API_KEY)).map(|value| value.as_bytes().trim_ascii()))
}

/// Looks at every hash whatever the first comparisons say, so that the time tells nothing.
fn matches_any(key: &[u8], hashes: &[[u8; 32]]) -> bool {
    let shown = Digest::of(key);
    hashes.iter().fold(Choice::from(0), |found, hash| found | shown.0.ct_eq(hash)).into()
}

/// Compares two secrets in constant time.
pub(super) fn same_secret(shown: &[u8], expected: &[u8]) -> bool {
    shown.ct_eq(expected).into()
}

#[cfg(test)]
mod tests {
    use berth_core::{
        id::LogIndex,
        model::{EndpointName, MirrorRules},
        time::LogTime,
    };
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn either_key_opens_in_any_header() {
        let route = EndpointRoute {
            name: EndpointName::new("fraud").expect("a valid name"),
            revision: LogIndex(1),
            auth_mode: AuthMode::Key,
            key_hashes: vec![Digest::of(b"one").0, Digest::of(b"two").0],
            max_body_bytes: 1,
            idempotent: None,
            hedging: None,
            split: Vec::new(),
            mirror: Vec::new(),
            mirror_rules: MirrorRules::default(),
            created_at: LogTime::default(),
            deployments: Vec::new(),
        };
        for (name, value, opens) in [
            ("authorization", "Bearer one", true),
            ("authorization", "bearer two", true),
            ("authorization", "Basic one", false),
            ("authorization", "Bearer", false),
            ("api-key", "two", true),
            ("x-api-key", "one", true),
            ("api-key", "three", false),
            ("x-other", "one", false),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(is_authorised(&route, &headers), opens, "{name}: {value}");
        }
        assert!(!is_authorised(&EndpointRoute { key_hashes: Vec::new(), ..route.clone() }, &HeaderMap::new()));
        assert!(is_authorised(&EndpointRoute { auth_mode: AuthMode::None, ..route }, &HeaderMap::new()));
    }
}
