//! A list: headings, the rows that fit, the cursor. Rows beside the screen are not formatted.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{bounded, clean, paint::Paint};
use crate::{
    output::{Cell, Ink},
    tui::{
        app::App,
        list::ListPlace,
        mouse::Drawn,
        rows::{Item, Look},
        view::{Subject, View},
    },
};

/// Events from this width on have a column of what they are about; their text says it, too.
const EVENTS_ROOMY: u16 = 140;

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
    let shown_columns = shown_columns(list, &place.columns, place.left(), area.width);
    let mut lines = vec![headings(place, &shown_columns, &widths, area.width, paint)];
    let subjects: Vec<Subject> =
        if place.marked.is_empty() { Vec::new() } else { shown.iter().map(Item::subject).collect() };
    for (nth, cells) in rows.iter().enumerate() {
        let is_at = has_cursor && top + nth == at;
        let is_marked = subjects.get(nth).is_some_and(|subject| place.marked.contains(subject));
        // In a tree, what no filter looked for is there for what is in it.
        let is_beside = *list == View::Tree && !place.filter.lets(cells.iter().map(Cell::text));
        let mut spans = vec![Span::raw(if is_marked { "*" } else { " " })];
        let last = shown_columns.last().copied();
        for column in shown_columns.iter().copied() {
            let (Some(cell), Some(width)) = (cells.get(column), widths.get(column)) else { continue };
            let text = pad(&clean(cell.text()), *width, Some(column) == last);
            let style = match (is_at, is_beside) {
                (true, _) => paint.cursor(),
                (false, true) => paint.dim(),
                (false, false) => paint.ink(cell.ink()),
            };
            spans.push(Span::styled(text, style));
        }
        lines.push(Line::from(spans));
    }
    if rows.is_empty() {
        let why = nothing(is_told, place.filter.is_on());
        lines.push(Line::styled(format!(" {why}"), paint.ink(Ink::Grey)));
    }
    frame.render_widget(bounded(lines, area.width), area);
    // Below the headings, for the mouse.
    let area = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    app.drawn.push(Drawn { list: list.clone(), area, top });
}

/// Picks the columns that are drawn: not those scrolled off, and on a narrow screen not one that only says again what
/// the text of an event says.
fn shown_columns(list: &View, columns: &[&str], left: usize, width: u16) -> Vec<usize> {
    let is_shown = |at: &usize| {
        let is_told_twice = *list == View::Events && width < EVENTS_ROOMY && columns[*at] == "ABOUT";
        (*at == 0 || *at > left) && !is_told_twice
    };
    (0..columns.len()).filter(is_shown).collect()
}

/// Says why there are no rows.
pub(super) fn nothing(is_told: bool, is_filtered: bool) -> &'static str {
    match (is_told, is_filtered) {
        (false, _) => "nothing was told yet",
        (true, true) => "nothing matches the filter; esc clears it",
        (true, false) => "nothing here yet",
    }
}

/// Writes the headings of the columns that are drawn; signs at both ends say that there is more beside the screen.
fn headings(place: &ListPlace, shown: &[usize], widths: &[usize], screen: u16, paint: Paint) -> Line<'static> {
    let last = shown.last().copied();
    let mut text = String::from(if place.left() > 0 { "‹" } else { " " });
    for at in shown.iter().copied() {
        let (Some(name), Some(width)) = (place.columns.get(at), widths.get(at)) else { continue };
        text.push_str(&pad(&format!("{name}{}", place.arrow(name)), *width, Some(at) == last));
    }
    let (screen, wide) = (usize::from(screen), 1 + shown.iter().map(|at| widths[*at] + 2).sum::<usize>());
    if wide > screen + 2 && screen > 1 {
        let kept: String = text.chars().take(screen - 1).collect();
        text = format!("{kept:width$}›", width = screen - 1);
    }
    Line::styled(text, paint.bold())
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
