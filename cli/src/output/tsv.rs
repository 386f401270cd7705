//! Tab-separated values, for the shell: a line per item, no headings, Azure's rules.

use serde_json::Value;

/// Writes a value: a list as a line per item, anything else as one line.
pub(super) fn render(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(line).collect(),
        other => vec![line(other)],
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("\t"),
        Value::Object(fields) => fields.values().map(cell).collect::<Vec<_>>().join("\t"),
        other => cell(other),
    }
}

/// A tab or a line break inside a text would make another cell or line of it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(['\t', '\n', '\r'], " "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_lines_and_fields_are_cells() {
        for (value, lines) in [
            (json!("ready"), &["ready"][..]),
            (json!(["a", "b"]), &["a", "b"]),
            (json!([{"a": 1, "b": null, "c": "x\ty"}, {"a": 2, "b": [1], "c": ""}]), &["1\t\tx y", "2\t[1]\t"]),
            (json!({"a": true}), &["true"]),
            (json!([]), &[]),
        ] {
            assert_eq!(render(&value), lines, "{value}");
        }
    }
}
