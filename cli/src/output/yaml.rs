//! JSON values as YAML: block style, and texts quoted whenever plain ones could be read as something else.

use serde_json::Value;

/// Writes a value as a document.
pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, 0, &mut out);
    out
}

/// The messages of the API are a few levels deep, so the recursion is.
fn write_value(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                write_nested(item, indent, out);
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(&text(key));
                out.push(':');
                write_nested(field, indent, out);
            }
        }
        Value::String(string) => {
            out.push_str(&text(string));
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

fn write_nested(value: &Value, indent: usize, out: &mut String) {
    let is_block = match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    };
    out.push(if is_block { '\n' } else { ' ' });
    write_value(value, indent + 2, out);
}

fn text(string: &str) -> String {
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic())
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&string.to_ascii_lowercase().as_str());
    if plain { string.to_owned() } else { Value::from(string).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let value =
            json!([{"name": "blue", "tags": {"a b": "yes", "v": "1.0"}, "none": null, "list": [1, [2]], "empty": []}]);
        let expected = "\
-
  empty: []
  list:
    - 1
    -
      - 2
  name: blue
  none: null
  tags:
    \"a b\": \"yes\"
    v: \"1.0\"
";
        assert_eq!(render(&value), expected);
    }
}
