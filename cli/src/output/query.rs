//! `--query`: JMESPath over an answer, as Azure's command line has it.

use std::{fmt, str::FromStr, sync::Arc};

use berth_core::error::{Code, Error};
use serde_json::Value;

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
    /// Picks what the expression names.
    pub(super) fn pick(&self, value: &Value) -> Result<Value, Error> {
        let failed = |error: &dyn fmt::Display| {
            Error::new(Code::Invalid, format!("--query `{}` cannot be applied", self.0.as_str())).why(error.to_string())
        };
        let found = self.0.search(value).map_err(|error| failed(&error.reason))?;
        serde_json::to_value(&*found).map_err(|error| failed(&error))
    }
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
    fn a_slip_is_told_with_its_place() {
        let error = "[?state==".parse::<Query>().expect_err("no expression");
        assert!(error.contains("column"), "{error}");
    }
}
