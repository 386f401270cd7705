//! Reads a mapping field by field. What nobody asked for is an unknown field, told with the nearest right name.

use std::{collections::BTreeMap, ops::RangeInclusive};

use berth_core::error::{Code, nearest};

use super::{
    finding::{Findings, Place},
    tree::{Entry, Node, Value},
};

/// Where a deployment's fields belong that people write beside it.
pub(super) const HOMES: &[(&str, &str)] = &[
    ("cpu", "resources"),
    ("memory", "resources"),
    ("disk", "resources"),
    ("gpu", "resources"),
    ("gpu_memory", "resources"),
    ("max_concurrent_requests_per_instance", "request_settings"),
    ("max_queue_wait_ms", "request_settings"),
    ("request_timeout_ms", "request_settings"),
    ("path", "model"),
    ("code", "code_configuration"),
    ("scoring_script", "code_configuration"),
    ("lost_after", "disconnect"),
    ("replace", "disconnect"),
];

/// A mapping that is being read.
pub(super) struct Fields<'a> {
    path: String,
    left: Vec<&'a Entry>,
    known: Vec<&'static str>,
}

/// One value and the path that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    pub(super) node: &'a Node,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Opens a mapping; anything else is noted and reads as an empty one.
    pub(super) fn open(field: &Field<'a>, findings: &mut Findings) -> Self {
        let left = match field.node.entries() {
            Some(entries) => entries.iter().collect(),
            None => {
                if !field.node.is_null() {
                    field.refuse(findings, format!("expected a mapping, found {}", field.node.noun()), "");
                }
                Vec::new()
            }
        };
        Self { path: field.path.clone(), left, known: Vec::new() }
    }

    /// Takes the value of `name`, if it is there and not null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let at = self.left.iter().position(|entry| entry.key == name)?;
        let entry = self.left.remove(at);
        let field = Field { path: join(&self.path, name), node: &entry.value };
        (!field.node.is_null()).then_some(field)
    }

    /// Takes fields that are read-only in Azure and mean nothing in a file.
    pub(super) fn skip(&mut self, names: &[&'static str], what: &str, findings: &mut Findings) {
        for name in names {
            if let Some(field) = self.take(name) {
                field.warn(findings, what, "");
            }
        }
    }

    /// Notes everything that was not taken.
    pub(super) fn finish(self, findings: &mut Findings) {
        for entry in self.left {
            let home = HOMES.iter().find(|(name, home)| entry.key == *name && self.known.contains(home));
            let near = || nearest(&entry.key, self.known.iter().copied().filter(|name| !name.starts_with('$')));
            let try_ = match home {
                Some((name, home)) => format!("write it below `{home}:`, `{home}: {{{name}: …}}`"),
                None => near().map(|name| format!("`{name}`")).unwrap_or_default(),
            };
            findings.error(Code::UnknownField, entry.place, &join(&self.path, &entry.key), "unknown field", try_);
        }
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    /// Wraps a whole document.
    pub(super) fn root(node: &'a Node) -> Self {
        Self { path: String::new(), node }
    }

    pub(super) fn place(&self) -> Place {
        self.node.place
    }

    /// Notes that the value is wrong.
    pub(super) fn refuse(&self, findings: &mut Findings, what: impl Into<String>, try_: impl Into<String>) {
        findings.error(Code::Invalid, self.place(), &self.path, what, try_);
    }

    /// Notes that the value is understood and not done.
    pub(super) fn warn(&self, findings: &mut Findings, what: impl Into<String>, try_: impl Into<String>) {
        findings.warn(self.place(), &self.path, what, try_);
    }

    /// Reads text; a number or a bool is text too.
    pub(super) fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        let text = self.node.text();
        if text.is_none() {
            self.refuse(findings, format!("expected text, found {}", self.node.noun()), "");
        }
        text
    }

    /// Reads a whole number.
    pub(super) fn number(&self, allowed: RangeInclusive<u64>, findings: &mut Findings) -> Option<u64> {
        let text = self.text(findings)?;
        let number = text.parse().ok().filter(|number| allowed.contains(number));
        if number.is_none() {
            let (low, high) = (allowed.start(), allowed.end());
            self.refuse(
                findings,
                format!("`{}` is not a whole number in range", clip(text)),
                format!("use {low} to {high}"),
            );
        }
        number
    }

    /// Reads a bool; quoted ones count, because Azure's own samples have them.
    pub(super) fn flag(&self, findings: &mut Findings) -> Option<bool> {
        let text = self.text(findings)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => {
                self.refuse(findings, format!("`{}` is neither true nor false", clip(text)), "use true or false");
                None
            }
        }
    }

    /// Reads one word of a list.
    pub(super) fn word(&self, words: &[&'static str], findings: &mut Findings) -> Option<&'static str> {
        let text = self.text(findings)?;
        let found = words.iter().copied().find(|word| word.eq_ignore_ascii_case(text));
        if found.is_none() {
            let try_ = match nearest(text, words.iter().copied()) {
                Some(near) => format!("`{near}`"),
                None => format!("one of {}", words.join(", ")),
            };
            self.refuse(findings, format!("`{}` is not known here", clip(text)), try_);
        }
        found
    }

    /// Reads a list of values.
    pub(super) fn items(&self, findings: &mut Findings) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(at, node)| Field { path: format!("{}[{at}]", self.path), node })
                .collect(),
            Value::Scalar { .. } | Value::Map(_) => {
                self.refuse(findings, format!("expected a list, found {}", self.node.noun()), "");
                Vec::new()
            }
        }
    }

    /// Reads a list of texts.
    pub(super) fn texts(&self, findings: &mut Findings) -> Vec<String> {
        let items = self.items(findings);
        items.iter().filter_map(|item| item.text(findings)).map(str::to_owned).collect()
    }

    /// Reads a mapping with free keys.
    pub(super) fn pairs(&self, findings: &mut Findings) -> Vec<(&'a str, Field<'a>)> {
        let Some(entries) = self.node.entries() else {
            self.refuse(findings, format!("expected a mapping, found {}", self.node.noun()), "");
            return Vec::new();
        };
        let field = |entry: &'a Entry| Field { path: join(&self.path, &entry.key), node: &entry.value };
        entries.iter().map(|entry| (entry.key.as_str(), field(entry))).collect()
    }

    /// Reads a mapping of texts.
    pub(super) fn text_map(&self, findings: &mut Findings) -> BTreeMap<String, String> {
        let pairs = self.pairs(findings);
        let mut map = BTreeMap::new();
        for (key, field) in pairs {
            let text = if field.node.is_null() { Some("") } else { field.text(findings) };
            if let Some(text) = text {
                map.insert(key.to_owned(), text.to_owned());
            }
        }
        map
    }
}

/// Joins a path and a key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Shortens text for a message.
pub(super) fn clip(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return text.replace('\n', " ");
    }
    let mut short: String = text.chars().take(SHOWN).collect();
    short.push('…');
    short.replace('\n', " ")
}
