//! A list: headings, the rows that fit, the cursor. Rows beside the screen are not formatted.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{clean, paint::Paint};
use crate::{
    output::{Cell, Ink},
    tui::{
        app::App,
        rows::{Item, Look},
        view::{Subject, View},
    },
};

/// Draws a list into `area`; `has_cursor` when keys move in it.
pub(super) fn draw(app: &mut App, list: &View, frame: &mut Frame<'_>, area: Rect, paint: Paint, has_cursor: bool) {
    let height = usize::from(area.height).saturating_sub(1);
    if has_cursor {
        app.page_height = height;
    }
    let place = app.place(list);
    let (top, at) = (place.scroll(height), place.line());
    let shown: Vec<Item> = place.items.iter().skip(top).take(height).cloned().collect();
    let look = Look { board: &app.board, wide: app.wide, now_ms: app.now_ms, formatted: &app.formatted };
    let rows: Vec<Vec<Cell>> = shown.iter().map(|item| item.cells(look)).collect();
    let is_told = app.is_told;
    let place = app.place(list);
    let widths = place.widths(&rows);
    let mut lines = vec![headings(&place.columns, &widths, |name| place.arrow(name), paint)];
    let subjects: Vec<Subject> =
        if place.marked.is_empty() { Vec::new() } else { shown.iter().map(Item::subject).collect() };
    for (nth, cells) in rows.iter().enumerate() {
        let is_at = has_cursor && top + nth == at;
        let is_marked = subjects.get(nth).is_some_and(|subject| place.marked.contains(subject));
        let mut spans = vec![Span::raw(if is_marked { "*" } else { " " })];
        let last = cells.len().saturating_sub(1);
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let text = pad(&clean(cell.text()), *width, column == last);
            let style = if is_at { paint.cursor() } else { paint.ink(cell.ink()) };
            spans.push(Span::styled(text, style));
        }
        lines.push(Line::from(spans));
    }
    if rows.is_empty() {
        let why = nothing(is_told, place.filter.is_on());
        lines.push(Line::styled(format!(" {why}"), paint.ink(Ink::Grey)));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Says why there are no rows.
pub(super) fn nothing(is_told: bool, is_filtered: bool) -> &'static str {
    match (is_told, is_filtered) {
        (false, _) => "nothing was told yet",
        (true, true) => "nothing matches the filter; esc clears it",
        (true, false) => "nothing here yet",
    }
}

fn headings(
    columns: &[&'static str],
    widths: &[usize],
    arrow: impl Fn(&str) -> &'static str,
    paint: Paint,
) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    let last = columns.len().saturating_sub(1);
    for (at, (name, width)) in columns.iter().zip(widths).enumerate() {
        spans.push(Span::styled(pad(&format!("{name}{}", arrow(name)), *width, at == last), paint.bold()));
    }
    Line::from(spans)
}

/// Fills a cell up to its column and two spaces; what is too long for it ends in a sign.
fn pad(text: &str, width: usize, is_last: bool) -> String {
    let long = text.chars().count();
    if is_last {
        return text.to_owned();
    }
    if long > width {
        let kept: String = text.chars().take(width.saturating_sub(1)).collect();
        return format!("{kept}…  ");
    }
    format!("{text}{}  ", " ".repeat(width - long))
}
