//! YAML text as a tree that remembers where everything stood.
//!
//! Scalars keep their text, because what `1.10` means depends on the field that reads it. Everything is bounded before
//! it is built: an alias counts as much as what it stands for, so a file cannot grow by naming itself.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::finding::{Findings, Place};
use berth_core::error::Code;

/// Larger than any hand-written file by far.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Nodes of all documents together, aliases counted in full.
const NODES_MAX: usize = 50_000;
/// Azure's deepest file has seven levels.
const DEPTH_MAX: usize = 64;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Text; `plain` when it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
    /// Whether it came through `<<`, so that what is written out wins.
    merged: bool,
}

/// A collection that is still open.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, inside a mapping.
    key: Option<Option<(String, Place)>>,
}

/// Builds documents out of events.
struct Builder<'a> {
    findings: &'a mut Findings,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

/// Reads every document of `text`. What is wrong goes to `findings`; a syntax error ends the reading.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Vec<Node> {
    if text.len() > TEXT_BYTES_MAX {
        findings.error(Code::Yaml, Place::default(), "", format!("is larger than {TEXT_BYTES_MAX} bytes"), "");
        return Vec::new();
    }
    let mut builder = Builder { findings, documents: Vec::new(), open: Vec::new(), anchors: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                let place = Place::new(error.marker().line(), error.marker().col() + 1);
                builder.findings.error(Code::Yaml, place, "", error.info().to_owned(), "");
                return Vec::new();
            }
        };
        let place = Place::new(span.start.line(), span.start.col() + 1);
        if !builder.take(event, place) {
            return Vec::new();
        }
    }
    builder.documents
}

// === impl Builder ===

impl Builder<'_> {
    /// Takes one event and returns whether to go on.
    fn take(&mut self, event: Event<'_>, place: Place) -> bool {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => true,
            Event::DocumentEnd => {
                self.anchors.clear();
                true
            }
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.add(Node { place, value }, anchor)
            }
            Event::Alias(id) => {
                let Some((_, node)) = self.anchors.iter().find(|(anchor, _)| *anchor == id) else {
                    return self.refuse(place, "an alias of something that is not complete yet");
                };
                let node = Node { place, ..node.clone() };
                self.nodes += node.count();
                self.add(node, 0)
            }
            Event::SequenceStart(anchor, _) => self.push(Node { place, value: Value::List(Vec::new()) }, anchor, None),
            Event::MappingStart(anchor, _) => {
                self.push(Node { place, value: Value::Map(Vec::new()) }, anchor, Some(None))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.add(open.node, open.anchor),
                None => true,
            },
        }
    }

    fn push(&mut self, node: Node, anchor: usize, key: Option<Option<(String, Place)>>) -> bool {
        if self.open.len() == DEPTH_MAX {
            return self.refuse(node.place, "nested too deeply");
        }
        self.open.push(Open { node, anchor, key });
        true
    }

    fn add(&mut self, node: Node, anchor: usize) -> bool {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.refuse(node.place, "too many values; aliases count as what they stand for");
        }
        if anchor > 0 {
            self.nodes += node.count();
            self.anchors.push((anchor, node.clone()));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return true;
        };
        match (&mut open.node.value, &mut open.key) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => match key.take() {
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.place)),
                    Value::List(_) | Value::Map(_) => return self.refuse(node.place, "a key must be plain text"),
                },
                Some((name, place)) => {
                    insert(entries, Entry { key: name, place, value: node, merged: false }, self.findings)
                }
            },
            (Value::Map(_) | Value::Scalar { .. }, _) => {}
        }
        true
    }

    fn refuse(&mut self, place: Place, what: &str) -> bool {
        self.findings.error(Code::Yaml, place, "", what, "");
        false
    }
}

/// Adds an entry; `<<` merges a mapping under what is written out.
fn insert(entries: &mut Vec<Entry>, entry: Entry, findings: &mut Findings) {
    if entry.key == "<<"
        && let Value::Map(merged) = entry.value.value
    {
        for from in merged {
            if !entries.iter().any(|have| have.key == from.key) {
                entries.push(Entry { merged: true, ..from });
            }
        }
        return;
    }
    match entries.iter_mut().find(|have| have.key == entry.key) {
        Some(have) if have.merged => *have = entry,
        Some(have) => {
            let what = format!("is given twice; first on line {}", have.place.line());
            findings.error(Code::Yaml, entry.place, &entry.key, what, "keep one of them");
        }
        None => entries.push(entry),
    }
}

// === impl Entry ===

impl Entry {
    /// Creates an entry that stands in no file.
    pub(super) fn written(key: &str, value: Node) -> Self {
        Self { key: key.to_owned(), place: value.place, value, merged: false }
    }
}

// === impl Node ===

impl Node {
    /// Creates an empty mapping.
    pub(super) fn empty() -> Self {
        Self { place: Place::default(), value: Value::Map(Vec::new()) }
    }

    /// Wraps text as if it had been written without quotes.
    pub(super) fn plain(text: &str, place: Place) -> Self {
        Self { place, value: Value::Scalar { text: text.to_owned(), plain: true } }
    }

    /// Returns whether this is YAML's nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns the text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the entries of a mapping.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::List(_) | Value::Scalar { .. } => None,
        }
    }

    /// Returns the value under `key` of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// Names what this is, for people.
    pub(super) fn noun(&self) -> &'static str {
        match self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Counts the nodes below and including this one; the depth is bounded, so the recursion is.
    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.count()).sum::<usize>(),
        }
    }

    /// Finds the place of the deepest part of `path` (dots between keys) that is written in this document.
    pub(super) fn place_of(&self, path: &str) -> Place {
        let (mut node, mut place) = (self, self.place);
        for part in path.split('.') {
            let Some(entry) = node.entries().and_then(|entries| entries.iter().find(|entry| entry.key == part)) else {
                break;
            };
            (node, place) = (&entry.value, entry.place);
        }
        place
    }
}
