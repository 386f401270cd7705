//! Everything at a glance: endpoints with their split, nodes with what is held on them, what happened last.

use std::collections::BTreeMap;

use berth_client::api::{Endpoint, Node};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    clean, list,
    paint::{Paint, bar, spark},
};
use crate::{
    output::{Ink, state_ink},
    tui::{
        app::{App, PANELS},
        view::View,
    },
    view,
};

/// Screens from this width on put events beside the rest.
const TWO_COLUMNS: u16 = 140;

/// Room for the longest word of a node's state: `ready,cordoned`.
const STATE_WIDTH: usize = 14;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let (left, right) = if area.width >= TWO_COLUMNS {
        let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).areas(area);
        (left, Some(right))
    } else {
        (area, None)
    };
    let (endpoints, nodes) = (app.board.endpoints.len() as u16 + 1, app.board.nodes.len() as u16 + 1);
    // Each gets what it needs up to its share; the rest is for events.
    let share = if right.is_some() { left.height / 2 } else { left.height / 3 };
    let parts = [Constraint::Length(endpoints.clamp(2, share) + 1), Constraint::Length(nodes.clamp(2, share) + 1)];
    let [top, middle, bottom] = Layout::vertical([parts[0], parts[1], Constraint::Min(0)]).areas(left);
    panel(app, frame, top, paint, 0);
    panel(app, frame, middle, paint, 1);
    panel(app, frame, right.unwrap_or(bottom), paint, 2);
}

fn panel(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint, nth: usize) {
    let [title, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let has_cursor = app.panel == nth;
    let style = if has_cursor { paint.bold() } else { paint.ink(Ink::Grey) };
    let text = format!("{} {} ", nth + 1, PANELS[nth].title());
    let rule = "─".repeat(usize::from(area.width).saturating_sub(text.chars().count()));
    frame.render_widget(Paragraph::new(Line::styled(text + &rule, style)), title);
    match &PANELS[nth] {
        View::Endpoints => pictures(app, frame, body, paint, has_cursor, &View::Endpoints),
        View::Nodes => pictures(app, frame, body, paint, has_cursor, &View::Nodes),
        list => list::draw(app, list, frame, body, paint, has_cursor),
    }
}

/// Draws rows that hold pictures, which a plain list cannot.
fn pictures(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint, has_cursor: bool, panel: &View) {
    let rows = if has_cursor { std::mem::take(&mut app.rows) } else { app.rows_of(panel) };
    let height = usize::from(area.height);
    if has_cursor {
        app.page_height = height;
    }
    let in_flight: BTreeMap<String, u64> =
        app.board.in_flight().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    let place = app.place(panel);
    let (top, at) = (place.scroll(height), place.line());
    let name_width = rows.rows.iter().map(|row| row.subject.to_string().chars().count()).max().unwrap_or(0).min(24);
    let mut lines = Vec::new();
    for (nth, row) in rows.rows.iter().enumerate().skip(top).take(height) {
        let name = row.subject.to_string();
        let style = if has_cursor && nth == at { paint.cursor() } else { paint.bold() };
        let mut spans = vec![Span::styled(format!("{:name_width$}", clean(&name)), style), Span::raw("  ")];
        if let Some(endpoint) = app.board.endpoint(&name).filter(|_| *panel == View::Endpoints) {
            let load = in_flight.get(&name).copied().unwrap_or(0);
            spans.extend(of_endpoint(app, endpoint, load, paint, area.width));
        } else if let Some(node) = app.board.nodes.iter().find(|node| node.node == name) {
            spans.extend(of_node(node, paint, area.width));
        }
        lines.push(Line::from(spans));
    }
    if rows.rows.is_empty() {
        lines.push(Line::styled(" nothing here yet", paint.ink(Ink::Grey)));
    }
    frame.render_widget(Paragraph::new(lines), area);
    if has_cursor {
        app.rows = rows;
    }
}

fn of_endpoint(app: &App, endpoint: &Endpoint, in_flight: u64, paint: Paint, width: u16) -> Vec<Span<'static>> {
    let mut spans = vec![Span::styled(
        format!("{:10}", endpoint.provisioning_state),
        paint.ink(state_ink(&endpoint.provisioning_state)),
    )];
    let (mut ready, mut desired) = (0, 0);
    for deployment in app.board.deployments_of(&endpoint.name) {
        ready += deployment.ready;
        desired += deployment.desired;
    }
    let ink = if ready < desired { Ink::Yellow } else { Ink::Plain };
    spans.push(Span::styled(format!(" {:>7}", format!("{ready}/{desired}")), paint.ink(ink)));
    spans.push(Span::raw(format!("  {in_flight:>4} in flight ")));
    if width >= 100 {
        spans.push(Span::raw(spark(&app.history.in_flight(&endpoint.name), 20)));
    }
    for (name, percent) in endpoint.traffic.iter().filter(|(_, percent)| **percent > 0) {
        spans.push(Span::raw(format!("  {name} {} {percent} %", bar(u64::from(*percent), 100, 8))));
    }
    for (name, percent) in endpoint.mirror_traffic.iter().filter(|(_, percent)| **percent > 0) {
        spans.push(Span::styled(format!("  mirror {name} {percent} %"), paint.ink(Ink::Grey)));
    }
    if endpoint.traffic.values().all(|percent| *percent == 0) {
        spans.push(Span::styled("  no traffic", paint.ink(Ink::Yellow)));
    }
    spans
}

fn of_node(node: &Node, paint: Paint, width: u16) -> Vec<Span<'static>> {
    let (state, ink) = match view::wish(node) {
        Some(wish) => (format!("{},{wish}", node.state), Ink::Yellow),
        None => (node.state.clone(), state_ink(&node.state)),
    };
    let mut spans = vec![Span::styled(format!("{state:STATE_WIDTH$}"), paint.ink(ink))];
    let (capacity, held) = (node.capacity.unwrap_or_default(), node.allocated.unwrap_or_default());
    let cells = if width >= 100 { 16 } else { 8 };
    let mut gauge = |name: &str, held: u64, capacity: u64| {
        let percent = held.saturating_mul(100).checked_div(capacity).unwrap_or(0);
        spans.push(Span::raw(format!("  {name} {} {percent:>3} %", bar(held, capacity, cells))));
    };
    gauge("cpu", held.cpu_milli, capacity.cpu_milli);
    gauge("mem", held.memory_mib, capacity.memory_mib);
    if capacity.gpus > 0 {
        gauge("gpu", held.gpus, capacity.gpus);
    }
    spans.push(Span::raw(format!("  {}", berth_core::units::Count(node.replicas, "replica"))));
    spans
}
