//! The trace: a hash over everything that happened, and the last lines of it for people.

use std::collections::VecDeque;

/// Lines kept for a failing seed: what led to the failure, not the whole story.
const LINES_KEPT: usize = 60;

/// What happened, as a hash and as lines.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    /// Keeps every line, for stories.
    keep_all: bool,
}

// === impl Trace ===

impl Trace {
    pub(crate) fn new(keep_all: bool) -> Self {
        // FNV-1a's offset basis; the hash tells runs apart and resists nobody.
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), keep_all }
    }

    /// Mixes numbers in.
    pub(crate) fn mix(&mut self, values: &[u64]) {
        for value in values {
            self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }

    /// Notes a line for people and mixes it in.
    pub(crate) fn note(&mut self, now: u64, line: &str) {
        self.mix(&[now]);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if !self.keep_all && self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>9}  {line}", format!("{}.{:03}s", now / 1_000, now % 1_000)));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &String> {
        self.lines.iter()
    }
}
