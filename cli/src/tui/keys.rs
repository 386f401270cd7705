//! What every key means.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    act::Act,
    app::{App, PANELS},
    complete::complete,
    dialog::{Answer, Dialog, Prompt, PromptKind},
    list::{Filter, Step},
    view::{ALIASES, PAGE_WORDS, PageKind, Subject, View, Word},
};
use crate::output::Ink;

/// Commands that the arrows bring back.
const SAID_MAX: usize = 50;

// === impl App ===

impl App {
    /// Takes a key and says what it asks of the world.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Vec<Act> {
        match self.dialog.take() {
            Some(dialog) => self.dialog_key(dialog, key),
            None if key.modifiers.contains(KeyModifiers::CONTROL) => self.control_key(key.code),
            None => self.screen_key(key),
        }
    }

    fn dialog_key(&mut self, mut dialog: Dialog, key: KeyEvent) -> Vec<Act> {
        // Whatever is open, this one leaves.
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return vec![Act::Quit];
        }
        match dialog.key(key) {
            Answer::Stays => self.dialog = Some(dialog),
            Answer::Closed => {
                if matches!(&dialog, Dialog::Prompt(prompt) if prompt.kind == PromptKind::Filter) {
                    self.set_filter(Filter::default());
                }
            }
            Answer::Done(act) => return vec![act],
            Answer::Asks(act) => {
                self.dialog = Some(dialog);
                return vec![act];
            }
            Answer::Typing(text) => {
                if matches!(&dialog, Dialog::Prompt(prompt) if prompt.kind == PromptKind::Filter) {
                    self.set_filter(Filter::typed(&text));
                }
                self.dialog = Some(dialog);
            }
            Answer::Typed(kind, text) => return self.typed(kind, &text),
            Answer::Complete(text) => {
                let of_context = text.strip_prefix("ctx ").and_then(|begun| {
                    self.contexts.iter().find(|name| name.starts_with(begun)).map(|name| format!("ctx {name}"))
                });
                if let (Dialog::Prompt(prompt), Some(whole)) =
                    (&mut dialog, of_context.or_else(|| complete(&text, &self.board)))
                {
                    prompt.text = whole;
                }
                self.dialog = Some(dialog);
            }
            Answer::Recall(steps) => {
                if let Dialog::Prompt(prompt) = &mut dialog {
                    let steps = steps.min(self.said.len());
                    prompt.text = self.said.get(self.said.len() - steps).cloned().unwrap_or_default();
                    prompt.recalled = steps;
                }
                self.dialog = Some(dialog);
            }
        }
        Vec::new()
    }

    fn typed(&mut self, kind: PromptKind, text: &str) -> Vec<Act> {
        match kind {
            PromptKind::Filter => self.set_filter(Filter::typed(text)),
            PromptKind::Command => return self.command(text),
            PromptKind::Request if text.trim().is_empty() => {}
            PromptKind::Request => {
                return self.open_page(PageKind::Request, Subject::Request(text.trim().to_owned()));
            }
            PromptKind::Scale { endpoint, deployment } => self.scale(endpoint, deployment, text),
        }
        Vec::new()
    }

    fn command(&mut self, text: &str) -> Vec<Act> {
        let mut words = text.split_whitespace();
        if let (Some("ctx" | "context" | "contexts"), name, None) = (words.next(), words.next(), words.next()) {
            self.remember(text.trim());
            return self.context(name);
        }
        // A word that begins a name is that name, as `tab` would make it.
        let whole = match View::of_word(text) {
            Word::Unknown => complete(text, &self.board).unwrap_or_else(|| text.to_owned()),
            _ => text.to_owned(),
        };
        self.remember(whole.trim());
        match View::of_word(&whole) {
            // Its text is asked for, as by its key; none of the page before is left.
            Word::Open(View::Page(page)) => return self.open_page(page.kind, page.of),
            Word::Open(view) => self.open(view),
            Word::Quit => return vec![Act::Quit],
            Word::Unknown if text.trim().is_empty() => {}
            Word::Unknown => {
                let mut words = whole.split_whitespace();
                let page = words.next().and_then(|name| PAGE_WORDS.iter().find(|(names, ..)| names.contains(&name)));
                if let (Some((names, _, of)), None) = (page, words.next()) {
                    return self.hint(&format!("`{}` wants to know of what: {of}", names[0]));
                }
                self.say(format!("no screen is called `{}`; ctrl-a lists them", text.trim()), Ink::Red);
            }
        }
        Vec::new()
    }

    /// Goes to another cluster, or says which there are.
    fn context(&mut self, name: Option<&str>) -> Vec<Act> {
        match name {
            Some(name) if self.contexts.iter().any(|known| known == name) => vec![Act::Context(name.to_owned())],
            Some(name) => {
                self.say(format!("no context is called `{name}`; `berth context ls` lists them"), Ink::Red);
                Vec::new()
            }
            None if self.contexts.is_empty() => {
                self.hint("no contexts yet; `berth context set NAME --api ADDRESS` makes one")
            }
            None => self.hint(&format!("contexts: {}; `:ctx NAME` goes there", self.contexts.join(", "))),
        }
    }

    /// Keeps what was typed after `:` for the arrows of the next time.
    fn remember(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.said.retain(|said| said != text);
        if self.said.len() == SAID_MAX {
            self.said.remove(0);
        }
        self.said.push(text.to_owned());
    }

    fn screen_key(&mut self, key: KeyEvent) -> Vec<Act> {
        match key.code {
            KeyCode::Char(':') => self.prompt(PromptKind::Command),
            KeyCode::Char('/') => self.prompt(PromptKind::Filter),
            KeyCode::Char('x') => self.prompt(PromptKind::Request),
            KeyCode::Char('?') => self.open(View::Help),
            KeyCode::Char('q') => return vec![Act::Quit],
            KeyCode::Esc => return self.escape(),
            KeyCode::Char('-') => {
                if let Some(view) = self.back.last().cloned() {
                    self.open(view);
                    return self.reopened();
                }
            }
            KeyCode::Char('[') => return self.go_back(),
            KeyCode::Char(']') => return self.go_forward(),
            KeyCode::Up | KeyCode::Char('k') => self.step(Step::Up),
            KeyCode::Down | KeyCode::Char('j') => self.step(Step::Down),
            KeyCode::Left => self.sideways(false),
            KeyCode::Right => self.sideways(true),
            KeyCode::PageUp => self.step(Step::PageUp),
            KeyCode::PageDown => self.step(Step::PageDown),
            KeyCode::Home => self.step(Step::Top),
            KeyCode::End | KeyCode::Char('G') => self.step(Step::Bottom),
            KeyCode::Char('P') => self.open(View::Pulses),
            KeyCode::Char('X') => self.open(View::Tree),
            KeyCode::Char('g') => self.open(View::GpuGraphs),
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
            KeyCode::Char('d') => return self.page_of(PageKind::Describe),
            KeyCode::Char('y') => return self.page_of(PageKind::Yaml),
            KeyCode::Char('l') => return self.log(PageKind::Logs),
            KeyCode::Char('p') => return self.log(PageKind::PreviousLogs),
            KeyCode::Char('b') => return self.log(PageKind::PrepareLogs),
            KeyCode::Char('m') => return self.mirror(),
            KeyCode::Char('w') => return self.what_if(),
            KeyCode::Char('c') => return self.copy(),
            KeyCode::Char('t') => self.edit_traffic(),
            KeyCode::Char('s') => self.ask_scale(),
            KeyCode::Char('u') => self.ask_cordon(),
            KeyCode::Char('r') => return self.ask_restart_or_drain(),
            KeyCode::Char('e') => return self.edit(),
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
                return page.into_iter().chain([Act::Redraw]).collect();
            }
            KeyCode::Char('w') => self.wide = !self.wide,
            // As in every pager: what is read is scrolled, and deleted from the lists alone.
            KeyCode::Char('d') if matches!(self.view, View::Page(_) | View::Help) => self.step(Step::PageDown),
            KeyCode::Char('d') => self.ask_delete(),
            KeyCode::Char('k') => self.ask_replace(true),
            KeyCode::Char('l') => return self.ask_undo(),
            KeyCode::Char('u' | 'b') => self.step(Step::PageUp),
            KeyCode::Char('f') => self.step(Step::PageDown),
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn prompt(&mut self, kind: PromptKind) {
        self.dialog = Some(Dialog::Prompt(Prompt { kind, text: String::new(), recalled: 0 }));
    }

    fn focus(&mut self, panel: usize) {
        if panel < PANELS.len() {
            self.panel = panel;
        }
    }

    fn sort(&mut self, column: usize) {
        let list = self.list();
        let place = self.place(&list);
        if let Some(name) = place.columns.get(column).copied() {
            place.sort_by(name);
        }
    }

    fn sort_named(&mut self, names: &[&str]) {
        let list = self.list();
        if let Some(column) = self.place(&list).columns.iter().position(|column| names.contains(column)) {
            self.sort(column);
        }
    }

    /// Orders by the column right of the one that orders now.
    fn sort_next(&mut self) {
        let list = self.list();
        let place = self.place(&list);
        let now = place.columns.iter().position(|column| !place.arrow(column).is_empty());
        let next = now.map_or(0, |at| (at + 1) % place.columns.len().max(1));
        if let Some(name) = place.columns.get(next).copied() {
            place.sort_by(name);
        }
    }

    pub(super) fn enter(&mut self) -> Vec<Act> {
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
                if let Some(alias) = ALIASES.get(at) {
                    return self.command(alias.names[0]);
                }
                if let Some((names, ..)) = at.checked_sub(ALIASES.len()).and_then(|at| PAGE_WORDS.get(at)) {
                    self.prompt(PromptKind::Command);
                    if let Some(Dialog::Prompt(prompt)) = &mut self.dialog {
                        prompt.text = format!("{} ", names[0]);
                    }
                }
            }
            Subject::Request(_) => {}
            Subject::Replica { .. }
            | Subject::Slot(_)
            | Subject::Device { .. }
            | Subject::Event(_)
            | Subject::Coordinator(_) => return self.page_of(PageKind::Describe),
        }
        Vec::new()
    }

    fn page_of(&mut self, kind: PageKind) -> Vec<Act> {
        match self.subject() {
            Some(Subject::Line(_) | Subject::Request(_)) | None => Vec::new(),
            Some(of) => self.open_page(kind, of),
        }
    }

    fn log(&mut self, kind: PageKind) -> Vec<Act> {
        match self.subject() {
            Some(of @ (Subject::Deployment { .. } | Subject::Replica { .. })) => self.open_page(kind, of),
            _ => self.hint("deployments and replicas have logs; go to one first"),
        }
    }

    fn mirror(&mut self) -> Vec<Act> {
        match self.subject() {
            Some(
                Subject::Endpoint(endpoint) | Subject::Deployment { endpoint, .. } | Subject::Replica { endpoint, .. },
            ) => self.open_page(PageKind::Mirror, Subject::Endpoint(endpoint)),
            _ => self.hint("choose an endpoint first"),
        }
    }

    fn what_if(&mut self) -> Vec<Act> {
        match self.node_under_cursor() {
            Some(node) => self.open_page(PageKind::WhatIf, Subject::Node(node)),
            None => self.hint("choose a node first, or a replica on it"),
        }
    }

    /// Returns the node under the cursor, or that of what is.
    pub(super) fn node_under_cursor(&mut self) -> Option<String> {
        match self.subject()? {
            Subject::Node(node) | Subject::Device { node, .. } => Some(node),
            Subject::Replica { id, .. } => {
                self.board.replicas.iter().find(|it| it.replica == id).map(|it| it.node.clone())
            }
            _ => None,
        }
    }

    pub(super) fn hint(&mut self, text: &str) -> Vec<Act> {
        self.say(text, Ink::Yellow);
        Vec::new()
    }

    fn copy(&mut self) -> Vec<Act> {
        let text = match self.subject() {
            Some(Subject::Replica { id, .. } | Subject::Slot(id)) => id,
            Some(subject) => subject.to_string(),
            None => return Vec::new(),
        };
        self.say(format!("copied {text}"), Ink::Plain);
        vec![Act::Copy(text)]
    }
}
