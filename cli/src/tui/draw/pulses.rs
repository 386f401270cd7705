//! Pulses: the load of every endpoint over the last two minutes, and the rate of events.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::paint::{Paint, spark};
use crate::{output::Ink, tui::app::App};

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    app.page_height = usize::from(area.height);
    let names: Vec<_> = app.board.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let name_width = names.iter().map(|name| name.chars().count()).chain([6]).max().unwrap_or(6);
    let width = usize::from(area.width).saturating_sub(name_width + 20);
    let mut lines = vec![Line::styled("requests in flight, one point a second", paint.ink(Ink::Grey))];
    let mut line = |name: &str, points: &[u64]| {
        let (now, most) = (points.last().copied().unwrap_or(0), points.iter().copied().max().unwrap_or(0));
        lines.push(Line::from(vec![
            Span::styled(format!("{name:name_width$}"), paint.bold()),
            Span::raw(format!("  {now:>5}  {}  max {most}", spark(points, width))),
        ]));
    };
    for name in &names {
        line(name, &app.history.in_flight(name));
    }
    line("events", &app.history.events());
    let top = app.page.top.min(lines.len().saturating_sub(1));
    frame.render_widget(Paragraph::new(lines.into_iter().skip(top).collect::<Vec<_>>()), area);
}
