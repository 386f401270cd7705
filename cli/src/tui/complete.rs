//! What `tab` adds to what is typed after `:`: the name of a screen, and then of what it is about.

use super::{
    board::Board,
    view::{ALIASES, PAGE_WORDS, PageKind},
};

/// Completes what is typed; nothing when nothing begins like it.
pub(crate) fn complete(text: &str, board: &Board) -> Option<String> {
    let text = text.trim_start();
    let Some((head, begun)) = text.rsplit_once(char::is_whitespace) else {
        return name(&text.to_ascii_lowercase());
    };
    let words: Vec<_> = head.split_whitespace().collect();
    let mut names = about(&words, board).into_iter();
    let found = names.find(|name| name.starts_with(begun) && name != begun)?;
    Some(format!("{} {found}", words.join(" ")))
}

/// Completes the name of a screen, in the order of the list; one that wants to know of what ends in a space.
fn name(begun: &str) -> Option<String> {
    if begun.is_empty() {
        return None;
    }
    let screens = ALIASES.iter().flat_map(|alias| alias.names).map(|name| (*name).to_owned());
    let pages = PAGE_WORDS.iter().flat_map(|(names, ..)| *names).map(|name| format!("{name} "));
    screens.chain(pages).find(|name| name.starts_with(begun))
}

/// Lists what a screen may be about, in order.
fn about(words: &[&str], board: &Board) -> Vec<String> {
    let endpoints = || board.endpoints.iter().map(|it| it.name.clone());
    let deployments = || board.deployments.iter().map(|it| format!("{}/{}", it.endpoint, it.name));
    let nodes = || board.nodes.iter().map(|it| it.node.clone());
    let page = |name: &str| PAGE_WORDS.iter().find(|(names, ..)| names.contains(&name)).map(|(_, kind, _)| *kind);
    match words {
        [name, of] => match page(name) {
            Some(PageKind::Describe | PageKind::Yaml) if *of == "node" => nodes().collect(),
            _ => Vec::new(),
        },
        ["deployments" | "deployment" | "dep"] => endpoints().collect(),
        ["replicas" | "replica" | "rep"] => endpoints().chain(deployments()).collect(),
        [name] => match page(name) {
            Some(PageKind::Describe | PageKind::Yaml) => {
                endpoints().chain(deployments()).chain(["node ".to_owned()]).collect()
            }
            Some(PageKind::Logs | PageKind::PreviousLogs | PageKind::PrepareLogs) => deployments().collect(),
            Some(PageKind::WhatIf) => nodes().collect(),
            Some(PageKind::Mirror) => endpoints().collect(),
            Some(PageKind::Request) | None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_client::api::{Deployment, Endpoint, Node};

    use super::*;

    #[test]
    fn a_word_is_completed_and_then_what_it_is_about() {
        let mut board = Board::default();
        let endpoint = |name: &str| Arc::new(Endpoint { name: name.into(), ..Endpoint::default() });
        let deployment =
            |name: &str| Arc::new(Deployment { endpoint: "fraud".into(), name: name.into(), ..Deployment::default() });
        board.endpoints = vec![endpoint("digits"), endpoint("fraud")];
        board.deployments = vec![deployment("blue"), deployment("green")];
        board.nodes = vec![Arc::new(Node { node: "node-1".into(), ..Node::default() })];
        for (typed, whole) in [
            ("de", Some("deployments")),
            ("e", Some("endpoints")),
            ("ev", Some("events")),
            ("NOD", Some("nodes")),
            ("lo", Some("logs ")),
            ("zz", None),
            ("", None),
            ("dep f", Some("dep fraud")),
            ("dep ", Some("dep digits")),
            ("rep fraud/g", Some("rep fraud/green")),
            ("logs ", Some("logs fraud/blue")),
            ("logs fraud/blue", None),
            ("describe no", Some("describe node ")),
            ("describe node ", Some("describe node node-1")),
            ("what-if n", Some("what-if node-1")),
            ("mirror d", Some("mirror digits")),
            ("request 1", None),
            ("nodes x", None),
            ("a b c d", None),
        ] {
            assert_eq!(complete(typed, &board).as_deref(), whole, "{typed}");
        }
    }
}
