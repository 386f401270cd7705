//! What the mouse means: the wheel scrolls, a click goes to a row, a click on the row one is at goes into it.

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, MouseButton, MouseEvent, MouseEventKind},
    layout::{Position, Rect},
};

use super::{
    act::Act,
    app::{App, PANELS},
    list::Step,
    view::View,
};

/// Rows that one notch of the wheel moves.
const NOTCH: usize = 3;

/// Where the rows of a list were drawn last.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) list: View,
    pub(crate) area: Rect,
    /// The row that is the first in it.
    pub(crate) top: usize,
}

// === impl App ===

impl App {
    /// Takes what the mouse did and says what it asks of the world.
    pub(super) fn mouse(&mut self, event: MouseEvent) -> Vec<Act> {
        let at = Position::new(event.column, event.row);
        match event.kind {
            MouseEventKind::ScrollUp => self.wheel(at, Step::Up, KeyCode::Up),
            MouseEventKind::ScrollDown => self.wheel(at, Step::Down, KeyCode::Down),
            MouseEventKind::Down(MouseButton::Left) if self.dialog.is_none() => return self.click(at),
            _ => {}
        }
        Vec::new()
    }

    fn wheel(&mut self, at: Position, step: Step, key: KeyCode) {
        if let Some(dialog) = &mut self.dialog {
            // A long question scrolls as by its keys; no answer comes of these.
            let _ = dialog.key(KeyEvent::from(key));
            return;
        }
        self.point_at(at);
        (0..NOTCH).for_each(|_| self.step(step));
    }

    fn click(&mut self, at: Position) -> Vec<Act> {
        let Some(drawn) = self.point_at(at) else { return Vec::new() };
        let row = drawn.top + usize::from(at.y - drawn.area.y);
        let place = self.place(&drawn.list);
        if row >= place.items.len() {
            return Vec::new();
        }
        if place.line() == row {
            return self.enter();
        }
        place.go_to(row);
        Vec::new()
    }

    /// Finds the list under the mouse; on the dashboard its panel gets the cursor.
    fn point_at(&mut self, at: Position) -> Option<Drawn> {
        let drawn = self.drawn.iter().find(|drawn| drawn.area.contains(at)).cloned()?;
        if self.view == View::Dashboard
            && let Some(panel) = PANELS.iter().position(|panel| *panel == drawn.list)
            && panel != self.panel
        {
            self.panel = panel;
        }
        Some(drawn)
    }
}
