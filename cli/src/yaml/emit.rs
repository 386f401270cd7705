//! Writes a tree back as YAML text, for the one part of a document that travels as text: an inline conda file.

use super::tree::{Node, Value};

/// Writes a document in block style.
pub(super) fn document(node: &Node) -> String {
    let mut out = String::new();
    write_node(node, 0, &mut out);
    out
}

/// The depth of a tree is bounded where it is built, so the recursion is.
fn write_node(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Scalar { .. } => {
            write_scalar(node, out);
            out.push('\n');
        }
        Value::List(items) if items.is_empty() => out.push_str("[]\n"),
        Value::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        Value::List(items) => {
            for item in items {
                pad(indent, out);
                out.push('-');
                write_value(item, indent + 2, out);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                pad(indent, out);
                write_text(&entry.key, true, out);
                out.push(':');
                write_value(&entry.value, indent + 2, out);
            }
        }
    }
}

fn write_value(node: &Node, indent: usize, out: &mut String) {
    let is_block = match &node.value {
        Value::Scalar { .. } => false,
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
    };
    out.push(if is_block { '\n' } else { ' ' });
    write_node(node, indent, out);
}

fn write_scalar(node: &Node, out: &mut String) {
    if let Value::Scalar { text, plain } = &node.value {
        write_text(text, *plain, out);
    }
}

/// Writes text plain where it was plain and stays what it is, else in double quotes, whose escapes JSON shares.
fn write_text(text: &str, plain: bool, out: &mut String) {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || " _-./=<>~!+*[]()@;,".contains(c);
    let first_is_safe = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let stays = plain && first_is_safe && text.chars().all(is_safe) && !text.ends_with(' ');
    if stays {
        out.push_str(text);
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}
