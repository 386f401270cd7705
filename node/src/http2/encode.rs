//! HPACK, as it is written (RFC 7541).
//!
//! Processor time is dearer than bytes between machines of one network, so texts are written as they are. A line is put into
//! the peer's table when it comes for the second time: what is never the same twice does not push out what is.

use std::{collections::VecDeque, hash::BuildHasher as _};

use foldhash::fast::FixedState;
use http::{HeaderMap, Request, Response};

use super::field::{is_of_connection, weight};

/// What is put into a peer's table at most; it need not allow as much.
const TABLE_BYTES: usize = 4_096;

/// Places to look a line up. A line whose place another one took is written out again.
const PLACES: usize = 128;

/// The newest entry's index (RFC 7541 §2.3.3).
const FIRST: u64 = 62;

/// Writes the heads that this side of a connection sends.
pub(super) struct Encoder {
    /// The oldest first.
    table: VecDeque<Entry>,
    bytes: usize,
    most: usize,
    /// Entries that have left the table.
    gone: u64,
    places: Box<[Place; PLACES]>,
    /// What has to be said of the size with the next block.
    resized: Option<usize>,
}

struct Entry {
    name: usize,
    line: Box<[u8]>,
}

/// Where a line is, or that it was seen.
#[derive(Clone, Copy, Default)]
struct Place {
    hash: u64,
    /// How many entries there were with it.
    number: Option<u64>,
}

// === impl Encoder ===

impl Default for Encoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            bytes: 0,
            most: TABLE_BYTES,
            gone: 0,
            places: Box::new([Place::default(); PLACES]),
            resized: None,
        }
    }
}

impl Encoder {
    /// Keeps to what the peer allows.
    pub(super) fn resize(&mut self, allowed: usize) {
        let most = allowed.min(TABLE_BYTES);
        // The smallest it was meanwhile has to be told, too (RFC 7541 §4.2): entries are gone for good.
        self.resized = Some(self.resized.map_or(most, |told| told.min(most)));
        self.most = most;
        self.shrink_to(most);
    }

    pub(super) fn request(&mut self, request: &Request<()>, into: &mut Vec<u8>) {
        self.begin(into);
        let uri = request.uri();
        match request.method().as_str() {
            "GET" => into.push(0x82),
            "POST" => into.push(0x83),
            method => self.line(b":method", method.as_bytes(), false, into),
        }
        match uri.scheme_str() {
            Some("https") => into.push(0x87),
            _ => into.push(0x86),
        }
        if let Some(authority) = uri.authority() {
            self.line(b":authority", authority.as_str().as_bytes(), false, into);
        }
        match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => into.push(0x84),
            path => self.line(b":path", path.as_bytes(), false, into),
        }
        self.headers(request.headers(), into);
    }

    pub(super) fn response(&mut self, response: &Response<()>, into: &mut Vec<u8>) {
        self.begin(into);
        let status = response.status();
        match status.as_u16() {
            200 => into.push(0x88),
            204 => into.push(0x89),
            206 => into.push(0x8a),
            304 => into.push(0x8b),
            400 => into.push(0x8c),
            404 => into.push(0x8d),
            500 => into.push(0x8e),
            _ => self.line(b":status", status.as_str().as_bytes(), false, into),
        }
        self.headers(response.headers(), into);
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap, into: &mut Vec<u8>) {
        self.begin(into);
        self.headers(trailers, into);
    }

    fn begin(&mut self, into: &mut Vec<u8>) {
        if let Some(smallest) = self.resized.take() {
            number(smallest, 5, 0x20, into);
            if self.most > smallest {
                number(self.most, 5, 0x20, into);
            }
        }
    }

    fn headers(&mut self, headers: &HeaderMap, into: &mut Vec<u8>) {
        for (name, value) in headers {
            if !is_of_connection(name) {
                self.line(name.as_str().as_bytes(), value.as_bytes(), value.is_sensitive(), into);
            }
        }
    }

    fn line(&mut self, name: &[u8], value: &[u8], is_sensitive: bool, into: &mut Vec<u8>) {
        if is_sensitive {
            return literal(name, value, 4, 0x10, into);
        }
        let hash = hash(name, value);
        let place = &mut self.places[hash as usize % PLACES];
        if place.hash != hash {
            *place = Place { hash, number: None };
            return literal(name, value, 4, 0, into);
        }
        if let Some(at) = place.number.and_then(|number| number.checked_sub(self.gone)) {
            let entry = &self.table[at as usize];
            if entry.is(name, value) {
                let index = FIRST + self.table.len() as u64 - 1 - at;
                return number(index as usize, 7, 0x80, into);
            }
        }
        let bytes = weight(name.len(), value.len());
        // A line that would push out most of the others is not worth it.
        if bytes > self.most / 4 {
            return literal(name, value, 4, 0, into);
        }
        place.number = Some(self.gone + self.table.len() as u64);
        self.bytes += bytes;
        self.table.push_back(Entry { name: name.len(), line: [name, value].concat().into() });
        self.shrink_to(self.most);
        literal(name, value, 6, 0x40, into);
    }

    fn shrink_to(&mut self, most: usize) {
        while self.bytes > most {
            let Some(entry) = self.table.pop_front() else { break };
            self.bytes -= weight(entry.name, entry.line.len() - entry.name);
            self.gone += 1;
        }
    }
}

// === impl Entry ===

impl Entry {
    fn is(&self, name: &[u8], value: &[u8]) -> bool {
        let (own_name, own_value) = self.line.split_at(self.name);
        own_name == name && own_value == value
    }
}

fn hash(name: &[u8], value: &[u8]) -> u64 {
    // A peer that finds lines of one place makes its own heads longer, and nobody else's.
    const STATE: FixedState = FixedState::with_seed(0);
    STATE.hash_one((name, value))
}

/// Writes a line in full: with its name as an index, where both sides know it.
fn literal(name: &[u8], value: &[u8], prefix: u32, kind: u8, into: &mut Vec<u8>) {
    let known = match name {
        b":authority" => 1,
        b":method" => 2,
        b":path" => 4,
        b":status" => 8,
        b"authorization" => 23,
        b"content-length" => 28,
        b"content-type" => 31,
        b"date" => 33,
        b"user-agent" => 58,
        _ => 0,
    };
    number(known, prefix, kind, into);
    if known == 0 {
        text(name, into);
    }
    text(value, into);
}

fn text(text: &[u8], into: &mut Vec<u8>) {
    number(text.len(), 7, 0, into);
    into.extend_from_slice(text);
}

/// Writes a number behind the bits that say what it is (RFC 7541 §5.1).
fn number(number: usize, prefix: u32, kind: u8, into: &mut Vec<u8>) {
    let mask = (1_usize << prefix) - 1;
    if number < mask {
        return into.push(kind | number as u8);
    }
    into.push(kind | mask as u8);
    let mut rest = number - mask;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}
