//! The state of the screen: what was told, where one is, and what messages make of it ([`App::update`]).
//!
//! Nothing here reads a clock or touches the terminal or the network; what the world should do is returned as [`Act`]s.
//! What keys mean is in [`super::keys`], what asks before it changes something in [`super::change`].

use std::{cell::Cell as Counter, collections::BTreeMap, collections::VecDeque};

use super::{
    Msg,
    act::Act,
    board::Board,
    dialog::{Dialog, Stage},
    history::History,
    list::{Filter, ListPlace, Step},
    mouse::Drawn,
    rows::Look,
    view::{Page, PageKind, Subject, View},
};
use crate::output::Ink;

/// Screens that `esc` and `[` can lead back to.
const BACK_MAX: usize = 50;

/// Lines of a log that are kept.
pub(crate) const LOG_LINES_MAX: usize = 5_000;

/// Columns that an arrow moves a page.
const PAGE_SIDEWAYS: usize = 10;

/// A page that took long to come is left alone this many times as long.
const PAGE_REST: u64 = 4;

/// How long a message stands in the last line.
const MESSAGE_MS: u64 = 5_000;

/// The panels of the dashboard, in the order of their number keys.
pub(crate) const PANELS: [View; 3] = [View::Endpoints, View::Nodes, View::Events];

/// The state of the screen.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) board: Board,
    /// Whether the board was ever told; before that there is nothing, not even an empty cluster.
    pub(crate) is_told: bool,
    /// When the board was last told something.
    told_ms: u64,
    pub(crate) history: History,
    /// Since when, and why, nothing new comes in.
    pub(crate) frozen: Option<Frozen>,
    pub(crate) view: View,
    pub(super) back: Vec<View>,
    forward: Vec<View>,
    places: BTreeMap<View, ListPlace>,
    /// The panel of the dashboard that has the cursor.
    pub(crate) panel: usize,
    pub(crate) page: PageText,
    following: Following,
    pub(crate) dialog: Option<Dialog>,
    /// The names of the clusters that one can go to.
    pub(crate) contexts: Vec<String>,
    /// What was typed after `:`, the newest last.
    pub(super) said: Vec<String>,
    /// Where the lists of this frame are, for the mouse.
    pub(crate) drawn: Vec<Drawn>,
    pub(crate) message: Option<Message>,
    pub(crate) wide: bool,
    pub(crate) read_only: bool,
    /// Lines the list had when it was last drawn.
    pub(crate) page_height: usize,
    pub(crate) now_ms: u64,
    /// Rows that were formatted since the start: what a frame costs.
    pub(crate) formatted: Counter<u64>,
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

/// When the page that is looked at was fetched, so that it is fetched again once something changed.
#[derive(Clone, Copy, Debug, Default)]
struct Following {
    /// When an answer was asked for that has not come.
    asked_ms: Option<u64>,
    /// What the board had told by then.
    seen: (u64, u64),
    /// Before that it is not asked again.
    rests_until_ms: u64,
}

/// The text of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageText {
    of: Option<Page>,
    pub(crate) lines: VecDeque<String>,
    pub(crate) top: usize,
    /// Columns that are scrolled off at the left.
    pub(crate) left: usize,
    /// Whether it stays at its end while lines come.
    pub(crate) follows: bool,
}

// === impl App ===

impl App {
    pub(crate) fn new(view: View, read_only: bool, now_ms: u64) -> Self {
        Self {
            board: Board::default(),
            is_told: false,
            told_ms: now_ms,
            history: History::default(),
            frozen: None,
            view,
            back: Vec::new(),
            forward: Vec::new(),
            places: BTreeMap::new(),
            panel: 0,
            page: PageText::default(),
            following: Following::default(),
            dialog: None,
            contexts: Vec::new(),
            said: Vec::new(),
            drawn: Vec::new(),
            message: None,
            wide: false,
            read_only,
            page_height: 20,
            now_ms,
            formatted: Counter::new(0),
        }
    }

    /// Takes a message and returns what it asks of the world.
    pub(crate) fn update(&mut self, msg: Msg) -> Vec<Act> {
        match msg {
            Msg::Key(key) => return self.key(key),
            Msg::Mouse(event) => return self.mouse(event),
            Msg::Resized => {}
            Msg::Tick(now_ms) => return self.tick(now_ms),
            Msg::Board(update) => {
                self.is_told |= self.board.take(*update);
                self.told_ms = self.now_ms;
                self.frozen = None;
            }
            Msg::Events(events, anew) => self.board.take_events(events, anew),
            Msg::Frozen(why) => {
                // Silence is noticed after a while; what is shown is as old as the last news.
                self.frozen = Some(Frozen { since_ms: self.told_ms, why });
            }
            Msg::Page(page, lines) => self.take_page(page, lines),
            Msg::Lines(page, lines) => self.take_lines(&page, lines),
            Msg::Question(question, act) => self.take_question(question, act),
            Msg::Done(text) => self.say(text, Ink::Green),
            Msg::Failed(text) => {
                // Whoever moves traffic goes on moving it.
                if let Some(Dialog::Traffic(edit)) = &mut self.dialog
                    && edit.stage == Stage::Asked
                {
                    edit.stage = Stage::Moving;
                }
                self.say(text, Ink::Red);
            }
        }
        Vec::new()
    }

    /// Takes the text of a page, if it is still looked at.
    fn take_page(&mut self, of: Page, lines: Vec<String>) {
        if self.view != View::Page(of.clone()) {
            return;
        }
        if let Some(asked_ms) = self.following.asked_ms.take() {
            self.following.rests_until_ms = self.now_ms + self.now_ms.saturating_sub(asked_ms) * PAGE_REST;
        }
        let fresh = self.page.of.as_ref() != Some(&of);
        if fresh {
            self.page.left = 0;
        }
        let top = if fresh { 0 } else { self.page.top.min(lines.len().saturating_sub(1)) };
        let follows = of.kind.is_log();
        self.page = PageText { of: Some(of), lines: lines.into(), top, left: self.page.left, follows };
    }

    /// Takes more lines of a log, if it is still looked at.
    fn take_lines(&mut self, of: &Page, lines: Vec<String>) {
        if self.view != View::Page(of.clone()) {
            return;
        }
        if self.page.of.as_ref() != Some(of) {
            self.page = PageText { of: Some(of.clone()), follows: true, ..PageText::default() };
        }
        let page = &mut self.page;
        page.lines.extend(lines);
        let beyond = page.lines.len().saturating_sub(LOG_LINES_MAX);
        page.lines.drain(..beyond);
        page.top = page.top.saturating_sub(beyond);
    }

    /// Asks what the world wants to know before it does something, unless somebody is at something else by now.
    fn take_question(&mut self, question: Vec<String>, act: Act) {
        let is_taken = match &mut self.dialog {
            Some(Dialog::Traffic(edit)) => edit.take_plan(&question, &act),
            // Who left the editor asks no longer.
            None => matches!(act, Act::SetTraffic(_)),
            _ => false,
        };
        if is_taken {
            return;
        }
        if self.dialog.is_some() {
            self.say("an answer came while something else was asked; press the key again", Ink::Yellow);
        } else {
            self.message = None;
            self.ask(question, act);
        }
    }

    /// Says something in the last line.
    pub(crate) fn say(&mut self, text: impl Into<String>, ink: Ink) {
        self.message = Some(Message { text: text.into(), ink, until_ms: self.now_ms + MESSAGE_MS });
    }

    /// Takes the time of day, once a second, and returns what is to be looked at again.
    fn tick(&mut self, now_ms: u64) -> Vec<Act> {
        self.now_ms = now_ms;
        if self.message.as_ref().is_some_and(|message| message.until_ms <= now_ms) {
            self.message = None;
        }
        if self.frozen.is_none() && self.is_told {
            self.history.note(&self.board, now_ms);
        }
        self.follow_page()
    }

    /// Asks for the page anew when the cluster is another than when it was fetched. One answer is waited for at a time,
    /// and what took long is asked for less often: a what-if of a large fleet is work for the leader.
    fn follow_page(&mut self) -> Vec<Act> {
        let View::Page(page) = &self.view else { return Vec::new() };
        let follows = match page.kind {
            // Requests are compared without anything else changing.
            PageKind::Mirror => self.seen() != self.following.seen,
            PageKind::Describe | PageKind::WhatIf | PageKind::Yaml => self.seen().0 != self.following.seen.0,
            // Logs come by themselves, and what became of a request stays as it is.
            PageKind::Logs | PageKind::PreviousLogs | PageKind::PrepareLogs | PageKind::Request => false,
        };
        let Following { asked_ms, rests_until_ms, .. } = self.following;
        if !follows || asked_ms.is_some() || self.now_ms < rests_until_ms || self.frozen.is_some() {
            return Vec::new();
        }
        let page = page.clone();
        self.asks();
        vec![Act::Open(page)]
    }

    /// What the board has told so far.
    fn seen(&self) -> (u64, u64) {
        (self.board.revision, self.board.newest_point())
    }

    /// Takes note that the page is asked for.
    fn asks(&mut self) {
        self.following = Following { asked_ms: Some(self.now_ms), seen: self.seen(), ..Following::default() };
    }

    /// Returns where one is in a list, as it is laid out now.
    pub(crate) fn place(&mut self, view: &View) -> &mut ListPlace {
        let look = Look { board: &self.board, wide: self.wide, now_ms: self.now_ms, formatted: &self.formatted };
        let place = self.places.entry(view.clone()).or_default();
        place.lay_out(view, look);
        place
    }

    /// Returns the list that has the cursor: the screen itself, or a panel of the dashboard.
    pub(crate) fn list(&self) -> View {
        if self.view == View::Dashboard { PANELS[self.panel].clone() } else { self.view.clone() }
    }

    /// Returns the lines of the page that its filter lets through.
    pub(crate) fn page_lines(&mut self) -> Vec<String> {
        let view = self.view.clone();
        let filter = self.place(&view).filter.clone();
        self.page.lines.iter().filter(|line| filter.lets([line.as_str()])).cloned().collect()
    }

    /// Returns the first line of the page to show: its end, while it follows.
    pub(crate) fn page_top(&mut self, lines: usize, height: usize) -> usize {
        let last = lines.saturating_sub(height);
        self.page.top = if self.page.follows { last } else { self.page.top.min(lines.saturating_sub(1)) };
        self.page.top
    }

    pub(super) fn set_filter(&mut self, filter: Filter) {
        let list = self.list();
        self.place(&list).filter = filter;
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
        (self.page.top, self.page.left) = (0, 0);
    }

    /// Opens a page and asks for its text.
    pub(super) fn open_page(&mut self, kind: PageKind, of: Subject) -> Vec<Act> {
        let page = Page { kind, of };
        self.page = PageText { lines: ["…".to_owned()].into(), ..PageText::default() };
        self.open(View::Page(page.clone()));
        self.asks();
        vec![Act::Open(page)]
    }

    /// Returns what has to be fetched again for a screen that was come back to.
    pub(super) fn reopened(&mut self) -> Vec<Act> {
        let View::Page(page) = &self.view else { return Vec::new() };
        let page = page.clone();
        if self.page.of.as_ref() == Some(&page) {
            return Vec::new();
        }
        self.page = PageText { lines: ["…".to_owned()].into(), ..PageText::default() };
        self.asks();
        vec![Act::Open(page)]
    }

    pub(super) fn escape(&mut self) -> Vec<Act> {
        let list = self.list();
        if self.place(&list).filter.is_on() {
            self.set_filter(Filter::default());
        } else if !self.place(&list).marked.is_empty() {
            self.place(&list).marked.clear();
        } else {
            return self.go_back();
        }
        Vec::new()
    }

    pub(super) fn go_back(&mut self) -> Vec<Act> {
        if let Some(view) = self.back.pop() {
            self.forward.push(std::mem::replace(&mut self.view, view));
        }
        self.reopened()
    }

    pub(super) fn go_forward(&mut self) -> Vec<Act> {
        if let Some(view) = self.forward.pop() {
            self.back.push(std::mem::replace(&mut self.view, view));
        }
        self.reopened()
    }

    pub(super) fn step(&mut self, step: Step) {
        if matches!(self.view, View::Page(_) | View::Help | View::Pulses | View::GpuGraphs) {
            let lines = if matches!(self.view, View::Page(_)) { self.page_lines().len() } else { usize::MAX };
            return self.page.step(step, lines, self.page_height.max(1));
        }
        let (list, page) = (self.list(), self.page_height);
        self.place(&list).step(step, page);
    }

    /// Shows what lies right of the screen, or goes back to the left.
    pub(super) fn sideways(&mut self, right: bool) {
        match &self.view {
            View::Page(_) => {
                let longest = self.page_lines().iter().map(|line| line.chars().count()).max().unwrap_or(0);
                let left = self.page.left;
                self.page.left = if right {
                    (left + PAGE_SIDEWAYS).min(longest.saturating_sub(1))
                } else {
                    left.saturating_sub(PAGE_SIDEWAYS)
                };
            }
            View::Help | View::Pulses | View::GpuGraphs => {}
            _ => {
                let list = self.list();
                self.place(&list).sideways(right);
            }
        }
    }

    // --- what is under the cursor

    pub(super) fn subject(&mut self) -> Option<Subject> {
        match &self.view {
            View::Page(page) => Some(page.of.clone()),
            View::Help | View::Pulses | View::GpuGraphs => None,
            _ => {
                let list = self.list();
                self.place(&list).at().cloned()
            }
        }
    }

    /// Returns what is marked, else what is under the cursor.
    pub(super) fn subjects(&mut self) -> Vec<Subject> {
        let list = self.list();
        let marked: Vec<_> = self.place(&list).marked.iter().cloned().collect();
        if marked.is_empty() { self.subject().into_iter().collect() } else { marked }
    }
}

// === impl PageText ===

impl PageText {
    fn step(&mut self, step: Step, lines: usize, height: usize) {
        let last = lines.saturating_sub(1);
        self.top = match step {
            Step::Up => self.top.saturating_sub(1),
            Step::Down => self.top.saturating_add(1).min(last),
            Step::PageUp => self.top.saturating_sub(height),
            Step::PageDown => self.top.saturating_add(height).min(last),
            Step::Top => 0,
            // What draws knows where the end is.
            Step::Bottom => last.saturating_sub(height.saturating_sub(1)),
        };
        // Whoever scrolls reads; whoever goes to the end follows again.
        self.follows = step == Step::Bottom && self.of.as_ref().is_some_and(|of| of.kind.is_log());
    }
}
