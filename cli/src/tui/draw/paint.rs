//! Colours and small pictures. A colour never says what a word does not, so all of it reads without colour.

use ratatui::style::{Color, Modifier, Style};

use crate::output::Ink;

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) color: bool,
}

// === impl Paint ===

impl Paint {
    pub(super) fn ink(self, ink: Ink) -> Style {
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

    pub(super) fn bold(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    pub(super) fn cursor(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }
}

/// Draws how much of a whole is taken: `██████····`.
pub(super) fn bar(part: u64, whole: u64, width: usize) -> String {
    let filled = if whole == 0 { 0 } else { filled(part, whole, width) };
    let mut text = "█".repeat(filled);
    text.push_str(&"·".repeat(width - filled));
    text
}

/// Returns how many of `width` cells show `part` of `whole`: what is anything at all shows as one.
fn filled(part: u64, whole: u64, width: usize) -> usize {
    let exact = u128::from(part) * width as u128 / u128::from(whole);
    let cells = usize::try_from(exact).unwrap_or(width).min(width);
    if part > 0 { cells.max(1).min(width) } else { cells }
}

/// Draws a line of history, newest at the right: `▁▂▅█`.
pub(super) fn spark(points: &[u64], width: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &points[points.len().saturating_sub(width)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let mut text = " ".repeat(width - shown.len());
    text.extend(
        shown.iter().map(|point| STEPS[usize::try_from(u128::from(*point) * 7 / u128::from(most)).unwrap_or(7)]),
    );
    text
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
    fn history_ends_at_the_right() {
        assert_eq!(spark(&[0, 7, 14], 5), "  ▁▄█");
        assert_eq!(spark(&[9, 9, 0, 1], 2), "▁█", "only what fits counts");
        assert_eq!(spark(&[], 2), "  ");
    }
}
