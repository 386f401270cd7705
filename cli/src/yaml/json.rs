//! YAML as JSON: the way back from what `-o yaml` prints.

use berth_core::error::{Code, Error};
use serde_json::{Number, Value as Json};

use super::{
    finding::Findings,
    tree::{self, Node, Value},
};

/// Reads one document as a JSON value. What was written without quotes is a number, a truth value or nothing where it
/// looks like one, as `-o yaml` writes them.
pub(crate) fn json(text: &str) -> Result<Json, Error> {
    let mut findings = Findings::new("what was edited");
    let documents = tree::parse(text, &mut findings);
    findings.into_result()?;
    let document = match documents.as_slice() {
        [document] => document,
        [] => return Err(Error::new(Code::Invalid, "there is nothing in it")),
        _ => return Err(Error::new(Code::Invalid, "it holds more than one document")),
    };
    Ok(value(document))
}

/// The tree is of bounded depth, so the recursion is.
fn value(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { text, plain: false } => Json::String(text.clone()),
        Value::Scalar { text, plain: true } => plain(text),
        Value::List(items) => Json::Array(items.iter().map(value).collect()),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect(),
    }
}

fn plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" => return Json::Null,
        "true" => return Json::Bool(true),
        "false" => return Json::Bool(false),
        _ => {}
    }
    let number = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok();
    let number = number.or_else(|| text.parse().ok().and_then(Number::from_f64));
    // `inf` and `nan` are words here.
    match number.filter(|_| text.starts_with(|c: char| c.is_ascii_digit() || c == '-')) {
        Some(number) => Json::Number(number),
        None => Json::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value_of;

    use super::*;

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let value = value_of!({
            "name": "blue", "count": 3, "share": 0.5, "on": true, "none": null, "version": "1.10", "word": "yes",
            "list": [1, {"a": []}, "two words"], "empty": {}, "lines": "a\nb", "text": "inf",
        });
        let text = crate::output::as_yaml(&value).expect("has a JSON form");
        assert_eq!(json(&text), Ok(value));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for (text, code) in [("", Code::Invalid), ("a: [", Code::Yaml), ("a: 1\n---\nb: 2\n", Code::Invalid)] {
            assert_eq!(json(text).map_err(|error| error.code), Err(code), "{text:?}");
        }
    }
}
