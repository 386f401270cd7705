//! Colours: only words of state have one, and a colour never says what the word does not.

/// A colour by what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ink {
    /// None.
    #[default]
    Plain,
    /// As it should be.
    Green,
    /// On its way.
    Yellow,
    /// Not as it should be.
    Red,
    /// Over, or beside the point.
    Grey,
    /// A heading.
    Bold,
}

// === impl Ink ===

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
            Self::Grey => "\x1b[90m",
            Self::Bold => "\x1b[1m",
        }
    }
}

/// Colours text when colours are wanted.
pub(super) fn paint(text: &str, ink: Ink, color: bool) -> String {
    if !color || ink == Ink::Plain || text.is_empty() {
        return text.to_owned();
    }
    format!("{}{text}\x1b[0m", ink.code())
}

/// Returns the colour of a word of state.
pub(crate) fn state_ink(word: &str) -> Ink {
    match word.to_ascii_lowercase().as_str() {
        "ready" | "serving" | "succeeded" | "info" | "ok" => Ink::Green,
        "failed" | "lost" | "error" | "firing" => Ink::Red,
        "stopped" | "deleting" => Ink::Grey,
        "" => Ink::Plain,
        _ => Ink::Yellow,
    }
}
