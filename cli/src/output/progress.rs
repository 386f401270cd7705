//! Progress: a block that redraws in place for people, one line per change for a pipe.

use std::io::{self, Write};

use super::style::{Ink, paint};

/// Shown while something is waited for, on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    quiet: bool,
    color: bool,
    redraw: bool,
    drawn: usize,
    last: Vec<String>,
}

// === impl Progress ===

impl Progress {
    pub(super) fn new(quiet: bool, color: bool, redraw: bool) -> Self {
        Self { quiet, color, redraw, drawn: 0, last: Vec::new() }
    }

    /// Shows how things stand: one line per thing, the same thing first each time. `ticking` is appended only where the
    /// block is redrawn, because it changes without anything having happened.
    pub(crate) fn show(&mut self, lines: &[(String, String)]) {
        if self.quiet {
            return;
        }
        if self.redraw {
            // A line that wrapped would be two to erase, so the terminal cuts it at its edge.
            let mut text = format!("{}\x1b[?7l", self.erase());
            for (line, ticking) in lines {
                text.push_str(line);
                if !ticking.is_empty() {
                    text.push_str("  ");
                    text.push_str(&paint(ticking, Ink::Grey, self.color));
                }
                text.push('\n');
            }
            text.push_str("\x1b[?7h");
            self.drawn = lines.len();
            put(&text);
        } else {
            let fresh: Vec<_> = lines.iter().map(|(line, _)| line.clone()).collect();
            for line in fresh.iter().filter(|line| !self.last.contains(line)) {
                put(&format!("{line}\n"));
            }
            self.last = fresh;
        }
    }

    /// Returns whether somebody looks at a block that is redrawn.
    pub(crate) fn is_live(&self) -> bool {
        self.redraw && !self.quiet
    }

    /// Takes the block away, so that what follows stands alone.
    pub(crate) fn clear(&mut self) {
        if self.is_live() {
            put(&self.erase());
            self.drawn = 0;
        }
    }

    /// Moves to the first line of the block and erases from there.
    fn erase(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

fn put(text: &str) {
    let mut out = io::stderr().lock();
    // Nobody is left to be told when stderr is gone.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
