//! Heads of requests and answers and what may follow a body, from lines to what the mesh works with.

use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    header::CONTENT_LENGTH,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use super::{Protocol, field::Field};

/// Headers of an ordinary message: room for them is made at once.
const HEADERS: usize = 12;

/// The lines of a block.
pub(super) struct Head {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Option<Authority>>,
    path: Option<PathAndQuery>,
    protocol: Option<Protocol>,
    status: Option<StatusCode>,
    headers: HeaderMap,
    length: Option<u64>,
    /// What it may still weigh.
    room: usize,
    pub(super) is_too_large: bool,
    is_malformed: bool,
    has_headers: bool,
}

/// A message that breaks the rules for heads (RFC 9113 §8.1.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

// === impl Head ===

impl Head {
    /// Nothing yet, of so many bytes at most.
    pub(super) fn new(room: usize) -> Self {
        Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            status: None,
            headers: HeaderMap::new(),
            length: None,
            room,
            is_too_large: false,
            is_malformed: false,
            has_headers: false,
        }
    }

    /// Returns whether a line of this weight is still taken.
    pub(super) fn has_room_for(&mut self, bytes: usize) -> bool {
        self.is_too_large |= bytes > self.room;
        !self.is_too_large
    }

    pub(super) fn take(&mut self, field: Field, bytes: usize) {
        if !self.has_room_for(bytes) {
            return;
        }
        self.room -= bytes;
        let is_again = match field {
            Field::Header(name, value) => {
                if name == CONTENT_LENGTH {
                    let length = length(value.as_bytes());
                    self.is_malformed |= length.is_none() || self.length.replace(length.unwrap_or_default()).is_some();
                }
                if !self.has_headers {
                    self.has_headers = true;
                    self.headers.reserve(HEADERS);
                }
                self.headers.append(name, value);
                return;
            }
            Field::Malformed(_) => true,
            Field::Method(method) => self.method.replace(method).is_some(),
            Field::Scheme(scheme) => self.scheme.replace(scheme).is_some(),
            Field::Authority(authority) => self.authority.replace(authority).is_some(),
            Field::Path(path) => self.path.replace(path).is_some(),
            Field::Protocol(protocol) => self.protocol.replace(protocol).is_some(),
            Field::Status(status) => self.status.replace(status).is_some(),
        };
        // Each of these once, and before all others.
        self.is_malformed |= is_again || self.has_headers;
    }

    /// Makes a request of it, and says how long its body is.
    pub(super) fn request(self) -> Result<(Request<()>, Option<u64>), Malformed> {
        let Self {
            method, scheme, authority, path, protocol, status: None, headers, length, is_malformed: false, ..
        } = self
        else {
            return Err(Malformed);
        };
        let method = method.ok_or(Malformed)?;
        let authority = authority.flatten();
        let is_tunnel = method == Method::CONNECT && protocol.is_none();
        let is_right = match is_tunnel {
            true => scheme.is_none() && path.is_none() && authority.is_some(),
            false => scheme.is_some() && path.is_some() && (protocol.is_none() || method == Method::CONNECT),
        };
        if !is_right {
            return Err(Malformed);
        }
        let mut parts = uri::Parts::default();
        // There is no such thing as a URI with a scheme alone.
        parts.scheme = scheme.filter(|_| authority.is_some());
        parts.authority = authority;
        parts.path_and_query = path;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(protocol);
        }
        Ok((request, length))
    }

    /// Makes an answer of it, and says how long its body is.
    pub(super) fn response(self) -> Result<(Response<()>, Option<u64>), Malformed> {
        let (Some(status), headers, length) = self.without_a_request()? else { return Err(Malformed) };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = headers;
        Ok((response, length))
    }

    /// Makes what follows a body of it.
    pub(super) fn trailers(self) -> Result<HeaderMap, Malformed> {
        let (None, headers, _) = self.without_a_request()? else { return Err(Malformed) };
        Ok(headers)
    }

    /// What there may be in a head that is none of a request.
    fn without_a_request(self) -> Result<(Option<StatusCode>, HeaderMap, Option<u64>), Malformed> {
        let Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            status,
            headers,
            length,
            is_malformed: false,
            is_too_large: false,
            ..
        } = self
        else {
            return Err(Malformed);
        };
        Ok((status, headers, length))
    }
}

/// Reads a length: digits and nothing else (RFC 9110 §8.6).
fn length(value: &[u8]) -> Option<u64> {
    let text = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
