//! Words that are read although the test passes: what was left out, and what a run used.
//!
//! The test harness keeps what `print!` and `eprint!` write to itself unless a test fails, so a test that is skipped
//! looks like one that held. The handle itself is not kept.

use std::io::Write as _;

/// Writes a line for whoever runs the tests.
pub fn say(text: impl AsRef<str>) {
    // Nobody is left to be told that nobody listens.
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}

/// Says that a test was left out, and why.
pub fn skipped(what: &str, why: &str) {
    say(format!("SKIPPED {what}: {why}"));
}
