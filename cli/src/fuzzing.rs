//! What is promised of the files people bring, as one function over any bytes; see `berth_core::fuzzing`.

use std::path::Path;

use berth_client::Address;
use serde_json::json;

use crate::{args, config, contexts::Contexts, output::query::Query, verbs, yaml};

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

/// What people write in flags and in files of settings: read, or refused with words; an address is the same when it is written
/// out and read again, a time and a price are within their bounds, and a query says something or nothing of an answer.
pub fn flags(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    config::promise(text);
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse::<Address>().ok().as_ref(), Some(&address), "`{text}`");
    }
    if let Ok(span) = args::parse_span(text) {
        assert!(span.as_secs() <= 7 * 24 * 3_600, "longer than a week");
    }
    let shares = verbs::traffic::parse_flag(&[text.to_owned()]).ok().flatten().unwrap_or_default();
    let written: Vec<_> = shares.iter().map(|(name, share)| format!("{name}={share}")).collect();
    assert_eq!(verbs::traffic::parse_flag(&written).ok().flatten().unwrap_or_default(), shares, "`{text}`");
    if let Ok(query) = text.parse::<Query>() {
        let answer =
            json!([{"name": "a", "spec": {"instance_count": 2, "labels": {"x": null}}, "traffic": {"blue": 90}}]);
        let _ = query.pick(&answer);
    }
    if let Ok(contexts) = toml::from_str::<Contexts>(text) {
        let written = toml::to_string(&contexts).expect("it is written");
        assert_eq!(toml::from_str(&written).ok(), Some(contexts));
    }
    let _ = verbs::cost::parse_micro(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// What fuzzers and people have tried, and what it was about.
    #[test]
    fn inputs_that_once_mattered() {
        for text in [
            "https://[::1]:7400",
            "http://a:0",
            // A port that is none, and was taken for a part of the host.
            "a:upx",
            "a:74000",
            "a:7400/",
            "[node]\naccess_log = {a = 1}\n[nod]\n",
            "access_log = 1",
            "99999999999999999999h",
            "blue=90 green=10%",
            "blue=4294967296",
            "[].spec.instance_count | [0]",
            "sort_by(@, &name)[?traffic.blue > `1`]",
            "[::0]",
            "18446744073709551615.999999",
            "current = \"a\"\n[contexts.a]\napi = \"b\"\n",
        ] {
            super::flags(text.as_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn words_of_flags_are_read_or_refused(
            text in "(https?://|\\[(node|coordinator|contexts.a)\\]\n)?([a-z_]{1,9}|[0-9.]{0,12}|\\[\\]|@|&)( = |=|:|,|\\.| \\| |%)?([0-9]{0,20}|\"[a-z]{0,4}\"|`[0-9]`|[a-z]{0,3})(h|ms|GiB|/)?",
        ) {
            super::flags(text.as_bytes());
        }

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
