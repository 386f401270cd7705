//! What reading a file brought to light: everything, with its line, before anything is refused.

use berth_core::error::{Code, Error, Problem};

/// A line and column, both from one; zero when nothing of the file is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    line: usize,
    column: usize,
}

/// Errors and warnings of one file, in the order they were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    file: String,
    errors: Vec<(Code, Place, Problem)>,
    warnings: Vec<(Place, Problem)>,
}

// === impl Place ===

impl Place {
    pub(super) fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }

    pub(super) fn line(self) -> usize {
        self.line
    }
}

// === impl Findings ===

impl Findings {
    /// Starts with nothing found in `file`.
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// Returns the file as it was named.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Notes what is wrong.
    pub(super) fn error(
        &mut self,
        code: Code,
        place: Place,
        field: &str,
        what: impl Into<String>,
        try_: impl Into<String>,
    ) {
        let problem = Problem { field: self.locate(place, field), what: what.into(), try_: try_.into() };
        self.errors.push((code, place, problem));
    }

    /// Notes what is understood and not done.
    pub(super) fn warn(&mut self, place: Place, field: &str, what: impl Into<String>, try_: impl Into<String>) {
        let problem = Problem { field: self.locate(place, field), what: what.into(), try_: try_.into() };
        self.warnings.push((place, problem));
    }

    /// Takes over what was found in another file.
    pub(super) fn absorb(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.warnings.extend(other.warnings);
    }

    /// Returns whether nothing is wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// Returns the warnings when nothing is wrong, or everything that is.
    pub(super) fn into_result(self) -> Result<Vec<Problem>, Error> {
        let Some((first, ..)) = self.errors.first() else {
            return Ok(self.warnings.into_iter().map(|(_, problem)| problem).collect());
        };
        let same = self.errors.iter().all(|(code, ..)| code == first);
        let code = if same { *first } else { Code::Invalid };
        let count = self.errors.len();
        let what = match count {
            1 => format!("{} has a problem", self.file),
            _ => format!("{} has {count} problems", self.file),
        };
        let problems = self.errors.into_iter().map(|(_, _, problem)| problem).collect();
        Err(Error { problems, ..Error::new(code, what) })
    }

    /// Writes `file.yml:12:3 instance_count`.
    fn locate(&self, place: Place, field: &str) -> String {
        let mut text = self.file.clone();
        if place.line > 0 {
            text.push_str(&format!(":{}:{}", place.line, place.column));
        }
        if !field.is_empty() {
            text.push(' ');
            text.push_str(field);
        }
        text
    }
}
