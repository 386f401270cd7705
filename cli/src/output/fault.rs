//! Why a verb failed, as people and programs read it, and the exit code that goes with it.

use berth_core::error::{Code, Error, ErrorKind};
use serde_json::json;

use super::style::{Ink, paint};

/// Something did not work.
pub(crate) const FAILED: u8 = 1;
/// The command itself is wrong, and nobody was asked to do anything.
pub(crate) const MISUSED: u8 = 2;
/// Waiting took too long; what was asked for may still come about.
pub(crate) const TIMED_OUT: u8 = 3;

/// An error of a verb whose answer is an exit code: 0 and 1 say what was found out.
pub(crate) const NO_ANSWER: u8 = 255;

/// Why a verb failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault(Box<Inner>);

/// Boxed, because a failure is rare and its size would be every result's.
#[derive(Clone, Debug)]
struct Inner {
    error: Error,
    exit: u8,
    /// What the replica wrote last, when it is its fault.
    log: Vec<String>,
    /// Whether the answer is printed and says it all.
    is_told: bool,
}

/// Tells what reading a command finds from what doing it does.
pub(crate) trait Misused<T> {
    /// Ends with the exit code of misuse.
    fn or_misused(self) -> Result<T, Fault>;
}

impl<T> Misused<T> for Result<T, Error> {
    fn or_misused(self) -> Result<T, Fault> {
        self.map_err(Fault::misused)
    }
}

// === impl Fault ===

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let exit = if error.kind() == ErrorKind::Timeout { TIMED_OUT } else { FAILED };
        Self(Box::new(Inner { error, exit, log: Vec::new(), is_told: false }))
    }
}

impl Fault {
    /// The command is wrong as it was typed, found before anything was asked of anybody.
    pub(crate) fn misused(error: Error) -> Self {
        Self::from(error).with_exit(MISUSED)
    }

    /// Waiting took too long.
    pub(crate) fn timed_out(error: Error) -> Self {
        Self(Box::new(Inner { error, exit: TIMED_OUT, log: Vec::new(), is_told: false }))
    }

    /// Nothing went wrong: the answer is printed, and it is this exit code.
    pub(crate) fn answered(exit: u8) -> Self {
        let error = Error::new(Code::Invalid, "the answer is no");
        Self(Box::new(Inner { error, exit, log: Vec::new(), is_told: true }))
    }

    /// Ends with another exit code, unless it is an answer.
    pub(crate) fn with_exit(mut self, exit: u8) -> Self {
        if !self.0.is_told {
            self.0.exit = exit;
        }
        self
    }

    /// Returns whether nothing need be printed any more.
    pub(super) fn is_told(&self) -> bool {
        self.0.is_told
    }

    /// Adds what the replica wrote last.
    pub(crate) fn with_log(mut self, lines: Vec<String>) -> Self {
        self.0.log = lines;
        self
    }

    pub(super) fn exit(&self) -> u8 {
        self.0.exit
    }

    pub(crate) fn error(&self) -> &Error {
        &self.0.error
    }

    pub(super) fn as_json(&self) -> String {
        let Inner { error, log, .. } = &*self.0;
        let value = json!({
            "error": {
                "code": error.code.word(),
                "what": error.what,
                "why": error.why,
                "try": error.try_,
                "problems": error.problems,
                "log": log,
            }
        });
        value.to_string()
    }

    pub(super) fn as_text(&self, color: bool) -> String {
        let Inner { error, log, .. } = &*self.0;
        let mut lines = vec![format!(
            "{} {} {}",
            paint("error:", Ink::Red, color),
            error.what,
            paint(&format!("({})", error.code), Ink::Grey, color)
        )];
        if !error.why.is_empty() {
            lines.push(indented("why", &error.why));
        }
        for problem in &error.problems {
            let try_ = if problem.try_.is_empty() { String::new() } else { format!(" (try: {})", problem.try_) };
            lines.push(format!("  - {}: {}{try_}", problem.field, problem.what));
        }
        if !log.is_empty() {
            lines.push("  log:".to_owned());
            lines.extend(log.iter().map(|line| format!("    {line}")));
        }
        if !error.try_.is_empty() {
            lines.push(indented("try", &error.try_));
        }
        lines.join("\n")
    }
}

/// Writes `  why: …`, with further lines under the first one.
fn indented(word: &str, text: &str) -> String {
    let mut lines = text.lines();
    let mut out = format!("  {word}: {}", lines.next().unwrap_or_default());
    for line in lines {
        out.push_str("\n       ");
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use berth_core::error::Problem;

    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_try() {
        let problem = Problem { field: "a.yml:1:1 x".into(), what: "is wrong".into(), try_: "`y`".into() };
        let error = Error { problems: vec![problem], ..Error::new(Code::Yaml, "no").why("one\ntwo").try_("this") };
        let fault = Fault::from(error).with_log(vec!["last words".into()]);
        let expected = "\
error: no (E_YAML)
  why: one
       two
  - a.yml:1:1 x: is wrong (try: `y`)
  log:
    last words
  try: this";
        assert_eq!(fault.as_text(false), expected);
        let value: serde_json::Value = serde_json::from_str(&fault.as_json()).expect("JSON");
        assert_eq!(value["error"]["code"], "E_YAML");
        assert_eq!(value["error"]["problems"][0]["try"], "`y`");
    }

    #[test]
    fn a_deadline_has_its_own_exit_code() {
        assert_eq!(Fault::from(Error::new(Code::Timeout, "late")).exit(), TIMED_OUT);
        assert_eq!(Fault::from(Error::new(Code::Invalid, "no")).exit(), FAILED);
        assert_eq!(Fault::misused(Error::new(Code::Invalid, "no")).exit(), MISUSED);
    }
}
