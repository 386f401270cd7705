//! The state of the screen, and what every key makes of it. Nothing here reads a clock or touches the terminal.

use std::{collections::BTreeMap, sync::Arc};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    act::Act,
    board::{Board, History},
    dialog::{Answer, Dialog, Prompt, PromptKind, TrafficEdit},
    list::{Filter, ListPlace, Step},
    rows::{Rows, rows},
    view::{Page, PageKind, Subject, View, Word},
};
use crate::output::Ink;

/// Screens that `esc` and `[` can lead back to.
const BACK_MAX: usize = 50;

/// How long a message stands in the last line.
const MESSAGE_MS: u64 = 5_000;

/// The panels of the dashboard, in the order of their number keys.
pub(crate) const PANELS: [View; 3] = [View::Endpoints, View::Nodes, View::Events];

/// The state of the screen.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) board: Arc<Board>,
    pub(crate) history: History,
    /// Since when, and why, nothing new comes in.
    pub(crate) frozen: Option<Frozen>,
    pub(crate) view: View,
    back: Vec<View>,
    forward: Vec<View>,
    places: BTreeMap<View, ListPlace>,
    pub(crate) rows: Rows,
    /// The panel of the dashboard that has the cursor.
    pub(crate) panel: usize,
    pub(crate) page: PageText,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) message: Option<Message>,
    pub(crate) wide: bool,
    pub(crate) read_only: bool,
    /// Lines the list had when it was last drawn.
    pub(crate) page_height: usize,
    pub(crate) now_ms: u64,
}

/// Since when nothing new comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) since_ms: u64,
    pub(crate) why: String,
}

/// What the last line says for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) ink: Ink,
    until_ms: u64,
}

/// The text of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageText {
    of: Option<Page>,
    pub(crate) lines: Vec<String>,
    pub(crate) top: usize,
}

// === impl App ===

impl App {
    pub(crate) fn new(view: View, read_only: bool, now_ms: u64) -> Self {
        Self {
            board: Arc::default(),
            history: History::default(),
            frozen: None,
            view,
            back: Vec::new(),
            forward: Vec::new(),
            places: BTreeMap::new(),
            rows: Rows::default(),
            panel: 0,
            page: PageText::default(),
            dialog: None,
            message: None,
            wide: false,
            read_only,
            page_height: 20,
            now_ms,
        }
    }

    /// Takes a fresh look at the cluster.
    pub(crate) fn take_board(&mut self, board: Arc<Board>) {
        self.board = board;
        self.frozen = None;
        self.lay_out();
    }

    /// Takes note that nothing new comes in; what was seen last stays.
    pub(crate) fn freeze(&mut self, why: String) {
        let since_ms = self.frozen.as_ref().map_or(self.now_ms, |frozen| frozen.since_ms);
        self.frozen = Some(Frozen { since_ms, why });
    }

    /// Takes the text of a page, if it is still looked at.
    pub(crate) fn take_page(&mut self, of: Page, lines: Vec<String>) {
        if self.view != View::Page(of.clone()) {
            return;
        }
        let fresh = self.page.of.as_ref() != Some(&of);
        let is_log = matches!(of.kind, PageKind::Logs | PageKind::PrepareLogs);
        // A log is read from its end.
        let top = if fresh && is_log { lines.len().saturating_sub(self.page_height) } else { self.page.top };
        self.page = PageText { of: Some(of), top: top.min(lines.len().saturating_sub(1)), lines };
    }

    /// Says something in the last line.
    pub(crate) fn say(&mut self, text: impl Into<String>, ink: Ink) {
        self.message = Some(Message { text: text.into(), ink, until_ms: self.now_ms + MESSAGE_MS });
    }

    /// Takes the time of day, once a second.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if self.message.as_ref().is_some_and(|message| message.until_ms <= now_ms) {
            self.message = None;
        }
        let board = Arc::clone(&self.board);
        self.history.note(&board);
        self.lay_out();
    }

    /// Returns where one is in a list.
    pub(crate) fn place(&mut self, view: &View) -> &mut ListPlace {
        self.places.entry(view.clone()).or_default()
    }

    /// Returns the list that has the cursor: the screen itself, or a panel of the dashboard.
    pub(crate) fn list(&self) -> View {
        if self.view == View::Dashboard { PANELS[self.panel].clone() } else { self.view.clone() }
    }

    /// Builds the rows of a list as they stand now.
    pub(crate) fn rows_of(&mut self, view: &View) -> Rows {
        let mut rows = rows(view, &self.board, self.wide, self.now_ms);
        self.place(view).lay_out(&mut rows);
        rows
    }

    fn lay_out(&mut self) {
        let list = self.list();
        self.rows = self.rows_of(&list);
    }

    /// Takes a key and says what it asks of the world.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Vec<Act> {
        let acts = match self.dialog.take() {
            Some(dialog) => self.dialog_key(dialog, key),
            None => self.screen_key(key),
        };
        self.lay_out();
        acts
    }

    fn dialog_key(&mut self, mut dialog: Dialog, key: KeyEvent) -> Vec<Act> {
        match dialog.key(key) {
            Answer::Stays => self.dialog = Some(dialog),
            Answer::Closed => {
                if matches!(&dialog, Dialog::Prompt(prompt) if prompt.kind == PromptKind::Filter) {
                    self.set_filter(Filter::default());
                }
            }
            Answer::Done(act) => return vec![act],
            Answer::Typing(text) => {
                if matches!(&dialog, Dialog::Prompt(prompt) if prompt.kind == PromptKind::Filter) {
                    self.set_filter(Filter::typed(&text));
                }
                self.dialog = Some(dialog);
            }
            Answer::Typed(kind, text) => return self.typed(kind, &text),
        }
        Vec::new()
    }

    fn typed(&mut self, kind: PromptKind, text: &str) -> Vec<Act> {
        match kind {
            PromptKind::Filter => self.set_filter(Filter::typed(text)),
            PromptKind::Command => {
                // A word that begins a name is that name, as `tab` would make it.
                let word = match View::of_word(text) {
                    Word::Unknown => View::complete(text).map_or(Word::Unknown, View::of_word),
                    known => known,
                };
                match word {
                    Word::Open(view) => self.open(view),
                    Word::Quit => return vec![Act::Quit],
                    Word::Unknown if text.trim().is_empty() => {}
                    Word::Unknown => {
                        self.say(format!("no screen is called `{}`; ctrl-a lists them", text.trim()), Ink::Red);
                    }
                }
            }
            PromptKind::Scale { endpoint, deployment } => match text.trim().parse::<u32>() {
                Ok(instance_count) => {
                    let act = Act::Scale { endpoint: endpoint.clone(), deployment: deployment.clone(), instance_count };
                    let count = berth_core::units::Count(u64::from(instance_count), "instance");
                    let question = format!("{endpoint}/{deployment} goes to {count}.");
                    self.ask(vec![question], act);
                }
                Err(_) => self.say(format!("`{}` is no number of instances", text.trim()), Ink::Red),
            },
        }
        Vec::new()
    }

    fn set_filter(&mut self, filter: Filter) {
        let list = self.list();
        self.place(&list).filter = filter;
    }

    fn screen_key(&mut self, key: KeyEvent) -> Vec<Act> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.control_key(key.code);
        }
        match key.code {
            KeyCode::Char(':') => self.prompt(PromptKind::Command),
            KeyCode::Char('/') => self.prompt(PromptKind::Filter),
            KeyCode::Char('?') => self.open(View::Help),
            KeyCode::Char('q') => return vec![Act::Quit],
            KeyCode::Esc => self.escape(),
            KeyCode::Char('-') => self.swap_with_last(),
            KeyCode::Char('[') => self.go_back(),
            KeyCode::Char(']') => self.go_forward(),
            KeyCode::Up | KeyCode::Char('k') => self.step(Step::Up),
            KeyCode::Down | KeyCode::Char('j') => self.step(Step::Down),
            KeyCode::PageUp => self.step(Step::PageUp),
            KeyCode::PageDown => self.step(Step::PageDown),
            KeyCode::Home => self.step(Step::Top),
            KeyCode::End | KeyCode::Char('G') => self.step(Step::Bottom),
            KeyCode::Char('P') => self.open(View::Pulses),
            KeyCode::Char('X') => self.open(View::Tree),
            KeyCode::Char('g') => self.open(View::Gpus),
            KeyCode::Char(c @ '1'..='9') if self.view == View::Dashboard => self.focus(c as usize - '1' as usize),
            KeyCode::Tab if self.view == View::Dashboard => self.focus((self.panel + 1) % PANELS.len()),
            KeyCode::Char(' ') => {
                let list = self.list();
                self.place(&list).mark();
                self.step(Step::Down);
            }
            KeyCode::Char('N') => self.sort(0),
            KeyCode::Char('A') => self.sort_named(&["AGE", "FOR"]),
            KeyCode::Char('S') => self.sort_named(&["STATE", "SEVERITY"]),
            KeyCode::Char('O') => self.sort_next(),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char('d') => return self.page(PageKind::Describe),
            KeyCode::Char('y') => return self.page(PageKind::Yaml),
            KeyCode::Char('l') => return self.page(PageKind::Logs),
            KeyCode::Char('p') => return self.page(PageKind::PrepareLogs),
            KeyCode::Char('c') => return self.copy(),
            KeyCode::Char('t') => self.edit_traffic(),
            KeyCode::Char('s') => self.ask_scale(),
            KeyCode::Char('u') => self.ask_cordon(),
            _ => {}
        }
        Vec::new()
    }

    fn control_key(&mut self, code: KeyCode) -> Vec<Act> {
        match code {
            KeyCode::Char('c') => return vec![Act::Quit],
            KeyCode::Char('a') => self.open(View::Aliases),
            KeyCode::Char('r') => {
                let page = if let View::Page(page) = &self.view { Some(Act::Open(page.clone())) } else { None };
                return page.into_iter().chain([Act::Refresh]).collect();
            }
            KeyCode::Char('w') => self.wide = !self.wide,
            KeyCode::Char('d') => self.ask_delete(),
            KeyCode::Char('u' | 'b') => self.step(Step::PageUp),
            KeyCode::Char('f') => self.step(Step::PageDown),
            _ => {}
        }
        Vec::new()
    }

    fn prompt(&mut self, kind: PromptKind) {
        self.dialog = Some(Dialog::Prompt(Prompt { kind, text: String::new() }));
    }

    fn ask(&mut self, mut question: Vec<String>, act: Act) {
        question.push(String::new());
        question.push("y does it, n leaves everything as it is".to_owned());
        self.dialog = Some(Dialog::Confirm { question, act });
    }

    // --- where one goes

    /// Opens a screen; the one left is where `esc` leads back to.
    pub(crate) fn open(&mut self, view: View) {
        if view == self.view {
            return;
        }
        let left = std::mem::replace(&mut self.view, view);
        if self.back.len() == BACK_MAX {
            self.back.remove(0);
        }
        self.back.push(left);
        self.forward.clear();
        self.page.top = 0;
    }

    fn escape(&mut self) {
        let list = self.list();
        if self.place(&list).filter.is_on() {
            self.set_filter(Filter::default());
        } else if !self.place(&list).marked.is_empty() {
            self.place(&list).marked.clear();
        } else {
            self.go_back();
        }
    }

    fn go_back(&mut self) {
        if let Some(view) = self.back.pop() {
            self.forward.push(std::mem::replace(&mut self.view, view));
        }
    }

    fn go_forward(&mut self) {
        if let Some(view) = self.forward.pop() {
            self.back.push(std::mem::replace(&mut self.view, view));
        }
    }

    fn swap_with_last(&mut self) {
        if let Some(view) = self.back.last().cloned() {
            self.open(view);
        }
    }

    fn focus(&mut self, panel: usize) {
        if panel < PANELS.len() {
            self.panel = panel;
        }
    }

    fn step(&mut self, step: Step) {
        if matches!(self.view, View::Page(_) | View::Help | View::Pulses) {
            let last = self.page.lines.len().saturating_sub(1);
            let (top, page) = (self.page.top, self.page_height.max(1));
            self.page.top = match step {
                Step::Up => top.saturating_sub(1),
                Step::Down => (top + 1).min(last),
                Step::PageUp => top.saturating_sub(page),
                Step::PageDown => (top + page).min(last),
                Step::Top => 0,
                Step::Bottom => (last + 1).saturating_sub(page),
            };
            return;
        }
        let (list, rows, page) = (self.list(), std::mem::take(&mut self.rows), self.page_height);
        self.place(&list).step(step, &rows, page);
        self.rows = rows;
    }

    fn sort(&mut self, column: usize) {
        if let Some(name) = self.rows.columns.get(column).copied() {
            let list = self.list();
            self.place(&list).sort_by(name);
        }
    }

    fn sort_named(&mut self, names: &[&str]) {
        if let Some(column) = self.rows.columns.iter().position(|column| names.contains(column)) {
            self.sort(column);
        }
    }

    /// Orders by the column right of the one that orders now.
    fn sort_next(&mut self) {
        let list = self.list();
        let columns = self.rows.columns.clone();
        let place = self.place(&list);
        let now = columns.iter().position(|column| !place.arrow(column).is_empty());
        let next = now.map_or(0, |at| (at + 1) % columns.len().max(1));
        if let Some(name) = columns.get(next) {
            place.sort_by(name);
        }
    }

    // --- what is under the cursor

    fn subject(&mut self) -> Option<Subject> {
        match &self.view {
            View::Page(page) => Some(page.of.clone()),
            View::Help | View::Pulses => None,
            _ => {
                let list = self.list();
                self.place(&list).at().cloned()
            }
        }
    }

    fn enter(&mut self) -> Vec<Act> {
        let Some(subject) = self.subject() else { return Vec::new() };
        match subject {
            Subject::Endpoint(endpoint) => self.open(View::Deployments { endpoint }),
            Subject::Deployment { endpoint, name } => {
                self.open(View::Replicas { endpoint, deployment: name, node: String::new() });
            }
            Subject::Node(node) => {
                self.open(View::Replicas { endpoint: String::new(), deployment: String::new(), node });
            }
            Subject::Line(at) => {
                if let Some(alias) = super::view::ALIASES.get(at) {
                    return self.typed(PromptKind::Command, alias.names[0]);
                }
            }
            Subject::Coordinator(_) => {}
            Subject::Replica { .. } | Subject::Device { .. } | Subject::Event(_) => {
                return self.page(PageKind::Describe);
            }
        }
        Vec::new()
    }

    fn page(&mut self, kind: PageKind) -> Vec<Act> {
        let Some(of) = self.subject() else { return Vec::new() };
        let has_logs = matches!(of, Subject::Deployment { .. } | Subject::Replica { .. });
        if matches!(kind, PageKind::Logs | PageKind::PrepareLogs) && !has_logs {
            self.say("deployments and replicas have logs; go to one first", Ink::Yellow);
            return Vec::new();
        }
        let page = Page { kind, of };
        self.page = PageText { of: None, lines: vec!["…".to_owned()], top: 0 };
        self.open(View::Page(page.clone()));
        vec![Act::Open(page)]
    }

    fn copy(&mut self) -> Vec<Act> {
        let text = match self.subject() {
            Some(Subject::Replica { id, .. }) => id,
            Some(subject) => subject.to_string(),
            None => return Vec::new(),
        };
        self.say(format!("copied {text}"), Ink::Plain);
        vec![Act::Copy(text)]
    }

    // --- changes

    fn may_change(&mut self) -> bool {
        if self.read_only {
            self.say("this screen was started with --read-only", Ink::Yellow);
        } else if self.frozen.is_some() {
            self.say("no coordinator answers: nothing can be changed now", Ink::Red);
        }
        !self.read_only && self.frozen.is_none()
    }

    fn edit_traffic(&mut self) {
        let endpoint = match self.subject() {
            Some(Subject::Endpoint(name)) => name,
            Some(Subject::Deployment { endpoint, .. } | Subject::Replica { endpoint, .. }) => endpoint,
            _ => return self.say("choose an endpoint, a deployment or a replica first", Ink::Yellow),
        };
        if !self.may_change() {
            return;
        }
        let board = Arc::clone(&self.board);
        let Some(found) = board.endpoint(&endpoint) else { return };
        let names: Vec<_> = board.deployments_of(&endpoint).map(|deployment| deployment.name.clone()).collect();
        if names.is_empty() {
            return self.say(format!("{endpoint} has no deployments yet"), Ink::Yellow);
        }
        let edit = TrafficEdit::open(&endpoint, &found.traffic, names.into_iter(), found.revision);
        self.dialog = Some(Dialog::Traffic(edit));
    }

    fn ask_scale(&mut self) {
        match self.subject() {
            Some(Subject::Deployment { endpoint, name }) if self.may_change() => {
                self.prompt(PromptKind::Scale { endpoint, deployment: name });
            }
            Some(Subject::Deployment { .. }) => {}
            _ => self.say("choose a deployment first", Ink::Yellow),
        }
    }

    fn ask_cordon(&mut self) {
        let Some(Subject::Node(node)) = self.subject() else {
            return self.say("choose a node first", Ink::Yellow);
        };
        if !self.may_change() {
            return;
        }
        let is_cordoned = self.board.nodes.iter().any(|known| known.node == node && known.cordoned);
        let what = if is_cordoned { "takes replicas again." } else { "takes nothing new; what runs there stays." };
        self.ask(vec![format!("{node} {what}")], Act::Cordon { node, cordoned: !is_cordoned });
    }

    fn ask_delete(&mut self) {
        let Some(subject) = self.subject() else { return };
        if !self.may_change() {
            return;
        }
        match subject {
            Subject::Endpoint(name) => {
                let deployments: Vec<_> = self
                    .board
                    .deployments_of(&name)
                    .map(|deployment| format!("  {}/{}", name, deployment.name))
                    .collect();
                let mut question = vec![format!("Endpoint {name} goes, and with it:")];
                question.extend(deployments);
                self.ask(question, Act::DeleteEndpoint(name));
            }
            Subject::Deployment { endpoint, name } => {
                let found = self.board.deployment(&endpoint, &name);
                let replicas = found.map_or(0, |deployment| self.board.replicas_of(deployment).count());
                let replicas = berth_core::units::Count(replicas as u64, "replica");
                let question = vec![format!("Deployment {endpoint}/{name} goes with {replicas}.")];
                self.ask(question, Act::DeleteDeployment { endpoint, name });
            }
            _ => self.say("endpoints and deployments can be deleted here", Ink::Yellow),
        }
    }
}
