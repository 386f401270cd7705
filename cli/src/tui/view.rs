//! Where one is: the screens, their names, and what a row is about.

use std::fmt;

/// A screen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    /// Endpoints, nodes and events at a glance.
    Dashboard,
    /// One line of history per endpoint.
    Pulses,
    Endpoints,
    /// The deployments of an endpoint; of all when empty.
    Deployments {
        endpoint: String,
    },
    /// The replicas of a deployment, of an endpoint, or on a node; what is empty does not narrow.
    Replicas {
        endpoint: String,
        deployment: String,
        node: String,
    },
    Nodes,
    /// The members that agree on the state.
    Coordinators,
    /// The devices of every node.
    Gpus,
    /// The same devices as graphs over time.
    GpuGraphs,
    /// What moves from one generation to the next, and what waits.
    Rollouts,
    /// The places held in reserve.
    Slots,
    Events,
    /// Endpoint → deployment → replica → device.
    Tree,
    /// Every name that `:` takes.
    Aliases,
    Help,
    /// A text about one thing.
    Page(Page),
}

/// What a text is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Page {
    pub(crate) kind: PageKind,
    pub(crate) of: Subject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PageKind {
    /// How it stands and why.
    Describe,
    Yaml,
    /// What its process wrote.
    Logs,
    /// What the process that ended last wrote.
    PreviousLogs,
    /// What preparing it wrote: the build of its environment.
    PrepareLogs,
    /// What would happen without it.
    WhatIf,
    /// What became of copies.
    Mirror,
    /// What became of a request.
    Request,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Endpoint(String),
    Deployment {
        endpoint: String,
        name: String,
    },
    Replica {
        id: String,
        endpoint: String,
        deployment: String,
    },
    Node(String),
    Coordinator(String),
    Device {
        node: String,
        uuid: String,
    },
    Slot(String),
    /// A request, by its id.
    Request(String),
    Event(u64),
    /// A line that leads nowhere.
    Line(usize),
}

/// A name that `:` takes, and the screen it opens.
pub(crate) struct Alias {
    pub(crate) names: &'static [&'static str],
    pub(crate) what: &'static str,
    view: fn() -> Option<View>,
}

/// Every name that `:` takes; the first of each is the one shown.
pub(crate) const ALIASES: &[Alias] = &[
    Alias { names: &["dashboard", "dash"], what: "everything at a glance", view: || Some(View::Dashboard) },
    Alias { names: &["endpoints", "endpoint", "ep"], what: "endpoints", view: || Some(View::Endpoints) },
    Alias {
        names: &["deployments", "deployment", "dep"],
        what: "deployments of every endpoint",
        view: || Some(View::Deployments { endpoint: String::new() }),
    },
    Alias { names: &["replicas", "replica", "rep"], what: "replicas everywhere", view: || Some(View::all_replicas()) },
    Alias { names: &["nodes", "node", "no"], what: "nodes", view: || Some(View::Nodes) },
    Alias { names: &["coordinators", "raft", "co"], what: "who agrees, who leads", view: || Some(View::Coordinators) },
    Alias {
        names: &["rollouts", "rollout", "ro"],
        what: "what moves from one generation to the next",
        view: || Some(View::Rollouts),
    },
    Alias { names: &["slots", "reserve"], what: "places held in reserve", view: || Some(View::Slots) },
    Alias { names: &["gpus", "gpu", "devices"], what: "devices of every node", view: || Some(View::Gpus) },
    Alias { names: &["graphs", "gg"], what: "the same devices over time", view: || Some(View::GpuGraphs) },
    Alias { names: &["events", "event", "ev"], what: "what happened", view: || Some(View::Events) },
    Alias {
        names: &["tree", "xray", "x"],
        what: "endpoint → deployment → replica → device",
        view: || Some(View::Tree),
    },
    Alias { names: &["pulses", "pulse"], what: "load of every endpoint over time", view: || Some(View::Pulses) },
    Alias { names: &["aliases", "alias"], what: "this list", view: || Some(View::Aliases) },
    Alias { names: &["help", "h"], what: "the keys", view: || Some(View::Help) },
    Alias { names: &["quit", "q"], what: "leave", view: || None },
];

/// What other systems call these things. They open the same screens and are not shown beside our own words.
const HABITS: &[(&[&str], &str)] = &[
    (&["services", "service", "svc"], "endpoints"),
    (&["deploy"], "deployments"),
    (&["pods", "pod", "po"], "replicas"),
];

/// The words that open a page, and what they are to be about.
pub(crate) const PAGE_WORDS: &[(&[&str], PageKind, &str)] = &[
    (&["describe", "d"], PageKind::Describe, "ENDPOINT, ENDPOINT/DEPLOYMENT, node NODE, replica ID or event NUMBER"),
    (&["yaml"], PageKind::Yaml, "ENDPOINT, ENDPOINT/DEPLOYMENT, node NODE, replica ID or event NUMBER"),
    (&["logs", "log"], PageKind::Logs, "ENDPOINT/DEPLOYMENT"),
    (&["previous"], PageKind::PreviousLogs, "ENDPOINT/DEPLOYMENT"),
    (&["build"], PageKind::PrepareLogs, "ENDPOINT/DEPLOYMENT"),
    (&["what-if", "without"], PageKind::WhatIf, "NODE"),
    (&["mirror"], PageKind::Mirror, "ENDPOINT"),
    (&["request", "req"], PageKind::Request, "ID"),
];

/// What a word typed after `:` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Open(View),
    Quit,
    Unknown,
}

// === impl View ===

impl View {
    pub(crate) fn all_replicas() -> Self {
        Self::Replicas { endpoint: String::new(), deployment: String::new(), node: String::new() }
    }

    /// Returns the title of the screen.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Dashboard => "dashboard".to_owned(),
            Self::Pulses => "pulses".to_owned(),
            Self::Endpoints => "endpoints".to_owned(),
            Self::Deployments { endpoint } if endpoint.is_empty() => "deployments".to_owned(),
            Self::Deployments { endpoint } => format!("deployments of {endpoint}"),
            Self::Replicas { endpoint, deployment, node } => {
                let of = [endpoint.as_str(), deployment.as_str()];
                let of = of.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
                match (of.as_str(), node.as_str()) {
                    ("", "") => "replicas".to_owned(),
                    ("", node) => format!("replicas on {node}"),
                    (of, _) => format!("replicas of {of}"),
                }
            }
            Self::Nodes => "nodes".to_owned(),
            Self::Coordinators => "coordinators".to_owned(),
            Self::Gpus => "gpus".to_owned(),
            Self::GpuGraphs => "gpu graphs".to_owned(),
            Self::Rollouts => "rollouts".to_owned(),
            Self::Slots => "slots".to_owned(),
            Self::Events => "events".to_owned(),
            Self::Tree => "tree".to_owned(),
            Self::Aliases => "aliases".to_owned(),
            Self::Help => "help".to_owned(),
            Self::Page(page) => format!("{} {}", page.kind.word(), page.of),
        }
    }

    /// Finds what is typed after `:` means: the name of a screen, and what it is to be about.
    pub(crate) fn of_word(text: &str) -> Word {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let about: Vec<&str> = words.collect();
        let habit = HABITS.iter().find(|(words, _)| words.contains(&name.as_str()));
        let name = habit.map_or(name, |(_, ours)| (*ours).to_owned());
        let Some(alias) = ALIASES.iter().find(|alias| alias.names.contains(&name.as_str())) else {
            return Self::page_of_words(&name, &about).map_or(Word::Unknown, Word::Open);
        };
        match ((alias.view)(), about.as_slice()) {
            (None, []) => Word::Quit,
            (Some(view), []) => Word::Open(view),
            (Some(Self::Deployments { .. }), [endpoint]) => {
                Word::Open(Self::Deployments { endpoint: (*endpoint).to_owned() })
            }
            (Some(Self::Replicas { .. }), [of]) => {
                let (endpoint, deployment) = of.split_once('/').unwrap_or((of, ""));
                let (endpoint, deployment) = (endpoint.to_owned(), deployment.to_owned());
                Word::Open(Self::Replicas { endpoint, deployment, node: String::new() })
            }
            _ => Word::Unknown,
        }
    }

    /// Reads `logs fraud/blue`, `describe node node-1` and their like.
    fn page_of_words(name: &str, about: &[&str]) -> Option<Self> {
        let kind = PAGE_WORDS.iter().find(|(words, ..)| words.contains(&name))?.1;
        let of = match (kind, about) {
            (PageKind::Request, [id]) => Subject::Request((*id).to_owned()),
            (PageKind::WhatIf, [node]) => Subject::Node((*node).to_owned()),
            (PageKind::Describe | PageKind::Yaml, ["node", node]) => Subject::Node((*node).to_owned()),
            (PageKind::Describe | PageKind::Yaml, ["replica" | "rep", id]) => {
                Subject::Replica { id: (*id).to_owned(), endpoint: String::new(), deployment: String::new() }
            }
            (PageKind::Describe | PageKind::Yaml, ["event" | "ev", seq]) => Subject::Event(seq.parse().ok()?),
            (_, [of]) => match of.split_once('/') {
                Some((endpoint, name)) => Subject::Deployment { endpoint: endpoint.to_owned(), name: name.to_owned() },
                None if kind.is_log() => return None,
                None => Subject::Endpoint((*of).to_owned()),
            },
            _ => return None,
        };
        Some(Self::Page(Page { kind, of }))
    }
}

// === impl PageKind ===

impl PageKind {
    fn word(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Yaml => "yaml of",
            Self::Logs => "logs of",
            Self::PreviousLogs => "previous logs of",
            Self::PrepareLogs => "build log of",
            Self::WhatIf => "without",
            Self::Mirror => "mirror of",
            Self::Request => "request",
        }
    }

    /// Returns whether it is a log, which is read from its end and goes on.
    pub(crate) fn is_log(self) -> bool {
        matches!(self, Self::Logs | Self::PreviousLogs | Self::PrepareLogs)
    }
}

// === impl Subject ===

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(name) | Self::Node(name) | Self::Coordinator(name) => f.write_str(name),
            Self::Deployment { endpoint, name } => write!(f, "{endpoint}/{name}"),
            Self::Replica { id, .. } | Self::Slot(id) => f.write_str(id.get(..8).unwrap_or(id)),
            Self::Request(id) => f.write_str(id),
            Self::Device { node, uuid } => write!(f, "{node} {uuid}"),
            Self::Event(seq) => write!(f, "event {seq}"),
            Self::Line(at) => write!(f, "line {at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_open_screens() {
        for (word, expected) in [
            ("ep", Word::Open(View::Endpoints)),
            (" Nodes ", Word::Open(View::Nodes)),
            ("xray", Word::Open(View::Tree)),
            ("q", Word::Quit),
            ("widgets", Word::Unknown),
            ("svc", Word::Open(View::Endpoints)),
            ("deploy fraud", Word::Open(View::Deployments { endpoint: "fraud".into() })),
            ("pods", Word::Open(View::all_replicas())),
            ("dep fraud", Word::Open(View::Deployments { endpoint: "fraud".into() })),
            ("logs", Word::Unknown),
            ("nodes fraud", Word::Unknown),
            (
                "logs fraud/blue",
                Word::Open(View::Page(Page {
                    kind: PageKind::Logs,
                    of: Subject::Deployment { endpoint: "fraud".into(), name: "blue".into() },
                })),
            ),
            (
                "what-if node-1",
                Word::Open(View::Page(Page { kind: PageKind::WhatIf, of: Subject::Node("node-1".into()) })),
            ),
            ("", Word::Unknown),
        ] {
            assert_eq!(View::of_word(word), expected, "{word}");
        }
    }

    #[test]
    fn no_name_opens_two_screens() {
        let pages = PAGE_WORDS.iter().flat_map(|(words, ..)| *words);
        let habits = HABITS.iter().flat_map(|(words, _)| *words);
        let mut names: Vec<_> = ALIASES.iter().flat_map(|alias| alias.names).chain(pages).chain(habits).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
