//! What is promised of the files people bring, as one function over any bytes; see `berth_core::fuzzing`.

use std::path::Path;

use crate::yaml;

/// A YAML file and settings laid over it, divided by a line of `===`: read or refused, and refused with a place.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (file, settings) = text.split_once("\n===\n").unwrap_or((text, ""));
    let settings: Vec<_> = settings.lines().filter_map(|line| yaml::Setting::parse(line).ok()).take(4).collect();
    for kind in [None, Some(yaml::Kind::Endpoint), Some(yaml::Kind::Deployment)] {
        if let Err(error) = yaml::parse(file, "x.yml", Path::new("/nonexistent"), kind, &settings) {
            assert!(!error.problems.is_empty() || !error.what.is_empty(), "refused without a word");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// Lines that look like the real thing, with the signs of YAML in wrong places.
        #[test]
        fn files_are_read_or_refused(
            lines in prop::collection::vec(("(  ){0,2}", "(name|hedging|traffic|command|resources|<<|- a|===|[&*]x)", "(: |:\n|\n)", "([{}\\[\\]&*!|>'\",]|[a-z0-9.]{0,6}){0,4}"), 0..10)
        ) {
            let text: String =
                lines.iter().map(|(pad, key, sep, value)| format!("{pad}{key}{sep}{value}\n")).collect();
            super::yaml(text.as_bytes());
        }
    }
}
