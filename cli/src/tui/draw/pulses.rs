//! Pulses: what every endpoint answered over the last two minutes, and the rate of events.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    bounded, clean,
    figures::Lately,
    paint::{Paint, spark},
};
use crate::{
    output::Ink,
    tui::{app::App, board::Answered},
};

/// Room before a line of history, and behind it for its largest value.
const HEAD: usize = 24;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    app.page_height = usize::from(area.height);
    let width = usize::from(area.width).saturating_sub(HEAD).clamp(10, 60);
    let mut lines = vec![Line::styled("two minutes, a point for two seconds, now at the right", paint.ink(Ink::Grey))];
    let line = |name: &str, now: String, points: &[Option<u64>]| {
        Line::from(format!("  {name:11} {now:>8}  {}", spark(points, width)))
    };
    for endpoint in &app.board.endpoints {
        let points = app.board.answered(&endpoint.name, None);
        let lately = Lately::of(&points, app.board.point_seconds());
        let of = |read: fn(&Answered) -> Option<u64>| points.iter().map(read).collect::<Vec<_>>();
        lines.push(Line::from(vec![
            Span::styled(clean(&endpoint.name), paint.bold()),
            Span::styled(format!("  half within {}", lately.p50()), paint.ink(Ink::Grey)),
        ]));
        lines.push(line("requests/s", lately.rate(), &of(|point| Some(point.requests))));
        lines.push(line("p95", lately.p95(), &of(Answered::p95)));
        lines.push(line("failed", lately.failed(), &of(|point| Some(point.failed))));
        let now = app.board.in_flight(&endpoint.name).to_string();
        lines.push(line("in flight", now, &app.history.in_flight(&endpoint.name)));
    }
    lines.push(Line::styled("events", paint.bold()));
    let events = app.history.events();
    lines.push(line("in 2 s", events.last().copied().flatten().unwrap_or(0).to_string(), &events));
    let top = app.page_top(lines.len(), usize::from(area.height));
    frame.render_widget(bounded(lines.into_iter().skip(top), area.width), area);
}
