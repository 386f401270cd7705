//! A list: headings, the rows that fit, the cursor.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{clean, paint::Paint};
use crate::{
    output::Ink,
    tui::{app::App, list::ListPlace, rows::Rows, view::View},
};

/// Draws a list into `area`; `has_cursor` when keys move in it.
pub(super) fn draw(app: &mut App, list: &View, frame: &mut Frame<'_>, area: Rect, paint: Paint, has_cursor: bool) {
    let rows = if has_cursor { std::mem::take(&mut app.rows) } else { app.rows_of(list) };
    let height = usize::from(area.height).saturating_sub(1);
    if has_cursor {
        app.page_height = height;
    }
    let place = app.place(list);
    let top = place.scroll(height);
    let widths = widths(&rows, place);
    let mut lines = vec![headings(&rows, place, &widths, paint)];
    for (at, row) in rows.rows.iter().enumerate().skip(top).take(height) {
        let is_at = has_cursor && at == place.line();
        let mark = if place.marked.contains(&row.subject) { "*" } else { " " };
        let mut spans = vec![Span::raw(mark)];
        for (cell, width) in row.cells.iter().zip(&widths) {
            let text = pad(&clean(cell.text()), *width);
            let style = if is_at { paint.cursor() } else { paint.ink(cell.ink()) };
            spans.push(Span::styled(text, style));
        }
        lines.push(Line::from(spans));
    }
    if rows.rows.is_empty() {
        let why = if place.filter.is_on() { "nothing matches the filter; esc clears it" } else { "nothing here yet" };
        lines.push(Line::styled(format!(" {why}"), paint.ink(Ink::Grey)));
    }
    frame.render_widget(Paragraph::new(lines), area);
    if has_cursor {
        app.rows = rows;
    }
}

fn headings(rows: &Rows, place: &ListPlace, widths: &[usize], paint: Paint) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (name, width) in rows.columns.iter().zip(widths) {
        spans.push(Span::styled(pad(&format!("{name}{}", place.arrow(name)), *width), paint.bold()));
    }
    Line::from(spans)
}

/// Returns the width of each column with the space behind it.
fn widths(rows: &Rows, place: &ListPlace) -> Vec<usize> {
    let width = |(at, name): (usize, &&'static str)| {
        let cells = rows.rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| cell.text().chars().count());
        let heading = name.chars().count() + place.arrow(name).chars().count();
        cells.chain([heading]).max().unwrap_or(0) + 2
    };
    rows.columns.iter().enumerate().map(width).collect()
}

fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}
