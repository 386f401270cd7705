//! What a terminal is sent.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use ratatui::{Terminal, TerminalOptions, Viewport, backend::TestBackend, layout::Rect};

use super::*;
use crate::tui::{draw, forget, steady::Steady};

const SIZE: (u16, u16) = (120, 40);
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const CLEAR: &str = "\x1b[2J";

/// What was written, write by write.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<String>>>);

// === impl Tape ===

impl Tape {
    /// Takes what was written since it was asked last.
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).map_err(io::Error::other)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A screen and the terminal it is drawn on.
struct Drawn {
    app: App,
    terminal: Terminal<Steady<Tape>>,
    tape: Tape,
}

// === impl Drawn ===

impl Drawn {
    fn new(view: View) -> Self {
        let tape = Tape::default();
        let viewport = Viewport::Fixed(Rect::new(0, 0, SIZE.0, SIZE.1));
        let terminal = Terminal::with_options(Steady::new(tape.clone()), TerminalOptions { viewport });
        Self { app: app(view), terminal: terminal.expect("a terminal"), tape }
    }

    /// Draws a frame and returns what that wrote.
    fn draw(&mut self) -> Vec<String> {
        self.terminal.draw(|frame| draw::frame(&mut self.app, frame, true)).expect("it is drawn");
        self.tape.taken()
    }

    /// Returns every cell, as it should be seen.
    fn cells(&mut self) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).expect("a terminal");
        terminal.draw(|frame| draw::frame(&mut self.app, frame, true)).expect("it is drawn");
        terminal.backend().buffer().content().iter().map(|cell| cell.symbol().to_owned()).collect()
    }
}

/// Leaves out what moves and paints.
fn printed(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        out.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    out + rest
}

#[test]
fn a_frame_is_one_write_and_shown_at_once() {
    let mut drawn = Drawn::new(View::Dashboard);
    let wrote = drawn.draw().concat();
    assert!(wrote.contains("fraud"), "{wrote}");
    let (before, frame) = wrote.split_once(BEGIN).expect("it begins");
    assert!(!before.contains("fraud") && frame.ends_with(END), "{wrote}");
    assert_eq!((wrote.matches(BEGIN).count(), wrote.matches(END).count()), (1, 1));
    drawn.app.view = View::Nodes;
    let wrote = drawn.draw();
    assert_eq!(wrote.len(), 1, "one write: {wrote:?}");
    assert!(wrote[0].starts_with(BEGIN) && wrote[0].ends_with(END), "{wrote:?}");
    assert!(!wrote[0].contains(CLEAR), "another screen is written over this one");
}

#[test]
fn what_did_not_change_is_not_sent() {
    for view in [
        View::Dashboard,
        View::Pulses,
        View::Endpoints,
        View::Deployments { endpoint: String::new() },
        View::all_replicas(),
        View::Nodes,
        View::GpuGraphs,
        View::Events,
        View::Tree,
        View::Help,
    ] {
        let mut drawn = Drawn::new(view);
        assert!(!drawn.draw().is_empty());
        let title = drawn.app.view.title();
        assert_eq!(drawn.draw(), [""; 0], "{title}");
        // The same told again is no news.
        drawn.app.update(Msg::Board(Box::new(board())));
        assert_eq!(drawn.draw(), [""; 0], "{title}");
    }
}

#[test]
fn of_what_changed_only_its_cells_are_sent() {
    let mut drawn = Drawn::new(View::all_replicas());
    drawn.draw();
    let before = drawn.cells();
    let mut update = board();
    update.replicas[0].restarts = 4;
    update.replicas[1].restarts = 1;
    drawn.app.update(Msg::Board(Box::new(update)));
    let after = drawn.cells();
    let changed: String = before.iter().zip(&after).filter(|(was, is)| was != is).map(|(_, is)| is.as_str()).collect();
    let wrote = drawn.draw();
    assert_eq!((wrote.len(), printed(&wrote.concat())), (1, changed.clone()), "{wrote:?}");
    assert_eq!(changed, "41", "these two and nothing else");
    assert!(!wrote[0].contains(CLEAR));
}

/// Whoever has drawn over the screen is written over in the same frame that clears it.
#[test]
fn a_screen_that_is_forgotten_is_cleared_once_with_its_next_frame() {
    let mut drawn = Drawn::new(View::Nodes);
    drawn.draw();
    forget(&mut drawn.terminal).expect("it is forgotten");
    let wrote = drawn.tape.taken().concat() + &drawn.draw().concat();
    assert_eq!((wrote.matches(BEGIN).count(), wrote.matches(END).count(), wrote.matches(CLEAR).count()), (1, 1, 1));
    assert!(wrote.find(BEGIN) < wrote.find(CLEAR) && wrote.ends_with(END), "{wrote:?}");
    assert!(wrote.contains("\x1b[?25l"), "an editor leaves the cursor shown");
    assert!(printed(&wrote).contains("node-1"), "{wrote:?}");
    assert_eq!(drawn.draw(), [""; 0]);
}
