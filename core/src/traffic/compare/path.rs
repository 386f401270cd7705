//! Places in an answer: where a walk is, and patterns of places that do not count.

use std::fmt;

/// Longest text of a pattern.
pub const PATH_BYTES_MAX: usize = 256;

/// One step into a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(&'a str),
    At(usize),
}

/// Where a walk is.
#[derive(Clone, Debug, Default)]
pub(super) struct Place<'a>(pub(super) Vec<Step<'a>>);

/// A set of places, with everything below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Key(String),
    At(usize),
    /// Any key or position.
    Any,
}

// === impl Pattern ===

impl Pattern {
    /// Reads `a.b`, `a[0]`, `a[*].b`, `a.*`, with `$.` before it or not, and `["a.b"]` for a key with a dot.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let mut parts = Vec::new();
        let mut expects_key = true;
        while !rest.is_empty() {
            let (part, after) = if let Some(quoted) = rest.strip_prefix("[\"") {
                let (key, after) = quoted.split_once("\"]")?;
                (Part::Key(key.to_owned()), after)
            } else if let Some(index) = rest.strip_prefix('[') {
                let (index, after) = index.split_once(']')?;
                (if index == "*" { Part::Any } else { Part::At(index.parse().ok()?) }, after)
            } else if expects_key {
                let (key, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                (
                    if key == "*" { Part::Any } else { Part::Key(Some(key).filter(|key| !key.is_empty())?.to_owned()) },
                    after,
                )
            } else {
                return None;
            };
            parts.push(part);
            expects_key = after.starts_with('.');
            rest = after.strip_prefix('.').unwrap_or(after);
            if expects_key && rest.is_empty() {
                return None;
            }
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// Returns whether a place is one of these or below one.
    pub(super) fn covers(&self, place: &Place<'_>) -> bool {
        let fits = |(part, step): (&Part, &Step<'_>)| match (part, step) {
            (Part::Any, _) => true,
            (Part::Key(key), Step::Key(at)) => key == at,
            (Part::At(index), Step::At(at)) => index == at,
            (Part::Key(_), Step::At(_)) | (Part::At(_), Step::Key(_)) => false,
        };
        self.0.len() <= place.0.len() && self.0.iter().zip(&place.0).all(fits)
    }
}

// === impl Place ===

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.contains(['.', '[', '"']) => write!(f, "[\"{key}\"]")?,
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::At(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Step::*, *};

    #[test]
    fn patterns_cover_what_they_name_and_what_is_below() {
        for (pattern, place, covered, why) in [
            ("id", vec![Key("id")], true, "a key"),
            ("id", vec![Key("identity")], false, "another key"),
            ("usage", vec![Key("usage"), Key("tokens")], true, "below it"),
            ("usage.tokens", vec![Key("usage")], false, "above it"),
            ("$.usage.*", vec![Key("usage"), Key("tokens")], true, "any key"),
            ("p[*].ms", vec![Key("p"), At(7), Key("ms")], true, "any position"),
            ("p[1].ms", vec![Key("p"), At(7), Key("ms")], false, "another position"),
            ("[0]", vec![At(0)], true, "a list at the top"),
            ("p[0][1]", vec![Key("p"), At(0), At(1)], true, "lists in lists"),
            ("[\"a.b\"].c", vec![Key("a.b"), Key("c")], true, "a key with a dot"),
            ("p[0]", vec![Key("p"), Key("0")], false, "a key is no position"),
        ] {
            let pattern = Pattern::parse(pattern).expect("a pattern");
            assert_eq!(pattern.covers(&Place(place)), covered, "{why}");
        }
        for text in ["", "$", ".", "a.", "a..b", "a[", "a[x]", "a[-1]", "a]", "[0]a", "[\"a]"] {
            assert_eq!(Pattern::parse(text).is_some(), text == "a]", "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(keys in prop::collection::vec("[a-z.]{1,4}", 1..4), index in 0..9_usize) {
            let mut place = Place(keys.iter().map(|key| Key(key)).collect());
            place.0.push(At(index));
            let pattern = Pattern::parse(&place.to_string()).expect("a pattern");
            prop_assert!(pattern.covers(&place), "{place}");
        }

        #[test]
        fn garbage_is_survived(text in ".{0,40}") {
            let _ = Pattern::parse(&text);
        }
    }
}
