//! JSON by path, and server-sent events of JSON.

use serde_json::Value;

use super::{
    difference::{Findings, Kind},
    path::{Place, Step},
};

/// Stands for how far off something is that is no number.
const WHOLLY: u64 = u64::MAX;

/// Keys of OpenAI's objects that are never the same twice, or name the model itself.
const OPENAI_OWN: &[&str] = &["id", "created", "model", "system_fingerprint"];

/// Compares two values, everything below them included.
pub(super) fn values<'a>(findings: &mut Findings<'_>, place: &mut Place<'a>, expected: &'a Value, got: &'a Value) {
    if findings.is_full() || findings.rules().ignores(place) {
        return;
    }
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            let keys: std::collections::BTreeSet<&'a String> = expected.keys().chain(got.keys()).collect();
            for key in keys {
                place.0.push(Step::Key(key));
                pair(findings, place, expected.get(key), got.get(key));
                place.0.pop();
            }
        }
        (Value::Array(expected), Value::Array(got)) => {
            for at in 0..expected.len().max(got.len()) {
                place.0.push(Step::At(at));
                pair(findings, place, expected.get(at), got.get(at));
                place.0.pop();
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (whole_a, whole_b) = (whole(a), whole(b));
            let (x, y) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let off = match (whole_a, whole_b) {
                // Whole numbers are labels and counts as often as measures: they are the same or they are not.
                (Some(a), Some(b)) if a == b => None,
                (Some(_), Some(_)) => Some(((y - x).abs() / x.abs().max(1.0) * 1e9) as u64),
                _ => findings.rules().off(x, y),
            };
            if let Some(off) = off {
                findings.note(Kind::Value, off, &*place, expected, got);
            }
        }
        (Value::Null, Value::Null) => {}
        (Value::Bool(a), Value::Bool(b)) if a == b => {}
        (Value::String(a), Value::String(b)) if a == b => {}
        (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => {
            findings.note(Kind::Value, WHOLLY, &*place, expected, got);
        }
        _ => findings.note(Kind::Form, WHOLLY, &*place, noun(expected), noun(got)),
    }
}

fn pair<'a>(findings: &mut Findings<'_>, place: &mut Place<'a>, expected: Option<&'a Value>, got: Option<&'a Value>) {
    if let (Some(expected), Some(got)) = (expected, got) {
        return values(findings, place, expected, got);
    }
    if !findings.rules().ignores(place) {
        findings.note(Kind::Form, WHOLLY, &*place, expected.map_or("nothing", noun), got.map_or("nothing", noun));
    }
}

/// Returns a number that is whole and exact.
fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Takes away what OpenAI's objects never have twice.
pub(super) fn strip_openai(value: &mut Value) {
    if let Value::Object(object) = value {
        OPENAI_OWN.iter().for_each(|key| {
            object.remove(*key);
        });
    }
}

/// Reads the events of a stream as one list: the JSON of each, or its text.
pub(super) fn events(text: &str) -> Value {
    let mut events = Vec::new();
    let mut data: Option<String> = None;
    for line in text.lines().chain([""]) {
        if let Some(more) = line.strip_prefix("data:") {
            let more = more.strip_prefix(' ').unwrap_or(more);
            match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(more);
                }
                None => data = Some(more.to_owned()),
            }
        } else if line.is_empty()
            && let Some(data) = data.take()
        {
            events.push(serde_json::from_str(&data).unwrap_or(Value::String(data)));
        }
    }
    Value::Array(events)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::MirrorRules,
        traffic::compare::difference::{Difference, Rules},
    };

    fn compare(expected: &Value, got: &Value, ignore: &[&str]) -> Option<Difference> {
        let ignore = ignore.iter().map(|path| (*path).to_owned()).collect();
        let rules = Rules::of(&MirrorRules { ignore, ..MirrorRules::default() });
        let mut findings = Findings::new(&rules);
        values(&mut findings, &mut Place::default(), expected, got);
        findings.finish()
    }

    #[test]
    fn values_are_compared_place_by_place() {
        let same = None::<(Kind, &str)>;
        for (expected, got, ignore, found, why) in [
            (json!({"a": 1, "b": [1.0]}), json!({"b": [1.0], "a": 1}), vec![], same, "the order of keys says nothing"),
            (json!([0.1]), json!([0.100_000_01]), vec![], same, "within the tolerance"),
            (json!([0.1]), json!([0.2]), vec![], Some((Kind::Value, "[0]")), "beyond it"),
            (json!({"n": 1}), json!({"n": 1.0}), vec![], same, "one is one"),
            (json!({"n": 1}), json!({"n": 2}), vec![], Some((Kind::Value, "n")), "whole numbers are exact"),
            (json!({"n": 10_000_000}), json!({"n": 10_000_001}), vec![], Some((Kind::Value, "n")), "however large"),
            (json!({"n": u64::MAX}), json!({"n": u64::MAX}), vec![], same, "the largest"),
            (json!({"a": "x"}), json!({"a": "y"}), vec![], Some((Kind::Value, "a")), "a text"),
            (json!({"a": "1"}), json!({"a": 1}), vec![], Some((Kind::Form, "a")), "another type"),
            (json!({"a": 1}), json!({}), vec![], Some((Kind::Form, "a")), "missing"),
            (json!({}), json!({"a": 1}), vec![], Some((Kind::Form, "a")), "too much"),
            (json!([1, 2]), json!([1]), vec![], Some((Kind::Form, "[1]")), "shorter"),
            (json!({"p": [{"ms": 1, "s": 2}]}), json!({"p": [{"ms": 9, "s": 2}]}), vec!["p[*].ms"], same, "ignored"),
            (json!({"p": {"ms": 1}}), json!({"p": {}}), vec!["p.ms"], same, "ignored where it is missing"),
            (json!([null, true]), json!([null, false]), vec![], Some((Kind::Value, "[1]")), "flags"),
        ] {
            let difference = compare(&expected, &got, &ignore);
            let told = difference.as_ref().map(|difference| (difference.kind, difference.place.as_str()));
            assert_eq!(told, found, "{why}");
        }
    }

    #[test]
    fn events_become_a_list() {
        let text = "event: x\ndata: {\"a\":1}\n\n: a comment\n\ndata: one\ndata: two\n\ndata: [DONE]\n";
        assert_eq!(events(text), json!([{"a": 1}, "one\ntwo", "[DONE]"]));
        assert_eq!(events(""), json!([]));
    }
}
