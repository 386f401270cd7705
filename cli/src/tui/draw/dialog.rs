//! What lies over a screen: questions and the traffic editor.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use super::{
    clean,
    paint::{Paint, bar},
};
use crate::{
    output::Ink,
    tui::{
        app::App,
        dialog::{Dialog, Stage, TrafficEdit},
    },
};

pub(super) fn draw(app: &App, dialog: &Dialog, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let (title, lines, top) = match dialog {
        Dialog::Prompt(_) => return,
        Dialog::Confirm { question, top, .. } => {
            ("sure?".to_owned(), question.iter().map(|line| Line::raw(clean(line))).collect::<Vec<_>>(), *top)
        }
        Dialog::Traffic(edit) => {
            let top = if let Stage::Planned(_, top) = &edit.stage { *top } else { 0 };
            (format!("traffic of {}", edit.endpoint), traffic(app, edit, paint), top)
        }
    };
    let widest = lines.iter().map(Line::width).chain([title.chars().count()]).max().unwrap_or(0);
    let width = u16::try_from(widest).unwrap_or(u16::MAX).saturating_add(4).min(area.width);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height);
    let window = Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
    let inner = usize::from(width).saturating_sub(2);
    // What is beyond the window is told.
    let shorten = |line: Line<'static>| {
        if line.width() <= inner { line } else { Line::raw(super::cut(&line.to_string(), inner)) }
    };
    let lines: Vec<_> = lines.into_iter().map(shorten).collect();
    frame.render_widget(Clear, window);
    let mut block = Block::bordered().title(format!(" {title} ")).border_style(paint.bold());
    let room = usize::from(height).saturating_sub(2);
    let top = top.min(lines.len().saturating_sub(room));
    if lines.len() > room {
        block = block.title_bottom(" ↑↓ scroll  y does it  n leaves everything as it is ");
    }
    frame.render_widget(Paragraph::new(lines.into_iter().skip(top).collect::<Vec<_>>()).block(block), window);
}

fn traffic(app: &App, edit: &TrafficEdit, paint: Paint) -> Vec<Line<'static>> {
    if let Stage::Planned(plan, _) = &edit.stage {
        let ends = ["", "y does it, n goes back to the editor"];
        return plan.iter().map(String::as_str).chain(ends).map(|line| Line::raw(clean(line))).collect();
    }
    let name_width = edit.shares.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (at, (name, share)) in edit.shares.iter().enumerate() {
        let before = edit.before.get(name).copied().unwrap_or(0);
        let style = if at == edit.at && edit.stage == Stage::Moving { paint.cursor() } else { paint.bold() };
        let mut spans = vec![
            Span::styled(format!("{name:name_width$}"), style),
            Span::raw(format!("  {} {share:>3} %", bar(u64::from(*share), 100, 25))),
        ];
        let change = if before == *share { "          ".to_owned() } else { format!("  was {before:>3} %") };
        spans.push(Span::styled(change, paint.ink(Ink::Yellow)));
        if let Some(deployment) = app.board.deployment(&edit.endpoint, name) {
            spans.push(Span::raw(format!("  {}/{} ready", deployment.ready, deployment.desired)));
        }
        lines.push(Line::from(spans));
    }
    lines.push(Line::raw(""));
    let hint = match edit.stage {
        Stage::Asked => "asking what that means …  esc back",
        _ => "←→ 1 %  shift-←→ 10 %  enter plan  esc leave",
    };
    lines.push(Line::styled(hint, paint.ink(Ink::Grey)));
    lines
}
