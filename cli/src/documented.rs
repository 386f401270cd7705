//! The blocks of the documentation that are no commands: what they show is held against what reads it.

use std::{fs, path::Path};

/// Lists the blocks of a kind, with the page and line of each.
pub(crate) fn blocks(kind: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = fs::read_dir(root.join("docs")).expect("a folder");
    let mut pages: Vec<_> = listed.map(|entry| entry.expect("an entry").path()).collect();
    pages.push(root.join("README.md"));
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    pages.sort();
    pages
        .iter()
        .flat_map(|page| of_page(&page.display().to_string(), &fs::read_to_string(page).expect("a page"), kind))
        .collect()
}

fn of_page(page: &str, text: &str, kind: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = None;
    for (at, line) in text.lines().enumerate() {
        match (open, line.strip_prefix("```")) {
            (None, Some(word)) => {
                open = Some(word == kind);
                if word == kind {
                    found.push((format!("{page}:{}", at + 1), String::new()));
                }
            }
            (Some(_), Some(_)) => open = None,
            (Some(true), None) => {
                if let Some((_, block)) = found.last_mut() {
                    block.push_str(&format!("{line}\n"));
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn blocks_are_told_apart() {
    let page = "a\n```yaml\nx: 1\ny: 2\n```\n```toml\nz = 1\n```\n```yaml\n```\n";
    let found = of_page("p", page, "yaml");
    assert_eq!(found, [("p:2".to_owned(), "x: 1\ny: 2\n".to_owned()), ("p:9".to_owned(), String::new())]);
}

#[test]
fn what_is_shown_as_json_is_json() {
    let found = blocks("json");
    assert!(!found.is_empty(), "no page shows JSON");
    for (page, text) in found {
        let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
        read.unwrap_or_else(|error| panic!("{page}: {error}\n{text}"));
    }
}
