//! What must never rot: crate edges, the pure crate's dependencies, a head for every file, a page for every error code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use berth_core::error::Code;

/// The edges between our crates. Any other is a design change and belongs into this table with a decision.
const EDGES: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("proto", &["core"]),
    ("client", &["core", "proto"]),
    ("coordinator", &["core", "proto"]),
    ("node", &["core", "proto"]),
    ("node/nvml-stub", &[]),
    ("sim", &["core"]),
    ("cli", &["client", "coordinator", "core", "node", "proto", "sim"]),
    ("chaos-tests", &["cli", "client", "core", "proto"]),
];

/// All that the pure crate may name.
const CORE_MAY_USE: &[&str] =
    &["hex", "indexmap", "rand_chacha", "serde", "serde_json", "sha2", "strsim", "thiserror", "tracing"];

/// Libraries that are wrapped, and where.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("use sled", &["coordinator/src/store/sled.rs"]),
    ("::sled::", &["coordinator/src/store/sled.rs"]),
    ("sled::Db", &["coordinator/src/store/sled.rs"]),
    ("sled::Tree", &["coordinator/src/store/sled.rs"]),
    ("sled::Config", &["coordinator/src/store/sled.rs"]),
    ("sled::Error", &["coordinator/src/store/sled.rs"]),
    ("openraft::", &["coordinator/src/raft/", "coordinator/src/store/", "coordinator/tests/"]),
    ("ractor::", &["coordinator/src/", "node/src/"]),
];

/// Marks of a part that is not finished. Split, so that this file does not find itself.
const UNFINISHED: &[&str] =
    &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("FIX", "ME")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the workspace").to_owned()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                walk(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn sources() -> BTreeMap<String, String> {
    let root = root();
    let mut found = Vec::new();
    EDGES.iter().for_each(|(krate, _)| walk(&root.join(krate), &mut found));
    let relative = |path: &Path| path.strip_prefix(&root).expect("below the root").display().to_string();
    found.into_iter().map(|path| (relative(&path), fs::read_to_string(&path).expect("UTF-8"))).collect()
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn manifest(krate: &str) -> toml::Table {
    let path = root().join(krate).join("Cargo.toml");
    fs::read_to_string(path).expect("a manifest").parse().expect("valid TOML")
}

fn keys(table: &toml::Table, section: &str) -> BTreeSet<String> {
    table.get(section).and_then(toml::Value::as_table).map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

fn names_word(text: &str, word: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + word.len()..].chars().next()))
}

#[test]
fn crates_depend_only_along_the_edges() {
    let members = manifest("")["workspace"]["members"].as_array().expect("members").len();
    assert_eq!(members, EDGES.len(), "a new crate needs its edges written down");
    for (krate, allowed) in EDGES {
        let table = manifest(krate);
        let ours: BTreeSet<String> = ["dependencies", "build-dependencies", "dev-dependencies"]
            .iter()
            .flat_map(|section| keys(&table, section))
            .filter_map(|name| name.strip_prefix("berth-").map(str::to_owned))
            .collect();
        let extra: Vec<_> = ours.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(extra.is_empty(), "{krate} must not depend on {extra:?}");
    }
}

#[test]
fn the_pure_crate_stays_pure() {
    let table = manifest("core");
    let extra: Vec<_> =
        keys(&table, "dependencies").into_iter().filter(|name| !CORE_MAY_USE.contains(&name.as_str())).collect();
    assert!(extra.is_empty(), "core must not depend on {extra:?}");
    assert!(!table.contains_key("build-dependencies"), "core needs no build script");
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("core/src/")) {
        for word in ["async fn", "std::fs", "std::net", "std::thread", "HashMap", "f32", "f64"] {
            // What models answer is numbers with a point, and nothing of it is stored.
            if matches!(word, "f32" | "f64") && path.starts_with("core/src/traffic/compare/") {
                continue;
            }
            let hit = code_lines(text).find(|line| names_word(line, word));
            assert!(hit.is_none(), "{path} names `{word}`: {}", hit.unwrap_or_default());
        }
    }
}

#[test]
fn every_file_says_why_it_exists() {
    let bare: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(bare.is_empty(), "these files do not begin with `//!`: {bare:?}");
}

#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in sources() {
        for mark in UNFINISHED {
            assert!(!text.contains(mark), "{path} holds `{mark}`");
        }
    }
}

#[test]
fn libraries_are_named_where_they_are_wrapped() {
    let ours = sources();
    for (path, text) in ours.iter().filter(|(path, _)| *path != "core/tests/tidy.rs") {
        for (library, places) in ONLY_IN {
            let at_start =
                |line: &str, at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let named = code_lines(text).any(|line| line.match_indices(library).any(|(at, _)| at_start(line, at)));
            assert!(!named || places.iter().any(|place| path.starts_with(place)), "{path} names `{library}`");
        }
    }
}

#[test]
fn every_error_code_has_a_page() {
    let folder = root().join("docs/errors");
    let pages: BTreeSet<_> = fs::read_dir(folder)
        .expect("docs/errors")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".md").map(str::to_owned))
        .collect();
    let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.word().to_owned()).collect();
    assert_eq!(pages, codes);
}

#[test]
fn decisions_are_numbered_once() {
    let mut numbers = BTreeMap::new();
    for entry in fs::read_dir(root().join("docs/decisions")).expect("docs/decisions").flatten() {
        let name = entry.file_name().into_string().expect("a UTF-8 name");
        let number = name.split('-').next().unwrap_or_default().to_owned();
        assert!(number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()), "{name} has no number");
        if let Some(other) = numbers.insert(number, name.clone()) {
            panic!("{name} and {other} share a number");
        }
    }
}

/// CI builds no fuzzer, so nothing else would notice a target whose promise has another name by now, or that nobody keeps.
#[test]
fn every_fuzz_target_keeps_a_promise_that_tests_keep_too() {
    let folder = root().join("fuzz");
    let manifest: toml::Table =
        fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest").parse().expect("TOML");
    let bins = manifest["bin"].as_array().expect("targets").iter();
    let built: BTreeSet<_> = bins.map(|bin| bin["name"].as_str().expect("a name").to_owned()).collect();
    let told = fs::read_to_string(root().join("docs/fuzzing.md")).expect("a page");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder.join("fuzz_targets")).expect("targets") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a target");
        let called = text.split_once("berth_").and_then(|(_, call)| call.split_once("(bytes)")).expect("one call").0;
        let (krate, function) = called.split_once("::fuzzing::").expect("a promise");
        assert_eq!(function, name, "a target is named by its promise");
        let source = root().join(krate).join("src/fuzzing.rs");
        let promises = fs::read_to_string(&source).expect("the promises of a crate");
        let (kept, tests) = promises.split_once("#[cfg(test)]").expect("tests beside the promises");
        assert!(kept.contains(&format!("pub fn {name}(bytes: &[u8])")), "{} promises no `{name}`", source.display());
        assert!(tests.contains(&format!("{name}(")), "no test of {} keeps `{name}`", source.display());
        assert!(told.contains(&format!("| `{name}` |")), "docs/fuzzing.md does not tell of `{name}`");
        found.insert(name);
    }
    assert_eq!(found, built, "fuzz/Cargo.toml and fuzz/fuzz_targets differ");
}

#[test]
fn every_fault_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/faults.md")).expect("the page of faults");
    let mut named = 0;
    for proof in page.split('`').skip(1).step_by(2).filter(|text| text.contains('/')) {
        let (file, test) = proof.split_once(": ").unwrap_or((proof, ""));
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(test.is_empty() || text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        named += 1;
    }
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.contains("proved by")) {
        assert!(row.contains('`'), "nothing proves this row: {row}");
    }
    assert!(named >= 30, "the page lists them: {named}");
}
