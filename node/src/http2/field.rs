//! One line of a head, understood. What repeats is understood once: a table holds lines as they are used.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{self, CONNECTION, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::Protocol;

/// What a table counts for an entry beside its bytes (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Authority,
    Method,
    Path,
    Protocol,
    Scheme,
    Status,
    Header(HeaderName),
    /// No name at all, but so long.
    Malformed(usize),
}

/// A line.
#[derive(Clone, Debug)]
pub(super) enum Field {
    Authority(Option<Authority>),
    Method(Method),
    Path(PathAndQuery),
    Protocol(Protocol),
    Scheme(Scheme),
    Status(StatusCode),
    Header(HeaderName, HeaderValue),
    /// Its message is to be refused. The table still has a place for it.
    Malformed(Name),
}

/// What a line weighs in a table and in a list (RFC 7541 §4.1, RFC 9113 §6.5.2).
pub(super) fn weight(name: usize, value: usize) -> usize {
    name + value + ENTRY_OVERHEAD
}

// === impl Name ===

impl Name {
    /// Reads a name. Capitals are none (RFC 9113 §8.2.1).
    pub(super) fn read(bytes: &[u8]) -> Self {
        match bytes {
            [b':', rest @ ..] => match rest {
                b"authority" => Self::Authority,
                b"method" => Self::Method,
                b"path" => Self::Path,
                b"protocol" => Self::Protocol,
                b"scheme" => Self::Scheme,
                b"status" => Self::Status,
                _ => Self::Malformed(bytes.len()),
            },
            _ => HeaderName::from_lowercase(bytes).map_or(Self::Malformed(bytes.len()), Self::Header),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Authority => ":authority".len(),
            Self::Method => ":method".len(),
            Self::Path => ":path".len(),
            Self::Protocol => ":protocol".len(),
            Self::Scheme => ":scheme".len(),
            Self::Status => ":status".len(),
            Self::Header(name) => name.as_str().len(),
            Self::Malformed(length) => *length,
        }
    }
}

// === impl Field ===

impl Field {
    /// Reads the value of a line.
    pub(super) fn read(name: Name, value: Bytes) -> Self {
        let read = match &name {
            Name::Authority if value.is_empty() => Some(Self::Authority(None)),
            Name::Authority => {
                Authority::from_maybe_shared(value).ok().map(|authority| Self::Authority(Some(authority)))
            }
            Name::Method => Method::from_bytes(&value).ok().map(Self::Method),
            Name::Path if !is_path(&value) => None,
            Name::Path => PathAndQuery::from_maybe_shared(value).ok().map(Self::Path),
            Name::Protocol => Protocol::read(value).map(Self::Protocol),
            Name::Scheme => Scheme::try_from(&value[..]).ok().map(Self::Scheme),
            Name::Status => StatusCode::from_bytes(&value).ok().map(Self::Status),
            Name::Header(name) if !may_be_in_http2(name, &value) => None,
            Name::Header(name) => {
                HeaderValue::from_maybe_shared(value).ok().map(|value| Self::Header(name.clone(), value))
            }
            Name::Malformed(_) => None,
        };
        read.unwrap_or(Self::Malformed(name))
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Authority(_) => Name::Authority,
            Self::Method(_) => Name::Method,
            Self::Path(_) => Name::Path,
            Self::Protocol(_) => Name::Protocol,
            Self::Scheme(_) => Name::Scheme,
            Self::Status(_) => Name::Status,
            Self::Header(name, _) => Name::Header(name.clone()),
            Self::Malformed(name) => name.clone(),
        }
    }
}

/// What both sides know without having been told (RFC 7541, Appendix A), from 1.
pub(super) fn fixed(index: usize) -> Option<Field> {
    let empty = |name: HeaderName| Field::Header(name, HeaderValue::from_static(""));
    Some(match index {
        1 => Field::Authority(None),
        2 => Field::Method(Method::GET),
        3 => Field::Method(Method::POST),
        4 => Field::Path(PathAndQuery::from_static("/")),
        5 => Field::Path(PathAndQuery::from_static("/index.html")),
        6 => Field::Scheme(Scheme::HTTP),
        7 => Field::Scheme(Scheme::HTTPS),
        8 => Field::Status(StatusCode::OK),
        9 => Field::Status(StatusCode::NO_CONTENT),
        10 => Field::Status(StatusCode::PARTIAL_CONTENT),
        11 => Field::Status(StatusCode::NOT_MODIFIED),
        12 => Field::Status(StatusCode::BAD_REQUEST),
        13 => Field::Status(StatusCode::NOT_FOUND),
        14 => Field::Status(StatusCode::INTERNAL_SERVER_ERROR),
        15 => empty(header::ACCEPT_CHARSET),
        16 => Field::Header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")),
        17 => empty(header::ACCEPT_LANGUAGE),
        18 => empty(header::ACCEPT_RANGES),
        19 => empty(header::ACCEPT),
        20 => empty(header::ACCESS_CONTROL_ALLOW_ORIGIN),
        21 => empty(header::AGE),
        22 => empty(header::ALLOW),
        23 => empty(header::AUTHORIZATION),
        24 => empty(header::CACHE_CONTROL),
        25 => empty(header::CONTENT_DISPOSITION),
        26 => empty(header::CONTENT_ENCODING),
        27 => empty(header::CONTENT_LANGUAGE),
        28 => empty(header::CONTENT_LENGTH),
        29 => empty(header::CONTENT_LOCATION),
        30 => empty(header::CONTENT_RANGE),
        31 => empty(header::CONTENT_TYPE),
        32 => empty(header::COOKIE),
        33 => empty(header::DATE),
        34 => empty(header::ETAG),
        35 => empty(header::EXPECT),
        36 => empty(header::EXPIRES),
        37 => empty(header::FROM),
        38 => empty(header::HOST),
        39 => empty(header::IF_MATCH),
        40 => empty(header::IF_MODIFIED_SINCE),
        41 => empty(header::IF_NONE_MATCH),
        42 => empty(header::IF_RANGE),
        43 => empty(header::IF_UNMODIFIED_SINCE),
        44 => empty(header::LAST_MODIFIED),
        45 => empty(header::LINK),
        46 => empty(header::LOCATION),
        47 => empty(header::MAX_FORWARDS),
        48 => empty(header::PROXY_AUTHENTICATE),
        49 => empty(header::PROXY_AUTHORIZATION),
        50 => empty(header::RANGE),
        51 => empty(header::REFERER),
        52 => empty(header::REFRESH),
        53 => empty(header::RETRY_AFTER),
        54 => empty(header::SERVER),
        55 => empty(header::SET_COOKIE),
        56 => empty(header::STRICT_TRANSPORT_SECURITY),
        57 => empty(header::TRANSFER_ENCODING),
        58 => empty(header::USER_AGENT),
        59 => empty(header::VARY),
        60 => empty(header::VIA),
        61 => empty(header::WWW_AUTHENTICATE),
        _ => return None,
    })
}

/// Entries that both sides know without having been told.
pub(super) const FIXED: usize = 61;

fn is_path(value: &[u8]) -> bool {
    value.first() == Some(&b'/') || value == b"*"
}

/// Headers of one connection, which frames say otherwise (RFC 9113 §8.2.2).
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn may_be_in_http2(name: &HeaderName, value: &[u8]) -> bool {
    !is_of_connection(name) && (*name != TE || value == b"trailers")
}
