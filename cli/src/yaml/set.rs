//! `--set a.b=c`: values from the command line laid over a document, as Azure's CLI has it.

use berth_core::error::{Code, Error};

use super::{
    finding::Place,
    tree::{Entry, Node, Value},
};

/// Longest path a setting may have; Azure's deepest field is five keys down.
const PARTS_MAX: usize = 16;

/// One `--set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    path: Vec<String>,
    value: String,
}

// === impl Setting ===

impl Setting {
    /// Sets `path` to `value`.
    pub(crate) fn new(path: &str, value: &str) -> Self {
        Self { path: path.split('.').map(str::to_owned).collect(), value: value.to_owned() }
    }

    /// Reads `a.b=c`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |what: String| {
            Error::new(Code::Invalid, what).try_("write --set FIELD=VALUE, such as --set instance_count=2")
        };
        let (path, value) = text.split_once('=').ok_or_else(|| refuse(format!("`--set {text}` has no equals sign")))?;
        let setting = Self::new(path.trim(), value);
        if setting.path.iter().any(String::is_empty) || setting.path.len() > PARTS_MAX {
            return Err(refuse(format!("`{path}` is not a field path")));
        }
        Ok(setting)
    }

    /// Returns the field of the document that it is about.
    pub(super) fn first(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// Returns the whole path.
    pub(super) fn field(&self) -> String {
        self.path.join(".")
    }

    /// Lays this over `document`.
    pub(super) fn apply(&self, document: &mut Node) {
        let mut node = document;
        for part in &self.path {
            if node.entries().is_none() {
                node.value = Value::Map(Vec::new());
            }
            let Value::Map(entries) = &mut node.value else { return };
            let at = entries.iter().position(|entry| entry.key == *part).unwrap_or_else(|| {
                entries.push(Entry::written(part, Node::plain("", Place::default())));
                entries.len() - 1
            });
            node = &mut entries[at].value;
        }
        *node = Node::plain(&self.value, Place::default());
    }
}
