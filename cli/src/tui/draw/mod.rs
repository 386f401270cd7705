//! From the state to a frame: a line about the cluster, the screen, a line of keys.

mod dashboard;
mod dialog;
mod figures;
mod graphs;
mod help;
mod list;
pub(super) mod paint;
mod pulses;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    app::App,
    complete::complete,
    dialog::{Dialog, Prompt, PromptKind},
    view::View,
};
use crate::{output::Ink, view};
use paint::Paint;

/// Draws a frame.
pub(crate) fn frame(app: &mut App, frame: &mut Frame<'_>, color: bool) {
    let paint = Paint { color };
    app.drawn.clear();
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(header(app, paint, head.width)), head);
    match app.view.clone() {
        View::Dashboard => dashboard::draw(app, frame, body, paint),
        View::Pulses => pulses::draw(app, frame, body, paint),
        View::GpuGraphs => graphs::draw(app, frame, body, paint),
        View::Help => lines(app, frame, body, help::lines(paint)),
        View::Page(page) => {
            let height = usize::from(body.height);
            app.page_height = height;
            let text = app.page_lines();
            let (top, left) = (app.page_top(text.len(), height), app.page.left);
            let line = |line: &String| Line::raw(clean(line).chars().skip(left).collect::<String>());
            let mut shown: Vec<_> = text.iter().skip(top).take(height).map(line).collect();
            if app.page.lines.is_empty() {
                let why = if page.kind.is_log() { "nothing was written yet" } else { "there is nothing to tell" };
                shown.push(Line::styled(why, paint.ink(Ink::Grey)));
            } else if text.is_empty() {
                shown.push(Line::styled(list::nothing(true, true), paint.ink(Ink::Grey)));
            }
            frame.render_widget(bounded(shown, body.width), body);
        }
        list => list::draw(app, &list, frame, body, paint, true),
    }
    frame.render_widget(Paragraph::new(footer(app, paint, foot.width)), foot);
    if let Some(dialog) = app.dialog.clone() {
        dialog::draw(app, &dialog, frame, body, paint);
    }
}

/// Alerts that the second line names; the rest are counted.
const FIRING_MAX: usize = 3;

/// A control character would tear the screen, whoever wrote the text.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Shortens a text with a sign.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Lays lines out; one that goes on beside the screen ends in a sign that says so.
fn bounded(lines: impl IntoIterator<Item = Line<'static>>, width: u16) -> Paragraph<'static> {
    let width = usize::from(width);
    let whole = |line: Line<'static>| {
        let text = line.to_string();
        // Spaces fill a cell up: nothing is lost with them.
        if text.trim_end().chars().count() <= width || width == 0 {
            return line;
        }
        let mut room = width - 1;
        let mut spans = Vec::new();
        for span in &line.spans {
            let kept = short(&span.content, room);
            room -= kept.chars().count();
            let is_last = room == 0;
            spans.push(Span::styled(kept + if is_last { "›" } else { "" }, span.style));
            if is_last {
                break;
            }
        }
        Line { spans, ..line }
    };
    Paragraph::new(lines.into_iter().map(whole).collect::<Vec<_>>())
}

fn lines(app: &mut App, frame: &mut Frame<'_>, area: Rect, text: Vec<Line<'static>>) {
    app.page_height = usize::from(area.height);
    let top = app.page_top(text.len(), usize::from(area.height));
    frame.render_widget(bounded(text.into_iter().skip(top), area.width), area);
}

/// The first line says what cluster this is and how it is; the second where one is.
fn header(app: &App, paint: Paint, width: u16) -> Vec<Line<'static>> {
    let board = &app.board;
    let mut spans = vec![Span::styled("berth ", paint.bold()), Span::raw(short(&board.info.cluster_id, 12))];
    // What is frozen comes first: everything else on the screen is to be read with it in mind.
    if let Some(frozen) = &app.frozen {
        let since = view::age(frozen.since_ms, app.now_ms);
        let text = if app.is_told {
            format!("  frozen at version {} since {since}", board.info.table_version)
        } else {
            format!("  nothing was told yet, for {since}")
        };
        spans.push(Span::styled(text, paint.ink(Ink::Red)));
    }
    let (ready, nodes) = (board.nodes_ready(), board.nodes.len());
    let ink = if ready < nodes { Ink::Yellow } else { Ink::Plain };
    spans.push(Span::styled(format!("  {ready}/{nodes} nodes ready"), paint.ink(ink)));
    // Of those that are asked for: a lost one that others stand in for is none that is missing.
    let (serving, wanted) = board.deployments.iter().fold((0, 0), |(r, d), it| (r + it.ready, d + it.desired));
    let serving = format!("  {serving}/{wanted} replicas serving");
    // A figure that is cut is another one: it is there as a whole or not at all.
    let taken: usize = spans.iter().map(Span::width).sum();
    if taken + serving.chars().count() <= usize::from(width) {
        spans.push(Span::raw(serving));
    }
    let leads = format!("  leader {}  version {}", board.info.leader_address, board.info.table_version);
    let leads = (app.frozen.is_none()).then(|| Span::styled(clean(&leads), paint.ink(Ink::Grey)));
    let taken: usize = spans.iter().map(Span::width).sum();
    let is_wide = leads.as_ref().is_some_and(|leads| taken + leads.width() <= usize::from(width));
    spans.extend(leads.clone().filter(|_| is_wide));
    let mut second = vec![Span::styled(format!("<{}>", clean(&app.view.title())), paint.bold())];
    if app.read_only {
        second.push(Span::styled("  read-only", paint.ink(Ink::Grey)));
    }
    if let Some(frozen) = &app.frozen {
        second.push(Span::styled(format!("  {}", clean(&frozen.why)), paint.ink(Ink::Red)));
    } else if !board.firing().is_empty() {
        let (shown, all) = (board.firing(), board.firing().len());
        let mut text = shown.into_iter().take(FIRING_MAX).collect::<Vec<_>>().join(", ");
        if all > FIRING_MAX {
            text.push_str(&format!(" and {} more", all - FIRING_MAX));
        }
        second.push(Span::styled(format!("  alert: {}", clean(&text)), paint.ink(Ink::Red)));
    } else if let Some(warning) = board.info.warnings.first().or(board.info.not_covered.first()) {
        second.push(Span::styled(format!("  warning: {}", clean(warning)), paint.ink(Ink::Yellow)));
    }
    // Behind what is more urgent, and whole or not at all, too.
    let taken: usize = second.iter().map(Span::width).sum();
    second.extend(leads.filter(|leads| !is_wide && taken + leads.width() <= usize::from(width)));
    vec![Line::from(spans), Line::from(second)]
}

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Returns what `tab` would add.
fn ghost(app: &App, prompt: &Prompt) -> String {
    let whole = (prompt.kind == PromptKind::Command).then(|| complete(&prompt.text, &app.board)).flatten();
    whole.and_then(|whole| whole.get(prompt.text.len()..).map(str::to_owned)).unwrap_or_default()
}

/// The last line: what is typed, what was said, or which keys there are.
fn footer(app: &mut App, paint: Paint, width: u16) -> Line<'static> {
    if let Some(Dialog::Prompt(prompt)) = &app.dialog {
        let typed = format!("{}{}", prompt.sign(), prompt.text);
        return Line::from(vec![
            Span::raw(typed),
            Span::styled(" ", Style::default().add_modifier(Modifier::REVERSED)),
            Span::styled(ghost(app, prompt), paint.ink(Ink::Grey)),
        ]);
    }
    if let Some(message) = &app.message {
        return Line::styled(clean(&message.text), paint.ink(message.ink));
    }
    let list = app.list();
    let place = app.place(&list);
    let (filter, marked) = (place.filter.clone(), place.marked.len());
    let mut text = String::new();
    if filter.is_on() {
        text = format!("filter {}{}  ", if filter.inverse { "not " } else { "" }, filter.text);
    }
    if marked > 0 {
        text.push_str(&format!("{marked} marked  "));
    }
    let keys = match &app.view {
        View::Dashboard => "1-3 panel  enter open  t traffic  P pulses  X tree  : go to  / filter  ? help",
        View::Endpoints => "enter deployments  t traffic  m mirror  d describe  e edit  ctrl-d delete  ? help",
        View::Deployments { .. } => "enter replicas  t traffic  s scale  r restart  d explain  l logs  e edit  ? help",
        View::Rollouts => "enter replicas  r restart  ctrl-l back  d explain  l logs  t traffic  ? help",
        View::Replicas { .. } => "l logs  p previous  b build log  d describe  ctrl-k replace  ? help",
        View::Nodes => "enter replicas  w what if lost  r drain  u cordon  d describe  g gpus  ? help",
        View::Page(page) if page.kind.is_log() => "esc back  ↑↓←→ scroll  G follow  / filter  ctrl-r again  ? help",
        View::Page(_) => "esc back  ↑↓←→ scroll  / filter  y yaml  ctrl-r again  ? help",
        View::Help | View::Pulses | View::GpuGraphs => "esc back  ↑↓ scroll  / filter  ? help",
        View::Coordinators | View::Gpus | View::Slots | View::Events | View::Tree | View::Aliases => {
            "enter open  / filter  esc back  ? help"
        }
    };
    let room = usize::from(width).saturating_sub(text.chars().count());
    Line::styled(text + &fitting(keys, room), paint.ink(Ink::Grey))
}

/// Leaves out the last keys that find no room, and never the one that shows all of them.
fn fitting(keys: &str, room: usize) -> String {
    let mut parts: Vec<&str> = keys.split("  ").collect();
    while parts.len() > 1 && parts.join("  ").chars().count() > room {
        parts.remove(parts.len() - 2);
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_goes_on_says_so() {
        for (parts, shown) in [
            (&["12345"][..], "12345"),
            (&["123456"], "1234›"),
            (&["1234", "56"], "1234›"),
            (&["12", "34", "56"], "1234›"),
            (&["12345   "], "12345"),
            (&["", "123  ", "   6"], "123 ›"),
            (&[""], ""),
        ] {
            let line = Line::from(parts.iter().map(|part| Span::raw(*part)).collect::<Vec<_>>());
            let (area, paragraph) = (Rect::new(0, 0, 5, 1), bounded([line], 5));
            let mut buffer = ratatui::buffer::Buffer::empty(area);
            ratatui::widgets::Widget::render(paragraph, area, &mut buffer);
            let drawn: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
            assert_eq!(drawn.trim_end(), shown, "{parts:?}");
        }
    }

    #[test]
    fn the_line_of_keys_always_ends_in_help() {
        for (room, shown) in [
            (80, "enter open  t traffic  ? help"),
            (29, "enter open  t traffic  ? help"),
            (28, "enter open  ? help"),
            (10, "? help"),
            (0, "? help"),
        ] {
            assert_eq!(fitting("enter open  t traffic  ? help", room), shown);
        }
    }
}
