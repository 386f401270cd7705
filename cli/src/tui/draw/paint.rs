//! Colours and small pictures. A colour never says what a word does not, so all of it reads without colour.

use ratatui::style::{Color, Modifier, Style};

use crate::output::Ink;

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::tui) struct Paint {
    pub(in crate::tui) color: bool,
}

// === impl Paint ===

impl Paint {
    pub(in crate::tui) fn ink(self, ink: Ink) -> Style {
        let color = match ink {
            Ink::Plain => return Style::default(),
            Ink::Bold => return self.bold(),
            Ink::Green => Color::Green,
            Ink::Yellow => Color::Yellow,
            Ink::Red => Color::Red,
            Ink::Grey => Color::DarkGray,
        };
        if self.color { Style::default().fg(color) } else { Style::default() }
    }

    pub(in crate::tui) fn bold(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    /// What stands behind the rest.
    pub(in crate::tui) fn dim(self) -> Style {
        if self.color { self.ink(Ink::Grey) } else { Style::default().add_modifier(Modifier::DIM) }
    }

    pub(in crate::tui) fn cursor(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }
}

/// Draws how much of a whole is taken: `██████····`.
pub(in crate::tui) fn bar(part: u64, whole: u64, width: usize) -> String {
    let filled = if whole == 0 { 0 } else { filled(part, whole, width) };
    let mut text = "█".repeat(filled);
    text.push_str(&"·".repeat(width - filled));
    text
}

/// Draws what is taken and, apart from it, what is kept in reserve: `███▒▒·····`.
pub(in crate::tui) fn bars(part: u64, reserve: u64, whole: u64, width: usize) -> String {
    let taken = if whole == 0 { 0 } else { filled(part, whole, width) };
    let both = if whole == 0 { 0 } else { filled(part.saturating_add(reserve), whole, width) };
    // A reserve is at least one cell, if that leaves what is taken its own.
    let both = if reserve > 0 && whole > 0 { both.max((taken + 1).min(width)) } else { taken };
    format!("{}{}{}", "█".repeat(taken), "▒".repeat(both - taken), "·".repeat(width - both))
}

/// Returns how many of `width` cells show `part` of `whole`: what is anything at all shows as one.
fn filled(part: u64, whole: u64, width: usize) -> usize {
    let exact = u128::from(part) * width as u128 / u128::from(whole);
    let cells = usize::try_from(exact).unwrap_or(width).min(width);
    if part > 0 { cells.max(1).min(width) } else { cells }
}

/// Draws a line of history, newest at the right: `▁▂▅█`. The highest fills it; zero is `▁`, and what nobody said is a gap.
pub(in crate::tui) fn spark(points: &[Option<u64>], width: usize) -> String {
    let shown = &points[points.len().saturating_sub(width)..];
    spark_of(points, width, shown.iter().copied().flatten().max().unwrap_or(0))
}

/// Draws a line of history in which `most` fills it.
pub(in crate::tui) fn spark_of(points: &[Option<u64>], width: usize, most: u64) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &points[points.len().saturating_sub(width)..];
    let step = |point: &u64| usize::try_from(u128::from(*point) * 7 / u128::from(most.max(1))).unwrap_or(7).min(7);
    let mut text = " ".repeat(width - shown.len());
    // What is anything at all stands out from nothing.
    text.extend(shown.iter().map(|point| match point {
        None => ' ',
        Some(0) => STEPS[0],
        Some(point) => STEPS[step(point).max(1)],
    }));
    text
}

/// Draws history as a graph of several lines, the highest first, in which `most` fills it.
pub(in crate::tui) fn graph(points: &[Option<u64>], width: usize, height: usize, most: u64) -> Vec<String> {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if height <= 1 {
        return vec![spark_of(points, width, most)];
    }
    let shown = &points[points.len().saturating_sub(width)..];
    let all = height * 8;
    // What is nothing is a line at the bottom, and what is anything stands out from it.
    let eighths = |point: &u64| {
        let exact = u128::from(*point) * all as u128 / u128::from(most.max(1));
        usize::try_from(exact).unwrap_or(all).clamp(if *point > 0 { 2 } else { 1 }, all)
    };
    let row = |row: usize| {
        let below = (height - 1 - row) * 8;
        let mut text = " ".repeat(width - shown.len());
        let step = |point: &Option<u64>| point.map_or(0, |point| eighths(&point).saturating_sub(below).min(8));
        text.extend(shown.iter().map(|point| STEPS[step(point)]));
        text
    };
    (0..height).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_their_share_and_a_little_is_not_nothing() {
        for (part, whole, text) in
            [(0, 10, "····"), (5, 10, "██··"), (10, 10, "████"), (20, 10, "████"), (1, 1_000, "█···"), (3, 0, "····")]
        {
            assert_eq!(bar(part, whole, 4), text, "{part} of {whole}");
        }
    }

    #[test]
    fn the_reserve_is_drawn_apart() {
        for (part, reserve, whole, text) in [
            (2, 2, 8, "██▒▒····"),
            (8, 0, 8, "████████"),
            (7, 1, 8, "███████▒"),
            (0, 1, 1_000, "▒·······"),
            (4, 1, 1_000, "█▒······"),
            (8, 8, 8, "████████"),
            (1, 1, 0, "········"),
        ] {
            assert_eq!(bars(part, reserve, whole, 8), text, "{part} and {reserve} of {whole}");
        }
    }

    #[test]
    fn history_ends_at_the_right() {
        let all = |points: &[u64]| points.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(spark(&all(&[0, 7, 14]), 5), "  ▁▄█");
        assert_eq!(spark(&all(&[9, 9, 0, 1]), 2), "▁█", "only what fits counts");
        assert_eq!(spark(&all(&[0, 1, 1_000]), 3), "▁▂█", "a little is not nothing");
        assert_eq!(spark_of(&all(&[50, 100, 200]), 3, 100), "▄██");
        assert_eq!(spark(&[], 2), "  ");
        assert_eq!(spark(&[Some(7), None, Some(0), Some(7)], 4), "█ ▁█", "what nobody said is no zero");
    }

    #[test]
    fn a_graph_is_as_high_as_there_is_room() {
        let all = |points: &[u64]| points.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(graph(&all(&[0, 50, 100]), 4, 2, 100), ["   █", " ▁██"]);
        assert_eq!(graph(&all(&[75, 1, 200]), 3, 2, 100), ["▄ █", "█▂█"], "no more than all of it");
        assert_eq!(graph(&all(&[0, 50, 100]), 3, 1, 100), [spark_of(&all(&[0, 50, 100]), 3, 100)]);
        assert_eq!(graph(&[], 2, 2, 100), ["  ", "  "]);
        assert_eq!(graph(&[Some(100), None, Some(100)], 3, 2, 100), ["█ █", "█ █"], "what nobody said is a gap");
    }
}
