//! Label rules: what a deployment wants a label of its nodes to say.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// What a label has to say. No values stand for any: a label that is there, or one that is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelRule {
    /// Whether it must say none of the values. A node without the label says none of them.
    pub not: bool,
    /// The values; any when there are none.
    pub values: BTreeSet<String>,
}

// === impl LabelRule ===

impl LabelRule {
    /// Wants one of these values.
    pub fn one_of(values: impl IntoIterator<Item = String>) -> Self {
        Self { not: false, values: values.into_iter().collect() }
    }

    /// Wants none of these values.
    pub fn none_of(values: impl IntoIterator<Item = String>) -> Self {
        Self { not: true, values: values.into_iter().collect() }
    }

    /// Wants the label to be there, or not to be.
    pub fn exists(exists: bool) -> Self {
        Self { not: !exists, values: BTreeSet::new() }
    }

    /// Returns whether a node with this value of the label will do.
    pub fn allows(&self, value: Option<&str>) -> bool {
        value.is_some_and(|value| self.values.is_empty() || self.values.contains(value)) != self.not
    }

    /// Returns a value of the label that will do; none where a node without the label does.
    pub fn example(&self) -> Option<&str> {
        if self.not { None } else { Some(self.values.first().map_or("any", String::as_str)) }
    }

    /// Writes the rule about a label: `zone=a`, `zone in (a, b)`, `zone!=a`, `a zone`, `no zone`.
    pub fn about(&self, name: &str) -> impl fmt::Display {
        let values: Vec<_> = self.values.iter().map(String::as_str).collect();
        match (&values[..], self.not) {
            ([], false) => format!("a {name}"),
            ([], true) => format!("no {name}"),
            ([value], false) => format!("{name}={value}"),
            ([value], true) => format!("{name}!={value}"),
            (values, false) => format!("{name} in ({})", values.join(", ")),
            (values, true) => format!("{name} not in ({})", values.join(", ")),
        }
    }
}

impl From<&str> for LabelRule {
    fn from(value: &str) -> Self {
        Self::one_of([value.to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_rule_is_told_and_kept() {
        for (rule, told, allows) in [
            (LabelRule::from("a"), "zone=a", [true, false, false]),
            (LabelRule::one_of(words(&["b", "a"])), "zone in (a, b)", [true, true, false]),
            (LabelRule::none_of(words(&["a"])), "zone!=a", [false, true, true]),
            (LabelRule::none_of(words(&["a", "c"])), "zone not in (a, c)", [false, true, true]),
            (LabelRule::exists(true), "a zone", [true, true, false]),
            (LabelRule::exists(false), "no zone", [false, false, true]),
        ] {
            assert_eq!(rule.about("zone").to_string(), told);
            assert_eq!([Some("a"), Some("b"), None].map(|value| rule.allows(value)), allows, "{told}");
            assert!(rule.allows(rule.example()), "{told}: what is advised will do");
        }
    }
}
