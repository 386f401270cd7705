//! `--query`: JMESPath over an answer, as Azure's command line has it.

use std::{fmt, str::FromStr, sync::Arc};

use berth_core::error::{Code, Error};
use serde_json::{Map, Value};

/// An expression.
#[derive(Clone)]
pub(crate) struct Query(Arc<jmespath::Expression<'static>>);

// === impl Query ===

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expression = jmespath::compile(text).map_err(|error| {
            format!("`{text}` is no JMESPath expression at column {}: {}", error.column + 1, error.reason)
        })?;
        Ok(Self(Arc::new(expression)))
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({})", self.0.as_str())
    }
}

impl Query {
    /// Picks what the expression names, in the words of the answer or, where those say nothing, in Azure's.
    pub(crate) fn pick(&self, value: &Value) -> Result<Value, Error> {
        let found = self.search(value)?;
        if blanks(&found) == 0 && !is_empty(&found) {
            return Ok(found);
        }
        let by_azure = self.search(&as_azure_says(value))?;
        let says_more = (is_empty(&found) && !is_empty(&by_azure)) || blanks(&by_azure) < blanks(&found);
        Ok(if says_more { by_azure } else { found })
    }

    /// Says that the answer has nothing by that name.
    pub(super) fn found_nothing(&self) -> String {
        format!("the answer has nothing at `{}`: -o json without --query shows all of it", self.0.as_str())
    }

    fn search(&self, value: &Value) -> Result<Value, Error> {
        let failed = |error: &dyn fmt::Display| {
            Error::new(Code::Invalid, format!("--query `{}` cannot be applied", self.0.as_str())).why(error.to_string())
        };
        let found = self.0.search(value).map_err(|error| failed(&error.reason))?;
        serde_json::to_value(&*found).map_err(|error| failed(&error))
    }
}

fn is_empty(found: &Value) -> bool {
    found.as_array().is_some_and(Vec::is_empty)
}

/// Counts what an expression named and did not find: one of several words may be Azure's.
fn blanks(found: &Value) -> usize {
    match found {
        Value::Null => 1,
        Value::Array(list) => list.iter().map(blanks).sum(),
        Value::Object(fields) => fields.values().map(blanks).sum(),
        _ => 0,
    }
}

/// Adds to every object what Azure's scripts look for in it: the fields of its specification beside its own, and each name in
/// their spelling as well (`primaryKey`).
fn as_azure_says(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.iter().map(as_azure_says).collect()),
        Value::Object(fields) => {
            let mut said = Map::new();
            let lifted = fields.get("spec").and_then(Value::as_object).into_iter().flatten();
            for (name, value) in fields.iter().chain(lifted) {
                let value = as_azure_says(value);
                said.entry(camel_case(name)).or_insert_with(|| value.clone());
                said.entry(name.clone()).or_insert(value);
            }
            Value::Object(said)
        }
        other => other.clone(),
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |said, word| {
        let mut letters = word.chars();
        let head = letters.next().map(|letter| letter.to_ascii_uppercase());
        said + &head.into_iter().chain(letters).collect::<String>()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_pick_what_they_name() {
        let value = json!([{"node": "a", "state": "ready"}, {"node": "b", "state": "lost"}]);
        for (text, expected) in [
            ("[?state=='lost'].node", json!(["b"])),
            ("[0].node", json!("a")),
            ("length(@)", json!(2)),
            ("[].{name: node}", json!([{"name": "a"}, {"name": "b"}])),
            ("nothing", json!(null)),
        ] {
            let picked = text.parse::<Query>().and_then(|query| query.pick(&value).map_err(|error| error.what));
            assert_eq!(picked, Ok(expected), "{text}");
        }
    }

    #[test]
    fn azure_s_words_are_found_where_ours_say_nothing() {
        let key = json!({"primary_key": "p", "secondary_key": "s"});
        let shown =
            json!({"name": "a", "spec": {"name": "a", "auth_mode": "key", "instance_count": 2}, "state": "ready"});
        let listed = json!([shown, {"name": "b", "spec": {"auth_mode": "aad_token"}}]);
        for (value, text, expected) in [
            (&key, "primaryKey", json!("p")),
            (&key, "primary_key", json!("p")),
            (&key, "[primaryKey, secondaryKey]", json!(["p", "s"])),
            (&shown, "auth_mode", json!("key")),
            (&shown, "instance_count", json!(2)),
            (&shown, "state", json!("ready")),
            (&shown, "{is: state, of: instance_count}", json!({"is": "ready", "of": 2})),
            (&listed, "[].[name, auth_mode]", json!([["a", "key"], ["b", "aad_token"]])),
            (&listed, "[?auth_mode=='key'].name", json!(["a"])),
            (&listed, "[?name=='nobody']", json!([])),
            (&shown, "provisioningState", json!(null)),
        ] {
            let picked = text.parse::<Query>().and_then(|query| query.pick(value).map_err(|error| error.what));
            assert_eq!(picked, Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_slip_is_told_with_its_place() {
        let error = "[?state==".parse::<Query>().expect_err("no expression");
        assert!(error.contains("column"), "{error}");
    }
}
